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
    let has_tables = walk(rest).map_err(torn)?;
    let tables: &[u8] = if has_tables { &[] } else { &STANDARD_TABLES };
    Ok([start, tables, rest].concat())
}

/// Goes over the segments up to the scan. Cameras send one baseline frame of one to three components in
/// one scan; of all else that a JPEG may be, a damaged frame is the likelier cause, and decoders were seen
/// to panic there. True where a Huffman table comes before the scan.
fn walk(mut segments: &[u8]) -> Result<bool, &'static str> {
    let (mut tables, mut frame) = (false, None);
    loop {
        // A marker may have fill bytes before it.
        while segments.starts_with(&[0xFF, 0xFF]) {
            segments = &segments[1..];
        }
        let [0xFF, marker, high, low, ..] = *segments else {
            return Err("no marker where a segment should begin");
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (body, rest) = match (segments.get(4..2 + length), segments.get(2 + length..)) {
            (Some(body), Some(rest)) => (body, rest),
            _ => return Err("a segment that is longer than the frame, or has no length"),
        };
        match (marker, frame) {
            (0xC4, _) => tables = true,
            (0xC0 | 0xC1, None) => frame = Some(components(body)?),
            (0xC0..=0xCF, _) if marker != 0xC8 => return Err("not one baseline frame"),
            (0xDA, Some(count)) if body.first() == Some(&count) => {
                let another = rest.windows(2).any(|pair| pair == [0xFF, 0xDA]);
                return if another { Err("more than one scan") } else { Ok(tables) };
            }
            (0xDA, _) => return Err("a scan without all of the frame's components"),
            _ => {}
        }
        segments = rest;
    }
}

/// The number of components of a frame header, once none of them is finer than the first.
fn components(header: &[u8]) -> Result<u8, &'static str> {
    let [8, _, _, _, _, count @ (1 | 3), parts @ ..] = header else {
        return Err("a frame header that is not of 8 bits and one or three components");
    };
    if parts.len() != 3 * usize::from(*count) {
        return Err("a frame header of the wrong length");
    }
    let mut sampling = parts.chunks_exact(3).map(|part| (part[1] >> 4, part[1] & 15));
    let first = sampling.next().unwrap_or_default();
    let sane = |side| matches!(side, 1 | 2 | 4);
    let within = |(h, v): (u8, u8)| (1..=first.0).contains(&h) && (1..=first.1).contains(&v);
    if sane(first.0) && sane(first.1) && sampling.all(within) {
        Ok(*count)
    } else {
        Err("a frame header with colours finer than the brightness")
    }
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

    /// The first was found by fuzzing: the decoder indexed a plane that it had never made.
    #[test]
    fn what_no_camera_sends_is_refused_before_a_decoder_sees_it() {
        let whole = jpeg(32, 16);
        let wanted = layout(PixelFormat::Mjpeg, 32, 16, 0);
        let find = |marker: u8| whole.windows(2).position(|pair| pair == [0xFF, marker]).unwrap();
        let refused = |at: usize, to: u8, why: &str| {
            let mut bytes = whole.clone();
            bytes[at] = to;
            let error = to_rgb(wanted, &bytes).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        };
        let (frame, scan) = (find(0xC0), find(0xDA));
        // The second component's sampling, then its number; progressive; a scan of one component.
        refused(frame + 14, 0x24, "finer than the brightness");
        refused(frame + 9, 2, "one or three components");
        refused(frame + 1, 0xC2, "not one baseline frame");
        refused(scan + 4, 1, "without all");
        refused(scan + 2, 0x7F, "longer than the frame");
        refused(frame, 0, "no marker");
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
