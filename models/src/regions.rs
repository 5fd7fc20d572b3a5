//! Connected parts of a score map: what is large enough to matter, and where it lies.

use crate::map::Map;
use crate::picture::Rect;
use crate::verdict::{REGIONS_MAX, Region};

/// A connected set of cells above some level (8-neighbourhood).
#[derive(Debug)]
struct Component {
    /// First and last column and row, ends exclusive.
    x0: usize,
    x1: usize,
    y0: usize,
    y1: usize,
    peak: f32,
    /// Range in the list of visited cells.
    cells: std::ops::Range<usize>,
}

/// Finds components; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct Finder {
    seen: Vec<bool>,
    /// The cells of all components, one component after the other.
    cells: Vec<usize>,
    found: Vec<Component>,
    flattened: Vec<usize>,
    regions: Vec<Region>,
}

impl Finder {
    /// Looks for all components of `values > level`.
    ///
    /// A NaN cell is above no level and thus belongs to no component; callers refuse NaN beforehand.
    fn find(&mut self, width: usize, values: &[f32], level: f32) {
        let height = values.len().checked_div(width).unwrap_or(0);
        let Finder { seen, cells, found, .. } = self;
        seen.clear();
        seen.resize(values.len(), false);
        cells.clear();
        found.clear();
        for start in 0..width * height {
            if seen[start] || !above(values[start], level) {
                continue;
            }
            let first = cells.len();
            seen[start] = true;
            cells.push(start);
            let mut c = Component {
                x0: width,
                x1: 0,
                y0: height,
                y1: 0,
                peak: f32::NEG_INFINITY,
                cells: first..first,
            };
            // The list of cells is the queue as well: breadth first, no recursion to overflow.
            let mut next = first;
            while next < cells.len() {
                let cell = cells[next];
                next += 1;
                let (x, y) = (cell % width, cell / width);
                c.x0 = c.x0.min(x);
                c.x1 = c.x1.max(x + 1);
                c.y0 = c.y0.min(y);
                c.y1 = c.y1.max(y + 1);
                c.peak = c.peak.max(values[cell]);
                for ny in y.saturating_sub(1)..(y + 2).min(height) {
                    for nx in x.saturating_sub(1)..(x + 2).min(width) {
                        let neighbour = ny * width + nx;
                        if !seen[neighbour] && above(values[neighbour], level) {
                            seen[neighbour] = true;
                            cells.push(neighbour);
                        }
                    }
                }
            }
            c.cells = first..cells.len();
            found.push(c);
        }
    }

    /// Memory for what a map of so many columns and rows may show at most, so that no part asks for any. What is
    /// never needed is never touched and costs nothing.
    pub(crate) fn reserve(&mut self, (columns, rows): (u32, u32)) {
        fn room<T>(all: &mut Vec<T>, count: usize) {
            all.reserve(count.saturating_sub(all.len()));
        }
        let cells = columns as usize * rows as usize;
        room(&mut self.seen, cells);
        room(&mut self.cells, cells);
        room(&mut self.flattened, cells);
        // Components do not touch each other: at most one in each block of 2 x 2 cells.
        let components = columns.div_ceil(2) as usize * rows.div_ceil(2) as usize;
        room(&mut self.found, components);
        room(&mut self.regions, components);
    }

    /// The regions of `map > level` whose longest side is at least `smallest_px`, in pixels of the
    /// picture, highest score first, at most [`REGIONS_MAX`].
    pub(crate) fn regions(
        &mut self,
        map: &Map,
        area: Rect,
        level: f32,
        smallest_px: u32,
    ) -> Vec<Region> {
        let (width, height) = (map.width as usize, map.height as usize);
        let place = Placement { area, width, height };
        self.find(width, &map.values, level);
        let Finder { found, regions, .. } = self;
        let large = found.iter().filter(|c| place.extent(c) >= f64::from(smallest_px));
        regions.clear();
        regions.extend(large.map(|c| place.region(c)));
        let size = |r: &Region| u64::from(r.w) * u64::from(r.h);
        // Unstable, because the stable sort asks for memory; where score and size are equal, the place decides.
        regions.sort_unstable_by(|a, b| {
            let worse = b.score.total_cmp(&a.score).then(size(b).cmp(&size(a)));
            worse.then((a.y, a.x).cmp(&(b.y, b.x)))
        });
        regions[..regions.len().min(REGIONS_MAX)].to_vec()
    }

    /// Lowers every component of `values > level` that is smaller than `smallest_px` to just below
    /// `level`, so that specks too small to matter cannot reject a part; gives the cells.
    ///
    /// Only finite values are touched; what is not finite stays and rejects the part later.
    pub(crate) fn flatten_specks(
        &mut self,
        values: &mut [f32],
        place: Placement,
        level: f32,
        smallest_px: u32,
    ) -> &[usize] {
        /// Just below the level that rejects; one part in a thousand is far below any map's noise.
        const BELOW: f32 = 0.999;
        self.flattened.clear();
        if smallest_px <= 1 || !level.is_finite() || level <= 0.0 {
            return &self.flattened;
        }
        // The statistic is a mean of nine cells. With no cell above `level` left, no mean is above it.
        self.find(place.width, values, level);
        let Finder { found, cells, flattened, .. } = self;
        for speck in found.iter().filter(|c| place.extent(c) < f64::from(smallest_px)) {
            for &cell in &cells[speck.cells.clone()] {
                if values[cell].is_finite() {
                    values[cell] = level * BELOW;
                    flattened.push(cell);
                }
            }
        }
        flattened
    }
}

fn above(value: f32, level: f32) -> bool {
    value > level
}

