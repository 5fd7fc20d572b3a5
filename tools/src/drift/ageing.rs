//! What happens to a station over months, drawn onto pictures of good parts.

use std::fmt;

use anyhow::{Context, Result};
use image::RgbImage;
use image::imageops::fast_blur;
use touchstone_models::picture::Picture;

use crate::synth::{Affine, Rgb};

/// Light left when a lamp has aged.
const LAMP_LEFT: f32 = 0.6;
/// What blue loses beyond that: old lamps turn yellow.
const LAMP_YELLOW: f32 = 0.1;
/// Blur of a fogged lens, standard deviation in pixels.
const BLUR_PX: f32 = 2.0;
/// How far a camera sags, in shares of the picture's side.
const SHIFT: f32 = 0.04;
/// Less blur than this cannot be seen.
const BLUR_MIN_PX: f32 = 0.1;

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ageing {
    /// Nothing: how often a warning comes although all is well.
    None,
    /// The lamp gets darker and yellower.
    Lamp,
    /// The lens fogs or loses focus.
    Blur,
    /// The camera sags.
    Shift,
}

impl fmt::Display for Ageing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ageing::None => "nothing",
            Ageing::Lamp => "lamp ages",
            Ageing::Blur => "lens fogs",
            Ageing::Shift => "camera sags",
        })
    }
}

impl Ageing {
    /// All kinds.
    pub const ALL: [Ageing; 4] = [Ageing::None, Ageing::Lamp, Ageing::Blur, Ageing::Shift];

    /// How much of it `share`, 0..=1, is, for people.
    pub fn amount(self, share: f64) -> String {
        match self {
            Ageing::None => String::new(),
            Ageing::Lamp => {
                format!("{:.0} % less light", 100.0 * share * f64::from(1.0 - LAMP_LEFT))
            }
            Ageing::Blur => format!("blur of {:.1} px", share * f64::from(BLUR_PX)),
            Ageing::Shift => format!("{:.1} % of the side", 100.0 * share * f64::from(SHIFT)),
        }
    }

    /// The picture as it is when `share` of the change has happened, 0..=1.
    ///
    /// # Errors
    /// A picture that the result cannot be made a picture of.
    pub fn apply(self, part: &Picture, share: f32) -> Result<Picture> {
        let (width, height) = (part.width(), part.height());
        if share <= 0.0 || self == Ageing::None {
            return Ok(part.clone());
        }
        let rgb = match self {
            Ageing::None => part.rgb().to_vec(),
            Ageing::Lamp => {
                let gain = 1.0 - share * (1.0 - LAMP_LEFT);
                let gains = [gain, gain, gain * (1.0 - share * LAMP_YELLOW)];
                let dim = |(at, v): (usize, &u8)| (f32::from(*v) * gains[at % 3]).round() as u8;
                part.rgb().iter().enumerate().map(dim).collect()
            }
            Ageing::Blur if share * BLUR_PX < BLUR_MIN_PX => part.rgb().to_vec(),
            Ageing::Blur => {
                let picture = RgbImage::from_raw(width, height, part.rgb().to_vec());
                let picture = picture.context("a picture of another length than its size")?;
                fast_blur(&picture, share * BLUR_PX).into_raw()
            }
            Ageing::Shift => {
                let (w, h) = (width as usize, height as usize);
                let moved = share * SHIFT * width as f32;
                let map = Affine { m: [1.0, 0.0, moved, 0.0, 1.0, moved] };
                Rgb { w, h, px: part.rgb().to_vec() }.resample(&map, w).px
            }
        };
        Ok(Picture::from_rgb8(width, height, rgb)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part() -> Picture {
        let rgb = (0..64 * 64 * 3).map(|i| if i / 3 % 64 < 32 { 200 } else { 40 }).collect();
        Picture::from_rgb8(64, 64, rgb).expect("picture")
    }

    #[test]
    fn each_kind_changes_what_it_says() {
        let part = part();
        for ageing in Ageing::ALL {
            assert_eq!(ageing.apply(&part, 0.0).expect("new").rgb(), part.rgb(), "{ageing}");
        }
        let lamp = Ageing::Lamp.apply(&part, 1.0).expect("old");
        assert_eq!(&lamp.rgb()[..3], &[120, 120, 108]);
        let blur = Ageing::Blur.apply(&part, 1.0).expect("old");
        let edge = blur.rgb()[3 * (64 * 30 + 31)];
        assert!((60..190).contains(&edge), "{edge}");
        let shift = Ageing::Shift.apply(&part, 1.0).expect("old");
        // 2.56 pixels to the left.
        let row = |x: usize| shift.rgb()[3 * (64 * 30 + x)];
        assert!(row(28) == 200 && (109..=112).contains(&row(29)) && row(30) == 40, "{}", row(29));
    }
}
