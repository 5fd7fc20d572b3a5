//! Teaching: prompts to features, posteriors and leave-one-out scores.

use super::habit::{Habit, History};
use super::maps::{Maps, Workbench};
use super::mask::Mask;
use super::result::Statistics;
use super::settings::{InspectError, Settings, fits};
use crate::calibration::image_statistic;
use crate::map::Map;
use crate::oneprompt::{Encoder, Features, ModelError, OnePrompt};
use crate::package::Laws;
use crate::picture::{Picture, Rect};
use crate::recipe::{IgnoreMask, Tiles};
use crate::registration::{Affine, Locator, Pose};
use crate::student_t::position::Enrolment;
use crate::student_t::{LowRankPosterior, LowRankPrior, PatchGrid, PositionPrior};
use crate::tiling::Tiling;

/// One tile of a prompt, encoded.
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

    /// Has the encoder take the picture in, cut into `tiles`; gives the time in microseconds.
    pub(super) fn load(
        &self,
        encoder: &mut Encoder,
        picture: &Picture,
        region: Option<Rect>,
        tiles: Tiles,
    ) -> Result<u64, ModelError> {
        let map = self.map(Tiling::new(tiles, encoder.input_size()).canvas());
        encoder.load(picture, region, tiles, map.as_ref())
    }

    /// Zeroes what this picture does not show of a tile's map.
    pub(super) fn hide_unseen(&self, map: &mut Map, cut: &Cut) {
        if self.pose == Pose::IDENTITY {
            return;
        }
        let (whole, origin) = cut.grid((map.width, map.height));
        let affine = self.pose.affine(whole.0, whole.1, self.aspect);
        affine.hide_unseen(&mut map.values, map.width as usize, whole, origin);
    }
}

/// Which tile of the inspected area this is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) tiling: Tiling,
    pub(super) index: usize,
    /// Width and height of the model's input.
    pub(super) input: (u32, u32),
}

impl Cut {
    /// The grid of the whole canvas if the tile's has so many columns and rows, and where the tile's begins on it.
    fn grid(&self, (columns, rows): (u32, u32)) -> ((usize, usize), (usize, usize)) {
        let cells = |pixels: u32, count: u32, input: u32| {
            (f64::from(pixels) * f64::from(count) / f64::from(input)).round() as usize
        };
        let both =
            |(x, y): (u32, u32)| (cells(x, columns, self.input.0), cells(y, rows, self.input.1));
        (both(self.tiling.canvas()), both(self.tiling.origin(self.index)))
    }

    /// Lays the tile's map onto the map of the canvas, the greater value where tiles overlap.
    pub(super) fn paste(&self, tile: &Map, canvas: &mut Map) {
        let (_, (left, top)) = self.grid((tile.width, tile.height));
        let (width, wide) = (tile.width as usize, canvas.width as usize);
        for (y, row) in tile.values.chunks_exact(width).enumerate() {
            let start = (top + y) * wide + left;
            let Some(under) = canvas.values.get_mut(start..start + width) else { continue };
            under.iter_mut().zip(row).for_each(|(under, v)| *under = under.max(*v));
        }
    }

    /// An empty map of the canvas for tiles' maps of such a size.
    pub(super) fn canvas_map(&self, tile: (u32, u32)) -> Map {
        let ((width, height), _) = self.grid(tile);
        Map { width: width as u32, height: height as u32, values: vec![0.0; width * height] }
    }
}

/// Most of the other prompts that are left out beside each one: this share of them, the most alike.
///
/// Good parts are taught in runs, several of one batch or one item from all sides, and beside its own batch
/// a part looks better than any part of tomorrow. Among parts that have no batches it makes the scores a
/// little worse for all, which the card's priors are fitted to.
const BATCH_SHARE: f64 = 0.34;

/// The area of the pictures that is inspected.
pub(super) struct Field {
    /// Size of the first prompt.
    pub(super) size: (u32, u32),
    /// Region of interest, if any.
    pub(super) region: Option<Rect>,
}

impl Field {
    /// Checks the region of interest and the mask against the first prompt.
    pub(super) fn new(first: &Picture, settings: &Settings) -> Result<Self, InspectError> {
        let size = (first.width(), first.height());
        let field = Field { size, region: settings.region_of_interest };
        field
            .area_of(first)
            .check_within(size.0, size.1)
            .map_err(InspectError::RegionOfInterest)?;
        if let Some(ignore) = &settings.ignore {
            let given = (ignore.width, ignore.height);
            let filled = ignore.ignored.len() == ignore.width as usize * ignore.height as usize;
            if !filled || ignore.ignored.is_empty() || !fits(given, size, false) {
                return Err(InspectError::IgnoreSize { given, expected: size });
            }
        }
        Ok(field)
    }

