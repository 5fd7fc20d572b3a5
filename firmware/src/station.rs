//! What the two ways of running a line share: the observer that hears of every
//! part and of the line's condition, and how a line ends.

use std::fmt;

use crate::actuators::Actuators;
use crate::exit::Failure;
use crate::inspection::{Activated, Slot};
use crate::line::{Action, Counters, Fault, Outcome, PartId};
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

/// How a line is, for whoever shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Inspecting, as opposed to coming to its end.
    pub online: bool,
    /// The next part can come.
    pub ready: bool,
    /// Some part has no outcome yet.
    pub busy: bool,
    /// What needs a person, if anything does.
    pub trouble: Option<Trouble>,
    /// Another recipe is being loaded.
    pub changing: bool,
    /// The parts that pass are no longer like those before, and nobody has acknowledged that.
    pub drift: bool,
    /// Edges of the inputs that the kernel had to drop.
    pub edges_lost: u64,
    /// Times that the camera went away.
    pub camera_losses: u64,
    /// The line's own counters.
    pub counters: Counters,
}

/// What needs a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The line stopped by itself.
    Fault(Fault),
    /// The camera is away; the line goes on when it is back.
    CameraAway,
    /// The camera is there and gives no frame that can be used.
    CameraUnusable,
    /// There is no recipe that passes its golden test.
    Recipe,
}

impl fmt::Display for Trouble {
    /// What is wrong and what to do, short enough for a status line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fault(Fault::LateVerdicts) => "verdicts too late: acknowledge, then slow down",
            Self::Fault(Fault::MissedPulse) => "a reject was missed: remove it, acknowledge",
            Self::Fault(Fault::Edges) => "input edges lost: clear the belt, acknowledge",
            Self::Fault(Fault::Encoder) => "encoder: clear the belt, check it, acknowledge",
            Self::CameraAway => "camera gone: check cable and power",
            Self::CameraUnusable => "camera unusable: see the log, start again",
            Self::Recipe => "no sound recipe: teach or bring one",
        })
    }
}

/// Hears of every part once, in the order in which their outcomes became final.
pub trait Observer {
    /// A part has its outcome.
    ///
    /// # Errors
    /// Ends the line, for example because nobody reads the results any more.
    fn published(&mut self, part: &Published<'_>) -> Result<(), Failure>;

    /// How the line is, whenever that has changed. Must not wait. False where it
    /// could not be passed on just now; it is then said again.
    fn condition(&mut self, _condition: &Condition) -> bool {
        true
    }

    /// Parts are judged by another recipe from now on.
    fn activated(&mut self, _recipe: Activated) {}
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
    actuators: &mut Actuators,
    now: Timestamp,
) -> Result<Option<Action>, Failure> {
    match action {
        Action::FireReject { until, .. } => actuators.fire(until).map_err(wiring)?,
        Action::EndReject { .. } => actuators.release().map_err(wiring)?,
        Action::SetBusy(busy) => actuators.set_busy(busy).map_err(wiring)?,
        Action::SetReady(ready) => {
            actuators.set_ready(ready, now).map_err(wiring)?;
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
