//! Shapes of changes: soft-edged stencils on the base.

use super::dice::Dice;
use super::noise::Perlin;
use super::raster::Rgb;

/// A coverage map over a box of the base; always inside the base.
#[derive(Clone, Debug)]
pub struct Stencil {
    /// Left column of the box.
    pub x: usize,
    /// Top row of the box.
    pub y: usize,
    /// Columns.
    pub w: usize,
    /// Rows.
    pub h: usize,
    /// `w * h` coverages, 0..255.
    pub a: Vec<u8>,
}

impl Stencil {
    /// An empty stencil over the box `(x0, y0)..(x1, y1)` clipped to a base of `side`; `None` when
    /// nothing is left.
    pub fn over(side: usize, x0: f32, y0: f32, x1: f32, y1: f32) -> Option<Stencil> {
        let clip = |v: f32| v.clamp(0.0, side as f32) as usize;
        let (x, y) = (clip(x0.floor()), clip(y0.floor()));
        let (right, bottom) = (clip(x1.ceil() + 1.0), clip(y1.ceil() + 1.0));
        if right <= x || bottom <= y {
            return None;
        }
        let (w, h) = (right - x, bottom - y);
        Some(Stencil { x, y, w, h, a: vec![0; w * h] })
    }

    /// Fills the stencil from a coverage function (0..1) of base coordinates.
    pub fn paint(mut self, coverage: impl Fn(f32, f32) -> f32) -> Stencil {
        for row in 0..self.h {
            for column in 0..self.w {
                let value = coverage((self.x + column) as f32, (self.y + row) as f32);
                self.a[row * self.w + column] = (value.clamp(0.0, 1.0) * 255.0) as u8;
            }
        }
        self
    }

    /// Multiplies the coverage by another function (0..1).
    pub fn times(mut self, factor: impl Fn(f32, f32) -> f32) -> Stencil {
        for row in 0..self.h {
            for column in 0..self.w {
                let value = &mut self.a[row * self.w + column];
                if *value > 0 {
                    let f = factor((self.x + column) as f32, (self.y + row) as f32).clamp(0.0, 1.0);
                    *value = (*value as f32 * f) as u8;
                }
            }
        }
        self
    }

    /// Coverage at a base pixel, 0 outside the box.
    pub fn at(&self, x: usize, y: usize) -> u8 {
        if x < self.x || y < self.y || x >= self.x + self.w || y >= self.y + self.h {
            return 0;
        }
        self.a[(y - self.y) * self.w + x - self.x]
    }

    /// Number of pixels at least a quarter covered.
    pub fn area(&self) -> usize {
        self.a.iter().filter(|a| **a >= SOLID).count()
    }

    /// Centre of the box.
    pub fn centre(&self) -> (f32, f32) {
        (self.x as f32 + 0.5 * (self.w as f32 - 1.0), self.y as f32 + 0.5 * (self.h as f32 - 1.0))
    }

    /// The larger side of the box.
    pub fn extent(&self) -> f32 {
        self.w.max(self.h) as f32
    }

    /// Pixels at least a quarter covered beside one that is less, in base coordinates.
    pub fn rim(&self) -> Vec<(usize, usize)> {
        let solid = |x: usize, y: usize| self.at(x, y) >= SOLID;
        (0..self.w * self.h)
            .map(|i| (self.x + i % self.w, self.y + i / self.w))
            .filter(|(x, y)| {
                let inner = (*x > 0 && solid(x - 1, *y))
                    && (*y > 0 && solid(*x, y - 1))
                    && solid(x + 1, *y)
                    && solid(*x, y + 1);
                solid(*x, *y) && !inner
            })
            .collect()
    }

    /// Blends `colour(x, y, old)` into the picture by the coverage.
    pub fn blend(&self, picture: &mut Rgb, mut colour: impl FnMut(f32, f32, [f32; 3]) -> [f32; 3]) {
        for row in 0..self.h {
            for column in 0..self.w {
                let a = self.a[row * self.w + column];
                if a == 0 {
                    continue;
                }
                let (x, y) = (self.x + column, self.y + row);
                let old = picture.at(x, y).map(f32::from);
                let new = colour(x as f32, y as f32, old);
                let t = a as f32 / 255.0;
                let mut out = [0.0; 3];
                for c in 0..3 {
                    out[c] = (old[c] + t * (new[c] - old[c])).clamp(0.0, 255.0);
                }
                picture.set(x, y, out);
            }
        }
    }
}

