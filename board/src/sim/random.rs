//! Random numbers that a seed fixes for ever: SplitMix64, one independent stream per purpose and part.

/// A small generator. Not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Random {
    /// The stream `purpose` of part `index`: asking for part 400 first changes nothing about part 3.
    pub(crate) fn new(seed: u64, purpose: u64, index: u64) -> Random {
        Random(mix(
            mix(mix(seed ^ GOLDEN).wrapping_add(purpose)).wrapping_add(index.wrapping_mul(GOLDEN))
        ))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// Uniform in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Uniform between the two.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform in `-extent..extent`.
    pub(crate) fn around(&mut self, extent: f32) -> f32 {
        self.between(-extent, extent)
    }

    /// True with that probability.
    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Uniform in `0..count`; 0 for an empty range.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        if count == 0 { 0 } else { (self.next() % count as u64) as usize }
    }

    /// One sign or the other.
    pub(crate) fn sign(&mut self) -> f32 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }
}

/// Four roughly normal numbers of unit variance from one draw: sums of four bytes each. Good enough for
/// sensor noise, whose tails nobody sees, and ten times as fast as logarithms.
pub(crate) fn four_normals(random: &mut Random) -> [f32; 4] {
    // A byte has variance (256² - 1) / 12; four of them 147.8² together.
    const SCALE: f32 = 1.0 / 147.8;
    let (a, b) = (random.next().to_le_bytes(), random.next().to_le_bytes());
    let sum =
        |bytes: &[u8]| (bytes.iter().map(|&b| i32::from(b)).sum::<i32>() - 510) as f32 * SCALE;
    [sum(&a[..4]), sum(&a[4..]), sum(&b[..4]), sum(&b[4..])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_and_repeat() {
        let draw = |seed, purpose, index| Random::new(seed, purpose, index).next();
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        assert_ne!(draw(1, 2, 3), draw(1, 2, 4));
        assert_ne!(draw(1, 2, 3), draw(1, 3, 3));
        assert_ne!(draw(1, 2, 3), draw(2, 2, 3));
    }

    #[test]
    fn normals_have_unit_variance() {
        let mut random = Random::new(7, 0, 0);
        let values: Vec<f32> = (0..20_000).flat_map(|_| four_normals(&mut random)).collect();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.02, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.03, "variance {variance}");
    }

    #[test]
    fn draws_stay_in_their_range() {
        let mut random = Random::new(9, 9, 9);
        for _ in 0..10_000 {
            let unit = random.unit();
            assert!((0.0..1.0).contains(&unit));
            assert!(random.below(3) < 3);
        }
        assert_eq!(random.below(0), 0);
    }
}
