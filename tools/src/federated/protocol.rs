//! One JSON request a line in, one JSON reply a line out. Whatever cannot be read is answered with an
//! error; only the end of the input ends the worker.

use std::io::{BufRead, Read, Write};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::posterior::Message;
use crate::train::proto::inner::Order;
use crate::train::proto::moments::{Moments, Standard};

/// Longest line: more than the parameters and posteriors of any model that is shipped.
pub const LINE_MAX: u64 = 64 << 20;

/// What is asked of a worker.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// What the worker has.
    Describe {},
    /// Sums over its good parts.
    Moments {},
    /// Start values of the shared parameters.
    Start {
        /// The learner.
        setup: Setup,
    },
    /// Some local episodes.
    Fit {
        /// The learner.
        setup: Setup,
        /// How to learn.
        fit: Fit,
        /// Shared parameters.
        parameters: Vec<f64>,
    },
    /// Loss and AUROC of given parameters on the worker's products.
    Evaluate {
        /// The learner.
        setup: Setup,
        /// Shared parameters.
        parameters: Vec<f64>,
    },
    /// Posterior of the covariance within its products.
    Posterior {},
    /// Merges posteriors and measures the closed form with the outcome as prior.
    Merge {
        /// Posteriors of the clients.
        parts: Vec<Message>,
        /// Good parts taught.
        shots: usize,
    },
}

/// The learner that all workers agree on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Length of the embedding.
    pub dim: usize,
    /// Good parts taught.
    pub shots: usize,
    /// Steps of the inner loop.
    pub inner_steps: usize,
    /// Their rate.
    pub inner_lr: f64,
    /// What the features are brought to first.
    pub standard: Standard,
    /// Seed of start values and episodes.
    pub seed: u64,
}

/// What comes back from a fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Weights after local steps (FedAvg).
    Weights,
    /// The mean gradient at the given weights.
    Gradient,
}

/// How to learn.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// Round of the federation, from 1: other episodes in every round.
    pub round: u64,
    /// What comes back.
    pub mode: Mode,
    /// Local episodes.
    pub episodes: usize,
    /// Episodes per local step.
    pub batch: usize,
    /// Rate of the local steps.
    pub lr: f64,
    /// `mu` of the proximal term `mu/2 |theta - theta_server|^2`.
    pub proximal: f64,
    /// Weight of the contrastive term.
    pub contrast: f64,
    /// First or second order.
    #[serde(with = "order")]
    pub order: Order,
}

mod order {
    use super::Order;
    use clap::ValueEnum;
    use serde::{Deserialize, Deserializer, de::Error};

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Order, D::Error> {
        let word = String::deserialize(from)?;
        Order::from_str(&word, false).map_err(D::Error::custom)
    }
}

/// What a worker answers.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// To [`Request::Describe`].
    Description {
        /// Length of the features.
        inputs: usize,
        /// Products to learn on.
        products: usize,
        /// What they are.
        kinds: Vec<String>,
    },
    /// To [`Request::Moments`].
    Moments {
        /// The sums.
        moments: Moments,
    },
    /// To [`Request::Start`] and [`Request::Fit`].
    Values {
        /// Parameters or gradient.
        values: Vec<f64>,
        /// Episodes behind them.
        episodes: usize,
        /// Mean outer loss of these.
        loss: f64,
    },
    /// To [`Request::Evaluate`].
    Evaluation {
        /// Mean over episodes.
        auroc: f64,
        /// Mean outer loss.
        loss: f64,
        /// Episodes, one per product.
        episodes: usize,
    },
    /// To [`Request::Posterior`].
    Posterior {
        /// The posterior.
        posterior: Message,
    },
    /// To [`Request::Merge`].
    Merged {
        /// The merged posterior.
        posterior: Message,
        /// Mean over episodes of the closed form with the merged prior.
        auroc: f64,
        /// The same with the fixed prior of the camera.
        auroc_fixed: f64,
        /// Episodes, one per product.
        episodes: usize,
    },
    /// When it could not be done.
    Error {
        /// Why.
        error: String,
    },
}

/// Answers requests until the input ends.
///
/// # Errors
/// An input that cannot be read, an output that cannot be written, a line that is too long.
pub fn serve(
    input: &mut impl BufRead,
    output: &mut impl Write,
    answer: impl Fn(Request) -> Result<Reply>,
) -> Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).context("stdin")?;
        if read == 0 {
            return Ok(());
        }
        let whole = line.ends_with(b"\n") || (read as u64) < LINE_MAX;
        anyhow::ensure!(whole, "a request of more than {LINE_MAX} bytes");
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let reply = serde_json::from_slice(&line)
            .context("no request of this protocol")
            .and_then(&answer)
            .unwrap_or_else(|e| Reply::Error { error: format!("{e:#}") });
        let mut text = serde_json::to_vec(&reply).context("a reply that is no JSON")?;
        text.push(b'\n');
        output.write_all(&text).context("stdout")?;
        output.flush().context("stdout")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn replies(input: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        serve(&mut &input[..], &mut out, |request| match request {
            Request::Describe {} => {
                Ok(Reply::Description { inputs: 1, products: 2, kinds: vec!["x".into()] })
            }
            _ => anyhow::bail!("not now"),
        })
        .expect("serves");
        String::from_utf8(out).expect("text").lines().map(str::to_owned).collect()
    }

    #[test]
    fn every_line_has_its_answer() {
        let got =
            replies(b"{\"do\":\"describe\"}\n\nnonsense\n{\"do\":\"moments\"}\n{\"do\":\"fly\"}");
        assert_eq!(got.len(), 4, "{got:?}");
        assert_eq!(got[0], r#"{"inputs":1,"products":2,"kinds":["x"]}"#);
        assert!(got[1..].iter().all(|r| r.starts_with("{\"error\"")), "{got:?}");
    }

    #[test]
    fn numbers_that_json_does_not_have_are_refused() {
        let start = "{\"do\":\"merge\",\"shots\":5,\"parts\":[{\"mean\":[";
        for number in ["NaN", "1e999", "Infinity", "null"] {
            let text = format!("{start}{number}],\"kappa\":1,\"nu\":5,\"scale\":[1]}}]}}\n");
            let got = replies(text.as_bytes());
            assert!(got[0].contains("no request"), "{number}: {got:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_end_the_worker(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut input = bytes;
            input.extend(b"\n{\"do\":\"describe\"}\n");
            let got = replies(&input);
            prop_assert!(got.last().is_some_and(|l| l.contains("products")));
        }
    }
}
