//! Encoder distillation: the student's stages predict the teacher's features, and the cosine
//! between any two of the student's patch embeddings must be the teacher's. The second term is
//! what makes nearest-neighbour distances and Student-t scores on the embeddings mean
//! something; the first teaches the trunk faster than cosines alone.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use clap::Args;
use half::f16;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::batch::{self, Prefetch};
use super::device::DeviceKind;
use super::features::Cache;
use super::loss::relation_loss;
use super::run_folder::{RunFolder, RunState};
use super::teacher::{TEACHER_C8, TEACHER_C16, Teacher};
use super::{augment, schedule};
use crate::net::NetConfig;
use crate::net::encoder::{Encoder, conv, unit_rows};
use crate::net::upsample::upsample;
use crate::progress;
use crate::synth::{Library, SynthConfig};

/// `touchstone-tools train encoder`
#[derive(Debug, Args)]
pub struct EncoderArgs {
    /// Folder of pictures (a flat folder, or images/ objects/ textures/).
    #[arg(long)]
    pub pictures: PathBuf,
    /// Frozen teacher: EfficientNet-B4 weights as safetensors.
    #[arg(long)]
    pub teacher: PathBuf,
    /// Run folder: checkpoints, state, loss curve.
    #[arg(long)]
    pub out: PathBuf,
    /// Network of the family: m, or tiny for dry runs.
    #[arg(long, default_value = "m")]
    pub net: String,
    /// Different views on which the teacher is asked once.
    #[arg(long, default_value_t = 6000)]
    pub views: usize,
    /// Side of a view in pixels, a multiple of 16.
    #[arg(long, default_value_t = 256)]
    pub size: usize,
    /// Optimiser steps.
    #[arg(long, default_value_t = 4000)]
    pub steps: usize,
    /// Views per step.
    #[arg(long, default_value_t = 16)]
    pub batch: usize,
    /// Peak learning rate.
    #[arg(long, default_value_t = 1e-3)]
    pub lr: f64,
    /// Seed of weights, views and order.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Steps between checkpoints.
    #[arg(long, default_value_t = 250)]
    pub checkpoint: usize,
    /// Backend.
    #[arg(long, value_enum, default_value = "flex")]
    pub device: DeviceKind,
    /// Go on with the run in --out.
    #[arg(long)]
    pub resume: bool,
}

/// The encoder with the heads that only distillation needs.
#[derive(Module, Debug)]
pub struct Student {
    /// The encoder.
    pub encoder: Encoder,
    head8: Conv2d,
    head16: Conv2d,
}

impl Student {
    /// Fresh weights.
    pub fn new(config: &NetConfig, device: &Device) -> Self {
        Student {
            encoder: Encoder::new(config, device),
            head8: conv(config.c8, TEACHER_C8, 1, 0.5, device),
            head16: conv(config.c16, TEACHER_C16, 1, 0.5, device),
        }
    }
}

/// Positions per picture at which cosines are compared (stride 8, stride 16).
const SAMPLED: (usize, usize) = (64, 24);
/// Weight of each cosine term beside the feature terms.
pub(super) const RELATION_WEIGHT: f32 = 10.0;
/// Weight of the cosines within one picture beside those over the whole batch. A defect is told
/// from its own surroundings, and of all pairs of a batch those are only one in sixteen.
const WITHIN_WEIGHT: f32 = 1.0;
/// Half of the sampled cells lie in one window of this many cells a side, so that neighbours,
/// which differ least, are compared in every picture.
const WINDOW: usize = 8;

struct Batch {
    pictures: Vec<Vec<u8>>,
    t8: Vec<f32>,
    t16: Vec<f32>,
    positions8: Vec<i64>,
    positions16: Vec<i64>,
}

