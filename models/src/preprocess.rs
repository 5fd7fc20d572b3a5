//! From a picture to the encoder's input: crop, resize, cut, normalise.
//!
//! Training tools and camera both go through here, so the network sees the same pixels in both.

use crate::package::Input;
use crate::picture::{Picture, PictureError, Rect};
use crate::recipe::Tiles;
use crate::registration::Affine;
use crate::tensor::Tensor;
use crate::tiling::Tiling;
use fast_image_resize::images::{Image, TypedCroppedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

/// Turns pictures into `[1, 3, height, width]` tensors; keeps its buffers between pictures.
pub struct Preprocessor {
    input: (u32, u32),
    lut: Box<[[f32; 256]; 3]>,
    scaler: Scaler,
    tiling: Tiling,
    /// Of the canvas's size, or finer where it is `moved` onto the canvas.
    scaled: Image<'static>,
    moved: Vec<u8>,
    is_moved: bool,
}

impl Preprocessor {
    /// A preprocessor for a model's input.
    pub fn new(input: &Input) -> Preprocessor {
        let mut lut = Box::new([[0.0; 256]; 3]);
        for (channel, table) in lut.iter_mut().enumerate() {
            let (mean, std) = (f64::from(input.mean[channel]), f64::from(input.std[channel]));
            for (value, out) in table.iter_mut().enumerate() {
                *out = ((value as f64 / 255.0 - mean) / std) as f32;
            }
        }
        let side = (input.width, input.height);
        Preprocessor {
            input: side,
            lut,
            scaler: Scaler::new(),
            tiling: Tiling::new(Tiles::ONE, side),
            scaled: Image::new(side.0, side.1, PixelType::U8x3),
            moved: Vec::new(),
            is_moved: false,
        }
    }

    /// Shape of the tensors: `[1, 3, height, width]`.
    pub fn shape(&self) -> [usize; 4] {
        [1, 3, self.input.1 as usize, self.input.0 as usize]
    }

    /// Takes in `picture`, or its `region`, stretched over the canvas of the `tiles`. The aspect ratio is
    /// not kept: query and prompt are stretched alike, and no cell is wasted on borders. A region that does
    /// not lie within the picture is an error.
    ///
    /// With a `map`, the canvas's pixel `x` shows what would be at `map(x)`; the edge goes on where the
    /// region has no more.
    pub fn load(
        &mut self,
        picture: &Picture,
        region: Option<Rect>,
        tiles: Tiles,
        map: Option<&Affine>,
    ) -> Result<(), PictureError> {
        let region = region.unwrap_or(picture.bounds());
        region.check_within(picture.width(), picture.height())?;
        self.tiling = Tiling::new(tiles, self.input);
        let (width, height) = self.tiling.canvas();
        // What is drawn anew is drawn from something finer, or it would be blurred twice.
        let finer = match map {
            Some(_) if region.w > width || region.h > height => FINER,
            _ => 1,
        };
        let size = (finer * width, finer * height);
        if (self.scaled.width(), self.scaled.height()) != size {
            self.scaled = Image::new(size.0, size.1, PixelType::U8x3);
        }
        self.scaler.scale(picture, region, &mut self.scaled);
        self.is_moved = map.is_some();
        if let Some(map) = map {
            let size = (width as usize, height as usize);
            sample(self.scaled.buffer(), size, finer as usize, map, &mut self.moved);
        }
        Ok(())
    }

    /// Fills `out` with one tile of what was taken in, normalised.
    pub fn tile(&self, index: usize, out: &mut Tensor) {
        let (width, height) = (self.input.0 as usize, self.input.1 as usize);
        let rgb = if self.is_moved { &self.moved[..] } else { self.scaled.buffer() };
        let (left, top) = self.tiling.origin(index);
        let plane = width * height;
        out.shape.clear();
        out.shape.extend_from_slice(&[1, 3, height, width]);
        out.data.resize(3 * plane, 0.0);
        let (red, rest) = out.data.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        let stride = 3 * self.tiling.canvas().0 as usize;
        let rows = rgb.chunks_exact(stride).skip(top as usize).take(height);
        let pixels = rows.flat_map(|row| row[3 * left as usize..][..3 * width].chunks_exact(3));
        for (((pixel, r), g), b) in pixels.zip(red).zip(green).zip(blue) {
            *r = self.lut[0][usize::from(pixel[0])];
            *g = self.lut[1][usize::from(pixel[1])];
            *b = self.lut[2][usize::from(pixel[2])];
        }
    }
}

/// A picture that is moved is scaled to so many times the canvas along each side, if it has more to show than the canvas
/// holds.
const FINER: u32 = 2;

/// Draws a canvas of `width` x `height` from `rgb`, which is `finer` times as fine, 1 or [`FINER`]. Each pixel is the mean of
/// as many bilinear samples along each side; edges are repeated.
fn sample(
    rgb: &[u8],
    (width, height): (usize, usize),
    finer: usize,
    map: &Affine,
    out: &mut Vec<u8>,
) {
    out.resize(3 * width * height, 0);
    let (scale, stride) = (finer as f64, 3 * width * finer);
    // From the middle of the samples to the first.
    let ahead = 0.5 * (scale - 1.0);
    let taps = |at: f64, n: usize| {
        let last = n * finer - 1;
        // One further, so that cutting off rounds down.
        let at = ((at + 0.5) * scale - 0.5).clamp(0.0, last as f64) - ahead + 1.0;
        let whole = at as usize;
        let f = ((at - whole as f64) * HALF as f64) as u64;
        let weights = if finer == 1 { [2 * (HALF - f), 2 * f, 0] } else { [HALF - f, HALF, f] };
        ([whole.max(1) - 1, whole.min(last), (whole + 1).min(last)], weights)
    };
    for (y, row) in out.chunks_exact_mut(3 * width).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let (sx, sy) = map.at(x as f64, y as f64);
            let ((columns, of_columns), (rows, of_rows)) = (taps(sx, width), taps(sy, height));
            let [left, middle, right] = columns;
            let line = |row: usize| {
                let line = &rgb[row * stride..][..stride];
                let [a, b, c] = [lanes(line, left), lanes(line, middle), lanes(line, right)];
                mix([a, b, c], of_columns)
            };
            let mixed = mix([line(rows[0]), line(rows[1]), line(rows[2])], of_rows);
            pixel[0] = mixed as u8;
            pixel[1] = (mixed >> LANE) as u8;
            pixel[2] = (mixed >> (2 * LANE)) as u8;
        }
    }
}

