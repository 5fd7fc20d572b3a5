//! Which patch fills which: the nearest-neighbour field, found by propagation and random search,
//! and what its patches make of the hole together.

use super::super::super::dice::Grain;
use super::super::super::raster::{byte, floor};
use super::level::{CHANNELS, Level, PATCH};

/// No patch at this corner is to be filled.
const NOT_A_TARGET: u32 = u32::MAX;
/// How much smaller each square of the random search is than the one before.
const SEARCH_SHRINK: f32 = 0.4;
/// A patch deeper in the hole has this share of the say of one a step nearer to the rim: what is
/// known decides what is not.
const TRUST_PER_STEP: f32 = 0.8;
/// Steps after which the say falls no further.
const TRUST_STEPS_MAX: u16 = 24;
/// The quantile of the differences that counts as a usual difference.
const USUAL_QUANTILE: f32 = 0.75;

/// For every target its source.
pub struct Field {
    /// Corner of the source, by the target's corner.
    source: Vec<u32>,
    /// Its difference.
    difference: Vec<u32>,
}

impl Field {
    /// Any sources.
    pub fn random(level: &Level, grain: &mut Grain) -> Field {
        let mut field = Field::empty(level);
        for target in &level.targets {
            field.source[*target as usize] = level.sources[grain.below(level.sources.len())];
        }
        field
    }

    /// The field of the next coarser level, as the start for this one. Its differences are not
    /// measured yet.
    pub fn refined(level: &Level, coarse: &Level, field: &Field, grain: &mut Grain) -> Field {
        let mut fine = Field::empty(level);
        for target in level.targets.iter().map(|t| *t as usize) {
            let (x, y) = (target % level.w, target / level.w);
            // The last corners of an odd side have their own corner in the coarser level cut off.
            let cx = (x / 2).min(coarse.w - PATCH);
            let cy = (y / 2).min(coarse.h - PATCH);
            let told = field.source[cy * coarse.w + cx];
            let mut source = None;
            if told != NOT_A_TARGET {
                let (sx, sy) = (told as usize % coarse.w, told as usize / coarse.w);
                let (sx, sy) = (2 * sx + x - 2 * cx, 2 * sy + y - 2 * cy);
                source = Some(sy * level.w + sx)
                    .filter(|s| sx < level.w && level.usable.get(*s) == Some(&true));
            }
            let any = || level.sources[grain.below(level.sources.len())] as usize;
            fine.source[target] = source.unwrap_or_else(any) as u32;
        }
        fine
    }

    fn empty(level: &Level) -> Field {
        let count = level.w * level.h;
        Field { source: vec![NOT_A_TARGET; count], difference: vec![u32::MAX; count] }
    }

    /// Measures the differences anew: the hole has changed.
    pub fn compare(&mut self, level: &Level) {
        for target in level.targets.iter().map(|t| *t as usize) {
            let source = self.source[target] as usize;
            self.difference[target] = level.difference(target, source, u32::MAX);
        }
    }

    /// The best source of every target, by trying all.
    pub fn exhaust(&mut self, level: &Level) {
        for target in level.targets.iter().map(|t| *t as usize) {
            for source in &level.sources {
                self.offer(level, target, *source as usize);
            }
        }
    }

    fn offer(&mut self, level: &Level, target: usize, source: usize) {
        let limit = self.difference[target];
        let difference = level.difference(target, source, limit);
        if difference < limit {
            self.difference[target] = difference;
            self.source[target] = source as u32;
        }
    }

    /// One pass over the targets, forwards or backwards: each is offered what continues its
    /// neighbours' sources, then some random places around its own, `reach` pixels away at most.
    pub fn improve(&mut self, level: &Level, reach: f32, forwards: bool, grain: &mut Grain) {
        let count = level.targets.len();
        for k in 0..count {
            let at = if forwards { k } else { count - 1 - k };
            let target = level.targets[at] as usize;
            for step in [1, level.w] {
                let (neighbour, ahead) = if forwards {
                    (target.checked_sub(step), step as isize)
                } else {
                    (Some(target + step), -(step as isize))
                };
                let told = neighbour.and_then(|n| self.source.get(n).copied());
                let Some(told) = told.filter(|t| *t != NOT_A_TARGET) else { continue };
                let Some(source) = (told as usize).checked_add_signed(ahead) else { continue };
                if level.usable.get(source) == Some(&true) {
                    self.offer(level, target, source);
                }
            }
            self.search(level, target, reach, grain);
        }
    }

