//! `touchstone bench`: how long each stage of a model takes on this machine.

use serde_json::json;
use touchstone_models::inspector::Settings;
use touchstone_models::picture::Picture;

use crate::cli::BenchArgs;
use crate::exit::{Done, Ended, Failure};
use crate::inspection::judge_timed;
use crate::latency::Latency;
use crate::report::Percentiles;
use crate::session;
use crate::terminal::{Lines, Progress};

/// Runs the command.
///
/// # Errors
/// A model that is missing or fails.
pub fn run(args: &BenchArgs) -> Ended {
    let loaded = session::load_model(&args.model, None)?;
    let (engine, threads) = session::engine_of(&args.model)?;
    let names = session::names_of(&loaded.package, None);
    let prompts: Vec<Picture> =
        (0..args.prompts).map(|n| picture(args.size, n)).collect::<Result<_, _>>()?;
    let mut inspector = session::inspector(loaded.model, &prompts, Settings::default())?;

    let stages = ["preprocess", "encode", "segment", "score", "total"];
    let mut times: [Latency; 5] = Default::default();
    let warm_up = (args.runs / 10).max(1);
    let mut progress = Progress::without_lines(u64::from(warm_up + args.runs), "bench");
    for run in 0..warm_up + args.runs {
        let query = picture(args.size, 1000 + run)?;
        let (inspection, total) = judge_timed(&mut inspector, &query);
        progress.step();
        if inspection.map.is_none() {
            return Err(Failure::Hardware(format!(
                "the model cannot judge a picture of {} x {}: {}",
                args.size.0, args.size.1, inspection.decision
            )));
        }
        if run < warm_up {
            continue;
        }
        let l = inspection.latency;
        for (time, us) in times.iter_mut().zip([l.preprocess, l.encode, l.segment, l.score, total])
        {
            time.add(us);
        }
    }
    drop(progress);
    let [.., total] = &times;
    let per_s = 1e6 / total.mean_us().max(1) as f64;
    let mut lines = Lines::default();
    if args.json {
        let stages: serde_json::Map<_, _> = stages
            .iter()
            .zip(&times)
            .map(|(stage, time)| ((*stage).to_owned(), json!(Percentiles::from(time))))
            .collect();
        let result = json!({
            "model": names.model, "hash": loaded.package.hash(), "engine": engine.to_string(),
            "threads": threads, "picture": args.size, "prompts": args.prompts, "runs": args.runs,
            "latency_us": stages, "parts_per_s": per_s,
        });
        lines.line(&result.to_string())?;
        return Ok(Done::Fine);
    }
    lines.line(&format!(
        "model {}, {engine} on {threads} threads, pictures of {} x {}, {} taught, {} judged",
        names.model, args.size.0, args.size.1, args.prompts, args.runs
    ))?;
    lines.line("stage             p50        p99        max")?;
    for (stage, time) in stages.iter().zip(&times) {
        let ms = |us: u64| format!("{:7.2} ms", us as f64 / 1000.0);
        let (p50, p99, max) = (ms(time.p50_us()), ms(time.p99_us()), ms(time.max_us()));
        lines.line(&format!("{stage:<12}{p50:>10} {p99:>10} {max:>10}"))?;
    }
    lines.line(&format!("{per_s:.1} parts per second"))?;
    Ok(Done::Fine)
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
