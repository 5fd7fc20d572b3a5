//! Bilinear upsampling as two constant matrix products.
//!
//! tract runs a matrix product at the core's full speed and a bilinear `Resize` at a fifth of
//! it, so both training and the exported graph use this form; parity is then by construction.

use burn::tensor::{Device, Tensor, TensorData};

/// The `[n * factor, n]` matrix of half-pixel-centred bilinear interpolation, edges clamped,
/// row-major. Every row sums to one.
pub fn bilinear_matrix(n: usize, factor: usize) -> Vec<f32> {
    let out = n * factor;
    let mut matrix = vec![0.0; out * n];
    for o in 0..out {
        let source = (o as f64 + 0.5) / factor as f64 - 0.5;
        let source = source.clamp(0.0, (n - 1) as f64);
        let low = source.floor() as usize;
        let high = (low + 1).min(n - 1);
        let fraction = (source - low as f64) as f32;
        matrix[o * n + low] += 1.0 - fraction;
        matrix[o * n + high] += fraction;
    }
    matrix
}

/// Upsamples `[batch, channels, h, w]` by `factor` in both directions.
pub fn upsample(x: Tensor<4>, factor: usize) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    let device = x.device();
    // Plain two-dimensional products: a broadcast batch of tiny ones is several times slower.
    let across = x.reshape([b * c * h, w]).matmul(transposed(w, factor, &device));
    let flipped = across.reshape([b * c, h, w * factor]).swap_dims(1, 2);
    let down = flipped.reshape([b * c * w * factor, h]).matmul(transposed(h, factor, &device));
    down.reshape([b * c, w * factor, h * factor]).swap_dims(1, 2).reshape([
        b,
        c,
        h * factor,
        w * factor,
    ])
}

fn transposed(n: usize, factor: usize, device: &Device) -> Tensor<2> {
    let data = TensorData::new(bilinear_matrix(n, factor), [n * factor, n]);
    Tensor::<2>::from_data(data, device).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_sum_to_one_and_centres_interpolate() {
        let m = bilinear_matrix(3, 2);
        for row in m.chunks(3) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        // Output 1 sits at source 0.25: three quarters of sample 0, a quarter of sample 1.
        assert_eq!(&m[3..6], &[0.75, 0.25, 0.0]);
    }

    #[test]
    fn a_ramp_stays_a_ramp_inside() {
        let device = Device::flex();
        let x = Tensor::<4>::from_data(
            TensorData::new((0..8).map(|v| v as f32).collect::<Vec<_>>(), [1, 1, 2, 4]),
            &device,
        );
        let y = upsample(x, 2).into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(y.len(), 4 * 8);
        // Row 1 is a quarter of the way from the first source row to the second.
        assert!((y[8 + 3] - (1.25 + 1.0)).abs() < 1e-5, "{}", y[8 + 3]);
    }
}
