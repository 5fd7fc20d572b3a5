//! The time in which a part is at the actuator, on either clock.

use touchstone_board::time::Timestamp;

use super::belt::Belt;
use super::config::{Travel, Width};
use super::{FOREVER, LineConfig};

/// How far a window has come. It only goes forward, so a belt that reverses
/// opens nothing twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// The part has yet to come to the point where the actuator must start.
    Ahead,
    /// The output must be active if the part is a reject.
    Open { since: Timestamp, until: Timestamp },
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
}

impl Window {
    pub(super) fn new(at: Timestamp, place: i64) -> Self {
        Self { at, place, gate: Gate::Ahead }
    }

    pub(super) fn is_ahead(&self) -> bool {
        self.gate == Gate::Ahead
    }

    pub(super) fn is_past(&self) -> bool {
        self.gate == Gate::Past
    }

    /// When the window ends, as far as that is a matter of time and known.
    pub(super) fn until_at_latest(&self, config: &LineConfig) -> Timestamp {
        match (self.gate, config.travel()) {
            (Gate::Open { until, .. }, _) => until,
            (Gate::Ahead | Gate::Past, Travel::Time { deadline_us, pulse_us }) => {
                Timestamp(self.at.0 + deadline_us + pulse_us)
            }
            (Gate::Ahead | Gate::Past, Travel::Counts { .. }) => FOREVER,
        }
    }

    /// Opens and closes what is due. Both at once where the shell has slept.
    pub(super) fn advance(&mut self, now: Timestamp, belt: &Belt, config: &LineConfig) {
        if let Some(next) = self.step(now, belt, config) {
            self.gate = next;
            if let Some(next) = self.step(now, belt, config) {
                self.gate = next;
            }
        }
    }

    /// The table of transitions.
    fn step(&self, now: Timestamp, belt: &Belt, config: &LineConfig) -> Option<Gate> {
        let ahead = || belt.ahead(config.lead_us());
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
            (
                Gate::Open { until, .. },
                Travel::Time { .. } | Travel::Counts { width: Width::Time { .. }, .. },
            ) => (now >= until).then_some(Gate::Past),
            (Gate::Open { .. }, Travel::Counts { travel, width: Width::Counts(width), .. }) => {
                let closes = self.place.saturating_add(travel).saturating_add(width);
                (ahead() >= closes).then_some(Gate::Past)
            }
            (Gate::Past, Travel::Time { .. } | Travel::Counts { .. }) => None,
        }
    }
}
