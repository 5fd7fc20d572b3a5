//! The inspector: prompts in once, then a verdict per picture.
//!
//! Ties together the network, the two Student-t witnesses, their calibration and the decision.
//! After [`Inspector::new`] a prompt is never run again; per part one picture is encoded, compared
//! with the prompt that looks most like it (the retrieval of MetaUAS*), and scored.
//!
//! Whatever goes wrong with a part ends in a reject with a reason, never in an error or a panic.

mod acknowledge;
mod choose;
mod enrol;
mod expected;
mod habit;
mod maps;
mod mask;
mod result;
mod settings;
#[cfg(test)]
mod tests;
mod tile;

pub use choose::{Choice, GOOD_PARTS_MAX, choose_prompts};
pub use expected::Expected;
pub use result::{Inspection, StageLatency, Statistics, SuspiciousPrompt};
pub use settings::{ASPECT_TOLERANCE, InspectError, PROMPT_TILES_MAX, PROMPTS_MAX, Settings};

pub use crate::calibration::TAIL_PARTS_MIN;
use crate::calibration::{logit, score_of};
use crate::drift::DriftWatch;
use crate::engine::EngineError;
use crate::image_posterior::{ImagePosterior, ImagePosteriorError};
use crate::map::Map;
use crate::oneprompt::{ModelError, OnePrompt};
use crate::picture::{Picture, Rect};
use crate::recipe::{FurtherGood, Registration, Tiles};
use crate::registration::Locator;
use crate::tiling::Tiling;
use crate::verdict::{Decision, FalseRejectRate, Reason, Region, Witness, WitnessReport, decide};
use enrol::{Cut, Field, Place, encode_prompts, layers};
use maps::{Joined, Workbench};
use std::time::Instant;
use tile::{Look, Tile};

/// Joint leave-one-out p-value below which a prompt is called suspicious. Far above usual reject
/// rates: at teaching time a person looks, and a bad prompt spoils everything after it.
pub const SUSPICIOUS_P: f64 = 0.01;
/// Probability that [`Inspector::strangers`] names one although all parts are good.
pub const STRANGER_RATE: f64 = 0.01;
/// At most one part in so many is called a stranger: if there are more, the others may be the strange ones.
const STRANGERS_MAX_PART: usize = 10;
/// Score that a clear defect reaches; see [`Inspector::needs_more`].
pub const CLEAR_DEFECT_SCORE: f64 = 0.9;
/// Most further good parts that [`Inspector::needs_more`] asks for.
pub const NEEDS_MORE_MAX: usize = 1000;
/// Share of the fused map's peak that outlines the region of a part which was rejected although
/// its peak stays below the model card's level.
const REGION_FALLBACK: f32 = 0.5;

/// Inspects pictures of one product.
pub struct Inspector {
    model: OnePrompt,
    field: Field,
    locator: Option<Locator>,
    rate: FalseRejectRate,
    smallest_px: u32,
    grid: Tiles,
    registration: Registration,
    /// Those that are not ignored as a whole.
    tiles: Vec<Tile>,
    drift: DriftWatch,
    bench: Workbench,
    // Empty between parts: only their memory is kept, because the frame loop allocates nothing of its own.
    looks: Vec<Look>,
    joined: Vec<Joined>,
    places: Vec<WitnessReport>,
}

/// All tiles of one query, compared but not judged.
#[derive(Clone)]
struct Sight {
    place: Place,
    looks: Vec<Look>,
}

