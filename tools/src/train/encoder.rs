//! Encoder distillation: the student's stages predict the teacher's features, and the cosine
//! between any two of the student's patch embeddings must be the teacher's. The second term is
//! what makes nearest-neighbour distances and Student-t scores on the embeddings mean
//! something; the first teaches the trunk faster than cosines alone.
//!
//! Pictures come in twos, as the camera sees them: one part twice, under its own light each time,
//! often with a defect on one. What the teacher makes of the difference is the lesson.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use clap::Args;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::augment;
use super::average;
use super::batch::{self, Prefetch};
use super::begun::{self, Begun, Lineage};
use super::course::{Course, Setting, adam_w};
use super::device::DeviceKind;
use super::loss::{registered_loss, relation_loss};
use super::run_folder::{RunFolder, RunState, command_line};
use super::teacher::{Features, Norms, TEACHER_CHANNELS, Teacher};
use crate::net::NetConfig;
use crate::net::encoder::{Encoded, Encoder, conv, unit_rows};
use crate::net::grain::Grain;
use crate::net::upsample::upsample;
use crate::progress;
use crate::synth::{Library, SynthConfig};

/// The stage name of such a run.
pub const STAGE: &str = "encoder";

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
    /// Network of the family: s, m, l, or tiny for dry runs. Left out: that of --from, or m. Larger than
    /// that of --from, it grows, and says at first what it said before (m grows into l).
    #[arg(long, value_parser = NetConfig::by_name)]
    pub net: Option<NetConfig>,
    /// Run folder of an earlier `train encoder` or `train oneprompt`, or model package, to start from:
    /// every weight of its encoder that fits is taken.
    #[arg(long)]
    pub from: Option<PathBuf>,
    /// Side of a picture in pixels, a multiple of 16.
    #[arg(long, default_value_t = 256)]
    pub size: usize,
    /// Optimiser steps.
    #[arg(long, default_value_t = 4000)]
    pub steps: usize,
    /// Pictures per step, an even number.
    #[arg(long, default_value_t = 16)]
    pub batch: usize,
    /// Peak learning rate.
    #[arg(long, default_value_t = 1e-3)]
    pub lr: f64,
    /// Seed of weights, pictures and order.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Decay of a moving average of the weights, which is what is judged, shown and saved; 0 takes
    /// the weights as they are. The first steps decay faster.
    #[arg(
        long,
        value_name = "DECAY",
        default_value_t = average::DECAY,
        value_parser = average::parse_decay
    )]
    pub ema: f64,
    /// Steps between checkpoints.
    #[arg(long, default_value_t = 250)]
    pub checkpoint: usize,
    /// Threads that make pictures.
    #[arg(long, default_value_t = 1)]
    pub workers: usize,
    /// Backend.
    #[arg(long, value_enum, default_value = "flex")]
    pub device: DeviceKind,
    /// Go on with the run in --out.
    #[arg(long)]
    pub resume: bool,
}

/// The encoder with the head that only distillation needs; two more are its own readouts.
#[derive(Module, Debug)]
pub struct Student {
    /// The encoder.
    pub encoder: Encoder,
    /// 1x1 to the teacher's channels at stride 16.
    pub head16: Conv2d,
}

impl Student {
    /// Fresh weights.
    pub fn new(config: &NetConfig, device: &Device) -> Self {
        Student {
            encoder: Encoder::new(config, device),
            head16: conv(config.c16, TEACHER_CHANNELS[2], 1, 0.5, device),
        }
    }
}

/// Cells per picture whose cosines are compared, at strides 8 and 16.
const SAMPLED: [usize; 2] = [64, 24];
/// Weight of the cosine terms beside the feature terms.
const RELATION_WEIGHT: f32 = 10.0;
/// Weight of the cosines within one part's two pictures beside those over the whole batch. A
/// defect is told from its own surroundings, and of all pairs of cells those are only a few.
const WITHIN_WEIGHT: f32 = 2.0;
/// Half of the sampled cells lie in one window of this many cells a side, so that neighbours,
/// which differ least, are compared in every picture.
const WINDOW: usize = 8;
/// Share of the twos that are made as change pairs; the rest are one crop under two lights.
const PAIR_SHARE: f64 = 0.5;
/// Batches from which the teacher's channel statistics are taken before the first step.
const NORM_BATCHES: usize = 4;
/// Their numbers, which training never reaches.
const NORM_FIRST: usize = 1 << 40;

