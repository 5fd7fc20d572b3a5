//! Patch features of a picture laid out for searching: one plane per feature and row, so that neighbouring cells
//! lie in one register.

#![allow(clippy::needless_range_loop)]

use super::StudentTError;
use super::whiten::Whitener;
use crate::engine::tract::{Vectorised, vectorised};
use std::ops::Range;

/// Cells that a row is filled up to a multiple of: the widest register.
const BLOCK: usize = 16;

/// A grid of patches as `[row][feature][cell of the row]`, with a margin of cells on both sides that lie infinitely
/// far from everything.
#[derive(Debug, Clone)]
pub(super) struct Planes {
    width: usize,
    height: usize,
    dim: usize,
    /// Cells on either side that are none.
    margin: usize,
    /// Cells between two planes: the margins and the row, filled up.
    stride: usize,
    values: Vec<f32>,
    /// Squared length of each patch, `[row][cell]`; infinite where there is none.
    lengths: Vec<f32>,
}

impl Planes {
    /// All zero; `margin` cells may be looked at beyond each end of a row.
    pub(super) fn new((width, height, dim): (usize, usize, usize), margin: usize) -> Planes {
        let stride = width.next_multiple_of(BLOCK) + 2 * margin;
        Planes {
            width,
            height,
            dim,
            margin,
            stride,
            values: vec![0.0; height * dim * stride],
            lengths: vec![f32::INFINITY; height * stride],
        }
    }

    /// Takes rows of features in, one cell after the other, whitened.
    pub(super) fn load(&mut self, rows: &[f32], whitener: &Whitener) {
        vectorised(Load { planes: self, rows, whitener });
    }

    /// Squared lengths of a row's patches.
    pub(super) fn lengths_of(&self, y: usize) -> &[f32] {
        &self.lengths[y * self.stride + self.margin..][..self.width]
    }

    /// All planes of a row.
    fn row(&self, y: usize) -> &[f32] {
        let size = self.dim * self.stride;
        &self.values[y * size..(y + 1) * size]
    }

    /// Rows within `reach` of `y`.
    fn rows_near(&self, y: usize, reach: usize) -> Range<usize> {
        y.saturating_sub(reach)..(y + reach + 1).min(self.height)
    }
}

struct Load<'a> {
    planes: &'a mut Planes,
    rows: &'a [f32],
    whitener: &'a Whitener,
}

impl Vectorised for Load<'_> {
    type Out = ();

    #[inline(always)]
    fn run<const LANES: usize, const FUSED: bool>(self) {
        let Planes { width, dim, margin, stride, values, lengths, .. } = self.planes;
        let (width, dim, margin, stride) = (*width, *dim, *margin, *stride);
        let planes = values.chunks_exact_mut(dim * stride).zip(lengths.chunks_exact_mut(stride));
        for ((planes, lengths), rows) in planes.zip(self.rows.chunks_exact(width * dim)) {
            for x in 0..width {
                let patch = &rows[x * dim..][..dim];
                for d in 0..dim {
                    planes[d * stride + margin + x] = patch[d];
                }
            }
            match self.whitener {
                Whitener::Diagonal(factors) => {
                    for d in 0..dim {
                        scale(&mut planes[d * stride..][..stride], factors[d]);
                    }
                }
                Whitener::LowRank { directions, gains } => {
                    // The directions are orthonormal: taking one off leaves the others' shares. Lengths are
                    // not known yet; their place holds the share of one direction.
                    let share = &mut *lengths;
                    for r in 0..gains.len() {
                        let unit = &directions[r * dim..][..dim];
                        share.fill(0.0);
                        for d in 0..dim {
                            add_scaled::<FUSED>(share, &planes[d * stride..][..stride], unit[d]);
                        }
                        for d in 0..dim {
                            let plane = &mut planes[d * stride..][..stride];
                            add_scaled::<FUSED>(plane, share, -gains[r] * unit[d]);
                        }
                    }
                }
            }
            lengths.fill(f32::INFINITY);
            let own = &mut lengths[margin..margin + width];
            own.fill(0.0);
            for d in 0..dim {
                add_squares::<FUSED>(own, &planes[d * stride + margin..][..width]);
            }
        }
    }
}

