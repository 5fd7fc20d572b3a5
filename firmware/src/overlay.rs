//! Pictures for people: the taught part, the part, and where they differ, side
//! by side under a banner with the verdict.

use core::convert::Infallible;

use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::iso_8859_1::{FONT_6X13, FONT_10X20};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::prelude::{Drawable, Primitive};
use embedded_graphics::primitives::{PrimitiveStyle, Rectangle};
use embedded_graphics::text::{Baseline, Text};
use touchstone_models::map::Map;
use touchstone_models::picture::{Picture, Rect};
use touchstone_models::verdict::Region;

/// Longest side of a panel, in pixels.
const PANEL_SIDE: u32 = 320;
/// Shortest side of a panel; a very long part is squeezed rather than lost.
const PANEL_SIDE_MIN: u32 = 48;
const GAP: u32 = 8;
const BANNER: u32 = 56;
const LABEL: u32 = 20;
/// Regions that are drawn; more would only cover the part.
const REGIONS_DRAWN_MAX: usize = 12;

const BACKGROUND: Rgb888 = Rgb888::new(24, 26, 30);
const INK: Rgb888 = Rgb888::new(232, 234, 237);
const FAINT: Rgb888 = Rgb888::new(154, 160, 168);
const PASS: Rgb888 = Rgb888::new(30, 126, 74);
const REJECT: Rgb888 = Rgb888::new(186, 40, 40);
const WRONG: Rgb888 = Rgb888::new(176, 106, 0);
const BOX: Rgb888 = Rgb888::new(255, 70, 70);
const HALO: Rgb888 = Rgb888::new(20, 0, 0);
const TRUTH: Rgb888 = Rgb888::new(70, 220, 255);

/// What is shown of one inspection.
#[derive(Clone, Copy, Debug)]
pub struct Exhibit<'a> {
    /// The taught part.
    pub prompt: &'a Picture,
    /// The part.
    pub query: &'a Picture,
    /// What became of the part.
    pub pass: bool,
    /// That it should have been the other way round, where the truth is known.
    pub wrong: bool,
    /// First line of the banner, after PASS or REJECT.
    pub headline: &'a str,
    /// Second line of the banner.
    pub details: &'a str,
    /// Scores 0..1 over `area`, of any size; none if the part was not judged.
    pub map: Option<&'a Map>,
    /// The part of the query that the map covers, in its pixels.
    pub area: Rect,
    /// Where the part differs, in pixels of the query.
    pub regions: &'a [Region],
    /// What really is wrong, one flag per pixel of the query, where known.
    pub truth: Option<&'a [bool]>,
}

/// An RGB picture that can be drawn on.
#[derive(Clone, Debug)]
pub struct Canvas {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Canvas {
    /// A canvas of one colour; both sides at least 16, so that it can become a
    /// picture.
    pub fn new(width: u32, height: u32, colour: Rgb888) -> Self {
        let (width, height) = (width.max(16), height.max(16));
        let pixel = [colour.r(), colour.g(), colour.b()];
        let rgb = pixel.repeat(width as usize * height as usize);
        Self { width, height, rgb }
    }

    /// The canvas as a picture; `None` if it is beyond a picture's limits.
    pub fn into_picture(self) -> Option<Picture> {
        Picture::from_rgb8(self.width, self.height, self.rgb).ok()
    }

    fn set(&mut self, x: i32, y: i32, colour: Rgb888) {
        let inside = |v: i32, limit: u32| u32::try_from(v).ok().filter(|&v| v < limit);
        if let (Some(x), Some(y)) = (inside(x, self.width), inside(y, self.height)) {
            let at = (y as usize * self.width as usize + x as usize) * 3;
            self.rgb[at..at + 3].copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
        }
    }

    /// Pastes `picture` with its top left corner at `at`.
    pub fn paste(&mut self, picture: &Picture, at: Point) {
        let row = picture.width() as usize * 3;
        for (y, line) in picture.rgb().chunks_exact(row).enumerate() {
            for (x, p) in line.chunks_exact(3).enumerate() {
                self.set(at.x + x as i32, at.y + y as i32, Rgb888::new(p[0], p[1], p[2]));
            }
        }
    }

