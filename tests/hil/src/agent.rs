//! The host's side of the agent in the VM: commands, and edges of watched wires.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::fail::{Fail, Outcome, at};
use crate::wire::Wire;

/// What the host waits for beyond the time that the guest may take: the VM is slow, not dead.
const GRACE: Duration = Duration::from_secs(30);
/// Time for things that take no time.
const QUICK: Duration = Duration::from_secs(30);
/// Bytes of an answer that go into the transcript.
const TRANSCRIPT_BYTES: usize = 2000;
/// How often the guest's clock is asked; the quickest answer counts.
const CLOCK_TRIES: u32 = 5;

/// A connection to the agent.
#[derive(Debug)]
pub struct Agent {
    wire: Wire,
    transcript: File,
    born: Instant,
    next_id: u32,
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Exit status, 124 if it took too long, 128 + N if ended by signal N.
    pub code: i32,
    /// What it said.
    pub text: String,
}

/// One change of one wire, on the guest's monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// When it was seen, in microseconds.
    pub at_us: i64,
    /// Which wire.
    pub wire: String,
    /// The level from then on.
    pub level: bool,
}

/// What a watch has seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edges {
    /// How often the wires were looked at.
    pub samples: u64,
    /// The longest time between two looks, in microseconds: no edge time is better than this.
    pub gap_us_max: i64,
    /// The edges, oldest first; the first of each wire is its level at the start.
    pub edges: Vec<Edge>,
}

/// The guest's clock as seen from here.
#[derive(Clone, Copy, Debug)]
pub struct GuestClock {
    host: Instant,
    guest_us: i64,
    /// Half the round trip: how far this may be off.
    pub unsure_us: i64,
}

impl GuestClock {
    /// What the guest's clock showed at `then`.
    pub fn at(&self, then: Instant) -> i64 {
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        match then.checked_duration_since(self.host) {
            Some(after) => self.guest_us + micros(after),
            None => self.guest_us - micros(self.host.duration_since(then)),
        }
    }
}

impl Agent {
    /// Connects to the port; the guest need not be up yet. All that is said goes to `transcript`.
    ///
    /// # Errors
    /// QEMU does not answer, or the transcript cannot be written.
    pub fn connect(socket: &Path, transcript: &Path) -> Outcome<Agent> {
        let wire = Wire::connect("agent", socket)?;
        let file = File::create(transcript).map_err(at("creating", transcript))?;
        Ok(Agent { wire, transcript: file, born: Instant::now(), next_id: 0 })
    }

    /// Waits until the guest says that it is up.
    ///
    /// # Errors
    /// It does not within `limit`.
    pub fn ready(&mut self, limit: Duration) -> Outcome<()> {
        let deadline = Instant::now() + limit;
        loop {
            let (id, answer) = self.answer(deadline)?;
            if id == 0 && answer.text.starts_with("ready") {
                return Ok(());
            }
        }
    }

    /// Runs a command line in the guest's shell.
    ///
    /// # Errors
    /// No answer; that the command failed is an answer.
    pub fn sh(&mut self, line: &str, limit: Duration) -> Outcome<Answer> {
        self.ask("sh", line, limit)
    }

    /// Runs a command line that has to succeed, and gives back what it said.
    ///
    /// # Errors
    /// It fails; with what it said.
    pub fn ok(&mut self, line: &str, limit: Duration) -> Outcome<String> {
        let answer = self.sh(line, limit)?;
        if answer.code != 0 {
            return Err(Fail::Seen(format!(
                "in the guest, `{line}` ended with {}: {}",
                answer.code,
                answer.text.trim_end()
            )));
        }
        Ok(answer.text)
    }

