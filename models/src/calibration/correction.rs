//! How p-values of good parts turned out, and what they are worth for that.
//!
//! A Student-t law has the middle of a product's good parts right. In the tail it is an assumption, and some products
//! keep it less than others: their good parts are not all like the prompts. How often good parts of known products
//! really fell below a p-value tells what the next one is worth, the calibration factor of
//! methods/baypranometa.md section 4.5. Below [`MIDDLE`] the logarithms of p-values that are right exceed it
//! exponentially with rate one; the rate that they do exceed it with, and how many do, is all that is learned, for
//! each number of prompts.
//!
//! Parts of one product turn out alike, so what counts is the number of products. How far numbers of prompts really
//! differ, beyond what so few products make them differ by chance, is estimated from them (DerSimonian and Laird's
//! moments), and each is drawn to their mean by the rest: empirical Bayes. A single prompt has laws of another kind
//! and stands by itself.

use super::CalibrationError;
pub use crate::package::{CORRECTIONS, Correction, Corrections};

/// Above it p-values are stretched only as much as is needed to meet what lies below.
const MIDDLE: f64 = 0.1;
/// p-values are told apart down to here; what lies below would weigh too much.
const LEAST: f64 = 1e-9;
/// That p-values are right, as is believed beforehand, counts for so many parts, and for so many below [`MIDDLE`].
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

    /// Learns from p-values of good parts of many products: for each number of prompts, in ascending order, those
    /// of each product. The first number stands by itself, the others are drawn together.
    ///
    /// # Errors
    /// Another number of lists than there are corrections.
    pub fn fit(seen: &[(usize, Vec<Vec<f64>>)]) -> Result<Corrections, CalibrationError> {
        let seen: &[_; CORRECTIONS] = seen.try_into().map_err(|_| CalibrationError::TooFew)?;
        let mut learned = seen.each_ref().map(|(_, products)| Learned::from(products));
        Learned::draw_together(&mut learned[1..]);
        let mut prompts = seen.iter().map(|(prompts, _)| *prompts);
        Ok(Corrections(learned.map(|l| l.correction(prompts.next().unwrap_or(1)))))
    }
}

/// What p-values below [`MIDDLE`] there are.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    parts: f64,
    below: f64,
    /// By how much their logarithms exceed it, in all.
    exceeded: f64,
}

impl Count {
    fn of(p_values: &[f64]) -> Count {
        let below = p_values.iter().filter(|p| **p <= MIDDLE);
        let exceeded = below.map(|p| (MIDDLE / p.max(LEAST)).ln());
        let none = Count { parts: p_values.len() as f64, ..Count::default() };
        exceeded.fold(none, |sum, by| Count {
            below: sum.below + 1.0,
            exceeded: sum.exceeded + by,
            ..sum
        })
    }

    fn plus(self, other: Count, sign: f64) -> Count {
        Count {
            parts: self.parts + sign * other.parts,
            below: self.below + sign * other.below,
            exceeded: self.exceeded + sign * other.exceeded,
        }
    }

    /// Logarithms of share and power.
    fn estimate(self) -> [f64; 2] {
        let share = (PRIOR_PARTS * MIDDLE + self.below) / (PRIOR_PARTS + self.parts);
        let power = (PRIOR_BELOW + self.below) / (PRIOR_BELOW + self.exceeded);
        [share.ln(), power.ln()]
    }
}

/// What the products of one number of prompts make of a correction.
#[derive(Debug, Clone, Copy)]
struct Learned {
    /// How many there are.
    products: f64,
    /// Logarithms of share and power.
    estimate: [f64; 2],
    /// Their variance, times the number of products: the jackknife's.
    variance: [f64; 2],
}

impl Learned {
    fn from(products: &[Vec<f64>]) -> Learned {
        let counts: Vec<Count> = products.iter().map(|p| Count::of(p)).collect();
        let all = counts.iter().fold(Count::default(), |all, count| all.plus(*count, 1.0));
        let without: Vec<[f64; 2]> =
            counts.iter().map(|count| all.plus(*count, -1.0).estimate()).collect();
        let number = counts.len() as f64;
        let variance = [0, 1].map(|i| {
            let mean = without.iter().map(|e| e[i]).sum::<f64>() / number;
            (number - 1.0) * without.iter().map(|e| (e[i] - mean).powi(2)).sum::<f64>()
        });
        let variance = if number < 2.0 { [0.0; 2] } else { variance };
        Learned { products: number, estimate: all.estimate(), variance }
    }