    /// Random places in squares that shrink around the source.
    fn search(&mut self, level: &Level, target: usize, mut reach: f32, grain: &mut Grain) {
        while reach >= 1.0 {
            let own = self.source[target] as usize;
            let [u, v, _] = grain.units();
            let (dx, dy) = (floor(u * reach + 0.5) as isize, floor(v * reach + 0.5) as isize);
            reach *= SEARCH_SHRINK;
            let x = (own % level.w).checked_add_signed(dx).filter(|x| *x < level.w);
            let y = (own / level.w).checked_add_signed(dy);
            let Some((x, y)) = x.zip(y) else { continue };
            if level.usable.get(y * level.w + x) == Some(&true) {
                self.offer(level, target, y * level.w + x);
            }
        }
    }

    /// What the patches say of every pixel that they cover, hole or not: the mean of their sources,
    /// the better and the surer with more say. A small `width`, in usual differences, lets the
    /// best ones decide, so that the mean of many does not blur.
    pub fn vote(&self, level: &Level, width: f32) -> Votes {
        let count = level.w * level.h;
        let mut votes = Votes { sum: vec![[0.0; CHANNELS]; count], weight: vec![0.0; count] };
        let mut seen: Vec<u32> =
            level.targets.iter().map(|t| self.difference[*t as usize]).collect();
        if seen.is_empty() {
            return votes;
        }
        let rank = ((seen.len() - 1) as f32 * USUAL_QUANTILE) as usize;
        let usual = (*seen.select_nth_unstable(rank).1).max(1) as f32 * width;
        let trust: Vec<f32> =
            (0..=TRUST_STEPS_MAX).map(|d| TRUST_PER_STEP.powi(i32::from(d))).collect();
        let middle = PATCH / 2 * level.w + PATCH / 2;
        for target in level.targets.iter().map(|t| *t as usize) {
            let off = self.difference[target] as f32 / usual;
            // Never nothing: a pixel that only bad patches cover still needs a colour.
            let likeness = (-0.5 * off * off).exp().max(1e-6);
            let depth = level.depth[target + middle].min(TRUST_STEPS_MAX);
            let weight = likeness * trust[usize::from(depth)];
            let source = self.source[target] as usize;
            for row in 0..PATCH {
                let (to, from) = (target + row * level.w, source + row * level.w);
                let pixels = level.px[from * CHANNELS..][..PATCH * CHANNELS].chunks_exact(CHANNELS);
                for (sum, pixel) in votes.sum[to..to + PATCH].iter_mut().zip(pixels) {
                    for (s, p) in sum.iter_mut().zip(pixel) {
                        *s += weight * f32::from(*p);
                    }
                }
                for w in &mut votes.weight[to..to + PATCH] {
                    *w += weight;
                }
            }
        }
        votes
    }
}

/// Weighted sums of what patches say.
pub struct Votes {
    sum: Vec<[f32; CHANNELS]>,
    weight: Vec<f32>,
}

impl Votes {
    /// The colour and texture of a pixel; `None` where no patch has a say.
    pub fn at(&self, i: usize) -> Option<[f32; CHANNELS]> {
        let weight = self.weight[i];
        (weight > 0.0).then(|| self.sum[i].map(|s| s / weight))
    }

    /// Puts them into the hole.
    pub fn settle(&self, level: &mut Level) {
        for (i, pixel) in level.px.chunks_exact_mut(CHANNELS).enumerate() {
            if !level.hole[i] {
                continue;
            }
            if let Some(value) = self.at(i) {
                for (to, v) in pixel.iter_mut().zip(value) {
                    *to = byte(v);
                }
            }
        }
    }
}