// By index: an iterator's methods are functions without the instruction set, and where the optimiser leaves one
// standing it is called for every number.

#[inline(always)]
fn scale(values: &mut [f32], factor: f32) {
    for i in 0..values.len() {
        values[i] *= factor;
    }
}

#[inline(always)]
fn add_squares<const FUSED: bool>(sums: &mut [f32], values: &[f32]) {
    let values = &values[..sums.len()];
    for i in 0..sums.len() {
        sums[i] = multiply_add::<FUSED>(values[i], values[i], sums[i]);
    }
}

#[inline(always)]
fn add_scaled<const FUSED: bool>(sums: &mut [f32], values: &[f32], factor: f32) {
    let values = &values[..sums.len()];
    for i in 0..sums.len() {
        sums[i] = multiply_add::<FUSED>(values[i], factor, sums[i]);
    }
}

#[inline(always)]
fn multiply_add<const FUSED: bool>(a: f32, b: f32, plus: f32) -> f32 {
    // Without the instruction, a fused product would be a call into the C library.
    if FUSED { a.mul_add(b, plus) } else { a * b + plus }
}

/// The nearest patch of any reference to each patch of a picture, looked for again and again.
#[derive(Debug, Clone)]
pub(super) struct Nearest {
    /// `|m|^2 - 2 q.m` of the nearest patch `m`, row by row: the query's own squared length is not in it.
    least: Vec<f32>,
    /// Which: the reference's number times the cells of a picture plus its cell.
    place: Vec<u32>,
    width: usize,
    /// Cells of a row, filled up.
    filled: usize,
}

impl Nearest {
    /// For grids of so many cells.
    pub(super) fn new(width: usize, height: usize) -> Nearest {
        let filled = width.next_multiple_of(BLOCK);
        let cells = filled * height;
        Nearest { least: vec![f32::INFINITY; cells], place: vec![0; cells], width, filled }
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
        let shape = |p: &Planes| (p.width, p.height, p.dim, p.margin);
        let alike = references.iter().all(|reference| shape(reference) == shape(query));
        let own = (self.width, self.least.len()) == (query.width, self.filled * query.height);
        if !alike || !own || query.margin < reach || rows.end > query.height {
            return Err(StudentTError::WrongSize {
                what: "planes of a reference",
                expected: query.values.len(),
                got: references.first().map_or(0, |reference| reference.values.len()),
            });
        }
        let cells = rows.start * self.filled..rows.end * self.filled;
        self.least[cells.clone()].fill(f32::INFINITY);
        self.place[cells].fill(0);
        vectorised(Search { nearest: self, query, rows, references, reach });
        Ok(())
    }

    /// `|m|^2 - 2 q.m` and the place of the nearest patch, for each cell of row `y`.
    pub(super) fn found(&self, y: usize) -> impl Iterator<Item = (f32, usize)> {
        let cells = y * self.filled..y * self.filled + self.width;
        let places = self.place[cells.clone()].iter();
        self.least[cells].iter().zip(places).map(|(l, p)| (*l, *p as usize))
    }
}

struct Search<'a> {
    nearest: &'a mut Nearest,
    query: &'a Planes,
    rows: Range<usize>,
    references: &'a [Planes],
    reach: usize,
}

impl Vectorised for Search<'_> {
    type Out = ();

    #[inline(always)]
    fn run<const LANES: usize, const FUSED: bool>(self) {
        let Search { nearest, query, rows, references, reach } = self;
        let cells = query.width * query.height;
        for number in 0..references.len() {
            let reference = &references[number];
            // A row of the reference is fetched once for all rows of the query that look at it.
            for there in 0..reference.height {
                let near = reference.rows_near(there, reach);
                let (mut y, end) = (near.start.max(rows.start), near.end.min(rows.end));
                let mut line = Line {
                    query,
                    bank: reference.row(there),
                    lengths: &reference.lengths[there * reference.stride..][..reference.stride],
                    nearest: &mut *nearest,
                    reach,
                    // Of the margin's first cell, were it one.
                    place: (number * cells + there * query.width).wrapping_sub(query.margin),
                };
                while y < end {
                    y += match end - y {
                        2.. => line.meet::<LANES, FUSED, 2>(y),
                        _ => line.meet::<LANES, FUSED, 1>(y),
                    };
                }
            }
        }
    }
}

