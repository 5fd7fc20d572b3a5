//! Changes of what is already there: stains, blur, deformation, colour, erasure.

use super::super::dice::{Dice, Grain};
use super::super::noise::Perlin;
use super::super::raster::Rgb;
use super::super::shapes::{self, Stencil};
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
        fill(desk.changed, &stencil, dice);
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

/// Fills a stencil with what its surroundings suggest: a shifted patch of the same picture when one
/// fits, else a smooth membrane with grain.
pub fn fill(picture: &mut Rgb, stencil: &Stencil, dice: &mut Dice) {
    let patch = if dice.chance(0.7) { best_shift(picture, stencil, dice) } else { None };
    if let Some((dx, dy, correction)) = patch {
        let source = picture.clone();
        stencil.blend(picture, |x, y, _| {
            let from = source.sample(x + dx, y + dy);
            [from[0] + correction[0], from[1] + correction[1], from[2] + correction[2]]
        });
        return;
    }
    let smooth = membrane(picture, stencil);
    let mut grain = Grain::new(dice.bits());
    let rough = dice.range(0.5, 3.5);
    stencil.blend(picture, |x, y, _| {
        let n = rough * grain.bell();
        smooth[(y as usize - stencil.y) * stencil.w + x as usize - stencil.x].map(|v| v + n)
    });
}

/// The rim of the stencil's box and of the shape: uncovered pixels next to covered ones.
fn rim(stencil: &Stencil, side: usize) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let (x0, y0) = (stencil.x.saturating_sub(2), stencil.y.saturating_sub(2));
    for y in y0..(stencil.y + stencil.h + 2).min(side) {
        for x in x0..(stencil.x + stencil.w + 2).min(side) {
            let near =
                [(2, 0), (0, 2), (-2, 0), (0, -2)].iter().any(|(dx, dy): &(isize, isize)| {
                    let (nx, ny) = (x.checked_add_signed(*dx), y.checked_add_signed(*dy));
                    nx.zip(ny).is_some_and(|(nx, ny)| stencil.at(nx, ny) > 0)
                });
            if stencil.at(x, y) == 0 && near {
                found.push((x, y));
            }
        }
    }
    found
}

/// Where to copy from, and what to add to it: `(dx, dy, colour correction)`.
type Shift = (f32, f32, [f32; 3]);

/// The shift whose source agrees best with the rim.
fn best_shift(picture: &Rgb, stencil: &Stencil, dice: &mut Dice) -> Option<Shift> {
    const CANDIDATES: usize = 10;
    let rim = rim(stencil, picture.w);
    if rim.is_empty() {
        return None;
    }
    let extent = stencil.extent() + 2.0;
    let mut best: Option<(f32, Shift)> = None;
    for _ in 0..CANDIDATES {
        let angle = dice.range(0.0, std::f32::consts::TAU);
        let reach = extent * dice.range(0.9, 1.8);
        let (dx, dy) = ((reach * angle.cos()).round(), (reach * angle.sin()).round());
        let fits = |low: usize, length: usize, d: f32, end: usize| {
            low as f32 + d >= 2.0 && (low + length) as f32 + d <= end as f32 - 2.0
        };
        if !fits(stencil.x, stencil.w, dx, picture.w) || !fits(stencil.y, stencil.h, dy, picture.h)
        {
            continue;
        }
        let (mut offset, mut spread) = ([0.0_f32; 3], 0.0);
        let pairs = rim.iter().step_by(1 + rim.len() / 120);
        let mut count = 0.0;
        for (x, y) in pairs {
            let from = picture.sample(*x as f32 + dx, *y as f32 + dy);
            let here = picture.at(*x, *y);
            for c in 0..3 {
                offset[c] += here[c] as f32 - from[c];
                spread += (here[c] as f32 - from[c]).abs();
            }
            count += 1.0;
        }
        let cost = spread / count;
        if best.as_ref().is_none_or(|b| cost < b.0) {
            best = Some((cost, (dx, dy, offset.map(|o| (o / count).clamp(-25.0, 25.0)))));
        }
    }
    best.map(|(_, shift)| shift)
}

