//! A simulated line, driven in virtual time.
//!
//! The judge runs for real, and what it took by the wall clock is what passes
//! on the virtual clock until its verdict arrives. Meanwhile further parts
//! trigger, frames arrive and pulses begin and end, each at its own instant: a
//! machine that is too slow for its line is late here as it would be there.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use log::{Level, debug};
use touchstone_board::sim::SimulatedLine;
use touchstone_board::{Camera, CameraError, Clock, IoError, Timestamp, Trigger};
use touchstone_models::inspector::Inspection;
use touchstone_models::picture::Picture;

use crate::actuators::Actuators;
use crate::exit::Failure;
use crate::inspection::{Judge, Slots, judge_timed, verdict_of};
use crate::line::{Action, Event, Line, LineConfig, Outcome, PartId};
use crate::station::{Condition, Ending, Observer, Published, Trouble, actuate, wiring};

/// How often an awaited frame is asked for.
const FRAME_POLL_US: i64 = 500;
/// Nothing on a simulated line takes longer than this without an event.
const IDLE: Duration = Duration::from_millis(100);

/// A frame that was asked for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    part: PartId,
    not_before: Timestamp,
    ask_at: Timestamp,
}

/// A verdict on its way.
struct Verdict {
    part: PartId,
    frame: Picture,
    inspection: Inspection,
    judge_us: u64,
    at: Timestamp,
}

/// A simulated line and what drives it.
pub struct VirtualLine<'a> {
    sim: SimulatedLine,
    line: Line,
    judge: &'a mut dyn Judge,
    actuators: Actuators,
    slots: Slots,
    wanted: VecDeque<Wanted>,
    verdict: Option<Verdict>,
    parts_max: u64,
    told: Option<Condition>,
}

impl<'a> VirtualLine<'a> {
    /// A line at time zero, which ends after `parts_max` parts, or when the
    /// simulation has no more.
    pub fn new(
        sim: SimulatedLine,
        config: LineConfig,
        judge: &'a mut dyn Judge,
        parts_max: u64,
    ) -> Self {
        Self {
            actuators: Actuators::new(Box::new(sim.clone())),
            sim,
            line: Line::new(config),
            judge,
            slots: Slots::default(),
            wanted: VecDeque::new(),
            verdict: None,
            parts_max,
            told: None,
        }
    }

