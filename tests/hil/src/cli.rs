//! The command line: `cargo xtask hil …`.

use std::path::PathBuf;

use crate::arch::Arch;
use crate::fail::{Fail, Outcome};
use crate::scenarios;

/// Most VMs at a time; each has a gigabyte and two processors.
const JOBS_MAX: usize = 8;

/// How it is used.
pub const USAGE: &str = "\
cargo xtask hil: the real binary against the real Linux drivers, in a VM (docs/hil.md)

  --list              the scenarios and what each shows
  --scenario NAME     only this one; give it again for more
  --arch ARCH         x86_64 (default) or aarch64
  --jobs N            so many VMs at a time (default 1); most of a scenario is waiting
  --firmware FILE     this binary instead of building one
  --accel kvm|tcg     do not try, use this
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
    pub jobs: usize,
    /// A binary that is there already.
    pub firmware: Option<PathBuf>,
    /// `kvm` or `tcg`, without trying.
    pub accel: Option<String>,
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
                "--jobs" => cli.jobs = jobs(&value()?)?,
                "--firmware" => cli.firmware = Some(PathBuf::from(value()?)),
                "--accel" => cli.accel = Some(accel(value()?)?),
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

fn jobs(text: &str) -> Outcome<usize> {
    let count = text.parse().ok().filter(|count| (1..=JOBS_MAX).contains(count));
    count.ok_or_else(|| Fail::Use(format!("--jobs is '{text}'; 1 to {JOBS_MAX} are possible")))
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
        assert!(wrong("hil --fast").contains("'--fast' is no option"));
        assert!(wrong("hil --accel magic").contains("kvm and tcg"));
    }
}
