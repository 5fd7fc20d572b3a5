//! Timing of the line: plain numbers on one side, a checked value on the other.

use core::fmt;

use serde::{Deserialize, Serialize};
use touchstone_board::time::Timestamp;

use super::PARTS_IN_FLIGHT_MAX;

/// Most parts that may wait for a verdict; each holds a frame in memory.
pub const BACKLOG_MAX: usize = 32;

/// No time on a line is longer; keeps every sum far from overflow.
const TIME_MS_MAX: u32 = 600_000;

const _: () = assert!(BACKLOG_MAX <= PARTS_IN_FLIGHT_MAX);

/// The timing as a person writes it, in milliseconds from the trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LineTimes {
    /// Trigger to the earliest exposure that shows the part.
    pub capture_delay_ms: u32,
    /// How long the part stays in the picture.
    pub capture_window_ms: u32,
    /// Trigger to the part's arrival at the actuator.
    pub travel_ms: u32,
    /// How long before the arrival the actuator must start.
    pub actuator_lead_ms: u32,
    /// How long the reject output stays active.
    pub pulse_ms: u32,
    /// Edges closer together than this are one part.
    pub debounce_ms: u32,
    /// Most parts that may wait for a verdict.
    pub backlog_max: usize,
}

impl Default for LineTimes {
    fn default() -> Self {
        Self {
            capture_delay_ms: 0,
            capture_window_ms: 200,
            travel_ms: 2000,
            actuator_lead_ms: 20,
            pulse_ms: 80,
            debounce_ms: 100,
            backlog_max: 8,
        }
    }
}

