//! What happened on the line since start, as numbers that only grow.

use serde::Serialize;

use super::{Outcome, Why};

/// Counters of the line. `parts = passed + rejected + undecided`, and
/// `triggers = parts + bounces`, at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Edges of the trigger, bounces included.
    pub triggers: u64,
    /// Edges within the debounce time of the last part.
    pub bounces: u64,
    /// Parts that were given an identity.
    pub parts: u64,
    /// Parts that passed.
    pub passed: u64,
    /// Parts that were rejected, for whatever reason.
    pub rejected: u64,
    /// Rejected: the judge said so.
    pub rejected_judged: u64,
    /// Rejected: no verdict in time.
    pub rejected_late: u64,
    /// Rejected: no frame.
    pub rejected_no_frame: u64,
    /// Rejected: a frame of another time.
    pub rejected_stale_frame: u64,
    /// Rejected: too many parts at once.
    pub rejected_overload: u64,
    /// Rejected: the line was not ready.
    pub rejected_not_ready: u64,
    /// Rejected: triggers in the wrong order.
    pub rejected_out_of_order: u64,
    /// Rejected: the encoder's count could not be true.
    pub rejected_encoder: u64,
    /// Verdicts for parts that were already decided.
    pub verdicts_late: u64,
    /// Other answers without a question.
    pub events_unexpected: u64,
    /// Times that the encoder's count could not be true. Each stops the line.
    pub encoder_faults: u64,
    /// Counts of the encoder that were older than one heard before.
    pub encoder_out_of_order: u64,
    /// Times that too many verdicts in a row were late. Each stops the line.
    pub late_faults: u64,
    /// Pulses of the reject output.
    pub pulses: u64,
    /// Rejected parts whose window prolonged a pulse.
    pub pulses_merged: u64,
    /// Pulses that began after the part had arrived.
    pub pulses_late: u64,
    /// Rejected parts that went by without a pulse. Each stops the line.
    pub pulses_missed: u64,
}

impl Counters {
    pub(super) fn count(&mut self, outcome: Outcome) {
        let Outcome::Reject(why) = outcome else {
            self.passed += 1;
            return;
        };
        self.rejected += 1;
        let counter = match why {
            // No transition leads here; it is the zero value only.
            Why::NoResult => return,
            Why::Judged => &mut self.rejected_judged,
            Why::Late => &mut self.rejected_late,
            Why::NoFrame => &mut self.rejected_no_frame,
            Why::StaleFrame => &mut self.rejected_stale_frame,
            Why::Overload => &mut self.rejected_overload,
            Why::NotReady => &mut self.rejected_not_ready,
            Why::OutOfOrder => &mut self.rejected_out_of_order,
            Why::Encoder => &mut self.rejected_encoder,
        };
        *counter += 1;
    }
}
