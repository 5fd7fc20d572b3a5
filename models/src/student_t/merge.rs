//! Exact merging and unmerging of posteriors (4.10): two cameras that taught the same part give
//! the posterior that one camera with all the pictures would have.
//!
//! The natural parameters `(kappa, kappa mu, Lambda + kappa mu mu^T, nu)` add; a shared prior is
//! counted once.

use super::StudentTError;
use super::linalg::add_outer;
use super::niw::{NiwPrior, Posterior};

struct Natural {
    kappa: f64,
    kappa_mu: Vec<f64>,
    second: Vec<f64>,
    nu: f64,
}

impl Natural {
    fn of(p: &Posterior) -> Self {
        let mut second = p.lambda.clone();
        add_outer(&mut second, &p.mu, p.kappa);
        Natural {
            kappa: p.kappa,
            kappa_mu: p.mu.iter().map(|m| p.kappa * m).collect(),
            second,
            nu: p.nu,
        }
    }

    fn add(&mut self, other: &Natural, sign: f64) {
        self.kappa += sign * other.kappa;
        self.nu += sign * other.nu;
        for (a, b) in self.kappa_mu.iter_mut().zip(&other.kappa_mu) {
            *a += sign * b;
        }
        for (a, b) in self.second.iter_mut().zip(&other.second) {
            *a += sign * b;
        }
    }

    fn posterior(self, prior: &Posterior) -> Result<Posterior, StudentTError> {
        // Less evidence than the prior itself: more was taken out than was in.
        if self.kappa < prior.kappa * (1.0 - 1e-9) || self.nu < prior.nu - 1e-6 {
            return Err(StudentTError::NotRemovable);
        }
        let mu: Vec<f64> = self.kappa_mu.iter().map(|v| v / self.kappa).collect();
        let mut lambda = self.second;
        add_outer(&mut lambda, &mu, -self.kappa);
        let post =
            Posterior { mu, kappa: self.kappa, nu: self.nu, lambda, kappa_least: prior.kappa };
        post.cholesky()?;
        Ok(post)
    }
}

/// Pools posteriors that started from the same `prior`.
pub fn merge(parts: &[Posterior], prior: &NiwPrior) -> Result<Posterior, StudentTError> {
    let start = prior.start();
    let base = Natural::of(&start);
    let mut sum = Natural::of(&start);
    for part in parts {
        check_dim(part, prior)?;
        sum.add(&Natural::of(part), 1.0);
        sum.add(&base, -1.0);
    }
    sum.posterior(&start)
}

/// Takes `part` out of `total`, both from the same `prior`.
pub fn unmerge(
    total: &Posterior,
    part: &Posterior,
    prior: &NiwPrior,
) -> Result<Posterior, StudentTError> {
    check_dim(total, prior)?;
    check_dim(part, prior)?;
    let start = prior.start();
    let mut rest = Natural::of(total);
    rest.add(&Natural::of(part), -1.0);
    rest.add(&Natural::of(&start), 1.0);
    rest.posterior(&start)
}

fn check_dim(part: &Posterior, prior: &NiwPrior) -> Result<(), StudentTError> {
    if part.dim() == prior.dim() {
        Ok(())
    } else {
        Err(StudentTError::WrongSize {
            what: "posterior to merge",
            expected: prior.dim(),
            got: part.dim(),
        })
    }
}
