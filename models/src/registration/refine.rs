//! A pose made exact: Gauss-Newton on the difference of two frames, with gain and offset of the query
//! beside the pose, and places that do not fit (a defect, a glint) counting little.

use super::frame::{Frame, correlation};
use super::pose::Pose;
use crate::student_t::linalg::{Cholesky, add_outer};

/// Steps after which it is as good as it gets.
const STEPS_MAX: usize = 8;
/// Steps that may pass without improvement before it ends.
const PATIENCE: usize = 3;
/// Most that the scale changes in a step, as a logarithm.
const SCALE_STEP_MAX: f64 = 0.05;
/// A difference of so many deviations counts half.
const DOUBTFUL: f64 = 2.0;
/// From the median of magnitudes to a deviation.
const MEDIAN_TO_DEVIATION: f64 = 1.48;
/// Damping of the normal equations, relative and absolute: plain pictures have no slopes.
const DAMPING: (f64, f64) = (1e-3, 1e-3);
/// Rotation, logarithm of the scale, shift along x and y, gain, offset.
const PARAMETERS: usize = 6;

/// A query at one size, with what refining needs of it.
pub(super) struct Target {
    pub(super) frame: Frame,
    slopes: [Frame; 2],
}

impl Target {
    pub(super) fn new(frame: Frame) -> Target {
        let slopes = frame.slopes();
        Target { frame, slopes }
    }

    /// How well the query fits the reference at `pose`, -1 to 1.
    pub(super) fn fit(&self, reference: &Frame, pose: &Pose) -> f64 {
        let (moved, weights) = self.frame.moved(&self.affine(pose));
        correlation(&reference.values, &moved.values, &weights)
    }

    fn affine(&self, pose: &Pose) -> super::Affine {
        let (w, h) = (self.frame.width, self.frame.height);
        pose.affine(w, h, w as f64 / h as f64)
    }
}

/// The best pose near `start` and its fit. Scales stay within `scales`.
pub(super) fn refine(
    reference: &Frame,
    target: &Target,
    start: Pose,
    scales: (f64, f64),
) -> (Pose, f64) {
    let mut pose = start;
    let (mut best, mut stale) = ((start, target.fit(reference, &start)), 0);
    for _ in 0..STEPS_MAX {
        let Some(next) = step(reference, target, &pose) else { break };
        pose = Pose { scale: next.scale.clamp(scales.0, scales.1), ..next };
        let fit = target.fit(reference, &pose);
        stale += 1;
        if fit > best.1 {
            (best, stale) = ((pose, fit), 0);
        }
        if stale == PATIENCE {
            break;
        }
    }
    best
}

/// One step; `None` where the pictures say nothing about the way.
fn step(reference: &Frame, target: &Target, pose: &Pose) -> Option<Pose> {
    let map = target.affine(pose);
    let (seen, weights) = target.frame.moved(&map);
    let [along, down] = target.slopes.each_ref().map(|slopes| slopes.moved(&map).0);
    let (width, height) = (reference.width, reference.height);
    // Cells per unit of length, and a cell's place where the middle is the origin.
    let unit = width.max(height) as f64;
    let place = |i: usize, n: usize| (i as f64 + 0.5 - n as f64 / 2.0) / unit;
    let (sin, cos) = pose.rotation.sin_cos();
    let (sin, cos) = (pose.scale * sin, pose.scale * cos);

    let differences: Vec<f64> = reference
        .values
        .iter()
        .zip(&seen.values)
        .map(|(r, s)| f64::from(*r) - f64::from(*s))
        .collect();
    let doubtful = DOUBTFUL * deviation(&differences, &weights)?;

    let mut normal = vec![0.0; PARAMETERS * PARAMETERS];
    let mut right = [0.0; PARAMETERS];
    for (i, difference) in differences.iter().enumerate().filter(|(i, _)| weights[*i] > 0.0) {
        let (x, y) = (place(i % width, width), place(i / width, height));
        let (gx, gy) = (f64::from(along.values[i]) * unit, f64::from(down.values[i]) * unit);
        let row = [
            gx * (-sin * x - cos * y) + gy * (cos * x - sin * y),
            gx * (cos * x - sin * y) + gy * (sin * x + cos * y),
            gx,
            gy,
            f64::from(seen.values[i]),
            1.0,
        ];
        let weight = 1.0 / (1.0 + (difference / doubtful).powi(2));
        add_outer(&mut normal, &row, weight);
        right.iter_mut().zip(row).for_each(|(sum, j)| *sum += weight * j * difference);
    }
    for i in 0..PARAMETERS {
        let cell = &mut normal[i * PARAMETERS + i];
        *cell += DAMPING.0 * *cell + DAMPING.1;
    }
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
fn deviation(differences: &[f64], weights: &[f32]) -> Option<f64> {
    let counted = differences.iter().zip(weights).filter(|(_, w)| **w > 0.0);
    let mut sizes: Vec<f64> = counted.map(|(d, _)| d.abs()).collect();
    let middle = sizes.len() / 2;
    if sizes.is_empty() {
        return None;
    }
    let (_, median, _) = sizes.select_nth_unstable_by(middle, f64::total_cmp);
    Some(MEDIAN_TO_DEVIATION * median.max(1e-6))
}
