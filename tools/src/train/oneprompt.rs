//! Training of the change head on synthetic pairs (methods/metauas.md sections 3 and 4). The
//! encoder comes from `train encoder` and stays frozen unless `--tune-encoder` says otherwise; or
//! from `import encoder`, and then it always does.

pub mod adapted;
mod pairs;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use clap::Args;

use super::average;
use super::batch::{Stack, normalised};
use super::begun::{self, Begun, Lineage};
use super::device::DeviceKind;
use super::encoder::Student;
use super::loss::{PixelWeights, change_loss, match_loss};
use super::run_folder::{RunFolder, RunState, command_line};
use crate::backbone::Backbone;
use crate::net::NetConfig;
use crate::net::encoder::{Encoded, Encoder};
use crate::net::oneprompt::{ChangeHead, OnePromptNet};
use crate::synth::ChangeKind;
use pairs::{PairNet, learn, synth};

/// The stage name of such a run.
pub const STAGE: &str = "oneprompt";

/// `touchstone-tools train oneprompt`
#[derive(Debug, Args)]
pub struct OnePromptArgs {
    /// Folder of pictures (a flat folder, or images/ objects/ textures/).
    #[arg(long)]
    pub pictures: PathBuf,
    /// Run folder of `train encoder` to take the encoder from, or folder of `import encoder`. Left
    /// out: a fresh one, which is then trained too.
    #[arg(long)]
    pub encoder: Option<PathBuf>,
    /// Run folder of an earlier `train oneprompt`, or model package, to start all weights from, or only
    /// the head's where --encoder names a newer encoder.
    #[arg(long)]
    pub from: Option<PathBuf>,
    /// Run folder: checkpoints, state, loss curve.
    #[arg(long)]
    pub out: PathBuf,
    /// Network of the family: s, m, l, or tiny. Left out: that of --encoder or --from, or m. Larger than
    /// that of --from, it grows, and says at first what it said before (m grows into l). With a foreign
    /// encoder it gives the widths of embeddings and decoder.
    #[arg(long, value_parser = NetConfig::by_name)]
    pub net: Option<NetConfig>,
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
    /// changed places must not. Only acts on an encoder, or adapters to a foreign one, that is
    /// trained.
    #[arg(long, default_value_t = 0.5)]
    pub match_weight: f32,
    /// Weight of a changed pixel against an unchanged one.
    #[arg(long, default_value_t = 2.0)]
    pub positive_weight: f32,
    /// Share of the unchanged pixels, the worst ones of each step, that count five times; 0.02 is a
    /// good one to try against false alarms, 0 is off.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub hard_negatives: f32,
    /// TOML file with the shares of what the pairs show, ranges of geometry and light. Left out: those
    /// of the shipped models.
    #[arg(long, value_name = "FILE")]
    pub synthesis: Option<PathBuf>,
    /// Kinds of change to leave out, to see what they are good for (ablation).
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub without: Vec<ChangeKind>,
    /// Seed of weights and pairs.
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

impl OnePromptArgs {
    fn weights(&self) -> PixelWeights {
        PixelWeights { positive: self.positive_weight, hard_negatives: self.hard_negatives }
    }
}

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
    ensure!((0.0..=1.0).contains(&args.hard_negatives), "--hard-negatives is a share from 0 to 1");
    synth(args)?;
    let device = args.device.open()?;
    if let Some(path) = args.encoder.as_ref().filter(|path| Backbone::is_at(path)) {
        return adapted::run(args, path, &device);
    }
    let folder = RunFolder::create(&args.out, args.resume)?;
    device.seed(args.seed);
    let Begun { net, model, lineage } = start(args, &device.clone().autodiff())?;
    let size = args.size;
    let read = Arc::new(move |pictures: &[&[u8]]| {
        let data = normalised(pictures.iter().copied(), size);
        Ok(Stack { shape: [pictures.len(), 3, size, size], data })
    });
    learn(args, &device, folder, plan(args, STAGE, net, lineage), model, read)
}

/// A run that is about to begin.
fn plan(args: &OnePromptArgs, stage: &str, net: NetConfig, lineage: Lineage) -> RunState {
    let Lineage { mut sources, trained_on } = lineage;
    sources.push(args.pictures.display().to_string());
    RunState {
        stage: stage.into(),
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
    }
}

fn start(args: &OnePromptArgs, device: &Device) -> Result<Begun<OnePromptNet>> {
    let from = args.from.as_ref();
    let from = from.map(|path| begun::network(path, args.encoder.is_some(), device));
    let from = from.transpose().context("--from")?;
    let Some(path) = &args.encoder else {
        if let Some(from) = from {
            return from.grown(args.net, device).context("--from");
        }
        let net = args.net.unwrap_or(NetConfig::M);
        let model = OnePromptNet::new(&net, device);
        return Ok(Begun { net, model, lineage: Lineage::default() });
    };
    let Begun { net, model: Student { encoder, .. }, mut lineage } =
        begun::distilled(path, device).context("--encoder")?;
    ensure!(
        args.net.is_none_or(|asked| asked == net),
        "--net and --encoder are of different networks"
    );
    let head = match from {
        Some(of_head) => {
            let of_head = of_head.grown(Some(net), device).context("--from, for --encoder")?;
            lineage.join(of_head.lineage);
            of_head.model.head
        }
        None => ChangeHead::new(&net, net.channels4(), device),
    };
    Ok(Begun { net, model: OnePromptNet { encoder, head }, lineage })
}

impl PairNet for OnePromptNet {
    type Pictures = Stack;

    fn logits(&self, pictures: Stack, device: &Device) -> Tensor<4> {
        let (q, p) = self.encoder.forward(pictures.tensor(device)).halves();
        self.head.forward(&q, &p)
    }

    fn step(
        self,
        args: &OnePromptArgs,
        optimizer: &mut ModuleOptimizer,
        lr: f64,
        (pictures, truth): (Stack, Stack),
        tape: &Device,
    ) -> (Self, Tensor<1>) {
        let (images, truth) = (pictures.tensor(tape), truth.tensor(tape));
        let fresh = args.encoder.is_none() && args.from.is_none();
        let encoder_share = if fresh { 1.0 } else { args.tune_encoder };
        if encoder_share <= 0.0 {
            let (q, p) = frozen(&self.encoder, images).halves();
            let loss = change_loss(self.head.forward(&q, &p), truth, args.weights());
            let mut gradients = loss.backward();
            let of_head = GradientsParams::from_module(&mut gradients, &self.head);
            let OnePromptNet { encoder, head } = self;
            let head = optimizer.step(lr, head, of_head);
            return (OnePromptNet { encoder, head }, loss);
        }
        let (q, p) = self.encoder.forward(images).halves();
        let judged = self.head.judge(&q, &p);
        let mismatch = match_loss(&judged.mismatch, truth.clone());
        let loss = change_loss(judged.logits, truth, args.weights())
            + mismatch.mul_scalar(args.match_weight);
        let mut gradients = loss.backward();
        let of_encoder = GradientsParams::from_module(&mut gradients, &self.encoder);
        let of_head = GradientsParams::from_module(&mut gradients, &self.head);
        let OnePromptNet { encoder, head } = self;
        let encoder = optimizer.step(lr * encoder_share, encoder, of_encoder);
        let head = optimizer.step(lr, head, of_head);
        (OnePromptNet { encoder, head }, loss)
    }
}

/// Encodes off the tape: a frozen encoder needs no graph, which halves a step's memory.
fn frozen(encoder: &Encoder, images: Tensor<4>) -> Encoded {
    encoder.valid().forward(images.inner()).onto_tape()
}
