//! A contact sheet per category: what the figures mean in pictures.
//!
//! Rows are test pictures (worst false alarms, worst misses, typical ones); columns are the good
//! picture, the test picture, the same with the outline of the truth, and the score map.

use std::convert::Infallible;
use std::path::Path;

use embedded_graphics::mono_font::{MonoTextStyle, ascii::FONT_7X13};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::text::{Baseline, Text};
use touchstone_models::map::Map;
use touchstone_models::picture::{Picture, save_rgb};

use super::dataset::{Category, Sample};
use super::tally::{THUMB_SIDE, Tally};

/// Side of one picture on the sheet.
const TILE: u32 = 200;
/// Between pictures.
const GAP: u32 = 6;
/// Height of the line of text above a row.
const TEXT: u32 = 18;
/// Columns.
const COLUMNS: u32 = 4;
/// Colour of the outline of the truth.
const OUTLINE: [u8; 3] = [0, 255, 80];
/// Background.
const PAPER: u8 = 24;

/// Rows of each kind.
const FALSE_ALARMS: usize = 2;
const MISSES: usize = 3;
const TYPICAL: usize = 2;

/// Draws and writes a category's sheet; `prompt` is its good picture, unless pictures have their
/// own, and `tallies` run parallel to the category's samples.
///
/// # Errors
/// A picture or mask that cannot be read, a sheet that cannot be written.
pub fn write(file: &Path, category: &Category, tallies: &[&Tally]) -> anyhow::Result<()> {
    let rows = choose(category, tallies);
    let width = COLUMNS * (TILE + GAP) + GAP;
    let height = rows.len() as u32 * (TEXT + TILE + GAP) + GAP;
    let mut canvas = Canvas::new(width, height);
    for (row, &(why, index)) in rows.iter().enumerate() {
        let sample = &category.samples[index];
        let top = GAP + row as u32 * (TEXT + TILE + GAP);
        let verdict = match tallies[index].reject {
            Some(true) => ", rejected",
            Some(false) => ", passed",
            None => "",
        };
        let text = format!(
            "{why}: {}/{}  score {:.4}{verdict}",
            sample.kind,
            sample.stem(),
            tallies[index].score
        );
        canvas.text(GAP, top, &text);
        for (column, tile) in tiles(category, sample, tallies[index])?.iter().enumerate() {
            let left = GAP + column as u32 * (TILE + GAP);
            canvas.paste(left, top + TEXT, tile);
        }
    }
    save_rgb(file, &canvas.into_picture()?)?;
    Ok(())
}

/// The four pictures of a row.
fn tiles(category: &Category, sample: &Sample, tally: &Tally) -> anyhow::Result<Vec<Picture>> {
    let prompt = sample.prompt.as_ref().or(category.train.first());
    let query = Picture::open(&sample.picture)?.resize(TILE, TILE);
    let mut tiles = Vec::with_capacity(COLUMNS as usize);
    tiles.push(match prompt {
        Some(path) => Picture::open(path)?.resize(TILE, TILE),
        None => query.clone(),
    });
    tiles.push(query.clone());
    tiles.push(match &sample.mask {
        Some(path) => outlined(&query, &Picture::open(path)?.resize(TILE, TILE))?,
        None => query.clone(),
    });
    let map = match &tally.thumb {
        Some(map) => map.clone(),
        None => Map {
            width: THUMB_SIDE,
            height: THUMB_SIDE,
            values: vec![0.0; (THUMB_SIDE * THUMB_SIDE) as usize],
        },
    };
    tiles.push(heat(&map.resize(TILE, TILE))?);
    Ok(tiles)
}

/// The rows of the sheet: why, and which sample. No sample comes twice.
fn choose(category: &Category, tallies: &[&Tally]) -> Vec<(&'static str, usize)> {
    let by_score = |defective: bool| {
        let mut of: Vec<usize> = (0..category.samples.len())
            .filter(|&i| category.samples[i].defective == defective)
            .collect();
        of.sort_by(|&a, &b| tallies[a].score.total_cmp(&tallies[b].score));
        of
    };
    let (clean, bad) = (by_score(false), by_score(true));
    let mut rows = Vec::new();
    let mut add = |why, index: usize| {
        if rows.iter().all(|&(_, i)| i != index) {
            rows.push((why, index));
        }
    };
    clean.iter().rev().take(FALSE_ALARMS).for_each(|&i| add("highest clean", i));
    bad.iter().take(MISSES).for_each(|&i| add("lowest defective", i));
    for (why, list) in [("typical clean", &clean), ("typical defective", &bad)] {
        let middle = list.len() / 2;
        let from = middle.saturating_sub(TYPICAL / 2);
        list.iter().skip(from).take(TYPICAL).for_each(|&i| add(why, i));
    }
    rows
}

