//! The conveyor as it really moves, and what its encoder says of that.

use touchstone_chance::Random;

use crate::oracle::Oracle;
use crate::scenario::{LEAD_US, Mode, SPEED, TRAVEL_COUNTS, Trouble};

/// The encoder is read so often.
const TICK_US: i64 = 5_000;
/// The belt changes its speed by so much per tick: 300 ms from stop to full.
const RAMP: i64 = SPEED / 60;
/// Positions are in µ-counts.
const COUNT: i64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Run,
    /// At rest until then.
    Stop(i64),
    /// Backwards until there.
    Back(i64),
}

/// A belt. By time, its position is the time in µs, and it never changes speed.
#[derive(Debug)]
pub struct Belt {
    encoder: bool,
    trouble: Trouble,
    pos: i64,
    max_pos: i64,
    speed: i64,
    plan: Plan,
    tick_at: i64,
    tick_pos: (i64, i64),
    tick_max_before: i64,
    /// What the encoder's count is off by.
    offset: i64,
    dead: bool,
    doubt: bool,
    unsteady_at: i64,
}

impl Belt {
    /// A belt that runs; `start` is what its encoder says first.
    pub fn new(mode: Mode, trouble: Trouble, start: i64) -> Self {
        let encoder = mode != Mode::Time;
        let pos = if encoder { start * COUNT } else { 0 };
        Self {
            encoder,
            trouble,
            pos,
            max_pos: pos,
            speed: if encoder { SPEED } else { 1 },
            plan: Plan::Run,
            tick_at: TICK_US,
            tick_pos: (pos, pos),
            tick_max_before: pos,
            offset: 0,
            dead: false,
            doubt: false,
            unsteady_at: i64::MIN / 2,
        }
    }

    /// Where it is.
    pub fn pos(&self) -> i64 {
        self.pos
    }

    /// The farthest that it was.
    pub fn max_pos(&self) -> i64 {
        self.max_pos
    }

    /// How far it moves per µs at full speed.
    pub fn units_per_us(&self) -> i64 {
        if self.encoder { SPEED } else { 1 }
    }

    /// Whether anything counts its way.
    pub fn has_encoder(&self) -> bool {
        self.encoder
    }

    /// When the encoder is read next.
    pub fn tick_at(&self) -> Option<i64> {
        self.encoder.then_some(self.tick_at)
    }

    /// When it reaches `pos` if it goes on like this.
    pub fn reaches(&self, now: i64, pos: i64) -> Option<i64> {
        let way = pos - self.pos;
        (self.speed > 0).then(|| now + (way + self.speed - 1).max(0) / self.speed)
    }

    /// Moves on, and tells the oracle which parts came where.
    pub fn move_to(&mut self, from: i64, to: i64, oracle: &mut Oracle) {
        let start = self.pos;
        self.pos += self.speed * (to - from);
        if self.pos > self.max_pos {
            self.max_pos = self.pos;
            oracle.moved(from, start, self.speed, self.pos, self.unsteady_at);
        }
    }

    /// What the encoder counts.
    pub fn counts(&self) -> i64 {
        self.pos.div_euclid(COUNT) + self.offset
    }

    /// Reads the encoder and takes the next step of the plan. Gives the stamp
    /// and the count, unless the encoder is dead.
    pub fn tick(&mut self, now: i64, may_turn: bool, random: &mut Random) -> Option<(i64, i64)> {
        self.tick_at = now + TICK_US;
        self.tick_pos = (self.tick_pos.1, self.pos);
        if self.dead {
            // What it does not count is lost to it.
            self.offset -= self.pos.div_euclid(COUNT) - self.tick_pos.0.div_euclid(COUNT);
        }
        self.next_step(now, may_turn, random);
        let t = self.trouble;
        // Chances are per part, of which there is one in some 22 ticks.
        if !self.doubt && random.chance(t.jump) && random.chance(450) {
            self.offset += if random.chance(5_000) { 1 } else { -1 } * (200 + random.below(50_000));
            self.doubt = true;
        }
        if !self.doubt && self.plan == Plan::Run && random.chance(t.dead) && random.chance(450) {
            self.dead = true;
            self.doubt = true;
        }
        let (stamp, count) = match t.jitter {
            0 => (now, self.counts()),
            _ => (now - random.below(500), self.counts() - 1 + random.below(3)),
        };
        (!self.dead).then_some((stamp, count))
    }

    fn next_step(&mut self, now: i64, may_turn: bool, random: &mut Random) {
        let t = self.trouble;
        // Turns that add up would bring parts that have left back to the sensor.
        let on_new_ground = self.pos == self.max_pos;
        if self.plan == Plan::Run && on_new_ground && may_turn && !self.doubt {
            if random.chance(t.stop) && random.chance(450) {
                self.plan = Plan::Stop(now + 300_000 + random.below(2_000_000));
            } else if random.chance(t.reverse) && random.chance(450) {
                // Not so far that parts that have left come back to the sensor.
                let way = random.below(TRAVEL_COUNTS / 3) * COUNT;
                self.plan = Plan::Back(self.pos - way);
            }
        }
        let wanted = match self.plan {
            Plan::Run => SPEED,
            Plan::Stop(until) if now < until => 0,
            Plan::Back(to) if self.pos > to => -SPEED / 2,
            Plan::Stop(_) | Plan::Back(_) => {
                self.plan = Plan::Run;
                SPEED
            }
        };
        self.speed += (wanted - self.speed).clamp(-RAMP, RAMP);
        if self.speed != SPEED {
            self.unsteady_at = now;
        }
    }

    /// The ground between the last two ticks that parts had crossed before; both
    /// ends excluded and included like a belt that goes forward over it.
    pub fn trodden_again(&mut self) -> (i64, i64) {
        let (from, to) = self.tick_pos;
        let before = std::mem::replace(&mut self.tick_max_before, self.max_pos);
        (from.min(to), from.max(to).min(before))
    }

    /// Whether speed and lead have been the same for a while.
    pub fn is_steady(&self, now: i64) -> bool {
        now - self.unsteady_at > 100_000
    }

    /// Whether it stops, reverses or comes back from that.
    pub fn is_turning(&self) -> bool {
        self.encoder && (self.plan != Plan::Run || self.speed != SPEED)
    }

    /// Whether the encoder tells anything but the truth.
    pub fn in_doubt(&self) -> bool {
        self.doubt
    }

    /// A person has seen to the encoder.
    pub fn repaired(&mut self) {
        (self.dead, self.doubt) = (false, false);
    }
}

const _: () = assert!(TICK_US < LEAD_US);
