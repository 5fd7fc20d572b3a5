//! One independent normal-inverse-gamma per dimension (4.9): O(D), and one wild dimension costs
//! only a logarithm. This is not a multivariate t with a diagonal scale.

use super::special::{ln_gamma, t_upper_tail};
use super::{StudentTError, positive, vector};

/// Prior of the diagonal variant: shared `kappa0` and `a0`, own `m0` and `b0` per dimension.
#[derive(Debug, Clone)]
pub struct DiagonalPrior {
    mean: Vec<f64>,
    kappa: f64,
    a: f64,
    b: Vec<f64>,
}

impl DiagonalPrior {
    /// Checked prior; `kappa0`, `a0` and every `b0` positive.
    pub fn new(mean: Vec<f64>, kappa: f64, a: f64, b: Vec<f64>) -> Result<Self, StudentTError> {
        let dim = mean.len();
        vector("m0", &mean, dim)?;
        vector("b0", &b, dim)?;
        positive("kappa0", kappa)?;
        positive("a0", a)?;
        for &value in &b {
            positive("b0", value)?;
        }
        Ok(Self { mean, kappa, a, b })
    }

    /// The one-dimensional marginals of an isotropic inverse Wishart with `nu0 = D + 2`:
    /// `a0 = 1.5`, `b0 = lambda/2`, prior mean variance `lambda`.
    pub fn matching(mean: Vec<f64>, kappa: f64, lambda: f64) -> Result<Self, StudentTError> {
        let dim = mean.len();
        Self::new(mean, kappa, 1.5, vec![lambda / 2.0; dim])
    }

    /// Posterior of a batch. Errors on no samples, wrong size, NaN.
    pub fn posterior(&self, samples: &[Vec<f64>]) -> Result<DiagonalPosterior, StudentTError> {
        if samples.is_empty() {
            return Err(StudentTError::NoSamples);
        }
        let dim = self.mean.len();
        for x in samples {
            vector("sample", x, dim)?;
        }
        let k = samples.len() as f64;
        let kappa = self.kappa + k;
        let mut mean = Vec::with_capacity(dim);
        let mut b = Vec::with_capacity(dim);
        for d in 0..dim {
            let average = samples.iter().map(|x| x[d]).sum::<f64>() / k;
            let spread: f64 = samples.iter().map(|x| (x[d] - average).powi(2)).sum();
            let shift = average - self.mean[d];
            mean.push((self.kappa * self.mean[d] + k * average) / kappa);
            b.push(self.b[d] + spread / 2.0 + self.kappa * k * shift * shift / (2.0 * kappa));
        }
        Ok(DiagonalPosterior { mean, kappa, a: self.a + k / 2.0, b })
    }
}

/// Posterior of the diagonal variant.
#[derive(Debug, Clone)]
pub struct DiagonalPosterior {
    mean: Vec<f64>,
    kappa: f64,
    a: f64,
    b: Vec<f64>,
}

impl DiagonalPosterior {
    /// `b_n`, one value per dimension.
    pub fn b(&self) -> &[f64] {
        &self.b
    }

    /// Posterior mean per dimension.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Degrees of freedom `2 a_n`, the same in every dimension.
    pub fn dof(&self) -> f64 {
        2.0 * self.a
    }

    fn standardised<'a>(&'a self, x: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
        let widen = (self.kappa + 1.0) / (self.a * self.kappa);
        x.iter().zip(&self.mean).zip(&self.b).map(move |((x, m), b)| {
            let scale = (b * widen).sqrt();
            ((x - m) / scale, scale)
        })
    }

    /// Sum of the log densities of the univariate Student-t laws; NaN for another length.
    pub fn log_t(&self, x: &[f64]) -> f64 {
        if x.len() != self.mean.len() {
            return f64::NAN;
        }
        let dof = self.dof();
        let norm = ln_gamma((dof + 1.0) / 2.0)
            - ln_gamma(dof / 2.0)
            - 0.5 * (dof * std::f64::consts::PI).ln();
        self.standardised(x)
            .map(|(z, scale)| norm - scale.ln() - (dof + 1.0) / 2.0 * (z * z / dof).ln_1p())
            .sum()
    }

    /// Smallest two-sided p-value over the dimensions, Bonferroni-corrected; NaN gives 0.
    pub fn p_value(&self, x: &[f64]) -> f64 {
        if x.len() != self.mean.len() {
            return 0.0;
        }
        let dof = self.dof();
        let least =
            self.standardised(x).map(|(z, _)| 2.0 * t_upper_tail(dof, z.abs())).fold(1.0, f64::min);
        (least * x.len() as f64).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wild_dimension_costs_a_logarithm() {
        let prior = DiagonalPrior::matching(vec![0.0; 8], 0.01, 1.0).expect("valid prior");
        let samples = vec![vec![0.1; 8], vec![-0.1; 8], vec![0.05; 8]];
        let post = prior.posterior(&samples).expect("valid samples");
        let (mut far, mut farther) = (vec![0.0; 8], vec![0.0; 8]);
        far[3] = 1e3;
        farther[3] = 1e6;
        let lost = post.log_t(&far) - post.log_t(&farther);
        // Three decades times dof + 1: linear in the logarithm, not in the square.
        assert!((lost - (post.dof() + 1.0) * 1e3f64.ln()).abs() < 1e-3, "{lost}");
        assert!(post.p_value(&farther) < 1e-6);
        assert_eq!(post.p_value(&[f64::NAN; 8]), 0.0);
        assert_eq!(post.p_value(&[0.0]), 0.0);
    }

    #[test]
    fn refuses_bad_values() {
        assert!(DiagonalPrior::new(vec![0.0], 0.0, 1.0, vec![1.0]).is_err());
        assert!(DiagonalPrior::new(vec![0.0], 1.0, 1.0, vec![-1.0]).is_err());
        let prior = DiagonalPrior::matching(vec![0.0], 1.0, 1.0).expect("valid prior");
        assert_eq!(prior.posterior(&[]).map(|_| ()), Err(StudentTError::NoSamples));
        assert!(prior.posterior(&[vec![f64::NAN]]).is_err());
    }
}