/// Bits of a lane: the three levels of a pixel are mixed in one word.
const LANE: u32 = 16;
/// The same number in all lanes is a multiple of this.
const LANES: u64 = 1 | 1 << LANE | 1 << (2 * LANE);
/// Half of what weights add up to.
const HALF: u64 = 128;

/// The levels of a pixel of a line.
#[inline]
fn lanes(line: &[u8], column: usize) -> u64 {
    let pixel = &line[3 * column..][..3];
    u64::from(pixel[0]) | u64::from(pixel[1]) << LANE | u64::from(pixel[2]) << (2 * LANE)
}

/// The weighted mean in every lane, rounded.
#[inline]
fn mix(pixels: [u64; 3], weights: [u64; 3]) -> u64 {
    let [a, b, c] = pixels;
    let [of_a, of_b, of_c] = weights;
    (a * of_a + b * of_b + c * of_c + HALF * LANES) >> 8 & (255 * LANES)
}

/// The one way in which this product scales pictures: a triangle filter as wide as the shrinkage
/// (so every source pixel counts, like an area average), which is plain bilinear when growing.
pub struct Scaler {
    resizer: Resizer,
}

impl Scaler {
    /// A scaler with empty buffers.
    pub fn new() -> Scaler {
        Scaler { resizer: Resizer::new() }
    }

