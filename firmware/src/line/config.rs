//! A timing under which every part can be followed and judged.

use touchstone_board::time::Timestamp;

use super::PARTS_IN_FLIGHT_MAX;
use super::times::{BACKLOG_MAX, COUNTS_MAX, ConfigError, LineTimes, PER_S_MAX, TIME_MS_MAX};

/// How long after its trigger a part is given up on a line by counts, where
/// nothing else is said: its own deadline never comes while the belt stands.
pub const VERDICT_TIMEOUT_MS_DEFAULT: u32 = 2_000;

/// What measures the way from sensor to actuator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Travel {
    /// Time: the belt has one speed.
    Time {
        /// Trigger to the start of the actuator, in µs.
        deadline_us: i64,
        /// Width of the pulse in µs.
        pulse_us: i64,
    },
    /// The encoder: the belt may change its speed, stop and reverse.
    Counts {
        /// Sensor to actuator, in counts.
        travel: i64,
        /// Width of the pulse.
        width: Width,
        /// Edges closer together than this are one part, in counts.
        debounce: i64,
        /// Counts per second that the belt can reach.
        per_s_max: i64,
    },
}

/// How long a pulse is on a line by counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// A time. A belt that stops in front of the actuator outlasts it.
    Time {
        /// In µs.
        us: i64,
    },
    /// A way in counts: active until the part has been carried past.
    Counts(i64),
}

/// A timing under which every part can be followed and judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineConfig {
    capture_from_us: i64,
    capture_by_us: i64,
    verdict_us: i64,
    lead_us: i64,
    debounce_us: i64,
    backlog_max: usize,
    late_max: u32,
    travel: Travel,
}

impl TryFrom<LineTimes> for LineConfig {
    type Error = ConfigError;

    fn try_from(t: LineTimes) -> Result<Self, ConfigError> {
        check_ranges(&t)?;
        let travel = travel_of(&t)?;
        let lead_ms = i64::from(t.actuator_lead_ms);
        let captured_ms = i64::from(t.capture_delay_ms) + i64::from(t.capture_window_ms);
        // On a line by counts, the earliest that a part can need its verdict.
        let deadline_ms = match travel {
            Travel::Time { deadline_us, .. } => deadline_us / 1000,
            Travel::Counts { travel, per_s_max, .. } => travel * 1000 / per_s_max - lead_ms,
        };
        let timeout_ms = match (t.verdict_timeout_ms, travel) {
            (Some(ms), _) => i64::from(ms),
            (None, Travel::Time { .. }) => deadline_ms,
            (None, Travel::Counts { .. }) => i64::from(VERDICT_TIMEOUT_MS_DEFAULT),
        };
        let judge_ms = i64::from(t.judge_p999_ms.unwrap_or(0));
        if deadline_ms <= captured_ms || timeout_ms <= captured_ms {
            let deadline_ms = deadline_ms.min(timeout_ms);
            return Err(ConfigError::NoTimeToJudge { deadline_ms, captured_ms });
        }
        if deadline_ms.min(timeout_ms) < captured_ms + judge_ms {
            let left_ms = deadline_ms.min(timeout_ms) - captured_ms;
            return Err(ConfigError::JudgeTooSlow { judge_ms, left_ms });
        }
        check_parts(&t, travel)?;
        let verdict_ms = match travel {
            Travel::Time { .. } => timeout_ms.min(deadline_ms),
            Travel::Counts { .. } => timeout_ms,
        };
        Ok(Self {
            capture_from_us: i64::from(t.capture_delay_ms) * 1000,
            capture_by_us: captured_ms * 1000,
            verdict_us: verdict_ms * 1000,
            lead_us: lead_ms * 1000,
            debounce_us: i64::from(t.debounce_ms) * 1000,
            backlog_max: t.backlog_max,
            late_max: t.late_max,
            travel,
        })
    }
}

