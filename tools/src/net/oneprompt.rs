//! Encoder, alignment and decoder as one trainable module.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor};

use super::NetConfig;
use super::align::Alignment;
use super::decoder::Decoder;
use super::encoder::{Encoded, Encoder, conv, to_image};

/// The change head: everything that is learned on change pairs.
#[derive(Module, Debug)]
pub struct ChangeHead {
    /// 1x1 on the two kinds of stride-4 features: the detail that the alignment carries along.
    pub detail: Conv2d,
    /// Soft alignment.
    pub align: Alignment,
    /// Decoder.
    pub decoder: Decoder,
}

impl ChangeHead {
    /// Fresh weights.
    pub fn new(config: &NetConfig, device: &Device) -> Self {
        ChangeHead {
            detail: conv(config.stem + config.grain, config.detail, 1, 1.0, device),
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
        let detail_of =
            |e: &Encoded| self.detail.forward(Tensor::cat(vec![e.s4.clone(), e.g4.clone()], 1));
        let (detail_q, detail_p) = (detail_of(q), detail_of(p));
        let aligned = self.align.forward(q, p, detail_p.clone());
        let [_, _, h8, w8] = q.s8.dims();
        let mismatch =
            [aligned.distance(&q.e8), aligned.nearest8.clone()].map(|m| to_image(m, h8, w8));
        let logits = self.decoder.forward(q, aligned, detail_q, detail_p);
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
            head: ChangeHead::new(config, device),
        }
    }
}
