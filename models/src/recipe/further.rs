//! What good parts score that were shown and are no prompts: numbers instead of pictures.

use crate::inspector::Statistics;
use serde::{Deserialize, Serialize};

/// Most scores of one recipe, tiles times parts: they are part of a card that people read, too.
pub const FURTHER_MAX: usize = 1024;
/// Statistics are kept in thousandths: no law is known better, and equal recipes are equal in every bit.
const UNIT: f64 = 1e-3;
/// Logits and logarithms of ratios are within, in thousandths.
const REACH: i32 = 100_000;

/// Per tile, in the order of the tiles, for each part `[change, position, local, image]` in thousandths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FurtherGood(Vec<Vec<[i32; 4]>>);

impl FurtherGood {
    /// From the statistics of each tile's parts; what is no number is kept as the worst there is.
    pub fn new(tiles: &[Vec<Statistics>]) -> FurtherGood {
        let thousandths = |x: f64| match x / UNIT {
            x if x.is_nan() => REACH,
            x => x.round().clamp(f64::from(-REACH), f64::from(REACH)) as i32,
        };
        let row = |s: &Statistics| [s.change, s.position, s.local, s.image].map(thousandths);
        FurtherGood::of(tiles.iter().map(|tile| tile.iter().map(row).collect()).collect())
    }

    /// The same from the statistics of each part's tiles.
    pub fn of_parts(parts: &[Vec<Statistics>]) -> FurtherGood {
        let tiles = parts.first().map_or(0, Vec::len);
        let tile = |t: usize| parts.iter().filter_map(|part| part.get(t).copied()).collect();
        FurtherGood::new(&(0..tiles).map(tile).collect::<Vec<Vec<Statistics>>>())
    }

    /// Of no part is nothing at all, whatever the number of tiles.
    fn of(tiles: Vec<Vec<[i32; 4]>>) -> FurtherGood {
        if tiles.iter().all(Vec::is_empty) { FurtherGood::default() } else { FurtherGood(tiles) }
    }

    /// Evenly fewer parts, if a recipe has no room for all.
    pub fn thinned(self) -> FurtherGood {
        let (parts, most) = (self.parts(), FURTHER_MAX / self.0.len().max(1));
        if parts <= most {
            return self;
        }
        let thin = |tile: &Vec<[i32; 4]>| (0..most).map(|i| tile[i * parts / most]).collect();
        FurtherGood::of(self.0.iter().map(thin).collect())
    }

    /// Back again, tile by tile.
    pub fn statistics(&self) -> Vec<Vec<Statistics>> {
        let one = |row: &[i32; 4]| {
            let [change, position, local, image] = row.map(|v| f64::from(v) * UNIT);
            Statistics { change, position, local, image }
        };
        self.0.iter().map(|tile| tile.iter().map(one).collect()).collect()
    }

    /// All parts but these.
    pub fn without(&self, parts: &[usize]) -> FurtherGood {
        let kept = |tile: &Vec<[i32; 4]>| -> Vec<[i32; 4]> {
            let rest = tile.iter().enumerate().filter(|(i, _)| !parts.contains(i));
            rest.map(|(_, row)| *row).collect()
        };
        FurtherGood::of(self.0.iter().map(kept).collect())
    }

    /// Parts that it tells of.
    pub fn parts(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }

    /// Whether it tells of none.
    pub fn is_empty(&self) -> bool {
        self.parts() == 0
    }

    /// Whether all tiles tell of the same parts, no more than there may be, with numbers in range.
    pub(super) fn is_sound(&self) -> bool {
        let parts = self.parts();
        let all = self.0.iter().flatten().flatten();
        self.0.iter().all(|tile| tile.len() == parts)
            && self.0.len().saturating_mul(parts) <= FURTHER_MAX
            && (parts > 0 || self.0.is_empty())
            && all.into_iter().all(|v| (-REACH..=REACH).contains(v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(parts: usize) -> Vec<Statistics> {
        let one = |i| Statistics {
            change: -5.0004,
            position: f64::from(i) / 10.0,
            local: 0.25,
            image: f64::NAN,
        };
        (0..parts as i32).map(one).collect()
    }

    #[test]
    fn statistics_come_back_to_the_thousandth() {
        let further = FurtherGood::new(&[tile(3), tile(3)]);
        assert!(further.is_sound() && further.parts() == 3);
        let back = further.statistics();
        assert_eq!(back[1][2].change, -5.0);
        assert_eq!((back[0][0].position, back[0][0].local, back[0][0].image), (0.0, 0.25, 100.0));
        assert!((back[1][2].position - 0.2).abs() < 1e-9);
    }

    #[test]
    fn many_are_thinned_out_and_none_is_none() {
        let further = FurtherGood::new(&vec![tile(250); 8]);
        assert!(!further.is_sound());
        let further = further.thinned();
        assert!(further.is_sound());
        assert_eq!(further.parts(), FURTHER_MAX / 8);
        assert!(further.statistics()[0].last().is_some_and(|s| s.position > 24.0));
        assert!(FurtherGood::new(&[vec![], vec![]]).is_empty());
        assert!(FurtherGood::new(&[]).is_sound());
    }

    #[test]
    fn what_cannot_be_is_not_sound() {
        assert!(!FurtherGood(vec![vec![[0; 4]; 3], vec![[0; 4]; 2]]).is_sound());
        assert!(!FurtherGood(vec![vec![[0; 4]; FURTHER_MAX + 1]]).is_sound());
        assert!(!FurtherGood(vec![vec![[i32::MIN, 0, 0, 0]]]).is_sound());
        assert!(!FurtherGood(vec![vec![]]).is_sound());
    }
}
