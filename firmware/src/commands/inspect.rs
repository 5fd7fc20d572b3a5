//! `touchstone inspect`: judge picture files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use log::warn;
use touchstone_models::inspector::{Inspection, Inspector};
use touchstone_models::map::Map;
use touchstone_models::picture::{Picture, save_map16, save_rgb};
use touchstone_models::verdict::{Decision, Reason, VerdictRecord};

use crate::cli::InspectArgs;
use crate::exit::{Done, Ended, Failure};
use crate::inspection::{Names, file_record, judge_timed};
use crate::latency::Latency;
use crate::out_folder::OutFolder;
use crate::overlay::{Exhibit, side_by_side};
use crate::session;
use crate::terminal::{Lines, Progress};

/// Everything that judging a picture needs.
struct Desk<'a> {
    args: &'a InspectArgs,
    inspector: Inspector,
    /// Shown beside the part.
    prompt: Picture,
    names: Names,
    maps: Option<OutFolder>,
    overlays: Option<OutFolder>,
}

/// What came of all pictures together.
#[derive(Default)]
struct Tally {
    passed: u32,
    rejected: BTreeMap<&'static str, u32>,
    /// Of another shape than the taught part.
    misshapen: u32,
    unreadable: Vec<PathBuf>,
    latency: Latency,
}

/// Runs the command.
///
/// # Errors
/// See the exit statuses in the command's help.
pub fn run(args: &InspectArgs) -> Ended {
    if args.maps.is_some() || args.overlay.is_some() {
        distinct_stems(&args.images)?;
    }
    let prepare = |path: &Option<PathBuf>, what| {
        path.as_deref().map(|p| OutFolder::prepare(p, what)).transpose()
    };
    let maps = prepare(&args.maps, "--maps")?;
    let overlays = prepare(&args.overlay, "--overlay")?;

    let folders: Vec<&Path> = maps.iter().chain(&overlays).map(OutFolder::path).collect();
    keep_inputs(&folders, args.images.iter().chain(&args.prompt))?;

    let recipe = args.recipe.as_deref().map(session::open_recipe).transpose()?;
    let (prompts, mut settings) = match &recipe {
        Some(recipe) => (recipe.prompts.clone(), session::settings_of(recipe)),
        None => (session::open_pictures(&args.prompt)?, Default::default()),
    };
    if let Some(ppm) = args.false_reject_ppm {
        settings.false_reject_ppm = ppm;
    }
    if let Some(how) = args.registration {
        settings.registration = how;
    }
    let loaded = session::load_model(&args.model, recipe.as_ref())?;
    if let (Some(choice), Some(first)) = (args.tiles, prompts.first()) {
        settings.tiles = session::tiles(&loaded.model, choice, first, &settings);
    }
    let names = session::names_of(&loaded.package, recipe.as_ref());
    let ppm = settings.false_reject_ppm;
    let inspector = session::inspector(loaded.model, &prompts, settings)?;
    if inspector.needs_more(ppm).is_some() {
        warn!(
            "{} good part(s) are too few for {ppm} false rejects in a million: clear defects may \
             pass; give more good parts (--prompt), or allow more (--false-reject-ppm)",
            prompts.len()
        );
    }
    // `inspector` refuses an empty list, so there is a first prompt.
    let Some(prompt) = prompts.into_iter().next() else {
        return Err(Failure::Use("no prompt; give at least one good part".to_owned()));
    };
    let mut desk = Desk { args, inspector, prompt, names, maps, overlays };
    let tally = desk.all()?;
    finish(args, &tally)
}

