//! The multivariate Student-t law of one further good part (4.4) and what it makes unusual (4.5).

use super::special::{f_upper_tail, ln_gamma};

/// Everything of a predictive that does not depend on the point asked about.
///
/// A point enters through `q = (x-mu_n)^T Lambda_n^-1 (x-mu_n)`, which the full and the low-rank
/// form compute in their own ways.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StudentT {
    dim: usize,
    dof: f64,
    c: f64,
    log_norm: f64,
}

impl StudentT {
    /// The law for dimension `dim`, degrees of freedom `dof`, `Sigma = c Lambda` and `log|Lambda|`.
    ///
    /// Callers guarantee `dof > 0`, `c > 0` and a finite `logdet`.
    pub(crate) fn new(dim: usize, dof: f64, c: f64, logdet: f64) -> Self {
        let d = dim as f64;
        let log_norm = ln_gamma((dof + d) / 2.0)
            - ln_gamma(dof / 2.0)
            - d / 2.0 * (dof * std::f64::consts::PI).ln()
            - d / 2.0 * c.ln()
            - logdet / 2.0;
        Self { dim, dof, c, log_norm }
    }

    /// A Student-t with scale `scale * I` about some location; `dof` and `scale` positive.
    ///
    /// With `dim` 128, `scale` 100 and `dof` 2 this is the vague anomaly class of section 2.
    pub fn isotropic(dim: usize, scale: f64, dof: f64) -> Self {
        Self::new(dim, dof, 1.0, dim as f64 * scale.ln())
    }

    /// Number of dimensions D.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Degrees of freedom nu.
    pub fn dof(&self) -> f64 {
        self.dof
    }

    /// The factor c of `Sigma = c Lambda_n`.
    pub fn c(&self) -> f64 {
        self.c
    }

    /// Squared Mahalanobis distance under Sigma: `delta = q / c`.
    pub fn delta(&self, q: f64) -> f64 {
        q / self.c
    }

    /// Log density at a point with that `q`.
    pub fn log_t(&self, q: f64) -> f64 {
        self.log_norm - (self.dof + self.dim as f64) / 2.0 * (self.delta(q) / self.dof).ln_1p()
    }

    /// Probability that a good part lies at least this far out: `delta/D ~ F(D, nu)` (4.5).
    ///
    /// `factor` is the calibrated ratio of empirical to model quantile (1 for none): real features
    /// are not Gaussian. NaN gives 0.
    pub fn p_value(&self, q: f64, factor: f64) -> f64 {
        f_upper_tail(self.dim as f64, self.dof, self.delta(q) / (self.dim as f64 * factor))
    }
}

/// What the posterior of all other samples says about one sample (4.6).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeftOut {
    /// Squared Mahalanobis distance under the predictive of the others.
    pub delta: f64,
    /// Log density under the predictive of the others.
    pub log_t: f64,
    /// Degrees of freedom of that predictive.
    pub dof: f64,
}

impl LeftOut {
    /// From the sample's own `q_i` under the posterior that still holds it.
    ///
    /// `kappa` and `nu` are kappa_n and nu_n with the sample in, `logdet` is `log|Lambda_n|`.
    pub(crate) fn new(dim: usize, kappa: f64, nu: f64, logdet: f64, q: f64) -> Self {
        let r = kappa / (kappa - 1.0);
        let dof = nu - dim as f64;
        // Exactly below one for a sample that is in; rounding may bring it there for tiny lambda.
        let rest = (1.0 - r * q).max(f64::EPSILON);
        let law = StudentT::new(dim, dof, r / dof, logdet + rest.ln());
        let q_without = r * r * q / rest;
        LeftOut { delta: law.delta(q_without), log_t: law.log_t(q_without), dof }
    }

    /// Upper-tail p-value of the left-out sample; `factor` as in [`StudentT::p_value`].
    pub fn p_value(&self, dim: usize, factor: f64) -> f64 {
        f_upper_tail(dim as f64, self.dof, self.delta / (dim as f64 * factor))
    }
}
