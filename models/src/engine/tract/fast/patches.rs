//! What scoring spends its time with, written for registers like the engine's operators: patch features whitened, and
//! the nearest patch of any reference within a window. Left to the compiler, link-time optimisation took such loops
//! apart or not as it liked, and the difference was twice the time.

use super::isa::{Isa, Kernel};
use super::lanes::{LANES_MAX, Lanes};
use std::ops::Range;

/// Directions that are taken off together, as many as there are registers for.
const TOGETHER: usize = 8;
/// Places are held as `f32`, beside the distances, which counts no further.
const PLACES_MAX: usize = 1 << 24;

/// Where what lies in a grid of patches: `[row][feature][cell of the row]`, with a margin of cells that are none
/// beyond both ends of a row, and squared lengths as `[row][cell]`, infinite where there is no cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub width: usize,
    pub height: usize,
    pub dim: usize,
    /// Cells on either side that are none.
    pub margin: usize,
}

impl Layout {
    /// Cells of a row, filled up to whole registers of any set.
    pub fn filled(&self) -> usize {
        self.width.next_multiple_of(LANES_MAX)
    }

    /// Cells between two features of a row: the margins and the row.
    pub fn stride(&self) -> usize {
        self.filled() + 2 * self.margin
    }

    /// Values of a row.
    pub fn row(&self) -> usize {
        self.dim * self.stride()
    }

    /// Whether a grid is one of this layout.
    fn holds(&self, grid: &Grid<'_>) -> bool {
        grid.values.len() == self.height * self.row()
            && grid.lengths.len() == self.height * self.stride()
    }
}

/// A grid of patches.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid<'a> {
    pub values: &'a [f32],
    pub lengths: &'a [f32],
}

/// `x - V diag(gain) V^T x` for orthonormal directions, the columns of V.
#[derive(Debug, Clone)]
pub(crate) struct Projection {
    dim: usize,
    /// `[group][feature][direction of the group]`: the directions, and what a patch loses of each per share of it.
    shares: Vec<f32>,
    losses: Vec<f32>,
}

impl Projection {
    /// From directions of `dim` values, one after the other, with a gain each.
    pub fn new(dim: usize, directions: &[f32], gains: &[f32]) -> Projection {
        let groups = gains.len().div_ceil(TOGETHER);
        let mut shares = vec![0.0; groups * dim * TOGETHER];
        let mut losses = shares.clone();
        for ((number, unit), gain) in directions.chunks_exact(dim).enumerate().zip(gains) {
            let (group, place) = (number / TOGETHER, number % TOGETHER);
            for (d, u) in unit.iter().enumerate() {
                let at = (group * dim + d) * TOGETHER + place;
                (shares[at], losses[at]) = (*u, -gain * u);
            }
        }
        Projection { dim, shares, losses }
    }

    /// Projects the patches of a row, `[feature][cell]`.
    pub fn apply(&self, layout: &Layout, row: &mut [f32]) {
        assert!(row.len() == layout.row() && self.dim == layout.dim, "a row of another layout");
        Isa::best().call(Project { projection: self, layout: *layout, row });
    }
}

/// Squared lengths of a row's patches, for all cells that are filled up.
pub(crate) fn squared_lengths(layout: &Layout, row: &[f32], lengths: &mut [f32]) {
    assert!(row.len() == layout.row() && lengths.len() == layout.filled(), "another layout");
    Isa::best().call(Squares { layout: *layout, row, lengths });
}

struct Project<'a> {
    projection: &'a Projection,
    layout: Layout,
    row: &'a mut [f32],
}

