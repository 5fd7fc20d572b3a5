//! A posterior as a message: what a line knows about the spread of good parts, in `D^2 + D + 2`
//! numbers, and its way back into a checked posterior.

use anyhow::{Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use touchstone_models::student_t::{NiwPrior, Posterior, StudentTError, merge};

use crate::train::proto::closed::shared_prior;

/// Longest message that is made sense of.
const INPUTS_MAX: usize = 4096;
/// Relative difference of two entries that should be the same.
const ASYMMETRY_MAX: f64 = 1e-9;

/// `(mu_n, kappa_n, nu_n, Lambda_n)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Mean, D values.
    pub mean: Vec<f64>,
    /// Pseudo-count of the mean.
    pub kappa: f64,
    /// Degrees of freedom.
    pub nu: f64,
    /// Scale matrix, D x D, row-major.
    pub scale: Vec<f64>,
}

impl Message {
    /// Of a posterior.
    pub fn of(posterior: &Posterior) -> Message {
        Message {
            mean: posterior.mean().to_vec(),
            kappa: posterior.kappa(),
            nu: posterior.nu(),
            scale: posterior.scale_matrix().to_vec(),
        }
    }

    /// The posterior, if it can have come from the prior that all lines share.
    ///
    /// # Errors
    /// Another dimension than `inputs`, numbers that no samples give, a matrix that is not symmetric
    /// positive definite.
    pub fn posterior(&self, inputs: usize) -> Result<Posterior> {
        ensure!(
            inputs <= INPUTS_MAX
                && self.mean.len() == inputs
                && self.scale.len() == inputs * inputs,
            "a posterior of {} dimensions and {} entries, {inputs} dimensions are expected",
            self.mean.len(),
            self.scale.len()
        );
        let prior = shared_prior(inputs)?.start();
        ensure!(
            self.kappa >= prior.kappa() && self.nu >= prior.nu(),
            "a posterior with kappa {} and nu {} has less in it than the prior",
            self.kappa,
            self.nu
        );
        let samples = self.kappa - prior.kappa();
        ensure!(
            (self.nu - prior.nu() - samples).abs() <= 1e-6 * (1.0 + samples),
            "a posterior whose kappa and nu tell of different numbers of samples"
        );
        for row in 0..inputs {
            for column in 0..row {
                let (a, b) = (self.scale[row * inputs + column], self.scale[column * inputs + row]);
                let largest =
                    self.scale[row * inputs + row].max(self.scale[column * inputs + column]);
                ensure!((a - b).abs() <= ASYMMETRY_MAX * largest, "a scale that is not symmetric");
            }
            // Samples only ever add to the prior's scale.
            let (own, least) = (row * inputs + row, prior.scale_matrix()[row * inputs + row]);
            ensure!(self.scale[own] >= least * (1.0 - 1e-9), "a scale below the prior's");
        }
        // NiwPrior checks what is left: finite, kappa above zero, positive definite.
        let prior = NiwPrior::new(self.mean.clone(), self.kappa, self.nu, self.scale.clone());
        Ok(prior.map_err(failed)?.start())
    }
}

/// Pools what several lines know, exactly (section 4.10).
///
/// # Errors
/// No message, or one that is no posterior.
pub fn pool(messages: &[Message], inputs: usize) -> Result<Posterior> {
    ensure!(!messages.is_empty(), "no posterior to merge");
    let parts = messages.iter().map(|m| m.posterior(inputs)).collect::<Result<Vec<_>>>()?;
    merge(&parts, &shared_prior(inputs)?).map_err(failed)
}

fn failed(e: StudentTError) -> anyhow::Error {
    anyhow!("posterior: {e}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::proto::closed::within;
    use crate::train::proto::features::FeatureSet;

    #[test]
    fn messages_of_lines_merge_to_the_posterior_of_all() {
        let set = FeatureSet::invented(6, 9, 8);
        let messages: Vec<Message> = set
            .train
            .chunks(4)
            .map(|products| Message::of(&within(8, products).expect("within")))
            .map(|m| serde_json::to_string(&m).expect("text"))
            .map(|text| serde_json::from_str(&text).expect("back"))
            .collect();
        let merged = Message::of(&pool(&messages, 8).expect("pooled"));
        let whole = Message::of(&within(8, &set.train).expect("within"));
        assert!((merged.nu - whole.nu).abs() < 1e-9);
        for (a, b) in merged.scale.iter().zip(&whole.scale) {
            assert!((a - b).abs() < 1e-9, "{a} {b}");
        }
    }

    #[test]
    fn lies_are_refused() {
        let set = FeatureSet::invented(6, 9, 8);
        let honest = Message::of(&within(8, &set.train).expect("within"));
        assert!(honest.posterior(8).is_ok());
        assert!(honest.posterior(7).is_err());
        type Lie = fn(&mut Message);
        let lies: [Lie; 7] = [
            |m| m.scale[0] = f64::NAN,
            |m| m.scale[1] += 1.0,
            |m| m.scale[0] = -1.0,
            |m| m.kappa = 0.0,
            |m| m.nu += 5.0,
            |m| m.mean.push(0.0),
            |m| m.scale[9] = 1e-9,
        ];
        for (number, lie) in lies.into_iter().enumerate() {
            let mut message = honest.clone();
            lie(&mut message);
            assert!(pool(&[honest.clone(), message], 8).is_err(), "lie {number} was believed");
        }
        assert!(pool(&[], 8).is_err());
    }
}
