//! The lamp that says how a recipe from a stick or a push fares (output role `notice`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use touchstone_board::Timestamp;

/// Half a period while a recipe is read and tried.
const SLOW_US: i64 = 500_000;
/// Half a period after a refusal.
const FAST_US: i64 = 100_000;

/// What the lamp shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signal {
    /// Dark: nothing is going on.
    #[default]
    Off,
    /// Blinks once a second: do not pull the stick.
    Working,
    /// Lit: installed, the stick can be pulled.
    Good,
    /// Blinks five times a second: refused, the reason is on screen and serial line.
    Bad,
}

/// A lamp that one thread switches and another one drives. Clones are handles to the same.
#[derive(Clone, Debug, Default)]
pub struct Lamp(Arc<AtomicU8>);

impl Lamp {
    /// From now on it shows this.
    pub fn show(&self, signal: Signal) {
        self.0.store(signal as u8, Ordering::Relaxed);
    }

    /// Whether it is lit at `now`.
    pub fn level(&self, now: Timestamp) -> bool {
        let blink = |half: i64| now.0.div_euclid(half).rem_euclid(2) == 0;
        match self.0.load(Ordering::Relaxed) {
            s if s == Signal::Working as u8 => blink(SLOW_US),
            s if s == Signal::Good as u8 => true,
            s if s == Signal::Bad as u8 => blink(FAST_US),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_has_its_rhythm() {
        let lamp = Lamp::default();
        let changes = |signal| {
            lamp.show(signal);
            let levels: Vec<bool> = (0..100).map(|i| lamp.level(Timestamp(i * 20_000))).collect();
            levels.windows(2).filter(|pair| pair[0] != pair[1]).count()
        };
        assert_eq!((changes(Signal::Off), lamp.level(Timestamp(0))), (0, false));
        assert_eq!((changes(Signal::Good), lamp.level(Timestamp(0))), (0, true));
        assert_eq!(changes(Signal::Working), 3);
        assert_eq!(changes(Signal::Bad), 19);
    }
}
