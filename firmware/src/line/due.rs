//! What is due, one kind of action each, most urgent kind first in
//! [`Line::next_action`].

use super::part::{Input, Part, Stage};
use super::window::Gate;
use super::{Action, FOREVER, Line, Outcome, Pulse, Trace, Why};
use touchstone_board::time::Timestamp;

impl Line {
    pub(super) fn due_pulse(&mut self) -> Option<Action> {
        let (since, until) = if self.holds_reject() {
            if self.pulse.is_some_and(|p| p.until == FOREVER) {
                return None;
            }
            (self.now, FOREVER)
        } else {
            self.opened()?
        };
        if self.now.0 - since.0 > self.config.lead_us() {
            // The actuator starts after the part has arrived: it may be missed.
            self.counters.pulses_late += 1;
        }
        let pulse = match self.pulse {
            Some(open) if open.until >= since && open.until > self.now => {
                self.counters.pulses_merged += 1;
                Pulse { at: open.at, until: open.until.max(until) }
            }
            Some(_) | None => {
                self.counters.pulses += 1;
                Pulse { at: since, until }
            }
        };
        self.pulse = Some(pulse);
        self.trace.write(Trace::Pulse { at: pulse.at, until: pulse.until });
        Some(Action::FireReject { at: pulse.at, until: pulse.until })
    }

    /// The next window of a reject that has opened; marks it as fired.
    fn opened(&mut self) -> Option<(Timestamp, Timestamp)> {
        for part in self.parts.iter_mut().filter(|p| p.stage.is_reject() && !p.fired) {
            if let Gate::Open { since, until } = part.window.gate {
                part.fired = true;
                return Some((since, until));
            }
        }
        let spill = self.spill.as_mut().filter(|s| !s.fired && !s.first.is_ahead())?;
        spill.fired = true;
        let since = match spill.first.gate {
            Gate::Open { since, .. } => since,
            Gate::Ahead | Gate::Awaited | Gate::Past => self.now,
        };
        // The last part's window may not have opened yet.
        Some((since, spill.last.until_at_latest(&self.config)))
    }

    /// The end of a pulse that has no end in time.
    pub(super) fn due_end(&mut self) -> Option<Action> {
        let pulse = self.pulse.filter(|p| p.until == FOREVER)?;
        let open = |p: &Part| p.fired && p.stage.is_reject() && !p.window.is_closed();
        let spilled = self.spill.as_ref().is_some_and(|s| s.fired && !s.last.is_closed());
        if self.holds_reject() || spilled || self.parts.iter().any(open) {
            return None;
        }
        self.pulse = None;
        self.trace.write(Trace::PulseEnd { at: self.now });
        Some(Action::EndReject { at: pulse.at })
    }

    pub(super) fn ready_change(&mut self) -> Option<Action> {
        let ready = self.ready();
        let shown = Some((ready, self.fault));
        if self.ready_shown == shown {
            return None;
        }
        self.ready_shown = shown;
        self.trace.write(Trace::Ready { ready, at: self.now });
        Some(Action::SetReady(ready))
    }

    pub(super) fn busy_change(&mut self) -> Option<Action> {
        let busy = self.parts.iter().any(|p| !p.stage.is_decided());
        if self.busy_shown == busy {
            return None;
        }
        self.busy_shown = busy;
        Some(Action::SetBusy(busy))
    }

    pub(super) fn due_publish(&mut self) -> Option<Action> {
        for part in self.parts.iter_mut().filter(|p| !p.published) {
            if let Stage::Decided { outcome, at } = part.stage {
                part.published = true;
                let (triggered_at, part) = (part.window.at, part.id);
                return Some(Action::Publish { part, outcome, triggered_at, decided_at: at });
            }
        }
        let spill = self.spill.as_mut().filter(|s| s.unpublished > 0)?;
        let part = spill.next;
        spill.next = part.next();
        spill.unpublished -= 1;
        Some(Action::Publish {
            part,
            outcome: Outcome::Reject(Why::Overload),
            triggered_at: spill.triggered_at,
            decided_at: spill.decided_at,
        })
    }

    pub(super) fn due_capture(&mut self) -> Option<Action> {
        let index = self.parts.iter().position(|p| matches!(p.stage, Stage::Triggered))?;
        let Part { id, window, .. } = *self.parts.get(index)?;
        self.step(index, Input::CaptureAsked);
        Some(Action::Capture {
            part: id,
            not_before: self.config.capture_from(window.at),
            by: self.config.capture_by(window.at),
        })
    }

    pub(super) fn due_judge(&mut self) -> Option<Action> {
        if self.judging.len() >= self.judged_at_once {
            return None;
        }
        let index = self.parts.iter().position(|p| matches!(p.stage, Stage::Held))?;
        let id = self.parts.get(index)?.id;
        self.step(index, Input::JudgeAsked);
        // There is room: less than the most are being judged.
        self.judging.push(id).ok()?;
        Some(Action::Judge { part: id })
    }
}
