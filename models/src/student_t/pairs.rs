//! Which patch of one prompt lies nearest to each patch of another, for all pairs of prompts.
//!
//! Found once at enrolment. Leave-one-out then only has to take minima over the prompts that are
//! left, instead of searching the windows again for each prompt left out.

use super::position::PatchGrid;

/// Lanes of the f32 dot product: a width that every vector unit in question divides.
const LANES: usize = 8;

/// Dot product in f32 with independent lanes, so that the compiler may use vector registers.
pub(super) fn dot32(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a_body, a_tail) = a.split_at(a.len() - a.len() % LANES);
    let (b_body, b_tail) = b.split_at(a_body.len());
    for (x, y) in a_body.chunks_exact(LANES).zip(b_body.chunks_exact(LANES)) {
        for i in 0..LANES {
            lanes[i] += x[i] * y[i];
        }
    }
    let tail: f32 = a_tail.iter().zip(b_tail).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f32>() + tail
}

/// Squared distance in f32 with independent lanes, exactly zero for equal patches.
fn apart32(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a_body, a_tail) = a.split_at(a.len() - a.len() % LANES);
    let (b_body, b_tail) = b.split_at(a_body.len());
    for (x, y) in a_body.chunks_exact(LANES).zip(b_body.chunks_exact(LANES)) {
        for i in 0..LANES {
            lanes[i] += (x[i] - y[i]) * (x[i] - y[i]);
        }
    }
    let tail: f32 = a_tail.iter().zip(b_tail).map(|(x, y)| (x - y) * (x - y)).sum();
    lanes.iter().sum::<f32>() + tail
}

/// Rows and columns within `reach` of a cell, clipped to the grid: `(x0, x1, y0, y1)`, ends
/// exclusive.
pub(super) fn window(
    cell: usize,
    width: usize,
    height: usize,
    reach: usize,
) -> (usize, usize, usize, usize) {
    let (x, y) = (cell % width, cell / width);
    (
        x.saturating_sub(reach),
        (x + reach + 1).min(width),
        y.saturating_sub(reach),
        (y + reach + 1).min(height),
    )
}

/// For each ordered pair of prompts and each cell of the first: the nearest cell of the second.
#[derive(Debug, Clone)]
pub(super) struct PairTable {
    prompts: usize,
    cells: usize,
    /// Squared distance and cell, `[first][second][cell]`; the diagonal is unused.
    nearest: Vec<(f32, u32)>,
}

impl PairTable {
    /// Searches all pairs; grids have the same size and unit-length or at least finite rows.
    pub(super) fn new(grids: &[PatchGrid], reach: usize) -> Self {
        let prompts = grids.len();
        let cells = grids.first().map_or(0, PatchGrid::cells);
        let mut nearest = vec![(f32::INFINITY, 0); prompts * prompts * cells];
        for (i, first) in grids.iter().enumerate() {
            for (j, second) in grids.iter().enumerate().filter(|(j, _)| *j != i) {
                let slots = &mut nearest[(i * prompts + j) * cells..][..cells];
                for (cell, slot) in slots.iter_mut().enumerate() {
                    *slot = nearest_in_window(first, second, cell, reach);
                }
            }
        }
        Self { prompts, cells, nearest }
    }

    /// The prompt and cell nearest to `cell` of prompt `of`, among all others of those `used`.
    pub(super) fn nearest(&self, of: usize, cell: usize, used: &[usize]) -> Option<(usize, usize)> {
        let others = used.iter().copied().filter(|j| *j != of && *j < self.prompts);
        others
            .map(|j| (j, self.nearest[(of * self.prompts + j) * self.cells + cell]))
            .min_by(|a, b| a.1.0.total_cmp(&b.1.0))
            .map(|(j, (_, found))| (j, found as usize))
    }
}

fn nearest_in_window(
    first: &PatchGrid,
    second: &PatchGrid,
    cell: usize,
    reach: usize,
) -> (f32, u32) {
    let x = first.row(cell);
    let (x0, x1, y0, y1) = window(cell, first.width(), first.height(), reach);
    let mut best = (f32::INFINITY, cell as u32);
    for other in (y0..y1).flat_map(|y| (x0..x1).map(move |x| y * first.width() + x)) {
        // The plain difference: this is enrolment, and it must not cancel for equal patches.
        let distance = apart32(x, second.row(other));
        if distance < best.0 {
            best = (distance, other as u32);
        }
    }
    best
}
