//! The network as two ONNX graphs, `encode` and `segment`: the run-time twin of `crate::net`.
//! A test holds both to the same numbers.

use anyhow::{Result, anyhow};
use burn::module::Param;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;
use touchstone_models::tensor::TensorSpec;

use super::blocks::{distance, image_to_rows, rows_to_image, unit, unit_rows};
use super::onnx::{ConvWeights, GraphBuilder, Value};
use crate::net::NetConfig;
use crate::net::align::{FLOW_UNIT, coordinate_values};
use crate::net::decoder::{HEAD_FACTOR, Stage, embedding_gain};
use crate::net::encoder::{Block, Reduce};
use crate::net::grain::{Grain, HALF, SURFACE};
use crate::net::oneprompt::{ChangeHead, OnePromptNet};
use crate::net::upsample::bilinear_matrix;

/// Geometry of the exported graphs.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Side of the input in pixels, a multiple of 16.
    pub input: usize,
    /// Widths.
    pub net: NetConfig,
}

impl Sizes {
    /// Cells per side at a stride.
    pub fn side(&self, stride: usize) -> usize {
        self.input / stride
    }

    /// What `encode` gives for the change head, then the whole picture's embedding, whoever made
    /// the encoder.
    pub fn head_outputs(&self) -> Vec<TensorSpec> {
        let (n4, n8, n16) = (self.side(4), self.side(8), self.side(16));
        vec![
            TensorSpec::new("detail", &[1, self.net.detail, n4, n4]),
            TensorSpec::new("e8", &[1, n8 * n8, self.net.embed8]),
            TensorSpec::new("e16", &[1, n16 * n16, self.net.embed16]),
            TensorSpec::new("pooled", &[1, self.net.embed8 + self.net.embed16]),
        ]
    }

    /// Outputs of `encode`, in order.
    pub fn encode_outputs(&self) -> Vec<TensorSpec> {
        let mut outputs = self.head_outputs();
        let n4 = self.side(4);
        outputs.push(TensorSpec::new(GRAIN_OUTPUT, &[1, n4 * n4, SURFACE]));
        outputs
    }

    /// Inputs of `segment`, in order. The pooled embedding is not among them.
    pub fn segment_inputs(&self) -> Vec<String> {
        let names = ["detail", "e8", "e16"];
        let side = |side: &'static str| names.iter().map(move |n| format!("{side}.{n}"));
        side("query").chain(side("prompt")).collect()
    }

    /// Outputs of `segment`, in order.
    pub fn segment_outputs(&self) -> Vec<TensorSpec> {
        let n8 = self.side(8);
        vec![
            TensorSpec { name: "map".into(), shape: vec![1, 1, self.input, self.input] },
            TensorSpec { name: "nearest".into(), shape: vec![1, 1, n8, n8] },
        ]
    }
}

/// Both graphs as ONNX files.
pub fn build(model: &OnePromptNet, sizes: &Sizes) -> Result<(Vec<u8>, Vec<u8>)> {
    Ok((encode(model, sizes)?, segment(&model.head, sizes)?))
}

fn encode(model: &OnePromptNet, sizes: &Sizes) -> Result<Vec<u8>> {
    let mut g = GraphBuilder::new("encode");
    let encoder = &model.encoder;
    let image = g.input("image", &[1, 3, sizes.input, sizes.input]);
    let s4 = reduce_relu(&mut g, &image, &encoder.stem)?;
    let mut s8 = reduce_relu(&mut g, &s4, &encoder.down8)?;
    for b in &encoder.blocks8 {
        s8 = block(&mut g, &s8, b)?;
    }
    let mut s16 = reduce_relu(&mut g, &s8, &encoder.down16)?;
    for b in &encoder.blocks16 {
        s16 = block(&mut g, &s16, b)?;
    }
    let lateral = conv(&mut g, &s16, &encoder.lateral)?;
    let context = upsample(&mut g, &lateral, sizes.side(16), 2);
    let joined = g.concat(&[&s8, &context], 1);
    let e8 = conv(&mut g, &joined, &encoder.embed8)?;
    let e16 = conv(&mut g, &s16, &encoder.embed16)?;
    let [e8, e16, pooled] = embeddings(&mut g, &e8, &e16, sizes);
    let g4 = grain_features(&mut g, &image, &encoder.grain)?;
    let close = g.concat(&[&s4, &g4], 1);
    let detail = conv(&mut g, &close, &model.head.detail)?;
    let e4 = descriptor(&mut g, [&g4, &s8, &joined], &encoder.grain, sizes)?;
    for (value, spec) in [detail, e8, e16, pooled, e4].into_iter().zip(sizes.encode_outputs()) {
        g.output(value, &spec.name, &spec.shape);
    }
    Ok(g.finish())
}

