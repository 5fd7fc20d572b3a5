//! A small grey picture, made comparable: brightness and contrast of its surroundings taken out.

use super::pose::Affine;

/// Share of the longest side that a pixel's surroundings reach, as a Gaussian's deviation.
const SURROUNDINGS: f64 = 1.0 / 16.0;
/// Contrast, in grey levels, below which a place counts as plain.
const PLAIN: f32 = 4.0;

/// Values on a grid, row by row.
#[derive(Debug, Clone, Default, PartialEq)]
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
        let kernel: Vec<f32> = kernel.iter().map(|k| k / total).collect();
        self.blurred_across(&kernel).blurred_down(&kernel)
    }

    /// Every row under a symmetric kernel, edges repeated.
    fn blurred_across(&self, kernel: &[f32]) -> Frame {
        let (reach, width) = (kernel.len() - 1, self.width);
        let mut padded = vec![0.0; width + 2 * reach];
        let mut values = vec![0.0; self.values.len()];
        let rows = self.values.chunks_exact(width).zip(values.chunks_exact_mut(width));
        for (row, out) in rows {
            padded[..reach].fill(row[0]);
            padded[reach..reach + width].copy_from_slice(row);
            padded[reach + width..].fill(row[width - 1]);
            // A whole row per tap: the sums of neighbours do not wait for each other.
            for (i, k) in kernel.iter().enumerate() {
                let (left, right) = (&padded[reach - i..][..width], &padded[reach + i..][..width]);
                add_weighted(out, if i == 0 { 0.5 * k } else { *k }, left, right);
            }
        }
        Frame { values, ..*self }
    }

    /// The same of every column.
    fn blurred_down(&self, kernel: &[f32]) -> Frame {
        let (width, last) = (self.width, self.height.saturating_sub(1));
        let row = |y: usize| &self.values[y.min(last) * width..][..width];
        let mut values = vec![0.0; self.values.len()];
        for (y, out) in values.chunks_exact_mut(width).enumerate() {
            for (i, k) in kernel.iter().enumerate() {
                let (upper, lower) = (row(y.saturating_sub(i)), row(y + i));
                add_weighted(out, if i == 0 { 0.5 * k } else { *k }, upper, lower);
            }
        }
        Frame { values, ..*self }
    }

    /// The frame as seen through `map`: what lies outside the outermost centres is 0 and has weight 0.
    pub(super) fn moved(&self, map: &Affine, seen: &mut Seen) {
        let (width, height) = (self.width, self.height);
        let count = width * height;
        (seen.frame.width, seen.frame.height) = (width, height);
        seen.frame.values.resize(count, 0.0);
        seen.weights.resize(count, 0.0);
        let (right, bottom) = ((width - 1) as f64, (height - 1) as f64);
        let rows = seen.frame.values.chunks_exact_mut(width);
        for (y, (values, weights)) in rows.zip(seen.weights.chunks_exact_mut(width)).enumerate() {
            for (x, (value, weight)) in values.iter_mut().zip(weights).enumerate() {
                let (sx, sy) = map.at(x as f64, y as f64);
                let inside = sx >= 0.0 && sy >= 0.0 && sx <= right && sy <= bottom;
                *weight = f32::from(u8::from(inside));
                *value = *weight * self.between(sx.clamp(0.0, right), sy.clamp(0.0, bottom));
            }
        }
    }

    /// Bilinear value at a place within the outermost centres.
    fn between(&self, x: f64, y: f64) -> f32 {
        // The last centre is the far end of the last gap.
        let (x0, y0) = (x as usize, y as usize);
        let (x0, y0) =
            (x0.min(self.width.saturating_sub(2)), y0.min(self.height.saturating_sub(2)));
        let (fx, fy) = ((x - x0 as f64) as f32, (y - y0 as f64) as f32);
        let upper = &self.values[y0 * self.width + x0..][..2];
        let lower = &self.values[(y0 + 1) * self.width + x0..][..2];
        let upper = upper[0] + (upper[1] - upper[0]) * fx;
        let lower = lower[0] + (lower[1] - lower[0]) * fx;
        upper + (lower - upper) * fy
    }
}

