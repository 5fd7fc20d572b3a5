//! Patch features of a picture laid out for searching: one plane per feature and row, so that neighbouring cells
//! lie in one register.

use super::StudentTError;
use super::whiten::Whitener;
use crate::engine::tract::patches::{self, Found, Grid, Layout};
use crate::engine::tract::turned;
use std::ops::Range;

/// A grid of patches as `[row][feature][cell of the row]`, with a margin of cells on both sides that lie infinitely
/// far from everything.
#[derive(Debug, Clone)]
pub(super) struct Planes {
    layout: Layout,
    values: Vec<f32>,
    /// Squared length of each patch, `[row][cell]`; infinite where there is none.
    lengths: Vec<f32>,
}

impl Planes {
    /// All zero; `margin` cells may be looked at beyond each end of a row.
    pub(super) fn new((width, height, dim): (usize, usize, usize), margin: usize) -> Planes {
        let layout = Layout { width, height, dim, margin };
        let values = vec![0.0; height * layout.row()];
        Planes { layout, values, lengths: vec![f32::INFINITY; height * layout.stride()] }
    }

    /// Takes rows of features in, one cell after the other, whitened.
    pub(super) fn load(&mut self, rows: &[f32], whitener: &Whitener) {
        let layout = self.layout;
        let Layout { width, dim, margin, .. } = layout;
        let stride = layout.stride();
        let planes = self.values.chunks_exact_mut(layout.row());
        let planes = planes.zip(self.lengths.chunks_exact_mut(stride));
        for ((planes, lengths), rows) in planes.zip(rows.chunks_exact(width * dim)) {
            turned([width, dim], (rows, dim), (&mut planes[margin..], stride));
            match whitener {
                Whitener::Diagonal(factors) => {
                    for (plane, factor) in planes.chunks_exact_mut(stride).zip(factors) {
                        plane.iter_mut().for_each(|value| *value *= factor);
                    }
                }
                Whitener::LowRank(projection) => projection.apply(&layout, planes),
            }
            let own = &mut lengths[margin..margin + layout.filled()];
            patches::squared_lengths(&layout, planes, own);
            own[width..].fill(f32::INFINITY);
        }
    }

    /// Squared lengths of a row's patches.
    pub(super) fn lengths_of(&self, y: usize) -> &[f32] {
        &self.lengths[y * self.layout.stride() + self.layout.margin..][..self.layout.width]
    }

    fn grid(&self) -> Grid<'_> {
        Grid { values: &self.values, lengths: &self.lengths }
    }
}

/// The nearest patch of any reference to each patch of a picture, looked for again and again.
#[derive(Debug, Clone)]
pub(super) struct Nearest {
    /// `|m|^2 - 2 q.m` of the nearest patch `m`, row by row: the query's own squared length is not in it.
    least: Vec<f32>,
    /// Which: the reference's number times the cells of a picture plus its cell.
    place: Vec<f32>,
    width: usize,
    /// Cells of a row, filled up.
    filled: usize,
}

impl Nearest {
    /// For grids of so many cells.
    pub(super) fn new(width: usize, height: usize) -> Nearest {
        let filled = Layout { width, height, dim: 0, margin: 0 }.filled();
        let cells = filled * height;
        Nearest { least: vec![f32::INFINITY; cells], place: vec![0.0; cells], width, filled }
    }

    /// Looks from each patch in `rows` of `query` within `reach` cells, in all `references`; all have one size, and
    /// a margin of at least `reach`. A patch that is not finite is near to nothing.
    ///
    /// # Errors
    /// Grids of different sizes, or rows that are none.
    pub(super) fn search(
        &mut self,
        query: &Planes,
        rows: Range<usize>,
        references: &[Planes],
        reach: usize,
    ) -> Result<(), StudentTError> {
        let layout = &query.layout;
        let alike = references.iter().all(|reference| reference.layout == *layout);
        let cells = rows.start * self.filled..rows.end * self.filled;
        if alike && cells.end <= self.least.len() && cells.start <= cells.end {
            self.least[cells.clone()].fill(f32::INFINITY);
            self.place[cells].fill(0.0);
            let found = Found { least: &mut self.least, place: &mut self.place };
            let references = references.iter().map(Planes::grid);
            if patches::search(layout, (query.grid(), rows), references, reach, found) {
                return Ok(());
            }
        }
        Err(StudentTError::WrongSize {
            what: "planes of a reference",
            expected: query.values.len(),
            got: references.first().map_or(0, |reference| reference.values.len()),
        })
    }

