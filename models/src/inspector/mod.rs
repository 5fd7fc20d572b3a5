//! The inspector: prompts in once, then a verdict per picture.
//!
//! Ties together the network, the two Student-t witnesses, their calibration and the decision.
//! After [`Inspector::new`] a prompt is never run again; per part one picture is encoded, compared
//! with the prompt that looks most like it (the retrieval of MetaUAS*), and scored.
//!
//! Whatever goes wrong with a part ends in a reject with a reason, never in an error or a panic.

mod choose;
mod enrol;
mod habit;
mod mask;
mod result;
mod settings;
#[cfg(test)]
mod tests;

pub use choose::{Choice, GOOD_PARTS_MAX, choose_prompts};
pub use result::{Inspection, StageLatency, Statistics, SuspiciousPrompt};
pub use settings::{ASPECT_TOLERANCE, InspectError, PROMPTS_MAX, Settings};

use crate::calibration::{
    ImageScore, ScalarPredictive, ScalarPrior, SeveralPrior, change_statistic, logit,
    position_statistic, sigmoid,
};
use crate::engine::EngineError;
use crate::fusion::{fuse, position_level};
use crate::map::Map;
use crate::oneprompt::{ModelError, OnePrompt};
use crate::picture::{Picture, Rect};
use crate::regions::{Placement, flatten_specks, regions};
use crate::registration::Locator;
use crate::student_t::{LowRankPosterior, PositionPosterior, StudentT};
use crate::verdict::{
    Decision, FalseRejectRate, Reason, Region, Testimony, Witness, WitnessReport, decide,
};
use enrol::{
    EnrolledPrompt, Field, LeaveOneOut, LeftOutScores, Place, encode_prompts, enrol_images,
    enrol_positions, leave_one_out, most_alike,
};
use std::time::Instant;

/// Joint leave-one-out p-value below which a prompt is called suspicious. Far above usual reject
/// rates: at teaching time a person looks, and a bad prompt spoils everything after it.
pub const SUSPICIOUS_P: f64 = 0.01;
/// Smoothed change peak that a clear defect reaches; see [`Inspector::needs_more`].
pub const CLEAR_DEFECT_PEAK: f64 = 0.9;
/// Most further good parts that [`Inspector::needs_more`] asks for.
pub const NEEDS_MORE_MAX: usize = 1000;
/// Share of the fused map's peak that outlines the region of a part which was rejected although
/// its peak stays below the model card's level.
const REGION_FALLBACK: f32 = 0.5;

/// Levels on the maps that belong to the false-reject rate; only used to judge specks.
#[derive(Debug, Clone, Copy)]
struct Levels {
    change: f32,
    position: f32,
}

/// Inspects pictures of one product.
pub struct Inspector {
    model: OnePrompt,
    prompts: Vec<EnrolledPrompt>,
    field: Field,
    locator: Option<Locator>,
    rate: FalseRejectRate,
    smallest_px: u32,
    position: PositionPosterior,
    image: LowRankPosterior,
    image_law: StudentT,
    change_law: ScalarPredictive,
    position_law: ScalarPredictive,
    left_out: LeaveOneOut,
    levels: Levels,
    /// The query's pooled features in f64, kept to spare an allocation per part.
    pooled: Vec<f64>,
}

/// Maps and image statistic of one query, masked, not yet judged.
struct Look {
    change: Map,
    nearest: Map,
    /// `delta / D` per patch.
    position: Map,
    image_q: f64,
    place: Place,
}

