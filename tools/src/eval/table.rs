//! Figures for the terminal, in percent, with 95 % intervals.

use std::fmt::Write;

use super::figures::{Figures, Metric};
use super::metrics::Estimate;
use super::metrics::boxes::FALSE_REGIONS_STRICT;
use super::summary::VariantRows;

/// Figures shown per set when several variants are compared.
const COMPARED: [Metric; 4] =
    [Metric::PixelAp, Metric::Pro, Metric::BoxesHit, Metric::PictureAuroc];

/// Everything about one variant: a line per category, per set, and the mean over sets.
pub fn variant(rows: &VariantRows, k: usize) -> String {
    let metrics: Vec<Metric> = Metric::ALL
        .into_iter()
        .filter(|m| rows.categories.iter().any(|c| c.figures.contains_key(m)))
        .collect();
    let mut grid = Grid::default();
    let headings = metrics.iter().map(|m| m.names().1.to_owned());
    grid.row([format!("{}, k = {k}", rows.variant), "clean+bad".into()], headings);
    grid.rule();
    for set in &rows.sets {
        for row in rows.categories.iter().filter(|r| r.set == set.set) {
            let (clean, bad) = row.pictures;
            grid.row(
                [format!("{}/{}", row.set, row.category), format!("{clean}+{bad}")],
                cells(&row.figures, &metrics),
            );
        }
        if set.categories > 1 {
            let label = format!("{}, mean of {}", set.set, set.categories);
            grid.row([label, String::new()], cells(&set.figures, &metrics));
        }
        grid.rule();
    }
    if rows.sets.len() > 1 {
        let label = format!("mean of {} sets", rows.sets.len());
        grid.row([label, String::new()], cells(&rows.mean, &metrics));
    }
    let mut text = grid.text();
    for set in &rows.sets {
        if let Some(boxes) = &set.pooled_boxes {
            let types = boxes
                .by_type
                .iter()
                .map(|(kind, (count, share))| format!("{kind} {:.1} of {count}", 100.0 * share));
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{}: boxes hit with one threshold for the set {}, at {FALSE_REGIONS_STRICT} false \
                 regions {}; by type: {}",
                set.set,
                cell(&boxes.hit),
                cell(&boxes.hit_strict),
                types.collect::<Vec<_>>().join(", ")
            );
        }
    }
    text
}

/// One line per variant, the main figures of each set in columns.
pub fn comparison(all: &[VariantRows]) -> String {
    let Some(first) = all.first() else {
        return String::new();
    };
    let mut columns: Vec<(usize, Metric)> = Vec::new();
    for (index, set) in first.sets.iter().enumerate() {
        let there = COMPARED.into_iter().filter(|m| set.figures.contains_key(m));
        columns.extend(there.map(|m| (index, m)));
    }
    let mut grid = Grid::default();
    let sets = columns.iter().map(|&(set, _)| first.sets[set].set.clone());
    grid.row(["variant".into(), String::new()], sets);
    let headings = columns.iter().map(|(_, m)| m.names().1.to_owned());
    grid.row([String::new(), String::new()], headings);
    grid.rule();
    for rows in all {
        let values = columns.iter().map(|&(set, metric)| {
            rows.sets[set]
                .figures
                .get(&metric)
                .map_or_else(String::new, |e| format!("{:.1}", 100.0 * e.value))
        });
        grid.row([rows.variant.clone(), String::new()], values);
    }
    grid.text()
}

fn cells(figures: &Figures, metrics: &[Metric]) -> Vec<String> {
    metrics.iter().map(|m| figures.get(m).map_or_else(String::new, cell)).collect()
}

/// `65.2 (60-70)`.
fn cell(estimate: &Estimate) -> String {
    let value = 100.0 * estimate.value;
    match estimate.interval() {
        Some((low, high)) => format!("{value:.1} ({:.0}-{:.0})", 100.0 * low, 100.0 * high),
        None => format!("{value:.1}"),
    }
}

/// Lines of cells, aligned when printed: the first to the left, the others to the right.
#[derive(Default)]
struct Grid {
    lines: Vec<Option<Vec<String>>>,
}

impl Grid {
    fn row(&mut self, first: [String; 2], others: impl IntoIterator<Item = String>) {
        let line = first.into_iter().chain(others).collect();
        self.lines.push(Some(line));
    }

    fn rule(&mut self) {
        if !matches!(self.lines.last(), Some(None)) {
            self.lines.push(None);
        }
    }

    fn text(&self) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for line in self.lines.iter().flatten() {
            for (i, cell) in line.iter().enumerate() {
                let width = cell.chars().count();
                match widths.get_mut(i) {
                    Some(widest) => *widest = width.max(*widest),
                    None => widths.push(width),
                }
            }
        }
        // A column without content takes no room either.
        let used: Vec<usize> = (0..widths.len()).filter(|&i| widths[i] > 0).collect();
        let total: usize = used.iter().map(|&i| widths[i] + 2).sum();
        let mut text = String::new();
        for line in &self.lines {
            let Some(line) = line else {
                text.push_str(&"-".repeat(total.saturating_sub(2)));
                text.push('\n');
                continue;
            };
            let mut out = String::new();
            for &i in &used {
                let cell = line.get(i).map_or("", String::as_str);
                let width = widths[i];
                let _ = match i {
                    0 => write!(out, "{cell:<width$}  "),
                    _ => write!(out, "{cell:>width$}  "),
                };
            }
            text.push_str(out.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::summary::{CategoryRow, SetRow};
    use super::*;

    fn rows() -> VariantRows {
        let estimate = Estimate {
            value: 0.6521,
            replicates: (0..=100).map(|i| f64::from(i) / 100.0).collect(),
        };
        let figures = Figures::from([(Metric::PixelAp, estimate)]);
        let mut other = figures.clone();
        other.insert(Metric::Pro, Estimate::exact(1.0));
        let category = |name: &str, figures: &Figures| CategoryRow {
            set: "bench".into(),
            category: name.into(),
            pictures: (5, 6),
            threshold: None,
            figures: figures.clone(),
        };
        VariantRows {
            variant: "product".into(),
            categories: vec![category("cap", &figures), category("axle", &other)],
            sets: vec![SetRow {
                set: "bench".into(),
                categories: 2,
                figures: other,
                pooled_boxes: None,
            }],
            mean: figures,
        }
    }

    #[test]
    fn columns_line_up_and_absent_figures_stay_empty() {
        let text = variant(&rows(), 1);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("product, k = 1"), "{text}");
        assert!(lines[0].ends_with("PRO"));
        assert!(lines[2].contains("bench/cap") && lines[2].ends_with("65.2 (2-98)"), "{text}");
        assert!(lines[3].ends_with("65.2 (2-98)  100.0"), "{text}");
        assert!(lines[4].starts_with("bench, mean of 2"), "{text}");
        assert_eq!(lines[0].len(), lines[3].len(), "{text}");
    }

    #[test]
    fn variants_are_compared_in_one_table() {
        let text = comparison(&[rows(), rows()]);
        assert_eq!(text.matches("65.2").count(), 2, "{text}");
        assert_eq!(comparison(&[]), "");
    }
}
