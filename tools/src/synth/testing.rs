//! A drawn library for tests.

use super::library::{Library, Scene};
use super::raster::{Rgb, Source};

/// Four scenes and three textures; every scene shows things with these `outlines`.
pub fn library(outlines: &[Vec<(f32, f32)>]) -> Library {
    let picture = |k: usize| {
        let mut p = Rgb::plain(150 + 10 * k, 140, [0; 3]);
        for y in 0..p.h {
            for x in 0..p.w {
                let v = ((x * (k + 2)) ^ (y * 3)) % 200;
                p.set(x, y, [v as f32, (v + 20) as f32, ((x + y) % 256) as f32]);
            }
        }
        Source::new(p)
    };
    let scene = |k| Scene { picture: picture(k), outlines: outlines.to_vec() };
    Library::assemble((0..4).map(scene).collect(), (4..7).map(picture).collect(), Vec::new())
}
