//! What a good part of a product scores, and what a part's scores are worth against that.

use super::result::Statistics;
use crate::calibration::{CalibrationError, Correction, Dependence, ScoreLaw};
use crate::package::{Laws, ScoreLaws};
use crate::verdict::{Testimony, WitnessReport};

/// The law of each statistic of a good part.
pub struct Expected {
    pub(super) change: ScoreLaw,
    pub(super) position: ScoreLaw,
    pub(super) local: ScoreLaw,
    pub(super) image: ScoreLaw,
    /// How maps and whole picture hang together.
    pub(super) dependence: Dependence,
    /// How what they say together turned out.
    pub(super) joint: Correction,
}

impl Expected {
    /// From the model card, the prompts, each without itself (none of a single prompt), and `further` good parts.
    ///
    /// # Errors
    /// A score that is not finite.
    pub fn new(
        laws: &Laws,
        left_out: &[Statistics],
        further: &[Statistics],
    ) -> Result<Expected, CalibrationError> {
        let law = |card: &ScoreLaws, score: fn(&Statistics) -> f64| {
            let of = |all: &[Statistics]| all.iter().map(score).collect::<Vec<f64>>();
            ScoreLaw::new(card, &of(left_out), &of(further))
        };
        Ok(Expected {
            change: law(&laws.change, |s| s.change)?,
            position: law(&laws.position, |s| s.position)?,
            local: law(&laws.local, |s| s.local)?,
            image: law(&laws.image, |s| s.image)?,
            dependence: Dependence::new(laws.dependence),
            joint: laws.joint.among(left_out.len()).after(further.len()),
        })
    }

    /// What the witnesses say of a part with such statistics.
    pub fn report(&self, seen: &Statistics) -> WitnessReport {
        let [change, position, local, image] = self.each(seen);
        let of = |statistic: f64, p_value: f64| Testimony { statistic, p_value };
        let image = of(seen.image, image);
        WitnessReport {
            change: of(seen.change, change),
            position: of(seen.position, position),
            joint: self.together(of(seen.local, local), image),
            image,
        }
    }

    /// The p-values of change, position, the score that joins all maps, and the whole picture, each alone.
    pub fn each(&self, seen: &Statistics) -> [f64; 4] {
        let Statistics { change, position, local, image } = *seen;
        [
            (&self.change, change),
            (&self.position, position),
            (&self.local, local),
            (&self.image, image),
        ]
        .map(|(law, statistic)| law.upper_tail(statistic))
    }

    /// What the maps and the whole picture say together.
    pub(super) fn together(&self, local: Testimony, image: Testimony) -> Testimony {
        let together = self.dependence.join(local.p_value, image.p_value);
        Testimony { p_value: self.joint.apply(together), ..local }
    }
}