    /// The ignore mask on a grid over a tile of the first prompt.
    pub(super) fn mask(&self, ignore: Option<&IgnoreMask>, cut: &Cut, grid: (u32, u32)) -> Mask {
        let whole = Rect { x: 0, y: 0, w: self.size.0, h: self.size.1 };
        let area = cut.tiling.rect(self.region.unwrap_or(whole), cut.index);
        let grid = (grid.0 as usize, grid.1 as usize);
        ignore.map_or_else(Mask::default, |ignore| Mask::new(ignore, self.size, area, grid))
    }

    /// The rectangle of `picture` that is inspected.
    pub(super) fn area_of(&self, picture: &Picture) -> Rect {
        self.region.unwrap_or(picture.bounds())
    }

    /// Whether `picture` may be compared with the prompts.
    pub(super) fn admits(&self, picture: &Picture) -> bool {
        fits((picture.width(), picture.height()), self.size, self.region.is_some())
    }
}

/// The masks of one tile.
pub(super) struct Masks {
    pub(super) change: Mask,
    pub(super) position: Mask,
    pub(super) nearest: Mask,
}

/// The ways in which a picture is cut: as a whole, and in tiles if there are several. The whole picture shows
/// what is missing or wrong at large, where each tile alone looks fine.
pub(super) fn layers(tiles: Tiles) -> impl Iterator<Item = Tiles> + Clone {
    std::iter::once(Tiles::ONE).chain((!tiles.is_one()).then_some(tiles))
}

/// Encodes the tiles `cuts` of every prompt; per tile, its prompts.
pub(super) fn encode_prompts(
    encoder: &mut Encoder,
    prompts: &[Picture],
    settings: &Settings,
    locator: &mut Option<Locator>,
    cuts: &[Cut],
) -> Result<Vec<Vec<EnrolledPrompt>>, InspectError> {
    let mut tiles: Vec<Vec<EnrolledPrompt>> = cuts.iter().map(|_| Vec::new()).collect();
    for (index, prompt) in prompts.iter().enumerate() {
        let place = place_part(index, prompt, &prompts[0], settings, locator)?;
        let failed = |error| InspectError::Prompt { index, error };
        for layer in layers(settings.tiles) {
            place.load(encoder, prompt, settings.region_of_interest, layer).map_err(failed)?;
            let own = cuts.iter().zip(&mut tiles).filter(|(cut, _)| cut.tiling.tiles() == layer);
            for (cut, tile) in own {
                let features = encoder.tile(cut.index).map_err(failed)?.features;
                let unit = unit(features.pooled());
                tile.push(EnrolledPrompt { features, unit, place });
            }
        }
    }
    Ok(tiles)
}

/// Where a good part lies against the `first` one, checked against its size. `index` counts from 0.
pub(super) fn place_part(
    index: usize,
    part: &Picture,
    first: &Picture,
    settings: &Settings,
    locator: &mut Option<Locator>,
) -> Result<Place, InspectError> {
    let (given, expected) = ((part.width(), part.height()), (first.width(), first.height()));
    let region = settings.region_of_interest;
    if !fits(given, expected, region.is_some()) {
        return Err(InspectError::Size { prompt: Some(index), given, expected });
    }
    Ok(Place::find(locator, part, region.unwrap_or(part.bounds())))
}

/// The prompt most like `query`, among all but `without` (MetaUAS*: the one that is compared).
pub(super) fn most_alike(prompts: &[EnrolledPrompt], query: &Features, without: &[usize]) -> usize {
    // Scaling the query changes no order, so its length is left as it is.
    let likeness = |p: &EnrolledPrompt| likeness(&p.unit, query.pooled());
    prompts
        .iter()
        .enumerate()
        .filter(|(i, _)| !without.contains(i))
        .max_by(|(_, a), (_, b)| likeness(a).total_cmp(&likeness(b)))
        .map_or(0, |(i, _)| i)
}

