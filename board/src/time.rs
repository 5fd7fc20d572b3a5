//! Time on the line: one microsecond scale for edges, exposures and pulses.
//!
//! The kernel stamps GPIO edges and V4L2 buffers with `CLOCK_MONOTONIC`, so that clock is the scale. A
//! [`Clock`] hides whether it is the kernel's or a simulated line's virtual one.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time in microseconds of the monotonic clock (or of a simulated line's virtual clock).
///
/// Points of different clocks must not be compared; within one process there is one clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The clock's origin.
    pub const ZERO: Timestamp = Timestamp(0);

    /// The kernel's monotonic clock, the same one that stamps GPIO edges and camera buffers.
    pub fn now_monotonic() -> Timestamp {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Timestamp::from_parts(now.tv_sec, now.tv_nsec / 1_000)
    }

    /// From whole seconds and microseconds, saturating, as kernels hand them out.
    pub fn from_parts(seconds: i64, micros: i64) -> Timestamp {
        Timestamp(seconds.saturating_mul(1_000_000).saturating_add(micros))
    }

    /// Microseconds since the clock's origin.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Time passed since `earlier`; zero where `earlier` is the later one.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    /// Saturates at the end of the scale: a timeout of [`Duration::MAX`] means for ever.
    fn add(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(micros(duration)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(micros(duration)))
    }
}

impl fmt::Display for Timestamp {
    /// Seconds with six decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06} s", magnitude / 1_000_000, magnitude % 1_000_000)
    }
}

/// Where a loop takes its time from.
pub trait Clock: Send {
    /// The present.
    fn now(&self) -> Timestamp;
    /// Returns at `until`, or at once when that has passed.
    fn sleep_until(&mut self, until: Timestamp);
    /// Accounts for work that really took `spent`: a virtual clock moves on by it, the real one already has.
    fn spend(&mut self, spent: Duration);
}

/// The kernel's monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct MonotonicClock;

impl Clock for MonotonicClock {
    fn now(&self) -> Timestamp {
        Timestamp::now_monotonic()
    }

    fn sleep_until(&mut self, until: Timestamp) {
        std::thread::sleep(until.since(self.now()));
    }

    fn spend(&mut self, _spent: Duration) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_and_never_runs_backwards() {
        let start = Timestamp(1_000);
        assert_eq!(start + Duration::from_millis(2), Timestamp(3_000));
        assert_eq!(start - Duration::from_millis(2), Timestamp(-1_000));
        assert_eq!(start + Duration::MAX, Timestamp(i64::MAX));
        assert_eq!(start.since(Timestamp(5_000)), Duration::ZERO);
        assert_eq!(
            Timestamp(i64::MAX).since(Timestamp(i64::MIN)),
            Duration::from_micros(i64::MAX as u64)
        );
        assert_eq!(Timestamp::from_parts(i64::MAX, 1), Timestamp(i64::MAX));
    }

    #[test]
    fn the_monotonic_clock_does_not_go_back() {
        let first = Timestamp::now_monotonic();
        assert!(Timestamp::now_monotonic() >= first);
    }

    #[test]
    fn shows_seconds() {
        assert_eq!(Timestamp(1_500_001).to_string(), "1.500001 s");
        assert_eq!(Timestamp(-20).to_string(), "-0.000020 s");
    }
}
