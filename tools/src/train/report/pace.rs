//! How fast a run is, in words.

use std::fmt;
use std::time::Duration;

/// The speed of a session and what is left of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Steps a second; `None` before the first step.
    pub steps_per_s: Option<f64>,
    /// What a step takes in: how many, and of what.
    pub batch: (usize, &'static str),
    /// Steps to come.
    pub steps_left: usize,
}

impl Pace {
    /// After `steps` steps in `elapsed`, with `steps_left` to come.
    pub fn of(
        steps: usize,
        elapsed: Duration,
        steps_left: usize,
        batch: (usize, &'static str),
    ) -> Self {
        let seconds = elapsed.as_secs_f64();
        let known = steps > 0 && seconds > 0.0;
        Pace { steps_per_s: known.then(|| steps as f64 / seconds), batch, steps_left }
    }

    /// Seconds until the last step, at this speed.
    pub fn seconds_left(&self) -> Option<f64> {
        self.steps_per_s.map(|rate| self.steps_left as f64 / rate)
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = self.batch;
        match self.steps_per_s {
            Some(rate) => {
                write!(f, "{} steps/s, {} {unit}/s", three(rate), three(rate * count as f64))
            }
            None => write!(f, "no speed yet"),
        }
    }
}

/// About three digits: rates go from hundredths to hundreds.
fn three(rate: f64) -> String {
    match rate {
        r if r < 1.0 => format!("{r:.3}"),
        r if r < 10.0 => format!("{r:.2}"),
        r if r < 100.0 => format!("{r:.1}"),
        r => format!("{r:.0}"),
    }
}

/// A time as people say it.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {seconds:02} s"),
        _ => format!("{hours} h {minutes:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_and_times_read_well() {
        let pace = Pace::of(50, Duration::from_secs(200), 3000, (8, "pairs"));
        assert_eq!(pace.to_string(), "0.250 steps/s, 2.00 pairs/s");
        assert_eq!(pace.seconds_left().map(duration), Some("3 h 20 min".into()));
        assert_eq!(duration(65.4), "1 min 05 s");
        assert_eq!(duration(0.2), "0 s");
        let none = Pace::of(0, Duration::ZERO, 10, (8, "pairs"));
        assert_eq!((none.to_string().as_str(), none.seconds_left()), ("no speed yet", None));
    }
}
