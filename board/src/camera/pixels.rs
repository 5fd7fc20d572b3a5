//! From what a sensor delivers to RGB: YUYV, GREY, RGB3, BGR3 and MJPEG.
//!
//! Every length is checked against the buffer before a pixel is read, so a short or torn buffer is an error
//! and never a picture of half a part. YUV is BT.601 limited range in fixed point, the same on every board.

use image::ImageDecoder;
use image::codecs::jpeg::JpegDecoder;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Cursor;

/// How a camera packs its pixels, by V4L2's four letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PixelFormat {
    /// YUV 4:2:2, two bytes a pixel: Y0 U Y1 V.
    #[serde(rename = "YUYV")]
    Yuyv,
    /// Eight-bit grey.
    #[serde(rename = "GREY")]
    Grey,
    /// Red, green, blue, a byte each.
    #[serde(rename = "RGB3")]
    Rgb,
    /// Blue, green, red, a byte each.
    #[serde(rename = "BGR3")]
    Bgr,
    /// One JPEG a frame.
    #[serde(rename = "MJPG")]
    Mjpeg,
}

impl PixelFormat {
    /// Every format.
    pub const ALL: [PixelFormat; 5] = [
        PixelFormat::Yuyv,
        PixelFormat::Grey,
        PixelFormat::Rgb,
        PixelFormat::Bgr,
        PixelFormat::Mjpeg,
    ];

    /// V4L2's four letters.
    pub fn letters(self) -> [u8; 4] {
        match self {
            PixelFormat::Yuyv => *b"YUYV",
            PixelFormat::Grey => *b"GREY",
            PixelFormat::Rgb => *b"RGB3",
            PixelFormat::Bgr => *b"BGR3",
            PixelFormat::Mjpeg => *b"MJPG",
        }
    }

    /// V4L2's number for the four letters.
    pub fn fourcc(self) -> u32 {
        u32::from_le_bytes(self.letters())
    }

    /// Bytes per pixel; `None` for a compressed format.
    pub fn bytes(self) -> Option<usize> {
        match self {
            PixelFormat::Grey => Some(1),
            PixelFormat::Yuyv => Some(2),
            PixelFormat::Rgb | PixelFormat::Bgr => Some(3),
            PixelFormat::Mjpeg => None,
        }
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.letters().iter().try_for_each(|&letter| write!(f, "{}", char::from(letter)))
    }
}

/// Size and packing of the buffers a camera delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How the pixels are packed.
    pub format: PixelFormat,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next, or 0 for rows without padding; ignored for MJPEG.
    pub stride: u32,
}

/// Why a buffer is no picture. Such a frame is dropped and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PixelError {
    /// Fewer bytes than the layout needs.
    Short {
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        got: usize,
    },
    /// The layout itself cannot be: an odd YUYV width, a stride below a row, a size beyond memory.
    Layout(Layout),
    /// The JPEG does not decode.
    Jpeg(String),
    /// The JPEG is of another size than the camera was set to.
    Size {
        /// Size found.
        got: (u32, u32),
        /// Size set.
        wanted: (u32, u32),
    },
}

impl fmt::Display for PixelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PixelError::Short { needed, got } => write!(f, "short buffer: {got} of {needed} bytes"),
            PixelError::Layout(layout) => write!(f, "impossible layout {layout:?}"),
            PixelError::Jpeg(why) => write!(f, "undecodable JPEG: {why}"),
            PixelError::Size { got, wanted } => {
                write!(
                    f,
                    "a JPEG of {}x{}, the camera is set to {}x{}",
                    got.0, got.1, wanted.0, wanted.1
                )
            }
        }
    }
}

impl std::error::Error for PixelError {}

/// Converts one buffer to RGB, row-major, `width * height * 3` bytes.
///
/// # Errors
/// The buffer is too short or the JPEG is broken or of another size.
pub fn to_rgb(layout: Layout, buffer: &[u8]) -> Result<Vec<u8>, PixelError> {
    let Some(bytes) = layout.format.bytes() else { return decode_jpeg(layout, buffer) };
    let impossible = || PixelError::Layout(layout);
    let (width, height) = (layout.width as usize, layout.height as usize);
    let row = width.checked_mul(bytes).ok_or_else(impossible)?;
    let stride = if layout.stride == 0 { row } else { layout.stride as usize };
    let odd = layout.format == PixelFormat::Yuyv && width % 2 == 1;
    if width == 0 || height == 0 || stride < row || odd {
        return Err(impossible());
    }
    // The last row may come without its padding.
    let needed =
        stride.checked_mul(height - 1).and_then(|n| n.checked_add(row)).ok_or_else(impossible)?;
    let Some(buffer) = buffer.get(..needed) else {
        return Err(PixelError::Short { needed, got: buffer.len() });
    };
    let mut rgb = Vec::with_capacity(width * height * 3);
    for line in buffer.chunks(stride) {
        let line = &line[..row];
        match layout.format {
            PixelFormat::Grey => rgb.extend(line.iter().flat_map(|&v| [v, v, v])),
            PixelFormat::Rgb => rgb.extend_from_slice(line),
            PixelFormat::Bgr => rgb.extend(line.chunks_exact(3).flat_map(|p| [p[2], p[1], p[0]])),
            PixelFormat::Yuyv => rgb.extend(line.chunks_exact(4).flat_map(yuyv)),
            PixelFormat::Mjpeg => {}
        }
    }
    Ok(rgb)
}

