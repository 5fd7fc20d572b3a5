//! A training run on disk: configuration, checkpoint, history, curve. A run can be stopped at
//! any moment and goes on from its last checkpoint.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::store::ModuleRecord;
use plotters::prelude::*;
use serde::{Deserialize, Serialize};

use crate::net::NetConfig;

/// What a run is and how far it got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunState {
    /// `encoder`, `oneprompt` or `adapted`.
    pub stage: String,
    /// The network.
    pub net: NetConfig,
    /// Which foreign encoder the run learns on ([`crate::backbone::Backbone::id`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// Seed of weights, views and pairs.
    pub seed: u64,
    /// Steps done.
    pub step: usize,
    /// Steps asked for.
    pub steps: usize,
    /// The command line, for the model card.
    pub command: String,
    /// What was trained on, for the model card.
    pub sources: Vec<String>,
    /// What the package that the run began with was trained on, in words with licences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trained_on: Vec<String>,
    /// (step, training loss averaged since the last point, validation loss).
    pub history: Vec<(usize, f64, Option<f64>)>,
    /// Decay of the average that the saved weights are; 0 where they are the trained ones themselves.
    /// Older runs have none.
    #[serde(default)]
    pub ema: f64,
    /// Seconds of training so far, over all its sessions.
    #[serde(default)]
    pub seconds: f64,
}

/// This process's command line, for the model card.
pub fn command_line() -> String {
    let mut words: Vec<String> = std::env::args().collect();
    if let Some(first) = words.first_mut() {
        *first = "touchstone-tools".into();
    }
    words.join(" ")
}

/// The folder of one run.
pub struct RunFolder {
    dir: PathBuf,
}

const STATE: &str = "state.json";
/// What everything reads: the averaged weights where the run averages.
const WEIGHTS: &str = "weights.bpk";
/// The trained weights themselves, where those of [`WEIGHTS`] are an average: the run goes on from them.
const RAW: &str = "raw.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const CURVE: &str = "curve.png";
/// Prompt, query, truth and map of some validation pairs; only runs with a change head have it.
pub const SAMPLES: &str = "samples.png";

impl RunFolder {
    /// Opens or creates `dir`. Without `resume` an existing run is refused, not overwritten.
    pub fn create(dir: &Path, resume: bool) -> Result<Self> {
        fs::create_dir_all(dir)
            .with_context(|| format!("run folder {}: cannot be made", dir.display()))?;
        let folder = RunFolder { dir: dir.to_owned() };
        if folder.path(STATE).exists() && !resume {
            bail!(
                "{} holds a run already; go on with --resume or name another folder",
                dir.display()
            );
        }
        Ok(folder)
    }

    /// Opens a finished or stopped run for reading, with its state.
    pub fn open(dir: &Path) -> Result<(Self, RunState)> {
        let folder = RunFolder { dir: dir.to_owned() };
        let state = folder.state()?.with_context(|| {
            format!("{}: no training run here ({STATE} is missing)", dir.display())
        })?;
        Ok((folder, state))
    }

    /// A file of the run.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The saved state, if any.
    pub fn state(&self) -> Result<Option<RunState>> {
        let path = self.path(STATE);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        let state = serde_json::from_str(&text)
            .with_context(|| format!("{}: not a run state of this version", path.display()))?;
        Ok(Some(state))
    }

    /// Loads the weights of this run into `module`: the averaged ones, where it averages.
    pub fn load<M: Module>(&self, module: M) -> Result<M> {
        self.load_file(WEIGHTS, module)
    }

    /// Loads the weights that the optimiser was at.
    pub fn load_raw<M: Module>(&self, module: M, state: &RunState) -> Result<M> {
        self.load_file(if state.ema > 0.0 { RAW } else { WEIGHTS }, module)
    }

    fn load_file<M: Module>(&self, name: &str, module: M) -> Result<M> {
        let path = self.path(name);
        module.try_load_file(&path).map_err(|e| {
            anyhow::anyhow!("{}: weights do not fit this network: {e}", path.display())
        })
    }

    /// Loads what this run and `module` have in common, by name and shape; the rest of the module
    /// stays as it is. Starts a training from a network with other heads.
    pub fn load_common<M: Module>(&self, module: M) -> Result<M> {
        let path = self.path(WEIGHTS);
        ModuleRecord::load(&path)
            .and_then(|r| {
                module.try_load_record(r.allow_partial(true).allow_unused(true).validate(false))
            })
            .map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))
    }

    /// Loads the optimiser's state.
    pub fn load_optimizer(&self, optimizer: ModuleOptimizer) -> Result<ModuleOptimizer> {
        let path = self.path(OPTIMIZER);
        optimizer.load(&path).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))
    }

    /// Writes a checkpoint: weights and optimiser first, the state that names them last, each
    /// under a temporary name until it is whole. `average` is what is saved as the run's weights,
    /// where there is one.
    pub fn checkpoint<M: Module>(
        &self,
        module: &M,
        average: Option<&M>,
        optimizer: &ModuleOptimizer,
        state: &RunState,
    ) -> Result<()> {
        let weights = |name: &str, module: &M| {
            self.write(name, |p| {
                module.clone().save_file(p).map_err(|e| anyhow::anyhow!("{}: {e}", p.display()))
            })
        };
        weights(WEIGHTS, average.unwrap_or(module))?;
        if average.is_some() {
            weights(RAW, module)?;
        }
        self.write(OPTIMIZER, |p| {
            optimizer.save(p).map_err(|e| anyhow::anyhow!("{}: {e}", p.display()))
        })?;
        self.write(CURVE, |p| draw_curve(p, &state.history))?;
        let text = serde_json::to_string_pretty(state)?;
        self.write(STATE, |p| fs::write(p, &text).with_context(|| format!("{}", p.display())))
    }

    /// Writes a file under a temporary name, which it keeps until it is whole.
    pub fn write(&self, name: &str, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let (stem, suffix) = name.split_once('.').unwrap_or((name, ""));
        let part = self.path(&format!("{stem}.part.{suffix}"));
        write(&part)?;
        fs::rename(&part, self.path(name))
            .with_context(|| format!("{}: cannot be written", self.path(name).display()))
    }
}

/// The loss curve as a PNG. Axes carry no text: plotters' fonts would need a system font
/// library; the numbers are in `state.json`.
fn draw_curve(path: &Path, history: &[(usize, f64, Option<f64>)]) -> Result<()> {
    let (Some(first), Some(last)) = (history.first(), history.last()) else {
        // A picture of nothing is still a picture: the first checkpoint may precede a point.
        let root = BitMapBackend::new(path, CURVE_SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        root.present()?;
        return Ok(());
    };
    let values = history.iter().flat_map(|h| std::iter::once(h.1).chain(h.2));
    let top = values.clone().fold(f64::MIN, f64::max);
    let bottom = values.fold(f64::MAX, f64::min);
    let top = if top > bottom { top } else { bottom + 1e-6 };
    let root = BitMapBackend::new(path, CURVE_SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let range = first.0 as f64..(last.0 as f64).max(first.0 as f64 + 1.0);
    let mut chart = ChartBuilder::on(&root).margin(20).build_cartesian_2d(range, bottom..top)?;
    let points = history.iter().map(|h| (h.0 as f64, h.1));
    chart.draw_series(LineSeries::new(points, &BLUE))?;
    let points = history.iter().filter_map(|h| h.2.map(|v| (h.0 as f64, v)));
    chart.draw_series(LineSeries::new(points, &RED))?;
    root.present()?;
    Ok(())
}

const CURVE_SIZE: (u32, u32) = (960, 540);
