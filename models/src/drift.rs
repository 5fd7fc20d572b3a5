//! Drift: are the parts that pass still what was taught?
//!
//! A threshold is right for the parts it was made from. A lamp that ages, a lens that fogs or a camera that
//! was knocked changes all parts a little, long before good ones are rejected, and then every rate is wrong.
//!
//! Each new part is ranked among all that passed before it. As long as parts are exchangeable these ranks are
//! uniform and independent whatever the law of the scores may be (conformal p-values, Vovk), so that betting
//! against them wins nothing on average. Bets that strange parts become frequent, or rare, are placed by
//! experts whose capital is moved among them slowly; their gain is watched by the Shiryaev-Roberts statistic.
//! Its average run length to a false warning is at least [`RUN_LENGTH`] parts, for each channel half as often.
//!
//! A history is a histogram of fixed size, so that memory does not grow with the shift.

use crate::verdict::WitnessReport;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Parts until a false warning, on average at least.
pub const RUN_LENGTH: f64 = 100_000.0;
/// Cells of a history.
const CELLS: usize = 1024;
/// Statistics beyond are counted at the end: logits and logarithms of ratios never are.
const RANGE: (f64, f64) = (-8.0, 8.0);
/// Share of the experts' capital that is divided anew at each part.
const MOVED: f64 = 0.01;
/// Exponents of the power bets `e p^(e-1)`: the smaller, the more is put on very strange parts.
const POWERS: [f64; 2] = [0.25, 0.6];
/// Two directions of each power, and one that does not bet.
const EXPERTS: usize = 2 * POWERS.len() + 1;

/// Which of a part's statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The score that joins all maps: sharpness, position, wear.
    Local,
    /// The whole picture: light, colour, another part.
    Image,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Channel::Local => "places on the parts",
            Channel::Image => "the pictures as a whole",
        })
    }
}

/// Where the scores went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Parts look stranger than those before.
    Stranger,
    /// Parts look more ordinary than those before: a frozen picture, a part that is measured over and over.
    Calmer,
}

/// Parts that pass are no longer like those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftWarning {
    /// Where it shows.
    pub channel: Channel,
    /// Which way.
    pub direction: Direction,
    /// Passed parts seen until now, the taught ones included.
    pub parts: u64,
}

impl fmt::Display for DriftWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.direction {
            Direction::Stranger => "look stranger than before",
            Direction::Calmer => "look more alike than before",
        };
        let DriftWarning { channel, parts, .. } = self;
        write!(
            f,
            "{channel} {how} (after {parts} good parts): check lamp, lens and camera, or teach again"
        )
    }
}

/// Watches the parts that pass.
#[derive(Debug, Clone)]
pub struct DriftWatch {
    channels: [Watched; 2],
    seen: u64,
}

impl DriftWatch {
    /// Begins with `[local, image]` statistics of good parts that were not judged by themselves: of the
    /// prompts, each left out.
    pub fn new(taught: impl IntoIterator<Item = [f64; 2]>) -> Self {
        let channels = [Watched::new(Channel::Local), Watched::new(Channel::Image)];
        let mut watch = DriftWatch { channels, seen: 0 };
        for statistics in taught {
            for (channel, statistic) in watch.channels.iter_mut().zip(statistics) {
                channel.remember(statistic);
            }
            watch.seen += 1;
        }
        watch
    }

    /// Takes in a part that passed; a warning is given once, until [`DriftWatch::reset`].
    pub fn passed(&mut self, said: &WitnessReport) -> Option<DriftWarning> {
        self.observe([said.joint.statistic, said.image.statistic])
    }

    fn observe(&mut self, statistics: [f64; 2]) -> Option<DriftWarning> {
        self.seen += 1;
        let parts = self.seen;
        let told = self.channels.iter_mut().zip(statistics).filter_map(|(channel, statistic)| {
            let direction = channel.observe(statistic, parts)?;
            Some(DriftWarning { channel: channel.of, direction, parts })
        });
        // Both are always taken in.
        told.fold(None, |first, warning| first.or(Some(warning)))
    }

    /// The warning that stands, if any.
    pub fn standing(&self) -> bool {
        self.channels.iter().any(|channel| channel.warned)
    }

    /// After somebody looked: the parts of now are what is normal.
    pub fn reset(&mut self) {
        *self = DriftWatch::new([]);
    }
}

/// One statistic's history and bets.
#[derive(Debug, Clone)]
struct Watched {
    of: Channel,
    history: Vec<u64>,
    total: u64,
    /// Capital of the experts; together 1.
    capital: [f64; EXPERTS],
    /// Shiryaev-Roberts: capital of all who had begun to bet at some part before.
    roberts: f64,
    warned: bool,
}

impl Watched {
    fn new(of: Channel) -> Self {
        let capital = [1.0 / EXPERTS as f64; EXPERTS];
        Self { of, history: vec![0; CELLS], total: 0, capital, roberts: 0.0, warned: false }
    }

    fn remember(&mut self, statistic: f64) -> Option<usize> {
        let share = (statistic - RANGE.0) / (RANGE.1 - RANGE.0);
        if share.is_nan() {
            return None;
        }
        let cell = ((share * CELLS as f64).max(0.0) as usize).min(CELLS - 1);
        self.history[cell] += 1;
        self.total += 1;
        Some(cell)
    }

