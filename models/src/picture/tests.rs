use super::*;
use crate::map::Map;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use proptest::prelude::*;
use std::fs;

/// 20 x 16 pixels that differ in every row, column and channel.
fn sample() -> Picture {
    let rgb = (0..16u32)
        .flat_map(|y| (0..20u32).flat_map(move |x| [x * 12, y * 15, (x + y) * 7].map(|v| v as u8)));
    Picture::from_rgb8(20, 16, rgb.collect()).unwrap()
}

fn jpeg(width: u32, height: u32, color: ExtendedColorType, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95)
        .write_image(pixels, width, height, color)
        .unwrap();
    bytes
}

fn sample_jpeg() -> Vec<u8> {
    let p = sample();
    jpeg(p.width(), p.height(), ExtendedColorType::Rgb8, p.rgb())
}

fn png(
    color: png::ColorType,
    depth: png::BitDepth,
    palette: Option<Vec<u8>>,
    data: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 16, 16);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if let Some(palette) = palette {
        encoder.set_palette(palette);
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(data).unwrap();
    writer.finish().unwrap();
    bytes
}

fn fault(bytes: &[u8]) -> Fault {
    Picture::decode(bytes).expect_err("this is no picture").fault
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut out = (data.len() as u32).to_be_bytes().to_vec();
    out.extend_from_slice(kind);
    out.extend_from_slice(data);
    out.extend_from_slice(&[0; 4]);
    out
}

/// A PNG that states any size; nothing of it is decoded before the size is refused.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut data = width.to_be_bytes().to_vec();
    data.extend_from_slice(&height.to_be_bytes());
    data.extend_from_slice(&[8, 2, 0, 0, 0]);
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &data), chunk(b"IEND", &[])].concat()
}

#[test]
fn png_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("named.jpg");
    save_rgb(&path, &sample()).unwrap();
    assert_eq!(Picture::open(&path).unwrap(), sample(), "the content decides, not the name");
}

#[test]
fn jpeg_comes_back_nearly() {
    let back = Picture::decode(&sample_jpeg()).unwrap();
    assert_eq!((back.width(), back.height()), (20, 16));
    let worst = back.rgb().iter().zip(sample().rgb()).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(worst.unwrap() < 40, "{worst:?}");
}

#[test]
fn grey_becomes_rgb() {
    let grey = Picture::decode(&jpeg(16, 16, ExtendedColorType::L8, &[100; 256])).unwrap();
    assert!(grey.rgb().iter().all(|v| v.abs_diff(100) <= 1));
    let grey = png(png::ColorType::Grayscale, png::BitDepth::Eight, None, &[70; 256]);
    assert_eq!(Picture::decode(&grey).unwrap().rgb(), [70; 768]);
}

#[test]
fn sixteen_bits_become_eight() {
    let data: Vec<u8> = [0x80, 0x80].repeat(256);
    let grey = png(png::ColorType::Grayscale, png::BitDepth::Sixteen, None, &data);
    assert_eq!(Picture::decode(&grey).unwrap().rgb(), [0x80; 768]);
    let data: Vec<u8> = [0xff, 0xff, 0x00, 0x00, 0x40, 0x40].repeat(256);
    let rgb = png(png::ColorType::Rgb, png::BitDepth::Sixteen, None, &data);
    assert_eq!(Picture::decode(&rgb).unwrap().rgb(), [0xff, 0x00, 0x40].repeat(256));
}

#[test]
fn palettes_are_resolved_and_single_bits_too() {
    let palette = Some(vec![1, 2, 3, 200, 100, 50]);
    let indexed = png(png::ColorType::Indexed, png::BitDepth::Eight, palette, &[1; 256]);
    assert_eq!(Picture::decode(&indexed).unwrap().rgb(), [200, 100, 50].repeat(256));
    let bits = png(png::ColorType::Grayscale, png::BitDepth::One, None, &[0b1010_1010; 32]);
    assert_eq!(Picture::decode(&bits).unwrap().rgb()[..6], [255, 255, 255, 0, 0, 0]);
}

#[test]
fn alpha_is_dropped_not_blended() {
    let data: Vec<u8> = [10, 20, 30, 0].repeat(256);
    let rgba = png(png::ColorType::Rgba, png::BitDepth::Eight, None, &data);
    assert_eq!(Picture::decode(&rgba).unwrap().rgb(), [10, 20, 30].repeat(256));
}

