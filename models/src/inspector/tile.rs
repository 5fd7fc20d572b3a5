//! One tile of the inspected area: its prompts, its posteriors, its laws.

use super::enrol::{
    Cut, EnrolledPrompt, Field, LeaveOneOut, LeftOutScores, Masks, Place, enrol_images,
    enrol_positions, leave_one_out, most_alike,
};
use super::settings::{InspectError, Settings};
use crate::calibration::{
    ImageScore, ScalarPredictive, ScalarPrior, SeveralPrior, change_statistic, position_statistic,
    sigmoid,
};
use crate::fusion::{fuse, position_level};
use crate::map::Map;
use crate::oneprompt::OnePrompt;
use crate::package::{FusionConstants, Laws};
use crate::picture::Rect;
use crate::regions::{Placement, flatten_specks};
use crate::student_t::{LowRankPosterior, PositionPosterior, StudentT};
use crate::verdict::{Testimony, Witness, WitnessReport};
use std::time::Instant;

use super::result::{StageLatency, Statistics};

/// Levels on the maps that belong to the false-reject rate; only used to judge specks.
#[derive(Debug, Clone, Copy)]
struct Levels {
    change: f32,
    position: f32,
}

/// Weights of the position witness's level, of the fused map's peak and of the nearest-neighbour map's peak
/// in a score; together 1. The position witness ranks best where parts are alike, the others where they
/// are not: with it alone cracks in surfaces that all differ (kolektor) were at chance with one prompt,
/// with all three they are not, and nothing else on the development sets lost more than half a point.
const SCORE_WEIGHTS: [f32; 3] = [0.5, 0.25, 0.25];

/// What is known of one tile.
pub(super) struct Tile {
    pub(super) cut: Cut,
    laws: Laws,
    prompts: Vec<EnrolledPrompt>,
    masks: Masks,
    position: PositionPosterior,
    image: LowRankPosterior,
    image_law: StudentT,
    pub(super) change_law: ScalarPredictive,
    position_law: ScalarPredictive,
    pub(super) left_out: LeaveOneOut,
    levels: Levels,
    /// The query's pooled features in f64, kept to spare an allocation per part.
    pooled: Vec<f64>,
}

/// Maps and image statistic of one tile of a query, masked, not yet judged.
pub(super) struct Look {
    change: Map,
    nearest: Map,
    /// `delta / D` per patch.
    position: Map,
    image_q: f64,
}

impl Tile {
    /// The masks of a tile; `None` if everything in it is ignored.
    pub(super) fn masks(
        model: &OnePrompt,
        field: &Field,
        settings: &Settings,
        cut: &Cut,
    ) -> Option<Masks> {
        let ignore = settings.ignore.as_ref();
        let masks = Masks {
            change: field.mask(ignore, cut, model.map_size()),
            position: field.mask(ignore, cut, model.grid()),
            nearest: field.mask(ignore, cut, model.nearest_size()),
        };
        (!masks.change.covers_all() && !masks.position.covers_all()).then_some(masks)
    }

    /// Builds the posteriors and calibrates them by leaving one prompt out at a time. `share` is what the
    /// tile has of the false-reject rate, as a probability.
    pub(super) fn enrol(
        model: &mut OnePrompt,
        prompts: Vec<EnrolledPrompt>,
        masks: Masks,
        cut: Cut,
        laws: Laws,
        share: f64,
    ) -> Result<Tile, InspectError> {
        let positions = enrol_positions(&prompts, laws.reach)?;
        let (image, images) = enrol_images(&prompts, &laws.image)?;
        let left_out = leave_one_out(model, &prompts, &positions, &images, &masks, &cut)?;
        let (change_law, position_law) = updated(&laws, &left_out.scores)?;
        Ok(Tile {
            cut,
            laws,
            prompts,
            masks,
            position: positions.posterior()?,
            image_law: image.law(),
            pooled: vec![0.0; image.dim()],
            image,
            levels: levels(&change_law, &position_law, share),
            change_law,
            position_law,
            left_out,
        })
    }

    /// Changes the tile's part of the false-reject rate.
    pub(super) fn set_share(&mut self, share: f64) {
        self.levels = levels(&self.change_law, &self.position_law, share);
    }

