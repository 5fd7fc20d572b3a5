//! Which of a camera's modes to use: what the board file names, and the best of what it leaves open.
//!
//! The best, in this order:
//! 1. a mode that reaches the wanted rate, or [`RATE_GOOD`] where none is named;
//! 2. a size of at most [`AREA_GOOD`] pixels, which is more than any model looks at;
//! 3. the largest such size (the smallest, where all are larger);
//! 4. colour before grey, uncompressed before JPEG (whose blocks look like flaws), full colour resolution
//!    before half;
//! 5. the fastest.

use crate::camera::pixels::PixelFormat;
use std::cmp::Reverse;
use std::fmt;

/// Frames per second below which parts wait for their frame.
pub const RATE_GOOD: f32 = 15.0;
/// Pixels beyond which a frame costs time that no model makes use of: 1920x1088.
pub const AREA_GOOD: u64 = 1920 * 1088;
/// Fastest rate that is set without being asked for.
pub const RATE_UNASKED_MAX: f32 = 60.0;
/// A driver's rate may be off by this share, as 29.97 for 30.
const RATE_TOLERANCE: f32 = 0.02;
/// Sizes tried where a driver lists a range.
const USUAL: [(u32, u32); 4] = [(1920, 1080), (1280, 720), (640, 480), (320, 240)];
/// Offers that an error lists.
const LISTED_MAX: usize = 24;

/// One thing a camera can do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offer {
    /// Pixel packing.
    pub format: PixelFormat,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames per second at most; `None` where the driver does not say.
    pub rate: Option<f32>,
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}x{}", self.format, self.width, self.height)?;
        self.rate.map_or(Ok(()), |rate| write!(f, " at {rate:.3}/s"))
    }
}

/// What the board file says about the mode.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wish {
    /// `[camera] format`.
    pub format: Option<PixelFormat>,
    /// `[camera] width` and `height`.
    pub size: Option<(u32, u32)>,
    /// `[camera] rate`, frames per second.
    pub rate: Option<f32>,
}

/// Sizes that a driver lists at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeRange {
    /// Smallest width and height.
    pub min: (u32, u32),
    /// Largest.
    pub max: (u32, u32),
    /// From one to the next; at least 1.
    pub step: (u32, u32),
}

impl SizeRange {
    /// A single size.
    pub fn one(width: u32, height: u32) -> SizeRange {
        SizeRange { min: (width, height), max: (width, height), step: (1, 1) }
    }

    /// Whether the camera does that size.
    pub fn has(&self, (width, height): (u32, u32)) -> bool {
        let fits = |value: u32, min: u32, max: u32, step: u32| {
            (min..=max).contains(&value) && (value - min).is_multiple_of(step.max(1))
        };
        fits(width, self.min.0, self.max.0, self.step.0)
            && fits(height, self.min.1, self.max.1, self.step.1)
    }

    /// The wish and the usual sizes as far as they are in the range, and its two ends.
    pub fn candidates(&self, wish: Option<(u32, u32)>) -> Vec<(u32, u32)> {
        let mut sizes = vec![self.max, self.min];
        sizes.extend(wish.into_iter().chain(USUAL).filter(|&size| self.has(size)));
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }
}

/// Why no mode fits, with what to do.
#[derive(Clone, Debug, PartialEq)]
pub enum ChoiceError {
    /// None of the formats is one of ours.
    NoFormat,
    /// What the board file names cannot be had.
    NoSuchMode {
        /// What it names.
        wish: Wish,
        /// What there is, the best first.
        offers: Vec<Offer>,
    },
}

impl fmt::Display for ChoiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChoiceError::NoFormat => f.write_str(
                "none of its formats is YUYV, NV12, GREY, RGB3, BGR3 or MJPG; use another camera",
            ),
            ChoiceError::NoSuchMode { wish, offers } => {
                f.write_str("[camera]")?;
                wish.format.map_or(Ok(()), |format| write!(f, " format {format}"))?;
                wish.size.map_or(Ok(()), |(w, h)| write!(f, " width {w} height {h}"))?;
                wish.rate.map_or(Ok(()), |rate| write!(f, " rate {rate}"))?;
                f.write_str(
                    " cannot be had; set what it offers, or leave the keys out for the best: ",
                )?;
                let listed: Vec<String> =
                    offers.iter().take(LISTED_MAX).map(ToString::to_string).collect();
                f.write_str(&listed.join(", "))
            }
        }
    }
}

impl std::error::Error for ChoiceError {}

/// Whether a rate is as fast as another, but for rounding.
pub fn reaches(rate: f32, wanted: f32) -> bool {
    rate >= wanted * (1.0 - RATE_TOLERANCE)
}

/// The higher, the better: full colour, half colour, grey; JPEG last.
fn rank(format: PixelFormat) -> u8 {
    match format {
        PixelFormat::Rgb | PixelFormat::Bgr => 5,
        PixelFormat::Yuyv => 4,
        PixelFormat::Nv12 => 3,
        PixelFormat::Mjpeg => 2,
        PixelFormat::Grey => 1,
    }
}

/// The larger, the better.
fn merit(offer: &Offer, wish: &Wish) -> (bool, bool, i64, u8, u32) {
    let area = u64::from(offer.width) * u64::from(offer.height);
    let good = area <= AREA_GOOD;
    let size = i64::try_from(area).unwrap_or(i64::MAX);
    // A driver that does not say is given the benefit of the doubt.
    let fast = offer.rate.is_none_or(|rate| reaches(rate, wish.rate.unwrap_or(RATE_GOOD)));
    let millis = (offer.rate.unwrap_or(0.0) * 1000.0) as u32;
    (fast, good, if good { size } else { -size }, rank(offer.format), millis)
}

/// The best offer that the wish allows; the rule stands at the head of this file.
///
/// # Errors
/// Nothing is offered, or nothing that the wish allows.
pub fn choose(offers: &[Offer], wish: &Wish) -> Result<Offer, ChoiceError> {
    let sound =
        |o: &&Offer| o.width > 0 && o.height > 0 && !(o.format.paired() && o.width % 2 == 1);
    let mut sorted: Vec<Offer> = offers.iter().filter(sound).copied().collect();
    sorted.sort_by_key(|offer| Reverse(merit(offer, wish)));
    if sorted.is_empty() {
        return Err(ChoiceError::NoFormat);
    }
    let allowed = |offer: &&Offer| {
        wish.format.is_none_or(|format| offer.format == format)
            && wish.size.is_none_or(|size| (offer.width, offer.height) == size)
            && wish.rate.is_none_or(|wanted| offer.rate.is_none_or(|rate| reaches(rate, wanted)))
    };
    let found = sorted.iter().find(allowed).copied();
    found.ok_or(ChoiceError::NoSuchMode { wish: *wish, offers: sorted })
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
