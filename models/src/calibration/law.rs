//! The law of one statistic of one product: what the model card knows, the prompts, and further good parts.

use super::tail::Tail;
use super::{CalibrationError, ScalarPredictive};
use crate::package::ScoreLaws;

/// Student-t in the middle; in the tail whatever says less against a good part, where enough were seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreLaw {
    predictive: ScalarPredictive,
    tail: Option<Tail>,
}

impl From<ScalarPredictive> for ScoreLaw {
    fn from(predictive: ScalarPredictive) -> ScoreLaw {
        ScoreLaw { predictive, tail: None }
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
        Ok(ScoreLaw { predictive: taught.after(further)?, tail: Tail::fit(further) })
    }

    /// Where a good part's score lies.
    pub fn location(&self) -> f64 {
        self.predictive.location()
    }

    /// Probability that a good part scores at least `x`; 0 for NaN.
    pub fn upper_tail(&self, x: f64) -> f64 {
        self.widest(self.predictive.upper_tail(x), x)
    }

    /// The same as it is expected to be after so many `more` good parts.
    pub fn upper_tail_after(&self, more: usize, x: f64) -> f64 {
        self.widest(self.predictive.expected_after(more).upper_tail(x), x)
    }

    /// The score that a good part exceeds with probability `p`, `0 < p < 1`, by the middle of the law alone.
    pub fn threshold(&self, p: f64) -> f64 {
        self.predictive.threshold(p)
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
    use super::super::{ScalarPrior, SeveralPrior};
    use super::*;

    fn card() -> ScoreLaws {
        let one = ScalarPrior { mu0: 0.0, kappa0: 0.5, nu0: 6.0, lambda0: 4.0 };
        let several = SeveralPrior { gap: 0.2, gap_per_prompt: 0.0, weight: 0.5, prior: one };
        ScoreLaws { one, several }
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
