//! `touchstone run`: a line, from its configuration.

mod archive;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{info, warn};
use signal_hook::consts::{SIGINT, SIGTERM};
use touchstone_board::devices::Devices;
use touchstone_board::serial::ResultPort;

use crate::cli::RunArgs;
use crate::commands::inspect::json_line;
use crate::exit::{Done, Ended, Failure};
use crate::inspection::{Names, line_record};
use crate::line::Counters;
use crate::real_line::{self, ClockTrigger, Source};
use crate::session;
use crate::settings;
use crate::station::{Observer, Published};
use crate::terminal::Lines;
use crate::virtual_line::VirtualLine;
use archive::Archive;

/// Runs the command.
///
/// # Errors
/// A configuration, board file, recipe or folder that will not do (use); a
/// device or the model that fails (hardware). The outputs are at rest then.
pub fn run(args: &RunArgs) -> Ended {
    let config = settings::open(&args.config)?;
    let recipe = session::open_recipe(&config.recipe)?;
    let line = config.line(&recipe.card.line)?;
    let archive = config.output.as_ref().map(|o| Archive::open(o, &recipe.prompts)).transpose()?;
    let loaded = session::load_model(&config.model, Some(&recipe))?;
    let names = session::names_of(&loaded.package, Some(&recipe));
    let settings = session::settings_of(&recipe);
    let mut inspector = session::inspector(loaded.model, &recipe.prompts, settings)?;
    if args.check {
        // Devices last: opening them moves outputs.
        drop(Devices::open(&config.board).map_err(Failure::hardware)?);
        Lines::default().line(&format!(
            "{}: configuration, board '{}', recipe '{}' and model '{}' are sound",
            args.config.display(),
            config.board.name,
            recipe.card.name,
            names.model
        ))?;
        return Ok(Done::Fine);
    }
    let stop = Arc::new(AtomicBool::new(false));
    watch_signals(&stop)?;
    let mut devices = Devices::open(&config.board).map_err(Failure::hardware)?;
    for warning in &devices.warnings {
        warn!("{warning}; the line runs without it");
    }
    let results = std::mem::take(&mut devices.results);
    let mut observer = Results { lines: Lines::default(), ports: results, archive, names: &names };
    let parts_max = args.parts.unwrap_or(u64::MAX);
    let ending = match devices.simulated.take() {
        Some(sim) => {
            VirtualLine::new(sim, line, &mut inspector, parts_max).run(&mut observer, &stop)?
        }
        None => {
            let source = match (devices.trigger.take(), config.every) {
                (Some(trigger), _) => Source::Trigger(trigger),
                (None, Some(every)) => Source::Trigger(Box::new(ClockTrigger::new(every))),
                (None, None) => Source::EveryFrame,
            };
            let judge = Box::new(inspector);
            real_line::run(devices, source, line, judge, &mut observer, parts_max, &stop)?
        }
    };
    observer.close();
    say_goodbye(&ending.counters, stop.load(Ordering::Relaxed));
    Ok(Done::Fine)
}

/// Lets SIGINT and SIGTERM set `stop`.
///
/// # Errors
/// The system refuses to register them.
pub fn watch_signals(stop: &Arc<AtomicBool>) -> Result<(), Failure> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(stop))
            .map_err(|e| Failure::Hardware(format!("cannot watch for signal {signal}: {e}")))?;
    }
    Ok(())
}

fn say_goodbye(counters: &Counters, stopped: bool) {
    info!(
        "{}: {} parts, {} passed, {} rejected ({} by the verdict, {} late, {} without a frame, {} \
         overloaded), {} trigger bounces, {} pulses missed",
        if stopped { "stopped" } else { "done" },
        counters.parts,
        counters.passed,
        counters.rejected,
        counters.rejected_judged,
        counters.rejected_late,
        counters.rejected_no_frame + counters.rejected_stale_frame,
        counters.rejected_overload,
        counters.bounces,
        counters.pulses_missed
    );
}

/// Sends every result to whoever wants it.
struct Results<'a> {
    lines: Lines,
    ports: Vec<ResultPort>,
    archive: Option<Archive>,
    names: &'a Names,
}

impl Observer for Results<'_> {
    fn published(&mut self, part: &Published<'_>) -> Result<(), Failure> {
        let record = line_record(part.part, part.outcome, part.slot, part.total_us, self.names);
        let json = json_line(&record)?;
        for port in &mut self.ports {
            // A slow port drops and counts; the line goes on.
            port.send(&format!("{} {} {}", record.part, record.verdict, record.reason));
        }
        if let Some(archive) = &mut self.archive {
            archive.add(part, &record, &json);
        }
        self.lines.line(&json)
    }
}

impl Results<'_> {
    fn close(self) {
        for port in &self.ports {
            let counts = port.counts();
            if counts.dropped + counts.failed > 0 {
                warn!("serial: {} results dropped, {} failed", counts.dropped, counts.failed);
            }
        }
        if let Some(archive) = self.archive {
            archive.close();
        }
    }
}
