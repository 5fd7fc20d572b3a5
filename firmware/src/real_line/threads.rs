//! The threads beside the line's: each waits for one device and tells the line.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use log::{info, warn};
use touchstone_board::command::Request;
use touchstone_board::{Camera, CameraError, Frame, IoError, Timestamp, Trigger, TriggerEdge};

use touchstone_models::inspector::{Back, Front, Inspection};
use touchstone_models::picture::Picture;

use super::sight::{Look, Sight};
use super::{Job, Message, NAP, Order};
use crate::abreast::judge_abreast;
use crate::inspection::{Judge, judge_timed};
use crate::line::PartId;

/// A camera without trigger is asked for its next frame for this long.
const FREE_FRAME_TIMEOUT: Duration = Duration::from_millis(500);
/// How often an idle line looks whether its camera is there: READY has to fall
/// within 200 ms of its loss.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// A trigger that is a clock, for a bench without a light barrier.
pub struct ClockTrigger {
    every: Duration,
    next: Timestamp,
    sequence: u32,
}

impl ClockTrigger {
    /// The first edge comes one period from now.
    pub fn new(every: Duration) -> Self {
        Self { every, next: Timestamp::now_monotonic() + every, sequence: 0 }
    }
}

impl Trigger for ClockTrigger {
    fn wait(&mut self, timeout: Duration) -> Result<Option<TriggerEdge>, IoError> {
        let now = Timestamp::now_monotonic();
        let left = self.next.since(now);
        if left > timeout {
            thread::sleep(timeout);
            return Ok(None);
        }
        thread::sleep(left);
        let edge = TriggerEdge { at: self.next, sequence: self.sequence };
        self.sequence = self.sequence.wrapping_add(1);
        // After a stall the missed beats are not made up for.
        self.next = self.next.max(now) + self.every;
        Ok(Some(edge))
    }
}

pub(super) fn watch(mut trigger: Box<dyn Trigger>, told: &SyncSender<Message>, quit: &AtomicBool) {
    while !quit.load(Ordering::Relaxed) {
        let message = match trigger.wait(NAP) {
            Ok(Some(edge)) => Message::Edge(edge.at),
            Ok(None) => continue,
            Err(error) => Message::InputsLost(error),
        };
        let last = matches!(message, Message::InputsLost(_));
        if told.send(message).is_err() || last {
            return;
        }
    }
}

/// The camera, and what is known of it.
struct Eye<'a> {
    camera: Box<dyn Camera>,
    sight: Sight,
    said: String,
    told: &'a SyncSender<Message>,
}

impl<'a> Eye<'a> {
    fn new(camera: Box<dyn Camera>, told: &'a SyncSender<Message>) -> Self {
        info!("camera: {}", camera.describe());
        Self { camera, sight: Sight::OPENED, said: String::new(), told }
    }

    /// The next frame; the line hears if the camera comes or goes. `None` when
    /// nobody listens any more.
    fn frame(&mut self, after: Timestamp, wait: Duration) -> Option<Result<Frame, CameraError>> {
        let frame = self.camera.next_frame(after, wait);
        let seen = frame.as_ref().map_or_else(Look::from, |_| Look::Frame);
        self.note(seen, frame.as_ref().err())?;
        Some(frame)
    }

    /// Looks whether the camera is there. `None` as above.
    fn check(&mut self) -> Option<()> {
        let checked = self.camera.check();
        let seen = checked.as_ref().map_or_else(Look::from, |()| Look::There);
        self.note(seen, checked.as_ref().err())
    }

    fn note(&mut self, look: Look, error: Option<&CameraError>) -> Option<()> {
        let before = self.sight.trouble();
        self.sight = self.sight.step(look);
        let trouble = self.sight.trouble();
        if let Some(error) = error.filter(|_| matches!(look, Look::Lost | Look::Refused)) {
            let why = error.to_string();
            // Said anew only when it is something else: the tries are many.
            if why != self.said {
                warn!("camera: {why}");
                self.said = why;
            }
        }
        if trouble == before {
            return Some(());
        }
        if trouble.is_none() {
            self.said.clear();
            info!("camera: {} is back", self.camera.describe());
        }
        self.told.send(Message::Camera(trouble)).ok()
    }
}

