//! What must be true, seen from outside: from where parts really are, what the
//! camera and the judge really said, and what the wires really do.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use touchstone::line::{FOREVER, Outcome, Why};

use crate::output::Output;
use crate::scenario::{
    BACKLOG, CAPTURE_US, LATE_MAX, LEAD_US, Mode, PULSE_COUNTS, SHELL_LATE_US, SPEED, Scenario,
    TIMEOUT_US, TRAVEL_COUNTS,
};
pub use crate::tally::Tally;

/// Positions are in µ-counts.
const COUNT: i64 = 1_000_000;
/// What a count-based line may be off by: two readings of the encoder, its
/// jitter, and a change of speed within the lead.
const SLACK: i64 = 75 * COUNT;
/// As an identity: an edge that was no part, at a time when nobody could know.
const GHOST: usize = usize::MAX;
/// Parts around one whose windows may reach into its own.
const NEIGHBOURS: usize = 6;
/// An arrival is looked at so often.
const LOOKS: usize = 3;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, in µs.
    pub at: i64,
    /// The part's number on the belt.
    pub part: Option<usize>,
    /// Which promise.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Some(part) => write!(f, "at {} us, part {part}: {}", self.at, self.what),
            None => write!(f, "at {} us: {}", self.at, self.what),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    None,
    Asked,
    Valid,
    Other,
}

/// A part on the belt.
#[derive(Clone, Copy, Debug)]
struct Part {
    pos: i64,
    at: i64,
    id: Option<u32>,
    good: bool,
    steady: bool,
    disordered: bool,
    cleared: bool,
    frame: Frame,
    said_bad: bool,
    may_pass: bool,
    must_pass: bool,
    ready_before: bool,
    backlog_before: usize,
    outcome: Option<Outcome>,
}

/// The ledger of a run.
#[derive(Debug)]
pub struct Oracle {
    scenario: Scenario,
    total: usize,
    parts: Vec<Part>,
    /// The line's identities, by number.
    ids: Vec<usize>,
    output: Output,
    undecided: usize,
    judging: usize,
    may_run: bool,
    ready: bool,
    ready_edge: bool,
    busy: bool,
    late_in_row: u32,
    error_due: bool,
    doubt: Option<i64>,
    held: Option<i64>,
    max_pos: i64,
    cursors: [usize; LOOKS],
    /// Arrivals to look at: when the actuator was told, and which part.
    looks: [VecDeque<(i64, usize)>; LOOKS],
    seen: u64,
    tally: Tally,
}

impl Oracle {
    /// A ledger for `total` parts.
    pub fn new(scenario: Scenario, total: usize) -> Self {
        Self {
            scenario,
            total,
            parts: Vec::with_capacity(total),
            ids: Vec::with_capacity(total + total / 8),
            output: Output::default(),
            undecided: 0,
            judging: 0,
            may_run: true,
            ready: false,
            ready_edge: false,
            busy: false,
            late_in_row: 0,
            error_due: false,
            doubt: None,
            held: None,
            max_pos: i64::MIN,
            cursors: [0; LOOKS],
            looks: std::array::from_fn(|_| VecDeque::with_capacity(64)),
            seen: 0,
            tally: Tally { seeds: 1, ..Tally::default() },
        }
    }

    /// A violation.
    pub fn violated(&self, at: i64, part: Option<usize>, what: &str) -> Violation {
        let part_is = part.and_then(|p| self.parts.get(p));
        let what = part_is.map_or_else(|| what.to_owned(), |p| format!("{what}\n  {p:?}"));
        Violation { at, part, what }
    }

    fn bad<T>(&self, at: i64, part: usize, what: &str) -> Result<T, Violation> {
        Err(self.violated(at, Some(part), what))
    }

    /// Nothing happens any more, though parts are left.
    pub fn stuck(&self, at: i64) -> Violation {
        let part = self.parts.iter().position(|p| p.id.is_some() && p.outcome.is_none());
        self.violated(at, part, "the line is stuck")
    }

    // ---- the belt

    fn way(&self, look: usize) -> i64 {
        let look = look as i64;
        match self.scenario.mode {
            Mode::Time => {
                let late = self.scenario.trouble.shell * SHELL_LATE_US;
                let pulse = self.scenario.pulse_us;
                self.scenario.travel_us + [late, pulse / 2, pulse - 1][look as usize]
            }
            Mode::Counts => (TRAVEL_COUNTS + PULSE_COUNTS * (look + 1) / 4) * COUNT,
            Mode::CountsTime => TRAVEL_COUNTS * COUNT,
        }
    }

