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
        Affine { m: [e * r, -b * r, (b * f - e * c) * r, -d * r, a * r, (d * c - a * f) * r] }
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
    (if folded < count { folded } else { 2 * count - 1 - folded }) as usize
}

impl Rgb {
    /// A picture of one colour.
    pub fn plain(w: usize, h: usize, colour: [u8; 3]) -> Self {
        Self { w, h, px: colour.iter().copied().cycle().take(w * h * 3).collect() }
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
        for (to, level) in self.px[o..o + 3].iter_mut().zip(colour) {
            *to = byte(level);
        }
    }

    /// Bilinear sample with mirrored borders, in levels 0..255; positions to 1/256 of a pixel.
    #[inline]
    pub fn sample(&self, x: f32, y: f32) -> [f32; 3] {
        self.sample_fixed(fixed(x), fixed(y)).map(f32::from)
    }

    /// Like [`Rgb::sample`] for a position in 1/65536 of a pixel.
    ///
    /// The inner loop of everything: whole numbers, two channels to a multiplication.
    #[inline(always)]
    pub fn sample_fixed(&self, x: i32, y: i32) -> [u8; 3] {
        let (ix, iy) = (x >> FRACTION, y >> FRACTION);
        // Two pixels are read as one eight-byte word, so a third one must follow them.
        let inside = ix >= 0 && iy >= 0 && (ix as usize) + 2 < self.w && (iy as usize) + 1 < self.h;
        if !inside {
            return self.sample_border(x, y);
        }
        let o = (iy as usize * self.w + ix as usize) * 3;
        let (Some(top), Some(bottom)) =
            (self.px[o..].first_chunk::<8>(), self.px[o + self.w * 3..].first_chunk::<8>())
        else {
            return self.sample_border(x, y);
        };
        let (top, bottom) = (u64::from_le_bytes(*top), u64::from_le_bytes(*bottom));
        weigh(
            [top as u32, (top >> 24) as u32, bottom as u32, (bottom >> 24) as u32],
            ((x >> 8) & 255) as u32,
            ((y >> 8) & 255) as u32,
        )
    }

    #[cold]
    #[inline(never)]
    fn sample_border(&self, x: i32, y: i32) -> [u8; 3] {
        let (ix, iy) = (x >> FRACTION, y >> FRACTION);
        let (x0, x1) = (reflect(ix, self.w), reflect(ix + 1, self.w));
        let (y0, y1) = (reflect(iy, self.h), reflect(iy + 1, self.h));
        let word = |x: usize, y: usize| {
            let [red, green, blue] = self.at(x, y);
            u32::from_le_bytes([red, green, blue, 0])
        };
        let corners = [word(x0, y0), word(x1, y0), word(x0, y1), word(x1, y1)];
        weigh(corners, ((x >> 8) & 255) as u32, ((y >> 8) & 255) as u32)
    }

    /// Writes the samples at `start + k * step` (1/65536 of a pixel) for every pixel of `out`.
    #[inline]
    pub fn sample_run(&self, start: (i32, i32), step: (i32, i32), out: &mut [u8]) {
        let (mut x, mut y) = start;
        for pixel in out.chunks_exact_mut(3) {
            pixel.copy_from_slice(&self.sample_fixed(x, y));
            x = x.wrapping_add(step.0);
            y = y.wrapping_add(step.1);
        }
    }

    /// A square picture of `side` seen through `map`, one sample a pixel (see [`Source::resample`]).
    pub fn resample(&self, map: &Affine, side: usize) -> Rgb {
        let mut px = vec![0; side * side * 3];
        let step = (fixed(map.m[0]), fixed(map.m[3]));
        for (y, row) in px.chunks_exact_mut(side * 3).enumerate() {
            let (sx, sy) = map.map(0.0, y as f32);
            self.sample_run((fixed(sx), fixed(sy)), step, row);
        }
        Rgb { w: side, h: side, px }
    }

