//! Parts beyond the table of parts. [`super::LineConfig`] refuses timings under
//! which a shell that keeps up could ever see one; this is for one that does
//! not.

use touchstone_board::Timestamp;

use super::{Line, Outcome, PartId, Trace, Why};

/// Parts for which there was no slot. They are all rejected, share one window
/// and need no memory of their own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spill {
    pub(super) next: PartId,
    pub(super) unpublished: u32,
    /// Of the first of the unpublished parts.
    pub(super) triggered_at: Timestamp,
    pub(super) decided_at: Timestamp,
    pub(super) opens: Timestamp,
    pub(super) closes: Timestamp,
    pub(super) fired: bool,
}

impl Line {
    /// Rejects a part for which there is no slot.
    pub(super) fn spill(&mut self, id: PartId, at: Timestamp) {
        let (opens, closes) = (self.config.deadline(at), self.config.closes(at));
        self.counters.count(Outcome::Reject(Why::Overload));
        self.trace.write(Trace::Spilled { part: id, at: self.now });
        let fresh = Spill {
            next: id,
            unpublished: 0,
            triggered_at: at,
            decided_at: self.now,
            opens,
            closes,
            fired: false,
        };
        let spill = self.spill.get_or_insert(fresh);
        if spill.unpublished == 0 {
            (spill.next, spill.triggered_at, spill.decided_at) = (id, at, self.now);
        }
        spill.unpublished += 1;
        spill.opens = spill.opens.min(opens);
        spill.closes = spill.closes.max(closes);
        // A pulse that is already running must be prolonged.
        spill.fired = false;
    }
}
