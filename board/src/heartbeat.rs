//! The heartbeat: a level that moves only while somebody is alive. Pure, time is an argument.
//!
//! What watches it is a relay in the conveyor's run chain: any level that stands still, whichever it is, stops
//! the conveyor. So a killed process needs no clean-up to be noticed.

use crate::time::Timestamp;
use std::time::Duration;

/// Toggles every half period while it is kept alive, and rests inactive otherwise.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    half_period: Duration,
    level: bool,
    next: Option<Timestamp>,
}

impl Heartbeat {
    /// At rest.
    pub fn new(half_period: Duration) -> Heartbeat {
        Heartbeat { half_period, level: false, next: None }
    }

    /// The level to set, where it has to change. Late calls toggle once and make nothing up: a burst would
    /// feign the life that was missing.
    pub fn poll(&mut self, now: Timestamp, alive: bool) -> Option<bool> {
        let (level, next) = match (alive, self.next) {
            (false, _) => (false, None),
            (true, Some(next)) if now < next => (self.level, Some(next)),
            (true, _) => (!self.level, Some(now + self.half_period)),
        };
        let changed = level != self.level;
        (self.level, self.next) = (level, next);
        changed.then_some(level)
    }

    /// When it has to be polled next; `None` at rest.
    pub fn poll_at(&self) -> Option<Timestamp> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_while_alive_and_rests_inactive() {
        let mut heart = Heartbeat::new(Duration::from_micros(10));
        assert_eq!((heart.poll(Timestamp(0), false), heart.poll_at()), (None, None));
        assert_eq!(heart.poll(Timestamp(5), true), Some(true));
        assert_eq!(heart.poll_at(), Some(Timestamp(15)));
        assert_eq!(heart.poll(Timestamp(14), true), None);
        assert_eq!(heart.poll(Timestamp(15), true), Some(false));
        // Late by three beats: one change, then the usual pace.
        assert_eq!(heart.poll(Timestamp(60), true), Some(true));
        assert_eq!(heart.poll(Timestamp(61), true), None);
        assert_eq!(heart.poll(Timestamp(62), false), Some(false));
        assert_eq!(heart.poll_at(), None);
    }
}
