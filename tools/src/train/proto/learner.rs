//! The three learners that are compared: Bayesian Proto-MAML, Proto-MAML and MAML (section 5). They
//! share head, episodes, outer loss and the way gradients pass through the inner loop, and differ in
//! what they make of the support.

use anyhow::{Context, Result};
use touchstone_models::student_t::StudentT;

use super::episode::Episode;
use super::evidence::{Constants, Gram, evidence};
use super::head::{Embedded, Shape, dot, embed, pull_back};
use super::loss::{contrastive, logistic};
use super::scalar::{Scalar, softplus};

/// Scale and degrees of freedom of the vague law of defective parts (section 2).
const VAGUE: (f64, f64) = (100.0, 2.0);
/// What to say when a matrix is not positive definite any more.
const SPOILT: &str = "the embeddings are no numbers any more; lower --lr or --inner-lr";

/// Which learner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Student-t posterior of the support. Parameters: head, `log lambda`, log odds. Its inner loss
    /// is the leave-one-out likelihood of the support (section 4.6).
    Bayes,
    /// A linear classifier that starts from the support's mean and a defective class at 0, where the
    /// paper has its vague law too. Parameters: head, log scale, log odds; adapted: head, classifier.
    Proto,
    /// A linear classifier whose start is learned. Parameters: head, classifier.
    Maml,
}

/// A learner of a given shape.
#[derive(Debug, Clone)]
pub struct Learner {
    /// Which one.
    pub kind: Kind,
    /// Its head.
    pub shape: Shape,
    constants: Constants,
    /// Log density of the vague law; LayerNorm makes it the same everywhere.
    ln_vague: f64,
}

/// What the outer loss of an episode is.
#[derive(Debug, Clone)]
pub struct Outer {
    /// The loss.
    pub loss: f64,
    /// Its gradient by the adapted parameters.
    pub slope: Vec<f64>,
}

impl Learner {
    /// For episodes of up to `shots` good parts.
    ///
    /// # Errors
    /// A head without outputs.
    pub fn new(kind: Kind, shape: Shape, shots: usize) -> Result<Learner> {
        let vague = StudentT::isotropic(shape.outputs, VAGUE.0, VAGUE.1);
        // StudentT takes the whole quadratic form, so with the scale divided out.
        let ln_vague = vague.log_t(shape.outputs as f64 / VAGUE.0);
        Ok(Learner { kind, shape, constants: Constants::new(shape.outputs, shots + 1)?, ln_vague })
    }

    /// How many parameters are shared between tasks.
    pub fn count(&self) -> usize {
        match self.kind {
            Kind::Bayes | Kind::Proto => self.shape.count() + 2,
            Kind::Maml => self.adapted_count(),
        }
    }

    /// How many parameters a task adapts.
    pub fn adapted_count(&self) -> usize {
        match self.kind {
            Kind::Bayes => self.count(),
            Kind::Proto | Kind::Maml => self.shape.count() + self.shape.outputs + 1,
        }
    }

    /// What a task adapts from, given its support.
    pub fn start(&self, shared: &[f64], support: &[Vec<f64>]) -> Vec<f64> {
        match self.kind {
            Kind::Bayes | Kind::Maml => shared.to_vec(),
            Kind::Proto => {
                let (head, scalars) = shared.split_at(self.shape.count());
                let (scale, odds) = (scalars[0].exp(), scalars[1]);
                let centre = mean(&self.embed_all(head, support));
                let mut adapted = head.to_vec();
                adapted.extend(centre.iter().map(|c| 2.0 * scale * c));
                adapted.push(-scale * dot(&centre, &centre) - odds);
                adapted
            }
        }
    }

    /// The gradient by the shared parameters of a loss whose gradient by [`Learner::start`]'s is
    /// `slope`.
    pub fn start_back(&self, shared: &[f64], support: &[Vec<f64>], slope: &[f64]) -> Vec<f64> {
        if self.kind != Kind::Proto {
            return slope.to_vec();
        }
        let (of_head, of_linear) = slope.split_at(self.shape.count());
        let (of_weight, of_bias) = of_linear.split_at(self.shape.outputs);
        let of_bias = of_bias[0];
        let (head, scalars) = shared.split_at(self.shape.count());
        let scale = scalars[0].exp();
        let embedded = self.embed_all(head, support);
        let centre = mean(&embedded);
        let mut gradient = of_head.to_vec();
        let share = 2.0 * scale / embedded.len() as f64;
        let by_row: Vec<f64> =
            of_weight.iter().zip(&centre).map(|(g, c)| share * (g - c * of_bias)).collect();
        for row in &embedded {
            pull_back(self.shape, row, &by_row, &mut gradient);
        }
        let by_scale = 2.0 * dot(&centre, of_weight) - dot(&centre, &centre) * of_bias;
        gradient.push(scale * by_scale);
        gradient.push(-of_bias);
        gradient
    }

