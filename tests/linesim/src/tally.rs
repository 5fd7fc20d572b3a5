//! What became of the parts, as numbers and as a table.

use std::fmt;

/// Numbers of parts. Every part is in one of the outcomes, or was taken off the
/// belt before the line could know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Seeds that ran.
    pub seeds: u64,
    /// Parts that crossed the sensor.
    pub parts: u64,
    /// Passed.
    pub passed: u64,
    /// Rejected, by reason: judged, late, no frame, stale frame, overload, not
    /// ready, out of order, encoder.
    pub rejected: [u64; 8],
    /// Taken off the belt by a person, without an outcome: the encoder was dead.
    pub unseen: u64,
    /// Checks of the output at a part's arrival that were made.
    pub checks: u64,
    /// Arrivals that were not checked: pulse by time on a belt that changed speed.
    pub unsteady: u64,
    /// Arrivals at a quiet output while the encoder was dead and nobody knew.
    pub blind: u64,
}

/// Titles of the numbers in the table and in JSON.
const TITLES: [&str; 15] = [
    "seeds",
    "parts",
    "passed",
    "judged",
    "late",
    "no_frame",
    "stale",
    "overload",
    "not_ready",
    "disorder",
    "encoder",
    "unseen",
    "checks",
    "unsteady",
    "blind",
];

impl Tally {
    fn numbers(&self) -> [u64; 15] {
        let r = self.rejected;
        [
            self.seeds,
            self.parts,
            self.passed,
            r[0],
            r[1],
            r[2],
            r[3],
            r[4],
            r[5],
            r[6],
            r[7],
            self.unseen,
            self.checks,
            self.unsteady,
            self.blind,
        ]
    }

    /// Adds another run's numbers.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.parts += other.parts;
        self.passed += other.passed;
        for (sum, more) in self.rejected.iter_mut().zip(other.rejected) {
            *sum += more;
        }
        self.unseen += other.unseen;
        self.checks += other.checks;
        self.unsteady += other.unsteady;
        self.blind += other.blind;
    }

    /// Parts that have an outcome, or whose lack of one is accounted for.
    pub fn accounted(&self) -> u64 {
        self.passed + self.rejected.iter().sum::<u64>() + self.unseen
    }

    /// One line of JSON.
    pub fn json(&self, name: &str) -> String {
        let mut line = format!("{{\"row\":\"{name}\"");
        for (title, number) in TITLES.iter().zip(self.numbers()) {
            line.push_str(&format!(",\"{title}\":{number}"));
        }
        line.push('}');
        line
    }
}

/// A table with a row per scenario.
#[derive(Debug, Default)]
pub struct Table(pub Vec<(String, Tally)>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<32}", "row")?;
        for title in TITLES {
            write!(f, " {title:>9}")?;
        }
        writeln!(f)?;
        for (name, tally) in &self.0 {
            write!(f, "{name:<32}")?;
            for number in tally.numbers() {
                write!(f, " {number:>9}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
