//! Random choices of the pair maker, all drawn from one seeded stream.
//!
//! One [`Dice`] belongs to one pair: it is made from (seed, index), so a pair is the same whichever
//! thread makes it and whatever was made before.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A seeded source of choices.
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream number `stream` of `seed`; different streams of a seed are independent.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// Uniform in `low..high`; `low` when the range is empty.
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.0.random::<f32>()
    }

    /// Uniform in `-reach..reach`.
    pub fn around(&mut self, reach: f32) -> f32 {
        self.range(-reach, reach)
    }

    /// Log-uniform in `low..high`, so that every size class is met equally often. Both above zero.
    pub fn log_range(&mut self, low: f32, high: f32) -> f32 {
        let high = high.max(low);
        (self.range(low.ln(), high.ln())).exp()
    }

    /// True with probability `share`.
    pub fn chance(&mut self, share: f32) -> bool {
        self.0.random::<f32>() < share
    }

    /// Plus or minus one.
    pub fn sign(&mut self) -> f32 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }

    /// Uniform in `0..count`; 0 when `count` is 0.
    pub fn below(&mut self, count: usize) -> usize {
        if count == 0 {
            return 0;
        }
        self.0.random_range(0..count)
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// One item of a non-empty slice.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// An index drawn with the given weights (not all zero).
    pub fn weighted(&mut self, weights: &[f32]) -> usize {
        let total: f32 = weights.iter().sum();
        let mut left = self.range(0.0, total);
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights.iter().rposition(|w| *w > 0.0).unwrap_or(0)
    }

    /// Fresh bits, to seed a [`Grain`] or a noise field.
    pub fn bits(&mut self) -> u64 {
        self.0.random::<u64>()
    }

    /// A colour with every channel in `low..high`, tinted by at most `tint` levels.
    pub fn colour(&mut self, low: f32, high: f32, tint: f32) -> [f32; 3] {
        let grey = self.range(low, high);
        [0; 3].map(|_| (grey + self.around(tint)).clamp(0.0, 255.0))
    }
}

/// A very cheap generator for per-pixel noise, where ChaCha would dominate the cost of a pair.
pub struct Grain(u64);

impl Grain {
    /// From any seed; zero is moved away from the generator's fixed point.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// The next 64 bits (xorshift64*).
    #[inline]
    fn next_bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Roughly normal with deviation one (sum of four uniforms: bounded, no rare huge pixels).
    #[inline]
    pub fn bell(&mut self) -> f32 {
        // Four 16-bit uniforms of deviation 65536 / sqrt(12) sum to deviation 37837.
        let bits = self.next_bits();
        let sum =
            (bits & 0xFFFF) + ((bits >> 16) & 0xFFFF) + ((bits >> 32) & 0xFFFF) + (bits >> 48);
        (sum as i32 - 131_070) as f32 * (1.0 / 37_837.0)
    }

    /// Nearly uniform in `0..count`; 0 when `count` is 0.
    #[inline]
    pub fn below(&mut self, count: usize) -> usize {
        // The upper half scaled down: without the division, and uniform enough for places.
        (((self.next_bits() >> 32) * count as u64) >> 32) as usize
    }

    /// Three independent uniforms in `-1..1` of one draw.
    #[inline]
    pub fn units(&mut self) -> [f32; 3] {
        let bits = self.next_bits();
        let lane = |shift: u32| ((bits >> shift) & 0xFFFF) as i32 as f32 * (1.0 / 32_768.0) - 1.0;
        [lane(48), lane(32), lane(16)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bell_has_mean_zero_and_deviation_one() {
        let mut grain = Grain::new(5);
        let draws: Vec<f32> = (0..40_000).map(|_| grain.bell()).collect();
        let mean = draws.iter().sum::<f32>() / draws.len() as f32;
        let spread = draws.iter().map(|d| d * d).sum::<f32>() / draws.len() as f32;
        assert!(mean.abs() < 0.03 && (spread - 1.0).abs() < 0.05, "{mean} {spread}");
    }

    #[test]
    fn weights_of_zero_are_never_drawn() {
        let mut dice = Dice::new(1, 2);
        assert!((0..500).all(|_| dice.weighted(&[0.0, 1.0, 0.0, 2.0, 0.0]) % 2 == 1));
    }

    #[test]
    fn streams_of_one_seed_differ() {
        assert_ne!(Dice::new(1, 0).bits(), Dice::new(1, 1).bits());
        assert_eq!(Dice::new(1, 1).bits(), Dice::new(1, 1).bits());
    }
}
