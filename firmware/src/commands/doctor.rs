//! `touchstone doctor`: what works on this machine, what does not, and what to
//! do about it. Changes nothing: no output is driven, no file is written.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use touchstone_board::camera::files::FileCamera;
use touchstone_board::camera::v4l2::{self, V4l2Camera};
use touchstone_board::check as board;
use touchstone_board::config::{Board, CameraConfig, DisplayConfig, DisplayKind};
use touchstone_board::sim::SimulatedLine;
use touchstone_board::{Camera, Timestamp, gpio, serial};
use touchstone_models::engine::tract::operators;
use touchstone_models::engine::{EngineError, EngineKind};
use touchstone_models::golden::{Golden, GoldenError};
use touchstone_models::oneprompt::{ModelError, OnePrompt};
use touchstone_models::package::{ModelPackage, find_model};
use touchstone_models::picture::Picture;

use crate::cli::{DoctorArgs, ModelArgs};
use crate::exit::{Done, Ended, Failure};
use crate::inspection::judge_timed;
use crate::session;
use crate::settings::{self, RunConfig};
use crate::terminal::Lines;

const FRAME_TIMEOUT: Duration = Duration::from_secs(3);

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// Works.
    Ok,
    /// Not there, and not needed.
    None,
    /// Works, and is not as it should be.
    Warning,
    /// Needed, and does not work.
    Broken,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    state: State,
    found: String,
    /// Empty where nothing is to be done, or where `found` says it.
    #[serde(skip_serializing_if = "String::is_empty")]
    what_to_do: String,
}

impl Finding {
    fn new(what: &str, state: State, found: String) -> Self {
        Self { what: what.to_owned(), state, found, what_to_do: String::new() }
    }
}

impl From<board::Finding> for Finding {
    fn from(entry: board::Finding) -> Self {
        let state = match entry.state {
            board::State::Ok => State::Ok,
            board::State::Warning => State::Warning,
            board::State::Wrong => State::Broken,
        };
        let board::Finding { entry: what, found, what_to_do, .. } = entry;
        Self { what, state, found, what_to_do }
    }
}

/// Runs the command.
///
/// # Errors
/// Only where the findings cannot be written; what does not work is a finding.
pub fn run(args: &DoctorArgs) -> Ended {
    let mut findings = Vec::new();
    let config = match &args.config {
        Some(path) => configuration(path, &mut findings),
        None => {
            machine(&mut findings);
            None
        }
    };
    if let Some(config) = &config {
        devices(&config.board, &mut findings);
    }
    let model = match &config {
        Some(config) if args.model.model.is_none() => &config.model,
        Some(_) | None => &args.model,
    };
    if args.config.is_none() || config.is_some() {
        brain(model, config.as_ref(), &mut findings);
    }
    tell(args, &findings)
}

fn note(findings: &mut Vec<Finding>, what: &str, result: Result<String, String>) {
    let (state, found) = match result {
        Ok(found) => (State::Ok, found),
        Err(found) => (State::Broken, found),
    };
    findings.push(Finding::new(what, state, found));
}

fn configuration(path: &Path, findings: &mut Vec<Finding>) -> Option<RunConfig> {
    match settings::open(path) {
        Ok(config) => {
            let found = format!("{}, board '{}'", path.display(), config.board.name);
            note(findings, "configuration", Ok(found));
            Some(config)
        }
        Err(error) => {
            note(findings, "configuration", Err(error.to_string()));
            None
        }
    }
}

/// What is plugged in, whoever needs it.
fn machine(findings: &mut Vec<Finding>) {
    let cameras = v4l2::cameras();
    let listed =
        cameras.iter().map(|c| format!("{} ({}, bus {})", c.path.display(), c.name, c.bus));
    list(
        findings,
        "camera",
        listed.collect(),
        "plug one in, or use a board file with kind = \"files\"",
    );
    let chips = gpio::chips().iter().map(|c| c.display().to_string()).collect();
    list(findings, "gpio", chips, "none is needed for inspect and demo; a trigger needs one");
    list(findings, "serial", serial::ports(), "none is needed; a PLC may listen on one");
}

