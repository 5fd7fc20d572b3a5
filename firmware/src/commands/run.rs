//! `touchstone run`: a line, from its configuration.

mod archive;
mod notices;
mod results;
mod screen;
mod sticks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};

use log::{info, warn};
use signal_hook::consts::{SIGINT, SIGTERM};
use touchstone_board::Wired;
use touchstone_board::config::Board;
use touchstone_board::devices::Devices;
use touchstone_board::drives::Drives;
use touchstone_board::watchdog::{self, Feeder};

use crate::cli::RunArgs;
use crate::exit::{Done, Ended, Failure};
use crate::inspection::Judge;
use crate::intake::Gate;
use crate::intake::medium::Mounted;
use crate::intake::porter::Porter;
use crate::lamp::Lamp;
use crate::line::Counters;
use crate::real_line::{self, ClockTrigger, Setup, Source};
use crate::recipes::{self, Bench};
use crate::settings::{self, StoreConfig};
use crate::station::Ending;
use crate::terminal::Lines;
use crate::virtual_line::VirtualLine;
use archive::Archive;
use notices::Notices;
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
    let archive = config.output.as_ref().map(Archive::open).transpose()?;
    let (board, every, folder) = (config.board.clone(), config.every, config.recipe.clone());
    let judged_at_once = config.parts_at_once;
    let recipes = config.recipes.clone();
    let (mut judge, active) = Bench::open(config)?;
    if args.check {
        // Devices last: opening them moves outputs.
        drop(Devices::open_wired(&board).map_err(Failure::hardware)?);
        Lines::default().line(&format!(
            "{}: configuration, board '{}', recipe '{}' and model '{}' are sound",
            args.config.display(),
            board.name,
            active.names.recipe.as_deref().unwrap_or("(none yet)"),
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
    let listed = match judge.store() {
        Some((store, _)) => recipes::stored(&store.state().map_err(Failure::usage)?),
        None => recipes::beside(&folder),
    };
    wired.exchange.set_recipes(listed);
    let line = active.line;
    let inputs = wired.inputs.take();
    let requests = requests_of(&mut wired);
    let screen = board.display.as_ref().and_then(|d| Screen::start(d, &board.name));
    let lamp = Lamp::default();
    let (mut sticks, mut porter) = (None, None);
    match (&recipes, judge.store()) {
        (Some(recipes), Some((store, delivery))) => {
            let herald = Notices {
                speakers: wired.results.iter().map(|port| port.speaker()).collect(),
                screen: screen.as_ref().map(Screen::notice),
                lamp: lamp.clone(),
            };
            let gate = Gate { store, keys: recipes.keys.clone(), family: board.family.clone() };
            porter = Porting::start(recipes, &board, &wired, gate, delivery, herald);
        }
        _ => sticks = Sticks::watch(&board.storage),
    }
    let teach_from = recipes.as_ref().map_or_else(Vec::new, |r| r.teach_from.clone());
    let mut observer = Results::new(wired, archive, screen, active);
    let parts_max = args.parts.unwrap_or(u64::MAX);
    let ending = match devices.simulated.take() {
        Some(sim) => {
            // In virtual time nobody outside can say when: commands are refused.
            drop(requests);
            if !judge.is_sound() {
                return Err(Failure::Use(
                    "the store has no sound recipe; teach one or import one first".to_owned(),
                ));
            }
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
                teach_from,
                sound: judge.is_sound(),
                lamp,
                judged_at_once,
            };
            real_line::run(setup, line, Box::new(judge), &mut observer, parts_max, &stop)?
        }
    };
    drop((sticks, porter));
    observer.close();
    say_goodbye(&ending, stop.load(Ordering::Relaxed));
    Ok(Done::Fine)
}

/// The thread that takes bundles in.
struct Porting {
    quit: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Porting {
    fn start(
        recipes: &StoreConfig,
        board: &Board,
        wired: &Wired,
        gate: Gate,
        delivery: recipes::Delivery,
        herald: Notices,
    ) -> Option<Self> {
        let porter = Porter {
            gate,
            delivery,
            drives: Drives::open(&board.storage),
            medium: Box::new(Mounted),
            requests: wired.exchange.deliveries(),
            exchange: wired.exchange.clone(),
            herald: Box::new(herald),
            result_file: recipes.result_file,
            golden_every: recipes.golden_every,
        };
        let quit = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&quit);
        let thread = thread::Builder::new().name("porter".to_owned());
        match thread.spawn(move || porter.work().run(&told)) {
            Ok(thread) => Some(Self { quit, thread: Some(thread) }),
            Err(e) => {
                warn!("no thread for sticks and pushes: {e}; the line runs without");
                None
            }
        }
    }
}

impl Drop for Porting {
    /// Unmounts the sticks. One that holds its mount holds up the end, not the line.
    fn drop(&mut self) {
        self.quit.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|t| t.join().is_err()) {
            warn!("the thread of sticks and pushes panicked");
        }
    }
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
