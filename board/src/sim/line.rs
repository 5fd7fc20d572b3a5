//! The conveyor in virtual time: edges, frames and the reject actuator.
//!
//! Nothing here sleeps. Time moves when somebody waits ([`Trigger::wait`], [`Camera::next_frame`],
//! [`Clock::sleep_until`]) or says what work took ([`Clock::spend`]). Outputs take effect at the present, so
//! a pulse that is due while an inspection is being paid for has to be given in between: sleep until it is
//! due, set it, spend the rest.

use super::ledger::{Outcome, PartRecord, Tally};
use super::part::Factory;
use super::random::Random;
use super::{DefectKind, RenderedPart, SimConfig, SimError, TIME_MAX};
use crate::camera::{Camera, CameraCounts, CameraError, Frame};
use crate::io::{IoError, OutputRole, Outputs, Trigger, TriggerEdge};
use crate::time::{Clock, Timestamp};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A bouncing sensor's second edge comes this long after the first.
pub const BOUNCE: Duration = Duration::from_millis(3);
/// Records kept; the [`Tally`] goes on counting when older ones are dropped.
pub const LEDGER_MAX: usize = 100_000;
/// The first part comes this long after the line starts, in intervals.
const LEAD_IN: u32 = 2;
/// Frames looked at in one call before giving up: a line that drops every frame must not hang.
const LOOK_AHEAD_MAX: u64 = 10_000;

const TIMING: u64 = 0x2001;
const FAULTS: u64 = 0x2002;

/// The simulated line. Clones are handles to the same line, so that one can be its camera, one its trigger
/// and one its outputs.
#[derive(Clone, Debug)]
pub struct SimulatedLine {
    world: Arc<Mutex<World>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mishaps {
    dropped: bool,
    late: bool,
    doubled: bool,
}

#[derive(Debug)]
struct World {
    config: SimConfig,
    factory: Arc<Factory>,
    now: Timestamp,
    next_edge: u64,
    bounce: Option<Timestamp>,
    edges: u32,
    next_frame: u64,
    counts: CameraCounts,
    levels: [bool; OutputRole::ALL.len()],
    /// Times at which the reject output was on, the last possibly without an end.
    pulses: VecDeque<(Timestamp, Option<Timestamp>)>,
    ledger: VecDeque<PartRecord>,
    /// Parts with a record so far: those whose edge has happened.
    recorded: u64,
    /// Parts that have passed the actuator.
    settled: u64,
    tally: Tally,
}

impl SimulatedLine {
    /// A line standing at time zero.
    ///
    /// # Errors
    /// A setting out of its range.
    pub fn new(config: SimConfig) -> Result<SimulatedLine, SimError> {
        config.check()?;
        let world = World {
            factory: Arc::new(Factory::new(&config)),
            config,
            now: Timestamp::ZERO,
            next_edge: 0,
            bounce: None,
            edges: 0,
            next_frame: 0,
            counts: CameraCounts::default(),
            levels: Default::default(),
            pulses: VecDeque::new(),
            ledger: VecDeque::new(),
            recorded: 0,
            settled: 0,
            tally: Tally::default(),
        };
        Ok(SimulatedLine { world: Arc::new(Mutex::new(world)) })
    }

    // A panic elsewhere leaves plain numbers behind, never half an invariant.
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn factory(&self) -> Arc<Factory> {
        Arc::clone(&self.world().factory)
    }

    /// The line's settings.
    pub fn config(&self) -> SimConfig {
        self.world().config.clone()
    }

    /// A good part that is not one of the line's, for enrolment; any `n`.
    pub fn good_part(&self, n: u64) -> RenderedPart {
        self.factory().enrolment(n)
    }

    /// Part `n` of the line with its truth, whether or not it has passed yet.
    pub fn part(&self, n: u64) -> RenderedPart {
        let (factory, exposed_at) = {
            let world = self.world();
            (Arc::clone(&world.factory), world.exposed_at(n))
        };
        factory.part(n, exposed_at)
    }

    /// Part `n` with a defect of the caller's choice instead of its own, or with none.
    pub fn part_with(&self, n: u64, defect: Option<DefectKind>) -> RenderedPart {
        self.factory().part_with(n, defect)
    }

    /// The defect that part `n` of the line is made with, without drawing it.
    pub fn defect_of(&self, n: u64) -> Option<DefectKind> {
        self.factory().plan(n)
    }