/// Draws the border of a mask's white part.
fn outlined(query: &Picture, mask: &Picture) -> anyhow::Result<Picture> {
    let inside = |x: u32, y: u32| mask.rgb()[3 * (y * TILE + x) as usize] > 127;
    let mut rgb = query.rgb().to_vec();
    for y in 0..TILE {
        for x in 0..TILE {
            let edge = x == 0 || y == 0 || x + 1 == TILE || y + 1 == TILE;
            let border = |x: u32, y: u32| {
                edge || !(inside(x - 1, y)
                    && inside(x + 1, y)
                    && inside(x, y - 1)
                    && inside(x, y + 1))
            };
            if inside(x, y) && border(x, y) {
                rgb[3 * (y * TILE + x) as usize..][..3].copy_from_slice(&OUTLINE);
            }
        }
    }
    Ok(Picture::from_rgb8(TILE, TILE, rgb)?)
}

/// Black, blue, red, yellow, white for 0..1: fixed, so that sheets can be compared.
fn heat(map: &Map) -> anyhow::Result<Picture> {
    const STOPS: [[f32; 3]; 5] = [
        [0.0, 0.0, 0.0],
        [40.0, 20.0, 150.0],
        [210.0, 40.0, 60.0],
        [250.0, 200.0, 40.0],
        [255.0, 255.0, 255.0],
    ];
    let colour = |value: f32| {
        let at = value.clamp(0.0, 1.0) * (STOPS.len() - 1) as f32;
        let low = (at as usize).min(STOPS.len() - 2);
        let part = at - low as f32;
        std::array::from_fn::<u8, 3, _>(|c| {
            (STOPS[low][c] + part * (STOPS[low + 1][c] - STOPS[low][c])).round() as u8
        })
    };
    let rgb = map.values.iter().flat_map(|&v| colour(v)).collect();
    Ok(Picture::from_rgb8(map.width, map.height, rgb)?)
}

/// RGB pixels that text can be drawn on.
struct Canvas {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Canvas {
    fn new(width: u32, height: u32) -> Self {
        let height = height.max(TILE);
        Self { width, height, rgb: vec![PAPER; 3 * (width * height) as usize] }
    }

    fn text(&mut self, x: u32, y: u32, text: &str) {
        let style = MonoTextStyle::new(&FONT_7X13, Rgb888::WHITE);
        let place = Point::new(x as i32, y as i32);
        let Ok(_) = Text::with_baseline(text, place, style, Baseline::Top).draw(self);
    }

    fn paste(&mut self, left: u32, top: u32, tile: &Picture) {
        let row = 3 * tile.width() as usize;
        for (y, line) in tile.rgb().chunks_exact(row).enumerate() {
            let start = 3 * ((top + y as u32) * self.width + left) as usize;
            self.rgb[start..start + row].copy_from_slice(line);
        }
    }

    fn into_picture(self) -> anyhow::Result<Picture> {
        Ok(Picture::from_rgb8(self.width, self.height, self.rgb)?)
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
        for Pixel(at, colour) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(at.x), u32::try_from(at.y)) else {
                continue;
            };
            if x < self.width && y < self.height {
                let start = 3 * (y * self.width + x) as usize;
                self.rgb[start..start + 3].copy_from_slice(&[colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::dataset::{discover, testing};
    use super::*;

    fn tally(score: f32) -> Tally {
        Tally { score, reject: Some(score > 0.5), pixels: None, boxes: None, thumb: None }
    }

    #[test]
    fn rows_show_the_worst_first_and_none_twice() {
        let root = tempfile::tempdir().unwrap();
        testing::write_category(root.path(), 1, 5);
        let category = discover(root.path(), &[]).unwrap().remove(0);
        let scores = [0.1, 0.9, 0.2, 0.3, 0.0, 0.4, 0.8, 0.7, 0.05, 0.6, 0.5];
        let tallies: Vec<Tally> = scores.iter().map(|&s| tally(s)).collect();
        let tallies: Vec<&Tally> = tallies.iter().collect();
        let rows = choose(&category, &tallies);
        assert_eq!(rows[0], ("highest clean", 1));
        assert_eq!(rows[2], ("lowest defective", 8));
        let mut indices: Vec<usize> = rows.iter().map(|r| r.1).collect();
        indices.sort_unstable();
        indices.dedup();
        assert_eq!(indices.len(), rows.len());
        let file = root.path().join("sheet.png");
        write(&file, &category, &tallies).unwrap();
        let sheet = Picture::open(&file).unwrap();
        assert_eq!(sheet.width(), COLUMNS * (TILE + GAP) + GAP);
        assert!(sheet.rgb().chunks_exact(3).any(|p| p == OUTLINE), "no outline");
        assert!(sheet.rgb().chunks_exact(3).any(|p| p == [255; 3]), "no text");
    }

    #[test]
    fn heat_rises_from_black_to_white() {
        let mut map = Map { width: 16, height: 16, values: vec![0.0; 256] };
        map.values[255] = 1.0;
        let picture = heat(&map).unwrap();
        assert_eq!(picture.rgb()[..3], [0; 3]);
        assert_eq!(picture.rgb()[765..], [255; 3]);
    }
}
