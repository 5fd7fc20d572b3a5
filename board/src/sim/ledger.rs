//! What really happened to every part: made how, exposed when, blown out or not.

use super::DefectKind;
use crate::time::Timestamp;

/// What became of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has not passed the actuator yet.
    Travelling,
    /// The actuator let it pass.
    Passed,
    /// The actuator was driven all the time the part lay before it.
    Ejected,
}

/// One part's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartRecord {
    /// The part's number, from 0; also its frame's sequence number.
    pub part: u64,
    /// What is wrong with it; `None` for a good part.
    pub defect: Option<DefectKind>,
    /// The trigger edge.
    pub triggered_at: Timestamp,
    /// Middle of the time it lies before the actuator.
    pub at_actuator: Timestamp,
    /// Whether its frame was handed out.
    pub seen: bool,
    /// What became of it.
    pub outcome: Outcome,
}

/// Counts over all parts that have passed the actuator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Good parts that were let through.
    pub good_passed: u64,
    /// Good parts that were ejected: false rejects.
    pub good_ejected: u64,
    /// Defective parts that were let through: escapes.
    pub bad_passed: u64,
    /// Defective parts that were ejected.
    pub bad_ejected: u64,
}

impl Tally {
    /// Parts that have passed the actuator.
    pub fn parts(&self) -> u64 {
        self.good_passed + self.good_ejected + self.bad_passed + self.bad_ejected
    }

    /// Share of the defective parts that were ejected; `None` before the first one.
    pub fn recall(&self) -> Option<f64> {
        share(self.bad_ejected, self.bad_passed)
    }

    /// Share of the good parts that were ejected; `None` before the first one.
    pub fn false_reject_rate(&self) -> Option<f64> {
        share(self.good_ejected, self.good_passed)
    }

    /// Counts one more part that has passed the actuator.
    pub(super) fn count(&mut self, defective: bool, ejected: bool) {
        match (defective, ejected) {
            (false, false) => self.good_passed += 1,
            (false, true) => self.good_ejected += 1,
            (true, false) => self.bad_passed += 1,
            (true, true) => self.bad_ejected += 1,
        }
    }
}

fn share(these: u64, others: u64) -> Option<f64> {
    (these + others > 0).then(|| these as f64 / (these + others) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_their_own_kind() {
        let mut tally = Tally::default();
        assert_eq!((tally.recall(), tally.false_reject_rate()), (None, None));
        tally.count(true, true);
        tally.count(true, true);
        tally.count(true, false);
        tally.count(false, false);
        assert_eq!(tally.parts(), 4);
        assert!((tally.recall().unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(tally.false_reject_rate(), Some(0.0));
        tally.count(false, true);
        assert_eq!(tally.false_reject_rate(), Some(0.5));
    }
}
