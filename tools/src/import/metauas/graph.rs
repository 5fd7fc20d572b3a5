//! The two graphs. Tensor names are the official checkpoint's.

use anyhow::Result;
use touchstone_models::tensor::TensorSpec;

use super::super::checkpoint::{Checkpoint, ConvPlan};
use super::super::efficientnet::{self, CHANNELS, STRIDES};
use super::ENCODER;
use crate::export::blocks::{distance, image_to_rows, joined_patches, rows_to_image};
use crate::export::onnx::{ConvWeights, GraphBuilder, Value};

/// What the position witness sees.
pub const PATCHES: &str = "patches";
/// The whole picture's embedding.
pub const POOLED: &str = "pooled";

/// The aligned levels, deepest first, as indices into [`CHANNELS`].
const ALIGNED: [usize; 3] = [4, 3, 2];
/// The levels that only the query brings to the decoder, deeper first.
const SKIPPED: [usize; 2] = [1, 0];
/// Levels whose features are the patches.
const PATCH_LEVELS: [usize; 2] = [2, 3];
/// Output channels of the decoder's blocks.
const DECODER: [usize; 5] = [256, 128, 64, 64, 48];
/// Squeeze of the decoder's attention.
const SQUEEZE: usize = 16;
const BATCH_NORM_EPS: f32 = 1e-5;

/// Channel and spatial attention (scSE).
struct Attention {
    reduce: ConvWeights,
    excite: ConvWeights,
    place: ConvWeights,
}

struct Block {
    attention: Option<(Attention, Attention)>,
    convs: [ConvWeights; 2],
}

/// Everything behind the encoder.
pub struct Parts {
    /// One per level of [`ALIGNED`].
    project: Vec<ConvWeights>,
    blocks: Vec<Block>,
    head: ConvWeights,
}

/// Channels that the decoder's block `index` sees beside those from below.
fn skip(index: usize) -> usize {
    match index {
        0 | 1 => 2 * CHANNELS[ALIGNED[index + 1]],
        2 | 3 => CHANNELS[SKIPPED[index - 2]],
        _ => 0,
    }
}

impl Parts {
    /// Takes the learned part's tensors.
    ///
    /// # Errors
    /// One is missing or has the wrong shape.
    pub fn take(checkpoint: &mut Checkpoint) -> Result<Parts> {
        let mut project = Vec::new();
        for (index, level) in ALIGNED.iter().enumerate() {
            let channels = CHANNELS[*level];
            project.push(checkpoint.conv(
                &format!("alignment.{index}.alignment_layer.dimensionality_reduction"),
                ConvPlan::plain(channels / 2, channels, 1),
            )?);
        }
        let mut below = 2 * CHANNELS[ALIGNED[0]];
        let mut blocks = Vec::new();
        for (index, out) in DECODER.into_iter().enumerate() {
            let name = format!("decoder.blocks.{index}");
            let seen = below + skip(index);
            let mut conv = |leaf: &str, inputs: usize| {
                checkpoint.conv_norm(
                    &format!("{name}.{leaf}.0"),
                    &format!("{name}.{leaf}.1"),
                    ConvPlan::plain(out, inputs, 3),
                    BATCH_NORM_EPS,
                )
            };
            let convs = [conv("conv1", seen)?, conv("conv2", out)?];
            let attention = match skip(index) {
                0 => None,
                _ => Some((
                    attention(checkpoint, &format!("{name}.attention1"), seen)?,
                    attention(checkpoint, &format!("{name}.attention2"), out)?,
                )),
            };
            blocks.push(Block { attention, convs });
            below = out;
        }
        let head = checkpoint.conv("mask_head", ConvPlan::plain(1, below, 1))?;
        Ok(Parts { project, blocks, head })
    }
}

fn attention(checkpoint: &mut Checkpoint, name: &str, channels: usize) -> Result<Attention> {
    let narrow = channels / SQUEEZE;
    let mut conv = |leaf: &str, outputs, inputs| {
        checkpoint.conv(&format!("{name}.attention.{leaf}"), ConvPlan::plain(outputs, inputs, 1))
    };
    Ok(Attention {
        reduce: conv("cSE.1", narrow, channels)?,
        excite: conv("cSE.3", channels, narrow)?,
        place: conv("sSE.0", 1, channels)?,
    })
}