/// Coverage from which a pixel counts as inside a shape.
pub const SOLID: u8 = 64;

/// A random solid shape around `(cx, cy)` whose larger diameter is about `size` pixels.
pub fn random_shape(dice: &mut Dice, side: usize, cx: f32, cy: f32, size: f32) -> Option<Stencil> {
    let feather = if dice.chance(0.6) { 1.0 } else { dice.range(1.0, 2.5) };
    match dice.below(4) {
        0 => superellipse(dice, side, (cx, cy), size, feather),
        1 => {
            let corners = random_polygon(dice, cx, cy, size);
            polygon(side, &[corners])
        }
        _ => blob(dice, side, (cx, cy), size, feather),
    }
}

/// Ellipse to rounded rectangle, turned.
pub fn superellipse(
    dice: &mut Dice,
    side: usize,
    at: (f32, f32),
    size: f32,
    feather: f32,
) -> Option<Stencil> {
    let a = (0.5 * size).max(0.7);
    let b = (a * dice.log_range(0.25, 1.0)).max(0.7);
    // The power is 2^doublings: diamond, ellipse, rounded box, nearly a box.
    let doublings = *dice.pick(&[0_u32, 1, 1, 2, 3]);
    let (sin, cos) = dice.range(0.0, std::f32::consts::TAU).sin_cos();
    let reach = 1.45 * a + feather;
    let stencil = Stencil::over(side, at.0 - reach, at.1 - reach, at.0 + reach, at.1 + reach)?;
    Some(stencil.paint(|x, y| {
        let (dx, dy) = (x - at.0, y - at.1);
        let (u, v) = (((cos * dx + sin * dy) / a).abs(), ((cos * dy - sin * dx) / b).abs());
        if u > 1.5 || v > 1.5 + feather / b {
            return 0.0;
        }
        let power = |v: f32| (0..doublings).fold(v, |v, _| v * v);
        let f = (0..doublings).fold(power(u) + power(v), |f, _| f.sqrt());
        (1.0 - f) * b / feather + 0.5
    }))
}

/// A disc with a soft rim.
pub fn disc(side: usize, at: (f32, f32), radius: f32, feather: f32) -> Option<Stencil> {
    let reach = radius + feather;
    let stencil = Stencil::over(side, at.0 - reach, at.1 - reach, at.0 + reach, at.1 + reach)?;
    Some(stencil.paint(|x, y| (radius - (x - at.0).hypot(y - at.1)) / feather + 0.5))
}

/// A star-shaped region with a smooth random outline.
pub fn blob(
    dice: &mut Dice,
    side: usize,
    at: (f32, f32),
    size: f32,
    feather: f32,
) -> Option<Stencil> {
    const STEPS: usize = 64;
    let waves: Vec<(f32, f32)> = (1..6)
        .map(|k| (dice.range(0.0, 0.45) / k as f32, dice.range(0.0, std::f32::consts::TAU)))
        .collect();
    let squeeze = dice.log_range(0.4, 1.0);
    let mut outline = [0.0_f32; STEPS + 1];
    for (step, radius) in outline.iter_mut().enumerate() {
        let angle = (step % STEPS) as f32 / STEPS as f32 * std::f32::consts::TAU;
        let bumps: f32 = waves
            .iter()
            .enumerate()
            .map(|(k, (a, p))| a * ((k + 1) as f32 * angle + p).cos())
            .sum();
        *radius = 1.0 + bumps;
    }
    let largest = outline.iter().copied().fold(0.1, f32::max);
    let scale = 0.5 * size / largest;
    let turn = dice.range(0.0, std::f32::consts::TAU).sin_cos();
    let reach = 0.5 * size + feather;
    let stencil = Stencil::over(side, at.0 - reach, at.1 - reach, at.0 + reach, at.1 + reach)?;
    Some(stencil.paint(|x, y| {
        let (dx, dy) = (x - at.0, y - at.1);
        let (u, v) = (turn.1 * dx + turn.0 * dy, (turn.1 * dy - turn.0 * dx) / squeeze);
        let turns = v.atan2(u) / std::f32::consts::TAU + 1.0;
        let place = turns.fract() * STEPS as f32;
        let index = (place as usize).min(STEPS - 1);
        let radius = outline[index] + place.fract() * (outline[index + 1] - outline[index]);
        (radius.max(0.15) * scale - u.hypot(v)) * squeeze.max(0.6) / feather + 0.5
    }))
}

