//! The encoder: patchify stem, plain wide 3x3 convolutions, two patch embeddings.
//!
//! No batch norm: four residual blocks train well without, nothing has to be folded at export,
//! and nothing can drift when the encoder is frozen (methods/metauas.md section 4, trap a).

use burn::module::{Initializer, Module};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::NetConfig;
use super::grain::Grain;
use super::pad::zero_pad;
use super::upsample::upsample;

/// Features of one batch of pictures. Sizes in brackets are for a 256x256 input.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Stem features `[b, stem, 64, 64]`.
    pub s4: Tensor<4>,
    /// The grain branch's own features `[b, grain, 64, 64]`.
    pub g4: Tensor<4>,
    /// Trunk `[b, c8, 32, 32]`.
    pub s8: Tensor<4>,
    /// Trunk with context `[b, c8 + lateral, 32, 32]`.
    pub j8: Tensor<4>,
    /// Trunk `[b, c16, 16, 16]`.
    pub s16: Tensor<4>,
    /// Patch embeddings `[b, 1024, embed8]`, rows of unit length.
    pub e8: Tensor<3>,
    /// Patch embeddings `[b, 256, embed16]`, rows of unit length.
    pub e16: Tensor<3>,
}

impl Encoded {
    /// Features that were computed off the tape (a frozen encoder), as constants on it.
    pub fn onto_tape(self) -> Self {
        Encoded {
            s4: Tensor::from_inner(self.s4),
            g4: Tensor::from_inner(self.g4),
            s8: Tensor::from_inner(self.s8),
            j8: Tensor::from_inner(self.j8),
            s16: Tensor::from_inner(self.s16),
            e8: Tensor::from_inner(self.e8),
            e16: Tensor::from_inner(self.e16),
        }
    }

    /// Splits a batch that was made by stacking queries on prompts into its two halves.
    pub fn halves(self) -> (Self, Self) {
        let b = self.s4.dims()[0] / 2;
        let part = |from: usize| Encoded {
            s4: self.s4.clone().narrow(0, from, b),
            g4: self.g4.clone().narrow(0, from, b),
            s8: self.s8.clone().narrow(0, from, b),
            j8: self.j8.clone().narrow(0, from, b),
            s16: self.s16.clone().narrow(0, from, b),
            e8: self.e8.clone().narrow(0, from, b),
            e16: self.e16.clone().narrow(0, from, b),
        };
        (part(0), part(b))
    }
}

/// `relu(x + conv(relu(conv(x))))`, both 3x3.
#[derive(Module, Debug)]
pub struct Block {
    /// First convolution.
    pub a: Conv2d,
    /// Second convolution, initialised small so that the block starts near the identity.
    pub b: Conv2d,
}

