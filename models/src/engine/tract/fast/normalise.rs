//! Vectors to the length of 1: `x / sqrt(sum of x^2 + epsilon)` along one axis, in one pass over the memory.

use super::convolution::tensor_for;
use super::crew::shared;
use super::isa::{Vectorised, vectorised};
use super::product::Target;
use tract_core::internal::*;

/// Vectors side by side that are done at a time.
const TOGETHER: usize = 64;

/// The operator.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Normalise {
    pub axis: usize,
    pub epsilon: f32,
}

// No NaN gets here.
impl Eq for Normalise {}

impl Normalise {
    fn apply(&self, shape: &[usize], input: &[f32], out: &mut [f32]) {
        let length = shape[self.axis];
        let inner: usize = shape[self.axis + 1..].iter().product();
        let per_vectors = length * inner;
        if per_vectors == 0 {
            return;
        }
        let bands = inner.div_ceil(TOGETHER);
        let target = Target::new(out);
        shared(input.len() / per_vectors * bands, |index| {
            let (outer, first) = (index / bands, index % bands * TOGETHER);
            let input = &input[outer * per_vectors + first..];
            vectorised(Vectors {
                length,
                stride: inner,
                count: TOGETHER.min(inner - first),
                epsilon: self.epsilon,
                input,
                target,
                at: outer * per_vectors + first,
            });
        });
    }
}

/// Vectors whose values lie `stride` apart, side by side.
struct Vectors<'a> {
    length: usize,
    stride: usize,
    count: usize,
    epsilon: f32,
    input: &'a [f32],
    target: Target,
    at: usize,
}

impl Vectorised for Vectors<'_> {
    type Out = ();

    #[inline(always)]
    fn run<const LANES: usize, const FUSED: bool>(self) {
        let Vectors { length, stride, count, epsilon, input, target, at } = self;
        if stride == 1 {
            let mut sums = [0.0f32; LANES];
            let whole = length / LANES * LANES;
            for values in input[..whole].chunks_exact(LANES) {
                for lane in 0..LANES {
                    sums[lane] += values[lane] * values[lane];
                }
            }
            let rest = input[whole..length].iter().fold(epsilon, |sum, v| sum + v * v);
            let factor = 1.0 / (sums.iter().sum::<f32>() + rest).sqrt();
            // SAFETY: no other job has this vector; it lies in one piece.
            let out = unsafe { std::slice::from_raw_parts_mut(target.at(at), length) };
            for i in 0..length {
                out[i] = input[i] * factor;
            }
            return;
        }
        let mut factors = [epsilon; TOGETHER];
        let factors = &mut factors[..count];
        for i in 0..length {
            let row = &input[i * stride..][..count];
            for x in 0..count {
                factors[x] += row[x] * row[x];
            }
        }
        for factor in factors.iter_mut() {
            *factor = 1.0 / factor.sqrt();
        }
        for i in 0..length {
            let row = &input[i * stride..][..count];
            // SAFETY: no other job has these vectors.
            let out = unsafe { std::slice::from_raw_parts_mut(target.at(at + i * stride), count) };
            for x in 0..count {
                out[x] = row[x] * factors[x];
            }
        }
    }
}

impl Op for Normalise {
    fn name(&self) -> StaticName {
        "TouchstoneNormalise".into()
    }

    fn validation(&self) -> Validation {
        Validation::Rounding
    }

    op_as_typed_op!();
}

impl EvalOp for Normalise {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let shape = inputs[0].shape();
        let mut out = tensor_for::<f32>(shape)?;
        self.apply(shape, inputs[0].view().as_slice()?, out.view_mut().as_slice_mut()?);
        Ok(tvec!(out.into_tvalue()))
    }
}

impl TypedOp for Normalise {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].without_value()))
    }
}
