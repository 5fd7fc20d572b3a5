//! What is flashed: the line, the inspection loop and the commands of the
//! binary `touchstone`.
//!
//! - [`line`]: the pure state machine; which part is where, and what is due.
//! - [`real_line`], [`virtual_line`]: its two shells, in real and in simulated
//!   time, over the [`inspection`] of pictures and the [`actuators`].
//! - [`commands`]: what the command line ([`cli`]) can ask for.
//! - [`overlay`], [`report`], [`serve`]: pictures and pages for people.

pub mod abreast;
pub mod actuators;
pub mod archive;
pub mod cli;
pub mod commands;
pub mod exit;
pub mod golden;
pub mod inspection;
pub mod intake;
pub mod lamp;
pub mod latency;
pub mod line;
pub mod machine;
pub mod out_folder;
pub mod overlay;
pub mod real_line;
pub mod recipes;
pub mod report;
pub mod serve;
pub mod session;
pub mod settings;
pub mod station;
pub mod store;
pub mod terminal;
pub mod virtual_line;
