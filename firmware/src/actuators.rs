//! The output lines over time: pulses that end by themselves, READY, and the
//! heartbeat that lets the conveyor run.

use std::time::Duration;

use touchstone_board::heartbeat::Heartbeat;
use touchstone_board::{IoError, OutputRole, Outputs, Timestamp};

use crate::lamp::Lamp;
use crate::line::FOREVER;

/// How long PASS stays active after a passed part.
const PASS_PULSE_US: i64 = 50_000;
/// Half a period of the heartbeat.
const HEARTBEAT: Duration = Duration::from_millis(250);

/// Drives the outputs of a line.
pub struct Actuators {
    outputs: Box<dyn Outputs>,
    reject_until: Option<Timestamp>,
    pass_until: Option<Timestamp>,
    ready: bool,
    /// As last set; not known at first, because the fail-safe level may be either.
    fault: Option<bool>,
    heart: Heartbeat,
    lamp: Lamp,
    lit: bool,
}

impl Actuators {
    /// Takes over outputs that are at rest.
    pub fn new(outputs: Box<dyn Outputs>) -> Self {
        Self {
            outputs,
            reject_until: None,
            pass_until: None,
            ready: false,
            fault: None,
            heart: Heartbeat::new(HEARTBEAT),
            lamp: Lamp::default(),
            lit: false,
        }
    }

    /// With a lamp that somebody else switches.
    #[must_use]
    pub fn with_lamp(mut self, lamp: Lamp) -> Self {
        self.lamp = lamp;
        self
    }

    /// Holds the reject output active until `until`, or longer if it is already
    /// ordered for longer.
    ///
    /// # Errors
    /// The line is gone; then nothing rejects any more and the line must stop.
    pub fn fire(&mut self, until: Timestamp) -> Result<(), IoError> {
        if self.reject_until.is_none() {
            self.outputs.set(OutputRole::Reject, true)?;
        }
        self.reject_until = self.reject_until.max(Some(until));
        Ok(())
    }

    /// Ends the reject pulse now, however long it was ordered for.
    ///
    /// # Errors
    /// The line is gone.
    pub fn release(&mut self) -> Result<(), IoError> {
        self.reject_until = None;
        self.outputs.set(OutputRole::Reject, false)
    }

    /// Tells the machine that a part passed.
    ///
    /// # Errors
    /// The line is gone.
    pub fn passed(&mut self, now: Timestamp) -> Result<(), IoError> {
        self.outputs.set(OutputRole::Pass, true)?;
        self.pass_until = Some(Timestamp(now.0 + PASS_PULSE_US));
        Ok(())
    }

    /// Sets READY; the heartbeat runs with it.
    ///
    /// # Errors
    /// The line is gone.
    pub fn set_ready(&mut self, ready: bool, now: Timestamp) -> Result<(), IoError> {
        self.outputs.set(OutputRole::Ready, ready)?;
        self.ready = ready;
        // A line that is not ready stops the conveyor, whichever way that is wired.
        if ready { Ok(()) } else { self.beat(now) }
    }

    /// Sets BUSY: some part has no outcome yet.
    ///
    /// # Errors
    /// The line is gone.
    pub fn set_busy(&mut self, busy: bool) -> Result<(), IoError> {
        self.outputs.set(OutputRole::Busy, busy)
    }

    /// Asks for a person, or no longer. May be said as often as one likes.
    ///
    /// # Errors
    /// The line is gone.
    pub fn set_fault(&mut self, fault: bool) -> Result<(), IoError> {
        if self.fault != Some(fault) {
            self.outputs.set(OutputRole::Fault, fault)?;
            self.fault = Some(fault);
        }
        Ok(())
    }

    fn beat(&mut self, now: Timestamp) -> Result<(), IoError> {
        match self.heart.poll(now, self.ready) {
            Some(level) => self.outputs.set(OutputRole::Heartbeat, level),
            None => Ok(()),
        }
    }

    /// Ends what is due to end by `now`.
    ///
    /// # Errors
    /// The line is gone.
    pub fn tick(&mut self, now: Timestamp) -> Result<(), IoError> {
        if self.reject_until.is_some_and(|until| now >= until) {
            self.reject_until = None;
            self.outputs.set(OutputRole::Reject, false)?;
        }
        if self.pass_until.is_some_and(|until| now >= until) {
            self.pass_until = None;
            self.outputs.set(OutputRole::Pass, false)?;
        }
        let lit = self.lamp.level(now);
        if lit != self.lit {
            // A lamp is no reason to stop a line.
            self.lit = self.outputs.set(OutputRole::Notice, lit).map_or(self.lit, |()| lit);
        }
        self.beat(now)
    }

