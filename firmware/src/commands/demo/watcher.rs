//! Hears of every part of the demo: prints it, remembers it, shows it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use touchstone_board::sim::SimulatedLine;
use touchstone_models::picture::{Picture, encode_png};
use touchstone_models::verdict::VerdictRecord;

use crate::cli::DemoArgs;
use crate::commands::inspect::headline;
use crate::exit::Failure;
use crate::inspection::{Names, line_record};
use crate::latency::Latency;
use crate::overlay::{Exhibit, side_by_side};
use crate::report::PartResult;
use crate::serve::Server;
use crate::station::{Observer, Published};
use crate::terminal::{Lines, Progress};

/// Rows of the live page.
const ROWS: usize = 12;
/// The live picture is drawn no more often than this.
const PICTURE_EVERY: Duration = Duration::from_millis(400);

/// A part that nobody heard of.
pub(super) fn unheard(part: u32) -> PartResult {
    PartResult {
        part,
        defect: None,
        ejected: false,
        reason: "no_result".to_owned(),
        score: 1.0,
        p_value: 0.0,
        judge_us: 0,
        total_us: 0,
    }
}

/// What was heard.
pub(super) struct Heard {
    /// One per part, by number.
    pub(super) results: Vec<PartResult>,
    /// One JSON object per part.
    pub(super) lines: String,
    /// What the live page shows.
    pub(super) last: Status,
}

/// What the live page shows.
#[derive(Default)]
pub(super) struct Status {
    what: String,
    of: u64,
    parts: u64,
    rejected: u64,
    escapes: u64,
    false_rejects: u64,
    picture: u64,
    judge: Latency,
    latest: VecDeque<Value>,
    report: bool,
}

impl Status {
    fn json(&self) -> String {
        json!({
            "what": self.what,
            "of": self.of,
            "parts": self.parts,
            "rejected": self.rejected,
            "escapes": self.escapes,
            "false_rejects": self.false_rejects,
            "picture": self.picture,
            "judge_us_p50": self.judge.p50_us(),
            "latest": self.latest,
            "report": self.report,
        })
        .to_string()
    }

    /// Tells the page that the report is written.
    pub(super) fn report_ready(mut self, server: &Server) {
        self.report = true;
        server.show(|live| live.status = self.json().into());
    }
}

pub(super) struct Watcher<'a> {
    args: &'a DemoArgs,
    sim: &'a SimulatedLine,
    names: &'a Names,
    prompt: &'a Picture,
    server: Option<&'a Server>,
    out: Lines,
    progress: Progress,
    results: Vec<PartResult>,
    lines: String,
    status: Status,
    drawn: Option<Instant>,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(
        args: &'a DemoArgs,
        sim: &'a SimulatedLine,
        names: &'a Names,
        prompt: &'a Picture,
        server: Option<&'a Server>,
    ) -> Self {
        let what = format!("{} {}s, simulated", args.parts, args.part);
        Self {
            args,
            sim,
            names,
            prompt,
            server,
            out: Lines::default(),
            progress: Progress::new(args.parts, "demo"),
            results: Vec::new(),
            lines: String::new(),
            status: Status { what, of: args.parts, ..Status::default() },
            drawn: None,
        }
    }

    pub(super) fn finish(mut self) -> Heard {
        // Outcomes come in the order in which they became final.
        self.results.sort_by_key(|r| r.part);
        Heard { results: self.results, lines: self.lines, last: self.status }
    }

    fn show(&mut self, part: &Published<'_>, record: &VerdictRecord, truth: &str, wrong: bool) {
        let Some(server) = self.server else {
            return;
        };
        let status = &mut self.status;
        status.latest.push_front(json!({
            "part": part.part, "truth": truth, "verdict": record.verdict, "reason": record.reason,
            "score": record.score, "judge_us": part.slot.map_or(0, |s| s.judge_us), "wrong": wrong,
        }));
        status.latest.truncate(ROWS);
        let due = self.drawn.is_none_or(|at| at.elapsed() >= PICTURE_EVERY);
        let picture = if due { draw(part, self.prompt, truth, wrong) } else { None };
        if picture.is_some() {
            self.drawn = Some(Instant::now());
            status.picture += 1;
        }
        server.show(|live| {
            live.status = status.json().into();
            if let Some(png) = picture {
                live.picture = png.into();
            }
        });
    }
}

impl Observer for Watcher<'_> {
    fn published(&mut self, part: &Published<'_>) -> Result<(), Failure> {
        let record = line_record(part.part, part.outcome, part.slot, part.total_us, self.names);
        let defect = self.sim.defect_of(u64::from(part.part.0)).map(|d| d.to_string());
        let rejected = part.outcome.is_reject();
        let judge_us = part.slot.map_or(0, |s| s.judge_us);
        let truth = defect.as_deref().unwrap_or("good").to_owned();
        let mut value = serde_json::to_value(&record).map_err(Failure::hardware)?;
        value["truth"] = json!(truth);
        let json = value.to_string();
        let status = &mut self.status;
        status.parts += 1;
        status.rejected += u64::from(rejected);
        status.escapes += u64::from(defect.is_some() && !rejected);
        status.false_rejects += u64::from(defect.is_none() && rejected);
        if judge_us > 0 {
            status.judge.add(judge_us);
        }
        if self.args.json {
            self.out.line(&json)?;
        } else {
            self.out.line(&row(part, &record, defect.as_deref()))?;
        }
        self.progress.step();
        self.lines.push_str(&json);
        self.lines.push('\n');
        self.show(part, &record, &truth, defect.is_some() != rejected);
        self.results.push(PartResult {
            part: part.part.0,
            defect,
            ejected: rejected,
            reason: record.reason,
            score: record.score,
            p_value: record.p_value,
            judge_us,
            total_us: part.total_us,
        });
        Ok(())
    }
}

fn row(part: &Published<'_>, record: &VerdictRecord, defect: Option<&str>) -> String {
    let rejected = part.outcome.is_reject();
    let verdict = if rejected { "REJECT" } else { "pass  " };
    let ms = part.slot.map_or(0.0, |s| s.judge_us as f64 / 1000.0);
    let mark = match (defect, rejected) {
        (Some(_), false) => "  <-- ESCAPE",
        (None, true) => "  <-- FALSE REJECT",
        (Some(_), true) | (None, false) => "",
    };
    let reason = if rejected { record.reason.as_str() } else { "" };
    let row = format!(
        "{:>5}  {verdict}  {:<14} score {:.2}  p {:<8} {ms:6.1} ms  {reason}{mark}",
        part.part.0,
        defect.unwrap_or("good"),
        record.score,
        format!("{:.1e}", record.p_value)
    );
    row.trim_end().to_owned()
}

fn draw(part: &Published<'_>, prompt: &Picture, truth: &str, wrong: bool) -> Option<Vec<u8>> {
    let slot = part.slot?;
    let (query, inspection) = (slot.frame.as_ref()?, slot.inspection.as_ref()?);
    let drawn = side_by_side(&Exhibit {
        prompt,
        query,
        pass: !part.outcome.is_reject(),
        wrong,
        headline: &headline(&inspection.decision),
        details: &format!("part {}   really: {truth}   score {:.2}", part.part, inspection.score),
        map: inspection.map.as_ref(),
        area: inspection.area,
        regions: &inspection.regions,
        truth: None,
    })?;
    encode_png(&drawn).ok()
}
