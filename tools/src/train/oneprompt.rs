//! Training of the change head on synthetic pairs (methods/metauas.md sections 3 and 4). The
//! encoder comes from `train encoder` and stays frozen unless `--tune-encoder` says otherwise.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use clap::Args;

use super::batch::{self, Prefetch};
use super::course::{Course, Saving, adam_w};
use super::device::DeviceKind;
use super::encoder::{self, Student};
use super::loss::{change_loss, match_loss};
use super::run_folder::{RunFolder, RunState, command_line};
use crate::net::NetConfig;
use crate::net::encoder::{Encoded, Encoder};
use crate::net::oneprompt::{ChangeHead, OnePromptNet};
use crate::progress;
use crate::synth::{Library, Pair, SynthConfig};

/// The stage name of such a run.
pub const STAGE: &str = "oneprompt";

/// `touchstone-tools train oneprompt`
#[derive(Debug, Args)]
pub struct OnePromptArgs {
    /// Folder of pictures (a flat folder, or images/ objects/ textures/).
    #[arg(long)]
    pub pictures: PathBuf,
    /// Run folder of `train encoder` to take the encoder from. Left out: a fresh one, which is
    /// then trained too.
    #[arg(long)]
    pub encoder: Option<PathBuf>,
    /// Run folder of an earlier `train oneprompt` to start all weights from, or only the head's
    /// where --encoder names a newer encoder.
    #[arg(long)]
    pub from: Option<PathBuf>,
    /// Run folder: checkpoints, state, loss curve.
    #[arg(long)]
    pub out: PathBuf,
    /// Network of the family, when neither --encoder nor --from says: s, m, l, or tiny.
    #[arg(long, default_value = "m")]
    pub net: String,
    /// Side of a picture in pixels, a multiple of 16.
    #[arg(long, default_value_t = 256)]
    pub size: usize,
    /// Optimiser steps.
    #[arg(long, default_value_t = 4000)]
    pub steps: usize,
    /// Pairs per step.
    #[arg(long, default_value_t = 8)]
    pub batch: usize,
    /// Peak learning rate.
    #[arg(long, default_value_t = 1e-3)]
    pub lr: f64,
    /// Also train the encoder, at this share of the learning rate; 0 leaves it as it is. A fresh
    /// encoder is always trained, at the whole rate.
    #[arg(long, default_value_t = 0.0)]
    pub tune_encoder: f64,
    /// Weight of the match term: patches of unchanged places must match the prompt's, patches of
    /// changed places must not. Only acts on an encoder that is trained.
    #[arg(long, default_value_t = 0.5)]
    pub match_weight: f32,
    /// Weight of a changed pixel against an unchanged one.
    #[arg(long, default_value_t = 2.0)]
    pub positive_weight: f32,
    /// Seed of weights and pairs.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Steps between checkpoints and validations.
    #[arg(long, default_value_t = 250)]
    pub checkpoint: usize,
    /// Threads that make pairs.
    #[arg(long, default_value_t = 2)]
    pub workers: usize,
    /// Backend.
    #[arg(long, value_enum, default_value = "flex")]
    pub device: DeviceKind,
    /// Go on with the run in --out.
    #[arg(long)]
    pub resume: bool,
}

/// Pairs of the validation set. They come from indices that training never reaches.
const VALIDATION_PAIRS: usize = 64;
const VALIDATION_FIRST: u64 = 1 << 40;

