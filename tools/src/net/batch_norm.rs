//! Batch norms of networks that others trained, taken into the convolution before them.

/// A batch norm's numbers, one of each per channel.
pub struct BatchNorm<'a> {
    /// Learned factor.
    pub gamma: &'a [f32],
    /// Learned offset.
    pub beta: &'a [f32],
    /// Mean seen in training.
    pub mean: &'a [f32],
    /// Variance seen in training, not negative.
    pub variance: &'a [f32],
}

impl BatchNorm<'_> {
    /// Scales the kernels of a convolution without bias, channel by channel, and gives back the bias that
    /// makes it the same as convolution and norm.
    pub fn fold_into(&self, weight: &mut [f32], epsilon: f32) -> Vec<f32> {
        let per_channel = weight.len() / self.gamma.len();
        let kernels = weight.chunks_exact_mut(per_channel).enumerate();
        kernels
            .map(|(out, kernel)| {
                let scale = self.gamma[out] / (self.variance[out] + epsilon).sqrt();
                kernel.iter_mut().for_each(|w| *w *= scale);
                self.beta[out] - self.mean[out] * scale
            })
            .collect()
    }
}
