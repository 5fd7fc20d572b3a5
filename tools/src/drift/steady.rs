//! How many steady parts pass until a false warning.

use anyhow::Result;
use touchstone_models::drift::{DriftWatch, RUN_LENGTH};
use touchstone_models::verdict::{Testimony, WitnessReport};

use super::report::Row;
use crate::synth::Dice;
use crate::{parallel, progress};

/// Prompts whose scores a watch begins with.
const TAUGHT: usize = 10;
/// Cameras that share the parts.
const CAMERAS: u64 = 40;

/// The laws that scores are drawn from: ranks do not depend on them, and here it is seen.
#[derive(Debug, Clone, Copy)]
enum Law {
    Normal,
    /// As the peak of a map: skewed, heavier above.
    Gumbel,
}

impl Law {
    fn draw(self, dice: &mut Dice) -> f64 {
        match self {
            Law::Normal => (0..12).map(|_| f64::from(dice.range(0.0, 1.0))).sum::<f64>() - 6.0,
            Law::Gumbel => {
                -(-f64::from(dice.range(0.0, 1.0)).max(f64::from(f32::EPSILON)).ln()).ln()
            }
        }
    }
}

/// Counts warnings among so many parts, half of them of each law; after a warning somebody looks, and the watch
/// begins anew.
pub fn measure(parts: u64, seed: u64, workers: usize) -> Result<Vec<Row>> {
    let each = (parts / 2 / CAMERAS).max(1);
    let bar = progress::bar(2 * CAMERAS, "steady");
    let laws = [(Law::Normal, "normal"), (Law::Gumbel, "Gumbel")];
    let warnings = parallel::map(
        2 * CAMERAS as usize,
        workers,
        || Ok(()),
        |(), camera| {
            let (law, _) = laws[camera % 2];
            let dice = &mut Dice::new(seed, camera as u64);
            let mut watch = DriftWatch::new((0..TAUGHT).map(|_| [law.draw(dice), law.draw(dice)]));
            let mut warnings = 0u64;
            for _ in 0..each {
                let say = |statistic| Testimony { statistic, p_value: 1.0 };
                let (joint, image) = (say(law.draw(dice)), say(law.draw(dice)));
                let said = WitnessReport { change: joint, position: joint, joint, image };
                if watch.passed(&said).is_some() {
                    warnings += 1;
                    watch.reset();
                }
            }
            bar.inc(1);
            Ok(warnings)
        },
    );
    bar.finish_and_clear();
    let warnings = warnings?;
    Ok(laws
        .iter()
        .enumerate()
        .map(|(law, (_, name))| Row::Steady {
            law: (*name).to_owned(),
            parts: each * CAMERAS,
            warnings: warnings.iter().skip(law).step_by(2).sum(),
            stated_run_length: RUN_LENGTH,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn false_warnings_are_no_more_than_stated() {
        for row in measure(400_000, 3, 2).expect("measured") {
            let Row::Steady { parts, warnings, .. } = row else { panic!("{row:?}") };
            // Two are expected of each law at the stated run length.
            assert!(parts == 200_000 && warnings <= 6, "{warnings} of {parts}");
        }
    }
}
