//! `touchstone demo`: the whole line, with simulated hardware and everything
//! else real.
//!
//! Counted is what the simulated actuator did to each part, from the
//! simulator's own ledger, not what the inspection said.

mod gallery;
mod watcher;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use log::info;
use serde_json::json;
use touchstone_board::sim::{Outcome as Fate, SimConfig, SimulatedLine};
use touchstone_models::inspector::{Inspector, Settings};
use touchstone_models::picture::Picture;

use crate::cli::DemoArgs;
use crate::exit::{Done, Ended, Failure};
use crate::inspection::{Names, judge_timed};
use crate::line::{LineConfig, LineTimes};
use crate::out_folder::OutFolder;
use crate::report::{GENERATOR, PartResult, Setting, Summary, page};
use crate::serve::Server;
use crate::session;
use crate::station::Observer;
use crate::terminal::Lines;
use crate::virtual_line::VirtualLine;
use gallery::Curator;
use watcher::Watcher;

/// Good parts judged beforehand, to learn how fast this machine is.
const WARM_UP: u64 = 8;
/// Their numbers, far from those that are taught.
const WARM_UP_FROM: u64 = 1000;
/// The line leaves this much room between judgements.
const HEADROOM: f64 = 1.6;
const INTERVAL_MS_MIN: u32 = 100;
const INTERVAL_MS_MAX: u32 = 60_000;
const TRAVEL_MS_MIN: u32 = 600;
/// Trigger to actuator, in intervals: how long a verdict may take if one part
/// is slow.
const TRAVEL_INTERVALS: u32 = 5;
const ACTUATOR_LEAD_MS: u32 = 20;
const PULSE_MS: u32 = 60;
const CAPTURE_WINDOW_MS: u32 = 50;
const BACKLOG_MAX: usize = 8;

/// The report's files in the folder.
const PAGE: &str = "index.html";
const SUMMARY: &str = "summary.json";
const PARTS: &str = "parts.jsonl";
const OVERLAYS: &str = "overlays";

/// Runs the command.
///
/// # Errors
/// An unwritable folder or a wrong setting (use), a model that is missing or
/// fails (model).
pub fn run(args: &DemoArgs) -> Ended {
    let folder = OutFolder::prepare(&args.out, "--out")?;
    keep_foreign_pages(&folder)?;
    let server = args.serve.then(|| Server::start(args.port, folder.path())).transpose()?;
    if let Some(server) = &server {
        eprintln!("the line is shown at http://{}/", server.address());
    }
    let loaded = session::load_model(&args.model, None)?;
    let names = session::names_of(&loaded.package, None);
    let (engine, threads) = (loaded.engine, loaded.threads);

    if !args.json {
        let plural = if args.prompts == 1 { "part" } else { "parts" };
        Lines::default().line(&format!(
            "teaching {} good {plural}, measuring how fast this machine judges",
            args.prompts
        ))?;
    }
    let enrolment = simulation(args, Duration::from_secs(1), Duration::from_secs(1))?;
    let prompts = good_parts(&enrolment, 0, u64::from(args.prompts))?;
    let settings = Settings { false_reject_ppm: args.false_reject_ppm, ..Settings::default() };
    let mut inspector = session::inspector(loaded.model, &prompts, settings)?;
    let interval_ms = match args.rate {
        Some(per_minute) => 60_000 / per_minute,
        None => sustainable_interval_ms(&mut inspector, &enrolment)?,
    };
    let travel_ms = (TRAVEL_INTERVALS * interval_ms).max(TRAVEL_MS_MIN);
    let plural = if threads == 1 { "" } else { "s" };
    let setting = Setting {
        part: args.part.to_string(),
        prompts: args.prompts,
        seed: args.seed,
        parts_per_minute: 60_000.0 / f64::from(interval_ms),
        false_reject_ppm: args.false_reject_ppm,
        travel_ms,
        defect_rate: args.defect_rate,
        model: names.model.clone(),
        model_hash: loaded.package.hash().to_owned(),
        engine: format!("{engine} on {threads} thread{plural}"),
    };
    let run = Run { args, folder, names, setting, server };
    run.line(&mut inspector, prompts, interval_ms)
}

