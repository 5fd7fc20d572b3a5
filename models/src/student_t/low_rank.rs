//! The posterior for high dimension and few samples (4.8): `Lambda_n = lambda I + U U^T`, kept as
//! orthonormal directions and their strengths, O(D K) per query.
//!
//! The point is split into its part inside and outside the span of `U`; nothing large is ever
//! subtracted from anything large, so the form stays exact where Woodbury's identity cancels
//! (`lambda` far below `|U|^2`, the usual case for the features of near-identical parts).

use super::linalg::{Direction, add_outer, dot, left_svd, symmetric_eigen};
use super::predictive::{LeftOut, StudentT};
use super::special::ln_multigamma;
use super::{StudentTError, positive, vector};

/// Shape of `Lambda0`.
#[derive(Debug, Clone, PartialEq)]
pub enum PriorScale {
    /// `lambda I`.
    Isotropic(f64),
    /// `diag(l)`, every entry positive.
    Diagonal(Vec<f64>),
    /// `diag(l) + sum v v^T`: the directions in which good parts of all products vary most.
    Factors {
        /// `l`, every entry positive.
        diagonal: Vec<f64>,
        /// The `v`, with their lengths.
        directions: Vec<Vec<f64>>,
    },
}

/// Prior whose `Lambda0` is diagonal, or diagonal and a few directions.
#[derive(Debug, Clone)]
pub struct LowRankPrior {
    mu: Vec<f64>,
    kappa: f64,
    nu: f64,
    /// `lambda` of the scaled coordinates (1 for a diagonal prior).
    lambda: f64,
    /// `1/sqrt(l)` per dimension for a diagonal prior.
    shrink: Option<Vec<f64>>,
    /// `sum log l` for a diagonal prior, else 0.
    logdet_scale: f64,
    /// Directions of `Lambda0` itself, in the scaled coordinates.
    span: Vec<Direction>,
}

impl LowRankPrior {
    /// Checked prior: `kappa0 > 0`, `nu0 > D - 1`, positive scale.
    pub fn new(
        mu: Vec<f64>,
        kappa: f64,
        nu: f64,
        scale: PriorScale,
    ) -> Result<Self, StudentTError> {
        let dim = mu.len();
        if dim == 0 {
            return Err(StudentTError::WrongSize { what: "mu0", expected: 1, got: 0 });
        }
        vector("mu0", &mu, dim)?;
        positive("kappa0", kappa)?;
        positive("nu0 - D + 1", nu - dim as f64 + 1.0)?;
        let (diagonal, directions) = match scale {
            PriorScale::Isotropic(lambda) => {
                let lambda = positive("lambda", lambda)?;
                let (shrink, span) = (None, Vec::new());
                return Ok(Self { mu, kappa, nu, lambda, shrink, logdet_scale: 0.0, span });
            }
            PriorScale::Diagonal(diagonal) => (diagonal, Vec::new()),
            PriorScale::Factors { diagonal, directions } => (diagonal, directions),
        };
        vector("diagonal of Lambda0", &diagonal, dim)?;
        for &value in &diagonal {
            positive("diagonal of Lambda0", value)?;
        }
        let logdet_scale = diagonal.iter().map(|v| v.ln()).sum();
        let shrink: Vec<f64> = diagonal.iter().map(|v| 1.0 / v.sqrt()).collect();
        let mut columns = directions;
        for column in &mut columns {
            vector("direction of Lambda0", column, dim)?;
            column.iter_mut().zip(&shrink).for_each(|(v, s)| *v *= s);
        }
        let (shrink, span) = (Some(shrink), left_svd(columns));
        Ok(Self { mu, kappa, nu, lambda: 1.0, shrink, logdet_scale, span })
    }

    /// `Lambda0 = lambda I`, `nu0 = D + 2`.
    pub fn isotropic(mu: Vec<f64>, kappa: f64, lambda: f64) -> Result<Self, StudentTError> {
        let nu = mu.len() as f64 + 2.0;
        Self::new(mu, kappa, nu, PriorScale::Isotropic(lambda))
    }

    /// Number of dimensions D.
    pub fn dim(&self) -> usize {
        self.mu.len()
    }

    /// `a - b` in the scaled coordinates.
    fn offset(&self, a: &[f64], b: &[f64]) -> Vec<f64> {
        let mut out = Vec::new();
        self.offset_in(a, b, &mut out);
        out
    }

    /// The same in memory that is there already.
    fn offset_in(&self, a: &[f64], b: &[f64], out: &mut Vec<f64>) {
        let e = a.iter().zip(b).map(|(x, y)| x - y);
        out.clear();
        match &self.shrink {
            None => out.extend(e),
            Some(shrink) => out.extend(e.zip(shrink).map(|(v, s)| v * s)),
        }
    }

