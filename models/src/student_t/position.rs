//! Student-t novelty per position: a grid of patch features, each position with its own
//! reference, all positions with one covariance (section 8).
//!
//! # The reference
//! [`Reference::Mean`] is the textbook form: position `p` has the posterior mean of the patches
//! that the prompts show there. It needs registered parts: where parts move, the mean of K
//! different patches is a patch that no part has, and every edge looks novel.
//! [`Reference::Bank`] (the default) keeps each prompt's patch as a posterior mean of its own and
//! takes the least distance over prompts and over a window of `+-reach` cells, since parts shift
//! by about 3 %. The pooled posterior still gives the scale.
//!
//! # The covariance
//! `Lambda_n = lambda I + (1/P) sum_p sum_k residual residual^T`: pooled over the P positions but
//! counted once per prompt, because neighbouring patches of one picture are far from independent.
//! The degrees of freedom stay at the honest `nu0 + K`. For the bank the residual is the distance
//! that is scored, from each prompt to the nearest patch of the other prompts, halved because it
//! is a difference of two draws; a few rows of cells tell as much as all of them. With one prompt there is no residual; the prior's expectation
//! `lambda I` stands in, so that the scale does not jump when the second prompt arrives.
//!
//! # Precision
//! Posterior and whitening are computed in f64 and then stored in f32. Rows have length one, so
//! `|q|^2 - 2 q.m + |m|^2` carries an error near 1e-6, and good parts differ by 1e-2 and more.

use super::pairs::PairTable;
use super::planes::{Nearest, Planes};
use super::predictive::StudentT;
use super::scatter::Scatter;
pub use super::whiten::{POSITION_DIM_LOW_RANK_MAX, POSITION_RANK_MAX};
use super::whiten::{Shape, Whitener};
use super::{StudentTError, positive};

/// Largest search window, in cells to each side.
pub const POSITION_REACH_MAX: usize = 8;
/// Default search window as a share of the grid's width to each side: 2 of 32 cells, 3 of 64. A
/// part may shift by 3 % and a cell sees a little beyond itself.
pub const POSITION_REACH_SHARE: f64 = 0.047;
/// Squared distance expected between matching unit-length patches of two good parts; sets the
/// default lambda. A prior: one prompt's weight, soon outvoted.
pub const PATCH_SPREAD: f64 = 0.1;
/// Weight of the prior mean: little, as everywhere in section 4.
const KAPPA0: f64 = 0.01;

/// Patch features of one picture: `width * height` rows of `dim` values, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchGrid {
    width: usize,
    height: usize,
    dim: usize,
    values: Vec<f32>,
}

impl PatchGrid {
    /// Checked grid; errors on a size that does not fit, an empty grid, NaN or infinity.
    pub fn new(
        width: usize,
        height: usize,
        dim: usize,
        values: Vec<f32>,
    ) -> Result<Self, StudentTError> {
        let expected = width.saturating_mul(height).saturating_mul(dim);
        if expected == 0 || values.len() != expected {
            return Err(StudentTError::WrongSize {
                what: "patch grid",
                expected,
                got: values.len(),
            });
        }
        if values.iter().any(|v| !v.is_finite()) {
            return Err(StudentTError::NotFinite { what: "patch grid" });
        }
        Ok(Self { width, height, dim, values })
    }

    /// Cells per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows of cells.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Number of cells P.
    pub fn cells(&self) -> usize {
        self.width * self.height
    }

    /// The feature vector of a cell.
    pub(super) fn row(&self, cell: usize) -> &[f32] {
        &self.values[cell * self.dim..(cell + 1) * self.dim]
    }

    /// Laid out for searching.
    fn planes(&self, margin: usize, whitener: &Whitener) -> Planes {
        let mut planes = Planes::new((self.width, self.height, self.dim), margin);
        planes.load(&self.values, whitener);
        planes
    }

    fn same_size(&self, other: &PatchGrid) -> bool {
        (self.width, self.height, self.dim) == (other.width, other.height, other.dim)
    }
}

/// How the shared covariance is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covariance {
    /// The strongest [`POSITION_RANK_MAX`] directions, the rest averaged into lambda.
    LowRank,
    /// Variances only.
    Diagonal,
}

/// What a patch is compared with; see the module's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// The posterior mean of its position.
    Mean,
    /// The nearest patch of any prompt.
    Bank,
}