impl Inspector {
    /// Encodes the prompts, builds the posteriors and calibrates them by leaving one out.
    ///
    /// Takes one encode run per prompt, and one segment run per prompt (one at least: the first
    /// prompt is compared with itself, so a model that cannot run is found now and not on the
    /// first part).
    pub fn new(
        mut model: OnePrompt,
        prompts: &[Picture],
        settings: Settings,
    ) -> Result<Self, InspectError> {
        let rate = checked_rate(settings.false_reject_ppm)?;
        let mut locator = locator(prompts.first(), &settings)?;
        let enrolled = encode_prompts(&mut model, prompts, &settings, &mut locator)?;
        let own = model.segment_full(&enrolled[0].features, &enrolled[0].features)?.change;
        let map_size = (own.width as usize, own.height as usize);
        let field = Field::new(&model, &prompts[0], &settings, map_size)?;
        let positions = enrol_positions(&enrolled)?;
        let (image, images) = enrol_images(&enrolled, &model.card().calibration.image)?;
        let left_out = leave_one_out(&mut model, &enrolled, &positions, &images, &field)?;
        let (change_law, position_law) = laws(&model, &left_out.scores)?;
        Ok(Inspector {
            prompts: enrolled,
            field,
            locator,
            rate,
            smallest_px: settings.smallest_defect_px,
            position: positions.posterior()?,
            image_law: image.law(),
            pooled: vec![0.0; image.dim()],
            image,
            levels: levels(&change_law, &position_law, rate),
            change_law,
            position_law,
            left_out,
            model,
        })
    }

    /// Judges a part. Never fails: whatever goes wrong rejects the part with the reason.
    pub fn inspect(&mut self, query: &Picture) -> Inspection {
        let mut latency = StageLatency::default();
        match self.look(query, &mut latency) {
            Ok(look) => self.judge(look, query, latency),
            Err(error) => Inspection::rejected(reason_of(&error), latency),
        }
    }

    /// The raw statistics of a picture, for fitting priors. The smallest defect is not applied.
    pub fn statistics(&mut self, query: &Picture) -> Result<Statistics, InspectError> {
        let look = self.look(query, &mut StageLatency::default())?;
        let dim = self.image_law.dim();
        Ok(Statistics {
            change: change_statistic(&look.change),
            position: statistic_of(&look.position),
            image: ImageScore {
                ratio: self.image_law.delta(look.image_q) / dim as f64,
                dim,
                dof: self.image_law.dof(),
            },
        })
    }

    /// The raw statistics of the prompts, each judged without itself: `(change, position)`.
    pub fn left_out(&self) -> impl Iterator<Item = (f64, f64)> {
        self.left_out.scores.iter().map(|s| (s.change, s.position))
    }

