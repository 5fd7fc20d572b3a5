//! Text of any height: a bitmap font, each of its pixels as a square. Latin letters with their accents;
//! others show as `?`.

use embedded_graphics::Drawable;
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{Dimensions, Point, Size};
use embedded_graphics::mono_font::iso_8859_1::{FONT_5X8, FONT_6X10, FONT_8X13, FONT_10X20};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::text::{Baseline, Text};

/// The font and zoom that come nearest to `height` pixels from below.
fn fitting(height: u32) -> (&'static MonoFont<'static>, u32) {
    if height >= 20 {
        return (&FONT_10X20, height / 20);
    }
    let font = match height {
        13.. => &FONT_8X13,
        10.. => &FONT_6X10,
        _ => &FONT_5X8,
    };
    (font, 1)
}

/// Draws each pixel as a square.
struct Zoom<'a, D> {
    target: &'a mut D,
    origin: Point,
    zoom: u32,
}

impl<D: DrawTarget<Color = Rgb888>> Dimensions for Zoom<'_, D> {
    fn bounding_box(&self) -> Rectangle {
        self.target.bounding_box()
    }
}

impl<D: DrawTarget<Color = Rgb888>> DrawTarget for Zoom<'_, D> {
    type Color = Rgb888;
    type Error = D::Error;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), D::Error> {
        for Pixel(at, colour) in pixels {
            let corner = self.origin + at * self.zoom as i32;
            let square = Rectangle::new(corner, Size::new_equal(self.zoom));
            self.target.fill_solid(&square, colour)?;
        }
        Ok(())
    }
}

/// Pixels that `text` takes at `height`.
pub fn text_width(text: &str, height: u32) -> u32 {
    let (font, zoom) = fitting(height);
    let columns = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    columns.saturating_mul(font.character_size.width + font.character_spacing).saturating_mul(zoom)
}

/// Draws one line of text of at most `height` pixels with its upper left corner at `at`, shortened with
/// `..` to `width` pixels. Returns the pixels that it takes.
///
/// # Errors
/// The target's.
pub fn draw_text<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    text: &str,
    at: Point,
    height: u32,
    width: u32,
    colour: Rgb888,
) -> Result<u32, D::Error> {
    let text = shortened(text, height, width);
    let (font, zoom) = fitting(height);
    // Capitals centred in the height that was asked for.
    let slack = height.saturating_sub(font.character_size.height * zoom) / 2;
    let mut zoomed = Zoom { target, origin: at + Point::new(0, slack as i32), zoom };
    let style = MonoTextStyle::new(font, colour);
    Text::with_baseline(&text, Point::zero(), style, Baseline::Top).draw(&mut zoomed)?;
    Ok(text_width(&text, height))
}

/// One line that fits.
fn shortened(text: &str, height: u32, width: u32) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text_width(&line, height) <= width {
        return line;
    }
    let one = text_width("x", height).max(1);
    let columns = (width / one) as usize;
    let kept: String = line.chars().take(columns.saturating_sub(2)).collect();
    if columns < 3 { String::new() } else { kept.trim_end().to_owned() + ".." }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::Canvas;
    use proptest::prelude::*;

    fn inked(canvas: &Canvas) -> Vec<(u32, u32)> {
        let all = (0..200).flat_map(|y| (0..400).map(move |x| (x, y)));
        all.filter(|(x, y)| canvas.pixel(*x, *y).is_some_and(|p| p != [0; 3])).collect()
    }

    #[test]
    fn text_is_zoomed_and_stays_in_its_box() {
        let mut canvas = Canvas::new(400, 200);
        let white = Rgb888::new(255, 255, 255);
        let width = draw_text(&mut canvas, "Täst", Point::new(7, 11), 60, 400, white).unwrap();
        assert_eq!(width, 4 * 30);
        let ink = inked(&canvas);
        assert!(ink.len() > 500 && ink.len().is_multiple_of(9), "squares of 3x3: {}", ink.len());
        assert!(ink.iter().all(|(x, y)| (7..127).contains(x) && (11..71).contains(y)));
    }

    #[test]
    fn long_text_is_cut_with_dots() {
        assert_eq!(shortened("bracket left", 20, 120), "bracket left");
        assert_eq!(shortened("bracket left", 20, 100), "bracket..");
        assert_eq!(shortened("bracket left", 20, 20), "");
        assert_eq!(shortened("two\nlines", 20, 999), "two lines");
    }

    proptest! {
        #[test]
        fn no_text_leaves_its_width(text in "\\PC{0,30}", height in 1u32..70, width in 0u32..300) {
            let mut canvas = Canvas::new(400, 200);
            let colour = Rgb888::new(255, 255, 255);
            let used = draw_text(&mut canvas, &text, Point::new(10, 10), height, width, colour).unwrap();
            prop_assert!(used <= width);
            let right = 10 + used;
            prop_assert!(inked(&canvas).iter().all(|(x, _)| (10..right.max(11)).contains(x)));
        }
    }
}
