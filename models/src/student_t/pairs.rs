//! Which patch of one prompt lies nearest to each patch of another, for all pairs of prompts.
//!
//! Found once at enrolment. Leave-one-out then only has to take minima over the prompts that are
//! left, instead of searching the windows again for each prompt left out. Only some rows of cells
//! are looked at: neighbouring patches of one picture are far from independent, and it is their
//! common covariance that is learned from them.

use super::StudentTError;
use super::planes::{Nearest, Planes};

/// Rows of cells that are looked at, at least, or all if there are fewer.
const ROWS: usize = 16;

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
        let step = (height / ROWS).max(1);
        let rows = (step / 2..height).step_by(step);
        let sampled: Vec<usize> = rows.clone().flat_map(|y| y * width..(y + 1) * width).collect();
        let mut found = Nearest::new(width, height);
        let mut nearest = Vec::with_capacity(planes.len() * planes.len() * sampled.len());
        for (i, first) in planes.iter().enumerate() {
            for (j, second) in planes.iter().enumerate() {
                if i == j {
                    nearest.extend(sampled.iter().map(|_| (f32::INFINITY, 0)));
                    continue;
                }
                for y in rows.clone() {
                    found.search(first, y..y + 1, std::slice::from_ref(second), reach)?;
                    let own = first.lengths_of(y).iter().zip(found.found(y));
                    nearest.extend(own.map(|(q, (rest, place))| (q + rest, place as u32)));
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
