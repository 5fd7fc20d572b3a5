//! What each side's camera does to the light: gain, gamma, tint, a smooth gradient, blur, noise and
//! block compression.

use serde::{Deserialize, Serialize};

use super::dice::{Dice, Grain};
use super::raster::byte;

/// Ranges of the photometric differences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Light {
    /// Overall gain, ± share.
    pub gain: f32,
    /// Gamma exponent, ± share.
    pub gamma: f32,
    /// Gain of each channel, ± share.
    pub channel: f32,
    /// Contrast around mid-grey, ± share.
    pub contrast: f32,
    /// Smooth illumination over the picture, ± share at the borders.
    pub gradient: f32,
    /// A large soft highlight or shadow, ± share at its middle.
    pub glare: f32,
    /// Largest blur, sigma in pixels.
    pub blur: f32,
    /// Largest noise, deviation in levels of 255.
    pub noise: f32,
    /// Share of sides that pass a JPEG-like 8x8 quantisation.
    pub blocks_share: f32,
    /// Share of pairs whose two sides have the same gain, gamma, tint and gradient.
    pub same_share: f32,
}

impl Default for Light {
    fn default() -> Self {
        Self {
            gain: 0.20,
            gamma: 0.20,
            channel: 0.06,
            contrast: 0.15,
            gradient: 0.15,
            glare: 0.15,
            blur: 1.0,
            noise: 5.0,
            blocks_share: 0.15,
            same_share: 0.5,
        }
    }
}

impl Light {
    /// No photometric difference at all.
    pub fn still() -> Self {
        Self {
            gain: 0.0,
            gamma: 0.0,
            channel: 0.0,
            contrast: 0.0,
            gradient: 0.0,
            glare: 0.0,
            blur: 0.0,
            noise: 0.0,
            blocks_share: 0.0,
            same_share: 1.0,
        }
    }
}

/// How a high-contrast drawing is rendered by one side's camera (see [`Tone::draw`]).
#[derive(Clone, Copy, Debug)]
pub struct Ink {
    /// Slope of the curve around `middle`; 1 is none, 8 nearly binary.
    pub steep: f32,
    /// Level that becomes mid-grey: another value on each side grows or shrinks every line a bit.
    pub middle: f32,
    /// Grey levels kept, 0 for all.
    pub levels: u32,
}

/// One side's gain, gamma and tint as tables, and its illumination.
#[derive(Clone)]
pub struct Tone {
    table: Vec<f32>,
    slope: (f32, f32),
    bow: f32,
    glare: Glare,
}

/// A soft round spot of light; places and width in half widths of the picture, centre (0, 0).
#[derive(Clone)]
struct Glare {
    at: (f32, f32),
    width: f32,
    strength: f32,
}

impl Glare {
    fn draw(light: &Light, dice: &mut Dice) -> Glare {
        let at = (dice.around(1.0), dice.around(1.0));
        let (width, strength) = (dice.range(0.4, 1.0), dice.around(light.glare));
        Glare { at, width, strength }
    }

    /// The spot is a product of two bells, one a row and one a column.
    fn bell(&self, place: f32, middle: f32) -> f32 {
        let d = (place - middle) / self.width;
        (-d * d).exp()
    }
}

impl Tone {
    /// Draws a tone within the ranges.
    pub fn draw(light: &Light, ink: Option<Ink>, dice: &mut Dice) -> Tone {
        let gain = 1.0 + dice.around(light.gain);
        let gamma = 1.0 + dice.around(light.gamma);
        let contrast = 1.0 + dice.around(light.contrast);
        let tint = [0; 3].map(|_| 1.0 + dice.around(light.channel));
        let mut table = Vec::with_capacity(3 * 256);
        for channel in tint {
            for level in 0..256 {
                let mut x = level as f32 / 255.0;
                if let Some(ink) = ink {
                    x = ((x - ink.middle) * ink.steep + 0.5).clamp(0.0, 1.0);
                }
                if light.gamma > 0.0 {
                    x = x.powf(gamma);
                }
                x = ((x - 0.5) * contrast + 0.5).max(0.0) * gain * channel;
                if light.gain > 0.0 || light.contrast > 0.0 {
                    x = knee(x);
                }
                if let Some(ink) = ink.filter(|i| i.levels > 1) {
                    let top = (ink.levels - 1) as f32;
                    x = (x * top).round() / top;
                }
                table.push(x.clamp(0.0, 1.0) * 255.0);
            }
        }
        let reach = light.gradient * 0.7;
        let slope = (dice.around(reach), dice.around(reach));
        let bow = dice.around(light.gradient * 0.5);
        let glare = Glare::draw(light, dice);
        // Illumination comes after the shoulder of the tables: keep its peak from clipping.
        const PEAK_MAX: f32 = 1.1;
        let corner = slope.0.abs() + slope.1.abs() + bow.max(-0.5 * bow) + glare.strength.max(0.0);
        let dim = (PEAK_MAX / (1.0 + corner)).min(1.0);
        table.iter_mut().for_each(|level| *level *= dim);
        Tone { table, slope, bow, glare }
    }

