//! Training: the encoder by distillation, the one-prompt change head on synthetic pairs, the
//! stride-4 embedding by distillation again.

mod augment;
pub mod batch;
mod device;
pub mod encoder;
mod features;
pub mod grain;
mod loss;
pub mod oneprompt;
mod run_folder;
mod schedule;
mod teacher;

pub use device::DeviceKind;
pub use run_folder::{RunFolder, RunState};

use anyhow::{Result, bail};
use burn::tensor::Device;
use clap::Subcommand;

use crate::net::oneprompt::OnePromptNet;
use grain::GrainStudent;

/// `touchstone-tools train …`
#[derive(Debug, Subcommand)]
pub enum TrainCommand {
    /// Train the encoder: match a frozen teacher's features on any folder of pictures.
    Encoder(encoder::EncoderArgs),
    /// Train alignment and decoder on synthetic change pairs made from any folder of pictures.
    Oneprompt(oneprompt::OnePromptArgs),
    /// Add the stride-4 embedding to a trained network, by distillation.
    Grain(grain::GrainArgs),
}

/// Runs a `train` subcommand.
pub fn run(command: &TrainCommand) -> anyhow::Result<()> {
    match command {
        TrainCommand::Encoder(args) => encoder::run(args),
        TrainCommand::Oneprompt(args) => oneprompt::run(args),
        TrainCommand::Grain(args) => grain::run(args),
    }
}

/// The network of a finished or stopped run, with the stride-4 embedding where it has one.
///
/// # Errors
/// A run of an encoder alone, or weights that do not fit.
pub fn load_net(folder: &RunFolder, state: &RunState, device: &Device) -> Result<OnePromptNet> {
    let net = OnePromptNet::new(&state.net, device);
    match state.stage.as_str() {
        "oneprompt" => folder.load(net),
        grain::STAGE => Ok(folder.load(GrainStudent::new(net, &state.net, device))?.net),
        other => {
            bail!("a run of `train {other}` holds no change head; give one of `train oneprompt`")
        }
    }
}
