//! The command line of `touchstone-tools`.

use clap::{Parser, Subcommand};

use crate::{
    bench, bundle, calibrate, drift, eval, export, federated, import, quantize, rates, synth, train,
};

/// Makes, measures and exports the models that the camera runs.
#[derive(Debug, Parser)]
#[command(name = "touchstone-tools", version, about, propagate_version = true)]
pub struct Cli {
    /// Say more on stderr (-v: steps, -vv: details).
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make change pairs (prompt, query, mask) from any folder of pictures.
    Synth(synth::SynthArgs),
    /// Train a network.
    #[command(subcommand)]
    Train(train::TrainCommand),
    /// Learn together with other lines without showing them pictures (see tools/federated).
    #[command(subcommand)]
    Federated(federated::FederatedCommand),
    /// Turn a training run into a model package: ONNX, then the NNEF that the camera loads.
    Export(export::ExportArgs),
    /// Learn anew what good parts score, for a package whose graphs stay as they are.
    Calibrate(calibrate::CalibrateArgs),
    /// Make a package of 8 bits, or one that ONNX Runtime reads (the camera's --engine ort).
    Quantize(quantize::QuantizeArgs),
    /// Take in what others trained: a whole network as a model package, or an encoder.
    #[command(subcommand)]
    Import(import::ImportCommand),
    /// Make, sign, check and send recipes as signed bundles.
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    /// Measure a model package on pictures in the MVTec AD layout.
    Eval(eval::EvalArgs),
    /// Time packages on engines, side by side in one run.
    Bench(bench::BenchArgs),
    /// Measure stated false-reject rates on good parts of imaginary products.
    Rates(rates::RatesArgs),
    /// Measure drift warnings: false ones, and how soon a change of lamp, lens or place is told.
    Drift(drift::DriftArgs),
}

/// Runs one command line.
pub fn run(cli: &Cli) -> anyhow::Result<()> {
    match &cli.command {
        Command::Synth(args) => synth::run(args),
        Command::Train(command) => train::run(command),
        Command::Federated(command) => federated::run(command),
        Command::Export(args) => export::run(args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Quantize(args) => quantize::run(args),
        Command::Import(command) => import::run(command),
        Command::Bundle(command) => bundle::run(command),
        Command::Eval(args) => eval::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Rates(args) => rates::run(args),
        Command::Drift(args) => drift::run(args),
    }
}
