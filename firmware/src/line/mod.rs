//! The line: which part is where, what is known of it, and what must happen when.
//!
//! Owns the rule *reject by default*: a part passes only if a verdict "good"
//! arrived for exactly this part before its deadline. Everything else (no
//! frame, an old frame, no verdict in time, too many parts, not ready) is a
//! reject with a reason.
//!
//! Owns no clock, no thread, no file descriptor, and allocates nothing after
//! [`Line::new`]. Time is an argument. A shell translates: it turns edges,
//! frames and verdicts into [`Event`]s and carries out [`Action`]s.
//!
//! # Important terms
//! - **Trigger**: the instant a part crosses the sensor. Everything else is
//!   counted from it.
//! - **Deadline** of a part: `trigger + travel - actuator lead`. At this
//!   instant the actuator must start if the part is to be rejected, so a
//!   verdict that arrives at the deadline or later is too late.
//! - **Window** of a part: `[deadline, deadline + pulse)`, the time in which
//!   the reject output must be active if the part is rejected.
//! - **Backlog**: parts without an outcome. Over `backlog_max` a new part is
//!   rejected at once; nothing queues up.
//!
//! # What the reject output does, exactly
//! If the shell calls [`Line::next_action`] at every [`Line::poll_at`], the
//! output is active at an instant `t` if and only if `t` lies in the window of
//! a rejected part. Overlapping windows merge into one pulse. The window of a
//! passed part therefore sees the output active only where it overlaps the
//! window of a rejected neighbour, which [`LineConfig`] makes impossible when
//! `debounce >= pulse`. (One exception, on the safe side: parts rejected
//! because the table of parts was full share one window that spans them all.)

mod config;
mod counters;
mod due;
mod part;
#[cfg(test)]
mod script_tests;
#[cfg(test)]
mod sim_tests;
mod spill;
mod trace;

pub use config::{BACKLOG_MAX, ConfigError, LineConfig, LineTimes};
pub use counters::Counters;
pub use part::{Outcome, PartId, Verdict, Why};
pub use trace::{TRACE_LEN, Trace};

use heapless::{Deque, HistoryBuf};
use part::{Input, Part, Stage};
use spill::Spill;
use touchstone_board::time::Timestamp;

/// Parts between trigger and the end of their window. [`LineConfig`] refuses
/// timings under which more could exist.
pub const PARTS_IN_FLIGHT_MAX: usize = 256;

/// What the world tells the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A part crossed the sensor at `at` (the kernel's stamp, not the time of
    /// the call).
    Trigger {
        /// When the edge happened.
        at: Timestamp,
    },
    /// The camera delivered a frame for `part`, exposed at `exposed_at`.
    FrameReady {
        /// The part that the frame was asked for.
        part: PartId,
        /// When the sensor was exposed.
        exposed_at: Timestamp,
    },
    /// The camera could not deliver a frame for `part`.
    FrameMissing {
        /// The part that the frame was asked for.
        part: PartId,
    },
    /// The judge finished with `part`.
    Judged {
        /// The part that was judged.
        part: PartId,
        /// What the judge says.
        verdict: Verdict,
    },
    /// The interlock (guard, conveyor run) closed or opened. Starts closed.
    Interlock {
        /// True: the line may run.
        closed: bool,
    },
    /// Camera, model and outputs work, or one of them does not. Starts working.
    Health {
        /// True: all work.
        ok: bool,
    },
    /// A person acknowledged a missed pulse.
    Reset,
    /// Nothing happened; time passed.
    Tick,
}

