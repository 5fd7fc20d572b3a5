//! How a large picture is cut for a small network.
//!
//! The inspected area is scaled once to a canvas, and each tile is a window of the canvas of the size of the
//! model's input: nothing is scaled twice, and a cell of a tile's map is a cell of the canvas's. Neighbours
//! overlap, because a network sees worst at its edges and a defect may lie across one.

use crate::picture::Rect;
use crate::recipe::{TILES_MAX, Tiles};

/// Neighbouring tiles share one part in so many of a tile's side.
const OVERLAP_PART: u32 = 8;

/// Pixels of the model's input that the smallest defect has to be long for the network to see it reliably
/// (development sets: pits and scratches below are missed more often than found).
pub const DEFECT_INPUT_PX: f64 = 3.5;

/// So many times longer than wide may a tile see the picture before more tiles, each of which costs what one costs, are
/// worth it.
pub const SQUEEZED_MAX: f64 = 1.5;

/// A grid of tiles for one model input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    tiles: Tiles,
    input: (u32, u32),
}

impl Tiling {
    /// `tiles` of `input` (width, height) pixels each.
    pub fn new(tiles: Tiles, input: (u32, u32)) -> Tiling {
        Tiling { tiles, input }
    }

    /// The fewest tiles with which a defect of `smallest_px` in a picture of `size` is
    /// [`DEFECT_INPUT_PX`] long at the input; at most [`TILES_MAX`], which may be too few.
    pub fn for_defect(input: (u32, u32), size: (u32, u32), smallest_px: u32) -> Tiles {
        let enough = |input: u32, count: u32, size: u32| {
            let scale = f64::from(canvas_side(input, count)) / f64::from(size);
            scale * f64::from(smallest_px) >= DEFECT_INPUT_PX
        };
        let fewest = |input: u32, size: u32| {
            (1..TILES_MAX).find(|&count| enough(input, count, size)).unwrap_or(TILES_MAX)
        };
        let mut tiles = Tiles { columns: fewest(input.0, size.0), rows: fewest(input.1, size.1) };
        while !tiles.is_sound() {
            let longer =
                if tiles.columns >= tiles.rows { &mut tiles.columns } else { &mut tiles.rows };
            *longer -= 1;
        }
        tiles
    }

    /// As many tiles in a row, down or across, as squeeze a picture of `size` least: what is far longer than wide is
    /// otherwise looked at as if it were as wide as long. One where that is less than [`SQUEEZED_MAX`]; at most
    /// [`TILES_MAX`].
    pub fn for_shape(input: (u32, u32), size: (u32, u32)) -> Tiles {
        let squeezed = |tiles: &Tiles| Tiling::new(*tiles, input).squeezed(size);
        if squeezed(&Tiles::ONE) < SQUEEZED_MAX {
            return Tiles::ONE;
        }
        let down = (1..=TILES_MAX).map(|rows| Tiles { columns: 1, rows });
        let across = (2..=TILES_MAX).map(|columns| Tiles { columns, rows: 1 });
        let all = down.chain(across).filter(Tiles::is_sound);
        all.min_by(|a, b| squeezed(a).total_cmp(&squeezed(b))).unwrap_or(Tiles::ONE)
    }

    /// How many times longer than it is against its width, or wider than against its length, a picture of `size` is
    /// seen: 1 if it keeps its shape.
    pub fn squeezed(&self, size: (u32, u32)) -> f64 {
        let ratio = |(w, h): (u32, u32)| f64::from(w.max(1)) / f64::from(h.max(1));
        let times = ratio(size) / ratio(self.canvas());
        times.max(1.0 / times)
    }

    /// How long a defect of `smallest_px` in a picture of `size` is at the model's input, where it is shrunk most.
    pub fn defect_at_input(&self, size: (u32, u32), smallest_px: u32) -> f64 {
        let canvas = self.canvas();
        let scale = |canvas: u32, size: u32| f64::from(canvas) / f64::from(size.max(1));
        scale(canvas.0, size.0).min(scale(canvas.1, size.1)) * f64::from(smallest_px)
    }

    /// The grid.
    pub fn tiles(&self) -> Tiles {
        self.tiles
    }

    /// How many tiles there are.
    pub fn count(&self) -> usize {
        self.tiles.count() as usize
    }

    /// Width and height of what the tiles cover together, in pixels of the input.
    pub fn canvas(&self) -> (u32, u32) {
        let Tiles { columns, rows } = self.tiles;
        (canvas_side(self.input.0, columns), canvas_side(self.input.1, rows))
    }

    /// Left upper corner of a tile on the canvas; tiles are counted row by row.
    pub fn origin(&self, index: usize) -> (u32, u32) {
        let columns = self.tiles.columns.max(1);
        let (column, row) = (index as u32 % columns, index as u32 / columns);
        (column * step(self.input.0), row * step(self.input.1))
    }

    /// What a tile covers of `area`, to the pixel.
    pub fn rect(&self, area: Rect, index: usize) -> Rect {
        let (canvas, origin) = (self.canvas(), self.origin(index));
        let span = |start: u32, length: u32, from: u32, size: u32, whole: u32| {
            let at = |v: u32| (f64::from(length) * f64::from(v) / f64::from(whole)).round() as u32;
            let (low, high) = (at(from).min(length - 1), at(from + size).min(length));
            (start + low, (high - low).max(1))
        };
        let (x, w) = span(area.x, area.w, origin.0, self.input.0, canvas.0);
        let (y, h) = span(area.y, area.h, origin.1, self.input.1, canvas.1);
        Rect { x, y, w, h }
    }
}