/// Two pixels of BT.601 limited range, in 1/256 steps with rounding.
fn yuyv(pair: &[u8]) -> [u8; 6] {
    let (u, v) = (i32::from(pair[1]) - 128, i32::from(pair[3]) - 128);
    let (red, green, blue) = (409 * v, -100 * u - 208 * v, 516 * u);
    let pixel = |y: u8| {
        let y = 298 * (i32::from(y) - 16) + 128;
        [red, green, blue].map(|chroma| ((y + chroma) >> 8).clamp(0, 255) as u8)
    };
    let ([a, b, c], [d, e, f]) = (pixel(pair[0]), pixel(pair[2]));
    [a, b, c, d, e, f]
}

fn decode_jpeg(layout: Layout, buffer: &[u8]) -> Result<Vec<u8>, PixelError> {
    let bad = |e: image::ImageError| PixelError::Jpeg(e.to_string());
    let decoder = JpegDecoder::new(Cursor::new(complete(buffer)?)).map_err(bad)?;
    // The header's size is checked before anything of that size is allocated.
    let (got, wanted) = (decoder.dimensions(), (layout.width, layout.height));
    if got != wanted {
        return Err(PixelError::Size { got, wanted });
    }
    Ok(image::DynamicImage::from_decoder(decoder).map_err(bad)?.into_rgb8().into_raw())
}

/// Bytes of padding that a camera may leave after the end marker.
const PADDING_MAX: usize = 4096;
/// Makes the decoder use the standard Huffman tables, as for Motion JPEG in an AVI file.
const STANDARD_TABLES: [u8; 9] = *b"\xFF\xE0\x00\x07AVI1\0";

/// The frame as a whole JPEG. Decoders fill a torn frame's rest with grey, which would be a picture of half
/// a part, so the end marker has to be there; and USB cameras leave the standard Huffman tables out.
fn complete(buffer: &[u8]) -> Result<Vec<u8>, PixelError> {
    let torn = |what: &str| PixelError::Jpeg(what.to_owned());
    if !buffer.starts_with(&[0xFF, 0xD8]) {
        return Err(torn("no start marker"));
    }
    let tail = buffer.len().saturating_sub(PADDING_MAX).max(2);
    let end = buffer[tail..].windows(2).rposition(|pair| pair == [0xFF, 0xD9]);
    let end = tail + end.ok_or_else(|| torn("no end marker: a torn frame"))? + 2;
    let (start, rest) = buffer[..end].split_at(2);
    let tables: &[u8] = if has_tables(rest) { &[] } else { &STANDARD_TABLES };
    Ok([start, tables, rest].concat())
}

