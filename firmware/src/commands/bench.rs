//! `touchstone bench`: how long each stage of a model takes on this machine, how evenly, and what it costs.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde_json::{Value, json};
use touchstone_models::engine::OperatorTime;
use touchstone_models::inspector::{Inspection, Settings};
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::picture::Picture;

use crate::abreast::judge_abreast;
use crate::cli::BenchArgs;
use crate::exit::{Done, Ended, Failure};
use crate::inspection::judge_timed;
use crate::latency::Latency;
use crate::machine;
use crate::session;
use crate::terminal::{Lines, Progress};

/// What a judgement is made of, in the order in which it happens; the whole of it last.
const STAGES: [&str; 5] = ["preprocess", "encode", "segment", "score", "total"];
/// Frames over which operators are timed: one by one they are short, so few are enough.
const PROFILED_MAX: u32 = 50;
/// Different parts that are drawn.
const PARTS_DRAWN_MAX: u32 = 16;
/// Operators that are named one by one.
const OPERATORS_SHOWN: usize = 20;

/// Runs the command.
///
/// # Errors
/// A model that is missing or fails.
pub fn run(args: &BenchArgs) -> Ended {
    let mut loaded = session::load_model(&args.model, None)?;
    let (engine, threads) = (loaded.engine, loaded.threads);
    let names = session::names_of(&loaded.package, None);
    let prompts: Vec<Picture> =
        (0..args.prompts).map(|n| picture(args.size, n)).collect::<Result<_, _>>()?;
    let profile = if args.operators { profile(&mut loaded.model, args)? } else { Vec::new() };
    let teaching = Instant::now();
    let mut inspector = session::inspector(loaded.model, &prompts, Settings::default())?;
    let teach_ms = teaching.elapsed().as_secs_f64() * 1000.0;
    let posterior_ms = inspector.posterior_us() as f64 / 1000.0;

    let mut times: [Latency; STAGES.len()] = Default::default();
    let warm_up = (args.runs / 10).max(1);
    let mut progress = Progress::without_lines(u64::from(warm_up + args.runs), "bench");
    let mut first_verdict_s = None;
    let mut judging = (Instant::now(), machine::cpu_s());
    // Made beforehand: drawing one is not what is measured.
    let parts: Vec<Picture> = (0..args.runs.min(PARTS_DRAWN_MAX))
        .map(|n| picture(args.size, 1000 + n))
        .collect::<Result<_, _>>()?;
    let mut queries = (0..warm_up + args.runs).zip(parts.iter().cycle());
    let mut judged = |run: u32, inspection: &Inspection, total: u64| -> Result<(), Failure> {
        if run == 0 && !args.operators {
            first_verdict_s = machine::age_s();
        }
        // The picture after the last of the warm-up begins only now, or is at most half seen.
        if run + 1 == warm_up {
            judging = (Instant::now(), machine::cpu_s());
        }
        progress.step();
        if inspection.map.is_none() {
            return Err(Failure::Hardware(format!(
                "the model cannot judge a picture of {} x {}: {}",
                args.size.0, args.size.1, inspection.decision
            )));
        }
        if run >= warm_up {
            let l = inspection.latency;
            let stages = [l.preprocess, l.encode, l.segment, l.score, total];
            times.iter_mut().zip(stages).for_each(|(time, us)| time.add(us));
        }
        Ok(())
    };
    if args.parts_at_once > 1 {
        let mut ended = Ok(());
        let next = |_: &AtomicBool| queries.next().map(|(run, query)| (run, query.clone()));
        judge_abreast(inspector.halves(), next, |run, _, inspection, total| {
            ended = judged(run, &inspection, total);
            ended.is_ok()
        })
        .map_err(Failure::hardware)?;
        ended?;
    } else {
        for (run, query) in queries {
            let (inspection, total) = judge_timed(&mut inspector, query);
            judged(run, &inspection, total)?;
        }
    }
    drop(progress);
    let (since, cpu_before) = judging;
    let wall_s = since.elapsed().as_secs_f64();
    let cpu_percent =
        cpu_before.zip(machine::cpu_s()).map(|(before, after)| (after - before) / wall_s * 100.0);
    let machine = Machine {
        cpu_percent,
        peak_memory_kb: machine::peak_memory_kb(),
        first_verdict_s,
        temperature_c: machine::temperature_c(),
        clock_mhz: machine::clock_mhz(),
    };
    // Two at once come faster one after the other than one takes.
    let per_s = f64::from(args.runs) / wall_s.max(1e-6);
    let mut lines = Lines::default();
    if args.json {
        let stages: serde_json::Map<_, _> = STAGES
            .iter()
            .zip(&times)
            .map(|(stage, time)| ((*stage).to_owned(), spread(time)))
            .collect();
        let result = json!({
            "model": names.model, "hash": loaded.package.hash(), "engine": engine.to_string(),
            "threads": threads, "parts_at_once": args.parts_at_once, "precision": loaded.package.card().precision, "picture": args.size, "prompts": args.prompts, "runs": args.runs,
            "teach_ms": teach_ms, "posterior_ms": posterior_ms, "latency_us": stages, "parts_per_s": per_s,
            "cpu_percent": machine.cpu_percent, "peak_memory_kb": machine.peak_memory_kb,
            "first_verdict_s": machine.first_verdict_s, "temperature_c": machine.temperature_c,
            "clock_mhz": machine.clock_mhz,
            "operators": profile.iter().map(Operator::json).collect::<Vec<_>>(),
        });
        lines.line(&result.to_string())?;
        return Ok(Done::Fine);
    }
    lines.line(&format!(
        "model {}, {engine} on {threads} threads, {} at once, pictures of {} x {}, {} taught, {} judged",
        names.model, args.parts_at_once, args.size.0, args.size.1, args.prompts, args.runs
    ))?;
    lines.line("stage             p50        p99      p99.9        max     jitter")?;
    for (stage, time) in STAGES.iter().zip(&times) {
        let ms = |us: u64| format!("{:7.2} ms", us as f64 / 1000.0);
        let columns =
            [time.p50_us(), time.p99_us(), time.p999_us(), time.max_us(), jitter_us(time)];
        let columns = columns.map(|us| format!("{:>10}", ms(us)));
        lines.line(&format!("{stage:<12}{}", columns.join(" ")))?;
    }
    lines.line(&format!("{per_s:.1} parts per second"))?;
    lines.line(&format!(
        "{} taught in {teach_ms:.1} ms, their posteriors in {posterior_ms:.1} ms of it",
        args.prompts
    ))?;
    lines.line(&machine.text())?;
    if args.operators {
        operators(&profile, &mut lines)?;
    }
    Ok(Done::Fine)
}

