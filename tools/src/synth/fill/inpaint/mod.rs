//! Fills a hole with patches of its surroundings, so that textures and edges go on through it.
//!
//! Coarse to fine: at the coarsest resolution, where a patch spans most of the hole, every patch
//! that touches the hole finds the known patch that is nearest to it, and all of them together
//! vote for the hole's pixels; this repeats a few times. Every finer resolution starts from the
//! places the coarser one found and improves them by propagation and random search.

mod field;
mod level;

use super::super::dice::{Dice, Grain};
use super::super::raster::Rgb;
use super::super::shapes::Stencil;
use super::membrane::pull_push;
use field::{Field, Votes};
use level::{CHANNELS, Level, Window};

/// How far around the hole patches are taken from: this share of its extent, within
/// [`REACH_MIN`] and [`REACH_MAX`] pixels.
const REACH_SHARE: f32 = 0.75;
/// See [`REACH_SHARE`].
const REACH_MIN: f32 = 24.0;
/// See [`REACH_SHARE`].
const REACH_MAX: f32 = 72.0;
/// Fewer sources than this have nothing to say.
const SOURCES_MIN: usize = 24;
/// A hole this deep is small beside a patch: it needs no coarser level.
const DEPTH_COARSEST: u16 = 3;
/// Halvings at most; each takes a quarter of the time of the one before.
const LEVELS_MAX: usize = 5;
/// Comparisons up to which all sources are tried for all targets.
const EXHAUSTIVE_MAX: usize = 60_000;
/// Rounds of matching and voting at the coarsest level; sources are tried exhaustively in the first
/// few, while the hole still changes much.
const ROUNDS_COARSEST: usize = 8;
/// See [`ROUNDS_COARSEST`].
const ROUNDS_EXHAUSTIVE: usize = 3;
/// Rounds at a level in between, and at the finest one.
const ROUNDS_BETWEEN: usize = 3;
/// See [`ROUNDS_BETWEEN`].
const ROUNDS_FINEST: usize = 2;
/// From this many targets on one round must do at the finest level: a large hole is seldom, but
/// must not hold up a whole batch.
const TARGETS_MANY: usize = 6_000;
/// Reach of the random search where a coarser level has already looked everywhere, in pixels.
const SEARCH_REFINED: f32 = 16.0;
/// Width of the votes while structure forms, in usual differences.
const WIDTH_FORMING: f32 = 0.7;
/// Width of the last votes: narrow, for sharp pixels.
const WIDTH_LAST: f32 = 0.3;
/// How many levels the fill is brightened or darkened at most to meet the rim. A larger gap is an edge
/// that does not go on, and spreading it would leave a cloud.
const CORRECTION_MAX: f32 = 16.0;

/// Colours for the stencil's box (those outside the stencil mean nothing), or `None` when there is
/// too little around it to copy from. `avoid` is what is known but must not be copied: the rest of
/// a thing whose part is missing.
pub fn inpaint(
    picture: &Rgb,
    stencil: &Stencil,
    avoid: Option<&Stencil>,
    dice: &mut Dice,
) -> Option<Vec<[f32; 3]>> {
    let reach = (REACH_SHARE * stencil.extent()).clamp(REACH_MIN, REACH_MAX) as usize;
    let window = Window::around(stencil, reach, picture);
    let mut levels = vec![Level::of(picture, window, stencil, avoid)];
    if levels[0].sources.len() < SOURCES_MIN || levels[0].targets.is_empty() {
        return None;
    }
    while let Some(last) = levels.last()
        && levels.len() < LEVELS_MAX
        && last.depth.iter().any(|d| *d > DEPTH_COARSEST)
    {
        let coarser = last.halved();
        if coarser.sources.len() < SOURCES_MIN {
            break;
        }
        levels.push(coarser);
    }
    let grain = &mut Grain::new(dice.bits());
    let mut above: Option<(Level, Field)> = None;
    while let Some(level) = levels.pop() {
        let rounds = match (&above, levels.is_empty()) {
            (None, _) => ROUNDS_COARSEST,
            (Some(_), false) => ROUNDS_BETWEEN,
            (Some(_), true) if level.targets.len() > TARGETS_MANY => 1,
            (Some(_), true) => ROUNDS_FINEST,
        };
        above = Some(solve(level, above, rounds, grain));
    }
    let (finest, field) = above?;
    let votes = field.vote(&finest, WIDTH_LAST);
    Some(meet_rim(&finest, &votes, window, stencil))
}

/// Fills one level, from the coarser one or from nothing.
fn solve(
    mut level: Level,
    above: Option<(Level, Field)>,
    rounds: usize,
    grain: &mut Grain,
) -> (Level, Field) {
    let all = level.targets.len() * level.sources.len() <= EXHAUSTIVE_MAX;
    let mut field = match &above {
        Some((coarse, field)) => {
            // The coarser places name the pixels; the hole's own are still the removed thing's.
            let field = Field::refined(&level, coarse, field, grain);
            field.vote(&level, f32::INFINITY).settle(&mut level);
            field
        }
        None => {
            level.smooth();
            Field::random(&level, grain)
        }
    };
    let whole = level.w.max(level.h) as f32;
    let reach = if above.is_some() { whole.min(SEARCH_REFINED) } else { whole };
    for round in 0..rounds {
        field.compare(&level);
        if all && above.is_none() && round < ROUNDS_EXHAUSTIVE {
            field.exhaust(&level);
        } else {
            field.improve(&level, reach, round % 2 == 0, grain);
        }
        if round + 1 < rounds {
            field.vote(&level, WIDTH_FORMING).settle(&mut level);
        }
    }
    (level, field)
}

/// The votes, shifted smoothly so that they meet what is known around the hole: a patch from
/// a brighter place would otherwise leave a seam.
fn meet_rim(level: &Level, votes: &Votes, window: Window, stencil: &Stencil) -> Vec<[f32; 3]> {
    let mut gaps: Vec<[f32; 4]> = (0..level.w * level.h)
        .map(|i| {
            let told = votes.at(i).filter(|_| !level.hole[i]);
            let gap = |c: usize| told.map(|t| f32::from(level.px[i * CHANNELS + c]) - t[c]);
            match (gap(0), gap(1), gap(2)) {
                (Some(r), Some(g), Some(b))
                    if [r, g, b].iter().all(|v| v.abs() <= CORRECTION_MAX) =>
                {
                    [r, g, b, 1.0]
                }
                _ => [0.0; 4],
            }
        })
        .collect();
    pull_push(&mut gaps, level.w, level.h);
    (0..stencil.w * stencil.h)
        .map(|i| {
            let (x, y) = (stencil.x + i % stencil.w, stencil.y + i / stencil.w);
            let at = (y - window.y) * level.w + x - window.x;
            let told = votes.at(at).unwrap_or([0.0; 4]);
            std::array::from_fn(|c| told[c] + gaps[at][c])
        })
        .collect()
}

#[cfg(test)]
mod tests;
