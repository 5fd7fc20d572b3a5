//! One frame of Motion JPEG, as USB cameras deliver them.

use super::pixels::{Layout, PixelError};
use image::ImageDecoder;
use image::codecs::jpeg::JpegDecoder;
use std::io::Cursor;

/// Largest compressed frame: 64 MiB is more than a byte a pixel at the largest size.
const BYTES_MAX: usize = 64 << 20;

/// Decodes one frame to RGB.
///
/// # Errors
/// Too many bytes, torn, not a JPEG, or of another size than `layout` says.
pub(super) fn decode(layout: Layout, buffer: &[u8]) -> Result<Vec<u8>, PixelError> {
    if buffer.len() > BYTES_MAX {
        let why = format!("{} bytes; a frame has at most {BYTES_MAX}", buffer.len());
        return Err(PixelError::Jpeg(why));
    }
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
    use crate::camera::pixels::{PixelFormat, to_rgb};
    use proptest::prelude::*;

    fn layout(format: PixelFormat, width: u32, height: u32, stride: u32) -> Layout {
        Layout { format, width, height, stride }
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

    #[test]
    fn an_oversized_buffer_is_refused_before_it_is_decoded() {
        let mut bytes = jpeg(32, 16);
        bytes.resize(BYTES_MAX + 1, 0);
        let error = decode(layout(PixelFormat::Mjpeg, 32, 16, 0), &bytes).unwrap_err().to_string();
        assert!(error.contains("at most 67108864"), "{error}");
    }

    proptest! {
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
    }
}
