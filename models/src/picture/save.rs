//! Writing PNG files, whole or not at all.

use super::{Fault, Picture, PictureError};
use crate::files;
use crate::map::Map;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use std::path::Path;

/// The picture as the bytes of a PNG file, lossless.
pub fn encode_png(picture: &Picture) -> Result<Vec<u8>, PictureError> {
    encode(picture.rgb(), picture.width(), picture.height(), ExtendedColorType::Rgb8)
}

/// Writes a picture as an 8-bit RGB PNG.
pub fn save_rgb(path: &Path, picture: &Picture) -> Result<(), PictureError> {
    write(path, encode_png(picture).map_err(|e| e.in_file(path))?)
}

/// Writes a map as a 16-bit grey PNG of `width` x `height`, resampled bilinearly; 65535 = 1.0.
/// A NaN is written as 1.0: what cannot be judged is shown as a defect.
pub fn save_map16(path: &Path, map: &Map, width: u32, height: u32) -> Result<(), PictureError> {
    write(path, encode_map16(map, width, height).map_err(|e| e.in_file(path))?)
}

/// As [`save_map16`], for the bytes of the file.
pub fn encode_map16(map: &Map, width: u32, height: u32) -> Result<Vec<u8>, PictureError> {
    let level = |v: f32| {
        if v.is_nan() { u16::MAX } else { (v.clamp(0.0, 1.0) * 65535.0).round() as u16 }
    };
    let bytes: Vec<u8> =
        map.resize(width, height).values.iter().flat_map(|&v| level(v).to_ne_bytes()).collect();
    encode(&bytes, width, height, ExtendedColorType::L16)
}

/// Writes a mask as an 8-bit grey PNG: 255 where `mask` is set.
pub fn save_mask(path: &Path, mask: &[bool], width: u32, height: u32) -> Result<(), PictureError> {
    let bytes: Vec<u8> = mask.iter().map(|&set| if set { 255 } else { 0 }).collect();
    let png = encode(&bytes, width, height, ExtendedColorType::L8).map_err(|e| e.in_file(path))?;
    write(path, png)
}

fn encode(
    bytes: &[u8],
    width: u32,
    height: u32,
    color: ExtendedColorType,
) -> Result<Vec<u8>, PictureError> {
    // The encoder panics on a wrong length.
    let expected =
        (width as usize * height as usize).saturating_mul(usize::from(color.bits_per_pixel()) / 8);
    if bytes.len() != expected {
        return Err(Fault::Length { given: bytes.len(), expected }.into());
    }
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive)
        .write_image(bytes, width, height, color)
        .map_err(|e| Fault::Unwritable(e.to_string()))?;
    Ok(png)
}

fn write(path: &Path, png: Vec<u8>) -> Result<(), PictureError> {
    files::write_atomic(path, &png)
        .map_err(|e| PictureError::from(Fault::Unwritable(e.to_string())).in_file(path))
}
