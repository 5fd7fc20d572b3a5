//! Foreign or moved matter: texture patches, pasted, removed, exchanged, moved and missing things.

use super::super::base::surface;
use super::super::dice::Dice;
use super::super::fill;
use super::super::raster::{Affine, Rgb};
use super::super::shapes::{self, Stencil};
use super::Desk;

/// A Perlin-shaped patch of a texture, blended (`x = x(1-M) + M((1-b) t + b x)`).
pub fn texture(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let at = desk.place(dice);
    let size = desk.diameter(12.0, 0.8, dice);
    // Cells far smaller than the patch would only make confetti.
    let (least, most) = ((0.25 * size).max(4.0), (1.1 * size).max(6.0));
    let cell = (dice.log_range(least, most), dice.log_range(least, most));
    let Some(stencil) = shapes::perlin_region(dice, desk.side(), at, size, cell) else {
        return 0;
    };
    if stencil.area() == 0 {
        return 0;
    }
    let keep = 0.8 * dice.range(0.0, 1.0);
    let patch_side = stencil.w.max(stencil.h);
    let patch = surface(desk.library, patch_side, dice);
    let look = Look::draw(dice);
    let (x0, y0) = (stencil.x, stencil.y);
    stencil.blend(desk.changed, |x, y, old| {
        let t = look.apply(patch.at(x as usize - x0, y as usize - y0).map(f32::from));
        let mut new = old;
        for c in 0..3 {
            new[c] = (1.0 - keep) * t[c] + keep * old[c];
        }
        new
    });
    desk.settle(&stencil)
}

/// A random recolouring of foreign matter.
struct Look {
    gain: [f32; 3],
    lift: f32,
    grey: f32,
    invert: bool,
}

impl Look {
    fn draw(dice: &mut Dice) -> Look {
        let strong = dice.chance(0.4);
        let tint = if strong { 0.4 } else { 0.1 };
        let gain = dice.range(0.7, 1.3);
        Look {
            gain: [0; 3].map(|_| gain * (1.0 + dice.around(tint))),
            lift: if strong { dice.around(40.0) } else { dice.around(12.0) },
            grey: if dice.chance(0.25) { 1.0 } else { 0.0 },
            invert: dice.chance(0.08),
        }
    }

    fn apply(&self, colour: [f32; 3]) -> [f32; 3] {
        let mean = (colour[0] + colour[1] + colour[2]) / 3.0;
        let mut out = colour;
        for c in 0..3 {
            let level = colour[c] + self.grey * (mean - colour[c]);
            let level = if self.invert { 255.0 - level } else { level };
            out[c] = (level * self.gain[c] + self.lift).clamp(0.0, 255.0);
        }
        out
    }
}

/// A cut-out ready to be laid down: its shape on the base, and where each base pixel's colour is.
struct CutOut<'a> {
    stencil: Stencil,
    source: &'a Rgb,
    map: Affine,
    look: Look,
}

impl CutOut<'_> {
    fn lay(&self, picture: &mut Rgb) {
        self.stencil.blend(picture, |x, y, _| {
            let (sx, sy) = self.map.map(x, y);
            self.look.apply(self.source.sample(sx, sy))
        });
    }
}

