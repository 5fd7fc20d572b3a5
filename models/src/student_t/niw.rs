//! The full Normal-Inverse-Wishart posterior with its D x D matrix: small dimensions, and the
//! reference that the low-rank form is tested against.

use super::linalg::{Cholesky, add_outer, dot};
use super::predictive::{LeftOut, StudentT};
use super::special::ln_multigamma;
use super::{StudentTError, positive, vector};

/// Parameters `(mu0, kappa0, nu0, Lambda0)` before any sample (4.1).
#[derive(Debug, Clone)]
pub struct NiwPrior {
    mu: Vec<f64>,
    kappa: f64,
    nu: f64,
    lambda: Vec<f64>,
    logdet: f64,
}

impl NiwPrior {
    /// Checked prior: `kappa0 > 0`, `nu0 > D - 1`, `lambda0` a positive definite D x D matrix.
    pub fn new(mu: Vec<f64>, kappa: f64, nu: f64, lambda: Vec<f64>) -> Result<Self, StudentTError> {
        let dim = mu.len();
        if dim == 0 {
            return Err(StudentTError::WrongSize { what: "mu0", expected: 1, got: 0 });
        }
        vector("mu0", &mu, dim)?;
        vector("Lambda0", &lambda, dim * dim)?;
        positive("kappa0", kappa)?;
        positive("nu0 - D + 1", nu - dim as f64 + 1.0)?;
        let chol = Cholesky::new(dim, &lambda)
            .ok_or(StudentTError::NotPositiveDefinite { what: "Lambda0" })?;
        Ok(Self { mu, kappa, nu, lambda, logdet: chol.logdet() })
    }

    /// `Lambda0 = lambda I`, `nu0 = D + 2`: the prior weighs as much as one observation.
    pub fn isotropic(mu: Vec<f64>, kappa: f64, lambda: f64) -> Result<Self, StudentTError> {
        let dim = mu.len();
        positive("lambda", lambda)?;
        let mut matrix = vec![0.0; dim * dim];
        for i in 0..dim {
            matrix[i * dim + i] = lambda;
        }
        Self::new(mu, kappa, dim as f64 + 2.0, matrix)
    }

    /// Number of dimensions D.
    pub fn dim(&self) -> usize {
        self.mu.len()
    }

    /// The prior as a posterior of no samples, for streaming.
    pub fn start(&self) -> Posterior {
        Posterior {
            mu: self.mu.clone(),
            kappa: self.kappa,
            nu: self.nu,
            lambda: self.lambda.clone(),
            kappa_least: self.kappa,
        }
    }

    /// Posterior of a batch (4.2). Errors on no samples, wrong size, NaN.
    pub fn posterior(&self, samples: &[Vec<f64>]) -> Result<Posterior, StudentTError> {
        let dim = self.dim();
        if samples.is_empty() {
            return Err(StudentTError::NoSamples);
        }
        for x in samples {
            vector("sample", x, dim)?;
        }
        let k = samples.len() as f64;
        let mean: Vec<f64> =
            (0..dim).map(|d| samples.iter().map(|x| x[d]).sum::<f64>() / k).collect();
        let kappa = self.kappa + k;
        let mut lambda = self.lambda.clone();
        for x in samples {
            let e: Vec<f64> = x.iter().zip(&mean).map(|(a, b)| a - b).collect();
            add_outer(&mut lambda, &e, 1.0);
        }
        let shift: Vec<f64> = mean.iter().zip(&self.mu).map(|(a, b)| a - b).collect();
        add_outer(&mut lambda, &shift, self.kappa * k / kappa);
        let mu = self.mu.iter().zip(&mean).map(|(m, x)| (self.kappa * m + k * x) / kappa).collect();
        Ok(Posterior { mu, kappa, nu: self.nu + k, lambda, kappa_least: self.kappa })
    }

    /// `log p(X)`, the marginal likelihood of a batch (4.7).
    pub fn log_evidence(&self, samples: &[Vec<f64>]) -> Result<f64, StudentTError> {
        let post = self.posterior(samples)?;
        let logdet = post.cholesky()?.logdet();
        let (d, k) = (self.dim() as f64, samples.len() as f64);
        Ok(-k * d / 2.0 * std::f64::consts::PI.ln() + ln_multigamma(self.dim(), post.nu / 2.0)
            - ln_multigamma(self.dim(), self.nu / 2.0)
            + self.nu / 2.0 * self.logdet
            - post.nu / 2.0 * logdet
            + d / 2.0 * (self.kappa.ln() - post.kappa.ln()))
    }
}

/// Parameters `(mu_n, kappa_n, nu_n, Lambda_n)` after the samples.
#[derive(Debug, Clone)]
pub struct Posterior {
    pub(super) mu: Vec<f64>,
    pub(super) kappa: f64,
    pub(super) nu: f64,
    pub(super) lambda: Vec<f64>,
    /// kappa0: nothing can be removed below it.
    pub(super) kappa_least: f64,
}

impl Posterior {
    /// Number of dimensions D.
    pub fn dim(&self) -> usize {
        self.mu.len()
    }

    /// Posterior mean mu_n.
    pub fn mean(&self) -> &[f64] {
        &self.mu
    }

