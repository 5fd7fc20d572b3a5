//! The outer loop: start values, Adam on the mean gradient of some episodes, and the best parameters
//! on validation episodes.

use anyhow::{Result, ensure};
use indicatif::ProgressBar;

use super::episode::{Counts, Episode, draw};
use super::features::ProductFeatures;
use super::head::{dot, embed};
use super::inner::{Inner, Order, adapted, meta_gradient};
use super::learner::{Kind, Learner};
use super::moments::Standard;
use crate::synth::Dice;
use crate::train::schedule;

/// Validations in a run.
const VALIDATIONS: usize = 20;
/// Episodes that start values are estimated on.
const START_EPISODES: u64 = 64;

/// Adam (Kingma and Ba 2014) on plain vectors.
#[derive(Debug, Clone)]
pub struct Adam {
    first: Vec<f64>,
    second: Vec<f64>,
    steps: i32,
}

impl Adam {
    const DECAY: (f64, f64) = (0.9, 0.999);
    const EPSILON: f64 = 1e-8;
    /// Longer gradients are shortened to this length: an episode may hold an outlier.
    const LENGTH_MAX: f64 = 10.0;

    /// For so many parameters.
    pub fn new(count: usize) -> Adam {
        Adam { first: vec![0.0; count], second: vec![0.0; count], steps: 0 }
    }

    /// One step down `gradient`.
    pub fn step(&mut self, parameters: &mut [f64], gradient: &[f64], rate: f64) {
        self.steps += 1;
        let length = dot(gradient, gradient).sqrt();
        let scale = (Self::LENGTH_MAX / length).min(1.0);
        let (a, b) = Self::DECAY;
        let (fix_a, fix_b) = (1.0 - a.powi(self.steps), 1.0 - b.powi(self.steps));
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((p, g), (m, v)) in parameters.iter_mut().zip(gradient).zip(moments) {
            let g = scale * g;
            *m = a * *m + (1.0 - a) * g;
            *v = b * *v + (1.0 - b) * g * g;
            *p -= rate * (*m / fix_a) / ((*v / fix_b).sqrt() + Self::EPSILON);
        }
    }
}

/// How to train.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Training episodes, all steps together.
    pub episodes: usize,
    /// Episodes per step.
    pub batch: usize,
    /// Good parts taught.
    pub shots: usize,
    /// Peak rate of Adam.
    pub rate: f64,
    /// The inner loop.
    pub inner: Inner,
    /// What the outer gradient sees of it.
    pub order: Order,
    /// Weight of the contrastive term.
    pub contrast: f64,
    /// Seed of start values and episodes.
    pub seed: u64,
}

/// What came out.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The parameters with the lowest validation loss, start values included.
    pub parameters: Vec<f64>,
    /// Step, training loss since the last point, validation loss.
    pub history: Vec<(usize, f64, Option<f64>)>,
    /// Step that the parameters are of.
    pub best_step: usize,
}

/// Start values: a random head, and scalars that fit it. The variance within products becomes
/// `lambda`; the odds are such that half of the queries of training episodes count as defective.
///
/// # Errors
/// Products with too few parts.
pub fn start(
    learner: &Learner,
    products: &[ProductFeatures],
    standard: &Standard,
    shots: usize,
    seed: u64,
) -> Result<Vec<f64>> {
    let shape = learner.shape;
    let dice = &mut Dice::new(seed, u64::MAX);
    let mut parameters = random_head(shape, dice);
    if learner.kind == Kind::Maml {
        parameters.resize(learner.count(), 0.0);
        return Ok(parameters);
    }
    let variance = variance_within(learner, &parameters, products, standard);
    // The Gaussian log likelihood ratio of a squared distance has the scale 1/(2 variance).
    let scalar = if learner.kind == Kind::Bayes { variance.ln() } else { -(2.0 * variance).ln() };
    parameters.extend([scalar, 0.0]);
    let able = able(products, Counts::training(shots))?;
    let (mut sum, mut count) = (0.0, 0.0);
    for episode in 0..START_EPISODES {
        let dice = &mut Dice::new(seed ^ 0x5354_4152, episode);
        let product = *dice.pick(&able);
        let episode = draw(products, product, Counts::training(shots), standard, dice)?;
        let adapted = learner.start(&parameters, &episode.support);
        let mut scores = learner.scores(&adapted, &episode)?;
        scores.sort_by(f64::total_cmp);
        sum += scores[scores.len() / 2];
        count += 1.0;
    }
    if let Some(odds) = parameters.last_mut() {
        *odds = -sum / count;
    }
    Ok(parameters)
}

/// Variance 1 per output for standardised features.
fn random_head(shape: super::head::Shape, dice: &mut Dice) -> Vec<f64> {
    // Uniform numbers in -1..1 have variance 1/3.
    let reach = (3.0 / shape.inputs as f64).sqrt();
    let mut parameters: Vec<f64> =
        (0..shape.inputs * shape.outputs).map(|_| reach * f64::from(dice.around(1.0))).collect();
    parameters.resize(shape.count(), 0.0);
    parameters
}