/// Runs the training.
pub fn run(args: &OnePromptArgs) -> Result<()> {
    ensure!(
        args.size.is_multiple_of(16) && args.size >= 64,
        "--size must be a multiple of 16, at least 64"
    );
    ensure!(args.batch >= 1, "--batch must be at least 1");
    ensure!(
        args.tune_encoder.is_finite() && args.tune_encoder >= 0.0,
        "--tune-encoder is a share of the learning rate, 0 or more"
    );
    let device = args.device.open()?;
    let folder = RunFolder::create(&args.out, args.resume)?;
    device.seed(args.seed);
    let tape = device.clone().autodiff();
    let (net, mut sources, model) = start(args, &tape)?;
    let library = Arc::new(Library::open(&args.pictures, progress::decoding())?);
    let config = SynthConfig { size: args.size as u32, seed: args.seed, ..SynthConfig::default() };
    sources.push(args.pictures.display().to_string());
    let optimizer = adam_w(5e-4);
    let plan = RunState {
        stage: STAGE.into(),
        net,
        seed: args.seed,
        step: 0,
        steps: args.steps,
        command: command_line(),
        sources,
        history: Vec::new(),
    };
    let saving = Saving { every: args.checkpoint, resume: args.resume };
    let (mut course, mut model, mut optimizer) =
        Course::begin(folder, plan, saving, (model, optimizer))?;
    let validation: Vec<Pair> =
        (0..VALIDATION_PAIRS as u64).map(|i| library.pair(&config, VALIDATION_FIRST + i)).collect();
    let size = args.batch;
    let mut batches = Prefetch::start(args.workers, course.step(), move |step| {
        let first = (step * size) as u64;
        let pairs: Vec<Pair> = (0..size as u64).map(|i| library.pair(&config, first + i)).collect();
        PairBatch::of(&pairs, config.size as usize)
    });
    while course.runs() {
        let pairs = batches.take().context("the thread that prepares pairs died")?;
        let loss;
        (model, loss) =
            step(args, model, &mut optimizer, pairs.tensors(&tape), course.rate(args.lr));
        if course.stepped(loss.inner())? {
            course.validated(validate(&model, &validation, args, &device));
            course.save(&model, &optimizer)?;
            write_samples(course.folder(), &model, &validation, args, &device)?;
        }
    }
    course.end();
    Ok(())
}

/// Pairs as the network takes them, made in the threads that draw them.
struct PairBatch {
    size: usize,
    /// Queries, then prompts.
    images: Vec<f32>,
    truth: Vec<f32>,
}

impl PairBatch {
    fn of(pairs: &[Pair], size: usize) -> Self {
        let queries = pairs.iter().map(|p| p.query.as_slice());
        let prompts = pairs.iter().map(|p| p.prompt.as_slice());
        let truth = pairs.iter().flat_map(|p| &p.mask);
        PairBatch {
            size,
            images: batch::normalised(queries.chain(prompts), size),
            truth: truth.map(|&m| if m > 127 { 1.0 } else { 0.0 }).collect(),
        }
    }

    /// Pictures `[2 b, 3, size, size]` and truth `[b, 1, size, size]`.
    fn tensors(self, device: &Device) -> (Tensor<4>, Tensor<4>) {
        let size = self.size;
        let shape = [self.truth.len() / (size * size), 1, size, size];
        let truth = Tensor::from_data(TensorData::new(self.truth, shape), device);
        (batch::images_of(self.images, size, device), truth)
    }
}

fn start(args: &OnePromptArgs, device: &Device) -> Result<(NetConfig, Vec<String>, OnePromptNet)> {
    let mut begun = None;
    if let Some(from) = &args.from {
        let (folder, state) = RunFolder::open(from)?;
        ensure!(state.stage == STAGE, "--from {}: not a `train oneprompt` run", from.display());
        let fresh = OnePromptNet::new(&state.net, device);
        // An encoder that is replaced anyway may be of an older form.
        let model = match args.encoder {
            Some(_) => folder.load_common(fresh)?,
            None => folder.load(fresh)?,
        };
        begun = Some((state, model));
    }
    if let Some(path) = &args.encoder {
        let (folder, mut state) = RunFolder::open(path)?;
        ensure!(
            state.stage == encoder::STAGE,
            "--encoder {}: not a `train encoder` run",
            path.display()
        );
        let encoder = folder.load(Student::new(&state.net, device))?.encoder;
        let head = match begun {
            Some((of_head, model)) => {
                ensure!(of_head.net == state.net, "--from and --encoder are of different networks");
                let mut unheard = of_head.lineage();
                unheard.retain(|s| !state.sources.contains(s));
                state.sources.extend(unheard);
                model.head
            }
            None => ChangeHead::new(&state.net, state.net.channels4(), device),
        };
        begun = Some((state, OnePromptNet { encoder, head }));
    }
    let Some((state, model)) = begun else {
        let net = NetConfig::by_name(&args.net)?;
        return Ok((net, Vec::new(), OnePromptNet::new(&net, device)));
    };
    Ok((state.net, state.lineage(), model))
}

