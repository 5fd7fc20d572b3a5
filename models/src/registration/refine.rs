//! A pose made exact: Gauss-Newton on the difference of two frames, with gain and offset of the query
//! beside the pose, and places that do not fit (a defect, a glint) counting little.

use super::frame::{Frame, LANES, Seen, correlation};
use super::pose::Pose;
use crate::student_t::linalg::Cholesky;

/// Steps after which it is as good as it gets.
const STEPS_MAX: usize = 8;
/// Steps that may pass without improvement before it ends.
const PATIENCE: usize = 2;
/// A step that moves no place by more than this, in cells, is the last.
const STILL: f64 = 0.05;
/// Most that the scale changes in a step, as a logarithm.
const SCALE_STEP_MAX: f64 = 0.05;
/// A difference of so many deviations counts half.
const DOUBTFUL: f64 = 2.0;
/// From the median of magnitudes to a deviation.
const MEDIAN_TO_DEVIATION: f64 = 1.48;
/// Differences that the median is taken of.
const MEDIAN_OF: usize = 2048;
/// Damping of the normal equations, relative and absolute: plain pictures have no slopes.
const DAMPING: (f64, f64) = (1e-3, 1e-3);
/// Rotation, logarithm of the scale, shift along x and y, gain, offset.
const PARAMETERS: usize = 6;
/// Cells on and above the diagonal of the normal equations, and their right side.
const SUMS: usize = PARAMETERS * (PARAMETERS + 1) / 2 + PARAMETERS;

/// Makes poses exact. Keeps its buffers.
#[derive(Debug, Default)]
pub(super) struct Refiner {
    seen: Seen,
    along: Vec<f32>,
    down: Vec<f32>,
    /// Where cells are from the middle, in longest sides.
    across: Vec<f32>,
    below: Vec<f32>,
    sizes: Vec<f32>,
}

impl Refiner {
    /// How well the query fits the reference at `pose`, -1 to 1.
    pub(super) fn fit(&mut self, reference: &Frame, query: &Frame, pose: &Pose) -> f64 {
        let (w, h) = (query.width, query.height);
        query.moved(&pose.affine(w, h, w as f64 / h as f64), &mut self.seen);
        correlation(&reference.values, &self.seen.frame.values, &self.seen.weights)
    }

    /// The best pose near `start` and its fit. Scales stay within `scales`.
    pub(super) fn refine(
        &mut self,
        reference: &Frame,
        query: &Frame,
        start: Pose,
        scales: (f64, f64),
    ) -> (Pose, f64) {
        self.lay_out(reference);
        let mut pose = start;
        let (mut best, mut stale) = ((start, self.fit(reference, query, &start)), 0);
        for _ in 0..STEPS_MAX {
            let Some(next) = self.step(reference, &pose) else { break };
            let next = Pose { scale: next.scale.clamp(scales.0, scales.1), ..next };
            let still =
                pose.farthest(&next) * reference.width.max(reference.height) as f64 <= STILL;
            pose = next;
            let fit = self.fit(reference, query, &pose);
            stale += 1;
            if fit > best.1 {
                (best, stale) = ((pose, fit), 0);
            }
            if still || stale == PATIENCE {
                break;
            }
        }
        best
    }

    /// Where the cells of frames like `reference` are.
    fn lay_out(&mut self, reference: &Frame) {
        let (width, height) = (reference.width, reference.height);
        let unit = width.max(height) as f32;
        let place = |i: usize, n: usize| (i as f32 + 0.5 - n as f32 / 2.0) / unit;
        self.across.clear();
        self.below.clear();
        for row in 0..height {
            self.across.extend((0..width).map(|x| place(x, width)));
            self.below.extend(std::iter::repeat_n(place(row, height), width));
        }
    }

    /// One step from `pose`, at which the query was just seen; `None` where the pictures say nothing about the
    /// way.
    fn step(&mut self, reference: &Frame, pose: &Pose) -> Option<Pose> {
        self.seen.slopes(&mut self.along, &mut self.down);
        let doubtful = DOUBTFUL * self.deviation(reference)?;
        let (normal, right) = self.equations(reference, pose, doubtful as f32);
        let change = Cholesky::new(PARAMETERS, &normal)?.solve(&right);
        let growth = change[1].clamp(-SCALE_STEP_MAX, SCALE_STEP_MAX).exp();
        let next = Pose {
            rotation: pose.rotation + change[0],
            scale: pose.scale * growth,
            shift: [pose.shift[0] + change[2], pose.shift[1] + change[3]],
        };
        let finite = next.shift.iter().chain([&next.rotation, &next.scale]).all(|v| v.is_finite());
        finite.then_some(next)
    }

