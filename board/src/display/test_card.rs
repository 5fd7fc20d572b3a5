//! The test card: whether a screen shows all of the picture, in its colours, sharp and undistorted.

use super::text::{draw_text, text_width};
use embedded_graphics::Drawable;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::{
    Circle, Line, Primitive, PrimitiveStyle, PrimitiveStyleBuilder, Rectangle, StrokeAlignment,
};

const GROUND: Rgb888 = Rgb888::new(38, 42, 46);
const GRID: Rgb888 = Rgb888::new(84, 90, 96);
const WHITE: Rgb888 = Rgb888::new(255, 255, 255);
const BLACK: Rgb888 = Rgb888::new(0, 0, 0);
const QUIET: Rgb888 = Rgb888::new(176, 182, 188);
/// The television's bars at 75 %, brightest first.
const BARS: [(u8, u8, u8); 8] = [
    (191, 191, 191),
    (191, 191, 0),
    (0, 191, 191),
    (0, 191, 0),
    (191, 0, 191),
    (191, 0, 0),
    (0, 0, 191),
    (0, 0, 0),
];
/// Steps of the grey ramp.
const GREYS: u32 = 16;
/// Squares across the shorter side.
const SQUARES: u32 = 12;

/// Draws the card onto the whole target: a frame on the outermost pixels, a grid of squares and a circle
/// (geometry), bars and greys (colour), fine lines (sharpness), the board's name.
///
/// # Errors
/// The target's.
pub fn draw_test_card<D>(target: &mut D, board: &str) -> Result<(), D::Error>
where
    D: DrawTarget<Color = Rgb888> + OriginDimensions,
{
    let size = target.size();
    target.clear(GROUND)?;
    let square = (size.width.min(size.height) / SQUARES).max(4);
    grid(target, size, square)?;
    frame(target, size, square)?;
    let centre = Point::new(size.width as i32 / 2, size.height as i32 / 2);
    // The board's own column: bars above, its name, greys and fine lines below.
    let width = (size.width * 5 / 8 / 8 * 8).min(square * 12 / 8 * 8).max(32);
    let left = centre.x - width as i32 / 2;
    let top = centre.y - (square * 4) as i32;
    let row = |squares: u32| top + (square * squares) as i32;
    bars(target, Point::new(left, top), Size::new(width, square * 3))?;
    plate(target, Point::new(left, row(3)), Size::new(width, square * 2), board, size)?;
    greys(target, Point::new(left, row(5)), Size::new(width, square * 2))?;
    fine_lines(target, Point::new(left, row(7)), Size::new(width, square))?;
    let thick = (square / 16).max(1);
    let circle = PrimitiveStyle::with_stroke(WHITE, thick);
    Circle::with_center(centre, square * (SQUARES - 2)).into_styled(circle).draw(target)
}

fn filled<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    at: Point,
    size: Size,
    colour: Rgb888,
) -> Result<(), D::Error> {
    target.fill_solid(&Rectangle::new(at, size), colour)
}

/// Lines through the centre and every square from it, so that the squares at the edges are cut alike.
fn grid<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    size: Size,
    square: u32,
) -> Result<(), D::Error> {
    let first = |side: u32| (side / 2 % square) as usize;
    for x in (first(size.width)..size.width as usize).step_by(square as usize) {
        filled(target, Point::new(x as i32, 0), Size::new(1, size.height), GRID)?;
    }
    for y in (first(size.height)..size.height as usize).step_by(square as usize) {
        filled(target, Point::new(0, y as i32), Size::new(size.width, 1), GRID)?;
    }
    Ok(())
}

/// One white pixel all around: a screen that cuts the picture cuts this first. Arrows point at the edges.
fn frame<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    size: Size,
    square: u32,
) -> Result<(), D::Error> {
    let style = PrimitiveStyleBuilder::new()
        .stroke_color(WHITE)
        .stroke_width(1)
        .stroke_alignment(StrokeAlignment::Inside)
        .build();
    Rectangle::new(Point::zero(), size).into_styled(style).draw(target)?;
    let (right, bottom) = (size.width as i32 - 1, size.height as i32 - 1);
    let reach = square as i32 * 3 / 4;
    let line = PrimitiveStyle::with_stroke(WHITE, 1);
    let corners = [(0, 0, 1, 1), (right, 0, -1, 1), (0, bottom, 1, -1), (right, bottom, -1, -1)];
    for (x, y, dx, dy) in corners {
        let corner = Point::new(x, y);
        for (along, down) in [(reach, reach), (reach / 2, 0), (0, reach / 2)] {
            let end = corner + Point::new(dx * along, dy * down);
            Line::new(corner, end).into_styled(line).draw(target)?;
        }
        let block = Size::new_equal((square / 3).max(2));
        let offset = Point::new(
            if dx > 0 { 2 } else { -(block.width as i32) - 1 },
            if dy > 0 { 2 } else { -(block.height as i32) - 1 },
        );
        filled(target, corner + offset, block, WHITE)?;
    }
    Ok(())
}

