//! Many seeds, on all cores.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::oracle::Violation;
use crate::scenario::Scenario;
use crate::tally::{Table, Tally};
use crate::world::World;

/// A seed that broke a promise.
#[derive(Debug)]
pub struct Failed {
    /// The seed.
    pub seed: u64,
    /// What it simulates.
    pub row: String,
    /// The promise.
    pub violation: Violation,
    /// The line's latest transitions.
    pub trace: String,
    /// Parts of the run.
    pub parts: usize,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, row, violation, trace, parts } = self;
        write!(
            f,
            "seed {seed} ({row}): {violation}\nthe line's latest transitions:\n{trace}reproduce \
             with:\n  cargo run --release -p touchstone-linesim -- --seeds {seed}..{} --parts {parts}",
            seed + 1
        )
    }
}

/// Runs one seed of the sweep.
///
/// # Errors
/// The promise that was broken.
pub fn run_seed(seed: u64, parts: usize) -> Result<(usize, Tally), Box<Failed>> {
    let row = (seed % Scenario::ROWS as u64) as usize;
    let (name, scenario) = Scenario::of_row(row);
    run(scenario, &name, seed, parts).map(|tally| (row, tally))
}

/// Runs one scenario.
///
/// # Errors
/// The promise that was broken.
pub fn run(scenario: Scenario, name: &str, seed: u64, parts: usize) -> Result<Tally, Box<Failed>> {
    let mut world = World::new(scenario, seed, parts);
    world.run().map_err(|violation| {
        let row = name.to_owned();
        Box::new(Failed { seed, row, violation, trace: world.trace(), parts })
    })
}

/// Runs all seeds; `done` hears how many are.
///
/// # Errors
/// The lowest seed that failed, of those that ran.
pub fn sweep(
    seeds: Range<u64>,
    parts: usize,
    done: impl Fn(u64) + Sync,
) -> Result<Table, Box<Failed>> {
    let rows: Vec<_> =
        (0..Scenario::ROWS).map(|row| (Scenario::of_row(row).0, Tally::default())).collect();
    let (table, failed) = (Mutex::new(Table(rows)), Mutex::new(None::<Box<Failed>>));
    let (next, finished) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            match run_seed(seed, parts) {
                Ok((row, tally)) => {
                    if let Ok(mut table) = table.lock() {
                        table.0[row].1.add(&tally);
                    }
                    done(finished.fetch_add(1, Ordering::Relaxed) + 1);
                }
                Err(failure) => {
                    stop.store(true, Ordering::Relaxed);
                    if let Ok(mut failed) = failed.lock()
                        && failed.as_ref().is_none_or(|f| f.seed > failure.seed)
                    {
                        *failed = Some(failure);
                    }
                }
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    match failed.into_inner().unwrap_or_else(|e| e.into_inner()) {
        Some(failure) => Err(failure),
        None => Ok(table.into_inner().unwrap_or_else(|e| e.into_inner())),
    }
}

/// A million parts at the stated rate, a hundred thousand at 120 % of it.
///
/// # Errors
/// The promise that was broken.
pub fn rates() -> Result<Table, Box<Failed>> {
    let mut table = Table::default();
    for (percent, parts) in [(100, 1_000_000), (120, 100_000)] {
        let name = format!("{percent} % of the stated rate");
        let tally = run(Scenario::at_rate(percent), &name, 1, parts)?;
        table.0.push((name, tally));
    }
    Ok(table)
}
