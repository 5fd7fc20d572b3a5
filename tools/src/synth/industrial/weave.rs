//! Surfaces: weaves, wire grids, fields of holes, stripes, and plain grain.

use super::super::base::{Base, BaseKind, Twin};
use super::super::dice::{Dice, Grain};
use super::super::noise::Perlin;
use super::super::raster::{Rgb, blend};

/// A weave, wire grid, or field of holes or dots; `twins` is the share with another piece as prompt.
pub fn weave(twins: f32, side: usize, dice: &mut Dice) -> Base {
    let s = side as f32;
    let pitch = dice.log_range(5.0_f32.max(0.02 * s), 0.16 * s);
    let squeeze = dice.range(0.7, 1.4);
    let (sin, cos) = if dice.chance(0.5) { (0.0, 1.0) } else { dice.around(0.8).sin_cos() };
    let style = dice.below(4);
    let fill = dice.range(0.25, 0.6);
    let (warp, weft, gap) = (
        dice.colour(60.0, 240.0, 25.0),
        dice.colour(60.0, 240.0, 25.0),
        dice.colour(0.0, 90.0, 15.0),
    );
    let rough = dice.range(2.0, 14.0);
    let sway = dice.range(0.0, 0.15) * pitch;
    let field = Perlin::new(dice.bits());
    let render = |grain: u64| {
        let mut source = Grain::new(grain);
        let mut out = Rgb::plain(side, side, [0; 3]);
        for y in 0..side {
            let mut drift = 0.0;
            for x in 0..side {
                let (fx, fy) = (x as f32, y as f32);
                if x % 4 == 0 {
                    drift = sway * field.at(fx / (4.0 * pitch), fy / (4.0 * pitch));
                }
                let u = (cos * fx + sin * fy + drift) / pitch + 64.0;
                let v = (cos * fy - sin * fx + drift) / (pitch * squeeze) + 64.0;
                let (a, b) = ((u.fract() - 0.5) * 2.0, (v.fract() - 0.5) * 2.0);
                let even = ((u as i32) + (v as i32)) % 2 == 0;
                let colour = match style {
                    // Plain weave: the upper thread alternates and is round.
                    0 => {
                        let (t, c) = if even { (a, warp) } else { (b, weft) };
                        c.map(|l| l * (1.0 - 0.55 * t * t))
                    }
                    // Wires over a ground.
                    1 => {
                        let near = a.abs().min(b.abs());
                        let t = ((fill * 0.6 - near) * 0.5 * pitch + 0.5).clamp(0.0, 1.0);
                        blend(gap, warp, t)
                    }
                    // Holes.
                    2 => {
                        let t = ((a.hypot(b) - fill * 1.4) * 0.5 * pitch + 0.5).clamp(0.0, 1.0);
                        blend(gap, warp, t)
                    }
                    // Stripes with a soft profile.
                    _ => {
                        let t = 0.5 + 0.5 * (a * std::f32::consts::PI).cos();
                        blend(gap, weft, t)
                    }
                };
                let n = rough * source.bell();
                out.set(x, y, colour.map(|l| (l + n).clamp(0.0, 255.0)));
            }
        }
        out
    };
    let (grain, other) = (dice.bits(), dice.bits());
    let twin = dice.chance(twins).then(|| Twin::Instance(render(other)));
    Base { twin, ..Base::bare(render(grain), BaseKind::Weave) }
}

/// A grainy surface without any pattern: cast metal, carbon, leather, paper. The prompt shows
/// another place of it twice as often as for pictured surfaces (`twins`).
pub fn cast(twins: f32, side: usize, dice: &mut Dice) -> Base {
    const LAYERS: usize = 4;
    let colour = dice.colour(50.0, 215.0, 25.0);
    let tint = [0; 3].map(|_| dice.range(0.85, 1.15));
    let stretch = if dice.chance(0.6) { 1.0 } else { dice.range(2.0, 6.0) };
    let turned = dice.chance(0.5);
    // Cell sizes in pixels with the strength of each.
    let layers: [(f32, f32); LAYERS] = [
        (1.0, dice.range(0.0, 14.0)),
        (dice.range(1.6, 3.0), dice.range(2.0, 22.0)),
        (dice.range(4.0, 9.0), dice.range(0.0, 14.0)),
        (dice.range(20.0, 60.0), dice.range(0.0, 14.0)),
    ];
    let (here, there) = (dice.bits(), dice.bits());
    let render = |seed: u64| {
        let mut grain = Grain::new(seed);
        let mut lift = vec![0.0_f32; side * side];
        for (cell, strength) in layers {
            let (across, along) =
                if turned { (cell, cell * stretch) } else { (cell * stretch, cell) };
            add_grain(&mut lift, side, (across, along), strength, &mut grain);
        }
        let mut out = Rgb::plain(side, side, [0; 3]);
        for (i, lift) in lift.iter().enumerate() {
            let level = |c: usize| (colour[c] + lift * tint[c]).clamp(0.0, 255.0);
            out.set(i % side, i / side, [level(0), level(1), level(2)]);
        }
        out
    };
    let twin = dice.chance(2.0 * twins).then(|| Twin::Crop(render(there)));
    Base { twin, ..Base::bare(render(here), BaseKind::Cast) }
}

/// Adds smooth random values with cells of the given size to a field.
fn add_grain(lift: &mut [f32], side: usize, cell: (f32, f32), strength: f32, grain: &mut Grain) {
    let columns = (side as f32 / cell.0) as usize + 2;
    let rows = (side as f32 / cell.1) as usize + 2;
    let values: Vec<f32> = (0..columns * rows).map(|_| strength * grain.bell()).collect();
    for (y, line) in lift.chunks_exact_mut(side).enumerate() {
        let v = y as f32 / cell.1;
        let (row, t) = (v as usize, v.fract());
        let (above, below) = (&values[row * columns..], &values[(row + 1) * columns..]);
        for (x, value) in line.iter_mut().enumerate() {
            let u = x as f32 / cell.0;
            let (column, s) = (u as usize, u.fract());
            let left = above[column] + t * (below[column] - above[column]);
            let right = above[column + 1] + t * (below[column + 1] - above[column + 1]);
            *value += left + s * (right - left);
        }
    }
}
