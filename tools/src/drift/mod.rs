//! `touchstone-tools drift`: how soon does the camera say that its good parts are no longer what was taught, and
//! how often does it say so for nothing?
//!
//! Three measurements. Steady scores, millions of them, in no time: how many parts pass until a false warning.
//! Drawn products whose lamp ages, lens fogs or camera is moved, through the network. Real pictures in the order
//! in which they were taken.

mod ageing;
mod report;
mod steady;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use touchstone_models::drift::DriftWarning;
use touchstone_models::engine::EngineKind;
use touchstone_models::inspector::{Inspector, PROMPTS_MAX, Settings};
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::package::{DEFAULT_MODEL, ModelPackage, find_model};
use touchstone_models::picture::Picture;

use crate::calibrate::{good_parts, line_config};
use crate::synth::{Library, pictures_below};
use crate::{parallel, progress};
use ageing::Ageing;
use report::Row;

/// Number of the first product: far from those that anything was fitted or measured on.
const PRODUCTS_FIRST: u64 = 1 << 45;

/// Measure drift warnings: false ones, and how soon a change is told
#[derive(Debug, Args)]
pub struct DriftArgs {
    /// Model package: a name or a folder
    #[arg(long, default_value = DEFAULT_MODEL)]
    pub model: String,
    /// Good parts taught
    #[arg(long, default_value_t = 10)]
    pub k: usize,
    /// Scores of steady parts to wait for false warnings in; 0: none
    #[arg(long, value_name = "N", default_value_t = 4_000_000)]
    pub steady_scores: u64,
    /// Folder of pictures to draw products from, whose lamp, lens and place then change
    #[arg(long)]
    pub pictures: Option<PathBuf>,
    /// Drawn products for each change
    #[arg(long, default_value_t = 6)]
    pub products: usize,
    /// Parts that pass before the change begins
    #[arg(long, default_value_t = 150)]
    pub before: usize,
    /// Parts over which it grows to its full size
    #[arg(long, default_value_t = 300)]
    pub over: usize,
    /// Folders of real pictures in the order of their names, the first K of which are taught
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pub stream: Vec<PathBuf>,
    /// Chooses products and scores
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Products looked at side by side, each with its own model
    #[arg(long, default_value_t = 2)]
    pub workers: usize,
    /// Print JSON lines instead of a table
    #[arg(long)]
    pub json: bool,
}

/// What became of one run of parts.
#[derive(Debug, Clone)]
struct Told {
    /// Parts judged before the warning, and the warning; `None`: there was none.
    warning: Option<(usize, DriftWarning)>,
    /// Parts judged.
    parts: usize,
    /// Rejected before the warning, or at all.
    rejected: usize,
}

/// Measures and prints.
///
/// # Errors
/// Arguments that cannot be, pictures or a model that cannot be used.
pub fn run(args: &DriftArgs) -> Result<()> {
    ensure!(args.workers >= 1, "--workers must be at least 1");
    ensure!(
        (1..=PROMPTS_MAX).contains(&args.k),
        "--k {}: between 1 and {PROMPTS_MAX} good parts can be taught",
        args.k
    );
    let mut rows: Vec<Row> = Vec::new();
    if args.steady_scores > 0 {
        rows.extend(steady::measure(args.steady_scores, args.seed, args.workers)?);
    }
    if args.pictures.is_some() || !args.stream.is_empty() {
        let package = ModelPackage::open(&find_model(&args.model)?)?;
        if let Some(pictures) = &args.pictures {
            rows.extend(drawn(args, &package, pictures)?);
        }
        for folder in &args.stream {
            let told = replayed(args, &package, folder);
            rows.push(Row::stream(folder, &told.with_context(|| folder.display().to_string())?));
        }
    }
    report::print(&rows, args.json)
}

/// Products that age, one kind of ageing after the other.
fn drawn(args: &DriftArgs, package: &ModelPackage, pictures: &Path) -> Result<Vec<Row>> {
    ensure!(args.products > 0 && args.over > 0, "--products and --over must be at least 1");
    let library = Library::open(pictures, progress::decoding())?;
    let side = package.card().input.width;
    let config = line_config(side, args.seed);
    let jobs = Ageing::ALL.len() * args.products;
    let bar = progress::bar(jobs as u64, "ageing");
    let count = args.k + args.before + args.over;
    let told = parallel::map(
        jobs,
        args.workers,
        || Ok(()),
        |(), job| {
            let (ageing, product) = (Ageing::ALL[job / args.products], job % args.products);
            let parts = good_parts(&library, &config, PRODUCTS_FIRST + product as u64, count)?;
            let (prompts, parts) = parts.split_at(args.k);
            let aged = parts.iter().enumerate().map(|(index, part)| {
                let since = index.saturating_sub(args.before) as f32;
                ageing.apply(part, since / args.over as f32)
            });
            let told = judge(package, prompts, aged)?;
            bar.inc(1);
            Ok(told)
        },
    );
    bar.finish_and_clear();
    let told = told?;
    let rows = Ageing::ALL.iter().zip(told.chunks(args.products));
    Ok(rows.map(|(ageing, told)| Row::ageing(*ageing, told, args.before, args.over)).collect())
}

/// Real pictures, in the order of their names.
fn replayed(args: &DriftArgs, package: &ModelPackage, folder: &Path) -> Result<Told> {
    let files = pictures_below(folder, 0)?;
    ensure!(
        files.len() > args.k,
        "{} pictures, of which {} are taught: none is left to look at",
        files.len(),
        args.k
    );
    let bar = progress::bar(files.len() as u64, "stream");
    let open = |file: &PathBuf| {
        bar.inc(1);
        Ok(Picture::open(file)?)
    };
    let (prompts, parts) = files.split_at(args.k);
    let prompts = prompts.iter().map(open).collect::<Result<Vec<Picture>>>()?;
    let told = judge(package, &prompts, parts.iter().map(open));
    bar.finish_and_clear();
    told
}

/// Teaches and judges until the first warning.
fn judge(
    package: &ModelPackage,
    prompts: &[Picture],
    parts: impl Iterator<Item = Result<Picture>>,
) -> Result<Told> {
    let model = OnePrompt::load(package, EngineKind::Tract, 1)?;
    let mut inspector = Inspector::new(model, prompts, Settings::default())?;
    let mut told = Told { warning: None, parts: 0, rejected: 0 };
    for part in parts {
        let found = inspector.inspect(&part?);
        told.parts += 1;
        told.rejected += usize::from(!found.decision.is_pass());
        if let Some(warning) = found.drift {
            told.warning = Some((told.parts, warning));
            break;
        }
    }
    Ok(told)
}