pub(super) struct Batch {
    /// First pictures of all twos, then the second ones.
    pub(super) images: Vec<f32>,
    positions: [Vec<i64>; 2],
}

/// Runs the distillation.
pub fn run(args: &EncoderArgs) -> Result<()> {
    ensure!(
        args.size.is_multiple_of(16) && args.size >= 64,
        "--size must be a multiple of 16, at least 64"
    );
    ensure!(args.batch >= 2 && args.batch.is_multiple_of(2), "--batch must be even, at least 2");
    let device = args.device.open()?;
    let folder = RunFolder::create(&args.out, args.resume)?;
    device.seed(args.seed);
    let teacher = Teacher::open(&args.teacher, &device)?;
    let library = Arc::new(Library::open(&args.pictures, progress::decoding())?);
    let config = config(args.size, args.seed);
    let twos = args.batch / 2;
    let norms = statistics::<3>(&teacher, &library, &config, twos, &device)?;

    let tape = device.clone().autodiff();
    let Begun { net, model: student, lineage } = start(args, &tape)?;
    let Lineage { mut sources, trained_on } = lineage;
    sources.push(args.pictures.display().to_string());
    sources.push(args.teacher.display().to_string());
    let optimizer = adam_w(1e-4);
    let plan = RunState {
        stage: STAGE.into(),
        net,
        encoder: None,
        seed: args.seed,
        step: 0,
        steps: args.steps,
        command: command_line(),
        sources,
        trained_on,
        history: Vec::new(),
        ema: args.ema,
        seconds: 0.0,
    };
    let setting = Setting {
        every: args.checkpoint,
        resume: args.resume,
        batch: (args.batch, "pictures"),
        pictures: library.count(),
    };
    let (mut course, mut student, mut optimizer) =
        Course::begin(folder, plan, setting, (student, optimizer))?;
    let mut batches = Prefetch::start(args.workers, course.step(), move |step| {
        make_batch(&library, &config, step, twos)
    });
    while course.runs() {
        let batch = batches.take().context("the thread that prepares pictures died")?;
        let images = batch::images_of(batch.images, args.size, &device);
        let truth = norms.apply(teacher.features(images.clone()));
        let loss = loss(&student, images, truth, &batch.positions);
        let gradients = GradientsParams::from_grads(loss.backward(), &student);
        student = optimizer.step(course.rate(args.lr), student, gradients);
        if course.stepped(loss.inner(), &student)? {
            course.save(&student, &optimizer)?;
        }
    }
    course.end();
    Ok(())
}

/// What distillation sees. No pair is seen close, as by change heads: that was not tried.
pub(super) fn config(size: usize, seed: u64) -> SynthConfig {
    SynthConfig { size: size as u32, seed, close_share: 0.0, ..SynthConfig::default() }
}

fn start(args: &EncoderArgs, device: &Device) -> Result<Begun<Student>> {
    if let Some(from) = &args.from {
        return begun::student(from, device)?.grown(args.net, device).context("--from");
    }
    let net = args.net.unwrap_or(NetConfig::M);
    Ok(Begun { net, model: Student::new(&net, device), lineage: Lineage::default() })
}

/// The teacher's channel statistics over pictures that training never sees.
pub(super) fn statistics<const N: usize>(
    teacher: &Teacher,
    library: &Library,
    config: &SynthConfig,
    twos: usize,
    device: &Device,
) -> Result<Norms<N>> {
    Norms::over((0..NORM_BATCHES).map(|i| {
        let batch = make_batch(library, config, NORM_FIRST + i, twos);
        teacher.features(batch::images_of(batch.images, config.size as usize, device))
    }))
}

pub(super) fn make_batch(
    library: &Library,
    config: &SynthConfig,
    step: usize,
    twos: usize,
) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed.wrapping_mul(0x9E37_79B9) ^ (step as u64));
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for i in 0..twos {
        let index = (step * twos + i) as u64;
        let (a, b) = if rng.random_bool(PAIR_SHARE) {
            let pair = library.pair(config, index);
            (pair.query, pair.prompt)
        } else {
            let mut a = library.view(config, index);
            let mut b = a.clone();
            augment::jitter_light(&mut a, &mut rng);
            augment::jitter_light(&mut b, &mut rng);
            (a, b)
        };
        first.push(a);
        second.push(b);
    }
    first.append(&mut second);
    let side = config.size as usize;
    let strides = [8, 16];
    Batch {
        images: batch::normalised(first.iter().map(Vec::as_slice), side),
        positions: std::array::from_fn(|i| sample(&mut rng, side / strides[i], SAMPLED[i])),
    }
}

