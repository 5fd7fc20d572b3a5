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
    canvas: Image<'static>,
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
            canvas: Image::new(side.0, side.1, PixelType::U8x3),
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
        if (self.canvas.width(), self.canvas.height()) != (width, height) {
            self.canvas = Image::new(width, height, PixelType::U8x3);
        }
        self.scaler.scale(picture, region, &mut self.canvas);
        self.is_moved = map.is_some();
        if let Some(map) = map {
            let size = (width as usize, height as usize);
            sample(self.canvas.buffer(), size, map, &mut self.moved);
        }
        Ok(())
    }

    /// Fills `out` with one tile of what was taken in, normalised.
    pub fn tile(&self, index: usize, out: &mut Tensor) {
        let (width, height) = (self.input.0 as usize, self.input.1 as usize);
        let rgb = if self.is_moved { &self.moved[..] } else { self.canvas.buffer() };
        let (left, top) = self.tiling.origin(index);
        let plane = width * height;
        out.shape.clear();
        out.shape.extend_from_slice(&[1, 3, height, width]);
        out.data.resize(3 * plane, 0.0);
        let (red, rest) = out.data.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        let stride = 3 * self.canvas.width() as usize;
        let rows = rgb.chunks_exact(stride).skip(top as usize).take(height);
        let pixels = rows.flat_map(|row| row[3 * left as usize..][..3 * width].chunks_exact(3));
        for (((pixel, r), g), b) in pixels.zip(red).zip(green).zip(blue) {
            *r = self.lut[0][usize::from(pixel[0])];
            *g = self.lut[1][usize::from(pixel[1])];
            *b = self.lut[2][usize::from(pixel[2])];
        }
    }
}

/// Bilinear, RGB8 to RGB8, edges repeated.
fn sample(rgb: &[u8], (width, height): (usize, usize), map: &Affine, out: &mut Vec<u8>) {
    out.resize(rgb.len(), 0);
    let taps = |v: f64, n: usize| {
        let at = v.clamp(0.0, (n - 1) as f64);
        let whole = at as usize;
        (whole, (whole + 1).min(n - 1), (at - whole as f64) as f32)
    };
    for (y, row) in out.chunks_exact_mut(3 * width).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let (sx, sy) = map.at(x as f64, y as f64);
            let ((x0, x1, fx), (y0, y1, fy)) = (taps(sx, width), taps(sy, height));
            let corner = |x: usize, y: usize| &rgb[3 * (y * width + x)..][..3];
            let (a, b, c, d) = (corner(x0, y0), corner(x1, y0), corner(x0, y1), corner(x1, y1));
            for (i, level) in pixel.iter_mut().enumerate() {
                let mix = |p: u8, q: u8| f32::from(p) + (f32::from(q) - f32::from(p)) * fx;
                let (upper, lower) = (mix(a[i], b[i]), mix(c[i], d[i]));
                // Rounds, because nothing is below 0; to ask for rounding is a call where SSE4 is not assumed.
                *level = (upper + (lower - upper) * fy + 0.5) as u8;
            }
        }
    }
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
