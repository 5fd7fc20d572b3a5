//! A line in real time: one thread for the line and its outputs, and one each
//! for trigger, camera and judge, which only translate.
//!
//! The line's thread never waits for anything but its next message or its next
//! deadline, so neither a slow judge nor a dead camera delays a pulse. Queues
//! between the threads have a fixed length; the line asks for no more frames
//! and judgements than they hold.

mod threads;

pub use threads::ClockTrigger;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::{debug, info, warn};
use touchstone_board::devices::Devices;
use touchstone_board::{CameraError, Frame, IoError, Timestamp, Trigger, TriggerEdge};
use touchstone_models::inspector::Inspection;
use touchstone_models::picture::Picture;

use crate::actuators::Actuators;
use crate::exit::Failure;
use crate::inspection::{Judge, Slots, verdict_of};
use crate::line::{Action, BACKLOG_MAX, Event, Line, LineConfig, PartId, Verdict};
use crate::station::{Ending, Observer, Published, actuate, wiring};

/// Messages to the line's thread that may wait.
const MESSAGES_MAX: usize = 4 * BACKLOG_MAX;
/// Longest sleep of any thread: how soon it notices that it has to end.
const NAP: Duration = Duration::from_millis(100);

/// What the other threads tell the line's.
enum Message {
    Edge(TriggerEdge),
    TriggerLost(IoError),
    Frame(PartId, Frame),
    FrameMissing(PartId),
    /// A frame of a camera without trigger: a part by itself.
    Free(Frame),
    CameraEnded,
    CameraLost(CameraError),
    Judged(PartId, Picture, Box<Inspection>, u64),
}

/// A frame that the camera's thread is asked for.
struct Order {
    part: PartId,
    not_before: Timestamp,
    by: Timestamp,
}

/// Where the parts of a line come from.
pub enum Source {
    /// A trigger; frames are asked for.
    Trigger(Box<dyn Trigger>),
    /// Every frame of the camera is a part.
    EveryFrame,
}

use threads::{capture, free_run, judge_all, watch};

struct RealLine<'a> {
    line: Line,
    actuators: Actuators,
    slots: Slots,
    orders: Option<SyncSender<Order>>,
    work: SyncSender<(PartId, Picture)>,
    /// The frame that is the part being announced.
    free: Option<Frame>,
    observer: &'a mut dyn Observer,
    parts_max: u64,
    /// Set once the line is to end: the first part that is not waited for. A
    /// conveyor that runs on in spite of READY must not keep the line from
    /// ending; its parts are rejected as long as it lasts.
    ending: Option<PartId>,
    broken: Option<Failure>,
}