    /// The belt went farther than ever, at one speed.
    pub fn moved(&mut self, from: i64, start: i64, speed: i64, pos: i64, unsteady_at: i64) {
        self.max_pos = pos;
        for look in 0..LOOKS {
            let way = self.way(look);
            while let Some(&part) = self.parts.get(self.cursors[look]) {
                let number = self.cursors[look];
                let target = part.pos + way;
                if pos < target {
                    break;
                }
                let arrives = from + ((target - start).max(0) + speed - 1) / speed;
                let steady = part.steady && arrives - unsteady_at > 100_000;
                // The line could not see it, and holds its output or will soon.
                let unseen = part.id.is_none() && self.doubt.is_some() && !part.cleared;
                if unseen && look == LOOKS - 1 {
                    self.parts[number].cleared = true;
                    self.tally.unseen += 1;
                }
                self.cursors[look] += 1;
                self.seen += 1;
                let since_us = match self.scenario.mode {
                    Mode::CountsTime if !steady => {
                        self.tally.unsteady += 1;
                        continue;
                    }
                    Mode::CountsTime => self.scenario.pulse_us * (look as i64 + 1) / 4,
                    Mode::Time | Mode::Counts => 0,
                };
                self.looks[look].push_back((arrives + since_us - LEAD_US, number));
            }
        }
    }

    /// Parts between two places that have crossed the sensor.
    pub fn recent_between(&self, low: i64, high: i64) -> Range<usize> {
        if low >= high {
            return 0..0;
        }
        let count_after = |pos: i64| self.parts.iter().rev().take_while(|p| p.pos > pos).count();
        let len = self.parts.len();
        len - count_after(low)..len - count_after(high)
    }

    /// A part crosses the sensor for the first time. Gives its number.
    pub fn cross(&mut self, at: i64, pos: i64, good: bool, steady: bool) -> usize {
        self.seen += 1;
        self.tally.parts += 1;
        self.parts.push(Part {
            pos,
            at,
            id: None,
            good,
            steady,
            disordered: false,
            cleared: false,
            frame: Frame::None,
            said_bad: false,
            may_pass: false,
            must_pass: false,
            ready_before: false,
            backlog_before: 0,
            outcome: None,
        });
        self.parts.len() - 1
    }

    /// Parts that have crossed the sensor.
    pub fn crossed(&self) -> usize {
        self.parts.len()
    }

    /// Its edge will be reported after the next part's.
    pub fn disordered(&mut self, part: usize) {
        self.parts[part].disordered = true;
    }

    /// Whether its edge is reported after the next part's.
    pub fn is_disordered(&self, part: usize) -> bool {
        self.parts[part].disordered
    }

    /// Whether a person has taken it off the belt.
    pub fn is_cleared(&self, part: usize) -> bool {
        self.parts[part].cleared
    }

    /// Whether it is a good part.
    pub fn is_good(&self, part: usize) -> bool {
        self.parts[part].good
    }

    /// When it crossed the sensor.
    pub fn triggered_at(&self, part: usize) -> i64 {
        self.parts[part].at
    }

    /// From now on the encoder does not tell the truth.
    pub fn doubt(&mut self, now: i64) {
        self.doubt.get_or_insert(now);
    }

    /// A person takes everything off the belt.
    pub fn clear_belt(&mut self, now: i64) -> Result<(), Violation> {
        let first = self.cursors.into_iter().min().unwrap_or(0);
        for number in first..self.parts.len() {
            let part = &mut self.parts[number];
            let before = std::mem::replace(&mut part.cleared, true);
            if part.id.is_none() {
                self.tally.unseen += u64::from(!before);
            } else if part.outcome.is_none() {
                return self.bad(now, number, "no outcome, though the encoder is at fault");
            }
        }
        self.cursors = [self.parts.len(); LOOKS];
        self.looks.iter_mut().for_each(VecDeque::clear);
        (self.doubt, self.held) = (None, None);
        self.seen += 1;
        Ok(())
    }

    /// A person has acknowledged.
    pub fn acknowledged(&mut self) {
        (self.late_in_row, self.error_due) = (0, false);
    }

    // ---- what the line was told

    /// An edge is about to be told.
    pub fn before_edge(&mut self) {
        self.ready_edge = self.ready && self.may_run;
    }