fn list(findings: &mut Vec<Finding>, what: &str, here: Vec<String>, otherwise: &str) {
    if here.is_empty() {
        let found = format!("none here; {otherwise}");
        findings.push(Finding::new(what, State::None, found));
    } else {
        note(findings, what, Ok(here.join(", ")));
    }
}

/// What the board file needs, entry by entry. Lines are looked for, not taken:
/// taking an output would move it.
fn devices(board: &Board, findings: &mut Vec<Finding>) {
    let entries = touchstone_board::check(board);
    // One that is not there is no news a second time.
    let there = entries.iter().all(|e| e.entry != "[camera]" || e.state != board::State::Wrong);
    findings.extend(entries.into_iter().map(Finding::from));
    if there {
        note(findings, "camera", camera(&board.camera));
    }
    let simulated = matches!(board.camera, CameraConfig::Simulated(_));
    if board.outputs.is_empty() && !simulated {
        let found = "the board file wires no output, so nothing is ever rejected".to_owned();
        findings.push(Finding::new("gpio", State::None, found));
    }
    findings.extend(board.display.as_ref().map(display));
    findings.extend(board.watchdog.device.as_deref().map(dog));
}

/// Whether the screen is there; nothing is drawn.
fn display(config: &DisplayConfig) -> Finding {
    let path = config.path.as_path();
    // A picture is written anew each time; its folder has to be there.
    let needed = match config.kind {
        DisplayKind::Png => path.parent().filter(|folder| !folder.as_os_str().is_empty()),
        DisplayKind::Framebuffer | DisplayKind::Drm => Some(path),
    };
    let what_to_do = "correct [display] path, or remove [display]";
    there("[display]", path, needed.is_none_or(Path::exists), what_to_do)
}

/// Whether the watchdog is there. Opening it would start it.
fn dog(path: &Path) -> Finding {
    let what_to_do = "load its driver (modprobe softdog for a try), or correct [watchdog] device";
    there("[watchdog]", path, path.exists(), what_to_do)
}

fn there(what: &str, path: &Path, there: bool, otherwise: &str) -> Finding {
    let shown = path.display();
    match there {
        true => Finding::new(what, State::Ok, format!("{shown} is there")),
        false => Finding {
            what_to_do: otherwise.to_owned(),
            ..Finding::new(what, State::Broken, format!("{shown}: not there"))
        },
    }
}

/// Takes one picture.
fn camera(config: &CameraConfig) -> Result<String, String> {
    let mut camera: Box<dyn Camera> = match config {
        CameraConfig::V4l2(c) => Box::new(V4l2Camera::open(c).map_err(|e| e.to_string())?),
        CameraConfig::Files(c) => {
            Box::new(FileCamera::open(&c.path, c.rate, c.repeat).map_err(|e| e.to_string())?)
        }
        CameraConfig::Simulated(c) => {
            let line = SimulatedLine::new(c.clone()).map_err(|e| e.to_string())?;
            return Ok(line.describe());
        }
    };
    let frame = camera.next_frame(Timestamp::now_monotonic(), FRAME_TIMEOUT);
    let frame = frame.map_err(|e| format!("{}: {e}", camera.describe()))?;
    Ok(format!("{}, gave {} x {}", camera.describe(), frame.width, frame.height))
}

/// Model and recipe: found, sound, and able to judge.
fn brain(args: &ModelArgs, config: Option<&RunConfig>, findings: &mut Vec<Finding>) {
    let recipe = match config.map(|c| session::open_recipe(&c.recipe)) {
        Some(Ok(recipe)) => {
            let card = &recipe.card;
            let found = format!(
                "'{}' version {}, {} good parts",
                card.name,
                card.version,
                recipe.prompts.len()
            );
            note(findings, "recipe", Ok(found));
            Some(recipe)
        }
        Some(Err(error)) => {
            note(findings, "recipe", Err(error.to_string()));
            None
        }
        None => None,
    };
    note(findings, "model", judge_one(args, recipe.as_ref()).map_err(|e| e.to_string()));
    findings.push(Finding::new("operators", State::Ok, operators()));
    engines(args, findings);
}