    /// `|m|^2 - 2 q.m` and the place of the nearest patch, for each cell of row `y`.
    pub(super) fn found(&self, y: usize) -> impl Iterator<Item = (f32, usize)> {
        let cells = y * self.filled..y * self.filled + self.width;
        let places = self.place[cells.clone()].iter();
        self.least[cells].iter().zip(places).map(|(l, p)| (*l, *p as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::super::position::tests::noise;
    use super::*;
    use proptest::prelude::*;

    fn planes(size: (usize, usize, usize), margin: usize, seed: u64) -> (Vec<f32>, Planes) {
        let mut next = noise(seed);
        let rows: Vec<f32> = (0..size.0 * size.1 * size.2).map(|_| next()).collect();
        let mut planes = Planes::new(size, margin);
        planes.load(&rows, &Whitener::none(size.2));
        (rows, planes)
    }

    proptest! {
        #[test]
        fn finds_what_looking_at_every_cell_finds(
            width in 1..40usize, height in 1..8usize, reach in 0..9usize, count in 1..4u64,
            seed in 0..1000u64,
        ) {
            let size = (width, height, 3);
            let (query, planes_of_query) = planes(size, reach, seed);
            let (rows, references): (Vec<_>, Vec<_>) =
                (0..count).map(|i| planes(size, reach, seed + 1 + i)).unzip();
            let mut nearest = Nearest::new(width, height);
            // Twice, and the second time one row alone: nothing of the first must be left.
            nearest.search(&references[0], 0..height, &references, reach).unwrap();
            nearest.search(&planes_of_query, 0..height, &references, reach).unwrap();
            let row = height / 2;
            nearest.search(&planes_of_query, row..row + 1, &references, reach).unwrap();
            let patch = |rows: &[f32], cell: usize| -> Vec<f32> { rows[cell * 3..][..3].to_vec() };
            for cell in 0..width * height {
                let (x, y) = (cell % width, cell / width);
                let q = patch(&query, cell);
                let apart = |number: usize, other: usize| -> f32 {
                    let m = patch(&rows[number], other);
                    q.iter().zip(&m).map(|(q, m)| (q - m) * (q - m)).sum()
                };
                let mut want = f32::INFINITY;
                for number in 0..rows.len() {
                    for other in 0..width * height {
                        let near = (other % width).abs_diff(x).max((other / width).abs_diff(y));
                        if near <= reach {
                            want = want.min(apart(number, other));
                        }
                    }
                }
                let (rest, place) = nearest.found(y).nth(x).unwrap();
                let got = planes_of_query.lengths_of(y)[x] + rest;
                prop_assert!((got - want).abs() < 1e-4, "{cell}: {got} {want}");
                let (number, other) = (place / (width * height), place % (width * height));
                prop_assert!((apart(number, other) - want).abs() < 1e-4, "{cell}: place {place}");
            }
        }
    }

    #[test]
    fn grids_that_do_not_fit_are_refused() {
        let (_, query) = planes((20, 4, 3), 2, 1);
        let mut nearest = Nearest::new(20, 4);
        let (_, narrow) = planes((19, 4, 3), 2, 2);
        let (_, tight) = planes((20, 4, 3), 1, 2);
        for other in [narrow, tight] {
            assert!(nearest.search(&query, 0..4, &[other], 2).is_err());
        }
        let own = std::slice::from_ref(&query);
        assert!(nearest.search(&query, 0..4, own, 3).is_err());
        assert!(nearest.search(&query, 0..5, own, 2).is_err());
        assert!(Nearest::new(20, 3).search(&query, 0..3, own, 2).is_err());
    }
}