/// Both maps as patch embeddings, and the whole picture's: both means, side by side.
pub(super) fn embeddings(
    g: &mut GraphBuilder,
    map8: &Value,
    map16: &Value,
    sizes: &Sizes,
) -> [Value; 3] {
    let (d8, d16) = (sizes.net.embed8, sizes.net.embed16);
    let e8 = unit_rows(g, map8, d8, sizes.side(8));
    let e16 = unit_rows(g, map16, d16, sizes.side(16));
    let mean8 = g.mean_axes(&e8, &[1]);
    let mean16 = g.mean_axes(&e16, &[1]);
    let pooled = g.concat(&[&mean8, &mean16], 2);
    let pooled = g.reshape(&pooled, &[1, d8 + d16]);
    [e8, e16, pooled]
}

/// The output that the position witness sees.
pub const GRAIN_OUTPUT: &str = "e4";

fn grain_features(g: &mut GraphBuilder, image: &Value, grain: &Grain) -> Result<Value> {
    let x = reduce_relu(g, image, &grain.stem)?;
    let x = reduce_relu(g, &x, &grain.down)?;
    block(g, &x, &grain.block)
}

fn descriptor(
    g: &mut GraphBuilder,
    [own, s8, joined8]: [&Value; 3],
    grain: &Grain,
    sizes: &Sizes,
) -> Result<Value> {
    let context = conv(g, s8, &grain.lateral)?;
    let context = upsample(g, &context, sizes.side(8), 2);
    let joined = g.concat(&[own, &context], 1);
    let fine = conv(g, &joined, &grain.surface4)?;
    let fine = unit(g, &fine);
    let coarse = conv(g, joined8, &grain.surface8)?;
    let coarse = unit(g, &coarse);
    let coarse = upsample(g, &coarse, sizes.side(8), 2);
    let both = g.concat(&[&fine, &coarse], 1);
    let rows = image_to_rows(g, &both, SURFACE, sizes.side(4));
    Ok(g.mul_scalar(&rows, HALF, 3))
}

struct Side {
    detail: Value,
    e8: Value,
    e16: Value,
}

/// The change head as an ONNX file.
///
/// # Errors
/// Its weights are not f32.
pub(super) fn segment(head: &ChangeHead, sizes: &Sizes) -> Result<Vec<u8>> {
    let mut g = GraphBuilder::new("segment");
    let specs = sizes.head_outputs();
    let mut side = |name: &str| {
        let mut input = |i: usize| g.input(&format!("{name}.{}", specs[i].name), &specs[i].shape);
        Side { detail: input(0), e8: input(1), e16: input(2) }
    };
    let (q, p) = (side("query"), side("prompt"));
    let aligned = align(&mut g, head, sizes, &q, &p)?;
    let map = decode(&mut g, head, sizes, &q, &p, &aligned)?;
    let n8 = sizes.side(8);
    let nearest = g.reshape(&aligned.nearest8, &[1, 1, n8, n8]);
    for (value, spec) in [map, nearest].into_iter().zip(sizes.segment_outputs()) {
        g.output(value, &spec.name, &spec.shape);
    }
    Ok(g.finish())
}

struct Aligned {
    p16: Value,
    nearest16: Value,
    p8: Value,
    p4: Value,
    nearest8: Value,
    flow: Value,
}

