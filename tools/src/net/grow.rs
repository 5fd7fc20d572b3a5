//! A network that goes on as a larger member of its family, and says at first what it said before.
//!
//! What a smaller member has learned is worth more than fresh weights, and so is its change head. New channels get
//! fresh weights to come from, and those who read them weights of zero, which leaves every number as it was and has
//! a gradient from the first step on. New residual blocks end in zeros, which makes them the identity.

use anyhow::{Result, ensure};
use burn::module::Param;
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor, s};

use super::NetConfig;
use super::encoder::{Block, Encoder, Reduce};
use super::grain::Grain;
use super::oneprompt::{ChangeHead, OnePromptNet};

/// Channels that a convolution reads from one source, before and after growth. Several sources lie one after the other.
type Source = (usize, usize);

/// The growth of one member into another.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    from: NetConfig,
    to: NetConfig,
}

impl Growth {
    /// From one member to one that is as wide or wider in every trunk.
    ///
    /// # Errors
    /// Names both where a width would shrink, or where embeddings or the change head would change: the length of an
    /// embedding is one, so that no number of it can grow and leave the others as they are.
    pub fn between(from: &NetConfig, to: &NetConfig) -> Result<Growth> {
        let name = |net: &NetConfig| net.name().unwrap_or("a network of its own widths");
        let head = |c: &NetConfig| [c.embed8, c.embed16, c.detail, c.decoder, c.bridge, c.fine];
        ensure!(
            head(from) == head(to),
            "{} does not grow into {}: they differ in embeddings or change head, and only what comes before them can \
             grow (m grows into l)",
            name(from),
            name(to)
        );
        let trunk = |c: &NetConfig| {
            [
                c.stem,
                c.c8,
                c.blocks8,
                c.c16,
                c.blocks16,
                c.lateral,
                c.grain_stem,
                c.grain,
                c.lateral4,
            ]
        };
        ensure!(
            trunk(from).iter().zip(trunk(to)).all(|(from, to)| *from <= to),
            "{} does not grow into {}, which is smaller somewhere",
            name(from),
            name(to)
        );
        Ok(Growth { from: *from, to: *to })
    }

    /// The whole network; fresh weights are drawn from the device's seed.
    pub fn network(&self, small: OnePromptNet, device: &Device) -> OnePromptNet {
        let ChangeHead { detail, align, decoder } = small.head;
        let fresh = ChangeHead::new(&self.to, self.to.channels4(), device);
        let detail =
            widened(detail, fresh.detail, &[self.of(|c| c.stem), self.of(|c| c.grain)], device);
        let head = ChangeHead { detail, align, decoder };
        OnePromptNet { encoder: self.encoder(small.encoder, device), head }
    }

    /// What it grows into.
    pub fn target(&self) -> &NetConfig {
        &self.to
    }

    fn of(&self, width: fn(&NetConfig) -> usize) -> Source {
        (width(&self.from), width(&self.to))
    }

    /// The encoder alone.
    pub fn encoder(&self, small: Encoder, device: &Device) -> Encoder {
        let [stem, c8, c16] = [self.of(|c| c.stem), self.of(|c| c.c8), self.of(|c| c.c16)];
        let [lateral, grain, lateral4] =
            [self.of(|c| c.lateral), self.of(|c| c.grain), self.of(|c| c.lateral4)];
        let fresh = Encoder::new(&self.to, device);
        let near = Grain {
            stem: reduce(small.grain.stem, fresh.grain.stem, PICTURE, device),
            down: reduce(small.grain.down, fresh.grain.down, self.of(|c| c.grain_stem), device),
            block: block(small.grain.block, fresh.grain.block, grain, device),
            lateral: widened(small.grain.lateral, fresh.grain.lateral, &[c8], device),
            surface4: widened(
                small.grain.surface4,
                fresh.grain.surface4,
                &[grain, lateral4],
                device,
            ),
            surface8: widened(small.grain.surface8, fresh.grain.surface8, &[c8, lateral], device),
        };
        Encoder {
            stem: reduce(small.stem, fresh.stem, PICTURE, device),
            down8: reduce(small.down8, fresh.down8, stem, device),
            blocks8: blocks(small.blocks8, fresh.blocks8, c8, device),
            down16: reduce(small.down16, fresh.down16, c8, device),
            blocks16: blocks(small.blocks16, fresh.blocks16, c16, device),
            lateral: widened(small.lateral, fresh.lateral, &[c16], device),
            embed8: widened(small.embed8, fresh.embed8, &[c8, lateral], device),
            embed16: widened(small.embed16, fresh.embed16, &[c16], device),
            grain: near,
        }
    }
}

/// A picture has three channels, whoever reads it.
const PICTURE: Source = (3, 3);