fn bars<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    at: Point,
    size: Size,
) -> Result<(), D::Error> {
    let each = size.width / BARS.len() as u32;
    for (i, (r, g, b)) in BARS.into_iter().enumerate() {
        let corner = at + Point::new((each * i as u32) as i32, 0);
        filled(target, corner, Size::new(each, size.height), Rgb888::new(r, g, b))?;
    }
    Ok(())
}

/// The board's name and what the screen says it is.
fn plate<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    at: Point,
    size: Size,
    board: &str,
    screen: Size,
) -> Result<(), D::Error> {
    filled(target, at, size, BLACK)?;
    let margin = size.height / 8;
    let room = size.width.saturating_sub(2 * margin);
    let mut centred = |text: &str, y: u32, height: u32, colour: Rgb888| {
        let used = text_width(text, height).min(room);
        let x = margin + (room - used) / 2;
        draw_text(target, text, at + Point::new(x as i32, y as i32), height, room, colour)
    };
    // The largest of these heights at which the whole name has room.
    let tall = [size.height / 2, size.height / 3, size.height / 4];
    let name = tall.into_iter().find(|h| text_width(board, *h) <= room).unwrap_or(tall[2]);
    centred(board, size.height / 16 + (tall[0] - name) / 2, name, WHITE)?;
    let about = format!("touchstone test card  {} x {}", screen.width, screen.height);
    let heights = [size.height / 4, size.height / 5, size.height / 8];
    let small = heights.into_iter().find(|h| text_width(&about, *h) <= room).unwrap_or(heights[2]);
    centred(&about, size.height * 5 / 8, small, QUIET)?;
    Ok(())
}

/// From black to white; all steps have to be told apart.
fn greys<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    at: Point,
    size: Size,
) -> Result<(), D::Error> {
    for step in 0..GREYS {
        let edge = |step: u32| (size.width * step / GREYS) as i32;
        let value = (255 * step / (GREYS - 1)) as u8;
        let corner = at + Point::new(edge(step), 0);
        let width = (edge(step + 1) - edge(step)) as u32;
        filled(target, corner, Size::new(width, size.height), Rgb888::new(value, value, value))?;
    }
    Ok(())
}

/// Lines of 1, 2, 3 and 4 pixels: grey mush where the screen rescales.
fn fine_lines<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    at: Point,
    size: Size,
) -> Result<(), D::Error> {
    filled(target, at, size, BLACK)?;
    let each = size.width / 4;
    for pitch in 1..=4 {
        let start = at.x + (each * (pitch - 1)) as i32;
        for x in (0..each.saturating_sub(pitch)).step_by(2 * pitch as usize) {
            let corner = Point::new(start + x as i32, at.y);
            filled(target, corner, Size::new(pitch, size.height), WHITE)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::Canvas;

    fn card(width: u32, height: u32) -> Canvas {
        let mut canvas = Canvas::new(width, height);
        draw_test_card(&mut canvas, "qemu-virt").unwrap();
        canvas
    }

    #[test]
    fn the_outermost_pixels_are_white_on_any_screen() {
        for (width, height) in [(64, 64), (320, 240), (1280, 800), (480, 1920), (1023, 601)] {
            let canvas = card(width, height);
            for x in 0..width {
                assert_eq!(canvas.pixel(x, 0), Some([255; 3]), "{width}x{height} at {x}");
                assert_eq!(canvas.pixel(x, height - 1), Some([255; 3]));
            }
            for y in 0..height {
                assert_eq!(canvas.pixel(0, y), Some([255; 3]), "{width}x{height} at {y}");
                assert_eq!(canvas.pixel(width - 1, y), Some([255; 3]));
            }
        }
    }

    #[test]
    fn every_bar_and_every_grey_is_there() {
        let canvas = card(1280, 720);
        let row = |y: u32| -> Vec<[u8; 3]> {
            let mut seen: Vec<[u8; 3]> = (0..1280).filter_map(|x| canvas.pixel(x, y)).collect();
            seen.dedup();
            seen
        };
        let bars = row(360 - 3 * 60);
        for (r, g, b) in BARS {
            assert!(bars.contains(&[r, g, b]), "{r} {g} {b}");
        }
        let greys = row(360 + 2 * 60);
        for step in 0..16u8 {
            assert!(greys.contains(&[17 * step; 3]), "step {step}");
        }
    }

    #[test]
    fn it_is_mirrored_left_to_right_only_in_its_geometry() {
        // A circle of the right diameter: white left and right of the centre at the same distance.
        let canvas = card(1280, 720);
        let row: Vec<u32> = (0..640).filter(|x| canvas.pixel(*x, 362) == Some([255; 3])).collect();
        let left = row.iter().find(|x| **x > 4).unwrap();
        assert!(left.abs_diff(640 - 300) <= 4, "{left}");
    }
}