fn align(
    g: &mut GraphBuilder,
    head: &ChangeHead,
    sizes: &Sizes,
    q: &Side,
    p: &Side,
) -> Result<Aligned> {
    let weights = &head.align;
    let (n8, n16) = (sizes.side(8), sizes.side(16));
    let (d8, d16, detail) = (sizes.net.embed8, sizes.net.embed16, sizes.net.detail);

    let keys16 = g.transpose(&p.e16, &[0, 2, 1]);
    let cos16 = g.matmul(&q.e16, &keys16);
    let nearest16 = distance(g, &cos16);
    let logits16 = g.mul_scalar(&cos16, scalar(&weights.log_t16)?.exp(), 3);
    let a16 = g.softmax_last(&logits16);
    let grid16 = g.constant(&[1, n16 * n16, 3], &coordinate_values(n16, n16));
    let values = g.concat(&[&p.e16, &grid16], 2);
    let moved = g.matmul(&a16, &values);
    let p16 = g.slice(&moved, 2, 0, d16);
    let place = g.slice(&moved, 2, d16, d16 + 3);
    let place = rows_to_image(g, &place, 3, n16);
    let place = upsample(g, &place, n16, 2);
    let place = image_to_rows(g, &place, 3, n8);

    let mean16 = g.slice(&place, 2, 0, 2);
    let square16 = g.slice(&place, 2, 2, 3);
    let squared = g.mul(&mean16, &mean16);
    let squared = g.sum_axis(&squared, 2);
    let var16 = g.sub(&square16, &squared);
    let var16 = g.max_scalar(&var16, 0.0, 3);
    let mean8 = g.mul_scalar(&mean16, 2.0, 3);
    let mean8 = g.add_scalar(&mean8, 0.5, 3);
    let var8 = g.mul_scalar(&var16, 4.0, 3);
    let var8 = g.add_scalar(&var8, scalar(&weights.log_var)?.exp(), 3);
    let half = g.constant(&[1, 1, 1], &[0.5]);
    let weight = g.div(&half, &var8);

    let keys8 = g.transpose(&p.e8, &[0, 2, 1]);
    let cos8 = g.matmul(&q.e8, &keys8);
    let nearest8 = distance(g, &cos8);
    // The prior's three columns join the embedding's: one product, no second large matrix.
    let t8 = scalar(&weights.log_t8)?.exp();
    let pull = g.mul_scalar(&mean8, 2.0, 3);
    let pull = g.mul(&pull, &weight);
    let push = g.mul_scalar(&weight, -1.0, 3);
    let hot = g.mul_scalar(&q.e8, t8, 3);
    let rows = g.concat(&[&hot, &pull, &push], 2);
    let coordinates = coordinate_values(n8, n8);
    let columns: Vec<f32> =
        (0..3).flat_map(|c| coordinates.iter().skip(c).step_by(3).copied()).collect();
    let columns = g.constant(&[1, 3, n8 * n8], &columns);
    let keys = g.concat(&[&keys8, &columns], 1);
    let logits8 = g.matmul(&rows, &keys);
    let a8 = g.softmax_last(&logits8);

    let detail_rows = g.reshape(&p.detail, &[1, detail, n8, 2, n8, 2]);
    let detail_rows = g.transpose(&detail_rows, &[0, 2, 4, 3, 5, 1]);
    let detail_rows = g.reshape(&detail_rows, &[1, n8 * n8, 4 * detail]);
    let values = g.concat(&[&p.e8, &detail_rows], 2);
    let moved = g.matmul(&a8, &values);
    let p8 = g.slice(&moved, 2, 0, d8);
    let p4 = g.slice(&moved, 2, d8, d8 + 4 * detail);
    let p4 = g.reshape(&p4, &[1, n8, n8, 2, 2, detail]);
    let p4 = g.transpose(&p4, &[0, 5, 1, 3, 2, 4]);
    let p4 = g.reshape(&p4, &[1, detail, 2 * n8, 2 * n8]);

    let positions: Vec<f32> = coordinates.chunks(3).flat_map(|c| [c[0], c[1]]).collect();
    let positions = g.constant(&[1, n8 * n8, 2], &positions);
    let displacement = g.sub(&mean8, &positions);
    let spread = g.add_scalar(&var8, 1.0, 3);
    let spread = g.log(&spread);
    let flow = g.concat(&[&displacement, &spread], 2);
    let flow = g.mul_scalar(&flow, 1.0 / FLOW_UNIT, 3);
    Ok(Aligned { p16, nearest16, p8, p4, nearest8, flow })
}

