//! The whole line in simulated time: belt, sensor, encoder, camera, judge,
//! person and actuator around the real [`Line`]. What it sees goes to the
//! [`Oracle`]; nothing is asked of the line's own counters.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use touchstone::line::{Action, Event, FOREVER, Fault, Line, PartId, Verdict};
use touchstone_board::Timestamp;
use touchstone_chance::Random;

use crate::belt::Belt;
use crate::oracle::{Oracle, Tally, Violation};
use crate::scenario::{BURST_GAP_US, CAPTURE_US, LEAD_US, Mode, SHELL_LATE_US, SPEED, Scenario};

/// A part of a burst is one of so many.
const BURST: u32 = 20;
/// What a person takes to acknowledge, and to clear the belt.
const RESET_US: i64 = 300_000;
/// Nothing may take longer than this without an event.
const SILENCE_US: i64 = 10_000_000;

/// Something that will happen. `part` is the number of the part on the belt,
/// not the line's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Coming {
    Edge { part: usize, at: i64 },
    Frame { part: usize, exposed_at: i64 },
    NoFrame { part: usize },
    Judged { part: usize, good: bool },
    Interlock(bool),
    Health(bool),
    Reset,
}

/// A line and everything around it.
pub struct World {
    scenario: Scenario,
    random: Random,
    line: Line,
    belt: Belt,
    oracle: Oracle,
    now: i64,
    coming: BinaryHeap<Reverse<(i64, u64, Coming)>>,
    made: u64,
    parts: usize,
    next_pos: i64,
    burst_left: u32,
    /// Edges on their way that are later than the next part's.
    disordered: u32,
    interlocks: u32,
    losses: u32,
    reset_coming: bool,
    /// What the line wanted, and by how much the shell is late with it.
    poll: (i64, i64),
}

impl World {
    /// A line at time zero, over which `parts` parts will go.
    pub fn new(scenario: Scenario, seed: u64, parts: usize) -> Self {
        let config = scenario.config().expect("the scenarios of this crate can work");
        let mut random = Random::new(seed);
        let belt = Belt::new(scenario.mode, scenario.trouble, random.below(1 << 20));
        Self {
            oracle: Oracle::new(scenario, parts),
            line: Line::new(config).judging_at_once(scenario.judged_at_once),
            next_pos: belt.pos() + scenario.gap_us * belt.units_per_us(),
            belt,
            scenario,
            random,
            now: 0,
            coming: BinaryHeap::with_capacity(256),
            made: 0,
            parts,
            burst_left: 0,
            disordered: 0,
            interlocks: 0,
            losses: 0,
            reset_coming: false,
            poll: (i64::MIN, 0),
        }
    }

    /// The latest transitions of the line, for a person who looks for the cause.
    pub fn trace(&self) -> String {
        self.line.trace().map(|step| format!("  {step}\n")).collect()
    }

    /// Runs until every part has left.
    ///
    /// # Errors
    /// The first promise that was broken.
    pub fn run(&mut self) -> Result<Tally, Violation> {
        if self.belt.has_encoder() {
            let counts = self.belt.counts();
            self.line.handle(Timestamp(0), Event::Encoder { at: Timestamp(0), counts });
        }
        self.act()?;
        let mut silent_since = 0;
        while !self.oracle.is_done() {
            let next = self.next_event()?;
            let seen = self.oracle.seen();
            self.belt.move_to(self.now, next, &mut self.oracle);
            self.now = next;
            if self.belt.tick_at() == Some(next) {
                self.tick()?;
            }
            while self.oracle.crossed() < self.parts && self.belt.pos() >= self.next_pos {
                self.cross();
            }
            while self.coming.peek().is_some_and(|c| c.0.0 <= next) {
                if let Some(Reverse((_, _, event))) = self.coming.pop() {
                    self.deliver(event)?;
                }
            }
            if self.poll.0.saturating_add(self.poll.1) <= next {
                self.line.handle(Timestamp(next), Event::Tick);
            }
            self.act()?;
            self.oracle.inspect(next)?;
            if self.oracle.seen() != seen {
                silent_since = next;
            } else if next - silent_since > SILENCE_US {
                return Err(self.oracle.stuck(next));
            }
        }
        self.oracle.finish(self.now)
    }

