//! The scatter matrix of many residuals.

#![allow(clippy::needless_range_loop)]

use crate::engine::tract::{Vectorised, vectorised};

/// Residuals that are added at once, so that the matrix is read and written a quarter as often.
const BLOCK: usize = 4;

/// Sum of `e e^T` over residuals `e`.
pub(super) struct Scatter {
    dim: usize,
    /// The upper triangle counts.
    sums: Vec<f64>,
    /// Residuals that are not added yet, one after the other; what is not filled is zero.
    block: Vec<f64>,
    filled: usize,
}

impl Scatter {
    /// Of none.
    pub(super) fn new(dim: usize) -> Scatter {
        Scatter { dim, sums: vec![0.0; dim * dim], block: vec![0.0; BLOCK * dim], filled: 0 }
    }

    /// Adds the residual `values - reference`, both `dim` long.
    pub(super) fn add(&mut self, values: &[f32], reference: impl Iterator<Item = f64>) {
        let own = &mut self.block[self.filled * self.dim..][..self.dim];
        for ((out, value), reference) in own.iter_mut().zip(values).zip(reference) {
            *out = f64::from(*value) - reference;
        }
        self.filled += 1;
        if self.filled == BLOCK {
            self.flush();
        }
    }

    /// The matrix times `weight`, row by row.
    pub(super) fn matrix(mut self, weight: f64) -> Vec<f64> {
        self.flush();
        let dim = self.dim;
        for row in 0..dim {
            for column in row..dim {
                let value = self.sums[row * dim + column] * weight;
                self.sums[row * dim + column] = value;
                self.sums[column * dim + row] = value;
            }
        }
        self.sums
    }

    fn flush(&mut self) {
        if self.filled > 0 {
            vectorised(Flush { dim: self.dim, sums: &mut self.sums, block: &self.block });
            self.block.fill(0.0);
            self.filled = 0;
        }
    }
}

struct Flush<'a> {
    dim: usize,
    sums: &'a mut [f64],
    block: &'a [f64],
}

impl Vectorised for Flush<'_> {
    type Out = ();

    #[inline(always)]
    fn run<const LANES: usize, const FUSED: bool>(self) {
        let Flush { dim, sums, block } = self;
        let (a, rest) = block.split_at(dim);
        let (b, rest) = rest.split_at(dim);
        let (c, d) = rest.split_at(dim);
        // By index, for the reason given in `planes.rs`.
        let d = &d[..dim];
        for i in 0..dim {
            let (ai, bi, ci, di) = (a[i], b[i], c[i], d[i]);
            let row = &mut sums[i * dim..][..dim];
            for j in i..dim {
                row[j] += (ai * a[j] + bi * b[j]) + (ci * c[j] + di * d[j]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::linalg::add_outer;
    use super::*;

    #[test]
    fn is_the_sum_of_outer_products() {
        let dim = 5;
        let mut scatter = Scatter::new(dim);
        let mut want = vec![0.0; dim * dim];
        for sample in 0..7 {
            let values: Vec<f32> = (0..dim).map(|i| ((sample * 7 + i * 3) % 11) as f32).collect();
            let reference: Vec<f64> = (0..dim).map(|i| (i * sample) as f64 * 0.25).collect();
            let residual: Vec<f64> =
                values.iter().zip(&reference).map(|(v, r)| f64::from(*v) - r).collect();
            add_outer(&mut want, &residual, 0.5);
            scatter.add(&values, reference.into_iter());
        }
        for (got, want) in scatter.matrix(0.5).iter().zip(&want) {
            assert!((got - want).abs() < 1e-9, "{got} {want}");
        }
    }
}