    /// Changes the false-reject rate at once; nothing is encoded again.
    pub fn with_false_reject_ppm(&mut self, ppm: u32) -> Result<(), InspectError> {
        self.rate = checked_rate(ppm)?;
        self.levels = levels(&self.change_law, &self.position_law, self.rate);
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
    /// The change statistic has a ceiling: a map cannot exceed 1. A rate is within reach if the
    /// change witness would reject a smoothed peak of [`CLEAR_DEFECT_PEAK`] at its share of the
    /// rate. With few prompts the heavy tail may put that threshold higher, and then only the
    /// other witnesses can object. Further parts are assumed to look like those seen
    /// ([`ScalarPredictive::expected_after`]); at most [`NEEDS_MORE_MAX`] are asked for.
    pub fn needs_more(&self, ppm: u32) -> Option<usize> {
        let rate = FalseRejectRate::from_ppm(ppm).unwrap_or(self.rate);
        let ceiling = logit(CLEAR_DEFECT_PEAK);
        let within = |more: usize| {
            let law = self.change_law.expected_after(more);
            law.upper_tail(ceiling) <= rate.probability() * Witness::Change.share()
        };
        if within(0) {
            return None;
        }
        Some((1..NEEDS_MORE_MAX).find(|more| within(*more)).unwrap_or(NEEDS_MORE_MAX))
    }

    /// Prompts that the others do not agree with (a defective or wrong part taught by mistake),
    /// most suspicious first. Needs two prompts; with exactly two, both may be named.
    pub fn suspicious_prompts(&self) -> Vec<SuspiciousPrompt> {
        let card = self.model.card();
        let mut found: Vec<SuspiciousPrompt> = (0..self.left_out.scores.len())
            .filter_map(|index| {
                let own = self.left_out.scores[index];
                let others = |score: fn(&LeftOutScores) -> f64| -> Vec<f64> {
                    let rest = self.left_out.scores.iter().enumerate().filter(|(i, _)| *i != index);
                    rest.map(|(_, s)| score(s)).collect()
                };
                // Like against like: the prompt's own score lacks the same as the others' do.
                let law = |prior: &SeveralPrior, score: fn(&LeftOutScores) -> f64| {
                    let like = SeveralPrior { gap: 0.0, ..*prior };
                    let location = prior.prior.mu0 - prior.gap;
                    SeveralPrior { prior: ScalarPrior { mu0: location, ..prior.prior }, ..like }
                        .law(&others(score))
                        .ok()
                };
                let change = law(&card.calibration.several.change, |s| s.change)?;
                let position = law(&card.calibration.several.position, |s| s.position)?;
                let say = |statistic, p_value| Testimony { statistic, p_value };
                let factor = card.calibration.image.factor;
                let report = WitnessReport {
                    change: say(own.change, change.upper_tail(own.change)),
                    position: say(own.position, position.upper_tail(own.position)),
                    image: say(own.image.delta, own.image.p_value(self.image.dim(), factor)),
                };
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

    fn look(&mut self, query: &Picture, latency: &mut StageLatency) -> Result<Look, InspectError> {
        if !self.field.admits(query) {
            let given = (query.width(), query.height());
            return Err(InspectError::Size { prompt: None, given, expected: self.field.size });
        }
        let start = Instant::now();
        let place = Place::find(&mut self.locator, query, self.field.area_of(query));
        let locate_us = micros_since(start);
        let map = place.map(self.model.input_size());
        let encoded = self.model.encode_region(query, self.field.region, map.as_ref())?;
        latency.preprocess = locate_us + encoded.preprocess_us;
        latency.encode = encoded.encode_us;
        let features = encoded.features;
        let chosen = most_alike(&self.prompts, &features, None);
        let segmented = self.model.segment_full(&features, &self.prompts[chosen].features)?;
        latency.segment = segmented.segment_us;
        let start = Instant::now();
        let (width, height) = self.position.size();
        let ratios = self.position.ratio_map(features.patches().values)?.to_vec();
        let mut position = Map { width: width as u32, height: height as u32, values: ratios };
        let mut change = segmented.change;
        self.field.change_mask.apply(&mut change.values);
        self.field.position_mask.apply(&mut position.values);
        self.left_out.change_habit.apply(&mut change.values);
        self.left_out.position_habit.apply(&mut position.values);
        place.hide_unseen(&mut change);
        place.hide_unseen(&mut position);
        for (wide, value) in self.pooled.iter_mut().zip(features.pooled()) {
            *wide = f64::from(*value);
        }
        let image_q = self.image.q(&self.pooled);
        latency.score = micros_since(start);
        Ok(Look { change, nearest: segmented.nearest, position, image_q, place })
    }

    fn judge(&self, mut look: Look, query: &Picture, mut latency: StageLatency) -> Inspection {
        let start = Instant::now();
        let area = self.field.area_of(query);
        for (map, level) in
            [(&mut look.change, self.levels.change), (&mut look.position, self.levels.position)]
        {
            let place = Placement { area, width: map.width as usize, height: map.height as usize };
            flatten_specks(&mut map.values, place, level, self.smallest_px);
        }
        let witnesses = self.testify(&look);
        let decision = decide(&witnesses, self.rate);
        let fused = self.fuse(&look);
        let prior = &self.model.card().calibration.position;
        // The change map finds where; the posterior ranks parts. Measured on the development sets,
        // its peak orders good and bad parts far better than the change map's does.
        let score = position_level(witnesses.position.statistic.exp() as f32, prior);
        let regions = self.outline(&fused, area, &decision);
        latency.score += micros_since(start);
        Inspection {
            decision,
            score,
            p_value: witnesses.p_value(),
            witnesses,
            regions,
            map: Some(fused),
            area,
            pose: look.place.pose,
            latency,
        }
    }

    fn testify(&self, look: &Look) -> WitnessReport {
        let (change, position) = (change_statistic(&look.change), statistic_of(&look.position));
        let factor = self.model.card().calibration.image.factor;
        let ratio = self.image_law.delta(look.image_q) / self.image_law.dim() as f64;
        WitnessReport {
            change: Testimony { statistic: change, p_value: self.change_law.upper_tail(change) },
            position: Testimony {
                statistic: position,
                p_value: self.position_law.upper_tail(position),
            },
            image: Testimony {
                statistic: ratio,
                p_value: self.image_law.p_value(look.image_q, factor),
            },
        }
    }

    fn fuse(&self, look: &Look) -> Map {
        let card = self.model.card();
        let mut position = look.position.clone();
        for value in &mut position.values {
            *value = position_level(*value, &card.calibration.position);
        }
        let mut fused = fuse(&card.fusion, &look.change, &look.nearest, &position);
        self.field.change_mask.apply(&mut fused.values);
        look.place.hide_unseen(&mut fused);
        // Back to where the part lies in its own picture.
        let there = look.place.map((fused.width, fused.height));
        match there.and_then(|map| map.inverse()) {
            Some(back) => fused.seen_through(&back),
            None => fused,
        }
    }

    /// Regions of a rejected part. A part rejected for something local always shows where: if
    /// nothing exceeds the card's level, the surroundings of the peak do.
    fn outline(&self, fused: &Map, area: Rect, decision: &Decision) -> Vec<Region> {
        let Decision::Reject(reason) = decision else { return Vec::new() };
        let level = self.model.card().fusion.region_level;
        let found = regions(fused, area, level, self.smallest_px);
        let local = matches!(reason, Reason::Change { .. } | Reason::Novel { .. });
        if !found.is_empty() || !local {
            return found;
        }
        regions(fused, area, level.min(REGION_FALLBACK * fused.max()), 0)
    }
}

/// Looks for parts like the first prompt, if that is wanted.
fn locator(first: Option<&Picture>, settings: &Settings) -> Result<Option<Locator>, InspectError> {
    let first = first.ok_or(InspectError::PromptCount { given: 0 })?;
    let area = settings.region_of_interest.unwrap_or(first.bounds());
    area.check_within(first.width(), first.height()).map_err(InspectError::RegionOfInterest)?;
    Ok(Locator::new(first, area, settings.registration))
}

fn checked_rate(ppm: u32) -> Result<FalseRejectRate, InspectError> {
    FalseRejectRate::from_ppm(ppm).ok_or(InspectError::Rate { ppm })
}

/// The laws of the change and position statistics: the card's priors, updated by the prompts.
fn laws(
    model: &OnePrompt,
    left_out: &[LeftOutScores],
) -> Result<(ScalarPredictive, ScalarPredictive), InspectError> {
    let calibration = &model.card().calibration;
    if left_out.is_empty() {
        return Ok((calibration.change.predictive(&[])?, calibration.position.predictive(&[])?));
    }
    let change: Vec<f64> = left_out.iter().map(|s| s.change).collect();
    let position: Vec<f64> = left_out.iter().map(|s| s.position).collect();
    Ok((calibration.several.change.law(&change)?, calibration.several.position.law(&position)?))
}

fn levels(change: &ScalarPredictive, position: &ScalarPredictive, rate: FalseRejectRate) -> Levels {
    let share = |witness: Witness| rate.probability() * witness.share();
    Levels {
        change: sigmoid(change.threshold(share(Witness::Change))) as f32,
        position: position.threshold(share(Witness::Position)).exp() as f32,
    }
}

fn statistic_of(position: &Map) -> f64 {
    position_statistic(position.width as usize, position.height as usize, &position.values)
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
