//! The original MetaUAS network (methods/metauas.md section 2) as a model package: the encoder's
//! features and what alignment needs of them once per picture, alignment and decoder once per pair.

mod graph;

use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::package::{
    ARCHITECTURE, EncodeGraph, FeatureTensors, Input, ModelCard, Precision, SegmentGraph, Training,
};

use super::checkpoint::Checkpoint;
use super::efficientnet;
use crate::calibrate::{self, Job, Kept, Learned};
use crate::export::draft::{self, Graphs};
use crate::export::{FUSION, golden};
use crate::progress;
use crate::synth::Library;
use crate::train::{batch, command_line};

/// `touchstone-tools import metauas`
#[derive(Debug, Args)]
pub struct MetauasArgs {
    /// The official checkpoint, `metauas-256.ckpt` or `metauas-512.ckpt`: EfficientNet-b4, three
    /// alignment layers, UNet of depth 5.
    #[arg(long)]
    pub checkpoint: PathBuf,
    /// Folder of the model package; its name is the model's id.
    #[arg(long)]
    pub out: PathBuf,
    /// Side of the input in pixels, a multiple of 32; what the checkpoint was trained with.
    #[arg(long, default_value_t = 256)]
    pub size: usize,
    /// Folder of pictures to calibrate on.
    #[arg(long)]
    pub pictures: PathBuf,
    /// Imaginary products to calibrate on. Fewer are quicker and make worse rates.
    #[arg(long, default_value_t = calibrate::PRODUCTS)]
    pub products: u64,
    /// Append what the products' parts score to this file, and do not look again at what is in it.
    #[arg(long, value_name = "FILE")]
    pub keep: Option<PathBuf>,
    /// Where the checkpoint comes from, with licence, for the model card; repeatable.
    #[arg(long, required = true)]
    pub source: Vec<String>,
    /// Version of the model.
    #[arg(long, default_value_t = 1)]
    pub version: u32,
    /// Seed of the imaginary products.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Day for the model card, YYYY-MM-DD.
    #[arg(long)]
    pub date: String,
}

/// Prefix of the encoder's tensors.
const ENCODER: &str = "encoder.";

/// Runs the import.
pub fn run(args: &MetauasArgs) -> Result<()> {
    ensure!(
        args.size.is_multiple_of(32) && (64..=1024).contains(&args.size),
        "--size {}: must be a multiple of 32 from 64 to 1024",
        args.size
    );
    let id = draft::id(&args.out)?;
    let mut checkpoint = Checkpoint::open(&args.checkpoint)?;
    let (encode, segment) = build(&mut checkpoint, args.size)?;
    let unused = efficientnet::UNUSED.map(|leaf| format!("{ENCODER}{leaf}"));
    let left_out = checkpoint.leave_out(|name| unused.iter().any(|u| name.starts_with(u)));
    checkpoint.finish()?;
    log::info!("every tensor has its place; {left_out} of the classifier's are left out");
    let graphs = Graphs::from_onnx(&encode, &segment)?;

    let mut card = card(&id, args);
    let library = Library::open(&args.pictures, progress::decoding())?;
    let kept = Kept::open(args.keep.as_deref())?;
    let (side, seed) = (card.input.width, args.seed);
    let job = Job { library: &library, side, seed, products: args.products, kept: &kept };
    graphs.calibrate(&args.out, &mut card, &job, None)?;
    let package = graphs.write(&args.out, card)?;
    let model = Graphs::load(&package)?;
    golden::write(&args.out.join("golden"), args.size, |query, prompt| {
        own_map(model, query, prompt, args.size)
    })?;
    graphs.tell(&package, &args.out);
    Ok(())
}

/// Both graphs, ONNX, for pictures of `size` pixels.
///
/// # Errors
/// A tensor is missing or has the wrong shape.
pub fn build(checkpoint: &mut Checkpoint, size: usize) -> Result<(Vec<u8>, Vec<u8>)> {
    let parts = graph::Parts::take(checkpoint)?;
    let encode = graph::encode(checkpoint, &parts, size)?;
    Ok((encode, graph::segment(&parts, size)))
}

/// What tract makes of a pair here and now. Other boards and engines are held to it.
fn own_map(mut model: OnePrompt, query: &[u8], prompt: &[u8], size: usize) -> Result<Vec<f32>> {
    let mut features = |rgb: &[u8]| {
        let picture =
            touchstone_models::picture::Picture::from_rgb8(size as u32, size as u32, rgb.to_vec())?;
        model.encode(&picture).map_err(|e| anyhow!("golden vectors: {e}"))
    };
    let (query, prompt) = (features(query)?, features(prompt)?);
    Ok(model.segment(&query, &prompt).map_err(|e| anyhow!("golden vectors: {e}"))?.values)
}

fn card(id: &str, args: &MetauasArgs) -> ModelCard {
    let side = args.size as u32;
    let outputs = graph::encode_outputs(args.size);
    let Learned { embedding, calibration } = Learned::nothing(&outputs, graph::POOLED);
    ModelCard {
        id: id.into(),
        version: args.version,
        architecture: ARCHITECTURE.into(),
        precision: Precision::F32,
        input: Input { width: side, height: side, mean: batch::MEAN, std: batch::STD },
        encode: EncodeGraph { file: "encode.nnef.tar".into(), sha256: String::new(), outputs },
        segment: SegmentGraph {
            file: "segment.nnef.tar".into(),
            sha256: String::new(),
            inputs: graph::segment_inputs(),
            outputs: graph::segment_outputs(args.size),
        },
        features: FeatureTensors {
            patches: graph::PATCHES.into(),
            grid: [side / 8; 2],
            pooled: graph::POOLED.into(),
        },
        embedding,
        fusion: FUSION,
        calibration,
        training: Training {
            sources: args.source.clone(),
            seed: args.seed,
            commands: vec![command_line()],
            date: args.date.clone(),
        },
        figures: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