fn step(
    args: &OnePromptArgs,
    model: OnePromptNet,
    optimizer: &mut ModuleOptimizer,
    (images, truth): (Tensor<4>, Tensor<4>),
    lr: f64,
) -> (OnePromptNet, Tensor<1>) {
    let fresh = args.encoder.is_none() && args.from.is_none();
    let encoder_share = if fresh { 1.0 } else { args.tune_encoder };
    if encoder_share <= 0.0 {
        let (q, p) = frozen(&model.encoder, images).halves();
        let loss = change_loss(model.head.forward(&q, &p), truth, args.positive_weight);
        let mut gradients = loss.backward();
        let of_head = GradientsParams::from_module(&mut gradients, &model.head);
        let OnePromptNet { encoder, head } = model;
        let head = optimizer.step(lr, head, of_head);
        return (OnePromptNet { encoder, head }, loss);
    }
    let (q, p) = model.encoder.forward(images).halves();
    let judged = model.head.judge(&q, &p);
    let mismatch = match_loss(&judged.mismatch, truth.clone());
    let loss = change_loss(judged.logits, truth, args.positive_weight)
        + mismatch.mul_scalar(args.match_weight);
    let mut gradients = loss.backward();
    let of_encoder = GradientsParams::from_module(&mut gradients, &model.encoder);
    let of_head = GradientsParams::from_module(&mut gradients, &model.head);
    let OnePromptNet { encoder, head } = model;
    let encoder = optimizer.step(lr * encoder_share, encoder, of_encoder);
    let head = optimizer.step(lr, head, of_head);
    (OnePromptNet { encoder, head }, loss)
}

/// Encodes off the tape: a frozen encoder needs no graph, which halves a step's memory.
fn frozen(encoder: &Encoder, images: Tensor<4>) -> Encoded {
    encoder.valid().forward(images.inner()).onto_tape()
}

fn predict(model: &OnePromptNet, images: Tensor<4>) -> Tensor<4> {
    let (q, p) = model.encoder.forward(images).halves();
    model.head.forward(&q, &p)
}

fn validate(model: &OnePromptNet, pairs: &[Pair], args: &OnePromptArgs, device: &Device) -> f64 {
    let model = model.valid();
    let chunks = pairs.chunks(args.batch);
    let count = chunks.len() as f64;
    let total: f64 = chunks
        .map(|chunk| {
            let (images, truth) = PairBatch::of(chunk, args.size).tensors(device);
            let logits = predict(&model, images);
            f64::from(change_loss(logits, truth, args.positive_weight).into_scalar::<f32>())
        })
        .sum();
    total / count
}

/// Rows of prompt, query, truth, map from the validation set: people look, they don't read.
fn write_samples(
    folder: &RunFolder,
    model: &OnePromptNet,
    pairs: &[Pair],
    args: &OnePromptArgs,
    device: &Device,
) -> Result<()> {
    const ROWS: usize = 16;
    const COLUMNS: usize = 4;
    let model = model.valid();
    let size = args.size;
    let mut sheet = image::RgbImage::new((COLUMNS * size * 2) as u32, (ROWS / 2 * size) as u32);
    for (row, pair) in pairs.iter().take(ROWS).enumerate() {
        let (images, _) = PairBatch::of(std::slice::from_ref(pair), size).tensors(device);
        let logits = predict(&model, images);
        let map = sigmoid(logits)
            .into_data()
            .try_to_vec::<f32>()
            .map_err(|e| anyhow::anyhow!("{e:?}"))?;
        let grey = |i: usize, v: u8| (i, [v, v, v]);
        let (left, top) = ((row % 2) * COLUMNS * size, row / 2 * size);
        for i in 0..size * size {
            let rgb = |b: &[u8]| [b[3 * i], b[3 * i + 1], b[3 * i + 2]];
            let cells = [
                (0, rgb(&pair.prompt)),
                (1, rgb(&pair.query)),
                grey(2, pair.mask[i]),
                grey(3, (map[i] * 255.0) as u8),
            ];
            for (column, value) in cells {
                let x = (left + column * size + i % size) as u32;
                sheet.put_pixel(x, (top + i / size) as u32, image::Rgb(value));
            }
        }
    }
    let part = folder.path("samples.part.png");
    sheet.save(&part).with_context(|| format!("{}", part.display()))?;
    std::fs::rename(&part, folder.path("samples.png"))?;
    Ok(())
}
