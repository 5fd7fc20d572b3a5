//! What a run leaves: a table, JSON lines, a page with the loss curves, the heads.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use serde_json::{Value, json};
use touchstone_models::html::escape;

use super::judge::{Figure, Figures};
use super::methods::{Method, Scorer};
use super::moments::Standard;
use crate::eval::metrics::Estimate;
use crate::train::report::{CSS, curve};
use crate::train::run_folder::RunFolder;

/// Figures as JSON lines; written last, so a folder with it holds a finished run.
pub const FIGURES: &str = "figures.jsonl";
/// The page.
const PAGE: &str = "report.html";
/// All trained parameters.
const HEADS: &str = "heads.safetensors";

/// A method's figures on the test episodes.
#[derive(Debug, Clone, Serialize)]
pub struct MethodRow {
    /// The method.
    pub name: String,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// A method's figures on a real category.
#[derive(Debug, Clone)]
pub struct RealRow {
    /// `set/category`.
    pub category: String,
    /// The method.
    pub method: String,
    /// Area under the ROC curve.
    pub auroc: Estimate,
    /// Average precision.
    pub ap: Estimate,
}

/// Everything that a run found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The command line.
    pub command: String,
    /// What the features were made of.
    pub origin: String,
    /// Training, validation and test products.
    pub products: [usize; 3],
    /// Test episodes, one per product.
    pub episodes: usize,
    /// Queries in them.
    pub queries: usize,
    /// Good parts taught.
    pub shots: usize,
    /// On the test episodes; the first row is what the others are compared with.
    pub rows: Vec<MethodRow>,
    /// On real pictures.
    pub real: Vec<RealRow>,
    /// Loss curves of the trainings.
    pub curves: Vec<(String, Vec<curve::Point>)>,
}

impl Report {
    /// The table for people.
    pub fn table(&self) -> String {
        let percent = |f: &Figure| {
            let (low, high) = f.interval;
            format!("{:5.1} ({:5.1}..{:5.1})", 100.0 * f.value, 100.0 * low, 100.0 * high)
        };
        let mut out = format!(
            "{} products held out, {} good parts taught each, {} parts judged; 95 % intervals over \
             products\n\n{:<48} {:<22} {:<22} {:<22} gain in AUROC (* clear)\n",
            self.episodes,
            self.shots,
            self.queries,
            "method",
            "AUROC",
            "average precision",
            "AUROC, one threshold"
        );
        for (number, row) in self.rows.iter().enumerate() {
            let Figures { auroc, ap, pooled, gain } = &row.figures;
            let gain = match number {
                0 => "reference".to_owned(),
                _ => format!("{}{}", percent(gain), if gain.is_clear() { " *" } else { "" }),
            };
            let cells = [percent(auroc), percent(ap), percent(pooled)];
            let [a, b, c] = &cells;
            let _ = writeln!(out, "{:<48} {a:<22} {b:<22} {c:<22} {gain}", row.name);
        }
        if !self.real.is_empty() {
            self.real_table(&mut out);
        }
        out
    }

    fn real_table(&self, out: &mut String) {
        let cell = |e: &Estimate| {
            let (low, high) = e.interval().unwrap_or((e.value, e.value));
            format!("{:5.1} ({:5.1}..{:5.1})", 100.0 * e.value, 100.0 * low, 100.0 * high)
        };
        let _ = write!(
            out,
            "\nreal pictures, {} taught; 95 % intervals over pictures\n{:<28} {:<48} {:<22} average precision\n",
            self.shots, "category", "method", "AUROC"
        );
        for row in &self.real {
            let (a, b) = (cell(&row.auroc), cell(&row.ap));
            let _ = writeln!(out, "{:<28} {:<48} {a:<22} {b}", row.category, row.method);
        }
        for (name, auroc, ap) in self.real_means() {
            let (a, b) = (cell(&auroc), cell(&ap));
            let _ = writeln!(out, "{:<28} {name:<48} {a:<22} {b}", "mean over sets");
        }
    }

    /// Per method the mean over the categories of a set, then over sets.
    fn real_means(&self) -> Vec<(String, Estimate, Estimate)> {
        let set = |row: &RealRow| row.category.split('/').next().unwrap_or_default().to_owned();
        let mut sets: Vec<String> = self.real.iter().map(set).collect();
        sets.dedup();
        let mean = |name: &str, of: &dyn Fn(&RealRow) -> Estimate| -> Option<Estimate> {
            let each = sets.iter().filter_map(|s| {
                let rows = self.real.iter().filter(|r| r.method == name && set(r) == *s);
                let all: Vec<Estimate> = rows.map(of).collect();
                Estimate::mean(&all.iter().collect::<Vec<_>>())
            });
            let each: Vec<Estimate> = each.collect();
            Estimate::mean(&each.iter().collect::<Vec<_>>())
        };
        self.rows
            .iter()
            .filter_map(|row| {
                let auroc = mean(&row.name, &|r| r.auroc.clone())?;
                let ap = mean(&row.name, &|r| r.ap.clone())?;
                Some((row.name.clone(), auroc, ap))
            })
            .collect()
    }

