//! Teaching: prompts to features, posteriors and leave-one-out scores.

use super::habit::{Habit, History};
use super::mask::Mask;
use super::settings::{InspectError, PROMPTS_MAX, Settings, fits};
use crate::calibration::{change_statistic, position_statistic};
use crate::map::Map;
use crate::oneprompt::{Features, OnePrompt};
use crate::package::ImagePrior;
use crate::picture::{Picture, Rect};
use crate::registration::{Affine, Locator, Pose};
use crate::student_t::position::Enrolment;
use crate::student_t::{LeftOut, LowRankPosterior, LowRankPrior, PatchGrid, PositionPrior};

/// A prompt, encoded.
pub(super) struct EnrolledPrompt {
    pub(super) features: Features,
    /// Pooled features, length one.
    unit: Vec<f32>,
    place: Place,
}

/// Where a part lies in its picture, against the first prompt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) pose: Pose,
    aspect: f64,
}

impl Place {
    /// Looks for the part in `area`; without a locator it lies as taught.
    pub(super) fn find(locator: &mut Option<Locator>, picture: &Picture, area: Rect) -> Place {
        let pose = locator.as_mut().map_or(Pose::IDENTITY, |l| l.find(picture, area));
        Place { pose, aspect: f64::from(area.w) / f64::from(area.h) }
    }

    /// From cells of a grid over the first prompt's area to cells of one over this picture's; `None` if
    /// they are the same.
    pub(super) fn map(&self, (columns, rows): (u32, u32)) -> Option<Affine> {
        let moved = self.pose != Pose::IDENTITY;
        moved.then(|| self.pose.affine(columns as usize, rows as usize, self.aspect))
    }

    /// Zeroes what this picture does not show.
    pub(super) fn hide_unseen(&self, map: &mut Map) {
        if let Some(affine) = self.map((map.width, map.height)) {
            affine.hide_unseen(&mut map.values, map.width as usize);
        }
    }
}

/// What the other prompts say about one prompt.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeftOutScores {
    pub(super) change: f64,
    pub(super) position: f64,
    pub(super) image: LeftOut,
}

/// The area of the pictures that is inspected, and what of it is ignored.
pub(super) struct Field {
    /// Size of the first prompt.
    pub(super) size: (u32, u32),
    /// Region of interest, if any.
    pub(super) region: Option<Rect>,
    pub(super) change_mask: Mask,
    pub(super) position_mask: Mask,
}

impl Field {
    pub(super) fn new(
        model: &OnePrompt,
        first: &Picture,
        settings: &Settings,
        map_size: (usize, usize),
    ) -> Result<Self, InspectError> {
        let size = (first.width(), first.height());
        let mut field = Field {
            size,
            region: settings.region_of_interest,
            change_mask: Mask::default(),
            position_mask: Mask::default(),
        };
        if let Some(region) = field.region {
            region.check_within(size.0, size.1).map_err(InspectError::RegionOfInterest)?;
        }
        if let Some(ignore) = &settings.ignore {
            let given = (ignore.width, ignore.height);
            let filled = ignore.ignored.len() == ignore.width as usize * ignore.height as usize;
            if !filled || ignore.ignored.is_empty() || !fits(given, size, false) {
                return Err(InspectError::IgnoreSize { given, expected: size });
            }
            let area = field.area_of(first);
            let (w, h) = model.grid();
            field.change_mask = Mask::new(ignore, size, area, map_size);
            field.position_mask = Mask::new(ignore, size, area, (w as usize, h as usize));
            if field.change_mask.covers_all() || field.position_mask.covers_all() {
                return Err(InspectError::AllIgnored);
            }
        }
        Ok(field)
    }

    /// The rectangle of `picture` that is inspected.
    pub(super) fn area_of(&self, picture: &Picture) -> Rect {
        let whole = Rect { x: 0, y: 0, w: picture.width(), h: picture.height() };
        self.region.unwrap_or(whole)
    }

    /// Whether `picture` may be compared with the prompts.
    pub(super) fn admits(&self, picture: &Picture) -> bool {
        fits((picture.width(), picture.height()), self.size, self.region.is_some())
    }
}

/// Checks count and sizes, then encodes every prompt.
pub(super) fn encode_prompts(
    model: &mut OnePrompt,
    prompts: &[Picture],
    settings: &Settings,
    locator: &mut Option<Locator>,
) -> Result<Vec<EnrolledPrompt>, InspectError> {
    let first = prompts.first().ok_or(InspectError::PromptCount { given: 0 })?;
    if prompts.len() > PROMPTS_MAX {
        return Err(InspectError::PromptCount { given: prompts.len() });
    }
    prompts
        .iter()
        .enumerate()
        .map(|(index, prompt)| {
            let (features, place) = encode_part(model, index, prompt, first, settings, locator)?;
            let unit = unit(features.pooled());
            Ok(EnrolledPrompt { features, unit, place })
        })
        .collect()
}

/// A good part as the `first` one lies: checked against its size, located, encoded. `index` counts from 0.
pub(super) fn encode_part(
    model: &mut OnePrompt,
    index: usize,
    part: &Picture,
    first: &Picture,
    settings: &Settings,
    locator: &mut Option<Locator>,
) -> Result<(Features, Place), InspectError> {
    let (given, expected) = ((part.width(), part.height()), (first.width(), first.height()));
    let region = settings.region_of_interest;
    if !fits(given, expected, region.is_some()) {
        return Err(InspectError::Size { prompt: Some(index), given, expected });
    }
    let place = Place::find(locator, part, region.unwrap_or(part.bounds()));
    let map = place.map(model.input_size());
    let encoded = model
        .encode_region(part, region, map.as_ref())
        .map_err(|error| InspectError::Prompt { index, error })?;
    Ok((encoded.features, place))
}