    /// Inner loss of a support and its gradient by the adapted parameters.
    ///
    /// # Errors
    /// Parameters that are no numbers.
    pub fn inner<S: Scalar>(&self, adapted: &[S], support: &[Vec<f64>]) -> Result<(S, Vec<S>)> {
        let embedded = self.embed_all(adapted, support);
        let mut slope = vec![S::of(0.0); adapted.len()];
        let share = 1.0 / support.len() as f64;
        let mut loss = S::of(0.0);
        if self.kind == Kind::Bayes {
            let rows: Vec<&[S]> = embedded.iter().map(|e| &e.z[..]).collect();
            let mut gram = Gram::of(&rows);
            let ln_lambda = adapted[self.shape.count()];
            let all: Vec<usize> = (0..rows.len()).collect();
            // log t(x_i | others) = log p(all) - log p(others).
            let sets = std::iter::once((all.clone(), -1.0)).chain(
                all.iter()
                    .map(|i| (all.iter().copied().filter(|k| k != i).collect::<Vec<_>>(), share)),
            );
            for (members, weight) in sets {
                let weight = S::of(weight);
                let (value, by_lambda) =
                    evidence(&mut gram, &members, ln_lambda, &self.constants, weight)
                        .context(SPOILT)?;
                loss += value * weight;
                slope[self.shape.count()] += by_lambda * weight;
            }
            for (index, row) in embedded.iter().enumerate() {
                pull_back(self.shape, row, &gram.slope(&rows, index), &mut slope);
            }
        } else {
            for row in &embedded {
                let (value, by_logit) = softplus(-self.logit(adapted, row));
                loss += value * share;
                self.logit_back(adapted, row, -by_logit * share, &mut slope);
            }
        }
        Ok((loss, slope))
    }

    /// Log odds of being defective of an episode's queries under adapted parameters. The posterior is
    /// that of the adapted embeddings of the support (section 7.2).
    ///
    /// # Errors
    /// Parameters that are no numbers.
    pub fn scores(&self, adapted: &[f64], episode: &Episode) -> Result<Vec<f64>> {
        if self.kind == Kind::Bayes {
            return Ok(self.judge(adapted, episode)?.scores);
        }
        let embedded = self.embed_all(adapted, &episode.queries);
        Ok(embedded.iter().map(|row| -self.logit(adapted, row)).collect())
    }

    /// Outer loss: logistic on the queries' log odds, plus `weight` times the contrastive term.
    ///
    /// # Errors
    /// Parameters that are no numbers.
    pub fn outer(&self, adapted: &[f64], episode: &Episode, weight: f64) -> Result<Outer> {
        let mut slope = vec![0.0; adapted.len()];
        let (queries, mut loss) = match self.kind {
            Kind::Bayes => self.outer_bayes(adapted, episode, &mut slope)?,
            Kind::Proto | Kind::Maml => {
                let embedded = self.embed_all(adapted, &episode.queries);
                let scores: Vec<f64> =
                    embedded.iter().map(|row| -self.logit(adapted, row)).collect();
                let (loss, by_score) = logistic(&scores, &episode.defective);
                for (row, by) in embedded.iter().zip(by_score) {
                    self.logit_back(adapted, row, -by, &mut slope);
                }
                (embedded, loss)
            }
        };
        if weight > 0.0 {
            let rows: Vec<&[f64]> = queries.iter().map(|q| &q.z[..]).collect();
            let (value, by_row) = contrastive(&rows, &episode.defective);
            loss += weight * value;
            for (row, mut by) in queries.iter().zip(by_row) {
                by.iter_mut().for_each(|v| *v *= weight);
                pull_back(self.shape, row, &by, &mut slope);
            }
        }
        Ok(Outer { loss, slope })
    }

