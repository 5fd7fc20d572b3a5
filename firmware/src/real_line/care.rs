//! Who watches the line's own loop: whether it keeps its time, and the
//! watchdogs that are fed only while it does.

use std::time::Duration;

use log::{info, warn};
use touchstone_board::Timestamp;
use touchstone_board::watchdog::{self, Feeder, WatchdogError};

/// How late the loop may come to what was due. Later is a missed deadline, and
/// the watchdogs are not fed for that turn.
pub const LATENESS_MAX: Duration = Duration::from_millis(100);

/// Whether the loop comes when something is due. Pure.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Punctuality {
    due: Option<Timestamp>,
}

impl Punctuality {
    /// The loop will be back at `due`.
    pub(super) fn promise(&mut self, due: Timestamp) {
        self.due = Some(due);
    }

    /// The loop is back at `now`: whether in time.
    pub(super) fn arrive(&mut self, now: Timestamp) -> bool {
        self.due.take().is_none_or(|due| now.since(due) <= LATENESS_MAX)
    }
}

/// Feeds the watchdogs, from the line's loop only, and tells systemd how far
/// the line is.
pub(super) struct Care {
    feeder: Feeder,
    punctuality: Punctuality,
    ready_said: bool,
    complained: bool,
    late_turns: u64,
}

impl Care {
    pub(super) fn new(feeder: Feeder) -> Self {
        Self {
            feeder,
            punctuality: Punctuality::default(),
            ready_said: false,
            complained: false,
            late_turns: 0,
        }
    }

    /// A turn of the loop begins.
    pub(super) fn turn(&mut self, now: Timestamp) {
        let in_time = self.punctuality.arrive(now);
        self.late_turns += u64::from(!in_time);
        let fed = self.feeder.feed(now, in_time);
        self.heed(fed);
    }

    /// The turn ends; the next one is due at `due`.
    pub(super) fn promise(&mut self, due: Timestamp) {
        self.punctuality.promise(due);
    }

    /// The line is ready: the first time, systemd hears of it.
    pub(super) fn ready(&mut self) {
        if !self.ready_said {
            self.ready_said = true;
            let said = watchdog::ready();
            self.heed(said);
        }
    }

    /// The line has ended. Only after a clean end is a watchdog switched off:
    /// any other end is what it is there for.
    pub(super) fn end(mut self, clean: bool) {
        let said = watchdog::stopping();
        self.heed(said);
        if self.late_turns > 0 {
            info!("the line's loop was late {} times", self.late_turns);
        }
        if clean && let Err(error) = self.feeder.stop() {
            warn!("watchdog: {error}");
        }
    }

    /// Once is enough: whoever cannot be reached bites, or is not there.
    fn heed(&mut self, outcome: Result<(), WatchdogError>) {
        if let Err(error) = outcome
            && !self.complained
        {
            self.complained = true;
            warn!("watchdog: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use touchstone_board::watchdog::Watchdog;

    const LATE: i64 = LATENESS_MAX.as_micros() as i64;

    /// Counts its meals, and whether it was switched off.
    #[derive(Clone, Default)]
    struct Dog(Arc<(AtomicU32, AtomicU32)>);

    impl Watchdog for Dog {
        fn describe(&self) -> String {
            "a dog of the test".to_owned()
        }
        fn timeout(&self) -> Duration {
            Duration::from_micros(4)
        }
        fn feed(&mut self) -> Result<(), WatchdogError> {
            self.0.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        fn stop(&mut self) -> Result<(), WatchdogError> {
            self.0.1.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    impl Dog {
        fn seen(&self) -> (u32, u32) {
            (self.0.0.load(Ordering::Relaxed), self.0.1.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn late_is_later_than_the_bound() {
        let mut loop_ = Punctuality::default();
        assert!(loop_.arrive(Timestamp(9_000_000)), "nothing was promised");
        loop_.promise(Timestamp(10));
        assert!(loop_.arrive(Timestamp(5)), "a message came earlier");
        loop_.promise(Timestamp(10));
        assert!(loop_.arrive(Timestamp(10 + LATE)));
        loop_.promise(Timestamp(10));
        assert!(!loop_.arrive(Timestamp(11 + LATE)));
        assert!(loop_.arrive(Timestamp(12 + LATE)), "told once");
    }

    #[test]
    fn a_loop_that_is_always_late_is_never_fed_for() {
        let dog = Dog::default();
        let mut care = Care::new(Feeder::new(vec![Box::new(dog.clone())]));
        care.turn(Timestamp(0));
        assert_eq!(dog.seen().0, 1);
        for turn in 1..100 {
            care.promise(Timestamp(turn * 2 * LATE));
            care.turn(Timestamp((turn + 1) * 2 * LATE));
        }
        assert_eq!(dog.seen().0, 1);
        care.promise(Timestamp(200 * LATE));
        care.turn(Timestamp(200 * LATE));
        assert_eq!(dog.seen().0, 2, "in time again");
    }

    #[test]
    fn only_a_clean_end_switches_the_watchdog_off() {
        for (clean, stopped) in [(true, 1), (false, 0)] {
            let dog = Dog::default();
            Care::new(Feeder::new(vec![Box::new(dog.clone())])).end(clean);
            assert_eq!(dog.seen(), (0, stopped));
        }
    }
}