impl Inspector {
    /// Encodes the prompts, builds the posteriors and calibrates them by leaving one out.
    ///
    /// Takes, for each tile, one encode run per prompt and, of several prompts, one segment run each. Once the
    /// first prompt is compared with itself, so a model that cannot run is found now and not on the first part.
    pub fn new(
        mut model: OnePrompt,
        prompts: &[Picture],
        settings: Settings,
    ) -> Result<Self, InspectError> {
        let rate = checked_rate(settings.false_reject_ppm)?;
        let first = checked_count(prompts, &settings)?;
        let field = Field::new(first, &settings)?;
        let mut locator = locator(first, &settings)?;
        let input = model.input_size();
        let tilings = layers(settings.tiles).map(|tiles| Tiling::new(tiles, input));
        let cuts = tilings
            .flat_map(|tiling| (0..tiling.count()).map(move |index| Cut { tiling, index, input }));
        let seen = |cut: Cut| Tile::masks(&model, &field, &settings, &cut).map(|m| (cut, m));
        let (cuts, masks): (Vec<_>, Vec<_>) = cuts.filter_map(seen).unzip();
        if cuts.is_empty() {
            return Err(InspectError::AllIgnored);
        }
        if let Some(elsewhere) = &settings.elsewhere {
            elsewhere.check_fits(model.card(), settings.registration, cuts.len())?;
        }
        let share = rate.probability() / cuts.len() as f64;
        let laws = model.card().calibration.laws(settings.registration);
        let prior = model.card().embedding.prior()?;
        let encoded = encode_prompts(&mut model, prompts, &settings, &mut locator, &cuts)?;
        if let Some(own) = encoded.first().and_then(|tile| tile.first()) {
            // A model that cannot run is found now, and not on the first part.
            model.segment_full(&own.features, &own.features)?;
        }
        let tiles: Result<Vec<Tile>, InspectError> = encoded
            .into_iter()
            .zip(cuts.into_iter().zip(masks))
            .enumerate()
            .map(|(look, (prompts, (cut, masks)))| {
                let elsewhere = settings.elsewhere.as_ref().map(|e| e.samples(look));
                let good = (prompts, elsewhere.unwrap_or_default());
                Tile::enrol(&mut model, good, masks, cut, (laws, &prior), share)
            })
            .collect();
        let tiles = tiles?;
        let mut inspector = Inspector {
            drift: DriftWatch::new([]),
            tiles,
            field,
            locator,
            rate,
            smallest_px: settings.smallest_defect_px,
            grid: settings.tiles,
            registration: settings.registration,
            bench: Workbench::default(),
            looks: Vec::new(),
            joined: Vec::new(),
            places: Vec::new(),
            model,
        };
        inspector.bench.finder.reserve(inspector.model.map_size());
        inspector.calibrate(&settings.further)?;
        Ok(inspector)
    }