fn check_ranges(t: &LineTimes) -> Result<(), ConfigError> {
    let by_time = t.travel_counts.is_none();
    let ms = [
        ("capture_delay_ms", Some(t.capture_delay_ms), false),
        ("capture_window_ms", Some(t.capture_window_ms), true),
        ("travel_ms", by_time.then_some(t.travel_ms), true),
        ("actuator_lead_ms", Some(t.actuator_lead_ms), false),
        ("pulse_ms", t.pulse_counts.is_none().then_some(t.pulse_ms), true),
        ("debounce_ms", Some(t.debounce_ms), true),
        ("verdict_timeout_ms", t.verdict_timeout_ms, true),
        ("judge_p999_ms", t.judge_p999_ms, true),
    ];
    let counts = [
        ("travel_counts", t.travel_counts, COUNTS_MAX),
        ("pulse_counts", t.pulse_counts, COUNTS_MAX),
        ("debounce_counts", t.debounce_counts, COUNTS_MAX),
        ("counts_per_s_max", t.counts_per_s_max, PER_S_MAX),
    ];
    for (key, value, needed) in ms {
        match value {
            Some(0) if needed => return Err(ConfigError::Zero(key)),
            Some(ms) if ms > TIME_MS_MAX => return Err(ConfigError::TooLong(key, ms)),
            Some(_) | None => {}
        }
    }
    for (key, value, most) in counts {
        match value {
            Some(counts) if counts == 0 || counts > most => {
                return Err(ConfigError::Counts { key, counts, most });
            }
            Some(_) if by_time => return Err(ConfigError::CountsWithoutTravel(key)),
            Some(_) | None => {}
        }
    }
    if !(1..=BACKLOG_MAX).contains(&t.backlog_max) {
        return Err(ConfigError::Backlog(t.backlog_max));
    }
    Ok(())
}

fn travel_of(t: &LineTimes) -> Result<Travel, ConfigError> {
    let pulse_us = i64::from(t.pulse_ms) * 1000;
    let Some(travel) = t.travel_counts else {
        let deadline_us = (i64::from(t.travel_ms) - i64::from(t.actuator_lead_ms)) * 1000;
        return Ok(Travel::Time { deadline_us, pulse_us });
    };
    let needed = |key, value: Option<u32>| value.map(i64::from).ok_or(ConfigError::Missing(key));
    Ok(Travel::Counts {
        travel: i64::from(travel),
        width: match t.pulse_counts {
            Some(counts) => Width::Counts(i64::from(counts)),
            None => Width::Time { us: pulse_us },
        },
        debounce: needed("debounce_counts", t.debounce_counts)?,
        per_s_max: needed("counts_per_s_max", t.counts_per_s_max)?,
    })
}

