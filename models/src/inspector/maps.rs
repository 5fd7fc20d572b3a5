//! The three maps of one tile of a picture, and the one number that joins them.

use super::enrol::{Cut, Masks, Place};
use super::result::Statistics;
use crate::calibration::{change_statistic, local_statistic, position_statistic};
use crate::fusion::{Fuser, position_level, position_levels};
use crate::map::Map;
use crate::package::FusionConstants;
use crate::regions::Finder;

/// Weights of the position witness's level, of the peak of where change and position map agree and of the
/// nearest-neighbour map's peak in a score; together 1. The position witness ranks best where parts are alike, the others where they
/// are not: with it alone cracks in surfaces that all differ (kolektor) were at chance with one prompt,
/// with all three they are not, and nothing else on the development sets lost more than half a point.
const SCORE_WEIGHTS: [f32; 3] = [0.5, 0.25, 0.25];

/// Memory that every part is judged in.
#[derive(Default)]
pub(super) struct Workbench {
    fuser: Fuser,
    levels: Map,
    pub(super) finder: Finder,
}

/// What the witnesses see of one tile.
#[derive(Clone)]
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

    /// One map of the three, and the statistics that go with it. `position` is the statistic of this position
    /// map, `usual` where a good part's lies. The joined map is made in the memory of the change map, which is
    /// empty after that.
    pub(super) fn join(
        &mut self,
        bench: &mut Workbench,
        (position, usual): (f64, f64),
        rule: &FusionConstants,
        masks: &Masks,
        (place, cut): (&Place, &Cut),
    ) -> Joined {
        let levels = &mut bench.levels;
        levels.copy(&self.position);
        position_levels(&mut levels.values, usual);
        let change = change_statistic(&self.change);
        let mut map = std::mem::take(&mut self.change);
        bench.fuser.fuse(rule, &mut map, &self.nearest, levels);
        let agreement = bench.fuser.agreement();
        for map in [&mut map, &mut *agreement] {
            masks.change.apply(&mut map.values);
            place.hide_unseen(map, cut);
        }
        let level = position_level(position.exp() as f32, usual);
        let weighed = SCORE_WEIGHTS.iter().zip([level, agreement.max(), self.nearest.max()]);
        let score = weighed.map(|(weight, value)| weight * value).sum::<f32>().clamp(0.0, 1.0);
        Joined { map, change, position, local: local_statistic(score) }
    }
}

/// One map of a tile's witnesses, and their statistics.
pub(super) struct Joined {
    pub(super) map: Map,
    change: f64,
    position: f64,
    local: f64,
}

impl Joined {
    /// With that of the whole picture.
    pub(super) fn statistics(&self, image: f64) -> Statistics {
        let Joined { change, position, local, .. } = *self;
        Statistics { change, position, local, image }
    }
}
