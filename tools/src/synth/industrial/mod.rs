//! Drawn industrial parts, made without any data: circuit boards, machined metal, surfaces, printed
//! labels, and cut-out things on a plain ground.

mod bench;
mod board;
mod label;
mod metal;
mod weave;

use super::base::Base;
use super::dice::Dice;
use super::library::Library;
use super::noise::Perlin;
use super::pair::SynthConfig;
use super::raster::Rgb;
use super::shapes::Stencil;

/// Draws a part of any kind into a base of `side` pixels.
pub fn draw(library: &Library, config: &SynthConfig, side: usize, dice: &mut Dice) -> Base {
    match dice.weighted(&[0.32, 0.2, 0.12, 0.06, 0.1, 0.2]) {
        0 => board::board(side, dice),
        1 => metal::metal(config.other_grain_share, side, dice),
        2 => weave::weave(config.other_grain_share, side, dice),
        3 => weave::cast(config.other_place_share, side, dice),
        4 => label::label(side, dice),
        _ => bench::bench(library, side, dice),
    }
}

/// Sets coverage `value` wherever the stencil covers more.
fn stamp(map: &mut [u8], side: usize, stencil: Option<Stencil>, erase: bool) {
    let Some(stencil) = stencil else { return };
    for row in 0..stencil.h {
        let start = (stencil.y + row) * side + stencil.x;
        for (to, a) in map[start..start + stencil.w].iter_mut().zip(&stencil.a[row * stencil.w..]) {
            *to = if erase { (*to).min(255 - a) } else { (*to).max(*a) };
        }
    }
}

/// A plain ground with a gradient, perhaps faintly mottled.
fn ground(side: usize, dice: &mut Dice) -> Rgb {
    let colour = match dice.below(3) {
        0 => dice.colour(5.0, 60.0, 8.0),
        1 => dice.colour(170.0, 250.0, 8.0),
        _ => dice.colour(40.0, 220.0, 30.0),
    };
    let slope = (dice.around(18.0), dice.around(18.0));
    let mottle = if dice.chance(0.5) { dice.range(1.0, 7.0) } else { 0.0 };
    let (noise, cell) = (Perlin::new(dice.bits()), dice.log_range(2.0, 0.2 * side as f32));
    let mut out = Rgb::plain(side, side, [0; 3]);
    for y in 0..side {
        for x in 0..side {
            let (fx, fy) = (x as f32, y as f32);
            let mut lift = slope.0 * (fx / side as f32 - 0.5) + slope.1 * (fy / side as f32 - 0.5);
            if mottle > 0.0 {
                lift += mottle * noise.at(fx / cell, fy / cell);
            }
            out.set(x, y, colour.map(|v| (v + lift).clamp(0.0, 255.0)));
        }
    }
    out
}