fn spread(time: &Latency) -> Value {
    json!({
        "p50": time.p50_us(), "p99": time.p99_us(), "p999": time.p999_us(), "max": time.max_us(),
        "jitter": jitter_us(time),
    })
}

/// How much longer than usual one in a hundred takes.
fn jitter_us(time: &Latency) -> u64 {
    time.p99_us().saturating_sub(time.p50_us())
}

struct Machine {
    cpu_percent: Option<f64>,
    peak_memory_kb: Option<u64>,
    first_verdict_s: Option<f64>,
    temperature_c: Option<f64>,
    clock_mhz: Option<f64>,
}

impl Machine {
    fn text(&self) -> String {
        let mut told = Vec::new();
        let mut tell = |text: Option<String>| told.extend(text);
        tell(self.cpu_percent.map(|p| format!("{p:.0} % of one core")));
        tell(self.peak_memory_kb.map(|kb| format!("{:.0} MB at most", kb as f64 / 1000.0)));
        tell(self.first_verdict_s.map(|s| format!("first verdict {s:.2} s after the start")));
        tell(self.temperature_c.map(|c| format!("{c:.0} degrees Celsius")));
        tell(self.clock_mhz.map(|mhz| format!("{mhz:.0} MHz")));
        told.join(", ")
    }
}

/// One operator, and its median time.
struct Operator {
    graph: &'static str,
    what: OperatorTime,
}

impl Operator {
    fn json(&self) -> Value {
        let OperatorTime { node, operator, shape, ns } = &self.what;
        json!({ "graph": self.graph, "operator": operator, "node": node, "shape": shape, "ns": ns })
    }
}

/// Every operator of both graphs in the order in which they run, with medians.
fn profile(model: &mut OnePrompt, args: &BenchArgs) -> Result<Vec<Operator>, Failure> {
    let prompt = model.encode(&picture(args.size, 0)?).map_err(Failure::hardware)?;
    let mut rounds = Vec::new();
    for run in 0..args.runs.min(PROFILED_MAX) {
        let query = picture(args.size, 1 + run)?;
        rounds.push(model.profile(&query, &prompt).map_err(Failure::hardware)?);
    }
    let mut operators = Vec::new();
    for (index, graph) in ["encode", "segment"].into_iter().enumerate() {
        let Some(first) = rounds.first() else { break };
        for (place, what) in first[index].iter().enumerate() {
            let mut ns: Vec<u64> =
                rounds.iter().filter_map(|r| Some(r[index].get(place)?.ns)).collect();
            ns.sort_unstable();
            let ns = ns[ns.len() / 2];
            operators.push(Operator { graph, what: OperatorTime { ns, ..what.clone() } });
        }
    }
    Ok(operators)
}

fn operators(profile: &[Operator], lines: &mut Lines) -> Result<(), Failure> {
    let ms = |ns: u64| ns as f64 / 1e6;
    for graph in ["encode", "segment"] {
        let mut kinds: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
        for operator in profile.iter().filter(|o| o.graph == graph) {
            let kind = kinds.entry(&operator.what.operator).or_default();
            *kind = (kind.0 + operator.what.ns, kind.1 + 1);
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by_key(|(_, (ns, _))| std::cmp::Reverse(*ns));
        let whole: u64 = kinds.iter().map(|(_, (ns, _))| ns).sum();
        lines.line(&format!("{graph}: {:.2} ms", ms(whole)))?;
        for (kind, (ns, count)) in kinds {
            lines.line(&format!("  {kind:<28}{:8.3} ms {count:4} times", ms(ns)))?;
        }
    }
    let mut longest: Vec<&Operator> = profile.iter().collect();
    longest.sort_by_key(|o| std::cmp::Reverse(o.what.ns));
    lines.line("the longest")?;
    for Operator { graph, what } in longest.into_iter().take(OPERATORS_SHOWN) {
        let shape = what.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let OperatorTime { node, operator, ns, .. } = what;
        lines.line(&format!("  {:8.3} ms  {graph:<8}{operator:<28}{shape:<16}{node}", ms(*ns)))?;
    }
    Ok(())
}

/// A picture with something on it that differs with `n`; what it is does not
/// matter for the time it takes.
fn picture((width, height): (u32, u32), n: u32) -> Result<Picture, Failure> {
    let mut rgb = Vec::with_capacity(3 * (width * height) as usize);
    for y in 0..height {
        for x in 0..width {
            let wave = x.wrapping_mul(7).wrapping_add(y.wrapping_mul(13)).wrapping_add(n * 29);
            rgb.extend([(wave % 251) as u8, (x * 255 / width) as u8, (y * 255 / height) as u8]);
        }
    }
    Picture::from_rgb8(width, height, rgb).map_err(Failure::usage)
}