impl Desk<'_> {
    fn all(&mut self) -> Result<Tally, Failure> {
        let mut lines = Lines::default();
        let mut progress = Progress::new(self.args.images.len() as u64, "inspect");
        let mut tally = Tally::default();
        let width = self.args.images.iter().map(|p| name_of(p).chars().count()).max().unwrap_or(0);
        for (number, path) in (0..).zip(&self.args.images) {
            match self.one(number, path, &mut tally)? {
                Some((record, decision)) if self.args.json => {
                    lines.line(&json_line(&record)?)?;
                    count(&mut tally, &decision);
                }
                Some((record, decision)) => {
                    lines.line(&table_row(&record, &decision, width))?;
                    count(&mut tally, &decision);
                }
                None => tally.unreadable.push(path.clone()),
            }
            progress.step();
        }
        Ok(tally)
    }

    /// Judges one picture; `None` if it cannot be read.
    fn one(
        &mut self,
        number: u32,
        path: &Path,
        tally: &mut Tally,
    ) -> Result<Option<(VerdictRecord, Decision)>, Failure> {
        let start = Instant::now();
        let picture = match Picture::open(path) {
            Ok(picture) => picture,
            Err(error) => {
                eprintln!("touchstone: {error}");
                return Ok(None);
            }
        };
        let capture_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (inspection, judge_us) = judge_timed(&mut self.inspector, &picture);
        tally.latency.add(judge_us);
        if matches!(inspection.decision, Decision::Reject(Reason::WrongSize)) {
            tally.misshapen += 1;
            let size = |p: &Picture| format!("{} x {}", p.width(), p.height());
            warn!(
                "{}: {}, but the taught part is {}; take all pictures with the same camera settings",
                path.display(),
                size(&picture),
                size(&self.prompt)
            );
        }
        if let Some(drift) = inspection.drift {
            warn!("{}: {drift}", path.display());
        }
        self.write_pictures(path, &picture, &inspection)?;
        let total_us = capture_us + judge_us;
        let mut record = file_record(number, &inspection, capture_us, total_us, &self.names);
        record.image = Some(path.display().to_string());
        Ok(Some((record, inspection.decision)))
    }

    fn write_pictures(
        &self,
        path: &Path,
        picture: &Picture,
        inspection: &Inspection,
    ) -> Result<(), Failure> {
        let name = format!("{}.png", stem_of(path));
        let (width, height) = (picture.width(), picture.height());
        if let Some(folder) = &self.maps {
            // What could not be judged is written as differing everywhere.
            let map = inspection.full_map(width, height).unwrap_or_else(worst_map);
            save_map16(&folder.file(&name), &map, width, height).map_err(Failure::usage)?;
        }
        if let Some(folder) = &self.overlays {
            let details = format!(
                "{}   score {:.2}   p {:.1e}",
                name_of(path),
                inspection.score,
                inspection.p_value
            );
            let shown = Exhibit {
                prompt: &self.prompt,
                query: picture,
                pass: inspection.decision.is_pass(),
                wrong: false,
                headline: &headline(&inspection.decision),
                details: &details,
                map: inspection.map.as_ref(),
                area: inspection.area,
                regions: &inspection.regions,
                truth: None,
            };
            if let Some(drawn) = side_by_side(&shown) {
                save_rgb(&folder.file(&name), &drawn).map_err(Failure::usage)?;
            }
        }
        Ok(())
    }
}

/// The reason in words; nothing for a pass. Without the p-value of the one
/// witness, which would stand beside that of all of them.
pub fn headline(decision: &Decision) -> String {
    match decision {
        Decision::Pass(_) => String::new(),
        Decision::Reject(reason) => {
            let words = reason.to_string();
            words.split(" (p =").next().unwrap_or(&words).to_owned()
        }
    }
}

/// A record as one line of JSON.
///
/// # Errors
/// None that is known of; a record is plain data.
pub fn json_line(record: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(record).map_err(Failure::hardware)
}

fn worst_map() -> Map {
    Map { width: 1, height: 1, values: vec![1.0] }
}

fn count(tally: &mut Tally, decision: &Decision) {
    match decision {
        Decision::Pass(_) => tally.passed += 1,
        Decision::Reject(reason) => *tally.rejected.entry(reason.name()).or_default() += 1,
    }
}

fn table_row(record: &VerdictRecord, decision: &Decision, width: usize) -> String {
    let verdict = if decision.is_pass() { "pass  " } else { "REJECT" };
    let image = record.image.as_deref().unwrap_or_default();
    let ms = record.latency_us.total as f64 / 1000.0;
    let mut row = format!(
        "{verdict}  {image:width$}  score {:.2}  p {:<8}  {ms:6.1} ms",
        record.score,
        format!("{:.1e}", record.p_value)
    );
    if !decision.is_pass() {
        row.push_str("  ");
        row.push_str(&headline(decision));
    }
    if let Some(r) = record.regions.first() {
        row.push_str(&format!(", worst at x {} y {}, {} x {} px", r.x, r.y, r.w, r.h));
    }
    row
}

