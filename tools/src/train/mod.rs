//! Training: the encoder by distillation, then the one-prompt change head on synthetic pairs.

mod augment;
mod average;
pub mod batch;
mod begun;
mod course;
mod device;
pub mod encoder;
pub mod grain;
mod loss;
pub mod oneprompt;
pub mod prior;
pub mod proto;
mod report;
mod run_folder;
mod schedule;
mod teacher;
#[cfg(test)]
mod testing;

pub use device::DeviceKind;
pub use run_folder::{RunFolder, RunState, command_line};

use anyhow::{Result, bail};
use burn::tensor::Device;
use clap::Subcommand;

use crate::net::oneprompt::OnePromptNet;

/// `touchstone-tools train …`
#[derive(Debug, Subcommand)]
pub enum TrainCommand {
    /// Train the encoder: match a frozen teacher's features on any folder of pictures.
    Encoder(encoder::EncoderArgs),
    /// Train the patch descriptor of a trained network on, by distillation.
    Grain(grain::GrainArgs),
    /// Train alignment and decoder on synthetic change pairs made from any folder of pictures.
    Oneprompt(oneprompt::OnePromptArgs),
    /// Learn the prior of the image-level posterior by evidence over many products: no gradients.
    Prior(prior::PriorArgs),
    /// Meta-train a small head on a package's pooled features (Bayesian Proto-MAML), beside the closed
    /// form, Proto-MAML and MAML on the same episodes.
    Proto(proto::ProtoArgs),
}

/// Runs a `train` subcommand.
pub fn run(command: &TrainCommand) -> anyhow::Result<()> {
    match command {
        TrainCommand::Encoder(args) => encoder::run(args),
        TrainCommand::Grain(args) => grain::run(args),
        TrainCommand::Oneprompt(args) => oneprompt::run(args),
        TrainCommand::Prior(args) => prior::run(args),
        TrainCommand::Proto(args) => proto::run(args),
    }
}

/// The network of a finished or stopped run with an encoder of its own.
///
/// # Errors
/// A run of an encoder alone, or weights that do not fit.
pub fn load_net(folder: &RunFolder, state: &RunState, device: &Device) -> Result<OnePromptNet> {
    match state.stage.as_str() {
        oneprompt::STAGE => folder.load(OnePromptNet::new(&state.net, device)),
        other => {
            bail!("a run of `train {other}` holds no change head; give one of `train oneprompt`")
        }
    }
}
