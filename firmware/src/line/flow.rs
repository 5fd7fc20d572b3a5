//! How time, the belt and the world's answers move the parts.

use touchstone_board::time::Timestamp;

use super::belt::Heard;
use super::part::{Input, Part, Stage};
use super::window::{Gate, Window};
use super::{Fault, Line, Outcome, PartId, Trace, Travel, Why};

/// Edges further apart than the debounce time, one after the other, while the
/// encoder says that the belt stands: so many, and it is the encoder that
/// stands.
pub const STILL_EDGES_MAX: u32 = 3;

impl Line {
    /// Lets time reach `now`: windows open and close, deadlines pass, finished
    /// parts leave.
    pub(super) fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        let now = self.now;
        for index in 0..self.parts.len() {
            let Some(part) = self.parts.get_mut(index) else {
                break;
            };
            if part.window.advance(now, &self.belt, &self.config) {
                part.fired = false;
            }
            if part.stage.is_decided() {
                continue;
            }
            let at = part.window.at;
            if !part.window.is_ahead() || now >= self.config.deadline(at) {
                self.step(index, Input::DeadlinePassed);
            } else if now > self.config.capture_by(at) && part.stage.lacks_frame() {
                self.step(index, Input::FrameLost);
            }
        }
        if let Some(spill) = &mut self.spill {
            let again = spill.first.advance(now, &self.belt, &self.config);
            spill.fired &= !again & !spill.last.advance(now, &self.belt, &self.config);
        }
        self.note_missed_pulses();
        while self.parts.front().is_some_and(Part::is_gone) {
            self.parts.pop_front();
        }
        if self.spill.is_some_and(|s| s.unpublished == 0 && s.fired && s.last.is_past()) {
            self.spill = None;
        }
    }

    /// A rejected part whose window went by unfired has escaped. That is the
    /// one failure this machine exists to prevent, so it stops the line.
    fn note_missed_pulses(&mut self) {
        // Then the output is active anyway.
        let held = self.holds_reject();
        let mut missed = false;
        for part in self.parts.iter_mut().filter(|p| p.stage.is_reject() && !p.fired) {
            if held {
                part.fired = !part.window.is_ahead();
            } else if part.window.is_past() {
                part.fired = true;
                missed = true;
                self.counters.pulses_missed += 1;
                self.trace.write(Trace::PulseMissed { part: part.id, at: self.now });
            }
        }
        if let Some(spill) = self.spill.as_mut().filter(|s| !s.fired && s.last.is_past()) {
            spill.fired = true;
            if !held {
                missed = true;
                self.counters.pulses_missed += 1;
            }
        }
        if missed {
            self.raise(Fault::MissedPulse);
        }
    }

    fn raise(&mut self, fault: Fault) {
        self.trace.write(Trace::Fault { fault, at: self.now });
        self.fault = self.fault.max(Some(fault));
    }

    pub(super) fn reset(&mut self) {
        self.late_in_row = 0;
        self.still_edges = 0;
        if !self.fault.take().is_some_and(Fault::holds_reject) {
            return;
        }
        // A person has cleared the belt, and every part on it had its outcome.
        (self.last_place, self.last_edge) = (None, None);
        for part in self.parts.iter_mut() {
            (part.window.gate, part.fired) = (Gate::Past, true);
        }
        if let Some(spill) = &mut self.spill {
            (spill.first.gate, spill.last.gate, spill.fired) = (Gate::Past, Gate::Past, true);
        }
    }

    pub(super) fn encoder(&mut self, at: Timestamp, counts: i64) {
        let Travel::Counts { per_s_max, .. } = self.config.travel() else {
            return;
        };
        match self.belt.hear(at.min(self.now), counts, per_s_max) {
            // Parts that came before were refused; they count from here.
            Heard::First => self.rebase(counts),
            Heard::Moved => {}
            Heard::OutOfOrder => self.counters.encoder_out_of_order += 1,
            Heard::Jump => {
                self.encoder_fault();
                self.rebase(counts);
            }
        }
    }

    fn rebase(&mut self, place: i64) {
        let spilled = self.spill.iter_mut().flat_map(|s| [&mut s.first, &mut s.last]);
        for window in self.parts.iter_mut().map(|p| &mut p.window).chain(spilled) {
            window.place = place;
        }
        (self.last_place, self.last_edge, self.still_edges) = (None, None, 0);
    }

    pub(super) fn holds_reject(&self) -> bool {
        self.fault.is_some_and(Fault::holds_reject)
    }

    pub(super) fn edges_lost(&mut self) {
        match self.config.travel() {
            Travel::Time { .. } => self.raise(Fault::Edges),
            Travel::Counts { .. } => self.encoder_fault(),
        }
    }

    /// From here on nobody knows which part is where.
    fn encoder_fault(&mut self) {
        self.counters.encoder_faults += 1;
        self.raise(Fault::Encoder);
        for index in 0..self.parts.len() {
            if self.parts.get(index).is_some_and(|p| !p.stage.is_decided()) {
                self.step(index, Input::EncoderFault);
            }
        }
    }

    pub(super) fn trigger(&mut self, at: Timestamp) {
        // An edge cannot lie in the future; a clock that says so is not believed.
        let at = at.min(self.now);
        self.counters.triggers += 1;
        let window = Window::new(at, self.belt.place_at(at));
        if self.is_bounce(&window) {
            self.counters.bounces += 1;
            self.trace.write(Trace::Bounce { at });
            self.note_still_edge(&window);
            return;
        }
        let out_of_order = match self.config.travel() {
            Travel::Time { .. } => self.last_trigger.is_some_and(|last| at < last),
            Travel::Counts { .. } => self.last_place.is_some_and(|last| window.place < last),
        };
        self.last_trigger = Some(self.last_trigger.map_or(at, |last| last.max(at)));
        self.last_place = Some(self.last_place.map_or(window.place, |p| p.max(window.place)));
        (self.last_edge, self.still_edges) = (Some((at, self.belt.moved())), 0);
        let refused = if out_of_order {
            Some(Why::OutOfOrder)
        } else if !self.ready() {
            Some(Why::NotReady)
        } else if self.spill.is_some() || self.backlog() >= self.config.backlog_max() {
            Some(Why::Overload)
        } else {
            None
        };
        let id = self.next_id;
        self.next_id = id.next();
        self.counters.parts += 1;
        // Spilled parts are published by counting up, so none may come between.
        let spilling = self.spill.is_some_and(|s| s.unpublished > 0);
        if spilling || self.parts.push_back(Part::new(id, window)).is_err() {
            self.spill(id, window);
        } else if let Some(why) = refused {
            self.step(self.parts.len() - 1, Input::Refused(why));
        }
    }

    /// Whether an edge belongs to a part that is known already. By counts, a
    /// belt that went back brings parts to the sensor again.
    fn is_bounce(&self, edge: &Window) -> bool {
        match self.config.travel() {
            Travel::Time { .. } => self.last_trigger.is_some_and(|last| {
                edge.at.0.saturating_sub(last.0).abs() < self.config.debounce_us()
            }),
            Travel::Counts { debounce, .. } => {
                let near = |place: i64| edge.place.abs_diff(place) < debounce.unsigned_abs();
                self.last_place.is_some_and(near)
                    || (self.last_place.is_some_and(|last| edge.place < last)
                        && self.parts.iter().any(|p| near(p.window.place)))
            }
        }
    }

    /// Looks for an encoder that is dead: edges of parts without any travel.
    fn note_still_edge(&mut self, edge: &Window) {
        if matches!(self.config.travel(), Travel::Time { .. }) {
            return;
        }
        let moved = self.belt.moved();
        let Some((at, moved_before)) = self.last_edge.replace((edge.at, moved)) else {
            return;
        };
        if moved != moved_before {
            self.still_edges = 0;
        } else if edge.at.0.saturating_sub(at.0) >= self.config.debounce_us() {
            self.still_edges += 1;
            if self.still_edges >= STILL_EDGES_MAX && self.ready() {
                self.encoder_fault();
            }
        }
    }

    pub(super) fn frame(&mut self, id: PartId, exposed_at: Timestamp) {
        let Some(at) = self.parts.iter().find(|p| p.id == id).map(|p| p.window.at) else {
            self.counters.events_unexpected += 1;
            return;
        };
        let in_time = self.config.capture_from(at)..=self.config.capture_by(at);
        let input =
            if in_time.contains(&exposed_at) { Input::FrameInTime } else { Input::FrameStale };
        self.feed(id, input);
    }

    pub(super) fn feed(&mut self, id: PartId, input: Input) {
        match self.parts.iter().position(|p| p.id == id) {
            Some(index) => self.step(index, input),
            None => self.unexpected(input),
        }
    }

    /// An answer that no longer (or never did) have a question.
    fn unexpected(&mut self, input: Input) {
        if matches!(input, Input::Good | Input::Bad) {
            self.counters.verdicts_late += 1;
        } else {
            self.counters.events_unexpected += 1;
        }
    }

    /// The one place where a part changes its stage.
    pub(super) fn step(&mut self, index: usize, input: Input) {
        let now = self.now;
        let Some(part) = self.parts.get_mut(index) else {
            return;
        };
        let (id, prev) = (part.id, part.stage);
        let Some(next) = prev.step(input, now) else {
            return self.unexpected(input);
        };
        part.stage = next;
        self.trace.write(Trace::Step { part: id, prev, next, why: input, at: now });
        if let Stage::Decided { outcome, .. } = next {
            self.counters.count(outcome);
            self.count_late(outcome);
        }
    }

    /// Late verdicts in a row say that the judge does not keep up. Parts that
    /// never came to the judge say nothing of it.
    fn count_late(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Reject(Why::Late) => self.late_in_row += 1,
            Outcome::Pass | Outcome::Reject(Why::Judged) => self.late_in_row = 0,
            Outcome::Reject(
                Why::NoResult
                | Why::NoFrame
                | Why::StaleFrame
                | Why::Overload
                | Why::NotReady
                | Why::OutOfOrder
                | Why::Encoder,
            ) => {}
        }
        let late_max = self.config.late_max();
        if late_max > 0 && self.late_in_row >= late_max {
            self.late_in_row = 0;
            self.counters.late_faults += 1;
            self.raise(Fault::LateVerdicts);
        }
    }
}
