//! Percentile intervals from resampling pictures.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Every evaluation draws the same resamples, so that two runs can be compared.
const SEED: u64 = 0x70_75_63_68_73_74_6f_6e;

/// Tails cut off on each side: a 95 % interval.
const TAIL: f64 = 0.025;

/// Draws pictures with replacement, clean and defective ones apart, so that each resample has as
/// many of either kind as the category.
pub struct Resampler {
    rng: ChaCha8Rng,
    clean: Vec<usize>,
    defective: Vec<usize>,
}

impl Resampler {
    /// For pictures with these labels; `name` (set and category) makes its own stream of draws.
    pub fn new(name: &str, defective: &[bool]) -> Self {
        // FNV-1a: stable across compilers, unlike the standard hasher.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
        let (defective, clean) = (0..defective.len()).partition(|&i| defective[i]);
        Self { rng: ChaCha8Rng::seed_from_u64(SEED ^ hash), clean, defective }
    }

    /// Fills `draw` with the indices of one resample, as many as there are pictures.
    pub fn draw(&mut self, draw: &mut Vec<usize>) {
        use rand::RngExt;
        draw.clear();
        for class in [&self.clean, &self.defective] {
            for _ in 0..class.len() {
                draw.push(class[self.rng.random_range(0..class.len())]);
            }
        }
    }
}

/// A figure and what it was in each resample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimate {
    /// The figure over all pictures.
    pub value: f64,
    /// The figure in each resample; empty when no interval was asked for.
    pub replicates: Vec<f64>,
}

impl Estimate {
    /// A figure without an interval.
    pub fn exact(value: f64) -> Self {
        Self { value, replicates: Vec::new() }
    }

    /// The 2.5 and 97.5 percentiles of the resamples, if there are any.
    pub fn interval(&self) -> Option<(f64, f64)> {
        if self.replicates.is_empty() {
            return None;
        }
        let mut sorted = self.replicates.clone();
        sorted.sort_by(f64::total_cmp);
        Some((quantile(&sorted, TAIL), quantile(&sorted, 1.0 - TAIL)))
    }

    /// Plain mean over categories (or sets), resample by resample; `None` of nothing.
    pub fn mean(of: &[&Self]) -> Option<Self> {
        let first = of.first()?;
        let count = of.len() as f64;
        let resamples = of.iter().map(|e| e.replicates.len()).min().unwrap_or(0);
        debug_assert_eq!(resamples, first.replicates.len());
        Some(Self {
            value: of.iter().map(|e| e.value).sum::<f64>() / count,
            replicates: (0..resamples)
                .map(|i| of.iter().map(|e| e.replicates[i]).sum::<f64>() / count)
                .collect(),
        })
    }
}

/// Linear interpolation between order statistics.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let low = at.floor() as usize;
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + (at - low as f64) * (sorted[high] - sorted[low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_repeat_and_keep_the_classes() {
        let labels = [true, false, true, false, false];
        let (mut a, mut b) =
            (Resampler::new("set/category", &labels), Resampler::new("set/category", &labels));
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let mut seen = [false; 5];
        for _ in 0..50 {
            a.draw(&mut one);
            b.draw(&mut two);
            assert_eq!(one, two);
            assert_eq!(one.len(), 5);
            assert_eq!(one.iter().filter(|&&i| labels[i]).count(), 2);
            one.iter().for_each(|&i| seen[i] = true);
        }
        assert_eq!(seen, [true; 5]);
        let mut other = Resampler::new("set/other", &labels);
        let draws: Vec<_> = (0..8)
            .map(|_| {
                other.draw(&mut one);
                b.draw(&mut two);
                one == two
            })
            .collect();
        assert!(draws.contains(&false), "streams of two names are the same");
    }

    #[test]
    fn interval_cuts_the_tails() {
        let estimate = Estimate {
            value: 0.5,
            replicates: (0..=1000).rev().map(|i| f64::from(i) / 1000.0).collect(),
        };
        let (low, high) = estimate.interval().unwrap();
        assert!((low - 0.025).abs() < 1e-12 && (high - 0.975).abs() < 1e-12);
        assert_eq!(Estimate::exact(0.5).interval(), None);
    }

    #[test]
    fn mean_goes_resample_by_resample() {
        let a = Estimate { value: 0.2, replicates: vec![0.0, 1.0] };
        let b = Estimate { value: 0.4, replicates: vec![1.0, 0.0] };
        let mean = Estimate::mean(&[&a, &b]).unwrap();
        assert!((mean.value - 0.3).abs() < 1e-12);
        assert_eq!(mean.replicates, [0.5, 0.5]);
        assert_eq!(Estimate::mean(&[]), None);
    }
}
