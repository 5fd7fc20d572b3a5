//! The graphs of a change head on an encoder that others trained: their graph, ours behind it.

use anyhow::{Result, anyhow};
use burn::tensor::Device;
use burn::tensor::activation::sigmoid;
use touchstone_models::oneprompt::IMAGE_INPUT;
use touchstone_models::tensor::TensorSpec;

use super::blocks::joined_patches;
use super::draft::Graphs;
use super::graphs::{self, Sizes, conv, embeddings, numbers, upsample};
use super::nnef;
use super::onnx::{GraphBuilder, Value};
use crate::backbone::{Backbone, Extractor};
use crate::net::adapted::{AdaptedNet, Standard};
use crate::net::levels::{Levels, STRIDES};

/// What the position witness sees: the encoder's own features at strides 8 and 16.
pub const PATCHES: &str = "patches";

/// Outputs of the encode graph, in order.
pub fn encode_outputs(sizes: &Sizes, channels: Levels<usize>) -> Vec<TensorSpec> {
    let mut outputs = sizes.head_outputs();
    let rows = sizes.side(STRIDES.middle).pow(2);
    let depth = channels.middle + channels.coarse;
    outputs.push(TensorSpec::new(PATCHES, &[1, rows, depth]));
    outputs
}

/// Both graphs, and the ONNX that they were made from besides the encoder's own.
pub struct Built {
    /// What the camera loads.
    pub graphs: Graphs,
    /// From the encoder's maps to the outputs of the encode graph.
    pub adapters: Vec<u8>,
    /// The segment graph.
    pub segment: Vec<u8>,
}

/// Puts the encoder's graph before ours.
///
/// # Errors
/// Weights that are not f32, or an operator of the encoder that NNEF lacks.
pub fn build(
    model: &AdaptedNet,
    backbone: &Backbone,
    extractor: &Extractor,
    sizes: &Sizes,
) -> Result<Built> {
    let adapters = adapters(model, backbone.channels(), sizes)?;
    let segment = graphs::segment(&model.head, sizes)?;
    let behind = nnef::typed(&adapters, "adapters")?;
    let whole = nnef::joined(extractor.model(), &behind, IMAGE_INPUT)
        .map_err(|e| anyhow!("encode: the adapters do not fit the encoder: {e:#}"))?;
    let graphs = Graphs {
        encode: nnef::write(&whole, "encode")?,
        segment: nnef::from_onnx(&segment, "segment")?,
    };
    Ok(Built { graphs, adapters, segment })
}

/// From the encoder's maps to what the change head and the witnesses take.
fn adapters(model: &AdaptedNet, channels: Levels<usize>, sizes: &Sizes) -> Result<Vec<u8>> {
    let mut g = GraphBuilder::new("adapters");
    let names = Levels { fine: Some("fine"), middle: "middle", coarse: "coarse" };
    let inputs = channels.zip(STRIDES).zip(names).map(|((channels, stride), name)| {
        let side = sizes.side(stride);
        g.input(name, &[1, channels, side, side])
    });
    let middle = standard(&mut g, &inputs.middle, &model.middle)?;
    let coarse = standard(&mut g, &inputs.coarse, &model.coarse)?;
    let close = match inputs.fine.as_ref().zip(model.fine.as_ref()) {
        Some((map, by)) => standard(&mut g, map, by)?,
        None => upsample(&mut g, &middle, sizes.side(STRIDES.middle), 2),
    };
    let context = conv(&mut g, &coarse, &model.lateral)?;
    let context = upsample(&mut g, &context, sizes.side(STRIDES.coarse), 2);
    let joined = g.concat(&[&middle, &context], 1);
    let e8 = conv(&mut g, &joined, &model.embed8)?;
    let e16 = conv(&mut g, &coarse, &model.embed16)?;
    let [e8, e16, pooled] = embeddings(&mut g, &e8, &e16, sizes);
    let detail = conv(&mut g, &close, &model.head.detail)?;
    let levels = [(&middle, channels.middle), (&coarse, channels.coarse)];
    let patches = joined_patches(&mut g, levels, sizes.side(STRIDES.middle));
    let outputs = [detail, e8, e16, pooled, patches].into_iter();
    for (value, spec) in outputs.zip(encode_outputs(sizes, channels)) {
        g.output(value, &spec.name, &spec.shape);
    }
    Ok(g.finish())
}

fn standard(g: &mut GraphBuilder, x: &Value, by: &Standard) -> Result<Value> {
    let (scale, shift) = (numbers(by.scale.val())?, numbers(by.shift.val())?);
    let shape = [1, scale.len(), 1, 1];
    let scale = g.constant(&shape, &scale);
    let shift = g.constant(&shape, &shift);
    let scaled = g.mul(x, &scale);
    Ok(g.add(&scaled, &shift))
}