    /// Posterior of a batch (4.2 in the form of 4.8). Errors on no samples, wrong size, NaN.
    pub fn posterior(&self, samples: &[Vec<f64>]) -> Result<LowRankPosterior, StudentTError> {
        let dim = self.dim();
        if samples.is_empty() {
            return Err(StudentTError::NoSamples);
        }
        for x in samples {
            vector("sample", x, dim)?;
        }
        let k = samples.len() as f64;
        let kappa = self.kappa + k;
        let mean: Vec<f64> =
            (0..dim).map(|d| samples.iter().map(|x| x[d]).sum::<f64>() / k).collect();
        let mut columns = scaled(&self.span);
        columns.extend(samples.iter().map(|x| self.offset(x, &mean)));
        let weight = (self.kappa * k / kappa).sqrt();
        let mut shift = self.offset(&mean, &self.mu);
        shift.iter_mut().for_each(|v| *v *= weight);
        columns.push(shift);
        let mu = self.mu.iter().zip(&mean).map(|(m, x)| (self.kappa * m + k * x) / kappa).collect();
        Ok(LowRankPosterior {
            prior: self.clone(),
            mu,
            kappa,
            nu: self.nu + k,
            span: left_svd(columns),
        })
    }

    /// `log |lambda I + U U^T|` for directions of U, back in the coordinates of the samples.
    fn logdet(&self, span: &[Direction]) -> f64 {
        let spread: f64 = span.iter().map(|d| (d.value * d.value / self.lambda).ln_1p()).sum();
        self.dim() as f64 * self.lambda.ln() + self.logdet_scale + spread
    }

    /// `log p(X)`, the marginal likelihood of a batch (4.7).
    pub fn log_evidence(&self, samples: &[Vec<f64>]) -> Result<f64, StudentTError> {
        let post = self.posterior(samples)?;
        let (dim, d, k) = (self.dim(), self.dim() as f64, samples.len() as f64);
        let logdet0 = self.logdet(&self.span);
        Ok(-k * d / 2.0 * std::f64::consts::PI.ln() + ln_multigamma(dim, post.nu / 2.0)
            - ln_multigamma(dim, self.nu / 2.0)
            + self.nu / 2.0 * logdet0
            - post.nu / 2.0 * post.logdet()
            + d / 2.0 * (self.kappa.ln() - post.kappa.ln()))
    }
}

/// Posterior in directions (orthonormal, in scaled coordinates) and strengths.
#[derive(Debug, Clone)]
pub struct LowRankPosterior {
    prior: LowRankPrior,
    mu: Vec<f64>,
    kappa: f64,
    nu: f64,
    /// `value` is the singular value s_i of U.
    span: Vec<Direction>,
}

impl LowRankPosterior {
    /// Number of dimensions D.
    pub fn dim(&self) -> usize {
        self.mu.len()
    }

    /// Number of directions kept.
    pub fn rank(&self) -> usize {
        self.span.len()
    }

    /// Posterior mean mu_n.
    pub fn mean(&self) -> &[f64] {
        &self.mu
    }

    /// kappa_n.
    pub fn kappa(&self) -> f64 {
        self.kappa
    }

    /// nu_n.
    pub fn nu(&self) -> f64 {
        self.nu
    }

    /// `log |Lambda_n|`.
    pub fn logdet(&self) -> f64 {
        self.prior.logdet(&self.span)
    }

    /// The law of one further sample, without its location (4.4).
    pub fn law(&self) -> StudentT {
        self.law_of_mean(1)
    }

    /// The law of the mean of `views` further samples of one part (4.4); 0 counts as 1.
    pub fn law_of_mean(&self, views: u32) -> StudentT {
        let m = f64::from(views.max(1));
        let dof = self.nu - self.dim() as f64 + 1.0;
        StudentT::new(self.dim(), dof, (self.kappa + m) / (m * self.kappa * dof), self.logdet())
    }

    /// `(x-mu_n)^T Lambda_n^-1 (x-mu_n)`; NaN for a vector of another length.
    pub fn q(&self, x: &[f64]) -> f64 {
        self.q_in(x, &mut Vec::new())
    }

    fn q_in(&self, x: &[f64], rest: &mut Vec<f64>) -> f64 {
        if x.len() != self.dim() {
            return f64::NAN;
        }
        let lambda = self.prior.lambda;
        self.prior.offset_in(x, &self.mu, rest);
        let mut inside = 0.0;
        for d in &self.span {
            // Taking each direction off the remainder in turn is modified Gram-Schmidt: the
            // remainder stays orthogonal to what was taken even where U is nearly dependent.
            let b = dot(&d.unit, rest);
            inside += b * b / (lambda + d.value * d.value);
            for (r, u) in rest.iter_mut().zip(&d.unit) {
                *r -= b * u;
            }
        }
        dot(rest, rest) / lambda + inside
    }

