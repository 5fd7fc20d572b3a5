//! How p-values of good parts turned out, and what they are worth for that.
//!
//! A Student-t law has the middle of a product's good parts right. In the tail it is an assumption, and some products
//! keep it less than others: their good parts are not all like the prompts. How often good parts of known products
//! really fell below a p-value tells what the next one is worth, the calibration factor of
//! methods/baypranometa.md section 4.5. Below [`MIDDLE`] the logarithms of p-values that are right exceed it
//! exponentially with rate one; the rate that they do exceed it with, and how many do, is all that is learned, for
//! each number of prompts.

use super::CalibrationError;
pub use crate::package::{CORRECTIONS, Correction, Corrections};

/// Above it p-values are stretched only as much as is needed to meet what lies below.
const MIDDLE: f64 = 0.1;
/// p-values are told apart down to here; what lies below would weigh too much.
const LEAST: f64 = 1e-9;
/// What is known beforehand counts for so many parts, and for so many below [`MIDDLE`].
const PRIOR_PARTS: f64 = 100.0;
const PRIOR_BELOW: f64 = 10.0;
/// Bounds of what is learned.
const SHARE_RANGE: (f64, f64) = (0.01, 0.5);
const POWER_RANGE: (f64, f64) = (0.2, 1.5);
/// So many further good parts of the product itself take half of a correction back: it stands for what is not known
/// of the product.
const HALF_FADED: f64 = 20.0;

impl Correction {
    /// Of p-values that are right.
    pub const NONE: Correction = Correction { prompts: 1, share: MIDDLE, power: 1.0 };

    /// The p-value that a law's `p` is worth; 0 for NaN.
    pub fn apply(self, p: f64) -> f64 {
        let p = if p.is_nan() { 0.0 } else { p.clamp(0.0, 1.0) };
        match p <= MIDDLE {
            true => self.share * (p / MIDDLE).powf(self.power),
            false => 1.0 - (1.0 - p) * (1.0 - self.share) / (1.0 - MIDDLE),
        }
    }

    /// The law's p-value that is worth `p`.
    pub fn invert(self, p: f64) -> f64 {
        match p <= self.share {
            true => MIDDLE * (p / self.share).powf(1.0 / self.power),
            false => 1.0 - (1.0 - p) * (1.0 - MIDDLE) / (1.0 - self.share),
        }
    }

    /// What is left of it once so many further good parts were seen.
    pub fn after(self, further: usize) -> Correction {
        let left = HALF_FADED / (HALF_FADED + further as f64);
        Correction {
            share: MIDDLE + (self.share - MIDDLE) * left,
            power: 1.0 + (self.power - 1.0) * left,
            ..self
        }
    }
}

impl Default for Corrections {
    fn default() -> Corrections {
        Corrections([Correction::NONE; CORRECTIONS])
    }
}

impl Corrections {
    /// The one for so many `prompts`: between those that were learned by the logarithm of their numbers.
    pub fn among(&self, prompts: usize) -> Correction {
        let Corrections(all) = self;
        let above = all.iter().position(|c| c.prompts >= prompts).unwrap_or(CORRECTIONS - 1);
        let (low, high) = (all[above.saturating_sub(1)], all[above]);
        let log = |prompts: usize| (prompts.max(1) as f64).ln();
        let span = log(high.prompts) - log(low.prompts);
        let part = match span > 0.0 {
            true => ((log(prompts) - log(low.prompts)) / span).clamp(0.0, 1.0),
            false => 1.0,
        };
        let between = |low: f64, high: f64| low + (high - low) * part;
        Correction {
            prompts,
            share: between(low.share, high.share),
            power: between(low.power, high.power),
        }
    }

    /// Learns from p-values of good parts of many products, all that were taught with so many prompts together;
    /// prompts in ascending order. Where there are few, it is what holds for all.
    ///
    /// # Errors
    /// Another number of lists than there are corrections.
    pub fn fit(seen: &[(usize, Vec<f64>)]) -> Result<Corrections, CalibrationError> {
        if seen.len() != CORRECTIONS {
            return Err(CalibrationError::TooFew);
        }
        let all: Vec<f64> = seen.iter().flat_map(|(_, p_values)| p_values).copied().collect();
        let common = Correction::NONE.learn(&all);
        let mut corrections = [common; CORRECTIONS];
        for (correction, (prompts, p_values)) in corrections.iter_mut().zip(seen) {
            *correction = Correction { prompts: *prompts, ..common.learn(p_values) };
        }
        Ok(Corrections(corrections))
    }
}

