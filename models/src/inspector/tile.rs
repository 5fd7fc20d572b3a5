//! One tile of the inspected area: its prompts, its posteriors, its laws.

use super::enrol::{
    Cut, Embeddings, EnrolledPrompt, Field, LeaveOneOut, Masks, Place, enrol_positions,
    leave_one_out, most_alike,
};
use super::expected::Expected;
use super::maps::{Joined, Maps, Workbench};
use super::settings::{InspectError, Settings};
use crate::calibration::{
    CalibrationError, Correction, ScalarPrior, ScoreLaw, SeveralPrior, image_statistic, sigmoid,
};
use crate::map::Map;
use crate::oneprompt::{Comparer, Encoded, OnePrompt};
use crate::package::{FusionConstants, Laws, ScoreLaws};
use crate::picture::Rect;
use crate::regions::Placement;
use crate::student_t::{LowRankPosterior, LowRankPrior, PositionPosterior};
use crate::verdict::{Testimony, WitnessReport};
use std::time::Instant;

use super::result::{StageLatency, Statistics};

/// Levels on the maps that belong to the false-reject rate; only used to judge specks.
#[derive(Debug, Clone, Copy)]
struct Levels {
    change: f32,
    position: f32,
}

/// What is known of one tile.
pub(super) struct Tile {
    pub(super) cut: Cut,
    laws: Laws,
    prompts: Vec<EnrolledPrompt>,
    masks: Masks,
    position: PositionPosterior,
    image: LowRankPosterior,
    expected: Expected,
    /// Where a good part's position statistic lies, for joining maps.
    usual: f64,
    pub(super) left_out: LeaveOneOut,
    /// Of good parts that are no prompts.
    further: Vec<Statistics>,
    levels: Levels,
    /// How long its posteriors took to build, in microseconds.
    pub(super) posterior_us: u64,
    /// The query's pooled features in f64, and what of them no prompt explains: memory that is kept, because the
    /// frame loop allocates nothing of its own.
    pooled: Vec<f64>,
    rest: Vec<f64>,
    /// Memory for a position map.
    spare: Vec<f32>,
}

