//! `touchstone run`: a line, from its configuration.

mod archive;
mod results;
mod screen;
mod sticks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use log::{info, warn};
use signal_hook::consts::{SIGINT, SIGTERM};
use touchstone_board::Wired;
use touchstone_board::devices::Devices;
use touchstone_board::watchdog::{self, Feeder};

use crate::cli::RunArgs;
use crate::exit::{Done, Ended, Failure};
use crate::inspection::Judge;
use crate::line::Counters;
use crate::real_line::{self, ClockTrigger, Setup, Source};
use crate::recipes::{self, Bench};
use crate::session;
use crate::settings;
use crate::station::Ending;
use crate::terminal::Lines;
use crate::virtual_line::VirtualLine;
use archive::Archive;
use results::Results;
use screen::Screen;
use sticks::Sticks;

/// Runs the command.
///
/// # Errors
/// A configuration, board file, recipe or folder that will not do (use); a
/// device or the model that fails (hardware). The outputs are at rest then.
pub fn run(args: &RunArgs) -> Ended {
    let config = settings::open(&args.config)?;
    let prompts = session::open_recipe(&config.recipe)?.prompts;
    let archive = config.output.as_ref().map(|o| Archive::open(o, &prompts)).transpose()?;
    let (board, every, folder) = (config.board.clone(), config.every, config.recipe.clone());
    let (mut judge, active) = Bench::open(config)?;
    if args.check {
        // Devices last: opening them moves outputs.
        drop(Devices::open_wired(&board).map_err(Failure::hardware)?);
        Lines::default().line(&format!(
            "{}: configuration, board '{}', recipe '{}' and model '{}' are sound",
            args.config.display(),
            board.name,
            active.names.recipe.as_deref().unwrap_or(&active.recipe),
            active.names.model
        ))?;
        return Ok(Done::Fine);
    }
    let stop = Arc::new(AtomicBool::new(false));
    watch_signals(&stop)?;
    let (mut devices, mut wired) = Devices::open_wired(&board).map_err(Failure::hardware)?;
    // From here on, whatever panics, nothing is left driven.
    wired.fail_safe.on_panic();
    for warning in &devices.warnings {
        warn!("{warning}; the line runs without it");
    }
    wired.exchange.set_recipes(recipes::beside(&folder));
    let line = active.line;
    let inputs = wired.inputs.take();
    let requests = requests_of(&mut wired);
    let screen = board.display.as_ref().and_then(|d| Screen::start(d, &board.name));
    let sticks = Sticks::watch(&board.storage);
    let mut observer = Results::new(wired, archive, screen, active);
    let parts_max = args.parts.unwrap_or(u64::MAX);
    let ending = match devices.simulated.take() {
        Some(sim) => {
            // In virtual time nobody outside can say when: commands are refused.
            drop(requests);
            let judge: &mut dyn Judge = &mut judge;
            VirtualLine::new(sim, line, judge, parts_max).run(&mut observer, &stop)?
        }
        None => {
            let source = match (&board.trigger, every) {
                (Some(_), _) => Source::Inputs,
                (None, Some(every)) => Source::Trigger(Box::new(ClockTrigger::new(every))),
                (None, None) => Source::EveryFrame,
            };
            // Last of all: it bites from here on.
            let dogs = watchdog::open(&board.watchdog).map_err(Failure::hardware)?;
            dogs.iter().for_each(|dog| info!("watchdog: {}", dog.describe()));
            let setup = Setup {
                camera: devices.camera,
                outputs: devices.outputs,
                source,
                inputs,
                requests: Some(requests),
                feeder: Feeder::new(dogs),
            };
            real_line::run(setup, line, Box::new(judge), &mut observer, parts_max, &stop)?
        }
    };
    drop(sticks);
    observer.close();
    say_goodbye(&ending, stop.load(Ordering::Relaxed));
    Ok(Done::Fine)
}

/// Takes the line's end of the commands out of `wired`, which goes on to carry
/// results.
fn requests_of(wired: &mut Wired) -> std::sync::mpsc::Receiver<touchstone_board::command::Request> {
    let (_, nobody) = sync_channel(0);
    std::mem::replace(&mut wired.requests, nobody)
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

fn say_goodbye(ending: &Ending, stopped: bool) {
    let counters: &Counters = &ending.counters;
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

#[cfg(test)]
mod tests;
