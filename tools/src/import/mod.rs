//! Networks that others trained, as model packages.

pub mod checkpoint;
pub mod efficientnet;
pub mod metauas;

use clap::Subcommand;

/// `touchstone-tools import …`
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// Turn the official MetaUAS checkpoint (PyTorch) into a model package.
    Metauas(metauas::MetauasArgs),
}

/// Runs the command.
pub fn run(command: &ImportCommand) -> anyhow::Result<()> {
    match command {
        ImportCommand::Metauas(args) => metauas::run(args),
    }
}
