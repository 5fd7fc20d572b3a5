//! The line in virtual time: a world with a random camera, a random judge and
//! random trouble, made from a seed. A failure prints its seed.
//!
//! Held against the module's promises: one outcome per part; a pass only
//! after a verdict "good" for this part before its deadline; the reject output
//! active exactly in the windows of rejected parts; the same seed, the same run.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use touchstone_chance::Random;

use super::*;

/// Chances in percent and times in µs.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    bounce: i64,
    frame_lost: i64,
    frame_silent: i64,
    frame_stale: i64,
    frame_twice: i64,
    judge_hangs: i64,
    interlock: i64,
    judge_us: i64,
    spacing_us: i64,
}

/// What the world saw.
#[derive(Debug, Default, PartialEq)]
struct Ledger {
    triggers: BTreeMap<u32, i64>,
    outcomes: BTreeMap<u32, Vec<Outcome>>,
    goods: BTreeSet<u32>,
    /// Merged pulses: start to end.
    pulses: BTreeMap<i64, i64>,
}

const TIMES: LineTimes = LineTimes {
    capture_delay_ms: 10,
    capture_window_ms: 40,
    travel_ms: 500,
    actuator_lead_ms: 15,
    pulse_ms: 60,
    debounce_ms: 20,
    backlog_max: 6,
    late_max: 0,
    ..LineTimes::DEFAULT
};
/// A window opens so long after the trigger, and is so long.
const OPENS_US: i64 = 485_000;
const PULSE_US: i64 = 60_000;

struct World {
    line: Line,
    config: LineConfig,
    random: Random,
    trouble: Trouble,
    now: i64,
    /// Things that will happen, in order of time, then of making.
    coming: BTreeMap<(i64, u64), Event>,
    made: u64,
    expected: u32,
    ledger: Ledger,
}

impl World {
    fn new(seed: u64, trouble: Trouble, parts: u32) -> Self {
        let config = LineConfig::try_from(TIMES).unwrap();
        let mut world = Self {
            line: Line::new(config),
            config,
            random: Random::new(seed),
            trouble,
            now: 0,
            coming: BTreeMap::new(),
            made: 0,
            expected: 0,
            ledger: Ledger::default(),
        };
        let mut at = 0;
        for _ in 0..parts {
            at += 20_000 + world.random.below(trouble.spacing_us);
            world.later(at, Event::Trigger { at: Timestamp(at) });
            if world.random.percent(trouble.bounce) {
                let again = at + 1 + world.random.below(19_000);
                world.later(again, Event::Trigger { at: Timestamp(again) });
            }
            if world.random.percent(trouble.interlock) {
                let opened = at + world.random.below(30_000);
                world.later(opened, Event::Interlock { closed: false });
                let closed = opened + world.random.below(300_000);
                world.later(closed, Event::Interlock { closed: true });
            }
        }
        world
    }

    fn later(&mut self, at: i64, event: Event) {
        self.made += 1;
        self.coming.insert((at, self.made), event);
    }

    fn run(mut self) -> Ledger {
        loop {
            self.act();
            let event_at = self.coming.keys().next().map(|k| k.0);
            let poll_at = self.line.poll_at().map(|t| t.0);
            let Some(next) = event_at.into_iter().chain(poll_at).min() else {
                break;
            };
            assert!(next >= self.now, "the line wants to be polled in the past");
            self.now = next;
            // A poll that falls on an event comes first or second; both must do.
            if Some(next) == event_at && (poll_at != Some(next) || self.random.percent(50)) {
                let (_, event) = self.coming.pop_first().unwrap();
                self.deliver(event);
            } else {
                self.line.handle(Timestamp(self.now), Event::Tick);
                self.act();
                if Some(next) == event_at {
                    let (_, event) = self.coming.pop_first().unwrap();
                    self.deliver(event);
                }
            }
        }
        self.line.handle(Timestamp(self.now + 10_000_000), Event::Tick);
        assert_eq!(self.line.in_flight(), 0);
        assert_eq!(self.line.counters().pulses_missed, 0);
        assert_eq!(self.line.counters().pulses_late, 0);
        self.check_counters();
        self.ledger
    }