/// A frame seen from another place.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) frame: Frame,
    /// 1 where there is something to see, 0 elsewhere.
    pub(super) weights: Vec<f32>,
}

impl Seen {
    /// Slopes along x and y, central differences; 0 at the edges of what is seen.
    pub(super) fn slopes(&self, along: &mut Vec<f32>, down: &mut Vec<f32>) {
        let (width, count) = (self.frame.width, self.frame.values.len());
        let (values, weights) = (&self.frame.values, &self.weights);
        let difference = |out: &mut Vec<f32>, step: usize| {
            out.clear();
            out.resize(count, 0.0);
            let Some(inner) = out.get_mut(step..count.saturating_sub(step)) else { return };
            let far = values[2 * step..].iter().zip(&weights[2 * step..]);
            let pairs = values.iter().zip(weights).zip(far);
            for (slope, ((near, near_seen), (far, far_seen))) in inner.iter_mut().zip(pairs) {
                *slope = 0.5 * (far - near) * near_seen * far_seen;
            }
        };
        difference(along, 1);
        difference(down, width);
        // Neighbours along x of the first and the last column lie in other rows.
        for row in along.chunks_exact_mut(width) {
            row[0] = 0.0;
            row[width - 1] = 0.0;
        }
    }
}

/// Adds `k (a + b)` to every value.
fn add_weighted(out: &mut [f32], k: f32, a: &[f32], b: &[f32]) {
    for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out += k * (a + b);
    }
}

/// Values that are summed side by side.
pub(super) const LANES: usize = 8;

/// Correlation of two frames where `weights` says so, -1 to 1.
pub(super) fn correlation(a: &[f32], b: &[f32], weights: &[f32]) -> f64 {
    let mut sums = [[0.0f32; LANES]; 6];
    let mut add = |lane: usize, a: f32, b: f32, w: f32| {
        let terms = [w, w * a, w * b, w * a * a, w * b * b, w * a * b];
        sums.iter_mut().zip(terms).for_each(|(sum, term)| sum[lane] += term);
    };
    let (a, rest_a) = a.as_chunks::<LANES>();
    let (b, rest_b) = b.as_chunks::<LANES>();
    let (weights, rest_weights) = weights.as_chunks::<LANES>();
    for ((a, b), weights) in a.iter().zip(b).zip(weights) {
        for lane in 0..LANES {
            add(lane, a[lane], b[lane], weights[lane]);
        }
    }
    for ((a, b), w) in rest_a.iter().zip(rest_b).zip(rest_weights) {
        add(0, *a, *b, *w);
    }
    let sums = sums.map(|lanes| lanes.into_iter().map(f64::from).sum::<f64>());
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
        let mut seen = Seen::default();
        // Half a cell to the right and down: the last column and row look outside.
        ramp.moved(&Affine([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]]), &mut seen);
        assert_eq!(seen.frame.values[2 * 6 + 1], 26.5);
        assert_eq!((seen.frame.values[5], seen.weights[5]), (0.0, 0.0));
        assert_eq!(seen.weights.iter().sum::<f32>(), 20.0);
        ramp.moved(&Affine([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), &mut seen);
        assert_eq!(seen.frame, ramp, "seen from the same place, edges and all");
        let (mut along, mut down) = (Vec::new(), Vec::new());
        seen.slopes(&mut along, &mut down);
        assert_eq!((along[2 * 6 + 3], down[2 * 6 + 3]), (1.0, 10.0));
        assert_eq!(
            (along[2 * 6], along[2 * 6 + 5], down[3], down[4 * 6 + 3]),
            (0.0, 0.0, 0.0, 0.0)
        );
        seen.weights[2 * 6 + 2] = 0.0;
        seen.slopes(&mut along, &mut down);
        assert_eq!((along[2 * 6 + 3], down[2 * 6 + 3]), (0.0, 10.0), "beside what is not seen");
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
