//! The picture buffer of the pair maker and its resampling.

/// An 8-bit RGB picture, rows top to bottom, three bytes a pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb {
    /// Columns.
    pub w: usize,
    /// Rows.
    pub h: usize,
    /// `w * h * 3` bytes.
    pub px: Vec<u8>,
}

/// An affine map from output pixels to source pixels (pixel centres at whole numbers):
/// `x' = a x + b y + c`, `y' = d x + e y + f`.
#[derive(Clone, Copy, Debug)]
pub struct Affine {
    /// `[a, b, c, d, e, f]`.
    pub m: [f32; 6],
}

impl Affine {
    /// Maps a point.
    pub fn map(&self, x: f32, y: f32) -> (f32, f32) {
        let [a, b, c, d, e, f] = self.m;
        (a * x + b * y + c, d * x + e * y + f)
    }

    /// The map back; a singular map gives itself back (sizes here are never zero).
    pub fn inverse(&self) -> Affine {
        let [a, b, c, d, e, f] = self.m;
        let det = a * e - b * d;
        if det.abs() < f32::EPSILON {
            return *self;
        }
        let r = 1.0 / det;
        Affine {
            m: [
                e * r,
                -b * r,
                (b * f - e * c) * r,
                -d * r,
                a * r,
                (d * c - a * f) * r,
            ],
        }
    }

    /// How many source pixels one output pixel spans (square root of the area factor).
    pub fn stride(&self) -> f32 {
        (self.m[0] * self.m[4] - self.m[1] * self.m[3]).abs().sqrt()
    }
}

/// Mirror index at the borders, edge pixel repeated (`-1 -> 0`), for any distance.
pub fn reflect(index: i32, count: usize) -> usize {
    let count = count as i32;
    let folded = index.rem_euclid(2 * count);
    (if folded < count {
        folded
    } else {
        2 * count - 1 - folded
    }) as usize
}

impl Rgb {
    /// A picture of one colour.
    pub fn plain(w: usize, h: usize, colour: [u8; 3]) -> Self {
        Self {
            w,
            h,
            px: colour.iter().copied().cycle().take(w * h * 3).collect(),
        }
    }

    /// The shorter side.
    pub fn short(&self) -> usize {
        self.w.min(self.h)
    }

    /// One pixel; the caller keeps inside.
    pub fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let o = (y * self.w + x) * 3;
        [self.px[o], self.px[o + 1], self.px[o + 2]]
    }

    /// Sets one pixel from float levels.
    pub fn set(&mut self, x: usize, y: usize, colour: [f32; 3]) {
        let o = (y * self.w + x) * 3;
        for (byte, level) in self.px[o..o + 3].iter_mut().zip(colour) {
            *byte = (level + 0.5) as u8;
        }
    }

    /// Bilinear sample with mirrored borders, in levels 0..255.
    pub fn sample(&self, x: f32, y: f32) -> [f32; 3] {
        let (fx, fy) = (x.floor(), y.floor());
        let (tx, ty) = (x - fx, y - fy);
        let (ix, iy) = (fx as i32, fy as i32);
        let row = self.w * 3;
        let inside = ix >= 0 && iy >= 0 && (ix as usize) + 1 < self.w && (iy as usize) + 1 < self.h;
        let (o00, o10, o01, o11) = if inside {
            let o = iy as usize * row + ix as usize * 3;
            (o, o + 3, o + row, o + row + 3)
        } else {
            let (x0, x1) = (reflect(ix, self.w) * 3, reflect(ix + 1, self.w) * 3);
            let (y0, y1) = (reflect(iy, self.h) * row, reflect(iy + 1, self.h) * row);
            (y0 + x0, y0 + x1, y1 + x0, y1 + x1)
        };
        let (p00, p10) = (&self.px[o00..o00 + 3], &self.px[o10..o10 + 3]);
        let (p01, p11) = (&self.px[o01..o01 + 3], &self.px[o11..o11 + 3]);
        let mut out = [0.0; 3];
        for c in 0..3 {
            let top = p00[c] as f32 + tx * (p10[c] as f32 - p00[c] as f32);
            let bottom = p01[c] as f32 + tx * (p11[c] as f32 - p01[c] as f32);
            out[c] = top + ty * (bottom - top);
        }
        out
    }

    /// A square picture of `side` seen through `map`; averages four samples a pixel when shrinking.
    pub fn resample(&self, map: &Affine, side: usize) -> Rgb {
        let mut out = Rgb::plain(side, side, [0; 3]);
        let shrinking = map.stride() > 1.4;
        for y in 0..side {
            for x in 0..side {
                let (fx, fy) = (x as f32, y as f32);
                let colour = if shrinking {
                    let mut sum = [0.0; 3];
                    for (dx, dy) in [(-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25)] {
                        let (sx, sy) = map.map(fx + dx, fy + dy);
                        let s = self.sample(sx, sy);
                        for c in 0..3 {
                            sum[c] += 0.25 * s[c];
                        }
                    }
                    sum
                } else {
                    let (sx, sy) = map.map(fx, fy);
                    self.sample(sx, sy)
                };
                out.set(x, y, colour);
            }
        }
        out
    }

    /// Mean colour of the box (clipped to the picture), in levels.
    pub fn mean(&self, x0: usize, y0: usize, w: usize, h: usize) -> [f32; 3] {
        let (x1, y1) = ((x0 + w).min(self.w), (y0 + h).min(self.h));
        let mut sum = [0.0_f32; 3];
        for y in y0..y1 {
            for x in x0..x1 {
                let p = self.at(x, y);
                for c in 0..3 {
                    sum[c] += p[c] as f32;
                }
            }
        }
        let count = ((x1.saturating_sub(x0)) * (y1.saturating_sub(y0))).max(1) as f32;
        sum.map(|s| s / count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reflection_repeats_the_edge() {
        let seen: Vec<usize> = (-3..6).map(|i| reflect(i, 3)).collect();
        assert_eq!(seen, [2, 1, 0, 0, 1, 2, 2, 1, 0]);
    }

    #[test]
    fn inverse_undoes_the_map() {
        let map = Affine {
            m: [0.9, -0.3, 12.0, 0.2, 1.1, -7.0],
        };
        let (x, y) = map.map(31.0, 4.0);
        let (bx, by) = map.inverse().map(x, y);
        assert!((bx - 31.0).abs() < 1e-3 && (by - 4.0).abs() < 1e-3);
    }

    #[test]
    fn identity_resample_is_exact() {
        let px = (0..6 * 6 * 3).map(|i| (i * 7 % 251) as u8).collect();
        let picture = Rgb { w: 6, h: 6, px };
        assert_eq!(
            picture.resample(
                &Affine {
                    m: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
                },
                6
            ),
            picture
        );
    }
}
