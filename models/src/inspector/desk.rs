//! Where a part's tiles are compared and decided on, and what is kept between parts.

use super::enrol::{Field, Place, layers};
use super::maps::{Joined, Workbench};
use super::micros_since;
use super::result::{Inspection, StageLatency, Statistics};
use super::settings::InspectError;
use super::tile::{Look, Tile};
use crate::calibration::score_of;
use crate::drift::DriftWatch;
use crate::map::Map;
use crate::oneprompt::{Comparer, Encoded};
use crate::package::{FusionConstants, ModelCard};
use crate::picture::{Picture, Rect};
use crate::recipe::Tiles;
use crate::verdict::{Decision, FalseRejectRate, Reason, Region, WitnessReport, decide};
use std::time::Instant;

/// Share of the fused map's peak that outlines the region of a part which was rejected although
/// its peak stays below the model card's level.
const REGION_FALLBACK: f32 = 0.5;

/// What decides.
pub(super) struct Desk {
    pub(super) rate: FalseRejectRate,
    pub(super) smallest_px: u32,
    pub(super) grid: Tiles,
    /// Those that are not ignored as a whole.
    pub(super) tiles: Vec<Tile>,
    pub(super) drift: DriftWatch,
    pub(super) bench: Workbench,
    /// Of the part that is being taken in: where it lies, the first error, and the times so far.
    pub(super) place: Option<Place>,
    pub(super) failed: Option<InspectError>,
    pub(super) latency: StageLatency,
    /// Its tiles so far. Between parts this and the lists below are empty: only their memory is kept, because the
    /// frame loop allocates nothing of its own.
    looks: Vec<Look>,
    joined: Vec<Joined>,
    places: Vec<WitnessReport>,
}

/// All tiles of one query, compared but not judged.
#[derive(Clone)]
pub(super) struct Sight {
    pub(super) place: Place,
    pub(super) looks: Vec<Look>,
}