    /// Writes `text`, cut to `width` pixels, with its top left corner at `at`.
    fn write(&mut self, text: &str, at: Point, width: u32, font: &MonoFont<'_>, ink: Rgb888) {
        let fits = (width / font.character_size.width) as usize;
        let cut: String = match text.char_indices().nth(fits) {
            Some(_) => text.chars().take(fits.saturating_sub(2)).chain("..".chars()).collect(),
            None => text.to_owned(),
        };
        let style = MonoTextStyle::new(font, ink);
        let Ok(_) = Text::with_baseline(&cut, at, style, Baseline::Top).draw(self);
    }

    fn frame(&mut self, at: Point, size: Size, colour: Rgb888, stroke: u32) {
        let style = PrimitiveStyle::with_stroke(colour, stroke);
        let Ok(()) = Rectangle::new(at, size).into_styled(style).draw(self);
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

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        for Pixel(point, colour) in pixels {
            self.set(point.x, point.y, colour);
        }
        Ok(())
    }
}

/// Colour of a score: black over violet and orange to a pale yellow, even in
/// brightness, so that it reads the same in grey. A NaN is as bad as can be.
pub fn heat(score: f32) -> Rgb888 {
    const STOPS: [[f32; 3]; 6] = [
        [0.0, 0.0, 4.0],
        [66.0, 10.0, 104.0],
        [147.0, 38.0, 103.0],
        [221.0, 81.0, 58.0],
        [252.0, 165.0, 10.0],
        [252.0, 255.0, 164.0],
    ];
    let score = if score.is_nan() { 1.0 } else { score.clamp(0.0, 1.0) };
    let at = score * (STOPS.len() - 1) as f32;
    let low = (at as usize).min(STOPS.len() - 2);
    let share = at - low as f32;
    let mix = |c: usize| (STOPS[low][c] + (STOPS[low + 1][c] - STOPS[low][c]) * share) as u8;
    Rgb888::new(mix(0), mix(1), mix(2))
}

/// The picture in grey, with the map's colours laid over it where it is high.
pub fn heat_map(picture: &Picture, map: &Map, area: Rect) -> Picture {
    const GREY: f32 = 0.75;
    let (width, height) = (picture.width(), picture.height());
    let values = map.resize(area.w.max(1), area.h.max(1)).values;
    let mut rgb = Vec::with_capacity(picture.rgb().len());
    for (index, p) in picture.rgb().chunks_exact(3).enumerate() {
        let (x, y) = (index as u32 % width, index as u32 / width);
        let luma = 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
        let grey = luma * GREY;
        let inside = x >= area.x && y >= area.y && x - area.x < area.w && y - area.y < area.h;
        let score = match inside {
            true => values[((y - area.y) * area.w + (x - area.x)) as usize],
            false => 0.0,
        };
        let colour = heat(score);
        // Low scores let the part show through, high ones hide it.
        let cover = if score.is_nan() { 1.0 } else { (score * 1.4).clamp(0.0, 0.92) };
        for c in [colour.r(), colour.g(), colour.b()] {
            rgb.push((grey * (1.0 - cover) + f32::from(c) * cover) as u8);
        }
    }
    Picture::from_rgb8(width, height, rgb).unwrap_or_else(|_| picture.clone())
}

/// Size of a panel: the picture's shape within [`PANEL_SIDE`].
fn panel_size(width: u32, height: u32) -> (u32, u32) {
    let longest = width.max(height).max(1);
    let side = |v: u32| {
        let scaled = u64::from(v) * u64::from(PANEL_SIDE) / u64::from(longest);
        (scaled as u32).clamp(PANEL_SIDE_MIN, PANEL_SIDE)
    };
    (side(width), side(height))
}

/// Taught part, part and difference side by side. `None` never happens for
/// pictures within the limits of [`Picture`].
pub fn side_by_side(exhibit: &Exhibit<'_>) -> Option<Picture> {
    let query = exhibit.query;
    let (w, h) = panel_size(query.width(), query.height());
    let width = 3 * w + 4 * GAP;
    let mut canvas = Canvas::new(width, BANNER + LABEL + h + GAP, BACKGROUND);
    banner(&mut canvas, exhibit, width);
    let left = |panel: u32| (GAP + panel * (w + GAP)) as i32;
    let top = (BANNER + LABEL) as i32;

    canvas.paste(&exhibit.prompt.resize(w, h), Point::new(left(0), top));
    canvas.paste(&query.resize(w, h), Point::new(left(1), top));
    let labels = match exhibit.map {
        Some(map) => {
            let heat = heat_map(query, map, exhibit.area).resize(w, h);
            canvas.paste(&heat, Point::new(left(2), top));
            ["taught", "this part", "difference"]
        }
        None => {
            canvas.paste(&query.resize(w, h), Point::new(left(2), top));
            ["taught", "this part", "not judged"]
        }
    };
    for (panel, label) in (0..).zip(labels) {
        let at = Point::new(left(panel), BANNER as i32 + 4);
        canvas.write(label, at, w, &FONT_6X13, FAINT);
    }
    let scale = (f64::from(w) / f64::from(query.width()), f64::from(h) / f64::from(query.height()));
    if let Some(truth) = exhibit.truth {
        outline(&mut canvas, query, truth, (left(1), top), scale);
        let at = Point::new(left(1) + 66, BANNER as i32 + 4);
        canvas.write("blue: real defect", at, w.saturating_sub(66), &FONT_6X13, TRUTH);
    }
    for region in exhibit.regions.iter().take(REGIONS_DRAWN_MAX) {
        for panel in [1, 2] {
            draw_region(&mut canvas, region, (left(panel), top), scale, (w, h));
        }
    }
    canvas.into_picture()
}

fn banner(canvas: &mut Canvas, exhibit: &Exhibit<'_>, width: u32) {
    let colour = match (exhibit.wrong, exhibit.pass) {
        (true, _) => WRONG,
        (false, true) => PASS,
        (false, false) => REJECT,
    };
    let word = if exhibit.pass { "PASS" } else { "REJECT" };
    let style = PrimitiveStyle::with_fill(colour);
    let Ok(()) =
        Rectangle::new(Point::zero(), Size::new(width, BANNER)).into_styled(style).draw(canvas);
    let headline = match exhibit.headline {
        "" => word.to_owned(),
        text => format!("{word}  {text}"),
    };
    let room = width - 2 * GAP;
    canvas.write(&headline, Point::new(GAP as i32, 8), room, &FONT_10X20, RgbColor::WHITE);
    canvas.write(exhibit.details, Point::new(GAP as i32, 34), room, &FONT_6X13, INK);
}

fn draw_region(
    canvas: &mut Canvas,
    region: &Region,
    origin: (i32, i32),
    scale: (f64, f64),
    panel: (u32, u32),
) {
    // A little room around the region, so that the box does not cover it.
    const ROOM: f64 = 3.0;
    let edge = |v: u32, scale: f64, room: f64, limit: u32| {
        (f64::from(v) * scale + room).round().clamp(0.0, f64::from(limit.max(1) - 1)) as i32
    };
    let x0 = edge(region.x, scale.0, -ROOM, panel.0);
    let y0 = edge(region.y, scale.1, -ROOM, panel.1);
    let x1 = edge(region.x.saturating_add(region.w), scale.0, ROOM, panel.0);
    let y1 = edge(region.y.saturating_add(region.h), scale.1, ROOM, panel.1);
    let at = Point::new(origin.0 + x0, origin.1 + y0);
    let side = |from: i32, to: i32| u32::try_from(to - from + 1).unwrap_or(1);
    let size = Size::new(side(x0, x1), side(y0, y1));
    canvas.frame(at, size, HALO, 3);
    canvas.frame(at, size, BOX, 1);
}

/// Draws the border of the pixels marked in `truth`.
fn outline(
    canvas: &mut Canvas,
    query: &Picture,
    truth: &[bool],
    origin: (i32, i32),
    scale: (f64, f64),
) {
    let (width, height) = (query.width() as usize, query.height() as usize);
    if truth.len() != width * height {
        return;
    }
    let marked = |x: usize, y: usize| truth[y * width + x];
    for y in 0..height {
        for x in 0..width {
            let edge = |dx: isize, dy: isize| {
                let near = x.checked_add_signed(dx).zip(y.checked_add_signed(dy));
                near.is_none_or(|(x, y)| x >= width || y >= height || !marked(x, y))
            };
            if marked(x, y) && (edge(-1, 0) || edge(1, 0) || edge(0, -1) || edge(0, 1)) {
                let px = origin.0 + (x as f64 * scale.0) as i32;
                let py = origin.1 + (y as f64 * scale.1) as i32;
                canvas.set(px, py, TRUTH);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: u32, height: u32, level: u8) -> Picture {
        let rgb = vec![level; 3 * (width * height) as usize];
        Picture::from_rgb8(width, height, rgb).unwrap()
    }

    fn pixel(picture: &Picture, x: u32, y: u32) -> [u8; 3] {
        let at = 3 * (y * picture.width() + x) as usize;
        picture.rgb()[at..at + 3].try_into().unwrap()
    }

    fn exhibit<'a>(
        picture: &'a Picture,
        map: Option<&'a Map>,
        regions: &'a [Region],
    ) -> Exhibit<'a> {
        Exhibit {
            prompt: picture,
            query: picture,
            pass: false,
            wrong: false,
            headline: "changed against the good part",
            details: "part 7",
            map,
            area: picture.bounds(),
            regions,
            truth: None,
        }
    }

    #[test]
    fn the_ramp_rises_in_brightness_and_nan_is_the_worst() {
        let light =
            |c: Rgb888| 299 * u32::from(c.r()) + 587 * u32::from(c.g()) + 114 * u32::from(c.b());
        let ramp: Vec<u32> = (0..=100).map(|i| light(heat(i as f32 / 100.0))).collect();
        assert!(ramp.windows(2).all(|w| w[0] <= w[1]), "{ramp:?}");
        assert_eq!(heat(f32::NAN), heat(1.0));
        assert_eq!(heat(7.0), heat(1.0));
    }

    #[test]
    fn three_panels_banner_and_boxes_are_where_they_belong() {
        let picture = grey(640, 480, 100);
        let map = Map::new(2, 1, vec![0.0, 1.0]).unwrap();
        let region = Region { x: 320, y: 240, w: 40, h: 40, score: 0.9 };
        let drawn = side_by_side(&exhibit(&picture, Some(&map), &[region])).unwrap();
        assert_eq!((drawn.width(), drawn.height()), (3 * 320 + 4 * 8, 56 + 20 + 240 + 8));
        assert_eq!(pixel(&drawn, 1, 1), [REJECT.r(), REJECT.g(), REJECT.b()]);
        // Taught part and part are as they are, the difference is coloured on its right.
        assert_eq!(pixel(&drawn, 100, 200), [100; 3]);
        assert_eq!(pixel(&drawn, 340, 80), [100; 3]);
        let (cold, hot) = (pixel(&drawn, 670, 300), pixel(&drawn, 975, 300));
        assert!(hot[0] > cold[0] + 100, "{cold:?} {hot:?}");
        // The box starts three pixels before the region: 336 + 160 - 3, 76 + 120 - 3.
        assert_eq!(pixel(&drawn, 493, 193), [BOX.r(), BOX.g(), BOX.b()]);
    }

    #[test]
    fn odd_shapes_and_wild_regions_do_not_panic() {
        for (w, h) in [(16, 16), (2000, 16), (16, 2000), (33, 57)] {
            let picture = grey(w, h, 10);
            let region = Region { x: u32::MAX, y: 0, w: u32::MAX, h: 1, score: f32::NAN };
            let map = Map::new(1, 1, vec![f32::NAN]).unwrap();
            let truth = vec![true; (w * h) as usize];
            let regions = [region];
            let shown = Exhibit { truth: Some(&truth), ..exhibit(&picture, Some(&map), &regions) };
            assert!(side_by_side(&shown).is_some());
            assert!(side_by_side(&exhibit(&picture, None, &[])).is_some());
        }
    }

    #[test]
    fn long_text_is_cut() {
        let picture = grey(64, 64, 0);
        let long = "x".repeat(500);
        let shown = Exhibit { headline: &long, details: &long, ..exhibit(&picture, None, &[]) };
        assert!(side_by_side(&shown).is_some());
    }
}
