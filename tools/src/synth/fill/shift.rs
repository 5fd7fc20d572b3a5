//! One shifted copy of the same picture over a hole.

use super::super::dice::Dice;
use super::super::raster::Rgb;
use super::super::shapes::Stencil;

/// Places tried.
const CANDIDATES: usize = 10;
/// Pixels of the rim that are compared with each place, about.
const RIM_SAMPLES: usize = 120;
/// How many levels the copy may be brightened or darkened to meet the rim.
const CORRECTION_MAX: f32 = 25.0;
/// Distance of the rim from the stencil, in pixels.
const RIM: usize = 2;

/// Where to copy from, and what to add to it.
struct Shift {
    dx: f32,
    dy: f32,
    correction: [f32; 3],
}

/// Lays the copy that agrees best with the rim; false, and nothing done, when none lies inside.
pub fn fill(picture: &mut Rgb, stencil: &Stencil, dice: &mut Dice) -> bool {
    let Some(Shift { dx, dy, correction }) = best_shift(picture, stencil, dice) else {
        return false;
    };
    let source = picture.clone();
    stencil.blend(picture, |x, y, _| {
        let from = source.sample(x + dx, y + dy);
        std::array::from_fn(|c| from[c] + correction[c])
    });
    true
}

/// The rim of the stencil's box and of the shape: uncovered pixels next to covered ones.
fn rim(stencil: &Stencil, side: usize) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let reach = RIM as isize;
    let (x0, y0) = (stencil.x.saturating_sub(RIM), stencil.y.saturating_sub(RIM));
    for y in y0..(stencil.y + stencil.h + RIM).min(side) {
        for x in x0..(stencil.x + stencil.w + RIM).min(side) {
            let near = [(reach, 0), (0, reach), (-reach, 0), (0, -reach)].iter().any(|(dx, dy)| {
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

/// The shift whose source agrees best with the rim.
fn best_shift(picture: &Rgb, stencil: &Stencil, dice: &mut Dice) -> Option<Shift> {
    let rim = rim(stencil, picture.w);
    if rim.is_empty() {
        return None;
    }
    let extent = stencil.extent() + RIM as f32;
    let mut best: Option<(f32, Shift)> = None;
    for _ in 0..CANDIDATES {
        let angle = dice.range(0.0, std::f32::consts::TAU);
        let reach = extent * dice.range(0.9, 1.8);
        let (dx, dy) = ((reach * angle.cos()).round(), (reach * angle.sin()).round());
        let fits = |low: usize, length: usize, d: f32, end: usize| {
            low as f32 + d >= RIM as f32 && (low + length) as f32 + d <= (end - RIM) as f32
        };
        if !fits(stencil.x, stencil.w, dx, picture.w) || !fits(stencil.y, stencil.h, dy, picture.h)
        {
            continue;
        }
        let (mut offset, mut spread) = ([0.0_f32; 3], 0.0);
        let mut count = 0.0;
        for (x, y) in rim.iter().step_by(1 + rim.len() / RIM_SAMPLES) {
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
            let correction = offset.map(|o| (o / count).clamp(-CORRECTION_MAX, CORRECTION_MAX));
            best = Some((cost, Shift { dx, dy, correction }));
        }
    }
    best.map(|(_, shift)| shift)
}