impl Correction {
    /// What these p-values make of it, which is known beforehand.
    fn learn(self, p_values: &[f64]) -> Correction {
        let below: Vec<f64> = p_values
            .iter()
            .filter(|p| **p <= MIDDLE)
            .map(|p| (MIDDLE / p.max(LEAST)).ln())
            .collect();
        let (count, parts) = (below.len() as f64, p_values.len() as f64);
        let exceeded: f64 = below.iter().sum();
        let share = (PRIOR_PARTS * self.share + count) / (PRIOR_PARTS + parts);
        let power = (PRIOR_BELOW + count) / (PRIOR_BELOW / self.power + exceeded);
        Correction {
            share: share.clamp(SHARE_RANGE.0, SHARE_RANGE.1),
            power: power.clamp(POWER_RANGE.0, POWER_RANGE.1),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::uniform;
    use super::*;
    use proptest::prelude::*;

    const PROMPTS: [usize; CORRECTIONS] = [1, 3, 5, 10, 20, 32];

    /// p-values that come out `x^by` where they ought to be `x`.
    fn powers(count: usize, by: f64) -> Vec<f64> {
        let mut next = uniform(3);
        (0..count).map(|_| next().powf(by)).collect()
    }

    #[test]
    fn what_good_parts_scored_becomes_uniform() {
        for by in [0.8, 1.0, 2.0] {
            let seen = PROMPTS.map(|prompts| (prompts, powers(20_000, by)));
            let corrections = Corrections::fit(&seen).expect("fit");
            let correction = corrections.among(10);
            for rate in [0.1, 0.01, 0.001] {
                let p_values = powers(200_000, by);
                let below = p_values.iter().filter(|p| correction.apply(**p) <= rate).count();
                let ratio = below as f64 / p_values.len() as f64 / rate;
                assert!((0.7..1.4).contains(&ratio), "{by} {rate}: {ratio}");
            }
        }
    }

    #[test]
    fn numbers_of_prompts_differ_and_few_parts_follow_all() {
        let mut seen = PROMPTS.map(|prompts| (prompts, powers(20_000, 1.0)));
        seen[5].1 = powers(20_000, 2.0);
        seen[0].1 = powers(3, 1.0);
        let corrections = Corrections::fit(&seen).expect("fit");
        let power = |prompts| corrections.among(prompts).power;
        assert!((power(5) - 1.0).abs() < 0.05 && (power(32) - 0.5).abs() < 0.05);
        assert!(power(25) < power(21) && power(25) > power(31));
        assert!(power(1) < 0.9 && power(1) > 0.55, "of all: {}", power(1));
        assert_eq!(power(100), power(32));
        assert!(Corrections::fit(&seen[..2]).is_err());
    }

    #[test]
    fn parts_of_the_product_itself_take_it_back() {
        let strong = Correction { prompts: 10, share: 0.2, power: 0.5 };
        assert_eq!(strong.after(0), strong);
        let half = strong.after(20);
        assert!((half.share - 0.15).abs() < 1e-12 && (half.power - 0.75).abs() < 1e-12);
        assert!((strong.after(100_000).apply(1e-3) / 1e-3 - 1.0).abs() < 0.01);
        assert_eq!(strong.apply(f64::NAN), 0.0);
    }

    proptest! {
        #[test]
        fn it_keeps_the_order_and_can_be_taken_back(
            a in 0.0..1.0f64, b in 0.0..1.0f64, share in 0.01..0.5f64, power in 0.2..1.5f64,
        ) {
            let correction = Correction { prompts: 1, share, power };
            let (x, y) = (correction.apply(a), correction.apply(b));
            prop_assert!((0.0..=1.0).contains(&x));
            prop_assert!(a <= b || x >= y);
            prop_assert!(a >= b || x <= y);
            prop_assert!((correction.invert(x) - a).abs() < 1e-9);
            prop_assert!((Correction::NONE.apply(a) - a).abs() < 1e-12);
        }
    }
}