fn spec(name: impl Into<String>, shape: &[usize]) -> TensorSpec {
    TensorSpec { name: name.into(), shape: shape.to_vec() }
}

fn cells(size: usize, level: usize) -> usize {
    (size / STRIDES[level]).pow(2)
}

/// Level `i` is `f(i + 1)` of the paper's figure.
fn name(kind: char, level: usize) -> String {
    format!("{kind}{}", level + 1)
}

/// Outputs of the encode graph, in order: skips as maps; keys and values of the aligned levels as rows;
/// the two that scoring reads.
pub fn encode_outputs(size: usize) -> Vec<TensorSpec> {
    let mut outputs = Vec::new();
    for level in SKIPPED {
        let side = size / STRIDES[level];
        outputs.push(spec(name('f', level), &[1, CHANNELS[level], side, side]));
    }
    for level in ALIGNED {
        let (rows, channels) = (cells(size, level), CHANNELS[level]);
        outputs.push(spec(name('k', level), &[1, rows, channels / 2]));
        outputs.push(spec(name('v', level), &[1, rows, channels]));
    }
    let depth = PATCH_LEVELS.iter().map(|level| CHANNELS[*level]).sum();
    outputs.push(spec(PATCHES, &[1, cells(size, PATCH_LEVELS[0]), depth]));
    outputs.push(spec(POOLED, &[1, CHANNELS[4]]));
    outputs
}

/// Inputs of the segment graph, in order. The prompt brings no skips.
pub fn segment_inputs() -> Vec<String> {
    let skips = SKIPPED.map(|level| name('f', level));
    let aligned = ALIGNED.map(|level| [name('k', level), name('v', level)]).concat();
    let both = |side: &str| {
        let names = aligned.iter().map(String::as_str).chain([PATCHES]);
        names.map(|n| format!("{side}.{n}")).collect::<Vec<String>>()
    };
    let skips = skips.iter().map(|n| format!("query.{n}"));
    skips.chain(both("query")).chain(both("prompt")).collect()
}

/// Outputs of the segment graph, in order.
pub fn segment_outputs(size: usize) -> Vec<TensorSpec> {
    let side = size / STRIDES[PATCH_LEVELS[0]];
    vec![spec("map", &[1, 1, size, size]), spec("nearest", &[1, 1, side, side])]
}

/// The encode graph.
///
/// # Errors
/// A tensor of the encoder is missing or has the wrong shape.
pub fn encode(checkpoint: &mut Checkpoint, parts: &Parts, size: usize) -> Result<Vec<u8>> {
    let mut g = GraphBuilder::new("encode");
    let image = g.input("image", &[1, 3, size, size]);
    let features = efficientnet::features(&mut g, checkpoint, ENCODER, &image)?;
    let mut outputs: Vec<Value> = SKIPPED.iter().map(|level| features[*level].clone()).collect();
    for (level, project) in ALIGNED.into_iter().zip(&parts.project) {
        let side = size / STRIDES[level];
        let keys = g.conv(&features[level], project);
        outputs.push(image_to_rows(&mut g, &keys, CHANNELS[level] / 2, side));
        outputs.push(image_to_rows(&mut g, &features[level], CHANNELS[level], side));
    }
    let levels = PATCH_LEVELS.map(|level| (&features[level], CHANNELS[level]));
    outputs.push(joined_patches(&mut g, levels, size / STRIDES[PATCH_LEVELS[0]]));
    let mean = g.mean_axes(&features[4], &[2, 3]);
    outputs.push(g.reshape(&mean, &[1, CHANNELS[4]]));
    for (value, spec) in outputs.into_iter().zip(encode_outputs(size)) {
        g.output(value, &spec.name, &spec.shape);
    }
    Ok(g.finish())
}