/// Every engine: whether this build and this machine have it, and whether it gives the model's golden map.
/// One that nobody asked for may be missing.
fn engines(args: &ModelArgs, findings: &mut Vec<Finding>) {
    let package = find_model(args.name(None)).and_then(|dir| ModelPackage::open(&dir)).ok();
    let wanted: Vec<&str> = args.engine.split(',').map(str::trim).collect();
    for kind in EngineKind::ALL {
        let what = format!("engine {kind}");
        let must = wanted == [kind.name()];
        let (state, found) = match kind.engine(1) {
            Err(error) => (if must { State::Broken } else { State::None }, error.to_string()),
            Ok(_) => match package.as_ref().map(|package| golden(package, kind)) {
                None => (State::Ok, "is there".to_owned()),
                Some(Ok(found)) => (State::Ok, found),
                Some(Err(GoldenError::Model(ModelError::Engine(
                    error @ EngineError::Format { .. },
                )))) => {
                    (if must { State::Broken } else { State::None }, format!("is there; {error}"))
                }
                Some(Err(error)) => (State::Broken, error.to_string()),
            },
        };
        findings.push(Finding::new(&what, state, found));
    }
}

/// Runs the golden pair.
fn golden(package: &ModelPackage, kind: EngineKind) -> Result<String, GoldenError> {
    let mut model = OnePrompt::load(package, kind, 1)?;
    let Some(golden) = Golden::open(package)? else {
        return Ok(format!("loads {}, which has no golden pair", package.id()));
    };
    let off = golden.difference(&mut model)?;
    let precision = package.card().precision;
    let found = format!("{} in {precision}, off its golden map by {off:.1e} at most", package.id());
    Ok(found)
}

fn judge_one(
    args: &ModelArgs,
    recipe: Option<&touchstone_models::recipe::Recipe>,
) -> Result<String, Failure> {
    let loaded = session::load_model(args, recipe)?;
    let hash = loaded.package.hash().get(..12).unwrap_or_default().to_owned();
    let name = format!("{} {hash}", loaded.package.id());
    let (prompts, settings) = match recipe {
        Some(recipe) => (recipe.prompts.clone(), session::settings_of(recipe)),
        None => {
            let (w, h) = loaded.model.input_size();
            let rgb = (0..3 * w * h).map(|i| (i % 251) as u8).collect();
            (vec![Picture::from_rgb8(w, h, rgb).map_err(Failure::hardware)?], Default::default())
        }
    };
    let mut inspector = session::inspector(loaded.model, &prompts, settings)?;
    // Once to fill caches, once to be timed.
    judge_timed(&mut inspector, &prompts[0]);
    let (inspection, us) = judge_timed(&mut inspector, &prompts[0]);
    if inspection.map.is_none() {
        return Err(Failure::Hardware(format!("{name}: cannot judge: {}", inspection.decision)));
    }
    if recipe.is_some() && !inspection.decision.is_pass() {
        return Err(Failure::Hardware(format!(
            "{name}: rejects the recipe's own first good part ({}); teach the recipe again",
            inspection.decision
        )));
    }
    Ok(format!("{name}, judges a picture in {:.1} ms", us as f64 / 1000.0))
}

fn tell(args: &DoctorArgs, findings: &[Finding]) -> Ended {
    let mut lines = Lines::default();
    for finding in findings {
        let line = if args.json {
            json!(finding).to_string()
        } else {
            let state = match finding.state {
                State::Ok => "ok    ",
                State::None => "-     ",
                State::Warning => "check ",
                State::Broken => "BROKEN",
            };
            let Finding { what, found, what_to_do, .. } = finding;
            let remedy = if what_to_do.is_empty() { "" } else { "; " };
            format!("{state}  {what:<19} {found}{remedy}{what_to_do}")
        };
        lines.line(&line)?;
    }
    let broken = findings.iter().filter(|f| f.state == State::Broken).count();
    if broken == 0 {
        return Ok(Done::Fine);
    }
    if !args.json {
        lines.line(&format!(
            "{broken} of {} do not work; the reasons stand above",
            findings.len()
        ))?;
    }
    Ok(Done::SomethingBroken)
}
