//! Perlin noise (the definition in `../shared/methods/metauas.md`, section 3) at any point, so that
//! only the pixels of a shape's box are computed.

use super::raster::floor;

/// One octave of gradient noise with its own hashed lattice of unit gradients.
pub struct Perlin {
    seed: u32,
    gradients: [(f32, f32); 64],
}

impl Perlin {
    /// A field chosen by `seed`.
    pub fn new(seed: u64) -> Self {
        let mut gradients = [(0.0, 0.0); 64];
        for (index, gradient) in gradients.iter_mut().enumerate() {
            let (sin, cos) = (index as f32 * std::f32::consts::TAU / 64.0).sin_cos();
            *gradient = (cos, sin);
        }
        Self { seed: (seed ^ (seed >> 32)) as u32, gradients }
    }

    fn gradient(&self, x: i32, y: i32) -> (f32, f32) {
        let mut h =
            self.seed ^ (x as u32).wrapping_mul(0x9E37_79B1) ^ (y as u32).wrapping_mul(0x85EB_CA77);
        h ^= h >> 15;
        h = h.wrapping_mul(0x2C1B_3C6D);
        h ^= h >> 13;
        self.gradients[(h >> 7) as usize & 63]
    }

    /// The value at `(x, y)` in lattice cells: about -1..1, zero at lattice points.
    pub fn at(&self, x: f32, y: f32) -> f32 {
        let (ix, iy) = (floor(x), floor(y));
        let (tx, ty) = (x - ix as f32, y - iy as f32);
        let dot = |dx: i32, dy: i32| {
            let (gx, gy) = self.gradient(ix + dx, iy + dy);
            gx * (tx - dx as f32) + gy * (ty - dy as f32)
        };
        let (u, v) = (fade(tx), fade(ty));
        let top = dot(0, 0) + u * (dot(1, 0) - dot(0, 0));
        let bottom = dot(0, 1) + u * (dot(1, 1) - dot(0, 1));
        (top + v * (bottom - top)) * std::f32::consts::SQRT_2
    }

    /// Two octaves, for natural-looking edges.
    pub fn rough(&self, x: f32, y: f32) -> f32 {
        0.7 * self.at(x, y) + 0.3 * self.at(2.0 * x + 17.3, 2.0 * y - 5.9)
    }
}

fn fade(t: f32) -> f32 {
    t * t * t * (t * (t * 6.0 - 15.0) + 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_at_lattice_points_and_bounded_between() {
        let noise = Perlin::new(7);
        let mut largest = 0.0_f32;
        for step in 0..4000 {
            let (x, y) = (step as f32 * 0.37, step as f32 * 0.11);
            largest = largest.max(noise.at(x, y).abs());
        }
        assert_eq!(noise.at(3.0, -4.0), 0.0);
        assert!(largest > 0.4 && largest <= 1.01, "{largest}");
    }
}
