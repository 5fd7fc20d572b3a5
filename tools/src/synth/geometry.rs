//! Where each side looks: rotation, shift, scale and a slight wobble, as a coarse mesh.
//!
//! Source positions (and the smooth illumination of [`super::light`]) are computed at the corners of
//! [`CELL`]-pixel cells and interpolated inside, so any smooth warp costs what an affine one costs.

use serde::{Deserialize, Serialize};

use super::dice::Dice;
use super::noise::Perlin;
use super::raster::{Affine, Rgb, fixed, floor, reflect};

/// Side of a mesh cell in output pixels; picture sizes must be multiples of it.
pub const CELL: usize = 16;

/// How far the two sides may differ in position. Shares of the three classes: `registered_share`,
/// `wide_share`, and the rest with the small ranges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Geometry {
    /// Small class: rotation of each side, ± degrees.
    pub rotation_deg: f32,
    /// Small class: shift of each side, ± share of the width.
    pub shift: f32,
    /// Small class: scale of each side, ± share.
    pub scale: f32,
    /// Share of pairs without rotation and scale, shifted by at most `registered_px`.
    pub registered_share: f32,
    /// Registered class: shift of each side, ± pixels.
    pub registered_px: f32,
    /// Share of pairs with the wide ranges.
    pub wide_share: f32,
    /// Wide class: rotation of each side, ± degrees.
    pub wide_rotation_deg: f32,
    /// Wide class: shift of each side, ± share of the width.
    pub wide_shift: f32,
    /// Wide class: scale of each side, ± share.
    pub wide_scale: f32,
    /// Smooth local displacement, up to this many pixels (at 256; a third of it when registered).
    pub wobble_px: f32,
}

impl Default for Geometry {
    fn default() -> Self {
        Self {
            rotation_deg: 5.0,
            shift: 0.04,
            scale: 0.04,
            registered_share: 0.35,
            registered_px: 1.0,
            wide_share: 0.20,
            wide_rotation_deg: 30.0,
            wide_shift: 0.08,
            wide_scale: 0.08,
            wobble_px: 1.5,
        }
    }
}

impl Geometry {
    /// No difference in position at all.
    pub fn still() -> Self {
        Self {
            rotation_deg: 0.0,
            shift: 0.0,
            scale: 0.0,
            registered_share: 1.0,
            registered_px: 0.0,
            wide_share: 0.0,
            wide_rotation_deg: 0.0,
            wide_shift: 0.0,
            wide_scale: 0.0,
            wobble_px: 0.0,
        }
    }
}

/// Which of the three ranges a pair uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// At most about a pixel apart.
    Registered,
    /// The small ranges.
    Small,
    /// The wide ranges.
    Wide,
}

impl Class {
    /// Draws the class of a pair.
    pub fn draw(geometry: &Geometry, dice: &mut Dice) -> Class {
        let rest = (1.0 - geometry.registered_share - geometry.wide_share).max(0.0);
        match dice.weighted(&[geometry.registered_share, rest, geometry.wide_share]) {
            0 => Class::Registered,
            1 => Class::Small,
            _ => Class::Wide,
        }
    }

    /// Pixels to keep around the frame in the base, so that shifts show content, not reflections.
    pub fn margin(self, geometry: &Geometry, size: usize) -> usize {
        let reach = |shift: f32, scale: f32, degrees: f32| {
            let turn = 0.5 * degrees.to_radians().abs().min(0.35);
            ((shift + 0.5 * scale + turn) * size as f32).ceil() as usize + 1
        };
        match self {
            Class::Registered if geometry.registered_px <= 0.0 && geometry.wobble_px <= 0.0 => 0,
            Class::Registered => 3,
            Class::Small => reach(geometry.shift, geometry.scale, geometry.rotation_deg),
            // Half the turn only: the far corners of a strong turn are left to reflection, since a
            // base with full margins would waste most of its pixels.
            Class::Wide => {
                reach(geometry.wide_shift, geometry.wide_scale, 0.5 * geometry.wide_rotation_deg)
            }
        }
    }
}

/// One side's view into the base.
pub struct View {
    affine: Affine,
    /// Corner positions in the base, row-major, `(size / CELL + 1)` squared.
    corners: Vec<(f32, f32)>,
    size: usize,
}

impl View {
    /// Draws one side's view of size `size` into a base of side `base`.
    pub fn draw(
        geometry: &Geometry,
        class: Class,
        size: usize,
        base: usize,
        dice: &mut Dice,
    ) -> View {
        let s = size as f32;
        let (degrees, shift, scale) = match class {
            Class::Registered => (0.0, geometry.registered_px, 0.0),
            Class::Small => (geometry.rotation_deg, geometry.shift * s, geometry.scale),
            Class::Wide => {
                (geometry.wide_rotation_deg, geometry.wide_shift * s, geometry.wide_scale)
            }
        };
        let angle = dice.around(degrees).to_radians();
        let zoom = 1.0 + dice.around(scale);
        let (dx, dy) = (dice.around(shift), dice.around(shift));
        let mut wobble = geometry.wobble_px * s / 256.0;
        if class == Class::Registered {
            wobble /= 3.0;
        }
        // Most parts are rigid: the wobble stands for lens, belt and paper, and is often absent.
        wobble *= if dice.chance(0.4) { 0.0 } else { dice.range(0.0, 1.0) };
        let (a, b) = (zoom * angle.cos(), -zoom * angle.sin());
        let (mid, centre) = ((s - 1.0) / 2.0, (base as f32 - 1.0) / 2.0);
        let affine = Affine {
            m: [a, b, centre + dx - a * mid - b * mid, -b, a, centre + dy + b * mid - a * mid],
        };
        let field = (Perlin::new(dice.bits()), Perlin::new(dice.bits()));
        let cells = size / CELL;
        let mut corners = Vec::with_capacity((cells + 1) * (cells + 1));
        for row in 0..=cells {
            for column in 0..=cells {
                let (x, y) = ((column * CELL) as f32, (row * CELL) as f32);
                let (u, v) = (3.0 * x / s + 0.37, 3.0 * y / s + 0.61);
                let (px, py) = affine.map(x, y);
                corners.push((px + wobble * field.0.at(u, v), py + wobble * field.1.at(u, v)));
            }
        }
        View { affine, corners, size }
    }