/// Corners of a random, roughly convex polygon.
pub fn random_polygon(dice: &mut Dice, cx: f32, cy: f32, size: f32) -> Vec<(f32, f32)> {
    let count = dice.between(3, 8);
    let turn = dice.range(0.0, std::f32::consts::TAU);
    let squeeze = dice.log_range(0.3, 1.0);
    let axis = dice.range(0.0, std::f32::consts::TAU).sin_cos();
    (0..count)
        .map(|k| {
            let angle =
                turn + (k as f32 + dice.around(0.35)) / count as f32 * std::f32::consts::TAU;
            let radius = 0.5 * size * dice.range(0.6, 1.0);
            let (u, v) = (radius * angle.cos(), squeeze * radius * angle.sin());
            (cx + axis.1 * u - axis.0 * v, cy + axis.0 * u + axis.1 * v)
        })
        .collect()
}

/// Even-odd fill of closed outlines with soft edges (four sub-rows, exact ends along x).
pub fn polygon(side: usize, outlines: &[Vec<(f32, f32)>]) -> Option<Stencil> {
    const SUB: usize = 4;
    let points = || outlines.iter().flatten();
    let x0 = points().map(|p| p.0).fold(f32::INFINITY, f32::min);
    let y0 = points().map(|p| p.1).fold(f32::INFINITY, f32::min);
    let x1 = points().map(|p| p.0).fold(f32::NEG_INFINITY, f32::max);
    let y1 = points().map(|p| p.1).fold(f32::NEG_INFINITY, f32::max);
    if !(x0 <= x1 && y0 <= y1) || x1 < 0.0 || y1 < 0.0 {
        return None;
    }
    let mut stencil = Stencil::over(side, x0, y0, x1, y1)?;
    let mut row_cover = vec![0.0_f32; stencil.w];
    let mut crossings: Vec<f32> = Vec::new();
    for row in 0..stencil.h {
        row_cover.fill(0.0);
        for sub in 0..SUB {
            let y = (stencil.y + row) as f32 + (sub as f32 + 0.5) / SUB as f32 - 0.5;
            crossings.clear();
            for outline in outlines {
                for (i, a) in outline.iter().enumerate() {
                    let b = &outline[(i + 1) % outline.len()];
                    if (a.1 <= y) != (b.1 <= y) {
                        crossings.push(a.0 + (y - a.1) / (b.1 - a.1) * (b.0 - a.0));
                    }
                }
            }
            crossings.sort_by(f32::total_cmp);
            for pair in crossings.chunks_exact(2) {
                add_span(
                    &mut row_cover,
                    pair[0] - stencil.x as f32 + 0.5,
                    pair[1] - stencil.x as f32 + 0.5,
                );
            }
        }
        for (a, cover) in stencil.a[row * stencil.w..].iter_mut().zip(&row_cover) {
            *a = (cover * 255.0 / SUB as f32).min(255.0) as u8;
        }
    }
    Some(stencil)
}

fn add_span(row: &mut [f32], from: f32, to: f32) {
    let (from, to) = (from.max(0.0), to.min(row.len() as f32));
    if to <= from {
        return;
    }
    let (first, last) = (from as usize, (to.ceil() as usize).min(row.len()));
    for (x, cover) in row.iter_mut().enumerate().take(last).skip(first) {
        let (left, right) = (from.max(x as f32), to.min(x as f32 + 1.0));
        *cover += (right - left).max(0.0);
    }
}

/// A line along points with a width at each point (`(x, y, width)`); soft edges of one pixel.
pub fn stroke(side: usize, points: &[(f32, f32, f32)]) -> Option<Stencil> {
    let reach = |p: &(f32, f32, f32)| 0.5 * p.2 + 1.5;
    let x0 = points.iter().map(|p| p.0 - reach(p)).fold(f32::INFINITY, f32::min);
    let y0 = points.iter().map(|p| p.1 - reach(p)).fold(f32::INFINITY, f32::min);
    let x1 = points.iter().map(|p| p.0 + reach(p)).fold(f32::NEG_INFINITY, f32::max);
    let y1 = points.iter().map(|p| p.1 + reach(p)).fold(f32::NEG_INFINITY, f32::max);
    if points.len() < 2 || x1 < 0.0 || y1 < 0.0 {
        return None;
    }
    let mut stencil = Stencil::over(side, x0, y0, x1, y1)?;
    for pair in points.windows(2) {
        segment(&mut stencil, pair[0], pair[1]);
    }
    Some(stencil)
}