    /// An edge of `part` was told; `id` is the identity it got, if any.
    pub fn edge(&mut self, now: i64, number: usize, id: Option<u32>) -> Result<(), Violation> {
        let (ready_before, backlog_before) = (self.ready_edge, self.undecided);
        let part = &mut self.parts[number];
        match (id, part.id) {
            (None, Some(_)) => return Ok(()),
            (None, None) if self.doubt.is_some() => return Ok(()),
            (None, None) => return self.bad(now, number, "it went by unseen"),
            (Some(_), Some(_)) if self.doubt.is_some() => self.ids.push(GHOST),
            (Some(_), Some(_)) => return self.bad(now, number, "it was taken for two parts"),
            (Some(id), None) => {
                part.id = Some(id);
                (part.ready_before, part.backlog_before) = (ready_before, backlog_before);
                self.ids.push(number);
            }
        }
        self.undecided += 1;
        if id.is_some_and(|id| id as usize + 1 != self.ids.len()) {
            return self.bad(now, number, "identities do not count up");
        }
        Ok(())
    }

    fn id(&self, number: usize) -> u32 {
        self.parts[number].id.unwrap_or(u32::MAX)
    }

    /// A frame is about to be told. Gives the identity that it is for.
    pub fn frame(&mut self, number: usize, exposed_at: i64) -> u32 {
        let part = &mut self.parts[number];
        if part.frame == Frame::Asked {
            let after = exposed_at - part.at;
            let shows_it = (CAPTURE_US.0..=CAPTURE_US.1).contains(&after);
            part.frame = if shows_it { Frame::Valid } else { Frame::Other };
        }
        self.id(number)
    }

    /// A missing frame is about to be told.
    pub fn no_frame(&mut self, number: usize) -> u32 {
        self.id(number)
    }

    /// A verdict is about to be told.
    pub fn verdict(&mut self, now: i64, number: usize, good: bool, max_pos: i64) -> u32 {
        self.judging = self.judging.saturating_sub(1);
        let mode = self.scenario.mode;
        let part = &mut self.parts[number];
        let us = now - part.at;
        let (surely_in_time, surely_late) = match mode {
            Mode::Time => {
                let in_time = us < self.scenario.travel_us - LEAD_US;
                (in_time, !in_time)
            }
            Mode::CountsTime | Mode::Counts => {
                let left = part.pos + TRAVEL_COUNTS * COUNT - max_pos;
                let in_time = left > SPEED * LEAD_US * 6 / 5 + SLACK && us < TIMEOUT_US;
                // A dead encoder looks like a belt at rest, until its edges give it away.
                (in_time, (left <= 0 && self.doubt.is_none()) || us >= TIMEOUT_US)
            }
        };
        if part.outcome.is_none() {
            part.said_bad |= !good;
            part.may_pass = good && !surely_late;
            part.must_pass = good && surely_in_time;
        }
        self.id(number)
    }

    /// Interlock and health allow the line to run, or not.
    pub fn may_run(&mut self, may: bool) {
        self.may_run = may;
    }

    // ---- what the line did

    fn number(&self, now: i64, id: u32) -> Result<usize, Violation> {
        match self.ids.get(id as usize) {
            Some(&number) if number != GHOST => Ok(number),
            Some(_) | None => Err(self.violated(now, None, "an identity that no part has")),
        }
    }

    /// The line asks for a frame. Gives the part's number.
    pub fn capture(&mut self, now: i64, id: u32, from: i64, by: i64) -> Result<usize, Violation> {
        let number = self.number(now, id)?;
        let part = &mut self.parts[number];
        let again = std::mem::replace(&mut part.frame, Frame::Asked) != Frame::None;
        if again || (from, by) != (part.at + CAPTURE_US.0, part.at + CAPTURE_US.1) {
            return self.bad(now, number, "asked for a frame twice, or of another time");
        }
        Ok(number)
    }

    /// The line asks for a verdict. Gives the part's number.
    pub fn judge(&mut self, now: i64, id: u32) -> Result<usize, Violation> {
        let number = self.number(now, id)?;
        if self.judging >= self.scenario.judged_at_once {
            return self.bad(now, number, "the judge is asked while it is busy");
        }
        if self.parts[number].frame != Frame::Valid {
            return self.bad(now, number, "the judge is asked for a frame that shows another part");
        }
        self.judging += 1;
        Ok(number)
    }

    /// The reject output was ordered.
    pub fn fire(&mut self, now: i64, at: i64, until: i64) -> Result<(), Violation> {
        if at > now || until <= now {
            return Err(self.violated(now, None, "a pulse of another time"));
        }
        self.output.fire(now, until);
        Ok(())
    }

