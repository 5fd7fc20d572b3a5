//! A line in real time: one thread for the line and its outputs, and one each
//! for trigger, camera and judge, which only translate.
//!
//! The line's thread never waits for anything but its next message or its next
//! deadline, so neither a slow judge nor a dead camera delays a pulse. Queues
//! between the threads have a fixed length; the line asks for no more frames
//! and judgements than they hold.

mod care;
mod change;
mod ear;
mod hear;
mod sight;
mod threads;

pub use care::LATENESS_MAX;
pub use ear::REPORT_EVERY;
pub use sight::REFUSALS_MAX;
pub use threads::ClockTrigger;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::{debug, warn};
use touchstone_board::command::{self, Request};
use touchstone_board::watchdog::Feeder;
use touchstone_board::{Camera, Frame, Inputs, IoError, Outputs, Timestamp, Trigger};
use touchstone_models::inspector::Inspection;
use touchstone_models::picture::Picture;

use crate::actuators::Actuators;
use crate::exit::Failure;
use crate::inspection::{Changed, Judge, Slots, Wish};
use crate::lamp::Lamp;
use crate::line::{Action, BACKLOG_MAX, Event, Line, LineConfig, PartId, Travel, Verdict};
use crate::station::{Condition, Ending, Observer, Published, Trouble, actuate, wiring};
use care::Care;
use change::Change;
use ear::Ear;
use threads::{capture, forward, free_run, judge_all, watch};

/// Messages to the line's thread that may wait.
const MESSAGES_MAX: usize = 4 * BACKLOG_MAX;
/// Longest sleep of any thread: how soon it notices that it has to end.
const NAP: Duration = Duration::from_millis(100);
/// How long the end waits for parts that stand on the belt: with READY low it may
/// stop before they are past the actuator, and then no encoder ever says so.
pub const END_WAIT: Duration = Duration::from_secs(30);

/// What the other threads tell the line's.
enum Message {
    /// A part crossed the sensor.
    Edge(Timestamp),
    Encoder {
        at: Timestamp,
        counts: i64,
    },
    Interlock {
        closed: bool,
    },
    /// The operator's button.
    Teach,
    /// So many edges were dropped by the kernel since the start.
    EdgesLost {
        total: u64,
    },
    InputsLost(IoError),
    Frame(PartId, Frame),
    FrameMissing(PartId),
    /// A frame of a camera without trigger: a part by itself.
    Free(Frame),
    /// The camera came or went.
    Camera(Option<Trouble>),
    CameraEnded,
    Judged(PartId, Picture, Box<Inspection>, u64),
    JudgeGone,
    /// The frame of a part that is to be taught; none where the camera gave none.
    Seen(Option<Frame>),
    Changed(Changed),
    Request(Request),
}

/// A frame that the camera's thread is asked for.
struct Order {
    /// Of that part; of one that is to be taught where there is none.
    part: Option<PartId>,
    not_before: Timestamp,
    by: Timestamp,
}

/// What the judge's thread is asked for.
enum Job {
    Judge(PartId, Picture),
    Change(Wish, command::Source),
    /// A person has seen the warning of drift.
    Acknowledge,
}

/// Where the parts of a line come from.
pub enum Source {
    /// A trigger of its own; frames are asked for.
    Trigger(Box<dyn Trigger>),
    /// The trigger line among the inputs.
    Inputs,
    /// Every frame of the camera is a part.
    EveryFrame,
}

/// What a line is made of.
pub struct Setup {
    /// The camera.
    pub camera: Box<dyn Camera>,
    /// The outputs, at rest.
    pub outputs: Box<dyn Outputs>,
    /// Where parts come from.
    pub source: Source,
    /// Every other input line; with [`Source::Inputs`] the trigger too.
    pub inputs: Option<Box<dyn Inputs>>,
    /// Commands from outside.
    pub requests: Option<Receiver<Request>>,
    /// The watchdogs.
    pub feeder: Feeder,
    /// Who may teach while the line runs.
    pub teach_from: Vec<command::Source>,
    /// Whether the judge has a recipe that may judge.
    pub sound: bool,
    /// How a recipe that comes in fares.
    pub lamp: Lamp,
    /// Parts that the judge takes at once, see [`crate::abreast`].
    pub judged_at_once: usize,
}

/// What became of a warning of drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drift {
    /// There is none.
    None,
    /// It stands.
    Told,
    /// A person has seen it, and the judge does not know yet.
    Seen,
}

struct RealLine<'a> {
    line: Line,
    actuators: Actuators,
    slots: Slots,
    orders: Option<SyncSender<Order>>,
    work: SyncSender<Job>,
    /// The frame that is the part being announced.
    free: Option<Frame>,
    observer: &'a mut dyn Observer,
    parts_max: u64,
    care: Care,
    change: Change,
    teach_from: Vec<command::Source>,
    /// Whether the judge has a recipe that may judge.
    sound: bool,
    drift: Drift,
    /// What is wrong with the camera.
    camera: Option<Trouble>,
    camera_losses: u64,
    edges_lost: u64,
    /// As the line was last told.
    healthy: bool,
    told: Option<Condition>,
    /// Set once the line is to end: the first part that is not waited for. A
    /// conveyor that runs on in spite of READY must not keep the line from
    /// ending; its parts are rejected as long as it lasts.
    ending: Option<(PartId, Timestamp)>,
    broken: Option<Failure>,
}

