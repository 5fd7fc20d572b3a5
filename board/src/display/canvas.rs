//! A picture in memory to draw on.

use super::{SCREEN_MAX, SCREEN_MIN};
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Dimensions, OriginDimensions, Point, Size};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::primitives::Rectangle;
use std::convert::Infallible;

/// RGB, 8 bits, row-major. Drawing beyond the edge draws nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canvas {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Canvas {
    /// A black picture; sides are brought into [`SCREEN_MIN`]`..=`[`SCREEN_MAX`].
    pub fn new(width: u32, height: u32) -> Canvas {
        let (width, height) =
            (width.clamp(SCREEN_MIN, SCREEN_MAX), height.clamp(SCREEN_MIN, SCREEN_MAX));
        Canvas { width, height, rgb: vec![0; width as usize * height as usize * 3] }
    }

    /// The pixels, `width * height * 3` bytes.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The rows, `width * 3` bytes each.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.rgb.chunks_exact(self.width as usize * 3)
    }

    /// One pixel; `None` outside.
    pub fn pixel(&self, x: u32, y: u32) -> Option<[u8; 3]> {
        let index = (y as usize * self.width as usize + x as usize) * 3;
        let pixel = self.rgb.get(index..index + 3).filter(|_| x < self.width)?;
        Some([pixel[0], pixel[1], pixel[2]])
    }

    /// Puts a picture (RGB, row-major) onto the canvas, each of its pixels as `zoom` by `zoom`; what goes
    /// beyond an edge is cut off.
    pub fn picture(&mut self, at: Point, width: u32, rgb: &[u8], zoom: u32) {
        let zoom = zoom.max(1);
        for (i, pixel) in rgb.chunks_exact(3).enumerate() {
            let (x, y) = ((i % width.max(1) as usize) as i32, (i / width.max(1) as usize) as i32);
            let corner = at + Point::new(x, y) * zoom as i32;
            let area = Rectangle::new(corner, Size::new_equal(zoom));
            self.fill(&area, Rgb888::new(pixel[0], pixel[1], pixel[2]));
        }
    }

    fn fill(&mut self, area: &Rectangle, colour: Rgb888) {
        let area = area.intersection(&self.bounding_box());
        // One without width may still have rows, and those beyond the edge.
        if area.is_zero_sized() {
            return;
        }
        let (x, width) = (area.top_left.x.max(0) as usize, area.size.width as usize);
        let pixel = [colour.r(), colour.g(), colour.b()];
        for y in area.rows() {
            let start = (y as usize * self.width as usize + x) * 3;
            for target in self.rgb[start..start + width * 3].chunks_exact_mut(3) {
                target.copy_from_slice(&pixel);
            }
        }
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Infallible> {
        for Pixel(at, colour) in pixels {
            self.fill(&Rectangle::new(at, Size::new_equal(1)), colour);
        }
        Ok(())
    }

    fn fill_solid(&mut self, area: &Rectangle, colour: Rgb888) -> Result<(), Infallible> {
        self.fill(area, colour);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embedded_graphics::primitives::PointsIter;
    use proptest::prelude::*;

    #[test]
    fn pixels_land_where_they_belong_and_edges_cut() {
        let mut canvas = Canvas::new(64, 64);
        let red = Rgb888::new(255, 0, 0);
        let pixels = [(-1, 0), (64, 1), (3, 2), (0, 64)];
        canvas.draw_iter(pixels.map(|(x, y)| Pixel(Point::new(x, y), red))).unwrap();
        assert_eq!(canvas.rgb().iter().filter(|v| **v == 255).count(), 1);
        assert_eq!(canvas.pixel(3, 2), Some([255, 0, 0]));
        assert_eq!((canvas.pixel(64, 0), canvas.pixel(0, 64)), (None, None));
        let size = Canvas::new(1, 1_000_000).size();
        assert_eq!((size.width, size.height), (SCREEN_MIN, SCREEN_MAX));
    }

    #[test]
    fn pictures_are_zoomed() {
        let mut canvas = Canvas::new(64, 64);
        canvas.picture(Point::new(62, 0), 2, &[1, 2, 3, 4, 5, 6, 7, 8, 9], 2);
        assert_eq!(canvas.pixel(63, 1), Some([1, 2, 3]));
        assert_eq!(canvas.pixel(62, 3), Some([7, 8, 9]));
        assert_eq!(canvas.pixel(62, 4), Some([0, 0, 0]));
    }

    proptest! {
        #[test]
        fn a_filled_area_is_as_drawn_pixel_by_pixel(
            x in -80i32..100, y in -80i32..100, width in 0u32..200, height in 0u32..200,
        ) {
            let area = Rectangle::new(Point::new(x, y), Size::new(width, height));
            let (mut filled, mut drawn) = (Canvas::new(70, 66), Canvas::new(70, 66));
            let colour = Rgb888::new(9, 8, 7);
            filled.fill_solid(&area, colour).unwrap();
            drawn.draw_iter(area.points().map(|p| Pixel(p, colour))).unwrap();
            prop_assert!(filled == drawn);
        }
    }
}
