//! The binary `touchstone-tools`.

use std::process::ExitCode;

use clap::Parser;
use touchstone_tools::cli::{Cli, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = match cli.verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level)).init();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("touchstone-tools: {error:#}");
            ExitCode::from(2)
        }
    }
}