/// Runs the distillation.
pub fn run(args: &EncoderArgs) -> Result<()> {
    ensure!(
        args.size.is_multiple_of(16) && args.size >= 64,
        "--size must be a multiple of 16, at least 64"
    );
    ensure!(args.batch >= 1 && args.views >= args.batch, "--views must be at least --batch");
    let net = NetConfig::by_name(&args.net)
        .with_context(|| format!("--net {}: the networks are m and tiny", args.net))?;
    let device = args.device.open()?;
    let folder = RunFolder::create(&args.out, args.resume)?;
    device.seed(args.seed);
    let library = Library::open(&args.pictures, progress::decoding())?;
    let config = SynthConfig { size: args.size as u32, seed: args.seed, ..SynthConfig::default() };
    let key = format!("{} seed {}", args.pictures.display(), args.seed);
    let cache = Cache::open_or_build(
        &folder.path("teacher.cache"),
        &key,
        args.size,
        args.views,
        |i| library.view(&config, i),
        || Teacher::open(&args.teacher, &device),
        &device,
    )?;
    drop(library);

    let tape = device.clone().autodiff();
    let mut student = Student::new(&net, &tape);
    let mut optimizer = AdamWConfig::new()
        .with_weight_decay(1e-4)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(1.0)))
        .init();
    let mut state = RunState {
        stage: "encoder".into(),
        net,
        seed: args.seed,
        step: 0,
        steps: args.steps,
        command: command_line(),
        sources: vec![args.pictures.display().to_string(), args.teacher.display().to_string()],
        history: Vec::new(),
    };
    if let Some(saved) = folder.state()?.filter(|_| args.resume) {
        ensure!(
            saved.net == net && saved.stage == "encoder",
            "{} is another run",
            args.out.display()
        );
        student = folder.load(student)?;
        optimizer = folder.load_optimizer(optimizer)?;
        state = RunState { steps: args.steps, ..saved };
    }

    let cache = Arc::new(cache);
    let maker = Arc::clone(&cache);
    let (seed, size) = (args.seed, args.batch);
    let mut batches =
        Prefetch::start(1, state.step, move |step| make_batch(&maker, seed, step, size));
    let bar = progress::bar(args.steps as u64, "distil");
    bar.set_position(state.step as u64);
    let mut sum = 0.0;
    while state.step < args.steps {
        let batch = batches.take().context("the thread that prepares batches died")?;
        let loss = loss(&student, &batch, &cache, &tape);
        let gradients = GradientsParams::from_grads(loss.backward(), &student);
        let lr = schedule::rate(args.lr, state.step, args.steps);
        student = optimizer.step(lr, student, gradients);
        let value = f64::from(loss.into_scalar::<f32>());
        ensure!(value.is_finite(), "the loss became {value} at step {}; lower --lr", state.step);
        sum += value;
        state.step += 1;
        bar.inc(1);
        bar.set_message(format!("loss {value:.4}"));
        if state.step.is_multiple_of(HISTORY_EVERY) {
            state.history.push((state.step, sum / HISTORY_EVERY as f64, None));
            log::info!("step {} loss {:.4}", state.step, sum / HISTORY_EVERY as f64);
            sum = 0.0;
        }
        if state.step.is_multiple_of(args.checkpoint.max(1)) || state.step == args.steps {
            folder.checkpoint(&student, &optimizer, &state)?;
        }
    }
    bar.finish_and_clear();
    println!("encoder trained for {} steps: {}", state.step, args.out.display());
    Ok(())
}

/// Steps between points of the loss curve.
pub const HISTORY_EVERY: usize = 25;

/// This process's command line, for the model card.
pub fn command_line() -> String {
    let mut words: Vec<String> = std::env::args().collect();
    if let Some(first) = words.first_mut() {
        *first = "touchstone-tools".into();
    }
    words.join(" ")
}

fn make_batch(cache: &Cache, seed: u64, step: usize, size: usize) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9) ^ (step as u64));
    let (n8, n16) = (cache.size / 8, cache.size / 16);
    let mut batch = Batch {
        pictures: Vec::new(),
        t8: Vec::new(),
        t16: Vec::new(),
        positions8: sample(&mut rng, n8, SAMPLED.0),
        positions16: sample(&mut rng, n16, SAMPLED.1),
    };
    for _ in 0..size {
        let i = rng.random_range(0..cache.views());
        let flip = rng.random_bool(0.5);
        let mut picture = cache.pictures[i * cache.len_picture()..][..cache.len_picture()].to_vec();
        if flip {
            augment::mirror(&mut picture, cache.size, 3);
        }
        augment::jitter_light(&mut picture, &mut rng);
        batch.pictures.push(picture);
        let f8 = &cache.f8[i * cache.len8()..][..cache.len8()];
        let f16 = &cache.f16[i * cache.len16()..][..cache.len16()];
        batch.t8.extend(standardised(f8, &cache.norm8, n8, flip));
        batch.t16.extend(standardised(f16, &cache.norm16, n16, flip));
    }
    batch
}

