//! From categories to sets to one mean, per variant.

use super::dataset::Category;
use super::figures::{Figures, PooledBoxes, mean, pool_boxes};
use super::metrics::{BoxSweep, MetricError};
use super::runner::Measured;
use super::variant::Variant;

/// One category under one variant.
#[derive(Clone, Debug)]
pub struct CategoryRow {
    /// Set.
    pub set: String,
    /// Category.
    pub category: String,
    /// Clean and defective test pictures.
    pub pictures: (usize, usize),
    /// Score above which a picture counts as rejected, fixed on held-out good pictures.
    pub threshold: Option<f32>,
    /// The figures.
    pub figures: Figures,
}

/// One set under one variant.
#[derive(Clone, Debug)]
pub struct SetRow {
    /// Set.
    pub set: String,
    /// Number of categories.
    pub categories: usize,
    /// Plain mean over the categories.
    pub figures: Figures,
    /// Box figures with one threshold for the whole set.
    pub pooled_boxes: Option<PooledBoxes>,
}

/// All rows of one variant.
#[derive(Clone, Debug)]
pub struct VariantRows {
    /// Variant.
    pub variant: String,
    /// Categories, in order.
    pub categories: Vec<CategoryRow>,
    /// Sets, in order.
    pub sets: Vec<SetRow>,
    /// Plain mean over the sets.
    pub mean: Figures,
}

/// Summarises a run.
///
/// # Errors
/// A set with box annotations of which none is on a picture that was looked at.
pub fn summarise(
    categories: &[Category],
    measured: &[Measured],
    variants: &[Variant],
    resamples: usize,
) -> Result<Vec<VariantRows>, MetricError> {
    variants
        .iter()
        .enumerate()
        .map(|(v, variant)| rows(categories, measured, v, &variant.name, resamples))
        .collect()
}

fn rows(
    categories: &[Category],
    measured: &[Measured],
    v: usize,
    variant: &str,
    resamples: usize,
) -> Result<VariantRows, MetricError> {
    let mut out = VariantRows {
        variant: variant.into(),
        categories: Vec::new(),
        sets: Vec::new(),
        mean: Figures::new(),
    };
    for one in measured {
        let category = &categories[one.category];
        let clean = category.clean();
        out.categories.push(CategoryRow {
            set: category.set.clone(),
            category: category.name.clone(),
            pictures: (clean, category.samples.len() - clean),
            threshold: one.variants[v].threshold,
            figures: one.variants[v].figures.clone(),
        });
    }
    let mut sets: Vec<&str> = categories.iter().map(|c| c.set.as_str()).collect();
    sets.dedup();
    for set in sets {
        let of_set: Vec<&Measured> =
            measured.iter().filter(|m| categories[m.category].set == set).collect();
        let figures: Vec<&Figures> = of_set.iter().map(|m| &m.variants[v].figures).collect();
        let sweeps: Vec<&BoxSweep> = of_set.iter().flat_map(|m| &m.variants[v].sweeps).collect();
        out.sets.push(SetRow {
            set: set.into(),
            categories: of_set.len(),
            figures: mean(&figures),
            pooled_boxes: pool_boxes(set, &sweeps, resamples)?,
        });
    }
    let figures: Vec<&Figures> = out.sets.iter().map(|s| &s.figures).collect();
    out.mean = mean(&figures);
    Ok(out)
}