/// How a map of `width` x `height` cells lies over the rectangle `area` of a picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placement {
    pub(crate) area: Rect,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Placement {
    fn cell_size(&self) -> (f64, f64) {
        (
            f64::from(self.area.w) / self.width.max(1) as f64,
            f64::from(self.area.h) / self.height.max(1) as f64,
        )
    }

    /// Longest side of the component in pixels of the picture.
    fn extent(&self, c: &Component) -> f64 {
        let (sx, sy) = self.cell_size();
        ((c.x1 - c.x0) as f64 * sx).max((c.y1 - c.y0) as f64 * sy)
    }

    fn region(&self, c: &Component) -> Region {
        let (sx, sy) = self.cell_size();
        let left = (c.x0 as f64 * sx).floor() as u32;
        let top = (c.y0 as f64 * sy).floor() as u32;
        let right = ((c.x1 as f64 * sx).ceil() as u32).clamp(left + 1, self.area.w.max(left + 1));
        let bottom = ((c.y1 as f64 * sy).ceil() as u32).clamp(top + 1, self.area.h.max(top + 1));
        Region {
            x: self.area.x + left,
            y: self.area.y + top,
            w: right - left,
            h: bottom - top,
            score: c.peak,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn regions(map: &Map, area: Rect, level: f32, smallest_px: u32) -> Vec<Region> {
        Finder::default().regions(map, area, level, smallest_px)
    }

    fn flatten_specks(values: &mut [f32], place: Placement, level: f32, smallest_px: u32) {
        Finder::default().flatten_specks(values, place, level, smallest_px);
    }

    const AREA: Rect = Rect { x: 100, y: 50, w: 80, h: 40 };

    fn map(rows: [&str; 4]) -> Map {
        let values =
            rows.iter().flat_map(|r| r.bytes().map(|b| f32::from(b - b'0') / 10.0)).collect();
        Map::new(8, 4, values).expect("a map of that size")
    }

    #[test]
    fn regions_in_picture_coordinates_worst_first() {
        let m = map(["06000000", "00700000", "00000009", "00000000"]);
        let found = regions(&m, AREA, 0.5, 0);
        // Diagonal neighbours are connected; a cell is 10 x 10 pixels.
        assert_eq!(
            found,
            [
                Region { x: 170, y: 70, w: 10, h: 10, score: 0.9 },
                Region { x: 110, y: 50, w: 20, h: 20, score: 0.7 },
            ]
        );
        assert_eq!(regions(&m, AREA, 0.5, 15).len(), 1, "the single cell is 10 pixels long");
        assert!(regions(&m, AREA, 0.95, 0).is_empty());
    }

    #[test]
    fn thin_but_long_is_not_small() {
        let m = map(["00000000", "08888888", "00000000", "00000000"]);
        assert_eq!(regions(&m, AREA, 0.5, 70).len(), 1);
        assert!(regions(&m, AREA, 0.5, 71).is_empty());
    }

    #[test]
    fn there_is_a_limit() {
        let mut values = vec![0.0; 64 * 64];
        for y in (0..64).step_by(2) {
            for x in (0..64).step_by(2) {
                values[y * 64 + x] = 0.5 + (x + y) as f32 / 1000.0;
            }
        }
        let m = Map::new(64, 64, values).expect("map");
        let found = regions(&m, AREA, 0.4, 0);
        assert_eq!(found.len(), REGIONS_MAX);
        assert!(found.windows(2).all(|w| w[0].score >= w[1].score));
        assert!((found[0].score - (0.5 + 124.0 / 1000.0)).abs() < 1e-6, "the worst are kept");
    }

    #[test]
    fn specks_are_flattened_and_the_rest_left() {
        let mut m = map(["90000000", "00000000", "00099900", "00099900"]);
        let place = Placement { area: AREA, width: 8, height: 4 };
        let before = m.clone();
        flatten_specks(&mut m.values, place, 0.5, 1);
        assert_eq!(m, before, "a smallest defect of one pixel drops nothing");
        flatten_specks(&mut m.values, place, 0.5, 20);
        assert!(m.values[0] < 0.5 && m.values[0] > 0.49);
        assert_eq!(m.values[1..], before.values[1..]);
    }

    #[test]
    fn flattening_does_not_hide_nan() {
        let mut m = map(["90000000", "00000000", "00000000", "00000000"]);
        m.values[0] = f32::NAN;
        m.values[1] = f32::INFINITY;
        let place = Placement { area: AREA, width: 8, height: 4 };
        flatten_specks(&mut m.values, place, 0.5, 1000);
        assert!(m.values[0].is_nan() && m.values[1].is_infinite());
    }

    #[test]
    fn empty_maps_have_no_regions() {
        assert!(regions(&Map::default(), AREA, 0.5, 0).is_empty());
    }

    proptest! {
        #[test]
        fn regions_lie_within_the_area(
            w in 1..20u32, h in 1..20u32, aw in 1..300u32, ah in 1..300u32, seed in 0..1000u32,
        ) {
            let cell = |i: u32| ((i.wrapping_mul(2_654_435_761).wrapping_add(seed * 97)) >> 16) as f32 / 65535.0;
            let m = Map::new(w, h, (0..w * h).map(cell).collect()).unwrap();
            let area = Rect { x: 7, y: 9, w: aw, h: ah };
            for r in regions(&m, area, 0.6, 0) {
                prop_assert!(r.x >= 7 && r.y >= 9 && r.w > 0 && r.h > 0);
                prop_assert!(r.x + r.w <= 7 + aw && r.y + r.h <= 9 + ah, "{r:?}");
                prop_assert!(r.score > 0.6);
            }
        }
    }
}
