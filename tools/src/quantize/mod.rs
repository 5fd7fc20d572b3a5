//! A package's graphs as ONNX, which ONNX Runtime reads, with weights of 32 bits or of 16. The package is all
//! that is needed, not the run that it came from.

mod graph;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, ValueEnum};
use touchstone_models::files::write_atomic;
use touchstone_models::golden::GOLDEN_FOLDER;
use touchstone_models::oneprompt::IMAGE_INPUT;
use touchstone_models::package::{ModelPackage, Precision, find_model};
use touchstone_models::tensor::TensorSpec;

use crate::export::draft;
use crate::train::command_line;
use graph::Graph;

/// The golden pair's files.
const GOLDEN_FILES: [&str; 3] = ["prompt.png", "query.png", "map.f32"];

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// Weights of 16 bits: half the size, computed in f32.
    F16,
    /// As trained.
    F32,
}

/// `touchstone-tools quantize`
#[derive(Debug, Args)]
pub struct QuantizeArgs {
    /// Model package, f32, by name or folder: its card and golden pair are taken over.
    #[arg(long)]
    pub model: String,
    /// Folder of the new package; its name is the new model's id.
    #[arg(long)]
    pub out: PathBuf,
    /// What to make.
    #[arg(long, value_enum)]
    pub precision: To,
}

/// Both graphs.
type Both = [Graph; 2];

/// Runs the command.
///
/// # Errors
/// A package or graph that cannot be used.
pub fn run(args: &QuantizeArgs) -> Result<()> {
    let dir = find_model(&args.model).map_err(|e| anyhow!("{e}"))?;
    let package = ModelPackage::open(&dir).map_err(|e| anyhow!("{e}"))?;
    let new = convert(&package, args.precision, &args.out)?;
    let megabytes = |package: &ModelPackage| -> Result<f64> {
        let files = [package.encode_file(), package.segment_file()];
        let bytes = files.iter().map(|f| Ok(std::fs::metadata(f)?.len())).sum::<Result<u64>>()?;
        Ok(bytes as f64 / 1e6)
    };
    println!(
        "model {} in {} written to {}: {:.2} MB; {} has {:.2} MB",
        new.id(),
        new.card().precision,
        args.out.display(),
        megabytes(&new)?,
        package.id(),
        megabytes(&package)?,
    );
    Ok(())
}

/// `package` in `out` as ONNX.
///
/// # Errors
/// The package is rounded already, it has an operator that our exports do not have, or the folder cannot be
/// written.
pub fn convert(package: &ModelPackage, to: To, out: &Path) -> Result<ModelPackage> {
    let graphs = graphs(package)?;
    let (made, precision) = match to {
        To::F32 => (graphs, Precision::F32),
        To::F16 => ([graphs[0].in_f16()?, graphs[1].in_f16()?], Precision::F16),
    };
    write(package, &made, precision, out)
}

/// Both graphs of a package.
fn graphs(package: &ModelPackage) -> Result<Both> {
    let card = package.card();
    let (id, precision) = (package.id(), card.precision);
    ensure!(precision == Precision::F32, "{id} is {precision} already; take the f32 package");
    let names = |specs: &[TensorSpec]| -> Vec<String> {
        specs.iter().map(|spec| spec.name.clone()).collect()
    };
    let encode = Graph::open(
        &package.encode_file(),
        &[IMAGE_INPUT.to_owned()],
        &names(&card.encode.outputs),
    )?;
    let segment =
        Graph::open(&package.segment_file(), &card.segment.inputs, &names(&card.segment.outputs))?;
    Ok([encode, segment])
}

fn write(
    package: &ModelPackage,
    graphs: &Both,
    precision: Precision,
    out: &Path,
) -> Result<ModelPackage> {
    let mut card = package.card().clone();
    card.id = draft::id(out)?;
    card.precision = precision;
    // What was measured was measured on another model.
    card.figures.clear();
    card.training.commands.push(command_line());
    (card.encode.file, card.segment.file) = ("encode.onnx".into(), "segment.onnx".into());
    // The golden pair first: a package that can be opened is whole.
    copy_golden(package.dir(), out)?;
    let [encode, segment] = [graphs[0].bytes(), graphs[1].bytes()];
    ModelPackage::write(out, card, &encode, &segment).map_err(|e| anyhow!("{e}"))
}

fn put(file: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic(file, bytes).with_context(|| file.display().to_string())
}

fn copy_golden(from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (from.join(GOLDEN_FOLDER), to.join(GOLDEN_FOLDER));
    if !from.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(&to).with_context(|| to.display().to_string())?;
    for name in GOLDEN_FILES {
        let file = from.join(name);
        let bytes = std::fs::read(&file).with_context(|| file.display().to_string())?;
        put(&to.join(name), &bytes)?;
    }
    Ok(())
}
