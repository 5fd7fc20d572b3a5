//! Zero padding by joining. `Tensor::pad` fills its frame on the host and copies it over on some
//! backends: on a GPU that took ten times as long as all the rest of a training step.

use burn::tensor::Tensor;

/// `x`, `[b, c, h, w]`, with that many rows and columns of zeros around it.
pub fn zero_pad(
    x: Tensor<4>,
    (left, right): (usize, usize),
    (top, bottom): (usize, usize),
) -> Tensor<4> {
    let x = join(x, 3, left, right);
    join(x, 2, top, bottom)
}

fn join(x: Tensor<4>, axis: usize, before: usize, after: usize) -> Tensor<4> {
    let zeros = |count: usize| {
        let mut shape = x.dims();
        shape[axis] = count;
        Tensor::<4>::zeros(shape, &x.device())
    };
    let mut parts = Vec::new();
    if before > 0 {
        parts.push(zeros(before));
    }
    parts.push(x.clone());
    if after > 0 {
        parts.push(zeros(after));
    }
    if parts.len() == 1 { x } else { Tensor::cat(parts, axis) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn pads_as_the_framework_does() {
        let x = Tensor::<1>::from_floats([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &Device::flex());
        let x = x.reshape([1, 1, 2, 3]);
        let got = zero_pad(x.clone(), (0, 1), (2, 1));
        let want = x.pad((0, 1, 2, 1), 0.0f32);
        assert_eq!(got.into_data(), want.into_data());
    }
}