#[test]
fn exif_orientation_is_applied() {
    // Little-endian TIFF with one entry: 0x0112 orientation, SHORT, 6 = a quarter turn clockwise.
    let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let exif = [b"Exif\0\0".as_slice(), tiff].concat();
    let plain = sample_jpeg();
    let mut turned = plain[..2].to_vec();
    turned.extend_from_slice(&[0xff, 0xe1]);
    turned.extend_from_slice(&(exif.len() as u16 + 2).to_be_bytes());
    turned.extend_from_slice(&exif);
    turned.extend_from_slice(&plain[2..]);
    let (plain, turned) = (Picture::decode(&plain).unwrap(), Picture::decode(&turned).unwrap());
    assert_eq!((turned.width(), turned.height()), (16, 20));
    // The bottom left corner comes to the top left.
    assert_eq!(turned.rgb()[..3], plain.rgb()[3 * 15 * 20..][..3]);
}

#[test]
fn truncation_is_always_seen() {
    let whole_png = encode_png(&sample()).unwrap();
    let whole_jpeg = sample_jpeg();
    for whole in [&whole_png, &whole_jpeg] {
        for cut in 2..whole.len() {
            assert_eq!(fault(&whole[..cut]), Fault::Truncated, "cut at {cut} of {}", whole.len());
        }
    }
}

#[test]
fn a_jpeg_with_impossible_codes_is_not_filled_with_grey() {
    // A run of ones, which no Huffman code of JPEG may be; every marker is in its place.
    let pixels: Vec<u8> = (0..64 * 64 * 3u32).map(|i| (i.wrapping_mul(97) % 251) as u8).collect();
    let mut bytes = jpeg(64, 64, ExtendedColorType::Rgb8, &pixels);
    let scan = bytes.windows(2).position(|w| w == [0xff, 0xda]).unwrap();
    let (from, to) = ((scan + bytes.len()) / 2, bytes.len() - 2);
    bytes.splice(from..to, [0xff, 0x00].repeat(200));
    assert!(matches!(fault(&bytes), Fault::Damaged(_)), "{:?}", Picture::decode(&bytes));
}

/// A header like the one with which fuzzing made the decoder panic.
#[test]
fn a_jpeg_with_colours_finer_than_its_brightness_is_an_error() {
    let mut bytes = sample_jpeg();
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("a frame header");
    bytes[frame + 14] = 0x24;
    assert!(matches!(fault(&bytes), Fault::Damaged(_)));
}

#[test]
fn a_damaged_png_is_an_error() {
    let mut bytes = encode_png(&sample()).unwrap();
    let idat = bytes.windows(4).position(|w| w == b"IDAT").unwrap();
    bytes[idat + 12] ^= 0x55;
    assert!(matches!(fault(&bytes), Fault::Damaged(_)));
}

#[test]
fn sizes_are_refused_before_decoding() {
    assert_eq!(fault(&png_header(1, 1)), Fault::TooSmall { width: 1, height: 1 });
    assert_eq!(fault(&png_header(1000, 15)), Fault::TooSmall { width: 1000, height: 15 });
    assert!(matches!(fault(&png_header(20_000, 100)), Fault::TooLarge { .. }));
    assert!(matches!(fault(&png_header(16_000, 16_000)), Fault::TooLarge { .. }));
    assert!(matches!(fault(&png_header(u32::MAX, u32::MAX)), Fault::TooLarge { .. }));
    assert!(matches!(fault(&png_header(0, 16)), Fault::TooSmall { .. }));
}

#[test]
fn a_png_that_lies_about_its_size_is_an_error() {
    assert!(matches!(fault(&png_header(64, 64)), Fault::Damaged(_)), "no pixels at all");
}

#[test]
fn animated_png_is_refused() {
    let whole = encode_png(&sample()).unwrap();
    let mut bytes = whole[..33].to_vec();
    bytes.extend_from_slice(&chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]));
    bytes.extend_from_slice(&whole[33..]);
    assert_eq!(fault(&bytes), Fault::Animated);
}

#[test]
fn cmyk_jpeg_is_refused() {
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xc0, 0, 20, 8, 0, 32, 0, 32, 4];
    bytes.extend_from_slice(&[1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0]);
    assert_eq!(fault(&bytes), Fault::Cmyk);
}