/// Runs a line until `stop` is set, `parts_max` parts were there, or the
/// camera's files are at their end; parts on the line are dealt with first. A
/// camera that goes away lets READY fall until it is back.
///
/// # Errors
/// Inputs or outputs gone, the judge gone, or what the observer ends it with.
/// The outputs are at rest in any case.
pub fn run(
    setup: Setup,
    config: LineConfig,
    judge: Box<dyn Judge>,
    observer: &mut dyn Observer,
    parts_max: u64,
    stop: &AtomicBool,
) -> Result<Ending, Failure> {
    let (messages, inbox) = sync_channel(MESSAGES_MAX);
    let (work, jobs) = sync_channel(BACKLOG_MAX);
    let quit = Arc::new(AtomicBool::new(false));
    let Setup {
        camera,
        outputs,
        source,
        inputs,
        requests,
        feeder,
        teach_from,
        sound,
        lamp,
        judged_at_once,
    } = setup;
    let mut line = Line::new(config).judging_at_once(judged_at_once);
    let mut threads = vec![spawn("judge", {
        let messages = messages.clone();
        move || judge_all(judge, judged_at_once, jobs, &messages)
    })?];
    if let Some(inputs) = inputs {
        let ear = attend(inputs, matches!(source, Source::Inputs), &mut line)?;
        let (quit, told) = (Arc::clone(&quit), messages.clone());
        threads.push(spawn("inputs", move || ear.listen(&told, &quit))?);
    }
    if let Some(requests) = requests {
        let (quit, told) = (Arc::clone(&quit), messages.clone());
        threads.push(spawn("commands", move || forward(&requests, &told, &quit))?);
    }
    let every_frame = matches!(source, Source::EveryFrame);
    if let Source::Trigger(trigger) = source {
        let (quit, told) = (Arc::clone(&quit), messages.clone());
        threads.push(spawn("trigger", move || watch(trigger, &told, &quit))?);
    }
    let (told, free_quit) = (messages, Arc::clone(&quit));
    let orders = if every_frame {
        threads.push(spawn("camera", move || free_run(camera, &told, &free_quit))?);
        None
    } else {
        let (orders, ordered) = sync_channel(BACKLOG_MAX);
        threads.push(spawn("camera", move || capture(camera, &ordered, &told))?);
        Some(orders)
    };
    let mut real = RealLine {
        line,
        actuators: Actuators::new(outputs).with_lamp(lamp),
        slots: Slots::default(),
        orders,
        work,
        free: None,
        observer,
        parts_max,
        care: Care::new(feeder),
        change: Change::None,
        teach_from,
        sound,
        drift: Drift::None,
        camera: None,
        camera_losses: 0,
        edges_lost: 0,
        healthy: true,
        told: None,
        ending: None,
        broken: None,
    };
    let ended = real.run(&inbox, stop);
    // Whatever ended it: outputs at rest first, then the other threads.
    let rested = real.actuators.rest().map_err(wiring);
    let counters = *real.line.counters();
    for step in real.line.trace() {
        debug!("{step}");
    }
    let broken = real.broken.take();
    let ended = ended.and(rested).and(broken.map_or(Ok(()), Err));
    quit.store(true, Ordering::Relaxed);
    real.close(ended.is_ok());
    drop(inbox);
    for thread in threads {
        if thread.join().is_err() {
            warn!("a thread of the line panicked");
        }
    }
    ended.map(|()| Ending { counters })
}

/// Opens the ear, and tells the line what the inputs say now: before READY can
/// rise for the first time.
fn attend(inputs: Box<dyn Inputs>, parts: bool, line: &mut Line) -> Result<Ear, Failure> {
    let mut ear = Ear::open(inputs, parts).map_err(Failure::hardware)?;
    let interlock = ear.interlock().map_err(Failure::hardware)?;
    let now = Timestamp::now_monotonic();
    if let Some(closed) = interlock {
        line.handle(now, Event::Interlock { closed });
    }
    if ear.has_encoder() {
        line.handle(now, Event::Encoder { at: now, counts: 0 });
    }
    Ok(ear)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Failure> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|e| Failure::Hardware(format!("no thread for the {name}: {e}; free some memory")))
}

