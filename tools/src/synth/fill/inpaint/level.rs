//! One resolution of the window around a hole: its pixels, and which patches are to be filled and
//! which may be copied.

use super::super::super::raster::{Rgb, byte};
use super::super::super::shapes::Stencil;
use super::super::membrane::pull_push;

/// Side of a patch. Eight pixels of four bytes are a row that two vector instructions compare.
pub const PATCH: usize = 8;
/// Red, green, blue and texture.
pub const CHANNELS: usize = 4;
/// Bytes of a patch's row.
const ROW: usize = PATCH * CHANNELS;
/// Reach of the mean that makes texture from gradients, pixels to each side.
const TEXTURE_REACH: usize = 2;
/// Weight of texture beside the colours. Without it a flat patch, which is near everything, would
/// spread through holes in grass and gravel.
const TEXTURE_GAIN: f32 = 1.5;

/// One resolution.
pub struct Level {
    /// Columns.
    pub w: usize,
    /// Rows.
    pub h: usize,
    /// [`CHANNELS`] bytes a pixel.
    pub px: Vec<u8>,
    /// Pixels to fill.
    pub hole: Vec<bool>,
    /// Pixels that are not copied although they are known.
    banned: Vec<bool>,
    /// Distance of a hole's pixel from the nearest known one, in steps; 0 where known.
    pub depth: Vec<u16>,
    /// Whether a patch with its corner here may be copied.
    pub usable: Vec<bool>,
    /// All corners that are usable.
    pub sources: Vec<u32>,
    /// Corners of the patches that touch the hole, in reading order.
    pub targets: Vec<u32>,
}

/// A box of the picture.
#[derive(Clone, Copy)]
pub struct Window {
    /// Left column.
    pub x: usize,
    /// Top row.
    pub y: usize,
    /// Columns.
    pub w: usize,
    /// Rows.
    pub h: usize,
}

impl Window {
    /// The stencil's box with `reach` pixels of its surroundings.
    pub fn around(stencil: &Stencil, reach: usize, picture: &Rgb) -> Window {
        let (x, y) = (stencil.x.saturating_sub(reach), stencil.y.saturating_sub(reach));
        let right = (stencil.x + stencil.w + reach).min(picture.w);
        let bottom = (stencil.y + stencil.h + reach).min(picture.h);
        Window { x, y, w: right - x, h: bottom - y }
    }
}

impl Level {
    /// The window at the picture's own resolution.
    pub fn of(picture: &Rgb, window: Window, hole: &Stencil, avoid: Option<&Stencil>) -> Level {
        let Window { w, h, .. } = window;
        let covered = |stencil: &Stencil| -> Vec<bool> {
            (0..w * h).map(|i| stencil.at(window.x + i % w, window.y + i / w) > 0).collect()
        };
        let banned = avoid.map_or_else(|| vec![false; w * h], covered);
        let mut px = vec![0; w * h * CHANNELS];
        for (i, pixel) in px.chunks_exact_mut(CHANNELS).enumerate() {
            pixel[..3].copy_from_slice(&picture.at(window.x + i % w, window.y + i / w));
        }
        let mut level = Level::bare(w, h, px, covered(hole), banned);
        level.measure_texture();
        level
    }

    fn bare(w: usize, h: usize, px: Vec<u8>, hole: Vec<bool>, banned: Vec<bool>) -> Level {
        let depth = depths(&hole, w, h);
        let holes = Counts::of(&hole, w, h);
        let bans = Counts::of(&banned, w, h);
        let mut usable = vec![false; w * h];
        let (mut sources, mut targets) = (Vec::new(), Vec::new());
        for y in 0..(h + 1).saturating_sub(PATCH) {
            for x in 0..(w + 1).saturating_sub(PATCH) {
                let corner = y * w + x;
                if holes.within(x, y, PATCH) > 0 {
                    targets.push(corner as u32);
                } else if bans.within(x, y, PATCH) == 0 {
                    usable[corner] = true;
                    sources.push(corner as u32);
                }
            }
        }
        Level { w, h, px, hole, banned, depth, usable, sources, targets }
    }

    /// Half the size. What is partly hole is hole, so that known pixels never hold anything of it.
    pub fn halved(&self) -> Level {
        let (w, h) = (self.w.div_ceil(2), self.h.div_ceil(2));
        let four = |i: usize| {
            let (x, y) = (2 * (i % w), 2 * (i / w));
            let (right, below) = ((x + 1).min(self.w - 1), (y + 1).min(self.h - 1));
            [y * self.w + x, y * self.w + right, below * self.w + x, below * self.w + right]
        };
        let any = |flags: &[bool]| (0..w * h).map(|i| four(i).iter().any(|o| flags[*o])).collect();
        let mut px = vec![0; w * h * CHANNELS];
        for (i, pixel) in px.chunks_exact_mut(CHANNELS).enumerate() {
            for (c, value) in pixel.iter_mut().enumerate() {
                let sum: u16 = four(i).iter().map(|o| u16::from(self.px[o * CHANNELS + c])).sum();
                *value = ((sum + 2) / 4) as u8;
            }
        }
        Level::bare(w, h, px, any(&self.hole), any(&self.banned))
    }

