//! What the operator sets, and what can be wrong with it.

use crate::calibration::CalibrationError;
use crate::image_posterior::{ImagePosterior, ImagePosteriorError};
use crate::oneprompt::ModelError;
use crate::picture::{PictureError, Rect};
pub use crate::recipe::PROMPTS_MAX;
use crate::recipe::{FurtherGood, IgnoreMask, Registration, TILES_MAX, Tiles};
use crate::student_t::StudentTError;
use crate::verdict::{FALSE_REJECT_PPM_MAX, FALSE_REJECT_PPM_MIN};
use std::fmt;

/// How far the aspect ratios of query and prompts may differ: cropping by hand or by a part finder
/// gives a few per cent, another product gives more.
pub const ASPECT_TOLERANCE: f64 = 0.05;

/// Most prompts times tiles that are held: with 120 of them the process takes 0.9 GiB at 256x256
/// (`docs/ablations.md`).
pub const PROMPT_TILES_MAX: usize = 128;

/// What the operator sets for a product.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Rate of good parts that may be rejected, in parts per million.
    pub false_reject_ppm: u32,
    /// Length of the smallest defect that matters: the longest side of its bounding rectangle, in
    /// pixels of the query picture. 0 and 1 mean that everything matters.
    pub smallest_defect_px: u32,
    /// Only this part of every picture is looked at. Pictures must then all have one size.
    pub region_of_interest: Option<Rect>,
    /// Whether parts are turned and shifted onto the first prompt before they are judged. Places that the
    /// first prompt does not show are then not judged, and the ignore mask goes with the part.
    pub registration: Registration,
    /// In how many tiles the inspected area is looked at; every prompt is held once per tile.
    pub tiles: Tiles,
    /// Where differences are to be ignored. The mask lies over the whole picture (not over the
    /// region of interest) and is stretched to it.
    pub ignore: Option<IgnoreMask>,
    /// What good parts score that are no prompts, from [`super::Inspector::further`]: a rate of a few parts per
    /// million needs more good parts than prompts.
    pub further: FurtherGood,
    /// What whole pictures of good parts look like to other cameras, from [`super::Inspector::image_posterior`] there.
    pub elsewhere: Option<ImagePosterior>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            false_reject_ppm: 1000,
            smallest_defect_px: 0,
            region_of_interest: None,
            registration: Registration::Off,
            tiles: Tiles::ONE,
            ignore: None,
            further: FurtherGood::default(),
            elsewhere: None,
        }
    }
}

/// Why an inspector could not be made, or a picture not be measured.
#[derive(Debug, Clone, PartialEq)]
pub enum InspectError {
    /// No prompt, or more than [`PROMPTS_MAX`].
    PromptCount {
        /// How many were given.
        given: usize,
    },
    /// No tile, more than [`TILES_MAX`], or with the prompts more than [`PROMPT_TILES_MAX`].
    TileCount {
        /// The tiles.
        tiles: Tiles,
        /// How many prompts there are.
        prompts: usize,
    },
    /// A false-reject rate out of bounds.
    Rate {
        /// The rate given.
        ppm: u32,
    },
    /// A prompt that the model cannot read.
    Prompt {
        /// Which one, counted from 0.
        index: usize,
        /// Why.
        error: ModelError,
    },
    /// A picture whose size or aspect ratio does not fit the first prompt's.
    Size {
        /// Prompt counted from 0; `None` for a query.
        prompt: Option<usize>,
        /// Its width and height.
        given: (u32, u32),
        /// Width and height of the first prompt.
        expected: (u32, u32),
    },
    /// The region of interest does not lie within the pictures.
    RegionOfInterest(PictureError),
    /// The ignore mask has another aspect ratio than the prompts, or too few flags for its size.
    IgnoreSize {
        /// Its width and height.
        given: (u32, u32),
        /// Width and height of the first prompt.
        expected: (u32, u32),
    },
    /// The ignore mask leaves nothing to inspect.
    AllIgnored,
    /// The back was to decide on a part that the front had not seen all of.
    Incomplete,
    /// Scores of further good parts for another number of tiles.
    FurtherTiles {
        /// Tiles that are looked at.
        tiles: usize,
        /// Tiles that there are scores for.
        given: usize,
    },
    /// Good parts of other cameras that were not seen like those taught here.
    Elsewhere(ImagePosteriorError),
    /// The model failed on a query.
    Model(ModelError),
    /// The posterior could not be built or asked.
    Posterior(StudentTError),
    /// The leave-one-out scores do not make a calibration.
    Calibration(CalibrationError),
}

