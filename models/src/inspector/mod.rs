//! The inspector: prompts in once, then a verdict per picture.
//!
//! Ties together the network, the two Student-t witnesses, their calibration and the decision.
//! After [`Inspector::new`] a prompt is never run again; per part one picture is encoded, compared
//! with the prompt that looks most like it (the retrieval of MetaUAS*), and scored.
//!
//! Whatever goes wrong with a part ends in a reject with a reason, never in an error or a panic.

mod acknowledge;
mod choose;
mod desk;
mod enrol;
mod expected;
mod habit;
mod halves;
mod lie;
mod maps;
mod mask;
mod result;
mod settings;
#[cfg(test)]
mod tests;
mod tile;

pub use choose::{Choice, GOOD_PARTS_MAX, choose_prompts};
pub use expected::Expected;
pub use halves::{Back, Front, Seen};
pub use lie::lies_otherwise;
pub use result::{Inspection, StageLatency, Statistics, SuspiciousPrompt};
pub use settings::{ASPECT_TOLERANCE, InspectError, PROMPT_TILES_MAX, PROMPTS_MAX, Settings};

pub use crate::calibration::TAIL_PARTS_MIN;
use crate::calibration::logit;
use crate::engine::EngineError;
use crate::image_posterior::{ImagePosterior, ImagePosteriorError};
use crate::oneprompt::{ModelError, OnePrompt};
use crate::picture::Picture;
use crate::recipe::{FurtherGood, Registration};
use crate::registration::Locator;
use crate::tiling::Tiling;
use crate::verdict::{FalseRejectRate, Reason, Witness, WitnessReport};
use desk::{Desk, Sight};
use enrol::{Cut, Field, encode_prompts, layers};
use std::time::Instant;
use tile::Tile;

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

/// Inspects pictures of one product.
pub struct Inspector {
    model: OnePrompt,
    field: Field,
    locator: Option<Locator>,
    registration: Registration,
    /// Of the desk's tiles, in their order.
    cuts: Vec<Cut>,
    desk: Desk,
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
        let encoded = encode_prompts(model.halves().1, prompts, &settings, &mut locator, &cuts)?;
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
        let cuts = tiles.iter().map(|tile| tile.cut).collect();
        let told = (settings.tiles, rate, settings.smallest_defect_px);
        let desk = Desk::new(tiles, told, model.map_size());
        let registration = settings.registration;
        let mut inspector = Inspector { model, field, locator, registration, cuts, desk };
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
        self.desk.tiles.iter().map(|tile| tile.posterior_us).sum()
    }

    /// What the good parts taught here look like as a whole, for other cameras; `camera` is this one's name.
    ///
    /// # Errors
    /// A name that is none.
    pub fn image_posterior(&self, camera: &str) -> Result<ImagePosterior, ImagePosteriorError> {
        let looks: Vec<Vec<Vec<f32>>> = self.desk.tiles.iter().map(Tile::embeddings).collect();
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
                let said = self.desk.tiles.iter().zip(&all).map(|(tile, all)| {
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
        let share = self.desk.rate.probability() / self.desk.tiles.len() as f64;
        for tile in &mut self.desk.tiles {
            tile.calibrate(statistics.next().unwrap_or_default(), share)?;
        }
        self.desk.watch();
        Ok(())
    }

    /// Judges a part. Never fails: whatever goes wrong rejects the part with the reason.
    pub fn inspect(&mut self, query: &Picture) -> Inspection {
        let (mut front, mut back) = self.halves();
        front.see(query, |seen| back.take(seen));
        back.decide(query)
    }

    /// Both halves, for one thread each: what the front sees of a part, the back takes and decides on, while the front
    /// is at the next.
    pub fn halves(&mut self) -> (Front<'_>, Back<'_>) {
        let Inspector { model, field, locator, cuts, desk, .. } = self;
        let (card, encoder, comparer) = model.halves();
        desk.forget();
        let grid = desk.grid;
        (Front { encoder, locator, field, grid, cuts }, Back { card, comparer, field, desk })
    }

    /// The raw statistics of a picture, one per tile, for fitting priors. The smallest defect is not applied.
    pub fn statistics(&mut self, query: &Picture) -> Result<Vec<Statistics>, InspectError> {
        let (mut sight, _) = self.look(query)?;
        Ok(self.desk.measure(&mut sight, &self.model.card().fusion))
    }

    /// Judges a good part that is no prompt, and gives its statistics with the same look.
    ///
    /// # Errors
    /// A part that cannot be compared with the prompts.
    pub fn try_good(
        &mut self,
        part: &Picture,
    ) -> Result<(Inspection, Vec<Statistics>), InspectError> {
        let (sight, latency) = self.look(part)?;
        let card = self.model.card();
        let statistics = self.desk.measure(&mut sight.clone(), &card.fusion);
        Ok((self.desk.judge((card, &self.field), (sight, latency), part), statistics))
    }

    fn look(&mut self, query: &Picture) -> Result<(Sight, StageLatency), InspectError> {
        let (mut front, mut back) = self.halves();
        front.see(query, |seen| back.take(seen));
        self.desk.sight().map_err(|(error, _)| error)
    }

    /// The statistics of `further` good parts, tile by tile; none of none.
    fn known(&self, further: &FurtherGood) -> Result<Vec<Vec<Statistics>>, InspectError> {
        let (tiles, known) = (self.desk.tiles.len(), further.statistics());
        match further.is_empty() || known.len() == tiles {
            true => Ok(known),
            false => Err(InspectError::FurtherTiles { tiles, given: known.len() }),
        }
    }

    /// The raw statistics of the prompts, tile by tile, each judged without itself and what may be of its
    /// batch.
    pub fn left_out(&self) -> impl Iterator<Item = Statistics> {
        self.desk.tiles.iter().flat_map(|tile| tile.left_out.scores.iter().copied())
    }

    /// Changes the false-reject rate at once; nothing is encoded again.
    pub fn with_false_reject_ppm(&mut self, ppm: u32) -> Result<(), InspectError> {
        self.desk.rate = checked_rate(ppm)?;
        let share = self.desk.rate.probability() / self.desk.tiles.len() as f64;
        self.desk.tiles.iter_mut().for_each(|tile| tile.set_share(share));
        Ok(())
    }

    /// The rate in force.
    pub fn false_reject_rate(&self) -> FalseRejectRate {
        self.desk.rate
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
        let rate = FalseRejectRate::from_ppm(ppm).unwrap_or(self.desk.rate);
        let ceiling = logit(CLEAR_DEFECT_SCORE);
        let share = rate.probability() * Witness::Joint.share() / self.desk.tiles.len() as f64;
        let within =
            |more: usize| self.desk.tiles.iter().all(|tile| tile.objects(ceiling, more, share));
        if within(0) {
            return None;
        }
        Some((1..NEEDS_MORE_MAX).find(|more| within(*more)).unwrap_or(NEEDS_MORE_MAX))
    }

    /// Prompts that the others do not agree with (a defective or wrong part taught by mistake),
    /// most suspicious first. Needs two prompts; with exactly two, both may be named.
    pub fn suspicious_prompts(&self) -> Vec<SuspiciousPrompt> {
        let prompts = self.desk.tiles.first().map_or(0, |tile| tile.left_out.scores.len());
        let mut found: Vec<SuspiciousPrompt> = (0..prompts)
            .filter_map(|index| {
                let tiles = self.desk.tiles.iter().map(|tile| tile.testify_left_out(index));
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