    /// Writes `text` to a file of sysfs and gives back the guest's time just before.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn write(&mut self, path: &str, text: &str) -> Outcome<i64> {
        let answer = self.good("write", &format!("{path} {text}"))?;
        answer
            .split(' ')
            .next()
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| Fail::Broken(format!("the agent answers '{answer}' to a write")))
    }

    /// Watches wires, given as name and file, from now on; ends an earlier watch.
    ///
    /// # Errors
    /// A file is not there.
    pub fn watch(&mut self, period: Duration, wires: &[(String, String)]) -> Outcome<()> {
        let list: Vec<String> = wires.iter().map(|(name, path)| format!("{name}={path}")).collect();
        self.good("watch", &format!("{} {}", period.as_micros(), list.join(" ")))?;
        Ok(())
    }

    /// What the watch has seen since its start.
    ///
    /// # Errors
    /// Nothing is watched, or edges were lost.
    pub fn edges(&mut self) -> Outcome<Edges> {
        let text = self.good("edges", "0")?;
        parse_edges(&text).ok_or_else(|| Fail::Broken(format!("the agent's edges read '{text}'")))
    }

    /// Reads the guest's clock.
    ///
    /// # Errors
    /// No answer.
    pub fn clock(&mut self) -> Outcome<GuestClock> {
        let mut best: Option<GuestClock> = None;
        for _ in 0..CLOCK_TRIES {
            let before = Instant::now();
            let text = self.good("now", "")?;
            let trip = before.elapsed();
            let guest_us = text
                .parse()
                .map_err(|_| Fail::Broken(format!("the agent's clock reads '{text}'")))?;
            let unsure_us = i64::try_from(trip.as_micros() / 2).unwrap_or(i64::MAX);
            if best.is_none_or(|known| unsure_us < known.unsure_us) {
                best = Some(GuestClock { host: before + trip / 2, guest_us, unsure_us });
            }
        }
        best.ok_or_else(|| Fail::Broken("the guest's clock was never asked".to_owned()))
    }

    fn good(&mut self, verb: &str, rest: &str) -> Outcome<String> {
        let answer = self.ask(verb, rest, QUICK)?;
        if answer.code != 0 {
            return Err(Fail::Seen(format!("in the guest, {verb} {rest}: {}", answer.text)));
        }
        Ok(answer.text)
    }

    fn ask(&mut self, verb: &str, rest: &str, limit: Duration) -> Outcome<Answer> {
        self.next_id += 1;
        let id = self.next_id;
        if rest.contains('\n') {
            return Err(Fail::Broken(format!("a command has two lines: {rest}")));
        }
        self.note(&format!("> {verb} {rest}"));
        let line = format!("{id} {} {verb} {rest}\n", limit.as_millis());
        self.wire.send(line.as_bytes())?;
        let deadline = Instant::now() + limit + GRACE;
        loop {
            let (answered, answer) = self.answer(deadline)?;
            if answered == id {
                return Ok(answer);
            }
        }
    }

    fn answer(&mut self, deadline: Instant) -> Outcome<(u32, Answer)> {
        let head = self.wire.line(deadline)?;
        let mut words = head.split(' ');
        let mut number = || words.next().and_then(|word| word.parse::<i64>().ok());
        let (Some(id), Some(code), Some(length)) = (number(), number(), number()) else {
            return Err(Fail::Broken(format!("the agent's answer begins with '{head}'")));
        };
        let length = usize::try_from(length).unwrap_or(0);
        let bytes = self.wire.exactly(length, deadline)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let shown = text.get(..TRANSCRIPT_BYTES).unwrap_or(&text).trim_end().to_owned();
        self.note(&format!("< {code} {shown}"));
        let code = i32::try_from(code).unwrap_or(i32::MAX);
        Ok((u32::try_from(id).unwrap_or(0), Answer { code, text }))
    }

    fn note(&mut self, text: &str) {
        let at = self.born.elapsed().as_secs_f64();
        // A transcript that cannot be written must not end a scenario that otherwise goes well.
        let _ = writeln!(self.transcript, "{at:9.3} {text}");
    }
}

fn parse_edges(text: &str) -> Option<Edges> {
    let mut lines = text.lines();
    let mut head = lines.next()?.split(' ');
    let samples = head.next()?.parse().ok()?;
    let gap_us_max = head.next()?.parse().ok()?;
    let lost: u64 = head.next()?.parse().ok()?;
    if lost > 0 {
        return None;
    }
    let edge = |line: &str| {
        let mut words = line.split(' ');
        let at_us = words.next()?.parse().ok()?;
        let wire = words.next()?.to_owned();
        Some(Edge { at_us, wire, level: words.next()? == "1" })
    };
    let edges = lines.map(edge).collect::<Option<Vec<Edge>>>()?;
    Some(Edges { samples, gap_us_max, edges })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_whole_or_not_at_all() {
        let edges = parse_edges("12 900 0\n5 trigger 0\n77 trigger 1\n").unwrap();
        assert_eq!((edges.samples, edges.gap_us_max), (12, 900));
        let last = Edge { at_us: 77, wire: "trigger".to_owned(), level: true };
        assert_eq!(edges.edges.last(), Some(&last));
        for bad in ["", "1 2", "1 2 3\n", "1 2 0\nx trigger 1\n", "1 2 0\n5 trigger\n"] {
            assert_eq!(parse_edges(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_guests_clock_runs_both_ways() {
        let host = Instant::now() + Duration::from_secs(5);
        let clock = GuestClock { host, guest_us: 1_000_000, unsure_us: 0 };
        assert_eq!(clock.at(host + Duration::from_millis(3)), 1_003_000);
        assert_eq!(clock.at(host - Duration::from_millis(3)), 997_000);
    }
}