impl fmt::Display for InspectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PromptCount { given: 0 } => f.write_str("no prompt; give at least one good part"),
            Self::PromptCount { given } => {
                write!(f, "{given} prompts; at most {PROMPTS_MAX} are possible, leave some out")
            }
            Self::TileCount { tiles, .. } if !tiles.is_sound() => {
                write!(f, "{tiles} tiles; give 1 to {TILES_MAX}, columns times rows")
            }
            Self::TileCount { tiles, prompts } => write!(
                f,
                "{tiles} tiles of {prompts} prompts are {}; at most {PROMPT_TILES_MAX} fit into memory, \
                 keep {} prompts or take fewer tiles",
                tiles.count() as usize * prompts,
                PROMPT_TILES_MAX / tiles.count() as usize
            ),
            Self::Rate { ppm } => write!(
                f,
                "false-reject rate of {ppm} ppm; give {FALSE_REJECT_PPM_MIN} to {FALSE_REJECT_PPM_MAX}"
            ),
            Self::Prompt { index, error } => write!(f, "prompt {}: {error}", index + 1),
            Self::Size { prompt, given, expected } => {
                match prompt {
                    Some(index) => write!(f, "prompt {}", index + 1)?,
                    None => f.write_str("the picture")?,
                }
                write!(
                    f,
                    " is {}x{}, the first prompt {}x{}; take all pictures with the same camera \
                     settings (with a region of interest the sizes must be equal)",
                    given.0, given.1, expected.0, expected.1
                )
            }
            Self::RegionOfInterest(error) => write!(f, "region of interest: {error}"),
            Self::IgnoreSize { given, expected } => write!(
                f,
                "the ignore mask is {}x{}, the prompts {}x{}; draw it over a prompt",
                given.0, given.1, expected.0, expected.1
            ),
            Self::FurtherTiles { tiles, given } => write!(
                f,
                "scores of further good parts for {given} tiles, but {tiles} are looked at; teach again"
            ),
            Self::Incomplete => f.write_str("the part was not looked at as a whole"),
            Self::AllIgnored => {
                f.write_str("the ignore mask covers everything that would be inspected")
            }
            Self::Elsewhere(error) => write!(f, "good parts of other cameras: {error}"),
            Self::Model(error) => error.fmt(f),
            Self::Posterior(error) => error.fmt(f),
            Self::Calibration(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for InspectError {}

impl From<ModelError> for InspectError {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}

impl From<ImagePosteriorError> for InspectError {
    fn from(error: ImagePosteriorError) -> Self {
        Self::Elsewhere(error)
    }
}

impl From<StudentTError> for InspectError {
    fn from(error: StudentTError) -> Self {
        Self::Posterior(error)
    }
}

impl From<CalibrationError> for InspectError {
    fn from(error: CalibrationError) -> Self {
        Self::Calibration(error)
    }
}

/// Whether a picture of `given` size may be compared with one of `expected` size.
pub(super) fn fits(given: (u32, u32), expected: (u32, u32), exact: bool) -> bool {
    if exact {
        return given == expected;
    }
    let aspect = |(w, h): (u32, u32)| (f64::from(w) / f64::from(h)).ln();
    (aspect(given) - aspect(expected)).abs() <= ASPECT_TOLERANCE
}
