//! A model package built on the spot, for tests that must not depend on trained weights.
//!
//! The model is real, only small: its patches are mean colours of 4 x 4 pixels, its change map is
//! the squared difference of those at the same place. It finds a spot of another colour, which is
//! all that the tests of pipelines need.

use crate::package::*;
use crate::picture::Picture;
use crate::registration::Pose;
use crate::tensor::TensorSpec;
use std::path::Path;
use tract_core::internal::*;
use tract_core::ops::array::TypedConcat;
use tract_core::ops::change_axes::AxisOp;
use tract_core::ops::einsum::EinSum;
use tract_core::ops::math;
use tract_core::ops::nn::{Reduce, Reducer};

/// Side of the tiny model's input, in pixels.
pub const TINY_SIDE: u32 = 32;

/// Side of its patch grid.
pub const TINY_GRID: u32 = 8;

/// Values per patch embedding: mean red, green, blue, and a constant.
pub const TINY_DIM: usize = 4;

/// How steeply the tiny model's change map rises with the squared difference of colours.
pub const TINY_SLOPE: f32 = 8.0;

/// A sound model card of the tiny model, with zeros for hashes.
pub fn tiny_card() -> ModelCard {
    let grid = TINY_GRID as usize;
    let spec = |name: &str, shape: &[usize]| TensorSpec::new(name, shape);
    ModelCard {
        id: "tiny".to_string(),
        version: 1,
        architecture: ARCHITECTURE.to_string(),
        precision: Precision::F32,
        input: Input { width: TINY_SIDE, height: TINY_SIDE, mean: [0.5; 3], std: [0.25; 3] },
        encode: EncodeGraph {
            file: "encode.nnef.tar".to_string(),
            sha256: "0".repeat(64),
            outputs: vec![
                spec("s4", &[1, 3, grid, grid]),
                spec("e4", &[1, grid * grid, TINY_DIM]),
                spec("pooled", &[1, TINY_DIM]),
            ],
        },
        segment: SegmentGraph {
            file: "segment.nnef.tar".to_string(),
            sha256: "0".repeat(64),
            inputs: ["query.s4", "prompt.s4", "query.e4", "prompt.e4"].map(String::from).to_vec(),
            outputs: vec![spec("map", &[1, 1, grid, grid]), spec("nearest", &[1, 1, grid, grid])],
        },
        features: FeatureTensors {
            patches: "e4".to_string(),
            grid: [TINY_GRID, TINY_GRID],
            pooled: "pooled".to_string(),
        },
        embedding: EmbeddingPrior::isotropic(TINY_DIM, 1.0, 0.05),
        fusion: FusionConstants {
            rule: Default::default(),
            change_weight: 1.0,
            nearest_weight: 0.5,
            position_weight: 0.5,
            change_roots: 0,
            nearest_roots: 0,
            position_roots: 0,
            joined_squares: 0,
            region_level: 0.5,
        },
        calibration: Calibration {
            usual: Laws {
                reach: None,
                change: laws(-3.0),
                position: laws(0.0),
                level: laws(0.0),
                local: laws(-1.0),
                image: laws(0.0),
                dependence: 0.3,
                joint: Corrections::default(),
            },
            registered: None,
        },
        training: Training {
            sources: vec!["none: its weights are constants".to_string()],
            seed: 0,
            commands: vec![],
            date: "2026-11-23".to_string(),
        },
        figures: vec![],
    }
}

fn laws(mu0: f64) -> ScoreLaws {
    let one = ScalarPrior { mu0, kappa0: 1.0, nu0: 8.0, lambda0: 4.0 };
    ScoreLaws {
        one,
        several: SeveralPrior { gap: 0.0, gap_per_prompt: 0.0, weight: 1.0, prior: one },
        corrections: Corrections::default(),
    }
}

/// Writes the tiny model to `dir`. Panics if it cannot: this is for tests.
pub fn write_tiny_package(dir: &Path) -> ModelPackage {
    let graphs = tiny_encode().and_then(|e| Ok((to_tar(&e)?, to_tar(&tiny_segment()?)?)));
    let (encode, segment) = graphs.expect("the tiny graphs are sound");
    ModelPackage::write(dir, tiny_card(), &encode, &segment).expect("the folder is writable")
}

/// A graph as the bytes of a `.nnef.tar`.
pub fn to_tar(model: &TypedModel) -> TractResult<Vec<u8>> {
    tract_nnef::nnef().write_to_tar(model, Vec::new())
}