impl Desk {
    pub(super) fn new(
        tiles: Vec<Tile>,
        (grid, rate, smallest_px): (Tiles, FalseRejectRate, u32),
        map_size: (u32, u32),
    ) -> Desk {
        let mut bench = Workbench::default();
        bench.finder.reserve(map_size);
        Desk {
            rate,
            smallest_px,
            grid,
            tiles,
            drift: DriftWatch::new([]),
            bench,
            place: None,
            failed: None,
            latency: StageLatency::default(),
            looks: Vec::new(),
            joined: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Begins to watch for drift. The worst of several tiles has a law that no single tile's scores tell.
    pub(super) fn watch(&mut self) {
        let taught = self.tiles.first().filter(|_| self.tiles.len() == 1);
        self.drift = DriftWatch::new(taught.into_iter().flat_map(Tile::taught));
    }

    /// Forgets a part that was taken in and not decided on.
    pub(super) fn forget(&mut self) {
        (self.place, self.failed, self.latency) = (None, None, StageLatency::default());
        self.looks.clear();
    }

    /// Compares the next tile of the part that is being taken in.
    pub(super) fn compare(
        &mut self,
        comparer: &mut Comparer,
        encoded: Encoded,
    ) -> Result<(), InspectError> {
        // The front sees tiles in their order, after it has placed the part.
        let next = self.tiles.get_mut(self.looks.len());
        if let (Some(place), Some(tile)) = (&self.place, next) {
            self.looks.push(tile.look(comparer, encoded, place, &mut self.latency)?);
        }
        Ok(())
    }

    /// The part that was taken in; the next can come.
    pub(super) fn sight(&mut self) -> Result<(Sight, StageLatency), (InspectError, StageLatency)> {
        let (place, failed, latency) = (self.place.take(), self.failed.take(), self.latency);
        let looks = std::mem::take(&mut self.looks);
        self.forget();
        match (place, failed) {
            (Some(place), None) if looks.len() == self.tiles.len() => {
                Ok((Sight { place, looks }, latency))
            }
            (_, failed) => Err((failed.unwrap_or(InspectError::Incomplete), latency)),
        }
    }

    /// The looks have no change maps after that.
    pub(super) fn measure(&mut self, sight: &mut Sight, rule: &FusionConstants) -> Vec<Statistics> {
        let (bench, place) = (&mut self.bench, &sight.place);
        let looked = self.tiles.iter().zip(&mut sight.looks);
        looked
            .map(|(tile, look)| tile.join(look, place, rule, bench).statistics(look.image))
            .collect()
    }

    /// Decides on a part.
    pub(super) fn judge(
        &mut self,
        (card, field): (&ModelCard, &Field),
        (sight, mut latency): (Sight, StageLatency),
        query: &Picture,
    ) -> Inspection {
        let start = Instant::now();
        let Sight { place, mut looks } = sight;
        let area = field.area_of(query);
        let rule = &card.fusion;
        let mut joined = std::mem::take(&mut self.joined);
        let mut places = std::mem::take(&mut self.places);
        for (tile, look) in self.tiles.iter().zip(&mut looks) {
            let area = tile.cut.tiling.rect(area, tile.cut.index);
            tile.flatten(look, area, self.smallest_px, &mut self.bench);
            let of_tile = tile.join(look, &place, rule, &mut self.bench);
            places.push(tile.testify(look, &of_tile));
            joined.push(of_tile);
        }
        let witnesses = WitnessReport::of_places(&places);
        let decision = decide(&witnesses, self.rate);
        let score = self.score(&places);
        let fused = self.lay_out(&mut joined, &place);
        let regions = self.outline(&fused, (area, rule.region_level), &decision);
        self.tiles.iter_mut().zip(looks.drain(..)).for_each(|(tile, look)| tile.give_back(look));
        joined.clear();
        places.clear();
        (self.looks, self.joined, self.places) = (looks, joined, places);
        let drift = decision.is_pass().then(|| self.drift.passed(&witnesses)).flatten();
        latency.score += micros_since(start);
        Inspection {
            decision,
            drift,
            score,
            p_value: witnesses.p_value(),
            witnesses,
            regions,
            map: Some(fused),
            area,
            pose: place.pose,
            latency,
        }
    }

    /// The worst tile's score; the mean of it and the whole picture's where both were looked at, as for the map.
    fn score(&self, places: &[WitnessReport]) -> f32 {
        let worst = |layer: Tiles| {
            let own = self.tiles.iter().zip(places);
            let own = own.filter(|(tile, _)| tile.cut.tiling.tiles() == layer);
            own.map(|(_, said)| score_of(said.joint.p_value)).reduce(f32::max)
        };
        let worsts = layers(self.grid).filter_map(worst);
        let (sum, count) = worsts.fold((0.0, 0.0f32), |(sum, count), w| (sum + w, count + 1.0));
        sum / count.max(1.0)
    }

    /// The tiles' maps side by side, where the part lies in its own picture. The map of a single tile that lies as
    /// taught is taken as it is.
    fn lay_out(&self, mut joined: &mut [Joined], place: &Place) -> Map {
        let mut whole: Option<Map> = None;
        if let ([only], true) = (&mut *joined, self.grid.is_one()) {
            whole = Some(std::mem::take(&mut only.map));
            joined = &mut [];
        }
        for layer in layers(self.grid) {
            let mut canvas: Option<Map> = None;
            for (tile, Joined { map, .. }) in self.tiles.iter().zip(&*joined) {
                if tile.cut.tiling.tiles() == layer {
                    let empty = || tile.cut.canvas_map((map.width, map.height));
                    tile.cut.paste(map, canvas.get_or_insert_with(empty));
                }
            }
            whole = match (whole, canvas) {
                (Some(coarse), Some(fine)) => Some(mean(&coarse, fine)),
                (one, other) => one.or(other),
            };
        }
        let whole = whole.unwrap_or_default();
        match place.map((whole.width, whole.height)).and_then(|map| map.inverse()) {
            Some(back) => whole.seen_through(&back),
            None => whole,
        }
    }

    /// Regions of a rejected part. A part rejected for something local always shows where: if
    /// nothing exceeds the card's level, the surroundings of the peak do.
    fn outline(
        &mut self,
        fused: &Map,
        (area, level): (Rect, f32),
        decision: &Decision,
    ) -> Vec<Region> {
        let Decision::Reject(reason) = decision else { return Vec::new() };
        let finder = &mut self.bench.finder;
        let found = finder.regions(fused, area, level, self.smallest_px);
        let local = matches!(reason, Reason::Change { .. } | Reason::Novel { .. });
        if !found.is_empty() || !local {
            return found;
        }
        finder.regions(fused, area, level.min(REGION_FALLBACK * fused.max()), 0)
    }
}

/// The mean of two maps of one area, at the finer one's size.
fn mean(coarse: &Map, mut fine: Map) -> Map {
    let coarse = coarse.resize(fine.width, fine.height);
    fine.values.iter_mut().zip(coarse.values).for_each(|(fine, coarse)| {
        *fine = 0.5 * (*fine + coarse);
    });
    fine
}
