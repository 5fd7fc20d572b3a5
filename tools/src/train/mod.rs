//! Training: the encoder by distillation, the one-prompt change head on synthetic pairs.

mod augment;
pub mod batch;
mod device;
pub mod encoder;
mod features;
mod loss;
pub mod oneprompt;
mod run_folder;
mod schedule;
mod teacher;

pub use device::DeviceKind;
pub use run_folder::{RunFolder, RunState};

use clap::Subcommand;

/// `touchstone-tools train …`
#[derive(Debug, Subcommand)]
pub enum TrainCommand {
    /// Train the encoder: match a frozen teacher's features on any folder of pictures.
    Encoder(encoder::EncoderArgs),
    /// Train alignment and decoder on synthetic change pairs made from any folder of pictures.
    Oneprompt(oneprompt::OnePromptArgs),
}

/// Runs a `train` subcommand.
pub fn run(command: &TrainCommand) -> anyhow::Result<()> {
    match command {
        TrainCommand::Encoder(args) => encoder::run(args),
        TrainCommand::Oneprompt(args) => oneprompt::run(args),
    }
}