    /// The glare's bell along x for every column.
    fn columns(&self, size: usize) -> Vec<f32> {
        let scale = 2.0 / size as f32;
        (0..size).map(|x| self.glare.bell(x as f32 * scale - 1.0, self.glare.at.0)).collect()
    }

    /// Row `y` of a square RGB8 picture through the tables and the illumination, in levels.
    fn row(&self, bytes: &[u8], y: usize, columns: &[f32], out: &mut [f32]) {
        let size = columns.len();
        let scale = 2.0 / size as f32;
        let v = y as f32 * scale - 1.0;
        let (red, rest) = self.table.split_at(256);
        let (green, blue) = rest.split_at(256);
        let spot = self.glare.strength * self.glare.bell(v, self.glare.at.1);
        let even = 1.0 + self.slope.1 * v + self.bow * (v * v - 0.7);
        let pixels = out.chunks_exact_mut(3).zip(bytes.chunks_exact(3)).zip(columns).enumerate();
        for (x, ((to, from), bell)) in pixels {
            let u = x as f32 * scale - 1.0;
            let factor = even + u * (self.slope.0 + self.bow * u) + spot * bell;
            to[0] = red[usize::from(from[0])] * factor;
            to[1] = green[usize::from(from[1])] * factor;
            to[2] = blue[usize::from(from[2])] * factor;
        }
    }
}

/// Soft shoulder above 0.85: a bright change must not vanish in clipped white.
fn knee(x: f32) -> f32 {
    const START: f32 = 0.85;
    if x <= START {
        x
    } else {
        START + (1.0 - START) * (1.0 - (-(x - START) / (1.0 - START)).exp())
    }
}

/// Separable five-tap blur that is fed row by row, so that it works in the first-level cache.
struct Blur {
    taps: [f32; 3],
    padded: Vec<f32>,
    ring: [Vec<f32>; 5],
}

impl Blur {
    /// For rows of `size` RGB pixels and a deviation of up to about 1.3 pixels; `None` where the
    /// neighbours' weight would be under a thousandth.
    fn new(size: usize, sigma: f32) -> Option<Blur> {
        if sigma < 0.27 {
            return None;
        }
        let g = |d: f32| (-0.5 * d * d / (sigma * sigma)).exp();
        let norm = 1.0 / (1.0 + 2.0 * g(1.0) + 2.0 * g(2.0));
        let taps = [norm, g(1.0) * norm, g(2.0) * norm];
        let row = || vec![0.0; size * 3];
        Some(Blur { taps, padded: vec![0.0; size * 3 + 12], ring: std::array::from_fn(|_| row()) })
    }

    /// Takes row `y` in, blurred along x, edge pixels repeated.
    fn push(&mut self, y: usize, line: &[f32]) {
        let row = line.len();
        let (taps, padded) = (self.taps, &mut self.padded);
        padded[6..row + 6].copy_from_slice(line);
        for c in 0..3 {
            padded[c] = line[c];
            padded[c + 3] = line[c];
            padded[row + 6 + c] = line[row - 3 + c];
            padded[row + 9 + c] = line[row - 3 + c];
        }
        let at = |d: usize| &padded[3 * d..3 * d + row];
        weighted(taps, [at(0), at(1), at(2), at(3), at(4)], &mut self.ring[y % 5]);
    }

    /// Row `y` blurred along y as well; rows up to `y + 2` must be in (rows repeat at the ends).
    fn pull(&self, y: usize, rows: usize, out: &mut [f32]) {
        let at = |y: usize| &self.ring[y % 5][..];
        let (up2, up1) = (at(y.saturating_sub(2)), at(y.saturating_sub(1)));
        let (down1, down2) = (at((y + 1).min(rows - 1)), at((y + 2).min(rows - 1)));
        weighted(self.taps, [up2, up1, at(y), down1, down2], out);
    }
}

