//! Photometric jitter of single pictures: what the encoder must learn to see through.

use rand::{Rng, RngExt};

/// Changes gain, gamma and colour balance of an RGB8 buffer by tables, and adds noise to some.
pub fn jitter_light<R: Rng>(rgb: &mut [u8], rng: &mut R) {
    let gain = rng.random_range(0.75..1.3f32);
    let gamma = rng.random_range(0.8..1.25f32);
    let mut tables = [[0u8; 256]; 3];
    for table in &mut tables {
        let channel = rng.random_range(0.93..1.07f32);
        for (value, out) in table.iter_mut().enumerate() {
            let v = (value as f32 / 255.0).powf(gamma) * gain * channel;
            *out = (v * 255.0).round().clamp(0.0, 255.0) as u8;
        }
    }
    let noise = if rng.random_bool(0.5) { rng.random_range(0..7i32) } else { 0 };
    for pixel in rgb.chunks_exact_mut(3) {
        for (value, table) in pixel.iter_mut().zip(&tables) {
            let mut v = i32::from(table[*value as usize]);
            if noise > 0 {
                v += rng.random_range(-noise..=noise);
            }
            *value = v.clamp(0, 255) as u8;
        }
    }
}
