//! One map from three: the change map, the nearest-neighbour map and the position map, joined
//! with constants that are fixed in the model card and the same for every product.
//!
//! This is the map that `--maps` writes, that overlays show and that pixel metrics measure. The
//! decision does not read it: it is made from the witnesses' own statistics, each calibrated.

use crate::map::{Map, Resampler};
use crate::package::FusionConstants;
use serde::{Deserialize, Serialize};

/// Steepness of the curve that takes `delta / D` to 0..1; two makes it fall off with the squared
/// ratio below the level of a good part's worst patch.
const POSITION_STEEPNESS: i32 = 2;

/// How the maps are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FusionRule {
    /// `1 - (1-c)^wc (1-n)^wn (1-p)^wp`: any witness alone can raise the alarm.
    #[default]
    NoisyOr,
    /// `(wc c + wn n + wp p) / (wc + wn + wp)`: witnesses have to agree. Roots of the maps let a witness that is
    /// faint everywhere speak beside one that says yes or no.
    WeightedMean,
}

/// Most square roots that are taken of a map, and most times that the joined one is squared.
pub const ROOTS_MAX: u32 = 4;

/// Takes `delta / D` to 0..1 with a fixed curve; one half at `usual`, the logarithm of what a good part's
/// worst patch has.
pub fn position_level(ratio: f32, usual: f64) -> f32 {
    level(ratio, usual.exp())
}

/// The same of all cells of a map.
pub fn position_levels(ratios: &mut [f32], usual: f64) {
    let usual = usual.exp();
    ratios.iter_mut().for_each(|ratio| *ratio = level(*ratio, usual));
}

fn level(ratio: f32, usual: f64) -> f32 {
    let relative = (f64::from(ratio) / usual).powi(POSITION_STEEPNESS);
    if relative.is_finite() { (relative / (1.0 + relative)) as f32 } else { 1.0 }
}

/// Joins maps; keeps its buffers, so that a part costs no memory of its own.
#[derive(Debug, Default)]
pub(crate) struct Fuser {
    resampler: Resampler,
    nearest: Map,
    /// The position map, then what it and the nearest-neighbour map say together.
    companion: Map,
    /// The same at the size of the change map.
    wide: Map,
    /// Mean of the change and the position map, at the size of the change map.
    agreement: Map,
}

impl Fuser {
    /// Joins the maps in the place of the change map; all values in 0..1 give values in 0..1.
    ///
    /// `nearest` and `position` may be of any size; they are joined with each other at the finer of
    /// their sizes and brought up bilinearly once, because powers at full size would cost more than
    /// the whole position witness.
    pub(crate) fn fuse(
        &mut self,
        constants: &FusionConstants,
        change: &mut Map,
        nearest: &Map,
        position: &Map,
    ) {
        let size = (nearest.width.max(position.width), nearest.height.max(position.height));
        self.resampler.resize(nearest, size, &mut self.nearest);
        self.resampler.resize(position, size, &mut self.companion);
        let FusionConstants {
            rule,
            change_weight: wc,
            nearest_weight: wn,
            position_weight: wp,
            change_roots,
            nearest_roots,
            position_roots,
            joined_squares,
            ..
        } = *constants;
        self.agree(change, position);
        take_roots(&mut change.values, change_roots);
        take_roots(&mut self.nearest.values, nearest_roots);
        take_roots(&mut self.companion.values, position_roots);
        for (p, n) in self.companion.values.iter_mut().zip(&self.nearest.values) {
            *p = match rule {
                FusionRule::NoisyOr => spared(*n, wn) * spared(*p, wp),
                FusionRule::WeightedMean => wn * n + wp * *p,
            };
        }
        self.resampler.resize(&self.companion, (change.width, change.height), &mut self.wide);
        let total = wc + wn + wp;
        for (c, value) in change.values.iter_mut().zip(&self.wide.values) {
            let joined = match rule {
                FusionRule::NoisyOr => 1.0 - spared(*c, wc) * *value,
                FusionRule::WeightedMean if total > 0.0 => (wc * *c + *value) / total,
                FusionRule::WeightedMean => 0.0,
            };
            *c = joined.clamp(0.0, 1.0);
        }
        for _ in 0..joined_squares {
            change.values.iter_mut().for_each(|value| *value *= *value);
        }
    }

    /// Where change and position map, both as they are, agreed at the last [`Fuser::fuse`].
    pub(crate) fn agreement(&mut self) -> &mut Map {
        &mut self.agreement
    }

    fn agree(&mut self, change: &Map, position: &Map) {
        self.resampler.resize(position, (change.width, change.height), &mut self.agreement);
        for (both, c) in self.agreement.values.iter_mut().zip(&change.values) {
            *both = 0.5 * (*both + c);
        }
    }
}

/// Square roots of all cells, `count` times.
fn take_roots(values: &mut [f32], count: u32) {
    for _ in 0..count {
        values.iter_mut().for_each(|value| *value = value.max(0.0).sqrt());
    }
}

