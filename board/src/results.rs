//! What the line tells the outside: one record per part, and how it is. Free of models and recipes.

use crate::command::NAME_BYTES_MAX;
use std::fmt::Write;

/// Longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 64;

/// What became of a part.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultRecord {
    /// The part's number.
    pub part: u64,
    /// Passed; otherwise rejected.
    pub pass: bool,
    /// Why.
    pub reason: heapless::String<REASON_BYTES_MAX>,
    /// The anomaly score; NaN where there is none.
    pub score: f32,
    /// How likely a good part scores at least this; NaN where there is none.
    pub p_value: f64,
    /// Microseconds from the trigger to the verdict.
    pub micros: u32,
}

impl ResultRecord {
    /// A record; a reason too long is cut at a character.
    pub fn new(
        part: u64,
        pass: bool,
        reason: &str,
        score: f32,
        p_value: f64,
        micros: u32,
    ) -> ResultRecord {
        ResultRecord { part, pass, reason: cut(reason), score, p_value, micros }
    }

    /// As text for a serial line.
    pub fn line(&self) -> String {
        let verdict = if self.pass { "pass" } else { "reject" };
        let ResultRecord { part, reason, score, p_value, micros, .. } = self;
        format!(
            "part={part} {verdict} score={score:.4} p={p_value:.3e} us={micros} reason={reason}"
        )
    }
}

/// As much of a text as fits.
pub fn cut<const N: usize>(text: &str) -> heapless::String<N> {
    let mut short = heapless::String::new();
    for character in text.chars() {
        if short.push(character).is_err() {
            break;
        }
    }
    short
}

/// What the line has counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Parts that were announced.
    pub parts: u64,
    /// Passed.
    pub passed: u64,
    /// Rejected, for whatever reason.
    pub rejected: u64,
    /// Rejected because no verdict came in time.
    pub late: u64,
    /// Triggers that the line could not take.
    pub missed: u64,
    /// Rejected because there was too much to do.
    pub overload: u64,
}

impl Counters {
    /// As text for a serial line.
    pub fn line(&self) -> String {
        let Counters { parts, passed, rejected, late, missed, overload } = self;
        format!(
            "parts={parts} passed={passed} rejected={rejected} late={late} missed={missed} overload={overload}"
        )
    }
}

/// How the line is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Inspecting, as opposed to stopped or being set up.
    pub online: bool,
    /// The next part can come.
    pub ready: bool,
    /// A part is being inspected.
    pub busy: bool,
    /// Something needs a person.
    pub error: bool,
    /// Parts that pass are no longer like those before, and nobody has acknowledged that.
    pub drift: bool,
    /// The active recipe.
    pub recipe: heapless::String<NAME_BYTES_MAX>,
    /// The first bytes of a hash over model and recipe: whoever reads it sees that neither was changed.
    pub identity: [u8; 8],
    /// Since the start.
    pub counters: Counters,
}

impl Status {
    /// As text for a serial line.
    pub fn line(&self) -> String {
        let bit = u8::from;
        let mut line = format!(
            "online={} ready={} busy={} error={} drift={} identity=",
            bit(self.online),
            bit(self.ready),
            bit(self.busy),
            bit(self.error),
            bit(self.drift)
        );
        for byte in self.identity {
            // Writing into a String cannot fail.
            let _ = write!(line, "{byte:02x}");
        }
        // Last, because it may hold spaces.
        let _ = write!(line, " recipe={}", self.recipe);
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_everything() {
        let record = ResultRecord::new(7, false, "scratch", 1.5, 0.001, 4200);
        assert_eq!(record.line(), "part=7 reject score=1.5000 p=1.000e-3 us=4200 reason=scratch");
        let nothing = ResultRecord::new(8, false, &"ä".repeat(100), f32::NAN, f64::NAN, 0);
        assert_eq!(nothing.reason.len(), REASON_BYTES_MAX);
        assert!(nothing.line().contains("score=NaN p=NaN"));
        let status = Status { identity: [0xab; 8], recipe: cut("a b"), ..Status::default() };
        assert_eq!(
            status.line(),
            "online=0 ready=0 busy=0 error=0 drift=0 identity=abababababababab recipe=a b"
        );
    }
}
