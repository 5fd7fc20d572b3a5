//! One part on the line: its identity, its stages, and the one table of
//! transitions between them.

use core::fmt;

use serde::{Deserialize, Serialize};
use touchstone_board::time::Timestamp;

use super::window::Window;

/// Identity of a part, given at its trigger and carried through capture,
/// verdict, pulse and report. Wraps after four thousand million parts.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct PartId(pub u32);

impl PartId {
    /// The identity of the part after this one.
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What the judge says of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Like the taught part.
    Good,
    /// Differs in a way that matters, or could not be judged.
    Bad,
}

/// Why a part is rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// No verdict exists. The zero value.
    #[default]
    NoResult,
    /// The judge said so.
    Judged,
    /// No verdict before the deadline.
    Late,
    /// The camera delivered no frame.
    NoFrame,
    /// The frame was exposed before or after the part was in the picture.
    StaleFrame,
    /// More parts without a verdict than the line may hold.
    Overload,
    /// The line was not ready when the part came.
    NotReady,
    /// The trigger was reported after that of a later part.
    OutOfOrder,
    /// The encoder's count cannot be true.
    Encoder,
}

impl Why {
    /// Short name for reports; the same as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoResult => "no_result",
            Self::Judged => "judged",
            Self::Late => "late",
            Self::NoFrame => "no_frame",
            Self::StaleFrame => "stale_frame",
            Self::Overload => "overload",
            Self::NotReady => "not_ready",
            Self::OutOfOrder => "out_of_order",
            Self::Encoder => "encoder",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoResult => "there is no verdict",
            Self::Judged => "the part differs from the taught parts",
            Self::Late => "no verdict before the part reached the actuator",
            Self::NoFrame => "the camera delivered no frame",
            Self::StaleFrame => "the frame does not show this part",
            Self::Overload => "too many parts without a verdict",
            Self::NotReady => "the line was not ready",
            Self::OutOfOrder => "its trigger was reported after a later one",
            Self::Encoder => "the encoder's count cannot be true",
        })
    }
}

/// What became of a part. The zero value is a reject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The part goes on. Made in one place only: the table of transitions.
    Pass,
    /// The part leaves the line.
    Reject(Why),
}

impl Default for Outcome {
    fn default() -> Self {
        Self::Reject(Why::default())
    }
}

impl Outcome {
    /// True if the part leaves the line.
    pub fn is_reject(self) -> bool {
        match self {
            Self::Pass => false,
            Self::Reject(_) => true,
        }
    }
}

/// How far a part has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Crossed the sensor; the camera has not been asked yet.
    Triggered,
    /// The camera has been asked for a frame.
    Capturing,
    /// The frame is here and waits for the judge.
    Held,
    /// The judge is at work on it.
    Judging,
    /// The outcome is final.
    Decided {
        /// Pass or reject.
        outcome: Outcome,
        /// When it became final.
        at: Timestamp,
    },
}

/// What moves a part from one stage to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The camera was asked for a frame.
    CaptureAsked,
    /// A frame came, exposed while the part was in the picture.
    FrameInTime,
    /// A frame came, exposed too early or too late.
    FrameStale,
    /// No frame came, or none can come any more.
    FrameLost,
    /// The judge was asked.
    JudgeAsked,
    /// The judge said good.
    Good,
    /// The judge said bad.
    Bad,
    /// The part reached the point where the actuator has to start.
    DeadlinePassed,
    /// The line does not take the part in.
    Refused(Why),
    /// The encoder's count cannot be true.
    EncoderFault,
}

impl From<Verdict> for Input {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Good => Self::Good,
            Verdict::Bad => Self::Bad,
        }
    }
}

impl Stage {
    /// True if the outcome is final.
    pub fn is_decided(self) -> bool {
        match self {
            Self::Decided { .. } => true,
            Self::Triggered | Self::Capturing | Self::Held | Self::Judging => false,
        }
    }

    /// True if the outcome is final and a reject.
    pub fn is_reject(self) -> bool {
        match self {
            Self::Decided { outcome, .. } => outcome.is_reject(),
            Self::Triggered | Self::Capturing | Self::Held | Self::Judging => false,
        }
    }

    /// True while a frame may still come.
    pub fn lacks_frame(self) -> bool {
        match self {
            Self::Triggered | Self::Capturing => true,
            Self::Held | Self::Judging | Self::Decided { .. } => false,
        }
    }

    /// The table of transitions: the next stage, or `None` where `input` has
    /// no business with a part in this stage. Nothing leaves `Decided`, and
    /// the only way to a pass is `Judging` + `Good`.
    pub fn step(self, input: Input, now: Timestamp) -> Option<Self> {
        let reject = |why| Some(Self::Decided { outcome: Outcome::Reject(why), at: now });
        match (self, input) {
            (Self::Triggered, Input::CaptureAsked) => Some(Self::Capturing),
            (Self::Triggered, Input::Refused(why)) => reject(why),
            (Self::Triggered | Self::Capturing, Input::FrameLost) => reject(Why::NoFrame),
            (Self::Capturing, Input::FrameInTime) => Some(Self::Held),
            (Self::Capturing, Input::FrameStale) => reject(Why::StaleFrame),
            (Self::Held, Input::JudgeAsked) => Some(Self::Judging),
            (Self::Judging, Input::Good) => Some(Self::Decided { outcome: Outcome::Pass, at: now }),
            (Self::Judging, Input::Bad) => reject(Why::Judged),
            (
                Self::Triggered | Self::Capturing | Self::Held | Self::Judging,
                Input::DeadlinePassed,
            ) => reject(Why::Late),
            (
                Self::Triggered | Self::Capturing | Self::Held | Self::Judging,
                Input::EncoderFault,
            ) => reject(Why::Encoder),

            (
                Self::Triggered,
                Input::FrameInTime
                | Input::FrameStale
                | Input::JudgeAsked
                | Input::Good
                | Input::Bad,
            )
            | (
                Self::Capturing,
                Input::CaptureAsked
                | Input::JudgeAsked
                | Input::Good
                | Input::Bad
                | Input::Refused(_),
            )
            | (
                Self::Held,
                Input::CaptureAsked
                | Input::FrameInTime
                | Input::FrameStale
                | Input::FrameLost
                | Input::Good
                | Input::Bad
                | Input::Refused(_),
            )
            | (
                Self::Judging,
                Input::CaptureAsked
                | Input::FrameInTime
                | Input::FrameStale
                | Input::FrameLost
                | Input::JudgeAsked
                | Input::Refused(_),
            )
            | (
                Self::Decided { .. },
                Input::CaptureAsked
                | Input::FrameInTime
                | Input::FrameStale
                | Input::FrameLost
                | Input::JudgeAsked
                | Input::Good
                | Input::Bad
                | Input::DeadlinePassed
                | Input::Refused(_)
                | Input::EncoderFault,
            ) => None,
        }
    }
}

/// A slot in the line's table of parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) id: PartId,
    pub(super) window: Window,
    pub(super) stage: Stage,
    pub(super) fired: bool,
    pub(super) published: bool,
}

impl Part {
    pub(super) fn new(id: PartId, window: Window) -> Self {
        Self { id, window, stage: Stage::Triggered, fired: false, published: false }
    }

    /// True once nothing remains to be done for this part.
    pub(super) fn is_gone(&self) -> bool {
        let dealt_with = self.fired || !self.stage.is_reject();
        self.stage.is_decided() && self.published && dealt_with && self.window.is_past()
    }
}