/// Mean variance of an embedding's dimension among good parts of one product.
fn variance_within(
    learner: &Learner,
    head: &[f64],
    products: &[ProductFeatures],
    standard: &Standard,
) -> f64 {
    let (mut squares, mut freedom) = (0.0, 0.0);
    for product in products {
        let inputs: Vec<Vec<f64>> = product.good.iter().map(|g| standard.apply(g)).collect();
        let rows: Vec<Vec<f64>> = inputs.iter().map(|x| embed(learner.shape, head, x).z).collect();
        for d in 0..learner.shape.outputs {
            let mean = rows.iter().map(|r| r[d]).sum::<f64>() / rows.len().max(1) as f64;
            squares += rows.iter().map(|r| (r[d] - mean).powi(2)).sum::<f64>();
        }
        freedom += rows.len().saturating_sub(1) as f64 * learner.shape.outputs as f64;
    }
    (squares / f64::max(freedom, 1.0)).max(1e-6)
}

/// Numbers of the products that an episode can be drawn of.
///
/// # Errors
/// There are none.
pub fn able(products: &[ProductFeatures], counts: Counts) -> Result<Vec<usize>> {
    let able: Vec<usize> = (0..products.len()).filter(|p| counts.fit(&products[*p])).collect();
    ensure!(
        !able.is_empty(),
        "none of {} products has more than {} good parts and a defective one",
        products.len(),
        counts.shots
    );
    Ok(able)
}

/// Mean loss and gradient of episodes number `first..first + count` of the seed's sequence.
///
/// # Errors
/// Products with too few parts, parameters that are no numbers.
pub fn batch_gradient(
    learner: &Learner,
    parameters: &[f64],
    (products, standard): (&[ProductFeatures], &Standard),
    setting: &Setting,
    (first, count): (u64, usize),
) -> Result<(f64, Vec<f64>)> {
    let counts = Counts::training(setting.shots);
    let able = able(products, counts)?;
    let (mut loss, mut gradient) = (0.0, vec![0.0; learner.count()]);
    let share = 1.0 / count.max(1) as f64;
    for number in first..first + count as u64 {
        let dice = &mut Dice::new(setting.seed, number);
        let product = *dice.pick(&able);
        let episode = draw(products, product, counts, standard, dice)?;
        let Setting { inner, order, contrast, .. } = *setting;
        let (value, slope) = meta_gradient(learner, parameters, &episode, inner, order, contrast)?;
        loss += share * value;
        gradient.iter_mut().zip(slope).for_each(|(g, s)| *g += share * s);
    }
    ensure!(
        loss.is_finite() && gradient.iter().all(|g| g.is_finite()),
        "the loss became {loss}; lower --lr or --inner-lr"
    );
    Ok((loss, gradient))
}

/// Mean outer loss of episodes, without the contrastive term.
///
/// # Errors
/// Parameters that are no numbers.
pub fn mean_loss(
    learner: &Learner,
    parameters: &[f64],
    episodes: &[Episode],
    inner: Inner,
) -> Result<f64> {
    let mut sum = 0.0;
    for episode in episodes {
        let adapted = adapted(learner, parameters, &episode.support, inner)?;
        sum += learner.outer(&adapted, episode, 0.0)?.loss;
    }
    Ok(sum / episodes.len().max(1) as f64)
}

/// Trains from `parameters` on.
///
/// # Errors
/// Products with too few parts, a loss that is no number.
pub fn train(
    learner: &Learner,
    mut parameters: Vec<f64>,
    data: (&[ProductFeatures], &Standard),
    validation: &[Episode],
    setting: &Setting,
    bar: &ProgressBar,
) -> Result<Trained> {
    let steps = setting.episodes.div_ceil(setting.batch.max(1));
    let every = steps.div_ceil(VALIDATIONS).max(1);
    let mut adam = Adam::new(parameters.len());
    let first = mean_loss(learner, &parameters, validation, setting.inner)?;
    let mut best = (first, parameters.clone(), 0);
    let mut history = Vec::new();
    let (mut sum, mut since) = (0.0, 0.0);
    for step in 0..steps {
        let numbers = ((step * setting.batch) as u64, setting.batch);
        let (loss, gradient) = batch_gradient(learner, &parameters, data, setting, numbers)?;
        adam.step(&mut parameters, &gradient, schedule::rate(setting.rate, step, steps));
        sum += loss;
        since += 1.0;
        bar.inc(setting.batch as u64);
        if (step + 1).is_multiple_of(every) || step + 1 == steps {
            let loss = mean_loss(learner, &parameters, validation, setting.inner)?;
            history.push((step + 1, sum / since, Some(loss)));
            bar.set_message(format!("loss {:.4}, validation {loss:.4}", sum / since));
            (sum, since) = (0.0, 0.0);
            if loss < best.0 {
                best = (loss, parameters.clone(), step + 1);
            }
        }
    }
    Ok(Trained { parameters: best.1, history, best_step: best.2 })
}

#[cfg(test)]
#[path = "outer_tests.rs"]
mod tests;
