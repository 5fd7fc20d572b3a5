//! Faults on purpose: middlewares that wrap any inputs, outputs or byte sink and misbehave as a seed says.
//!
//! For tests and for trying out a line at the bench. Every knob is a probability per call, zero unless set.

use crate::io::{InputCounts, InputEvent, InputRole, Inputs, IoError, OutputRole, Outputs};
use crate::sim::random::Random;
use crate::time::Timestamp;
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Write};
use std::time::Duration;

const OUTPUTS: u64 = 0xFA01;
const INPUTS: u64 = 0xFA02;
const SINK: u64 = 0xFA03;
/// A bounce comes this long after its edge.
const BOUNCE_US: i64 = 700;

fn refused(what: &str) -> IoError {
    IoError::Refused { what: what.to_owned(), why: "fault on purpose".to_owned() }
}

/// How often outputs misbehave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OutputFaults {
    /// Refused with an error.
    pub refuse: f32,
    /// Accepted, and nothing happens: a broken wire.
    pub ignore: f32,
}

/// Outputs that misbehave.
#[derive(Debug)]
pub struct FaultyOutputs<O> {
    inner: O,
    faults: OutputFaults,
    random: Random,
}

impl<O: Outputs> FaultyOutputs<O> {
    /// Wraps them; everything follows from the seed.
    pub fn new(inner: O, faults: OutputFaults, seed: u64) -> FaultyOutputs<O> {
        FaultyOutputs { inner, faults, random: Random::new(seed, OUTPUTS, 0) }
    }
}

impl<O: Outputs> Outputs for FaultyOutputs<O> {
    fn set(&mut self, role: OutputRole, level: bool) -> Result<(), IoError> {
        if self.random.chance(self.faults.refuse) {
            return Err(refused(&role.to_string()));
        }
        if self.random.chance(self.faults.ignore) {
            return Ok(());
        }
        self.inner.set(role, level)
    }
}

/// How often inputs misbehave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct InputFaults {
    /// An edge is lost; its number is missing, as when the kernel's buffer is full.
    pub lose: f32,
    /// An edge bounces: the level goes back and comes again.
    pub bounce: f32,
    /// An edge is handed out after the one that follows it.
    pub swap: f32,
    /// The wait fails.
    pub fail: f32,
}

/// Inputs that misbehave.
#[derive(Debug)]
pub struct FaultyInputs<I> {
    inner: I,
    faults: InputFaults,
    random: Random,
    held: VecDeque<InputEvent>,
    lost: u64,
    extra: u64,
}

impl<I: Inputs> FaultyInputs<I> {
    /// Wraps them; everything follows from the seed.
    pub fn new(inner: I, faults: InputFaults, seed: u64) -> FaultyInputs<I> {
        let random = Random::new(seed, INPUTS, 0);
        FaultyInputs { inner, faults, random, held: VecDeque::new(), lost: 0, extra: 0 }
    }
}

impl<I: Inputs> Inputs for FaultyInputs<I> {
    fn wait(&mut self, timeout: Duration) -> Result<Option<InputEvent>, IoError> {
        if let Some(held) = self.held.pop_front() {
            return Ok(Some(held));
        }
        if self.random.chance(self.faults.fail) {
            return Err(refused("inputs"));
        }
        let Some(event) = self.inner.wait(timeout)? else { return Ok(None) };
        if self.random.chance(self.faults.lose) {
            self.lost += 1;
            return Ok(None);
        }
        if self.random.chance(self.faults.bounce) {
            let later = |n: i64| Timestamp(event.at.0.saturating_add(n * BOUNCE_US));
            for (n, active) in [(1, !event.active), (2, event.active)] {
                self.held.push_back(InputEvent { at: later(n), active, ..event });
            }
            self.extra += 2;
        } else if self.random.chance(self.faults.swap)
            && let Some(next) = self.inner.wait(Duration::ZERO)?
        {
            self.held.push_back(event);
            return Ok(Some(next));
        }
        Ok(Some(event))
    }

    fn level(&mut self, role: InputRole) -> Result<Option<bool>, IoError> {
        self.inner.level(role)
    }

    fn counts(&self) -> InputCounts {
        let counts = self.inner.counts();
        let events = counts.events - self.lost + self.extra;
        InputCounts { events, lost: counts.lost + self.lost, ..counts }
    }
}

/// How often a sink misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SinkFaults {
    /// A byte is changed, per byte.
    pub corrupt: f32,
    /// Only a part is taken, which a caller has to go on from.
    pub short: f32,
    /// Nobody reads: the write times out.
    pub timeout: f32,
    /// The device is gone.
    pub gone: f32,
}