    /// The Bayesian learner's loss, added to `slope`; gives the embedded queries too.
    fn outer_bayes<'a>(
        &self,
        adapted: &[f64],
        episode: &'a Episode,
        slope: &mut [f64],
    ) -> Result<(Vec<Embedded<'a, f64>>, f64)> {
        let Judged { mut embedded, scores } = self.judge(adapted, episode)?;
        let (loss, by_score) = logistic(&scores, &episode.defective);
        let rows: Vec<&[f64]> = embedded.iter().map(|e| &e.z[..]).collect();
        let mut gram = Gram::of(&rows);
        let shots = episode.support.len();
        let place = self.shape.count();
        let ln_lambda = adapted[place];
        let mut members: Vec<usize> = (0..shots).collect();
        // score = log p_a - (log p(support, query) - log p(support)) + odds.
        let total: f64 = by_score.iter().sum();
        let mut add = |members: &[usize], weight: f64| -> Result<()> {
            let (_, by) =
                evidence(&mut gram, members, ln_lambda, &self.constants, weight).context(SPOILT)?;
            slope[place] += by * weight;
            Ok(())
        };
        add(&members, total)?;
        for (query, by) in by_score.iter().enumerate() {
            members.push(shots + query);
            add(&members, -by)?;
            members.pop();
        }
        slope[place + 1] += total;
        for (index, row) in embedded.iter().enumerate() {
            pull_back(self.shape, row, &gram.slope(&rows, index), slope);
        }
        drop(rows);
        Ok((embedded.split_off(shots), loss))
    }

    /// Embeds support and queries, in this order, and scores the queries.
    fn judge<'a>(&self, adapted: &[f64], episode: &'a Episode) -> Result<Judged<'a>> {
        let mut embedded = self.embed_all(adapted, &episode.support);
        embedded.extend(self.embed_all(adapted, &episode.queries));
        let rows: Vec<&[f64]> = embedded.iter().map(|e| &e.z[..]).collect();
        let mut gram = Gram::of(&rows);
        let (shots, place) = (episode.support.len(), self.shape.count());
        let mut members: Vec<usize> = (0..shots).collect();
        let mut of = |members: &[usize]| {
            evidence(&mut gram, members, adapted[place], &self.constants, 0.0).context(SPOILT)
        };
        let taught = of(&members)?.0;
        let mut scores = Vec::with_capacity(episode.queries.len());
        for query in 0..episode.queries.len() {
            members.push(shots + query);
            scores.push(self.ln_vague - (of(&members)?.0 - taught) + adapted[place + 1]);
            members.pop();
        }
        Ok(Judged { embedded, scores })
    }

    fn embed_all<'a, S: Scalar>(
        &self,
        parameters: &[S],
        inputs: &'a [Vec<f64>],
    ) -> Vec<Embedded<'a, S>> {
        inputs.iter().map(|x| embed(self.shape, parameters, x)).collect()
    }

    /// The linear classifier's log odds of being good.
    fn logit<S: Scalar>(&self, adapted: &[S], row: &Embedded<'_, S>) -> S {
        let linear = &adapted[self.shape.count()..];
        dot(&linear[..self.shape.outputs], &row.z) + linear[self.shape.outputs]
    }

    /// Adds the gradient of a loss whose gradient by the logit is `by`.
    fn logit_back<S: Scalar>(&self, adapted: &[S], row: &Embedded<'_, S>, by: S, slope: &mut [S]) {
        let (start, outputs) = (self.shape.count(), self.shape.outputs);
        for (s, z) in slope[start..start + outputs].iter_mut().zip(&row.z) {
            *s += by * *z;
        }
        slope[start + outputs] += by;
        let by_z: Vec<S> = adapted[start..start + outputs].iter().map(|w| by * *w).collect();
        pull_back(self.shape, row, &by_z, slope);
    }
}

/// An episode under given parameters.
struct Judged<'a> {
    /// Support, then queries.
    embedded: Vec<Embedded<'a, f64>>,
    /// Of the queries.
    scores: Vec<f64>,
}

/// Mean embedding.
fn mean(rows: &[Embedded<'_, f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; rows.first().map_or(0, |r| r.z.len())];
    for row in rows {
        sum.iter_mut().zip(&row.z).for_each(|(s, v)| *s += v / rows.len() as f64);
    }
    sum
}

#[cfg(test)]
#[path = "learner_tests.rs"]
mod tests;
