//! Connected regions of a ground-truth mask (8-neighbourhood).

/// Which region every pixel of a mask belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// Mask width in pixels.
    pub width: usize,
    /// Mask height in pixels.
    pub height: usize,
    /// Row-major; 0 = clean, `n` = region `n - 1`.
    pub of_pixel: Vec<u32>,
    /// Pixels per region; never 0.
    pub sizes: Vec<u32>,
}

impl Labels {
    /// Labels the regions of a row-major mask, in order of their first pixel.
    ///
    /// # Panics
    /// If `mask` has not `width * height` entries; callers build it from a picture of that size.
    pub fn of_mask(width: usize, height: usize, mask: &[bool]) -> Self {
        assert_eq!(mask.len(), width * height, "mask size");
        let mut labels = Self { width, height, of_pixel: vec![0; mask.len()], sizes: Vec::new() };
        let mut open = Vec::new();
        for start in 0..mask.len() {
            if !mask[start] || labels.of_pixel[start] != 0 {
                continue;
            }
            let label = labels.sizes.len() as u32 + 1;
            let mut size = 0;
            labels.of_pixel[start] = label;
            open.push(start);
            while let Some(pixel) = open.pop() {
                size += 1;
                for_neighbours(width, height, pixel, |next| {
                    if mask[next] && labels.of_pixel[next] == 0 {
                        labels.of_pixel[next] = label;
                        open.push(next);
                    }
                });
            }
            labels.sizes.push(size);
        }
        labels
    }

    /// Labels of a clean picture: no region.
    pub fn clean(width: usize, height: usize) -> Self {
        Self { width, height, of_pixel: vec![0; width * height], sizes: Vec::new() }
    }
}

/// Calls `visit` with the index of each of the up to eight neighbours of `pixel`.
pub(super) fn for_neighbours(
    width: usize,
    height: usize,
    pixel: usize,
    mut visit: impl FnMut(usize),
) {
    let (x, y) = (pixel % width, pixel / width);
    for ny in y.saturating_sub(1)..=(y + 1).min(height - 1) {
        for nx in x.saturating_sub(1)..=(x + 1).min(width - 1) {
            if (nx, ny) != (x, y) {
                visit(ny * width + nx);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> (usize, usize, Vec<bool>) {
        let cells = rows.iter().flat_map(|r| r.bytes().map(|b| b == b'#'));
        (rows[0].len(), rows.len(), cells.collect())
    }

    #[test]
    fn corners_touch() {
        let (w, h, m) = mask(&["#..#", ".#..", "...#"]);
        let labels = Labels::of_mask(w, h, &m);
        assert_eq!(labels.sizes, [2, 1, 1]);
        assert_eq!(labels.of_pixel, [1, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0, 3]);
    }

    #[test]
    fn edges_do_not_wrap() {
        let (w, h, m) = mask(&["...#", "#..."]);
        assert_eq!(Labels::of_mask(w, h, &m).sizes, [1, 1]);
    }

    #[test]
    fn a_ring_is_one_region() {
        let (w, h, m) = mask(&["###", "#.#", "###"]);
        assert_eq!(Labels::of_mask(w, h, &m).sizes, [8]);
    }

    #[test]
    fn clean_has_no_region() {
        let labels = Labels::of_mask(3, 2, &[false; 6]);
        assert_eq!(labels, Labels::clean(3, 2));
    }
}
