//! A training run to a model package: ONNX first, then the NNEF that the camera loads, then a
//! card with calibration, and golden vectors computed by the training framework.

pub mod blocks;
pub mod calibrate;
pub mod draft;
pub mod golden;
pub mod graphs;
pub mod nnef;
pub mod onnx;

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};
use burn::tensor::Device;
use clap::Args;
use touchstone_models::fusion::FusionRule;
use touchstone_models::package::{
    ARCHITECTURE, EncodeGraph, FeatureTensors, FusionConstants, Input, ModelCard, ModelPackage,
    SegmentGraph, Training,
};

use crate::progress;
use crate::synth::Library;
use crate::train::{self, RunFolder, RunState, batch, command_line};
use draft::Graphs;
use graphs::Sizes;

/// `touchstone-tools export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Run folder of `train oneprompt`.
    #[arg(long)]
    pub run: PathBuf,
    /// Folder of the model package; its name is the model's id.
    #[arg(long)]
    pub out: PathBuf,
    /// Side of the input in pixels, a multiple of 16.
    #[arg(long, default_value_t = 256)]
    pub size: usize,
    /// Folder of pictures to calibrate on. Left out: the calibration of an existing package in
    /// --out is kept, a new package is refused.
    #[arg(long)]
    pub pictures: Option<PathBuf>,
    /// What the pictures are, with licence, for the model card; repeatable.
    #[arg(long)]
    pub source: Vec<String>,
    /// Version of the model.
    #[arg(long, default_value_t = 1)]
    pub version: u32,
    /// Day for the model card, YYYY-MM-DD.
    #[arg(long)]
    pub date: String,
}

/// Constants of the joint map, found once on the development sets (see the model card of the
/// shipped weights) and the same for every product.
pub const FUSION: FusionConstants = FusionConstants {
    rule: FusionRule::WeightedMean,
    change_weight: 1.0,
    nearest_weight: 0.0,
    position_weight: 1.0,
    region_level: 0.5,
};

/// Runs the export.
pub fn run(args: &ExportArgs) -> Result<()> {
    ensure!(
        args.size.is_multiple_of(16) && args.size >= 64,
        "--size must be a multiple of 16, at least 64"
    );
    let id = draft::id(&args.out)?;
    let (folder, state) = RunFolder::open(&args.run)?;
    let device = Device::flex();
    let model = train::load_net(&folder, &state, &device)?;

    let sizes = Sizes { input: args.size, net: state.net };
    let (encode, segment) = graphs::build(&model, &sizes)?;
    let onnx = folder.path("onnx");
    std::fs::create_dir_all(&onnx).with_context(|| onnx.display().to_string())?;
    for (name, bytes) in [("encode", &encode), ("segment", &segment)] {
        let path = onnx.join(format!("{name}.onnx"));
        touchstone_models::files::write_atomic(&path, bytes)
            .with_context(|| path.display().to_string())?;
    }
    let graphs = Graphs::from_onnx(&encode, &segment)?;

    let mut card = card(&id, args, &state, &sizes);
    if args.pictures.is_none() {
        let existing = ModelPackage::open(&args.out).map_err(|e| {
            anyhow!("{e}\nwithout --pictures the calibration must come from an existing package")
        })?;
        card.calibration = existing.card().calibration;
    }
    if let Some(pictures) = &args.pictures {
        let library = Library::open(pictures, progress::decoding())?;
        let products = calibrate::PRODUCTS;
        card.calibration = graphs.calibrate(&args.out, &card, &library, state.seed, products)?;
    }
    let package = graphs.write(&args.out, card)?;
    golden::write(&args.out.join("golden"), args.size, |query, prompt| {
        golden::reference(&model, query, prompt, args.size, &device)
    })?;
    graphs.tell(&package, &args.out);
    Ok(())
}

fn card(id: &str, args: &ExportArgs, state: &RunState, sizes: &Sizes) -> ModelCard {
    let side = args.size as u32;
    let mut commands: Vec<String> =
        state.sources.iter().filter(|s| s.starts_with("touchstone-tools")).cloned().collect();
    commands.push(state.command.clone());
    commands.push(command_line());
    ModelCard {
        id: id.into(),
        version: args.version,
        architecture: ARCHITECTURE.into(),
        input: Input { width: side, height: side, mean: batch::MEAN, std: batch::STD },
        encode: EncodeGraph {
            file: "encode.nnef.tar".into(),
            sha256: String::new(),
            outputs: sizes.encode_outputs(),
        },
        segment: SegmentGraph {
            file: "segment.nnef.tar".into(),
            sha256: String::new(),
            inputs: sizes.segment_inputs(),
            outputs: sizes.segment_outputs(),
        },
        features: FeatureTensors {
            patches: graphs::GRAIN_OUTPUT.into(),
            grid: [side / 4; 2],
            pooled: "pooled".into(),
        },
        fusion: FUSION,
        calibration: calibrate::uncalibrated(),
        training: Training {
            sources: args.source.clone(),
            seed: state.seed,
            commands,
            date: args.date.clone(),
        },
        figures: Vec::new(),
    }
}