    /// Half the size, by the mean of two by two pixels; an odd last row or column is left out.
    /// Pictures narrower than two pixels are given back as they are.
    fn halved(&self) -> Rgb {
        let (w, h) = (self.w / 2, self.h / 2);
        if w == 0 || h == 0 {
            return self.clone();
        }
        let mut px = vec![0; w * h * 3];
        let line = |y: usize| &self.px[y * self.w * 3..][..w * 6];
        for (y, row) in px.chunks_exact_mut(w * 3).enumerate() {
            let fours = line(2 * y).chunks_exact(6).zip(line(2 * y + 1).chunks_exact(6));
            for (pixel, (a, b)) in row.chunks_exact_mut(3).zip(fours) {
                for c in 0..3 {
                    let sum = u16::from(a[c])
                        + u16::from(a[c + 3])
                        + u16::from(b[c])
                        + u16::from(b[c + 3]);
                    pixel[c] = ((sum + 2) / 4) as u8;
                }
            }
        }
        Rgb { w, h, px }
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

/// A picture with a half-size copy, so that shrinking it does not alias.
#[derive(Clone, Debug)]
pub struct Source {
    full: Rgb,
    half: Rgb,
}

impl Source {
    /// Makes the half-size copy.
    pub fn new(full: Rgb) -> Source {
        let half = full.halved();
        Source { full, half }
    }

    /// The picture in full.
    pub fn full(&self) -> &Rgb {
        &self.full
    }

    /// The copy to sample through `map` (given in pixels of the full picture), and the map into it.
    pub fn for_map(&self, map: &Affine) -> (&Rgb, Affine) {
        /// Up to this stride one bilinear sample sees nearly every pixel.
        const STRIDE_FULL: f32 = 1.4;
        if map.stride() <= STRIDE_FULL {
            return (&self.full, *map);
        }
        // The centre of half-size pixel 0 is at 0.5 in the full picture.
        let [a, b, c, d, e, f] = map.m.map(|v| 0.5 * v);
        (&self.half, Affine { m: [a, b, c - 0.25, d, e, f - 0.25] })
    }

    /// A square picture of `side` seen through `map`.
    pub fn resample(&self, map: &Affine, side: usize) -> Rgb {
        let (picture, map) = self.for_map(map);
        picture.resample(&map, side)
    }
}

/// From one colour to another, `t` from 0 to 1.
#[inline]
pub fn blend(from: [f32; 3], to: [f32; 3], t: f32) -> [f32; 3] {
    [
        from[0] + t * (to[0] - from[0]),
        from[1] + t * (to[1] - from[1]),
        from[2] + t * (to[2] - from[2]),
    ]
}

/// Rounds a level to a byte, clamped; without branches or calls, so that loops of it vectorise.
#[inline]
pub fn byte(level: f32) -> u8 {
    // Adding 2^23 leaves the rounded whole number in the low bits of the float.
    (level.clamp(0.0, 255.0) + 8_388_608.0).to_bits() as u8
}

/// `floor` without the library call that plain x86-64 makes of it.
#[inline]
pub fn floor(x: f32) -> i32 {
    let whole = x as i32;
    whole - i32::from(x < whole as f32)
}

/// Bits of a fixed-point position below the pixel.
pub const FRACTION: u32 = 16;

/// A position in 1/65536 of a pixel; pictures are far smaller than the 32767 pixels that fit.
#[inline]
pub fn fixed(x: f32) -> i32 {
    floor(x * (1 << FRACTION) as f32 + 0.5)
}

/// Mean of four packed pixels (top left, top right, bottom left, bottom right; red lowest) at the
/// place (`tx`, `ty`) between them, in 1/256.
#[inline]
fn weigh(corners: [u32; 4], tx: u32, ty: u32) -> [u8; 3] {
    // The weights sum to exactly 256, so that a plain area stays what it is.
    let both = (tx * ty + 128) >> 8;
    let weights = [256 + both - tx - ty, tx - both, ty - both, both];
    let (mut outer, mut green) = (0x0080_0080_u32, 0x80_u32);
    for (corner, weight) in corners.into_iter().zip(weights) {
        outer += (corner & 0x00FF_00FF) * weight;
        green += ((corner >> 8) & 0xFF) * weight;
    }
    [(outer >> 8) as u8, (green >> 8) as u8, (outer >> 24) as u8]
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
        let map = Affine { m: [0.9, -0.3, 12.0, 0.2, 1.1, -7.0] };
        let (x, y) = map.map(31.0, 4.0);
        let (bx, by) = map.inverse().map(x, y);
        assert!((bx - 31.0).abs() < 1e-3 && (by - 4.0).abs() < 1e-3);
    }

    #[test]
    fn bytes_are_rounded_and_clamped() {
        let levels = [-3.0_f32, 0.2, 0.6, 99.4, 254.9, 255.0, 400.0];
        assert_eq!(levels.map(byte), [0, 0, 1, 99, 255, 255, 255]);
    }

    #[test]
    fn floor_is_floor() {
        for x in [-2.5_f32, -2.0, -0.1, 0.0, 0.9, 1.0, 7.3] {
            assert_eq!(floor(x), x.floor() as i32);
        }
    }

    #[test]
    fn shrinking_through_the_half_keeps_place_and_mean() {
        let mut stripes = Rgb::plain(64, 64, [0; 3]);
        for i in 0..64 * 64 {
            stripes.set(
                i % 64,
                i / 64,
                [if i % 2 == 0 { 0.0 } else { 200.0 }, (i % 64) as f32, 0.0],
            );
        }
        let small =
            Source::new(stripes).resample(&Affine { m: [2.0, 0.0, 0.5, 0.0, 2.0, 0.5] }, 32);
        for x in 1..31 {
            let [red, green, _] = small.at(x, 9);
            assert!(
                red.abs_diff(100) <= 1 && green.abs_diff(2 * x as u8) <= 1,
                "{x}: {red} {green}"
            );
        }
    }

    #[test]
    fn identity_resample_is_exact() {
        let px = (0..6 * 6 * 3).map(|i| (i * 7 % 251) as u8).collect();
        let picture = Rgb { w: 6, h: 6, px };
        assert_eq!(picture.resample(&Affine { m: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0] }, 6), picture);
    }
}
