//! Edges of several chips in one order, and the gaps in their numbering. Pure.

use crate::io::{InputCounts, InputEvent};
use crate::time::Timestamp;

/// Edges held at once; what does not fit stays in the kernel's buffers, which count what they drop.
pub const EDGES_HELD_MAX: usize = 256;

/// Orders events by their time.
#[derive(Debug)]
pub struct Merger {
    /// Latest first, so that the oldest is popped.
    held: Vec<InputEvent>,
    /// Per source: the number of the event that comes next.
    expected: Vec<Option<u32>>,
    last: Option<Timestamp>,
    counts: InputCounts,
}

impl Merger {
    /// For so many sources, each with a numbering of its own.
    pub fn new(sources: usize) -> Merger {
        Merger {
            held: Vec::with_capacity(EDGES_HELD_MAX),
            expected: vec![None; sources],
            last: None,
            counts: InputCounts::default(),
        }
    }

    /// Takes the event that its source numbered `sequence`; `None` for one that means nothing to us. The
    /// numbering wraps around.
    ///
    /// # Panics
    /// On a source that does not exist, or without room: ask [`Merger::has_room`] first.
    pub fn push(&mut self, source: usize, sequence: u32, event: Option<InputEvent>) {
        assert!(self.has_room(), "asked before");
        if let Some(expected) = self.expected[source] {
            self.counts.lost += u64::from(sequence.wrapping_sub(expected));
        }
        self.expected[source] = Some(sequence.wrapping_add(1));
        let Some(event) = event else { return };
        // Of two at the same time the one that was there first stays first.
        let place = self.held.partition_point(|held| held.at > event.at);
        self.held.insert(place, event);
    }

    /// The oldest event.
    pub fn pop(&mut self) -> Option<InputEvent> {
        let event = self.held.pop()?;
        self.counts.events += 1;
        if self.last.is_some_and(|last| last > event.at) {
            self.counts.out_of_order += 1;
        }
        self.last = self.last.max(Some(event.at));
        Some(event)
    }

    /// Whether one more fits.
    pub fn has_room(&self) -> bool {
        self.held.len() < EDGES_HELD_MAX
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// What became of the edges so far.
    pub fn counts(&self) -> InputCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::InputRole;
    use proptest::prelude::*;

    fn event(at: i64, sequence: u32) -> InputEvent {
        InputEvent { role: InputRole::Trigger, at: Timestamp(at), active: true, sequence }
    }

    #[test]
    fn two_chips_come_out_in_time_order() {
        let mut merger = Merger::new(2);
        for (n, at) in [10, 30, 50].into_iter().enumerate() {
            merger.push(0, n as u32, Some(event(at, n as u32)));
        }
        for (n, at) in [20, 30, 40].into_iter().enumerate() {
            merger.push(1, n as u32, Some(event(at, 100 + n as u32)));
        }
        let times: Vec<(i64, u32)> =
            std::iter::from_fn(|| merger.pop()).map(|e| (e.at.0, e.sequence)).collect();
        assert_eq!(times, [(10, 0), (20, 100), (30, 1), (30, 101), (40, 102), (50, 2)]);
        assert_eq!(merger.counts(), InputCounts { events: 6, lost: 0, out_of_order: 0 });
    }

    #[test]
    fn a_gap_in_the_numbering_is_counted_and_may_wrap() {
        let mut merger = Merger::new(1);
        for sequence in [u32::MAX - 1, u32::MAX, 3] {
            merger.push(0, sequence, Some(event(1, sequence)));
        }
        assert_eq!(merger.counts().lost, 3);
        while merger.pop().is_some() {}
        merger.push(0, 4, Some(event(0, 4)));
        assert!(merger.pop().is_some());
        assert_eq!(merger.counts(), InputCounts { events: 4, lost: 3, out_of_order: 1 });
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_once_and_sorted(times in proptest::collection::vec(0i64..50, 0..200)) {
            let mut merger = Merger::new(3);
            let mut numbers = [0u32; 3];
            for (n, at) in times.iter().enumerate() {
                let source = n % 3;
                merger.push(source, numbers[source], Some(event(*at, n as u32)));
                numbers[source] += 1;
            }
            let out: Vec<i64> = std::iter::from_fn(|| merger.pop()).map(|e| e.at.0).collect();
            let mut sorted = times.clone();
            sorted.sort_unstable();
            prop_assert_eq!(out, sorted);
            prop_assert_eq!(merger.counts().lost, 0);
        }
    }
}