impl RealLine<'_> {
    fn run(&mut self, inbox: &Receiver<Message>, stop: &AtomicBool) -> Result<(), Failure> {
        loop {
            let now = Timestamp::now_monotonic();
            self.care.turn(now);
            if self.ending.is_none() && (stop.load(Ordering::Relaxed) || self.parts_done()) {
                self.end(now);
            }
            self.act(now)?;
            if self.finished(now) {
                return Ok(());
            }
            let due = self.line.poll_at().into_iter().chain(self.actuators.poll_at()).min();
            let now = Timestamp::now_monotonic();
            let due = due.unwrap_or(now + NAP).min(now + NAP);
            self.care.promise(due);
            match inbox.recv_timeout(due.since(now)) {
                Ok(message) => self.hear(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.judge_gone();
                    thread::sleep(due.since(now));
                }
            }
        }
    }

    /// Lets go of everything; the watchdogs too where the end is a clean one.
    fn close(self, clean: bool) {
        self.care.end(clean);
    }

    /// No part is left that was on the line when it was told to end.
    fn finished(&self, now: Timestamp) -> bool {
        let Some((end, since)) = self.ending else { return false };
        // Identities wrap, so it is the distance that says which came first.
        let older = |oldest: PartId| end.0.wrapping_sub(oldest.0) as i32 > 0;
        if !self.line.oldest().is_some_and(older) {
            return true;
        }
        let by_counts = matches!(self.line.config().travel(), Travel::Counts { .. });
        let left = by_counts && self.line.backlog() == 0 && now.since(since) >= END_WAIT;
        if left {
            warn!("{} parts were left on the belt; remove them", self.line.in_flight());
        }
        left
    }

    fn parts_done(&self) -> bool {
        self.line.counters().parts >= self.parts_max
    }

    /// READY goes low, new parts are rejected, those on the line are finished.
    fn end(&mut self, now: Timestamp) {
        self.ending.get_or_insert((self.line.next_part(), now));
        self.line.handle(now, Event::Interlock { closed: false });
    }

    /// Something that the line cannot do without is gone.
    fn give_up(&mut self, why: Failure) {
        self.broken.get_or_insert(why);
        let now = Timestamp::now_monotonic();
        self.show_health(now);
        self.end(now);
    }

    fn judge_gone(&mut self) {
        let why = "the judge's thread ended; please report this with the log";
        self.give_up(Failure::Hardware(why.to_owned()));
    }

    /// Tells the line whether all that it needs is there.
    fn show_health(&mut self, now: Timestamp) {
        let ok =
            self.camera.is_none() && self.broken.is_none() && self.sound && !self.is_changing();
        if ok != self.healthy {
            self.healthy = ok;
            self.line.handle(now, Event::Health { ok });
        }
    }

    fn act(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.actuators.tick(now).map_err(wiring)?;
        self.drive_change(now);
        self.forward_drift();
        self.show_health(now);
        while let Some(action) = self.line.next_action(now) {
            match actuate(action, &mut self.actuators, now)? {
                Some(Action::Capture { part, not_before, by }) => {
                    self.order(part, not_before, by, now)
                }
                Some(Action::Judge { part }) => self.judge(part, now),
                Some(Action::Publish { part, outcome, triggered_at, decided_at }) => {
                    let slot = self.slots.release(part);
                    let total_us = u64::try_from(decided_at.0 - triggered_at.0).unwrap_or(0);
                    let slot = slot.as_ref();
                    let published = Published { part, outcome, slot, total_us, triggered_at };
                    self.observer.published(&published)?;
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
        // A frame whose part was refused has nobody waiting for it.
        self.free = None;
        self.tell()
    }

    /// Shows how the line is, where that has changed.
    fn tell(&mut self) -> Result<(), Failure> {
        let recipe = (!self.sound).then_some(Trouble::Recipe);
        let trouble = self.line.fault_kind().map(Trouble::Fault).or(self.camera).or(recipe);
        let error = trouble.is_some() || self.broken.is_some();
        self.actuators.set_fault(error).map_err(wiring)?;
        let ready = self.line.ready();
        if ready {
            self.care.ready();
        }
        let condition = Condition {
            online: self.ending.is_none(),
            ready,
            busy: self.line.backlog() > 0,
            trouble,
            changing: self.is_changing(),
            drift: self.drift != Drift::None,
            edges_lost: self.edges_lost,
            camera_losses: self.camera_losses,
            counters: *self.line.counters(),
        };
        if self.told != Some(condition) && self.observer.condition(&condition) {
            self.told = Some(condition);
        }
        Ok(())
    }

    fn order(&mut self, part: PartId, not_before: Timestamp, by: Timestamp, now: Timestamp) {
        let Some(orders) = &self.orders else {
            match self.free.take() {
                Some(frame) => self.frame(part, frame, now),
                None => self.line.handle(now, Event::FrameMissing { part }),
            }
            return;
        };
        if orders.try_send(Order { part: Some(part), not_before, by }).is_err() {
            self.line.handle(now, Event::FrameMissing { part });
        }
    }

    fn judge(&mut self, part: PartId, now: Timestamp) {
        let sent = self.slots.take_frame(part).map(|f| self.work.try_send(Job::Judge(part, f)));
        let why = match sent {
            Some(Ok(())) => return,
            Some(Err(TrySendError::Full(_))) => "the judge is busy",
            Some(Err(TrySendError::Disconnected(_))) => "no judge",
            None => "no frame",
        };
        warn!("part {part} cannot be judged: {why}");
        self.line.handle(now, Event::Judged { part, verdict: Verdict::Bad });
        if matches!(sent, Some(Err(TrySendError::Disconnected(_)))) {
            self.judge_gone();
        }
    }
}

#[cfg(test)]
mod tests;
