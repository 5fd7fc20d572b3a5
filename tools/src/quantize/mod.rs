//! A package's graphs with products of 8 or 16 bits, for the camera's own operators, or for ONNX Runtime with
//! convolutions of 8 bits or weights of 32 bits or of 16. The package is all that is needed, not the run that it came
//! from; for 8 bits pictures of good parts besides.

mod bytes;
mod calibrated;
mod graph;
mod halves;
mod int8;
mod ranges;
mod report;
mod running;

pub use calibrated::{Wish, in_int8};
pub use ranges::Method;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Args, ValueEnum};
use touchstone_models::files::write_atomic;
use touchstone_models::oneprompt::IMAGE_INPUT;
use touchstone_models::package::{ModelPackage, Precision, find_model};
use touchstone_models::tensor::TensorSpec;

use crate::export::{draft, golden, nnef};
use crate::train::command_line;
use graph::Graph;

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum To {
    /// Weights of 16 bits, half the size. On the camera's own engine products are made of 16 bits where the processor
    /// has them (ARM from v8.2 on: Cortex-A55, A76, A78); ONNX Runtime computes in f32.
    F16,
    /// As trained.
    F32,
    /// Convolutions of 8 bits, which needs --pictures; alignment, embeddings and head stay in float.
    Int8,
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
    /// Folder of pictures of good parts (PNG or JPEG), at least two: what flows between convolutions is seen on
    /// them. For int8.
    #[arg(long, required_if_eq("precision", "int8"))]
    pub pictures: Option<PathBuf>,
    /// How ranges are chosen. For int8.
    #[arg(long, value_enum, default_value = "mse")]
    pub method: Method,
    /// So many of the layers that lose most stay in float. For int8.
    #[arg(long, default_value_t = 0)]
    pub float_layers: usize,
    /// A layer that stays in float, as `sensitivity.md` names it; repeatable. For int8.
    #[arg(long, value_name = "LAYER")]
    pub float: Vec<String>,
    /// Who runs it: `tract` is the camera as it comes (int8 and f16), `ort` a build with ONNX Runtime [default: tract,
    /// for f32 ort].
    #[arg(long, value_enum)]
    pub engine: Option<For>,
}

/// Both graphs.
type Both = [Graph; 2];

/// Who runs a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum For {
    /// The camera's own engine: NNEF that says in float operators what 8 bits leave of everything. Where the
    /// processor multiplies bytes four at a time (VNNI, `sdot`), it does so; anywhere else it computes just that.
    Tract,
    /// ONNX Runtime: ONNX.
    Ort,
}

/// Runs the command.
///
/// # Errors
/// A package or graph that cannot be used.
pub fn run(args: &QuantizeArgs) -> Result<()> {
    let dir = find_model(&args.model).map_err(|e| anyhow!("{e}"))?;
    let package = ModelPackage::open(&dir).map_err(|e| anyhow!("{e}"))?;
    let new = match (&args.pictures, args.precision) {
        (Some(pictures), To::Int8) => {
            let float: BTreeSet<String> = args.float.iter().cloned().collect();
            let wish = Wish {
                method: args.method,
                float,
                float_layers: args.float_layers,
                engine: args.engine.unwrap_or(For::Tract),
            };
            in_int8(&package, pictures, &wish, &args.out)?
        }
        (_, To::F16) => in_f16(&package, args.engine.unwrap_or(For::Tract), &args.out)?,
        (_, To::F32) if args.engine == Some(For::Tract) => {
            bail!("the package is what tract runs in f32; take it as it is, or --engine ort")
        }
        (_, To::F32) => in_onnx(&package, &args.out)?,
        (None, To::Int8) => bail!("8 bits need pictures of good parts: --pictures DIR"),
    };
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
    if new.card().precision == Precision::F16 && args.engine != Some(For::Ort) {
        println!(
            "what a core with 16 bits makes of it: TOUCHSTONE_OPERATORS=halves touchstone doctor --model {}",
            args.out.display()
        );
    }
    Ok(())
}

/// `package` in `out` as ONNX, as trained.
///
/// # Errors
/// The package is rounded already, it has an operator that our exports do not have, or the folder cannot be
/// written.
pub fn in_onnx(package: &ModelPackage, out: &Path) -> Result<ModelPackage> {
    write(package, &graphs(package)?, Precision::F32, For::Ort, out)
}

/// `package` in `out` with 16 bits.
///
/// # Errors
/// As [`in_onnx`].
pub fn in_f16(package: &ModelPackage, engine: For, out: &Path) -> Result<ModelPackage> {
    let [encode, segment] = graphs(package)?;
    let made = match engine {
        For::Tract => [halves::halved(&encode)?, halves::halved(&segment)?],
        For::Ort => [encode.in_f16()?, segment.in_f16()?],
    };
    write(package, &made, Precision::F16, engine, out)
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
    engine: For,
    out: &Path,
) -> Result<ModelPackage> {
    let mut card = package.card().clone();
    card.id = draft::id(out)?;
    card.precision = precision;
    // What was measured was measured on another model.
    card.figures.clear();
    card.training.commands.push(command_line());
    let suffix = if engine == For::Ort { "onnx" } else { "nnef.tar" };
    (card.encode.file, card.segment.file) =
        (format!("encode.{suffix}"), format!("segment.{suffix}"));
    // The golden pair first: a package that can be opened is whole.
    golden::copy(package.dir(), out)?;
    let [encode, segment] = match engine {
        For::Ort => [graphs[0].bytes(), graphs[1].bytes()],
        For::Tract => [
            bytes::compact(&nnef::from_onnx(&graphs[0].bytes(), "encode")?)?,
            bytes::compact(&nnef::from_onnx(&graphs[1].bytes(), "segment")?)?,
        ],
    };
    ModelPackage::write(out, card, &encode, &segment).map_err(|e| anyhow!("{e}"))
}

fn put(file: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic(file, bytes).with_context(|| file.display().to_string())
}