    fn observe(&mut self, statistic: f64, part: u64) -> Option<Direction> {
        let cell = self.remember(statistic)?;
        let above: u64 = self.history[cell + 1..].iter().sum();
        // Equal ones in an order drawn at random, from the part's number: the same parts, the same warning.
        let tie = fraction(part ^ (self.of as u64) << 32) * self.history[cell] as f64;
        let p = (above as f64 + tie) / self.total as f64;
        let gain = self.bet(p);
        self.roberts = (self.roberts + 1.0) * gain;
        // Two channels share the run length.
        if self.warned || self.roberts < 2.0 * RUN_LENGTH {
            return None;
        }
        self.warned = true;
        let [up, down] = [0, 1]
            .map(|way| self.capital[way * POWERS.len()..][..POWERS.len()].iter().sum::<f64>());
        Some(if up >= down { Direction::Stranger } else { Direction::Calmer })
    }

    /// Lets the experts bet; gives what one unit of capital became.
    fn bet(&mut self, p: f64) -> f64 {
        // A rank among more parts than there will ever be is not smaller.
        const LEAST: f64 = 1e-9;
        let (p, q) = (p.clamp(LEAST, 1.0), (1.0 - p).clamp(LEAST, 1.0));
        let mut after = [1.0; EXPERTS];
        for (k, e) in POWERS.into_iter().enumerate() {
            after[k] = e * p.powf(e - 1.0);
            after[POWERS.len() + k] = e * q.powf(e - 1.0);
        }
        after.iter_mut().zip(&self.capital).for_each(|(a, c)| *a *= c);
        let gain: f64 = after.iter().sum();
        for (capital, after) in self.capital.iter_mut().zip(after) {
            *capital = (1.0 - MOVED) * after / gain + MOVED / EXPERTS as f64;
        }
        gain
    }
}

/// A number above 0 and below 1 that looks random (splitmix64).
fn fraction(number: u64) -> f64 {
    let mut z = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 + f64::EPSILON / 4.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Near normal, from a counter.
    fn normal(stream: u64, index: u64) -> f64 {
        let sum: f64 = (0..12).map(|k| fraction((stream << 40) ^ (index * 12 + k))).sum();
        sum - 6.0
    }

    /// Parts until a warning, with `[local, image]` of part `n`; `None` within `most`.
    fn run(stream: u64, most: u64, shift: impl Fn(u64) -> [f64; 2]) -> Option<DriftWarning> {
        let part = |n: u64| [normal(stream, 2 * n), normal(stream, 2 * n + 1)];
        let mut watch = DriftWatch::new((0..10).map(part));
        (10..most).find_map(|n| {
            let (own, shift) = (part(n), shift(n));
            watch.observe([own[0] + shift[0], own[1] + shift[1]])
        })
    }

    #[test]
    fn steady_parts_raise_no_warning_more_often_than_stated() {
        // 60 runs of 5,000 parts: at one in 100,000 three are expected at the most.
        let runs = (0..60).filter(|stream| run(*stream, 5000, |_| [0.0; 2]).is_some()).count();
        assert!(runs <= 6, "{runs} of 60");
    }

    #[test]
    fn a_lamp_that_fails_is_noticed_within_a_few_parts_and_an_ageing_one_in_time() {
        let sudden =
            run(1, 3000, |n| if n < 500 { [0.0; 2] } else { [0.0, 3.0] }).expect("warning");
        assert!(sudden.parts < 525, "{sudden}");
        assert_eq!((sudden.channel, sudden.direction), (Channel::Image, Direction::Stranger));
        let slow = |n: u64| if n < 500 { 0.0 } else { (n - 500) as f64 / 1000.0 };
        let ageing = run(2, 5000, |n| [0.0, slow(n)]).expect("warning");
        assert!(ageing.parts > 500 && ageing.parts < 2500, "{ageing}");
        let blurred =
            run(3, 3000, |n| if n < 500 { [0.0; 2] } else { [1.0, 0.0] }).expect("warning");
        assert_eq!(blurred.channel, Channel::Local);
        assert!(blurred.parts < 700, "{blurred}");
    }

    #[test]
    fn a_frozen_camera_is_noticed() {
        let mut watch = DriftWatch::new([]);
        let mut warned = None;
        for n in 0..3000 {
            let own = [normal(9, 2 * n), normal(9, 2 * n + 1)];
            let same = [-2.5, 0.0];
            warned = warned.or(watch.observe(if n < 500 { own } else { same }));
        }
        let warned = warned.expect("warning");
        assert_eq!((warned.channel, warned.direction), (Channel::Local, Direction::Calmer));
        assert!(watch.standing());
        watch.reset();
        assert!(!watch.standing());
    }

    #[test]
    fn what_is_no_number_is_passed_over_and_histories_do_not_grow() {
        let mut watch = DriftWatch::new([[f64::NAN, 0.0]]);
        for statistic in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300] {
            assert_eq!(watch.observe([statistic; 2]), None);
        }
        assert!(watch.channels.iter().all(|c| c.history.len() == CELLS && c.roberts.is_finite()));
        assert_eq!(watch.channels[0].total, 4);
    }

    #[test]
    fn ranks_are_uniform() {
        let mut watched = Watched::new(Channel::Local);
        let mut cells = [0u32; 10];
        for n in 0..20_000 {
            let cell = watched.remember(normal(4, n)).expect("a number");
            let above: u64 = watched.history[cell + 1..].iter().sum();
            let p =
                (above as f64 + fraction(n) * watched.history[cell] as f64) / watched.total as f64;
            cells[((p * 10.0) as usize).min(9)] += 1;
        }
        assert!(cells.iter().all(|c| (1800..2200).contains(c)), "{cells:?}");
    }
}