/// Prior and shape of a [`PositionPosterior`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PositionPrior {
    /// `Lambda0 = lambda I`.
    pub lambda: f64,
    /// Shape of the shared covariance.
    pub covariance: Covariance,
    /// What patches are compared with.
    pub reference: Reference,
    /// Search window in cells to each side, at most [`POSITION_REACH_MAX`].
    pub reach: usize,
}

impl PositionPrior {
    /// The default for L2-normalised rows of `dim` values on a grid of `width` columns.
    pub fn for_unit_rows(dim: usize, width: usize) -> Self {
        Self {
            lambda: PATCH_SPREAD / (2.0 * dim.max(1) as f64),
            covariance: Covariance::LowRank,
            reference: Reference::Bank,
            reach: ((POSITION_REACH_SHARE * width as f64).round() as usize)
                .clamp(1, POSITION_REACH_MAX),
        }
    }
}

/// The enrolled grids, from which posteriors with and without single prompts are made.
#[derive(Debug, Clone)]
pub struct Enrolment {
    grids: Vec<PatchGrid>,
    prior: PositionPrior,
    pairs: Option<PairTable>,
}

impl Enrolment {
    /// Takes in one grid per prompt, all of one size. Searches all pairs of prompts for the bank.
    pub fn new(grids: Vec<PatchGrid>, prior: PositionPrior) -> Result<Self, StudentTError> {
        positive("lambda", prior.lambda)?;
        if prior.reach > POSITION_REACH_MAX {
            return Err(StudentTError::WrongSize {
                what: "search window",
                expected: POSITION_REACH_MAX,
                got: prior.reach,
            });
        }
        let first = grids.first().ok_or(StudentTError::NoSamples)?;
        for grid in &grids {
            if !grid.same_size(first) {
                return Err(StudentTError::WrongSize {
                    what: "patch grid",
                    expected: first.values.len(),
                    got: grid.values.len(),
                });
            }
        }
        let pairs = match prior.reference == Reference::Bank && grids.len() > 1 {
            true => {
                let plain = Whitener::none(first.dim);
                let planes = grids.iter().map(|grid| grid.planes(prior.reach, &plain));
                let size = (first.width, first.height);
                Some(PairTable::new(&planes.collect::<Vec<_>>(), size, prior.reach)?)
            }
            false => None,
        };
        Ok(Self { grids, prior, pairs })
    }

    /// Number of prompts.
    pub fn prompts(&self) -> usize {
        self.grids.len()
    }

    /// Features of one prompt, for leave-one-out.
    pub fn grid(&self, prompt: usize) -> &PatchGrid {
        &self.grids[prompt]
    }

    /// The posterior of all prompts.
    pub fn posterior(&self) -> Result<PositionPosterior, StudentTError> {
        self.posterior_without(&[])
    }

    /// The posterior of all prompts but some; nothing of those enters, their residuals included.
    pub fn posterior_without(
        &self,
        left_out: &[usize],
    ) -> Result<PositionPosterior, StudentTError> {
        let used: Vec<usize> = (0..self.grids.len()).filter(|i| !left_out.contains(i)).collect();
        let first = used.first().map(|i| &self.grids[*i]).ok_or(StudentTError::NoSamples)?;
        let (dim, cells) = (first.dim, first.cells());
        let means = (self.prior.reference == Reference::Mean).then(|| self.means(&used));
        let mut scatter = Scatter::new(dim);
        for &k in used.iter().filter(|_| used.len() > 1) {
            let own = &self.grids[k];
            if let Some(means) = &means {
                let means = means.chunks_exact(dim);
                own.values
                    .chunks_exact(dim)
                    .zip(means)
                    .for_each(|(row, m)| scatter.add(row, wide(m)));
            }
            let sampled =
                self.pairs.iter().flat_map(|pairs| pairs.sampled().map(move |s| (pairs, s)));
            for (pairs, (number, cell)) in sampled {
                if let Some((j, found)) = pairs.nearest(k, number, &used) {
                    scatter.add(own.row(cell), wide(self.grids[j].row(found)));
                }
            }
        }
        let weight = match &self.pairs {
            Some(pairs) => 0.5 / pairs.samples() as f64,
            None => 1.0 / cells as f64,
        };
        let scatter = scatter.matrix(weight);
        let expected = if used.len() > 1 { 0.0 } else { self.prior.lambda };
        let lambda = self.prior.lambda + expected;
        let shape = Shape::new(dim, lambda, &scatter, self.prior.covariance);
        let k = used.len() as f64;
        let (kappa, bank): (f64, Vec<&[f32]>) = match &means {
            Some(means) => (KAPPA0 + k, vec![&means[..]]),
            // Each prompt's patch is the mean of a posterior of one sample.
            None => (KAPPA0 + 1.0, used.iter().map(|i| &self.grids[*i].values[..]).collect()),
        };
        PositionPosterior::new(first, self.prior.reach, shape, (kappa, k), &bank)
    }

