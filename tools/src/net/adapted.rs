//! The change head on an encoder that others trained. The encoder stays as it is and runs
//! elsewhere ([`crate::backbone`]); its feature maps come in here.
//!
//! Such maps have any number of channels, each with its own range. Every channel is brought to
//! mean 0 and deviation 1 by numbers that are measured once and then stay. What is learned is a
//! 1x1 convolution to each of the shapes that alignment and decoder expect.

use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor, TensorData};

use super::NetConfig;
use super::align::View;
use super::encoder::{conv, unit_rows};
use super::levels::Levels;
use super::oneprompt::{ChangeHead, Judged};
use super::upsample::upsample;

/// `x * scale + shift` per channel; not trained.
#[derive(Module, Debug)]
pub struct Standard {
    /// One over the channel's deviation.
    pub scale: Param<Tensor<1>>,
    /// Minus its mean, in deviations.
    pub shift: Param<Tensor<1>>,
}

impl Standard {
    /// From the numbers of every channel.
    pub fn new(scale: Vec<f32>, shift: Vec<f32>, device: &Device) -> Self {
        let constant = |values: Vec<f32>| {
            let data = TensorData::new(values.clone(), [values.len()]);
            Param::from_tensor(Tensor::from_data(data, device)).set_require_grad(false)
        };
        Standard { scale: constant(scale), shift: constant(shift) }
    }

    /// Leaves so many channels as they are, until numbers are measured or loaded.
    pub fn neutral(channels: usize, device: &Device) -> Self {
        Standard::new(vec![1.0; channels], vec![0.0; channels], device)
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let channels = x.dims()[1];
        let per_channel = |p: &Param<Tensor<1>>| p.val().reshape([1, channels, 1, 1]);
        x * per_channel(&self.scale) + per_channel(&self.shift)
    }
}

/// Adapters, alignment and decoder.
#[derive(Module, Debug)]
pub struct AdaptedNet {
    /// Of the map at stride 4, if there is one.
    pub fine: Option<Standard>,
    /// Of the map at stride 8.
    pub middle: Standard,
    /// Of the map at stride 16.
    pub coarse: Standard,
    /// 1x1, stride-16 context for the stride-8 embedding.
    pub lateral: Conv2d,
    /// 1x1 on `[stride 8 ; upsampled lateral]`.
    pub embed8: Conv2d,
    /// 1x1 on stride 16.
    pub embed16: Conv2d,
    /// Change head. Its detail comes from stride 4, or else from stride 8 upsampled.
    pub head: ChangeHead,
}

impl AdaptedNet {
    /// Fresh weights for maps of so many `channels`, with the embedding and decoder widths of
    /// `config`.
    pub fn new(config: &NetConfig, channels: Levels<usize>, device: &Device) -> Self {
        let Levels { fine, middle, coarse } = channels;
        AdaptedNet {
            fine: fine.map(|c| Standard::neutral(c, device)),
            middle: Standard::neutral(middle, device),
            coarse: Standard::neutral(coarse, device),
            lateral: conv(coarse, config.lateral, 1, 1.0, device),
            embed8: conv(middle + config.lateral, config.embed8, 1, 1.0, device),
            embed16: conv(coarse, config.embed16, 1, 1.0, device),
            head: ChangeHead::new(config, fine.unwrap_or(middle), device),
        }
    }

    /// Takes the measured numbers of every channel.
    pub fn standardise(&mut self, by: Levels<Standard>) {
        (self.fine, self.middle, self.coarse) = (by.fine, by.middle, by.coarse);
    }

    /// What the change head says of a batch of the encoder's maps, queries stacked on prompts.
    pub fn judge(&self, maps: Levels<Tensor<4>>) -> Judged {
        let view = self.view(maps);
        let half = view.e8.dims()[0] / 2;
        let part = |from: usize| View {
            detail: view.detail.clone().narrow(0, from, half),
            e8: view.e8.clone().narrow(0, from, half),
            e16: view.e16.clone().narrow(0, from, half),
        };
        self.head.compare(&part(0), &part(half))
    }

    fn view(&self, maps: Levels<Tensor<4>>) -> View {
        let middle = self.middle.forward(maps.middle);
        let coarse = self.coarse.forward(maps.coarse);
        let close = match self.fine.as_ref().zip(maps.fine) {
            Some((standard, map)) => standard.forward(map),
            None => upsample(middle.clone(), 2),
        };
        let context = upsample(self.lateral.forward(coarse.clone()), 2);
        let joined = Tensor::cat(vec![middle, context], 1);
        View {
            detail: self.head.detail.forward(close),
            e8: unit_rows(self.embed8.forward(joined)),
            e16: unit_rows(self.embed16.forward(coarse)),
        }
    }
}
