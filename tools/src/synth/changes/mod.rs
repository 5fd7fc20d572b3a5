//! The changes: everything that may differ between a good part and a bad one.

mod board;
mod marks;
mod moved;
mod surface;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::base::{Base, BaseKind, Twin};
use super::dice::Dice;
use super::label;
use super::library::Library;
use super::raster::Rgb;
use super::shapes::Stencil;

/// What was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// Nothing: the sides differ in light, place and noise only.
    #[value(skip)]
    None,
    /// A Perlin-shaped patch of another texture.
    Texture,
    /// A thing of another picture laid onto it.
    Paste,
    /// A thing taken away and its place filled.
    Removal,
    /// A thing replaced by another one.
    Exchange,
    /// A patch of the same picture at another place or turned in place.
    CutPaste,
    /// A part of the thing missing: the ground shows.
    Missing,
    /// Thin curved lines, partly broken.
    Scratch,
    /// A branching random walk.
    Crack,
    /// A hair.
    Fibre,
    /// Small dots or pits.
    Pits,
    /// A soft blotch that multiplies.
    Stain,
    /// Locally out of focus.
    Blur,
    /// Locally pushed or twisted.
    Deformation,
    /// Locally another colour or brightness.
    Colour,
    /// Structure wiped out by a plain patch.
    Erasure,
    /// Opens, shorts, bites, spurs, pinholes and stray copper of a board.
    Board,
}

/// All kinds that draw something, in the order of the weight tables.
pub const DRAWN: [ChangeKind; 16] = [
    ChangeKind::Texture,
    ChangeKind::Paste,
    ChangeKind::Removal,
    ChangeKind::Exchange,
    ChangeKind::CutPaste,
    ChangeKind::Missing,
    ChangeKind::Scratch,
    ChangeKind::Crack,
    ChangeKind::Fibre,
    ChangeKind::Pits,
    ChangeKind::Stain,
    ChangeKind::Blur,
    ChangeKind::Deformation,
    ChangeKind::Colour,
    ChangeKind::Erasure,
    ChangeKind::Board,
];

/// How often each of [`DRAWN`] is tried on a kind of base.
#[rustfmt::skip]
fn weights(kind: BaseKind) -> [f32; DRAWN.len()] {
    match kind {
        //                    Tex  Pas  Rem  Exc  Cut  Mis  Scr  Cra  Fib  Pit  Sta  Blu  Def  Col  Era  Boa
        BaseKind::Scene   => [3.0, 3.0, 0.0, 1.2, 1.8, 0.0, 1.5, 1.0, 0.8, 1.2, 1.0, 1.0, 0.8, 1.0, 0.8, 0.0],
        BaseKind::Texture |
        BaseKind::Cast    => [3.0, 1.5, 0.0, 0.5, 1.8, 0.0, 2.0, 1.5, 1.2, 1.8, 1.5, 0.5, 0.8, 1.2, 1.2, 0.0],
        BaseKind::Board   => [0.3, 0.4, 0.0, 0.1, 0.4, 0.0, 0.5, 0.1, 0.3, 0.3, 0.1, 0.0, 0.1, 0.1, 0.3, 12.0],
        BaseKind::Metal |
        BaseKind::Bench   => [1.5, 1.2, 0.0, 0.4, 1.0, 2.0, 2.0, 1.3, 0.8, 2.5, 1.5, 0.3, 1.2, 1.2, 0.8, 0.0],
        BaseKind::Weave   => [1.5, 0.8, 0.0, 0.3, 1.5, 0.0, 1.5, 1.0, 1.2, 1.5, 1.0, 0.3, 2.0, 1.0, 1.5, 0.0],
        BaseKind::Label   => [1.0, 1.0, 0.0, 0.4, 2.0, 0.0, 1.5, 0.5, 0.8, 1.0, 1.2, 0.5, 1.0, 1.2, 2.5, 0.0],
    }
}

/// Draws a kind that suits the base, none of those `without`; [`ChangeKind::None`] when no other does.
pub fn draw_kind(base: &Base, without: &[ChangeKind], dice: &mut Dice) -> ChangeKind {
    let mut weights = weights(base.kind);
    let mut set = |kind: ChangeKind, weight: f32| {
        if let Some(place) = DRAWN.iter().position(|k| *k == kind) {
            weights[place] = weight;
        }
    };
    if !base.outlines.is_empty() {
        set(ChangeKind::Removal, 7.0);
        set(ChangeKind::Exchange, 3.0);
        set(ChangeKind::Missing, 2.0);
    }
    if base.twin.is_some() {
        // An exchange needs the same thing on both sides, which a twin does not have.
        set(ChangeKind::Exchange, 0.0);
    }
    if matches!(base.twin, Some(Twin::Crop(_))) {
        // On another place of the surface, its own matter moved about is just one more place.
        set(ChangeKind::CutPaste, 0.0);
        set(ChangeKind::Deformation, 0.2);
    }
    for kind in without {
        set(*kind, 0.0);
    }
    if weights.iter().all(|w| *w <= 0.0) {
        return ChangeKind::None;
    }
    DRAWN[dice.weighted(&weights)]
}