fn finish(args: &InspectArgs, tally: &Tally) -> Ended {
    let rejected: u32 = tally.rejected.values().sum();
    if !args.json {
        let reasons: Vec<String> =
            tally.rejected.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        let mut summary = format!("{} pass, {rejected} rejected", tally.passed);
        if !reasons.is_empty() {
            summary.push_str(&format!(" ({})", reasons.join(", ")));
        }
        if tally.latency.count() > 0 {
            let ms = |us: u64| us as f64 / 1000.0;
            let (p50, p99) = (ms(tally.latency.p50_us()), ms(tally.latency.p99_us()));
            summary.push_str(&format!("; judged in {p50:.1} ms (p50), {p99:.1} ms (p99)"));
        }
        Lines::default().line(&summary)?;
    }
    if !tally.unreadable.is_empty() {
        let names: Vec<String> = tally.unreadable.iter().map(|p| p.display().to_string()).collect();
        return Err(Failure::Use(format!(
            "{} of {} pictures could not be read ({}); the reasons stand above",
            names.len(),
            args.images.len(),
            names.join(", ")
        )));
    }
    if tally.misshapen as usize == args.images.len() {
        let prompt = args.prompt.first().or(args.recipe.as_ref());
        let prompt = prompt.map_or_else(String::new, |p| p.display().to_string());
        return Err(Failure::Use(format!(
            "{prompt}: the taught part has another aspect ratio than every picture to judge; \
             teach it with the camera settings that the pictures were taken with"
        )));
    }
    Ok(if rejected > 0 { Done::SomeRejected } else { Done::Fine })
}

fn name_of(path: &Path) -> String {
    path.display().to_string()
}

fn stem_of(path: &Path) -> String {
    path.file_stem().unwrap_or(OsStr::new("picture")).to_string_lossy().into_owned()
}

/// Two pictures of one stem would overwrite each other's results.
fn distinct_stems(images: &[PathBuf]) -> Result<(), Failure> {
    let mut seen: BTreeMap<String, &Path> = BTreeMap::new();
    for path in images {
        if let Some(first) = seen.insert(stem_of(path), path) {
            return Err(Failure::Use(format!(
                "{} and {} would both be written as {}.png; inspect them in two calls with \
                 different folders",
                first.display(),
                path.display(),
                stem_of(path)
            )));
        }
    }
    Ok(())
}

/// A result must not be written over a picture that it was made from, nor a
/// map over an overlay.
fn keep_inputs<'a>(
    folders: &[&Path],
    inputs: impl Iterator<Item = &'a PathBuf>,
) -> Result<(), Failure> {
    let real = |p: &Path| p.canonicalize().unwrap_or_else(|_| p.to_owned());
    if let [maps, overlays] = folders
        && real(maps) == real(overlays)
    {
        return Err(Failure::Use(format!(
            "--maps and --overlay are both {}; give each a folder of its own",
            maps.display()
        )));
    }
    for input in inputs {
        for folder in folders {
            let target = folder.join(format!("{}.png", stem_of(input)));
            if real(&target) == real(input) {
                return Err(Failure::Use(format!(
                    "{} would be overwritten by its own result; choose another folder than {}",
                    input.display(),
                    folder.display()
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headline_has_no_second_p_value() {
        let reason = Reason::Change { p_value: 1e-9 };
        let words = headline(&Decision::Reject(reason));
        assert_eq!(words, "changed against the good part");
        assert!(reason.to_string().starts_with(&words), "the words are those of the reason");
        assert_eq!(headline(&Decision::Reject(Reason::Late)), Reason::Late.to_string());
    }

    #[test]
    fn pictures_that_would_overwrite_each_other_are_refused() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert!(distinct_stems(&paths(&["a/x.png", "a/y.png"])).is_ok());
        let error = distinct_stems(&paths(&["a/x.png", "b/x.jpg"])).unwrap_err().to_string();
        assert!(error.contains("a/x.png and b/x.jpg"), "{error}");
    }
}
