//! What good parts score before any part of the user's product was seen: learned from imaginary products, and written
//! into the model card. `export` and `import` do it on the way; `touchstone-tools calibrate` does it again, for a
//! package whose graphs stay as they are.

mod fit;
mod kept;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use touchstone_models::golden::GOLDEN_FOLDER;
use touchstone_models::package::{ModelPackage, find_model};

pub use fit::{Job, Learned, PRODUCTS, fit};
pub(crate) use fit::{good_parts, line_config, score};
pub use kept::{Kept, Scores, Series, scored_by};

use crate::export::draft::{self, Graphs};
use crate::export::golden;
use crate::progress;
use crate::synth::Library;
use crate::train::{command_line, prior};

/// `touchstone-tools calibrate`
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// Model package: a name or a folder
    pub model: String,
    /// Folder of pictures to make imaginary products of
    #[arg(long)]
    pub pictures: PathBuf,
    /// Folder of the package with the new calibration; its name is the model's id. Left out: the package itself
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Imaginary products to calibrate on. Fewer are quicker and make worse rates
    #[arg(long, default_value_t = PRODUCTS)]
    pub products: u64,
    /// Prior of whole pictures, from `train prior`. Left out: the package keeps its own
    #[arg(long)]
    pub prior: Option<PathBuf>,
    /// Append what the products' parts score to this file, and do not look again at what is in it: a calibration can
    /// be stopped and gone on with, and fitted anew in seconds
    #[arg(long, value_name = "FILE")]
    pub keep: Option<PathBuf>,
    /// Chooses the products. Left out: the seed of the package
    #[arg(long)]
    pub seed: Option<u64>,
    /// Version of the model. Left out: the one after the package's
    #[arg(long)]
    pub version: Option<u32>,
    /// Day for the model card, YYYY-MM-DD
    #[arg(long)]
    pub date: String,
}

/// Learns the laws of good parts anew and writes them into the package.
///
/// # Errors
/// A package or pictures that cannot be used, too few products, or a folder that cannot be written.
pub fn run(args: &CalibrateArgs) -> Result<()> {
    let package = ModelPackage::open(&find_model(&args.model)?)?;
    let out = args.out.clone().unwrap_or_else(|| package.dir().to_path_buf());
    let read = |path: PathBuf| std::fs::read(&path).with_context(|| path.display().to_string());
    let graphs =
        Graphs { encode: read(package.encode_file())?, segment: read(package.segment_file())? };
    let mut card = package.card().clone();
    card.id = draft::id(&out)?;
    card.version = args.version.unwrap_or(card.version + 1);
    card.training.date.clone_from(&args.date);
    card.training.commands.push(command_line());
    // They were measured with the laws that go.
    card.figures.clear();
    let embedding = match &args.prior {
        Some(path) => prior::read(path, card.embedding.mu0.len())?,
        None => card.embedding.clone(),
    };
    let library = Library::open(&args.pictures, progress::decoding())?;
    let job = Job {
        library: &library,
        side: card.input.width,
        seed: args.seed.unwrap_or(card.training.seed),
        products: args.products,
        kept: &Kept::open(args.keep.as_deref())?,
    };
    graphs.calibrate(&out, &mut card, &job, Some(embedding))?;
    if out != package.dir() {
        let golden_pair = package.dir().join(GOLDEN_FOLDER);
        ensure!(golden_pair.is_dir(), "{}: the package has no golden pair", golden_pair.display());
        // It belongs to the graphs, which stay.
        golden::copy(package.dir(), &out)?;
    }
    let package = graphs.write(&out, card)?;
    graphs.tell(&package, &out);
    Ok(())
}
