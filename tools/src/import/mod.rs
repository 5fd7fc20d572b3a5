//! Networks that others trained: whole ones as model packages, encoders to train on.

pub mod checkpoint;
pub mod efficientnet;
pub mod encoder;
pub mod metauas;

use clap::Subcommand;

/// `touchstone-tools import …`
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// Turn the official MetaUAS checkpoint (PyTorch) into a model package.
    Metauas(metauas::MetauasArgs),
    /// Take any encoder (ONNX) for `train oneprompt --encoder`.
    Encoder(encoder::EncoderArgs),
}

/// Runs the command.
pub fn run(command: &ImportCommand) -> anyhow::Result<()> {
    match command {
        ImportCommand::Metauas(args) => metauas::run(args),
        ImportCommand::Encoder(args) => encoder::run(args),
    }
}
