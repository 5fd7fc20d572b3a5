//! The command line: `cargo xtask hil …`.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::arch::Arch;
use crate::fail::{Fail, Outcome};
use crate::scenarios;

/// Most VMs at a time; each has a gigabyte and two processors.
const JOBS_MAX: u32 = 8;
/// Most rounds; each takes a quarter of a minute.
const ROUNDS_MAX: u32 = 100_000;

/// How it is used.
pub const USAGE: &str = "\
cargo xtask hil: the real binary against the real Linux drivers, in a VM (docs/hil.md)

  --list              the scenarios and what each shows
  --scenario NAME     only this one; give it again for more
  --arch ARCH         x86_64 (default) or aarch64
  --jobs N            so many VMs at a time (default 1); most of a scenario is waiting
  --firmware FILE     this binary instead of building one
  --accel kvm|tcg     do not try, use this
  --rounds N          power cuts of recipes-cut, sticks of recipes-stick (a few unless told;
                      the promise of SPECIFICATION.md is 200 and 50)
  --seed N            what is cut and pulled, and when, is drawn from this number (default 1)
  --allow-skip        exit 0 where QEMU or the packages are not to be had
  --keep              leave a failed VM running until Enter, for a look inside
  --json              one JSON object per scenario on standard output

Logs are in target/hil/log/SCENARIO. Exit status: 0 all seen (or skipped), 1 something was not
seen, 2 wrong use, 3 this machine lacks something.";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cli {
    /// Say what there is.
    pub list: bool,
    /// Names of scenarios; none: all.
    pub scenarios: Vec<String>,
    /// The architecture.
    pub arch: Arch,
    /// How many VMs run at a time.
    pub jobs: u32,
    /// A binary that is there already.
    pub firmware: Option<PathBuf>,
    /// `kvm` or `tcg`, without trying.
    pub accel: Option<String>,
    /// Rounds of scenarios that go round.
    pub rounds: Option<u32>,
    /// What is random in them is drawn from this.
    pub seed: u64,
    /// A machine that cannot is no failure.
    pub allow_skip: bool,
    /// Wait before a failed VM is ended.
    pub keep: bool,
    /// For programs to read.
    pub json: bool,
    /// Only say how it is used.
    pub help: bool,
}

impl Cli {
    /// Parses the words after the program's name.
    ///
    /// # Errors
    /// Words that are not understood, with what is.
    pub fn parse(words: &[String]) -> Outcome<Cli> {
        let mut cli = Cli {
            list: false,
            scenarios: Vec::new(),
            arch: Arch::X86_64,
            jobs: 1,
            firmware: None,
            accel: None,
            rounds: None,
            seed: 1,
            allow_skip: false,
            keep: false,
            json: false,
            help: false,
        };
        let mut words = words.iter();
        match words.next().map(String::as_str) {
            Some("hil") => {}
            Some("-h" | "--help") | None => cli.help = true,
            Some(other) => return Err(Fail::Use(format!("'{other}': there is only `hil`"))),
        }
        while let Some(word) = words.next() {
            let mut value = || {
                let next = words.next().cloned();
                next.ok_or_else(|| Fail::Use(format!("{word} needs a value")))
            };
            match word.as_str() {
                "--list" => cli.list = true,
                "--scenario" => cli.scenarios.push(known(value()?)?),
                "--arch" => cli.arch = Arch::named(&value()?)?,
                "--jobs" => cli.jobs = number(word, &value()?, 1..=JOBS_MAX)?,
                "--firmware" => cli.firmware = Some(PathBuf::from(value()?)),
                "--accel" => cli.accel = Some(accel(value()?)?),
                "--rounds" => cli.rounds = Some(number(word, &value()?, 1..=ROUNDS_MAX)?),
                "--seed" => cli.seed = number(word, &value()?, 0..=u32::MAX)?.into(),
                "--allow-skip" => cli.allow_skip = true,
                "--keep" => cli.keep = true,
                "--json" => cli.json = true,
                "-h" | "--help" => cli.help = true,
                other => return Err(Fail::Use(format!("'{other}' is no option"))),
            }
        }
        Ok(cli)
    }
}

fn known(name: String) -> Outcome<String> {
    let names: Vec<&str> = scenarios::ALL.iter().map(|scenario| scenario.name).collect();
    match names.contains(&name.as_str()) {
        true => Ok(name),
        false => Err(Fail::Use(format!("no scenario '{name}'; there are {}", names.join(", ")))),
    }
}

fn number(option: &str, text: &str, range: RangeInclusive<u32>) -> Outcome<u32> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let (low, high) = (range.start(), range.end());
        Fail::Use(format!("{option} is '{text}'; {low} to {high} are possible"))
    })
}

fn accel(name: String) -> Outcome<String> {
    match name.as_str() {
        "kvm" | "tcg" => Ok(name),
        other => Err(Fail::Use(format!("--accel is '{other}'; there are kvm and tcg"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Outcome<Cli> {
        Cli::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_understood() {
        let cli = parse("hil --arch aarch64 --scenario part --keep --json").unwrap();
        assert_eq!((cli.arch, cli.keep, cli.json), (Arch::Aarch64, true, true));
        assert_eq!(cli.scenarios, ["part"]);
        assert_eq!((cli.jobs, parse("hil --jobs 3").unwrap().jobs), (1, 3));
        let cli = parse("hil --rounds 200 --seed 7").unwrap();
        assert_eq!((cli.rounds, cli.seed), (Some(200), 7));
        assert!(parse("hil --list").unwrap().list);
        assert!(parse("").unwrap().help);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |line| parse(line).unwrap_err().to_string();
        assert!(wrong("hill").contains("only `hil`"));
        assert!(wrong("hil --arch mips").contains("'mips'"));
        assert!(wrong("hil --scenario lunch").contains("there are part"));
        assert!(wrong("hil --scenario").contains("needs a value"));
        assert!(wrong("hil --jobs 0").contains("1 to 8"));
        assert!(wrong("hil --rounds none").contains("1 to"));
        assert!(wrong("hil --fast").contains("'--fast' is no option"));
        assert!(wrong("hil --accel magic").contains("kvm and tcg"));
    }
}