impl Kernel for Project<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const M: usize, const V: usize>(self) {
        let Projection { dim, shares, losses } = self.projection;
        let (stride, size) = (self.layout.stride(), dim * TOGETHER);
        let row = self.row.as_mut_ptr();
        for x in (0..self.layout.filled()).step_by(L::COUNT) {
            for group in 0..shares.len() / size {
                // SAFETY: a row has `dim` features of `stride` cells, of which the filled ones begin behind the
                // margin and are whole registers; each group has `TOGETHER` numbers per feature.
                unsafe {
                    let cells = row.add(self.layout.margin + x);
                    let weights = shares.as_ptr().add(group * size);
                    let mut share = [L::splat(0.0); TOGETHER];
                    for d in 0..*dim {
                        let value = L::load(cells.add(d * stride));
                        for i in 0..TOGETHER {
                            let weight = L::splat(*weights.add(d * TOGETHER + i));
                            share[i] = weight.mul_add(value, share[i]);
                        }
                    }
                    let weights = losses.as_ptr().add(group * size);
                    for d in 0..*dim {
                        let cell = cells.add(d * stride);
                        let mut value = L::load(cell);
                        for i in 0..TOGETHER {
                            let weight = L::splat(*weights.add(d * TOGETHER + i));
                            value = weight.mul_add(share[i], value);
                        }
                        value.store(cell);
                    }
                }
            }
        }
    }
}

struct Squares<'a> {
    layout: Layout,
    row: &'a [f32],
    lengths: &'a mut [f32],
}

impl Kernel for Squares<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const M: usize, const V: usize>(self) {
        let stride = self.layout.stride();
        for x in (0..self.layout.filled()).step_by(L::COUNT) {
            // SAFETY: as in `Project`; lengths are as many as cells are filled.
            unsafe {
                let cells = self.row.as_ptr().add(self.layout.margin + x);
                let mut sum = L::splat(0.0);
                for d in 0..self.layout.dim {
                    let value = L::load(cells.add(d * stride));
                    sum = value.mul_add(value, sum);
                }
                sum.store(self.lengths.as_mut_ptr().add(x));
            }
        }
    }
}

/// The nearest patches found so far, `[row][cell]`, rows filled up.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// `|m|^2 - 2 q.m` of the nearest patch `m`: the query's own squared length is not in it.
    pub least: &'a mut [f32],
    /// The reference's number times the cells of a picture plus its cell.
    pub place: &'a mut [f32],
}

/// Looks from each patch in `rows` of `query` within `reach` cells, in all `references`, for a nearer one than was
/// found. A patch that is not finite is near to nothing. False if grids or `found` are of another layout, its margin is
/// less than `reach`, or there are more places than can be told apart.
pub(crate) fn search<'a>(
    layout: &Layout,
    (query, rows): (Grid<'a>, Range<usize>),
    references: impl ExactSizeIterator<Item = Grid<'a>>,
    reach: usize,
    found: Found<'a>,
) -> bool {
    let cells = layout.filled() * layout.height;
    let fits = layout.holds(&query)
        && rows.end <= layout.height
        && reach <= layout.margin
        && found.least.len() == cells
        && found.place.len() == cells
        && references.len() * layout.width * layout.height <= PLACES_MAX;
    if !fits {
        return false;
    }
    let (isa, layout) = (Isa::best(), *layout);
    let (least, place) = (found.least.as_mut_ptr(), found.place.as_mut_ptr());
    for (number, reference) in references.enumerate() {
        if !layout.holds(&reference) {
            return false;
        }
        let rows = rows.clone();
        isa.call(Search { layout, query, rows, number, reference, reach, least, place });
    }
    true
}

struct Search<'a> {
    layout: Layout,
    query: Grid<'a>,
    rows: Range<usize>,
    number: usize,
    reference: Grid<'a>,
    reach: usize,
    least: *mut f32,
    place: *mut f32,
}

