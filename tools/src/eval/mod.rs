//! `touchstone-tools eval`: measures a detector on pictures with known defects.
//!
//! One pass over every picture gives the maps of all witnesses; any number of *variants* (formulas
//! over these maps) are then measured side by side. What is measured, and how, is in
//! [`metrics`] and [`figures`]; the rules are
//! - fixed constants only: nothing is fitted to a category or a test label, nothing is flipped;
//! - prompts are the first `k` names of `train/good`, or the picture's own where it has one;
//! - pixel figures pool the pixels of a category, picture figures need five clean pictures, and
//!   categories, then sets, are averaged plainly;
//! - a broken score (NaN, infinity, outside 0..1) fails the run.

mod args;
pub mod dataset;
pub mod detector;
mod dump;
pub mod expression;
pub mod figures;
mod filter;
mod json;
pub mod metrics;
pub mod observation;
pub mod plan;
pub mod runner;
mod sheet;
pub mod summary;
mod table;
pub mod tally;
#[cfg(test)]
mod tests;
pub mod variant;

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;
use touchstone_models::files;

pub use args::{DetectorKind, EvalArgs};
use dataset::Category;
use plan::Plan;
use runner::{Measured, Setup, Source};
use summary::{VariantRows, summarise};
use variant::Variant;

use crate::progress;

/// Runs `touchstone-tools eval`.
///
/// # Errors
/// A data folder, model or formula that cannot be used, a failure of the detector, an output that
/// cannot be written; each names what, where and what to do. Outputs are complete or absent.
pub fn run(args: &EvalArgs) -> anyhow::Result<()> {
    let mut categories = dataset::discover(&args.root, &args.sets)?;
    if let Some(limit) = args.limit {
        categories.iter_mut().for_each(|c| c.limit(limit));
    }
    // Before the first hour of work, not after it.
    for folder in [&args.sheet, &args.maps, &args.dump].into_iter().flatten() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let make = || detector::make(args);
    let variants = variants(args);
    let mut lines = Vec::new();
    for &k in &args.k {
        let enough = enough_prompts(&categories, k);
        let plan = Plan::new(&enough, k, args.further);
        let setup = setup(args, &make, &variants, k);
        let bar = progress::bar(plan.tasks.len() as u64, "eval");
        let measured = runner::run(&plan, &setup, &bar);
        bar.finish_and_clear();
        let measured = measured?;
        let rows = summarise(&enough, &measured, &variants, args.bootstrap)?;
        print(args, &rows, k)?;
        if let Some(folder) = &args.sheet {
            write_sheets(folder, &enough, &measured, k)?;
        }
        lines.extend(json::figures(&rows, k));
        if args.pictures {
            let names: Vec<&str> = variants.iter().map(|v| v.name.as_str()).collect();
            lines.extend(json::pictures(&enough, &measured, &names, k));
        }
    }
    write_json(args, &lines)
}

/// Categories that have `k` enrolment pictures; the others are named on stderr.
fn enough_prompts(categories: &[Category], k: usize) -> Vec<Category> {
    let (enough, short): (Vec<Category>, Vec<Category>) =
        categories.iter().cloned().partition(|c| c.is_paired() || c.train.len() >= k);
    if !short.is_empty() {
        let names: Vec<String> = short.iter().map(Category::label).collect();
        eprintln!("k = {k}: left out, fewer good pictures: {}", names.join(", "));
    }
    enough
}

/// The variants asked for, or every map of the detector, its main one first.
fn variants(args: &EvalArgs) -> Vec<Variant> {
    match args.variants.is_empty() {
        true => detector::maps(args.detector).iter().map(|name| Variant::plain(name)).collect(),
        false => args.variants.clone(),
    }
}

fn setup<'a>(
    args: &'a EvalArgs,
    make: &'a runner::Factory<'a>,
    variants: &'a [Variant],
    k: usize,
) -> Setup<'a> {
    // Several k in one run would write the same files.
    let of_k = |folder: &Path| match args.k.len() {
        1 => folder.to_path_buf(),
        _ => folder.join(format!("k{k}")),
    };
    Setup {
        source: match &args.from_dump {
            Some(folder) => Source::Dump(folder),
            None => Source::Detector(make),
        },
        variants,
        workers: args.workers,
        resamples: args.bootstrap,
        maps: args.maps.as_deref().map(of_k),
        dump: args.dump.clone(),
        thumbs: args.sheet.is_some(),
    }
}

fn print(args: &EvalArgs, all: &[VariantRows], k: usize) -> anyhow::Result<()> {
    let mut text = String::new();
    let shown = if args.all { all.len() } else { all.len().min(1) };
    for rows in &all[..shown] {
        text += &table::variant(rows, k);
        text.push('\n');
    }
    if all.len() > 1 {
        text += &table::comparison(all);
    }
    // JSON on stdout is for programs; the table then goes where people look.
    match args.json_on_stdout() {
        true => std::io::stderr().write_all(text.as_bytes())?,
        false => std::io::stdout().write_all(text.as_bytes())?,
    }
    Ok(())
}

fn write_sheets(
    folder: &Path,
    categories: &[Category],
    measured: &[Measured],
    k: usize,
) -> anyhow::Result<()> {
    for one in measured {
        let category = &categories[one.category];
        let file = folder.join(format!("{}_{}_k{k}.png", category.set, category.name));
        let main: Vec<&tally::Tally> = one.pictures.iter().map(|p| &p[0]).collect();
        sheet::write(&file, category, &main)?;
    }
    Ok(())
}

fn write_json(args: &EvalArgs, lines: &[Value]) -> anyhow::Result<()> {
    let Some(target) = &args.json else {
        return Ok(());
    };
    let mut text = String::new();
    for line in lines {
        text += &line.to_string();
        text.push('\n');
    }
    if args.json_on_stdout() {
        std::io::stdout().write_all(text.as_bytes())?;
        return Ok(());
    }
    files::write_atomic(target, text.as_bytes()).with_context(|| target.display().to_string())
}