/// A thing of the library (or a random shape cut from a picture) about `size` pixels large at `at`.
fn cut_out<'a>(desk: &Desk<'a>, at: (f32, f32), size: f32, dice: &mut Dice) -> Option<CutOut<'a>> {
    let library = desk.library;
    let turn =
        if dice.chance(0.5) { dice.around(0.5) } else { dice.range(0.0, std::f32::consts::TAU) };
    let (sin, cos) = turn.sin_cos();
    let look = Look::draw(dice);
    if !library.things.is_empty() && dice.chance(0.6) {
        let (scene, outline) = library.things[dice.below(library.things.len())];
        let scene = &library.scenes[scene];
        let outline = &scene.outlines[outline];
        let (low, high) = bounds(outline);
        let extent = (high.0 - low.0).max(high.1 - low.1).max(1.0);
        let (mx, my) = (0.5 * (low.0 + high.0), 0.5 * (low.1 + high.1));
        let k = (size / extent).min(2.5);
        let flip = dice.sign();
        // Source to base: flip, turn and scale about the centres.
        let forward = Affine {
            m: [
                k * cos * flip,
                -k * sin,
                at.0 - k * (cos * flip * mx - sin * my),
                k * sin * flip,
                k * cos,
                at.1 - k * (sin * flip * mx + cos * my),
            ],
        };
        let shape = outline.iter().map(|(x, y)| forward.map(*x, *y)).collect();
        let stencil = shapes::polygon(desk.side(), &[shape])?;
        let (source, map) = scene.picture.for_map(&forward.inverse());
        return Some(CutOut { stencil, source, map, look });
    }
    let stencil = shapes::random_shape(dice, desk.side(), at.0, at.1, size)?;
    let picture = if library.textures.is_empty() || dice.chance(0.7) {
        &library.scenes[dice.below(library.scenes.len())].picture
    } else {
        &library.textures[dice.below(library.textures.len())]
    };
    let full = picture.full();
    let k = dice.log_range(0.5, 2.0).min(full.short() as f32 / (size + 2.0)).max(0.2);
    let half = 0.5 * size * k;
    let (fx, fy) = (
        dice.range(half, (full.w as f32 - half).max(half)),
        dice.range(half, (full.h as f32 - half).max(half)),
    );
    let map = Affine {
        m: [
            k * cos,
            -k * sin,
            fx - k * (cos * at.0 - sin * at.1),
            k * sin,
            k * cos,
            fy - k * (sin * at.0 + cos * at.1),
        ],
    };
    let (source, map) = picture.for_map(&map);
    Some(CutOut { stencil, source, map, look })
}

fn bounds(points: &[(f32, f32)]) -> ((f32, f32), (f32, f32)) {
    let start = ((f32::INFINITY, f32::INFINITY), (f32::NEG_INFINITY, f32::NEG_INFINITY));
    points.iter().fold(start, |(low, high), p| {
        ((low.0.min(p.0), low.1.min(p.1)), (high.0.max(p.0), high.1.max(p.1)))
    })
}

/// Lays a foreign thing onto the changed side.
pub fn paste(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let at = desk.place(dice);
    let size = desk.diameter(5.0, 0.45, dice);
    let Some(thing) = cut_out(desk, at, size, dice) else {
        return 0;
    };
    thing.lay(desk.changed);
    desk.settle(&thing.stencil)
}

/// Outlines are a little tight: what shines over them goes with the thing, in pixels.
const HALO: usize = 2;

/// Takes an outlined thing away and fills its place.
pub fn removal(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let Some(shape) = own_thing(desk, dice) else {
        return 0;
    };
    let shape = dilate(&shape, desk.side(), HALO);
    fill::remove(desk.changed, &shape, dice);
    desk.settle(&shape)
}

/// An outlined thing of the base of a sensible size that is mostly in the frame.
fn own_thing(desk: &Desk<'_>, dice: &mut Dice) -> Option<Stencil> {
    const TRIES: usize = 6;
    let frame = desk.size * desk.size;
    for _ in 0..TRIES {
        if desk.base.outlines.is_empty() {
            return None;
        }
        let outline = dice.pick(&desk.base.outlines).clone();
        let Some(shape) = shapes::polygon(desk.side(), &[outline]) else {
            continue;
        };
        let area = shape.area();
        if area >= 9 && area * 3 <= frame && shape.extent() < 0.7 * desk.size as f32 {
            return Some(shape);
        }
    }
    None
}

/// Replaces a thing: the base's own one, or one that is first planted on both sides.
pub fn exchange(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let own = if dice.chance(0.6) { own_thing(desk, dice) } else { None };
    if let Some(shape) = own {
        let shape = dilate(&shape, desk.side(), HALO);
        let (at, size) = (shape.centre(), shape.extent() * dice.range(0.8, 1.1));
        let Some(other) = cut_out(desk, at, size, dice) else {
            return 0;
        };
        fill::remove(desk.changed, &shape, dice);
        other.lay(desk.changed);
        return desk.settle(&shape) + desk.settle(&other.stencil);
    }
    let at = desk.place(dice);
    let size = desk.diameter(8.0, 0.4, dice);
    let (Some(first), Some(second)) =
        (cut_out(desk, at, size, dice), cut_out(desk, at, size * dice.range(0.8, 1.2), dice))
    else {
        return 0;
    };
    // Never plant over an earlier change: its label would no longer tell the truth.
    let touched = |s: &Stencil| {
        (0..s.w * s.h)
            .any(|i| s.a[i] > 0 && desk.mask[(s.y + i / s.w) * desk.side() + s.x + i % s.w] > 0)
    };
    if touched(&first.stencil) || touched(&second.stencil) {
        return 0;
    }
    second.lay(desk.changed);
    first.lay(&mut desk.base.canvas);
    desk.settle(&first.stencil) + desk.settle(&second.stencil)
}

