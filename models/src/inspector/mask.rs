//! The ignore mask, brought to the grids that are scored.

use crate::picture::Rect;
use crate::recipe::IgnoreMask;

/// Share of a cell that must be masked for the cell to be ignored. Half keeps the mask's area.
const MASKED_SHARE: f64 = 0.5;
/// Far above the rounding error of a pixel coordinate, far below a pixel.
const ROUNDING: f64 = 1e-6;

/// Cells to ignore on one grid; empty if there is no mask.
#[derive(Debug, Clone, Default)]
pub(super) struct Mask {
    cells: Vec<bool>,
}

impl Mask {
    /// The mask of a `width` x `height` grid that lies over `area` of pictures of `size`, from a
    /// ignore mask stretched over the whole picture.
    pub(super) fn new(
        ignore: &IgnoreMask,
        size: (u32, u32),
        area: Rect,
        (width, height): (usize, usize),
    ) -> Self {
        let column = |x: usize| span(area.x, area.w, x, width, size.0, ignore.width);
        let row = |y: usize| span(area.y, area.h, y, height, size.1, ignore.height);
        let cells = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .map(|(x, y)| masked_share(ignore, column(x), row(y)) >= MASKED_SHARE)
            .collect();
        Mask { cells }
    }

    /// Whether every cell is ignored.
    pub(super) fn covers_all(&self) -> bool {
        !self.cells.is_empty() && self.cells.iter().all(|c| *c)
    }

    /// Zeroes ignored cells, NaN included: what is ignored cannot speak, for or against.
    pub(super) fn apply(&self, values: &mut [f32]) {
        for (value, ignored) in values.iter_mut().zip(&self.cells) {
            if *ignored {
                *value = 0.0;
            }
        }
    }
}

/// Mask pixels under cell `i` of `count` over `length` picture pixels from `start`.
fn span(start: u32, length: u32, i: usize, count: usize, size: u32, mask: u32) -> (u32, u32) {
    let scale = f64::from(mask) / f64::from(size);
    let edge = |i: usize| (f64::from(start) + f64::from(length) * i as f64 / count as f64) * scale;
    // Every pixel that the cell touches counts, but not one that it only touches by rounding.
    let from = ((edge(i) + ROUNDING).floor() as u32).min(mask.saturating_sub(1));
    (from, ((edge(i + 1) - ROUNDING).ceil() as u32).clamp(from + 1, mask.max(from + 1)))
}

fn masked_share(ignore: &IgnoreMask, (x0, x1): (u32, u32), (y0, y1): (u32, u32)) -> f64 {
    let row = |y: u32| {
        let start = y as usize * ignore.width as usize;
        &ignore.ignored[start + x0 as usize..start + x1 as usize]
    };
    let masked: usize = (y0..y1).map(|y| row(y).iter().filter(|m| **m).count()).sum();
    masked as f64 / (f64::from(x1 - x0) * f64::from(y1 - y0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The left half is ignored.
    fn half(width: u32, height: u32) -> IgnoreMask {
        let ignored = (0..width * height).map(|i| i % width < width / 2).collect();
        IgnoreMask { width, height, ignored }
    }

    #[test]
    fn stretches_over_the_whole_picture() {
        let area = Rect { x: 0, y: 0, w: 400, h: 400 };
        let mask = Mask::new(&half(20, 20), (400, 400), area, (4, 2));
        assert_eq!(mask.cells, [true, true, false, false, true, true, false, false]);
        assert!(!mask.covers_all());
        let mut values = vec![f32::NAN, 1.0, 2.0, f32::NAN, 1.0, 1.0, 1.0, 1.0];
        mask.apply(&mut values);
        assert_eq!(values[..3], [0.0, 0.0, 2.0]);
        assert!(values[3].is_nan(), "what is not ignored keeps its NaN");
    }

    #[test]
    fn a_region_of_interest_sees_its_part_of_the_mask() {
        let left = Rect { x: 10, y: 0, w: 100, h: 50 };
        assert!(Mask::new(&half(20, 20), (400, 400), left, (8, 8)).covers_all());
        let right = Rect { x: 300, y: 300, w: 100, h: 100 };
        let mask = Mask::new(&half(20, 20), (400, 400), right, (8, 8));
        assert!(mask.cells.iter().all(|c| !c));
    }

    #[test]
    fn no_mask_ignores_nothing() {
        let mut values = vec![1.0; 4];
        Mask::default().apply(&mut values);
        assert_eq!(values, [1.0; 4]);
        assert!(!Mask::default().covers_all());
    }

    #[test]
    fn more_cells_than_pixels() {
        let area = Rect { x: 0, y: 0, w: 16, h: 16 };
        let mask = Mask::new(&half(16, 16), (16, 16), area, (64, 64));
        assert_eq!(mask.cells.iter().filter(|c| **c).count(), 64 * 32);
    }
}
