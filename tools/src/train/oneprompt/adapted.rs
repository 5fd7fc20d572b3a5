//! The change head on an encoder that others trained, as the paper does it: the encoder is frozen,
//! only alignment and decoder learn, here with the adapters between them.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};

use super::super::batch::Stack;
use super::super::begun::Lineage;
use super::super::loss::{change_loss, match_loss};
use super::super::run_folder::{RunFolder, RunState};
use super::pairs::{PairNet, learn, synth};
use super::{OnePromptArgs, plan};
use crate::backbone::{Backbone, Extractor};
use crate::net::NetConfig;
use crate::net::adapted::{AdaptedNet, Standard};
use crate::net::levels::Levels;
use crate::progress;
use crate::synth::Library;

/// The stage name of such a run.
pub const STAGE: &str = "adapted";
/// Folder within the run that holds the encoder, so that the run needs nothing else.
const ENCODER: &str = "encoder";
/// Pairs from which the channels' numbers are taken before the first step.
const STATISTICS_PAIRS: u64 = 32;
/// The first of them; neither training nor validation reaches it.
const STATISTICS_FIRST: u64 = 1 << 41;
/// A channel that varies less than this share of the map's other channels is not blown up to
/// their size: it is dead, and what it shows later would be noise.
const DEVIATION_SHARE_MIN: f64 = 0.01;

pub(super) fn run(args: &OnePromptArgs, path: &Path, device: &Device) -> Result<()> {
    ensure!(
        args.from.is_none(),
        "--from does not go with an imported encoder; to go on with a run use --resume"
    );
    ensure!(
        args.tune_encoder <= 0.0,
        "--tune-encoder does not go with an imported encoder, which stays as it is"
    );
    let backbone = Backbone::open(path)?;
    let extractor =
        Arc::new(backbone.at(args.size).with_context(|| format!("--encoder {}", path.display()))?);
    let net = args.net.unwrap_or(NetConfig::M);
    let folder = RunFolder::create(&args.out, args.resume)?;
    device.seed(args.seed);
    let tape = device.clone().autodiff();
    let mut model = AdaptedNet::new(&net, backbone.channels(), &tape);
    if folder.state()?.is_none() {
        // A run that goes on has these numbers, and its encoder, already.
        let library = Library::open(&args.pictures, progress::decoding())?;
        model.standardise(statistics(&extractor, &library, args, &tape)?);
        backbone.write(&folder.path(ENCODER))?;
    }
    let described = backbone.description();
    let mut sources = described.sources.clone();
    sources.push(described.command.clone());
    let lineage = Lineage { sources, ..Lineage::default() };
    let plan = RunState { encoder: Some(backbone.id()), ..plan(args, STAGE, net, lineage) };
    let read = Arc::new(move |pictures: &[&[u8]]| extractor.maps(pictures));
    learn(args, device, folder, plan, model, read)
}

/// The network of such a run, with the encoder that it was trained on.
///
/// # Errors
/// The encoder in the run's folder is another one, or the weights do not fit.
pub fn load(
    folder: &RunFolder,
    state: &RunState,
    device: &Device,
) -> Result<(Backbone, AdaptedNet)> {
    let path = folder.path(ENCODER);
    let backbone = Backbone::open(&path)?;
    ensure!(
        state.encoder.as_ref() == Some(&backbone.id()),
        "{}: not the encoder that this run was trained on",
        path.display()
    );
    let model = folder.load(AdaptedNet::new(&state.net, backbone.channels(), device))?;
    Ok((backbone, model))
}

/// What brings every channel of the encoder to mean 0 and deviation 1, over pictures that training
/// never sees.
fn statistics(
    extractor: &Extractor,
    library: &Library,
    args: &OnePromptArgs,
    device: &Device,
) -> Result<Levels<Standard>> {
    let config = synth(args)?;
    let mut sums: Option<Levels<Moments>> = None;
    for index in 0..STATISTICS_PAIRS {
        let pair = library.pair(&config, STATISTICS_FIRST + index);
        let maps = extractor.maps(&[&pair.query, &pair.prompt])?;
        let fresh = maps.as_ref().map(|map| Moments::new(map.shape[1]));
        let so_far = sums.take().unwrap_or(fresh);
        sums = Some(so_far.zip(maps).map(|(sum, map)| sum.with(&map)));
    }
    let sums = sums.context("no pictures to measure the encoder on")?;
    sums.zip(extractor.names().clone()).try_map(|(sum, name)| {
        let (scale, shift) = sum.standard().with_context(|| format!("tensor '{name}'"))?;
        Ok(Standard::new(scale, shift, device))
    })
}