/// `fresh` with the weights of `small` in its first channels; those do not read what is new.
fn widened(small: Conv2d, fresh: Conv2d, sources: &[Source], device: &Device) -> Conv2d {
    let (old, new) = (constant(&small.weight, device), constant(&fresh.weight, device));
    let ([outputs, _, rows, columns], [_, inputs, ..]) = (old.dims(), new.dims());
    let mut weight = new.slice_assign(
        [0..outputs, 0..inputs, 0..rows, 0..columns],
        Tensor::zeros([outputs, inputs, rows, columns], device),
    );
    let (mut read, mut written) = (0, 0);
    for &(before, after) in sources {
        weight = weight.slice_assign(
            [0..outputs, written..written + before, 0..rows, 0..columns],
            old.clone().narrow(1, read, before),
        );
        (read, written) = (read + before, written + after);
    }
    assert_eq!([read, written], [old.dims()[1], inputs], "sources are all that is read");
    let bias = small.bias.zip(fresh.bias).map(|(small, fresh)| {
        let (old, new) = (constant(&small, device), constant(&fresh, device));
        Param::from_tensor(new.slice_assign(s![0..outputs], old))
    });
    Conv2d { weight: Param::from_tensor(weight), bias, ..fresh }
}

fn reduce(small: Reduce, fresh: Reduce, (before, after): Source, device: &Device) -> Reduce {
    // The pixels of a step lie one after the other, each with all its channels.
    let pixels = vec![(before, after); fresh.stride * fresh.stride];
    Reduce { folded: widened(small.folded, fresh.folded, &pixels, device), ..fresh }
}

fn block(small: Block, fresh: Block, channels: Source, device: &Device) -> Block {
    Block {
        a: widened(small.a, fresh.a, &[channels], device),
        b: widened(small.b, fresh.b, &[channels], device),
    }
}

fn blocks(small: Vec<Block>, fresh: Vec<Block>, channels: Source, device: &Device) -> Vec<Block> {
    let mut small = small.into_iter();
    let grown = fresh.into_iter().map(|fresh| match small.next() {
        Some(small) => block(small, fresh, channels, device),
        None => Block { b: silent(fresh.b, device), ..fresh },
    });
    grown.collect()
}

/// A convolution that adds nothing until it is trained.
fn silent(fresh: Conv2d, device: &Device) -> Conv2d {
    let weight = Param::from_tensor(Tensor::zeros(fresh.weight.dims(), device));
    let bias = fresh.bias.as_ref().map(|bias| Tensor::zeros(bias.dims(), device));
    Conv2d { weight, bias: bias.map(Param::from_tensor), ..fresh }
}

/// A weight off any tape it may be on.
fn constant<const D: usize>(weight: &Param<Tensor<D>>, device: &Device) -> Tensor<D> {
    Tensor::from_data(weight.val().into_data(), device)
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::tensor::Distribution;

    use super::*;

    const WIDER: NetConfig = NetConfig {
        stem: 12,
        c8: 9,
        blocks8: 2,
        c16: 12,
        blocks16: 3,
        lateral: 6,
        grain_stem: 5,
        grain: 7,
        lateral4: 5,
        ..NetConfig::TINY
    };

    #[test]
    fn a_grown_network_says_what_the_smaller_one_says() {
        let device = Device::flex();
        device.seed(3);
        let small = OnePromptNet::new(&NetConfig::TINY, &device);
        let growth = Growth::between(&NetConfig::TINY, &WIDER).unwrap();
        let grown = growth.network(small.clone(), &device);
        assert!(grown.num_params() > small.num_params());

        let draw = || Tensor::<4>::random([1, 3, 64, 64], Distribution::Normal(0.0, 1.0), &device);
        let (query, prompt) = (draw(), draw());
        let answers = |net: &OnePromptNet| {
            let (q, p) = (net.encoder.forward(query.clone()), net.encoder.forward(prompt.clone()));
            let descriptor = net.encoder.grain.descriptor(&q).into_data();
            let logits = net.head.forward(&q, &p).into_data();
            [descriptor, logits].map(|data| data.try_to_vec::<f32>().unwrap())
        };
        for (small, grown) in answers(&small).into_iter().zip(answers(&grown)) {
            assert!(small.iter().any(|v| v.abs() > 1e-3), "nothing to compare");
            let apart = small.iter().zip(&grown).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-4, "{apart}");
        }
    }

    #[test]
    fn what_is_new_learns() {
        let device = Device::flex().autodiff();
        device.seed(4);
        let growth = Growth::between(&NetConfig::TINY, &WIDER).unwrap();
        let grown = growth.encoder(Encoder::new(&NetConfig::TINY, &device), &device);
        let picture = Tensor::random([1, 3, 64, 64], Distribution::Normal(0.0, 1.0), &device);
        let gradients = grown.forward(picture).s16.square().mean().backward();
        let readers = grown.down16.folded.weight.val().grad(&gradients).unwrap();
        let of_new = readers.narrow(1, NetConfig::TINY.c8, 1).abs().sum().into_scalar::<f32>();
        assert!(of_new > 0.0);
        let ending = grown.blocks16[2].b.weight.val().grad(&gradients).unwrap();
        assert!(ending.abs().sum().into_scalar::<f32>() > 0.0);
    }

    #[test]
    fn only_trunks_grow_and_nothing_shrinks() {
        let refusal = |from, to| Growth::between(from, to).unwrap_err().to_string();
        assert!(refusal(&NetConfig::S, &NetConfig::M).contains("s does not grow into m"));
        assert!(refusal(&NetConfig::L, &NetConfig::M).contains("smaller somewhere"));
        assert!(Growth::between(&NetConfig::M, &NetConfig::L).is_ok());
    }
}
