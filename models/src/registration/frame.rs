//! A small grey picture, made comparable: brightness and contrast of its surroundings taken out.

use super::pose::Affine;

/// Share of the longest side that a pixel's surroundings reach, as a Gaussian's deviation.
const SURROUNDINGS: f64 = 1.0 / 16.0;
/// Contrast, in grey levels, below which a place counts as plain.
const PLAIN: f32 = 4.0;

/// Values on a grid, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) values: Vec<f32>,
}

impl Frame {
    /// Half the size, each value the mean of four; a last odd row or column is left out.
    pub(super) fn halved(&self) -> Frame {
        let (width, height) = (self.width / 2, self.height / 2);
        let mut values = Vec::with_capacity(width * height);
        for y in 0..height {
            let rows = &self.values[2 * y * self.width..][..2 * self.width];
            let (upper, lower) = rows.split_at(self.width);
            let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2));
            values.extend(pairs.map(|(u, l)| (u[0] + u[1] + l[0] + l[1]) / 4.0));
        }
        Frame { width, height, values }
    }

    /// Deviation from the surroundings, in units of their contrast.
    pub(super) fn normalised(&self) -> Frame {
        let sigma = SURROUNDINGS * self.width.max(self.height) as f64;
        let mean = self.blurred(sigma);
        let mut out = self.clone();
        out.values.iter_mut().zip(&mean.values).for_each(|(v, m)| *v -= m);
        let mut squares = out.clone();
        squares.values.iter_mut().for_each(|v| *v *= *v);
        let contrast = squares.blurred(sigma);
        out.values.iter_mut().zip(&contrast.values).for_each(|(v, c)| *v /= c.sqrt() + PLAIN);
        out
    }

    fn blurred(&self, sigma: f64) -> Frame {
        let reach = (3.0 * sigma).ceil() as usize;
        let kernel: Vec<f32> =
            (0..=reach).map(|i| (-0.5 * (i as f64 / sigma).powi(2)).exp() as f32).collect();
        let total = 2.0 * kernel.iter().sum::<f32>() - kernel[0];
        let across = self.swept(&kernel, total);
        across.transposed().swept(&kernel, total).transposed()
    }

    /// Every row under a symmetric kernel, edges repeated.
    fn swept(&self, kernel: &[f32], total: f32) -> Frame {
        let reach = kernel.len() - 1;
        let mut padded = vec![0.0; self.width + 2 * reach];
        let mut values = Vec::with_capacity(self.values.len());
        for row in self.values.chunks_exact(self.width) {
            padded[..reach].fill(row[0]);
            padded[reach..reach + self.width].copy_from_slice(row);
            padded[reach + self.width..].fill(row[self.width - 1]);
            values.extend((0..self.width).map(|x| {
                let centre = x + reach;
                let sides =
                    (1..=reach).map(|i| kernel[i] * (padded[centre - i] + padded[centre + i]));
                (kernel[0] * padded[centre] + sides.sum::<f32>()) / total
            }));
        }
        Frame { values, ..*self }
    }

    fn transposed(&self) -> Frame {
        let (width, height) = (self.height, self.width);
        let column = |x: usize| (0..width).map(move |y| self.values[y * self.width + x]);
        Frame { width, height, values: (0..height).flat_map(column).collect() }
    }

    /// Bilinear value at a place, and `None` outside the outermost centres.
    pub(super) fn at(&self, x: f64, y: f64) -> Option<f32> {
        let inside = |v: f64, n: usize| v >= 0.0 && v <= (n - 1) as f64;
        if !inside(x, self.width) || !inside(y, self.height) {
            return None;
        }
        let (x0, y0) = (x as usize, y as usize);
        let (x1, y1) = ((x0 + 1).min(self.width - 1), (y0 + 1).min(self.height - 1));
        let (fx, fy) = ((x - x0 as f64) as f32, (y - y0 as f64) as f32);
        let value = |x: usize, y: usize| self.values[y * self.width + x];
        let upper = value(x0, y0) + (value(x1, y0) - value(x0, y0)) * fx;
        let lower = value(x0, y1) + (value(x1, y1) - value(x0, y1)) * fx;
        Some(upper + (lower - upper) * fy)
    }

    /// The frame as seen through `map`: what lies outside is 0 and has weight 0.
    pub(super) fn moved(&self, map: &Affine) -> (Frame, Vec<f32>) {
        let mut weights = Vec::with_capacity(self.values.len());
        let mut values = Vec::with_capacity(self.values.len());
        for y in 0..self.height {
            for x in 0..self.width {
                let (sx, sy) = map.at(x as f64, y as f64);
                let found = self.at(sx, sy);
                values.push(found.unwrap_or(0.0));
                weights.push(f32::from(u8::from(found.is_some())));
            }
        }
        (Frame { values, ..*self }, weights)
    }

    /// Slopes along x and y, central differences; 0 at the edges.
    pub(super) fn slopes(&self) -> [Frame; 2] {
        let mut along = [self.clone(), self.clone()];
        for y in 0..self.height {
            for x in 0..self.width {
                let i = y * self.width + x;
                let inner = |v: usize, n: usize| v > 0 && v + 1 < n;
                let half = |step: usize| (self.values[i + step] - self.values[i - step]) / 2.0;
                along[0].values[i] = if inner(x, self.width) { half(1) } else { 0.0 };
                along[1].values[i] = if inner(y, self.height) { half(self.width) } else { 0.0 };
            }
        }
        along
    }
}