    /// Squared Mahalanobis distance of `x` under the predictive.
    pub fn delta(&self, x: &[f64]) -> f64 {
        self.delta_in(x, &mut Vec::new())
    }

    /// The same with memory to work in, which is asked for once and kept.
    pub fn delta_in(&self, x: &[f64], memory: &mut Vec<f64>) -> f64 {
        self.law().delta(self.q_in(x, memory))
    }

    /// Log density of `x` under the predictive.
    pub fn log_t(&self, x: &[f64]) -> f64 {
        self.law().log_t(self.q(x))
    }

    /// Upper-tail p-value of `x`; see [`StudentT::p_value`].
    pub fn p_value(&self, x: &[f64], factor: f64) -> f64 {
        self.law().p_value(self.q(x), factor)
    }

    /// What the other samples say about each of these, which must all be in this posterior (4.6).
    pub fn leave_one_out(&self, samples: &[Vec<f64>]) -> Result<Vec<LeftOut>, StudentTError> {
        positive("kappa_n - 1", self.kappa - 1.0)?;
        let logdet = self.logdet();
        samples
            .iter()
            .map(|x| {
                vector("sample", x, self.dim())?;
                Ok(LeftOut::new(self.dim(), self.kappa, self.nu, logdet, self.q(x)))
            })
            .collect()
    }

    /// Takes in one more sample (4.3); the rank grows by at most one.
    pub fn add(&mut self, x: &[f64]) -> Result<(), StudentTError> {
        vector("sample", x, self.dim())?;
        let weight = (self.kappa / (self.kappa + 1.0)).sqrt();
        let mut e = self.prior.offset(x, &self.mu);
        e.iter_mut().for_each(|v| *v *= weight);
        let mut columns = scaled(&self.span);
        columns.push(e);
        self.span = left_svd(columns);
        for (m, a) in self.mu.iter_mut().zip(x) {
            *m = (self.kappa * *m + a) / (self.kappa + 1.0);
        }
        self.kappa += 1.0;
        self.nu += 1.0;
        Ok(())
    }

    /// Takes one sample out again (4.3); unchanged on error.
    ///
    /// Errors if the sample lies outside the span of the enrolled ones, so it never was added.
    pub fn remove(&mut self, x: &[f64]) -> Result<(), StudentTError> {
        /// Squared share of the sample, or of a strength, that rounding may leave over.
        const LEFT_OVER_MAX: f64 = 1e-9;
        vector("sample", x, self.dim())?;
        if self.kappa - 1.0 < 0.5 * self.prior.kappa {
            return Err(StudentTError::NotRemovable);
        }
        let e = self.prior.offset(x, &self.mu);
        let inside: Vec<f64> = self.span.iter().map(|d| dot(&d.unit, &e)).collect();
        let all = dot(&e, &e);
        if all - dot(&inside, &inside) > LEFT_OVER_MAX * all.max(self.prior.lambda) {
            return Err(StudentTError::NotRemovable);
        }
        // In the coordinates of the span the matrix is small: diag(s^2) - r b b^T.
        let rank = self.span.len();
        let mut small = vec![0.0; rank * rank];
        for (i, d) in self.span.iter().enumerate() {
            small[i * rank + i] = d.value * d.value;
        }
        let largest = small.iter().fold(0.0, |a: f64, b| a.max(*b));
        add_outer(&mut small, &inside, -self.kappa / (self.kappa - 1.0));
        let turned = symmetric_eigen(rank, &small);
        if turned.iter().any(|d| d.value < -LEFT_OVER_MAX * largest) {
            return Err(StudentTError::NotRemovable);
        }
        let floor = largest * 1e-14;
        self.span = turned
            .iter()
            .filter(|d| d.value > floor)
            .map(|d| Direction { value: d.value.sqrt(), unit: combine(&self.span, &d.unit) })
            .collect();
        for (m, a) in self.mu.iter_mut().zip(x) {
            *m = (self.kappa * *m - a) / (self.kappa - 1.0);
        }
        self.kappa -= 1.0;
        self.nu -= 1.0;
        Ok(())
    }
}

/// The columns of U: directions with their strengths.
fn scaled(span: &[Direction]) -> Vec<Vec<f64>> {
    span.iter().map(|d| d.unit.iter().map(|u| u * d.value).collect()).collect()
}

/// The directions of `span` mixed by `weights`.
fn combine(span: &[Direction], weights: &[f64]) -> Vec<f64> {
    let mut unit = vec![0.0; span.first().map_or(0, |d| d.unit.len())];
    for (d, w) in span.iter().zip(weights) {
        for (u, v) in unit.iter_mut().zip(&d.unit) {
            *u += w * v;
        }
    }
    unit
}

#[cfg(test)]
#[path = "low_rank_tests.rs"]
mod tests;