    /// Draws the estimates of several groups to their mean, as far as chance explains that they differ.
    fn draw_together(groups: &mut [Learned]) {
        let products: f64 = groups.iter().map(|g| g.products).sum();
        if products == 0.0 {
            return;
        }
        for i in [0, 1] {
            // One group's own variance is poorly known: all have the same, for each product.
            let one: f64 =
                groups.iter().map(|g| g.variance[i] * g.products).sum::<f64>() / products;
            if one == 0.0 {
                continue;
            }
            let weighted = |weight: &dyn Fn(&Learned) -> f64| -> f64 {
                let sum: f64 = groups.iter().map(weight).sum();
                groups.iter().map(|g| weight(g) * g.estimate[i]).sum::<f64>() / sum
            };
            let precision = |g: &Learned| g.products / one;
            let mean = weighted(&precision);
            let spread: f64 =
                groups.iter().map(|g| precision(g) * (g.estimate[i] - mean).powi(2)).sum();
            let sum: f64 = groups.iter().map(precision).sum();
            let squares: f64 = groups.iter().map(|g| precision(g).powi(2)).sum();
            let free = groups.iter().filter(|g| g.products > 0.0).count() as f64 - 1.0;
            let between = ((spread - free) / (sum - squares / sum)).max(0.0);
            let between = if between.is_finite() { between } else { 0.0 };
            let random = |g: &Learned| match g.products > 0.0 {
                true => 1.0 / (between + one / g.products),
                false => 0.0,
            };
            let mean = weighted(&random);
            for group in groups.iter_mut() {
                let trust = between * precision(group) / (1.0 + between * precision(group));
                group.estimate[i] = mean + trust * (group.estimate[i] - mean);
            }
        }
    }

    fn correction(self, prompts: usize) -> Correction {
        let [share, power] = self.estimate.map(f64::exp);
        Correction {
            prompts,
            share: share.clamp(SHARE_RANGE.0, SHARE_RANGE.1),
            power: power.clamp(POWER_RANGE.0, POWER_RANGE.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::uniform;
    use super::*;
    use proptest::prelude::*;

    const PROMPTS: [usize; CORRECTIONS] = [1, 3, 5, 10, 20, 32];

    /// p-values of so many products of ten parts each that come out `x^by` where they ought to be `x`.
    fn powers(products: usize, by: f64) -> Vec<Vec<f64>> {
        let mut next = uniform(3);
        (0..products).map(|_| (0..10).map(|_| next().powf(by)).collect()).collect()
    }

    #[test]
    fn what_good_parts_scored_becomes_uniform() {
        for by in [0.8, 1.0, 2.0] {
            let seen = PROMPTS.map(|prompts| (prompts, powers(2_000, by)));
            let corrections = Corrections::fit(&seen).expect("fit");
            for correction in [corrections.among(10), corrections.among(1)] {
                let p_values = powers(20_000, by).concat();
                for rate in [0.1, 0.01, 0.001] {
                    let below = p_values.iter().filter(|p| correction.apply(**p) <= rate).count();
                    let ratio = below as f64 / p_values.len() as f64 / rate;
                    assert!((0.7..1.4).contains(&ratio), "{by} {rate}: {ratio}");
                }
            }
        }
    }

    #[test]
    fn numbers_of_prompts_differ_where_their_products_say_so() {
        let mut seen = PROMPTS.map(|prompts| (prompts, powers(2_000, 1.0)));
        seen[5].1 = powers(2_000, 2.0);
        let corrections = Corrections::fit(&seen).expect("fit");
        let power = |prompts| corrections.among(prompts).power;
        assert!((power(5) - 1.0).abs() < 0.05 && (power(32) - 0.5).abs() < 0.05);
        assert!(power(25) < power(21) && power(25) > power(31));
        assert_eq!(power(100), power(32));
        assert!(Corrections::fit(&seen[..2]).is_err());
    }

    #[test]
    fn few_products_follow_the_others_but_for_a_single_prompt() {
        let mut next = uniform(8);
        // Products differ among themselves as much as they please; numbers of prompts do not.
        let mut drawn = |products: usize| -> Vec<Vec<f64>> {
            let by: Vec<f64> = (0..products).map(|_| 1.0 + next()).collect();
            by.iter().map(|by| (0..12).map(|_| next().powf(*by)).collect()).collect()
        };
        let seen = PROMPTS.map(|prompts| (prompts, drawn(55)));
        let alone = seen.each_ref().map(|(_, products)| Learned::from(products).estimate[1].exp());
        let corrections = Corrections::fit(&seen).expect("fit");
        let together = corrections.0.map(|c| c.power);
        let spread = |powers: &[f64]| {
            let ends = |f: fn(f64, f64) -> f64| powers.iter().copied().reduce(f).expect("some");
            ends(f64::max) / ends(f64::min)
        };
        assert!(spread(&together[1..]) < 1.0 + 0.6 * (spread(&alone[1..]) - 1.0), "{alone:?}");
        assert!((together[0] - alone[0]).abs() < 1e-12);
        // Without a product there is what the others say; without any, that p-values are right.
        let nothing = PROMPTS.map(|prompts| (prompts, Vec::new()));
        let mut one = nothing.clone();
        one[3].1 = powers(500, 2.0);
        let of_one = Corrections::fit(&one).expect("fit");
        assert!((of_one.among(32).power - of_one.among(10).power).abs() < 1e-12);
        assert!((of_one.among(1).power - 1.0).abs() < 1e-12);
        assert!(
            (Corrections::fit(&nothing).expect("fit").among(10).apply(0.01) - 0.01).abs() < 1e-9
        );
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
