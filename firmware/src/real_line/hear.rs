//! What the other threads say, turned into events of the line.

use log::{Level, info, warn};
use touchstone_board::{Frame, Timestamp};

use super::{Drift, Message, RealLine, change};
use crate::exit::Failure;
use crate::inspection::verdict_of;
use crate::line::{Event, PartId};
use crate::station::Trouble;

impl RealLine<'_> {
    pub(super) fn hear(&mut self, message: Message) {
        let now = Timestamp::now_monotonic();
        match message {
            // Parts beyond the number asked for are none of this run's business.
            Message::Edge(_) if self.parts_done() => {}
            Message::Edge(at) => self.line.handle(now, Event::Trigger { at }),
            // Every frame is a part, so the line would never be empty for new times.
            Message::Free(frame) if self.is_looking() => self.seen(Some(frame)),
            Message::Free(_) if self.parts_done() || self.is_adopting() => {}
            Message::Free(frame) => {
                let at = frame.exposed_at;
                self.free = Some(frame);
                self.line.handle(now, Event::Trigger { at });
            }
            Message::Encoder { at, counts } => {
                self.line.handle(now, Event::Encoder { at, counts });
            }
            // A line that ends is open for good.
            Message::Interlock { .. } if self.ending.is_some() => {}
            Message::Interlock { closed } => self.line.handle(now, Event::Interlock { closed }),
            Message::Teach => self.obey(change::by_button(), now),
            Message::Seen(frame) => self.seen(frame),
            Message::EdgesLost { total } => self.edges_lost(total, now),
            Message::Frame(part, frame) => self.frame(part, frame, now),
            Message::FrameMissing(part) => self.line.handle(now, Event::FrameMissing { part }),
            Message::Judged(part, frame, inspection, judge_us) => {
                let verdict = verdict_of(&inspection);
                if inspection.drift.is_some() {
                    self.drift = Drift::Told;
                }
                self.slots.found(part, Some(frame), *inspection, judge_us);
                self.line.handle(now, Event::Judged { part, verdict });
            }
            Message::CameraEnded => {
                info!("the camera has no more pictures");
                self.end(now);
            }
            Message::Camera(trouble) => {
                let lost = trouble == Some(Trouble::CameraAway);
                self.camera_losses += u64::from(lost);
                self.camera = trouble;
                self.show_health(now);
            }
            Message::JudgeGone => self.judge_gone(),
            Message::Changed(changed) => self.built(changed),
            Message::Request(request) => self.obey(request, now),
            Message::InputsLost(error) => self.give_up(Failure::hardware(error)),
        }
    }

    /// The kernel had to drop edges: parts may have gone by unseen, and an
    /// encoder is off by some.
    fn edges_lost(&mut self, total: u64, now: Timestamp) {
        warn!(
            "inputs: {} edges were lost, {total} so far; debounce the lines or slow the belt down",
            total.saturating_sub(self.edges_lost)
        );
        self.edges_lost = total;
        self.line.handle(now, Event::EdgesLost);
    }

    pub(super) fn frame(&mut self, part: PartId, frame: Frame, now: Timestamp) {
        let event = self.slots.take_in(part, frame, now, Level::Warn);
        self.line.handle(now, event);
    }
}
