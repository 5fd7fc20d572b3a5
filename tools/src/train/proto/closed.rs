//! Scoring without any training by gradients: the closed-form posterior on the pooled features as
//! they are, with a prior that is fixed (section 2) or learned from other products (section 4.7).
//!
//! The learned prior needs sums only: the deviations of good parts from their product's mean are
//! samples of the covariance within products, so their posterior is its estimate. Posteriors of
//! several lines merge exactly (section 4.10), which makes this the federation without gradients.

use anyhow::{Result, anyhow, ensure};
use touchstone_models::student_t::{LowRankPrior, NiwPrior, Posterior, StudentTError};

use super::evidence::KAPPA0;
use super::features::ProductFeatures;

/// Variance per dimension that the covariance within products is started from; it weighs as much as
/// one part. Features of unit length vary by less than `1/D` per dimension.
const VARIANCE0: f64 = 1e-4;
/// Degrees of freedom of the learned prior beyond D + 1 that are tried.
const STRENGTHS: [f64; 6] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0];

/// How good parts of a product are believed to be spread before any was seen.
#[derive(Debug, Clone)]
pub enum ClosedForm {
    /// `Lambda0` diagonal, or diagonal and a few directions: the camera's form.
    LowRank(LowRankPrior),
    /// A full `Lambda0`.
    Learned(NiwPrior),
}

/// Log density of the predictive at a point.
type LogDensity = Box<dyn Fn(&[f64]) -> f64>;

/// Features in double precision.
pub fn f64s(rows: &[Vec<f32>]) -> Vec<Vec<f64>> {
    rows.iter().map(|r| r.iter().map(|v| f64::from(*v)).collect()).collect()
}

fn failed(e: StudentTError) -> anyhow::Error {
    anyhow!("closed form: {e}")
}

/// The fixed prior that all lines start the covariance within products from.
///
/// # Errors
/// No dimensions.
pub fn shared_prior(inputs: usize) -> Result<NiwPrior> {
    NiwPrior::isotropic(vec![0.0; inputs], KAPPA0, VARIANCE0).map_err(failed)
}

/// Posterior of the covariance within products, from the good parts of `products`: a part's deviation
/// from its product's mean, made longer by `sqrt(n/(n-1))` because the mean is of the same n parts.
/// The last part of each product is left out: n deviations from their own mean hold n - 1 samples.
///
/// # Errors
/// No product with two good parts.
pub fn within(inputs: usize, products: &[ProductFeatures]) -> Result<Posterior> {
    let mut deviations = Vec::new();
    for product in products.iter().filter(|p| p.good.len() > 1) {
        let rows = f64s(&product.good);
        let n = rows.len() as f64;
        let mean: Vec<f64> =
            (0..inputs).map(|d| rows.iter().map(|r| r[d]).sum::<f64>() / n).collect();
        let longer = (n / (n - 1.0)).sqrt();
        for row in &rows[..rows.len() - 1] {
            deviations.push(row.iter().zip(&mean).map(|(v, m)| longer * (v - m)).collect());
        }
    }
    ensure!(!deviations.is_empty(), "no product with two good parts");
    shared_prior(inputs)?.posterior(&deviations).map_err(failed)
}

impl ClosedForm {
    /// One number: the mean variance within the products, worth one part.
    ///
    /// # Errors
    /// No product with two good parts.
    pub fn isotropic(inputs: usize, products: &[ProductFeatures]) -> Result<ClosedForm> {
        let within = within(inputs, products)?;
        let scale = mean_covariance(&within)?;
        let trace: f64 = (0..inputs).map(|d| scale[d * inputs + d]).sum();
        let prior = LowRankPrior::isotropic(vec![0.0; inputs], KAPPA0, trace / inputs as f64);
        Ok(ClosedForm::LowRank(prior.map_err(failed)?))
    }

    /// The learned prior: `mu0` the mean of the products' means, `Lambda0` the covariance within
    /// products, `kappa0 = tr W / tr B`, and the strength with the greatest evidence.
    ///
    /// # Errors
    /// Fewer than two products.
    pub fn learned(inputs: usize, products: &[ProductFeatures]) -> Result<ClosedForm> {
        Self::from_within(&within(inputs, products)?, products)
    }

    /// [`ClosedForm::learned`] with the covariance within products from elsewhere, for instance from
    /// the merged posterior of several lines.
    ///
    /// # Errors
    /// Fewer than two products.
    pub fn from_within(within: &Posterior, products: &[ProductFeatures]) -> Result<ClosedForm> {
        let inputs = within.dim();
        ensure!(products.len() > 1, "a prior is learned from at least two products");
        let covariance = mean_covariance(within)?;
        let means: Vec<Vec<f64>> = products
            .iter()
            .map(|p| {
                let rows = f64s(&p.good);
                let n = rows.len().max(1) as f64;
                (0..inputs).map(|d| rows.iter().map(|r| r[d]).sum::<f64>() / n).collect()
            })
            .collect();
        let count = means.len() as f64;
        let mu0: Vec<f64> =
            (0..inputs).map(|d| means.iter().map(|m| m[d]).sum::<f64>() / count).collect();
        let between: f64 = means
            .iter()
            .map(|m| m.iter().zip(&mu0).map(|(a, b)| (a - b) * (a - b)).sum::<f64>())
            .sum::<f64>()
            / (count - 1.0);
        let trace: f64 = (0..inputs).map(|d| covariance[d * inputs + d]).sum();
        let kappa0 = (trace / between.max(f64::MIN_POSITIVE)).clamp(1e-6, 1.0);
        let mut best: Option<(f64, NiwPrior)> = None;
        for strength in STRENGTHS {
            let lambda0 = covariance.iter().map(|c| strength * c).collect();
            let nu0 = inputs as f64 + 1.0 + strength;
            let prior = NiwPrior::new(mu0.clone(), kappa0, nu0, lambda0).map_err(failed)?;
            let mut evidence = 0.0;
            for product in products.iter().filter(|p| !p.good.is_empty()) {
                evidence += prior.log_evidence(&f64s(&product.good)).map_err(failed)?;
            }
            log::info!("learned prior: strength {strength}, evidence {evidence:.1}");
            if best.as_ref().is_none_or(|(e, _)| evidence > *e) {
                best = Some((evidence, prior));
            }
        }
        let (_, prior) = best.ok_or_else(|| anyhow!("no strength was tried"))?;
        Ok(ClosedForm::Learned(prior))
    }