/// Why a timing cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A time is zero where it must not be.
    Zero(&'static str),
    /// A time is beyond any line.
    TooLong(&'static str, u32),
    /// The actuator has to start before the frame can be there.
    NoTimeToJudge {
        /// `travel - lead`.
        deadline_ms: i64,
        /// `capture delay + window`.
        captured_ms: i64,
    },
    /// More parts fit between trigger and actuator than the line can follow.
    TooManyParts {
        /// How many fit.
        parts: i64,
    },
    /// `backlog_max` out of range.
    Backlog(usize),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero(key) => write!(f, "line.{key} is 0; give it a time in milliseconds"),
            Self::TooLong(key, ms) => {
                write!(f, "line.{key} is {ms} ms; at most {TIME_MS_MAX} ms make sense")
            }
            Self::NoTimeToJudge { deadline_ms, captured_ms } => write!(
                f,
                "line: the actuator must start {deadline_ms} ms after the trigger, but the frame \
                 may come as late as {captured_ms} ms after it, so no part could ever pass; \
                 raise line.travel_ms or lower line.capture_delay_ms + line.capture_window_ms"
            ),
            Self::TooManyParts { parts } => write!(
                f,
                "line: {parts} parts fit between trigger and actuator, {PARTS_IN_FLIGHT_MAX} can be \
                 followed; raise line.debounce_ms or lower line.travel_ms"
            ),
            Self::Backlog(n) => {
                write!(f, "line.backlog_max is {n}; it must be 1 to {BACKLOG_MAX}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// A timing under which every part can be followed and judged.
#[derive(Clone, Copy, Debug)]
pub struct LineConfig {
    capture_from_us: i64,
    capture_by_us: i64,
    deadline_us: i64,
    lead_us: i64,
    pulse_us: i64,
    debounce_us: i64,
    backlog_max: usize,
}

impl TryFrom<LineTimes> for LineConfig {
    type Error = ConfigError;

    fn try_from(t: LineTimes) -> Result<Self, ConfigError> {
        let named = [
            ("capture_delay_ms", t.capture_delay_ms, false),
            ("capture_window_ms", t.capture_window_ms, true),
            ("travel_ms", t.travel_ms, true),
            ("actuator_lead_ms", t.actuator_lead_ms, false),
            ("pulse_ms", t.pulse_ms, true),
            ("debounce_ms", t.debounce_ms, true),
        ];
        for (key, ms, needed) in named {
            if needed && ms == 0 {
                return Err(ConfigError::Zero(key));
            }
            if ms > TIME_MS_MAX {
                return Err(ConfigError::TooLong(key, ms));
            }
        }
        let ms = |ms: u32| i64::from(ms);
        let captured_ms = ms(t.capture_delay_ms) + ms(t.capture_window_ms);
        let deadline_ms = ms(t.travel_ms) - ms(t.actuator_lead_ms);
        if deadline_ms <= captured_ms {
            return Err(ConfigError::NoTimeToJudge { deadline_ms, captured_ms });
        }
        // Parts live from trigger to the end of the window, one per debounce
        // time; one more on each side for the edges of the interval.
        let parts = (deadline_ms + ms(t.pulse_ms)) / ms(t.debounce_ms) + 2;
        if parts > PARTS_IN_FLIGHT_MAX as i64 {
            return Err(ConfigError::TooManyParts { parts });
        }
        if !(1..=BACKLOG_MAX).contains(&t.backlog_max) {
            return Err(ConfigError::Backlog(t.backlog_max));
        }
        Ok(Self {
            capture_from_us: ms(t.capture_delay_ms) * 1000,
            capture_by_us: captured_ms * 1000,
            deadline_us: deadline_ms * 1000,
            lead_us: ms(t.actuator_lead_ms) * 1000,
            pulse_us: ms(t.pulse_ms) * 1000,
            debounce_us: ms(t.debounce_ms) * 1000,
            backlog_max: t.backlog_max,
        })
    }
}

impl LineConfig {
    /// Earliest exposure that shows the part triggered at `at`.
    pub fn capture_from(&self, at: Timestamp) -> Timestamp {
        Timestamp(at.0 + self.capture_from_us)
    }

    /// Latest exposure that shows the part triggered at `at`.
    pub fn capture_by(&self, at: Timestamp) -> Timestamp {
        Timestamp(at.0 + self.capture_by_us)
    }

    /// When the actuator must start; a verdict must come before.
    pub fn deadline(&self, at: Timestamp) -> Timestamp {
        Timestamp(at.0 + self.deadline_us)
    }

    /// When the window of the part ends.
    pub fn closes(&self, at: Timestamp) -> Timestamp {
        Timestamp(at.0 + self.deadline_us + self.pulse_us)
    }

    /// Edges closer together than this are one part.
    pub fn debounce_us(&self) -> i64 {
        self.debounce_us
    }

    /// How long before the part's arrival the actuator must start.
    pub fn lead_us(&self) -> i64 {
        self.lead_us
    }

    /// Most parts that may wait for a verdict.
    pub fn backlog_max(&self) -> usize {
        self.backlog_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_timing_works() {
        let config = LineConfig::try_from(LineTimes::default()).unwrap();
        assert_eq!(config.deadline(Timestamp(5)), Timestamp(1_980_005));
        assert_eq!(config.closes(Timestamp(5)), Timestamp(2_060_005));
    }

    #[test]
    fn timings_that_cannot_work_are_refused_with_the_key() {
        let base = LineTimes::default();
        let cases = [
            (LineTimes { travel_ms: 0, ..base }, "line.travel_ms"),
            (LineTimes { pulse_ms: 0, ..base }, "line.pulse_ms"),
            (LineTimes { debounce_ms: 0, ..base }, "line.debounce_ms"),
            (LineTimes { travel_ms: 700_000, ..base }, "line.travel_ms is 700000"),
            (LineTimes { travel_ms: 220, ..base }, "no part could ever pass"),
            (LineTimes { debounce_ms: 1, ..base }, "2062 parts fit"),
            (LineTimes { backlog_max: 0, ..base }, "line.backlog_max is 0"),
            (LineTimes { backlog_max: 33, ..base }, "line.backlog_max is 33"),
        ];
        for (times, message) in cases {
            let error = LineConfig::try_from(times).unwrap_err().to_string();
            assert!(error.contains(message), "{error} lacks {message}");
        }
    }
}
