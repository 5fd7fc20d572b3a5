//! Evidence of the maps and of the whole picture, added up.
//!
//! Bonferroni asks for one witness that is sure. Here both look at the same features from near and from
//! afar, and a part that both find a little strange is stranger than either says: their log p-values are
//! added, as Fisher does. They are not independent, so the sum is held against a gamma law of the same mean
//! and variance (Brown's method), the dependence being learned from good parts of many products.

use statrs::function::gamma::gamma_ur;

/// What the whole picture's log p-value counts for beside the maps'. Where surfaces all differ (kolektor) the
/// whole picture tells next to nothing, where wear or dirt spreads (bsdata) it tells most.
const IMAGE_WEIGHT: f64 = 0.5;
/// Orders of magnitude at which a score is one half: one good part in a thousand.
const HALF_AT: f64 = 3.0;

/// How two witnesses' p-values of good parts hang together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dependence(f64);

impl Dependence {
    /// From the correlation of the two log p-values; outside 0..1 it is brought there, NaN counts as 1, the
    /// most careful.
    pub fn new(correlation: f64) -> Self {
        Self(if correlation.is_nan() { 1.0 } else { correlation.clamp(0.0, 1.0) })
    }

    /// Learns it from good parts' `(local, image)` p-values.
    pub fn fit(good: &[(f64, f64)]) -> Self {
        let logs: Vec<(f64, f64)> = good
            .iter()
            .map(|(l, i)| (l.max(f64::MIN_POSITIVE).ln(), i.max(f64::MIN_POSITIVE).ln()))
            .collect();
        let count = logs.len() as f64;
        let (a, b) = logs.iter().fold((0.0, 0.0), |(a, b), p| (a + p.0 / count, b + p.1 / count));
        let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
        for (x, y) in logs {
            aa += (x - a) * (x - a);
            bb += (y - b) * (y - b);
            ab += (x - a) * (y - b);
        }
        Self::new(ab / (aa * bb).sqrt())
    }

    /// The correlation, 0..=1.
    pub fn correlation(self) -> f64 {
        self.0
    }

    /// One p-value for both; 0 if either is not a number.
    pub fn join(self, local: f64, image: f64) -> f64 {
        if local.is_nan() || image.is_nan() {
            return 0.0;
        }
        let evidence = -local.ln() - IMAGE_WEIGHT * image.ln();
        if evidence == f64::INFINITY {
            return 0.0;
        }
        let mean = 1.0 + IMAGE_WEIGHT;
        let variance = 1.0 + IMAGE_WEIGHT * IMAGE_WEIGHT + 2.0 * IMAGE_WEIGHT * self.0;
        let (shape, scale) = (mean * mean / variance, variance / mean);
        if evidence <= 0.0 { 1.0 } else { gamma_ur(shape, evidence / scale).clamp(0.0, 1.0) }
    }
}

/// A p-value as a score of 0..1 to rank parts by: one half where one good part in a thousand lies.
pub fn score_of(p_value: f64) -> f32 {
    if p_value.is_nan() || p_value <= 0.0 {
        return 1.0;
    }
    let magnitude = -p_value.min(1.0).log10();
    (magnitude / (magnitude + HALF_AT)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Uniform numbers; the shared one makes the two alike.
    fn pairs(count: usize, alike: f64) -> Vec<(f64, f64)> {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
        };
        (0..count)
            .map(|_| {
                let (own, shared) = (next(), next());
                (shared, if next() < alike { shared } else { own })
            })
            .collect()
    }

    #[test]
    fn good_parts_exceed_a_rate_as_often_as_stated() {
        for alike in [0.0, 0.4, 0.8] {
            let seen = pairs(200_000, alike);
            let dependence = Dependence::fit(&seen);
            assert!((dependence.correlation() - alike).abs() < 0.02, "{dependence:?}");
            for rate in [0.05, 0.01, 0.001] {
                let over = seen.iter().filter(|(l, i)| dependence.join(*l, *i) <= rate).count();
                let ratio = over as f64 / seen.len() as f64 / rate;
                // Two moments are matched, not the tail; parts that are either the same or independent are
                // about the worst for that.
                assert!((0.6..1.6).contains(&ratio), "{alike} {rate}: {ratio}");
            }
        }
    }

    #[test]
    fn independent_witnesses_of_known_sum() {
        // Fisher with weights 1 and 1/2: P(X + Y/2 > t) = 2 exp(-t) - exp(-2t) for exponential X, Y; the
        // gamma law of the same moments comes within a third of it over the rates in question.
        let join = |t: f64| Dependence::new(0.0).join((-t).exp(), 1.0);
        for t in [3.0f64, 5.0, 8.0] {
            let exact = 2.0 * (-t).exp() - (-2.0 * t).exp();
            assert!((join(t) / exact - 1.0).abs() < 0.35, "{t}: {} {exact}", join(t));
        }
    }

    #[test]
    fn what_is_no_number_is_no_good_part() {
        let dependence = Dependence::new(0.3);
        assert_eq!(dependence.join(f64::NAN, 0.5), 0.0);
        assert_eq!(dependence.join(0.5, f64::NAN), 0.0);
        assert_eq!(dependence.join(0.0, 0.5), 0.0);
        assert_eq!(dependence.join(1.0, 1.0), 1.0);
        assert_eq!(Dependence::new(f64::NAN), Dependence::new(1.0));
        assert_eq!((score_of(f64::NAN), score_of(0.0), score_of(1.0)), (1.0, 1.0, 0.0));
        assert_eq!(score_of(1e-3), 0.5);
    }

    proptest! {
        #[test]
        fn more_evidence_never_speaks_for_a_part(
            l in 1e-12..1.0f64, i in 1e-12..1.0f64, less in 0.01..1.0f64, c in 0.0..1.0f64,
        ) {
            let dependence = Dependence::new(c);
            let p = dependence.join(l, i);
            prop_assert!((0.0..=1.0).contains(&p));
            prop_assert!(dependence.join(l * less, i) <= p + 1e-12);
            prop_assert!(dependence.join(l, i * less) <= p + 1e-12);
            prop_assert!(score_of(p * less) >= score_of(p));
        }
    }
}
