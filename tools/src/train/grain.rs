//! Training of the stride-4 embedding ([`crate::net::grain`]) by distillation, on a network that
//! is otherwise done and stays as it is: own features predict the teacher's at stride 4, and the
//! cosine between any two embeddings must be that of the teacher's three strides joined.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use clap::Args;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::batch::{self, Prefetch};
use super::device::DeviceKind;
use super::encoder::{
    HISTORY_EVERY, RELATION_WEIGHT, command_line, relation, sample, standardised,
};
use super::features::Cache;
use super::run_folder::{RunFolder, RunState};
use super::teacher::{TEACHER_C4, TEACHER_C8, TEACHER_C16, Teacher};
use super::{augment, schedule};
use crate::net::NetConfig;
use crate::net::encoder::{conv, unit_rows};
use crate::net::grain::Grain;
use crate::net::oneprompt::OnePromptNet;
use crate::net::upsample::upsample;
use crate::progress;
use crate::synth::{Library, SynthConfig};

/// The stage name of such a run.
pub const STAGE: &str = "grain";
/// Cells per picture whose cosines are compared.
const SAMPLED: usize = 96;

/// `touchstone-tools train grain`
#[derive(Debug, Args)]
pub struct GrainArgs {
    /// Folder of pictures (a flat folder, or images/ objects/ textures/).
    #[arg(long)]
    pub pictures: PathBuf,
    /// Frozen teacher: EfficientNet-B4 weights as safetensors.
    #[arg(long)]
    pub teacher: PathBuf,
    /// Run folder of `train oneprompt` that the branch is added to; its weights stay.
    #[arg(long)]
    pub from: PathBuf,
    /// Run folder: checkpoints, state, loss curve.
    #[arg(long)]
    pub out: PathBuf,
    /// Network of the family that says how wide the branch is.
    #[arg(long, default_value = "m")]
    pub net: String,
    /// Different views on which the teacher is asked once.
    #[arg(long, default_value_t = 1600)]
    pub views: usize,
    /// Side of a view in pixels, a multiple of 16.
    #[arg(long, default_value_t = 192)]
    pub size: usize,
    /// Optimiser steps.
    #[arg(long, default_value_t = 2000)]
    pub steps: usize,
    /// Views per step.
    #[arg(long, default_value_t = 8)]
    pub batch: usize,
    /// Peak learning rate.
    #[arg(long, default_value_t = 2e-3)]
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

/// The whole network with the head that only this distillation needs.
#[derive(Module, Debug)]
pub struct GrainStudent {
    /// The network; only its branch learns.
    pub net: OnePromptNet,
    head4: Conv2d,
}

impl GrainStudent {
    /// A fresh branch beside `net`.
    pub fn new(mut net: OnePromptNet, config: &NetConfig, device: &Device) -> Self {
        net.grain = Some(Grain::new(config, device));
        GrainStudent { net, head4: conv(config.grain, TEACHER_C4, 1, 0.5, device) }
    }
}

struct Batch {
    pictures: Vec<Vec<u8>>,
    t4: Vec<f32>,
    t8: Vec<f32>,
    t16: Vec<f32>,
    positions: Vec<i64>,
}

/// Runs the distillation.
pub fn run(args: &GrainArgs) -> Result<()> {
    ensure!(
        args.size.is_multiple_of(16) && args.size >= 64,
        "--size must be a multiple of 16, at least 64"
    );
    ensure!(args.batch >= 1 && args.views >= args.batch, "--views must be at least --batch");
    let branch = NetConfig::by_name(&args.net)
        .with_context(|| format!("--net {}: the networks are m and tiny", args.net))?;
    let device = args.device.open()?;
    let folder = RunFolder::create(&args.out, args.resume)?;
    device.seed(args.seed);
    let tape = device.clone().autodiff();
    let base = RunFolder::open(&args.from)?;
    let before = base.state()?.context("run without state")?;
    let net = before.net.with_grain_of(&branch);
    let mut student = GrainStudent::new(super::load_net(&base, &before, &tape)?, &net, &tape);

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

    let mut optimizer = AdamWConfig::new()
        .with_weight_decay(1e-4)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(1.0)))
        .init();
    let mut sources = before.sources;
    sources.push(before.command);
    sources.push(args.pictures.display().to_string());
    sources.push(args.teacher.display().to_string());
    let mut state = RunState {
        stage: STAGE.into(),
        net,
        seed: args.seed,
        step: 0,
        steps: args.steps,
        command: command_line(),
        sources,
        history: Vec::new(),
    };
    if let Some(saved) = folder.state()?.filter(|_| args.resume) {
        ensure!(saved.net == net && saved.stage == STAGE, "{} is another run", args.out.display());
        student = folder.load(student)?;
        optimizer = folder.load_optimizer(optimizer)?;
        state = RunState { steps: args.steps, ..saved };
    }

    let cache = Arc::new(cache);
    let maker = Arc::clone(&cache);
    let (seed, size) = (args.seed, args.batch);
    let mut batches =
        Prefetch::start(1, state.step, move |step| make_batch(&maker, seed, step, size));
    let bar = progress::bar(args.steps as u64, "grain");
    bar.set_position(state.step as u64);
    let mut sum = 0.0;
    while state.step < args.steps {
        let batch = batches.take().context("the thread that prepares batches died")?;
        let loss = loss(&student, &batch, cache.size, &tape)?;
        let mut gradients = loss.backward();
        let lr = schedule::rate(args.lr, state.step, args.steps);
        let GrainStudent { mut net, head4 } = student;
        let of_head = GradientsParams::from_module(&mut gradients, &head4);
        if let Some(grain) = net.grain.take() {
            let of_grain = GradientsParams::from_module(&mut gradients, &grain);
            net.grain = Some(optimizer.step(lr, grain, of_grain));
        }
        student = GrainStudent { net, head4: optimizer.step(lr, head4, of_head) };
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
    println!("stride-4 embedding trained for {} steps: {}", state.step, args.out.display());
    Ok(())
}

