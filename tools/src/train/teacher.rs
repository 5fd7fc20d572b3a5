//! The frozen teacher of encoder distillation: EfficientNet-B4 up to stride 16, read from a
//! safetensors file that the user has (`../shared/data/teachers` describes its names).
//!
//! Functional on purpose: a teacher has no trainable parts, and batch norms are folded while
//! loading. Padding is TensorFlow's "same" (methods/metauas.md section 2.2, the padding trap).

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::activation::{sigmoid, silu};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use safetensors::{Dtype, SafeTensors};

use crate::net::batch_norm::BatchNorm;
use crate::net::grain::{SURFACE4, SURFACE8};
use crate::net::pad::zero_pad;

const BATCH_NORM_EPS: f32 = 1e-3;

/// The block plan up to stride 16: (first block, blocks, kernel, first stride).
const STAGES: [(usize, usize, usize, usize); 5] =
    [(0, 2, 3, 1), (2, 4, 3, 2), (6, 4, 5, 2), (10, 6, 3, 2), (16, 6, 5, 1)];
/// The stages after which the features of [`TEACHER_CHANNELS`] are taken.
const LEVEL_STAGES: [usize; 3] = [1, 2, 4];

struct Folded {
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
}

struct MbBlock {
    expand: Option<Folded>,
    depthwise: Folded,
    reduce: Folded,
    excite: Folded,
    project: Folded,
    kernel: usize,
    stride: usize,
    residual: bool,
}

/// A loaded teacher.
pub struct Teacher {
    stem: Folded,
    stages: Vec<Vec<MbBlock>>,
}

/// Channels of the teacher's features at strides 4, 8 and 16.
pub const TEACHER_CHANNELS: [usize; 3] = [SURFACE4, SURFACE8, 160];

/// Features of one batch at the first `N` of those strides, `[b, channels, h/stride, w/stride]`.
pub type Features<const N: usize> = [Tensor<4>; N];

/// Mean and deviation of every channel, `[1, c, 1, 1]`, per stride.
pub struct Norms<const N: usize>([(Tensor<4>, Tensor<4>); N]);

/// Standardised features beyond this many deviations are cut off: a few outliers would rule the
/// squared loss.
const CUT: f32 = 8.0;
const DEVIATION_MIN: f32 = 1e-6;

impl<const N: usize> Norms<N> {
    /// Statistics over batches of features.
    ///
    /// # Errors
    /// No batch at all.
    pub fn over(batches: impl Iterator<Item = Features<N>>) -> Result<Self> {
        let channel_mean = |t: Tensor<4>| t.mean_dim(0).mean_dim(2).mean_dim(3);
        let moments = |f: Tensor<4>| (channel_mean(f.clone()), channel_mean(f.square()));
        let mut count = 0.0;
        let sums = batches.map(|batch| batch.map(moments)).inspect(|_| count += 1.0).reduce(
            |sums, more| {
                let mut more = more.into_iter();
                sums.map(|(m, q)| match more.next() {
                    Some((n, r)) => (m + n, q + r),
                    None => (m, q),
                })
            },
        );
        let sums = sums.context("no pictures to take the teacher's statistics from")?;
        Ok(Norms(sums.map(|(sum, squares)| {
            let mean = sum.div_scalar(count);
            let variance = squares.div_scalar(count) - mean.clone().square();
            (mean, variance.clamp_min(DEVIATION_MIN * DEVIATION_MIN).sqrt())
        })))
    }

    /// Every channel with mean 0 and deviation 1, cut off at both ends.
    pub fn apply(&self, features: Features<N>) -> Features<N> {
        let mut norms = self.0.iter();
        features.map(|f| match norms.next() {
            Some((mean, deviation)) => ((f - mean.clone()) / deviation.clone()).clamp(-CUT, CUT),
            None => f,
        })
    }
}

impl Teacher {
    /// Loads and folds the weights.
    pub fn open(path: &Path, device: &Device) -> Result<Self> {
        let bytes = std::fs::read(path)
            .with_context(|| format!("teacher weights {}: cannot be read", path.display()))?;
        let file = SafeTensors::deserialize(&bytes).with_context(|| {
            format!("teacher weights {}: not a safetensors file", path.display())
        })?;
        let mut numbers = HashMap::new();
        for (name, view) in file.tensors() {
            let data: Vec<f32> = match view.dtype() {
                Dtype::F16 => view
                    .data()
                    .chunks_exact(2)
                    .map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32())
                    .collect(),
                Dtype::F32 => view
                    .data()
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect(),
                other => bail!("teacher weights {}: {name} has type {other:?}", path.display()),
            };
            numbers.insert(name, (view.shape().to_vec(), data));
        }
        let loader = Loader { numbers, device };
        let stem = loader.with_norm("stem.conv.weight", "stem.bn")?;
        let mut stages = Vec::new();
        for (first, count, kernel, first_stride) in STAGES {
            let mut blocks = Vec::new();
            for i in 0..count {
                let stride = if i == 0 { first_stride } else { 1 };
                blocks.push(loader.block(first + i, kernel, stride, i > 0)?);
            }
            stages.push(blocks);
        }
        Ok(Teacher { stem, stages })
    }

    /// Features of pictures `[b, 3, h, w]`, normalised with the ImageNet mean and deviation, at
    /// the first `N` strides; what lies deeper is not computed.
    pub fn features<const N: usize>(&self, image: Tensor<4>) -> Features<N> {
        let mut x = silu(same_conv(image, &self.stem, 3, 2, 1));
        let mut stages = self.stages.iter().enumerate();
        std::array::from_fn(|level| {
            for (index, stage) in stages.by_ref() {
                for block in stage {
                    x = block.forward(x.clone());
                }
                if LEVEL_STAGES.get(level) == Some(&index) {
                    break;
                }
            }
            x.clone()
        })
    }
}

