//! What several graphs are made of.

use super::onnx::{GraphBuilder, Value};
use crate::net::encoder::UNIT_EPS;
use crate::net::grain::HALF;

/// Every cell's channels scaled to unit length.
pub fn unit(g: &mut GraphBuilder, x: &Value) -> Value {
    let squared = g.mul(x, x);
    let sum = g.sum_axis(&squared, 1);
    let sum = g.add_scalar(&sum, UNIT_EPS, 4);
    let length = g.sqrt(&sum);
    g.div(x, &length)
}

/// `1 - max_j` of a cosine matrix, `[1, n, 1]`.
pub fn distance(g: &mut GraphBuilder, cosine: &Value) -> Value {
    let best = g.max_axis(cosine, 2);
    let minus = g.mul_scalar(&best, -1.0, 3);
    g.add_scalar(&minus, 1.0, 3)
}

/// A map as rows, `[1, side * side, channels]`, each of length 1.
pub fn unit_rows(g: &mut GraphBuilder, x: &Value, channels: usize, side: usize) -> Value {
    let rows = image_to_rows(g, x, channels, side);
    let squared = g.mul(&rows, &rows);
    let sum = g.sum_axis(&squared, 2);
    let sum = g.add_scalar(&sum, UNIT_EPS, 3);
    let length = g.sqrt(&sum);
    g.div(&rows, &length)
}

/// A map `[1, channels, side, side]` as rows, `[1, side * side, channels]`.
pub fn image_to_rows(g: &mut GraphBuilder, x: &Value, channels: usize, side: usize) -> Value {
    let flat = g.reshape(x, &[1, channels, side * side]);
    g.transpose(&flat, &[0, 2, 1])
}

/// Rows as a map: [`image_to_rows`] the other way round.
pub fn rows_to_image(g: &mut GraphBuilder, x: &Value, channels: usize, side: usize) -> Value {
    let flat = g.transpose(x, &[0, 2, 1]);
    g.reshape(&flat, &[1, channels, side, side])
}

/// Two maps with their channels, on a grid of `side` cells and on one half as fine, as patches side
/// by side on the finer grid: both of the same weight, rows of length 1.
pub fn joined_patches(
    g: &mut GraphBuilder,
    [(fine, fine_channels), (coarse, coarse_channels)]: [(&Value, usize); 2],
    side: usize,
) -> Value {
    let half = side / 2;
    let fine = unit_rows(g, fine, fine_channels, side);
    let coarse = unit_rows(g, coarse, coarse_channels, half);
    let map = rows_to_image(g, &coarse, coarse_channels, half);
    let map = g.nearest_twice(&map, [coarse_channels, half, half]);
    let coarse = image_to_rows(g, &map, coarse_channels, side);
    let both = g.concat(&[&fine, &coarse], 2);
    g.mul_scalar(&both, HALF, 3)
}
