//! Which parts of a demo are worth a picture, and the pictures.
//!
//! Parts are drawn again from their number and judged again, instead of
//! keeping every frame and map of a run in memory; both give the same again.

use std::fs;

use touchstone_board::sim::SimulatedLine;
use touchstone_models::inspector::Inspector;
use touchstone_models::picture::{Picture, save_rgb};

use super::OVERLAYS;
use crate::commands::inspect::headline;
use crate::exit::Failure;
use crate::inspection::Judge;
use crate::out_folder::OutFolder;
use crate::overlay::{Exhibit, side_by_side};
use crate::report::{Fate, Gallery, PartResult, Shown};
use crate::terminal::Progress;

/// Pictures of wrong decisions, of each kind.
const WRONG_MAX: usize = 12;
/// Pictures of decisions that were close, of each kind.
const CLOSE_MAX: usize = 3;
/// Names of our overlays begin so.
const PREFIX: &str = "part-";

/// Makes the galleries.
pub(super) struct Curator<'a> {
    pub(super) sim: &'a SimulatedLine,
    pub(super) prompt: &'a Picture,
    pub(super) folder: &'a OutFolder,
}

struct Choice<'a> {
    title: &'static str,
    remark: &'static str,
    name: &'static str,
    parts: Vec<&'a PartResult>,
}

impl Curator<'_> {
    /// Chooses, draws and writes the pictures.
    pub(super) fn hang(
        &self,
        inspector: &mut Inspector,
        parts: &[PartResult],
    ) -> Result<Vec<Gallery>, Failure> {
        let folder = OutFolder::prepare(&self.folder.file(OVERLAYS), "overlays")?;
        self.clear(&folder);
        let choices = choose(parts);
        let count: usize = choices.iter().map(|c| c.parts.len()).sum();
        let mut progress = Progress::without_lines(count as u64, "overlays");
        let mut galleries = Vec::new();
        for choice in choices {
            let mut shown = Vec::new();
            for part in choice.parts {
                shown.extend(self.draw(inspector, part, choice.name, &folder)?);
                progress.step();
            }
            let (title, remark) = (choice.title.to_owned(), choice.remark.to_owned());
            galleries.push(Gallery { title, remark, shown });
        }
        Ok(galleries)
    }

    /// Takes the overlays of an earlier run away; only files named like ours.
    fn clear(&self, folder: &OutFolder) {
        let Ok(entries) = fs::read_dir(folder.path()) else {
            return;
        };
        for path in entries.flatten().map(|e| e.path()) {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if name.starts_with(PREFIX) && name.ends_with(".png") {
                // One that cannot be removed is merely not linked to any more.
                let _ = fs::remove_file(&path);
            }
        }
    }

    fn draw(
        &self,
        inspector: &mut Inspector,
        part: &PartResult,
        kind: &str,
        folder: &OutFolder,
    ) -> Result<Option<Shown>, Failure> {
        let rendered = self.sim.part(u64::from(part.part));
        let frame = rendered.frame;
        let query =
            Picture::from_rgb8(frame.width, frame.height, frame.rgb).map_err(Failure::hardware)?;
        let inspection = inspector.judge(&query);
        let really = part.defect.as_deref().unwrap_or("good");
        let did = if part.ejected { "ejected" } else { "passed" };
        let caption = format!(
            "part {}, {did}; really: {really}; score {:.2}, p = {:.1e}",
            part.part, part.score, part.p_value
        );
        // What became of it on the line, even if it was late and would pass now.
        let words = match part.reason.as_str() {
            "change" | "novel" | "wrong_part" | "ok" => headline(&inspection.decision),
            other => other.replace('_', " "),
        };
        let words = match part.fate() {
            Fate::Escaped => format!("(escape: {really})"),
            Fate::FalseReject => format!("(false reject) {words}"),
            Fate::Caught | Fate::GoodPassed => words,
        };
        let truth = part.defect.is_some().then_some(rendered.truth.mask.as_slice());
        let Some(drawn) = side_by_side(&Exhibit {
            prompt: self.prompt,
            query: &query,
            pass: !part.ejected,
            wrong: matches!(part.fate(), Fate::Escaped | Fate::FalseReject),
            headline: &words,
            details: &caption,
            map: inspection.map.as_ref(),
            area: inspection.area,
            regions: &inspection.regions,
            truth,
        }) else {
            return Ok(None);
        };
        let name = format!("{PREFIX}{:05}-{kind}.png", part.part);
        save_rgb(&folder.file(&name), &drawn).map_err(Failure::usage)?;
        let size = (drawn.width(), drawn.height());
        Ok(Some(Shown { file: format!("{OVERLAYS}/{name}"), size, caption }))
    }
}

