//! Timing of the line as a person writes it, and what can be wrong with it.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::PARTS_IN_FLIGHT_MAX;

/// Most parts that may wait for a verdict; each holds a frame in memory.
pub const BACKLOG_MAX: usize = 32;

/// Parts that a judge may be at, at most: one in each half of it.
pub const JUDGED_AT_ONCE_MAX: usize = 2;

/// No time on a line is longer; keeps every sum far from overflow.
pub(super) const TIME_MS_MAX: u32 = 600_000;
/// No way on a line is longer.
pub(super) const COUNTS_MAX: u32 = 100_000_000;
/// No encoder counts faster.
pub(super) const PER_S_MAX: u32 = 10_000_000;

const _: () = assert!(BACKLOG_MAX <= PARTS_IN_FLIGHT_MAX);

/// The timing as a person writes it, in milliseconds from the trigger. With
/// `travel_counts` the encoder measures the way to the actuator, and
/// `travel_ms` is of no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LineTimes {
    /// Trigger to the earliest exposure that shows the part.
    pub capture_delay_ms: u32,
    /// How long the part stays in the picture.
    pub capture_window_ms: u32,
    /// Trigger to the part's arrival at the actuator.
    pub travel_ms: u32,
    /// How long before the arrival the actuator must start. On a line by
    /// counts, turned into counts by the speed that was measured last.
    pub actuator_lead_ms: u32,
    /// How long the reject output stays active.
    pub pulse_ms: u32,
    /// Edges closer together than this are one part. On a line by counts,
    /// `debounce_counts` says so, and this tells the edges of a trembling part
    /// from those of parts on a belt whose encoder is dead.
    pub debounce_ms: u32,
    /// Most parts that may wait for a verdict.
    pub backlog_max: usize,
    /// Late verdicts in a row after which READY falls until somebody
    /// acknowledges; 0 is never.
    pub late_max: u32,
    /// What 999 of 1000 verdicts take at most, from the frame on. A timing that
    /// leaves less is refused.
    pub judge_p999_ms: Option<u32>,
    /// Trigger to the instant at which a part without verdict is given up.
    pub verdict_timeout_ms: Option<u32>,
    /// Sensor to actuator in encoder counts.
    pub travel_counts: Option<u32>,
    /// How far the belt moves while the reject output is active; `pulse_ms` is
    /// then of no meaning. Needs `travel_counts`.
    pub pulse_counts: Option<u32>,
    /// Edges closer together than this are one part. With `travel_counts` only,
    /// and then needed. An edge is placed to within one report of the encoder,
    /// so this must be less than the least gap by the counts of one report.
    pub debounce_counts: Option<u32>,
    /// The most counts per second that the encoder can give; more is a fault.
    /// With `travel_counts` only, and then needed.
    pub counts_per_s_max: Option<u32>,
}

impl LineTimes {
    /// What holds where nothing else is said.
    pub const DEFAULT: Self = Self {
        capture_delay_ms: 0,
        capture_window_ms: 200,
        travel_ms: 2000,
        actuator_lead_ms: 20,
        pulse_ms: 80,
        debounce_ms: 100,
        backlog_max: 8,
        late_max: 5,
        judge_p999_ms: None,
        verdict_timeout_ms: None,
        travel_counts: None,
        pulse_counts: None,
        debounce_counts: None,
        counts_per_s_max: None,
    };
}

impl Default for LineTimes {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a timing cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A time is zero where it must not be.
    Zero(&'static str),
    /// A time is beyond any line.
    TooLong(&'static str, u32),
    /// A number of counts is zero or beyond any line.
    Counts {
        /// The key.
        key: &'static str,
        /// Its value.
        counts: u32,
        /// The most that it may be.
        most: u32,
    },
    /// A key that says something of the encoder, on a line by time.
    CountsWithoutTravel(&'static str),
    /// A key that a line by counts needs.
    Missing(&'static str),
    /// The actuator has to start before the frame can be there.
    NoTimeToJudge {
        /// `travel - lead`, at the fastest belt.
        deadline_ms: i64,
        /// `capture delay + window`.
        captured_ms: i64,
    },
    /// The judge takes longer than the way to the actuator leaves.
    JudgeTooSlow {
        /// What the judge needs.
        judge_ms: i64,
        /// From the latest frame to the deadline.
        left_ms: i64,
    },
    /// More parts fit between trigger and actuator than the line can follow.
    TooManyParts {
        /// How many fit.
        parts: i64,
        /// Whether the encoder measures the way.
        by_counts: bool,
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
            Self::Counts { key, counts, most } => {
                write!(f, "line.{key} is {counts}; it must be 1 to {most} encoder counts")
            }
            Self::CountsWithoutTravel(key) => write!(
                f,
                "line.{key} is given without line.travel_counts, so no encoder measures the way; \
                 add line.travel_counts or remove line.{key}"
            ),
            Self::Missing(key) => write!(
                f,
                "line.{key} is missing; a line with line.travel_counts needs it in encoder counts"
            ),
            Self::NoTimeToJudge { deadline_ms, captured_ms } => write!(
                f,
                "line: the actuator must start {deadline_ms} ms after the trigger, but the frame \
                 may come as late as {captured_ms} ms after it, so no part could ever pass; raise \
                 line.travel_ms (or line.travel_counts, line.verdict_timeout_ms) or lower \
                 line.capture_delay_ms + line.capture_window_ms"
            ),
            Self::JudgeTooSlow { judge_ms, left_ms } => write!(
                f,
                "line.judge_p999_ms is {judge_ms} ms, but only {left_ms} ms are left from the \
                 latest frame to the actuator's start; move the actuator away and raise \
                 line.travel_ms (or line.travel_counts), slow the belt down, or take a faster model"
            ),
            Self::TooManyParts { parts, by_counts } => {
                let unit = if *by_counts { "counts" } else { "ms" };
                write!(
                    f,
                    "line: {parts} parts fit between trigger and actuator, {PARTS_IN_FLIGHT_MAX} \
                     can be followed; raise line.debounce_{unit} or lower line.travel_{unit}"
                )
            }
            Self::Backlog(n) => {
                write!(f, "line.backlog_max is {n}; it must be 1 to {BACKLOG_MAX}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}