    /// Runs until the last part has left, or `stop` is set.
    ///
    /// # Errors
    /// What the observer ends it with. The simulation itself does not fail.
    pub fn run(
        mut self,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Ending, Failure> {
        let mut stopping = false;
        loop {
            let now = self.sim.now();
            if !stopping
                && (stop.load(Ordering::Relaxed) || self.line.counters().parts >= self.parts_max)
            {
                // Parts that are on their way are judged and rejected as ever.
                stopping = true;
            }
            self.act(now, observer)?;
            // A part leaves the line when its window is over, so no pulse is left either.
            let idle = self.line.in_flight() == 0 && self.verdict.is_none();
            if (stopping && idle) || self.sim.finished() {
                break;
            }
            self.wait(now, stopping)?;
        }
        self.actuators.rest().map_err(wiring)?;
        Ok(Ending { counters: *self.line.counters() })
    }

    fn act(&mut self, now: Timestamp, observer: &mut dyn Observer) -> Result<(), Failure> {
        self.actuators.tick(now).map_err(wiring)?;
        self.ask_for_frames(now);
        if self.verdict.as_ref().is_some_and(|v| v.at <= now)
            && let Some(Verdict { part, frame, inspection, judge_us, .. }) = self.verdict.take()
        {
            let verdict = verdict_of(&inspection);
            self.slots.found(part, Some(frame), inspection, judge_us);
            self.line.handle(now, Event::Judged { part, verdict });
        }
        self.line.handle(now, Event::Tick);
        while let Some(action) = self.line.next_action(now) {
            match actuate(action, &mut self.actuators, now)? {
                Some(Action::Capture { part, not_before, .. }) => {
                    let ask_at = not_before.max(now);
                    self.wanted.push_back(Wanted { part, not_before, ask_at });
                }
                Some(Action::Judge { part }) => self.judge_part(part, now),
                Some(Action::Publish { part, outcome, triggered_at, decided_at }) => {
                    self.publish(part, outcome, triggered_at, decided_at, observer)?;
                }
                Some(
                    Action::FireReject { .. }
                    | Action::EndReject { .. }
                    | Action::SetReady(_)
                    | Action::SetBusy(_),
                )
                | None => {}
            }
        }
        self.actuators.set_fault(self.line.fault()).map_err(wiring)?;
        self.tell(observer);
        Ok(())
    }

    /// Says how the line is, where that has changed.
    fn tell(&mut self, observer: &mut dyn Observer) {
        let condition = Condition {
            online: true,
            ready: self.line.ready(),
            busy: self.line.backlog() > 0,
            trouble: self.line.fault_kind().map(Trouble::Fault),
            counters: *self.line.counters(),
            ..Condition::default()
        };
        if self.told != Some(condition) && observer.condition(&condition) {
            self.told = Some(condition);
        }
    }

    /// Asks for every frame that may be there by now, without letting time pass.
    fn ask_for_frames(&mut self, now: Timestamp) {
        for _ in 0..self.wanted.len() {
            let Some(mut wanted) = self.wanted.pop_front() else {
                break;
            };
            if wanted.ask_at > now {
                self.wanted.push_back(wanted);
                continue;
            }
            match self.sim.next_frame(wanted.not_before, Duration::ZERO) {
                Ok(frame) => self.frame(wanted.part, frame, now),
                Err(CameraError::Timeout { .. }) => {
                    wanted.ask_at = Timestamp(now.0 + FRAME_POLL_US);
                    self.wanted.push_back(wanted);
                }
                Err(error) => {
                    debug!("part {}: {error}", wanted.part);
                    self.line.handle(now, Event::FrameMissing { part: wanted.part });
                }
            }
        }
    }

    fn frame(&mut self, part: PartId, frame: touchstone_board::Frame, now: Timestamp) {
        let event = self.slots.take_in(part, frame, now, Level::Debug);
        self.line.handle(now, event);
    }

    fn judge_part(&mut self, part: PartId, now: Timestamp) {
        let Some(frame) = self.slots.take_frame(part) else {
            // The line asks only for parts whose frame it was told of.
            self.line.handle(now, Event::Judged { part, verdict: crate::line::Verdict::Bad });
            return;
        };
        let (inspection, judge_us) = judge_timed(self.judge, &frame);
        let at = now + Duration::from_micros(judge_us.max(1));
        self.verdict = Some(Verdict { part, frame, inspection, judge_us, at });
    }

    fn publish(
        &mut self,
        part: PartId,
        outcome: Outcome,
        triggered_at: Timestamp,
        decided_at: Timestamp,
        observer: &mut dyn Observer,
    ) -> Result<(), Failure> {
        self.wanted.retain(|w| w.part != part);
        let slot = self.slots.release(part);
        let total_us = u64::try_from(decided_at.0 - triggered_at.0).unwrap_or(0);
        observer.published(&Published {
            part,
            outcome,
            slot: slot.as_ref(),
            total_us,
            triggered_at,
        })
    }

    /// Lets time pass until something is due or a part triggers.
    fn wait(&mut self, now: Timestamp, stopping: bool) -> Result<(), Failure> {
        let due = [
            self.line.poll_at(),
            self.actuators.poll_at(),
            self.verdict.as_ref().map(|v| v.at),
            self.wanted.iter().map(|w| w.ask_at).min(),
        ];
        let until = due.into_iter().flatten().min().unwrap_or(now + IDLE).max(Timestamp(now.0 + 1));
        if stopping {
            self.sim.sleep_until(until);
            return Ok(());
        }
        let edge = self.sim.wait(until.since(now)).map_err(|e: IoError| Failure::hardware(e))?;
        if let Some(edge) = edge {
            self.line.handle(self.sim.now(), Event::Trigger { at: edge.at });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspection::tests::inspection;
    use crate::line::{LineTimes, Why};
    use std::collections::BTreeMap;
    use touchstone_board::sim::{Outcome as Fate, SimConfig, SimFaults};

    /// Rejects every third picture it sees.
    struct EveryThird(u32);

    impl Judge for EveryThird {
        fn judge(&mut self, _: &Picture) -> Inspection {
            self.0 += 1;
            inspection(if self.0.is_multiple_of(3) { 1e-9 } else { 0.5 })
        }
    }

    #[derive(Default)]
    struct Heard(BTreeMap<u32, Outcome>);

    impl Observer for Heard {
        fn published(&mut self, part: &Published<'_>) -> Result<(), Failure> {
            assert!(self.0.insert(part.part.0, part.outcome).is_none(), "{} twice", part.part);
            Ok(())
        }
    }

    fn times() -> LineConfig {
        let times = LineTimes { travel_ms: 600, capture_window_ms: 50, ..LineTimes::default() };
        LineConfig::try_from(times).unwrap()
    }

    fn sim(parts: u64, faults: SimFaults) -> SimulatedLine {
        let config = SimConfig { parts, faults, size: (32, 32), ..SimConfig::default() };
        SimulatedLine::new(config).unwrap()
    }

    fn run(sim: &SimulatedLine, parts_max: u64) -> (Ending, Heard) {
        let mut judge = EveryThird(0);
        let mut heard = Heard::default();
        let line = VirtualLine::new(sim.clone(), times(), &mut judge, parts_max);
        let ending = line.run(&mut heard, &AtomicBool::new(false)).unwrap();
        (ending, heard)
    }

    #[test]
    fn what_the_judge_says_is_what_the_actuator_does() {
        let sim = sim(60, SimFaults::default());
        let (ending, heard) = run(&sim, u64::MAX);
        assert_eq!((ending.counters.parts, ending.counters.rejected_judged), (60, 20));
        assert_eq!(ending.counters.pulses_missed, 0);
        for record in sim.ledger() {
            let fate = match heard.0[&(record.part as u32)] {
                Outcome::Pass => Fate::Passed,
                Outcome::Reject(_) => Fate::Ejected,
            };
            assert_eq!(record.outcome, fate, "part {}", record.part);
        }
    }

    #[test]
    fn lost_late_and_doubled_are_rejected_or_ignored() {
        let faults = SimFaults {
            drop_frame: 0.2,
            late_frame: 0.2,
            late_by: Duration::from_millis(200),
            duplicate_trigger: 0.2,
        };
        let sim = sim(100, faults);
        let (ending, heard) = run(&sim, u64::MAX);
        assert_eq!(ending.counters.parts, 100);
        assert!(ending.counters.bounces > 5, "{:?}", ending.counters);
        assert!(ending.counters.rejected_no_frame > 20, "{:?}", ending.counters);
        assert!(heard.0.values().any(|o| *o == Outcome::Reject(Why::NoFrame)));
        for record in sim.ledger() {
            let rejected = heard.0[&(record.part as u32)].is_reject();
            assert_eq!(record.outcome == Fate::Ejected, rejected, "part {}", record.part);
        }
    }

    #[test]
    fn it_ends_after_the_parts_asked_for() {
        let endless = sim(0, SimFaults::default());
        let (ending, heard) = run(&endless, 7);
        assert_eq!(ending.counters.parts, 7);
        assert_eq!(heard.0.len(), 7);
    }

    #[test]
    fn a_judge_that_is_too_slow_is_late() {
        struct Slow;
        impl Judge for Slow {
            fn judge(&mut self, _: &Picture) -> Inspection {
                std::thread::sleep(Duration::from_millis(700));
                inspection(0.5)
            }
        }
        let sim = sim(3, SimFaults::default());
        let (mut heard, mut slow) = (Heard::default(), Slow);
        let line = VirtualLine::new(sim.clone(), times(), &mut slow, u64::MAX);
        let ending = line.run(&mut heard, &AtomicBool::new(false)).unwrap();
        assert_eq!(ending.counters.passed, 0);
        assert_eq!(heard.0[&0], Outcome::Reject(Why::Late));
        assert_eq!(sim.tally().parts(), 3);
        assert_eq!(sim.tally().good_passed + sim.tally().bad_passed, 0);
    }
}
