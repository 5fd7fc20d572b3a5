//! What every training has around its step: where it stands, its bar, its loss curve and its
//! checkpoints. A run that was stopped goes on from its last checkpoint.

use anyhow::{Result, ensure};
use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::tensor::Tensor;
use indicatif::ProgressBar;

use super::run_folder::{RunFolder, RunState};
use super::schedule;
use crate::progress;

/// Steps between points of the loss curve.
const POINT_EVERY: usize = 25;

/// A run under way.
pub struct Course {
    folder: RunFolder,
    state: RunState,
    bar: ProgressBar,
    checkpoint: usize,
    /// Sum of the losses since the last point and their number. It stays on the device: reading
    /// every loss would make a GPU wait for this thread at every step.
    sum: Option<Tensor<1>>,
    since: usize,
}

/// The optimiser of every training.
pub fn adam_w(weight_decay: f32) -> ModuleOptimizer {
    AdamWConfig::new()
        .with_weight_decay(weight_decay)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(1.0)))
        .init()
}

/// How often a run is saved, and whether it starts from what was saved.
#[derive(Debug, Clone, Copy)]
pub struct Saving {
    /// Steps between checkpoints.
    pub every: usize,
    /// Go on with the run in the folder.
    pub resume: bool,
}

impl Course {
    /// Starts `plan`, or goes on with the run of the folder: then weights, optimiser and history
    /// are those of its last checkpoint.
    pub fn begin<M: Module>(
        folder: RunFolder,
        plan: RunState,
        saving: Saving,
        (mut module, mut optimizer): (M, ModuleOptimizer),
    ) -> Result<(Course, M, ModuleOptimizer)> {
        let mut state = plan;
        if let Some(saved) = folder.state()?.filter(|_| saving.resume) {
            ensure!(
                saved.net == state.net && saved.stage == state.stage,
                "{} is another run",
                folder.path("").display()
            );
            ensure!(
                saved.encoder == state.encoder,
                "{} was begun on another encoder: {}, not {}",
                folder.path("").display(),
                saved.encoder.as_deref().unwrap_or("its own"),
                state.encoder.as_deref().unwrap_or("its own")
            );
            module = folder.load(module)?;
            optimizer = folder.load_optimizer(optimizer)?;
            state = RunState { steps: state.steps, ..saved };
        }
        let bar = progress::bar(state.steps as u64, &state.stage);
        bar.set_position(state.step as u64);
        let checkpoint = saving.every.max(1);
        Ok((Course { folder, state, bar, checkpoint, sum: None, since: 0 }, module, optimizer))
    }

    /// Steps done.
    pub fn step(&self) -> usize {
        self.state.step
    }

    /// Whether steps are left.
    pub fn runs(&self) -> bool {
        self.state.step < self.state.steps
    }

    /// Learning rate of the coming step.
    pub fn rate(&self, peak: f64) -> f64 {
        schedule::rate(peak, self.state.step, self.state.steps)
    }

    /// Counts a step with its loss, `[1]` off the tape. True when a checkpoint is due.
    ///
    /// # Errors
    /// A loss that is no number.
    pub fn stepped(&mut self, loss: Tensor<1>) -> Result<bool> {
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + loss,
            None => loss,
        });
        self.since += 1;
        self.state.step += 1;
        self.bar.inc(1);
        let step = self.state.step;
        let due = step.is_multiple_of(self.checkpoint) || !self.runs();
        if (step.is_multiple_of(POINT_EVERY) || due)
            && let Some(sum) = self.sum.take()
        {
            let mean = f64::from(sum.into_scalar::<f32>()) / self.since as f64;
            ensure!(mean.is_finite(), "the loss became {mean} by step {step}; lower --lr");
            self.since = 0;
            self.bar.set_message(format!("loss {mean:.4}"));
            log::info!("step {step} loss {mean:.4}");
            self.state.history.push((step, mean, None));
        }
        Ok(due)
    }

    /// Adds a validation loss to the newest point of the curve.
    pub fn validated(&mut self, loss: f64) {
        log::info!("step {} validation {loss:.4}", self.state.step);
        if let Some(point) = self.state.history.last_mut() {
            point.2 = Some(loss);
        }
    }

    /// Saves the run.
    pub fn save<M: Module>(&self, module: &M, optimizer: &ModuleOptimizer) -> Result<()> {
        self.folder.checkpoint(module, optimizer, &self.state)
    }

    /// The run's folder.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Ends the bar and says where the run lies.
    pub fn end(self) {
        self.bar.finish_and_clear();
        println!(
            "{} trained for {} steps: {}",
            self.state.stage,
            self.state.step,
            self.folder.path("").display()
        );
    }
}
