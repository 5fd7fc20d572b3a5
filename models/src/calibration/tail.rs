//! The tail of good parts' scores, where enough of them were seen.
//!
//! A Student-t law has the middle right and the tail by assumption. Peaks of maps are maxima of many cells, and
//! what such scores exceed a high level by is close to exponential (extreme-value theory, peaks over a threshold).
//! Its rate is not known but learned from the few scores above the level, so the predictive of one further
//! exceedance is the exponential averaged over what the rate may be: `P(X > u + y | X > u) = (s / (s + y))^m` with
//! `s` the summed exceedances of m scores. A law of few scores is heavy, one of many is exponential.

/// Fewest good parts that say something of a tail.
pub const TAIL_PARTS_MIN: usize = 50;
/// Share of the parts that are the tail.
const SHARE: f64 = 0.1;
/// Fewest scores of a tail.
const SCORES_MIN: usize = 8;

/// What lies above a high level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tail {
    level: f64,
    /// Probability that a good part's score lies above.
    above: f64,
    /// Summed exceedances.
    sum: f64,
    count: f64,
}

impl Tail {
    /// From scores of good parts that nothing else was learned from; `None` of fewer than [`TAIL_PARTS_MIN`], of
    /// scores that are not finite, or where the highest are all the same.
    pub fn fit(scores: &[f64]) -> Option<Tail> {
        if scores.len() < TAIL_PARTS_MIN || scores.iter().any(|s| !s.is_finite()) {
            return None;
        }
        let mut sorted = scores.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let count = ((SHARE * sorted.len() as f64) as usize).max(SCORES_MIN);
        let level = *sorted.get(count)?;
        let sum: f64 = sorted[..count].iter().map(|s| s - level).sum();
        // Of n parts and one more, the next lies above each with the same probability.
        let above = (count + 1) as f64 / (sorted.len() + 1) as f64;
        (sum > 0.0).then_some(Tail { level, above, sum, count: count as f64 })
    }

    /// Probability that a good part scores at least `x`; 1 below the level, where the tail says nothing.
    pub fn upper(&self, x: f64) -> f64 {
        match x - self.level {
            y if y.is_nan() => 0.0,
            y if y <= 0.0 => 1.0,
            y => self.above * (self.sum / (self.sum + y)).powf(self.count),
        }
    }

    /// Whether it has anything to say of `x`.
    pub fn reaches(&self, x: f64) -> bool {
        x > self.level
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::uniform;
    use super::*;

    /// Scores of 100 cells' maxima, each exponential.
    fn maxima(count: usize, seed: u64) -> Vec<f64> {
        let mut next = uniform(seed);
        (0..count).map(|_| (0..100).map(|_| -next().ln()).fold(0.0, f64::max)).collect()
    }

    #[test]
    fn the_rate_holds_on_average_over_many_cameras() {
        // Each camera has its own 100 good parts; the rate is promised for the next part of any.
        for rate in [1e-2, 1e-3] {
            let (mut above, mut parts) = (0usize, 0usize);
            for camera in 0..200 {
                let tail = Tail::fit(&maxima(100, 1 + camera)).expect("enough");
                let fresh = maxima(300, 1000 + camera);
                above += fresh.iter().filter(|x| tail.upper(**x) <= rate).count();
                parts += fresh.len();
            }
            let measured = above as f64 / parts as f64;
            assert!(measured > 0.5 * rate && measured < 1.6 * rate, "{measured} of {rate}");
        }
    }

    #[test]
    fn few_parts_or_broken_ones_have_no_tail() {
        assert_eq!(Tail::fit(&maxima(TAIL_PARTS_MIN - 1, 3)), None);
        assert_eq!(Tail::fit(&[1.0; 200]), None);
        let mut broken = maxima(100, 3);
        broken[7] = f64::NAN;
        assert_eq!(Tail::fit(&broken), None);
    }

    #[test]
    fn it_falls_and_never_below_zero() {
        let tail = Tail::fit(&maxima(80, 3)).expect("enough");
        let mut last = 1.0;
        for step in 0..400 {
            let p = tail.upper(f64::from(step) * 0.1);
            assert!(p <= last && p >= 0.0);
            last = p;
        }
        assert_eq!((tail.upper(f64::INFINITY), tail.upper(f64::NAN)), (0.0, 0.0));
    }
}
