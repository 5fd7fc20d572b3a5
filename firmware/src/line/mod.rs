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
//! - **Travel**: what measures the way from sensor to actuator ([`Travel`]).
//!   Time, where the belt has one speed; else the encoder, a second and equal
//!   clock ([`Event::Encoder`]). The picture is always taken by time: the camera
//!   stands at the sensor.
//! - **Deadline** of a part: `trigger + travel - actuator lead`. At this
//!   instant the actuator must start if the part is to be rejected, so a
//!   verdict that arrives at the deadline or later is too late. By counts, the
//!   lead is turned into counts by the speed measured over the last 10 ms or
//!   more, so a belt that changes its speed within that time and the lead has
//!   its pulses early or late by the difference; and a part whose belt stands
//!   is given up by a timeout ([`LineConfig::deadline`]).
//! - **Window** of a part: `[deadline, deadline + pulse)`, the time in which
//!   the reject output must be active if the part is rejected.
//! - **Backlog**: parts without an outcome. Over `backlog_max` a new part is
//!   rejected at once; nothing queues up.
//! - **Fault**: what stops the line until a person has looked ([`Fault`]).
//!
//! # What the reject output does, exactly
//! If the shell calls [`Line::next_action`] after every event and at every
//! [`Line::poll_at`], the output is active at an instant `t` if and only if `t`
//! lies in the window of a rejected part. Overlapping windows merge into one
//! pulse. The window of a passed part therefore sees the output active only
//! where it overlaps the window of a rejected neighbour, which [`LineConfig`]
//! makes impossible when `debounce >= pulse`. Two exceptions, on the safe side:
//! parts rejected because the table of parts was full share one window that
//! spans them all; and from [`Fault::Encoder`] and [`Fault::Edges`] to their
//! acknowledgement the output stays active, because nobody knows which part is
//! where.
//!
//! # A belt that stops and reverses
//! A part that has arrived at the actuator does not open its window again. One
//! that has not, because the belt stopped or turned within the lead, does: a
//! pulse is repeated or prolonged rather than spent on an empty place. A pulse by
//! counts stays active while the belt stands in it or has gone back, until the
//! part has been carried past. A pulse by time ends by time, also while the part
//! stands in front of the actuator; where that may happen, give the pulse in
//! counts. An edge from a part that comes back to the sensor is a bounce, known
//! by its place.
//!
//! What cannot be known: an encoder that falls silent looks like a belt that
//! stands. Edges that keep coming without any travel give it away
//! ([`STILL_EDGES_MAX`]); rejected parts that reach the actuator before that
//! are lost.

mod belt;
mod config;
mod counters;
mod due;
mod event;
mod flow;
mod part;
#[cfg(test)]
mod script_tests;
#[cfg(test)]
mod sim_tests;
mod spill;
mod times;
mod trace;
#[cfg(test)]
mod travel_tests;
mod window;

pub use config::{LineConfig, Travel, VERDICT_TIMEOUT_MS_DEFAULT, Width};
pub use counters::Counters;
pub use event::{Action, Event, FOREVER};
pub use flow::STILL_EDGES_MAX;
pub use part::{Outcome, PartId, Verdict, Why};
pub use times::{BACKLOG_MAX, ConfigError, JUDGED_AT_ONCE_MAX, LineTimes};
pub use trace::{TRACE_LEN, Trace};

use belt::Belt;
use heapless::{Deque, HistoryBuf};
use part::{Input, Part, Stage};
use serde::Serialize;
use spill::Spill;
use touchstone_board::time::Timestamp;
use window::Gate;

/// Parts between trigger and the end of their window. [`LineConfig`] refuses
/// timings under which more could exist.
pub const PARTS_IN_FLIGHT_MAX: usize = 256;

/// What stops the line until [`Event::Reset`]; the graver one is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Too many late verdicts in a row: the judge does not keep up.
    LateVerdicts,
    /// A rejected part went by without its pulse.
    MissedPulse,
    /// Edges of the inputs were lost: parts may be on the belt that nobody has seen. The reject
    /// output stays active.
    Edges,
    /// The encoder's count cannot be true. The reject output stays active.
    Encoder,
}

impl Fault {
    /// Whether the reject output stays active until the fault is acknowledged, because nobody
    /// knows what is on the belt.
    const fn holds_reject(self) -> bool {
        match self {
            Self::Edges | Self::Encoder => true,
            Self::LateVerdicts | Self::MissedPulse => false,
        }
    }
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
    belt: Belt,
    /// The parts that the judge is busy with; they may already be late.
    judging: heapless::Vec<PartId, JUDGED_AT_ONCE_MAX>,
    /// How many it takes at once.
    judged_at_once: usize,
    pulse: Option<Pulse>,
    last_trigger: Option<Timestamp>,
    /// Where the foremost trigger was; by counts only.
    last_place: Option<i64>,
    /// The latest edge of any kind, with what the belt had moved by then, and
    /// how many came since it last moved.
    last_edge: Option<(Timestamp, u64)>,
    still_edges: u32,
    late_in_row: u32,
    interlock_closed: bool,
    healthy: bool,
    fault: Option<Fault>,
    ready_shown: Option<(bool, Option<Fault>)>,
    busy_shown: bool,
    counters: Counters,
    trace: HistoryBuf<Trace, TRACE_LEN>,
}

