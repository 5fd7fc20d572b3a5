//! What a client computes.

use anyhow::{Result, ensure};

use super::posterior::{Message, pool};
use super::protocol::{Fit, Mode, Reply, Request, Setup};
use super::shard::shard;
use crate::eval::metrics::auroc;
use crate::train::proto::closed::{ClosedForm, within};
use crate::train::proto::episode::{Counts, one_each};
use crate::train::proto::features::{FeatureSet, ProductFeatures, moments};
use crate::train::proto::head::Shape;
use crate::train::proto::inner::{Inner, adapted};
use crate::train::proto::learner::{Kind, Learner};
use crate::train::proto::moments::Standard;
use crate::train::proto::outer::{self, Adam, Setting, batch_gradient};

/// Most local episodes of one fit.
const EPISODES_MAX: usize = 10_000;
/// Most dimensions of an embedding.
const DIM_MAX: usize = 1024;
/// Most good parts taught.
const SHOTS_MAX: usize = 64;
/// Most steps of the inner loop.
const STEPS_MAX: usize = 64;
/// Seed of the episodes that measure: the same in every round.
const MEASURING_SEED: u64 = 0x4d45_4153;

/// A worker and its products.
#[derive(Debug, Clone)]
pub struct Worker {
    inputs: usize,
    /// To learn on.
    products: Vec<ProductFeatures>,
    /// To measure on.
    measured: Vec<ProductFeatures>,
    /// Keeps the episodes of clients apart.
    number: u64,
}

impl Worker {
    /// Client number `client` of `clients`: learns on its share of the training products and measures
    /// on validation products of the same kinds.
    ///
    /// # Errors
    /// A number that no client has.
    pub fn client(set: FeatureSet, client: usize, clients: usize) -> Result<Worker> {
        ensure!(client < clients, "--client {client}: there are {clients} clients, from 0");
        let products = shard(&set.train, client, clients);
        let kind = |p: &ProductFeatures| products.iter().any(|q| q.base == p.base);
        let measured = set.validation.into_iter().filter(kind).collect();
        Ok(Worker { inputs: set.inputs, products, measured, number: client as u64 + 1 })
    }

