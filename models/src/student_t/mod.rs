//! Student-t scoring: the closed-form Bayesian half of the camera's judgement.
//!
//! Every module works from the Normal-Inverse-Wishart model `x | mu,S ~ N(mu,S)`,
//! `mu | S ~ N(mu0, S/kappa0)`, `S ~ IW(Lambda0, nu0)` (BayPrAnoMeta, section 4 of
//! `../shared/methods/baypranometa.md`; section numbers in this folder refer to that note). A
//! handful of good parts gives a wide, heavy-tailed predictive, so that one prompt is not
//! mistaken for certainty.
//!
//! - [`niw`]: the full matrix form, small dimensions; the reference for everything else.
//! - [`low_rank`]: the form for high dimension and few samples (4.8), stable at small `lambda`.
//! - [`diagonal`]: one independent Student-t per dimension (4.9).
//! - [`predictive`]: the multivariate Student-t law and its F p-value (4.4, 4.5).
//! - [`merge`]: exact merging and unmerging of posteriors (4.10).
//! - [`position`]: one mean per patch position, shared covariance, and the search for shifts (8).
//! - [`special`]: tails and quantiles of F and t.
//!
//! All posteriors are f64. Only the per-frame map of [`position`] runs in f32; why that is
//! enough is said there.

pub mod diagonal;
pub(crate) mod linalg;
pub mod low_rank;
pub mod merge;
pub mod niw;
mod pairs;
mod planes;
pub mod position;
pub mod predictive;
mod scatter;
pub mod special;
mod whiten;

#[cfg(test)]
mod golden;

use std::fmt;

pub use diagonal::{DiagonalPosterior, DiagonalPrior};
pub use linalg::{Direction, symmetric_eigen};
pub use low_rank::{LowRankPosterior, LowRankPrior, PriorScale};
pub use merge::{merge, unmerge};
pub use niw::{NiwPrior, Posterior};
pub use position::{Covariance, PatchGrid, PositionPosterior, PositionPrior};
pub use predictive::{LeftOut, StudentT};

/// Why a posterior could not be built or changed.
#[derive(Debug, Clone, PartialEq)]
pub enum StudentTError {
    /// A parameter that must be positive and finite is not.
    NotPositive {
        /// Name of the parameter as in the formulas.
        what: &'static str,
        /// The value given.
        value: f64,
    },
    /// A NaN or an infinity among the samples or prior values.
    NotFinite {
        /// What held it.
        what: &'static str,
    },
    /// A vector, matrix or grid of another size than the model's.
    WrongSize {
        /// What has the wrong size.
        what: &'static str,
        /// Size wanted.
        expected: usize,
        /// Size given.
        got: usize,
    },
    /// No sample was given where at least one is needed.
    NoSamples,
    /// A scale matrix is not positive definite.
    NotPositiveDefinite {
        /// Which matrix.
        what: &'static str,
    },
    /// The sample to remove was never added, or nothing is left to remove.
    NotRemovable,
}

impl fmt::Display for StudentTError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPositive { what, value } => {
                write!(f, "{what} must be positive and finite, got {value}; check the model card")
            }
            Self::NotFinite { what } => {
                write!(f, "{what} holds a NaN or an infinity; the features cannot be trusted")
            }
            Self::WrongSize { what, expected, got } => {
                write!(
                    f,
                    "{what} has size {got}, expected {expected}; was it made by another model?"
                )
            }
            Self::NoSamples => write!(f, "no sample given; at least one good part is needed"),
            Self::NotPositiveDefinite { what } => {
                write!(f, "{what} is not positive definite; give a larger lambda")
            }
            Self::NotRemovable => {
                write!(f, "this sample cannot be removed: it is not part of the posterior")
            }
        }
    }
}

impl std::error::Error for StudentTError {}

/// `Ok` if `value` is finite and above zero.
pub(crate) fn positive(what: &'static str, value: f64) -> Result<f64, StudentTError> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(StudentTError::NotPositive { what, value })
    }
}

/// `Ok` if `values` has length `dim` and is finite throughout.
pub(crate) fn vector(what: &'static str, values: &[f64], dim: usize) -> Result<(), StudentTError> {
    if values.len() != dim {
        return Err(StudentTError::WrongSize { what, expected: dim, got: values.len() });
    }
    if values.iter().all(|v| v.is_finite()) {
        Ok(())
    } else {
        Err(StudentTError::NotFinite { what })
    }
}
