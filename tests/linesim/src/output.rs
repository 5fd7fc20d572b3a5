//! The reject output as a wire sees it.

use std::collections::VecDeque;

use touchstone::line::FOREVER;

/// Pulses that are remembered; more than any check looks back.
const PULSES: usize = 64;

/// Latest pulses, oldest first, each from its first instant to the first
/// instant after it.
#[derive(Debug)]
pub struct Output(VecDeque<(i64, i64)>);

impl Default for Output {
    fn default() -> Self {
        Self(VecDeque::with_capacity(PULSES))
    }
}

impl Output {
    /// Active from `now` to `until`, or longer where that is ordered already.
    pub fn fire(&mut self, now: i64, until: i64) {
        match self.0.back_mut() {
            Some(pulse) if pulse.1 >= now => pulse.1 = pulse.1.max(until),
            Some(_) | None => {
                if self.0.len() == PULSES {
                    self.0.pop_front();
                }
                self.0.push_back((now, until));
            }
        }
    }

    /// Released at `now`. False if there was nothing to release.
    pub fn end(&mut self, now: i64) -> bool {
        match self.0.back_mut() {
            Some(pulse) if pulse.1 == FOREVER.0 => {
                pulse.1 = now;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Whether it was active at `at`.
    pub fn was_active(&self, at: i64) -> bool {
        self.0.iter().rev().find(|pulse| pulse.0 <= at).is_some_and(|pulse| at < pulse.1)
    }
}