    /// What `good` parts score that are no prompts. They are judged as any part, so that each counts in full,
    /// unlike prompts, which are compared with what they resemble.
    ///
    /// # Errors
    /// A part that cannot be compared with the prompts.
    pub fn further<'a>(
        &mut self,
        good: impl IntoIterator<Item = &'a Picture>,
    ) -> Result<FurtherGood, InspectError> {
        let parts = good.into_iter().map(|part| self.statistics(part));
        Ok(FurtherGood::of_parts(&parts.collect::<Result<Vec<_>, _>>()?))
    }

    /// How long the posteriors of all prompts took to build, encoding and leaving out aside, in microseconds.
    pub fn posterior_us(&self) -> u64 {
        self.tiles.iter().map(|tile| tile.posterior_us).sum()
    }

    /// What the good parts taught here look like as a whole, for other cameras; `camera` is this one's name.
    ///
    /// # Errors
    /// A name that is none.
    pub fn image_posterior(&self, camera: &str) -> Result<ImagePosterior, ImagePosteriorError> {
        let looks: Vec<Vec<Vec<f32>>> = self.tiles.iter().map(Tile::embeddings).collect();
        ImagePosterior::new(self.model.card(), self.registration, camera, &looks)
    }

    /// Those of `further` good parts that all others do not agree with, the strangest first, with the p-value that
    /// they leave it. Of n good parts none is named, but for one camera in [`STRANGER_RATE`]'s inverse.
    ///
    /// # Errors
    /// Scores for another number of tiles.
    pub fn strangers(&self, further: &FurtherGood) -> Result<Vec<(usize, f64)>, InspectError> {
        let all = self.known(further)?;
        let parts = further.parts();
        let level = STRANGER_RATE / parts.max(1) as f64;
        let mut left: Vec<usize> = (0..parts).collect();
        let mut found = Vec::new();
        while left.len() > 1 && found.len() < parts.div_ceil(STRANGERS_MAX_PART) {
            let mut strangest = (0, f64::INFINITY);
            for (place, &own) in left.iter().enumerate() {
                let said = self.tiles.iter().zip(&all).map(|(tile, all)| {
                    let others = left.iter().filter(|i| **i != own).map(|i| all[*i]);
                    tile.testify_beside(&all[own], &others.collect::<Vec<_>>())
                });
                let p_value =
                    WitnessReport::of_places(&said.collect::<Result<Vec<_>, _>>()?).p_value();
                if p_value < strangest.1 {
                    strangest = (place, p_value);
                }
            }
            if strangest.1 >= level {
                break;
            }
            found.push((left.remove(strangest.0), strangest.1));
        }
        Ok(found)
    }

    /// Learns from further good parts, in place of those that were known; from [`TAIL_PARTS_MIN`] on the tail of
    /// the laws is theirs, too.
    ///
    /// # Errors
    /// Scores for another number of tiles; nothing is learned then.
    pub fn calibrate(&mut self, further: &FurtherGood) -> Result<(), InspectError> {
        let mut statistics = self.known(further)?.into_iter();
        let share = self.rate.probability() / self.tiles.len() as f64;
        for tile in &mut self.tiles {
            tile.calibrate(statistics.next().unwrap_or_default(), share)?;
        }
        self.drift = watch(&self.tiles);
        Ok(())
    }

    /// Judges a part. Never fails: whatever goes wrong rejects the part with the reason.
    pub fn inspect(&mut self, query: &Picture) -> Inspection {
        let mut latency = StageLatency::default();
        match self.look(query, &mut latency) {
            Ok(sight) => self.judge(sight, query, latency),
            Err(error) => Inspection::rejected(reason_of(&error), latency),
        }
    }

    /// The raw statistics of a picture, one per tile, for fitting priors. The smallest defect is not applied.
    pub fn statistics(&mut self, query: &Picture) -> Result<Vec<Statistics>, InspectError> {
        let mut sight = self.look(query, &mut StageLatency::default())?;
        Ok(self.measure(&mut sight))
    }

    /// Judges a good part that is no prompt, and gives its statistics with the same look.
    ///
    /// # Errors
    /// A part that cannot be compared with the prompts.
    pub fn try_good(
        &mut self,
        part: &Picture,
    ) -> Result<(Inspection, Vec<Statistics>), InspectError> {
        let mut latency = StageLatency::default();
        let sight = self.look(part, &mut latency)?;
        let statistics = self.measure(&mut sight.clone());
        Ok((self.judge(sight, part, latency), statistics))
    }

    /// The looks have no change maps after that.
    fn measure(&mut self, sight: &mut Sight) -> Vec<Statistics> {
        let (rule, bench, place) = (&self.model.card().fusion, &mut self.bench, &sight.place);
        let looked = self.tiles.iter().zip(&mut sight.looks);
        looked
            .map(|(tile, look)| tile.join(look, place, rule, bench).statistics(look.image))
            .collect()
    }

    /// The statistics of `further` good parts, tile by tile; none of none.
    fn known(&self, further: &FurtherGood) -> Result<Vec<Vec<Statistics>>, InspectError> {
        let (tiles, known) = (self.tiles.len(), further.statistics());
        match further.is_empty() || known.len() == tiles {
            true => Ok(known),
            false => Err(InspectError::FurtherTiles { tiles, given: known.len() }),
        }
    }

    /// The raw statistics of the prompts, tile by tile, each judged without itself and what may be of its
    /// batch.
    pub fn left_out(&self) -> impl Iterator<Item = Statistics> {
        self.tiles.iter().flat_map(|tile| tile.left_out.scores.iter().copied())
    }

    /// Changes the false-reject rate at once; nothing is encoded again.
    pub fn with_false_reject_ppm(&mut self, ppm: u32) -> Result<(), InspectError> {
        self.rate = checked_rate(ppm)?;
        let share = self.rate.probability() / self.tiles.len() as f64;
        self.tiles.iter_mut().for_each(|tile| tile.set_share(share));
        Ok(())
    }

    /// The rate in force.
    pub fn false_reject_rate(&self) -> FalseRejectRate {
        self.rate
    }

    /// The model that judges.
    pub fn model(&self) -> &OnePrompt {
        &self.model
    }

    /// Gives the model back, to enrol other prompts with it.
    pub fn into_model(self) -> OnePrompt {
        self.model
    }

    /// How many further good parts the rate needs before defects can be found at it; `None` if it
    /// is within reach.
    ///
    /// The joint statistic has a ceiling: a score cannot exceed 1. A rate is within reach if the
    /// joint witness would reject a score of [`CLEAR_DEFECT_SCORE`] at its share of the
    /// rate. With few prompts the heavy tail may put that threshold higher, and then only the
    /// other witnesses can object. Further parts are assumed to look like those seen
    /// ([`ScalarPredictive::expected_after`]); at most [`NEEDS_MORE_MAX`] are asked for.
    pub fn needs_more(&self, ppm: u32) -> Option<usize> {
        let rate = FalseRejectRate::from_ppm(ppm).unwrap_or(self.rate);
        let ceiling = logit(CLEAR_DEFECT_SCORE);
        let share = rate.probability() * Witness::Joint.share() / self.tiles.len() as f64;
        let within = |more: usize| self.tiles.iter().all(|tile| tile.objects(ceiling, more, share));
        if within(0) {
            return None;
        }
        Some((1..NEEDS_MORE_MAX).find(|more| within(*more)).unwrap_or(NEEDS_MORE_MAX))
    }

    /// Prompts that the others do not agree with (a defective or wrong part taught by mistake),
    /// most suspicious first. Needs two prompts; with exactly two, both may be named.
    pub fn suspicious_prompts(&self) -> Vec<SuspiciousPrompt> {
        let prompts = self.tiles.first().map_or(0, |tile| tile.left_out.scores.len());
        let mut found: Vec<SuspiciousPrompt> = (0..prompts)
            .filter_map(|index| {
                let tiles = self.tiles.iter().map(|tile| tile.testify_left_out(index));
                let report = WitnessReport::of_places(&tiles.collect::<Option<Vec<_>>>()?);
                let p_value = report.p_value();
                (p_value < SUSPICIOUS_P).then(|| SuspiciousPrompt {
                    index,
                    p_value,
                    witness: report.strongest().0,
                })
            })
            .collect();
        found.sort_by(|a, b| a.p_value.total_cmp(&b.p_value));
        found
    }

    fn look(&mut self, query: &Picture, latency: &mut StageLatency) -> Result<Sight, InspectError> {
        if !self.field.admits(query) {
            let given = (query.width(), query.height());
            return Err(InspectError::Size { prompt: None, given, expected: self.field.size });
        }
        let start = Instant::now();
        let place = Place::find(&mut self.locator, query, self.field.area_of(query));
        latency.preprocess = micros_since(start);
        let mut looks = std::mem::take(&mut self.looks);
        looks.clear();
        for layer in layers(self.grid) {
            latency.preprocess += place.load(&mut self.model, query, self.field.region, layer)?;
            let own = self.tiles.iter_mut().filter(|tile| tile.cut.tiling.tiles() == layer);
            for tile in own {
                looks.push(tile.look(&mut self.model, &place, latency)?);
            }
        }
        Ok(Sight { place, looks })
    }

    fn judge(&mut self, sight: Sight, query: &Picture, mut latency: StageLatency) -> Inspection {
        let start = Instant::now();
        let Sight { place, mut looks } = sight;
        let area = self.field.area_of(query);
        let rule = &self.model.card().fusion;
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
        let regions = self.outline(&fused, area, &decision);
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
    fn outline(&mut self, fused: &Map, area: Rect, decision: &Decision) -> Vec<Region> {
        let Decision::Reject(reason) = decision else { return Vec::new() };
        let level = self.model.card().fusion.region_level;
        let finder = &mut self.bench.finder;
        let found = finder.regions(fused, area, level, self.smallest_px);
        let local = matches!(reason, Reason::Change { .. } | Reason::Novel { .. });
        if !found.is_empty() || !local {
            return found;
        }
        finder.regions(fused, area, level.min(REGION_FALLBACK * fused.max()), 0)
    }
}

