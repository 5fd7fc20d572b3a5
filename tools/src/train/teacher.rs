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

use crate::net::pad::zero_pad;

const BATCH_NORM_EPS: f32 = 1e-3;

/// The block plan up to stride 16: (first block, blocks, kernel, first stride).
const STAGES: [(usize, usize, usize, usize); 5] =
    [(0, 2, 3, 1), (2, 4, 3, 2), (6, 4, 5, 2), (10, 6, 3, 2), (16, 6, 5, 1)];
/// After this stage the features are at stride 4.
const STAGE_STRIDE4: usize = 1;
/// After this stage the features are at stride 8.
const STAGE_STRIDE8: usize = 2;

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

/// Teacher features of one batch.
pub struct TeacherFeatures {
    /// `[b, 32, h/4, w/4]`.
    pub f4: Tensor<4>,
    /// `[b, 56, h/8, w/8]`.
    pub f8: Tensor<4>,
    /// `[b, 160, h/16, w/16]`.
    pub f16: Tensor<4>,
}

impl TeacherFeatures {
    fn each(self, mut f: impl FnMut(usize, Tensor<4>) -> Tensor<4>) -> Self {
        TeacherFeatures { f4: f(0, self.f4), f8: f(1, self.f8), f16: f(2, self.f16) }
    }
}

/// Mean and deviation of every channel, `[1, c, 1, 1]`, at strides 4, 8 and 16.
pub struct Norms([(Tensor<4>, Tensor<4>); 3]);

/// Standardised features beyond this many deviations are cut off: a few outliers would rule the
/// squared loss.
const CUT: f32 = 8.0;
const DEVIATION_MIN: f32 = 1e-6;

impl Norms {
    /// Statistics over batches of features.
    ///
    /// # Errors
    /// No batch at all.
    pub fn over(batches: impl Iterator<Item = TeacherFeatures>) -> Result<Norms> {
        let channel_mean = |t: Tensor<4>| t.mean_dim(0).mean_dim(2).mean_dim(3);
        let moments = |f: Tensor<4>| (channel_mean(f.clone()), channel_mean(f.square()));
        let all: Vec<_> = batches.map(|b| [b.f4, b.f8, b.f16].map(moments)).collect();
        let count = all.len() as f32;
        let sums = all.into_iter().reduce(|[a, b, c], [d, e, f]| {
            let add = |(m, q): (Tensor<4>, Tensor<4>), (n, r)| (m + n, q + r);
            [add(a, d), add(b, e), add(c, f)]
        });
        let sums = sums.context("no pictures to take the teacher's statistics from")?;
        Ok(Norms(sums.map(|(sum, squares)| {
            let mean = sum.div_scalar(count);
            let variance = squares.div_scalar(count) - mean.clone().square();
            (mean, variance.clamp_min(DEVIATION_MIN * DEVIATION_MIN).sqrt())
        })))
    }

    /// Every channel with mean 0 and deviation 1, cut off at both ends.
    pub fn apply(&self, features: TeacherFeatures) -> TeacherFeatures {
        features.each(|i, f| {
            let (mean, deviation) = &self.0[i];
            ((f - mean.clone()) / deviation.clone()).clamp(-CUT, CUT)
        })
    }
}

/// Channels of [`TeacherFeatures::f4`].
pub const TEACHER_C4: usize = 32;
/// Channels of [`TeacherFeatures::f8`].
pub const TEACHER_C8: usize = 56;
/// Channels of [`TeacherFeatures::f16`].
pub const TEACHER_C16: usize = 160;

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

    /// Features of pictures `[b, 3, h, w]`, normalised with the ImageNet mean and deviation.
    pub fn forward(&self, image: Tensor<4>) -> TeacherFeatures {
        let mut x = silu(same_conv(image, &self.stem, 3, 2, 1));
        let (mut f4, mut f8) = (None, None);
        for (index, stage) in self.stages.iter().enumerate() {
            for block in stage {
                x = block.forward(x);
            }
            if index == STAGE_STRIDE4 {
                f4 = Some(x.clone());
            }
            if index == STAGE_STRIDE8 {
                f8 = Some(x.clone());
            }
        }
        let or_last = |f: Option<Tensor<4>>| f.unwrap_or_else(|| x.clone());
        TeacherFeatures { f4: or_last(f4), f8: or_last(f8), f16: x }
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
        let per = weight.len() / shape[0];
        let mut bias = Vec::with_capacity(shape[0]);
        for o in 0..shape[0] {
            let scale = gamma[o] / (var[o] + BATCH_NORM_EPS).sqrt();
            weight[o * per..(o + 1) * per].iter_mut().for_each(|w| *w *= scale);
            bias.push(beta[o] - mean[o] * scale);
        }
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
