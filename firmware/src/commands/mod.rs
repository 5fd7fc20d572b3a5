//! One module per command; each takes its arguments and ends as [`Ended`].

pub mod bench;
pub mod demo;
pub mod doctor;
pub mod inspect;
mod place;
pub mod recipe;
pub mod run;
pub mod teach;

use crate::cli::{Cli, Command};
use crate::exit::Ended;

/// Runs the command that was asked for.
///
/// # Errors
/// What went wrong, with the exit status that belongs to it.
pub fn run(cli: &Cli) -> Ended {
    match &cli.command {
        Command::Inspect(args) => inspect::run(args),
        Command::Teach(args) => teach::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Run(args) => run::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Recipe(args) => recipe::run(&args.command),
    }
}