    /// `-log t` of each query under the posterior of the support: greater is more defective.
    ///
    /// # Errors
    /// Features that are no numbers, or of another length.
    pub fn scores(&self, support: &[Vec<f64>], queries: &[Vec<f64>]) -> Result<Vec<f64>> {
        let of: LogDensity = match self {
            ClosedForm::LowRank(prior) => {
                let posterior = prior.posterior(support).map_err(failed)?;
                Box::new(move |x| posterior.log_t(x))
            }
            ClosedForm::Learned(prior) => {
                let posterior = prior.posterior(support).map_err(failed)?;
                let predictive = posterior.predictive().map_err(failed)?;
                Box::new(move |x| predictive.log_t(x))
            }
        };
        Ok(queries.iter().map(|x| -of(x)).collect())
    }
}

/// Mean of the inverse Wishart law: `Lambda_n / (nu_n - D - 1)` (section 4.2).
///
/// # Errors
/// Too few degrees of freedom.
pub fn mean_covariance(posterior: &Posterior) -> Result<Vec<f64>> {
    let freedom = posterior.nu() - posterior.dim() as f64 - 1.0;
    ensure!(freedom > 0.0, "a posterior of {freedom} degrees of freedom has no mean");
    Ok(posterior.scale_matrix().iter().map(|v| v / freedom).collect())
}

#[cfg(test)]
mod tests {
    use super::super::features::FeatureSet;
    use super::*;
    use touchstone_models::student_t::merge;

    #[test]
    fn the_covariance_within_products_is_found() {
        // Two dimensions with deviations 0.5 and 0.1 around far-apart centres.
        let dice = &mut crate::synth::Dice::new(4, 0);
        let products: Vec<ProductFeatures> = (0..300)
            .map(|p| {
                let mut part = || {
                    let centre = [10.0 * (p % 7) as f32, p as f32];
                    let spread = 3f32.sqrt();
                    vec![
                        centre[0] + 0.5 * spread * dice.around(1.0),
                        centre[1] + 0.1 * spread * dice.around(1.0),
                    ]
                };
                let good = (0..4).map(|_| part()).collect();
                ProductFeatures { base: "x".into(), good, defective: Vec::new() }
            })
            .collect();
        let posterior = within(2, &products).expect("posterior");
        let covariance = mean_covariance(&posterior).expect("mean");
        assert!((covariance[0] - 0.25).abs() < 0.03, "{covariance:?}");
        assert!((covariance[3] - 0.01).abs() < 0.002, "{covariance:?}");
    }

    #[test]
    fn merged_lines_are_one_line_with_all_products() {
        let set = FeatureSet::invented(6, 9, 8);
        let whole = within(8, &set.train).expect("whole");
        let parts: Vec<Posterior> =
            set.train.chunks(2).map(|products| within(8, products).expect("part")).collect();
        let merged = merge(&parts, &shared_prior(8).expect("prior")).expect("merged");
        assert!((merged.nu() - whole.nu()).abs() < 1e-9);
        for (a, b) in merged.scale_matrix().iter().zip(whole.scale_matrix()) {
            assert!((a - b).abs() < 1e-9, "{a} {b}");
        }
    }

    #[test]
    fn a_learned_prior_finds_defects_that_a_fixed_one_does_not() {
        // Invented defects lie where good parts do not scatter.
        let set = FeatureSet::invented(7, 40, 12);
        let auroc = |form: &ClosedForm| {
            let mut sum = 0.0;
            for product in &set.test {
                let (support, rest) = product.good.split_at(5);
                let mut queries = f64s(rest);
                let good = queries.len();
                queries.extend(f64s(&product.defective));
                let scores = form.scores(&f64s(support), &queries).expect("scores");
                let scores: Vec<f32> = scores.iter().map(|s| *s as f32).collect();
                let labels: Vec<bool> = (0..scores.len()).map(|i| i >= good).collect();
                sum += crate::eval::metrics::auroc(&scores, &labels).expect("both classes");
            }
            sum / set.test.len() as f64
        };
        let fixed = auroc(&ClosedForm::isotropic(12, &set.train).expect("fixed"));
        let learned = auroc(&ClosedForm::learned(12, &set.train).expect("learned"));
        assert!(learned > fixed + 0.05 && learned > 0.9, "{fixed} {learned}");
    }
}
