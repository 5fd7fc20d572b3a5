//! EfficientNet-B4 as an ONNX graph, from weights as `efficientnet-pytorch` 0.6 names them
//! (methods/metauas.md section 2.2).

use anyhow::Result;

use super::checkpoint::{Checkpoint, ConvPlan};
use crate::export::onnx::{GraphBuilder, Value};

/// Channels behind the stem.
const STEM: usize = 48;
const BATCH_NORM_EPS: f32 = 1e-3;
/// The squeeze of squeeze-excite is the block's input by this.
const SQUEEZE: usize = 4;

/// So many blocks alike; the first has the stride and changes the channels.
struct Stage {
    expand: usize,
    kernel: usize,
    stride: usize,
    channels: usize,
    blocks: usize,
}

const fn stage(
    expand: usize,
    kernel: usize,
    stride: usize,
    channels: usize,
    blocks: usize,
) -> Stage {
    Stage { expand, kernel, stride, channels, blocks }
}

const STAGES: [Stage; 7] = [
    stage(1, 3, 1, 24, 2),
    stage(6, 3, 2, 32, 4),
    stage(6, 5, 2, 56, 4),
    stage(6, 3, 2, 112, 6),
    stage(6, 5, 1, 160, 6),
    stage(6, 5, 2, 272, 8),
    stage(6, 3, 1, 448, 2),
];
/// The stages after which features are taken, besides the stem's.
const TAPS: [usize; 4] = [1, 2, 4, 6];

/// Channels of the features.
pub const CHANNELS: [usize; 5] = [STEM, 32, 56, 160, 448];
/// Pixels per cell of the features, in each direction.
pub const STRIDES: [usize; 5] = [2, 4, 8, 16, 32];
/// What lies behind the last features in the weights, and no segmentation uses.
pub const UNUSED: [&str; 3] = ["_conv_head.", "_bn1.", "_fc."];

/// Padding that these weights were trained with: "same", computed once for an even size. Later releases
/// of the package propagate odd sizes instead, which moves the features by half a pixel.
fn same(kernel: usize, stride: usize) -> [usize; 2] {
    let total = kernel - stride;
    [total / 2, total - total / 2]
}

fn conv(outputs: usize, inputs: usize, kernel: usize, stride: usize) -> ConvPlan {
    let padding = same(kernel, stride);
    ConvPlan { stride, padding, ..ConvPlan::plain(outputs, inputs, kernel) }
}

/// Features of `image` at the five [`STRIDES`].
///
/// # Errors
/// A tensor is missing or has the wrong shape.
pub fn features(
    g: &mut GraphBuilder,
    weights: &mut Checkpoint,
    prefix: &str,
    image: &Value,
) -> Result<[Value; 5]> {
    let stem = weights.conv_norm(
        &format!("{prefix}_conv_stem"),
        &format!("{prefix}_bn0"),
        conv(STEM, 3, 3, 2),
        BATCH_NORM_EPS,
    )?;
    let x = g.conv(image, &stem);
    let stem = g.silu(&x);
    let mut taken = std::array::from_fn(|_| stem.clone());
    let mut x = stem;
    let (mut number, mut inputs) = (0, STEM);
    for (index, stage) in STAGES.iter().enumerate() {
        for repeat in 0..stage.blocks {
            let stride = if repeat == 0 { stage.stride } else { 1 };
            let name = format!("{prefix}_blocks.{number}");
            x = block(g, weights, &name, &x, inputs, stride, stage)?;
            (number, inputs) = (number + 1, stage.channels);
        }
        if let Some(tap) = TAPS.iter().position(|t| *t == index) {
            taken[1 + tap] = x.clone();
        }
    }
    Ok(taken)
}

fn block(
    g: &mut GraphBuilder,
    weights: &mut Checkpoint,
    name: &str,
    input: &Value,
    inputs: usize,
    stride: usize,
    stage: &Stage,
) -> Result<Value> {
    let wide = inputs * stage.expand;
    let mut x = input.clone();
    let mut norm = |conv: &str, norm: &str, plan| {
        weights.conv_norm(
            &format!("{name}.{conv}"),
            &format!("{name}.{norm}"),
            plan,
            BATCH_NORM_EPS,
        )
    };
    if stage.expand > 1 {
        let expand = norm("_expand_conv", "_bn0", conv(wide, inputs, 1, 1))?;
        x = g.conv(&x, &expand);
        x = g.silu(&x);
    }
    let depthwise = ConvPlan { groups: wide, ..conv(wide, 1, stage.kernel, stride) };
    let depthwise = norm("_depthwise_conv", "_bn1", depthwise)?;
    let project = norm("_project_conv", "_bn2", conv(stage.channels, wide, 1, 1))?;
    x = g.conv(&x, &depthwise);
    x = g.silu(&x);

    let narrow = inputs / SQUEEZE;
    let reduce = weights.conv(&format!("{name}._se_reduce"), conv(narrow, wide, 1, 1))?;
    let excite = weights.conv(&format!("{name}._se_expand"), conv(wide, narrow, 1, 1))?;
    let mean = g.mean_axes(&x, &[2, 3]);
    let gate = g.conv(&mean, &reduce);
    let gate = g.silu(&gate);
    let gate = g.conv(&gate, &excite);
    let gate = g.sigmoid(&gate);
    x = g.mul(&x, &gate);

    x = g.conv(&x, &project);
    let same_size = stride == 1 && inputs == stage.channels;
    Ok(if same_size { g.add(&x, input) } else { x })
}
