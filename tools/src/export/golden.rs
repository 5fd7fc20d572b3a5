//! Golden vectors: a pair of pictures and the map that the network makes of it (where we trained it,
//! as the training framework computes it), shipped with the package so that every engine can be held
//! to it (`f32` within 1e-4).

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use burn::tensor::Device;
use burn::tensor::activation::sigmoid;
use touchstone_models::files::write_atomic;
use touchstone_models::golden::GOLDEN_FOLDER;
use touchstone_models::picture::{Picture, save_rgb};

use crate::net::oneprompt::OnePromptNet;
use crate::train::batch;

/// Writes `prompt.png`, `query.png` and `map.f32` (little-endian, row-major, size x size). `map_of` makes
/// the map of a query and its prompt, both RGB8.
pub fn write(
    dir: &Path,
    size: usize,
    map_of: impl FnOnce(&[u8], &[u8]) -> Result<Vec<f32>>,
) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("{}: cannot be made", dir.display()))?;
    let (prompt, query) = (draw(size, false), draw(size, true));
    let map = map_of(&query, &prompt)?;
    for (name, rgb) in [("prompt.png", prompt), ("query.png", query)] {
        let picture = Picture::from_rgb8(size as u32, size as u32, rgb)?;
        let path = dir.join(name);
        save_rgb(&path, &picture).with_context(|| path.display().to_string())?;
    }
    let bytes: Vec<u8> = map.iter().flat_map(|v| v.to_le_bytes()).collect();
    let path = dir.join("map.f32");
    write_atomic(&path, &bytes).with_context(|| path.display().to_string())
}

/// The training framework's map of one pair of RGB8 pictures.
pub fn reference(
    model: &OnePromptNet,
    query: &[u8],
    prompt: &[u8],
    size: usize,
    device: &Device,
) -> Result<Vec<f32>> {
    let images = batch::images(&[query, prompt], size, device);
    let (q, p) = model.encoder.forward(images).halves();
    sigmoid(model.head.forward(&q, &p))
        .into_data()
        .try_to_vec::<f32>()
        .map_err(|e| anyhow!("{e:?}"))
}

/// A drawn plate with rings; the query is moved a little and has a scratch and a missing ring.
fn draw(size: usize, query: bool) -> Vec<u8> {
    let s = size as f32 / 256.0;
    let shift = if query { 3.0 } else { 0.0 };
    let mut rgb = Vec::with_capacity(size * size * 3);
    for i in 0..size * size {
        let x = (i % size) as f32 / s - shift;
        let y = (i / size) as f32 / s + shift * 0.5;
        let mut v = 150.0 + 20.0 * ((x * 0.21).sin() * (y * 0.17).cos());
        for (n, (cx, cy)) in
            [(70.0, 70.0), (186.0, 70.0), (70.0, 186.0), (186.0, 186.0)].iter().enumerate()
        {
            let r = ((x - cx) * (x - cx) + (y - cy) * (y - cy)).sqrt();
            let missing = query && n == 2;
            if !missing && (22.0..30.0).contains(&r) {
                v = 60.0;
            }
        }
        let scratch = query && (y - 128.0 - 0.3 * (x - 128.0)).abs() < 1.5;
        if scratch && (90.0..170.0).contains(&x) {
            v = 235.0;
        }
        let v = v.clamp(0.0, 255.0);
        rgb.extend([v as u8, (v * 0.95) as u8, (v * 0.9) as u8]);
    }
    rgb
}

/// Files of a golden pair.
const FILES: [&str; 3] = ["prompt.png", "query.png", "map.f32"];

/// Copies the golden pair of one package's folder into another's, if there is one.
///
/// # Errors
/// A file that cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (from.join(GOLDEN_FOLDER), to.join(GOLDEN_FOLDER));
    if !from.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(&to).with_context(|| to.display().to_string())?;
    for name in FILES {
        let file = from.join(name);
        let bytes = std::fs::read(&file).with_context(|| file.display().to_string())?;
        let file = to.join(name);
        write_atomic(&file, &bytes).with_context(|| file.display().to_string())?;
    }
    Ok(())
}