    /// The reject output was released.
    pub fn end(&mut self, now: i64) -> Result<(), Violation> {
        match self.output.end(now) {
            true => Ok(()),
            false => Err(self.violated(now, None, "no pulse to release")),
        }
    }

    /// The line knows that its encoder is at fault.
    pub fn held(&mut self, now: i64) -> Result<(), Violation> {
        if self.doubt.is_none() {
            return Err(self.violated(now, None, "a sound encoder is called faulty"));
        }
        self.held.get_or_insert(now);
        match self.output.was_active(now) {
            true => Ok(()),
            false => Err(self.violated(now, None, "encoder at fault, but the output is quiet")),
        }
    }

    /// READY was set.
    pub fn ready(&mut self, _now: i64, ready: bool) -> Result<(), Violation> {
        self.ready = ready;
        Ok(())
    }

    /// BUSY was set.
    pub fn busy(&mut self, now: i64, busy: bool) -> Result<(), Violation> {
        if self.busy == busy {
            return Err(self.violated(now, None, "BUSY set to what it is"));
        }
        self.busy = busy;
        Ok(())
    }

    /// The line has nothing more to do.
    pub fn acted(&mut self, now: i64) -> Result<(), Violation> {
        let broken = if self.busy != (self.undecided > 0) {
            "BUSY says something else than the parts"
        } else if self.undecided > BACKLOG {
            "more parts without an outcome than the backlog allows"
        } else if self.ready && !self.may_run {
            "READY with an open interlock or a lost camera"
        } else if self.ready && self.error_due {
            "READY in spite of late verdicts in a row"
        } else {
            return Ok(());
        };
        Err(self.violated(now, None, broken))
    }

    /// A part has its outcome.
    pub fn publish(&mut self, now: i64, id: u32, outcome: Outcome) -> Result<(), Violation> {
        self.undecided = self.undecided.saturating_sub(1);
        self.seen += 1;
        if self.ids.get(id as usize) == Some(&GHOST) {
            return match outcome {
                Outcome::Reject(_) => Ok(()),
                Outcome::Pass => Err(self.violated(now, None, "an edge without a part passed")),
            };
        }
        let number = self.number(now, id)?;
        if self.parts[number].outcome.replace(outcome).is_some() {
            return self.bad(now, number, "a second outcome");
        }
        let part = self.parts[number];
        if let Some(broken) = self.unfounded(now, &part, outcome) {
            return self.bad(now, number, broken);
        }
        self.note(outcome);
        Ok(())
    }

