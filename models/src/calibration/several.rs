//! What several prompts say of a good part that is none of them.
//!
//! Each prompt is scored against the others, but those scores are not quite what a new part gets:
//! one prompt fewer stands against it, and what good parts habitually show is known from fewer
//! parts, or, for prompts that resemble each other, from the very place in question. The gap is a
//! property of the method, not of a product, so it is learned once from many products, together
//! with what a left-out score is worth beside a true one. The measure is the predictive likelihood
//! of further good parts, the thing that a false-reject rate is about (methods/baypranometa.md
//! sections 4.5 and 4.7).

use super::{CalibrationError, ScalarPredictive, ScalarPrior, mean};
pub use crate::package::SeveralPrior;

/// Weights of a left-out score that are tried.
const WEIGHTS: [f64; 9] = [1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05];
/// Degrees of freedom that are tried.
const NU_GRID: [f64; 12] = [2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 14.0, 20.0, 30.0, 45.0, 64.0];

/// Scores of good parts of one product.
#[derive(Debug, Clone, Default)]
pub struct Enrolled {
    /// Of the prompts, each without itself.
    pub left_out: Vec<f64>,
    /// Of parts that were not taught.
    pub new: Vec<f64>,
}

impl SeveralPrior {
    /// Learns from products taught with several prompts each.
    ///
    /// # Errors
    /// As [`ScalarPrior::fit`].
    pub fn fit(products: &[Enrolled]) -> Result<SeveralPrior, CalibrationError> {
        let usable: Vec<&Enrolled> =
            products.iter().filter(|p| !p.left_out.is_empty() && !p.new.is_empty()).collect();
        let new: Vec<Vec<f64>> = usable.iter().map(|p| p.new.clone()).collect();
        let base = ScalarPrior::fit(&new)?;
        if usable.iter().any(|p| p.left_out.iter().any(|v| !v.is_finite())) {
            return Err(CalibrationError::NotFinite);
        }
        let gaps: Vec<(f64, f64)> = usable
            .iter()
            .map(|p| (1.0 / p.left_out.len() as f64, mean(&p.new) - mean(&p.left_out)))
            .collect();
        let (gap, gap_per_prompt) = line(&gaps);
        // The spread within a product stays; how sure the prior is of it, and how much a left-out
        // score counts, are chosen by what they predict.
        let within = base.lambda0 / (base.nu0 - 2.0);
        let likelihood = |law: &SeveralPrior| -> f64 {
            usable
                .iter()
                .map(|p| law.law(&p.left_out).map_or(f64::NEG_INFINITY, |l| l.log_density(&p.new)))
                .sum()
        };
        WEIGHTS
            .into_iter()
            .flat_map(|weight| NU_GRID.into_iter().map(move |nu0| (weight, nu0)))
            .map(|(weight, nu0)| SeveralPrior {
                gap,
                gap_per_prompt,
                weight,
                prior: ScalarPrior { nu0, lambda0: (nu0 - 2.0) * within, ..base },
            })
            .max_by(|a, b| likelihood(a).total_cmp(&likelihood(b)))
            .ok_or(CalibrationError::TooFew)
    }

    /// How much higher a new part scores than one of so many `prompts` that was left out.
    pub fn gap_among(&self, prompts: usize) -> f64 {
        self.gap + self.gap_per_prompt / prompts.max(1) as f64
    }

    /// The law of a new good part's score, given the left-out scores of the prompts.
    ///
    /// # Errors
    /// A score that is not finite.
    pub fn law(&self, left_out: &[f64]) -> Result<ScalarPredictive, CalibrationError> {
        let gap = self.gap_among(left_out.len());
        let shifted: Vec<f64> = left_out.iter().map(|s| s + gap).collect();
        self.prior.predictive_of(&shifted, self.weight)
    }
}

/// Least squares: intercept and slope; no slope where all places are the same.
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / count, y + p.1 / count));
    let spread: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let slope = match spread > f64::EPSILON {
        true => points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / spread,
        false => 0.0,
    };
    (y - slope * x, slope)
}

#[cfg(test)]
mod tests {
    use super::super::tests::normal;
    use super::*;

    fn products(count: usize, gap: f64, doubt: f64) -> Vec<Enrolled> {
        let mut next = normal(11);
        (0..count)
            .map(|_| {
                let own = 1.0 + next();
                let gap = gap + doubt * next();
                Enrolled {
                    left_out: (0..6).map(|_| own - gap + 0.2 * next()).collect(),
                    new: (0..4).map(|_| own + 0.2 * next()).collect(),
                }
            })
            .collect()
    }

    #[test]
    fn finds_the_gap_and_trusts_scores_as_far_as_they_go() {
        let sure = SeveralPrior::fit(&products(200, 0.7, 0.0)).expect("fit");
        assert!((sure.gap - 0.7).abs() < 0.03, "{sure:?}");
        assert!(sure.weight >= 0.7, "{sure:?}");
        let doubtful = SeveralPrior::fit(&products(200, 0.7, 0.6)).expect("fit");
        assert!(doubtful.weight <= 0.25, "{doubtful:?}");
    }

    #[test]
    fn the_gap_follows_the_number_of_prompts() {
        let mut next = normal(5);
        let products: Vec<Enrolled> = (0..300)
            .map(|index| {
                let prompts = [3, 5, 10, 20][index % 4];
                let gap = 0.1 + 1.5 / prompts as f64;
                let own = 1.0 + next();
                Enrolled {
                    left_out: (0..prompts).map(|_| own - gap + 0.1 * next()).collect(),
                    new: (0..4).map(|_| own + 0.1 * next()).collect(),
                }
            })
            .collect();
        let prior = SeveralPrior::fit(&products).expect("fit");
        assert!((prior.gap - 0.1).abs() < 0.05, "{prior:?}");
        assert!((prior.gap_per_prompt - 1.5).abs() < 0.2, "{prior:?}");
        assert!((prior.gap_among(5) - 0.4).abs() < 0.03, "{prior:?}");
    }

    #[test]
    fn new_parts_exceed_the_threshold_as_often_as_promised() {
        let all = products(3000, 0.4, 0.1);
        let (seen, fresh) = all.split_at(200);
        let prior = SeveralPrior::fit(seen).expect("fit");
        for rate in [0.1, 0.01] {
            let (mut rejects, mut parts) = (0.0, 0.0);
            for product in fresh {
                let threshold = prior.law(&product.left_out).expect("law").threshold(rate);
                rejects += product.new.iter().filter(|s| **s >= threshold).count() as f64;
                parts += product.new.len() as f64;
            }
            let got: f64 = rejects / parts;
            // The sum of uniforms that stands for a normal has a shorter tail than one.
            assert!((0.4..1.3).contains(&(got / rate)), "{got} at {rate}");
        }
    }
}
