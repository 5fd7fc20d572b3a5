//! Changes of what is already there: stains, blur, deformation, colour, erasure.

use super::super::dice::{Dice, Grain};
use super::super::fill;
use super::super::noise::Perlin;
use super::super::shapes;
use super::Desk;

/// A soft, uneven blotch that multiplies what is below it.
pub fn stain(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let at = desk.place(dice);
    let size = desk.diameter(8.0, 0.4, dice);
    let feather = (size * dice.range(0.08, 0.5)).max(1.0);
    let Some(stencil) = shapes::blob(dice, desk.side(), at, size, feather) else {
        return 0;
    };
    let noise = Perlin::new(dice.bits());
    let cell = (0.35 * size).max(3.0);
    let uneven = dice.range(0.0, 0.6);
    let stencil = stencil
        .times(|x, y| 1.0 - uneven * (0.5 + noise.rough(x / cell, y / cell)).clamp(0.0, 1.0));
    let bright = desk.brightness(at, 0.25 * size);
    // A multiplier must be strong on dark ground to be seen at all.
    let depth = dice.range(0.15, 0.6) * if bright < 70.0 { 1.6 } else { 1.0 };
    let darker = dice.chance(if bright < 70.0 { 0.2 } else { 0.75 });
    let tint = [0; 3].map(|_| dice.range(0.6, 1.2));
    let lift = if darker { 0.0 } else { dice.range(5.0, 30.0) };
    stencil.blend(desk.changed, |_, _, old| {
        let mut new = old;
        for c in 0..3 {
            let factor = if darker { 1.0 - depth * tint[c] } else { 1.0 + depth * tint[c] };
            new[c] = old[c] * factor.max(0.1) + lift;
        }
        new
    });
    desk.settle(&stencil)
}

/// Locally out of focus (or smeared along one direction).
pub fn blur(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let at = desk.place(dice);
    let size = desk.diameter(14.0, 0.4, dice);
    let Some(stencil) = shapes::random_shape(dice, desk.side(), at.0, at.1, size) else {
        return 0;
    };
    let reach = desk.scaled(dice.range(2.5, 7.0)).max(1.5);
    let smear = dice.chance(0.4);
    let (sin, cos) = dice.range(0.0, std::f32::consts::PI).sin_cos();
    let source = desk.changed.clone();
    stencil.blend(desk.changed, |x, y, _| {
        let mut sum = [0.0; 3];
        for k in 0..12 {
            let (dx, dy) = if smear {
                let t = (k as f32 / 11.0 - 0.5) * 3.0 * reach;
                (t * cos, t * sin)
            } else {
                // A sunflower disc: even coverage with few samples.
                let (radius, angle) =
                    (reach * ((k as f32 + 0.5) / 12.0).sqrt(), k as f32 * 2.399_963);
                (radius * angle.cos(), radius * angle.sin())
            };
            let s = source.sample(x + dx, y + dy);
            for c in 0..3 {
                sum[c] += s[c] / 12.0;
            }
        }
        sum
    });
    desk.settle(&stencil)
}

/// Pushes or twists the inside of a disc.
pub fn deformation(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let at = desk.place(dice);
    let radius = 0.5 * desk.diameter(16.0, 0.4, dice);
    let Some(stencil) = shapes::disc(desk.side(), at, radius, 1.0) else {
        return 0;
    };
    let twist = dice.sign() * dice.range(0.5, 1.6) * f32::from(u8::from(dice.chance(0.4)));
    let push = radius * dice.range(0.25, 0.5);
    let (sin, cos) = dice.range(0.0, std::f32::consts::TAU).sin_cos();
    let source = desk.changed.clone();
    stencil.blend(desk.changed, |x, y, _| {
        let (dx, dy) = (x - at.0, y - at.1);
        let away = 1.0 - (dx * dx + dy * dy) / (radius * radius);
        let weight = away.max(0.0) * away.max(0.0);
        if twist.abs() > 0.0 {
            let (s, c) = (twist * weight).sin_cos();
            source.sample(at.0 + c * dx - s * dy, at.1 + s * dx + c * dy)
        } else {
            source.sample(x - push * weight * cos, y - push * weight * sin)
        }
    });
    desk.settle(&stencil)
}

/// Another brightness, tint or saturation inside a shape.
pub fn colour(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let at = desk.place(dice);
    let size = desk.diameter(8.0, 0.4, dice);
    let mut shape = None;
    if !desk.base.outlines.is_empty() && dice.chance(0.4) {
        let outline = dice.pick(&desk.base.outlines).clone();
        shape = shapes::polygon(desk.side(), &[outline]);
    }
    let side = desk.side();
    let Some(stencil) = shape.or_else(|| shapes::random_shape(dice, side, at.0, at.1, size)) else {
        return 0;
    };
    if stencil.area() * 5 > 2 * desk.size * desk.size {
        return 0;
    }
    let shift = desk.contrast(stencil.centre(), 14.0, 60.0, dice);
    let style = dice.below(4);
    let tint = [0; 3].map(|_| dice.around(60.0));
    let gain = if shift > 0.0 { 1.0 + shift / 90.0 } else { 1.0 / (1.0 - shift / 90.0) };
    stencil.blend(desk.changed, |_, _, old| {
        let grey = (old[0] + old[1] + old[2]) / 3.0;
        let mut new = old;
        for c in 0..3 {
            new[c] = match style {
                0 => old[c] * gain + 0.2 * shift,
                1 => old[c] + shift + 0.3 * tint[c],
                2 => old[c] + tint[c],
                // Channels turned: another hue of the same lightness.
                _ => 0.3 * grey + 0.7 * old[(c + 1) % 3] + 0.4 * tint[c],
            };
        }
        new
    });
    desk.settle(&stencil)
}

/// Wipes structure out: a plain patch of the surrounding colour, or one other flat colour.
pub fn erasure(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let at = desk.place(dice);
    let size = desk.diameter(5.0, 0.35, dice);
    let Some(stencil) = shapes::random_shape(dice, desk.side(), at.0, at.1, size) else {
        return 0;
    };
    if dice.chance(0.6) {
        fill::wipe(desk.changed, &stencil, dice);
    } else {
        let mut colour = dice.colour(5.0, 250.0, 20.0);
        if dice.chance(0.4) {
            // A hole: what is behind is dark and smooth.
            colour = dice.colour(0.0, 40.0, 6.0);
        }
        let mut grain = Grain::new(dice.bits());
        let rough = dice.range(0.0, 4.0);
        stencil.blend(desk.changed, |_, _, _| {
            let n = rough * grain.bell();
            colour.map(|v| v + n)
        });
    }
    desk.settle(&stencil)
}
