//! A picture of a recipe: any bytes, and a PNG whose chunks the fuzzer fills, with the right checksums.

#![no_main]

use libfuzzer_sys::fuzz_target;
use touchstone_fuzz::heap;
use touchstone_models::picture::{PICTURE_PIXELS_MAX, PICTURE_SIDE_MIN, Picture};

/// Most pixels of a picture that is decoded here; larger ones are the limits' own tests' matter and take too long.
const PIXELS_MAX: u64 = 1 << 18;
/// What decoding may hold: a deflate window and tables, and so much for each pixel at 16 bits and four channels.
const HEAP_BASE: usize = 2 << 20;
const HEAP_PER_PIXEL: usize = 32;

fn chunk(kind: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = (data.len() as u32).to_be_bytes().to_vec();
    let body = [kind, data].concat();
    let mut crc = u32::MAX;
    for byte in &body {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    bytes.extend(body);
    bytes.extend((!crc).to_be_bytes());
    bytes
}

/// What a header of a PNG says, if there is one.
fn pixels(bytes: &[u8]) -> u64 {
    let side = |at: usize| {
        let word = bytes.get(at..at + 4).and_then(|w| w.first_chunk());
        word.map_or(0, |word| u64::from(u32::from_be_bytes(*word)))
    };
    side(16).saturating_mul(side(20))
}

fn decoded(bytes: &[u8]) {
    let said = pixels(bytes);
    if (PIXELS_MAX..=PICTURE_PIXELS_MAX).contains(&said) {
        return;
    }
    let (picture, held) = heap::peak(|| Picture::decode(bytes));
    let most = HEAP_BASE + 8 * bytes.len() + HEAP_PER_PIXEL * said.min(PIXELS_MAX) as usize;
    assert!(held <= most, "{held} bytes held for {said} pixels in {} bytes", bytes.len());
    match picture {
        Ok(picture) => {
            assert!(picture.width().min(picture.height()) >= PICTURE_SIDE_MIN);
            let count = picture.width() as usize * picture.height() as usize;
            assert_eq!(picture.rgb().len(), 3 * count);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fuzz_target!(|bytes: &[u8]| {
    // A JPEG has its own target (mjpeg); its size is not in the same place.
    if !bytes.starts_with(&[0xff, 0xd8]) {
        decoded(bytes);
    }
    let [width, height, depth, colour, interlace, rest @ ..] = bytes else { return };
    let sides = [16 + u32::from(*width), 16 + u32::from(*height)];
    let mut ihdr: Vec<u8> = sides.iter().flat_map(|side| side.to_be_bytes()).collect();
    ihdr.extend([1 << (depth % 5), [0, 2, 3, 4, 6][usize::from(colour % 5)], 0, 0, interlace % 2]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    png.extend(chunk(b"IHDR", &ihdr));
    for (i, piece) in rest.split(|byte| *byte == 0xfd).take(4).enumerate() {
        png.extend(chunk([&b"PLTE"[..], b"tRNS", b"eXIf", b"IDAT"][i], piece));
    }
    png.extend(chunk(b"IEND", b""));
    decoded(&png);
});
