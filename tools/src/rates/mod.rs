//! `touchstone-tools rates`: does a false-reject rate hold that the camera promises?
//!
//! Many imaginary products that the calibration never saw, each taught with k good parts, then many further
//! good parts judged. What share of them has a p-value below a rate is what the rate really is.

mod figures;
mod plot;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use touchstone_models::engine::EngineKind;
use touchstone_models::inspector::{Expected, PROMPTS_MAX, Settings};
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::package::{ModelPackage, find_model};
use touchstone_models::recipe::Registration;

use crate::calibrate::{Kept, Scores, Series, good_parts, line_config, score, scored_by};
use crate::synth::Library;
use crate::{parallel, progress};
use figures::Row;

/// Number of the first product: far from those that calibration and training see.
const PRODUCTS_FIRST: u64 = 1 << 44;
/// Most products and parts of one run.
const COUNT_MAX: u64 = 1_000_000;

/// Measure stated false-reject rates on good parts of imaginary products
#[derive(Debug, Args)]
pub struct RatesArgs {
    /// Folder of pictures that the products are made of
    #[arg(long)]
    pub pictures: PathBuf,
    /// Model package: a name or a folder
    #[arg(long, default_value = "oneprompt-m")]
    pub model: String,
    /// Good parts taught; several numbers: a row each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 3, 5, 10])]
    pub k: Vec<usize>,
    /// Further good parts that are no prompts and tell what good parts score, for each k
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=COUNT_MAX))]
    pub further: u64,
    /// Products for each k
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(2..=COUNT_MAX))]
    pub products: u64,
    /// Good parts judged of each product
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    pub parts: u64,
    /// Turn and shift parts onto the first good part before they are judged: off, small, any or auto
    #[arg(long, value_name = "HOW", default_value = "off")]
    pub registration: Registration,
    /// Chooses the products
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Products looked at side by side, each with its own model
    #[arg(long, default_value_t = 2)]
    pub workers: usize,
    /// Append the scores of every product's parts to this file, and do not look again at what is in it: a long
    /// measurement can be stopped and gone on with, grows when --products does, and tells what other laws in the
    /// model card would have said
    #[arg(long, value_name = "FILE")]
    pub keep: Option<PathBuf>,
    /// Draw stated against measured rates into this SVG
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Print one JSON object per k instead of the table
    #[arg(long)]
    pub json: bool,
}

/// Measures and prints.
///
/// # Errors
/// A k that cannot be taught, pictures or a model that cannot be used, a plot that cannot be written.
pub fn run(args: &RatesArgs) -> Result<()> {
    ensure!(args.workers >= 1, "--workers must be at least 1");
    for k in &args.k {
        ensure!(
            (1..=PROMPTS_MAX).contains(k),
            "--k {k}: between 1 and {PROMPTS_MAX} good parts can be taught"
        );
    }
    let package = ModelPackage::open(&find_model(&args.model)?)?;
    let side = package.card().input.width;
    let library = Library::open(&args.pictures, progress::decoding())?;
    let config = line_config(side, args.seed);
    let kept = Kept::open(args.keep.as_deref())?;
    let laws = package.card().calibration.laws(args.registration);
    let model = scored_by(package.card(), args.registration, &library)?;
    let settings = Settings { registration: args.registration, ..Settings::default() };
    let mut rows = Vec::new();
    for &k in &args.k {
        let bar = progress::bar(args.products, &format!("k = {k}"));
        let begin = || Ok(Some(OnePrompt::load(&package, EngineKind::Tract, 1)?));
        let (further, parts, seed) = (args.further, args.parts, args.seed);
        let series = Series { model: model.clone(), k, further, parts, seed };
        let products =
            parallel::map(args.products as usize, args.workers, begin, |model, number| {
                let number = PRODUCTS_FIRST + number as u64;
                let scores = kept.or_judge(&series, number, || {
                    let count = k + (further + parts) as usize;
                    let good = good_parts(&library, &config, number, count)?;
                    let (left_out, mut further_parts) = score(model, &settings, good.split_at(k))?;
                    let parts = further_parts.split_off(further as usize);
                    Ok(Scores { left_out, further: further_parts, parts })
                })?;
                bar.inc(1);
                let expected = Expected::new(&laws, &scores.left_out, &scores.further)?;
                let p_value = |part| expected.report(part).p_value();
                Ok(scores.parts.iter().map(p_value).collect())
            });
        bar.finish_and_clear();
        rows.push(Row::new(k, &products?, args.seed));
    }
    let mut out = std::io::stdout().lock();
    match args.json {
        true => rows.iter().try_for_each(|row| {
            writeln!(out, "{}", serde_json::to_string(row)?).map_err(anyhow::Error::from)
        })?,
        false => write!(out, "{}", figures::table(&rows))?,
    }
    if let Some(path) = &args.plot {
        std::fs::write(path, plot::svg(&rows))
            .with_context(|| format!("--plot {}", path.display()))?;
    }
    Ok(())
}
