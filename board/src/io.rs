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
    /// Something needs a person. Board files call it `error` (older ones `fault`).
    #[serde(rename = "error", alias = "fault")]
    Fault,
    /// Toggles while the line is being inspected; belongs into the conveyor's run chain.
    Heartbeat,
    /// A part is being inspected.
    Busy,
    /// A lamp that says how a recipe from a stick or a push fares.
    Notice,
}

impl OutputRole {
    /// Every role.
    pub const ALL: [OutputRole; 7] = [
        OutputRole::Reject,
        OutputRole::Pass,
        OutputRole::Ready,
        OutputRole::Fault,
        OutputRole::Heartbeat,
        OutputRole::Busy,
        OutputRole::Notice,
    ];
}

impl fmt::Display for OutputRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OutputRole::Reject => "reject",
            OutputRole::Pass => "pass",
            OutputRole::Ready => "ready",
            OutputRole::Fault => "error",
            OutputRole::Heartbeat => "heartbeat",
            OutputRole::Busy => "busy",
            OutputRole::Notice => "notice",
        })
    }
}

/// What an input line tells the camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputRole {
    /// A part arrived.
    Trigger,
    /// The operator's teach button.
    Teach,
    /// Quadrature encoder, channel A.
    EncoderA,
    /// Quadrature encoder, channel B.
    EncoderB,
    /// An encoder with one channel: each edge into the active level is one count forward.
    EncoderStep,
    /// The machine may run: while it is inactive nothing is inspected.
    Interlock,
}

impl InputRole {
    /// Every role.
    pub const ALL: [InputRole; 6] = [
        InputRole::Trigger,
        InputRole::Teach,
        InputRole::EncoderA,
        InputRole::EncoderB,
        InputRole::EncoderStep,
        InputRole::Interlock,
    ];
}

impl fmt::Display for InputRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InputRole::Trigger => "trigger",
            InputRole::Teach => "teach",
            InputRole::EncoderA => "encoder_a",
            InputRole::EncoderB => "encoder_b",
            InputRole::EncoderStep => "encoder_step",
            InputRole::Interlock => "interlock",
        })
    }
}

/// An input line changed its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputEvent {
    /// Which input.
    pub role: InputRole,
    /// When the kernel saw the edge. Of a debounced line: when the kernel found it settled.
    pub at: Timestamp,
    /// Its level since, polarity applied.
    pub active: bool,
    /// The line's running number: a gap means edges that the kernel had to drop.
    pub sequence: u32,
}

/// What became of the edges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputCounts {
    /// Handed out.
    pub events: u64,
    /// Dropped by the kernel because its buffer was full.
    pub lost: u64,
    /// Handed out although a later one had been handed out before: chips report independently.
    pub out_of_order: u64,
}

/// All input lines of a board.
pub trait Inputs: Send {
    /// The oldest event not yet seen, of whichever line, waiting at most `timeout`; `None` when there was
    /// none.
    ///
    /// # Errors
    /// A line is gone.
    fn wait(&mut self, timeout: Duration) -> Result<Option<InputEvent>, IoError>;
    /// The present level of a role, polarity applied; `None` where the board does not wire it.
    ///
    /// # Errors
    /// The line is gone.
    fn level(&mut self, role: InputRole) -> Result<Option<bool>, IoError>;
    /// What became of the edges so far.
    fn counts(&self) -> InputCounts;
}

/// A [`Trigger`] as the only input of a board, as the simulated line has.
#[derive(Debug)]
pub struct TriggerOnly<T> {
    trigger: T,
    counts: InputCounts,
}

impl<T: Trigger> TriggerOnly<T> {
    /// Takes it over.
    pub fn new(trigger: T) -> TriggerOnly<T> {
        TriggerOnly { trigger, counts: InputCounts::default() }
    }
}

impl<T: Trigger> Inputs for TriggerOnly<T> {
    fn wait(&mut self, timeout: Duration) -> Result<Option<InputEvent>, IoError> {
        let Some(edge) = self.trigger.wait(timeout)? else { return Ok(None) };
        self.counts.events += 1;
        let TriggerEdge { at, sequence } = edge;
        Ok(Some(InputEvent { role: InputRole::Trigger, at, active: true, sequence }))
    }

    fn level(&mut self, _role: InputRole) -> Result<Option<bool>, IoError> {
        Ok(None)
    }

    fn counts(&self) -> InputCounts {
        self.counts
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
