//! A walk over the outside of PNG and JPEG files, before any decoder sees them: format, size,
//! wholeness. Decoders forgive truncation (a JPEG's missing rows turn grey); this does not.

use super::Fault;

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Jpeg,
}

/// What the outside says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub format: Format,
    pub width: u32,
    pub height: u32,
}

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG_SIGNATURE: &[u8] = &[0xff, 0xd8];

/// Formats that people do bring, so that the error can name them.
const FOREIGN: &[(&[u8], &str)] = &[
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"RIFF", "a WebP or another RIFF file"),
    (b"II*\0", "a TIFF or a camera's raw file"),
    (b"MM\0*", "a TIFF or a camera's raw file"),
    (b"%PDF", "a PDF"),
    (b"<svg", "an SVG"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
];

/// Looks at a file's content.
pub(super) fn probe(bytes: &[u8]) -> Result<Probe, Fault> {
    if bytes.is_empty() {
        return Err(Fault::Empty);
    }
    if bytes.starts_with(PNG_SIGNATURE) {
        return probe_png(bytes);
    }
    if bytes.starts_with(JPEG_SIGNATURE) {
        return probe_jpeg(bytes);
    }
    // A picture cut within its signature.
    if bytes.len() >= 2 && PNG_SIGNATURE.starts_with(bytes) {
        return Err(Fault::Truncated);
    }
    let isobmff = bytes.get(4..8) == Some(b"ftyp");
    let foreign = FOREIGN.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|&(_, n)| n);
    Err(Fault::Format(if isobmff { Some("a HEIC, AVIF or video file") } else { foreign }))
}

fn probe_png(bytes: &[u8]) -> Result<Probe, Fault> {
    let mut size = None;
    let mut rest = &bytes[PNG_SIGNATURE.len()..];
    loop {
        let (length, kind) = match rest {
            [a, b, c, d, k0, k1, k2, k3, ..] => {
                (u32::from_be_bytes([*a, *b, *c, *d]) as usize, [*k0, *k1, *k2, *k3])
            }
            _ => return Err(Fault::Truncated),
        };
        let data = rest.get(8..).and_then(|r| r.get(..length)).ok_or(Fault::Truncated)?;
        // 4 bytes of length, 4 of kind, 4 of CRC; the decoder checks the CRC.
        rest = rest.get(12 + length..).ok_or(Fault::Truncated)?;
        match (&kind, size) {
            (b"IHDR", None) if length == 13 => {
                let word =
                    |i: usize| u32::from_be_bytes([data[i], data[i + 1], data[i + 2], data[i + 3]]);
                size = Some((word(0), word(4)));
            }
            (b"IHDR", _) | (_, None) => {
                return Err(Fault::Damaged("its first chunk is no IHDR".to_string()));
            }
            (b"acTL", _) => return Err(Fault::Animated),
            // A decoder was seen to panic at a palette that ends within a colour.
            (b"PLTE", _) if !(1..=256).contains(&(length / 3)) || !length.is_multiple_of(3) => {
                return Err(Fault::Damaged("its palette is not made of whole colours".to_string()));
            }
            (b"IEND", Some((width, height))) => {
                return Ok(Probe { format: Format::Png, width, height });
            }
            _ => {}
        }
    }
}

fn probe_jpeg(bytes: &[u8]) -> Result<Probe, Fault> {
    let mut size = None;
    let mut scans = 0;
    let mut at = JPEG_SIGNATURE.len();
    loop {
        let marker = next_marker(bytes, &mut at)?;
        match marker {
            // Markers without a segment.
            0x01 | 0xd0..=0xd8 => continue,
            0xd9 => break,
            _ => {}
        }
        let segment = take_segment(bytes, &mut at)?;
        match marker {
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let [_precision, h1, h0, w1, w0, components, parts @ ..] = segment else {
                    return Err(Fault::Damaged("its frame header is too short".to_string()));
                };
                if *components == 4 {
                    return Err(Fault::Cmyk);
                }
                check_sampling(parts)?;
                size = Some((u16::from_be_bytes([*w1, *w0]), u16::from_be_bytes([*h1, *h0])));
            }
            0xda => {
                scans += 1;
                skip_scan(bytes, &mut at)?;
            }
            _ => {}
        }
    }
    match size {
        Some((width, height)) if scans > 0 => {
            Ok(Probe { format: Format::Jpeg, width: width.into(), height: height.into() })
        }
        _ => Err(Fault::Damaged("it holds no picture".to_string())),
    }
}

/// No component may be finer than the first: encoders write none, and decoders were seen to panic.
fn check_sampling(parts: &[u8]) -> Result<(), Fault> {
    let mut sampling = parts.chunks_exact(3).map(|part| (part[1] >> 4, part[1] & 15));
    let Some((h, v)) = sampling.next() else {
        return Err(Fault::Damaged("its frame header names no component".to_string()));
    };
    if sampling.all(|(ch, cv)| (1..=h).contains(&ch) && (1..=v).contains(&cv)) {
        Ok(())
    } else {
        Err(Fault::Damaged("its colours are finer than its brightness".to_string()))
    }
}

/// The next marker's code; fill bytes before it are passed over.
fn next_marker(bytes: &[u8], at: &mut usize) -> Result<u8, Fault> {
    if *bytes.get(*at).ok_or(Fault::Truncated)? != 0xff {
        return Err(Fault::Damaged(format!("no marker at byte {at}")));
    }
    while bytes.get(*at) == Some(&0xff) {
        *at += 1;
    }
    let marker = *bytes.get(*at).ok_or(Fault::Truncated)?;
    *at += 1;
    Ok(marker)
}

/// The segment after a marker, without its length field.
fn take_segment<'a>(bytes: &'a [u8], at: &mut usize) -> Result<&'a [u8], Fault> {
    let [high, low] = bytes.get(*at..).and_then(|r| r.first_chunk()).ok_or(Fault::Truncated)?;
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length < 2 {
        return Err(Fault::Damaged(format!("a segment at byte {at} has no length")));
    }
    let segment = bytes.get(*at + 2..*at + length).ok_or(Fault::Truncated)?;
    *at += length;
    Ok(segment)
}

/// Moves `at` over entropy-coded data to the next marker that is neither a stuffed byte nor a
/// restart.
fn skip_scan(bytes: &[u8], at: &mut usize) -> Result<(), Fault> {
    while let Some(pair) = bytes.get(*at..*at + 2) {
        match pair {
            [0xff, 0x00 | 0xd0..=0xd7] => *at += 2,
            [0xff, 0xff] => *at += 1,
            [0xff, _] => return Ok(()),
            _ => *at += 1,
        }
    }
    Err(Fault::Truncated)
}