/// A row of a reference, for rows of the query to meet.
struct Line<'a> {
    query: &'a Planes,
    /// Its planes and squared lengths.
    bank: &'a [f32],
    lengths: &'a [f32],
    nearest: &'a mut Nearest,
    reach: usize,
    /// The place of the first column of its planes.
    place: usize,
}

impl Line<'_> {
    /// Compares `R` rows of the query from `y` on with all cells in reach; gives `R`.
    #[inline(always)]
    fn meet<const LANES: usize, const FUSED: bool, const R: usize>(&mut self, y: usize) -> usize {
        let (mut offset, window) = (0, 2 * self.reach + 1);
        while offset < window {
            // As many offsets side by side as there are registers for.
            offset += match window - offset {
                7.. => self.meet_at::<LANES, FUSED, R, 7>(y, offset),
                5..7 => self.meet_at::<LANES, FUSED, R, 5>(y, offset),
                3..5 => self.meet_at::<LANES, FUSED, R, 3>(y, offset),
                _ => self.meet_at::<LANES, FUSED, R, 1>(y, offset),
            };
        }
        R
    }

    /// The same for `N` cells of the window, from its column `offset` on; gives `N`.
    #[inline(always)]
    fn meet_at<const LANES: usize, const FUSED: bool, const R: usize, const N: usize>(
        &mut self,
        y: usize,
        offset: usize,
    ) -> usize {
        let Planes { margin, .. } = *self.query;
        let from = margin - self.reach + offset;
        let rows: [&[f32]; R] = std::array::from_fn(|r| self.query.row(y + r));
        let Nearest { least, place, filled, .. } = &mut *self.nearest;
        for x in (0..*filled).step_by(LANES) {
            let dots =
                dots::<LANES, FUSED, R, N>((rows, margin + x), (self.bank, from + x), self.query);
            for r in 0..R {
                let at = (y + r) * *filled + x;
                let least = least[at..].first_chunk_mut::<LANES>();
                let place = place[at..].first_chunk_mut::<LANES>();
                let (Some(least), Some(place)) = (least, place) else { return N };
                for n in 0..N {
                    let dots = &dots[r][n];
                    let column = from + x + n;
                    let Some(lengths) = self.lengths[column..].first_chunk::<LANES>() else {
                        return N;
                    };
                    let here = self.place.wrapping_add(column) as u32;
                    for i in 0..LANES {
                        let distance = lengths[i] - 2.0 * dots[i];
                        let nearer = distance < least[i];
                        least[i] = if nearer { distance } else { least[i] };
                        place[i] = if nearer { here.wrapping_add(i as u32) } else { place[i] };
                    }
                }
            }
        }
        N
    }
}

/// Dot products of `LANES` cells of `R` rows of a query, from a column on, with those of a reference's row that
/// begin at each of `N` columns. By value and with a length that the compiler sees, it all stays in registers.
#[inline(always)]
fn dots<const LANES: usize, const FUSED: bool, const R: usize, const N: usize>(
    (rows, own): ([&[f32]; R], usize),
    (bank, from): (&[f32], usize),
    Planes { dim, stride, .. }: &Planes,
) -> [[[f32; LANES]; N]; R] {
    let mut sums = [[[0f32; LANES]; N]; R];
    for plane in 0..*dim {
        let at = plane * stride;
        let Some(cells) = bank.get(at + from..at + from + LANES + N - 1) else { break };
        let mut shifted = [[0f32; LANES]; N];
        for n in 0..N {
            let Some(cells) = cells[n..].first_chunk::<LANES>() else { return sums };
            shifted[n] = *cells;
        }
        for r in 0..R {
            let cells = rows[r].get(at + own..at + own + LANES);
            let Some(q) = cells.and_then(|cells| cells.first_chunk::<LANES>()) else {
                return sums;
            };
            for n in 0..N {
                for i in 0..LANES {
                    sums[r][n][i] = multiply_add::<FUSED>(q[i], shifted[n][i], sums[r][n][i]);
                }
            }
        }
    }
    sums
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
