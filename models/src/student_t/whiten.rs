//! The covariance that all positions share, factored so that distances become plain dot products.

use super::linalg::{Direction, symmetric_eigen};
use super::position::Covariance;
use crate::engine::tract::patches::Projection;

/// Directions of the shared covariance that are kept; the rest is averaged into lambda.
pub const POSITION_RANK_MAX: usize = 16;
/// Above this dimension the eigenvectors take too long at enrolment and the diagonal is used.
pub const POSITION_DIM_LOW_RANK_MAX: usize = 192;

/// The shared `Lambda_n`, factored.
pub(super) struct Shape {
    /// Floor of the eigenvalues, which the whitening divides out.
    pub(super) lambda: f64,
    pub(super) whitener: Whitener,
    pub(super) logdet: f64,
}

/// Multiplies by `sqrt(lambda) Lambda_n^(-1/2)`.
#[derive(Debug, Clone)]
pub(super) enum Whitener {
    /// `x - V diag(gain) V^T x`.
    LowRank(Projection),
    /// One factor per dimension.
    Diagonal(Vec<f32>),
}

impl Whitener {
    /// Changes nothing in `dim` dimensions.
    pub(super) fn none(dim: usize) -> Whitener {
        Whitener::Diagonal(vec![1.0; dim])
    }
}

impl Shape {
    pub(super) fn new(dim: usize, lambda: f64, scatter: &[f64], covariance: Covariance) -> Self {
        if covariance == Covariance::Diagonal || dim > POSITION_DIM_LOW_RANK_MAX {
            let l: Vec<f64> = (0..dim).map(|i| lambda + scatter[i * dim + i].max(0.0)).collect();
            let factors = l.iter().map(|v| (lambda / v).sqrt() as f32).collect();
            let logdet = l.iter().map(|v| v.ln()).sum();
            return Self { lambda, whitener: Whitener::Diagonal(factors), logdet };
        }
        let mut found: Vec<Direction> = if scatter.iter().all(|v| *v == 0.0) {
            Vec::new()
        } else {
            symmetric_eigen(dim, scatter)
        };
        let rest: f64 = found.iter().skip(POSITION_RANK_MAX).map(|d| d.value.max(0.0)).sum();
        // Dropped directions still vary. Their mean goes to the floor (as in probabilistic PCA):
        // leaving it out would make the score too sure of itself exactly there.
        let left = dim.saturating_sub(POSITION_RANK_MAX);
        let floor = if left > 0 { rest / left as f64 } else { 0.0 };
        found.truncate(POSITION_RANK_MAX);
        found.retain(|d| d.value > floor);
        let lambda = lambda + floor;
        let above = |d: &Direction| d.value - floor;
        let gains: Vec<f32> =
            found.iter().map(|d| (1.0 - (lambda / (lambda + above(d))).sqrt()) as f32).collect();
        let logdet = dim as f64 * lambda.ln()
            + found.iter().map(|d| (above(d) / lambda).ln_1p()).sum::<f64>();
        let directions: Vec<f32> =
            found.iter().flat_map(|d| d.unit.iter().map(|u| *u as f32)).collect();
        let projection = Projection::new(dim, &directions, &gains);
        Self { lambda, whitener: Whitener::LowRank(projection), logdet }
    }
}
