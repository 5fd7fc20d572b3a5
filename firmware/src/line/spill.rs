//! Parts beyond the table of parts. [`super::LineConfig`] refuses timings under
//! which a shell that keeps up could ever see one; this is for one that does
//! not.

use touchstone_board::Timestamp;

use super::window::Window;
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
    /// The shared window begins with this part's and ends with the last one's.
    pub(super) first: Window,
    pub(super) last: Window,
    pub(super) fired: bool,
}

impl Line {
    /// Rejects a part for which there is no slot.
    pub(super) fn spill(&mut self, id: PartId, window: Window) {
        self.counters.count(Outcome::Reject(Why::Overload));
        self.trace.write(Trace::Spilled { part: id, at: self.now });
        let fresh = Spill {
            next: id,
            unpublished: 0,
            triggered_at: window.at,
            decided_at: self.now,
            first: window,
            last: window,
            fired: false,
        };
        let spill = self.spill.get_or_insert(fresh);
        if spill.unpublished == 0 {
            (spill.next, spill.triggered_at, spill.decided_at) = (id, window.at, self.now);
        }
        spill.unpublished += 1;
        if (window.place, window.at) < (spill.first.place, spill.first.at) {
            spill.first = window;
        }
        if (window.place, window.at) > (spill.last.place, spill.last.at) {
            spill.last = window;
        }
        // A pulse that is already running must be prolonged.
        spill.fired = false;
    }
}
