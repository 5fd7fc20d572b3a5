//! `touchstone`: parse, run, end with the documented status.

use std::process::ExitCode;

use clap::Parser;
use touchstone::cli::Cli;
use touchstone::{commands, exit, terminal};

fn main() -> ExitCode {
    // Ends by itself with status 2 on wrong use, 0 after --help and --version.
    let cli = Cli::parse();
    touchstone_board::memory::keep_freed();
    terminal::start_log(cli.verbose);
    exit::status(commands::run(&cli))
}