    /// Mean patch per position; the prior mean is that mean itself, so it does not pull.
    fn means(&self, used: &[usize]) -> Vec<f32> {
        let k = used.len() as f64;
        let len = self.grids[used[0]].values.len();
        (0..len)
            .map(|i| {
                (used.iter().map(|j| f64::from(self.grids[*j].values[i])).sum::<f64>() / k) as f32
            })
            .collect()
    }
}

fn wide(row: &[f32]) -> impl Iterator<Item = f64> {
    row.iter().map(|v| f64::from(*v))
}

/// Ready to score: whitened references and buffers for the query.
#[derive(Debug, Clone)]
pub struct PositionPosterior {
    width: usize,
    height: usize,
    dim: usize,
    reach: usize,
    law: StudentT,
    whitener: Whitener,
    /// `1 / (lambda c D)`: from whitened squared distance to `delta / D`.
    to_ratio: f64,
    /// Whitened references.
    bank: Vec<Planes>,
    query: Planes,
    nearest: Nearest,
    map: Vec<f32>,
}

impl PositionPosterior {
    fn new(
        grid: &PatchGrid,
        reach: usize,
        shape: Shape,
        (kappa, k): (f64, f64),
        references: &[&[f32]],
    ) -> Result<Self, StudentTError> {
        let dim = grid.dim;
        // nu0 = D + 2, so nu_n - D + 1 = K + 3.
        let dof = k + 3.0;
        let c = (kappa + 1.0) / (kappa * dof);
        let to_ratio = positive("1/lambda", 1.0 / (shape.lambda * c * dim as f64))?;
        let size = (grid.width, grid.height, dim);
        let mut bank = vec![Planes::new(size, reach); references.len()];
        for (planes, rows) in bank.iter_mut().zip(references) {
            planes.load(rows, &shape.whitener);
        }
        Ok(Self {
            width: grid.width,
            height: grid.height,
            dim,
            reach,
            law: StudentT::new(dim, dof, c, shape.logdet),
            whitener: shape.whitener,
            to_ratio,
            bank,
            query: Planes::new(size, reach),
            nearest: Nearest::new(grid.width, grid.height),
            map: vec![0.0; grid.cells()],
        })
    }

    /// Columns and rows of the grid.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// The law of one patch at one position, search window aside.
    pub fn law(&self) -> &StudentT {
        &self.law
    }

    /// `delta / D` per cell, least over window and references; row-major, `width * height`.
    ///
    /// `rows` are the query's patches in the layout of [`PatchGrid`]. Allocates nothing. Errors if
    /// the size differs from the enrolled grids or a value is not finite.
    pub fn ratio_map(&mut self, rows: &[f32]) -> Result<&[f32], StudentTError> {
        let expected = self.map.len() * self.dim;
        if rows.len() != expected {
            return Err(StudentTError::WrongSize {
                what: "patches of the query",
                expected,
                got: rows.len(),
            });
        }
        self.query.load(rows, &self.whitener);
        let mut sound = true;
        self.nearest.search(&self.query, 0..self.height, &self.bank, self.reach)?;
        for (y, out) in self.map.chunks_exact_mut(self.width).enumerate() {
            let own = self.query.lengths_of(y).iter().zip(self.nearest.found(y));
            for (out, (length, (least, _))) in out.iter_mut().zip(own) {
                let distance = length + least;
                // A search passes over NaN, so the query's own length has to say whether it was sound.
                sound &= distance.is_finite();
                *out = (f64::from(distance.max(0.0)) * self.to_ratio) as f32;
            }
        }
        if sound {
            Ok(&self.map)
        } else {
            Err(StudentTError::NotFinite { what: "patches of the query" })
        }
    }
}

#[cfg(test)]
#[path = "position_tests.rs"]
pub(super) mod tests;