/// What the shell has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Take the newest frame exposed in `[not_before, by]` for `part`.
    Capture {
        /// The part to take it for.
        part: PartId,
        /// Earliest exposure; an older frame shows another part.
        not_before: Timestamp,
        /// Latest exposure; afterwards the part has left the picture.
        by: Timestamp,
    },
    /// Judge the frame held for `part`.
    Judge {
        /// The part to judge.
        part: PartId,
    },
    /// Hold the reject output active now and until `until`; `at` is when the
    /// pulse began. A later `FireReject` with the same `at` prolongs it.
    FireReject {
        /// Start of the merged pulse.
        at: Timestamp,
        /// End of the merged pulse.
        until: Timestamp,
    },
    /// Set the READY output, which lets the conveyor run.
    SetReady(bool),
    /// The outcome of `part` is final: report it and free its frame. Comes
    /// exactly once per part.
    Publish {
        /// The part.
        part: PartId,
        /// Pass, or reject with the reason.
        outcome: Outcome,
        /// When the part crossed the sensor.
        triggered_at: Timestamp,
        /// When the outcome became final.
        decided_at: Timestamp,
    },
}

/// A pulse of the reject output.
#[derive(Clone, Copy, Debug)]
struct Pulse {
    at: Timestamp,
    until: Timestamp,
}

/// The state of the line. See the module's text for the rules.
#[derive(Debug)]
pub struct Line {
    config: LineConfig,
    now: Timestamp,
    next_id: PartId,
    parts: Deque<Part, PARTS_IN_FLIGHT_MAX>,
    spill: Option<Spill>,
    /// The part that the judge is busy with; it may already be late.
    judging: Option<PartId>,
    pulse: Option<Pulse>,
    last_trigger: Option<Timestamp>,
    interlock_closed: bool,
    healthy: bool,
    /// A rejected part went by without its pulse; only [`Event::Reset`] clears it.
    fault: bool,
    ready_shown: Option<bool>,
    counters: Counters,
    trace: HistoryBuf<Trace, TRACE_LEN>,
}

impl Line {
    /// A line with no parts on it, ready as soon as the shell polls it.
    pub fn new(config: LineConfig) -> Self {
        Self {
            config,
            now: Timestamp(i64::MIN),
            next_id: PartId(0),
            parts: Deque::new(),
            spill: None,
            judging: None,
            pulse: None,
            last_trigger: None,
            interlock_closed: true,
            healthy: true,
            fault: false,
            ready_shown: None,
            counters: Counters::default(),
            trace: HistoryBuf::new(),
        }
    }

    /// The counters since start. They only grow.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The latest transitions, oldest first.
    pub fn trace(&self) -> impl Iterator<Item = &Trace> {
        self.trace.oldest_ordered()
    }

    /// Parts that have no outcome yet.
    pub fn backlog(&self) -> usize {
        let open = |p: &&Part| !p.stage.is_decided();
        self.parts.iter().filter(open).count()
    }

    /// Parts between the trigger and the end of their window.
    pub fn in_flight(&self) -> usize {
        self.parts.len()
    }

    /// The part that has been on the line for longest.
    pub fn oldest(&self) -> Option<PartId> {
        self.parts.front().map(|p| p.id)
    }

    /// The identity that the next part will have.
    pub fn next_part(&self) -> PartId {
        self.next_id
    }

    /// True if parts may come.
    pub fn ready(&self) -> bool {
        self.interlock_closed && self.healthy && !self.fault
    }

    /// True if a rejected part went by without its pulse.
    pub fn fault(&self) -> bool {
        self.fault
    }

    /// Takes note of `event`, which the shell learned of at `now`.
    pub fn handle(&mut self, now: Timestamp, event: Event) {
        self.advance(now);
        match event {
            Event::Trigger { at } => self.trigger(at),
            Event::FrameReady { part, exposed_at } => self.frame(part, exposed_at),
            Event::FrameMissing { part } => self.feed(part, Input::FrameLost),
            Event::Judged { part, verdict } => {
                if self.judging == Some(part) {
                    self.judging = None;
                }
                self.feed(part, Input::from(verdict));
            }
            Event::Interlock { closed } => self.interlock_closed = closed,
            Event::Health { ok } => self.healthy = ok,
            Event::Reset => self.fault = false,
            Event::Tick => {}
        }
        // A trigger that is reported late may be past its deadline already.
        self.advance(now);
    }

