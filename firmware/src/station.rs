//! What the two ways of running a line share: the observer that hears of every
//! part, and how a line ends.

use crate::actuators::Actuators;
use crate::exit::Failure;
use crate::inspection::Slot;
use crate::line::{Action, Counters, Line, Outcome, PartId};
use touchstone_board::{IoError, Timestamp};

/// A part with its final outcome.
#[derive(Debug)]
pub struct Published<'a> {
    /// The part.
    pub part: PartId,
    /// Pass, or reject with the reason.
    pub outcome: Outcome,
    /// Frame and finding, where there are any.
    pub slot: Option<&'a Slot>,
    /// Trigger to outcome.
    pub total_us: u64,
    /// When the part triggered.
    pub triggered_at: Timestamp,
}

/// Hears of every part once, in the order in which their outcomes became final.
pub trait Observer {
    /// A part has its outcome.
    ///
    /// # Errors
    /// Ends the line, for example because nobody reads the results any more.
    fn published(&mut self, part: &Published<'_>) -> Result<(), Failure>;
}

/// How a line ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ending {
    /// The line's counters.
    pub counters: Counters,
}

/// Wiring that does not answer any more.
pub fn wiring(error: IoError) -> Failure {
    Failure::Hardware(format!("output: {error}; the line is stopped, check the wiring"))
}

/// Carries out the actions that concern outputs; hands back any other.
///
/// # Errors
/// The output lines are gone.
pub fn actuate(
    action: Action,
    line: &Line,
    actuators: &mut Actuators,
    now: Timestamp,
) -> Result<Option<Action>, Failure> {
    match action {
        Action::FireReject { until, .. } => actuators.fire(until).map_err(wiring)?,
        Action::EndReject { .. } => actuators.release().map_err(wiring)?,
        Action::SetBusy(_) => {}
        Action::SetReady(ready) => {
            actuators.set_ready(ready, now).map_err(wiring)?;
            actuators.set_fault(line.fault()).map_err(wiring)?;
        }
        Action::Publish { outcome: Outcome::Pass, .. } => {
            actuators.passed(now).map_err(wiring)?;
            return Ok(Some(action));
        }
        Action::Publish { .. } | Action::Capture { .. } | Action::Judge { .. } => {
            return Ok(Some(action));
        }
    }
    Ok(None)
}
