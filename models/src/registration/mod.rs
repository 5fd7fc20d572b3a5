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
use refine::Refiner;
use search::Search;

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

/// No turned look can fit so much better than one near the reference that fits like this.
const NEAR_ENOUGH: f64 = 0.85;
/// A turned look that fits less at a few dozen pixels is not looked at closer.
const FIT_COARSE: f64 = 0.3;
/// A part of which no place lies farther off than this, in longest sides, is left as it is where it is not said to
/// lie otherwise: to be drawn anew costs more than three pixels of 256.
const STAYS: f64 = 3.0 / 256.0;

/// Finds parts. Keeps its buffers.
pub struct Locator {
    how: Registration,
    /// Of the coarsest look.
    search: Search,
    /// References of the finer looks.
    middle: Frame,
    fine: Frame,
    /// Turns to try, in radians.
    rotations: Vec<f64>,
    /// In degrees.
    turn_max: f64,
    refiner: Refiner,
    grey: Grey,
}

impl Locator {
    /// A locator for parts like that in `area` of `reference`; `None` where nothing is to be registered.
    pub fn new(reference: &Picture, area: Rect, how: Registration) -> Option<Locator> {
        let (turn_max, turns) = match how {
            Registration::Off => return None,
            Registration::Small => (SMALL_TURN, (SMALL_TURN as u32) / TURN_STEP),
            Registration::Any | Registration::Auto => (180.0, 180 / TURN_STEP),
        };
        let degrees = (0..=turns).map(|i| f64::from(i * TURN_STEP));
        let both = degrees.flat_map(|d| if d == 0.0 { vec![0.0] } else { vec![d, -d] });
        let mut grey = Grey::new(area);
        let [coarse, middle, fine] = pyramid(grey.of(reference, area));
        Some(Locator {
            how,
            search: Search::new(&coarse),
            middle,
            fine,
            rotations: both.map(f64::to_radians).collect(),
            turn_max,
            refiner: Refiner::default(),
            grey,
        })
    }

    /// The pose of the part in `area` of `query`; [`Pose::IDENTITY`] where no other is convincing.
    pub fn find(&mut self, query: &Picture, area: Rect) -> Pose {
        let [coarse, middle, fine] = pyramid(self.grey.of(query, area));
        let as_is = self.refiner.fit(&self.fine, &fine, &Pose::IDENTITY);
        if as_is >= 1.0 - GAIN {
            return Pose::IDENTITY;
        }
        let near = self.refiner.refine(&self.middle, &middle, Pose::IDENTITY, SCALES);
        let surely = near.1 >= NEAR_ENOUGH;
        if surely
            && self.how == Registration::Auto
            && near.0.farthest(&Pose::IDENTITY) <= 0.5 * STAYS
        {
            return Pose::IDENTITY;
        }
        let far = match surely {
            true => None,
            false => self.turned(&coarse, &middle).filter(|far| far.1 > near.1),
        };
        let mut finest = |(pose, _)| self.refiner.refine(&self.fine, &fine, pose, SCALES);
        let near = finest(near);
        let far = far.map(finest).filter(|far| far.1 > near.1 + TURN_GAIN);
        let chosen = far.unwrap_or(near);
        match self.convinces(chosen, as_is) {
            true => chosen.0,
            false => Pose::IDENTITY,
        }
    }

    /// The best turned look at middle size.
    fn turned(&mut self, coarse: &Frame, middle: &Frame) -> Option<(Pose, f64)> {
        let starts = self.search.starts(coarse, &self.rotations);
        let hopeful = starts.into_iter().take(TURNS_KEPT).filter(|start| start.1 >= FIT_COARSE);
        let exact = |(pose, _)| self.refiner.refine(&self.middle, middle, pose, SCALES);
        hopeful.map(exact).max_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn convinces(&self, (pose, fit): (Pose, f64), as_is: f64) -> bool {
        let (turn, shift) = (pose.degrees().abs(), pose.distance());
        let near = turn <= SMALL_TURN && shift <= NEAR;
        let stays = self.how == Registration::Auto && pose.farthest(&Pose::IDENTITY) <= STAYS;
        turn <= self.turn_max
            && shift <= SHIFT_MAX
            && fit >= if near { FIT_NEAR } else { FIT_FAR }
            && fit >= as_is + GAIN
            && !stays
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