#[test]
fn other_formats_are_named() {
    let named = |bytes: &[u8]| match fault(bytes) {
        Fault::Format(Some(name)) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(named(b"GIF89a......"), "a GIF");
    assert_eq!(named(b"BM........"), "a BMP");
    assert_eq!(named(b"\0\0\0\x1cftypheic...."), "a HEIC, AVIF or video file");
    assert_eq!(fault(b"hello world"), Fault::Format(None));
    assert_eq!(fault(b""), Fault::Empty);
}

#[test]
fn files_that_are_no_pictures_each_have_their_own_error() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("empty.png"), b"").unwrap();
    fs::write(at("text.png"), b"hello world, this is text").unwrap();
    let huge = fs::File::create(at("huge.png")).unwrap();
    huge.set_len(PICTURE_BYTES_MAX + 1).unwrap();
    for (name, expected) in [
        ("missing.png", Fault::Missing),
        ("empty.png", Fault::Empty),
        ("text.png", Fault::Format(None)),
        ("huge.png", Fault::TooManyBytes),
        (".", Fault::Folder),
    ] {
        let err = Picture::open(&at(name)).unwrap_err();
        assert_eq!(err.fault, expected, "{name}");
        let message = err.to_string();
        assert!(message.contains(name) && message.contains("; "), "{message}");
    }
    let device = Picture::open(Path::new("/dev/null")).unwrap_err();
    assert_eq!(device.fault, Fault::NotAFile);
}

#[test]
fn from_rgb8_checks_length_and_size() {
    assert!(Picture::from_rgb8(16, 16, vec![0; 768]).is_ok());
    let short = Picture::from_rgb8(16, 16, vec![0; 767]).unwrap_err();
    assert_eq!(short.fault, Fault::Length { given: 767, expected: 768 });
    assert!(Picture::from_rgb8(15, 16, vec![0; 720]).is_err());
    assert!(Picture::from_rgb8(u32::MAX, u32::MAX, vec![]).is_err());
}

#[test]
fn crop_takes_the_named_part() {
    let p = sample();
    let c = p.crop(Rect { x: 4, y: 0, w: 16, h: 16 }).unwrap();
    assert_eq!(c.rgb()[..3], p.rgb()[12..15]);
    assert_eq!(c.rgb()[3 * 16..][..3], p.rgb()[3 * 24..][..3]);
    for bad in [
        Rect { x: 5, y: 0, w: 16, h: 16 },
        Rect { x: 0, y: 0, w: 0, h: 16 },
        Rect { x: u32::MAX, y: 0, w: 16, h: 16 },
    ] {
        assert!(matches!(p.crop(bad).unwrap_err().fault, Fault::Outside { .. }));
    }
}

#[test]
fn resize_averages_when_it_shrinks() {
    // A checkerboard of single pixels is grey from afar; sampling would give black or white.
    let rgb = (0..64 * 64).flat_map(|i| [if (i % 64 + i / 64) % 2 == 0 { 0u8 } else { 254 }; 3]);
    let board = Picture::from_rgb8(64, 64, rgb.collect()).unwrap();
    let small = board.resize(16, 16);
    assert!(small.rgb().iter().all(|v| v.abs_diff(127) <= 8), "{:?}", &small.rgb()[..12]);
}

#[test]
fn maps_are_sixteen_bit_and_of_the_asked_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("map.png");
    let mut values = vec![0.25; 4];
    values[3] = f32::NAN;
    let map = Map::new(2, 2, values).unwrap();
    save_map16(&path, &map, 2, 2).unwrap();
    let back = image::load_from_memory(&fs::read(&path).unwrap()).unwrap();
    let image::DynamicImage::ImageLuma16(back) = back else { panic!("not 16-bit grey") };
    assert_eq!(back.into_raw(), [16384, 16384, 16384, 65535], "a NaN shows as a defect");
    save_map16(&path, &Map::new(1, 1, vec![1.0]).unwrap(), 20, 10).unwrap();
    let back = image::load_from_memory(&fs::read(&path).unwrap()).unwrap();
    assert_eq!((back.width(), back.height()), (20, 10));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn an_unwritable_place_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no/folder/x.png");
    let message = save_rgb(&path, &sample()).unwrap_err().to_string();
    assert!(message.starts_with("cannot write picture") && message.contains("no/folder/x.png"));
    assert!(save_mask(&path, &[true; 3], 2, 2).is_err(), "the mask does not fill its size");
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Picture::decode(&bytes).is_err());
        let named = [b"\x89PNG\r\n\x1a\n".as_slice(), &bytes].concat();
        prop_assert!(Picture::decode(&named).is_err());
        let named = [[0xff, 0xd8, 0xff].as_slice(), &bytes].concat();
        prop_assert!(Picture::decode(&named).is_err());
    }

    #[test]
    fn damaged_files_never_panic(at in any::<prop::sample::Index>(), value in any::<u8>(), is_png in any::<bool>()) {
        let mut bytes = if is_png { encode_png(&sample()).unwrap() } else { sample_jpeg() };
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(p) = Picture::decode(&bytes) {
            prop_assert_eq!(p.rgb().len(), 3 * p.width() as usize * p.height() as usize);
        }
    }
}
