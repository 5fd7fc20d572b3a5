//! What the host may ask for, as text and as values.

use std::time::Duration;

/// Most wires that can be watched at once.
const WIRES_MAX: usize = 32;
/// Fastest and slowest sampling.
const PERIOD_US: std::ops::RangeInclusive<u64> = 100..=1_000_000;

/// One line of the host, parsed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Comes back with the answer.
    pub(crate) id: u32,
    /// How long the command may take.
    pub(crate) timeout: Duration,
    pub(crate) command: Command,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// The monotonic clock.
    Now,
    /// A command line for the shell.
    Shell(String),
    /// Text into a file of sysfs or configfs, with the time at which it happened.
    Write { path: String, text: String },
    /// Sample these wires from now on.
    Watch { period: Duration, wires: Vec<Wire> },
    /// The edges seen since number `from`.
    Edges { from: usize },
}

/// A file that holds a level, and what to call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) name: String,
    pub(crate) path: String,
}

impl Request {
    /// `ID TIMEOUT_MS VERB REST`.
    pub(crate) fn parse(line: &str) -> Result<Request, String> {
        let mut words = line.splitn(4, ' ');
        let mut word = |what: &str| words.next().ok_or_else(|| format!("{what} is missing"));
        let id = number(word("the id")?, "the id")?;
        let timeout = Duration::from_millis(number(word("the timeout")?, "the timeout")?);
        let verb = word("the verb")?;
        let rest = words.next().unwrap_or_default();
        let command = match verb {
            "now" => Command::Now,
            "sh" => Command::Shell(rest.to_owned()),
            "write" => {
                let (path, text) = rest.split_once(' ').ok_or("write needs a path and a text")?;
                Command::Write { path: path.to_owned(), text: text.to_owned() }
            }
            "watch" => watch(rest)?,
            "edges" => Command::Edges { from: number(rest, "the first edge")? },
            other => return Err(format!("'{other}' is no verb: now, sh, write, watch, edges")),
        };
        Ok(Request { id, timeout, command })
    }
}

fn watch(rest: &str) -> Result<Command, String> {
    let mut words = rest.split(' ').filter(|word| !word.is_empty());
    let period_us: u64 = number(words.next().unwrap_or_default(), "the period")?;
    if !PERIOD_US.contains(&period_us) {
        return Err(format!(
            "the period is {period_us} us; choose {} to {}",
            PERIOD_US.start(),
            PERIOD_US.end()
        ));
    }
    let wire = |word: &str| {
        let (name, path) = word.split_once('=').ok_or(format!("'{word}' is not name=path"))?;
        Ok::<_, String>(Wire { name: name.to_owned(), path: path.to_owned() })
    };
    let wires = words.map(wire).collect::<Result<Vec<_>, _>>()?;
    if wires.is_empty() || wires.len() > WIRES_MAX {
        return Err(format!("{} wires; watch 1 to {WIRES_MAX}", wires.len()));
    }
    Ok(Command::Watch { period: Duration::from_micros(period_us), wires })
}

fn number<T: std::str::FromStr>(word: &str, what: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{what} is '{word}', not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_understood() {
        let parsed = |line| Request::parse(line).unwrap().command;
        assert_eq!(parsed("1 100 now"), Command::Now);
        assert_eq!(parsed("1 100 sh echo a  b"), Command::Shell("echo a  b".to_owned()));
        let write = Command::Write { path: "/x".to_owned(), text: "pull up".to_owned() };
        assert_eq!(parsed("1 100 write /x pull up"), write);
        assert_eq!(parsed("1 100 edges 7"), Command::Edges { from: 7 });
        let wire = |n: &str, p: &str| Wire { name: n.to_owned(), path: p.to_owned() };
        let wires = vec![wire("a", "/a"), wire("b", "/b=c")];
        let period = Duration::from_micros(500);
        assert_eq!(parsed("1 100 watch 500 a=/a b=/b=c"), Command::Watch { period, wires });
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        let refused = |line| Request::parse(line).unwrap_err();
        assert!(refused("").contains("the id"));
        assert!(refused("1").contains("the timeout"));
        assert!(refused("1 2").contains("the verb"));
        assert!(refused("1 2 dance").contains("'dance' is no verb"));
        assert!(refused("1 2 watch 5 a=/a").contains("choose 100"));
        assert!(refused("1 2 watch 500").contains("0 wires"));
        assert!(refused("1 2 edges x").contains("not a number"));
    }
}