/// What a person says about tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileChoice {
    /// As few as show the smallest defect.
    Auto,
    /// As many in a row as squeeze the picture least.
    Shape,
    /// These.
    Given(Tiles),
}

impl TileChoice {
    /// The tiles for pictures of `size` (of the inspected area) and a model's `input`.
    pub fn tiles(self, input: (u32, u32), size: (u32, u32), smallest_px: u32) -> Tiles {
        match self {
            TileChoice::Auto => Tiling::for_defect(input, size, smallest_px),
            TileChoice::Shape => Tiling::for_shape(input, size),
            TileChoice::Given(tiles) => tiles,
        }
    }
}

impl std::str::FromStr for TileChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(TileChoice::Auto),
            "shape" => Ok(TileChoice::Shape),
            given => {
                given.parse().map(TileChoice::Given).map_err(|e| format!("{e}, auto or shape"))
            }
        }
    }
}

fn step(input: u32) -> u32 {
    input - input / OVERLAP_PART
}

fn canvas_side(input: u32, count: u32) -> u32 {
    input + count.saturating_sub(1) * step(input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INPUT: (u32, u32) = (256, 256);

    #[test]
    fn one_tile_is_the_whole_picture() {
        let one = Tiling::new(Tiles::ONE, INPUT);
        let area = Rect { x: 7, y: 9, w: 1130, h: 460 };
        assert_eq!((one.canvas(), one.origin(0), one.rect(area, 0)), (INPUT, (0, 0), area));
    }

    #[test]
    fn neighbours_share_an_eighth() {
        let tiling = Tiling::new(Tiles { columns: 3, rows: 2 }, INPUT);
        assert_eq!(tiling.canvas(), (704, 480));
        assert_eq!(tiling.origin(4), (224, 224));
        let area = Rect { x: 100, y: 0, w: 1408, h: 960 };
        assert_eq!(tiling.rect(area, 4), Rect { x: 548, y: 448, w: 512, h: 512 });
    }

    #[test]
    fn the_smallest_defect_decides_how_many() {
        let tiles = |size, px| Tiling::for_defect(INPUT, size, px);
        assert_eq!(tiles((512, 512), 8), Tiles::ONE);
        assert_eq!(tiles((512, 512), 4), Tiles { columns: 2, rows: 2 });
        assert_eq!(tiles((255, 640), 4), Tiles { columns: 1, rows: 3 });
        assert_eq!(tiles((3840, 2160), 10), Tiles { columns: 6, rows: 4 });
        assert!(tiles((16384, 4096), 1).is_sound());
        let few = Tiling::new(Tiles::ONE, INPUT);
        assert!((few.defect_at_input((512, 1024), 4) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_long_picture_is_not_squeezed() {
        let tiles = |w, h| Tiling::for_shape(INPUT, (w, h));
        for square in [(512, 512), (640, 480), (354, 512)] {
            assert_eq!(tiles(square.0, square.1), Tiles::ONE, "{square:?}");
        }
        assert_eq!(tiles(1920, 1080), Tiles { columns: 2, rows: 1 });
        assert_eq!(tiles(1130, 460), Tiles { columns: 3, rows: 1 });
        assert_eq!(tiles(255, 640), Tiles { columns: 1, rows: 3 });
        for extreme in [(1, 100_000), (100_000, 1), (0, 0)] {
            assert!(tiles(extreme.0, extreme.1).is_sound(), "{extreme:?}");
        }
        // A model that takes long pictures itself needs none.
        assert_eq!(Tiling::for_shape((512, 256), (1024, 512)), Tiles::ONE);
    }

    #[test]
    fn a_choice_reads_like_its_help() {
        assert_eq!("auto".parse(), Ok(TileChoice::Auto));
        assert_eq!("shape".parse(), Ok(TileChoice::Shape));
        assert_eq!("3x2".parse(), Ok(TileChoice::Given(Tiles { columns: 3, rows: 2 })));
        for wrong in ["", "3", "0x2", "9x9", "3x", "-1x2", "x"] {
            let error = wrong.parse::<TileChoice>().unwrap_err();
            let words = ["COLUMNSxROWS", "auto", "shape"];
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }

    proptest! {
        #[test]
        fn tiles_cover_the_area_and_stay_within(
            columns in 1u32..9, rows in 1u32..8, w in 16u32..5000, h in 16u32..5000,
        ) {
            let tiling = Tiling::new(Tiles { columns, rows }, INPUT);
            let area = Rect { x: 3, y: 5, w, h };
            let rects: Vec<Rect> = (0..tiling.count()).map(|i| tiling.rect(area, i)).collect();
            for r in &rects {
                prop_assert!(r.w > 0 && r.h > 0 && r.x >= 3 && r.y >= 5);
                prop_assert!(r.x + r.w <= 3 + w && r.y + r.h <= 5 + h);
            }
            let first = rects.first().copied().unwrap();
            let last = rects.last().copied().unwrap();
            prop_assert_eq!((first.x, first.y), (3, 5));
            prop_assert_eq!((last.x + last.w, last.y + last.h), (3 + w, 5 + h));
            for pair in rects.windows(2).filter(|p| p[0].y == p[1].y) {
                prop_assert!(pair[1].x <= pair[0].x + pair[0].w);
            }
        }
    }
}
