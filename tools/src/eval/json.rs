//! Figures as JSON, one object per line: `row` is `category`, `set`, `mean` or `picture`.

use serde_json::{Map, Value, json};

use super::dataset::Category;
use super::figures::Figures;
use super::metrics::Estimate;
use super::runner::Measured;
use super::summary::VariantRows;

/// Lines of the figures of one run.
pub fn figures(all: &[VariantRows], k: usize) -> Vec<Value> {
    let mut lines = Vec::new();
    for rows in all {
        let variant = &rows.variant;
        for row in &rows.categories {
            lines.push(json!({
                "row": "category", "set": row.set, "category": row.category, "variant": variant,
                "k": k, "clean": row.pictures.0, "defective": row.pictures.1,
                "threshold": row.threshold, "figures": values(&row.figures),
            }));
        }
        for set in &rows.sets {
            let mut line = json!({
                "row": "set", "set": set.set, "variant": variant, "k": k,
                "categories": set.categories, "figures": values(&set.figures),
            });
            if let Some(boxes) = &set.pooled_boxes {
                let types: Map<String, Value> = boxes
                    .by_type
                    .iter()
                    .map(|(kind, (count, hit))| {
                        (kind.clone(), json!({ "boxes": count, "hit": hit }))
                    })
                    .collect();
                line["boxes_hit_pooled"] = value(&boxes.hit);
                line["boxes_hit_pooled_strict"] = value(&boxes.hit_strict);
                line["boxes_hit_by_type"] = Value::Object(types);
            }
            lines.push(line);
        }
        lines.push(json!({
            "row": "mean", "variant": variant, "k": k, "sets": rows.sets.len(),
            "figures": values(&rows.mean),
        }));
    }
    lines
}

/// Lines of the single pictures.
pub fn pictures(
    categories: &[Category],
    measured: &[Measured],
    variants: &[&str],
    k: usize,
) -> Vec<Value> {
    let mut lines = Vec::new();
    for one in measured {
        let category = &categories[one.category];
        for (sample, tallies) in category.samples.iter().zip(&one.pictures) {
            for (tally, variant) in tallies.iter().zip(variants) {
                lines.push(json!({
                    "row": "picture", "set": category.set, "category": category.name,
                    "kind": sample.kind, "picture": sample.picture, "variant": variant, "k": k,
                    "defective": sample.defective, "score": tally.score, "reject": tally.reject,
                }));
            }
        }
    }
    lines
}

fn values(figures: &Figures) -> Value {
    let entries =
        figures.iter().map(|(metric, estimate)| (metric.names().0.to_owned(), value(estimate)));
    Value::Object(entries.collect())
}

fn value(estimate: &Estimate) -> Value {
    match estimate.interval() {
        Some((low, high)) => json!({ "value": estimate.value, "low": low, "high": high }),
        None => json!({ "value": estimate.value }),
    }
}