/// A byte sink that misbehaves.
#[derive(Debug)]
pub struct FaultySink<W> {
    inner: W,
    faults: SinkFaults,
    random: Random,
}

impl<W: Write> FaultySink<W> {
    /// Wraps it; everything follows from the seed.
    pub fn new(inner: W, faults: SinkFaults, seed: u64) -> FaultySink<W> {
        FaultySink { inner, faults, random: Random::new(seed, SINK, 0) }
    }
}

impl<W: Write> Write for FaultySink<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.random.chance(self.faults.gone) {
            return Err(Error::from(ErrorKind::BrokenPipe));
        }
        if self.random.chance(self.faults.timeout) {
            return Err(Error::from(ErrorKind::TimedOut));
        }
        let mut taken = bytes.len();
        if taken > 1 && self.random.chance(self.faults.short) {
            taken = 1 + self.random.below(taken - 1);
        }
        let mut bytes = bytes[..taken].to_vec();
        for byte in &mut bytes {
            if self.random.chance(self.faults.corrupt) {
                *byte ^= 1 << self.random.below(7);
            }
        }
        self.inner.write_all(&bytes)?;
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many edges of a trigger, a millisecond apart.
    #[derive(Debug)]
    struct Edges(u32, u32);

    impl Inputs for Edges {
        fn wait(&mut self, _timeout: Duration) -> Result<Option<InputEvent>, IoError> {
            if self.0 == self.1 {
                return Ok(None);
            }
            self.0 += 1;
            let at = Timestamp(i64::from(self.0) * 10_000);
            Ok(Some(InputEvent { role: InputRole::Trigger, at, active: true, sequence: self.0 }))
        }
        fn level(&mut self, _role: InputRole) -> Result<Option<bool>, IoError> {
            Ok(Some(true))
        }
        fn counts(&self) -> InputCounts {
            InputCounts { events: u64::from(self.0), ..InputCounts::default() }
        }
    }

    fn run(faults: InputFaults, seed: u64) -> (Vec<InputEvent>, u64, InputCounts) {
        let mut inputs = FaultyInputs::new(Edges(0, 1_000), faults, seed);
        let (mut out, mut failed, mut idle) = (Vec::new(), 0, 0);
        while idle < 1_500 {
            match inputs.wait(Duration::ZERO) {
                Ok(Some(event)) => out.push(event),
                Ok(None) => idle += 1,
                Err(_) => failed += 1,
            }
        }
        (out, failed, inputs.counts())
    }

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let faults = InputFaults { lose: 0.1, bounce: 0.1, swap: 0.1, fail: 0.1 };
        assert_eq!(run(faults, 1), run(faults, 1));
        assert_ne!(run(faults, 1).0, run(faults, 2).0);
        let (out, failed, counts) = run(InputFaults::default(), 1);
        assert_eq!((out.len(), failed, counts.lost), (1_000, 0, 0));
    }

    #[test]
    fn every_edge_is_accounted_for() {
        let faults = InputFaults { lose: 0.1, bounce: 0.1, swap: 0.1, fail: 0.1 };
        let (out, failed, counts) = run(faults, 5);
        assert!(failed > 0 && counts.lost > 0);
        assert_eq!(out.len() as u64, counts.events);
        assert!(out.windows(2).any(|pair| pair[1].at < pair[0].at), "none swapped");
        assert!(out.iter().any(|event| !event.active), "none bounced");
    }

    #[test]
    fn outputs_refuse_and_ignore() {
        #[derive(Debug, Default)]
        struct Count(u32);
        impl Outputs for Count {
            fn set(&mut self, _role: OutputRole, _level: bool) -> Result<(), IoError> {
                self.0 += 1;
                Ok(())
            }
        }
        let faults = OutputFaults { refuse: 0.25, ignore: 0.25 };
        let mut outputs = FaultyOutputs::new(Count::default(), faults, 3);
        let accepted = (0..1_000).filter(|_| outputs.set(OutputRole::Reject, true).is_ok()).count();
        let reached = outputs.inner.0 as usize;
        assert!(reached < accepted && accepted < 1_000, "{reached} of {accepted}");
    }

    #[test]
    fn a_sink_is_gone_when_told_so() {
        let faults = SinkFaults { gone: 1.0, ..SinkFaults::default() };
        let mut sink = FaultySink::new(Vec::new(), faults, 1);
        assert_eq!(sink.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
