//! Encoder travel: from edges to counts, each with the kernel's time. Pure.

use crate::io::{InputEvent, InputRole};
use crate::time::Timestamp;

/// Where the belt is, in counts since the start; backwards counts down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Travel(pub i64);

/// A quadrature encoder, four counts a period: A before B is forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quadrature {
    a: bool,
    b: bool,
    travel: Travel,
    at: Option<Timestamp>,
    invalid: u64,
}

impl Quadrature {
    /// With the levels that the channels have now, and no travel.
    pub fn new(a: bool, b: bool) -> Quadrature {
        Quadrature { a, b, travel: Travel(0), at: None, invalid: 0 }
    }

    /// Takes an edge; those of other roles are none of ours. The travel after it, if it moved.
    pub fn handle(&mut self, event: &InputEvent) -> Option<Travel> {
        let (a, b) = match event.role {
            InputRole::EncoderA => (event.active, self.b),
            InputRole::EncoderB => (self.a, event.active),
            InputRole::Trigger
            | InputRole::Teach
            | InputRole::EncoderStep
            | InputRole::Interlock => return None,
        };
        self.step(a, b, event.at)
    }

    /// Takes both levels at once, as after a read. The travel, if it moved.
    pub fn step(&mut self, a: bool, b: bool, at: Timestamp) -> Option<Travel> {
        let count = match ((self.a, self.b), (a, b)) {
            ((false, false), (true, false))
            | ((true, false), (true, true))
            | ((true, true), (false, true))
            | ((false, true), (false, false)) => 1,
            ((false, false), (false, true))
            | ((false, true), (true, true))
            | ((true, true), (true, false))
            | ((true, false), (false, false)) => -1,
            // An edge into the level that was there already, or both at once: one was lost between.
            ((false, false), (false, false) | (true, true))
            | ((true, true), (true, true) | (false, false))
            | ((true, false), (true, false) | (false, true))
            | ((false, true), (false, true) | (true, false)) => {
                self.invalid += 1;
                0
            }
        };
        (self.a, self.b) = (a, b);
        self.at = Some(at);
        self.travel = Travel(self.travel.0.saturating_add(count));
        (count != 0).then_some(self.travel)
    }

    /// Travel so far.
    pub fn travel(&self) -> Travel {
        self.travel
    }

    /// When the last edge came.
    pub fn at(&self) -> Option<Timestamp> {
        self.at
    }

    /// Transitions that no shaft can make: lost edges or noise. The travel is off by some counts then.
    pub fn invalid(&self) -> u64 {
        self.invalid
    }
}

/// Whichever encoder a board wires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// Two channels.
    Quadrature(Quadrature),
    /// One channel, each edge into the active level one count forward.
    Step(Travel),
}

impl Encoder {
    /// Takes an edge; those of other roles are none of ours. The travel after it, if it moved.
    pub fn handle(&mut self, event: &InputEvent) -> Option<Travel> {
        match self {
            Encoder::Quadrature(quadrature) => quadrature.handle(event),
            Encoder::Step(travel) => {
                if event.role != InputRole::EncoderStep || !event.active {
                    return None;
                }
                *travel = Travel(travel.0.saturating_add(1));
                Some(*travel)
            }
        }
    }

    /// Travel so far.
    pub fn travel(&self) -> Travel {
        match self {
            Encoder::Quadrature(quadrature) => quadrature.travel(),
            Encoder::Step(travel) => *travel,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORWARD: [(bool, bool); 4] = [(true, false), (true, true), (false, true), (false, false)];

    #[test]
    fn a_turn_forward_and_back_is_no_travel() {
        let mut shaft = Quadrature::new(false, false);
        for (n, (a, b)) in FORWARD.into_iter().enumerate() {
            assert_eq!(shaft.step(a, b, Timestamp(n as i64)), Some(Travel(n as i64 + 1)));
        }
        for (a, b) in [(false, true), (true, true), (true, false), (false, false)] {
            shaft.step(a, b, Timestamp(9));
        }
        assert_eq!(
            (shaft.travel(), shaft.invalid(), shaft.at()),
            (Travel(0), 0, Some(Timestamp(9)))
        );
    }

    #[test]
    fn lost_edges_are_counted_and_do_not_move() {
        let mut shaft = Quadrature::new(false, false);
        assert_eq!(shaft.step(true, true, Timestamp(1)), None);
        let again =
            InputEvent { role: InputRole::EncoderA, at: Timestamp(2), active: true, sequence: 7 };
        assert_eq!(shaft.handle(&again), None);
        assert_eq!((shaft.travel(), shaft.invalid()), (Travel(0), 2));
        assert_eq!(shaft.handle(&InputEvent { active: false, ..again }), Some(Travel(1)));
        assert_eq!(shaft.handle(&InputEvent { role: InputRole::Trigger, ..again }), None);
    }

    #[test]
    fn one_channel_counts_one_edge() {
        let mut encoder = Encoder::Step(Travel(0));
        let up = InputEvent {
            role: InputRole::EncoderStep,
            at: Timestamp(0),
            active: true,
            sequence: 0,
        };
        assert_eq!(encoder.handle(&up), Some(Travel(1)));
        assert_eq!(encoder.handle(&InputEvent { active: false, ..up }), None);
        assert_eq!(encoder.travel(), Travel(1));
    }

    proptest! {
        #[test]
        fn a_walk_without_lost_edges_ends_where_it_went(steps in proptest::collection::vec(any::<bool>(), 0..400)) {
            let mut shaft = Quadrature::new(false, false);
            let mut place = 0i64;
            for forward in steps {
                place += if forward { 1 } else { -1 };
                let (a, b) = FORWARD[(place - 1).rem_euclid(4) as usize];
                prop_assert_eq!(shaft.step(a, b, Timestamp(place)), Some(Travel(place)));
            }
            prop_assert_eq!(shaft.invalid(), 0);
        }
    }
}