fn tiny_encode() -> TractResult<TypedModel> {
    let (side, grid) = (TINY_SIDE as usize, TINY_GRID as usize);
    let cell = side / grid;
    let mut m = TypedModel::default();
    let image = m.add_source("image", f32::fact([1, 3, side, side]))?;
    let split = |axis: usize| AxisOp::Reshape(axis, dims(&[side]), dims(&[grid, cell]));
    let rows = one(&mut m, "rows", split(2), &[image])?;
    let cells = one(&mut m, "cells", split(4), &[rows])?;
    let sum = one(&mut m, "sum", Reduce::new(tvec![3, 5], Reducer::Sum), &[cells])?;
    let flat = dims(&[grid, 1, grid, 1]);
    let sum = one(&mut m, "flat", AxisOp::Reshape(2, flat, dims(&[grid, grid])), &[sum])?;
    let area = m.add_const("area", tensor4(&[[[[1.0 / (cell * cell) as f32]]]]))?;
    let s4 = one(&mut m, "s4", math::mul(), &[sum, area])?;
    // The constant keeps the length of a mid-grey patch above zero.
    let ones =
        m.add_const("ones", Tensor::from_shape(&[1, 1, grid, grid], &vec![1f32; grid * grid])?)?;
    let four = one(&mut m, "four", TypedConcat { axis: 1 }, &[s4, ones])?;
    let long = AxisOp::Reshape(2, dims(&[grid, grid]), dims(&[grid * grid]));
    let long = one(&mut m, "long", long, &[four])?;
    let patches = one(&mut m, "patches", AxisOp::Move(1, 2), &[long])?;
    let squares = one(&mut m, "squares", math::mul(), &[patches, patches])?;
    let norm2 = one(&mut m, "norm2", Reduce::new(tvec![2], Reducer::Sum), &[squares])?;
    let norm = one(&mut m, "norm", math::sqrt(), &[norm2])?;
    let e4 = one(&mut m, "e4", math::div(), &[patches, norm])?;
    let pool = one(&mut m, "pool", Reduce::new(tvec![1], Reducer::Sum), &[e4])?;
    let pool = one(&mut m, "pool_flat", AxisOp::Rm(1), &[pool])?;
    let count = m.add_const("count", tensor2(&[[1.0 / (grid * grid) as f32]]))?;
    let pooled = one(&mut m, "pooled", math::mul(), &[pool, count])?;
    m.select_output_outlets(&[s4, e4, pooled])?;
    Ok(m)
}

fn tiny_segment() -> TractResult<TypedModel> {
    let grid = TINY_GRID as usize;
    let mut m = TypedModel::default();
    let mut source = |name: &str, shape: &[usize]| m.add_source(name, f32::fact(shape));
    let (q, p) =
        (source("query.s4", &[1, 3, grid, grid])?, source("prompt.s4", &[1, 3, grid, grid])?);
    let rows = [1, grid * grid, TINY_DIM];
    let (qe, pe) = (source("query.e4", &rows)?, source("prompt.e4", &rows)?);
    let d = one(&mut m, "difference", math::sub(), &[q, p])?;
    let d2 = one(&mut m, "squared", math::mul(), &[d, d])?;
    let total = one(&mut m, "total", Reduce::new(tvec![1], Reducer::Sum), &[d2])?;
    let slope = m.add_const("slope", tensor4(&[[[[-TINY_SLOPE]]]]))?;
    let scaled = one(&mut m, "scaled", math::mul(), &[total, slope])?;
    let decay = one(&mut m, "decay", math::exp(), &[scaled])?;
    let whole = m.add_const("whole", tensor4(&[[[[1f32]]]]))?;
    let map = one(&mut m, "map", math::sub(), &[whole, decay])?;
    let product = EinSum::new("bqd,bpd->bqp".parse()?, f32::datum_type());
    let cosine = one(&mut m, "cosine", product, &[qe, pe])?;
    let best = one(&mut m, "best", Reduce::new(tvec![2], Reducer::Max), &[cosine])?;
    let shape = AxisOp::Reshape(1, dims(&[grid * grid, 1]), dims(&[1, grid, grid]));
    let best = one(&mut m, "best_grid", shape, &[best])?;
    let nearest = one(&mut m, "nearest", math::sub(), &[whole, best])?;
    m.select_output_outlets(&[map, nearest])?;
    Ok(m)
}

fn one(
    model: &mut TypedModel,
    name: &str,
    op: impl Into<Box<dyn TypedOp>>,
    inputs: &[OutletId],
) -> TractResult<OutletId> {
    Ok(model.wire_node(name, op, inputs)?[0])
}

fn dims(shape: &[usize]) -> TVec<TDim> {
    shape.iter().map(|&d| d.to_dim()).collect()
}

/// A picture of a part of many blobs on a plain ground, without symmetry, lying at `pose`; `light` scales
/// its grey values.
pub fn part_at(width: u32, height: u32, pose: &Pose, light: f64) -> Picture {
    let unit = f64::from(width.max(height));
    let place = |i: u32, n: u32| (f64::from(i) + 0.5 - f64::from(n) / 2.0) / unit;
    let (sin, cos) = pose.rotation.sin_cos();
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            // Back from the query to the reference.
            let (dx, dy) = (place(x, width) - pose.shift[0], place(y, height) - pose.shift[1]);
            let (u, v) = ((cos * dx + sin * dy) / pose.scale, (cos * dy - sin * dx) / pose.scale);
            let blob = |i: u32| {
                let turn = f64::from(i) * 2.4;
                let out = 0.05 + 0.018 * f64::from(i);
                let (bx, by) = (out * turn.cos(), out * turn.sin() * f64::from(height) / unit);
                let size = 0.02 + 0.004 * f64::from(i % 5);
                (1.0 - (u - bx).hypot(v - by) / size).clamp(0.0, 0.35) / 0.35
            };
            let shade: f64 = (0..18).map(|i| blob(i) * if i % 3 == 0 { -60.0 } else { 90.0 }).sum();
            let grey = ((100.0 + shade) * light).clamp(0.0, 255.0) as u8;
            rgb.extend([grey, grey, grey]);
        }
    }
    Picture::from_rgb8(width, height, rgb).unwrap()
}
