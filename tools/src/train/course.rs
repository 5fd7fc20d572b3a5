//! What every training has around its step: where it stands, its bar, its loss curve and its
//! checkpoints. A run that was stopped goes on from its last checkpoint.

use std::time::Instant;

use anyhow::{Result, ensure};
use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::tensor::Tensor;
use indicatif::ProgressBar;

use super::average::Average;
use super::report::{self, Pace};
use super::run_folder::{RunFolder, RunState};
use super::schedule;
use crate::progress;

/// Steps between points of the loss curve.
const POINT_EVERY: usize = 25;

/// A run under way.
pub struct Course<M> {
    folder: RunFolder,
    state: RunState,
    setting: Setting,
    bar: ProgressBar,
    /// The mean of the weights, where the run averages.
    average: Option<Average<M>>,
    /// Start of this session, and the run's steps and seconds before it.
    begun: Instant,
    before: (usize, f64),
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

/// How a run is saved, and what people are told of it.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Steps between checkpoints.
    pub every: usize,
    /// Go on with the run in the folder.
    pub resume: bool,
    /// What a step takes in, and how many of them.
    pub batch: (usize, &'static str),
    /// Pictures and textures that the run learns from.
    pub pictures: usize,
}

impl<M: Module> Course<M> {
    /// Starts `plan`, or goes on with the run of the folder: then weights, average, optimiser and
    /// history are those of its last checkpoint.
    pub fn begin(
        folder: RunFolder,
        plan: RunState,
        setting: Setting,
        (mut module, mut optimizer): (M, ModuleOptimizer),
    ) -> Result<(Self, M, ModuleOptimizer)> {
        let mut state = plan;
        let mut average = None;
        if let Some(saved) = folder.state()?.filter(|_| setting.resume) {
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
            if saved.ema > 0.0 && state.ema > 0.0 {
                average = Some(Average::of(&folder.load(module.clone())?, state.ema));
            }
            module = folder.load_raw(module, &saved)?;
            optimizer = folder.load_optimizer(optimizer)?;
            state = RunState { steps: state.steps, ema: state.ema, ..saved };
        }
        let bar = progress::bar(state.steps as u64, &state.stage);
        bar.set_position(state.step as u64);
        // What the bar has not seen done it must not count as fast.
        bar.reset_eta();
        let before = (state.step, state.seconds);
        let begun = Instant::now();
        let course =
            Course { folder, state, setting, bar, average, begun, before, sum: None, since: 0 };
        Ok((course, module, optimizer))
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

    /// Counts a step with its loss, `[1]` off the tape, and takes the weights after it into the
    /// average. True when a checkpoint is due.
    ///
    /// # Errors
    /// A loss that is no number.
    pub fn stepped(&mut self, loss: Tensor<1>, module: &M) -> Result<bool> {
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + loss,
            None => loss,
        });
        self.since += 1;
        self.state.step += 1;
        self.bar.inc(1);
        let step = self.state.step;
        self.average = match self.average.take() {
            Some(average) => Some(average.follow(module, step)),
            // Not before the first step: to look at weights that wait for their first use would draw
            // them in another order, and with --ema a seed would begin another training.
            None => (self.state.ema > 0.0).then(|| Average::of(module, self.state.ema)),
        };
        let due = step.is_multiple_of(self.setting.every.max(1)) || !self.runs();
        if (step.is_multiple_of(POINT_EVERY) || due)
            && let Some(sum) = self.sum.take()
        {
            let mean = f64::from(sum.into_scalar::<f32>()) / self.since as f64;
            ensure!(mean.is_finite(), "the loss became {mean} by step {step}; lower --lr");
            self.since = 0;
            self.state.history.push((step, mean, None));
            self.bar.set_message(format!("loss {mean:.4}, {}", self.pace()));
            log::info!("step {step} loss {mean:.4}");
        }
        Ok(due)
    }

    /// The weights to judge and to look at, off the tape: what [`Course::save`] saves for others.
    pub fn shown(&self, module: &M) -> M {
        self.average.as_ref().map_or_else(|| module.valid(), |average| average.module().clone())
    }

    /// Adds a validation loss to the newest point of the curve.
    pub fn validated(&mut self, loss: f64) {
        log::info!("step {} validation {loss:.4}", self.state.step);
        if let Some(point) = self.state.history.last_mut() {
            point.2 = Some(loss);
        }
    }

