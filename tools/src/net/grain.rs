//! What a surface looks like close up: the patch descriptor of the position witness.
//!
//! The trunk reaches stride 4 by one strided convolution, which keeps its cost low and its eye
//! coarse. This branch reads the picture once more through two small strides. From its features
//! and the trunk's it reads out what a large pretrained network would say of each place, at
//! strides 4 and 8, channel by channel. Two readouts scaled to the same length are the descriptor
//! that the position witness compares (methods/baypranometa.md section 8).
//!
//! An embedding that was trained to have the teacher's cosines instead, over all strides at once,
//! did half as well on small pits: what the student cannot know of the coarse strides drowned
//! what it can see on the fine one.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::NetConfig;
use super::encoder::{Block, DOWN_STRIDE, Encoded, Reduce, conv, to_rows, unit};
use super::upsample::upsample;

/// Channels of the readout at stride 4: the teacher's.
pub const SURFACE4: usize = 32;
/// Channels of the readout at stride 8: the teacher's.
pub const SURFACE8: usize = 56;
/// Width of the joined descriptor.
pub const SURFACE: usize = SURFACE4 + SURFACE8;

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
    pub surface4: Conv2d,
    /// 1x1 on the trunk's stride-8 features with their own context.
    pub surface8: Conv2d,
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
            surface4: conv(c.grain + c.lateral4, SURFACE4, 1, 0.5, device),
            surface8: conv(c.c8 + c.lateral, SURFACE8, 1, 0.5, device),
        }
    }

    /// Own features `[b, grain, h/4, w/4]` of pictures `[b, 3, h, w]`.
    pub fn features(&self, image: Tensor<4>) -> Tensor<4> {
        let x = relu(self.stem.forward(image));
        self.block.forward(relu(self.down.forward(x)))
    }

    /// Both readouts, `[b, 32, h/4, w/4]` and `[b, 56, h/8, w/8]`.
    pub fn surfaces(&self, encoded: &Encoded) -> [Tensor<4>; 2] {
        let context = upsample(self.lateral.forward(encoded.s8.clone()), 2);
        let close = Tensor::cat(vec![encoded.g4.clone(), context], 1);
        [self.surface4.forward(close), self.surface8.forward(encoded.j8.clone())]
    }

    /// The descriptor `[b, h/4 * w/4, 88]`. Both halves weigh the same; rows are about one long,
    /// a little shorter where the coarse half changes from one cell to the next.
    pub fn descriptor(&self, encoded: &Encoded) -> Tensor<3> {
        let [fine, coarse] = self.surfaces(encoded);
        let joined = Tensor::cat(vec![unit(fine), upsample(unit(coarse), 2)], 1);
        to_rows(joined).mul_scalar(HALF)
    }
}

/// Brings two parts of length one to a joined length of one.
pub const HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