/// Cells of a grid of `side` to compare: half anywhere, half in one window.
pub(super) fn sample(rng: &mut ChaCha8Rng, side: usize, count: usize) -> Vec<i64> {
    let window = WINDOW.min(side);
    let corner = (rng.random_range(0..=side - window), rng.random_range(0..=side - window));
    (0..count.min(side * side))
        .map(|i| {
            let (x, y) = if i % 2 == 0 {
                (rng.random_range(0..side), rng.random_range(0..side))
            } else {
                (corner.0 + rng.random_range(0..window), corner.1 + rng.random_range(0..window))
            };
            (y * side + x) as i64
        })
        .collect()
}

pub(super) fn standardised(
    data: &[f16],
    norms: &[(f32, f32)],
    side: usize,
    flip: bool,
) -> Vec<f32> {
    let mut out = Vec::with_capacity(data.len());
    for (plane, (mean, deviation)) in data.chunks_exact(side * side).zip(norms) {
        out.extend(plane.iter().map(|v| ((v.to_f32() - mean) / deviation).clamp(-8.0, 8.0)));
    }
    if flip {
        augment::mirror(&mut out, side, 1);
    }
    out
}

fn loss(student: &Student, batch: &Batch, cache: &Cache, device: &Device) -> Tensor<1> {
    let b = batch.pictures.len();
    let (n8, n16) = (cache.size / 8, cache.size / 16);
    let slices: Vec<&[u8]> = batch.pictures.iter().map(Vec::as_slice).collect();
    let encoded = student.encoder.forward(batch::images(&slices, cache.size, device));
    let t8 =
        Tensor::<4>::from_data(TensorData::new(batch.t8.clone(), [b, TEACHER_C8, n8, n8]), device);
    let t16 = Tensor::<4>::from_data(
        TensorData::new(batch.t16.clone(), [b, TEACHER_C16, n16, n16]),
        device,
    );
    let features = (student.head8.forward(encoded.s8.clone()) - t8.clone()).square().mean()
        + (student.head16.forward(encoded.s16.clone()) - t16.clone()).square().mean();

    // Each stage weighs the same in the joined descriptor, whatever its number of channels.
    let joined = Tensor::cat(
        vec![
            t8.div_scalar((TEACHER_C8 as f32).sqrt()),
            upsample(t16.clone(), 2).div_scalar((TEACHER_C16 as f32).sqrt()),
        ],
        1,
    );
    let relation8 = relation(encoded.e8, unit_rows(joined), &batch.positions8, device);
    let relation16 = relation(encoded.e16, unit_rows(t16), &batch.positions16, device);
    features + (relation8 + relation16).mul_scalar(RELATION_WEIGHT)
}

pub(super) fn relation(
    student: Tensor<3>,
    teacher: Tensor<3>,
    positions: &[i64],
    device: &Device,
) -> Tensor<1> {
    let index =
        Tensor::<1, Int>::from_data(TensorData::new(positions.to_vec(), [positions.len()]), device);
    let (student, teacher) = (student.select(1, index.clone()), teacher.select(1, index));
    let rows = |t: Tensor<3>| {
        let [b, n, d] = t.dims();
        t.reshape([1, b * n, d])
    };
    let within = relation_loss(student.clone(), teacher.clone());
    relation_loss(rows(student), rows(teacher)) + within.mul_scalar(WITHIN_WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn student_embeddings_have_unit_rows() {
        let device = Device::flex();
        let encoder = Encoder::new(&NetConfig::TINY, &device);
        let x = Tensor::<4>::ones([1, 3, 64, 64], &device);
        let encoded = encoder.forward(x);
        assert_eq!(encoded.e8.dims(), [1, 64, NetConfig::TINY.embed8]);
        let length = encoded.e8.square().sum_dim(2).into_data().try_to_vec::<f32>().unwrap();
        assert!(length.iter().all(|l| (l - 1.0).abs() < 1e-2), "{length:?}");
    }
}
