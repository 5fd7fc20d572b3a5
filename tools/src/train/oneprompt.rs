//! Training of the change head on synthetic pairs (methods/metauas.md sections 3 and 4). The
//! encoder comes from `train encoder` and stays frozen unless `--tune-encoder` says otherwise.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use clap::Args;

use super::batch::{self, Prefetch};
use super::device::DeviceKind;
use super::encoder::{HISTORY_EVERY, Student, command_line};
use super::loss::{change_loss, match_loss};
use super::run_folder::{RunFolder, RunState};
use super::schedule;
use crate::net::NetConfig;
use crate::net::encoder::{Encoded, Encoder};
use crate::net::oneprompt::{ChangeHead, OnePromptNet};
use crate::progress;
use crate::synth::{Library, Pair, SynthConfig};

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
    /// Run folder of an earlier `train oneprompt` to start all weights from.
    #[arg(long)]
    pub from: Option<PathBuf>,
    /// Run folder: checkpoints, state, loss curve.
    #[arg(long)]
    pub out: PathBuf,
    /// Network of the family, when neither --encoder nor --from says: m, or tiny.
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
    let (net, mut sources, mut model) = start(args, &tape)?;
    let library = Arc::new(Library::open(&args.pictures, progress::decoding())?);
    let config = SynthConfig { size: args.size as u32, seed: args.seed, ..SynthConfig::default() };
    sources.push(args.pictures.display().to_string());

    let mut optimizer = AdamWConfig::new()
        .with_weight_decay(5e-4)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(1.0)))
        .init();
    let mut state = RunState {
        stage: "oneprompt".into(),
        net,
        seed: args.seed,
        step: 0,
        steps: args.steps,
        command: command_line(),
        sources,
        history: Vec::new(),
    };
    if let Some(saved) = folder.state()?.filter(|_| args.resume) {
        ensure!(
            saved.net == net && saved.stage == "oneprompt",
            "{} is another run",
            args.out.display()
        );
        model = folder.load(model)?;
        optimizer = folder.load_optimizer(optimizer)?;
        state = RunState { steps: args.steps, ..saved };
    }
    let validation: Vec<Pair> =
        (0..VALIDATION_PAIRS as u64).map(|i| library.pair(&config, VALIDATION_FIRST + i)).collect();

    let size = args.batch;
    let (maker, pair_config) = (Arc::clone(&library), config.clone());
    let mut batches = Prefetch::start(args.workers, state.step, move |step| {
        let first = (step * size) as u64;
        (0..size as u64).map(|i| maker.pair(&pair_config, first + i)).collect::<Vec<Pair>>()
    });
    let bar = progress::bar(args.steps as u64, "change");
    bar.set_position(state.step as u64);
    let mut sum = 0.0;
    while state.step < args.steps {
        let pairs = batches.take().context("the thread that prepares pairs died")?;
        let value;
        (model, value) = step(args, model, &mut optimizer, &pairs, state.step, &tape);
        ensure!(value.is_finite(), "the loss became {value} at step {}; lower --lr", state.step);
        sum += value;
        state.step += 1;
        bar.inc(1);
        bar.set_message(format!("loss {value:.4}"));
        let at_checkpoint =
            state.step.is_multiple_of(args.checkpoint.max(1)) || state.step == args.steps;
        if state.step.is_multiple_of(HISTORY_EVERY) {
            let validated = at_checkpoint.then(|| validate(&model, &validation, args, &device));
            let mean = sum / HISTORY_EVERY as f64;
            if let Some(v) = validated {
                log::info!("step {} loss {mean:.4} validation {v:.4}", state.step);
            }
            state.history.push((state.step, mean, validated));
            sum = 0.0;
        }
        if at_checkpoint {
            folder.checkpoint(&model, &optimizer, &state)?;
            write_samples(&folder, &model, &validation, args, &device)?;
        }
    }
    bar.finish_and_clear();
    println!("change head trained for {} steps: {}", state.step, args.out.display());
    Ok(())
}

