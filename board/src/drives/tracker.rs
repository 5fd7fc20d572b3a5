//! Which sticks are there: pure, with the time as an argument.

use super::{DRIVES_MAX, Partition};
use crate::time::Timestamp;
use std::time::Duration;

/// What is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has been there long enough.
    Appeared(Partition),
    /// It was there and is gone.
    Removed(Partition),
}

/// How far a stick is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Seen, not yet for long enough.
    Settling { since: Timestamp },
    /// Reported.
    Settled,
}

/// Keeps track of sticks. A removal counts at once, so that nobody reads on; an appearance counts after
/// the stick was seen without a break for as long as it has to settle.
#[derive(Clone, Debug)]
pub struct Tracker {
    settle: Duration,
    known: Vec<(Partition, Stage)>,
}

impl Tracker {
    /// Sticks have to stay for `settle` before they count.
    pub fn new(settle: Duration) -> Tracker {
        Tracker { settle, known: Vec::new() }
    }

    /// What has changed at `now`, given what is `here`: removals first.
    pub fn step(&mut self, now: Timestamp, here: &[Partition]) -> Vec<Change> {
        let mut changes = Vec::new();
        self.known.retain(|(partition, stage)| {
            let stays = here.contains(partition);
            if !stays && *stage == Stage::Settled {
                changes.push(Change::Removed(partition.clone()));
            }
            stays
        });
        for partition in here {
            let known = self.known.iter().any(|(known, _)| known == partition);
            if !known && self.known.len() < DRIVES_MAX {
                self.known.push((partition.clone(), Stage::Settling { since: now }));
            }
        }
        for (partition, stage) in &mut self.known {
            *stage = match *stage {
                Stage::Settling { since } if now.since(since) >= self.settle => {
                    changes.push(Change::Appeared(partition.clone()));
                    Stage::Settled
                }
                stage @ (Stage::Settling { .. } | Stage::Settled) => stage,
            };
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SETTLE;
    use proptest::prelude::*;

    fn stick(name: &str, generation: u64) -> Partition {
        Partition { name: name.to_owned(), number: (8, 1), generation, size: 1 << 30 }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp(ms * 1000)
    }

    #[test]
    fn an_appearance_settles_and_a_removal_does_not() {
        let mut tracker = Tracker::new(SETTLE);
        let here = [stick("sda1", 1)];
        assert_eq!(tracker.step(at(0), &here), []);
        assert_eq!(tracker.step(at(249), &here), []);
        assert_eq!(tracker.step(at(250), &here), [Change::Appeared(stick("sda1", 1))]);
        assert_eq!(tracker.step(at(750), &here), []);
        assert_eq!(tracker.step(at(751), &[]), [Change::Removed(stick("sda1", 1))]);
        assert_eq!(tracker.step(at(752), &[]), []);
    }

    #[test]
    fn a_bouncing_plug_starts_anew_and_was_never_there() {
        let mut tracker = Tracker::new(SETTLE);
        let here = [stick("sda1", 1)];
        tracker.step(at(0), &here);
        assert_eq!(tracker.step(at(200), &[]), []);
        assert_eq!(tracker.step(at(225), &here), []);
        assert_eq!(tracker.step(at(450), &here), []);
        assert_eq!(tracker.step(at(475), &here).len(), 1);
    }

    #[test]
    fn another_stick_of_the_same_name_is_another_stick() {
        let mut tracker = Tracker::new(Duration::ZERO);
        tracker.step(at(0), &[stick("sda1", 1)]);
        let changes = tracker.step(at(1), &[stick("sda1", 2)]);
        let wanted = [Change::Removed(stick("sda1", 1)), Change::Appeared(stick("sda1", 2))];
        assert_eq!(changes, wanted);
    }

    #[test]
    fn a_hub_full_of_sticks_is_bounded() {
        let mut tracker = Tracker::new(Duration::ZERO);
        let many: Vec<Partition> = (0..20).map(|i| stick(&format!("sd{i}"), i)).collect();
        assert_eq!(tracker.step(at(0), &many).len(), DRIVES_MAX);
        assert_eq!(tracker.step(at(1), &many[10..]).len(), DRIVES_MAX + DRIVES_MAX);
    }

    proptest! {
        #[test]
        fn whoever_is_removed_had_appeared_and_nobody_appears_twice(
            looks in prop::collection::vec((0i64..400, 0u8..16), 1..60),
        ) {
            let mut tracker = Tracker::new(SETTLE);
            let (mut now, mut there) = (0, Vec::new());
            for (wait, mask) in looks {
                now += wait;
                let here: Vec<Partition> =
                    (0..4).filter(|i| mask & 1 << i != 0).map(|i| stick("sd", i)).collect();
                for change in tracker.step(at(now), &here) {
                    match change {
                        Change::Appeared(p) => {
                            prop_assert!(here.contains(&p) && !there.contains(&p));
                            there.push(p);
                        }
                        Change::Removed(p) => {
                            prop_assert!(!here.contains(&p) && there.contains(&p));
                            there.retain(|q| *q != p);
                        }
                    }
                }
                prop_assert!(there.iter().all(|p| here.contains(p)));
            }
        }
    }
}
