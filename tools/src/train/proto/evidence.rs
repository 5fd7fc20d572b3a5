//! The Student-t model in terms of inner products (sections 4.2, 4.6 and 4.7).
//!
//! With `mu0 = 0` and `Lambda0 = lambda I` the marginal likelihood of a set depends on the set's Gram
//! matrix alone: `log|Lambda_n| = D log lambda + log|I + B G B / lambda|` with
//! `B^2 = I - 11^T/kappa_n`. The predictive of a point is the evidence of the set with it over the
//! evidence without it, so leave-one-out and queries are differences of this one function, and its
//! gradient is that of a small log-determinant. Generic over [`Scalar`], unlike
//! [`touchstone_models::student_t`], which the tests compare it with.

use anyhow::{Result, anyhow};
use touchstone_models::student_t::LowRankPrior;

use super::scalar::Scalar;

/// Weight of the prior mean: one hundredth of a picture (section 2).
pub const KAPPA0: f64 = 0.01;

/// What of the evidence depends on the number of samples only.
#[derive(Debug, Clone)]
pub struct Constants {
    dim: usize,
    /// Per number of samples.
    norm: Vec<f64>,
}

impl Constants {
    /// For sets of up to `most` samples of `dim` dimensions; nu0 = D + 2.
    ///
    /// # Errors
    /// No dimensions.
    pub fn new(dim: usize, most: usize) -> Result<Constants> {
        let prior = LowRankPrior::isotropic(vec![0.0; dim], KAPPA0, 1.0).map_err(|e| anyhow!(e))?;
        let mut norm = vec![0.0];
        for count in 1..=most {
            // At the prior's mean with lambda = 1 both determinants are 1: the norm is all there is.
            let zeros = vec![vec![0.0; dim]; count];
            norm.push(prior.log_evidence(&zeros).map_err(|e| anyhow!(e))?);
        }
        Ok(Constants { dim, norm })
    }

    /// Number of dimensions D.
    pub fn dim(&self) -> usize {
        self.dim
    }
}

/// Inner products of a list of embeddings, and the gradient of a loss by them.
pub struct Gram<S> {
    count: usize,
    values: Vec<S>,
    slopes: Vec<S>,
}

impl<S: Scalar> Gram<S> {
    /// Of these embeddings, in this order.
    pub fn of(rows: &[&[S]]) -> Gram<S> {
        let count = rows.len();
        let mut values = vec![S::of(0.0); count * count];
        for i in 0..count {
            for j in 0..=i {
                let product = super::head::dot(rows[i], rows[j]);
                values[i * count + j] = product;
                values[j * count + i] = product;
            }
        }
        Gram { count, values, slopes: vec![S::of(0.0); count * count] }
    }

    /// The gradient by embedding `index`, from what [`evidence`] added.
    pub fn slope(&self, rows: &[&[S]], index: usize) -> Vec<S> {
        let mut slope = vec![S::of(0.0); rows[index].len()];
        for (k, row) in rows.iter().enumerate() {
            // The matrix of slopes is symmetric, and each product appears in it twice.
            let weight = self.slopes[index * self.count + k] * 2.0;
            for (s, v) in slope.iter_mut().zip(*row) {
                *s += weight * *v;
            }
        }
        slope
    }
}

/// `log p(X)` of the embeddings numbered `members`, and its derivative by `log lambda`; adds `weight`
/// times its gradient to the Gram matrix. `None` where rounding has spoilt the matrix.
pub fn evidence<S: Scalar>(
    gram: &mut Gram<S>,
    members: &[usize],
    ln_lambda: S,
    constants: &Constants,
    weight: S,
) -> Option<(S, S)> {
    let n = members.len();
    if n == 0 {
        return Some((S::of(0.0), S::of(0.0)));
    }
    let (d, count) = (constants.dim as f64, n as f64);
    let nu = d + 2.0 + count;
    let kappa = KAPPA0 + count;
    // B = I - beta 11^T.
    let beta = (1.0 - (KAPPA0 / kappa).sqrt()) / count;
    let inverse_lambda = (-ln_lambda).exp();
    let mut inner: Vec<S> = Vec::with_capacity(n * n);
    for &i in members {
        inner.extend(members.iter().map(|&j| gram.values[i * gram.count + j] * inverse_lambda));
    }
    centre(&mut inner, n, beta);
    for i in 0..n {
        inner[i * n + i] += S::of(1.0);
    }
    let (logdet, inverse) = invert(&inner, n)?;
    let trace = (0..n).fold(S::of(0.0), |s, i| s + inverse[i * n + i]);
    let value = S::of(constants.norm[n]) - ln_lambda * (0.5 * count * d) - logdet * (0.5 * nu);
    let by_lambda = S::of(-0.5 * count * d) + (S::of(count) - trace) * (0.5 * nu);
    let mut slope = inverse;
    centre(&mut slope, n, beta);
    let factor = weight * inverse_lambda * (-0.5 * nu);
    for (row, &i) in slope.chunks_exact(n).zip(members) {
        for (s, &j) in row.iter().zip(members) {
            gram.slopes[i * gram.count + j] += *s * factor;
        }
    }
    Some((value, by_lambda))
}