/// The desk a change is drawn on.
pub struct Desk<'a> {
    /// Where foreign things and textures come from.
    pub library: &'a Library,
    /// The unchanged base; [`ChangeKind::Exchange`] plants its first thing here.
    pub base: &'a mut Base,
    /// The side that differs.
    pub changed: &'a mut Rgb,
    /// The label in the base frame, 0/255.
    pub mask: &'a mut [u8],
    /// Size of the pair in pixels (the base is larger by the margins).
    pub size: usize,
}

impl Desk<'_> {
    fn side(&self) -> usize {
        self.changed.w
    }

    /// A length given in pixels at 256.
    fn scaled(&self, length: f32) -> f32 {
        length * self.size as f32 / 256.0
    }

    /// A diameter between `least` pixels and the share `most` of the width, log-uniform.
    fn diameter(&self, least: f32, most: f32, dice: &mut Dice) -> f32 {
        dice.log_range(least, most * self.size as f32)
    }

    /// A place for a change: in the frame, mostly on the part where that is known.
    fn place(&self, dice: &mut Dice) -> (f32, f32) {
        const TRIES: usize = 24;
        let margin = (self.side() - self.size) as f32 / 2.0;
        let inner = 0.03 * self.size as f32;
        let (low, high) = (margin + inner, margin + self.size as f32 - inner);
        let mut spot = (dice.range(low, high), dice.range(low, high));
        let Some(subject) = self.base.subject.as_ref().filter(|_| dice.chance(0.85)) else {
            return spot;
        };
        for _ in 0..TRIES {
            if subject[spot.1 as usize * self.side() + spot.0 as usize] > 128 {
                break;
            }
            spot = (dice.range(low, high), dice.range(low, high));
        }
        spot
    }

    /// Labels what was drawn; see [`label::settle`].
    fn settle(&mut self, stencil: &Stencil) -> usize {
        label::settle(&self.base.canvas, self.changed, self.mask, stencil)
    }

    /// Brightness around a place, to choose a mark that stands out.
    fn brightness(&self, at: (f32, f32), reach: f32) -> f32 {
        let (x, y) = ((at.0 - reach).max(0.0) as usize, (at.1 - reach).max(0.0) as usize);
        let span = (2.0 * reach) as usize + 1;
        self.changed.mean(x, y, span, span).iter().sum::<f32>() / 3.0
    }

    /// A signed contrast in levels that the place has room for.
    fn contrast(&self, at: (f32, f32), low: f32, high: f32, dice: &mut Dice) -> f32 {
        let level = self.brightness(at, 4.0);
        let amount = dice.log_range(low, high);
        let darker = dice.chance(((level - 60.0) / 135.0).clamp(0.05, 0.95));
        if darker { -amount } else { amount }
    }
}

/// Draws one change; gives the labelled pixels, 0 when it could not be made visible.
pub fn apply(kind: ChangeKind, desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    match kind {
        ChangeKind::None => 0,
        ChangeKind::Texture => moved::texture(desk, dice),
        ChangeKind::Paste => moved::paste(desk, dice),
        ChangeKind::Removal => moved::removal(desk, dice),
        ChangeKind::Exchange => moved::exchange(desk, dice),
        ChangeKind::CutPaste => moved::cut_paste(desk, dice),
        ChangeKind::Missing => moved::missing(desk, dice),
        ChangeKind::Scratch => marks::scratch(desk, dice),
        ChangeKind::Crack => marks::crack(desk, dice),
        ChangeKind::Fibre => marks::fibre(desk, dice),
        ChangeKind::Pits => marks::pits(desk, dice),
        ChangeKind::Stain => surface::stain(desk, dice),
        ChangeKind::Blur => surface::blur(desk, dice),
        ChangeKind::Deformation => surface::deformation(desk, dice),
        ChangeKind::Colour => surface::colour(desk, dice),
        ChangeKind::Erasure => surface::erasure(desk, dice),
        ChangeKind::Board => board::defect(desk, dice),
    }
}