impl Kernel for Search<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const M: usize, const V: usize>(self) {
        // A row of the reference is fetched once for all rows of the query that look at it.
        for there in 0..self.layout.height {
            let first = there.saturating_sub(self.reach).max(self.rows.start);
            let end = (there + self.reach + 1).min(self.layout.height).min(self.rows.end);
            let mut y = first;
            while y < end {
                let left = end - y;
                // SAFETY: `search` has looked at all sizes; rows are of both grids.
                y += unsafe {
                    match left {
                        // Three rows by seven cells are 21 sums; with fewer registers two by four.
                        3 | 5.. if M * V >= 21 => self.meet::<L, 3, 7>(y, there),
                        1 if M * V >= 21 => self.meet::<L, 1, 7>(y, there),
                        1 => self.meet::<L, 1, 4>(y, there),
                        _ if M * V >= 21 => self.meet::<L, 2, 7>(y, there),
                        _ => self.meet::<L, 2, 4>(y, there),
                    }
                };
            }
        }
    }
}

impl Search<'_> {
    /// Compares `R` rows of the query from `y` on with all cells in reach of a row of the reference, up to `N` columns
    /// of the window side by side; gives `R`.
    #[inline(always)]
    unsafe fn meet<L: Lanes, const R: usize, const N: usize>(
        &self,
        y: usize,
        there: usize,
    ) -> usize {
        let (mut offset, window) = (0, 2 * self.reach + 1);
        while offset < window {
            let left = window - offset;
            // SAFETY: the caller's.
            offset += unsafe {
                match left {
                    7.. if N >= 7 => self.meet_at::<L, R, 7>(y, there, offset),
                    5.. if N >= 5 => self.meet_at::<L, R, 5>(y, there, offset),
                    4.. => self.meet_at::<L, R, 4>(y, there, offset),
                    3 => self.meet_at::<L, R, 3>(y, there, offset),
                    _ => self.meet_at::<L, R, 1>(y, there, offset),
                }
            };
        }
        R
    }

    /// The same for `N` columns of the window from `offset` on; gives `N`.
    #[inline(always)]
    unsafe fn meet_at<L: Lanes, const R: usize, const N: usize>(
        &self,
        y: usize,
        there: usize,
        offset: usize,
    ) -> usize {
        let Layout { width, height, dim, margin } = self.layout;
        let (stride, filled, row) = (self.layout.stride(), self.layout.filled(), self.layout.row());
        let from = margin - self.reach + offset;
        // SAFETY: cells of a row are filled up to whole registers behind the margin, which reaches as far on either
        // side as the window; rows of the query are `y..y + R`.
        unsafe {
            let count = L::load(COUNT.as_ptr());
            for x in (0..filled).step_by(L::COUNT) {
                let own = self.query.values.as_ptr().add(y * row + margin + x);
                let bank = self.reference.values.as_ptr().add(there * row + from + x);
                let mut dots = [[L::splat(0.0); N]; R];
                for d in 0..dim {
                    let mut shifted = [L::splat(0.0); N];
                    for n in 0..N {
                        shifted[n] = L::load(bank.add(d * stride + n));
                    }
                    for r in 0..R {
                        let value = L::load(own.add(r * row + d * stride));
                        for n in 0..N {
                            dots[r][n] = value.mul_add(shifted[n], dots[r][n]);
                        }
                    }
                }
                let lengths = self.reference.lengths.as_ptr().add(there * stride + from + x);
                // Of the first cell; margins count below the row, and are never the nearest.
                let cell = (self.number * height + there) * width;
                let column = (cell + from + x) as f32 - margin as f32;
                for r in 0..R {
                    let at = (y + r) * filled + x;
                    let (least_at, place_at) = (self.least.add(at), self.place.add(at));
                    let (mut least, mut place) = (L::load(least_at), L::load(place_at));
                    for n in 0..N {
                        let distance = dots[r][n].mul_add(L::splat(-2.0), L::load(lengths.add(n)));
                        let here = count.add(L::splat(column + n as f32));
                        place = distance.if_less(least, here, place);
                        least = distance.if_less(least, distance, least);
                    }
                    least.store(least_at);
                    place.store(place_at);
                }
            }
        }
        N
    }
}

/// The cells of a register.
const COUNT: [f32; LANES_MAX] = {
    let mut count = [0.0; LANES_MAX];
    let mut i = 0;
    while i < LANES_MAX {
        count[i] = i as f32;
        i += 1;
    }
    count
};