fn decode(
    g: &mut GraphBuilder,
    head: &ChangeHead,
    sizes: &Sizes,
    q: &Side,
    p: &Side,
    aligned: &Aligned,
) -> Result<Value> {
    let decoder = &head.decoder;
    let (n4, n8, n16) = (sizes.side(4), sizes.side(8), sizes.side(16));
    let (d8, d16) = (sizes.net.embed8, sizes.net.embed16);

    let (same, difference) = scaled_pair(g, &q.e16, &aligned.p16, embedding_gain(d16));
    let x = g.concat(&[&same, &difference, &aligned.nearest16], 2);
    let x = rows_to_image(g, &x, 2 * d16 + 1, n16);
    let coarse = stage(g, &x, &decoder.coarse)?;
    let coarse = upsample(g, &coarse, n16, 2);

    let (same, difference) = scaled_pair(g, &q.e8, &aligned.p8, embedding_gain(d8));
    let x = g.concat(&[&same, &difference, &aligned.nearest8, &aligned.flow], 2);
    let x = rows_to_image(g, &x, 2 * d8 + 4, n8);
    let x = g.concat(&[&coarse, &x], 1);
    let middle = stage(g, &x, &decoder.middle)?;
    let middle = upsample(g, &middle, n8, 2);

    let moved = g.sub(&q.detail, &aligned.p4);
    let moved = g.abs(&moved);
    let still = g.sub(&q.detail, &p.detail);
    let still = g.abs(&still);
    let x = g.concat(&[&middle, &q.detail, &moved, &still], 1);
    let x = stage(g, &x, &decoder.fine)?;
    let logits = conv(g, &x, &decoder.head)?;
    let logits = upsample(g, &logits, n4, HEAD_FACTOR);
    Ok(g.sigmoid(&logits))
}

fn scaled_pair(g: &mut GraphBuilder, q: &Value, p: &Value, gain: f32) -> (Value, Value) {
    let difference = g.sub(q, p);
    let difference = g.abs(&difference);
    (g.mul_scalar(q, gain, 3), g.mul_scalar(&difference, gain, 3))
}

fn stage(g: &mut GraphBuilder, x: &Value, s: &Stage) -> Result<Value> {
    let x = conv_relu(g, x, &s.mix)?;
    let x = conv_relu(g, &x, &s.a)?;
    conv_relu(g, &x, &s.b)
}

fn block(g: &mut GraphBuilder, x: &Value, b: &Block) -> Result<Value> {
    let y = conv_relu(g, x, &b.a)?;
    let y = conv(g, &y, &b.b)?;
    let sum = g.add(x, &y);
    Ok(g.relu(&sum))
}

/// Bilinear upsampling of square `[1, c, n, n]` maps as two constant products.
pub(super) fn upsample(g: &mut GraphBuilder, x: &Value, n: usize, factor: usize) -> Value {
    let matrix = bilinear_matrix(n, factor);
    let big = n * factor;
    let mut flipped = vec![0.0; matrix.len()];
    for (i, row) in matrix.chunks(n).enumerate() {
        for (j, v) in row.iter().enumerate() {
            flipped[j * big + i] = *v;
        }
    }
    let right = g.constant(&[1, 1, n, big], &flipped);
    let left = g.constant(&[1, 1, big, n], &matrix);
    let across = g.matmul(x, &right);
    g.matmul(&left, &across)
}

fn conv_relu(g: &mut GraphBuilder, x: &Value, c: &Conv2d) -> Result<Value> {
    let y = conv(g, x, c)?;
    Ok(g.relu(&y))
}

pub(super) fn conv(g: &mut GraphBuilder, x: &Value, c: &Conv2d) -> Result<Value> {
    let bias = c.bias.as_ref().ok_or_else(|| anyhow!("a convolution without bias"))?;
    let weights = ConvWeights {
        shape: c.weight.val().dims(),
        weight: numbers(c.weight.val())?,
        bias: numbers(bias.val())?,
        stride: 1,
        padding: [c.kernel_size[0] / 2; 2],
        groups: 1,
    };
    Ok(g.conv(x, &weights))
}