/// `(1 - value)^weight`, without the power where the weight is one, the usual case for the change
/// map with its many cells.
fn spared(value: f32, weight: f32) -> f32 {
    let rest = (1.0 - value).max(0.0);
    if (weight - 1.0).abs() < f32::EPSILON { rest } else { rest.powf(weight) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fuse(constants: &FusionConstants, change: &Map, nearest: &Map, position: &Map) -> Map {
        let mut fused = change.clone();
        Fuser::default().fuse(constants, &mut fused, nearest, position);
        fused
    }

    fn weights(change_weight: f32, nearest_weight: f32, position_weight: f32) -> FusionConstants {
        FusionConstants {
            rule: FusionRule::NoisyOr,
            change_weight,
            nearest_weight,
            position_weight,
            change_roots: 0,
            nearest_roots: 0,
            position_roots: 0,
            joined_squares: 0,
            region_level: 0.5,
        }
    }

    fn map(side: u32, values: Vec<f32>) -> Map {
        Map::new(side, side, values).expect("a map of that size")
    }

    fn one(value: f32) -> Map {
        map(1, vec![value])
    }

    fn fused_one(rule: FusionRule, w: &FusionConstants, c: f32, n: f32, p: f32) -> f32 {
        fuse(&FusionConstants { rule, ..*w }, &one(c), &one(n), &one(p)).values[0]
    }

    #[test]
    fn noisy_or_by_hand() {
        let w = weights(1.0, 0.5, 2.0);
        let got = fused_one(FusionRule::NoisyOr, &w, 0.2, 0.36, 0.5);
        assert!((got - (1.0 - 0.8 * 0.8 * 0.25)).abs() < 1e-6, "{got}");
        // A weight of zero silences a witness, even a sure one.
        let silent = fused_one(FusionRule::NoisyOr, &weights(1.0, 0.0, 0.0), 0.2, 1.0, 1.0);
        assert!((silent - 0.2).abs() < 1e-6, "{silent}");
        assert_eq!(fused_one(FusionRule::NoisyOr, &weights(0.0, 0.0, 0.0), 1.0, 1.0, 1.0), 0.0);
    }

    #[test]
    fn weighted_mean_by_hand() {
        let got = fused_one(FusionRule::WeightedMean, &weights(2.0, 1.0, 1.0), 0.5, 0.1, 0.3);
        assert!((got - 0.35).abs() < 1e-6, "{got}");
        let none = weights(0.0, 0.0, 0.0);
        assert_eq!(fused_one(FusionRule::WeightedMean, &none, 1.0, 1.0, 1.0), 0.0);
    }

    #[test]
    fn roots_by_hand() {
        let w = FusionConstants {
            change_roots: 2,
            nearest_roots: 1,
            position_roots: 0,
            ..weights(1.0, 2.0, 1.0)
        };
        let got = fused_one(FusionRule::WeightedMean, &w, 0.0625, 0.25, 0.3);
        let joined = (0.5 + 2.0 * 0.5 + 0.3) / 4.0f32;
        assert!((got - joined).abs() < 1e-6, "{got}");
        let squared = FusionConstants { joined_squares: 2, ..w };
        let got = fused_one(FusionRule::WeightedMean, &squared, 0.0625, 0.25, 0.3);
        assert!((got - joined.powi(4)).abs() < 1e-6, "{got}");
    }

    #[test]
    fn agreement_takes_no_roots_and_no_weights() {
        let w = FusionConstants {
            rule: FusionRule::WeightedMean,
            change_roots: 2,
            position_roots: 1,
            ..weights(1.0, 2.0, 3.0)
        };
        let mut fuser = Fuser::default();
        fuser.fuse(&w, &mut one(0.25), &one(0.9), &one(0.75));
        assert_eq!(fuser.agreement().values, [0.5]);
    }

    #[test]
    fn maps_of_different_sizes_meet_at_the_size_of_the_change_map() {
        let change = map(4, vec![0.0; 16]);
        let nearest = map(2, vec![0.0, 1.0, 0.0, 1.0]);
        let got = fuse(&weights(1.0, 1.0, 1.0), &change, &nearest, &one(0.0));
        assert_eq!((got.width, got.height), (4, 4));
        assert_eq!(got.values[..4], [0.0, 0.25, 0.75, 1.0]);
    }

    #[test]
    fn position_levels() {
        let usual = 2f64.ln();
        assert!((position_level(2.0, usual) - 0.5).abs() < 1e-6);
        assert!(position_level(0.4, usual) < 0.05);
        assert!(position_level(20.0, usual) > 0.98);
        assert_eq!(position_level(0.0, usual), 0.0);
        assert_eq!(position_level(f32::NAN, usual), 1.0, "what is not a number is not ordinary");
    }

    proptest! {
        #[test]
        fn stays_in_range_and_rises_with_each_witness(
            wc in 0.0..3.0f32, wn in 0.0..3.0f32, wp in 0.0..3.0f32,
            c in 0.0..1.0f32, n in 0.0..1.0f32, p in 0.0..1.0f32, more in 0.0..1.0f32,
            roots in proptest::array::uniform4(0..=ROOTS_MAX),
        ) {
            let [change_roots, nearest_roots, position_roots, joined_squares] = roots;
            let w = FusionConstants {
                change_roots, nearest_roots, position_roots, joined_squares, ..weights(wc, wn, wp)
            };
            for rule in [FusionRule::NoisyOr, FusionRule::WeightedMean] {
                let base = fused_one(rule, &w, c, n, p);
                prop_assert!((0.0..=1.0).contains(&base));
                let up = |v: f32| v + (1.0 - v) * more;
                for risen in [
                    fused_one(rule, &w, up(c), n, p),
                    fused_one(rule, &w, c, up(n), p),
                    fused_one(rule, &w, c, n, up(p)),
                ] {
                    prop_assert!(risen >= base - 1e-5, "{rule:?}: {risen} < {base}");
                }
            }
        }
    }
}