impl Block {
    pub(super) fn new(channels: usize, device: &Device) -> Self {
        Block {
            a: conv(channels, channels, 3, 1.0, device),
            b: conv(channels, channels, 3, RESIDUAL_GAIN, device),
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.b.forward(relu(self.a.forward(x.clone())));
        relu(x + y)
    }
}

/// Start-up gain of a residual branch: without normalisation, unit-gain branches would double
/// the variance at every block.
const RESIDUAL_GAIN: f64 = 0.3;

/// Stride of the patchify stem.
pub const STEM_STRIDE: usize = 4;
/// Stride of the two other reductions.
pub const DOWN_STRIDE: usize = 2;

/// A convolution with kernel `2 s`, stride `s` and padding `s / 2`. Kernels overlap by half, so
/// that a shift of a pixel changes features smoothly, and cell centres stay centred.
///
/// It is held and trained in its space-to-depth form: `s` x `s` pixels become channels, then a
/// plain 2x2 convolution follows. The numbers are the same, and the gradient of a strided
/// convolution, a dilated one in every framework at hand, is ten times slower. Export writes the
/// strided form.
#[derive(Module, Debug)]
pub struct Reduce {
    /// 2x2 weights over `s * s * inputs` channels in the order (dy, dx, channel).
    pub folded: Conv2d,
    /// `s`.
    pub stride: usize,
}

impl Reduce {
    pub(super) fn new(inputs: usize, outputs: usize, stride: usize, device: &Device) -> Self {
        let folded = Conv2dConfig::new([inputs * stride * stride, outputs], [2, 2])
            .with_padding(PaddingConfig2d::Valid)
            .with_initializer(he(1.0))
            .init(device);
        Reduce { folded, stride }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (s, pad) = (self.stride, self.stride / 2);
        let x = zero_pad(x, (pad, pad), (pad, pad));
        let [b, c, h, w] = x.dims();
        let x = x.reshape([b, c, h / s, s, w / s, s]).permute([0, 3, 5, 1, 2, 4]).reshape([
            b,
            s * s * c,
            h / s,
            w / s,
        ]);
        self.folded.forward(x)
    }
}

/// The encoder's weights.
#[derive(Module, Debug)]
pub struct Encoder {
    /// Patchify stem to stride 4.
    pub stem: Reduce,
    /// To stride 8.
    pub down8: Reduce,
    /// Residual blocks at stride 8.
    pub blocks8: Vec<Block>,
    /// To stride 16.
    pub down16: Reduce,
    /// Residual blocks at stride 16.
    pub blocks16: Vec<Block>,
    /// 1x1, context for the stride-8 embedding.
    pub lateral: Conv2d,
    /// 1x1 on `[s8 ; upsampled lateral]`.
    pub embed8: Conv2d,
    /// 1x1 on `s16`.
    pub embed16: Conv2d,
    /// The branch that looks closer.
    pub grain: Grain,
}

impl Encoder {
    /// Fresh weights from the device's seed.
    pub fn new(config: &NetConfig, device: &Device) -> Self {
        let c = config;
        Encoder {
            stem: Reduce::new(3, c.stem, STEM_STRIDE, device),
            down8: Reduce::new(c.stem, c.c8, DOWN_STRIDE, device),
            blocks8: (0..c.blocks8).map(|_| Block::new(c.c8, device)).collect(),
            down16: Reduce::new(c.c8, c.c16, DOWN_STRIDE, device),
            blocks16: (0..c.blocks16).map(|_| Block::new(c.c16, device)).collect(),
            lateral: conv(c.c16, c.lateral, 1, 1.0, device),
            embed8: conv(c.c8 + c.lateral, c.embed8, 1, 1.0, device),
            embed16: conv(c.c16, c.embed16, 1, 1.0, device),
            grain: Grain::new(config, device),
        }
    }

    /// Encodes normalised pictures `[b, 3, h, w]`; `h` and `w` must be multiples of 16.
    pub fn forward(&self, image: Tensor<4>) -> Encoded {
        let g4 = self.grain.features(image.clone());
        let s4 = relu(self.stem.forward(image));
        let mut s8 = relu(self.down8.forward(s4.clone()));
        for block in &self.blocks8 {
            s8 = block.forward(s8);
        }
        let mut s16 = relu(self.down16.forward(s8.clone()));
        for block in &self.blocks16 {
            s16 = block.forward(s16);
        }
        let context = upsample(self.lateral.forward(s16.clone()), 2);
        let j8 = Tensor::cat(vec![s8.clone(), context], 1);
        let e8 = unit_rows(self.embed8.forward(j8.clone()));
        let e16 = unit_rows(self.embed16.forward(s16.clone()));
        Encoded { s4, g4, s8, j8, s16, e8, e16 }
    }
}

/// `[b, c, h, w]` to `[b, h * w, c]` with rows of unit length.
pub fn unit_rows(x: Tensor<4>) -> Tensor<3> {
    let rows = to_rows(x);
    let length = rows.clone().square().sum_dim(2).add_scalar(UNIT_EPS).sqrt();
    rows / length
}

/// `[b, c, h, w]` with every cell's channels scaled to unit length.
pub fn unit(x: Tensor<4>) -> Tensor<4> {
    let length = x.clone().square().sum_dim(1).add_scalar(UNIT_EPS).sqrt();
    x / length
}

/// Keeps the normalisation of an all-zero embedding finite.
pub const UNIT_EPS: f32 = 1e-6;

/// `[b, c, h, w]` to `[b, h * w, c]`.
pub fn to_rows(x: Tensor<4>) -> Tensor<3> {
    let [b, c, h, w] = x.dims();
    x.reshape([b, c, h * w]).swap_dims(1, 2)
}

/// `[b, h * w, c]` to `[b, c, h, w]`.
pub fn to_image(x: Tensor<3>, h: usize, w: usize) -> Tensor<4> {
    let [b, _, c] = x.dims();
    x.swap_dims(1, 2).reshape([b, c, h, w])
}

/// A "same" convolution with He initialisation scaled by `gain`.
pub fn conv(inputs: usize, outputs: usize, kernel: usize, gain: f64, device: &Device) -> Conv2d {
    let pad = kernel / 2;
    Conv2dConfig::new([inputs, outputs], [kernel, kernel])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .with_initializer(he(gain))
        .init(device)
}

fn he(gain: f64) -> Initializer {
    Initializer::KaimingNormal { gain: gain * std::f64::consts::SQRT_2, fan_out_only: false }
}
