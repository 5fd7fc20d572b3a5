//! `touchstone-tools train prior`: learn, measure, write.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use serde::Serialize;
use touchstone_models::files::write_atomic;
use touchstone_models::package::DEFAULT_MODEL;
use touchstone_models::picture::Picture;

use super::{Candidate, learn};
use crate::eval::dataset::discover;
use crate::progress;
use crate::synth::Library;
use crate::train::proto::closed::ClosedForm;
use crate::train::proto::compute::{self, Wanted};
use crate::train::proto::episode::{Counts, Episode, one_each};
use crate::train::proto::features::{FeatureSet, ProductFeatures};
use crate::train::proto::judge::{Figure, Scored, figures};
use crate::train::proto::moments::Standard;
use crate::train::proto::real::{self, RealCategory};

/// Seed of the test episodes.
const TEST_SEED: u64 = 0x5052_494f;
/// Fewest good parts that make a folder of real ones a product.
const REAL_PARTS_MIN: usize = 2;

/// `touchstone-tools train prior`
#[derive(Debug, Clone, Args)]
pub struct PriorArgs {
    /// Folder of pictures (a flat folder, or images/ objects/ textures/) that products are made of.
    #[arg(long, required_unless_present = "features")]
    pub pictures: Option<PathBuf>,
    /// Features of `train proto` or `federated features` instead of pictures.
    #[arg(long, conflicts_with = "pictures")]
    pub features: Option<PathBuf>,
    /// Real good parts to learn from as well: categories in the MVTec AD layout, their `train/good`.
    #[arg(long, value_name = "ROOT")]
    pub good: Option<PathBuf>,
    /// Model package whose embeddings the prior is of: a name or a folder.
    #[arg(long, default_value = DEFAULT_MODEL)]
    pub model: String,
    /// File of the prior, JSON, for `export --prior`.
    #[arg(long)]
    pub out: PathBuf,
    /// Products learned from; half as many for the test, a quarter to choose by.
    #[arg(long, default_value_t = 240)]
    pub products: usize,
    /// Good parts taught where the prior is tried.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub shots: u8,
    /// Seed of the products.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Also try it on real pictures in the MVTec AD layout.
    #[arg(long, value_name = "ROOT")]
    pub eval: Option<PathBuf>,
    /// Figures as JSON lines on stdout instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// One shape's prior, measured.
#[derive(Debug, Clone, Serialize)]
struct Row {
    shape: String,
    kappa0: f64,
    nu0: f64,
    /// Log evidence per good part of products learned from, nats.
    evidence: f64,
    /// Log evidence per good part of other products, nats.
    held_out: f64,
    /// Image AUROC on generated defects.
    auroc: Figure,
    /// Of it over the isotropic prior that is worth one part, on the same parts.
    gain: Figure,
    /// Image AUROC on real categories.
    real: Vec<(String, f64)>,
}

/// Learns, measures and writes the prior.
///
/// # Errors
/// Pictures, features or a model that cannot be used; a file that cannot be written.
pub fn run(args: &PriorArgs) -> Result<()> {
    let mut set = features(args)?;
    let shots = usize::from(args.shots);
    if let Some(root) = &args.good {
        set.train.extend(real_products(root, &args.model, set.inputs)?);
    }
    let found = learn(set.inputs, &set.train, &set.validation)?;
    let identity = Standard::identity(set.inputs);
    let test = one_each(&set.test, Counts::measuring(shots), &identity, TEST_SEED)?;
    let real = match &args.eval {
        Some(root) => real::read(root, shots, &mut compute::open(&args.model)?)?,
        None => Vec::new(),
    };
    let reference = scored(&ClosedForm::isotropic(set.inputs, &set.train)?, &test)?;
    let rows = found
        .iter()
        .map(|candidate| row(candidate, &test, &reference, &real, &identity))
        .collect::<Result<Vec<Row>>>()?;
    let best = found.first().context("no prior was learned")?;
    let text = serde_json::to_string_pretty(&best.prior)?;
    write_atomic(&args.out, text.as_bytes()).with_context(|| args.out.display().to_string())?;
    match args.json {
        true => {
            for row in &rows {
                println!("{}", serde_json::to_string(row)?);
            }
        }
        false => {
            print_table(&rows);
            println!(
                "\n{}: learned from {} products, chosen by {} others; give it to `export --prior`",
                args.out.display(),
                set.train.len(),
                set.validation.len()
            );
        }
    }
    Ok(())
}

fn features(args: &PriorArgs) -> Result<FeatureSet> {
    if let Some(path) = &args.features {
        return FeatureSet::read(path);
    }
    let pictures = args.pictures.as_ref().context("--pictures or --features is needed")?;
    let wanted = Wanted { model: &args.model, products: args.products, seed: args.seed };
    let origin = wanted.origin(&pictures.display().to_string())?;
    compute::compute(Library::open(pictures, progress::decoding())?, &wanted, origin)
}

/// The enrolment pictures of each category as a product without defects.
fn real_products(
    root: &std::path::Path,
    model: &str,
    inputs: usize,
) -> Result<Vec<ProductFeatures>> {
    let categories = discover(root, &[]).map_err(|e| anyhow!("--good: {e}"))?;
    let usable: Vec<_> = categories.iter().filter(|c| c.train.len() >= REAL_PARTS_MIN).collect();
    ensure!(
        !usable.is_empty(),
        "--good {}: no category has {REAL_PARTS_MIN} pictures in train/good",
        root.display()
    );
    let mut model = compute::open(model)?;
    let bar = progress::bar(usable.iter().map(|c| c.train.len() as u64).sum(), "real good parts");
    let mut products = Vec::new();
    for category in usable {
        let mut good = Vec::new();
        for path in &category.train {
            let picture = Picture::open(path).map_err(|e| anyhow!("{e}"))?;
            good.push(compute::pooled(&mut model, &picture)?);
            bar.inc(1);
        }
        let length = good.first().map_or(0, Vec::len);
        ensure!(
            length == inputs,
            "--model gives {length} features, those of the run have {inputs}"
        );
        products.push(ProductFeatures { base: category.label(), good, defective: Vec::new() });
    }
    bar.finish_and_clear();
    Ok(products)
}

fn scored(form: &ClosedForm, episodes: &[Episode]) -> Result<Vec<Scored>> {
    let one = |e: &Episode| Ok(Scored::of(e, &form.scores(&e.support, &e.queries)?));
    episodes.iter().map(one).collect()
}

fn row(
    candidate: &Candidate,
    test: &[Episode],
    reference: &[Scored],
    real: &[RealCategory],
    identity: &Standard,
) -> Result<Row> {
    let form = ClosedForm::LowRank(candidate.prior.prior().map_err(|e| anyhow!("{e}"))?);
    let figures = figures(&scored(&form, test)?, reference)?;
    let mut on_real = Vec::new();
    for category in real {
        let scored = scored(&form, &[category.episode(identity)])?;
        let scored = scored.first().context("a category without scores")?;
        on_real.push((category.name.clone(), real::estimates(&category.name, scored)?[0].value));
    }
    Ok(Row {
        shape: candidate.shape.to_string(),
        kappa0: candidate.prior.kappa0,
        nu0: candidate.prior.nu0,
        evidence: candidate.learned,
        held_out: candidate.held_out,
        auroc: figures.auroc,
        gain: figures.gain,
        real: on_real,
    })
}

fn print_table(rows: &[Row]) {
    println!(
        "{:<26}{:>10}{:>10}{:>12}{:>12}{:>22}{:>22}",
        "Lambda0", "kappa0", "nu0", "evidence", "held out", "AUROC, generated", "gain"
    );
    let percent = |f: &Figure| {
        let Figure { value, interval: (low, high) } = f;
        format!("{:.1} ({:.1}..{:.1})", 100.0 * value, 100.0 * low, 100.0 * high)
    };
    for row in rows {
        println!(
            "{:<26}{:>10.2e}{:>10.0}{:>12.2}{:>12.2}{:>22}{:>22}",
            row.shape,
            row.kappa0,
            row.nu0,
            row.evidence,
            row.held_out,
            percent(&row.auroc),
            percent(&row.gain)
        );
        if !row.real.is_empty() {
            let real: Vec<String> =
                row.real.iter().map(|(name, v)| format!("{name} {:.1}", 100.0 * v)).collect();
            println!("    real, image AUROC: {}", real.join(", "));
        }
    }
    println!("evidence: nats per good part, of the products learned from and of others");
}
