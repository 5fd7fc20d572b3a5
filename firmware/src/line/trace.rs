//! The latest transitions, in a ring of fixed size, for the log after a fault.

use core::fmt;

use touchstone_board::time::Timestamp;

use super::part::{Input, Stage};
use super::{Fault, PartId};

/// Transitions that are remembered: about twenty parts' worth.
pub const TRACE_LEN: usize = 128;

/// Something that happened on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// A part changed its stage.
    Step {
        /// The part.
        part: PartId,
        /// Its stage before.
        prev: Stage,
        /// Its stage after.
        next: Stage,
        /// What moved it.
        why: Input,
        /// When.
        at: Timestamp,
    },
    /// An edge within the debounce time.
    Bounce {
        /// When.
        at: Timestamp,
    },
    /// A part found the table full.
    Spilled {
        /// The part.
        part: PartId,
        /// When.
        at: Timestamp,
    },
    /// The reject output was ordered.
    Pulse {
        /// From.
        at: Timestamp,
        /// Until.
        until: Timestamp,
    },
    /// The reject output was released.
    PulseEnd {
        /// When.
        at: Timestamp,
    },
    /// A rejected part went by without a pulse.
    PulseMissed {
        /// The part.
        part: PartId,
        /// When it was noticed.
        at: Timestamp,
    },
    /// The line stops until a person has looked.
    Fault {
        /// Why.
        fault: Fault,
        /// When.
        at: Timestamp,
    },
    /// READY changed.
    Ready {
        /// The new level.
        ready: bool,
        /// When.
        at: Timestamp,
    },
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step { part, prev, next, why, at } => {
                write!(f, "{} us: part {part}: {prev:?} -> {next:?} by {why:?}", at.0)
            }
            Self::Bounce { at } => write!(f, "{} us: trigger bounce", at.0),
            Self::Spilled { part, at } => write!(f, "{} us: part {part}: no slot", at.0),
            Self::Pulse { at, until } => write!(f, "{} us: reject until {} us", at.0, until.0),
            Self::PulseEnd { at } => write!(f, "{} us: reject ends", at.0),
            Self::Fault { fault, at } => write!(f, "{} us: FAULT {fault:?}", at.0),
            Self::PulseMissed { part, at } => write!(f, "{} us: part {part}: NO PULSE", at.0),
            Self::Ready { ready, at } => write!(f, "{} us: ready {ready}", at.0),
        }
    }
}
