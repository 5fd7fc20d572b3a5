//! From what a tensor holds on good pictures to its scale and zero point in 8 bits.

use clap::ValueEnum;

/// Values of 8 bits without a sign.
const LEVELS: f32 = 255.0;
/// Bins of a histogram.
const BINS: usize = 2048;
/// Share of the values that the percentile keeps.
const KEPT: f64 = 0.9999;
/// Ranges that the least squared error is looked for in: this many steps down to [`NARROWEST`] of the full one.
const STEPS: usize = 80;
const NARROWEST: f32 = 0.2;

/// How the range of a tensor is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// All that was seen: nothing is cut off, one outlier makes all others coarse.
    MinMax,
    /// All but one value in ten thousand.
    Percentile,
    /// What makes the least squared error of cutting off and rounding together.
    Mse,
}

/// Values of one tensor: counted in bins over a range that was seen before.
#[derive(Clone, Debug)]
pub struct Seen {
    low: f32,
    high: f32,
    bins: Vec<u64>,
}

impl Default for Seen {
    fn default() -> Seen {
        // Zero is always within: paddings are zeros, and must stay so.
        Seen { low: 0.0, high: 0.0, bins: vec![0; BINS] }
    }
}

impl Seen {
    /// First round: the range.
    pub fn widen(&mut self, values: &[f32]) {
        for v in values {
            self.low = self.low.min(*v);
            self.high = self.high.max(*v);
        }
    }

    /// Second round: how often which values come.
    pub fn count(&mut self, values: &[f32]) {
        let width = self.width();
        for v in values {
            let bin = ((v - self.low) / width) as usize;
            self.bins[bin.min(BINS - 1)] += 1;
        }
    }

    fn width(&self) -> f32 {
        ((self.high - self.low) / BINS as f32).max(f32::MIN_POSITIVE)
    }

    fn centre(&self, bin: usize) -> f32 {
        self.low + (bin as f32 + 0.5) * self.width()
    }

    /// Scale and zero point.
    pub fn eight_bits(&self, method: Method) -> EightBits {
        let (low, high) = match method {
            Method::MinMax => (self.low, self.high),
            Method::Percentile => self.percentile(),
            Method::Mse => self.least_error(),
        };
        EightBits::over(low, high)
    }

    fn percentile(&self) -> (f32, f32) {
        let total: u64 = self.bins.iter().sum();
        // What is cut off is cut off where the values are: at both ends, the rarer first.
        let mut spare = (total as f64 * (1.0 - KEPT)) as u64;
        let (mut from, mut to) = (0, BINS);
        while to - from > 1 {
            let (first, last) = (self.bins[from], self.bins[to - 1]);
            let least = first.min(last);
            if least > spare {
                break;
            }
            spare -= least;
            if first <= last { from += 1 } else { to -= 1 }
        }
        let width = self.width();
        let low = if from == 0 { self.low } else { self.low + from as f32 * width };
        let high = if to == BINS { self.high } else { self.low + to as f32 * width };
        (low.min(0.0), high.max(0.0))
    }

    fn least_error(&self) -> (f32, f32) {
        let candidates = (0..=STEPS).map(|step| {
            let share = 1.0 - (1.0 - NARROWEST) * step as f32 / STEPS as f32;
            (self.low * share, self.high * share)
        });
        let error = |(low, high): (f32, f32)| {
            let form = EightBits::over(low, high);
            let squared = |(bin, count): (usize, &u64)| {
                let value = self.centre(bin);
                f64::from(value - form.rounded(value)).powi(2) * *count as f64
            };
            self.bins.iter().enumerate().filter(|(_, n)| **n > 0).map(squared).sum::<f64>()
        };
        let best = candidates.map(|range| (error(range), range)).min_by(|a, b| a.0.total_cmp(&b.0));
        best.map_or((self.low, self.high), |(_, range)| range)
    }
}

/// `value = scale * (number - zero)`, numbers of 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EightBits {
    /// What one level is.
    pub scale: f32,
    /// The number that zero has.
    pub zero: u8,
}

impl EightBits {
    /// A range that has zero in it, exactly.
    pub fn over(low: f32, high: f32) -> EightBits {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = ((high - low) / LEVELS).max(f32::MIN_POSITIVE);
        EightBits { scale, zero: (-low / scale).round_ties_even().clamp(0.0, LEVELS) as u8 }
    }

    /// Least and greatest level, counted from zero's.
    pub fn ends(self) -> (f32, f32) {
        (-f32::from(self.zero), LEVELS - f32::from(self.zero))
    }

    /// What is left of a value.
    pub fn rounded(self, value: f32) -> f32 {
        let (least, greatest) = self.ends();
        (value / self.scale).round_ties_even().clamp(least, greatest) * self.scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(values: &[f32]) -> Seen {
        let mut seen = Seen::default();
        seen.widen(values);
        seen.count(values);
        seen
    }

    #[test]
    fn zero_is_kept_exactly_and_the_ends_nearly() {
        for (low, high) in [(0.0, 6.0), (-1.5, 4.0), (-3.0, 0.0), (2.0, 5.0)] {
            let form = EightBits::over(low, high);
            assert_eq!(form.rounded(0.0), 0.0);
            assert!((form.rounded(high) - high).abs() <= form.scale, "{low} {high} {form:?}");
            assert!((form.rounded(low.min(0.0)) - low.min(0.0)).abs() <= form.scale);
        }
        let plain = EightBits::over(0.0, 0.0);
        assert!(plain.scale > 0.0 && plain.rounded(0.0) == 0.0);
    }

    #[test]
    fn an_outlier_widens_only_the_range_of_all_values() {
        let mut values: Vec<f32> = (0..100_000).map(|i| (i % 1000) as f32 / 1000.0).collect();
        values.push(100.0);
        let seen = seen(&values);
        let scale = |method| seen.eight_bits(method).scale;
        assert!((scale(Method::MinMax) - 100.0 / 255.0).abs() < 1e-4);
        // A bin is 0.05 wide here.
        assert!(scale(Method::Percentile) < 1.1 / 255.0, "{}", scale(Method::Percentile));
        assert!(scale(Method::Mse) < 0.95 * scale(Method::MinMax), "{}", scale(Method::Mse));
    }

    #[test]
    fn nothing_is_cut_off_where_nothing_is_rare() {
        let values: Vec<f32> = (0..4000).map(|i| (i % 200) as f32 / 100.0 - 0.5).collect();
        let seen = seen(&values);
        let full = seen.eight_bits(Method::MinMax).scale;
        for method in [Method::Percentile, Method::Mse] {
            let scale = seen.eight_bits(method).scale;
            assert!((scale / full - 1.0).abs() < 0.05, "{method:?}: {scale} {full}");
        }
    }
}