impl MbBlock {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let mut x = input.clone();
        if let Some(expand) = &self.expand {
            x = silu(same_conv(x, expand, 1, 1, 1));
        }
        let channels = x.dims()[1];
        x = silu(same_conv(x, &self.depthwise, self.kernel, self.stride, channels));
        let squeezed = x.clone().mean_dim(3).mean_dim(2);
        let squeezed = silu(same_conv(squeezed, &self.reduce, 1, 1, 1));
        x = x * sigmoid(same_conv(squeezed, &self.excite, 1, 1, 1));
        x = same_conv(x, &self.project, 1, 1, 1);
        if self.residual { x + input } else { x }
    }
}

fn same_conv(x: Tensor<4>, f: &Folded, kernel: usize, stride: usize, groups: usize) -> Tensor<4> {
    let [_, _, h, w] = x.dims();
    let pad = |n: usize| {
        let total = ((n.div_ceil(stride) - 1) * stride + kernel).saturating_sub(n);
        (total / 2, total - total / 2)
    };
    let ((top, bottom), (left, right)) = (pad(h), pad(w));
    let (x, both) = if top == bottom && left == right {
        (x, [top, left])
    } else {
        (zero_pad(x, (left, right), (top, bottom)), [0, 0])
    };
    let options = ConvOptions::new([stride, stride], both, [1, 1], groups);
    conv2d(x, f.weight.clone(), f.bias.clone(), options)
}

struct Loader<'a> {
    numbers: HashMap<String, (Vec<usize>, Vec<f32>)>,
    device: &'a Device,
}

impl Loader<'_> {
    fn get(&self, name: &str) -> Result<&(Vec<usize>, Vec<f32>)> {
        self.numbers.get(name).with_context(|| format!("teacher weights lack the tensor {name}"))
    }

    fn kernel(&self, name: &str) -> Result<([usize; 4], Vec<f32>)> {
        let (shape, data) = self.get(name)?;
        match shape.as_slice() {
            &[o, i, h, w] => Ok(([o, i, h, w], data.clone())),
            &[o, i] => Ok(([o, i, 1, 1], data.clone())),
            other => bail!("teacher tensor {name} has shape {other:?}, four axes are needed"),
        }
    }

    fn folded(&self, shape: [usize; 4], weight: Vec<f32>, bias: Vec<f32>) -> Folded {
        Folded {
            weight: Tensor::from_data(TensorData::new(weight, shape), self.device),
            bias: Some(Tensor::from_data(TensorData::new(bias, [shape[0]]), self.device)),
        }
    }

    fn with_norm(&self, name: &str, norm: &str) -> Result<Folded> {
        let (shape, mut weight) = self.kernel(name)?;
        let part = |leaf: &str| self.get(&format!("{norm}.{leaf}")).map(|t| &t.1);
        let (gamma, beta) = (part("weight")?, part("bias")?);
        let (mean, var) = (part("running_mean")?, part("running_var")?);
        ensure!(gamma.len() == shape[0], "teacher tensor {norm}.weight has the wrong length");
        let bias =
            BatchNorm { gamma, beta, mean, variance: var }.fold_into(&mut weight, BATCH_NORM_EPS);
        Ok(self.folded(shape, weight, bias))
    }

    fn with_bias(&self, prefix: &str) -> Result<Folded> {
        let (shape, weight) = self.kernel(&format!("{prefix}.weight"))?;
        let bias = self.get(&format!("{prefix}.bias"))?.1.clone();
        Ok(self.folded(shape, weight, bias))
    }

    fn block(&self, n: usize, kernel: usize, stride: usize, residual: bool) -> Result<MbBlock> {
        let p = format!("blocks.{n}");
        let expand = format!("{p}.expand.weight");
        Ok(MbBlock {
            expand: if self.numbers.contains_key(&expand) {
                Some(self.with_norm(&expand, &format!("{p}.bn0"))?)
            } else {
                None
            },
            depthwise: self.with_norm(&format!("{p}.depthwise.weight"), &format!("{p}.bn1"))?,
            reduce: self.with_bias(&format!("{p}.se.reduce"))?,
            excite: self.with_bias(&format!("{p}.se.expand"))?,
            project: self.with_norm(&format!("{p}.project.weight"), &format!("{p}.bn2"))?,
            kernel,
            stride,
            residual,
        })
    }
}