    /// Compares the tile of the part that the model has taken in, lying at `place`.
    pub(super) fn look(
        &mut self,
        model: &mut OnePrompt,
        place: &Place,
        latency: &mut StageLatency,
    ) -> Result<Look, InspectError> {
        let encoded = model.encode_tile(self.cut.index)?;
        latency.preprocess += encoded.preprocess_us;
        latency.encode += encoded.encode_us;
        let features = encoded.features;
        let chosen = most_alike(&self.prompts, &features, None);
        let segmented = model.segment_full(&features, &self.prompts[chosen].features)?;
        latency.segment += segmented.segment_us;
        let start = Instant::now();
        let (width, height) = self.position.size();
        let ratios = self.position.ratio_map(features.patches().values)?.to_vec();
        let mut position = Map { width: width as u32, height: height as u32, values: ratios };
        let (mut change, mut nearest) = (segmented.change, segmented.nearest);
        self.masks.change.apply(&mut change.values);
        self.masks.nearest.apply(&mut nearest.values);
        self.masks.position.apply(&mut position.values);
        self.left_out.change_habit.apply(&mut change.values);
        self.left_out.position_habit.apply(&mut position.values);
        place.hide_unseen(&mut change, &self.cut);
        place.hide_unseen(&mut position, &self.cut);
        place.hide_unseen(&mut nearest, &self.cut);
        for (wide, value) in self.pooled.iter_mut().zip(features.pooled()) {
            *wide = f64::from(*value);
        }
        let image_q = self.image.q(&self.pooled);
        latency.score += super::micros_since(start);
        Ok(Look { change, nearest, position, image_q })
    }

    /// The raw statistics of a look, without the smallest defect.
    pub(super) fn statistics(&self, look: &Look) -> Statistics {
        let dim = self.image_law.dim();
        Statistics {
            change: change_statistic(&look.change),
            position: statistic_of(&look.position),
            image: ImageScore {
                ratio: self.image_law.delta(look.image_q) / dim as f64,
                dim,
                dof: self.image_law.dof(),
            },
        }
    }

    /// Takes back specks too small to matter; `area` is the part of the query that the tile covers.
    pub(super) fn flatten(&self, look: &mut Look, area: Rect, smallest_px: u32) {
        for (map, level) in
            [(&mut look.change, self.levels.change), (&mut look.position, self.levels.position)]
        {
            let place = Placement { area, width: map.width as usize, height: map.height as usize };
            flatten_specks(&mut map.values, place, level, smallest_px);
        }
    }

    /// What the witnesses say of this tile.
    pub(super) fn testify(&self, look: &Look) -> WitnessReport {
        let (change, position) = (change_statistic(&look.change), statistic_of(&look.position));
        let factor = self.laws.image.factor;
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

    /// How unlike the good parts the tile looks, 0..1, to rank parts by, from what its witnesses `said`:
    /// [`Inspection::score`].
    ///
    /// [`Inspection::score`]: super::Inspection::score
    pub(super) fn score(&self, said: &WitnessReport, look: &Look, fused: &Map) -> f32 {
        let peak = said.position.statistic.exp() as f32;
        let level = position_level(peak, self.position_law.location());
        let weighed = SCORE_WEIGHTS.iter().zip([level, fused.max(), look.nearest.max()]);
        weighed.map(|(weight, value)| weight * value).sum::<f32>().clamp(0.0, 1.0)
    }

    /// One map of the witnesses' three.
    pub(super) fn fuse(&self, look: &Look, place: &Place, rule: &FusionConstants) -> Map {
        let mut position = look.position.clone();
        for value in &mut position.values {
            *value = position_level(*value, self.position_law.location());
        }
        let mut fused = fuse(rule, &look.change, &look.nearest, &position);
        self.masks.change.apply(&mut fused.values);
        place.hide_unseen(&mut fused, &self.cut);
        fused
    }

    /// What the other prompts say of prompt `index`; `None` where there are not two others' scores.
    pub(super) fn testify_left_out(&self, index: usize) -> Option<WitnessReport> {
        let own = self.left_out.scores.get(index)?;
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
        let change = law(&self.laws.several.change, |s| s.change)?;
        let position = law(&self.laws.several.position, |s| s.position)?;
        let say = |statistic, p_value| Testimony { statistic, p_value };
        let factor = self.laws.image.factor;
        Some(WitnessReport {
            change: say(own.change, change.upper_tail(own.change)),
            position: say(own.position, position.upper_tail(own.position)),
            image: say(own.image.delta, own.image.p_value(self.image.dim(), factor)),
        })
    }
}

/// The laws of the change and position statistics: the card's priors, updated by the prompts.
fn updated(
    laws: &Laws,
    left_out: &[LeftOutScores],
) -> Result<(ScalarPredictive, ScalarPredictive), InspectError> {
    if left_out.is_empty() {
        return Ok((laws.change.predictive(&[])?, laws.position.predictive(&[])?));
    }
    let change: Vec<f64> = left_out.iter().map(|s| s.change).collect();
    let position: Vec<f64> = left_out.iter().map(|s| s.position).collect();
    Ok((laws.several.change.law(&change)?, laws.several.position.law(&position)?))
}

fn levels(change: &ScalarPredictive, position: &ScalarPredictive, rate: f64) -> Levels {
    let share = |witness: Witness| rate * witness.share();
    Levels {
        change: sigmoid(change.threshold(share(Witness::Change))) as f32,
        position: position.threshold(share(Witness::Position)).exp() as f32,
    }
}

fn statistic_of(position: &Map) -> f64 {
    position_statistic(position.width as usize, position.height as usize, &position.values)
}
