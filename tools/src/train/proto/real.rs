//! The methods on real pictures in the MVTec AD layout: the first K enrolment pictures are taught.

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::picture::Picture;

use super::compute::pooled;
use super::episode::Episode;
use super::features::ProductFeatures;
use super::judge::Scored;
use super::moments::Standard;
use crate::eval::dataset::{Category, discover};
use crate::eval::metrics::{Estimate, Resampler, auroc, average_precision};
use crate::progress;

/// Resamples of an interval.
const RESAMPLES: usize = 1000;

/// A category's features, raw.
#[derive(Debug, Clone)]
pub struct RealCategory {
    /// `set/category`.
    pub name: String,
    /// The taught parts.
    pub support: Vec<Vec<f32>>,
    /// Good and defective test pictures.
    pub queries: ProductFeatures,
}

impl RealCategory {
    /// As an episode.
    pub fn episode(&self, standard: &Standard) -> Episode {
        let all = |rows: &[Vec<f32>]| rows.iter().map(|r| standard.apply(r)).collect::<Vec<_>>();
        let mut queries = all(&self.queries.good);
        let mut defective = vec![false; queries.len()];
        queries.extend(all(&self.queries.defective));
        defective.resize(queries.len(), true);
        Episode { product: 0, support: all(&self.support), queries, defective }
    }
}

/// AUROC and average precision of one category, with 95 % intervals over its pictures.
///
/// # Errors
/// Scores that are no numbers.
pub fn estimates(name: &str, scored: &Scored) -> Result<[Estimate; 2]> {
    let mut resampler = Resampler::new(name, &scored.defective);
    let mut estimates = [
        Estimate::exact(auroc(&scored.scores, &scored.defective)?),
        Estimate::exact(average_precision(&scored.scores, &scored.defective)?),
    ];
    let mut draw = Vec::new();
    for _ in 0..RESAMPLES {
        resampler.draw(&mut draw);
        let scores: Vec<f32> = draw.iter().map(|i| scored.scores[*i]).collect();
        let labels: Vec<bool> = draw.iter().map(|i| scored.defective[*i]).collect();
        estimates[0].replicates.push(auroc(&scores, &labels)?);
        estimates[1].replicates.push(average_precision(&scores, &labels)?);
    }
    Ok(estimates)
}

/// Encodes the categories below `root` that have `shots` enrolment pictures and enough clean test
/// pictures for picture metrics; says on stderr which were left out.
///
/// # Errors
/// A folder or picture that cannot be read; no category left.
pub fn read(root: &Path, shots: usize, model: &mut OnePrompt) -> Result<Vec<RealCategory>> {
    let all = discover(root, &[]).map_err(|e| anyhow!("--eval: {e}"))?;
    let fits = |c: &&Category| c.has_picture_metrics() && !c.is_paired() && c.train.len() >= shots;
    let chosen: Vec<&Category> = all.iter().filter(fits).collect();
    ensure!(
        !chosen.is_empty(),
        "--eval {}: no category has {shots} enrolment pictures and enough clean test pictures",
        root.display()
    );
    let left_out: Vec<String> =
        all.iter().filter(|c| !fits(c)).map(crate::eval::dataset::Category::label).collect();
    if !left_out.is_empty() {
        eprintln!(
            "--eval: left out for fewer than {shots} enrolment or too few clean test pictures: {}",
            left_out.join(", ")
        );
    }
    let bar = progress::bar(
        chosen.iter().map(|c| shots + c.samples.len()).sum::<usize>() as u64,
        "real pictures",
    );
    let mut encode = |path: &Path| -> Result<Vec<f32>> {
        let picture = Picture::open(path).map_err(|e| anyhow!("{e}"))?;
        bar.inc(1);
        pooled(model, &picture).with_context(|| path.display().to_string())
    };
    let mut categories = Vec::new();
    for category in chosen {
        let support =
            category.train[..shots].iter().map(|p| encode(p)).collect::<Result<Vec<_>>>()?;
        let base = category.label();
        let mut queries = ProductFeatures { base, good: Vec::new(), defective: Vec::new() };
        for sample in &category.samples {
            let features = encode(&sample.picture)?;
            let list = if sample.defective { &mut queries.defective } else { &mut queries.good };
            list.push(features);
        }
        categories.push(RealCategory { name: category.label(), support, queries });
    }
    bar.finish_and_clear();
    Ok(categories)
}
