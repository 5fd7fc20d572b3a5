//! From what a sensor delivers to RGB: YUYV, NV12, GREY, RGB3, BGR3 and MJPEG.
//!
//! Every length is checked against the buffer before a pixel is read, so a short or torn buffer is an error
//! and never a picture of half a part. YUV is BT.601 limited range in fixed point, the same on every board.

use super::jpeg;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a camera packs its pixels, by V4L2's four letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PixelFormat {
    /// YUV 4:2:2, two bytes a pixel: Y0 U Y1 V.
    #[serde(rename = "YUYV")]
    Yuyv,
    /// YUV 4:2:0: a plane of Y, then one of U and V in turns at half width and height.
    #[serde(rename = "NV12")]
    Nv12,
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
    pub const ALL: [PixelFormat; 6] = [
        PixelFormat::Yuyv,
        PixelFormat::Nv12,
        PixelFormat::Grey,
        PixelFormat::Rgb,
        PixelFormat::Bgr,
        PixelFormat::Mjpeg,
    ];

    /// V4L2's four letters.
    pub fn letters(self) -> [u8; 4] {
        match self {
            PixelFormat::Yuyv => *b"YUYV",
            PixelFormat::Nv12 => *b"NV12",
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

    /// The format of that V4L2 number, if it is one of ours.
    pub fn from_fourcc(fourcc: u32) -> Option<PixelFormat> {
        PixelFormat::ALL.into_iter().find(|format| format.fourcc() == fourcc)
    }

    /// Whether pixels come in pairs, so that an odd width cannot be.
    pub fn paired(self) -> bool {
        matches!(self, PixelFormat::Yuyv | PixelFormat::Nv12)
    }

    /// Bytes per pixel of a row (of the first plane); `None` for a compressed format.
    pub fn bytes(self) -> Option<usize> {
        match self {
            PixelFormat::Grey | PixelFormat::Nv12 => Some(1),
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
    /// The layout itself cannot be: an odd width of a format that packs pairs, a stride below a row, a size beyond memory.
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
    let Some(bytes) = layout.format.bytes() else { return jpeg::decode(layout, buffer) };
    let impossible = || PixelError::Layout(layout);
    let (width, height) = (layout.width as usize, layout.height as usize);
    let row = width.checked_mul(bytes).ok_or_else(impossible)?;
    let stride = if layout.stride == 0 { row } else { layout.stride as usize };
    let odd = layout.format.paired() && width % 2 == 1;
    if width == 0 || height == 0 || stride < row || odd {
        return Err(impossible());
    }
    let chroma_rows = if layout.format == PixelFormat::Nv12 { height.div_ceil(2) } else { 0 };
    let rows = height.checked_add(chroma_rows).ok_or_else(impossible)?;
    // The last row may come without its padding.
    let needed =
        stride.checked_mul(rows - 1).and_then(|n| n.checked_add(row)).ok_or_else(impossible)?;
    let Some(buffer) = buffer.get(..needed) else {
        return Err(PixelError::Short { needed, got: buffer.len() });
    };
    let mut rgb = Vec::with_capacity(width * height * 3);
    if layout.format == PixelFormat::Nv12 {
        let (luma, chroma) = buffer.split_at(stride * height);
        for (y, line) in luma.chunks(stride).enumerate() {
            let colours = chroma[y / 2 * stride..][..row].chunks_exact(2);
            let pairs = line[..row].chunks_exact(2).zip(colours);
            rgb.extend(pairs.flat_map(|(y, uv)| yuv_pair([y[0], uv[0], y[1], uv[1]])));
        }
        return Ok(rgb);
    }
    for line in buffer.chunks(stride) {
        let line = &line[..row];
        match layout.format {
            PixelFormat::Grey => rgb.extend(line.iter().flat_map(|&v| [v, v, v])),
            PixelFormat::Rgb => rgb.extend_from_slice(line),
            PixelFormat::Bgr => rgb.extend(line.chunks_exact(3).flat_map(|p| [p[2], p[1], p[0]])),
            PixelFormat::Yuyv => {
                rgb.extend(line.chunks_exact(4).flat_map(|p| yuv_pair([p[0], p[1], p[2], p[3]])));
            }
            // Done above: one has planes, the other no rows.
            PixelFormat::Nv12 | PixelFormat::Mjpeg => {}
        }
    }
    Ok(rgb)
}

/// Two pixels (Y0 U Y1 V) of BT.601 limited range, in 1/256 steps with rounding.
fn yuv_pair(pair: [u8; 4]) -> [u8; 6] {
    let (u, v) = (i32::from(pair[1]) - 128, i32::from(pair[3]) - 128);
    let (red, green, blue) = (409 * v, -100 * u - 208 * v, 516 * u);
    let pixel = |y: u8| {
        let y = 298 * (i32::from(y) - 16) + 128;
        [red, green, blue].map(|chroma| ((y + chroma) >> 8).clamp(0, 255) as u8)
    };
    let ([a, b, c], [d, e, f]) = (pixel(pair[0]), pixel(pair[2]));
    [a, b, c, d, e, f]
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
    fn nv12_shares_a_colour_among_four_pixels() {
        // A red and a blue block of 2x2, with a padded stride; the last row without its padding.
        let luma = [82, 82, 41, 41, 0xEE, 82, 82, 41, 41, 0xEE];
        let chroma = [90, 240, 240, 110];
        let bytes = [luma.as_slice(), &chroma].concat();
        let rgb = to_rgb(layout(PixelFormat::Nv12, 4, 2, 5), &bytes).unwrap();
        let row = [255, 1, 0, 255, 1, 0, 0, 0, 255, 0, 0, 255];
        assert_eq!(rgb, [row, row].concat());
        let short = to_rgb(layout(PixelFormat::Nv12, 4, 2, 5), &bytes[..13]);
        assert_eq!(short, Err(PixelError::Short { needed: 14, got: 13 }));
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

    proptest! {
        #[test]
        fn nothing_panics_and_lengths_hold(
            format in 0usize..6, width in 0u32..40, height in 0u32..40, stride in 0u32..200,
            bytes in prop::collection::vec(any::<u8>(), 0..4096),
        ) {
            let layout = layout(PixelFormat::ALL[format], width, height, stride);
            if let Ok(rgb) = to_rgb(layout, &bytes) {
                prop_assert_eq!(rgb.len(), (width * height * 3) as usize);
            }
        }

        #[test]
        fn nv12_is_yuyv_with_its_rows_in_pairs(
            pairs in 1usize..8, rows in 1usize..6, bytes in prop::collection::vec(any::<u8>(), 256),
        ) {
            let (width, height) = (2 * pairs, 2 * rows);
            let nv12 = &bytes[..width * height * 3 / 2];
            let (luma, chroma) = nv12.split_at(width * height);
            let mut yuyv = Vec::new();
            for (y, line) in luma.chunks(width).enumerate() {
                let colours = chroma[y / 2 * width..].chunks(2);
                yuyv.extend(line.chunks(2).zip(colours).flat_map(|(y, c)| [y[0], c[0], y[1], c[1]]));
            }
            let size = (width as u32, height as u32);
            prop_assert_eq!(
                to_rgb(layout(PixelFormat::Nv12, size.0, size.1, 0), nv12),
                to_rgb(layout(PixelFormat::Yuyv, size.0, size.1, 0), &yuyv)
            );
        }

        #[test]
        fn huge_layouts_are_refused(width in 1u32.., height in 1u32.., stride in any::<u32>()) {
            prop_assume!(u64::from(width) * u64::from(height) > 1 << 12);
            for format in [PixelFormat::Grey, PixelFormat::Yuyv, PixelFormat::Nv12, PixelFormat::Rgb] {
                prop_assert!(to_rgb(layout(format, width, height, stride), &[0; 64]).is_err());
            }
        }
    }
}