/// What alignment needs of one picture, as inputs of the segment graph.
struct Side {
    /// One per level of [`ALIGNED`], as the values.
    keys: Vec<Value>,
    values: Vec<Value>,
    patches: Value,
}

impl Side {
    /// In the order of [`segment_inputs`].
    fn declare(g: &mut GraphBuilder, specs: &[TensorSpec], side: &str) -> Side {
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for level in ALIGNED {
            keys.push(input(g, specs, side, &name('k', level)));
            values.push(input(g, specs, side, &name('v', level)));
        }
        Side { keys, values, patches: input(g, specs, side, PATCHES) }
    }
}

/// The encode output `leaf` of one side, as an input.
fn input(g: &mut GraphBuilder, specs: &[TensorSpec], side: &str, leaf: &str) -> Value {
    let shape = specs.iter().find(|s| s.name == leaf).map_or(&[][..], |s| &s.shape);
    g.input(&format!("{side}.{leaf}"), shape)
}

/// The segment graph.
pub fn segment(parts: &Parts, size: usize) -> Vec<u8> {
    let mut g = GraphBuilder::new("segment");
    let specs = encode_outputs(size);
    let skips = SKIPPED.map(|level| input(&mut g, &specs, "query", &name('f', level)));
    let query = Side::declare(&mut g, &specs, "query");
    let prompt = Side::declare(&mut g, &specs, "prompt");

    let pairs: Vec<Value> = ALIGNED
        .into_iter()
        .enumerate()
        .map(|(index, level)| {
            let keys = g.transpose(&prompt.keys[index], &[0, 2, 1]);
            let logits = g.matmul(&query.keys[index], &keys);
            let share = g.softmax_last(&logits);
            let moved = g.matmul(&share, &prompt.values[index]);
            let pair = g.concat(&[&query.values[index], &moved], 2);
            rows_to_image(&mut g, &pair, 2 * CHANNELS[level], size / STRIDES[level])
        })
        .collect();
    let beside: Vec<&Value> = pairs[1..].iter().chain(&skips).collect();

    let mut x = pairs[0].clone();
    let (mut channels, mut side) = (2 * CHANNELS[ALIGNED[0]], size / STRIDES[ALIGNED[0]]);
    for (index, block) in parts.blocks.iter().enumerate() {
        x = g.nearest_twice(&x, [channels, side, side]);
        if let Some(skip) = beside.get(index) {
            x = g.concat(&[&x, skip], 1);
        }
        if let Some((before, _)) = &block.attention {
            x = attend(&mut g, &x, before);
        }
        for conv in &block.convs {
            x = g.conv(&x, conv);
            x = g.relu(&x);
        }
        if let Some((_, after)) = &block.attention {
            x = attend(&mut g, &x, after);
        }
        (channels, side) = (DECODER[index], 2 * side);
    }
    let logits = g.conv(&x, &parts.head);
    let map = g.sigmoid(&logits);

    let keys = g.transpose(&prompt.patches, &[0, 2, 1]);
    let cosine = g.matmul(&query.patches, &keys);
    let nearest = distance(&mut g, &cosine);
    let side = size / STRIDES[PATCH_LEVELS[0]];
    let nearest = g.reshape(&nearest, &[1, 1, side, side]);
    for (value, spec) in [map, nearest].into_iter().zip(segment_outputs(size)) {
        g.output(value, &spec.name, &spec.shape);
    }
    g.finish()
}

/// `x c + x s`: a factor per channel and one per place.
fn attend(g: &mut GraphBuilder, x: &Value, attention: &Attention) -> Value {
    let mean = g.mean_axes(x, &[2, 3]);
    let gate = g.conv(&mean, &attention.reduce);
    let gate = g.relu(&gate);
    let gate = g.conv(&gate, &attention.excite);
    let gate = g.sigmoid(&gate);
    let by_channel = g.mul(x, &gate);
    let place = g.conv(x, &attention.place);
    let place = g.sigmoid(&place);
    let by_place = g.mul(x, &place);
    g.add(&by_channel, &by_place)
}