/// Takes the frames that are ordered, and looks after the camera in between.
pub(super) fn capture(
    camera: Box<dyn Camera>,
    orders: &Receiver<Order>,
    told: &SyncSender<Message>,
) {
    let mut eye = Eye::new(camera, told);
    loop {
        let Order { part, not_before, by } = match orders.recv_timeout(CHECK_EVERY) {
            Ok(order) => order,
            Err(RecvTimeoutError::Timeout) => match eye.check() {
                Some(()) => continue,
                None => return,
            },
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let wait = by.since(Timestamp::now_monotonic());
        let message = match (eye.frame(not_before, wait), part) {
            (Some(Ok(frame)), Some(part)) => Message::Frame(part, frame),
            (Some(Ok(frame)), None) => Message::Seen(Some(frame)),
            (Some(Err(CameraError::Ended)), _) => Message::CameraEnded,
            (Some(Err(_)), Some(part)) => Message::FrameMissing(part),
            (Some(Err(_)), None) => Message::Seen(None),
            (None, _) => return,
        };
        let last = matches!(message, Message::CameraEnded);
        if told.send(message).is_err() || last {
            return;
        }
    }
}

/// Takes every frame for a part.
pub(super) fn free_run(camera: Box<dyn Camera>, told: &SyncSender<Message>, quit: &AtomicBool) {
    let mut eye = Eye::new(camera, told);
    let mut after = Timestamp::now_monotonic();
    while !quit.load(Ordering::Relaxed) {
        let message = match eye.frame(after, FREE_FRAME_TIMEOUT) {
            Some(Ok(frame)) => {
                after = Timestamp(frame.exposed_at.0 + 1);
                Message::Free(frame)
            }
            Some(Err(CameraError::Ended)) => Message::CameraEnded,
            Some(Err(CameraError::Timeout { .. })) => continue,
            Some(Err(CameraError::Picture { path, why })) => {
                warn!("{}: {why}", path.display());
                continue;
            }
            // It says so at once; the next try is not due at once.
            Some(Err(_)) => {
                thread::sleep(CHECK_EVERY);
                continue;
            }
            None => return,
        };
        let last = matches!(message, Message::CameraEnded);
        if told.send(message).is_err() || last {
            return;
        }
    }
}

/// Tells the line if the judge's thread panics: it would wait for a verdict.
struct Farewell<'a>(&'a SyncSender<Message>);

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            // Nobody to tell: the line has ended.
            let _ = self.0.send(Message::JudgeGone);
        }
    }
}

/// Judges what it is given, in its order, and changes the recipe in between: building it takes seconds, and only the
/// judge may wait for it. Up to `at_once` parts are looked at together.
pub(super) fn judge_all(
    mut judge: Box<dyn Judge>,
    at_once: usize,
    jobs: Receiver<Job>,
    told: &SyncSender<Message>,
) {
    let _farewell = Farewell(told);
    let jobs = Mutex::new(jobs);
    let mut left = None;
    loop {
        let Some(job) = left.take().or_else(|| lock(&jobs).recv().ok()) else { return };
        let message = match job {
            Job::Judge(part, frame) => {
                let recipe = judge.recipe().to_owned();
                let halves = judge.halves().filter(|_| at_once > 1);
                match halves {
                    None => {
                        let (inspection, judge_us) = judge_timed(judge.as_mut(), &frame);
                        judged(&recipe, part, frame, inspection, judge_us)
                    }
                    Some(halves) => {
                        let first = (part, frame);
                        match judge_pairs(halves, first, (&jobs, told), &recipe) {
                            Some(job) => {
                                left = Some(job);
                                continue;
                            }
                            None => return,
                        }
                    }
                }
            }
            Job::Acknowledge => {
                judge.acknowledge();
                continue;
            }
            Job::Change(wish, from) => Message::Changed(judge.change(wish, from)),
        };
        if told.send(message).is_err() {
            return;
        }
    }
}

/// Judges parts two at once, until there is something else to do; `None` where nobody asks or listens any more.
fn judge_pairs(
    halves: (Front<'_>, Back<'_>),
    first: (PartId, Picture),
    (jobs, told): (&Mutex<Receiver<Job>>, &SyncSender<Message>),
    recipe: &str,
) -> Option<Job> {
    let (mut first, left) = (Some(first), Mutex::new(None));
    let next = |gone: &AtomicBool| {
        let mut job = first.take().map(|(part, frame)| Job::Judge(part, frame));
        while job.is_none() && !gone.load(Ordering::Relaxed) {
            job = match lock(jobs).recv_timeout(NAP) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return None,
            };
        }
        match job? {
            Job::Judge(part, frame) => Some((part, frame)),
            other => {
                *lock(&left) = Some(other);
                None
            }
        }
    };
    let done = |part, frame, inspection, judge_us| {
        told.send(judged(recipe, part, frame, inspection, judge_us)).is_ok()
    };
    if let Err(error) = judge_abreast(halves, next, done) {
        // The line would wait for the part's verdict.
        panic!("no thread to judge two parts at once: {error}");
    }
    left.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn judged(
    recipe: &str,
    part: PartId,
    frame: Picture,
    inspection: Inspection,
    judge_us: u64,
) -> Message {
    if let Some(drift) = inspection.drift {
        warn!("{recipe}: {drift}");
    }
    Message::Judged(part, frame, Box::new(inspection), judge_us)
}

/// What a mutex holds; nothing of ours is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands commands from outside on to the line, which has one thing to wait for.
pub(super) fn forward(requests: &Receiver<Request>, told: &SyncSender<Message>, quit: &AtomicBool) {
    while !quit.load(Ordering::Relaxed) {
        match requests.recv_timeout(NAP) {
            // One that is dropped answers by itself.
            Ok(request) => {
                if told.send(Message::Request(request)).is_err() {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
