//! Figures of a method over episodes, with 95 % bootstrap intervals over the episodes.

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::episode::Episode;
use crate::eval::metrics::{Estimate, auroc, average_precision};

/// Resamples of an interval.
const RESAMPLES: usize = 1000;
/// Every run draws the same resamples, so that two runs can be compared.
const SEED: u64 = 0x70_72_6f_74_6f;

/// Scores of one episode's queries.
#[derive(Debug, Clone)]
pub struct Scored {
    /// Greater is more defective.
    pub scores: Vec<f32>,
    /// Whether each query is defective.
    pub defective: Vec<bool>,
}

impl Scored {
    /// Of an episode.
    pub fn of(episode: &Episode, scores: &[f64]) -> Scored {
        Scored {
            scores: scores.iter().map(|s| *s as f32).collect(),
            defective: episode.defective.clone(),
        }
    }
}

/// A figure and its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// Over all episodes.
    pub value: f64,
    /// 2.5 and 97.5 percent of the resamples.
    pub interval: (f64, f64),
}

impl Figure {
    fn of(value: f64, replicates: Vec<f64>) -> Figure {
        let estimate = Estimate { value, replicates };
        Figure { value, interval: estimate.interval().unwrap_or((value, value)) }
    }

    /// Whether zero lies outside the interval.
    pub fn is_clear(&self) -> bool {
        self.interval.0 > 0.0 || self.interval.1 < 0.0
    }
}

/// What a method did on the episodes.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Mean over episodes of the area under the ROC curve.
    pub auroc: Figure,
    /// Mean over episodes of the average precision.
    pub ap: Figure,
    /// Area under the ROC curve of all queries together: one threshold for all products.
    pub pooled: Figure,
    /// Mean area of this method less that of the method it is compared with, on the same episodes.
    pub gain: Figure,
}

/// Figures of `method`, compared with `reference` on the same episodes.
///
/// # Errors
/// Scores that are no numbers, or an episode of one class.
pub fn figures(method: &[Scored], reference: &[Scored]) -> Result<Figures> {
    let each = |of: &[Scored], metric: Metric| -> Result<Vec<f64>> {
        of.iter().map(|s| metric(&s.scores, &s.defective).context("scores of an episode")).collect()
    };
    let roc = each(method, auroc)?;
    let precision = each(method, average_precision)?;
    let gain: Vec<f64> = roc.iter().zip(each(reference, auroc)?).map(|(a, b)| a - b).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut replicates: [Vec<f64>; 4] = Default::default();
    let count = method.len();
    for _ in 0..RESAMPLES {
        let draw: Vec<usize> = (0..count).map(|_| rng.random_range(0..count)).collect();
        let mean = |of: &[f64]| draw.iter().map(|i| of[*i]).sum::<f64>() / count as f64;
        replicates[0].push(mean(&roc));
        replicates[1].push(mean(&precision));
        replicates[2].push(pooled(draw.iter().map(|i| &method[*i]))?);
        replicates[3].push(mean(&gain));
    }
    let mean = |of: &[f64]| of.iter().sum::<f64>() / count as f64;
    let [a, b, c, d] = replicates;
    Ok(Figures {
        auroc: Figure::of(mean(&roc), a),
        ap: Figure::of(mean(&precision), b),
        pooled: Figure::of(pooled(method.iter())?, c),
        gain: Figure::of(mean(&gain), d),
    })
}

type Metric = fn(&[f32], &[bool]) -> Result<f64, crate::eval::metrics::MetricError>;

fn pooled<'a>(episodes: impl Iterator<Item = &'a Scored>) -> Result<f64> {
    let (mut scores, mut defective) = (Vec::new(), Vec::new());
    for episode in episodes {
        scores.extend_from_slice(&episode.scores);
        defective.extend_from_slice(&episode.defective);
    }
    auroc(&scores, &defective).context("scores of all episodes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(scores: &[f32]) -> Scored {
        Scored { scores: scores.to_vec(), defective: vec![false, false, true] }
    }

    #[test]
    fn figures_by_hand() {
        // The second episode is perfect, but its scores lie far below the first one's.
        let method = [scored(&[9.0, 11.0, 10.0]), scored(&[1.0, 2.0, 3.0])];
        let reference = [scored(&[9.0, 11.0, 10.0]), scored(&[3.0, 1.0, 2.0])];
        let figures = figures(&method, &reference).expect("figures");
        assert!((figures.auroc.value - 0.75).abs() < 1e-12);
        assert!((figures.gain.value - 0.25).abs() < 1e-12);
        assert!((figures.ap.value - 0.75).abs() < 1e-12);
        // Pairs in order over both: 10 beats 9, 1, 2; 3 beats 1, 2: five of eight.
        assert!((figures.pooled.value - 5.0 / 8.0).abs() < 1e-12);
        assert_eq!(figures.auroc.interval, (0.5, 1.0));
        assert!(!figures.gain.is_clear());
    }

    #[test]
    fn no_numbers_are_an_error() {
        let nan = [scored(&[0.0, f32::NAN, 1.0])];
        assert!(figures(&nan, &nan).is_err());
    }
}
