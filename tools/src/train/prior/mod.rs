//! Learning what whole pictures of good parts look like before any part of a product was seen: the prior of the
//! camera's image-level posterior, by evidence over many products (BayPrAnoMeta section 4.7).
//!
//! `Lambda0` has the shape of the covariance within products: one number, one per dimension, or one per dimension
//! and the few directions in which good parts vary together (light, place, sharpness look alike for all products).
//! How sure the prior is of it (`nu0`) and of the mean (`kappa0`) is what gives the products the greatest evidence;
//! which shape is best is what products say that were not learned from.

mod command;

pub use command::{PriorArgs, run};

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use touchstone_models::package::EmbeddingPrior;
use touchstone_models::student_t::{Posterior, symmetric_eigen};

use super::proto::closed::{f64s, mean_covariance, within};
use super::proto::features::ProductFeatures;
use crate::parallel;

/// Numbers of directions that are tried.
const RANKS: [usize; 4] = [4, 8, 16, 32];
/// Degrees of freedom beyond D + 1 that are tried: how many parts the prior's covariance is worth.
const STRENGTHS: [f64; 7] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0];
/// What of the ratio of variances within and between products is tried as kappa0.
const KAPPA_FACTORS: [f64; 3] = [0.25, 1.0, 4.0];
/// Bounds of kappa0.
const KAPPA_RANGE: (f64, f64) = (1e-6, 1.0);
/// Least share of a dimension's variance that is left to it alone.
const OWN_SHARE_MIN: f64 = 0.05;
/// Longest prior file: far above 64 directions of 4096 dimensions.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What is allowed to differ between dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Nothing.
    Isotropic,
    /// Their variance.
    Diagonal,
    /// And so many directions, in which they vary together.
    Factors(usize),
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Isotropic => f.write_str("isotropic"),
            Shape::Diagonal => f.write_str("diagonal"),
            Shape::Factors(rank) => write!(f, "diagonal + {rank} directions"),
        }
    }
}

/// A prior, and what products think of it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// What it could learn.
    pub shape: Shape,
    /// The prior.
    pub prior: EmbeddingPrior,
    /// Log evidence per good part, in nats, of the products learned from.
    pub learned: f64,
    /// The same of other products.
    pub held_out: f64,
}

/// Learns a prior of each shape from `products` and asks the `held_out` ones; the best of those first.
///
/// # Errors
/// Fewer than two products with two good parts each, or no product held out.
pub fn learn(
    inputs: usize,
    products: &[ProductFeatures],
    held_out: &[ProductFeatures],
) -> Result<Vec<Candidate>> {
    let within = within(inputs, products)?;
    learn_from(&within, products, held_out)
}

/// [`learn`] with the covariance within products from elsewhere, for instance from the merged posterior of several
/// lines.
///
/// # Errors
/// As [`learn`].
pub fn learn_from(
    within: &Posterior,
    products: &[ProductFeatures],
    held_out: &[ProductFeatures],
) -> Result<Vec<Candidate>> {
    let inputs = within.dim();
    let usable = |products: &[ProductFeatures]| -> Vec<Vec<Vec<f64>>> {
        products.iter().filter(|p| !p.good.is_empty()).map(|p| f64s(&p.good)).collect()
    };
    let (products, held_out) = (usable(products), usable(held_out));
    ensure!(products.len() > 1, "a prior is learned from at least two products");
    ensure!(!held_out.is_empty(), "no product was held out to choose a prior by");
    let covariance = mean_covariance(within)?;
    let centre = Centre::of(inputs, &products, &covariance);
    let axes = axes(inputs, &covariance);
    let shapes: Vec<Shape> = [Shape::Isotropic, Shape::Diagonal]
        .into_iter()
        .chain(RANKS.into_iter().filter(|rank| *rank < inputs).map(Shape::Factors))
        .collect();
    let jobs: Vec<(Shape, EmbeddingPrior)> = shapes
        .iter()
        .flat_map(|shape| {
            let scale = shaped(*shape, inputs, &covariance, &axes);
            STRENGTHS
                .into_iter()
                .flat_map(move |strength| {
                    let scale = scale.clone();
                    KAPPA_FACTORS.into_iter().map(move |kappa| (strength, kappa, scale.clone()))
                })
                .map(|(strength, kappa, scale)| (*shape, centre.prior(scale, strength, kappa)))
        })
        .collect();
    let told = parallel::map(
        jobs.len(),
        parallel::cores(),
        || Ok(()),
        |(), number| evidence(&jobs[number].1, &products),
    )?;
    let mut best: Vec<Candidate> = Vec::new();
    for shape in shapes {
        let own = jobs.iter().zip(&told).filter(|((of, _), _)| *of == shape);
        let (prior, learned) = own
            .max_by(|a, b| a.1.total_cmp(b.1))
            .map(|((_, prior), told)| (prior.clone(), *told))
            .context("no strength was tried")?;
        let held_out = evidence(&prior, &held_out)?;
        best.push(Candidate { shape, prior, learned, held_out });
    }
    best.sort_by(|a, b| b.held_out.total_cmp(&a.held_out));
    Ok(best)
}

