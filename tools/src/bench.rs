//! `touchstone-tools bench`: packages on engines side by side in one run, interleaved, so that a machine that
//! slows down slows all of them; medians and ratios to the first.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use serde_json::{Value, json};
use touchstone_models::engine::{ENGINE_THREADS_MAX, EngineError, EngineKind};
use touchstone_models::golden::Golden;
use touchstone_models::oneprompt::{Features, ModelError, OnePrompt};
use touchstone_models::package::{ModelPackage, Precision, find_model};
use touchstone_models::tensor::Tensor;

use crate::progress;
use crate::quantize::in_onnx;

/// `touchstone-tools bench`
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Model package by name or folder; repeatable. The first, on the first engine, is what the others are
    /// compared with.
    #[arg(long, required = true)]
    pub model: Vec<String>,
    /// Engines. One that this machine lacks is passed over, and said so.
    #[arg(long, value_delimiter = ',', default_value = "tract,ort")]
    pub engine: Vec<EngineKind>,
    /// Threads of each engine.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Rounds in which all take their turn.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Frames of each in a round.
    #[arg(long, default_value_t = 20)]
    pub frames: usize,
    /// One JSON object per line instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// One package on one engine.
struct Contender {
    package: ModelPackage,
    engine: EngineKind,
    model: OnePrompt,
    image: Tensor,
    prompt: Features,
    load_ms: f64,
    /// How far its map is off the golden one.
    off: Option<f32>,
    encode: Times,
    segment: Times,
}

/// Milliseconds per run.
#[derive(Default)]
struct Times {
    /// Of each run.
    wall: Vec<f64>,
    /// On processors, the mean of each round.
    cpu: Vec<f64>,
}

impl Times {
    fn take(&mut self, frames: usize, mut run: impl FnMut() -> Result<()>) -> Result<()> {
        let before = cpu_ms();
        for _ in 0..frames {
            let start = Instant::now();
            run()?;
            self.wall.push(start.elapsed().as_secs_f64() * 1e3);
        }
        if let (Some(before), Some(after)) = (before, cpu_ms()) {
            self.cpu.push((after - before) / frames as f64);
        }
        Ok(())
    }
}

/// Milliseconds that the threads of this process have spent on processors, to the nanosecond where the kernel
/// tells.
fn cpu_ms() -> Option<f64> {
    let mut sum = 0u64;
    for task in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        sum += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(sum as f64 / 1e6)
}

fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Runs the command.
///
/// # Errors
/// A package that cannot be opened, or none that runs on any of the engines.
pub fn run(args: &BenchArgs) -> Result<()> {
    ensure!(
        (1..=ENGINE_THREADS_MAX).contains(&args.threads),
        "--threads {}: choose 1 to {ENGINE_THREADS_MAX}",
        args.threads
    );
    ensure!(args.rounds > 0 && args.frames > 0, "--rounds and --frames must be at least 1");
    let folder = Scratch::new()?;
    let mut contenders = Vec::new();
    for name in &args.model {
        let dir = find_model(name).map_err(|e| anyhow!("{e}"))?;
        let package = ModelPackage::open(&dir).map_err(|e| anyhow!("{e}"))?;
        for engine in &args.engine {
            match contender(&package, *engine, args.threads, &folder.0)? {
                Ok(contender) => contenders.push(contender),
                Err(why) => eprintln!("passed over: {} on {engine}: {why}", package.id()),
            }
        }
    }
    ensure!(!contenders.is_empty(), "nothing runs here: see above");
    let bar = progress::bar((args.rounds * contenders.len()) as u64, "bench");
    for round in 0..=args.rounds {
        for c in &mut contenders {
            let Contender { model, image, prompt, encode, segment, .. } = c;
            let (mut lost, mut lost_too) = Default::default();
            // The first round fills caches.
            let warm = round > 0;
            let (encode, segment) =
                if warm { (encode, segment) } else { (&mut lost, &mut lost_too) };
            let frames = if warm { args.frames } else { 1 };
            let mut query = model.encode_tensor(image)?;
            encode.take(frames, || {
                query = model.encode_tensor(image)?;
                Ok(())
            })?;
            segment.take(frames, || {
                model.segment(&query, prompt)?;
                Ok(())
            })?;
            if warm {
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    print(args, &contenders);
    Ok(())
}

/// `package` on `engine`, in the format that the engine reads; or why it cannot be.
fn contender(
    package: &ModelPackage,
    engine: EngineKind,
    threads: usize,
    folder: &Path,
) -> Result<Result<Contender, EngineError>> {
    let load = |package: &ModelPackage| {
        let start = Instant::now();
        OnePrompt::load(package, engine, threads)
            .map(|model| (package.clone(), model, start.elapsed().as_secs_f64() * 1e3))
    };
    let loaded = match load(package) {
        // ONNX Runtime reads what tract reads once it is written as ONNX; 8 bits are made for one of them.
        Err(ModelError::Engine(EngineError::Format { engine: EngineKind::Ort(_), .. }))
            if package.card().precision == Precision::F32 =>
        {
            let twin = folder.join(package.id());
            let twin = in_onnx(package, &twin).with_context(|| {
                format!("{} on {engine}: it cannot be written as ONNX", package.id())
            })?;
            load(&twin)
        }
        other => other,
    };
    let (package, mut model, load_ms) = match loaded {
        Ok(loaded) => loaded,
        Err(ModelError::Engine(
            error @ (EngineError::NotInThisBuild { .. }
            | EngineError::Unavailable { .. }
            | EngineError::Format { .. }),
        )) => return Ok(Err(error)),
        Err(error) => return Err(anyhow!("{} on {engine}: {error}", package.id())),
    };
    let golden = Golden::open(&package).map_err(|e| anyhow!("{e}"))?;
    let off = golden.map(|golden| golden.difference(&mut model)).transpose();
    let off = off.map_err(|e| anyhow!("{} on {engine}: {e}", package.id()))?;
    let image = noise(&model, 1);
    let prompt = model.encode_tensor(&noise(&model, 2))?;
    let (encode, segment) = Default::default();
    Ok(Ok(Contender { package, engine, model, image, prompt, load_ms, off, encode, segment }))
}

/// A picture of even noise, as the encoder takes it.
fn noise(model: &OnePrompt, seed: u32) -> Tensor {
    let (width, height) = model.input_size();
    let shape = [1, 3, height as usize, width as usize];
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 * 2.0 - 2.0
    };
    let data = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor { shape: shape.to_vec(), data }
}

/// A folder for packages that are written as ONNX on the way, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch> {
        let folder = std::env::temp_dir().join(format!("touchstone-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(Scratch(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What is told of a contender.
struct Row {
    megabytes: f64,
    wall: [Option<f64>; 2],
    cpu: [Option<f64>; 2],
}

impl Row {
    fn of(c: &Contender) -> Row {
        let bytes = |file: PathBuf| std::fs::metadata(file).map_or(0, |m| m.len());
        let bytes = bytes(c.package.encode_file()) + bytes(c.package.segment_file());
        Row {
            megabytes: bytes as f64 / 1e6,
            wall: [median(&c.encode.wall), median(&c.segment.wall)],
            cpu: [median(&c.encode.cpu), median(&c.segment.cpu)],
        }
    }

    /// Both graphs: processor time where the kernel tells, else by the clock.
    fn both(&self) -> Option<f64> {
        let sum = |[a, b]: [Option<f64>; 2]| Some(a? + b?);
        sum(self.cpu).or(sum(self.wall))
    }
}

fn print(args: &BenchArgs, contenders: &[Contender]) {
    let rows: Vec<Row> = contenders.iter().map(Row::of).collect();
    let first = rows.first().and_then(Row::both);
    let ratio = |row: &Row| Some(row.both()? / first?);
    if args.json {
        for (c, row) in contenders.iter().zip(&rows) {
            println!("{}", object(args, c, row, ratio(row)));
        }
        return;
    }
    println!(
        "{} thread(s), {} rounds of {} frames, interleaved; medians in ms, of processor time and (by the clock)",
        args.threads, args.rounds, args.frames
    );
    println!(
        "| package | precision | engine | MB | encode | segment | both | ratio | load | golden map off |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let ms = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.1}"));
    for (c, row) in contenders.iter().zip(&rows) {
        let stage = |i: usize| format!("{} ({})", ms(row.cpu[i]), ms(row.wall[i]));
        println!(
            "| {} | {} | {} | {:.2} | {} | {} | {} | {} | {:.0} | {} |",
            c.package.id(),
            c.package.card().precision,
            c.engine,
            row.megabytes,
            stage(0),
            stage(1),
            ms(row.both()),
            ratio(row).map_or("-".to_owned(), |r| format!("{r:.2}")),
            c.load_ms,
            c.off.map_or("-".to_owned(), |off| format!("{off:.1e}")),
        );
    }
}

fn object(args: &BenchArgs, c: &Contender, row: &Row, ratio: Option<f64>) -> Value {
    json!({
        "package": c.package.id(),
        "precision": c.package.card().precision.to_string(),
        "engine": c.engine.name(),
        "threads": args.threads,
        "megabytes": row.megabytes,
        "encode_cpu_ms": row.cpu[0],
        "segment_cpu_ms": row.cpu[1],
        "encode_wall_ms": row.wall[0],
        "segment_wall_ms": row.wall[1],
        "both_ms": row.both(),
        "ratio": ratio,
        "load_ms": c.load_ms,
        "golden_off": c.off,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_processor_time() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
        let mut times = Times::default();
        times.take(2, || Ok(())).unwrap();
        assert_eq!(times.wall.len(), 2);
        assert!(times.cpu.iter().all(|ms| *ms >= 0.0));
        assert!(times.take(1, || Err(anyhow!("no"))).is_err());
    }
}