    fn next_event(&mut self) -> Result<i64, Violation> {
        let poll = match self.line.poll_at() {
            Some(Timestamp(at)) if at <= self.now => {
                return Err(self.oracle.violated(self.now, None, "the line asks for the past"));
            }
            Some(Timestamp(at)) => {
                if self.poll.0 != at {
                    let late = self.scenario.trouble.shell * SHELL_LATE_US;
                    self.poll = (at, self.random.below(late + 1));
                }
                Some(self.poll.0 + self.poll.1)
            }
            None => {
                self.poll = (i64::MAX, 0);
                None
            }
        };
        let crossing = (self.oracle.crossed() < self.parts)
            .then(|| self.belt.reaches(self.now, self.next_pos))
            .flatten();
        let coming = self.coming.peek().map(|c| c.0.0);
        let next = [poll, crossing, coming, self.belt.tick_at()].into_iter().flatten().min();
        // Nothing is due: let what is on the belt arrive.
        Ok(next.unwrap_or(self.now + 100_000).max(self.now))
    }

    fn later(&mut self, at: i64, event: Coming) {
        self.made += 1;
        self.coming.push(Reverse((at.max(self.now), self.made, event)));
    }

    /// The encoder speaks; the belt takes its next step.
    fn tick(&mut self) -> Result<(), Violation> {
        let may_turn = self.disordered == 0;
        let heard = self.belt.tick(self.now, may_turn, &mut self.random);
        if self.belt.in_doubt() {
            self.oracle.doubt(self.now);
        }
        if let Some((at, counts)) = heard {
            self.line.handle(Timestamp(self.now), Event::Encoder { at: Timestamp(at), counts });
            self.act()?;
        }
        let (low, high) = self.belt.trodden_again();
        for part in self.oracle.recent_between(low, high) {
            self.edge(part, self.now)?;
            self.act()?;
        }
        Ok(())
    }

    /// A part crosses the sensor for the first time.
    fn cross(&mut self) {
        let t = self.scenario.trouble;
        let good = !self.random.chance(1500);
        let part = self.oracle.cross(self.now, self.next_pos, good, self.belt.is_steady(self.now));
        let at = self.now;
        if self.burst_left == 0 && self.random.chance(t.disorder) && !self.belt.is_turning() {
            self.disordered += 1;
            self.oracle.disordered(part);
            let late = self.scenario.gap_us + self.random.below(self.scenario.gap_more_us);
            self.later(at + late, Coming::Edge { part, at });
        } else {
            let latency = self.random.below(500);
            self.later(at + latency, Coming::Edge { part, at });
            if self.random.chance(t.bounce) {
                for _ in 0..=self.random.below(3) {
                    let again = at + 1 + self.random.below(3_000);
                    self.later(again + latency, Coming::Edge { part, at: again });
                }
            }
        }
        for (chance, off, on) in [
            (t.interlock, Coming::Interlock(false), Coming::Interlock(true)),
            (t.health, Coming::Health(false), Coming::Health(true)),
        ] {
            if self.random.chance(chance) {
                let from = at + self.random.below(30_000);
                self.later(from, off);
                let us = 1 + self.random.below(400_000);
                self.later(from + us, on);
            }
        }
        if self.burst_left > 0 {
            self.burst_left -= 1;
        } else if self.random.chance(t.burst) {
            self.burst_left = BURST;
        }
        let gap_us = if self.burst_left > 0 { BURST_GAP_US } else { self.scenario.gap_us };
        let more_us = if self.burst_left > 0 { 1_000 } else { self.scenario.gap_more_us };
        let gap = (gap_us + self.random.below(more_us)) * self.belt.units_per_us();
        self.next_pos += gap;
    }

    fn deliver(&mut self, event: Coming) -> Result<(), Violation> {
        let now = Timestamp(self.now);
        match event {
            Coming::Edge { part, at } => {
                if self.oracle.is_disordered(part) {
                    self.disordered -= 1;
                }
                self.edge(part, at)?;
            }
            Coming::Frame { part, exposed_at } => {
                let id = PartId(self.oracle.frame(part, exposed_at));
                let exposed_at = Timestamp(exposed_at);
                self.line.handle(now, Event::FrameReady { part: id, exposed_at });
            }
            Coming::NoFrame { part } => {
                let id = PartId(self.oracle.no_frame(part));
                self.line.handle(now, Event::FrameMissing { part: id });
            }
            Coming::Judged { part, good } => {
                let id = PartId(self.oracle.verdict(self.now, part, good, self.belt.max_pos()));
                let verdict = if good { Verdict::Good } else { Verdict::Bad };
                self.line.handle(now, Event::Judged { part: id, verdict });
            }
            Coming::Interlock(closed) => {
                self.interlocks = count(self.interlocks, closed);
                self.line.handle(now, Event::Interlock { closed: self.interlocks == 0 });
            }
            Coming::Health(ok) => {
                self.losses = count(self.losses, ok);
                self.line.handle(now, Event::Health { ok: self.losses == 0 });
            }
            Coming::Reset => self.reset()?,
        }
        self.oracle.may_run(self.interlocks == 0 && self.losses == 0);
        self.act()
    }

