//! Which patch of one prompt lies nearest to each patch of another, for all pairs of prompts.
//!
//! Found once at enrolment. Leave-one-out then only has to take minima over the prompts that are
//! left, instead of searching the windows again for each prompt left out. Only some rows of cells
//! are looked at: neighbouring patches of one picture are far from independent, and it is their
//! common covariance that is learned from them.

use super::StudentTError;
use super::planes::{Nearest, Planes};

/// Rows of cells of all prompts together that are looked at. Ten prompts' rows of 64 cells are 3,840 residuals for a
/// covariance of 32 dimensions, and each is looked for in all other prompts: their number is what building costs.
const ROWS: usize = 64;
/// Rows of one prompt, at least (or all if there are fewer) and at most.
const ROWS_OF_ONE: (usize, usize) = (4, 16);
/// Neighbouring rows are looked for together: most of what they are compared with is the same.
const TOGETHER: usize = 2;

/// For each ordered pair of prompts and each sampled cell of the first: the nearest cell of the second.
#[derive(Debug, Clone)]
pub(super) struct PairTable {
    prompts: usize,
    /// The cells of a picture that are looked at.
    sampled: Vec<usize>,
    /// Squared distance and cell, `[first][second][sampled cell]`; the diagonal is unused.
    nearest: Vec<(f32, u32)>,
}

impl PairTable {
    /// Searches all pairs within `reach` cells; `planes` of each prompt, all of `width` by `height` cells.
    ///
    /// # Errors
    /// Prompts of different sizes.
    pub(super) fn new(
        planes: &[Planes],
        (width, height): (usize, usize),
        reach: usize,
    ) -> Result<Self, StudentTError> {
        let rows = (ROWS / planes.len().max(1)).clamp(ROWS_OF_ONE.0, ROWS_OF_ONE.1);
        let step = (height * TOGETHER / rows).max(TOGETHER);
        let first = (step - TOGETHER) / 2;
        let groups = (first..height).step_by(step).map(|y| y..(y + TOGETHER).min(height));
        let sampled: Vec<usize> =
            groups.clone().flat_map(|rows| rows.start * width..rows.end * width).collect();
        let mut found = Nearest::new(width, height);
        let mut nearest = Vec::with_capacity(planes.len() * planes.len() * sampled.len());
        for (i, first) in planes.iter().enumerate() {
            for (j, second) in planes.iter().enumerate() {
                if i == j {
                    nearest.extend(sampled.iter().map(|_| (f32::INFINITY, 0)));
                    continue;
                }
                for rows in groups.clone() {
                    found.search(first, rows.clone(), std::slice::from_ref(second), reach)?;
                    for y in rows {
                        let own = first.lengths_of(y).iter().zip(found.found(y));
                        nearest.extend(own.map(|(q, (rest, place))| (q + rest, place as u32)));
                    }
                }
            }
        }
        Ok(Self { prompts: planes.len(), sampled, nearest })
    }

    /// The cells that are looked at, with their numbers.
    pub(super) fn sampled(&self) -> impl Iterator<Item = (usize, usize)> {
        self.sampled.iter().copied().enumerate()
    }

    /// How many.
    pub(super) fn samples(&self) -> usize {
        self.sampled.len()
    }

    /// The prompt and cell nearest to the sampled cell `number` of prompt `of`, among all others of those `used`.
    pub(super) fn nearest(
        &self,
        of: usize,
        number: usize,
        used: &[usize],
    ) -> Option<(usize, usize)> {
        let others = used.iter().copied().filter(|j| *j != of && *j < self.prompts);
        others
            .map(|j| (j, self.nearest[(of * self.prompts + j) * self.sampled.len() + number]))
            .min_by(|a, b| a.1.0.total_cmp(&b.1.0))
            .map(|(j, (_, found))| (j, found as usize))
    }
}