/// Correlation of two frames where `weights` says so, -1 to 1.
pub(super) fn correlation(a: &[f32], b: &[f32], weights: &[f32]) -> f64 {
    let mut sums = [0.0f64; 6];
    for ((a, b), w) in a.iter().zip(b).zip(weights) {
        let (a, b, w) = (f64::from(*a), f64::from(*b), f64::from(*w));
        let terms = [w, w * a, w * b, w * a * a, w * b * b, w * a * b];
        sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
    }
    let [n, a, b, aa, bb, ab] = sums;
    if n <= 0.0 {
        return 0.0;
    }
    let spread = (aa - a * a / n) * (bb - b * b / n);
    if spread > 0.0 { (ab - a * b / n) / spread.sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(width: usize, height: usize, value: impl Fn(usize, usize) -> f32) -> Frame {
        let values = (0..width * height).map(|i| value(i % width, i / width)).collect();
        Frame { width, height, values }
    }

    #[test]
    fn light_and_contrast_are_taken_out() {
        let grey =
            |x: usize, y: usize| 100.0 + 60.0 * ((x as f32) * 0.9).sin() * ((y as f32) * 0.7).cos();
        let one = frame(64, 48, grey).normalised();
        let two = frame(64, 48, |x, y| 40.0 + 0.8 * grey(x, y)).normalised();
        let all = vec![1.0; one.values.len()];
        assert!(correlation(&one.values, &two.values, &all) > 0.999);
        let plain = frame(32, 32, |_, _| 17.0).normalised();
        assert!(plain.values.iter().all(|v| v.abs() < 1e-3));
    }

    #[test]
    fn halves_blurs_and_samples() {
        let ramp = frame(6, 5, |x, y| (x + 10 * y) as f32);
        let half = ramp.halved();
        assert_eq!((half.width, half.height), (3, 2));
        assert_eq!(half.values[0], 5.5);
        let blurred = ramp.blurred(1.0);
        // The middle of a ramp stays as it is.
        assert!((blurred.values[2 * 6 + 3] - ramp.values[2 * 6 + 3]).abs() < 0.6);
        assert_eq!(ramp.at(1.5, 2.5), Some(26.5));
        assert_eq!(ramp.at(5.0, 4.0), Some(45.0));
        assert_eq!(ramp.at(5.01, 4.0), None);
        assert_eq!(ramp.at(-0.01, 4.0), None);
        let [along, down] = ramp.slopes();
        assert_eq!((along.values[2 * 6 + 3], down.values[2 * 6 + 3]), (1.0, 10.0));
    }

    #[test]
    fn correlation_says_alike_opposite_and_nothing() {
        let a = [1.0, 2.0, 4.0, 3.0];
        let all = [1.0; 4];
        assert!((correlation(&a, &a.map(|v| 5.0 * v - 3.0), &all) - 1.0).abs() < 1e-9);
        assert!((correlation(&a, &a.map(|v| -v), &all) + 1.0).abs() < 1e-9);
        assert_eq!(correlation(&a, &[7.0; 4], &all), 0.0);
        assert_eq!(correlation(&a, &a, &[0.0; 4]), 0.0);
    }
}