    fn unfounded(&self, now: i64, part: &Part, outcome: Outcome) -> Option<&'static str> {
        let refused = matches!(outcome, Outcome::Reject(Why::NotReady | Why::OutOfOrder));
        let (holds, otherwise) = match outcome {
            _ if !part.ready_before && !refused => (false, "taken in by a line that is not ready"),
            Outcome::Pass => (
                part.may_pass && part.good && part.frame == Frame::Valid,
                "it passed without a verdict good in time for exactly this part",
            ),
            Outcome::Reject(_) if part.must_pass => (false, "rejected, though good in time"),
            Outcome::Reject(Why::Judged) => (part.said_bad, "the judge did not say so"),
            Outcome::Reject(Why::Late) => (self.may_be_late(now, part), "it was not late"),
            Outcome::Reject(Why::NoFrame) => (part.frame != Frame::Valid, "it had a frame"),
            Outcome::Reject(Why::StaleFrame) => (part.frame == Frame::Other, "no stale frame"),
            Outcome::Reject(Why::Overload) => (part.backlog_before >= BACKLOG, "no overload"),
            Outcome::Reject(Why::NotReady) => (!part.ready_before || !self.ready, "it was ready"),
            Outcome::Reject(Why::OutOfOrder) => {
                (part.disordered || self.doubt.is_some(), "its edge came in order")
            }
            Outcome::Reject(Why::Encoder) => (self.doubt.is_some(), "the encoder is sound"),
            Outcome::Reject(Why::NoResult) => (false, "an outcome without a reason"),
        };
        (!holds).then_some(otherwise)
    }

    fn may_be_late(&self, now: i64, part: &Part) -> bool {
        match self.scenario.mode {
            Mode::Time => now >= part.at + self.scenario.travel_us - LEAD_US,
            Mode::CountsTime | Mode::Counts => {
                let left = part.pos + TRAVEL_COUNTS * COUNT - self.max_pos;
                left <= SPEED * LEAD_US * 6 / 5 + SLACK || now >= part.at + TIMEOUT_US
            }
        }
    }

    fn note(&mut self, outcome: Outcome) {
        let row = match outcome {
            Outcome::Pass => {
                self.tally.passed += 1;
                self.late_in_row = 0;
                return;
            }
            Outcome::Reject(Why::Judged | Why::NoResult) => 0,
            Outcome::Reject(Why::Late) => 1,
            Outcome::Reject(Why::NoFrame) => 2,
            Outcome::Reject(Why::StaleFrame) => 3,
            Outcome::Reject(Why::Overload) => 4,
            Outcome::Reject(Why::NotReady) => 5,
            Outcome::Reject(Why::OutOfOrder) => 6,
            Outcome::Reject(Why::Encoder) => 7,
        };
        self.tally.rejected[row] += 1;
        match row {
            0 => self.late_in_row = 0,
            1 => self.late_in_row += 1,
            _ => {}
        }
        if self.late_in_row >= LATE_MAX {
            (self.late_in_row, self.error_due) = (0, true);
        }
    }

    // ---- the actuator

    /// Looks at every arrival whose command is past.
    pub fn inspect(&mut self, now: i64) -> Result<(), Violation> {
        for look in 0..LOOKS {
            while let Some(&(at, number)) = self.looks[look].front().filter(|l| l.0 < now) {
                self.looks[look].pop_front();
                self.look(at, number, look)?;
            }
        }
        Ok(())
    }

    fn look(&mut self, at: i64, number: usize, look: usize) -> Result<(), Violation> {
        let active = self.output.was_active(at);
        self.tally.checks += 1;
        self.seen += 1;
        let part = &self.parts[number];
        if self.held.is_some_and(|held| at >= held) {
            let quiet = "encoder at fault, but it went by a quiet output";
            return if active { Ok(()) } else { self.bad(at, number, quiet) };
        }
        let rejected = match part.outcome {
            None if self.doubt.is_some() => true,
            None => return self.bad(at, number, "at the actuator without an outcome"),
            Some(outcome) => outcome.is_reject(),
        };
        match (rejected, active) {
            (true, true) | (false, false) => Ok(()),
            // The encoder is silent or wrong and the line has yet to find out. It believes the belt
            // where it last was, so that what comes by meets the output as it was there.
            (true, false) | (false, true) if self.doubt.is_some_and(|doubt| at >= doubt) => {
                self.tally.blind += 1;
                Ok(())
            }
            (true, false) => self.bad(at, number, "rejected, but it went by a quiet output"),
            (false, true) if self.shares_a_window(number, look) => Ok(()),
            (false, true) => self.bad(at, number, "passed, but the output was active"),
        }
    }

    /// Whether the window of a rejected neighbour reaches to the point at which
    /// this part was looked at.
    fn shares_a_window(&self, number: usize, look: usize) -> bool {
        let (pulse, slack, into) = match self.scenario.mode {
            Mode::Time => {
                let into = self.way(look) - self.scenario.travel_us;
                (self.scenario.pulse_us, 0, into)
            }
            Mode::CountsTime | Mode::Counts => {
                let pulse = PULSE_COUNTS * COUNT;
                (pulse, SLACK, pulse * (look as i64 + 1) / 4)
            }
        };
        let from = number.saturating_sub(NEIGHBOURS);
        let near = self.parts.iter().enumerate().skip(from).take(2 * NEIGHBOURS + 1);
        near.filter(|&(n, p)| n != number && p.outcome.is_some_and(Outcome::is_reject)).any(
            |(_, other)| {
                let at = self.parts[number].pos + into - other.pos;
                (-slack..pulse + slack).contains(&at)
            },
        )
    }

    /// Whether every part has left.
    pub fn is_done(&self) -> bool {
        self.parts.len() == self.total
            && self.undecided == 0
            && self.cursors == [self.total; LOOKS]
            && self.looks.iter().all(VecDeque::is_empty)
    }

    /// Grows with everything that happens to a part.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The numbers, once every part has left.
    pub fn finish(&self, now: i64) -> Result<Tally, Violation> {
        let lost = |p: &Part| p.outcome.is_none() && !p.cleared;
        if let Some(number) = self.parts.iter().position(lost) {
            return self.bad(now, number, "it has no outcome");
        }
        if self.tally.accounted() != self.tally.parts {
            return Err(self.violated(now, None, "outcomes and parts are not as many"));
        }
        Ok(self.tally)
    }
}

const _: () = assert!(FOREVER.0 == i64::MAX);
