//! What a USB camera calls a frame of Motion JPEG, through the conversion that the V4L2 camera uses.

#![no_main]

use libfuzzer_sys::fuzz_target;
use touchstone_board::camera::pixels::{Layout, PixelFormat, to_rgb};
use touchstone_fuzz::heap;

/// Longest side that is tried, for speed.
const SIDE_MAX: u32 = 256;
/// Bytes held at once: some tables, ...
const HEAP_BASE: usize = 256 << 10;
/// ... so many for each pixel (the picture, its planes and a progressive frame's coefficients), ...
const HEAP_PER_PIXEL: usize = 32;
/// ... and so many for each byte that came (its copies).
const HEAP_PER_BYTE: usize = 8;

/// The size that the first frame header states, if it is one to try; the camera is taken to be set to it.
fn stated(bytes: &[u8]) -> Option<(u32, u32)> {
    let header =
        bytes.windows(9).find(|header| header[0] == 0xFF && (0xC0..=0xC2).contains(&header[1]))?;
    let side = |at: usize| u32::from(u16::from_be_bytes([header[at], header[at + 1]]));
    let size = (side(7), side(5));
    let fits = |side| (1..=SIDE_MAX).contains(&side);
    (fits(size.0) && fits(size.1)).then_some(size)
}

fuzz_target!(|bytes: &[u8]| {
    let (width, height) = stated(bytes).unwrap_or((64, 48));
    let layout = Layout { format: PixelFormat::Mjpeg, width, height, stride: 0 };
    let (converted, held) = heap::peak(|| to_rgb(layout, bytes));
    let pixels = width as usize * height as usize;
    let most = HEAP_BASE + HEAP_PER_PIXEL * pixels + HEAP_PER_BYTE * bytes.len();
    assert!(held <= most, "{held} bytes held for {width}x{height} from {} bytes", bytes.len());
    match converted {
        Ok(rgb) => {
            assert_eq!(rgb.len(), 3 * pixels);
            let other = to_rgb(Layout { width: width + 1, ..layout }, bytes);
            assert!(other.is_err(), "a camera set to another size took it too");
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
});