fn weighted(taps: [f32; 3], lines: [&[f32]; 5], out: &mut [f32]) {
    let count = out.len();
    let [m2, m1, p0, p1, p2] = lines.map(|line| &line[..count]);
    for i in 0..count {
        out[i] = taps[0] * p0[i] + taps[1] * (m1[i] + p1[i]) + taps[2] * (m2[i] + p2[i]);
    }
}

/// Adds sensor noise to levels: partly shared by the channels, partly per channel.
fn noise(levels: &mut [f32], sigma: f32, grain: &mut Grain) {
    for p in levels.chunks_exact_mut(3) {
        let (shared, own) = (0.8 * grain.bell(), grain.units());
        for c in 0..3 {
            p[c] += sigma * (shared + own[c]);
        }
    }
}

/// JPEG-like loss: 8x8 cosine blocks of the luminance of an RGB8 picture, quantised with steps that
/// grow with frequency. Incomplete blocks at the far borders are left as they are.
pub fn blocks(pixels: &mut [u8], size: usize, step: f32) {
    let mut basis = [[0.0_f32; 8]; 8];
    for (k, row) in basis.iter_mut().enumerate() {
        let norm = if k == 0 { (1.0_f32 / 8.0).sqrt() } else { 0.5 };
        for (n, value) in row.iter_mut().enumerate() {
            *value = norm * ((2 * n + 1) as f32 * k as f32 * std::f32::consts::PI / 16.0).cos();
        }
    }
    for by in (0..size - size % 8).step_by(8) {
        for bx in (0..size - size % 8).step_by(8) {
            block(pixels, size, (bx, by), step, &basis);
        }
    }
}

/// Adding and taking it away rounds a small float to a whole number.
const ROUND: f32 = 12_582_912.0;

fn block(pixels: &mut [u8], size: usize, at: (usize, usize), step: f32, basis: &[[f32; 8]; 8]) {
    let mut luma = [[0.0_f32; 8]; 8];
    for (y, line) in luma.iter_mut().enumerate() {
        let start = ((at.1 + y) * size + at.0) * 3;
        for (value, p) in line.iter_mut().zip(pixels[start..start + 24].chunks_exact(3)) {
            *value = 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
        }
    }
    let mut spectrum = multiply(&multiply(basis, &luma), &transpose(basis));
    for (v, line) in spectrum.iter_mut().enumerate() {
        for (u, value) in line.iter_mut().enumerate() {
            let q = step * (1.0 + 0.6 * (u + v) as f32);
            // `round` would be a library call.
            *value = ((*value / q + ROUND) - ROUND) * q;
        }
    }
    let back = multiply(&multiply(&transpose(basis), &spectrum), basis);
    for y in 0..8 {
        let start = ((at.1 + y) * size + at.0) * 3;
        for (x, p) in pixels[start..start + 24].chunks_exact_mut(3).enumerate() {
            let change = back[y][x] - luma[y][x];
            for level in p {
                *level = byte(f32::from(*level) + change);
            }
        }
    }
}

fn multiply(a: &[[f32; 8]; 8], b: &[[f32; 8]; 8]) -> [[f32; 8]; 8] {
    let mut out = [[0.0_f32; 8]; 8];
    for (row, a_row) in out.iter_mut().zip(a) {
        for (factor, b_row) in a_row.iter().zip(b) {
            for (value, b_value) in row.iter_mut().zip(b_row) {
                *value += factor * b_value;
            }
        }
    }
    out
}

fn transpose(a: &[[f32; 8]; 8]) -> [[f32; 8]; 8] {
    let mut out = [[0.0; 8]; 8];
    for (y, row) in a.iter().enumerate() {
        for (x, value) in row.iter().enumerate() {
            out[x][y] = *value;
        }
    }
    out
}

/// What a camera is, as against what it sees: sharpness, noise, compression.
#[derive(Clone, Copy, Debug)]
pub struct Sensor {
    /// Blur, sigma in pixels.
    blur: f32,
    /// Noise, deviation in levels of 255.
    noise: f32,
    /// Step of the block compression, where there is one.
    step: Option<f32>,
}