    /// Saves the run and its report, and says how it stands.
    pub fn save(&mut self, module: &M, optimizer: &ModuleOptimizer) -> Result<()> {
        self.state.seconds = self.before.1 + self.begun.elapsed().as_secs_f64();
        let average = self.average.as_ref().map(Average::module);
        self.folder.checkpoint(module, average, optimizer, &self.state)?;
        let pace = self.pace();
        let parameters = module.num_params();
        report::write(&self.folder, &self.state, &pace, parameters, self.setting.pictures)?;
        progress::say(&self.bar, &report::line(&self.state, &pace));
        Ok(())
    }

    /// How fast this session is.
    fn pace(&self) -> Pace {
        let steps = self.state.step - self.before.0;
        let left = self.state.steps.saturating_sub(self.state.step);
        Pace::of(steps, self.begun.elapsed(), left, self.setting.batch)
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

#[cfg(test)]
mod tests {
    use super::super::testing::Toy;
    use super::*;
    use crate::net::NetConfig;
    use burn::optim::GradientsParams;
    use burn::tensor::Device;
    use std::path::Path;

    const STEPS: usize = 12;
    const EVERY: usize = 5;

    fn plan(ema: f64) -> RunState {
        RunState {
            stage: "toy".into(),
            net: NetConfig::TINY,
            encoder: None,
            seed: 1,
            step: 0,
            steps: STEPS,
            command: "toy".into(),
            sources: Vec::new(),
            trained_on: Vec::new(),
            history: Vec::new(),
            ema,
            seconds: 0.0,
        }
    }

    /// Trains until `stop` steps are done, as if the machine then failed; gives the trained weights and
    /// those shown.
    fn train(dir: &Path, ema: f64, resume: bool, stop: usize) -> [Vec<f32>; 2] {
        let folder = RunFolder::create(dir, resume).expect("folder");
        let toy = Toy::of(&[1.0, -2.0, 0.5], &Device::flex().autodiff());
        let setting = Setting { every: EVERY, resume, batch: (1, "goals"), pictures: 0 };
        let (mut course, mut toy, mut optimizer) =
            Course::begin(folder, plan(ema), setting, (toy, adam_w(1e-2))).expect("begins");
        while course.runs() && course.step() < stop {
            let loss = toy.loss((course.step() % 3) as f32);
            let gradients = GradientsParams::from_grads(loss.backward(), &toy);
            toy = optimizer.step(course.rate(0.5), toy, gradients);
            if course.stepped(loss.inner(), &toy).expect("finite") {
                course.save(&toy, &optimizer).expect("saves");
            }
        }
        [toy.values(), course.shown(&toy).values()]
    }

    #[test]
    fn a_resumed_run_is_the_uninterrupted_one() {
        for ema in [0.0, 0.9] {
            let [whole, parted] = [0; 2].map(|_| tempfile::tempdir().expect("temp"));
            let want = train(whole.path(), ema, false, STEPS);
            // Two steps after the checkpoint are lost and made again.
            train(parted.path(), ema, false, EVERY + 2);
            let got = train(parted.path(), ema, true, STEPS);
            assert_eq!(got, want, "decay {ema}");
            assert_eq!(want[0] == want[1], ema == 0.0);
            // What others load is what was shown.
            let (folder, state) = RunFolder::open(parted.path()).expect("a run");
            let fresh = || Toy::of(&[0.0; 3], &Device::flex());
            assert_eq!(folder.load(fresh()).expect("weights").values(), want[1]);
            assert_eq!(folder.load_raw(fresh(), &state).expect("weights").values(), want[0]);
        }
    }

    #[test]
    fn an_average_does_not_change_the_training() {
        let [with, without] = [0.9, 0.0].map(|ema| {
            let temp = tempfile::tempdir().expect("temp");
            train(temp.path(), ema, false, STEPS)
        });
        assert_eq!(with[0], without[0]);
        assert_ne!(with[1], without[1]);
    }

    #[test]
    fn an_average_can_be_begun_and_ended_on_the_way() {
        let temp = tempfile::tempdir().expect("temp");
        train(temp.path(), 0.0, false, EVERY);
        let [raw, shown] = train(temp.path(), 0.9, true, 2 * EVERY);
        assert_ne!(raw, shown);
        let [again, same] = train(temp.path(), 0.0, true, 2 * EVERY);
        assert_eq!((&again, &same), (&raw, &raw));
    }

    #[test]
    fn a_run_older_than_averages_is_read() {
        let text = serde_json::to_string(&plan(0.0)).expect("text");
        let old = text.replace(",\"ema\":0.0,\"seconds\":0.0", "");
        assert_ne!(old, text);
        assert_eq!(serde_json::from_str::<RunState>(&old).expect("read"), plan(0.0));
    }
}
