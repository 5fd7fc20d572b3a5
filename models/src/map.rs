//! A picture of scores: one value of 0..1 per cell.

use crate::registration::Affine;

/// A score map, row-major, every value in 0..1 when it came from [`crate::oneprompt`].
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Map {
    /// Cells per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `width * height` values.
    pub values: Vec<f32>,
}

impl Map {
    /// A map of `values`; `None` if they do not fill `width` x `height` or a side is 0.
    pub fn new(width: u32, height: u32, values: Vec<f32>) -> Option<Map> {
        let cells = (width as usize).checked_mul(height as usize)?;
        (cells > 0 && cells == values.len()).then_some(Map { width, height, values })
    }

    /// The value at column `x`, row `y`; panics outside the map.
    pub fn at(&self, x: u32, y: u32) -> f32 {
        self.values[y as usize * self.width as usize + x as usize]
    }

    /// The greatest value; 0 for an empty map. NaN is passed over: engines refuse it earlier.
    pub fn max(&self) -> f32 {
        // Many greatest values side by side: one alone would wait for itself at every cell.
        let mut greatest = [0.0f32; 32];
        for values in self.values.chunks(greatest.len()) {
            for (greatest, value) in greatest.iter_mut().zip(values) {
                *greatest = if *value > *greatest { *value } else { *greatest };
            }
        }
        greatest.into_iter().fold(0.0, f32::max)
    }

    /// Zeroes what lies under `cell` (row-major) of a grid of `columns` x `rows` over the same picture.
    pub(crate) fn clear_under(&mut self, cell: usize, (columns, rows): (u32, u32)) {
        let (x, y) = (cell as u32 % columns.max(1), cell as u32 / columns.max(1));
        let span = |at: u32, of: u32, count: u32| {
            let (at, of, count) = (u64::from(at), u64::from(of.max(1)), u64::from(count));
            (at * count / of) as u32..((at + 1) * count).div_ceil(of).min(count) as u32
        };
        let (across, down) = (span(x, columns, self.width), span(y, rows, self.height));
        for y in down {
            for x in across.clone() {
                self.values[y as usize * self.width as usize + x as usize] = 0.0;
            }
        }
    }

    /// Bilinear resampling with half-pixel centres and clamped edges, the convention of
    /// `align_corners = false`. Never leaves the range of the input's values.
    pub fn resize(&self, width: u32, height: u32) -> Map {
        let mut out = Map::default();
        Resampler::default().resize(self, (width, height), &mut out);
        out
    }

    /// Becomes a copy of `other` in the memory that it has.
    pub(crate) fn copy(&mut self, other: &Map) {
        (self.width, self.height) = (other.width, other.height);
        self.values.clear();
        self.values.extend_from_slice(&other.values);
    }
}

/// Where a target cell lies between two source cells, and how far towards the second.
type Tap = (usize, usize, f32);

/// [`Map::resize`] that keeps its buffers, for maps that are resized for every part.
#[derive(Debug, Default)]
pub(crate) struct Resampler {
    columns: Vec<Tap>,
    rows: Vec<Tap>,
}

impl Resampler {
    /// Fills `out` with `map` at another size.
    pub(crate) fn resize(&mut self, map: &Map, (width, height): (u32, u32), out: &mut Map) {
        if (width, height) == (map.width, map.height) {
            return out.copy(map);
        }
        taps(map.width, width, &mut self.columns);
        taps(map.height, height, &mut self.rows);
        let row = map.width as usize;
        (out.width, out.height) = (width, height);
        out.values.clear();
        out.values.reserve(width as usize * height as usize);
        for &(y0, y1, ty) in &self.rows {
            let top = &map.values[y0 * row..][..row];
            let low = &map.values[y1 * row..][..row];
            for &(x0, x1, tx) in &self.columns {
                let a = top[x0] + (top[x1] - top[x0]) * tx;
                let b = low[x0] + (low[x1] - low[x0]) * tx;
                out.values.push(a + (b - a) * ty);
            }
        }
    }
}