/// The training framework's map of one pair of RGB8 pictures.
///
/// # Errors
/// The encoder fails.
pub fn reference(
    model: &AdaptedNet,
    extractor: &Extractor,
    [query, prompt]: [&[u8]; 2],
    device: &Device,
) -> Result<Vec<f32>> {
    let maps = extractor.maps(&[query, prompt])?.map(|map| map.tensor(device));
    numbers(sigmoid(model.judge(maps).logits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;
    use burn::tensor::Distribution;
    use touchstone_models::engine::EngineKind;
    use touchstone_models::tensor::Tensor;

    use crate::backbone::testing::{CHANNELS, SIDE, encoder};
    use crate::backbone::{Description, Tap};
    use crate::net::NetConfig;
    use crate::train::batch::{Scaling, normalised_by};

    fn backbone(fine: bool) -> Backbone {
        let taps: Vec<Tap> = (usize::from(!fine)..3)
            .enumerate()
            .map(|(index, level)| Tap { name: format!("out{index}"), channels: CHANNELS[level] })
            .collect();
        let levels: Vec<usize> = (usize::from(!fine)..3).collect();
        let description = Description {
            taps: Levels::of_list(taps).unwrap(),
            scaling: Scaling { mean: [0.4; 3], std: [0.3; 3] },
            size: SIDE,
            sources: Vec::new(),
            command: String::new(),
            sha256: String::new(),
        };
        Backbone::new(description, encoder(&levels))
    }

    /// The whole, run by the camera's engine, gives the training framework's map, with a map at
    /// stride 4 and without.
    #[test]
    fn the_camera_agrees_with_training() {
        let device = Device::flex();
        device.seed(5);
        for fine in [true, false] {
            let backbone = backbone(fine);
            let extractor = backbone.at(SIDE).unwrap();
            let mut model = AdaptedNet::new(&NetConfig::TINY, backbone.channels(), &device);
            // Numbers of a head and of channels that have been trained and measured.
            let weight =
                model.head.decoder.head.weight.val().random_like(Distribution::Normal(0.0, 1.0));
            model.head.decoder.head.weight = Param::from_tensor(weight);
            model.standardise(backbone.channels().map(|c| {
                let ramp = |from: f32| (0..c).map(|i| from + 0.1 * i as f32).collect();
                Standard::new(ramp(0.5), ramp(-0.5), &device)
            }));
            let sizes = Sizes { input: SIDE, net: NetConfig::TINY };
            let Built { graphs, .. } = build(&model, &backbone, &extractor, &sizes).unwrap();

            let folder = tempfile::tempdir().unwrap();
            let engine = EngineKind::Tract.engine(1).unwrap();
            let load = |name: &str, bytes: &[u8], inputs: &[TensorSpec], outputs: &[TensorSpec]| {
                let file = folder.path().join(name);
                std::fs::write(&file, bytes).unwrap();
                engine.load(&file, inputs, outputs).unwrap()
            };
            let outputs = encode_outputs(&sizes, backbone.channels());
            let image = TensorSpec::new(IMAGE_INPUT, &[1, 3, SIDE, SIDE]);
            let mut encode = load("encode", &graphs.encode, &[image], &outputs);
            let inputs: Vec<TensorSpec> = ["query", "prompt"]
                .iter()
                .flat_map(|side| {
                    outputs[..3]
                        .iter()
                        .map(move |o| TensorSpec::new(&format!("{side}.{}", o.name), &o.shape))
                })
                .collect();
            let mut segment = load("segment", &graphs.segment, &inputs, &sizes.segment_outputs());

            let picture = |seed: u32| -> Vec<u8> {
                (0..SIDE * SIDE * 3)
                    .map(|i| ((i as u32).wrapping_mul(2_654_435_761).rotate_left(seed) >> 24) as u8)
                    .collect()
            };
            let (query, prompt) = (picture(3), picture(9));
            let mut features = |rgb: &[u8]| {
                let scaling = backbone.description().scaling;
                let image = normalised_by(&scaling, std::iter::once(rgb), SIDE);
                encode.run(&[&Tensor::new(&[1, 3, SIDE, SIDE], image).unwrap()]).unwrap()
            };
            let (q, p) = (features(&query), features(&prompt));
            let both: Vec<&Tensor> = q[..3].iter().chain(&p[..3]).collect();
            let got = segment.run(&both).unwrap();
            let want = reference(&model, &extractor, [&query, &prompt], &device).unwrap();
            let spread = want.iter().fold(0.0f32, |m, v| m.max((v - want[0]).abs()));
            assert!(spread > 1e-3, "the map is flat, the comparison proves nothing");
            assert_eq!(got[0].data.len(), want.len());
            for (g, w) in got[0].data.iter().zip(&want) {
                assert!((g - w).abs() <= 1e-4, "{g} is not {w}");
            }
            let depth = CHANNELS[1] + CHANNELS[2];
            for patch in q[4].data.chunks_exact(depth) {
                let length: f32 = patch.iter().map(|v| v * v).sum();
                assert!((length - 1.0).abs() < 1e-3, "a patch of length {length}");
            }
        }
    }
}
