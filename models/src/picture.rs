//! Pictures: RGB, 8 bits, of a size that makes sense; and the way from and to files.
//!
//! Whatever lies in a file, [`Picture::open`] ends in a picture or in an error that names the
//! file, what is wrong with it and what to do. Limits hold before anything is decoded.

mod container;
mod error;
mod save;

pub use error::{Fault, PictureError};
pub use save::{encode_map16, encode_png, save_map16, save_mask, save_rgb};

use crate::files;
use crate::preprocess::Scaler;
use container::{Format, Probe};
use fast_image_resize::PixelType;
use fast_image_resize::images::Image;
use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, RgbImage};
use std::io::{self, Cursor};
use std::path::Path;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Most bytes a picture file may have.
pub const PICTURE_BYTES_MAX: u64 = 64 << 20;

/// Longest side, in pixels.
pub const PICTURE_SIDE_MAX: u32 = 16384;

/// Shortest side, in pixels: below it there is nothing to see.
pub const PICTURE_SIDE_MIN: u32 = 16;

/// Most pixels in all: bounds the memory of decoding, which the sides alone do not.
pub const PICTURE_PIXELS_MAX: u64 = 64 << 20;

/// Most bytes that a PNG may unfold to while it is decoded: 16-bit RGBA of the greatest size.
const DECODE_BYTES_MAX: u64 = PICTURE_PIXELS_MAX * 8;

/// A rectangle of whole pixels, origin at the top left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub w: u32,
    /// Height.
    pub h: u32,
}

impl Rect {
    /// An error unless the rectangle is not empty and lies within `width` x `height`.
    pub fn check_within(&self, width: u32, height: u32) -> Result<(), PictureError> {
        let ends = |start: u32, length: u32, limit: u32| {
            length > 0 && u64::from(start) + u64::from(length) <= u64::from(limit)
        };
        if ends(self.x, self.w, width) && ends(self.y, self.h, height) {
            return Ok(());
        }
        Err(Fault::Outside { rect: *self, width, height }.into())
    }
}

/// A picture: RGB, 8 bits per channel, rows from the top, each side at least
/// [`PICTURE_SIDE_MIN`].
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} x {})", self.width, self.height)
    }
}

impl Picture {
    /// A picture of `3 * width * height` bytes.
    pub fn from_rgb8(width: u32, height: u32, rgb: Vec<u8>) -> Result<Picture, PictureError> {
        check_size(width.into(), height.into())?;
        let expected = 3 * width as usize * height as usize;
        if rgb.len() != expected {
            return Err(Fault::Length { given: rgb.len(), expected }.into());
        }
        Ok(Picture { width, height, rgb })
    }

    /// Reads a PNG or JPEG; the content decides, not the name. Grey, palette and 16-bit pictures
    /// become RGB8; EXIF orientation is applied, because prompts are taken with phones.
    ///
    /// An alpha channel is dropped, not blended: the colour under it is what was recorded, and a
    /// made-up background would show as a defect's edge. Colour profiles are not applied.
    pub fn open(path: &Path) -> Result<Picture, PictureError> {
        Self::open_inner(path).map_err(|e| e.in_file(path))
    }

