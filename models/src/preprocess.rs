//! From a picture to the encoder's input: crop, resize, normalise.
//!
//! Training tools and camera both go through here, so the network sees the same pixels in both.

use crate::package::Input;
use crate::picture::{Picture, PictureError, Rect};
use crate::tensor::Tensor;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

/// Turns pictures into `[1, 3, height, width]` tensors; keeps its buffers between pictures.
pub struct Preprocessor {
    width: u32,
    height: u32,
    lut: Box<[[f32; 256]; 3]>,
    scaler: Scaler,
    small: Image<'static>,
}

impl Preprocessor {
    /// A preprocessor for a model's input.
    pub fn new(input: &Input) -> Preprocessor {
        let mut lut = Box::new([[0.0; 256]; 3]);
        for (channel, table) in lut.iter_mut().enumerate() {
            let (mean, std) = (
                f64::from(input.mean[channel]),
                f64::from(input.std[channel]),
            );
            for (value, out) in table.iter_mut().enumerate() {
                *out = ((value as f64 / 255.0 - mean) / std) as f32;
            }
        }
        Preprocessor {
            width: input.width,
            height: input.height,
            lut,
            scaler: Scaler::new(),
            small: Image::new(input.width, input.height, PixelType::U8x3),
        }
    }

    /// Shape of the tensors: `[1, 3, height, width]`.
    pub fn shape(&self) -> [usize; 4] {
        [1, 3, self.height as usize, self.width as usize]
    }

    /// Fills `out` with `picture`, or with its `region`, stretched to the model's input. The
    /// aspect ratio is not kept: query and prompt are stretched alike, and no cell is wasted on
    /// borders. A region that does not lie within the picture is an error.
    pub fn run(
        &mut self,
        picture: &Picture,
        region: Option<Rect>,
        out: &mut Tensor,
    ) -> Result<(), PictureError> {
        let region = region.unwrap_or(picture.bounds());
        region.check_within(picture.width(), picture.height())?;
        self.scaler.scale(picture, region, &mut self.small);
        let plane = self.width as usize * self.height as usize;
        out.shape.clear();
        out.shape.extend_from_slice(&self.shape());
        out.data.resize(3 * plane, 0.0);
        let (red, rest) = out.data.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        let pixels = self.small.buffer().chunks_exact(3);
        for (((pixel, r), g), b) in pixels.zip(red).zip(green).zip(blue) {
            *r = self.lut[0][usize::from(pixel[0])];
            *g = self.lut[1][usize::from(pixel[1])];
            *b = self.lut[2][usize::from(pixel[2])];
        }
        Ok(())
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
        Scaler {
            resizer: Resizer::new(),
        }
    }

    /// Scales `region` of `picture`, which must lie within it, to fill `target` (RGB8).
    pub(crate) fn scale(&mut self, picture: &Picture, region: Rect, target: &mut Image<'static>) {
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
            .crop(
                region.x.into(),
                region.y.into(),
                region.w.into(),
                region.h.into(),
            );
        let (width, height) = (picture.width(), picture.height());
        ImageRef::new(width, height, picture.rgb(), PixelType::U8x3)
            .ok()
            .and_then(|source| self.resizer.resize(&source, target, &options).ok())
            .expect("a picture is RGB8 of its stated size and the region was checked");
    }
}

impl Default for Scaler {
    fn default() -> Scaler {
        Scaler::new()
    }
}