impl Map {
    /// The map as seen through `map`, bilinear: cell `x` shows what is at `map(x)`, and 0 where that is outside.
    pub fn seen_through(&self, map: &Affine) -> Map {
        let (width, height) = (self.width as usize, self.height as usize);
        let taps = |v: f64, n: usize| {
            // Up to the outermost cells' edges, half a cell beyond their centres.
            let inside = (-0.5..=n as f64 - 0.5).contains(&v);
            let at = v.clamp(0.0, (n - 1) as f64);
            inside.then(|| (at as usize, (at as usize + 1).min(n - 1), at.fract() as f32))
        };
        let value = |x: usize, y: usize| {
            let (sx, sy) = map.at(x as f64, y as f64);
            let ((x0, x1, fx), (y0, y1, fy)) = (taps(sx, width)?, taps(sy, height)?);
            let at = |x: usize, y: usize| self.values[y * width + x];
            let upper = at(x0, y0) + (at(x1, y0) - at(x0, y0)) * fx;
            let lower = at(x0, y1) + (at(x1, y1) - at(x0, y1)) * fx;
            Some(upper + (lower - upper) * fy)
        };
        let rows = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let values = rows.map(|(x, y)| value(x, y).unwrap_or(0.0)).collect();
        Map { values, ..*self }
    }
}

/// For each of `to` target cells its place among `from` source cells.
fn taps(from: u32, to: u32, out: &mut Vec<Tap>) {
    let last = from.saturating_sub(1) as f64;
    let scale = f64::from(from) / f64::from(to);
    out.clear();
    out.extend((0..to).map(|i| {
        let at = ((f64::from(i) + 0.5) * scale - 0.5).clamp(0.0, last);
        let low = at.floor();
        (low as usize, (low + 1.0).min(last) as usize, (at - low) as f32)
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_lies_under_a_cell_is_cleared_on_coarser_and_finer_maps() {
        let ones =
            |side: u32| Map::new(side, side, vec![1.0; (side * side) as usize]).expect("a map");
        let cleared = |side: u32, cell: usize| {
            let mut map = ones(side);
            map.clear_under(cell, (4, 4));
            let zero = |v: &(usize, &f32)| *v.1 == 0.0;
            map.values.iter().enumerate().filter(zero).map(|(i, _)| i).collect::<Vec<_>>()
        };
        assert_eq!(cleared(2, 5), [0], "column 1 of 4 lies in column 0 of 2");
        assert_eq!(cleared(8, 5), [18, 19, 26, 27]);
        assert_eq!(cleared(4, 15), [15]);
    }

    #[test]
    fn doubling_follows_half_pixel_centres() {
        let m = Map::new(2, 1, vec![0.0, 1.0]).unwrap().resize(4, 1);
        assert_eq!(m.values, [0.0, 0.25, 0.75, 1.0]);
    }

    #[test]
    fn rows_and_columns_are_not_mixed_up() {
        let m = Map::new(2, 3, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!(m.at(1, 2), 5.0);
        assert_eq!(m.resize(2, 6).at(0, 5), 4.0);
        assert_eq!(m.max(), 5.0);
    }

    #[test]
    fn a_map_must_be_filled() {
        assert!(Map::new(2, 2, vec![0.0; 3]).is_none());
        assert!(Map::new(0, 2, vec![]).is_none());
    }

    proptest! {
        #[test]
        fn resizing_stays_in_range(w in 1u32..9, h in 1u32..9, tw in 1u32..33, th in 1u32..33, seed in 0u32..1000) {
            let cell = |i: u32| ((i.wrapping_mul(2654435761).wrapping_add(seed * 97)) >> 16) as f32 / 65535.0;
            let m = Map::new(w, h, (0..w * h).map(cell).collect()).unwrap();
            let r = m.resize(tw, th);
            prop_assert_eq!(r.values.len(), (tw * th) as usize);
            let low = m.values.iter().copied().fold(f32::MAX, f32::min);
            prop_assert!(r.values.iter().all(|&v| v >= low - 1e-6 && v <= m.max() + 1e-6));
        }
    }
}
