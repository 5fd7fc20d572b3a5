//! Where to begin: every turn of the query at a few dozen pixels, and for each the shift at which it fits
//! the reference best.

use super::frame::Frame;
use super::pose::Pose;

/// Cells that the query may be shifted by, each way.
const REACH: isize = 5;
/// Share of the reference that must still be seen.
const SEEN_MIN: f64 = 0.5;

/// The best shift for every one of `rotations` (radians), best first, with its fit.
pub(super) fn starts(reference: &Frame, query: &Frame, rotations: &[f64]) -> Vec<(Pose, f64)> {
    let (w, h) = (query.width, query.height);
    let unit = w.max(h) as f64;
    let mut found: Vec<(Pose, f64)> = rotations
        .iter()
        .filter_map(|&rotation| {
            let turned = Pose { rotation, ..Pose::IDENTITY };
            let (seen, weights) = query.moved(&turned.affine(w, h, w as f64 / h as f64));
            let ([dx, dy], fit) = best_shift(reference, &seen, &weights)?;
            // The shift is one in the turned picture.
            let (sin, cos) = rotation.sin_cos();
            let (dx, dy) = (dx as f64 / unit, dy as f64 / unit);
            let shift = [cos * dx - sin * dy, sin * dx + cos * dy];
            Some((Pose { rotation, shift, ..Pose::IDENTITY }, fit))
        })
        .collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    found
}

fn best_shift(reference: &Frame, seen: &Frame, weights: &[f32]) -> Option<([isize; 2], f64)> {
    let shifts = (-REACH..=REACH).flat_map(|dy| (-REACH..=REACH).map(move |dx| [dx, dy]));
    let fits = shifts.filter_map(|shift| Some((shift, fit(reference, seen, weights, shift)?)));
    fits.max_by(|a, b| a.1.total_cmp(&b.1))
}

/// Cosine of the reference and what is seen `shift` cells further on. Both frames are centred already.
fn fit(reference: &Frame, seen: &Frame, weights: &[f32], [dx, dy]: [isize; 2]) -> Option<f64> {
    let (w, h) = (reference.width, reference.height);
    let overlap = |d: isize, n: usize| {
        let skip = d.unsigned_abs().min(n);
        // Where the overlap begins in the reference and in the shifted frame, and how long it is.
        if d >= 0 { (0, skip, n - skip) } else { (skip, 0, n - skip) }
    };
    let ((rx, sx, columns), (ry, sy, rows)) = (overlap(dx, w), overlap(dy, h));
    let (mut product, mut ours, mut theirs, mut count) = (0.0f32, 0.0f32, 0.0f32, 0.0f32);
    for row in 0..rows {
        let (from, to) = ((ry + row) * w + rx, (sy + row) * w + sx);
        let a = &reference.values[from..from + columns];
        let b = &seen.values[to..to + columns];
        let weights = &weights[to..to + columns];
        for ((a, b), weight) in a.iter().zip(b).zip(weights) {
            product += a * b;
            ours += weight * a * a;
            theirs += b * b;
            count += weight;
        }
    }
    if f64::from(count) < SEEN_MIN * (w * h) as f64 {
        return None;
    }
    let spread = f64::from(ours) * f64::from(theirs);
    Some(if spread > 0.0 { f64::from(product) / spread.sqrt() } else { 0.0 })
}
