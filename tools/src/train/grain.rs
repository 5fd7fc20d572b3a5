//! More training for the patch descriptor of a network that is otherwise done: only the branch of
//! [`crate::net::grain`] learns, and only what the teacher says at strides 4 and 8. The change head
//! sees the branch's features, so it wants some steps of `train oneprompt --from` afterwards.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use clap::Args;

use super::batch::{self, Prefetch};
use super::begun::{self, Begun, Lineage};
use super::course::{Course, Setting, adam_w};
use super::device::DeviceKind;
use super::encoder::{config, make_batch, statistics, surface_loss};
use super::oneprompt::STAGE;
use super::run_folder::{RunFolder, RunState, command_line};
use super::teacher::Teacher;
use crate::net::encoder::Encoded;
use crate::net::oneprompt::OnePromptNet;
use crate::progress;
use crate::synth::Library;

/// `touchstone-tools train grain`
#[derive(Debug, Args)]
pub struct GrainArgs {
    /// Folder of pictures (a flat folder, or images/ objects/ textures/).
    #[arg(long)]
    pub pictures: PathBuf,
    /// Frozen teacher: EfficientNet-B4 weights as safetensors.
    #[arg(long)]
    pub teacher: PathBuf,
    /// Run folder of `train oneprompt`, or model package, whose branch is trained on; its other
    /// weights stay.
    #[arg(long)]
    pub from: PathBuf,
    /// Run folder: checkpoints, state, loss curve.
    #[arg(long)]
    pub out: PathBuf,
    /// Side of a picture in pixels, a multiple of 16.
    #[arg(long, default_value_t = 192)]
    pub size: usize,
    /// Optimiser steps.
    #[arg(long, default_value_t = 2000)]
    pub steps: usize,
    /// Pictures per step, an even number.
    #[arg(long, default_value_t = 8)]
    pub batch: usize,
    /// Peak learning rate.
    #[arg(long, default_value_t = 2e-3)]
    pub lr: f64,
    /// Seed of pictures and order.
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

/// Runs the training.
pub fn run(args: &GrainArgs) -> Result<()> {
    ensure!(
        args.size.is_multiple_of(16) && args.size >= 64,
        "--size must be a multiple of 16, at least 64"
    );
    ensure!(args.batch >= 2 && args.batch.is_multiple_of(2), "--batch must be even, at least 2");
    let device = args.device.open()?;
    let folder = RunFolder::create(&args.out, args.resume)?;
    device.seed(args.seed);
    let tape = device.clone().autodiff();
    let Begun { net, model, lineage } =
        begun::network(&args.from, false, &tape).context("--from")?;
    let teacher = Teacher::open(&args.teacher, &device)?;
    let library = Arc::new(Library::open(&args.pictures, progress::decoding())?);
    let config = config(args.size, args.seed);
    let twos = args.batch / 2;
    let norms = statistics::<2>(&teacher, &library, &config, twos, &device)?;
    let optimizer = adam_w(1e-4);
    let Lineage { mut sources, trained_on } = lineage;
    sources.push(args.pictures.display().to_string());
    sources.push(args.teacher.display().to_string());
    let plan = RunState {
        // What comes out is a network like the one that went in.
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
        ema: 0.0,
        seconds: 0.0,
    };
    let setting = Setting {
        every: args.checkpoint,
        resume: args.resume,
        batch: (args.batch, "pictures"),
        pictures: library.count(),
    };
    let (mut course, mut model, mut optimizer) =
        Course::begin(folder, plan, setting, (model, optimizer))?;
    let mut batches =
        Prefetch::start(1, course.step(), move |step| make_batch(&library, &config, step, twos));
    while course.runs() {
        let batch = batches.take().context("the thread that prepares pictures died")?;
        let images = batch::images_of(batch.images, args.size, &device);
        let truth = norms.apply(teacher.features(images.clone()));
        let encoded = of_trunk(&model, images);
        let loss = surface_loss(&model.encoder.grain, &encoded, truth);
        let mut gradients = loss.backward();
        let of_grain = GradientsParams::from_module(&mut gradients, &model.encoder.grain);
        let grain = model.encoder.grain;
        model.encoder.grain = optimizer.step(course.rate(args.lr), grain, of_grain);
        if course.stepped(loss.inner(), &model)? {
            course.save(&model, &optimizer)?;
        }
    }
    course.end();
    Ok(())
}

/// The frozen trunk's features off the tape, the branch's own on it.
fn of_trunk(model: &OnePromptNet, images: Tensor<4>) -> Encoded {
    let mut encoded = model.encoder.valid().forward(images.clone()).onto_tape();
    encoded.g4 = model.encoder.grain.features(Tensor::from_inner(images));
    encoded
}