    fn open_inner(path: &Path) -> Result<Picture, PictureError> {
        let unreadable = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound => Fault::Missing,
            io::ErrorKind::FileTooLarge => Fault::TooManyBytes,
            _ => Fault::Unreadable(e.to_string()),
        };
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        // A pipe or device would block or never end.
        if !metadata.is_file() {
            return Err(if metadata.is_dir() { Fault::Folder } else { Fault::NotAFile }.into());
        }
        if metadata.len() > PICTURE_BYTES_MAX {
            return Err(Fault::TooManyBytes.into());
        }
        let bytes = files::read_limited(path, PICTURE_BYTES_MAX).map_err(unreadable)?;
        Self::decode(&bytes)
    }

    /// As [`Picture::open`], for the content of a file.
    pub fn decode(bytes: &[u8]) -> Result<Picture, PictureError> {
        let Probe { format, width, height } = container::probe(bytes)?;
        check_size(width.into(), height.into())?;
        let (mut decoded, orientation) = match format {
            Format::Png => decode_png(bytes)?,
            Format::Jpeg => decode_jpeg(bytes)?,
        };
        decoded.apply_orientation(orientation);
        let rgb = decoded.into_rgb8();
        Self::from_rgb8(rgb.width(), rgb.height(), rgb.into_raw())
    }

    /// Columns.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// `3 * width * height` bytes, rows from the top.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The rectangle of the whole picture.
    pub fn bounds(&self) -> Rect {
        Rect { x: 0, y: 0, w: self.width, h: self.height }
    }

    /// The picture in another size, scaled like the encoder's input is (see
    /// [`crate::preprocess::Scaler`]). A side beyond the limits is brought to the limit.
    pub fn resize(&self, width: u32, height: u32) -> Picture {
        let width = width.clamp(PICTURE_SIDE_MIN, PICTURE_SIDE_MAX);
        let height = height.clamp(PICTURE_SIDE_MIN, PICTURE_SIDE_MAX);
        let mut target = Image::new(width, height, PixelType::U8x3);
        Scaler::new().scale(self, self.bounds(), &mut target);
        Picture { width, height, rgb: target.into_vec() }
    }

    /// The part of the picture within `rect`.
    pub fn crop(&self, rect: Rect) -> Result<Picture, PictureError> {
        rect.check_within(self.width, self.height)?;
        let mut rgb = Vec::with_capacity(3 * rect.w as usize * rect.h as usize);
        for y in rect.y..rect.y + rect.h {
            let start = 3 * (y as usize * self.width as usize + rect.x as usize);
            rgb.extend_from_slice(&self.rgb[start..start + 3 * rect.w as usize]);
        }
        Self::from_rgb8(rect.w, rect.h, rgb)
    }
}

/// The size limits; `u64` because a PNG may state any 32-bit size.
fn check_size(width: u64, height: u64) -> Result<(), Fault> {
    if width.min(height) < u64::from(PICTURE_SIDE_MIN) {
        return Err(Fault::TooSmall { width, height });
    }
    let too_long = width.max(height) > u64::from(PICTURE_SIDE_MAX);
    if too_long || width * height > PICTURE_PIXELS_MAX {
        return Err(Fault::TooLarge { width, height });
    }
    Ok(())
}

fn decode_png(bytes: &[u8]) -> Result<(DynamicImage, Orientation), Fault> {
    let damaged = |e: image::ImageError| Fault::Damaged(e.to_string());
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    let mut decoder = PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(damaged)?;
    // A broken EXIF block is no reason to refuse sound pixels.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Ok((DynamicImage::from_decoder(decoder).map_err(damaged)?, orientation))
}

/// Decodes strictly. The `image` crate's JPEG decoder fills what is missing or damaged with grey,
/// and a grey half must not be taken for a good part. JPEG has no checksum: impossible codes are an
/// error here and a missing end is one in `container`, but bytes lost or flipped within a whole
/// file can still come through as false colours.
fn decode_jpeg(bytes: &[u8]) -> Result<(DynamicImage, Orientation), Fault> {
    let damaged = |e: zune_jpeg::errors::DecodeErrors| Fault::Damaged(format!("{e:?}"));
    let side_max = PICTURE_SIDE_MAX as usize;
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(side_max)
        .set_max_height(side_max);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let wanted = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    let pixels = decoder.decode().map_err(damaged)?;
    let (width, height) = decoder.dimensions().unwrap_or((0, 0));
    let orientation = decoder
        .exif()
        .and_then(|exif| Orientation::from_exif_chunk(exif))
        .unwrap_or(Orientation::NoTransforms);
    let rgb = if grey { pixels.iter().flat_map(|&v| [v, v, v]).collect() } else { pixels };
    let image = RgbImage::from_raw(width as u32, height as u32, rgb)
        .ok_or_else(|| Fault::Damaged("its size and its pixels disagree".to_string()))?;
    Ok((DynamicImage::ImageRgb8(image), orientation))
}

#[cfg(test)]
mod tests;