fn segment(stencil: &mut Stencil, a: (f32, f32, f32), b: (f32, f32, f32)) {
    if a.2 <= 0.0 || b.2 <= 0.0 {
        return;
    }
    let reach = 0.5 * a.2.max(b.2) + 1.0;
    let clip =
        |v: f32, origin: usize, count: usize| (v - origin as f32).clamp(0.0, count as f32) as usize;
    let (left, right) = (
        clip((a.0.min(b.0) - reach).floor(), stencil.x, stencil.w),
        clip((a.0.max(b.0) + reach).ceil() + 1.0, stencil.x, stencil.w),
    );
    let (top, bottom) = (
        clip((a.1.min(b.1) - reach).floor(), stencil.y, stencil.h),
        clip((a.1.max(b.1) + reach).ceil() + 1.0, stencil.y, stencil.h),
    );
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = (dx * dx + dy * dy).max(1e-6);
    for row in top..bottom {
        for column in left..right {
            let (x, y) = ((stencil.x + column) as f32 - a.0, (stencil.y + row) as f32 - a.1);
            let t = ((x * dx + y * dy) / length).clamp(0.0, 1.0);
            let distance = (x - t * dx).hypot(y - t * dy);
            let half = 0.5 * (a.2 + t * (b.2 - a.2));
            // Lines thinner than a pixel keep their width in coverage.
            let cover = (half + 0.5 - distance).clamp(0.0, (2.0 * half).min(1.0));
            let value = &mut stencil.a[row * stencil.w + column];
            *value = (*value).max((cover * 255.0) as u8);
        }
    }
}

/// A Perlin-thresholded region (the paper's local change): lattice of about `cell` pixels, turned,
/// inside a soft window of diameter `size`.
pub fn perlin_region(
    dice: &mut Dice,
    side: usize,
    at: (f32, f32),
    size: f32,
    cell: (f32, f32),
) -> Option<Stencil> {
    let noise = Perlin::new(dice.bits());
    let (sin, cos) = dice.range(-1.57, 1.57).sin_cos();
    let (sign, level) = (dice.sign(), dice.range(0.05, 0.3));
    let half = 0.5 * size;
    let stencil = Stencil::over(side, at.0 - half, at.1 - half, at.0 + half, at.1 + half)?;
    let soft = if dice.chance(0.7) { 14.0 } else { 5.0 };
    Some(stencil.paint(|x, y| {
        let (dx, dy) = (x - at.0, y - at.1);
        let window = 1.15 - dx.hypot(dy) / half;
        if window <= 0.0 {
            return 0.0;
        }
        let (u, v) = ((cos * dx + sin * dy) / cell.0, (cos * dy - sin * dx) / cell.1);
        let value = sign * noise.rough(u + 31.7, v + 11.3) * window.min(0.5) * 2.0;
        (value - level) * soft + 0.5
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_polygon_covers_its_area() {
        let square = vec![(2.0, 3.0), (8.0, 3.0), (8.0, 9.0), (2.0, 9.0)];
        let stencil = polygon(16, &[square]).expect("inside");
        let total: f32 = stencil.a.iter().map(|a| *a as f32 / 255.0).sum();
        assert!((total - 36.0).abs() < 1.0, "{total}");
    }

    #[test]
    fn shapes_stay_inside_the_base_whatever_the_centre() {
        let mut dice = Dice::new(3, 0);
        for _ in 0..500 {
            let (x, y, size) =
                (dice.range(-20.0, 84.0), dice.range(-20.0, 84.0), dice.log_range(3.0, 60.0));
            if let Some(s) = random_shape(&mut dice, 64, x, y, size) {
                assert!(s.x + s.w <= 64 && s.y + s.h <= 64 && s.a.len() == s.w * s.h);
            }
        }
    }
}
