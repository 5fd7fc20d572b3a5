//! The shape of what a picture shows, for lamps to fall on.
//!
//! No photo tells the shape of what it shows. The slopes here are made up, but keep to what is seen:
//! every tone of the picture gets faces of its own, so that borders of faces are borders of things, and
//! edges are bevelled.

use super::dice::Dice;
use super::noise::Perlin;
use super::raster::Rgb;

/// How a made-up surface is bent.
#[derive(Clone, Debug)]
pub(super) struct Relief {
    /// Slope of faces, 0 to 1.
    pub(super) facets: f32,
    /// Slope of a clear edge.
    pub(super) bevel: f32,
    /// Number of tones that have faces of their own.
    pub(super) tones: f32,
    /// Typical width of a face, share of the picture.
    pub(super) width: f32,
    /// Times a face is longer than it is wide: a turned or drawn part is bent one way only.
    pub(super) stretch: f32,
    /// Which way it is longer, cosine and sine.
    pub(super) along: (f32, f32),
    pub(super) seed: u64,
}

impl Relief {
    /// Faces as long as wide.
    pub(super) fn draw(dice: &mut Dice) -> Relief {
        Relief {
            facets: dice.range(0.0, 1.0),
            bevel: dice.range(0.3, 1.0),
            tones: dice.range(1.5, 5.0),
            width: dice.log_range(0.2, 0.8),
            stretch: 1.0,
            along: (1.0, 0.0),
            seed: dice.bits(),
        }
    }

    /// Slope to the right and down of every pixel of `picture`.
    pub(super) fn slopes(&self, picture: &Rgb) -> Vec<(f32, f32)> {
        let (w, h) = (picture.w, picture.h);
        let tone = soft_tone(picture);
        let fields = [Perlin::new(self.seed), Perlin::new(self.seed ^ 0x51_0E5)];
        let scale = 1.0 / (self.width * w as f32);
        let reach = (w / 128).max(1);
        let mut slopes = Vec::with_capacity(w * h);
        for y in 0..h {
            let (up, down) = (y.saturating_sub(reach), (y + reach).min(h - 1));
            for x in 0..w {
                let (left, right) = (x.saturating_sub(reach), (x + reach).min(w - 1));
                let gx = tone[y * w + right] - tone[y * w + left];
                let gy = tone[down * w + x] - tone[up * w + x];
                // Any clear edge is a full bevel; texture below it stays faint.
                let steep = self.bevel / (gx.hypot(gy) + 0.15);
                let face = (tone[y * w + x] * self.tones).floor() * 13.7;
                let (u, v) = self.on_faces(x as f32 * scale, y as f32 * scale);
                let [fx, fy] =
                    [0, 1].map(|k: usize| self.facets * 1.6 * fields[k].at(u + face, v - face));
                slopes.push((fx + steep * gx, fy + steep * gy));
            }
        }
        slopes
    }

    fn on_faces(&self, x: f32, y: f32) -> (f32, f32) {
        let (c, s) = self.along;
        ((c * x + s * y) / self.stretch, c * y - s * x)
    }
}

/// Brightness 0..1, averaged over 5 x 5 pixels so that grain makes no faces.
fn soft_tone(picture: &Rgb) -> Vec<f32> {
    const REACH: usize = 2;
    let (w, h) = (picture.w, picture.h);
    let grey: Vec<f32> = picture
        .px
        .chunks_exact(3)
        .map(|p| (f32::from(p[0]) + f32::from(p[1]) + f32::from(p[2])) / 765.0)
        .collect();
    let mean = |line: &dyn Fn(usize) -> f32, at: usize, count: usize| {
        let (from, to) = (at.saturating_sub(REACH), (at + REACH + 1).min(count));
        (from..to).map(line).sum::<f32>() / (to - from) as f32
    };
    let mut rows = vec![0.0; w * h];
    for y in 0..h {
        for x in 0..w {
            rows[y * w + x] = mean(&|k| grey[y * w + k], x, w);
        }
    }
    let mut out = vec![0.0; w * h];
    for y in 0..h {
        for x in 0..w {
            out[y * w + x] = mean(&|k| rows[k * w + x], y, h);
        }
    }
    out
}
