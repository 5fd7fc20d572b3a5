//! Encoder, alignment and decoder as one trainable module.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor};

use super::NetConfig;
use super::align::{Alignment, View};
use super::decoder::Decoder;
use super::encoder::{Encoded, Encoder, conv, to_image};

/// The change head: everything that is learned on change pairs.
#[derive(Module, Debug)]
pub struct ChangeHead {
    /// 1x1 on the encoder's stride-4 features: the detail that the alignment carries along.
    pub detail: Conv2d,
    /// Soft alignment.
    pub align: Alignment,
    /// Decoder.
    pub decoder: Decoder,
}

impl ChangeHead {
    /// Fresh weights for an encoder with so many channels at stride 4.
    pub fn new(config: &NetConfig, channels4: usize, device: &Device) -> Self {
        ChangeHead {
            detail: conv(channels4, config.detail, 1, 1.0, device),
            align: Alignment::new(device),
            decoder: Decoder::new(config, device),
        }
    }

    /// Change logits `[b, 1, h, w]` of queries against prompts.
    pub fn forward(&self, q: &Encoded, p: &Encoded) -> Tensor<4> {
        self.judge(q, p).logits
    }

    /// The same, with what the patch embeddings alone say.
    pub fn judge(&self, q: &Encoded, p: &Encoded) -> Judged {
        let view = |e: &Encoded| {
            let close = Tensor::cat(vec![e.s4.clone(), e.g4.clone()], 1);
            View { detail: self.detail.forward(close), e8: e.e8.clone(), e16: e.e16.clone() }
        };
        self.compare(&view(q), &view(p))
    }

    /// What there is to say of two pictures, the query first.
    pub fn compare(&self, q: &View, p: &View) -> Judged {
        let aligned = self.align.forward(q, p);
        let [h8, w8] = q.grid8();
        let mismatch =
            [aligned.distance(&q.e8), aligned.nearest8.clone()].map(|m| to_image(m, h8, w8));
        let logits = self.decoder.forward(q, p, aligned);
        Judged { logits, mismatch }
    }
}

/// What the change head says of a pair.
pub struct Judged {
    /// Change logits `[b, 1, h, w]`.
    pub logits: Tensor<4>,
    /// `1 - cos` of each stride-8 patch to the prompt's patch that the alignment brings to it, and
    /// to the nearest patch anywhere in the prompt, `[b, 1, h / 8, w / 8]` each.
    pub mismatch: [Tensor<4>; 2],
}

/// The whole network.
#[derive(Module, Debug)]
pub struct OnePromptNet {
    /// Encoder, shared by query and prompt.
    pub encoder: Encoder,
    /// Change head.
    pub head: ChangeHead,
}

impl OnePromptNet {
    /// Fresh weights from the device's seed.
    pub fn new(config: &NetConfig, device: &Device) -> Self {
        OnePromptNet {
            encoder: Encoder::new(config, device),
            head: ChangeHead::new(config, config.channels4(), device),
        }
    }
}
