//! The stride-4 patch embedding: what a surface looks like close up.
//!
//! The trunk reaches stride 4 by one strided convolution, which keeps its cost low and its eye
//! coarse: pits and hairs of a few pixels hardly move its embedding. This branch reads the picture
//! once more through two small strides, takes the trunk's stride-8 features as context, and gives
//! the embedding that the position witness compares (methods/baypranometa.md section 8). Its own
//! features are also half of the detail that the change head carries along.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::NetConfig;
use super::encoder::{Block, DOWN_STRIDE, Reduce, conv, unit_rows};
use super::upsample::upsample;

/// The branch's weights.
#[derive(Module, Debug)]
pub struct Grain {
    /// Picture to stride 2.
    pub stem: Reduce,
    /// To stride 4.
    pub down: Reduce,
    /// One residual block.
    pub block: Block,
    /// 1x1 on the trunk's stride-8 features: context.
    pub lateral: Conv2d,
    /// 1x1 on `[own features ; upsampled context]`.
    pub embed: Conv2d,
}

impl Grain {
    /// Fresh weights.
    pub fn new(config: &NetConfig, device: &Device) -> Self {
        let c = config;
        Grain {
            stem: Reduce::new(3, c.grain_stem, DOWN_STRIDE, device),
            down: Reduce::new(c.grain_stem, c.grain, DOWN_STRIDE, device),
            block: Block::new(c.grain, device),
            lateral: conv(c.c8, c.lateral4, 1, 1.0, device),
            embed: conv(c.grain + c.lateral4, c.embed4, 1, 1.0, device),
        }
    }

    /// Own features `[b, grain, h/4, w/4]` of pictures `[b, 3, h, w]`.
    pub fn features(&self, image: Tensor<4>) -> Tensor<4> {
        let x = relu(self.stem.forward(image));
        self.block.forward(relu(self.down.forward(x)))
    }

    /// Embedding `[b, h/4 * w/4, embed4]` with rows of unit length, from [`Grain::features`] and
    /// the trunk's `s8`.
    pub fn embedding(&self, features: Tensor<4>, s8: Tensor<4>) -> Tensor<3> {
        let context = upsample(self.lateral.forward(s8), 2);
        unit_rows(self.embed.forward(Tensor::cat(vec![features, context], 1)))
    }
}