/// The prompt most like `query`, among all but `without` (MetaUAS*: the one that is compared).
pub(super) fn most_alike(
    prompts: &[EnrolledPrompt],
    query: &Features,
    without: Option<usize>,
) -> usize {
    // Scaling the query changes no order, so its length is left as it is.
    let likeness =
        |p: &EnrolledPrompt| -> f32 { p.unit.iter().zip(query.pooled()).map(|(a, b)| a * b).sum() };
    prompts
        .iter()
        .enumerate()
        .filter(|(i, _)| Some(*i) != without)
        .max_by(|(_, a), (_, b)| likeness(a).total_cmp(&likeness(b)))
        .map_or(0, |(i, _)| i)
}

fn unit(pooled: &[f32]) -> Vec<f32> {
    let length = pooled.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    pooled.iter().map(|v| v / length).collect()
}

/// The patch grids of all prompts, ready to make posteriors with and without single prompts.
pub(super) fn enrol_positions(prompts: &[EnrolledPrompt]) -> Result<Enrolment, InspectError> {
    let grids: Result<Vec<PatchGrid>, _> = prompts
        .iter()
        .map(|p| {
            let patches = p.features.patches();
            let (w, h) = (patches.width as usize, patches.height as usize);
            PatchGrid::new(w, h, patches.dim, patches.values.to_vec())
        })
        .collect();
    let grids = grids?;
    let (dim, width) = prompts.first().map_or((1, 1), |p| {
        let patches = p.features.patches();
        (patches.dim, patches.width as usize)
    });
    Ok(Enrolment::new(grids, PositionPrior::for_unit_rows(dim, width))?)
}

/// The image-level posterior and what it says of each prompt without that prompt.
pub(super) fn enrol_images(
    prompts: &[EnrolledPrompt],
    prior: &ImagePrior,
) -> Result<(LowRankPosterior, Vec<LeftOut>), InspectError> {
    let samples: Vec<Vec<f64>> = prompts
        .iter()
        .map(|p| p.features.pooled().iter().map(|v| f64::from(*v)).collect())
        .collect();
    let dim = samples.first().map_or(0, Vec::len);
    let posterior =
        LowRankPrior::isotropic(vec![0.0; dim], prior.kappa0, prior.lambda)?.posterior(&samples)?;
    let left_out = if samples.len() > 1 { posterior.leave_one_out(&samples)? } else { Vec::new() };
    Ok((posterior, left_out))
}

/// What leaving each prompt out in turn tells.
#[derive(Default)]
pub(super) struct LeaveOneOut {
    /// Per prompt; none for a single prompt.
    pub(super) scores: Vec<LeftOutScores>,
    /// What good parts show on the change map.
    pub(super) change_habit: Habit,
    /// What good parts show on the position map.
    pub(super) position_habit: Habit,
}

/// Scores each prompt against the others.
pub(super) fn leave_one_out(
    model: &mut OnePrompt,
    prompts: &[EnrolledPrompt],
    positions: &Enrolment,
    images: &[LeftOut],
    field: &Field,
) -> Result<LeaveOneOut, InspectError> {
    let (mut changes, mut ratios) = (Vec::new(), Vec::new());
    for (i, prompt) in prompts.iter().enumerate().take(images.len()) {
        let query = &prompt.features;
        let chosen = most_alike(prompts, query, Some(i));
        let mut change = model.segment_full(query, &prompts[chosen].features)?.change;
        field.change_mask.apply(&mut change.values);
        prompt.place.hide_unseen(&mut change);
        changes.push(change);
        let mut others = positions.posterior_without(i)?;
        let (width, height) = others.size();
        let values = others.ratio_map(query.patches().values)?.to_vec();
        let mut ratio = Map { width: width as u32, height: height as u32, values };
        field.position_mask.apply(&mut ratio.values);
        prompt.place.hide_unseen(&mut ratio);
        ratios.push(ratio);
    }
    let (Some(change), Some(ratio)) = (changes.first(), ratios.first()) else {
        return Ok(LeaveOneOut::default());
    };
    let of_change = History::of_changes(changes.iter().map(values_of), change.width as usize);
    let of_position = History::of_positions(ratios.iter().map(values_of), ratio.width as usize);
    let (change_habit, position_habit) = (of_change.habit(), of_position.habit());
    let scores = images
        .iter()
        .zip(changes.iter_mut().zip(&mut ratios))
        .enumerate()
        .map(|(i, (&image, (change, ratio)))| {
            of_change.habit_without(i).apply(&mut change.values);
            of_position.habit_without(i).apply(&mut ratio.values);
            let (w, h) = (ratio.width as usize, ratio.height as usize);
            let position = position_statistic(w, h, &ratio.values);
            LeftOutScores { change: change_statistic(change), position, image }
        })
        .collect();
    Ok(LeaveOneOut { scores, change_habit, position_habit })
}

fn values_of(map: &Map) -> &[f32] {
    &map.values
}
