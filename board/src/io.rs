//! Inputs and outputs by role: what the line means, not which wire it is.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What an output line tells the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputRole {
    /// Drives the reject actuator.
    Reject,
    /// Tells the machine that a part passed.
    Pass,
    /// The camera is ready for the next part.
    Ready,
    /// Something needs a person.
    Fault,
    /// Toggles while the line is being inspected; belongs into the conveyor's run chain.
    Heartbeat,
}

impl OutputRole {
    /// Every role.
    pub const ALL: [OutputRole; 5] = [
        OutputRole::Reject,
        OutputRole::Pass,
        OutputRole::Ready,
        OutputRole::Fault,
        OutputRole::Heartbeat,
    ];
}

impl fmt::Display for OutputRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OutputRole::Reject => "reject",
            OutputRole::Pass => "pass",
            OutputRole::Ready => "ready",
            OutputRole::Fault => "fault",
            OutputRole::Heartbeat => "heartbeat",
        })
    }
}

/// A part arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriggerEdge {
    /// When the edge happened, stamped by the kernel, not when it was read.
    pub at: Timestamp,
    /// The line's running number: a gap means edges that the kernel had to drop.
    pub sequence: u32,
}

/// A source of part-arrived edges.
pub trait Trigger: Send {
    /// The oldest edge not yet seen, waiting at most `timeout`; `None` when there was none.
    ///
    /// # Errors
    /// The line is gone.
    fn wait(&mut self, timeout: Duration) -> Result<Option<TriggerEdge>, IoError>;
}

/// The output lines.
pub trait Outputs: Send {
    /// Makes the role active (`true`) or inactive; polarity is the board file's matter. A role that the
    /// board does not wire is accepted and does nothing.
    ///
    /// # Errors
    /// The line is gone or refused.
    fn set(&mut self, role: OutputRole, level: bool) -> Result<(), IoError>;
}

/// Why a line or port does not work.
#[derive(Debug)]
pub enum IoError {
    /// No chip or port under that path.
    NotFound {
        /// The path asked for.
        path: PathBuf,
        /// What is here instead.
        here: Vec<String>,
        /// `GPIO chip` or `serial port`.
        what: &'static str,
    },
    /// It is there and cannot be used.
    Refused {
        /// The chip, line or port.
        what: String,
        /// The system's reason.
        why: String,
    },
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IoError::NotFound { path, here, what } => {
                let here = if here.is_empty() { "none".to_owned() } else { here.join(", ") };
                write!(f, "{}: no such {what}; here: {here}", path.display())
            }
            IoError::Refused { what, why } => write!(f, "{what}: {why}"),
        }
    }
}

impl std::error::Error for IoError {}

/// Outputs of a board that has none: accepts everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOutputs;

impl Outputs for NoOutputs {
    fn set(&mut self, _role: OutputRole, _level: bool) -> Result<(), IoError> {
        Ok(())
    }
}
