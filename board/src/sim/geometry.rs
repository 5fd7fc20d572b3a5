//! Plane geometry of the rendered parts: points, signed distances (negative inside), smooth noise.
//!
//! Units: the shorter side of the frame is 1, the origin its centre, y points down.

use super::random::Random;
use std::ops::{Add, Mul, Sub};

/// A point or direction in the plane.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Point {
    pub(super) x: f32,
    pub(super) y: f32,
}

/// Shorthand for a point.
pub(super) const fn at(x: f32, y: f32) -> Point {
    Point { x, y }
}

impl Point {
    pub(super) fn dot(self, other: Point) -> f32 {
        self.x * other.x + self.y * other.y
    }
    pub(super) fn length(self) -> f32 {
        self.dot(self).sqrt()
    }
    pub(super) fn across(self) -> Point {
        at(-self.y, self.x)
    }
    pub(super) fn toward(angle: f32) -> Point {
        at(angle.cos(), angle.sin())
    }
    /// Unit length; the x axis for the null vector.
    pub(super) fn unit(self) -> Point {
        let length = self.length();
        if length > 1e-9 { self * (1.0 / length) } else { at(1.0, 0.0) }
    }
}

impl Add for Point {
    type Output = Point;
    fn add(self, o: Point) -> Point {
        at(self.x + o.x, self.y + o.y)
    }
}
impl Sub for Point {
    type Output = Point;
    fn sub(self, o: Point) -> Point {
        at(self.x - o.x, self.y - o.y)
    }
}
impl Mul<f32> for Point {
    type Output = Point;
    fn mul(self, k: f32) -> Point {
        at(self.x * k, self.y * k)
    }
}

/// 0 below `from`, 1 above `to`, an S between.
pub(super) fn smooth(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// From `a` to `b` by `t`.
pub(super) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// Colours mixed by `t`.
pub(super) fn tint(a: [f32; 3], b: [f32; 3], t: f32) -> [f32; 3] {
    [mix(a[0], b[0], t), mix(a[1], b[1], t), mix(a[2], b[2], t)]
}

/// Box of half extents `half` about the origin with corners rounded by `radius`.
pub(super) fn rounded_box(p: Point, half: Point, radius: f32) -> f32 {
    let q = at(p.x.abs() - half.x + radius, p.y.abs() - half.y + radius);
    at(q.x.max(0.0), q.y.max(0.0)).length() + q.x.max(q.y).min(0.0) - radius
}

/// Distance to the segment from `a` to `b`, and how far along it (0..1) the nearest point lies.
pub(super) fn segment(p: Point, a: Point, b: Point) -> (f32, f32) {
    let (pa, ba) = (p - a, b - a);
    let t = (pa.dot(ba) / ba.dot(ba).max(1e-12)).clamp(0.0, 1.0);
    ((pa - ba * t).length(), t)
}

/// Distance to a chain of points, and how far along it (0..1) the nearest point lies.
pub(super) fn chain(p: Point, points: &[Point]) -> (f32, f32) {
    let mut best = (f32::MAX, 0.0);
    let links = points.len().saturating_sub(1).max(1) as f32;
    for (i, pair) in points.windows(2).enumerate() {
        let (distance, t) = segment(p, pair[0], pair[1]);
        if distance < best.0 {
            best = (distance, (i as f32 + t) / links);
        }
    }
    best
}

/// Smooth random field in about -1..1, period 256 lattice cells.
#[derive(Clone, Debug)]
pub(super) struct Noise {
    lattice: Vec<f32>,
}

const LATTICE: usize = 256;

impl Noise {
    pub(super) fn new(random: &mut Random) -> Noise {
        Noise { lattice: (0..LATTICE * LATTICE).map(|_| random.around(1.0)).collect() }
    }

    /// One octave: one random value per unit square, smoothly interpolated.
    pub(super) fn at(&self, x: f32, y: f32) -> f32 {
        let (fx, fy) = (x.floor(), y.floor());
        let (tx, ty) = (x - fx, y - fy);
        let (tx, ty) = (tx * tx * (3.0 - 2.0 * tx), ty * ty * (3.0 - 2.0 * ty));
        const MASK: i32 = LATTICE as i32 - 1;
        let (x0, y0) = ((fx as i32 & MASK) as usize, (fy as i32 & MASK) as usize);
        let (x1, y1) = ((x0 + 1) & MASK as usize, ((y0 + 1) & MASK as usize) * LATTICE);
        let y0 = y0 * LATTICE;
        let l = &self.lattice;
        let upper = mix(l[y0 + x0], l[y0 + x1], tx);
        let lower = mix(l[y1 + x0], l[y1 + x1], tx);
        mix(upper, lower, ty)
    }

    /// Like [`Noise::at`], repeating in `x` every `period` cells (at most 256), for fields about a centre.
    pub(super) fn around(&self, x: f32, y: f32, period: i32) -> f32 {
        let (fx, fy) = (x.floor(), y.floor());
        let (tx, ty) = (x - fx, y - fy);
        let (x0, x1) =
            ((fx as i32).rem_euclid(period) as f32, (fx as i32 + 1).rem_euclid(period) as f32);
        let upper = mix(self.cell(x0, fy), self.cell(x1, fy), tx);
        let lower = mix(self.cell(x0, fy + 1.0), self.cell(x1, fy + 1.0), tx);
        mix(upper, lower, ty)
    }

    fn cell(&self, x: f32, y: f32) -> f32 {
        let (x, y) = (x as i32 & (LATTICE as i32 - 1), y as i32 & (LATTICE as i32 - 1));
        self.lattice[y as usize * LATTICE + x as usize]
    }

    /// Several octaves, each twice as fine and half as strong.
    pub(super) fn cloud(&self, p: Point, octaves: u32) -> f32 {
        let (mut sum, mut weight, mut scale) = (0.0, 0.5, 1.0);
        for octave in 0..octaves {
            let offset = octave as f32 * 17.3;
            sum += weight * self.at(p.x * scale + offset, p.y * scale - offset);
            weight *= 0.5;
            scale *= 2.03;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_signed() {
        assert!((rounded_box(at(0.0, 0.0), at(0.4, 0.2), 0.05) + 0.2).abs() < 1e-6);
        assert!((rounded_box(at(0.5, 0.0), at(0.4, 0.2), 0.05) - 0.1).abs() < 1e-6);
        let (distance, along) = segment(at(0.5, 0.3), at(0.0, 0.0), at(1.0, 0.0));
        assert!((distance - 0.3).abs() < 1e-6 && (along - 0.5).abs() < 1e-6);
        let (distance, along) = chain(at(2.0, 0.5), &[at(0.0, 0.0), at(1.0, 0.0), at(2.0, 0.0)]);
        assert!((distance - 0.5).abs() < 1e-6 && (along - 1.0).abs() < 1e-6);
    }

    #[test]
    fn noise_is_smooth_bounded_and_wraps() {
        let noise = Noise::new(&mut Random::new(1, 1, 1));
        for i in 0..2_000 {
            let (x, y) = (i as f32 * 0.37 - 300.0, i as f32 * -0.21);
            let here = noise.at(x, y);
            assert!(here.abs() <= 1.0);
            assert!((noise.at(x + 0.01, y) - here).abs() < 0.06);
        }
        assert!((noise.at(3.25, 4.5) - noise.at(3.25 + 256.0, 4.5)).abs() < 1e-4);
    }
}
