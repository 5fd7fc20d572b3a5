//! Where to begin: every turn of the query at a few dozen pixels, and for each the shift at which it fits
//! the reference best.

use super::frame::{Frame, LANES, Seen};
use super::pose::Pose;

/// Cells that the query may be shifted by, each way.
const REACH: usize = 5;
/// Share of the reference that must still be seen.
const SEEN_MIN: f64 = 0.5;

/// Searches one reference. Keeps its buffers.
pub(super) struct Search {
    /// Columns and rows of the reference.
    size: (usize, usize),
    /// The reference and its squares, every row filled up with zeros to whole [`LANES`].
    reference: Vec<f32>,
    squares: Vec<f32>,
    seen: Seen,
    /// The query turned, with [`REACH`] cells of nothing around it; likewise what is seen of it.
    turned: Vec<f32>,
    weights: Vec<f32>,
    /// Sums of squares and of weights over all that lies above and to the left.
    energy: Vec<f32>,
    area: Vec<f32>,
}

impl Search {
    pub(super) fn new(reference: &Frame) -> Search {
        let size = (reference.width, reference.height);
        let whole = size.0.next_multiple_of(LANES);
        let mut filled = vec![0.0; whole * size.1];
        let rows = filled.chunks_exact_mut(whole).zip(reference.values.chunks_exact(size.0));
        rows.for_each(|(to, from)| to[..size.0].copy_from_slice(from));
        let (stride, rows) = (whole + 2 * REACH, size.1 + 2 * REACH);
        Search {
            size,
            squares: filled.iter().map(|v| v * v).collect(),
            reference: filled,
            seen: Seen::default(),
            turned: vec![0.0; stride * rows],
            weights: vec![0.0; stride * rows],
            energy: vec![0.0; (stride + 1) * (rows + 1)],
            area: vec![0.0; (stride + 1) * (rows + 1)],
        }
    }

    /// Columns of the bordered frames.
    fn stride(&self) -> usize {
        self.size.0.next_multiple_of(LANES) + 2 * REACH
    }

    /// The best shift for every one of `rotations` (radians), best first, with its fit.
    pub(super) fn starts(&mut self, query: &Frame, rotations: &[f64]) -> Vec<(Pose, f64)> {
        let (w, h) = (query.width, query.height);
        let unit = w.max(h) as f64;
        let mut found: Vec<(Pose, f64)> = Vec::with_capacity(rotations.len());
        for &rotation in rotations {
            let turned = Pose { rotation, ..Pose::IDENTITY };
            query.moved(&turned.affine(w, h, w as f64 / h as f64), &mut self.seen);
            let stride = self.stride();
            border(&mut self.turned, stride, &self.seen.frame.values, w);
            border(&mut self.weights, stride, &self.seen.weights, w);
            sum_up(&mut self.energy, stride, &self.turned, |v| v * v);
            sum_up(&mut self.area, stride, &self.weights, |w| w);
            let Some(([dx, dy], fit)) = self.best_shift() else { continue };
            // The shift is one in the turned picture.
            let (sin, cos) = rotation.sin_cos();
            let (dx, dy) = (dx / unit, dy / unit);
            let shift = [cos * dx - sin * dy, sin * dx + cos * dy];
            found.push((Pose { rotation, shift, ..Pose::IDENTITY }, fit));
        }
        found.sort_by(|a, b| b.1.total_cmp(&a.1));
        found
    }

    fn best_shift(&self) -> Option<([f64; 2], f64)> {
        let corners = (0..=2 * REACH).flat_map(|y| (0..=2 * REACH).map(move |x| [x, y]));
        let fits = corners.filter_map(|corner| Some((corner, self.fit(corner)?)));
        let (corner, fit) = fits.max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some((corner.map(|cells| cells as f64 - REACH as f64), fit))
    }

    /// Cosine of the reference and what is seen from `corner` of the bordered frame on. Both frames are centred
    /// already.
    fn fit(&self, corner: [usize; 2]) -> Option<f64> {
        let (w, h) = self.size;
        let count = self.within(&self.area, corner);
        if count < SEEN_MIN * (w * h) as f64 {
            return None;
        }
        let ([left, top], stride, whole) = (corner, self.stride(), w.next_multiple_of(LANES));
        let (mut product, mut ours) = ([0.0f32; LANES], [0.0f32; LANES]);
        for row in 0..h {
            let (here, there) = (row * whole, (top + row) * stride + left);
            let reference = self.reference[here..][..whole].as_chunks::<LANES>().0;
            let squares = &self.squares[here..][..whole].as_chunks::<LANES>().0[..reference.len()];
            let seen = &self.turned[there..][..whole].as_chunks::<LANES>().0[..reference.len()];
            let weights = &self.weights[there..][..whole].as_chunks::<LANES>().0[..reference.len()];
            for i in 0..reference.len() {
                for lane in 0..LANES {
                    product[lane] += reference[i][lane] * seen[i][lane];
                    ours[lane] += weights[i][lane] * squares[i][lane];
                }
            }
        }
        let [product, ours] = [product, ours].map(|lanes| f64::from(lanes.iter().sum::<f32>()));
        let spread = ours * self.within(&self.energy, corner);
        Some(if spread > 0.0 { product / spread.sqrt() } else { 0.0 })
    }

    /// What `sums` have of the window at `corner`.
    fn within(&self, sums: &[f32], [left, top]: [usize; 2]) -> f64 {
        let (right, bottom) = (left + self.size.0, top + self.size.1);
        let at = |x: usize, y: usize| f64::from(sums[y * (self.stride() + 1) + x]);
        at(right, bottom) - at(left, bottom) - at(right, top) + at(left, top)
    }
}

/// Lays rows of `width` values into the middle of `bordered`, whose border stays as it is.
fn border(bordered: &mut [f32], stride: usize, values: &[f32], width: usize) {
    let rows = bordered.chunks_exact_mut(stride).skip(REACH);
    for (to, from) in rows.zip(values.chunks_exact(width)) {
        to[REACH..REACH + width].copy_from_slice(from);
    }
}

/// Sums of `value` over all that lies above and to the left, a row and a column larger than what is summed.
fn sum_up(sums: &mut [f32], stride: usize, of: &[f32], value: impl Fn(f32) -> f32) {
    for (y, row) in of.chunks_exact(stride).enumerate() {
        let (above, below) = sums.split_at_mut((y + 1) * (stride + 1));
        let above = &above[y * (stride + 1)..];
        let mut so_far = 0.0;
        for (x, cell) in row.iter().enumerate() {
            so_far += value(*cell);
            below[x + 1] = so_far + above[x + 1];
        }
    }
}