fn start(args: &OnePromptArgs, device: &Device) -> Result<(NetConfig, Vec<String>, OnePromptNet)> {
    if let Some(from) = &args.from {
        let folder = RunFolder::open(from)?;
        let state = folder.state()?.context("run without state")?;
        ensure!(
            state.stage == "oneprompt",
            "--from {}: not a `train oneprompt` run",
            from.display()
        );
        let model = folder.load(OnePromptNet::new(&state.net, device))?;
        let mut sources = state.sources;
        sources.push(state.command);
        return Ok((state.net, sources, model));
    }
    if let Some(encoder) = &args.encoder {
        let folder = RunFolder::open(encoder)?;
        let state = folder.state()?.context("run without state")?;
        ensure!(
            state.stage == "encoder",
            "--encoder {}: not a `train encoder` run",
            encoder.display()
        );
        let student = folder.load(Student::new(&state.net, device))?;
        let head = ChangeHead::new(&state.net, device);
        let mut sources = state.sources;
        sources.push(state.command);
        return Ok((
            state.net,
            sources,
            OnePromptNet { encoder: student.encoder, head, grain: None },
        ));
    }
    let net = NetConfig::by_name(&args.net)
        .with_context(|| format!("--net {}: the networks are m and tiny", args.net))?;
    Ok((net, Vec::new(), OnePromptNet::new(&net, device)))
}

fn tensors(pairs: &[Pair], size: usize, device: &Device) -> (Tensor<4>, Tensor<4>) {
    let queries = pairs.iter().map(|p| p.query.as_slice());
    let prompts = pairs.iter().map(|p| p.prompt.as_slice());
    let both: Vec<&[u8]> = queries.chain(prompts).collect();
    let truth: Vec<&[u8]> = pairs.iter().map(|p| p.mask.as_slice()).collect();
    (batch::images(&both, size, device), batch::masks(&truth, size, device))
}

fn step(
    args: &OnePromptArgs,
    model: OnePromptNet,
    optimizer: &mut ModuleOptimizer,
    pairs: &[Pair],
    step: usize,
    tape: &Device,
) -> (OnePromptNet, f64) {
    let lr = schedule::rate(args.lr, step, args.steps);
    let fresh = args.encoder.is_none() && args.from.is_none();
    let encoder_share = if fresh { 1.0 } else { args.tune_encoder };
    let (images, truth) = tensors(pairs, args.size, tape);
    if encoder_share <= 0.0 {
        let (q, p) = frozen(&model.encoder, images).halves();
        let loss = change_loss(model.head.forward(&q, &p), truth, args.positive_weight);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        return (optimizer.step(lr, model, gradients), f64::from(loss.into_scalar::<f32>()));
    }
    let (q, p) = model.encoder.forward(images).halves();
    let judged = model.head.judge(&q, &p);
    let mismatch = match_loss(&judged.mismatch, truth.clone());
    let loss = change_loss(judged.logits, truth, args.positive_weight)
        + mismatch.mul_scalar(args.match_weight);
    let mut gradients = loss.backward();
    let of_encoder = GradientsParams::from_module(&mut gradients, &model.encoder);
    let of_head = GradientsParams::from_module(&mut gradients, &model.head);
    let OnePromptNet { encoder, head, grain } = model;
    let encoder = optimizer.step(lr * encoder_share, encoder, of_encoder);
    let head = optimizer.step(lr, head, of_head);
    (OnePromptNet { encoder, head, grain }, f64::from(loss.into_scalar::<f32>()))
}

/// Encodes off the tape: a frozen encoder needs no graph, which halves a step's memory.
fn frozen(encoder: &Encoder, images: Tensor<4>) -> Encoded {
    let encoded = encoder.valid().forward(images.inner());
    Encoded {
        s4: Tensor::from_inner(encoded.s4),
        s8: Tensor::from_inner(encoded.s8),
        s16: Tensor::from_inner(encoded.s16),
        e8: Tensor::from_inner(encoded.e8),
        e16: Tensor::from_inner(encoded.e16),
    }
}

fn predict(model: &OnePromptNet, pairs: &[Pair], size: usize, device: &Device) -> Tensor<4> {
    let (images, _) = tensors(pairs, size, device);
    let (q, p) = model.encoder.forward(images).halves();
    model.head.forward(&q, &p)
}

fn validate(model: &OnePromptNet, pairs: &[Pair], args: &OnePromptArgs, device: &Device) -> f64 {
    let model = model.valid();
    let chunks = pairs.chunks(args.batch);
    let count = chunks.len() as f64;
    let total: f64 = chunks
        .map(|chunk| {
            let logits = predict(&model, chunk, args.size, device);
            let (_, truth) = tensors(chunk, args.size, device);
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
        let logits = predict(&model, std::slice::from_ref(pair), size, device);
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
