//! The course of a training on change pairs, whatever the network makes of pictures.

use std::sync::Arc;

use anyhow::{Context, Result};
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};

use super::super::batch::{Prefetch, Stack};
use super::super::course::{Course, Setting, adam_w};
use super::super::loss::change_loss;
use super::super::run_folder::{RunFolder, RunState, SAMPLES};
use super::OnePromptArgs;
use crate::progress;
use crate::synth::{Library, Pair, SynthConfig};

/// Pairs of the validation set. They come from indices that training never reaches.
const VALIDATION_PAIRS: usize = 64;
const VALIDATION_FIRST: u64 = 1 << 40;
const WEIGHT_DECAY: f32 = 5e-4;

/// A network that change pairs can train.
pub(super) trait PairNet: Module {
    /// RGB8 pictures as the network takes them, queries stacked on prompts.
    type Pictures: Send + 'static;

    /// Change logits `[b, 1, h, w]`.
    fn logits(&self, pictures: Self::Pictures, device: &Device) -> Tensor<4>;

    /// One step of the optimiser towards the truth, `[b, 1, h, w]`; gives the loss too.
    fn step(
        self,
        args: &OnePromptArgs,
        optimizer: &mut ModuleOptimizer,
        lr: f64,
        batch: (Self::Pictures, Stack),
        tape: &Device,
    ) -> (Self, Tensor<1>);
}

/// Makes pictures what a network takes, in the threads that draw them.
pub(super) type Read<P> = Arc<dyn Fn(&[&[u8]]) -> Result<P> + Send + Sync>;

/// What training sees.
pub(super) fn synth(args: &OnePromptArgs) -> Result<SynthConfig> {
    let mut config = SynthConfig {
        size: args.size as u32,
        seed: args.seed,
        ..SynthConfig::read(args.synthesis.as_deref())?
    };
    config.without.extend(&args.without);
    config.check()?;
    Ok(config)
}

/// Trains `model` as `plan` says, or goes on with the run of `folder`.
pub(super) fn learn<N: PairNet>(
    args: &OnePromptArgs,
    device: &Device,
    folder: RunFolder,
    plan: RunState,
    model: N,
    read: Read<N::Pictures>,
) -> Result<()> {
    let tape = device.clone().autodiff();
    let library = Arc::new(Library::open(&args.pictures, progress::decoding())?);
    let config = synth(args)?;
    let setting = Setting {
        every: args.checkpoint,
        resume: args.resume,
        batch: (args.batch, "pairs"),
        pictures: library.count(),
    };
    let (mut course, mut model, mut optimizer) =
        Course::begin(folder, plan, setting, (model, adam_w(WEIGHT_DECAY)))?;
    let pairs = (0..VALIDATION_PAIRS as u64).map(|i| library.pair(&config, VALIDATION_FIRST + i));
    let validation = Validation { pairs: pairs.collect(), read: read.clone(), device };
    let size = args.batch;
    let mut batches = Prefetch::start(args.workers, course.step(), move |step| {
        let first = (step * size) as u64;
        let pairs: Vec<Pair> = (0..size as u64).map(|i| library.pair(&config, first + i)).collect();
        batch(&pairs, config.size as usize, &read)
    });
    while course.runs() {
        let pairs = batches.take().context("the thread that prepares pairs died")??;
        let loss;
        (model, loss) = model.step(args, &mut optimizer, course.rate(args.lr), pairs, &tape);
        if course.stepped(loss.inner(), &model)? {
            let shown = course.shown(&model);
            course.validated(validation.loss(&shown, args)?);
            validation.write_samples(course.folder(), &shown, args.size)?;
            course.save(&model, &optimizer)?;
        }
    }
    course.end();
    Ok(())
}

/// Pictures and truth of some pairs.
fn batch<P>(pairs: &[Pair], size: usize, read: &Read<P>) -> Result<(P, Stack)> {
    let queries = pairs.iter().map(|p| p.query.as_slice());
    let prompts = pairs.iter().map(|p| p.prompt.as_slice());
    let pictures: Vec<&[u8]> = queries.chain(prompts).collect();
    let truth = pairs.iter().flat_map(|p| &p.mask);
    let truth = Stack {
        shape: [pairs.len(), 1, size, size],
        data: truth.map(|&m| if m > 127 { 1.0 } else { 0.0 }).collect(),
    };
    Ok((read(&pictures)?, truth))
}

struct Validation<'a, P> {
    pairs: Vec<Pair>,
    read: Read<P>,
    device: &'a Device,
}

impl<P: Send + 'static> Validation<'_, P> {
    fn loss<N: PairNet<Pictures = P>>(&self, model: &N, args: &OnePromptArgs) -> Result<f64> {
        let chunks = self.pairs.chunks(args.batch);
        let count = chunks.len() as f64;
        let mut total = 0.0;
        for chunk in chunks {
            let (pictures, truth) = batch(chunk, args.size, &self.read)?;
            let logits = model.logits(pictures, self.device);
            let loss = change_loss(logits, truth.tensor(self.device), args.weights().plain());
            total += f64::from(loss.into_scalar::<f32>());
        }
        Ok(total / count)
    }

    /// Rows of prompt, query, truth, map: people look, they don't read.
    fn write_samples<N: PairNet<Pictures = P>>(
        &self,
        folder: &RunFolder,
        model: &N,
        size: usize,
    ) -> Result<()> {
        const ROWS: usize = 16;
        const COLUMNS: usize = 4;
        let mut sheet = image::RgbImage::new((COLUMNS * size * 2) as u32, (ROWS / 2 * size) as u32);
        for (row, pair) in self.pairs.iter().take(ROWS).enumerate() {
            let (pictures, _) = batch(std::slice::from_ref(pair), size, &self.read)?;
            let logits = model.logits(pictures, self.device);
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
        folder
            .write(SAMPLES, |part| sheet.save(part).with_context(|| format!("{}", part.display())))
    }
}