impl Line {
    /// A line with no parts on it, ready as soon as the shell polls it and, by
    /// counts, has said where the belt is.
    pub fn new(config: LineConfig) -> Self {
        Self {
            config,
            now: Timestamp(i64::MIN),
            next_id: PartId(0),
            parts: Deque::new(),
            spill: None,
            belt: Belt::new(),
            judging: heapless::Vec::new(),
            judged_at_once: 1,
            pulse: None,
            last_trigger: None,
            last_place: None,
            last_edge: None,
            still_edges: 0,
            late_in_row: 0,
            interlock_closed: true,
            healthy: true,
            fault: None,
            ready_shown: None,
            busy_shown: false,
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
        let placed = match self.config.travel() {
            Travel::Time { .. } => true,
            Travel::Counts { .. } => self.belt.is_known(),
        };
        self.interlock_closed && self.healthy && placed && self.fault.is_none()
    }

    /// True if a person has to look: see [`Line::fault_kind`].
    pub fn fault(&self) -> bool {
        self.fault.is_some()
    }

    /// What a person has to look at.
    pub fn fault_kind(&self) -> Option<Fault> {
        self.fault
    }

    /// Takes over other times, as another recipe has them. False, and nothing
    /// done, where a part is on the line: its window must stay where it is.
    #[must_use]
    pub fn adopt(&mut self, now: Timestamp, config: LineConfig) -> bool {
        self.advance(now);
        let pulsing = self.pulse.is_some_and(|p| p.until > self.now);
        let empty = self.parts.is_empty() && self.spill.is_none() && !pulsing;
        if empty {
            self.config = config;
        }
        empty
    }

    /// The times that hold.
    pub fn config(&self) -> &LineConfig {
        &self.config
    }

    /// The same with a judge that takes so many parts at once, from 1 to [`JUDGED_AT_ONCE_MAX`].
    pub fn judging_at_once(mut self, parts: usize) -> Self {
        self.judged_at_once = parts.clamp(1, JUDGED_AT_ONCE_MAX);
        self
    }

    /// Takes note of `event`, which the shell learned of at `now`.
    pub fn handle(&mut self, now: Timestamp, event: Event) {
        self.advance(now);
        match event {
            Event::Trigger { at } => self.trigger(at),
            Event::Encoder { at, counts } => self.encoder(at, counts),
            Event::EdgesLost => self.edges_lost(),
            Event::FrameReady { part, exposed_at } => self.frame(part, exposed_at),
            Event::FrameMissing { part } => self.feed(part, Input::FrameLost),
            Event::Judged { part, verdict } => {
                self.judging.retain(|judged| *judged != part);
                self.feed(part, Input::from(verdict));
            }
            Event::Interlock { closed } => self.interlock_closed = closed,
            Event::Health { ok } => self.healthy = ok,
            Event::Reset => self.reset(),
            Event::Tick => {}
        }
        // A trigger that is reported late may be past its deadline already.
        self.advance(now);
    }

    /// The next thing to do, most urgent first; call until it says `None`.
    pub fn next_action(&mut self, now: Timestamp) -> Option<Action> {
        self.advance(now);
        self.due_pulse()
            .or_else(|| self.due_end())
            .or_else(|| self.ready_change())
            .or_else(|| self.due_publish())
            .or_else(|| self.busy_change())
            .or_else(|| self.due_capture())
            .or_else(|| self.due_judge())
    }

    /// When the line next has something to do if no event comes before. Ask
    /// after [`Line::next_action`] said `None`. By counts, only what has a limit
    /// in time is in here; windows open and close with the encoder's events.
    pub fn poll_at(&self) -> Option<Timestamp> {
        let of_window = |gate: Gate, at: Timestamp| match (gate, self.config.travel()) {
            (Gate::Ahead, Travel::Time { deadline_us, .. }) => Some(Timestamp(at.0 + deadline_us)),
            (Gate::Ahead, Travel::Counts { .. }) | (Gate::Awaited | Gate::Past, _) => None,
            (Gate::Open { since, .. }, _) => Some(since),
        };
        let of_part = |p: &Part| match p.stage {
            // A frame exposed at the last instant still counts, so the time
            // to give up is one tick later. The deadline is never before it.
            Stage::Triggered | Stage::Capturing => {
                Some(Timestamp(self.config.capture_by(p.window.at).0 + 1))
            }
            Stage::Held | Stage::Judging => Some(self.config.deadline(p.window.at)),
            Stage::Decided { outcome, .. } => (outcome.is_reject() && !p.fired)
                .then(|| of_window(p.window.gate, p.window.at))
                .flatten(),
        };
        let of_spill = self.spill.as_ref().filter(|s| !s.fired);
        let of_spill = of_spill.and_then(|s| of_window(s.first.gate, s.first.at));
        self.parts.iter().filter_map(of_part).chain(of_spill).min()
    }
}