/// The strided form of a [`Reduce`]: kernel `2 s`, stride `s`, padding `s / 2`.
fn reduce_relu(g: &mut GraphBuilder, x: &Value, r: &Reduce) -> Result<Value> {
    let s = r.stride;
    let folded = numbers(r.folded.weight.val())?;
    let [outputs, channels, _, _] = r.folded.weight.val().dims();
    let (inputs, kernel) = (channels / (s * s), 2 * s);
    let mut weight = vec![0.0; folded.len()];
    for o in 0..outputs {
        for channel in 0..channels {
            let (cell, c) = (channel / inputs, channel % inputs);
            let (dy, dx) = (cell / s, cell % s);
            for i in 0..2 {
                for j in 0..2 {
                    let (y, x) = (i * s + dy, j * s + dx);
                    weight[((o * inputs + c) * kernel + y) * kernel + x] =
                        folded[((o * channels + channel) * 2 + i) * 2 + j];
                }
            }
        }
    }
    let bias = r.folded.bias.as_ref().ok_or_else(|| anyhow!("a convolution without bias"))?;
    let weights = ConvWeights {
        shape: [outputs, inputs, kernel, kernel],
        weight,
        bias: numbers(bias.val())?,
        stride: s,
        padding: [s / 2; 2],
        groups: 1,
    };
    let y = g.conv(x, &weights);
    Ok(g.relu(&y))
}

pub(super) fn numbers<const D: usize>(t: Tensor<D>) -> Result<Vec<f32>> {
    t.into_data().try_to_vec::<f32>().map_err(|e| anyhow!("weights are not f32: {e:?}"))
}

fn scalar(p: &Param<Tensor<1>>) -> Result<f32> {
    Ok(numbers(p.val())?[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution};
    use tract_core::prelude::*;

    use crate::export::{golden, nnef};
    use crate::train::batch;

    fn run(graph: &[u8], inputs: TVec<TValue>) -> TVec<TValue> {
        let model = tract_nnef::nnef()
            .model_for_read(&mut std::io::Cursor::new(graph))
            .unwrap()
            .into_optimized()
            .unwrap()
            .into_runnable()
            .unwrap();
        model.run(inputs).unwrap()
    }

    fn tensor(t: burn::tensor::Tensor<4>) -> TValue {
        let shape = t.dims();
        tract_core::prelude::Tensor::from_shape(&shape, &numbers(t).unwrap()).unwrap().into()
    }

    /// The exported pair of graphs, run by tract, gives the training framework's map.
    #[test]
    fn tract_agrees_with_training() {
        let device = Device::flex();
        device.seed(3);
        const SIDE: usize = 64;
        let mut model = OnePromptNet::new(&NetConfig::TINY, &device);
        // A head that is not nearly zero, so that the comparison means something.
        let weight =
            model.head.decoder.head.weight.val().random_like(Distribution::Normal(0.0, 1.0));
        model.head.decoder.head.weight = Param::from_tensor(weight);
        let sizes = Sizes { input: SIDE, net: NetConfig::TINY };
        let (encode, segment) = build(&model, &sizes).unwrap();
        let encode = nnef::from_onnx(&encode, "encode").unwrap();
        let segment = nnef::from_onnx(&segment, "segment").unwrap();

        let picture = |seed: u32| -> Vec<u8> {
            (0..SIDE * SIDE * 3)
                .map(|i| ((i as u32).wrapping_mul(2_654_435_761).rotate_left(seed) >> 24) as u8)
                .collect()
        };
        let (query, prompt) = (picture(3), picture(9));
        let features = |p: &[u8]| run(&encode, tvec![tensor(batch::images(&[p], SIDE, &device))]);
        let (q, p) = (features(&query), features(&prompt));
        let inputs = q[..3].iter().chain(&p[..3]).cloned().collect();
        let got = run(&segment, inputs);
        let got = got[0].to_plain_array_view::<f32>().unwrap();
        let want = golden::reference(&model, &query, &prompt, SIDE, &device).unwrap();
        let spread = want.iter().fold(0.0f32, |m, v| m.max((v - want[0]).abs()));
        assert!(spread > 1e-3, "the map is flat, the comparison proves nothing");
        for (g, w) in got.iter().zip(&want) {
            assert!((g - w).abs() <= 1e-4, "{g} is not {w}");
        }

        let image = batch::images(&[&query], SIDE, &device);
        let want = model.encoder.grain.descriptor(&model.encoder.forward(image));
        let place = sizes.encode_outputs().iter().position(|o| o.name == GRAIN_OUTPUT).unwrap();
        let got = q[place].to_plain_array_view::<f32>().unwrap();
        let want = want.into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(&want) {
            assert!((g - w).abs() <= 1e-4, "{g} is not {w}");
        }
    }
}
