//! The methods that a run compares, and how each scores an episode.

use anyhow::{Result, ensure};

use super::closed::ClosedForm;
use super::episode::Episode;
use super::inner::{Inner, adapted};
use super::judge::Scored;
use super::learner::Learner;

/// A task: raw features for the closed form, standardised ones for the learners.
#[derive(Debug, Clone)]
pub struct Task {
    /// As the encoder gives them.
    pub raw: Episode,
    /// Standardised.
    pub standard: Episode,
}

/// Pairs episodes of the same draws.
///
/// # Errors
/// Lists that do not belong together.
pub fn tasks(raw: Vec<Episode>, standard: Vec<Episode>) -> Result<Vec<Task>> {
    ensure!(raw.len() == standard.len(), "{} and {} episodes", raw.len(), standard.len());
    Ok(raw.into_iter().zip(standard).map(|(raw, standard)| Task { raw, standard }).collect())
}

/// How a method scores.
#[derive(Debug, Clone)]
pub enum Scorer {
    /// The posterior on the features themselves.
    Closed(ClosedForm),
    /// A head, adapted to the support.
    Learned {
        /// The learner.
        learner: Learner,
        /// Its shared parameters.
        parameters: Vec<f64>,
        /// How it adapts.
        inner: Inner,
    },
}

/// A method with its name in the table.
#[derive(Debug, Clone)]
pub struct Method {
    /// As in table and JSON.
    pub name: String,
    /// How it scores.
    pub scorer: Scorer,
}

impl Method {
    /// Scores of a task's queries.
    ///
    /// # Errors
    /// Parameters or features that are no numbers.
    pub fn score(&self, task: &Task) -> Result<Scored> {
        let scores = match &self.scorer {
            Scorer::Closed(form) => form.scores(&task.raw.support, &task.raw.queries)?,
            Scorer::Learned { learner, parameters, inner } => {
                let adapted = adapted(learner, parameters, &task.standard.support, *inner)?;
                learner.scores(&adapted, &task.standard)?
            }
        };
        Ok(Scored::of(&task.standard, &scores))
    }
}
