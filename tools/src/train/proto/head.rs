//! What is trained: `z = LayerNorm(W x + b)` on frozen pooled features, LayerNorm without scale and
//! shift. It fixes `|z|^2` at D (section 7.5), so the fixed vague law of the anomaly class has the
//! same density at every part and a lambda means the same for every product.

use super::scalar::Scalar;

/// Keeps LayerNorm finite where all outputs agree.
const EPSILON: f64 = 1e-5;

/// Shape of the head; its parameters are `W` (outputs x inputs, row-major), then `b` (outputs).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Length of the pooled features.
    pub inputs: usize,
    /// Length of the embedding, D.
    pub outputs: usize,
}

impl Shape {
    /// How many parameters there are.
    pub fn count(self) -> usize {
        self.outputs * (self.inputs + 1)
    }
}

/// An embedded picture, with what its gradient needs.
pub struct Embedded<'a, S> {
    input: &'a [f64],
    /// The embedding, D values with mean 0 and mean square 1.
    pub z: Vec<S>,
    /// One over the deviation that LayerNorm divided by.
    inverse: S,
}

/// Embeds `input` (standardised features) with `parameters` of that shape.
pub fn embed<'a, S: Scalar>(shape: Shape, parameters: &[S], input: &'a [f64]) -> Embedded<'a, S> {
    let (weight, shift) = parameters[..shape.count()].split_at(shape.outputs * shape.inputs);
    let mut z: Vec<S> = weight
        .chunks_exact(shape.inputs)
        .zip(shift)
        .map(|(row, b)| {
            let mut sum = *b;
            for (w, x) in row.iter().zip(input) {
                sum += *w * *x;
            }
            sum
        })
        .collect();
    let share = 1.0 / shape.outputs as f64;
    let mean = sum(&z) * share;
    z.iter_mut().for_each(|v| *v -= mean);
    let variance = z.iter().fold(S::of(EPSILON), |s, v| s + *v * *v * share);
    let inverse = S::of(1.0) / variance.sqrt();
    z.iter_mut().for_each(|v| *v = *v * inverse);
    Embedded { input, z, inverse }
}

/// Adds to `into` the gradient by the parameters of a loss whose gradient by `z` is `slope`.
pub fn pull_back<S: Scalar>(shape: Shape, at: &Embedded<'_, S>, slope: &[S], into: &mut [S]) {
    let share = 1.0 / shape.outputs as f64;
    let mean = sum(slope) * share;
    let along = dot(slope, &at.z) * share;
    let (weight, shift) = into[..shape.count()].split_at_mut(shape.outputs * shape.inputs);
    let rows = weight.chunks_exact_mut(shape.inputs).zip(shift);
    for ((row, b), (g, z)) in rows.zip(slope.iter().zip(&at.z)) {
        let g = at.inverse * (*g - mean - *z * along);
        *b += g;
        for (w, x) in row.iter_mut().zip(at.input) {
            *w += g * *x;
        }
    }
}

/// Sum of all.
fn sum<S: Scalar>(values: &[S]) -> S {
    values.iter().fold(S::of(0.0), |s, v| s + *v)
}

/// Dot product.
pub fn dot<S: Scalar>(a: &[S], b: &[S]) -> S {
    a.iter().zip(b).fold(S::of(0.0), |s, (x, y)| s + *x * *y)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{noise, slopes_agree};
    use super::*;

    const SHAPE: Shape = Shape { inputs: 5, outputs: 4 };

    #[test]
    fn layer_norm_fixes_length_and_mean() {
        let parameters = noise(1, SHAPE.count());
        for seed in 2..6 {
            let input = noise(seed, SHAPE.inputs);
            let z = embed(SHAPE, &parameters, &input).z;
            assert!(sum(&z).abs() < 1e-12);
            assert!((dot(&z, &z) - SHAPE.outputs as f64).abs() < 0.01);
        }
    }

    #[test]
    fn gradient_agrees_with_differences() {
        let (parameters, input) = (noise(7, SHAPE.count()), noise(8, SHAPE.inputs));
        let weights = noise(9, SHAPE.outputs);
        let loss = |p: &[f64]| dot(&embed(SHAPE, p, &input).z, &weights);
        let mut slope = vec![0.0; SHAPE.count()];
        pull_back(SHAPE, &embed(SHAPE, &parameters, &input), &weights, &mut slope);
        slopes_agree(&parameters, &slope, loss);
    }
}
