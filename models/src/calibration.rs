//! From a raw statistic to a p-value: a Student-t predictive with a prior learned from other
//! products, updated by the enrolled good parts themselves.
//!
//! The peak of a map has no textbook distribution, but over good parts of one product its logit
//! or logarithm is close to normal with unknown mean and variance. That is the
//! normal-inverse-Wishart model of `student_t` with D = 1, where it is cheap enough to carry a
//! prior `(mu0, kappa0, nu0, lambda0)` learned by empirical Bayes (section 4.7 of
//! `../shared/methods/baypranometa.md`). With one prompt the prior speaks alone; with two and more
//! each prompt is scored against the others and those scores update it ([`several`]).

mod correction;
mod evidence;
mod law;
mod several;
mod tail;

pub use crate::package::ScalarPrior;
pub use correction::{CORRECTIONS, Correction, Corrections};
pub use evidence::{Dependence, score_of};
pub use law::ScoreLaw;
pub use several::{Enrolled, SeveralPrior};
pub use tail::TAIL_PARTS_MIN;

use crate::map::Map;
use crate::student_t::special::{ln_gamma, t_upper_quantile, t_upper_tail};
use crate::tensor::all_finite;
use std::fmt;

/// Values of a map are kept this far from 0 and 1 before the logit: the resolution of the 16-bit
/// maps that `inspect --maps` writes.
const LOGIT_MARGIN: f64 = 1.0 / 65536.0;
/// Floor of `delta / D` before the logarithm: far below what any two pictures give.
const RATIO_FLOOR: f64 = 1e-9;
/// Degrees of freedom that empirical Bayes tries; above 2, so that the variance has a mean.
const NU_GRID: [f64; 14] =
    [2.2, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 14.0, 20.0, 30.0, 45.0, 64.0];
/// Bounds of the learned kappa0: beyond them the estimate of the between-product variance is noise.
const KAPPA_RANGE: (f64, f64) = (1e-3, 1e2);

/// Why a prior could not be fitted or updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalibrationError {
    /// A NaN or an infinity among the scores.
    NotFinite,
    /// Fewer than two products, or no product with two scores.
    TooFew,
    /// All scores of every product are the same: there is no spread to learn.
    NoSpread,
}

impl fmt::Display for CalibrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFinite => "a calibration score is NaN or infinite; check the model's outputs",
            Self::TooFew => {
                "calibration needs at least two products, one of them with two good parts or more"
            }
            Self::NoSpread => "all calibration scores are the same; are the pictures copies?",
        })
    }
}

impl std::error::Error for CalibrationError {}

impl ScalarPrior {
    /// Learns the prior from scores of good parts, one list per product (empirical Bayes, 4.7).
    ///
    /// `mu0` is the mean of the products' means, W the pooled variance within products, B the
    /// variance between their means less what W alone would cause; `kappa0 = W/B`,
    /// `lambda0 = (nu0 - 2) W`, and `nu0` maximises the summed evidence. Empty lists are passed
    /// over.
    pub fn fit(products: &[Vec<f64>]) -> Result<ScalarPrior, CalibrationError> {
        let products: Vec<&[f64]> =
            products.iter().map(Vec::as_slice).filter(|p| !p.is_empty()).collect();
        if products.iter().any(|p| p.iter().any(|v| !v.is_finite())) {
            return Err(CalibrationError::NotFinite);
        }
        let freedom: usize = products.iter().map(|p| p.len() - 1).sum();
        if products.len() < 2 || freedom == 0 {
            return Err(CalibrationError::TooFew);
        }
        let means: Vec<f64> = products.iter().map(|p| mean(p)).collect();
        let within =
            products.iter().zip(&means).map(|(p, m)| squares(p, *m)).sum::<f64>() / freedom as f64;
        if within <= 0.0 {
            return Err(CalibrationError::NoSpread);
        }
        let mu0 = mean(&means);
        let raw = squares(&means, mu0) / (means.len() - 1) as f64;
        let noise = within * products.iter().map(|p| 1.0 / p.len() as f64).sum::<f64>()
            / means.len() as f64;
        let between = (raw - noise).max(within / KAPPA_RANGE.1);
        let kappa0 = (within / between).clamp(KAPPA_RANGE.0, KAPPA_RANGE.1);
        let with = |nu0: f64| ScalarPrior { mu0, kappa0, nu0, lambda0: (nu0 - 2.0) * within };
        let evidence =
            |prior: &ScalarPrior| products.iter().map(|p| prior.log_evidence(p)).sum::<f64>();
        NU_GRID
            .into_iter()
            .map(with)
            .max_by(|a, b| evidence(a).total_cmp(&evidence(b)))
            .ok_or(CalibrationError::TooFew)
    }

