use std::collections::BTreeMap;
use std::io::Cursor;

use tract_core::prelude::*;

use super::super::checkpoint::{Checkpoint, Numbers};
use super::super::efficientnet::UNUSED;
use super::graph::{encode_outputs, segment_inputs};
use super::{ENCODER, build};
use crate::export::nnef;
use crate::train::batch::{MEAN, STD};

/// What tests/reference/metauas.py made, a PyTorch implementation that shares nothing with ours.
const GOLDEN: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/reference/metauas-map.f32"));
const SIZE: usize = 128;
const TOLERANCE: f32 = 1e-3;
/// Pixels from one corner of a drawn picture's noise to the next.
const CELL: usize = 8;

/// `count` values in 0..1 that depend on the name alone: FNV-1a, then splitmix64.
fn numbers(name: &str, count: usize) -> Vec<f32> {
    let seed = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3));
    let mix = |i: u64| {
        let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((z >> 40) as f64 / f64::from(1 << 24)) as f32
    };
    (1..=count as u64).map(mix).collect()
}

fn picture(name: &str) -> Vec<u8> {
    let cells = SIZE / CELL + 1;
    let coarse: Vec<usize> =
        numbers(name, cells * cells * 3).iter().map(|u| (u * 255.0) as usize).collect();
    let mut rgb = Vec::with_capacity(SIZE * SIZE * 3);
    for i in 0..SIZE * SIZE {
        let (x, y) = (i % SIZE, i / SIZE);
        let (dx, dy) = (x % CELL, y % CELL);
        for c in 0..3 {
            let at =
                |ox: usize, oy: usize| coarse[((y / CELL + oy) * cells + x / CELL + ox) * 3 + c];
            let left = at(0, 0) * (CELL - dy) + at(0, 1) * dy;
            let right = at(1, 0) * (CELL - dy) + at(1, 1) * dy;
            rgb.push(((left * (CELL - dx) + right * dx) / (CELL * CELL)) as u8);
        }
    }
    rgb
}

/// The published checkpoint's names and shapes, in numbers: (what it is, shape).
fn tensors() -> BTreeMap<String, Vec<usize>> {
    let mut all: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let norm = |all: &mut BTreeMap<String, Vec<usize>>, name: &str, channels: usize| {
        for leaf in ["weight", "bias", "running_mean", "running_var"] {
            all.insert(format!("{name}.{leaf}"), vec![channels]);
        }
    };
    let e = |leaf: &str| format!("encoder.{leaf}");
    all.insert(e("_conv_stem.weight"), vec![48, 3, 3, 3]);
    norm(&mut all, &e("_bn0"), 48);
    let plan = [
        (2, 1, 3, 24),
        (4, 6, 3, 32),
        (4, 6, 5, 56),
        (6, 6, 3, 112),
        (6, 6, 5, 160),
        (8, 6, 5, 272),
        (2, 6, 3, 448),
    ];
    let (mut number, mut inputs) = (0, 48);
    for (blocks, expand, kernel, channels) in plan {
        for _ in 0..blocks {
            let b = |leaf: &str| e(&format!("_blocks.{number}.{leaf}"));
            let (wide, narrow) = (inputs * expand, inputs / 4);
            if expand > 1 {
                all.insert(b("_expand_conv.weight"), vec![wide, inputs, 1, 1]);
                norm(&mut all, &b("_bn0"), wide);
            }
            all.insert(b("_depthwise_conv.weight"), vec![wide, 1, kernel, kernel]);
            norm(&mut all, &b("_bn1"), wide);
            all.insert(b("_se_reduce.weight"), vec![narrow, wide, 1, 1]);
            all.insert(b("_se_reduce.bias"), vec![narrow]);
            all.insert(b("_se_expand.weight"), vec![wide, narrow, 1, 1]);
            all.insert(b("_se_expand.bias"), vec![wide]);
            all.insert(b("_project_conv.weight"), vec![channels, wide, 1, 1]);
            norm(&mut all, &b("_bn2"), channels);
            (number, inputs) = (number + 1, channels);
        }
    }
    all.insert(e("_conv_head.weight"), vec![1792, 448, 1, 1]);
    norm(&mut all, &e("_bn1"), 1792);
    for (i, channels) in [448, 160, 56].into_iter().enumerate() {
        let name = format!("alignment.{i}.alignment_layer.dimensionality_reduction");
        all.insert(format!("{name}.weight"), vec![channels / 2, channels, 1, 1]);
        all.insert(format!("{name}.bias"), vec![channels / 2]);
    }
    let blocks =
        [(1216, 256, true), (368, 128, true), (160, 64, true), (112, 64, true), (64, 48, false)];
    for (i, (seen, out, attended)) in blocks.into_iter().enumerate() {
        let d = |leaf: &str| format!("decoder.blocks.{i}.{leaf}");
        all.insert(d("conv1.0.weight"), vec![out, seen, 3, 3]);
        norm(&mut all, &d("conv1.1"), out);
        all.insert(d("conv2.0.weight"), vec![out, out, 3, 3]);
        norm(&mut all, &d("conv2.1"), out);
        for (n, channels) in [(1, seen), (2, out)].into_iter().filter(|_| attended) {
            let a = |leaf: &str| d(&format!("attention{n}.attention.{leaf}"));
            all.insert(a("cSE.1.weight"), vec![channels / 16, channels, 1, 1]);
            all.insert(a("cSE.1.bias"), vec![channels / 16]);
            all.insert(a("cSE.3.weight"), vec![channels, channels / 16, 1, 1]);
            all.insert(a("cSE.3.bias"), vec![channels]);
            all.insert(a("sSE.0.weight"), vec![1, channels, 1, 1]);
            all.insert(a("sSE.0.bias"), vec![1]);
        }
    }
    all.insert("mask_head.weight".into(), vec![1, 48, 1, 1]);
    all.insert("mask_head.bias".into(), vec![1]);
    all
}