    /// kappa_n: pseudo-count of samples behind the mean.
    pub fn kappa(&self) -> f64 {
        self.kappa
    }

    /// nu_n: degrees of freedom of the inverse Wishart.
    pub fn nu(&self) -> f64 {
        self.nu
    }

    /// Lambda_n, D x D row-major.
    pub fn scale_matrix(&self) -> &[f64] {
        &self.lambda
    }

    pub(super) fn cholesky(&self) -> Result<Cholesky, StudentTError> {
        Cholesky::new(self.dim(), &self.lambda)
            .ok_or(StudentTError::NotPositiveDefinite { what: "Lambda_n" })
    }

    /// Takes in one more sample (4.3).
    pub fn add(&mut self, x: &[f64]) -> Result<(), StudentTError> {
        vector("sample", x, self.dim())?;
        let e: Vec<f64> = x.iter().zip(&self.mu).map(|(a, b)| a - b).collect();
        add_outer(&mut self.lambda, &e, self.kappa / (self.kappa + 1.0));
        for (m, a) in self.mu.iter_mut().zip(x) {
            *m = (self.kappa * *m + a) / (self.kappa + 1.0);
        }
        self.kappa += 1.0;
        self.nu += 1.0;
        Ok(())
    }

    /// Takes one sample out again (4.3), exactly; unchanged on error.
    pub fn remove(&mut self, x: &[f64]) -> Result<(), StudentTError> {
        vector("sample", x, self.dim())?;
        // Half a count of slack: kappa0 need not be representable after adding and taking ones.
        if self.kappa - 1.0 < self.kappa_least - 0.5 * self.kappa_least.min(1.0) {
            return Err(StudentTError::NotRemovable);
        }
        let mut less = self.clone();
        let e: Vec<f64> = x.iter().zip(&self.mu).map(|(a, b)| a - b).collect();
        add_outer(&mut less.lambda, &e, -self.kappa / (self.kappa - 1.0));
        for (m, a) in less.mu.iter_mut().zip(x) {
            *m = (self.kappa * *m - a) / (self.kappa - 1.0);
        }
        less.kappa -= 1.0;
        less.nu -= 1.0;
        if less.cholesky().is_err() {
            return Err(StudentTError::NotRemovable);
        }
        *self = less;
        Ok(())
    }

    /// Predictive of one further sample (4.4).
    pub fn predictive(&self) -> Result<Predictive, StudentTError> {
        self.predictive_of_mean(1)
    }

    /// Predictive of the mean of `views >= 1` further samples of one part (4.4).
    pub fn predictive_of_mean(&self, views: u32) -> Result<Predictive, StudentTError> {
        let m = positive("number of views", f64::from(views))?;
        let dof = positive("nu_n - D + 1", self.nu - self.dim() as f64 + 1.0)?;
        let chol = self.cholesky()?;
        let c = (self.kappa + m) / (m * self.kappa * dof);
        let law = StudentT::new(self.dim(), dof, c, chol.logdet());
        Ok(Predictive { mu: self.mu.clone(), logdet: chol.logdet(), chol, law })
    }

    /// What the other samples say about each of these, which must all be in this posterior (4.6).
    pub fn leave_one_out(&self, samples: &[Vec<f64>]) -> Result<Vec<LeftOut>, StudentTError> {
        let chol = self.cholesky()?;
        let logdet = chol.logdet();
        positive("kappa_n - 1", self.kappa - 1.0)?;
        samples
            .iter()
            .map(|x| {
                vector("sample", x, self.dim())?;
                let e: Vec<f64> = x.iter().zip(&self.mu).map(|(a, b)| a - b).collect();
                Ok(LeftOut::new(self.dim(), self.kappa, self.nu, logdet, chol.quadratic(&e)))
            })
            .collect()
    }
}

/// The full form's predictive: the law, the mean and the factored matrix.
#[derive(Debug, Clone)]
pub struct Predictive {
    mu: Vec<f64>,
    chol: Cholesky,
    logdet: f64,
    law: StudentT,
}

impl Predictive {
    /// The Student-t law without its location.
    pub fn law(&self) -> &StudentT {
        &self.law
    }

    /// `log |Lambda_n|`.
    pub fn logdet(&self) -> f64 {
        self.logdet
    }

    fn q(&self, x: &[f64]) -> f64 {
        if x.len() != self.mu.len() {
            return f64::NAN;
        }
        let e: Vec<f64> = x.iter().zip(&self.mu).map(|(a, b)| a - b).collect();
        let w = self.chol.solve_lower(&e);
        dot(&w, &w)
    }

    /// Squared Mahalanobis distance of `x`; NaN for a vector of another length.
    pub fn delta(&self, x: &[f64]) -> f64 {
        self.law.delta(self.q(x))
    }

    /// Log density at `x`.
    pub fn log_t(&self, x: &[f64]) -> f64 {
        self.law.log_t(self.q(x))
    }

    /// Upper-tail p-value of `x`; see [`StudentT::p_value`].
    pub fn p_value(&self, x: &[f64], factor: f64) -> f64 {
        self.law.p_value(self.q(x), factor)
    }
}