    /// Scales `region` of `picture`, which must lie within it, to fill `target` (RGB8).
    pub(crate) fn scale(&mut self, picture: &Picture, region: Rect, target: &mut Image<'static>) {
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        // A view, not the resizer's crop box: that one lets the filter reach beyond the region.
        let Rect { x, y, w, h } = region;
        // Typed: the form for all kinds of pixels is compiled for each of them, 3 MB of code.
        TypedImageRef::<U8x3>::from_buffer(picture.width(), picture.height(), picture.rgb())
            .ok()
            .and_then(|source| {
                let view = TypedCroppedImage::from_ref(&source, x, y, w, h).ok()?;
                let mut target = target.typed_image_mut::<U8x3>()?;
                self.resizer.resize_typed(&view, &mut target, &options).ok()
            })
            .expect("a picture is RGB8 of its stated size and the region was checked");
    }
}

impl Default for Scaler {
    fn default() -> Scaler {
        Scaler::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> Input {
        Input { width: 16, height: 32, mean: [0.5, 0.25, 0.0], std: [0.5, 0.25, 1.0] }
    }

    fn plain(width: u32, height: u32, rgb: [u8; 3]) -> Picture {
        Picture::from_rgb8(width, height, rgb.repeat((width * height) as usize)).unwrap()
    }

    fn run(
        preprocessor: &mut Preprocessor,
        picture: &Picture,
        region: Option<Rect>,
        map: Option<&Affine>,
        out: &mut Tensor,
    ) {
        preprocessor.load(picture, region, Tiles::ONE, map).unwrap();
        preprocessor.tile(0, out);
    }

    #[test]
    fn normalises_each_channel_into_its_own_plane() {
        let mut out = Tensor::default();
        let picture = plain(50, 40, [255, 0, 51]);
        run(&mut Preprocessor::new(&input()), &picture, None, None, &mut out);
        assert_eq!(out.shape, [1, 3, 32, 16]);
        let plane = 32 * 16;
        for (channel, expected) in [1.0f32, -1.0, 0.2].into_iter().enumerate() {
            for v in &out.data[channel * plane..][..plane] {
                assert!((v - expected).abs() < 1e-6, "channel {channel}: {v}");
            }
        }
    }

    #[test]
    fn a_region_is_the_same_as_a_crop() {
        let rgb = (0..64 * 48 * 3).map(|i| ((i * 37) % 251) as u8).collect();
        let picture = Picture::from_rgb8(64, 48, rgb).unwrap();
        let region = Rect { x: 8, y: 3, w: 40, h: 33 };
        let mut preprocessor = Preprocessor::new(&input());
        let (mut a, mut b) = (Tensor::default(), Tensor::default());
        run(&mut preprocessor, &picture, Some(region), None, &mut a);
        run(&mut preprocessor, &picture.crop(region).unwrap(), None, None, &mut b);
        assert_eq!(a, b);
        run(&mut preprocessor, &picture, None, None, &mut b);
        assert_ne!(a, b);
    }

    #[test]
    fn the_same_size_passes_pixels_through_and_buffers_are_reused() {
        let rgb: Vec<u8> = (0..16 * 32 * 3).map(|i| (i % 256) as u8).collect();
        let picture = Picture::from_rgb8(16, 32, rgb.clone()).unwrap();
        let mut preprocessor = Preprocessor::new(&input());
        let mut out = Tensor::default();
        run(&mut preprocessor, &plain(100, 100, [9, 9, 9]), None, None, &mut out);
        let memory = out.data.as_ptr();
        run(&mut preprocessor, &picture, None, None, &mut out);
        assert_eq!(out.data.as_ptr(), memory, "no new buffer per frame");
        let blue = 2 * 16 * 32;
        for (i, v) in out.data[blue..].iter().enumerate() {
            assert!((v - f32::from(rgb[3 * i + 2]) / 255.0).abs() < 1e-6);
        }
    }

    #[test]
    fn a_map_shows_what_lies_elsewhere() {
        let rgb: Vec<u8> =
            (0..16 * 32).flat_map(|i| [(i % 16 * 10) as u8, (i / 16) as u8, 0]).collect();
        let picture = Picture::from_rgb8(16, 32, rgb).unwrap();
        let (mut preprocessor, mut out) = (Preprocessor::new(&input()), Tensor::default());
        let aside = Affine([[1.0, 0.0, 2.5], [0.0, 1.0, -1.0]]);
        run(&mut preprocessor, &picture, None, Some(&aside), &mut out);
        let red = |x: usize, y: usize| (out.data[y * 16 + x] * 0.5 + 0.5) * 255.0;
        assert!((red(3, 5) - 55.0).abs() < 0.01, "{}", red(3, 5));
        assert!((red(15, 5) - 150.0).abs() < 0.01, "the edge goes on: {}", red(15, 5));
    }

    #[test]
    fn a_larger_picture_that_is_moved_is_no_more_blurred_than_one_that_is_not() {
        // Stripes of two pixels of the canvas, in a picture of twice its size.
        let stripes = |x: u32| if (x / 4).is_multiple_of(2) { 200 } else { 40 };
        let rgb = (0..32 * 64).flat_map(|i| [stripes(i % 32), 0, 0]).collect();
        let picture = Picture::from_rgb8(32, 64, rgb).unwrap();
        let (mut preprocessor, mut out) = (Preprocessor::new(&input()), Tensor::default());
        let mut contrast = |map: Option<&Affine>| {
            run(&mut preprocessor, &picture, None, map, &mut out);
            let row = &out.data[8 * 16 + 4..][..8];
            row.iter().fold(f32::MIN, |a, b| a.max(*b))
                - row.iter().fold(f32::MAX, |a, b| a.min(*b))
        };
        let as_it_is = contrast(None);
        let moved = contrast(Some(&Affine([[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]])));
        assert!(moved > 0.9 * as_it_is, "{moved} of {as_it_is}");
    }

    #[test]
    fn lanes_are_mixed_apart() {
        let [p, q, r] = [[0, 255, 7], [255, 0, 9], [0, 255, 255]].map(|pixel| lanes(&pixel, 0));
        assert_eq!(mix([p, q, r], [256, 0, 0]), p);
        assert_eq!(mix([p, q, r], [128, 128, 0]), lanes(&[128, 128, 8], 0));
        assert_eq!(mix([r, r, r], [64, 128, 64]), r);
    }

    #[test]
    fn a_region_outside_is_refused() {
        let outside = Some(Rect { x: 0, y: 0, w: 51, h: 10 });
        let mut preprocessor = Preprocessor::new(&input());
        assert!(preprocessor.load(&plain(50, 40, [0; 3]), outside, Tiles::ONE, None).is_err());
    }

    #[test]
    fn tiles_are_windows_of_one_canvas() {
        // As wide and high as the canvas of 2 x 2 tiles, so that nothing is scaled.
        let (width, height) = (30, 60);
        let rgb = (0..width * height).flat_map(|i| [(i % width) as u8, (i / width) as u8, 0]);
        let picture = Picture::from_rgb8(width, height, rgb.collect()).unwrap();
        let (mut preprocessor, mut out) = (Preprocessor::new(&input()), Tensor::default());
        preprocessor.load(&picture, None, Tiles { columns: 2, rows: 2 }, None).unwrap();
        for (index, (x, y)) in [(0, 0), (14, 0), (0, 28), (14, 28)].into_iter().enumerate() {
            preprocessor.tile(index, &mut out);
            assert_eq!(out.shape, [1, 3, 32, 16]);
            let red = ((out.data[3 * 16 + 5] * 0.5 + 0.5) * 255.0).round() as u32;
            let green = ((out.data[16 * 32 + 3 * 16 + 5] * 0.25 + 0.25) * 255.0).round() as u32;
            assert_eq!((red, green), (x + 5, y + 3), "tile {index}");
        }
    }
}
