//! `linesim`: the line in simulated time, from the command line.

use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use touchstone_linesim::sweep::{rates, sweep};

const HELP: &str = "linesim: the line in simulated time, with faults, held against its promises

  --seeds A..B   seeds to run, B not included (default 0..96)
  --parts N      parts per seed (default 10000)
  --rate         instead, 1e6 parts at the stated rate and 1e5 at 120 % of it
  --json         one line of JSON per row instead of the table

Exit status: 0 all promises held, 1 one was broken, 2 wrong use.";

struct Args {
    seeds: Range<u64>,
    parts: usize,
    json: bool,
    rate: bool,
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Args>, String> {
    let mut parsed = Args { seeds: 0..96, parts: 10_000, json: false, rate: false };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value; see --help"));
        match arg.as_str() {
            "--seeds" => {
                let text = value()?;
                let ends = text
                    .split_once("..")
                    .and_then(|(a, b)| Some(a.parse::<u64>().ok()?..b.parse::<u64>().ok()?));
                parsed.seeds = ends
                    .filter(|r| !r.is_empty())
                    .ok_or_else(|| format!("--seeds {text}: write A..B with A below B"))?;
            }
            "--parts" => {
                let text = value()?;
                let parts = text.parse().ok().filter(|p| (1..=100_000_000).contains(p));
                parsed.parts =
                    parts.ok_or_else(|| format!("--parts {text}: choose 1 to 100000000"))?;
            }
            "--rate" => parsed.rate = true,
            "--json" => parsed.json = true,
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("{other} is unknown; see --help")),
        }
    }
    Ok(Some(parsed))
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("linesim: {why}");
            return ExitCode::from(2);
        }
    };
    let total = args.seeds.end - args.seeds.start;
    let began = Instant::now();
    let swept = if args.rate {
        rates()
    } else {
        sweep(args.seeds, args.parts, |done| {
            eprint!("\r{done}/{total} seeds, {:.0} s ", began.elapsed().as_secs_f64());
        })
    };
    eprintln!();
    match swept {
        Ok(table) if args.json => {
            for (name, tally) in &table.0 {
                println!("{}", tally.json(name));
            }
            ExitCode::SUCCESS
        }
        Ok(table) => {
            print!("{table}");
            ExitCode::SUCCESS
        }
        Err(failed) => {
            println!("{failed}");
            ExitCode::FAILURE
        }
    }
}
