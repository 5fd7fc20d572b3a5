//! Federated meta-learning: a worker that a federation's engine drives over stdin and stdout.
//!
//! The engine (Flower, see `tools/federated`) moves numbers between a server and its clients; what a
//! client computes is in here, one process per line or plant. Pictures and features never leave it.

mod posterior;
mod protocol;
mod shard;
mod worker;

use std::io::{BufReader, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};

use crate::progress;
use crate::synth::Library;
use crate::train::proto::compute::{self, Wanted};
use crate::train::proto::features::FeatureSet;
pub use shard::shard;
pub use worker::Worker;

/// Length of invented features.
const INVENTED_INPUTS: usize = 24;

/// `touchstone-tools federated …`
#[derive(Debug, Subcommand)]
pub enum FederatedCommand {
    /// Compute the features that clients learn on, into one small file.
    Features(FeaturesArgs),
    /// Serve one client (or, without --client, the server) over stdin and stdout: one JSON request a
    /// line, one JSON reply a line.
    Client(ClientArgs),
}

/// `touchstone-tools federated features`
#[derive(Debug, Args)]
pub struct FeaturesArgs {
    /// Folder of pictures that products are made of.
    #[arg(long, required_unless_present = "invented")]
    pub pictures: Option<PathBuf>,
    /// No pictures and no model: made-up numbers, for tests and first steps.
    #[arg(long, conflicts_with = "pictures")]
    pub invented: bool,
    /// Model package: a name or a folder.
    #[arg(long, default_value = touchstone_models::package::DEFAULT_MODEL)]
    pub model: String,
    /// File to write.
    #[arg(long)]
    pub out: PathBuf,
    /// Training products; half as many for the test, a quarter for validation.
    #[arg(long, default_value_t = 240)]
    pub products: usize,
    /// Seed of the products.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// `touchstone-tools federated client`
#[derive(Debug, Args)]
pub struct ClientArgs {
    /// File of `train proto` or `federated features`.
    #[arg(long)]
    pub features: PathBuf,
    /// Number of this client, from 0: it sees its share of the training products only. Left out: the
    /// server's own worker, which starts parameters on the validation products and measures on the
    /// test products.
    #[arg(long, requires = "clients")]
    pub client: Option<usize>,
    /// Number of clients.
    #[arg(long, requires = "client")]
    pub clients: Option<usize>,
}

/// Runs a `federated` subcommand.
///
/// # Errors
/// Files that cannot be read or written; a wrong request is answered, not an error.
pub fn run(command: &FederatedCommand) -> Result<()> {
    match command {
        FederatedCommand::Features(args) => features(args),
        FederatedCommand::Client(args) => client(args),
    }
}

fn features(args: &FeaturesArgs) -> Result<()> {
    let set = match &args.pictures {
        _ if args.invented => {
            ensure!((4..=100_000).contains(&args.products), "--products: give 4 to 100000");
            FeatureSet::invented(args.seed, args.products, INVENTED_INPUTS)
        }
        Some(pictures) => {
            let wanted = Wanted { model: &args.model, products: args.products, seed: args.seed };
            let origin = wanted.origin(&pictures.display().to_string())?;
            compute::compute(Library::open(pictures, progress::decoding())?, &wanted, origin)?
        }
        None => bail!("--pictures or --invented is needed"),
    };
    set.write(&args.out)?;
    println!(
        "{} + {} + {} products, {} features each: {}",
        set.train.len(),
        set.validation.len(),
        set.test.len(),
        set.inputs,
        args.out.display()
    );
    Ok(())
}

fn client(args: &ClientArgs) -> Result<()> {
    let set = FeatureSet::read(&args.features)?;
    let worker = match (args.client, args.clients) {
        (Some(client), Some(clients)) => Worker::client(set, client, clients)?,
        _ => Worker::server(set),
    };
    let mut out = std::io::stdout().lock();
    protocol::serve(&mut BufReader::new(std::io::stdin().lock()), &mut out, |request| {
        worker.answer(&request)
    })?;
    out.flush().context("stdout")
}
