//! Random numbers that are the same for the same seed (SplitMix64: Steele, Lea and Flood, 2014).

use std::time::Duration;

/// A row of random numbers.
#[derive(Clone, Copy, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The row of that number.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of `0..count`; 0 where there is none.
    pub fn below(&mut self, count: usize) -> usize {
        // The remainder prefers small numbers by less than anybody can see.
        (self.next() % (count.max(1) as u64)) as usize
    }

    /// One of these, if there are any.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// A time up to `longest`.
    pub fn within(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.below(1 << 20) as f64 / f64::from(1 << 20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_row_and_all_faces_come() {
        // The reference's first number for the seed 1234567.
        assert_eq!(Dice::new(1_234_567).next(), 6_457_827_717_110_365_317);
        let mut dice = Dice::new(1);
        let mut seen = [0; 6];
        (0..600).for_each(|_| seen[dice.below(6)] += 1);
        assert!(seen.iter().all(|count| (60..140).contains(count)), "{seen:?}");
        assert!(dice.within(Duration::from_secs(2)) < Duration::from_secs(2));
        assert_eq!(dice.pick::<u8>(&[]), None);
    }
}