/// The weights of tests/reference/metauas.py.
fn checkpoint() -> Checkpoint {
    let filled = tensors().into_iter().map(|(name, shape)| {
        let count = shape.iter().product();
        let fan_in: usize = shape[1..].iter().product();
        let gain = if name.starts_with("alignment") { 8.0f64 } else { 5.0 };
        let spread = (2.0 * (gain / fan_in as f64).sqrt()) as f32;
        let value = |u: f32| match (name.rsplit('.').next(), shape.len()) {
            (Some("running_var"), _) => 0.5 + u,
            (Some("weight"), 1) => 0.8 + 0.4 * u,
            (Some("weight"), _) => (u - 0.5) * spread,
            _ => 0.2 * (u - 0.5),
        };
        let data = numbers(&name, count).into_iter().map(value).collect();
        (name, Numbers { shape, data })
    });
    Checkpoint::new("random weights", filled.collect())
}

fn run(graph: &[u8], inputs: TVec<TValue>) -> TVec<TValue> {
    let nnef = tract_nnef::nnef();
    let model = nnef.model_for_read(&mut Cursor::new(graph)).unwrap();
    model.into_optimized().unwrap().into_runnable().unwrap().run(inputs).unwrap()
}

/// Every tensor has its place, and the map is PyTorch's.
#[test]
fn the_imported_network_is_the_original() {
    let mut checkpoint = checkpoint();
    let (encode, segment) = build(&mut checkpoint, SIZE).unwrap();
    let unused = checkpoint
        .leave_out(|name| UNUSED.iter().any(|leaf| name.starts_with(&format!("{ENCODER}{leaf}"))));
    assert_eq!(unused, 5, "head convolution and its norm");
    checkpoint.finish().unwrap();
    let encode = nnef::from_onnx(&encode, "encode").unwrap();
    let segment = nnef::from_onnx(&segment, "segment").unwrap();

    let features = |name: &str| {
        let rgb = picture(name);
        let values: Vec<f32> = (0..3 * SIZE * SIZE)
            .map(|i| {
                let (c, pixel) = (i / (SIZE * SIZE), i % (SIZE * SIZE));
                (f32::from(rgb[pixel * 3 + c]) / 255.0 - MEAN[c]) / STD[c]
            })
            .collect();
        run(&encode, tvec![Tensor::from_shape(&[1, 3, SIZE, SIZE], &values).unwrap().into()])
    };
    let (query, prompt) = (features("query"), features("prompt"));
    let specs = encode_outputs(SIZE);
    let place = |leaf: &str| specs.iter().position(|s| s.name == leaf).unwrap();
    let inputs = segment_inputs()
        .iter()
        .map(|full| match full.split_once('.').unwrap() {
            ("query", leaf) => query[place(leaf)].clone(),
            (_, leaf) => prompt[place(leaf)].clone(),
        })
        .collect();
    let outputs = run(&segment, inputs);
    let map = outputs[0].to_plain_array_view::<f32>().unwrap();
    let golden: Vec<f32> =
        GOLDEN.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    assert_eq!(map.len(), golden.len());
    let worst = map.iter().zip(&golden).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= TOLERANCE, "the map is off by {worst}");
    let (low, high) = golden.iter().fold((1.0f32, 0.0f32), |(l, h), v| (l.min(*v), h.max(*v)));
    assert!(high - low > 100.0 * TOLERANCE, "a flat map proves nothing");

    let patches = query[place("patches")].to_plain_array_view::<f32>().unwrap();
    for row in patches.as_slice().unwrap().chunks_exact(216) {
        let length: f32 = row.iter().map(|v| v * v).sum();
        assert!((length - 1.0).abs() < 1e-3, "a patch of length {length}");
    }
}

#[test]
fn another_network_is_refused_by_name() {
    let mut tensors: BTreeMap<String, Numbers> = BTreeMap::new();
    tensors.insert("layer1.weight".into(), Numbers { shape: vec![1], data: vec![0.0] });
    let refused = build(&mut Checkpoint::new("checkpoint x.ckpt", tensors), 64).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("x.ckpt: lacks the tensor alignment.0.alignment_layer"), "{text}");
    assert!(text.contains("layer1.weight"), "{text}");
}
