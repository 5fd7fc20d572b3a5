//! The time in which a part is at the actuator, on either clock.

use touchstone_board::time::Timestamp;

use super::belt::Belt;
use super::config::{Travel, Width};
use super::{FOREVER, LineConfig};

/// Ahead, open, awaited, past: no window takes more steps than that at one instant.
const STEPS_MAX: usize = 3;
/// Readings tremble, and a window must not: where a part is, is only known to this share of the
/// farthest that a lead can reach.
const TREMOR_SHARE: i64 = 8;

/// How far a window has come. It goes back only where the part has not arrived, so a belt that
/// reverses opens nothing twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// The part has yet to come to the point where the actuator must start.
    Ahead,
    /// The output must be active if the part is a reject.
    Open { since: Timestamp, until: Timestamp },
    /// The output has done its work ahead of the part, as the lead wants it; the part has yet to
    /// arrive.
    Awaited,
    /// The part has left.
    Past,
}

/// The window of a part, and what it is counted from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// When the part crossed the sensor.
    pub(super) at: Timestamp,
    /// Where the belt was then; means something only on a line by counts.
    pub(super) place: i64,
    pub(super) gate: Gate,
    /// Whether the belt has brought the part to the actuator since the window opened.
    arrived: bool,
}

impl Window {
    pub(super) fn new(at: Timestamp, place: i64) -> Self {
        Self { at, place, gate: Gate::Ahead, arrived: false }
    }

    pub(super) fn is_ahead(&self) -> bool {
        self.gate == Gate::Ahead
    }

    pub(super) fn is_past(&self) -> bool {
        self.gate == Gate::Past
    }

    /// Whether the output may rest as far as this part goes.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.gate, Gate::Awaited | Gate::Past)
    }

    /// When the window ends, as far as that is a matter of time and known.
    pub(super) fn until_at_latest(&self, config: &LineConfig) -> Timestamp {
        match (self.gate, config.travel()) {
            (Gate::Open { until, .. }, _) => until,
            (Gate::Ahead | Gate::Awaited | Gate::Past, Travel::Time { deadline_us, pulse_us }) => {
                Timestamp(self.at.0 + deadline_us + pulse_us)
            }
            (Gate::Ahead | Gate::Awaited | Gate::Past, Travel::Counts { .. }) => FOREVER,
        }
    }

    /// Opens and closes what is due; all of it where the shell has slept. True where the window
    /// waits for its part anew, so that the output must be ordered once more.
    pub(super) fn advance(&mut self, now: Timestamp, belt: &Belt, config: &LineConfig) -> bool {
        let before = self.gate;
        for _ in 0..STEPS_MAX {
            let open = matches!(self.gate, Gate::Open { .. } | Gate::Awaited);
            if let (true, Travel::Counts { travel, .. }) = (open, config.travel()) {
                let surely = self.place.saturating_add(travel).saturating_add(tremor(config));
                self.arrived |= belt.place() >= surely;
            }
            match self.step(now, belt, config) {
                Some(next) => self.gate = next,
                None => break,
            }
        }
        self.is_ahead() && before != Gate::Ahead
    }

    /// The table of transitions.
    fn step(&self, now: Timestamp, belt: &Belt, config: &LineConfig) -> Option<Gate> {
        let ahead = || belt.ahead(now, config.lead_us());
        match (self.gate, config.travel()) {
            (Gate::Ahead, Travel::Time { deadline_us, pulse_us }) => {
                let since = Timestamp(self.at.0 + deadline_us);
                let until = Timestamp(since.0 + pulse_us);
                (now >= since).then_some(Gate::Open { since, until })
            }
            (Gate::Ahead, Travel::Counts { travel, width, .. }) => {
                let since = belt.at()?;
                let until = match width {
                    Width::Time { us } => Timestamp(since.0.saturating_add(us)),
                    Width::Counts(_) => FOREVER,
                };
                let due = ahead() >= self.place.saturating_add(travel);
                due.then_some(Gate::Open { since, until })
            }
            (Gate::Open { until, .. }, Travel::Time { .. }) => (now >= until).then_some(Gate::Past),
            (
                Gate::Open { until, .. },
                Travel::Counts { travel, width: Width::Time { .. }, .. },
            ) => {
                // A belt that brakes brings a part later than its speed said.
                let reach = ahead().saturating_add(tremor(config));
                if !self.arrived && reach < self.place.saturating_add(travel) {
                    return Some(Gate::Ahead);
                }
                (now >= until).then_some(Gate::Awaited)
            }
            (Gate::Open { .. }, Travel::Counts { travel, width: Width::Counts(width), .. }) => {
                let closes = self.place.saturating_add(travel).saturating_add(width);
                (ahead() >= closes).then_some(Gate::Awaited)
            }
            (Gate::Awaited, Travel::Counts { travel, .. }) if !self.arrived => {
                (ahead() < self.place.saturating_add(travel)).then_some(Gate::Ahead)
            }
            (Gate::Awaited, Travel::Time { .. } | Travel::Counts { .. }) => Some(Gate::Past),
            (Gate::Past, Travel::Time { .. } | Travel::Counts { .. }) => None,
        }
    }
}

/// How far from where it is believed a part may be, in counts.
fn tremor(config: &LineConfig) -> i64 {
    match config.travel() {
        Travel::Counts { per_s_max, .. } => {
            per_s_max.saturating_mul(config.lead_us()) / 1_000_000 / TREMOR_SHARE
        }
        Travel::Time { .. } => 0,
    }
}