/// Begins to watch for drift. The worst of several tiles has a law that no single tile's scores tell.
fn watch(tiles: &[Tile]) -> DriftWatch {
    let taught = tiles.first().filter(|_| tiles.len() == 1);
    DriftWatch::new(taught.into_iter().flat_map(Tile::taught))
}

/// The mean of two maps of one area, at the finer one's size.
fn mean(coarse: &Map, mut fine: Map) -> Map {
    let coarse = coarse.resize(fine.width, fine.height);
    fine.values.iter_mut().zip(coarse.values).for_each(|(fine, coarse)| {
        *fine = 0.5 * (*fine + coarse);
    });
    fine
}

/// Looks for parts like the first prompt, if that is wanted.
fn locator(first: &Picture, settings: &Settings) -> Result<Option<Locator>, InspectError> {
    let area = settings.region_of_interest.unwrap_or(first.bounds());
    area.check_within(first.width(), first.height()).map_err(InspectError::RegionOfInterest)?;
    Ok(Locator::new(first, area, settings.registration))
}

/// The first prompt, if there are neither too few nor too many, nor too many tiles.
fn checked_count<'a>(
    prompts: &'a [Picture],
    settings: &Settings,
) -> Result<&'a Picture, InspectError> {
    let given = prompts.len();
    let first = prompts.first().filter(|_| given <= PROMPTS_MAX);
    let first = first.ok_or(InspectError::PromptCount { given })?;
    let tiles = settings.tiles;
    if !tiles.is_sound() || tiles.count() as usize * given > PROMPT_TILES_MAX {
        return Err(InspectError::TileCount { tiles, prompts: given });
    }
    Ok(first)
}

fn checked_rate(ppm: u32) -> Result<FalseRejectRate, InspectError> {
    FalseRejectRate::from_ppm(ppm).ok_or(InspectError::Rate { ppm })
}

/// The reason that a failure rejects a part with.
fn reason_of(error: &InspectError) -> Reason {
    match error {
        InspectError::Size { .. } | InspectError::Model(ModelError::Picture(_)) => {
            Reason::WrongSize
        }
        InspectError::Model(ModelError::Engine(EngineError::NotFinite { .. }))
        | InspectError::Posterior(_)
        | InspectError::Calibration(_) => Reason::NotFinite,
        _ => Reason::EngineFailed,
    }
}

fn micros_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}