/// Cells of a grid of `side` to compare: half anywhere, half in one window.
fn sample(rng: &mut ChaCha8Rng, side: usize, count: usize) -> Vec<i64> {
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

/// `images` and `truth` are off the tape, `truth` standardised per channel.
fn loss(
    student: &Student,
    images: Tensor<4>,
    truth: Features<3>,
    positions: &[Vec<i64>; 2],
) -> Tensor<1> {
    let on_tape = Tensor::<4>::from_inner;
    let encoded = student.encoder.forward(on_tape(images));
    let [f4, f8, f16] = truth;
    let mut total =
        (student.head16.forward(encoded.s16.clone()) - on_tape(f16.clone())).square().mean();
    total = total + surface_loss(&student.encoder.grain, &encoded, [f4, f8.clone()]);

    // Each stage weighs the same in a joined descriptor, whatever its number of channels.
    let share = |t: Tensor<4>| {
        let channels = t.dims()[1] as f32;
        t.div_scalar(channels.sqrt())
    };
    let (f8, f16) = (share(f8), share(f16));
    let joined8 = Tensor::cat(vec![f8, upsample(f16.clone(), 2)], 1);
    let levels = [(encoded.e8, joined8), (encoded.e16, f16)];
    for ((student, teacher), positions) in levels.into_iter().zip(positions) {
        let teacher = Tensor::<3>::from_inner(unit_rows(teacher));
        let relation = relation(student, teacher, positions);
        total = total + relation.mul_scalar(RELATION_WEIGHT);
    }
    total
}

/// How far the branch's readouts are from the teacher's features, which are off the tape.
pub(super) fn surface_loss(grain: &Grain, encoded: &Encoded, truth: Features<2>) -> Tensor<1> {
    let [fine, coarse] = grain.surfaces(encoded);
    let [f4, f8] = truth.map(Tensor::<4>::from_inner);
    (fine - f4).square().mean() + (coarse - f8).square().mean()
}

/// Rows are `[2 twos, cells, dim]`, first pictures before second ones.
fn relation(student: Tensor<3>, teacher: Tensor<3>, positions: &[i64]) -> Tensor<1> {
    let registered = registered_loss(halves(student.clone()), halves(teacher.clone()));
    let data = TensorData::new(positions.to_vec(), [positions.len()]);
    let index = Tensor::<1, Int>::from_data(data, &student.device());
    let (student, teacher) = (student.select(1, index.clone()), teacher.select(1, index));
    let rows = |t: &Tensor<3>| {
        let [b, n, d] = t.dims();
        t.clone().reshape([1, b * n, d])
    };
    let part = |t: Tensor<3>| {
        let [a, b] = halves(t);
        Tensor::cat(vec![a, b], 1)
    };
    relation_loss(rows(&student), rows(&teacher))
        + relation_loss(part(student), part(teacher)).mul_scalar(WITHIN_WEIGHT)
        + registered
}

fn halves(t: Tensor<3>) -> [Tensor<3>; 2] {
    let b = t.dims()[0] / 2;
    [t.clone().narrow(0, 0, b), t.narrow(0, b, b)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::grain::SURFACE;

    #[test]
    fn student_embeddings_have_unit_rows() {
        let device = Device::flex();
        let encoder = Encoder::new(&NetConfig::TINY, &device);
        let x = Tensor::<4>::ones([1, 3, 64, 64], &device);
        let encoded = encoder.forward(x);
        assert_eq!(encoded.e8.dims(), [1, 64, NetConfig::TINY.embed8]);
        let e4 = encoder.grain.descriptor(&encoded);
        assert_eq!(e4.dims(), [1, 256, SURFACE]);
        let lengths =
            |rows: Tensor<3>| rows.square().sum_dim(2).into_data().try_to_vec::<f32>().unwrap();
        assert!(lengths(encoded.e8).iter().all(|l| (l - 1.0).abs() < 1e-2));
        assert!(lengths(e4).iter().all(|l| (0.4..1.01).contains(l)));
    }
}