    /// When part `n` triggers.
    pub fn triggers_at(&self, n: u64) -> Timestamp {
        self.world().triggers_at(n)
    }

    /// What happened to the parts whose edge has come, oldest first, at most the last [`LEDGER_MAX`].
    pub fn ledger(&self) -> Vec<PartRecord> {
        self.world().ledger.iter().cloned().collect()
    }

    /// Counts over all parts that have passed the actuator.
    pub fn tally(&self) -> Tally {
        self.world().tally
    }

    /// Whether the last part has passed the actuator; never true of an endless line.
    pub fn finished(&self) -> bool {
        let world = self.world();
        world.config.parts > 0 && world.settled >= world.config.parts
    }

    /// Whether an output is active.
    pub fn level(&self, role: OutputRole) -> bool {
        self.world().levels[role as usize]
    }
}

impl World {
    fn is_part(&self, n: u64) -> bool {
        self.config.parts == 0 || n < self.config.parts
    }

    fn triggers_at(&self, n: u64) -> Timestamp {
        let interval = self.config.interval.as_micros() as i64;
        let wobble = Random::new(self.config.seed, TIMING, n).around(self.config.jitter);
        let whole = interval
            .saturating_mul(n.saturating_add(u64::from(LEAD_IN)).min(i64::MAX as u64) as i64);
        Timestamp(whole.saturating_add((interval as f64 * f64::from(wobble)) as i64))
    }

    fn exposed_at(&self, n: u64) -> Timestamp {
        self.triggers_at(n) + self.config.exposure_delay
    }

    fn mishaps(&self, n: u64) -> Mishaps {
        let faults = &self.config.faults;
        let mut random = Random::new(self.config.seed, FAULTS, n);
        Mishaps {
            dropped: random.chance(faults.drop_frame),
            late: random.chance(faults.late_frame),
            doubled: random.chance(faults.duplicate_trigger),
        }
    }

    /// When the frame of part `n` can be had; `None` when it never arrives.
    fn available_at(&self, n: u64) -> Option<Timestamp> {
        let mishaps = self.mishaps(n);
        let late = if mishaps.late { self.config.faults.late_by } else { Duration::ZERO };
        (!mishaps.dropped).then(|| self.exposed_at(n) + self.config.readout + late)
    }

    fn advance(&mut self, to: Timestamp) {
        self.now = self.now.max(to);
        while self.is_part(self.recorded) && self.triggers_at(self.recorded) <= self.now {
            let n = self.recorded;
            let triggered_at = self.triggers_at(n);
            self.ledger.push_back(PartRecord {
                part: n,
                defect: self.factory.plan(n),
                triggered_at,
                at_actuator: triggered_at + self.config.travel,
                seen: false,
                outcome: Outcome::Travelling,
            });
            self.recorded += 1;
            self.settle();
        }
        self.settle();
    }

    /// Decides the parts whose time before the actuator is over.
    fn settle(&mut self) {
        let half = self.config.hold / 2;
        while let Some(i) = self.index(self.settled) {
            let record = &mut self.ledger[i];
            let (from, to) = (record.at_actuator - half, record.at_actuator + half);
            if to >= self.now {
                break;
            }
            let ejected =
                self.pulses.iter().any(|&(on, off)| on <= from && off.is_none_or(|off| off >= to));
            record.outcome = if ejected { Outcome::Ejected } else { Outcome::Passed };
            self.tally.count(record.defect.is_some(), ejected);
            self.settled += 1;
            // Later parts come later, so what ended before this one cannot matter any more.
            while self.pulses.front().is_some_and(|&(_, off)| off.is_some_and(|off| off < from)) {
                self.pulses.pop_front();
            }
            while self.ledger.len() > LEDGER_MAX {
                self.ledger.pop_front();
            }
        }
    }

    fn index(&self, part: u64) -> Option<usize> {
        let first = self.ledger.front()?.part;
        let i = usize::try_from(part.checked_sub(first)?).ok()?;
        (i < self.ledger.len()).then_some(i)
    }

    fn next_edge_at(&self) -> Option<Timestamp> {
        let part = self.is_part(self.next_edge).then(|| self.triggers_at(self.next_edge));
        match (self.bounce, part) {
            (Some(bounce), Some(part)) => Some(bounce.min(part)),
            (bounce, part) => bounce.or(part),
        }
    }