/// A page that is not ours is not replaced.
fn keep_foreign_pages(folder: &OutFolder) -> Result<(), Failure> {
    let file = folder.file(PAGE);
    match fs::read(&file) {
        Ok(bytes) if !bytes.windows(GENERATOR.len()).any(|w| w == GENERATOR.as_bytes()) => {
            Err(Failure::Use(format!(
                "--out {}: {PAGE} there is not from a demo and would be overwritten; choose another \
                 folder",
                folder.path().display()
            )))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn simulation(
    args: &DemoArgs,
    interval: Duration,
    travel: Duration,
) -> Result<SimulatedLine, Failure> {
    SimulatedLine::new(SimConfig {
        seed: args.seed,
        kind: args.part,
        parts: args.parts,
        defect_rate: args.defect_rate,
        interval,
        travel,
        ..SimConfig::default()
    })
    .map_err(Failure::usage)
}

fn good_parts(line: &SimulatedLine, from: u64, count: u64) -> Result<Vec<Picture>, Failure> {
    let draw = |n: u64| {
        let frame = line.good_part(n).frame;
        Picture::from_rgb8(frame.width, frame.height, frame.rgb).map_err(Failure::hardware)
    };
    (from..from + count).map(draw).collect()
}

/// How fast this machine can judge, with some room, as the time from part to
/// part.
fn sustainable_interval_ms(
    inspector: &mut Inspector,
    line: &SimulatedLine,
) -> Result<u32, Failure> {
    let mut slowest_us = 0;
    for (index, picture) in good_parts(line, WARM_UP_FROM, WARM_UP)?.iter().enumerate() {
        let (_, us) = judge_timed(inspector, picture);
        // The first ones fill caches.
        if index >= 2 {
            slowest_us = slowest_us.max(us);
        }
    }
    let ms = (slowest_us as f64 * HEADROOM / 1000.0).ceil() as u32;
    info!("judging takes up to {slowest_us} us here: a part every {ms} ms");
    Ok(ms.clamp(INTERVAL_MS_MIN, INTERVAL_MS_MAX))
}

struct Run<'a> {
    args: &'a DemoArgs,
    folder: OutFolder,
    names: Names,
    setting: Setting,
    server: Option<Server>,
}

impl Run<'_> {
    fn line(mut self, inspector: &mut Inspector, prompts: Vec<Picture>, interval_ms: u32) -> Ended {
        let interval = Duration::from_millis(u64::from(interval_ms));
        let travel = Duration::from_millis(u64::from(self.setting.travel_ms));
        let sim = simulation(self.args, interval, travel)?;
        let times = LineTimes {
            capture_delay_ms: 0,
            capture_window_ms: CAPTURE_WINDOW_MS.min(interval_ms),
            travel_ms: self.setting.travel_ms,
            actuator_lead_ms: ACTUATOR_LEAD_MS,
            pulse_ms: PULSE_MS,
            // Parts come no closer than 0.8 intervals; a bouncing sensor does.
            debounce_ms: (interval_ms / 3).max(1),
            backlog_max: BACKLOG_MAX,
            // Nobody is there to acknowledge; the report says how many were late.
            late_max: 0,
            ..LineTimes::DEFAULT
        };
        let config = LineConfig::try_from(times).map_err(Failure::usage)?;
        let Some(prompt) = prompts.into_iter().next() else {
            return Err(Failure::Use("no prompt; give at least one good part".to_owned()));
        };
        let stop = stop_signal()?;
        if !self.args.json {
            self.announce()?;
        }
        let mut watcher = Watcher::new(self.args, &sim, &self.names, &prompt, self.server.as_ref());
        let line = VirtualLine::new(sim.clone(), config, inspector, self.args.parts);
        let ending = line.run(&mut watcher as &mut dyn Observer, &stop)?;
        let heard = watcher.finish();

        let parts = settle(&sim, heard.results);
        let summary = Summary::new(&parts, self.setting.clone(), ending.counters);
        self.folder.write(PARTS, heard.lines.as_bytes())?;
        let curator = Curator { sim: &sim, prompt: &prompt, folder: &self.folder };
        let galleries = curator.hang(inspector, &parts)?;
        self.folder.write(PAGE, page(&summary, &parts, &galleries).as_bytes())?;
        let json = serde_json::to_string_pretty(&summary).map_err(Failure::hardware)?;
        self.folder.write(SUMMARY, json.as_bytes())?;
        self.tell(&summary)?;
        if let Some(server) = self.server.take() {
            heard.last.report_ready(&server);
            wait_for(&stop, &server);
        }
        Ok(Done::Fine)
    }

    fn announce(&self) -> Result<(), Failure> {
        let s = &self.setting;
        Lines::default().line(&format!(
            "{} {}s, {} taught, {:.0} a minute; model {}, {}, {} ppm false rejects allowed",
            self.args.parts,
            s.part,
            s.prompts,
            s.parts_per_minute,
            s.model,
            s.engine,
            s.false_reject_ppm
        ))
    }

    fn tell(&self, summary: &Summary) -> Result<(), Failure> {
        let mut lines = Lines::default();
        if self.args.json {
            return lines.line(&json!({ "summary": summary }).to_string());
        }
        let percent =
            |rate: Option<f64>| rate.map_or("none".to_owned(), |r| format!("{:.1} %", 100.0 * r));
        let ms = |us: u64| us as f64 / 1000.0;
        let (recall, wrong) = (&summary.recall, &summary.false_rejects);
        lines.line("")?;
        lines.line(&format!(
            "recall          {:>7}   {} of {} defective parts ejected",
            percent(recall.rate),
            recall.count,
            recall.of
        ))?;
        lines.line(&format!(
            "false rejects   {:>7}   {} of {} good parts ejected",
            percent(wrong.rate),
            wrong.count,
            wrong.of
        ))?;
        lines.line(&format!(
            "a judgement     {:>4.1} ms   p50; p99 {:.1} ms; this machine can judge {:.1} parts/s",
            ms(summary.judge_us.p50),
            ms(summary.judge_us.p99),
            summary.parts_per_s
        ))?;
        lines.line(&format!(
            "trigger-verdict {:>4.1} ms   p50; p99 {:.1} ms; {} of {} parts late, {} overloaded",
            ms(summary.total_us.p50),
            ms(summary.total_us.p99),
            summary.counters.rejected_late,
            summary.parts,
            summary.counters.rejected_overload
        ))?;
        lines.line(&format!("report          {}", self.folder.file(PAGE).display()))
    }
}

/// Set by Ctrl-C or a request to end.
fn stop_signal() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    super::run::watch_signals(&stop)?;
    Ok(stop)
}

fn wait_for(stop: &AtomicBool, server: &Server) {
    if stop.load(Ordering::Relaxed) {
        return;
    }
    eprintln!("the report stays at http://{}/report/ until Ctrl-C", server.address());
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(100));
    }
}

/// Joins what the camera said with what really happened. A part that was never
/// heard of counts as what the actuator did to it.
fn settle(sim: &SimulatedLine, heard: Vec<PartResult>) -> Vec<PartResult> {
    let mut heard = heard.into_iter().peekable();
    let mut settled = Vec::new();
    for record in sim.ledger() {
        if record.outcome == Fate::Travelling {
            continue;
        }
        let part = u32::try_from(record.part).unwrap_or(u32::MAX);
        while heard.peek().is_some_and(|h| h.part < part) {
            heard.next();
        }
        let said = heard.next_if(|h| h.part == part).unwrap_or_else(|| watcher::unheard(part));
        settled.push(PartResult {
            defect: record.defect.map(|d| d.to_string()),
            ejected: record.outcome == Fate::Ejected,
            ..said
        });
    }
    settled
}
