//! Where the conveyor is and how fast it runs, from what the encoder says.

use heapless::HistoryBuf;
use touchstone_board::time::Timestamp;

/// Samples that are remembered, to say where the belt was when an edge that is
/// reported late happened.
const SAMPLES: usize = 32;
/// The speed is measured over at least this long, so that the jitter of two
/// neighbouring stamps does not count.
const SPEED_SPAN_US: i64 = 10_000;
/// An encoder that says nothing for longer than this stands, or creeps: it has not come as far as
/// the next count in all that time.
const SILENCE_US: i64 = 20_000;
/// How wrong an encoder's stamp may be before its count is not believed.
pub(super) const JITTER_US: i64 = 5_000;

/// One thing that the encoder said.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Timestamp,
    place: i64,
}

/// What came of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is the first one; places before it mean nothing.
    First,
    /// The belt is where it says.
    Moved,
    /// It is older than one that was heard before; it changes nothing.
    OutOfOrder,
    /// No belt is that fast. The place is taken over, but nothing that was
    /// known of places before is true any more.
    Jump,
}

/// The conveyor, as the encoder sees it. Places are in counts.
#[derive(Debug)]
pub(super) struct Belt {
    samples: HistoryBuf<Sample, SAMPLES>,
    last: Option<Sample>,
    /// Where the present measurement of the speed began.
    since: Option<Sample>,
    /// All that it has moved, either way.
    moved: u64,
    /// In counts per second; never negative, a reversing belt has none.
    speed: i64,
}

impl Belt {
    pub(super) fn new() -> Self {
        Self { samples: HistoryBuf::new(), last: None, since: None, moved: 0, speed: 0 }
    }

    /// True once a first sample is there.
    pub(super) fn is_known(&self) -> bool {
        self.last.is_some()
    }

    /// Where the belt is; 0 as long as it is not known.
    pub(super) fn place(&self) -> i64 {
        self.last.map_or(0, |s| s.place)
    }

    /// When the belt came to where it is.
    pub(super) fn at(&self) -> Option<Timestamp> {
        self.last.map(|s| s.at)
    }

    /// All that the belt has moved, either way. Stands still where the encoder does.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Where the belt will be `lead_us` after `now` if it keeps its speed.
    pub(super) fn ahead(&self, now: Timestamp, lead_us: i64) -> i64 {
        let silence = self.last.map_or(0, |last| now.0.saturating_sub(last.at.0));
        let fastest = if silence > SILENCE_US { 1_000_000 / silence } else { i64::MAX };
        let by_then = self.speed.min(fastest).saturating_mul(lead_us) / 1_000_000;
        self.place().saturating_add(by_then)
    }

    /// Takes note of a sample; `per_s_max` is the fastest that the belt can be.
    pub(super) fn hear(&mut self, at: Timestamp, place: i64, per_s_max: i64) -> Heard {
        let sample = Sample { at, place };
        let Some(last) = self.last else {
            self.restart(sample);
            return Heard::First;
        };
        let took_us = at.0.saturating_sub(last.at.0);
        if took_us < 0 {
            return Heard::OutOfOrder;
        }
        let most = per_s_max.saturating_mul(took_us.saturating_add(JITTER_US)) / 1_000_000;
        if place.abs_diff(last.place) > most.unsigned_abs() + 1 {
            self.restart(sample);
            return Heard::Jump;
        }
        self.moved = self.moved.saturating_add(place.abs_diff(last.place));
        self.last = Some(sample);
        self.samples.write(sample);
        let since = self.since.unwrap_or(last);
        let span = at.0.saturating_sub(since.at.0);
        if span >= SPEED_SPAN_US {
            let counts = place.saturating_sub(since.place);
            self.speed = (counts.saturating_mul(1_000_000) / span).clamp(0, per_s_max);
            self.since = Some(sample);
        }
        Heard::Moved
    }

    /// Where the belt was at `at`: between two samples on the straight line
    /// between them, after the last one where its speed has brought it since,
    /// before the oldest one where that says.
    pub(super) fn place_at(&self, at: Timestamp) -> i64 {
        let mut after = match self.last {
            Some(last) if at < last.at => last,
            Some(last) => return self.ahead(at, at.0.saturating_sub(last.at.0)),
            None => return self.place(),
        };
        let (older, newer) = self.samples.as_slices();
        for before in newer.iter().rev().chain(older.iter().rev()) {
            if before.at <= at {
                let span = (after.at.0 - before.at.0).max(1);
                let counts = after.place.saturating_sub(before.place);
                let part = i128::from(counts) * i128::from(at.0 - before.at.0) / i128::from(span);
                // No farther than `after`, so it fits.
                return before.place.saturating_add(part as i64);
            }
            after = *before;
        }
        after.place
    }

    /// Forgets everything; the next sample is a first one.
    pub(super) fn forget(&mut self) {
        *self = Self::new();
    }

    fn restart(&mut self, sample: Sample) {
        self.forget();
        self.samples.write(sample);
        (self.last, self.since) = (Some(sample), Some(sample));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(samples: &[(i64, i64)]) -> Belt {
        let mut belt = Belt::new();
        for &(ms, place) in samples {
            belt.hear(Timestamp(ms * 1000), place, 10_000);
        }
        belt
    }

    #[test]
    fn an_edge_between_two_samples_lies_on_the_line_between_them() {
        let belt = heard(&[(0, 0), (10, 100), (20, 150), (30, 50)]);
        for (ms, place) in [(-5, 0), (5, 50), (10, 100), (16, 130), (25, 100), (30, 50), (99, 50)] {
            assert_eq!(belt.place_at(Timestamp(ms * 1000)), place, "at {ms} ms");
        }
        let running = heard(&[(0, 0), (10, 100), (20, 200)]);
        assert_eq!(running.place_at(Timestamp(24_000)), 240, "as fast as before");
        assert_eq!(running.place_at(Timestamp(60_000)), 201, "it would have counted");
        // More samples than are remembered: the oldest one that is left.
        let many: Vec<_> = (0..100).map(|i| (i * 10, i * 10)).collect();
        assert_eq!(heard(&many).place_at(Timestamp(0)), (100 - SAMPLES as i64) * 10);
    }

    #[test]
    fn the_speed_turns_a_lead_into_counts() {
        let belt = heard(&[(0, 0), (10, 50)]);
        let ahead = |belt: &Belt, ms: i64| belt.ahead(Timestamp(ms * 1000), 20_000);
        assert_eq!(ahead(&belt, 10), 150);
        assert_eq!(ahead(&belt, 30), 150, "as if it ran on");
        assert_eq!(ahead(&belt, 31), 50, "it would have counted");
        assert_eq!(ahead(&heard(&[(0, 0), (10, 50), (20, 0)]), 20), 0, "none while reversing");
        assert_eq!(ahead(&heard(&[(0, 0), (4, 50)]), 4), 50, "too short to measure");
    }

    #[test]
    fn a_jump_and_a_sample_out_of_order_are_told_apart() {
        let mut belt = heard(&[(0, 0), (10, 100)]);
        let hear =
            |belt: &mut Belt, ms: i64, place: i64| belt.hear(Timestamp(ms * 1000), place, 10_000);
        assert_eq!(hear(&mut belt, 5, 50), Heard::OutOfOrder);
        assert_eq!(belt.place(), 100);
        assert_eq!(hear(&mut belt, 20, 251), Heard::Moved);
        assert_eq!(hear(&mut belt, 30, 403), Heard::Jump);
        assert_eq!(hear(&mut belt, 40, i64::MIN), Heard::Jump);
        assert_eq!(belt.place(), i64::MIN);
    }
}