    fn take_edge(&mut self, at: Timestamp) -> TriggerEdge {
        if self.bounce == Some(at) {
            self.bounce = None;
        } else {
            if self.mishaps(self.next_edge).doubled {
                self.bounce = Some(at + BOUNCE);
            }
            self.next_edge += 1;
        }
        let sequence = self.edges;
        self.edges = self.edges.wrapping_add(1);
        TriggerEdge { at, sequence }
    }

    /// The frame to hand out for `not_before`, and when it can be had: of those here already the newest,
    /// else the first to come by `deadline`.
    fn choose_frame(&self, not_before: Timestamp, deadline: Timestamp) -> Option<(u64, Timestamp)> {
        let mut newest = None;
        let mut first: Option<(u64, Timestamp)> = None;
        for n in self.next_frame..self.next_frame.saturating_add(LOOK_AHEAD_MAX) {
            if !self.is_part(n) || self.exposed_at(n) > deadline {
                break;
            }
            let Some(available) = self.available_at(n) else {
                continue;
            };
            if self.exposed_at(n) < not_before || available > deadline {
                continue;
            }
            if available <= self.now {
                newest = Some((n, available));
            } else if first.is_none_or(|(_, earliest)| available < earliest) {
                first = Some((n, available));
            } else if self.exposed_at(n) > first.map_or(deadline, |(_, earliest)| earliest) {
                break;
            }
        }
        newest.or(first)
    }

    /// Accounts for the frames from the last one handed out up to, not including, part `to`.
    fn skip_frames(&mut self, to: u64, not_before: Timestamp) {
        for n in self.next_frame..to {
            match self.available_at(n) {
                None => self.counts.gaps += 1,
                Some(_) if self.exposed_at(n) < not_before => self.counts.stale += 1,
                Some(_) => self.counts.superseded += 1,
            }
        }
        self.next_frame = to;
    }
}

impl Camera for SimulatedLine {
    fn describe(&self) -> String {
        let config = self.config();
        let (width, height) = config.size;
        format!("simulated {} line, {width}x{height} RGB, seed {}", config.kind, config.seed)
    }

    fn next_frame(
        &mut self,
        not_before: Timestamp,
        timeout: Duration,
    ) -> Result<Frame, CameraError> {
        let (factory, n, exposed_at) = {
            let mut world = self.world();
            if !world.is_part(world.next_frame) {
                return Err(CameraError::Ended);
            }
            let deadline = world.now + timeout.min(TIME_MAX);
            let Some((n, available)) = world.choose_frame(not_before, deadline) else {
                world.advance(deadline);
                return Err(CameraError::Timeout { waited: timeout });
            };
            world.advance(available);
            world.skip_frames(n, not_before);
            world.next_frame = n + 1;
            world.counts.delivered += 1;
            if let Some(i) = world.index(n) {
                world.ledger[i].seen = true;
            }
            (Arc::clone(&world.factory), n, world.exposed_at(n))
        };
        Ok(factory.part(n, exposed_at).frame)
    }

    fn counts(&self) -> CameraCounts {
        self.world().counts
    }
}

impl Trigger for SimulatedLine {
    fn wait(&mut self, timeout: Duration) -> Result<Option<TriggerEdge>, IoError> {
        let mut world = self.world();
        let deadline = world.now + timeout.min(TIME_MAX);
        match world.next_edge_at() {
            Some(at) if at <= deadline => {
                world.advance(at);
                Ok(Some(world.take_edge(at)))
            }
            _ => {
                world.advance(deadline);
                Ok(None)
            }
        }
    }
}

impl Outputs for SimulatedLine {
    fn set(&mut self, role: OutputRole, level: bool) -> Result<(), IoError> {
        let mut world = self.world();
        let was = std::mem::replace(&mut world.levels[role as usize], level);
        if role == OutputRole::Reject && was != level {
            let now = world.now;
            if level {
                world.pulses.push_back((now, None));
            } else if let Some(last) = world.pulses.back_mut() {
                last.1 = Some(now);
            }
        }
        Ok(())
    }
}

impl Clock for SimulatedLine {
    fn now(&self) -> Timestamp {
        self.world().now
    }

    fn sleep_until(&mut self, until: Timestamp) {
        self.world().advance(until);
    }

    fn spend(&mut self, spent: Duration) {
        let mut world = self.world();
        let until = world.now + spent;
        world.advance(until);
    }
}