/// Runs a line until `stop` is set, `parts_max` parts were there, or the
/// camera's files are at their end; parts on the line are dealt with first.
///
/// # Errors
/// Camera, trigger or outputs gone, or what the observer ends it with. The
/// outputs are at rest in any case.
pub fn run(
    devices: Devices,
    source: Source,
    config: LineConfig,
    judge: Box<dyn Judge>,
    observer: &mut dyn Observer,
    parts_max: u64,
    stop: &AtomicBool,
) -> Result<Ending, Failure> {
    let (messages, inbox) = sync_channel(MESSAGES_MAX);
    let (work, jobs) = sync_channel(BACKLOG_MAX);
    let quit = Arc::new(AtomicBool::new(false));
    let Devices { camera, outputs, .. } = devices;
    let mut threads = vec![spawn("judge", {
        let messages = messages.clone();
        move || judge_all(judge, &jobs, &messages)
    })?];
    let orders = match source {
        Source::Trigger(trigger) => {
            let (orders, ordered) = sync_channel(BACKLOG_MAX);
            let (quit, told) = (Arc::clone(&quit), messages.clone());
            threads.push(spawn("trigger", move || watch(trigger, &told, &quit))?);
            let told = messages.clone();
            threads.push(spawn("camera", move || capture(camera, &ordered, &told))?);
            Some(orders)
        }
        Source::EveryFrame => {
            let (quit, told) = (Arc::clone(&quit), messages.clone());
            threads.push(spawn("camera", move || free_run(camera, &told, &quit))?);
            None
        }
    };
    drop(messages);
    let mut real = RealLine {
        line: Line::new(config),
        actuators: Actuators::new(outputs),
        slots: Slots::default(),
        orders,
        work,
        free: None,
        observer,
        parts_max,
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
    quit.store(true, Ordering::Relaxed);
    drop(real);
    drop(inbox);
    for thread in threads {
        if thread.join().is_err() {
            warn!("a thread of the line panicked");
        }
    }
    ended.and(rested)?;
    broken.map_or(Ok(Ending { counters }), Err)
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
            if self.ending.is_none() && (stop.load(Ordering::Relaxed) || self.parts_done()) {
                self.end(now);
            }
            self.act(now)?;
            if self.finished() {
                return Ok(());
            }
            let due = self.line.poll_at().into_iter().chain(self.actuators.poll_at()).min();
            let nap = due.map_or(NAP, |at| at.since(Timestamp::now_monotonic()).min(NAP));
            match inbox.recv_timeout(nap) {
                Ok(message) => self.hear(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let why = "the judge's thread ended; please report this with the log";
                    self.give_up(Failure::Hardware(why.to_owned()));
                    thread::sleep(nap);
                }
            }
        }
    }

    /// No part is left that was on the line when it was told to end.
    fn finished(&self) -> bool {
        self.ending.is_some_and(|end| {
            // Identities wrap, so it is the distance that says which came first.
            self.line.oldest().is_none_or(|oldest| end.0.wrapping_sub(oldest.0) as i32 <= 0)
        })
    }

    fn parts_done(&self) -> bool {
        self.line.counters().parts >= self.parts_max
    }

    /// READY goes low, new parts are rejected, those on the line are finished.
    fn end(&mut self, now: Timestamp) {
        self.ending.get_or_insert(self.line.next_part());
        self.line.handle(now, Event::Interlock { closed: false });
    }

    /// Something that the line cannot do without is gone.
    fn give_up(&mut self, why: Failure) {
        let now = Timestamp::now_monotonic();
        self.line.handle(now, Event::Health { ok: false });
        self.end(now);
        self.broken.get_or_insert(why);
    }

    fn hear(&mut self, message: Message) {
        let now = Timestamp::now_monotonic();
        match message {
            Message::Edge(edge) => {
                // Parts beyond the number asked for are none of this run's business.
                if !self.parts_done() {
                    self.line.handle(now, Event::Trigger { at: edge.at });
                }
            }
            Message::Free(frame) => {
                if !self.parts_done() {
                    let at = frame.exposed_at;
                    self.free = Some(frame);
                    self.line.handle(now, Event::Trigger { at });
                }
            }
            Message::Frame(part, frame) => self.frame(part, frame, now),
            Message::FrameMissing(part) => self.line.handle(now, Event::FrameMissing { part }),
            Message::Judged(part, frame, inspection, judge_us) => {
                let verdict = verdict_of(&inspection);
                self.slots.found(part, Some(frame), *inspection, judge_us);
                self.line.handle(now, Event::Judged { part, verdict });
            }
            Message::CameraEnded => {
                info!("the camera has no more pictures");
                self.end(now);
            }
            Message::TriggerLost(error) => self.give_up(Failure::hardware(error)),
            Message::CameraLost(error) => self.give_up(Failure::hardware(error)),
        }
    }

    fn frame(&mut self, part: PartId, frame: Frame, now: Timestamp) {
        let exposed_at = frame.exposed_at;
        let capture_us = u64::try_from(now.0 - exposed_at.0).unwrap_or(0);
        let held = match Picture::from_rgb8(frame.width, frame.height, frame.rgb) {
            Ok(picture) => self.slots.hold(part, picture, capture_us),
            Err(error) => {
                warn!("part {part}: {error}");
                false
            }
        };
        let event = if held {
            Event::FrameReady { part, exposed_at }
        } else {
            Event::FrameMissing { part }
        };
        self.line.handle(now, event);
    }

    fn act(&mut self, now: Timestamp) -> Result<(), Failure> {
        self.actuators.tick(now).map_err(wiring)?;
        while let Some(action) = self.line.next_action(now) {
            match actuate(action, &self.line, &mut self.actuators, now)? {
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
        if orders.try_send(Order { part, not_before, by }).is_err() {
            self.line.handle(now, Event::FrameMissing { part });
        }
    }

    fn judge(&mut self, part: PartId, now: Timestamp) {
        let sent = match self.slots.take_frame(part) {
            Some(frame) => {
                self.work.try_send((part, frame)).map_err(|e| matches!(e, TrySendError::Full(_)))
            }
            None => Err(true),
        };
        if let Err(full) = sent {
            warn!("part {part} cannot be judged: {}", if full { "no frame" } else { "no judge" });
            self.line.handle(now, Event::Judged { part, verdict: Verdict::Bad });
        }
    }
}

#[cfg(test)]
mod tests;