/// Maps and image statistic of one tile of a query, masked, not yet judged.
#[derive(Clone)]
pub(super) struct Look {
    maps: Maps,
    pub(super) image: f64,
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
        (prompts, elsewhere): (Vec<EnrolledPrompt>, Vec<Vec<f64>>),
        masks: Masks,
        cut: Cut,
        (laws, prior): (Laws, &LowRankPrior),
        share: f64,
    ) -> Result<Tile, InspectError> {
        let start = Instant::now();
        let positions = enrol_positions(&prompts, laws.reach)?;
        let embeddings = Embeddings::new(&prompts, elsewhere, prior.clone());
        let (position, image) = (positions.posterior()?, embeddings.posterior()?);
        let posterior_us = super::micros_since(start);
        let known = (&positions, &embeddings);
        let left_out = leave_one_out(model, &prompts, known, (&masks, &laws), &cut)?;
        let expected = Expected::new(&laws, &left_out.scores, &[])?;
        let peaks: Vec<f64> = left_out.scores.iter().map(|s| s.position).collect();
        let usual = ScoreLaw::new(&laws.level, &peaks, &[])?.location();
        Ok(Tile {
            cut,
            laws,
            masks,
            position,
            posterior_us,
            pooled: vec![0.0; image.dim()],
            rest: Vec::with_capacity(image.dim()),
            spare: Vec::new(),
            image,
            levels: levels(&expected, share),
            expected,
            usual,
            prompts,
            left_out,
            further: Vec::new(),
        })
    }

    /// Embeddings of the whole pictures of the prompts.
    pub(super) fn embeddings(&self) -> Vec<Vec<f32>> {
        self.prompts.iter().map(|prompt| prompt.features.pooled().to_vec()).collect()
    }

    /// `[local, image]` statistics of the further good parts, and those that the prompts would have had if they
    /// were new.
    pub(super) fn taught(&self) -> impl Iterator<Item = [f64; 2]> {
        let scores = &self.left_out.scores;
        let gap = |laws: &ScoreLaws| laws.several.gap_among(scores.len());
        let (local, image) = (gap(&self.laws.local), gap(&self.laws.image));
        let prompts = scores.iter().map(move |s| [s.local + local, s.image + image]);
        prompts.chain(self.further.iter().map(|s| [s.local, s.image]))
    }

    /// Changes the tile's part of the false-reject rate.
    pub(super) fn set_share(&mut self, share: f64) {
        self.levels = levels(&self.expected, share);
    }

    /// Learns what good parts score from `further` ones that are no prompts. Where maps are joined stays: the
    /// statistics were made with it.
    pub(super) fn calibrate(
        &mut self,
        further: Vec<Statistics>,
        share: f64,
    ) -> Result<(), CalibrationError> {
        self.expected = Expected::new(&self.laws, &self.left_out.scores, &further)?;
        self.further = further;
        self.set_share(share);
        Ok(())
    }

    /// Compares the tile of a part that lies at `place`, encoded.
    pub(super) fn look(
        &mut self,
        comparer: &mut Comparer,
        encoded: Encoded,
        place: &Place,
        latency: &mut StageLatency,
    ) -> Result<Look, InspectError> {
        latency.preprocess += encoded.preprocess_us;
        latency.encode += encoded.encode_us;
        let features = encoded.features;
        let chosen = most_alike(&self.prompts, &features, &[]);
        let segmented = comparer.segment(&features, &self.prompts[chosen].features)?;
        latency.segment += segmented.segment_us;
        let start = Instant::now();
        let (width, height) = self.position.size();
        let mut values = std::mem::take(&mut self.spare);
        values.clear();
        values.extend_from_slice(self.position.ratio_map(features.patches().values)?);
        let position = Map { width: width as u32, height: height as u32, values };
        let mut maps = Maps { change: segmented.change, nearest: segmented.nearest, position };
        maps.hide(&self.masks, place, &self.cut);
        self.left_out.change_habit.apply(&mut maps.change.values);
        self.left_out.position_habit.apply(&mut maps.position.values);
        for (wide, value) in self.pooled.iter_mut().zip(features.pooled()) {
            *wide = f64::from(*value);
        }
        let delta = self.image.delta_in(&self.pooled, &mut self.rest);
        let image = image_statistic(delta, self.image.dim());
        latency.score += super::micros_since(start);
        Ok(Look { maps, image })
    }

    /// Takes a look's memory back for the next part.
    pub(super) fn give_back(&mut self, look: Look) {
        self.spare = look.maps.position.values;
    }

    /// Takes back specks too small to matter; `area` is the part of the query that the tile covers.
    pub(super) fn flatten(
        &self,
        look: &mut Look,
        area: Rect,
        smallest_px: u32,
        bench: &mut Workbench,
    ) {
        let Maps { change, position, nearest } = &mut look.maps;
        for (map, level) in [(change, self.levels.change), (position, self.levels.position)] {
            let place = Placement { area, width: map.width as usize, height: map.height as usize };
            let values = &mut map.values;
            let flattened = bench.finder.flatten_specks(values, place, level, smallest_px);
            // The nearest-neighbour map has no law of its own: it forgets what the others forgave.
            for &cell in flattened {
                nearest.clear_under(cell, (map.width, map.height));
            }
        }
    }

    /// What the witnesses say of this tile.
    pub(super) fn testify(&self, look: &Look, joined: &Joined) -> WitnessReport {
        self.expected.report(&joined.statistics(look.image))
    }

    /// What the prompts and the `others` say of a good part that was judged like them.
    pub(super) fn testify_beside(
        &self,
        own: &Statistics,
        others: &[Statistics],
    ) -> Result<WitnessReport, CalibrationError> {
        let expected = Expected::new(&self.laws, &self.left_out.scores, others)?;
        Ok(expected.report(own))
    }

    /// Whether a part with such a local statistic would be rejected at `rate` after so many `more` good
    /// parts, if its whole picture is ordinary.
    pub(super) fn objects(&self, local: f64, more: usize, rate: f64) -> bool {
        const ORDINARY: f64 = 0.5;
        let p_value = self.expected.local.upper_tail_after(more, local);
        let say = |p_value| Testimony { statistic: local, p_value };
        self.expected.together(say(p_value), say(ORDINARY)).p_value <= rate
    }

    /// One map of the witnesses' three, and their statistics. The look has no change map after that.
    pub(super) fn join(
        &self,
        look: &mut Look,
        place: &Place,
        rule: &FusionConstants,
        bench: &mut Workbench,
    ) -> Joined {
        let levels = (look.maps.position_statistic(), self.usual);
        look.maps.join(bench, levels, rule, &self.masks, (place, &self.cut))
    }

    /// What the other prompts say of prompt `index`; `None` where there are not two others' scores.
    pub(super) fn testify_left_out(&self, index: usize) -> Option<WitnessReport> {
        let own = self.left_out.scores.get(index)?;
        let others = |score: fn(&Statistics) -> f64| -> Vec<f64> {
            let rest = self.left_out.scores.iter().enumerate().filter(|(i, _)| *i != index);
            rest.map(|(_, s)| score(s)).collect()
        };
        // Like against like: the prompt's own score lacks the same as the others' do.
        let law = |laws: &ScoreLaws, score: fn(&Statistics) -> f64| {
            let prior = &laws.several;
            let like = SeveralPrior { gap: 0.0, gap_per_prompt: 0.0, ..*prior };
            let location = prior.prior.mu0 - prior.gap_among(self.left_out.scores.len());
            SeveralPrior { prior: ScalarPrior { mu0: location, ..prior.prior }, ..like }
                .law(&others(score))
                .ok()
                .map(ScoreLaw::from)
        };
        let expected = Expected {
            change: law(&self.laws.change, |s| s.change)?,
            position: law(&self.laws.position, |s| s.position)?,
            local: law(&self.laws.local, |s| s.local)?,
            image: law(&self.laws.image, |s| s.image)?,
            dependence: self.expected.dependence,
            joint: Correction::NONE,
        };
        Some(expected.report(own))
    }
}

/// Where specks begin to be judged by their size: far below what any map rejects alone, because the joint
/// witness adds up what each finds a little strange.
fn levels(expected: &Expected, rate: f64) -> Levels {
    const STRANGE: f64 = 0.05;
    let rate = rate.max(STRANGE);
    Levels {
        change: sigmoid(expected.change.threshold(rate)) as f32,
        position: expected.position.threshold(rate).exp() as f32,
    }
}
