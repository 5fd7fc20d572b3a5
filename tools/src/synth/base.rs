//! What a pair shows before any change: a crop of a picture, a texture, or a drawn industrial part.

use serde::{Deserialize, Serialize};

use super::dice::Dice;
use super::industrial;
use super::library::Library;
use super::pair::SynthConfig;
use super::raster::{Affine, Rgb, Source};

/// What kind of picture a pair is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BaseKind {
    /// A crop of a picture.
    Scene,
    /// A surface.
    Texture,
    /// A circuit-board-like line drawing.
    Board,
    /// A machined metal part on a plain ground.
    Metal,
    /// A periodic weave, grid or row of holes.
    Weave,
    /// A grainy surface without pattern.
    Cast,
    /// A printed label.
    Label,
    /// One or more cut-out things on a plain ground.
    Bench,
}

impl BaseKind {
    /// Whether it is flat and matt, with nothing for a lamp at a side to show.
    pub(super) fn is_print(self) -> bool {
        matches!(self, BaseKind::Board | BaseKind::Label)
    }
}

/// The copper of a drawn board, so that board defects can be placed on it.
pub struct Drawing {
    /// Coverage 0..255, one byte a pixel.
    pub copper: Vec<u8>,
    /// Colour of copper.
    pub fore: [f32; 3],
    /// Colour of the ground.
    pub back: [f32; 3],
    /// Typical trace width, pixels.
    pub trace: f32,
}

impl Drawing {
    /// The level (0..1) half way between ground and copper; `None` where some channel has too little
    /// contrast to be thresholded cleanly.
    pub fn pivot(&self) -> Option<f32> {
        const CONTRAST_MIN: f32 = 130.0;
        let clear = self.fore.iter().zip(self.back).all(|(f, b)| (f - b).abs() >= CONTRAST_MIN);
        let sum: f32 = self.fore.iter().chain(&self.back).sum();
        clear.then_some(sum / (6.0 * 255.0))
    }
}

/// Another picture that a good part may also look like.
pub enum Twin {
    /// The same structure with another grain: positions still correspond.
    Instance(Rgb),
    /// Another place of the same surface: positions do not correspond.
    Crop(Rgb),
}

/// A square base, larger than the pair by a margin on every side.
pub struct Base {
    /// The pixels.
    pub canvas: Rgb,
    /// What it is.
    pub kind: BaseKind,
    /// Outlined things in it, in its pixels.
    pub outlines: Vec<Vec<(f32, f32)>>,
    /// The ground behind the part, where it is known.
    pub backdrop: Option<Rgb>,
    /// Coverage of the part, one byte a pixel, where it is known.
    pub subject: Option<Vec<u8>>,
    /// The copper, for boards.
    pub drawing: Option<Drawing>,
    /// What the prompt side shows instead of the same pixels.
    pub twin: Option<Twin>,
}

impl Base {
    /// Only pixels, nothing known about them.
    pub fn bare(canvas: Rgb, kind: BaseKind) -> Base {
        Base {
            canvas,
            kind,
            outlines: Vec::new(),
            backdrop: None,
            subject: None,
            drawing: None,
            twin: None,
        }
    }

    /// Draws the base of a pair; `side` is the pair's size with margins.
    pub fn draw(library: &Library, config: &SynthConfig, side: usize, dice: &mut Dice) -> Base {
        let pictures = (1.0 - config.texture_share - config.industrial_share).max(0.0);
        match dice.weighted(&[pictures, config.texture_share, config.industrial_share]) {
            0 => scene(library, side, dice),
            1 => texture(library, config, side, dice),
            _ => industrial::draw(library, config, side, dice),
        }
    }
}

/// A random square crop: the map from `side` output pixels into the picture. `least` is the smallest
/// share of the short side that the crop may span.
pub fn crop_map(picture: &Source, side: usize, least: f32, dice: &mut Dice) -> Affine {
    let picture = picture.full();
    let span = picture.short() as f32 * dice.range(least, 1.0);
    let stride = (span - 1.0).max(1.0) / side as f32;
    let x0 = dice.range(0.0, (picture.w as f32 - span).max(0.0));
    let y0 = dice.range(0.0, (picture.h as f32 - span).max(0.0));
    let half = 0.5 * stride;
    if dice.chance(0.5) {
        Affine { m: [stride, 0.0, x0 + half, 0.0, stride, y0 + half] }
    } else {
        let right = x0 + stride * side as f32 - half;
        Affine { m: [-stride, 0.0, right, 0.0, stride, y0 + half] }
    }
}

fn scene(library: &Library, side: usize, dice: &mut Dice) -> Base {
    // Outlined pictures are few but the only ones to remove things from: take them more often.
    let outlined = !library.things.is_empty() && dice.chance(0.35);
    let index = if outlined {
        library.things[dice.below(library.things.len())].0
    } else {
        dice.below(library.scenes.len())
    };
    let scene = &library.scenes[index];
    let map = crop_map(&scene.picture, side, 0.6, dice);
    let back = map.inverse();
    let outlines =
        scene.outlines.iter().map(|o| o.iter().map(|(x, y)| back.map(*x, *y)).collect()).collect();
    Base { outlines, ..Base::bare(scene.picture.resample(&map, side), BaseKind::Scene) }
}

/// A surface of `side` pixels: a texture, or a strongly enlarged crop of a picture.
pub fn surface(library: &Library, side: usize, dice: &mut Dice) -> Rgb {
    let (picture, least) = if library.textures.is_empty() || dice.chance(0.15) {
        (&library.scenes[dice.below(library.scenes.len())].picture, 0.3)
    } else {
        (&library.textures[dice.below(library.textures.len())], 0.4)
    };
    let map = crop_map(picture, side, least, dice);
    picture.resample(&map, side)
}

fn texture(library: &Library, config: &SynthConfig, side: usize, dice: &mut Dice) -> Base {
    if library.textures.is_empty() {
        return Base::bare(surface(library, side, dice), BaseKind::Texture);
    }
    let picture = &library.textures[dice.below(library.textures.len())];
    let other_place = dice.chance(config.other_place_share);
    let least = if other_place { 0.55 } else { 0.4 };
    let map = crop_map(picture, side, least, dice);
    let mut base = Base::bare(picture.resample(&map, side), BaseKind::Texture);
    if other_place {
        // Same scale and flip, another place: what a second piece of the same cloth looks like.
        let span = map.stride() * side as f32;
        let mut other = map;
        let (x0, y0) = (map.m[2] - if map.m[0] < 0.0 { span } else { 0.0 }, map.m[5]);
        other.m[2] += dice.range(0.0, (picture.full().w as f32 - span).max(0.0)) - x0;
        other.m[5] += dice.range(0.0, (picture.full().h as f32 - span).max(0.0)) - y0;
        base.twin = Some(Twin::Crop(picture.resample(&other, side)));
    }
    base
}
