//! Registration: where the part lies in a picture, against the picture that it was taught from.
//!
//! Two looks that do not know each other's place make everything behind them guess: the witnesses then have
//! to allow for every place a part may lie at. Here the query is turned, shifted and scaled onto the
//! reference first. Grey pictures with light and contrast taken out; every turn tried at a few dozen
//! pixels, the best ones made exact by least squares (methods/metauas.md section 9, weakness 3).
//!
//! A picture that cannot be told from where it lies (a texture, another part) is left as it is.

mod frame;
mod pose;
mod refine;
mod search;
#[cfg(test)]
mod tests;

pub use pose::{Affine, Pose};

use crate::picture::{Picture, Rect};
use crate::preprocess::Scaler;
pub use crate::recipe::Registration;
use fast_image_resize::PixelType;
use fast_image_resize::images::Image;
use frame::Frame;
use refine::{Target, refine};

/// Longest side of the finest look, in pixels; the coarser two are half and a quarter of it.
const FINE: u32 = 128;
/// Sides are multiples of this, so that they can be halved twice.
const GRAIN: u32 = 4;
/// Shortest side of the finest look.
const SHORT_MIN: u32 = 16;
/// Degrees between the turns that are tried.
const TURN_STEP: u32 = 6;
/// A part that is not said to turn turns by no more than this, in degrees.
const SMALL_TURN: f64 = 15.0;
/// Turns that are made exact.
const TURNS_KEPT: usize = 4;
/// Scales that a camera's distance may make.
const SCALES: (f64, f64) = (0.85, 1.18);
/// Farther than this, in longest sides, a part is looked for but less readily believed.
const NEAR: f64 = 0.08;
/// Farthest shift.
const SHIFT_MAX: f64 = 0.2;
/// A turned look must fit so much better than one that is not turned: parts that look alike from several
/// sides stay as they are.
const TURN_GAIN: f64 = 0.1;
/// And any other so much better than the picture as it is.
const GAIN: f64 = 0.01;
/// Fit from which a look near the reference is believed, and one far from it. Textures reach 0.3 near and
/// 0.46 far; parts 0.5 to 0.97 (development sets, 2026-11-26).
const FIT_NEAR: f64 = 0.35;
const FIT_FAR: f64 = 0.55;

/// Finds parts. Keeps its buffers.
pub struct Locator {
    /// Coarse to fine.
    reference: [Frame; 3],
    /// Turns to try, in radians.
    rotations: Vec<f64>,
    turn_max: f64,
    grey: Grey,
}

impl Locator {
    /// A locator for parts like that in `area` of `reference`; `None` where nothing is to be registered.
    pub fn new(reference: &Picture, area: Rect, how: Registration) -> Option<Locator> {
        let (turn_max, turns) = match how {
            Registration::Off => return None,
            Registration::Small => (SMALL_TURN, (SMALL_TURN as u32) / TURN_STEP),
            Registration::Any => (180.0, 180 / TURN_STEP),
        };
        let degrees = (0..=turns).map(|i| f64::from(i * TURN_STEP));
        let both = degrees.flat_map(|d| if d == 0.0 { vec![0.0] } else { vec![d, -d] });
        let mut grey = Grey::new(area);
        let reference = pyramid(grey.of(reference, area));
        Some(Locator {
            reference,
            rotations: both.map(f64::to_radians).collect(),
            turn_max: turn_max.to_radians(),
            grey,
        })
    }

    /// The pose of the part in `area` of `query`; [`Pose::IDENTITY`] where no other is convincing.
    pub fn find(&mut self, query: &Picture, area: Rect) -> Pose {
        let [coarse, middle, fine] = pyramid(self.grey.of(query, area));
        let [coarse_reference, middle_reference, fine_reference] = &self.reference;
        let (middle, fine) = (Target::new(middle), Target::new(fine));
        let exact = |start: Pose| refine(middle_reference, &middle, start, SCALES);
        let mut turned: Vec<(Pose, f64)> =
            search::starts(coarse_reference, &coarse, &self.rotations)
                .into_iter()
                .take(TURNS_KEPT)
                .map(|(pose, _)| exact(pose))
                .collect();
        turned.sort_by(|a, b| b.1.total_cmp(&a.1));
        let finest = |(pose, _): (Pose, f64)| refine(fine_reference, &fine, pose, SCALES);
        let near = finest(exact(Pose::IDENTITY));
        let far = turned.first().map_or(near, |best| finest(*best));
        let as_is = fine.fit(fine_reference, &Pose::IDENTITY);
        let chosen = if far.1 > near.1 + TURN_GAIN { far } else { near };
        match self.convinces(chosen, as_is) {
            true => chosen.0,
            false => Pose::IDENTITY,
        }
    }

    fn convinces(&self, (pose, fit): (Pose, f64), as_is: f64) -> bool {
        let turn = pose.rotation.sin().atan2(pose.rotation.cos()).abs();
        let shift = pose.shift[0].hypot(pose.shift[1]);
        let near = turn <= SMALL_TURN.to_radians() && shift <= NEAR;
        turn <= self.turn_max
            && shift <= SHIFT_MAX
            && fit >= if near { FIT_NEAR } else { FIT_FAR }
            && fit >= as_is + GAIN
    }
}

/// Fine to coarse by halves, given back coarse first, all normalised.
fn pyramid(fine: Frame) -> [Frame; 3] {
    let middle = fine.halved();
    let coarse = middle.halved();
    [coarse, middle, fine].map(|frame| frame.normalised())
}

/// Scales pictures down to grey frames of one size.
struct Grey {
    scaler: Scaler,
    small: Image<'static>,
}

impl Grey {
    /// For areas of about this aspect ratio.
    fn new(area: Rect) -> Grey {
        let long = f64::from(area.w.max(area.h));
        let side = |length: u32| {
            let wanted = f64::from(FINE) * f64::from(length) / long / f64::from(GRAIN);
            (wanted.round() as u32 * GRAIN).max(SHORT_MIN)
        };
        let small = Image::new(side(area.w), side(area.h), PixelType::U8x3);
        Grey { scaler: Scaler::new(), small }
    }

    fn of(&mut self, picture: &Picture, area: Rect) -> Frame {
        self.scaler.scale(picture, area, &mut self.small);
        let luma =
            |p: &[u8]| 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
        Frame {
            width: self.small.width() as usize,
            height: self.small.height() as usize,
            values: self.small.buffer().chunks_exact(3).map(luma).collect(),
        }
    }
}
