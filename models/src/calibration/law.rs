//! The law of one statistic of one product: what the model card knows, the prompts, and further good parts.

use super::tail::Tail;
use super::{CalibrationError, Correction, ScalarPredictive};
use crate::package::ScoreLaws;

/// Student-t, corrected by how such laws turned out; in the tail whatever says less against a good part, where enough were seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreLaw {
    predictive: ScalarPredictive,
    correction: Correction,
    /// Good parts that were seen beside the prompts.
    further: usize,
    tail: Option<Tail>,
}

impl From<ScalarPredictive> for ScoreLaw {
    fn from(predictive: ScalarPredictive) -> ScoreLaw {
        ScoreLaw { predictive, correction: Correction::NONE, further: 0, tail: None }
    }
}

impl ScoreLaw {
    /// From what prompts score without themselves (nothing of a single one) and what `further` good parts score,
    /// which are no prompts.
    ///
    /// # Errors
    /// A score that is not finite.
    pub fn new(
        card: &ScoreLaws,
        left_out: &[f64],
        further: &[f64],
    ) -> Result<ScoreLaw, CalibrationError> {
        let taught = match left_out.is_empty() {
            true => card.one.predictive(&[])?,
            false => card.several.law(left_out)?,
        };
        Ok(ScoreLaw {
            predictive: taught.after(further)?,
            correction: card.corrections.among(left_out.len().max(1)),
            further: further.len(),
            tail: Tail::fit(further),
        })
    }

    /// Where a good part's score lies.
    pub fn location(&self) -> f64 {
        self.predictive.location()
    }

    /// Probability that a good part scores at least `x`; 0 for NaN.
    pub fn upper_tail(&self, x: f64) -> f64 {
        let p = self.predictive.upper_tail(x);
        self.widest(self.correction.after(self.further).apply(p), x)
    }

    /// The same as it is expected to be after so many `more` good parts.
    pub fn upper_tail_after(&self, more: usize, x: f64) -> f64 {
        let p = self.predictive.expected_after(more).upper_tail(x);
        self.widest(self.correction.after(self.further + more).apply(p), x)
    }

    /// The score that a good part exceeds with probability `p`, `0 < p < 1`, its tail of seen scores aside.
    pub fn threshold(&self, p: f64) -> f64 {
        self.predictive.threshold(self.correction.after(self.further).invert(p))
    }

    fn widest(&self, p: f64, x: f64) -> f64 {
        match self.tail.filter(|tail| tail.reaches(x)) {
            Some(tail) => p.max(tail.upper(x)),
            None => p,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::uniform;
    use super::super::{Corrections, ScalarPrior, SeveralPrior};
    use super::*;

    fn card() -> ScoreLaws {
        let one = ScalarPrior { mu0: 0.0, kappa0: 0.5, nu0: 6.0, lambda0: 4.0 };
        let several = SeveralPrior { gap: 0.2, gap_per_prompt: 0.0, weight: 0.5, prior: one };
        ScoreLaws { one, several, corrections: Corrections::default() }
    }

    #[test]
    fn further_good_parts_move_the_law_to_where_they_are() {
        let law = |further: &[f64]| ScoreLaw::new(&card(), &[0.1, 0.2, 0.0], further).expect("law");
        let strange: Vec<f64> = (0..10).map(|i| 3.0 + 0.01 * f64::from(i)).collect();
        assert!(law(&[]).upper_tail(3.0) < 0.05);
        assert!(law(&strange).upper_tail(3.0) > 0.3);
        assert!(law(&[]).upper_tail_after(20, 3.0) < law(&[]).upper_tail(3.0));
        assert!(ScoreLaw::new(&card(), &[], &[f64::NAN]).is_err());
    }

    #[test]
    fn a_heavy_tail_is_believed_once_it_was_seen() {
        // Skewed: the Student-t fits the middle, and promises too much further out.
        let mut next = uniform(8);
        let skewed: Vec<f64> = (0..200).map(|_| -next().ln()).collect();
        let law = ScoreLaw::new(&card(), &[], &skewed).expect("law");
        assert!(law.upper_tail(6.0) > 5.0 * law.predictive.upper_tail(6.0));
        assert_eq!(law.upper_tail(0.5), law.predictive.upper_tail(0.5));
        assert_eq!(law.upper_tail(f64::NAN), 0.0);
    }
}