/// The most telling parts: what went wrong, what was close, one of each kind
/// of defect.
fn choose(parts: &[PartResult]) -> Vec<Choice<'_>> {
    let of =
        |fate: Fate| -> Vec<&PartResult> { parts.iter().filter(|p| p.fate() == fate).collect() };
    let by_p = |mut chosen: Vec<&'_ PartResult>, rising: bool, max: usize| {
        chosen.sort_by(|a, b| a.p_value.total_cmp(&b.p_value));
        if !rising {
            chosen.reverse();
        }
        chosen.truncate(max);
        chosen.iter().map(|p| p.part).collect::<Vec<u32>>()
    };
    let pick = |numbers: Vec<u32>| -> Vec<&PartResult> {
        numbers.iter().filter_map(|n| parts.iter().find(|p| p.part == *n)).collect()
    };
    let escapes = pick(by_p(of(Fate::Escaped), false, WRONG_MAX));
    let false_rejects = pick(by_p(of(Fate::FalseReject), true, WRONG_MAX));
    let weak = by_p(of(Fate::Caught), false, CLOSE_MAX);
    let close = by_p(of(Fate::GoodPassed), true, CLOSE_MAX);
    let mut kinds: Vec<&str> = Vec::new();
    let mut examples = Vec::new();
    for part in of(Fate::Caught) {
        let kind = part.defect.as_deref().unwrap_or_default();
        if !kinds.contains(&kind) && !weak.contains(&part.part) {
            kinds.push(kind);
            examples.push(part);
        }
    }
    vec![
        Choice {
            title: "Escapes",
            remark: "Defective parts that were let through, the least suspicious first.",
            name: "escape",
            parts: escapes,
        },
        Choice {
            title: "False rejects",
            remark: "Good parts that were ejected, most suspicious first.",
            name: "false-reject",
            parts: false_rejects,
        },
        Choice {
            title: "One of each",
            remark: "The first ejected part of each kind of defect.",
            name: "caught",
            parts: examples,
        },
        Choice {
            title: "Just caught",
            remark: "Ejected defective parts with the weakest evidence.",
            name: "just-caught",
            parts: pick(weak),
        },
        Choice {
            title: "Just passed",
            remark: "Good parts that came closest to being ejected.",
            name: "just-passed",
            parts: pick(close),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::run_of;

    #[test]
    fn what_went_wrong_comes_first_and_no_part_is_chosen_twice() {
        let parts = run_of(100);
        let choices = choose(&parts);
        let numbers = |i: usize| choices[i].parts.iter().map(|p| p.part).collect::<Vec<_>>();
        assert_eq!(numbers(0), [14]);
        assert_eq!(numbers(1), [7]);
        assert_eq!(choices[2].parts.len(), 3, "three kinds of defect");
        let mut all: Vec<u32> = (0..choices.len()).flat_map(numbers).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        // The weakest evidence first.
        let weak: Vec<f64> = choices[3].parts.iter().map(|p| p.p_value).collect();
        assert!(weak.windows(2).all(|w| w[0] >= w[1]), "{weak:?}");
    }
}
