//! What each side's camera does to the light: gain, gamma, tint, a smooth gradient, blur, noise and
//! block compression.

use serde::{Deserialize, Serialize};

use super::dice::{Dice, Grain};

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
        Tone {
            table,
            slope: (dice.around(reach), dice.around(reach)),
            bow: dice.around(light.gradient * 0.5),
        }
    }

    /// Applies the tables and the illumination to `size` x `size` RGB levels.
    pub fn apply(&self, pixels: &mut [f32], size: usize) {
        let flat = self.slope == (0.0, 0.0) && self.bow.abs() <= 0.0;
        let scale = 2.0 / size as f32;
        let (red, rest) = self.table.split_at(256);
        let (green, blue) = rest.split_at(256);
        for (y, row) in pixels.chunks_exact_mut(size * 3).enumerate() {
            let v = y as f32 * scale - 1.0;
            for (x, p) in row.chunks_exact_mut(3).enumerate() {
                let u = x as f32 * scale - 1.0;
                let factor = if flat {
                    1.0
                } else {
                    1.0 + self.slope.0 * u + self.slope.1 * v + self.bow * (u * u + v * v - 0.7)
                };
                // Round to the nearest table entry; the cast saturates.
                p[0] = red[(p[0] + 0.5) as u8 as usize] * factor;
                p[1] = green[(p[1] + 0.5) as u8 as usize] * factor;
                p[2] = blue[(p[2] + 0.5) as u8 as usize] * factor;
            }
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

/// Separable blur with a five-tap kernel of deviation `sigma` (0..about 1.3 pixels), borders repeated.
pub fn blur(pixels: &mut [f32], size: usize, sigma: f32) {
    if sigma < 0.15 {
        return;
    }
    let g = |d: f32| (-0.5 * d * d / (sigma * sigma)).exp();
    let norm = 1.0 / (1.0 + 2.0 * g(1.0) + 2.0 * g(2.0));
    let taps = [norm, g(1.0) * norm, g(2.0) * norm];
    let row = size * 3;
    let mut padded = vec![0.0_f32; row + 12];
    for line in pixels.chunks_exact_mut(row) {
        padded[6..row + 6].copy_from_slice(line);
        for c in 0..3 {
            padded[c] = line[c];
            padded[c + 3] = line[c];
            padded[row + 6 + c] = line[row - 3 + c];
            padded[row + 9 + c] = line[row - 3 + c];
        }
        for (i, out) in line.iter_mut().enumerate() {
            *out = taps[0] * padded[i + 6]
                + taps[1] * (padded[i + 3] + padded[i + 9])
                + taps[2] * (padded[i] + padded[i + 12]);
        }
    }
    let source = pixels.to_vec();
    for y in 0..size {
        let at = |d: isize| {
            let line = (y as isize + d).clamp(0, size as isize - 1) as usize;
            &source[line * row..(line + 1) * row]
        };
        let (m2, m1, p0, p1, p2) = (at(-2), at(-1), at(0), at(1), at(2));
        for (i, out) in pixels[y * row..(y + 1) * row].iter_mut().enumerate() {
            *out = taps[0] * p0[i] + taps[1] * (m1[i] + p1[i]) + taps[2] * (m2[i] + p2[i]);
        }
    }
}

/// Adds sensor noise: mostly shared by the channels, partly per channel, stronger in the dark.
pub fn noise(pixels: &mut [f32], sigma: f32, seed: u64) {
    if sigma <= 0.0 {
        return;
    }
    let mut grain = Grain::new(seed);
    for p in pixels.chunks_exact_mut(3) {
        let bits = grain.next_bits();
        let shared = grain.bell() * sigma * 0.8;
        for (c, level) in p.iter_mut().enumerate() {
            let own = ((bits >> (8 * c)) & 255) as f32 / 128.0 - 1.0;
            *level += shared + own * sigma;
        }
    }
}

/// JPEG-like loss: 8x8 cosine blocks of the luminance, quantised with steps growing by frequency.
pub fn blocks(pixels: &mut [f32], size: usize, step: f32) {
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

fn block(
    pixels: &mut [f32],
    size: usize,
    (bx, by): (usize, usize),
    step: f32,
    basis: &[[f32; 8]; 8],
) {
    let mut luma = [[0.0_f32; 8]; 8];
    for (y, line) in luma.iter_mut().enumerate() {
        for (x, value) in line.iter_mut().enumerate() {
            let o = ((by + y) * size + bx + x) * 3;
            *value = 0.299 * pixels[o] + 0.587 * pixels[o + 1] + 0.114 * pixels[o + 2];
        }
    }
    let mut spectrum = multiply(&multiply(basis, &luma), &transpose(basis));
    for (v, line) in spectrum.iter_mut().enumerate() {
        for (u, value) in line.iter_mut().enumerate() {
            let q = step * (1.0 + 0.6 * (u + v) as f32);
            *value = (*value / q).round() * q;
        }
    }
    let back = multiply(&multiply(&transpose(basis), &spectrum), basis);
    for y in 0..8 {
        for x in 0..8 {
            let o = ((by + y) * size + bx + x) * 3;
            let change = back[y][x] - luma[y][x];
            for level in &mut pixels[o..o + 3] {
                *level += change;
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

/// One side's whole camera: tone, sharpness, noise, compression; gives bytes.
pub fn expose(
    mut pixels: Vec<f32>,
    size: usize,
    tone: &Tone,
    light: &Light,
    dice: &mut Dice,
) -> Vec<u8> {
    tone.apply(&mut pixels, size);
    // Squared draws: mostly mild, seldom strong. The order of draws is fixed, whatever is applied.
    let (softness, grain) = (dice.range(0.0, 1.0), dice.range(0.0, 1.0));
    let (seed, compress, step) = (
        dice.bits(),
        dice.chance(light.blocks_share),
        dice.range(3.0, 10.0),
    );
    blur(&mut pixels, size, light.blur * softness * softness.sqrt());
    noise(&mut pixels, light.noise * grain * grain, seed);
    if compress {
        blocks(&mut pixels, size, step);
    }
    bytes(&pixels)
}

fn bytes(pixels: &[f32]) -> Vec<u8> {
    pixels.iter().map(|level| (level + 0.5) as u8).collect()
}

/// Photometric jitter of one `size` x `size` RGB8 picture in place (for encoder distillation).
pub fn view_light(pixels: &mut [u8], size: usize, light: &Light, dice: &mut Dice) {
    let tone = Tone::draw(light, None, dice);
    let levels = pixels.iter().map(|byte| *byte as f32).collect();
    pixels.copy_from_slice(&expose(levels, size, &tone, light, dice));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(size: usize) -> Vec<f32> {
        (0..size * size * 3)
            .map(|i| ((i * 13) % 256) as f32)
            .collect()
    }

    #[test]
    fn still_light_changes_nothing() {
        let mut dice = Dice::new(1, 1);
        let tone = Tone::draw(&Light::still(), None, &mut dice);
        let out = expose(ramp(32), 32, &tone, &Light::still(), &mut dice);
        assert!(out.iter().zip(ramp(32)).all(|(a, b)| *a as f32 == b));
    }

    #[test]
    fn blur_keeps_the_mean_of_a_plain_picture() {
        let mut plain = vec![77.0; 16 * 16 * 3];
        blur(&mut plain, 16, 1.0);
        assert!(plain.iter().all(|v| (v - 77.0).abs() < 1e-3));
    }

    #[test]
    fn fine_blocks_are_nearly_the_picture() {
        let mut out = ramp(16);
        blocks(&mut out, 16, 0.01);
        assert!(out.iter().zip(ramp(16)).all(|(a, b)| (a - b).abs() < 0.5));
        let mut coarse = ramp(16);
        blocks(&mut coarse, 16, 40.0);
        assert!(
            coarse
                .iter()
                .zip(ramp(16))
                .any(|(a, b)| (a - b).abs() > 5.0)
        );
    }
}
