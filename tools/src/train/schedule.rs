//! Learning rate over the run.

/// Steps of linear warm-up.
const WARM_UP_STEPS: usize = 100;
/// The rate ends at this share of its peak.
const FLOOR: f64 = 0.02;

/// Linear warm-up, then a half cosine down to a small floor. `step` counts from 0.
pub fn rate(peak: f64, step: usize, steps: usize) -> f64 {
    let warm = ((step + 1) as f64 / WARM_UP_STEPS as f64).min(1.0);
    let progress = step as f64 / steps.max(1) as f64;
    let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos());
    peak * warm * (FLOOR + (1.0 - FLOOR) * cosine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warms_up_then_falls_to_the_floor() {
        assert!(rate(1.0, 0, 10_000) < 0.02);
        assert!(rate(1.0, WARM_UP_STEPS, 10_000) > 0.99);
        assert!((rate(1.0, 10_000, 10_000) - FLOOR).abs() < 1e-12);
    }
}