    /// `log p(scores)`, the marginal likelihood (4.7 with D = 1); 0 for no scores.
    pub fn log_evidence(&self, scores: &[f64]) -> f64 {
        let post = self.updated(scores, 1.0);
        let k = scores.len() as f64;
        -k / 2.0 * std::f64::consts::PI.ln() + ln_gamma(post.nu0 / 2.0) - ln_gamma(self.nu0 / 2.0)
            + self.nu0 / 2.0 * self.lambda0.ln()
            - post.nu0 / 2.0 * post.lambda0.ln()
            + 0.5 * (self.kappa0.ln() - post.kappa0.ln())
    }

    /// The posterior after these scores (4.2 with D = 1), as the prior of what comes next. Each
    /// score counts as `weight` of one.
    fn updated(&self, scores: &[f64], weight: f64) -> ScalarPrior {
        if scores.is_empty() {
            return *self;
        }
        let (k, average) = (weight * scores.len() as f64, mean(scores));
        let kappa = self.kappa0 + k;
        let shift = average - self.mu0;
        ScalarPrior {
            mu0: (self.kappa0 * self.mu0 + k * average) / kappa,
            kappa0: kappa,
            nu0: self.nu0 + k,
            lambda0: self.lambda0
                + weight * squares(scores, average)
                + self.kappa0 * k / kappa * shift * shift,
        }
    }

    /// The predictive of the next good part's score, after the scores of others (none: the prior
    /// alone).
    ///
    /// # Errors
    /// A score that is not finite.
    pub fn predictive(&self, scores: &[f64]) -> Result<ScalarPredictive, CalibrationError> {
        self.predictive_of(scores, 1.0)
    }

    fn predictive_of(
        &self,
        scores: &[f64],
        weight: f64,
    ) -> Result<ScalarPredictive, CalibrationError> {
        if scores.iter().any(|v| !v.is_finite()) {
            return Err(CalibrationError::NotFinite);
        }
        let post = self.updated(scores, weight);
        let sound = [post.kappa0, post.nu0, post.lambda0].iter().all(|v| v.is_finite() && *v > 0.0);
        if !(sound && post.mu0.is_finite()) {
            return Err(CalibrationError::NotFinite);
        }
        Ok(ScalarPredictive { post })
    }
}

/// Student-t law of one further good part's score (4.4 with D = 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScalarPredictive {
    post: ScalarPrior,
}

impl ScalarPredictive {
    /// Centre of the law.
    pub fn location(&self) -> f64 {
        self.post.mu0
    }

    /// Scale of the law (not its standard deviation).
    pub fn scale(&self) -> f64 {
        let ScalarPrior { kappa0, nu0, lambda0, .. } = self.post;
        ((kappa0 + 1.0) / (kappa0 * nu0) * lambda0).sqrt()
    }

    /// Degrees of freedom.
    pub fn dof(&self) -> f64 {
        self.post.nu0
    }

    /// Probability that a good part scores at least `x`. NaN gives 0: it is no evidence of a good
    /// part.
    pub fn upper_tail(&self, x: f64) -> f64 {
        t_upper_tail(self.dof(), (x - self.location()) / self.scale())
    }

    /// Summed log density of scores, each as the next one.
    pub fn log_density(&self, scores: &[f64]) -> f64 {
        let (nu, scale) = (self.dof(), self.scale());
        let constant = ln_gamma((nu + 1.0) / 2.0)
            - ln_gamma(nu / 2.0)
            - 0.5 * (nu * std::f64::consts::PI).ln()
            - scale.ln();
        let term = |x: &f64| {
            let z = (x - self.location()) / scale;
            constant - (nu + 1.0) / 2.0 * (z * z / nu).ln_1p()
        };
        scores.iter().map(term).sum()
    }

    /// The score that a good part exceeds with probability `p`, `0 < p < 1`.
    pub fn threshold(&self, p: f64) -> f64 {
        self.location() + self.scale() * t_upper_quantile(self.dof(), p)
    }

    /// The predictive after the scores of further good parts.
    ///
    /// # Errors
    /// A score that is not finite.
    pub fn after(&self, scores: &[f64]) -> Result<ScalarPredictive, CalibrationError> {
        self.post.predictive(scores)
    }

    /// What the predictive is expected to be after `more` further good parts.
    ///
    /// The mean and the expected variance stay (`Lambda` grows by `1/(nu-2)` of itself per part in
    /// expectation); only the uncertainty about both shrinks.
    pub fn expected_after(&self, more: usize) -> ScalarPredictive {
        let m = more as f64;
        let ScalarPrior { mu0, kappa0, nu0, lambda0 } = self.post;
        // A law without a variance (nu <= 2) has no expected growth; half a degree bounds it.
        let growth = 1.0 + m / (nu0 - 2.0).max(0.5);
        ScalarPredictive {
            post: ScalarPrior { mu0, kappa0: kappa0 + m, nu0: nu0 + m, lambda0: lambda0 * growth },
        }
    }
}

