//! The line in simulated time. A [`world::World`] is the whole line around the
//! real state machine of the firmware; an [`oracle::Oracle`] holds it against
//! its promises without asking it:
//!
//! - every part that crosses the sensor has exactly one outcome;
//! - none passes without a verdict "good", in time, for exactly this part, and
//!   none is rejected in spite of one;
//! - each part finds the reject output active at the actuator if and only if it
//!   was rejected (or a rejected neighbour's window overlaps its own).
//!
//! Time, chance and order come from a seed: the same seed, the same run.

mod belt;
pub mod oracle;
mod output;
pub mod scenario;
pub mod sweep;
pub mod tally;
pub mod world;
