//! The threads beside the line's: each waits for one device and tells the line.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use log::{info, warn};
use touchstone_board::{Camera, CameraError, IoError, Timestamp, Trigger, TriggerEdge};
use touchstone_models::picture::Picture;

use super::{Message, NAP, Order};
use crate::inspection::{Judge, judge_timed};
use crate::line::PartId;

/// A camera without trigger is asked for its next frame for this long.
const FREE_FRAME_TIMEOUT: Duration = Duration::from_millis(500);

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
            Ok(Some(edge)) => Message::Edge(edge),
            Ok(None) => continue,
            Err(error) => Message::TriggerLost(error),
        };
        let last = matches!(message, Message::TriggerLost(_));
        if told.send(message).is_err() || last {
            return;
        }
    }
}

pub(super) fn capture(
    mut camera: Box<dyn Camera>,
    orders: &Receiver<Order>,
    told: &SyncSender<Message>,
) {
    info!("camera: {}", camera.describe());
    while let Ok(Order { part, not_before, by }) = orders.recv() {
        let timeout = by.since(Timestamp::now_monotonic());
        let message = match camera.next_frame(not_before, timeout) {
            Ok(frame) => Message::Frame(part, frame),
            Err(CameraError::Timeout { .. } | CameraError::Picture { .. }) => {
                Message::FrameMissing(part)
            }
            Err(CameraError::Ended) => Message::CameraEnded,
            Err(error) => Message::CameraLost(error),
        };
        let last = matches!(message, Message::CameraEnded | Message::CameraLost(_));
        if told.send(message).is_err() || last {
            return;
        }
    }
}

pub(super) fn free_run(mut camera: Box<dyn Camera>, told: &SyncSender<Message>, quit: &AtomicBool) {
    info!("camera: {}; every frame is a part", camera.describe());
    let mut after = Timestamp::now_monotonic();
    while !quit.load(Ordering::Relaxed) {
        let message = match camera.next_frame(after, FREE_FRAME_TIMEOUT) {
            Ok(frame) => {
                after = Timestamp(frame.exposed_at.0 + 1);
                Message::Free(frame)
            }
            Err(CameraError::Timeout { .. }) => continue,
            Err(CameraError::Picture { path, why }) => {
                warn!("{}: {why}", path.display());
                continue;
            }
            Err(CameraError::Ended) => Message::CameraEnded,
            Err(error) => Message::CameraLost(error),
        };
        let last = matches!(message, Message::CameraEnded | Message::CameraLost(_));
        if told.send(message).is_err() || last {
            return;
        }
    }
}

pub(super) fn judge_all(
    mut judge: Box<dyn Judge>,
    jobs: &Receiver<(PartId, Picture)>,
    told: &SyncSender<Message>,
) {
    while let Ok((part, frame)) = jobs.recv() {
        let (inspection, judge_us) = judge_timed(judge.as_mut(), &frame);
        if told.send(Message::Judged(part, frame, Box::new(inspection), judge_us)).is_err() {
            return;
        }
    }
}
