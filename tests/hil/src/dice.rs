//! What the scenarios leave to chance.

use std::time::Duration;

use touchstone_chance::Random;

/// Chance, as the scenarios ask for it.
#[derive(Clone, Debug)]
pub struct Dice(Random);

impl Dice {
    /// The row of that number.
    pub fn new(seed: u64) -> Dice {
        Dice(Random::new(seed))
    }

    /// One of `0..count`; 0 where there is none.
    pub fn below(&mut self, count: usize) -> usize {
        self.0.below(count as i64) as usize
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
    fn all_faces_come() {
        let mut dice = Dice::new(1);
        let mut seen = [0; 6];
        (0..600).for_each(|_| seen[dice.below(6)] += 1);
        assert!(seen.iter().all(|count| (60..140).contains(count)), "{seen:?}");
        assert!(dice.within(Duration::from_secs(2)) < Duration::from_secs(2));
        assert_eq!(dice.pick::<u8>(&[]), None);
    }
}
