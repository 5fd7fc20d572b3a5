//! The sum along one axis, with many values side by side.

use super::convolution::tensor_for;
use super::isa::{Vectorised, vectorised};
use tract_core::internal::*;

/// Values side by side that are summed up at a time.
const TOGETHER: usize = 64;
/// Values that are summed up before their sum is added to the others': a sum of thousands of small numbers to a large
/// one loses their last digits.
const RUN: usize = 64;

/// The operator; the axis stays, with an extent of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub axis: usize,
}

impl Sum {
    fn apply(&self, shape: &[usize], input: &[f32], out: &mut [f32]) {
        let inner: usize = shape[self.axis + 1..].iter().product();
        let per_sum = shape[self.axis] * inner;
        if per_sum == 0 {
            out.fill(0.0);
            return;
        }
        for (input, out) in input.chunks_exact(per_sum).zip(out.chunks_exact_mut(inner)) {
            for (band, out) in out.chunks_mut(TOGETHER).enumerate() {
                vectorised(Sums { input: &input[band * TOGETHER..], stride: inner, out });
            }
        }
    }
}

/// Sums of values that lie `stride` apart, side by side.
struct Sums<'a> {
    input: &'a [f32],
    stride: usize,
    out: &'a mut [f32],
}

impl Vectorised for Sums<'_> {
    type Out = ();

    #[inline(always)]
    fn run<const LANES: usize, const FUSED: bool>(self) {
        let Sums { input, stride, out } = self;
        let count = out.len();
        let mut all = [0.0f32; TOGETHER];
        for run in input.chunks(RUN * stride) {
            let mut sums = [0.0f32; TOGETHER];
            for row in run.chunks(stride) {
                let row = &row[..count];
                for x in 0..count {
                    sums[x] += row[x];
                }
            }
            for x in 0..count {
                all[x] += sums[x];
            }
        }
        out.copy_from_slice(&all[..count]);
    }
}

impl Op for Sum {
    fn name(&self) -> StaticName {
        "TouchstoneSum".into()
    }

    fn validation(&self) -> Validation {
        Validation::Rounding
    }

    op_as_typed_op!();
}

impl EvalOp for Sum {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let shape = inputs[0].shape();
        let mut out_shape: TVec<usize> = shape.into();
        out_shape[self.axis] = 1;
        let mut out = tensor_for::<f32>(&out_shape)?;
        self.apply(shape, inputs[0].view().as_slice()?, out.view_mut().as_slice_mut()?);
        Ok(tvec!(out.into_tvalue()))
    }
}

impl TypedOp for Sum {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut shape: TVec<TDim> = inputs[0].shape.iter().cloned().collect();
        shape[self.axis] = 1.to_dim();
        Ok(tvec!(f32::fact(shape)))
    }
}
