//! Losses on queries: logistic on the log odds, and the supervised contrastive regulariser.

use super::head::dot;
use super::scalar::softplus;

/// Temperature of the contrastive term (section 5).
const TEMPERATURE: f64 = 0.07;

/// Mean logistic loss of the log odds `scores` of being defective (section 7.5), and its gradient.
pub fn logistic(scores: &[f64], defective: &[bool]) -> (f64, Vec<f64>) {
    let share = 1.0 / scores.len().max(1) as f64;
    let mut loss = 0.0;
    let slopes = scores
        .iter()
        .zip(defective)
        .map(|(s, bad)| {
            let sign = if *bad { -1.0 } else { 1.0 };
            let (value, slope) = softplus(sign * s);
            loss += value * share;
            sign * slope * share
        })
        .collect();
    (loss, slopes)
}

/// Supervised contrastive loss of embeddings, brought to unit length: those of one class close
/// together, the classes apart (section 5; here the mean over the embeddings, so that the weight does
/// not depend on their number). Gives the gradient by each embedding.
pub fn contrastive(rows: &[&[f64]], defective: &[bool]) -> (f64, Vec<Vec<f64>>) {
    let n = rows.len();
    let lengths: Vec<f64> = rows.iter().map(|r| dot(r, r).sqrt().max(f64::MIN_POSITIVE)).collect();
    let units: Vec<Vec<f64>> =
        rows.iter().zip(&lengths).map(|(r, l)| r.iter().map(|v| v / l).collect()).collect();
    let mut loss = 0.0;
    // Slope by every similarity.
    let mut slopes = vec![0.0; n * n];
    for i in 0..n {
        let friends = (0..n).filter(|p| *p != i && defective[*p] == defective[i]).count();
        if friends == 0 {
            continue;
        }
        let near: Vec<f64> = units.iter().map(|u| dot(&units[i], u) / TEMPERATURE).collect();
        let others = || (0..n).filter(|a| *a != i);
        let top = others().map(|a| near[a]).fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = others().map(|a| (near[a] - top).exp()).sum();
        let log_total = top + total.ln();
        let (share, each) = (1.0 / n as f64, 1.0 / friends as f64);
        for a in others() {
            let mut slope = (near[a] - log_total).exp();
            if defective[a] == defective[i] {
                loss += share * each * (log_total - near[a]);
                slope -= each;
            }
            slopes[i * n + a] += share * slope / TEMPERATURE;
        }
    }
    let gradient = (0..n)
        .map(|i| {
            let mut by_unit = vec![0.0; rows[i].len()];
            for (a, unit) in units.iter().enumerate() {
                let weight = slopes[i * n + a] + slopes[a * n + i];
                by_unit.iter_mut().zip(unit).for_each(|(g, u)| *g += weight * u);
            }
            let along = dot(&by_unit, &units[i]);
            let pairs = by_unit.iter().zip(&units[i]);
            pairs.map(|(g, u)| (g - along * u) / lengths[i]).collect()
        })
        .collect();
    (loss, gradient)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{noise, slopes_agree};
    use super::*;

    #[test]
    fn logistic_by_hand_and_by_differences() {
        let labels = [true, false, false];
        let (loss, _) = logistic(&[0.0, 0.0, 0.0], &labels);
        assert!((loss - 2f64.ln()).abs() < 1e-12);
        let scores = [0.3, -2.0, 1.5];
        let (_, slopes) = logistic(&scores, &labels);
        slopes_agree(&scores, &slopes, |s| logistic(s, &labels).0);
    }

    #[test]
    fn contrastive_gradient_agrees_with_differences() {
        let labels = [true, false, true, false, false];
        let flat = noise(1, 15);
        let rows =
            |f: &[f64]| -> f64 { contrastive(&f.chunks_exact(3).collect::<Vec<_>>(), &labels).0 };
        let (_, slopes) = contrastive(&flat.chunks_exact(3).collect::<Vec<_>>(), &labels);
        slopes_agree(&flat, &slopes.concat(), rows);
    }

    #[test]
    fn contrastive_prefers_classes_apart() {
        let (a, b): ([f64; 2], [f64; 2]) = ([1.0, 0.0], [0.0, 1.0]);
        let labels = [true, true, false, false];
        let apart = contrastive(&[&a, &a, &b, &b], &labels).0;
        let mixed = contrastive(&[&a, &b, &a, &b], &labels).0;
        assert!(apart < 0.01 && mixed > 1.0, "{apart} {mixed}");
        // A class of one has nobody to be close to.
        assert!(contrastive(&[&a, &b], &[true, false]).0 == 0.0);
    }
}