/// Joins p-values of several witnesses, each with its share of the false-reject rate:
/// `min(1, min p / share)` (Bonferroni with weights). Shares add up to at most 1.
///
/// The witnesses look at the same features, so they are anything but independent. This is valid
/// under every dependence: a good part is rejected at most at the stated rate. NaN gives 0.
pub fn bonferroni(testimonies: &[(f64, f64)]) -> f64 {
    testimonies.iter().fold(
        1.0,
        |least: f64, (p, share)| {
            if p.is_nan() { 0.0 } else { least.min(p / share) }
        },
    )
}

/// Statistic of the change map: logit of the maximum of its 3x3-box-smoothed values.
///
/// Smoothing makes one hot cell of a resampling error weigh a ninth of a real region. A NaN or
/// infinite cell makes the statistic NaN.
pub fn change_statistic(map: &Map) -> f64 {
    let peak = smoothed_peak(map.width as usize, map.height as usize, &map.values);
    logit(peak)
}

/// Statistic of the position map: ln of the maximum of 3x3-box-smoothed `delta / D`.
pub fn position_statistic(width: usize, height: usize, ratios: &[f32]) -> f64 {
    ln_ratio(smoothed_peak(width, height, ratios))
}

/// Statistic of the score that joins all maps: its logit.
pub fn local_statistic(score: f32) -> f64 {
    logit(f64::from(score))
}

/// Statistic of the whole picture: ln of `delta / D`. Under the model `delta / D` is of the F law (4.5), but
/// pictures differ in ways that no Gaussian has, so what good parts really show decides.
pub fn image_statistic(delta: f64, dim: usize) -> f64 {
    ln_ratio(delta / dim as f64)
}

fn ln_ratio(ratio: f64) -> f64 {
    // `max` would pass over a NaN.
    if ratio.is_nan() { f64::NAN } else { ratio.max(RATIO_FLOOR).ln() }
}

/// `ln(p / (1 - p))`, with p kept inside (0, 1); NaN stays NaN.
pub fn logit(p: f64) -> f64 {
    let p = p.clamp(LOGIT_MARGIN, 1.0 - LOGIT_MARGIN);
    (p / (1.0 - p)).ln()
}

/// The inverse of [`logit`].
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Columns that are added up at a time.
const COLUMNS: usize = 64;

/// Greatest mean over the 3x3 neighbourhoods (clipped at the edge); NaN if a cell is not finite or
/// the size does not fit.
fn smoothed_peak(width: usize, height: usize, values: &[f32]) -> f64 {
    if width * height != values.len() || values.is_empty() || !all_finite(values) {
        return f64::NAN;
    }
    let row = |y: usize| &values[y * width..][..width];
    let mut peak = f64::NEG_INFINITY;
    for y in 0..height {
        // At the edge the row itself stands in for the missing one, and counts nothing.
        let (above, below) = (row(y.saturating_sub(1)), row((y + 1).min(height - 1)));
        let weights = (f32::from(y > 0), f32::from(y + 1 < height));
        let rows = 1.0 + weights.0 + weights.1;
        let added = |above: f32, own: f32, below: f32| weights.0 * above + own + weights.1 * below;
        let column = |x: usize| added(above[x], row(y)[x], below[x]);
        let at_the_edge = |x: usize, beside: usize| {
            let (sum, wide) =
                if beside < width { (column(x) + column(beside), 2.0) } else { (column(x), 1.0) };
            f64::from(sum / (rows * wide))
        };
        peak = peak.max(at_the_edge(0, 1)).max(at_the_edge(width - 1, width.wrapping_sub(2)));
        // Inside all have the same number of neighbours: the greatest sum is the greatest mean. Sums lie side by side
        // and are compared side by side, for the compiler to find the vectors in.
        let mut greatest = [f32::NEG_INFINITY; COLUMNS];
        for first in (0..width.saturating_sub(2)).step_by(COLUMNS) {
            let count = COLUMNS.min(width - 2 - first);
            let (above, own, below) = (&above[first..], &row(y)[first..], &below[first..]);
            let cells = own.iter().zip(above).zip(below).take(count + 2);
            let mut columns = [0.0; COLUMNS + 2];
            for (column, ((own, above), below)) in columns.iter_mut().zip(cells) {
                *column = added(*above, *own, *below);
            }
            let near = columns.windows(3).take(count);
            for (greatest, near) in greatest.iter_mut().zip(near) {
                let sum = near[0] + near[1] + near[2];
                *greatest = if sum > *greatest { sum } else { *greatest };
            }
        }
        let sum = greatest.into_iter().fold(f32::NEG_INFINITY, f32::max);
        peak = peak.max(f64::from(sum / (rows * 3.0)));
    }
    peak
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn squares(values: &[f64], about: f64) -> f64 {
    values.iter().map(|v| (v - about) * (v - about)).sum()
}

#[cfg(test)]
mod tests;
