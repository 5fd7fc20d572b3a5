//! The three maps of one tile of a picture, and the one number that joins them.

use super::enrol::{Cut, Masks, Place};
use crate::calibration::position_statistic;
use crate::fusion::{fuse, position_level};
use crate::map::Map;
use crate::package::FusionConstants;

/// Weights of the position witness's level, of the fused map's peak and of the nearest-neighbour map's peak
/// in a score; together 1. The position witness ranks best where parts are alike, the others where they
/// are not: with it alone cracks in surfaces that all differ (kolektor) were at chance with one prompt,
/// with all three they are not, and nothing else on the development sets lost more than half a point.
const SCORE_WEIGHTS: [f32; 3] = [0.5, 0.25, 0.25];

/// What the witnesses see of one tile.
pub(super) struct Maps {
    pub(super) change: Map,
    pub(super) nearest: Map,
    /// `delta / D` per patch.
    pub(super) position: Map,
}

impl Maps {
    /// Zeroes what is ignored and what the picture does not show.
    pub(super) fn hide(&mut self, masks: &Masks, place: &Place, cut: &Cut) {
        masks.change.apply(&mut self.change.values);
        masks.nearest.apply(&mut self.nearest.values);
        masks.position.apply(&mut self.position.values);
        place.hide_unseen(&mut self.change, cut);
        place.hide_unseen(&mut self.nearest, cut);
        place.hide_unseen(&mut self.position, cut);
    }

    /// ln of the position map's smoothed peak.
    pub(super) fn position_statistic(&self) -> f64 {
        let (width, height) = (self.position.width as usize, self.position.height as usize);
        position_statistic(width, height, &self.position.values)
    }

    /// One map of the three; `usual` is where a good part's position statistic lies.
    pub(super) fn fused(&self, usual: f64, rule: &FusionConstants) -> Map {
        let mut position = self.position.clone();
        for value in &mut position.values {
            *value = position_level(*value, usual);
        }
        fuse(rule, &self.change, &self.nearest, &position)
    }

    /// How unlike the good parts the tile looks at its worst place, 0..1.
    pub(super) fn score(&self, position: f64, usual: f64, fused: &Map) -> f32 {
        let level = position_level(position.exp() as f32, usual);
        let weighed = SCORE_WEIGHTS.iter().zip([level, fused.max(), self.nearest.max()]);
        weighed.map(|(weight, value)| weight * value).sum::<f32>().clamp(0.0, 1.0)
    }
}