/// Mean log evidence per part.
fn evidence(prior: &EmbeddingPrior, products: &[Vec<Vec<f64>>]) -> Result<f64> {
    let prior = prior.prior().map_err(|e| anyhow!("prior: {e}"))?;
    let (mut sum, mut parts) = (0.0, 0);
    for product in products {
        sum += prior.log_evidence(product).map_err(|e| anyhow!("prior: {e}"))?;
        parts += product.len();
    }
    Ok(sum / parts as f64)
}

/// Where products lie, and how far apart beside how far their parts do.
struct Centre {
    mu0: Vec<f64>,
    kappa0: f64,
}

impl Centre {
    fn of(inputs: usize, products: &[Vec<Vec<f64>>], covariance: &[f64]) -> Centre {
        let mean = |rows: &[Vec<f64>]| -> Vec<f64> {
            let n = rows.len() as f64;
            (0..inputs).map(|d| rows.iter().map(|r| r[d]).sum::<f64>() / n).collect()
        };
        let means: Vec<Vec<f64>> = products.iter().map(|p| mean(p)).collect();
        let mu0 = mean(&means);
        let apart = |m: &Vec<f64>| m.iter().zip(&mu0).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        let between = means.iter().map(apart).sum::<f64>() / (means.len() - 1) as f64;
        let trace: f64 = (0..inputs).map(|d| covariance[d * inputs + d]).sum();
        Centre { mu0, kappa0: trace / between.max(f64::MIN_POSITIVE) }
    }

    /// A prior with `strength * scale` for `Lambda0`: the mean of its covariance is `scale`.
    fn prior(&self, scale: Scale, strength: f64, kappa: f64) -> EmbeddingPrior {
        let Scale { mut diagonal, mut directions } = scale;
        diagonal.iter_mut().for_each(|v| *v = rounded(*v * strength));
        directions.iter_mut().flatten().for_each(|v| *v = rounded(*v * strength.sqrt()));
        EmbeddingPrior {
            kappa0: rounded((self.kappa0 * kappa).clamp(KAPPA_RANGE.0, KAPPA_RANGE.1)),
            nu0: self.mu0.len() as f64 + 1.0 + strength,
            mu0: self.mu0.iter().map(|v| rounded(*v)).collect(),
            diagonal,
            directions,
        }
    }
}

/// To six digits: a card is read by people, too, and no prior is known better.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

/// A covariance as the prior holds it.
#[derive(Debug, Clone)]
struct Scale {
    diagonal: Vec<f64>,
    directions: Vec<Vec<f64>>,
}

/// Principal axes of the correlations, as `(share of variance, direction of length one)`, largest first.
fn axes(inputs: usize, covariance: &[f64]) -> Vec<(f64, Vec<f64>)> {
    let deviation: Vec<f64> = (0..inputs).map(|d| covariance[d * inputs + d].sqrt()).collect();
    let correlation: Vec<f64> = covariance
        .iter()
        .enumerate()
        .map(|(at, v)| v / (deviation[at / inputs] * deviation[at % inputs]))
        .collect();
    symmetric_eigen(inputs, &correlation).into_iter().map(|d| (d.value, d.unit)).collect()
}