    /// When [`Actuators::tick`] next has something to do.
    pub fn poll_at(&self) -> Option<Timestamp> {
        let reject = self.reject_until.filter(|&until| until != FOREVER);
        let due = [reject, self.pass_until, self.heart.poll_at()];
        due.into_iter().flatten().min()
    }

    /// Everything inactive, READY first. Goes on after an error, because the
    /// other outputs matter no less.
    ///
    /// # Errors
    /// The first line that would not be set.
    pub fn rest(&mut self) -> Result<(), IoError> {
        const ORDER: [OutputRole; 6] = [
            OutputRole::Ready,
            OutputRole::Heartbeat,
            OutputRole::Pass,
            OutputRole::Reject,
            OutputRole::Busy,
            OutputRole::Notice,
        ];
        self.heart = Heartbeat::new(HEARTBEAT);
        self.ready = false;
        self.pass_until = None;
        self.reject_until = None;
        let results = ORDER.map(|role| self.outputs.set(role, false));
        results.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Wires(Arc<Mutex<Vec<(OutputRole, bool)>>>);

    impl Outputs for Wires {
        fn set(&mut self, role: OutputRole, level: bool) -> Result<(), IoError> {
            self.0.lock().unwrap().push((role, level));
            Ok(())
        }
    }

    fn wired() -> (Wires, Actuators) {
        let wires = Wires::default();
        (wires.clone(), Actuators::new(Box::new(wires)))
    }

    #[test]
    fn overlapping_pulses_are_one() {
        let (wires, mut actuators) = wired();
        actuators.fire(Timestamp(100)).unwrap();
        actuators.fire(Timestamp(80)).unwrap();
        actuators.fire(Timestamp(150)).unwrap();
        actuators.tick(Timestamp(149)).unwrap();
        assert_eq!(actuators.poll_at(), Some(Timestamp(150)));
        actuators.tick(Timestamp(150)).unwrap();
        let seen = wires.0.lock().unwrap().clone();
        assert_eq!(seen, [(OutputRole::Reject, true), (OutputRole::Reject, false)]);
    }

    #[test]
    fn a_pulse_without_end_lasts_until_it_is_released() {
        let (wires, mut actuators) = wired();
        actuators.fire(FOREVER).unwrap();
        assert_eq!(actuators.poll_at(), None);
        actuators.tick(Timestamp(9_000_000)).unwrap();
        assert_eq!(*wires.0.lock().unwrap(), [(OutputRole::Reject, true)]);
        actuators.release().unwrap();
        assert_eq!(wires.0.lock().unwrap().last(), Some(&(OutputRole::Reject, false)));
        actuators.fire(Timestamp(9_100_000)).unwrap();
        assert_eq!(wires.0.lock().unwrap().last(), Some(&(OutputRole::Reject, true)));
    }

    #[test]
    fn the_heart_beats_only_while_ready() {
        let (wires, mut actuators) = wired();
        actuators.set_ready(true, Timestamp(0)).unwrap();
        for at in [0, 250_000, 500_000] {
            actuators.tick(Timestamp(at)).unwrap();
        }
        actuators.set_ready(false, Timestamp(600_000)).unwrap();
        actuators.tick(Timestamp(9_000_000)).unwrap();
        let beats: Vec<bool> = wires
            .0
            .lock()
            .unwrap()
            .iter()
            .filter(|(role, _)| *role == OutputRole::Heartbeat)
            .map(|(_, level)| *level)
            .collect();
        assert_eq!(beats, [true, false, true, false]);
        assert_eq!(actuators.poll_at(), None);
    }

    #[test]
    fn at_rest_nothing_is_active() {
        let (wires, mut actuators) = wired();
        actuators.fire(Timestamp(100)).unwrap();
        actuators.passed(Timestamp(0)).unwrap();
        actuators.rest().unwrap();
        let seen = wires.0.lock().unwrap().clone();
        for role in [OutputRole::Ready, OutputRole::Heartbeat, OutputRole::Pass, OutputRole::Reject]
        {
            let last = seen.iter().rev().find(|(r, _)| *r == role);
            assert_eq!(last, Some(&(role, false)));
        }
    }
}