    fn edge(&mut self, part: usize, at: i64) -> Result<(), Violation> {
        if self.oracle.is_cleared(part) {
            return Ok(());
        }
        let before = self.line.next_part();
        self.oracle.before_edge();
        self.line.handle(Timestamp(self.now), Event::Trigger { at: Timestamp(at) });
        let id = (self.line.next_part() != before).then_some(before.0);
        self.oracle.edge(self.now, part, id)
    }

    fn reset(&mut self) -> Result<(), Violation> {
        self.reset_coming = false;
        if self.line.fault_kind() == Some(Fault::Encoder) {
            self.oracle.clear_belt(self.now)?;
            self.belt.repaired();
        }
        self.oracle.acknowledged();
        self.line.handle(Timestamp(self.now), Event::Reset);
        self.act()
    }

    fn act(&mut self) -> Result<(), Violation> {
        while let Some(action) = self.line.next_action(Timestamp(self.now)) {
            match action {
                Action::Capture { part, not_before, by } => {
                    let part = self.oracle.capture(self.now, part.0, not_before.0, by.0)?;
                    self.capture(part, not_before.0, by.0);
                }
                Action::Judge { part } => {
                    let part = self.oracle.judge(self.now, part.0)?;
                    self.judge(part);
                }
                Action::FireReject { at, until } => {
                    self.oracle.fire(self.now, at.0, until.0)?;
                    if until == FOREVER && self.line.fault_kind() == Some(Fault::Encoder) {
                        self.oracle.held(self.now)?;
                    }
                }
                Action::EndReject { .. } => self.oracle.end(self.now)?,
                Action::SetReady(ready) => self.oracle.ready(self.now, ready)?,
                Action::SetBusy(busy) => self.oracle.busy(self.now, busy)?,
                Action::Publish { part, outcome, .. } => {
                    self.oracle.publish(self.now, part.0, outcome)?;
                }
            }
        }
        self.oracle.acted(self.now)?;
        if self.line.fault_kind() == Some(Fault::Encoder) {
            // A pulse by counts that was open already is prolonged in silence.
            self.oracle.held(self.now)?;
        }
        if self.line.fault() && !self.reset_coming {
            self.reset_coming = true;
            let patience = 1 + self.random.below(3);
            self.later(self.now + patience * RESET_US, Coming::Reset);
        }
        Ok(())
    }

    fn capture(&mut self, part: usize, not_before: i64, by: i64) {
        let t = self.scenario.trouble;
        if self.random.chance(t.silent) {
            return;
        }
        let from = self.now.max(not_before);
        let mut exposed_at = from + self.random.below((by - from + 1).max(1));
        let mut comes_at = exposed_at;
        if self.random.chance(t.drop) {
            return self.later(comes_at, Coming::NoFrame { part });
        }
        if self.random.chance(t.stale) {
            let off = [1, 1 + self.random.below(50_000)][self.random.below(2) as usize];
            let early = self.random.chance(5_000);
            exposed_at = if early { not_before - off } else { by + off };
            comes_at = comes_at.max(exposed_at);
        } else if self.random.chance(t.stale) {
            // The very first and the very last instant do show the part.
            exposed_at = if self.now <= not_before { not_before } else { by };
            comes_at = exposed_at;
        }
        self.later(comes_at, Coming::Frame { part, exposed_at });
        if self.random.chance(t.twice) {
            self.later(comes_at + 100, Coming::Frame { part, exposed_at });
        }
    }

    fn judge(&mut self, part: usize) {
        let t = self.scenario.trouble;
        let (least, most) = self.scenario.judge_us;
        let mut at = self.now + least + self.random.below(most - least + 1);
        if self.random.chance(t.slow) || (self.burst_left > 0 && self.random.chance(5_000)) {
            at = self.now + self.random.below(400_000);
        }
        if self.random.chance(t.on_deadline) && self.scenario.mode == Mode::Time {
            let triggered = self.oracle.triggered_at(part);
            at = triggered + self.scenario.travel_us - LEAD_US - 1 + self.random.below(3);
        }
        if self.random.chance(t.never) {
            at = self.now + 2_000_000 + self.random.below(2_000_000);
        }
        let nan = self.random.chance(t.nan);
        let good = self.oracle.is_good(part) && !nan;
        self.later(at, Coming::Judged { part, good });
    }
}

fn count(off: u32, on_again: bool) -> u32 {
    if on_again { off.saturating_sub(1) } else { off + 1 }
}

const _: () = assert!(CAPTURE_US.0 < CAPTURE_US.1 && SPEED > 0);
