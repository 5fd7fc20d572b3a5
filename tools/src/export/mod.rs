//! A training run to a model package: ONNX first, then the NNEF that the camera loads, then a
//! card with calibration, and golden vectors computed by the training framework.

pub mod adapted;
pub mod as_onnx;
pub mod back;
pub mod blocks;
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
    Precision, SegmentGraph, Training,
};
use touchstone_models::tensor::TensorSpec;

use crate::calibrate::{self, Job, Kept, Learned};
use crate::net::levels::STRIDES;
use crate::progress;
use crate::synth::Library;
use crate::train::batch::Scaling;
use crate::train::oneprompt::adapted as adapted_run;
use crate::train::{self, RunFolder, RunState, command_line, prior};
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
    /// Imaginary products to calibrate on. Fewer are quicker and make worse rates.
    #[arg(long, default_value_t = calibrate::PRODUCTS)]
    pub products: u64,
    /// Append what the products' parts score to this file, and do not look again at what is in it: a calibration can
    /// be stopped and gone on with.
    #[arg(long, value_name = "FILE", requires = "pictures")]
    pub keep: Option<PathBuf>,
    /// Prior of whole pictures, from `train prior`. Left out: it is learned from the imaginary products.
    #[arg(long, requires = "pictures")]
    pub prior: Option<PathBuf>,
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
    change_weight: 0.3,
    nearest_weight: 0.3,
    position_weight: 0.4,
    change_roots: 2,
    nearest_roots: 2,
    position_roots: 1,
    joined_squares: 2,
    region_level: 0.4,
};

/// Name of the whole-picture embedding.
const POOLED: &str = "pooled";

/// The training framework's map of a query and its prompt, both RGB8.
type MapOf = Box<dyn FnOnce(&[u8], &[u8]) -> Result<Vec<f32>>>;

/// What an export makes of a run's network, whoever made the encoder.
struct Exported {
    graphs: Graphs,
    outputs: Vec<TensorSpec>,
    /// The patches of the position witness, and their stride.
    patches: (&'static str, usize),
    scaling: Scaling,
    /// Where the encoder comes from, if somebody else made it.
    sources: Vec<String>,
    map_of: MapOf,
}

/// Runs the export.
pub fn run(args: &ExportArgs) -> Result<()> {
    ensure!(
        args.size.is_multiple_of(16) && args.size >= 64,
        "--size must be a multiple of 16, at least 64"
    );
    let id = draft::id(&args.out)?;
    let (folder, state) = RunFolder::open(&args.run)?;
    let sizes = Sizes { input: args.size, net: state.net };
    let exported = match state.stage.as_str() {
        adapted_run::STAGE => adapted_graphs(&folder, &state, sizes)?,
        _ => own_graphs(&folder, &state, sizes)?,
    };

    let mut card = card(&id, args, &state, &sizes, &exported);
    if args.pictures.is_none() {
        let existing = ModelPackage::open(&args.out).map_err(|e| {
            anyhow!("{e}\nwithout --pictures the calibration must come from an existing package")
        })?;
        card.calibration = existing.card().calibration;
        card.embedding = existing.card().embedding.clone();
    }
    let graphs = &exported.graphs;
    if let Some(pictures) = &args.pictures {
        let library = Library::open(pictures, progress::decoding())?;
        let prior = args.prior.as_ref();
        let prior = prior.map(|path| prior::read(path, card.embedding.mu0.len())).transpose()?;
        let kept = Kept::open(args.keep.as_deref())?;
        let (side, seed) = (card.input.width, state.seed);
        let job = Job { library: &library, side, seed, products: args.products, kept: &kept };
        graphs.calibrate(&args.out, &mut card, &job, prior)?;
    }
    let package = graphs.write(&args.out, card)?;
    golden::write(&args.out.join("golden"), args.size, exported.map_of)?;
    exported.graphs.tell(&package, &args.out);
    Ok(())
}

fn own_graphs(folder: &RunFolder, state: &RunState, sizes: Sizes) -> Result<Exported> {
    let device = Device::flex();
    let model = train::load_net(folder, state, &device)?;
    let (encode, segment) = graphs::build(&model, &sizes)?;
    write_onnx(folder, &[("encode", &encode), ("segment", &segment)])?;
    Ok(Exported {
        graphs: Graphs::from_onnx(&encode, &segment)?,
        outputs: sizes.encode_outputs(),
        patches: (graphs::GRAIN_OUTPUT, 4),
        scaling: Scaling::IMAGENET,
        sources: Vec::new(),
        map_of: Box::new(move |query, prompt| {
            golden::reference(&model, query, prompt, sizes.input, &device)
        }),
    })
}

fn adapted_graphs(folder: &RunFolder, state: &RunState, sizes: Sizes) -> Result<Exported> {
    let device = Device::flex();
    let (backbone, model) = adapted_run::load(folder, state, &device)?;
    let extractor = backbone.at(sizes.input)?;
    let built = adapted::build(&model, &backbone, &extractor, &sizes)?;
    write_onnx(folder, &[("adapters", &built.adapters), ("segment", &built.segment)])?;
    Ok(Exported {
        graphs: built.graphs,
        outputs: adapted::encode_outputs(&sizes, backbone.channels()),
        patches: (adapted::PATCHES, STRIDES.middle),
        scaling: backbone.description().scaling,
        sources: backbone.description().sources.clone(),
        map_of: Box::new(move |query, prompt| {
            adapted::reference(&model, &extractor, [query, prompt], &device)
        }),
    })
}

/// Leaves the graphs of a run in its folder, for those who want ONNX.
fn write_onnx(folder: &RunFolder, graphs: &[(&str, &[u8])]) -> Result<()> {
    let onnx = folder.path("onnx");
    std::fs::create_dir_all(&onnx).with_context(|| onnx.display().to_string())?;
    for (name, bytes) in graphs {
        let path = onnx.join(format!("{name}.onnx"));
        touchstone_models::files::write_atomic(&path, bytes)
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn card(
    id: &str,
    args: &ExportArgs,
    state: &RunState,
    sizes: &Sizes,
    exported: &Exported,
) -> ModelCard {
    let side = args.size as u32;
    let mut commands: Vec<String> =
        state.sources.iter().filter(|s| s.contains("touchstone-tools ")).cloned().collect();
    commands.push(state.command.clone());
    commands.push(command_line());
    let Scaling { mean, std } = exported.scaling;
    let Learned { embedding, calibration } = Learned::nothing(&exported.outputs, POOLED);
    let (patches, stride) = exported.patches;
    let mut sources: Vec<String> = Vec::new();
    for source in exported.sources.iter().chain(&state.trained_on).chain(&args.source) {
        if !sources.contains(source) {
            sources.push(source.clone());
        }
    }
    ModelCard {
        id: id.into(),
        version: args.version,
        architecture: ARCHITECTURE.into(),
        precision: Precision::F32,
        input: Input { width: side, height: side, mean, std },
        encode: EncodeGraph {
            file: "encode.nnef.tar".into(),
            sha256: String::new(),
            outputs: exported.outputs.clone(),
        },
        segment: SegmentGraph {
            file: "segment.nnef.tar".into(),
            sha256: String::new(),
            inputs: sizes.segment_inputs(),
            outputs: sizes.segment_outputs(),
        },
        features: FeatureTensors {
            patches: patches.into(),
            grid: [sizes.side(stride) as u32; 2],
            pooled: POOLED.into(),
        },
        embedding,
        fusion: FUSION,
        calibration,
        training: Training { sources, seed: state.seed, commands, date: args.date.clone() },
        figures: Vec::new(),
    }
}