/// Parts live from trigger to the end of the window, one per debounce time or
/// way; one more on each side for the edges of the interval.
fn check_parts(t: &LineTimes, travel: Travel) -> Result<(), ConfigError> {
    let parts = match travel {
        Travel::Time { deadline_us, pulse_us } => {
            (deadline_us + pulse_us) / (i64::from(t.debounce_ms) * 1000) + 2
        }
        Travel::Counts { travel, width, debounce, per_s_max } => {
            let pulse = match width {
                // The farthest that the belt can get meanwhile.
                Width::Time { us } => us / 1000 * per_s_max / 1000,
                Width::Counts(counts) => counts,
            };
            (travel + pulse) / debounce + 2
        }
    };
    if parts > PARTS_IN_FLIGHT_MAX as i64 {
        let by_counts = t.travel_counts.is_some();
        return Err(ConfigError::TooManyParts { parts, by_counts });
    }
    Ok(())
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

    /// The instant at which a verdict for the part triggered at `at` is too
    /// late in any case. By time: when the actuator must start, or the verdict's
    /// timeout where that is sooner. By counts: the timeout; the belt may bring
    /// the part to the actuator before.
    pub fn deadline(&self, at: Timestamp) -> Timestamp {
        Timestamp(at.0 + self.verdict_us)
    }

    /// What measures the way from sensor to actuator.
    pub fn travel(&self) -> Travel {
        self.travel
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

    /// Late verdicts in a row that stop the line; 0 is never.
    pub fn late_max(&self) -> u32 {
        self.late_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_timing_works() {
        let config = LineConfig::try_from(LineTimes::default()).unwrap();
        assert_eq!(config.deadline(Timestamp(5)), Timestamp(1_980_005));
        let by_time = Travel::Time { deadline_us: 1_980_000, pulse_us: 80_000 };
        assert_eq!(config.travel(), by_time);
    }

    fn by_counts() -> LineTimes {
        LineTimes {
            travel_counts: Some(4000),
            debounce_counts: Some(200),
            counts_per_s_max: Some(10_000),
            ..LineTimes::default()
        }
    }

    #[test]
    fn a_line_by_counts_works_with_either_width() {
        let config = LineConfig::try_from(by_counts()).unwrap();
        assert_eq!(config.deadline(Timestamp(0)), Timestamp(2_000_000));
        let width = Width::Time { us: 80_000 };
        let expected = Travel::Counts { travel: 4000, width, debounce: 200, per_s_max: 10_000 };
        assert_eq!(config.travel(), expected);
        let times = LineTimes { pulse_counts: Some(150), pulse_ms: 0, ..by_counts() };
        let config = LineConfig::try_from(times).unwrap();
        assert!(matches!(config.travel(), Travel::Counts { width: Width::Counts(150), .. }));
    }

    #[test]
    fn timings_that_cannot_work_are_refused_with_the_key() {
        let base = LineTimes::default();
        let counts = by_counts();
        let cases = [
            (LineTimes { travel_ms: 0, ..base }, "line.travel_ms"),
            (LineTimes { pulse_ms: 0, ..base }, "line.pulse_ms"),
            (LineTimes { debounce_ms: 0, ..base }, "line.debounce_ms"),
            (LineTimes { travel_ms: 700_000, ..base }, "line.travel_ms is 700000"),
            (LineTimes { travel_ms: 220, ..base }, "no part could ever pass"),
            (LineTimes { debounce_ms: 1, ..base }, "2062 parts fit"),
            (LineTimes { backlog_max: 0, ..base }, "line.backlog_max is 0"),
            (LineTimes { backlog_max: 33, ..base }, "line.backlog_max is 33"),
            (LineTimes { judge_p999_ms: Some(1781), ..base }, "line.judge_p999_ms is 1781 ms"),
            (LineTimes { verdict_timeout_ms: Some(200), ..base }, "no part could ever pass"),
            (LineTimes { verdict_timeout_ms: Some(0), ..base }, "line.verdict_timeout_ms is 0"),
            (LineTimes { pulse_counts: Some(9), ..base }, "line.pulse_counts is given without"),
            (LineTimes { travel_counts: Some(0), ..counts }, "line.travel_counts is 0"),
            (LineTimes { pulse_counts: Some(u32::MAX), ..counts }, "line.pulse_counts is 42949"),
            (LineTimes { debounce_counts: None, ..counts }, "line.debounce_counts is missing"),
            (LineTimes { counts_per_s_max: None, ..counts }, "line.counts_per_s_max is missing"),
            (LineTimes { counts_per_s_max: Some(20_000), ..counts }, "no part could ever pass"),
            (LineTimes { judge_p999_ms: Some(181), ..counts }, "only 180 ms"),
            (LineTimes { debounce_counts: Some(10), ..counts }, "raise line.debounce_counts"),
        ];
        for (times, message) in cases {
            let error = LineConfig::try_from(times).unwrap_err().to_string();
            assert!(error.contains(message), "{error} lacks {message}");
        }
        let just = LineTimes { judge_p999_ms: Some(1780), ..base };
        assert!(LineConfig::try_from(just).is_ok());
    }
}