impl Sensor {
    /// Draws a camera within the ranges: mostly good ones, seldom poor.
    pub fn draw(light: &Light, dice: &mut Dice) -> Sensor {
        let (softness, grain) = (dice.range(0.0, 1.0), dice.range(0.0, 1.0));
        let (compress, step) = (dice.chance(light.blocks_share), dice.range(3.0, 10.0));
        Sensor {
            blur: light.blur * softness * softness.sqrt(),
            noise: light.noise * grain * grain,
            step: compress.then_some(step),
        }
    }
}

/// One side's whole camera, in place on a `size` x `size` RGB8 picture: tone, sharpness, noise,
/// compression. `seed` is of the noise.
pub fn expose(pixels: &mut [u8], size: usize, tone: &Tone, sensor: &Sensor, seed: u64) {
    let mut blur = Blur::new(size, sensor.blur);
    let sigma = sensor.noise;
    let mut grain = Grain::new(seed);
    let row = size * 3;
    let columns = tone.columns(size);
    let mut levels = vec![0.0; row];
    for y in 0..size {
        if let Some(blur) = &mut blur {
            // Row y + 2 is read before row y is overwritten.
            for ahead in if y == 0 { 0..3.min(size) } else { (y + 2).min(size)..(y + 3).min(size) }
            {
                tone.row(&pixels[ahead * row..(ahead + 1) * row], ahead, &columns, &mut levels);
                blur.push(ahead, &levels);
            }
            blur.pull(y, size, &mut levels);
        } else {
            tone.row(&pixels[y * row..(y + 1) * row], y, &columns, &mut levels);
        }
        // Rounding to bytes swallows less.
        if sigma >= 0.2 {
            noise(&mut levels, sigma, &mut grain);
        }
        for (to, level) in pixels[y * row..(y + 1) * row].iter_mut().zip(&levels) {
            *to = byte(*level);
        }
    }
    if let Some(step) = sensor.step {
        blocks(pixels, size, step);
    }
}

/// Photometric jitter of one `size` x `size` RGB8 picture in place (for encoder distillation).
pub fn view_light(pixels: &mut [u8], size: usize, light: &Light, dice: &mut Dice) {
    let tone = Tone::draw(light, None, dice);
    let sensor = Sensor::draw(light, dice);
    expose(pixels, size, &tone, &sensor, dice.bits());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(size: usize) -> Vec<u8> {
        (0..size * size * 3).map(|i| ((i * 13) % 256) as u8).collect()
    }

    #[test]
    fn still_light_changes_nothing() {
        let mut dice = Dice::new(1, 1);
        let tone = Tone::draw(&Light::still(), None, &mut dice);
        let mut out = ramp(32);
        let sensor = Sensor::draw(&Light::still(), &mut dice);
        expose(&mut out, 32, &tone, &sensor, 7);
        assert!(out == ramp(32));
    }

    #[test]
    fn blur_alone_keeps_a_plain_picture_and_spreads_a_dot() {
        let light = Light { blur: 1.0, ..Light::still() };
        let mut softened = 0;
        for stream in 0..20 {
            let mut dice = Dice::new(4, stream);
            let tone = Tone::draw(&light, None, &mut dice);
            let mut plain = vec![77; 16 * 16 * 3];
            let sensor = Sensor::draw(&light, &mut Dice::new(5, stream));
            expose(&mut plain, 16, &tone, &sensor, 7);
            assert!(plain.iter().all(|v| *v == 77));
            plain[(8 * 16 + 8) * 3] = 255;
            expose(&mut plain, 16, &tone, &sensor, 7);
            let red = |x: usize, y: usize| plain[(y * 16 + x) * 3];
            assert_eq!((red(7, 8), red(8, 7)), (red(9, 8), red(8, 9)));
            softened += u32::from(red(8, 8) < 250 && red(8, 10) <= red(8, 9) && red(8, 9) > 77);
        }
        assert!(softened > 5, "{softened}");
    }

    #[test]
    fn fine_blocks_are_nearly_the_picture() {
        let mut out = ramp(16);
        blocks(&mut out, 16, 0.01);
        assert!(out.iter().zip(ramp(16)).all(|(a, b)| a.abs_diff(b) <= 1));
        let mut coarse = ramp(16);
        blocks(&mut coarse, 16, 40.0);
        assert!(coarse.iter().zip(ramp(16)).any(|(a, b)| a.abs_diff(b) > 5));
    }
}