/// Whether a Huffman table comes before the scan.
fn has_tables(mut segments: &[u8]) -> bool {
    while let [0xFF, marker, high, low, ..] = *segments {
        match marker {
            0xC4 => return true,
            0xDA => return false,
            _ => {}
        }
        let next = 2 + usize::from(u16::from_be_bytes([high, low]));
        segments = segments.get(next..).unwrap_or_default();
    }
    // Not a plain sequence of segments: the decoder has to make sense of it.
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layout(format: PixelFormat, width: u32, height: u32, stride: u32) -> Layout {
        Layout { format, width, height, stride }
    }

    #[test]
    fn literal_bytes() {
        let rgb = to_rgb(layout(PixelFormat::Rgb, 2, 1, 0), &[1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(rgb, [1, 2, 3, 4, 5, 6]);
        let bgr = to_rgb(layout(PixelFormat::Bgr, 2, 1, 0), &[1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(bgr, [3, 2, 1, 6, 5, 4]);
        // A padded row, and a last row without its padding.
        let grey = to_rgb(layout(PixelFormat::Grey, 2, 2, 3), &[9, 8, 0xEE, 7, 6]).unwrap();
        assert_eq!(grey, [9, 9, 9, 8, 8, 8, 7, 7, 7, 6, 6, 6]);
    }

    #[test]
    fn yuyv_is_bt601() {
        // Black and white of the limited range, then the four colours a test chart has.
        let convert = |bytes: [u8; 4]| to_rgb(layout(PixelFormat::Yuyv, 2, 1, 0), &bytes).unwrap();
        assert_eq!(convert([16, 128, 235, 128]), [0, 0, 0, 255, 255, 255]);
        assert_eq!(convert([82, 90, 82, 240]), [255, 1, 0, 255, 1, 0]);
        assert_eq!(convert([145, 54, 145, 34]), [0, 255, 1, 0, 255, 1]);
        assert_eq!(convert([41, 240, 41, 110]), [0, 0, 255, 0, 0, 255]);
        assert_eq!(convert([0, 128, 255, 128]), [0, 0, 0, 255, 255, 255]);
    }

    #[test]
    fn short_and_impossible_buffers_are_refused() {
        let short = to_rgb(layout(PixelFormat::Yuyv, 4, 2, 0), &[0; 15]);
        assert_eq!(short, Err(PixelError::Short { needed: 16, got: 15 }));
        for bad in [
            layout(PixelFormat::Yuyv, 3, 1, 0),
            layout(PixelFormat::Rgb, 4, 1, 11),
            layout(PixelFormat::Grey, 0, 1, 0),
        ] {
            assert_eq!(to_rgb(bad, &[0; 64]), Err(PixelError::Layout(bad)));
        }
    }

    fn jpeg(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let picture = image::RgbImage::from_fn(width, height, |x, _| {
            image::Rgb([if x < width / 2 { 0 } else { 255 }; 3])
        });
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
        picture.write_with_encoder(encoder).unwrap();
        bytes
    }

    #[test]
    fn mjpeg_decodes_or_says_why() {
        let bytes = jpeg(32, 16);
        let rgb = to_rgb(layout(PixelFormat::Mjpeg, 32, 16, 0), &bytes).unwrap();
        assert_eq!(rgb.len(), 32 * 16 * 3);
        assert!(rgb[0] < 8 && rgb[31 * 3] > 247);
        let wrong = to_rgb(layout(PixelFormat::Mjpeg, 16, 16, 0), &bytes);
        assert_eq!(wrong, Err(PixelError::Size { got: (32, 16), wanted: (16, 16) }));
        let empty = to_rgb(layout(PixelFormat::Mjpeg, 32, 16, 0), &[]);
        assert!(matches!(empty, Err(PixelError::Jpeg(_))));
    }

    #[test]
    fn torn_jpegs_are_refused_and_padding_is_not() {
        let whole = jpeg(32, 16);
        let padded = [whole.as_slice(), &[0; 300]].concat();
        let wanted = layout(PixelFormat::Mjpeg, 32, 16, 0);
        assert_eq!(to_rgb(wanted, &padded), to_rgb(wanted, &whole));
        let torn = to_rgb(wanted, &whole[..whole.len() - 20]);
        assert!(torn.is_err_and(|e| e.to_string().contains("torn")));
    }

    #[test]
    fn motion_jpeg_without_tables_is_the_same_picture() {
        let whole = jpeg(32, 16);
        // Cut the DHT segments (the encoder writes the standard tables) out of the header.
        let mut bare = whole[..2].to_vec();
        let mut rest = &whole[2..];
        while rest[1] != 0xDA {
            let (segment, after) =
                rest.split_at(2 + usize::from(u16::from_be_bytes([rest[2], rest[3]])));
            if segment[1] != 0xC4 {
                bare.extend_from_slice(segment);
            }
            rest = after;
        }
        bare.extend_from_slice(rest);
        assert!(bare.len() + 400 < whole.len());
        let wanted = layout(PixelFormat::Mjpeg, 32, 16, 0);
        assert_eq!(to_rgb(wanted, &bare).unwrap(), to_rgb(wanted, &whole).unwrap());
    }

    proptest! {
        #[test]
        fn nothing_panics_and_lengths_hold(
            format in 0usize..5, width in 0u32..40, height in 0u32..40, stride in 0u32..200,
            bytes in prop::collection::vec(any::<u8>(), 0..4096),
        ) {
            let layout = layout(PixelFormat::ALL[format], width, height, stride);
            if let Ok(rgb) = to_rgb(layout, &bytes) {
                prop_assert_eq!(rgb.len(), (width * height * 3) as usize);
            }
        }

        #[test]
        fn a_cut_or_damaged_jpeg_never_panics(cut in 0usize..900, at in 0usize..900, to in any::<u8>()) {
            let mut bytes = jpeg(32, 16);
            let at = at % bytes.len();
            bytes[at] = to;
            bytes.truncate(bytes.len().saturating_sub(cut).max(1));
            if let Ok(rgb) = to_rgb(layout(PixelFormat::Mjpeg, 32, 16, 0), &bytes) {
                prop_assert_eq!(rgb.len(), 32 * 16 * 3);
            }
        }

        #[test]
        fn huge_layouts_are_refused(width in 1u32.., height in 1u32.., stride in any::<u32>()) {
            prop_assume!(u64::from(width) * u64::from(height) > 1 << 12);
            for format in [PixelFormat::Grey, PixelFormat::Yuyv, PixelFormat::Rgb] {
                prop_assert!(to_rgb(layout(format, width, height, stride), &[0; 64]).is_err());
            }
        }
    }
}
