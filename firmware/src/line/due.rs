//! What is due, one kind of action each, most urgent kind first in
//! [`Line::next_action`].

use super::part::{Input, Part, Stage};
use super::{Action, Line, Outcome, Pulse, Trace, Why};

impl Line {
    pub(super) fn due_pulse(&mut self) -> Option<Action> {
        let due = |p: &&mut Part| {
            p.stage.is_reject() && !p.fired && self.now >= self.config.deadline(p.at)
        };
        let (opens, closes) = if let Some(part) = self.parts.iter_mut().find(due) {
            part.fired = true;
            (self.config.deadline(part.at), self.config.closes(part.at))
        } else {
            let spill = self.spill.as_mut().filter(|s| !s.fired && self.now >= s.opens)?;
            spill.fired = true;
            (spill.opens, spill.closes)
        };
        if self.now.0 - opens.0 > self.config.lead_us() {
            // The actuator starts after the part has arrived: it may be missed.
            self.counters.pulses_late += 1;
        }
        let pulse = match self.pulse {
            Some(open) if open.until >= opens && open.until > self.now => {
                self.counters.pulses_merged += 1;
                Pulse { at: open.at, until: open.until.max(closes) }
            }
            Some(_) | None => {
                self.counters.pulses += 1;
                Pulse { at: opens, until: closes }
            }
        };
        self.pulse = Some(pulse);
        self.trace.write(Trace::Pulse { at: pulse.at, until: pulse.until });
        Some(Action::FireReject { at: pulse.at, until: pulse.until })
    }

    pub(super) fn ready_change(&mut self) -> Option<Action> {
        let ready = self.ready();
        if self.ready_shown == Some(ready) {
            return None;
        }
        self.ready_shown = Some(ready);
        self.trace.write(Trace::Ready { ready, at: self.now });
        Some(Action::SetReady(ready))
    }

    pub(super) fn due_publish(&mut self) -> Option<Action> {
        for part in self.parts.iter_mut().filter(|p| !p.published) {
            if let Stage::Decided { outcome, at } = part.stage {
                part.published = true;
                let (triggered_at, part) = (part.at, part.id);
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
        let Part { id, at, .. } = *self.parts.get(index)?;
        self.step(index, Input::CaptureAsked);
        Some(Action::Capture {
            part: id,
            not_before: self.config.capture_from(at),
            by: self.config.capture_by(at),
        })
    }

    pub(super) fn due_judge(&mut self) -> Option<Action> {
        if self.judging.is_some() {
            return None;
        }
        let index = self.parts.iter().position(|p| matches!(p.stage, Stage::Held))?;
        let id = self.parts.get(index)?.id;
        self.step(index, Input::JudgeAsked);
        self.judging = Some(id);
        Some(Action::Judge { part: id })
    }
}