/// The covariance as far as `shape` can tell it: probabilistic principal components of the correlations, the mean of
/// the axes left out being what each dimension has alone.
fn shaped(shape: Shape, inputs: usize, covariance: &[f64], axes: &[(f64, Vec<f64>)]) -> Scale {
    let own: Vec<f64> = (0..inputs).map(|d| covariance[d * inputs + d]).collect();
    let rank = match shape {
        Shape::Isotropic => {
            let mean = own.iter().sum::<f64>() / inputs as f64;
            return Scale { diagonal: vec![mean; inputs], directions: Vec::new() };
        }
        Shape::Diagonal => 0,
        Shape::Factors(rank) => rank.min(axes.len()),
    };
    let (kept, rest) = axes.split_at(rank);
    let noise = rest.iter().map(|(v, _)| v.max(0.0)).sum::<f64>() / rest.len().max(1) as f64;
    let directions: Vec<Vec<f64>> = kept
        .iter()
        .map(|(value, axis)| {
            let strength = (value - noise).max(0.0).sqrt();
            axis.iter().zip(&own).map(|(a, v)| a * strength * v.sqrt()).collect()
        })
        .collect();
    let diagonal = own
        .iter()
        .enumerate()
        .map(|(d, v)| {
            let told: f64 = directions.iter().map(|u| u[d] * u[d]).sum();
            (v - told).max(OWN_SHARE_MIN * v)
        })
        .collect();
    Scale { diagonal, directions }
}

/// Reads what [`run`] wrote.
///
/// # Errors
/// Another file, or a prior for embeddings of another length than `inputs`.
pub fn read(path: &Path, inputs: usize) -> Result<EmbeddingPrior> {
    let bytes = touchstone_models::files::read_limited(path, FILE_BYTES_MAX)
        .with_context(|| path.display().to_string())?;
    let prior: EmbeddingPrior = serde_json::from_slice(&bytes)
        .with_context(|| format!("{}: no prior of `train prior`", path.display()))?;
    ensure!(
        prior.mu0.len() == inputs,
        "{}: a prior for embeddings of {} values, the model's have {inputs}; learn one with this model",
        path.display(),
        prior.mu0.len()
    );
    Ok(prior)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::proto::features::FeatureSet;

    #[test]
    fn directions_in_which_parts_vary_are_found_and_preferred() {
        let set = FeatureSet::invented(7, 60, 12);
        let found = learn(12, &set.train, &set.validation).expect("learned");
        // Parts of invented products vary along six directions and hardly along the others.
        assert!(matches!(found[0].shape, Shape::Factors(_)), "{:?}", found[0].shape);
        let of = |shape| found.iter().find(|c| c.shape == shape).expect("tried").held_out;
        assert!(found[0].held_out > of(Shape::Diagonal) + 1.0);
        assert!(of(Shape::Diagonal) >= of(Shape::Isotropic) - 0.5);
        found[0].prior.prior().expect("a sound prior");
    }

    #[test]
    fn the_shape_keeps_each_dimensions_variance() {
        let covariance = [4.0, 1.9, 0.0, 1.9, 1.0, 0.0, 0.0, 0.0, 0.25];
        for shape in [Shape::Diagonal, Shape::Factors(1), Shape::Factors(2)] {
            let Scale { diagonal, directions } =
                shaped(shape, 3, &covariance, &axes(3, &covariance));
            for d in 0..3 {
                let variance = diagonal[d] + directions.iter().map(|u| u[d] * u[d]).sum::<f64>();
                let ratio = variance / covariance[d * 4];
                assert!((0.99..1.0 + OWN_SHARE_MIN + 0.01).contains(&ratio), "{shape}: {ratio}");
            }
        }
        let one = shaped(Shape::Factors(1), 3, &covariance, &axes(3, &covariance));
        let together = one.directions[0][0] * one.directions[0][1];
        assert!(together > 1.0, "{one:?}");
    }

    #[test]
    fn a_file_gives_back_the_prior_and_only_to_its_model() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("prior.json");
        let set = FeatureSet::invented(7, 20, 12);
        let best = learn(12, &set.train, &set.validation).expect("learned").remove(0);
        std::fs::write(&path, serde_json::to_vec(&best.prior).expect("text")).expect("written");
        assert_eq!(read(&path, 12).expect("read"), best.prior);
        assert!(format!("{:#}", read(&path, 13).expect_err("another model")).contains("12 values"));
        std::fs::write(&path, "{}").expect("written");
        assert!(read(&path, 12).is_err());
    }

    #[test]
    fn one_product_teaches_nothing() {
        let set = FeatureSet::invented(7, 2, 12);
        assert!(learn(12, &set.train[..1], &set.validation).is_err());
        assert!(learn(12, &set.train, &[]).is_err());
    }
}
