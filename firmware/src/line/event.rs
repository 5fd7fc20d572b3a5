//! What goes into the line and what comes out of it.

use touchstone_board::time::Timestamp;

use super::{Outcome, PartId, Verdict};

/// End of a pulse that lasts until [`Action::EndReject`].
pub const FOREVER: Timestamp = Timestamp(i64::MAX);

/// What the world tells the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A part crossed the sensor at `at` (the kernel's stamp, not the time of
    /// the call).
    Trigger {
        /// When the edge happened.
        at: Timestamp,
    },
    /// The conveyor was at `counts` at `at`. Of no interest to a line that
    /// measures by time. A shell says this once at the start, then whenever the
    /// count has changed, and before any trigger that is stamped later.
    Encoder {
        /// When the count was reached.
        at: Timestamp,
        /// The encoder's count, summed up with its sign since the shell began.
        counts: i64,
    },
    /// Edges of the inputs were lost. By counts, the place of every part is wrong
    /// by nobody knows how much: [`super::Fault::Encoder`]. By time, a part may
    /// have crossed the sensor unseen: [`super::Fault::Edges`].
    EdgesLost,
    /// The camera delivered a frame for `part`, exposed at `exposed_at`.
    FrameReady {
        /// The part that the frame was asked for.
        part: PartId,
        /// When the sensor was exposed.
        exposed_at: Timestamp,
    },
    /// The camera could not deliver a frame for `part`.
    FrameMissing {
        /// The part that the frame was asked for.
        part: PartId,
    },
    /// The judge finished with `part`.
    Judged {
        /// The part that was judged.
        part: PartId,
        /// What the judge says.
        verdict: Verdict,
    },
    /// The interlock (guard, conveyor run) closed or opened. Starts closed.
    Interlock {
        /// True: the line may run.
        closed: bool,
    },
    /// Camera, model and outputs work, or one of them does not. Starts working.
    Health {
        /// True: all work.
        ok: bool,
    },
    /// A person acknowledged a fault. After [`super::Fault::Encoder`] and
    /// [`super::Fault::Edges`] that also says that no part is left between sensor
    /// and actuator.
    Reset,
    /// Nothing happened; time passed.
    Tick,
}

/// What the shell has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Take the newest frame exposed in `[not_before, by]` for `part`.
    Capture {
        /// The part to take it for.
        part: PartId,
        /// Earliest exposure; an older frame shows another part.
        not_before: Timestamp,
        /// Latest exposure; afterwards the part has left the picture.
        by: Timestamp,
    },
    /// Judge the frame held for `part`.
    Judge {
        /// The part to judge.
        part: PartId,
    },
    /// Hold the reject output active now and until `until`; `at` is when the
    /// pulse began. A later `FireReject` with the same `at` prolongs it. Where
    /// `until` is [`FOREVER`], it is [`Action::EndReject`] that ends it.
    FireReject {
        /// Start of the merged pulse.
        at: Timestamp,
        /// End of the merged pulse.
        until: Timestamp,
    },
    /// Release the reject output now: the belt has carried the last rejected
    /// part past its window.
    EndReject {
        /// Start of the pulse that ends.
        at: Timestamp,
    },
    /// Set the READY output, which lets the conveyor run. Comes again with the
    /// same level when [`super::Line::fault`] has changed.
    SetReady(bool),
    /// Set the BUSY output: some part has no outcome yet.
    SetBusy(bool),
    /// The outcome of `part` is final: report it and free its frame. Comes
    /// exactly once per part.
    Publish {
        /// The part.
        part: PartId,
        /// Pass, or reject with the reason.
        outcome: Outcome,
        /// When the part crossed the sensor.
        triggered_at: Timestamp,
        /// When the outcome became final.
        decided_at: Timestamp,
    },
}