/// A smooth surface over the stencil's box that meets the uncovered pixels (pull-push).
fn membrane(picture: &Rgb, stencil: &Stencil) -> Vec<[f32; 3]> {
    let known = (0..stencil.w * stencil.h).map(|i| {
        let (x, y) = (stencil.x + i % stencil.w, stencil.y + i / stencil.w);
        let p = picture.at(x, y).map(f32::from);
        let inside = stencil.a[i] > 0;
        if inside { [0.0; 4] } else { [p[0], p[1], p[2], 1.0] }
    });
    let mut cells: Vec<[f32; 4]> = known.collect();
    if cells.iter().all(|c| c[3] <= 0.0) {
        let mean = picture.mean(
            stencil.x.saturating_sub(2),
            stencil.y.saturating_sub(2),
            stencil.w + 4,
            stencil.h + 4,
        );
        return vec![mean; cells.len()];
    }
    pull_push(&mut cells, stencil.w, stencil.h);
    cells.iter().map(|c| [c[0], c[1], c[2]]).collect()
}

/// Fills cells of weight 0 from a coarser version of the whole.
fn pull_push(cells: &mut [[f32; 4]], w: usize, h: usize) {
    if w * h <= 1 || cells.iter().all(|c| c[3] > 0.0) {
        return;
    }
    let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
    let mut coarse = vec![[0.0_f32; 4]; cw * ch];
    for (i, cell) in cells.iter().enumerate().filter(|(_, c)| c[3] > 0.0) {
        let to = &mut coarse[(i / w / 2) * cw + (i % w) / 2];
        for c in 0..3 {
            to[c] += cell[c];
        }
        to[3] += 1.0;
    }
    for cell in coarse.iter_mut().filter(|c| c[3] > 0.0) {
        *cell = [cell[0] / cell[3], cell[1] / cell[3], cell[2] / cell[3], 1.0];
    }
    pull_push(&mut coarse, cw, ch);
    for (i, cell) in cells.iter_mut().enumerate() {
        if cell[3] > 0.0 {
            continue;
        }
        // Between coarse cell centres, linearly.
        let (fx, fy) = ((i % w) as f32 * 0.5 - 0.25, (i / w) as f32 * 0.5 - 0.25);
        let (x0, y0) = (fx.max(0.0) as usize, fy.max(0.0) as usize);
        let (x1, y1) = ((x0 + 1).min(cw - 1), (y0 + 1).min(ch - 1));
        let (tx, ty) = ((fx - x0 as f32).max(0.0), (fy - y0 as f32).max(0.0));
        for c in 0..3 {
            let top = coarse[y0 * cw + x0][c] * (1.0 - tx) + coarse[y0 * cw + x1][c] * tx;
            let bottom = coarse[y1 * cw + x0][c] * (1.0 - tx) + coarse[y1 * cw + x1][c] * tx;
            cell[c] = top * (1.0 - ty) + bottom * ty;
        }
        cell[3] = 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membrane_continues_a_ramp() {
        let mut ramp = Rgb::plain(40, 40, [0; 3]);
        for y in 0..40 {
            for x in 0..40 {
                ramp.set(x, y, [(x * 5) as f32; 3]);
            }
        }
        let stencil = shapes::disc(40, (20.0, 20.0), 6.0, 1.0).expect("inside");
        let wide = Stencil { a: stencil.a.clone(), ..stencil };
        let smooth = membrane(&ramp, &wide);
        for (i, colour) in smooth.iter().enumerate() {
            let want = ((wide.x + i % wide.w) * 5) as f32;
            assert!((colour[0] - want).abs() < 20.0, "{} against {want}", colour[0]);
        }
    }
}