    /// One JSON object per line: `row` is `run`, `method`, `real`, `real-mean` or `curve`.
    ///
    /// # Errors
    /// Figures that JSON cannot hold.
    pub fn json_lines(&self) -> Result<Vec<String>> {
        let [train, validation, test] = self.products;
        let mut lines = vec![json!({
            "row": "run", "command": self.command, "features": self.origin,
            "products": { "train": train, "validation": validation, "test": test },
            "episodes": self.episodes, "queries": self.queries, "shots": self.shots,
        })];
        for row in &self.rows {
            let mut line = serde_json::to_value(row)?;
            line["row"] = "method".into();
            lines.push(line);
        }
        let figure =
            |e: &Estimate| -> Value { json!({ "value": e.value, "interval": e.interval() }) };
        for row in &self.real {
            lines.push(json!({
                "row": "real", "category": row.category, "name": row.method,
                "auroc": figure(&row.auroc), "ap": figure(&row.ap),
            }));
        }
        for (name, auroc, ap) in self.real_means() {
            lines.push(json!({
                "row": "real-mean", "name": name, "auroc": figure(&auroc), "ap": figure(&ap),
            }));
        }
        for (name, history) in &self.curves {
            lines.push(json!({ "row": "curve", "name": name, "points": history }));
        }
        lines.iter().map(|l| Ok(serde_json::to_string(l)?)).collect()
    }

    fn page(&self) -> String {
        let mut html = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>train proto</title><style>{CSS}pre{{overflow-x:auto;font:13px ui-monospace,\
             SFMono-Regular,Menlo,monospace}}</style></head><body><main><h1>train proto</h1>\
             <p class=\"soft\"><code>{}</code></p><p class=\"soft\">Features: {}</p>\
             <div class=\"card\"><pre>{}</pre></div>",
            escape(&self.command),
            escape(&self.origin),
            escape(&self.table())
        );
        for (name, history) in &self.curves {
            let _ = write!(
                html,
                "<h2>{}</h2><div class=\"card\">{}</div>",
                escape(name),
                curve::svg(history)
            );
        }
        html.push_str("</main></body></html>\n");
        html
    }
}

/// Writes page and figures.
///
/// # Errors
/// A folder that cannot be written.
pub fn write(folder: &RunFolder, report: &Report) -> Result<()> {
    let mut lines = report.json_lines()?.join("\n");
    lines.push('\n');
    let save = |name: &str, text: &str| {
        folder.write(name, |p| fs::write(p, text).with_context(|| p.display().to_string()))
    };
    save(PAGE, &report.page())?;
    save(FIGURES, &lines)
}

/// Writes the shared parameters of every learner (f64, flat, in the order of the learner's
/// documentation) and the standard that features are brought to first.
///
/// # Errors
/// A folder that cannot be written.
pub fn save_heads(folder: &RunFolder, methods: &[Method], standard: &Standard) -> Result<()> {
    let bytes = |v: &[f64]| v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let mut tensors: Vec<(String, usize, Vec<u8>)> = vec![
        ("standard.mean".into(), standard.mean.len(), bytes(&standard.mean)),
        ("standard.scale".into(), standard.scale.len(), bytes(&standard.scale)),
    ];
    let mut about = HashMap::new();
    for method in methods {
        if let Scorer::Learned { learner, parameters, inner } = &method.scorer {
            let shape = learner.shape;
            about.insert(
                method.name.clone(),
                format!(
                    "{:?}, {} inputs, {} outputs, {} inner steps of {}",
                    learner.kind, shape.inputs, shape.outputs, inner.steps, inner.rate
                ),
            );
            tensors.push((method.name.clone(), parameters.len(), bytes(parameters)));
        }
    }
    let views = tensors
        .iter()
        .map(|(name, count, data)| Ok((name, TensorView::new(Dtype::F64, vec![*count], data)?)))
        .collect::<Result<Vec<_>>>()?;
    let file = safetensors::serialize(views, Some(about)).context("the heads make no file")?;
    folder.write(HEADS, |p| fs::write(p, &file).with_context(|| p.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let figure = |value: f64| Figure { value, interval: (value - 0.1, value + 0.05) };
        let row = |name: &str, value: f64, gain: f64| MethodRow {
            name: name.into(),
            figures: Figures {
                auroc: figure(value),
                ap: figure(value),
                pooled: figure(value),
                gain: figure(gain),
            },
        };
        let real = |category: &str, value| RealRow {
            category: category.into(),
            method: "b".into(),
            auroc: Estimate { value, replicates: vec![value; 4] },
            ap: Estimate::exact(value),
        };
        Report {
            command: "touchstone-tools <x>".into(),
            origin: "here".into(),
            products: [4, 2, 2],
            episodes: 2,
            queries: 40,
            shots: 5,
            rows: vec![row("a", 0.7, 0.0), row("b", 0.9, 0.2)],
            real: vec![real("s/one", 0.5), real("s/two", 0.7), real("t/one", 1.0)],
            curves: vec![("b".into(), vec![(10, 1.0, Some(0.9)), (20, 0.8, Some(0.85))])],
        }
    }

    #[test]
    fn the_table_says_which_gain_is_clear() {
        let table = report().table();
        assert!(table.contains("reference") && table.contains("20.0 ( 10.0.. 25.0) *"), "{table}");
        // Mean over the categories of a set first: (60 + 100) / 2.
        let means = report().real_means();
        assert!((means[0].1.value - 0.8).abs() < 1e-12);
    }

    #[test]
    fn every_line_is_an_object_and_the_page_is_escaped() {
        for line in report().json_lines().expect("lines") {
            let value: Value = serde_json::from_str(&line).expect("json");
            assert!(value["row"].is_string(), "{line}");
        }
        let page = report().page();
        assert!(page.contains("&lt;x&gt;") && page.contains("<svg"));
    }
}