/// Sums over the cells of a map, per channel.
struct Moments {
    cells: usize,
    sums: Vec<[f64; 2]>,
}

impl Moments {
    fn new(channels: usize) -> Moments {
        Moments { cells: 0, sums: vec![[0.0; 2]; channels] }
    }

    fn with(mut self, map: &Stack) -> Moments {
        let [pictures, channels, height, width] = map.shape;
        let plane = height * width;
        self.cells += pictures * plane;
        for (index, values) in map.data.chunks_exact(plane).enumerate() {
            let [sum, squares] = &mut self.sums[index % channels];
            for value in values.iter().copied().map(f64::from) {
                *sum += value;
                *squares += value * value;
            }
        }
        self
    }

    /// Scale and shift of every channel.
    fn standard(&self) -> Result<(Vec<f32>, Vec<f32>)> {
        let cells = self.cells.max(1) as f64;
        let numbers = self.sums.iter().map(|[sum, squares]| {
            let mean = sum / cells;
            (mean, (squares / cells - mean * mean).max(0.0))
        });
        let numbers: Vec<(f64, f64)> = numbers.collect();
        let variance = numbers.iter().map(|n| n.1).sum::<f64>() / numbers.len().max(1) as f64;
        let least = DEVIATION_SHARE_MIN * variance.sqrt();
        ensure!(
            least.is_normal(),
            "is the same for every place and picture; choose another with `import encoder --outputs`"
        );
        let scaled = numbers.into_iter().map(|(mean, variance)| {
            let deviation = variance.sqrt().max(least);
            ((1.0 / deviation) as f32, (-mean / deviation) as f32)
        });
        Ok(scaled.unzip())
    }
}

impl PairNet for AdaptedNet {
    type Pictures = Levels<Stack>;

    fn logits(&self, pictures: Levels<Stack>, device: &Device) -> Tensor<4> {
        self.judge(pictures.map(|map| map.tensor(device))).logits
    }

    fn step(
        self,
        args: &OnePromptArgs,
        optimizer: &mut ModuleOptimizer,
        lr: f64,
        (pictures, truth): (Levels<Stack>, Stack),
        tape: &Device,
    ) -> (Self, Tensor<1>) {
        let judged = self.judge(pictures.map(|map| map.tensor(tape)));
        let truth = truth.tensor(tape);
        // The adapters make the patch embeddings, so the match term has something to act on.
        let mismatch = match_loss(&judged.mismatch, truth.clone());
        let loss = change_loss(judged.logits, truth, args.weights())
            + mismatch.mul_scalar(args.match_weight);
        let gradients = GradientsParams::from_grads(loss.backward(), &self);
        (optimizer.step(lr, self, gradients), loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_come_to_mean_0_and_deviation_1() {
        // Three channels over two pictures of two cells: 1 to 4, always 7, and 0 or 8.
        let map = Stack {
            shape: [2, 3, 1, 2],
            data: vec![1.0, 2.0, 7.0, 7.0, 0.0, 8.0, 3.0, 4.0, 7.0, 7.0, 8.0, 0.0],
        };
        let (scale, shift) = Moments::new(3).with(&map).standard().unwrap();
        let of = |channel: usize, value: f32| value * scale[channel] + shift[channel];
        assert!((of(0, 2.5)).abs() < 1e-6 && (of(2, 4.0)).abs() < 1e-6);
        assert!((of(2, 8.0) - 1.0).abs() < 1e-6 && (of(0, 4.0) - 1.341_640_8).abs() < 1e-5);
        assert!(of(1, 7.0).abs() < 1e-4, "a constant channel carries nothing");
        assert!(scale[1] < 100.0, "a dead channel is blown up by {}", scale[1]);
    }

    #[test]
    fn a_map_that_never_varies_is_refused() {
        let map = Stack { shape: [1, 2, 1, 2], data: vec![1.0, 1.0, 2.0, 2.0] };
        let refused = Moments::new(2).with(&map).standard().unwrap_err().to_string();
        assert!(refused.contains("is the same for every place"), "{refused}");
    }
}
