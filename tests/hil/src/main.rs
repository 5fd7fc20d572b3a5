//! `cargo xtask hil`: the real binary against the real Linux drivers, in a VM.
//!
//! Packages, kernel module and images are fetched and built once and kept under `target/hil`; each
//! scenario boots a VM of its own and leaves its logs and its edge table under `target/hil/log`.
//! Order and presence of what happens are asserted; times are reported, because an emulated
//! processor's times say nothing about a real one's. `docs/hil.md` is for people.

mod agent;
mod arch;
mod bench;
mod cli;
mod cpio;
mod dice;
mod fail;
mod fetch;
mod firmware;
mod gpio_sim;
mod host;
mod initramfs;
mod kernel;
mod layout;
mod modules;
mod prepare;
mod qemu;
mod qmp;
mod scenarios;
mod table;
mod uart;
mod wire;

use std::io::Read;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use serde_json::json;

use arch::Arch;
use bench::{Bench, Plan, Report};
use cli::Cli;
use fail::{Fail, Outcome};
use prepare::Prepared;
use scenarios::Scenario;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let cli = match Cli::parse(&words) {
        Ok(cli) if cli.help => {
            println!("{}", cli::USAGE);
            return ExitCode::SUCCESS;
        }
        Ok(cli) => cli,
        Err(why) => return ended(&why, false),
    };
    if cli.list {
        for scenario in scenarios::ALL {
            println!("{:<14} {}", scenario.name, scenario.about);
        }
        return ExitCode::SUCCESS;
    }
    match run(&cli) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("hil: {failed} scenarios failed; logs are in target/hil/log");
            ExitCode::from(1)
        }
        Err(why) => ended(&why, cli.allow_skip),
    }
}

fn ended(why: &Fail, allow_skip: bool) -> ExitCode {
    match why {
        Fail::Missing(_) if allow_skip => {
            eprintln!("hil: ===== SKIPPED, NOTHING WAS TESTED: {why} =====");
            ExitCode::SUCCESS
        }
        Fail::Missing(_) => {
            eprintln!("hil: {why}; --allow-skip makes this a skip");
            ExitCode::from(3)
        }
        Fail::Use(_) => {
            eprintln!("hil: {why}; try `cargo xtask hil --help`");
            ExitCode::from(2)
        }
        Fail::TooSlow(_) | Fail::Seen(_) | Fail::Broken(_) => {
            eprintln!("hil: {why}");
            ExitCode::from(1)
        }
    }
}

/// Runs what is asked for and says how many scenarios failed.
fn run(cli: &Cli) -> Outcome<usize> {
    let started = Instant::now();
    let prepared = Prepared::new(cli)?;
    let accel = format!("{:?}", prepared.accel()).to_lowercase();
    let took = started.elapsed().as_secs_f64();
    println!("hil: prepared in {took:.1} s; {} under {accel}", cli.arch.name());
    let wanted = |scenario: &&Scenario| match cli.scenarios.is_empty() {
        true => cli.arch == Arch::X86_64 || scenario.on_aarch64,
        false => cli.scenarios.iter().any(|name| name == scenario.name),
    };
    let ahead = Mutex::new(scenarios::ALL.iter().filter(wanted));
    let failed = AtomicUsize::new(0);
    let work = || {
        while let Some(scenario) = next(&ahead) {
            let started = Instant::now();
            let (report, result) = one(cli, &prepared, scenario);
            let seconds = started.elapsed().as_secs_f64();
            let skipped = cli.allow_skip && matches!(result, Err(Fail::TooSlow(_)));
            failed.fetch_add(usize::from(result.is_err() && !skipped), Ordering::Relaxed);
            tell(cli, scenario, &report, &result, seconds);
        }
    };
    thread::scope(|scope| {
        for _ in 0..cli.jobs {
            scope.spawn(work);
        }
    });
    println!("hil: all in {:.1} s", started.elapsed().as_secs_f64());
    Ok(failed.into_inner())
}

fn next<T>(ahead: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    ahead.lock().unwrap_or_else(PoisonError::into_inner).next()
}

fn one(cli: &Cli, prepared: &Prepared, scenario: &Scenario) -> (Report, Outcome<()>) {
    let booted = prepared.layout.scenario_log(cli.arch, scenario.name).and_then(|folder| {
        let machine = prepared.machine(scenario.extras, &folder)?;
        Bench::boot(&machine, &folder, Plan { rounds: cli.rounds, seed: cli.seed })
    });
    let mut bench = match booted {
        Ok(bench) => bench,
        Err(why) => return (Report::default(), Err(why)),
    };
    let result = (scenario.run)(&mut bench);
    if cli.keep && result.is_err() {
        eprintln!("hil: {} failed; the VM runs on: {}", scenario.name, bench.where_it_is());
        eprintln!("hil: Enter ends it");
        // Nothing to read means nobody is there to press it.
        let _ = std::io::stdin().read(&mut [0]);
    }
    match bench.close() {
        Ok(report) => (report, result),
        Err(why) => (Report::default(), result.and(Err(why))),
    }
}

fn tell(cli: &Cli, scenario: &Scenario, report: &Report, result: &Outcome<()>, seconds: f64) {
    let verdict = match result {
        Ok(()) if report.device_side_only.is_empty() => "pass",
        Ok(()) => "device side only",
        Err(Fail::TooSlow(_)) if cli.allow_skip => "SKIPPED, NOTHING WAS SHOWN",
        Err(_) => "FAIL",
    };
    let why = result.as_ref().err().map(ToString::to_string);
    if cli.json {
        let notes: serde_json::Map<String, serde_json::Value> =
            report.notes.iter().map(|(what, value)| (what.clone(), json!(value))).collect();
        let record = json!({
            "scenario": scenario.name,
            "arch": cli.arch.name(),
            "result": verdict,
            "why": why,
            "device_side_only": report.device_side_only,
            "seconds": seconds,
            "notes": notes,
        });
        println!("{record}");
        return;
    }
    // In one piece: other scenarios talk too.
    let mut text =
        format!("\n== {}: {verdict} in {seconds:.1} s: {}\n", scenario.name, scenario.about);
    for missing in &report.device_side_only {
        text.push_str(&format!("   DEVICE SIDE ONLY: {missing}\n"));
    }
    for (what, value) in &report.notes {
        text.push_str(&format!("   {what}: {value}\n"));
    }
    text.push_str(&report.table);
    if let Some(why) = why {
        text.push_str(&format!("   FAILED: {why}\n"));
    }
    print!("{text}");
}