    /// Robust deviation of the differences that count; `None` if there are none.
    fn deviation(&mut self, reference: &Frame) -> Option<f64> {
        let seen = self.seen.frame.values.iter().zip(&self.seen.weights);
        let counted = reference.values.iter().zip(seen).filter(|(_, (_, weight))| **weight > 0.0);
        let stride = (reference.values.len() / MEDIAN_OF).max(1);
        self.sizes.clear();
        self.sizes.extend(counted.step_by(stride).map(|(r, (s, _))| (r - s).abs()));
        let middle = self.sizes.len() / 2;
        if self.sizes.is_empty() {
            return None;
        }
        let (_, median, _) = self.sizes.select_nth_unstable_by(middle, f32::total_cmp);
        Some(MEDIAN_TO_DEVIATION * f64::from(*median).max(1e-6))
    }

    /// The damped normal equations of a step: the matrix, row by row, and the right side.
    ///
    /// With x and y from the middle and the slopes of what is seen, turning changes a place by
    /// `y' = x down - y along`, growing by `x along + y down`; only shifts need the query's own slopes.
    fn equations(
        &self,
        reference: &Frame,
        pose: &Pose,
        doubtful: f32,
    ) -> ([f64; PARAMETERS * PARAMETERS], [f64; PARAMETERS]) {
        // Cells per unit of length.
        let unit = reference.width.max(reference.height) as f32;
        let (sin, cos) = pose.rotation.sin_cos();
        let (sin, cos) = ((sin / pose.scale) as f32, (cos / pose.scale) as f32);
        let mut sums = [[0.0f32; LANES]; SUMS];
        // A few cells at the end of the last row may be left out.
        let cells = lanes(&self.across)
            .zip(lanes(&self.below))
            .zip(lanes(&reference.values).zip(lanes(&self.seen.frame.values)))
            .zip(lanes(&self.along).zip(lanes(&self.down)).zip(lanes(&self.seen.weights)));
        for (((x, y), (reference, seen)), ((along, down), weights)) in cells {
            // Those of the parameters, and what is to be explained.
            let mut rows = [[1.0; LANES]; PARAMETERS + 1];
            let mut weighed = [0.0; LANES];
            for i in 0..LANES {
                let (gx, gy) = (unit * along[i], unit * down[i]);
                rows[0][i] = gy * x[i] - gx * y[i];
                rows[1][i] = gx * x[i] + gy * y[i];
                rows[2][i] = cos * gx - sin * gy;
                rows[3][i] = sin * gx + cos * gy;
                rows[4][i] = seen[i];
                rows[PARAMETERS][i] = reference[i] - seen[i];
                let doubt = rows[PARAMETERS][i] / doubtful;
                weighed[i] = weights[i] / (1.0 + doubt * doubt);
            }
            add_products(&mut sums, &rows, &weighed);
        }
        let mut sums = sums.into_iter().map(|lanes| lanes.into_iter().map(f64::from).sum());
        let mut next = || sums.next().unwrap_or(0.0);
        let (mut normal, mut right) = ([0.0; PARAMETERS * PARAMETERS], [0.0; PARAMETERS]);
        for i in 0..PARAMETERS {
            for j in i..PARAMETERS {
                let sum: f64 = next();
                normal[i * PARAMETERS + j] = sum;
                normal[j * PARAMETERS + i] = sum;
            }
            right[i] = next();
            let cell = &mut normal[i * PARAMETERS + i];
            *cell += DAMPING.0 * *cell + DAMPING.1;
        }
        (normal, right)
    }
}

fn lanes(values: &[f32]) -> impl Iterator<Item = &[f32; LANES]> {
    values.as_chunks::<LANES>().0.iter()
}

/// Adds the weighed products of all rows with each other and with the differences, which are the last row, in the
/// order of [`Refiner::equations`].
#[inline]
fn add_products(
    sums: &mut [[f32; LANES]; SUMS],
    rows: &[[f32; LANES]; PARAMETERS + 1],
    weights: &[f32; LANES],
) {
    let mut at = 0;
    for (i, row) in rows[..PARAMETERS].iter().enumerate() {
        let weighed: [f32; LANES] = std::array::from_fn(|lane| weights[lane] * row[lane]);
        let factors = &rows[i..];
        for (sum, factor) in sums[at..].iter_mut().zip(factors) {
            for lane in 0..LANES {
                sum[lane] += weighed[lane] * factor[lane];
            }
        }
        at += factors.len();
    }
}