fn likeness(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A prompt and those of the others that may be of its batch, itself first.
fn batch_of(prompts: &[EnrolledPrompt], index: usize) -> Vec<usize> {
    let mut others: Vec<(f32, usize)> = (0..prompts.len())
        .filter(|i| *i != index)
        .map(|i| (likeness(&prompts[i].unit, &prompts[index].unit), i))
        .collect();
    others.sort_by(|a, b| b.0.total_cmp(&a.0));
    let count = (BATCH_SHARE * others.len() as f64) as usize;
    std::iter::once(index).chain(others.into_iter().take(count).map(|(_, i)| i)).collect()
}

fn unit(pooled: &[f32]) -> Vec<f32> {
    let length = pooled.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    pooled.iter().map(|v| v / length).collect()
}

/// The patch grids of all prompts, ready to make posteriors with and without single prompts.
pub(super) fn enrol_positions(
    prompts: &[EnrolledPrompt],
    reach: Option<usize>,
) -> Result<Enrolment, InspectError> {
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
    let usual = PositionPrior::for_unit_rows(dim, width);
    let prior = PositionPrior { reach: reach.unwrap_or(usual.reach), ..usual };
    Ok(Enrolment::new(grids, prior)?)
}

/// The whole-picture embeddings of all prompts.
pub(super) struct Embeddings {
    prior: LowRankPrior,
    samples: Vec<Vec<f64>>,
    /// Of good parts that other cameras have seen.
    elsewhere: Vec<Vec<f64>>,
}

impl Embeddings {
    pub(super) fn new(
        prompts: &[EnrolledPrompt],
        elsewhere: Vec<Vec<f64>>,
        prior: LowRankPrior,
    ) -> Self {
        let wide = |p: &EnrolledPrompt| p.features.pooled().iter().map(|v| f64::from(*v)).collect();
        Self { prior, samples: prompts.iter().map(wide).collect(), elsewhere }
    }

    /// The posterior of all prompts, and of what other cameras have seen.
    pub(super) fn posterior(&self) -> Result<LowRankPosterior, InspectError> {
        let all: Vec<Vec<f64>> = self.samples.iter().chain(&self.elsewhere).cloned().collect();
        Ok(self.prior.posterior(&all)?)
    }

    /// What all outside its `batch` say of the first prompt in it.
    fn statistic_without(&self, batch: &[usize]) -> Result<f64, InspectError> {
        let others = self.samples.iter().enumerate().filter(|(i, _)| !batch.contains(i));
        let others = others.map(|(_, sample)| sample).chain(&self.elsewhere);
        let others: Vec<Vec<f64>> = others.cloned().collect();
        let own = batch.first().and_then(|i| self.samples.get(*i)).map_or(&[][..], Vec::as_slice);
        Ok(image_statistic(self.prior.posterior(&others)?.delta(own), own.len()))
    }
}

/// What leaving each prompt out in turn tells.
#[derive(Default)]
pub(super) struct LeaveOneOut {
    /// Per prompt; none for a single prompt.
    pub(super) scores: Vec<Statistics>,
    /// What good parts show on the change map.
    pub(super) change_habit: Habit,
    /// What good parts show on the position map.
    pub(super) position_habit: Habit,
}

/// Scores each prompt against the others, but for those of its own batch.
pub(super) fn leave_one_out(
    model: &mut OnePrompt,
    prompts: &[EnrolledPrompt],
    (positions, embeddings): (&Enrolment, &Embeddings),
    (masks, laws): (&Masks, &Laws),
    cut: &Cut,
) -> Result<LeaveOneOut, InspectError> {
    if prompts.len() < 2 {
        return Ok(LeaveOneOut::default());
    }
    let (mut batches, mut sights, mut images) = (Vec::new(), Vec::new(), Vec::new());
    for (i, prompt) in prompts.iter().enumerate() {
        let query = &prompt.features;
        let batch = batch_of(prompts, i);
        let chosen = most_alike(prompts, query, &batch);
        let segmented = model.segment_full(query, &prompts[chosen].features)?;
        let mut others = positions.posterior_without(&batch)?;
        let (width, height) = others.size();
        let values = others.ratio_map(query.patches().values)?.to_vec();
        let position = Map { width: width as u32, height: height as u32, values };
        let mut maps = Maps { change: segmented.change, nearest: segmented.nearest, position };
        maps.hide(masks, &prompt.place, cut);
        images.push(embeddings.statistic_without(&batch)?);
        batches.push(batch);
        sights.push(maps);
    }
    let Some(first) = sights.first() else { return Ok(LeaveOneOut::default()) };
    let change = sights.iter().map(|m| &m.change.values[..]);
    let of_change = History::of_changes(change, first.change.width as usize);
    let position = sights.iter().map(|m| &m.position.values[..]);
    let of_position = History::of_positions(position, first.position.width as usize);
    for (batch, maps) in batches.iter().zip(&mut sights) {
        of_change.habit_without(batch).apply(&mut maps.change.values);
        of_position.habit_without(batch).apply(&mut maps.position.values);
    }
    let peaks: Vec<f64> = sights.iter().map(Maps::position_statistic).collect();
    let usual = laws.level.several.law(&peaks)?.location();
    let rule = &model.card().fusion;
    let mut bench = Workbench::default();
    let scores = sights.iter_mut().zip(prompts).zip(peaks.iter().zip(&images));
    let scores = scores
        .map(|((maps, prompt), (position, image))| {
            let levels = (*position, usual);
            maps.join(&mut bench, levels, rule, masks, (&prompt.place, cut)).statistics(*image)
        })
        .collect();
    let (change_habit, position_habit) = (of_change.habit(), of_position.habit());
    Ok(LeaveOneOut { scores, change_habit, position_habit })
}