fn make_batch(cache: &Cache, seed: u64, step: usize, size: usize) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9) ^ (step as u64));
    let side = cache.size;
    let mut batch = Batch {
        pictures: Vec::new(),
        t4: Vec::new(),
        t8: Vec::new(),
        t16: Vec::new(),
        positions: sample(&mut rng, side / 4, SAMPLED),
    };
    for _ in 0..size {
        let i = rng.random_range(0..cache.views());
        let flip = rng.random_bool(0.5);
        let mut picture = cache.pictures[i * cache.len_picture()..][..cache.len_picture()].to_vec();
        if flip {
            augment::mirror(&mut picture, side, 3);
        }
        augment::jitter_light(&mut picture, &mut rng);
        batch.pictures.push(picture);
        let strides = [
            (&mut batch.t4, &cache.f4, cache.len4(), &cache.norm4, side / 4),
            (&mut batch.t8, &cache.f8, cache.len8(), &cache.norm8, side / 8),
            (&mut batch.t16, &cache.f16, cache.len16(), &cache.norm16, side / 16),
        ];
        for (out, all, len, norm, side) in strides {
            out.extend(standardised(&all[i * len..][..len], norm, side, flip));
        }
    }
    batch
}

fn loss(student: &GrainStudent, batch: &Batch, size: usize, tape: &Device) -> Result<Tensor<1>> {
    let b = batch.pictures.len();
    let slices: Vec<&[u8]> = batch.pictures.iter().map(Vec::as_slice).collect();
    let images = batch::images(&slices, size, tape);
    // The trunk is frozen: no tape for it.
    let s8 = Tensor::from_inner(student.net.encoder.valid().forward(images.clone().inner()).s8);
    let grain = student.net.grain.as_ref().context("a network without the branch")?;
    let own = grain.features(images);
    let e4 = grain.embedding(own.clone(), s8);
    let truth = |data: &[f32], channels: usize, side: usize| {
        Tensor::<4>::from_data(TensorData::new(data.to_vec(), [b, channels, side, side]), tape)
    };
    let t4 = truth(&batch.t4, TEACHER_C4, size / 4);
    let features = (student.head4.forward(own) - t4.clone()).square().mean();
    // Each stride weighs the same in the joined descriptor, whatever its number of channels.
    let share = |t: Tensor<4>, channels: usize| t.div_scalar((channels as f32).sqrt());
    let joined = Tensor::cat(
        vec![
            share(t4, TEACHER_C4),
            share(upsample(truth(&batch.t8, TEACHER_C8, size / 8), 2), TEACHER_C8),
            share(upsample(truth(&batch.t16, TEACHER_C16, size / 16), 4), TEACHER_C16),
        ],
        1,
    );
    let relation = relation(e4, unit_rows(joined), &batch.positions, tape);
    Ok(features + relation.mul_scalar(RELATION_WEIGHT))
}