    /// Calls `each(first pixel index, start, step)` for every run of [`CELL`] output pixels of a row:
    /// the base position of its pixel k is `start + k * step`.
    fn runs(&self, mut each: impl FnMut(usize, (f32, f32), (f32, f32))) {
        let cells = self.size / CELL;
        let share = 1.0 / CELL as f32;
        for y in 0..self.size {
            let (row, v) = (y / CELL, (y % CELL) as f32 * share);
            for column in 0..cells {
                let top = row * (cells + 1) + column;
                let bottom = top + cells + 1;
                let left = mix(self.corners[top], self.corners[bottom], v);
                let right = mix(self.corners[top + 1], self.corners[bottom + 1], v);
                let step = ((right.0 - left.0) * share, (right.1 - left.1) * share);
                each(y * self.size + column * CELL, left, step);
            }
        }
    }

    /// The base seen from here, RGB8.
    pub fn render(&self, base: &Rgb) -> Vec<u8> {
        let mut out = vec![0; self.size * self.size * 3];
        self.runs(|start, at, step| {
            let run = &mut out[start * 3..(start + CELL) * 3];
            base.sample_run((fixed(at.0), fixed(at.1)), (fixed(step.0), fixed(step.1)), run);
        });
        out
    }

    /// The base mask (0/255, side `base`) seen from here, hard again, where `other` sees it too.
    pub fn render_mask(&self, mask: &[u8], base: usize, other: Option<&View>) -> Vec<u8> {
        // A third, not half, keeps one-pixel lines alive under rotation.
        const COVERED: f32 = 85.0;
        let mut out = vec![0_u8; self.size * self.size];
        let near = Near::new(mask, base);
        let back = other.map(|o| (o.affine.inverse(), o.size as f32 - 0.5));
        self.runs(|start, at, step| {
            let last = CELL as f32 - 1.0;
            if !near.run(at, (at.0 + last * step.0, at.1 + last * step.1)) {
                return;
            }
            for (k, pixel) in out[start..start + CELL].iter_mut().enumerate() {
                let (x, y) = (at.0 + step.0 * k as f32, at.1 + step.1 * k as f32);
                if mask_at(mask, base, x, y) < COVERED {
                    continue;
                }
                let seen = back.as_ref().is_none_or(|(inverse, end)| {
                    let (ox, oy) = inverse.map(fold(x, base), fold(y, base));
                    ox > -0.5 && oy > -0.5 && ox < *end && oy < *end
                });
                if seen {
                    *pixel = 255;
                }
            }
        });
        out
    }
}

/// Where a mask has anything at all, in blocks: most of most masks is empty.
struct Near {
    blocks: Vec<bool>,
    count: usize,
    side: f32,
}

impl Near {
    const BLOCK: usize = 16;

    fn new(mask: &[u8], side: usize) -> Near {
        let count = side.div_ceil(Self::BLOCK);
        let mut blocks = vec![false; count * count];
        for (y, row) in mask.chunks_exact(side).enumerate() {
            for (column, part) in row.chunks(Self::BLOCK).enumerate() {
                if part.iter().all(|m| *m == 0) {
                    continue;
                }
                // Neighbours too: a run's ends and middle then stand for all of it.
                let line = y / Self::BLOCK;
                for by in line.saturating_sub(1)..(line + 2).min(count) {
                    for bx in column.saturating_sub(1)..(column + 2).min(count) {
                        blocks[by * count + bx] = true;
                    }
                }
            }
        }
        Near { blocks, count, side: side as f32 }
    }

    /// May the run between two points meet the mask? Always yes outside the base.
    fn run(&self, a: (f32, f32), b: (f32, f32)) -> bool {
        [a, mix(a, b, 0.5), b].iter().any(|p| {
            if p.0 < 0.0 || p.1 < 0.0 || p.0 >= self.side || p.1 >= self.side {
                return true;
            }
            self.blocks[(p.1 as usize / Self::BLOCK) * self.count + p.0 as usize / Self::BLOCK]
        })
    }
}

fn mix(a: (f32, f32), b: (f32, f32), t: f32) -> (f32, f32) {
    (a.0 + t * (b.0 - a.0), a.1 + t * (b.1 - a.1))
}

/// The place in the base that a reflected position really shows.
fn fold(x: f32, count: usize) -> f32 {
    let whole = floor(x + 0.5);
    if whole >= 0 && whole < count as i32 { x } else { reflect(whole, count) as f32 }
}

fn mask_at(mask: &[u8], side: usize, x: f32, y: f32) -> f32 {
    let (ix, iy) = (floor(x), floor(y));
    let (tx, ty) = (x - ix as f32, y - iy as f32);
    let (x0, x1) = (reflect(ix, side), reflect(ix + 1, side));
    let (y0, y1) = (reflect(iy, side), reflect(iy + 1, side));
    let get = |x: usize, y: usize| mask[y * side + x] as f32;
    let top = get(x0, y0) + tx * (get(x1, y0) - get(x0, y0));
    let bottom = get(x0, y1) + tx * (get(x1, y1) - get(x0, y1));
    top + ty * (bottom - top)
}
