//! The decoder: three small stages at strides 16, 8 and 4, each fed with the query's features,
//! their absolute difference from the aligned prompt, and how well they matched.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::NetConfig;
use super::align::{Aligned, View};
use super::encoder::{conv, to_image};
use super::upsample::upsample;

/// 1x1 to width, then two 3x3.
#[derive(Module, Debug)]
pub struct Stage {
    /// 1x1 mixing of everything the stage sees.
    pub mix: Conv2d,
    /// First 3x3.
    pub a: Conv2d,
    /// Second 3x3, to the width handed on.
    pub b: Conv2d,
}

impl Stage {
    fn new(inputs: usize, width: usize, outputs: usize, device: &Device) -> Self {
        Stage {
            mix: conv(inputs, width, 1, 1.0, device),
            a: conv(width, width, 3, 1.0, device),
            b: conv(width, outputs, 3, 1.0, device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = relu(self.mix.forward(x));
        let x = relu(self.a.forward(x));
        relu(self.b.forward(x))
    }
}

/// The decoder's weights.
#[derive(Module, Debug)]
pub struct Decoder {
    /// Stride 16.
    pub coarse: Stage,
    /// Stride 8.
    pub middle: Stage,
    /// Stride 4.
    pub fine: Stage,
    /// 1x1 to one logit per stride-4 cell.
    pub head: Conv2d,
}

/// The factor that brings unit-length embeddings to unit variance per channel.
pub fn embedding_gain(width: usize) -> f32 {
    (width as f32).sqrt()
}

/// From stride 4 to the input's resolution.
pub const HEAD_FACTOR: usize = 4;

impl Decoder {
    /// Fresh weights.
    pub fn new(config: &NetConfig, device: &Device) -> Self {
        let c = config;
        Decoder {
            coarse: Stage::new(2 * c.embed16 + 1, c.decoder, c.bridge, device),
            middle: Stage::new(c.bridge + 2 * c.embed8 + 1 + 3, c.decoder, c.bridge, device),
            fine: Stage::new(c.bridge + 3 * c.detail, c.fine, c.fine, device),
            head: conv(c.fine, 1, 1, 0.1, device),
        }
    }

    /// Logits `[b, 1, h, w]` at the input's resolution.
    pub fn forward(&self, q: &View, p: &View, aligned: Aligned) -> Tensor<4> {
        let ([h8, w8], [h16, w16]) = (q.grid8(), q.grid16());
        let gain16 = embedding_gain(q.e16.dims()[2]);
        let gain8 = embedding_gain(q.e8.dims()[2]);

        let difference = (q.e16.clone() - aligned.p16).abs().mul_scalar(gain16);
        let x =
            Tensor::cat(vec![q.e16.clone().mul_scalar(gain16), difference, aligned.nearest16], 2);
        let coarse = upsample(self.coarse.forward(to_image(x, h16, w16)), 2);

        let difference = (q.e8.clone() - aligned.p8).abs().mul_scalar(gain8);
        let x = Tensor::cat(
            vec![q.e8.clone().mul_scalar(gain8), difference, aligned.nearest8, aligned.flow],
            2,
        );
        let x = Tensor::cat(vec![coarse, to_image(x, h8, w8)], 1);
        let middle = upsample(self.middle.forward(x), 2);

        // The unaligned difference stays sharp where the pair is registered; the aligned one
        // holds where it isn't. The predicted displacement told the stage above which to trust.
        let moved = (q.detail.clone() - aligned.p4).abs();
        let still = (q.detail.clone() - p.detail.clone()).abs();
        let x = Tensor::cat(vec![middle, q.detail.clone(), moved, still], 1);
        upsample(self.head.forward(self.fine.forward(x)), HEAD_FACTOR)
    }
}