/// Grows a stencil by `reach` pixels.
fn dilate(shape: &Stencil, side: usize, reach: usize) -> Stencil {
    let (x, y) = (shape.x.saturating_sub(reach), shape.y.saturating_sub(reach));
    let (right, bottom) =
        ((shape.x + shape.w + reach).min(side), (shape.y + shape.h + reach).min(side));
    let (w, h) = (right - x, bottom - y);
    let mut wide = vec![0_u8; w * shape.h];
    for row in 0..shape.h {
        for column in 0..shape.w {
            let a = shape.a[row * shape.w + column];
            if a == 0 {
                continue;
            }
            let centre = shape.x + column - x;
            for value in
                &mut wide[row * w..][centre.saturating_sub(reach)..(centre + reach + 1).min(w)]
            {
                *value = (*value).max(a);
            }
        }
    }
    let mut out = Stencil { x, y, w, h, a: vec![0; w * h] };
    for row in 0..shape.h {
        let centre = shape.y + row - y;
        for to in centre.saturating_sub(reach)..(centre + reach + 1).min(h) {
            for column in 0..w {
                let value = &mut out.a[to * w + column];
                *value = (*value).max(wide[row * w + column]);
            }
        }
    }
    out
}

/// Moves a patch of the same picture to another place, or turns it in place.
pub fn cut_paste(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let at = desk.place(dice);
    let size = desk.diameter(5.0, 0.4, dice);
    let Some(stencil) = shapes::random_shape(dice, desk.side(), at.0, at.1, size) else {
        return 0;
    };
    let in_place = dice.chance(0.25);
    let from = if in_place { at } else { desk.place(dice) };
    let turn = if in_place {
        *dice.pick(&[
            std::f32::consts::PI,
            std::f32::consts::FRAC_PI_2,
            -std::f32::consts::FRAC_PI_2,
            0.6,
        ])
    } else if dice.chance(0.5) {
        0.0
    } else {
        dice.range(0.0, std::f32::consts::TAU)
    };
    let (sin, cos) = turn.sin_cos();
    let gain = if dice.chance(0.5) { [1.0; 3] } else { [0; 3].map(|_| dice.range(0.75, 1.25)) };
    let source = desk.changed.clone();
    stencil.blend(desk.changed, |x, y, _| {
        let (dx, dy) = (x - at.0, y - at.1);
        let mut colour = source.sample(from.0 + cos * dx - sin * dy, from.1 + sin * dx + cos * dy);
        for c in 0..3 {
            colour[c] *= gain[c];
        }
        colour
    });
    desk.settle(&stencil)
}

/// Breaks a piece off the part: the ground shows where it was.
pub fn missing(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let side = desk.side();
    let at = desk.place(dice);
    let size = desk.diameter(6.0, 0.5, dice);
    let (Some(ground), Some(subject)) = (desk.base.backdrop.as_ref(), desk.base.subject.as_ref())
    else {
        return broken(desk, dice);
    };
    let Some(shape) = shapes::random_shape(dice, side, at.0, at.1, size) else {
        return 0;
    };
    let piece = shape.times(|x, y| subject[y as usize * side + x as usize] as f32 / 255.0);
    piece.blend(desk.changed, |x, y, _| ground.at(x as usize, y as usize).map(f32::from));
    desk.settle(&piece)
}

/// Breaks a piece off an outlined thing of a picture, where nobody knows the ground behind it.
fn broken(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let Some(thing) = own_thing(desk, dice) else {
        return 0;
    };
    let thing = dilate(&thing, desk.side(), HALO);
    // A piece with a place of the rim in its middle: what breaks off breaks off the edge.
    let rim = thing.rim();
    if rim.is_empty() {
        return 0;
    }
    let (x, y) = *dice.pick(&rim);
    let size = thing.extent() * dice.range(0.3, 0.7);
    let Some(shape) = shapes::random_shape(dice, desk.side(), x as f32, y as f32, size) else {
        return 0;
    };
    let piece = shape.times(|x, y| f32::from(thing.at(x as usize, y as usize)) / 255.0);
    if piece.area() == 0 || !fill::break_off(desk.changed, &piece, &thing, dice) {
        return 0;
    }
    desk.settle(&piece)
}