    /// The mean gradient around every pixel, of known pixels only.
    fn measure_texture(&mut self) {
        let (w, h) = (self.w, self.h);
        let grey = |i: usize| {
            let p = &self.px[i * CHANNELS..][..3];
            i32::from(p[0]) + 2 * i32::from(p[1]) + i32::from(p[2])
        };
        let known = |i: usize| !self.hole[i];
        let mut steps = vec![0_u32; w * h];
        let mut measured = vec![false; w * h];
        for y in 0..h.saturating_sub(1) {
            for x in 0..w.saturating_sub(1) {
                let i = y * w + x;
                if known(i) && known(i + 1) && known(i + w) {
                    measured[i] = true;
                    steps[i] = grey(i).abs_diff(grey(i + 1)) + grey(i).abs_diff(grey(i + w));
                }
            }
        }
        let (sums, counts) = (Counts::of(&steps, w, h), Counts::of(&measured, w, h));
        let side = 2 * TEXTURE_REACH + 1;
        for i in 0..w * h {
            let (x, y) =
                ((i % w).saturating_sub(TEXTURE_REACH), (i / w).saturating_sub(TEXTURE_REACH));
            let mean = sums.within(x, y, side) as f32 / counts.within(x, y, side).max(1) as f32;
            // A step of grey is four levels here, and two of them are added.
            self.px[i * CHANNELS + 3] = byte(mean / 8.0 * TEXTURE_GAIN);
        }
    }

    /// Fills the hole with a smooth surface, texture included: something to compare with.
    pub fn smooth(&mut self) {
        let mut cells: Vec<[f32; CHANNELS + 1]> = self
            .px
            .chunks_exact(CHANNELS)
            .zip(&self.hole)
            .map(|(p, hole)| {
                let [r, g, b, t] = [p[0], p[1], p[2], p[3]].map(f32::from);
                if *hole { [0.0; CHANNELS + 1] } else { [r, g, b, t, 1.0] }
            })
            .collect();
        pull_push(&mut cells, self.w, self.h);
        for ((pixel, cell), hole) in self.px.chunks_exact_mut(CHANNELS).zip(&cells).zip(&self.hole)
        {
            if *hole {
                for (value, level) in pixel.iter_mut().zip(cell) {
                    *value = byte(*level);
                }
            }
        }
    }

    /// Sum of absolute differences of the patches at two corners, or something at least `limit` when
    /// it reaches that.
    #[inline]
    pub fn difference(&self, a: usize, b: usize, limit: u32) -> u32 {
        let stride = self.w * CHANNELS;
        let (mut a, mut b) = (a * CHANNELS, b * CHANNELS);
        let mut sum = 0;
        for _ in 0..PATCH / 2 {
            for _ in 0..2 {
                let (left, right) = (&self.px[a..a + ROW], &self.px[b..b + ROW]);
                // In this form, not as `abs_diff`, a row becomes two instructions (`psadbw`).
                sum += left
                    .iter()
                    .zip(right)
                    .map(|(l, r)| (i32::from(*l) - i32::from(*r)).unsigned_abs())
                    .sum::<u32>();
                a += stride;
                b += stride;
            }
            if sum >= limit {
                break;
            }
        }
        sum
    }
}

/// Steps from every flagged pixel to the nearest that is not, 4-neighbours; the window's edge
/// counts as flagged, because nothing is known beyond it.
fn depths(flags: &[bool], w: usize, h: usize) -> Vec<u16> {
    let mut depth: Vec<u16> = flags.iter().map(|f| if *f { u16::MAX } else { 0 }).collect();
    for i in 0..w * h {
        let left = if i % w > 0 { depth[i - 1] } else { u16::MAX };
        let above = if i >= w { depth[i - w] } else { u16::MAX };
        depth[i] = depth[i].min(left.min(above).saturating_add(1));
    }
    for i in (0..w * h).rev() {
        let right = if i % w + 1 < w { depth[i + 1] } else { u16::MAX };
        let below = if i + w < w * h { depth[i + w] } else { u16::MAX };
        depth[i] = depth[i].min(right.min(below).saturating_add(1));
    }
    depth
}

/// Sums over boxes in constant time.
struct Counts {
    w: usize,
    h: usize,
    table: Vec<u32>,
}

impl Counts {
    fn of<T: Copy + Into<u32>>(values: &[T], w: usize, h: usize) -> Counts {
        let mut table = vec![0_u32; (w + 1) * (h + 1)];
        for y in 0..h {
            let mut row = 0;
            for x in 0..w {
                row += values[y * w + x].into();
                table[(y + 1) * (w + 1) + x + 1] = table[y * (w + 1) + x + 1] + row;
            }
        }
        Counts { w, h, table }
    }

    /// Sum over the box of `side` at `(x, y)`, cut at the edges.
    fn within(&self, x: usize, y: usize, side: usize) -> u32 {
        let (right, bottom) = ((x + side).min(self.w), (y + side).min(self.h));
        let at = |x: usize, y: usize| self.table[y * (self.w + 1) + x];
        at(right, bottom) + at(x, y) - at(x, bottom) - at(right, y)
    }
}