    /// The next thing to do, most urgent first; call until it says `None`.
    pub fn next_action(&mut self, now: Timestamp) -> Option<Action> {
        self.advance(now);
        self.due_pulse()
            .or_else(|| self.ready_change())
            .or_else(|| self.due_publish())
            .or_else(|| self.due_capture())
            .or_else(|| self.due_judge())
    }

    /// When the line next has something to do if no event comes before.
    /// Ask after [`Line::next_action`] said `None`.
    pub fn poll_at(&self) -> Option<Timestamp> {
        let of_part = |p: &Part| match p.stage {
            // A frame exposed at the last instant still counts, so the time
            // to give up is one tick later. The deadline is never before it.
            Stage::Triggered | Stage::Capturing => {
                Some(Timestamp(self.config.capture_by(p.at).0 + 1))
            }
            Stage::Held | Stage::Judging => Some(self.config.deadline(p.at)),
            Stage::Decided { outcome, .. } => {
                (outcome.is_reject() && !p.fired).then(|| self.config.deadline(p.at))
            }
        };
        let of_spill = self.spill.filter(|s| !s.fired).map(|s| s.opens);
        self.parts.iter().filter_map(of_part).chain(of_spill).min()
    }

    /// Lets time reach `now`: deadlines pass, finished parts leave.
    fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        for index in 0..self.parts.len() {
            let Some(part) = self.parts.get(index).copied() else {
                break;
            };
            if part.stage.is_decided() {
                continue;
            }
            if self.now >= self.config.deadline(part.at) {
                self.step(index, Input::DeadlinePassed);
            } else if self.now > self.config.capture_by(part.at) && part.stage.lacks_frame() {
                self.step(index, Input::FrameLost);
            }
        }
        self.note_missed_pulses();
        while self.parts.front().is_some_and(|p| p.is_gone(self.now, &self.config)) {
            self.parts.pop_front();
        }
        if self.spill.is_some_and(|s| s.unpublished == 0 && s.fired && self.now >= s.closes) {
            self.spill = None;
        }
    }

    /// A rejected part whose window went by unfired has escaped. That is the
    /// one failure this machine exists to prevent, so it stops the line.
    fn note_missed_pulses(&mut self) {
        for part in self.parts.iter_mut() {
            let closes = self.config.closes(part.at);
            if part.stage.is_reject() && !part.fired && self.now >= closes {
                part.fired = true;
                self.fault = true;
                self.counters.pulses_missed += 1;
                self.trace.write(Trace::PulseMissed { part: part.id, at: self.now });
            }
        }
        if let Some(spill) = &mut self.spill
            && !spill.fired
            && self.now >= spill.closes
        {
            spill.fired = true;
            self.fault = true;
            self.counters.pulses_missed += 1;
        }
    }

    fn trigger(&mut self, at: Timestamp) {
        // An edge cannot lie in the future; a clock that says so is not believed.
        let at = at.min(self.now);
        self.counters.triggers += 1;
        let since_last = self.last_trigger.map(|last| at.0.saturating_sub(last.0));
        if since_last.is_some_and(|us| us.abs() < self.config.debounce_us()) {
            self.counters.bounces += 1;
            self.trace.write(Trace::Bounce { at });
            return;
        }
        let out_of_order = since_last.is_some_and(|us| us < 0);
        self.last_trigger = Some(self.last_trigger.map_or(at, |last| last.max(at)));
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
        if spilling || self.parts.push_back(Part::new(id, at)).is_err() {
            self.spill(id, at);
        } else if let Some(why) = refused {
            self.step(self.parts.len() - 1, Input::Refused(why));
        }
    }

    fn frame(&mut self, id: PartId, exposed_at: Timestamp) {
        let Some(at) = self.parts.iter().find(|p| p.id == id).map(|p| p.at) else {
            self.counters.events_unexpected += 1;
            return;
        };
        let in_time = self.config.capture_from(at)..=self.config.capture_by(at);
        let input =
            if in_time.contains(&exposed_at) { Input::FrameInTime } else { Input::FrameStale };
        self.feed(id, input);
    }

    fn feed(&mut self, id: PartId, input: Input) {
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
    fn step(&mut self, index: usize, input: Input) {
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
        }
    }
}