    /// The server's own: starts on validation products, measures on test products.
    pub fn server(set: FeatureSet) -> Worker {
        Worker { inputs: set.inputs, products: set.validation, measured: set.test, number: 0 }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// A request that does not fit this worker, products with too few parts, a loss that is no number.
    pub fn answer(&self, request: &Request) -> Result<Reply> {
        match request {
            Request::Describe {} => Ok(self.describe()),
            Request::Moments {} => {
                Ok(Reply::Moments { moments: moments(self.inputs, &self.products) })
            }
            Request::Start { setup } => {
                let learner = self.learner(setup)?;
                let values = outer::start(
                    &learner,
                    &self.products,
                    &setup.standard,
                    setup.shots,
                    setup.seed,
                )?;
                Ok(Reply::Values { values, episodes: 0, loss: 0.0 })
            }
            Request::Fit { setup, fit, parameters } => self.fit(setup, fit, parameters),
            Request::Evaluate { setup, parameters } => self.evaluate(setup, parameters),
            Request::Posterior {} => {
                let posterior = Message::of(&within(self.inputs, &self.products)?);
                Ok(Reply::Posterior { posterior })
            }
            Request::Merge { parts, shots } => self.merge(parts, *shots),
        }
    }

    fn describe(&self) -> Reply {
        let mut kinds: Vec<String> = self.products.iter().map(|p| p.base.clone()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        Reply::Description { inputs: self.inputs, products: self.products.len(), kinds }
    }

    fn learner(&self, setup: &Setup) -> Result<Learner> {
        ensure!((2..=DIM_MAX).contains(&setup.dim), "dim {}: 2 to {DIM_MAX}", setup.dim);
        ensure!((2..=SHOTS_MAX).contains(&setup.shots), "shots {}: 2 to {SHOTS_MAX}", setup.shots);
        ensure!(setup.inner_steps <= STEPS_MAX, "inner_steps: at most {STEPS_MAX}");
        let Standard { mean, scale } = &setup.standard;
        ensure!(
            mean.len() == self.inputs && scale.len() == self.inputs,
            "a standard of {} features, this worker's have {}",
            mean.len(),
            self.inputs
        );
        let shape = Shape { inputs: self.inputs, outputs: setup.dim };
        Learner::new(Kind::Bayes, shape, setup.shots)
    }

    fn checked(&self, setup: &Setup, parameters: &[f64]) -> Result<Learner> {
        let learner = self.learner(setup)?;
        ensure!(
            parameters.len() == learner.count(),
            "{} parameters, the learner has {}",
            parameters.len(),
            learner.count()
        );
        Ok(learner)
    }

    fn fit(&self, setup: &Setup, fit: &Fit, parameters: &[f64]) -> Result<Reply> {
        let learner = self.checked(setup, parameters)?;
        ensure!((1..=EPISODES_MAX).contains(&fit.episodes), "episodes: 1 to {EPISODES_MAX}");
        ensure!((1..=fit.episodes).contains(&fit.batch), "batch: 1 to the episodes");
        let data = (&self.products[..], &setup.standard);
        let setting = Setting {
            episodes: fit.episodes,
            batch: fit.batch,
            shots: setup.shots,
            rate: fit.lr,
            inner: inner(setup),
            order: fit.order,
            contrast: fit.contrast,
            // Clients and rounds draw from streams of their own.
            seed: setup.seed ^ (self.number << 40) ^ (fit.round << 20),
        };
        if fit.mode == Mode::Gradient {
            let numbers = (0, fit.episodes);
            let (loss, values) = batch_gradient(&learner, parameters, data, &setting, numbers)?;
            return Ok(Reply::Values { values, episodes: fit.episodes, loss });
        }
        let (mut values, mut adam) = (parameters.to_vec(), Adam::new(parameters.len()));
        let steps = fit.episodes.div_ceil(fit.batch);
        let mut sum = 0.0;
        for step in 0..steps {
            let numbers = ((step * fit.batch) as u64, fit.batch);
            let (loss, mut gradient) = batch_gradient(&learner, &values, data, &setting, numbers)?;
            for ((g, now), server) in gradient.iter_mut().zip(&values).zip(parameters) {
                *g += fit.proximal * (now - server);
            }
            adam.step(&mut values, &gradient, fit.lr);
            sum += loss;
        }
        Ok(Reply::Values { values, episodes: steps * fit.batch, loss: sum / steps as f64 })
    }

    fn evaluate(&self, setup: &Setup, parameters: &[f64]) -> Result<Reply> {
        let learner = self.checked(setup, parameters)?;
        let counts = Counts::measuring(setup.shots);
        let episodes = one_each(&self.measured, counts, &setup.standard, MEASURING_SEED)?;
        let inner = inner(setup);
        let mut area = 0.0;
        for episode in &episodes {
            let adapted = adapted(&learner, parameters, &episode.support, inner)?;
            let scores = learner.scores(&adapted, episode)?;
            let scores: Vec<f32> = scores.iter().map(|s| *s as f32).collect();
            area += auroc(&scores, &episode.defective)?;
        }
        let loss = outer::mean_loss(&learner, parameters, &episodes, inner)?;
        let count = episodes.len();
        Ok(Reply::Evaluation { auroc: area / count as f64, loss, episodes: count })
    }

    fn merge(&self, parts: &[Message], shots: usize) -> Result<Reply> {
        ensure!((2..=SHOTS_MAX).contains(&shots), "shots {shots}: 2 to {SHOTS_MAX}");
        let merged = pool(parts, self.inputs)?;
        let forms = [
            ClosedForm::from_within(&merged, &self.products)?,
            ClosedForm::isotropic(self.inputs, &self.products)?,
        ];
        let identity = Standard::identity(self.inputs);
        let counts = Counts::measuring(shots);
        let episodes = one_each(&self.measured, counts, &identity, MEASURING_SEED)?;
        let mut areas = [0.0; 2];
        for episode in &episodes {
            for (area, form) in areas.iter_mut().zip(&forms) {
                let scores = form.scores(&episode.support, &episode.queries)?;
                let scores: Vec<f32> = scores.iter().map(|s| *s as f32).collect();
                *area += auroc(&scores, &episode.defective)? / episodes.len() as f64;
            }
        }
        let [auroc, auroc_fixed] = areas;
        let posterior = Message::of(&merged);
        Ok(Reply::Merged { posterior, auroc, auroc_fixed, episodes: episodes.len() })
    }
}

fn inner(setup: &Setup) -> Inner {
    Inner { steps: setup.inner_steps, rate: setup.inner_lr }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