/// `B M B` for `B = I - beta 11^T`.
fn centre<S: Scalar>(matrix: &mut [S], n: usize, beta: f64) {
    for _ in 0..2 {
        for row in matrix.chunks_exact_mut(n) {
            let mean = row.iter().fold(S::of(0.0), |s, v| s + *v) * beta;
            row.iter_mut().for_each(|v| *v -= mean);
        }
        for i in 0..n {
            for j in 0..i {
                matrix.swap(i * n + j, j * n + i);
            }
        }
    }
}

/// `log|M|` and the inverse of a positive definite matrix, by Cholesky; `None` if it is not.
fn invert<S: Scalar>(matrix: &[S], n: usize) -> Option<(S, Vec<S>)> {
    let zero = S::of(0.0);
    let mut lower = vec![zero; n * n];
    let mut logdet = zero;
    for i in 0..n {
        for j in 0..=i {
            let mut sum = matrix[i * n + j];
            for k in 0..j {
                sum -= lower[i * n + k] * lower[j * n + k];
            }
            if i == j {
                if !(sum.value().is_finite() && sum.value() > 0.0) {
                    return None;
                }
                lower[i * n + i] = sum.sqrt();
                logdet += sum.ln();
            } else {
                lower[i * n + j] = sum / lower[j * n + j];
            }
        }
    }
    // Columns of the inverse of the factor, then its square.
    let mut factor = vec![zero; n * n];
    for j in 0..n {
        for i in j..n {
            let mut sum = if i == j { S::of(1.0) } else { zero };
            for k in j..i {
                sum -= lower[i * n + k] * factor[k * n + j];
            }
            factor[i * n + j] = sum / lower[i * n + i];
        }
    }
    let mut inverse = vec![zero; n * n];
    for i in 0..n {
        for j in 0..n {
            for k in i.max(j)..n {
                inverse[i * n + j] += factor[k * n + i] * factor[k * n + j];
            }
        }
    }
    Some((logdet, inverse))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{noise, slopes_agree};
    use super::*;

    const DIM: usize = 6;
    const COUNT: usize = 4;

    fn rows(flat: &[f64]) -> Vec<&[f64]> {
        flat.chunks_exact(DIM).collect()
    }

    #[test]
    fn evidence_is_that_of_the_models_crate() {
        let constants = Constants::new(DIM, COUNT).expect("constants");
        for (seed, lambda) in [(1, 1.0), (2, 0.03), (3, 1e-4)] {
            let flat = noise(seed, DIM * COUNT);
            let prior = LowRankPrior::isotropic(vec![0.0; DIM], KAPPA0, lambda).expect("prior");
            for n in 1..=COUNT {
                let members: Vec<usize> = (0..n).collect();
                let mut gram = Gram::of(&rows(&flat));
                let got = evidence(&mut gram, &members, lambda.ln(), &constants, 1.0);
                let samples: Vec<Vec<f64>> = rows(&flat)[..n].iter().map(|r| r.to_vec()).collect();
                let want = prior.log_evidence(&samples).expect("evidence");
                let got = got.expect("definite").0;
                assert!((got - want).abs() < 1e-9 * want.abs().max(1.0), "{got} {want}");
            }
        }
    }

    #[test]
    fn leaving_one_out_is_that_of_the_models_crate() {
        let constants = Constants::new(DIM, COUNT).expect("constants");
        let (flat, lambda) = (noise(4, DIM * COUNT), 0.1_f64);
        let samples: Vec<Vec<f64>> = rows(&flat).iter().map(|r| r.to_vec()).collect();
        let prior = LowRankPrior::isotropic(vec![0.0; DIM], KAPPA0, lambda).expect("prior");
        let posterior = prior.posterior(&samples).expect("posterior");
        let left_out = posterior.leave_one_out(&samples).expect("left out");
        let mut gram = Gram::of(&rows(&flat));
        let mut of = |members: &[usize]| {
            evidence(&mut gram, members, lambda.ln(), &constants, 0.0).expect("definite").0
        };
        for (i, want) in left_out.iter().enumerate() {
            let others: Vec<usize> = (0..COUNT).filter(|k| *k != i).collect();
            let got = of(&[0, 1, 2, 3]) - of(&others);
            assert!((got - want.log_t).abs() < 1e-9, "{got} {want:?}");
        }
    }

    #[test]
    fn gradients_agree_with_differences() {
        let constants = Constants::new(DIM, COUNT).expect("constants");
        let flat = noise(5, DIM * COUNT);
        let loss = |flat: &[f64], ln_lambda: f64| {
            let mut gram = Gram::of(&rows(flat));
            evidence(&mut gram, &[0, 2, 3], ln_lambda, &constants, 1.0).expect("definite").0
        };
        let mut gram = Gram::of(&rows(&flat));
        let (_, by_lambda) =
            evidence(&mut gram, &[0, 2, 3], -1.0, &constants, 1.0).expect("definite");
        let slope: Vec<f64> = (0..COUNT).flat_map(|i| gram.slope(&rows(&flat), i)).collect();
        slopes_agree(&flat, &slope, |f| loss(f, -1.0));
        slopes_agree(&[-1.0], &[by_lambda], |l| loss(&flat, l[0]));
    }

    #[test]
    fn nonsense_is_no_number() {
        let constants = Constants::new(DIM, 2).expect("constants");
        let flat = vec![f64::NAN; 2 * DIM];
        assert!(evidence(&mut Gram::of(&rows(&flat)), &[0, 1], 0.0, &constants, 1.0).is_none());
    }
}