    fn deliver(&mut self, event: Event) {
        let parts_before = self.line.counters().parts;
        self.line.handle(Timestamp(self.now), event);
        if self.line.counters().parts > parts_before {
            self.ledger.triggers.insert(self.expected, self.now);
            self.expected += 1;
        }
        if let Event::Judged { part, verdict: Verdict::Good } = event {
            let deadline = self.config.deadline(Timestamp(self.ledger.triggers[&part.0]));
            if self.now < deadline.0 {
                self.ledger.goods.insert(part.0);
            }
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.line.next_action(Timestamp(self.now)) {
            match action {
                Action::Capture { part, not_before, by } => self.capture(part, not_before, by),
                Action::Judge { part } => self.judge(part),
                Action::FireReject { at, until } => {
                    assert!(self.now >= at.0 && self.now < until.0);
                    let end = self.ledger.pulses.entry(at.0).or_insert(until.0);
                    *end = (*end).max(until.0);
                }
                Action::SetReady(_) | Action::SetBusy(_) => {}
                Action::EndReject { .. } => panic!("by time, pulses end by themselves"),
                Action::Publish { part, outcome, .. } => {
                    self.ledger.outcomes.entry(part.0).or_default().push(outcome);
                }
            }
        }
    }

    fn capture(&mut self, part: PartId, not_before: Timestamp, by: Timestamp) {
        let t = self.trouble;
        if self.random.percent(t.frame_silent) {
            return;
        }
        let at = self.now.max(not_before.0) + self.random.below(by.0 - not_before.0);
        if self.random.percent(t.frame_lost) {
            return self.later(at, Event::FrameMissing { part });
        }
        let mut exposed_at = Timestamp(at);
        if self.random.percent(t.frame_stale) {
            exposed_at = Timestamp(not_before.0 - 1 - self.random.below(50_000));
        }
        self.later(at, Event::FrameReady { part, exposed_at });
        if self.random.percent(t.frame_twice) {
            self.later(at + 100, Event::FrameReady { part, exposed_at });
        }
    }

    fn judge(&mut self, part: PartId) {
        let mut us = 1 + self.random.below(self.trouble.judge_us);
        if self.random.percent(self.trouble.judge_hangs) {
            us += 700_000;
        }
        let verdict = if self.random.percent(70) { Verdict::Good } else { Verdict::Bad };
        self.later(self.now + us, Event::Judged { part, verdict });
    }

    fn check_counters(&self) {
        let c = self.line.counters();
        assert_eq!(c.triggers, c.parts + c.bounces);
        assert_eq!(c.parts, c.passed + c.rejected);
        let reasons = c.rejected_judged
            + c.rejected_late
            + c.rejected_no_frame
            + c.rejected_stale_frame
            + c.rejected_overload
            + c.rejected_not_ready
            + c.rejected_out_of_order
            + c.rejected_encoder;
        assert_eq!(c.rejected, reasons);
    }
}

/// Checks the promises on what the world saw.
fn check(ledger: &Ledger) {
    let mut windows: Vec<(i64, i64)> = Vec::new();
    for (part, at) in &ledger.triggers {
        let outcomes = ledger.outcomes.get(part).map_or(&[][..], Vec::as_slice);
        assert_eq!(outcomes.len(), 1, "part {part} has outcomes {outcomes:?}");
        if outcomes[0].is_reject() {
            let (opens, closes) = (at + OPENS_US, at + OPENS_US + PULSE_US);
            match windows.last_mut() {
                Some(last) if last.1 >= opens => last.1 = closes,
                Some(_) | None => windows.push((opens, closes)),
            }
        } else {
            assert!(ledger.goods.contains(part), "part {part} passed without a verdict");
        }
    }
    assert_eq!(ledger.outcomes.len(), ledger.triggers.len());
    let mut pulses: Vec<(i64, i64)> = Vec::new();
    for (&at, &until) in &ledger.pulses {
        // Pulses that touch are one pulse on the wire.
        match pulses.last_mut() {
            Some(last) if last.1 >= at => last.1 = last.1.max(until),
            Some(_) | None => pulses.push((at, until)),
        }
    }
    assert_eq!(pulses, windows, "the output is active exactly in the rejected parts' windows");
}

fn calm() -> Trouble {
    Trouble {
        bounce: 0,
        frame_lost: 0,
        frame_silent: 0,
        frame_stale: 0,
        frame_twice: 0,
        judge_hangs: 0,
        interlock: 0,
        judge_us: 60_000,
        spacing_us: 120_000,
    }
}

#[test]
fn on_a_calm_line_every_part_is_judged() {
    let ledger = World::new(1, calm(), 2000).run();
    check(&ledger);
    let unjudged = |o: &Vec<Outcome>| !matches!(o[0], Outcome::Pass | Outcome::Reject(Why::Judged));
    assert_eq!(ledger.triggers.len(), 2000);
    assert_eq!(ledger.outcomes.values().filter(|o| unjudged(o)).count(), 0);
}

#[test]
fn every_kind_of_reject_occurs_in_the_sweep() {
    let trouble = Trouble {
        bounce: 10,
        frame_lost: 5,
        frame_silent: 5,
        frame_stale: 5,
        frame_twice: 5,
        judge_hangs: 3,
        interlock: 2,
        judge_us: 110_000,
        spacing_us: 80_000,
    };
    let ledger = World::new(7, trouble, 5000).run();
    check(&ledger);
    for why in [Why::Judged, Why::Late, Why::NoFrame, Why::StaleFrame, Why::Overload, Why::NotReady]
    {
        let seen = ledger.outcomes.values().any(|o| o[0] == Outcome::Reject(why));
        assert!(seen, "no part was rejected for {why:?}");
    }
    assert!(ledger.outcomes.values().any(|o| o[0] == Outcome::Pass));
}

prop_compose! {
    fn any_trouble()(
        bounce in 0i64..30,
        frame_lost in 0i64..20,
        frame_silent in 0i64..20,
        frame_stale in 0i64..20,
        frame_twice in 0i64..20,
        judge_hangs in 0i64..10,
        interlock in 0i64..5,
        judge_us in 1i64..400_000,
        spacing_us in 1i64..300_000,
    ) -> Trouble {
        Trouble {
            bounce, frame_lost, frame_silent, frame_stale, frame_twice, judge_hangs, interlock,
            judge_us, spacing_us,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_promises_hold_under_any_trouble(seed in any::<u64>(), trouble in any_trouble()) {
        check(&World::new(seed, trouble, 400).run());
    }

    #[test]
    fn the_same_seed_gives_the_same_run(seed in any::<u64>(), trouble in any_trouble()) {
        let once = World::new(seed, trouble, 100).run();
        prop_assert_eq!(once, World::new(seed, trouble, 100).run());
    }

    /// Any events at any times, even nonsense, and a shell that oversleeps:
    /// nothing panics and no part gets two outcomes or an unfounded pass.
    #[test]
    fn nonsense_never_passes_a_part(script in prop::collection::vec((0u8..9, 0u32..40, 0i64..90_000), 1..400)) {
        let mut line = Line::new(LineConfig::try_from(TIMES).unwrap());
        let (mut now, mut asked, mut outcomes) = (0i64, BTreeSet::new(), BTreeMap::new());
        let mut goods = BTreeSet::new();
        for (kind, id, wait) in script {
            now += wait;
            let part = PartId(id);
            let at = Timestamp(now - wait);
            let event = match kind {
                0..=2 => Event::Trigger { at },
                3 => Event::FrameReady { part, exposed_at: at },
                4 => Event::FrameMissing { part },
                5 => Event::Judged { part, verdict: Verdict::Good },
                6 => Event::Judged { part, verdict: Verdict::Bad },
                7 => Event::Interlock { closed: id % 4 != 0 },
                _ => Event::Reset,
            };
            if kind == 5 && asked.contains(&id) {
                goods.insert(id);
            }
            line.handle(Timestamp(now), event);
            while let Some(action) = line.next_action(Timestamp(now)) {
                match action {
                    Action::Judge { part } => { asked.insert(part.0); }
                    Action::Publish { part, outcome, .. } => {
                        prop_assert!(outcomes.insert(part.0, outcome).is_none());
                        prop_assert!(outcome.is_reject() || goods.contains(&part.0));
                    }
                    Action::Capture { part, .. } => {
                        // Half of the frames come as they should.
                        if part.0 % 2 == 0 {
                            let exposed_at = Timestamp(now);
                            line.handle(Timestamp(now), Event::FrameReady { part, exposed_at });
                        }
                    }
                    Action::FireReject { .. }
                    | Action::EndReject { .. }
                    | Action::SetReady(_)
                    | Action::SetBusy(_) => {}
                }
            }
        }
    }
}
