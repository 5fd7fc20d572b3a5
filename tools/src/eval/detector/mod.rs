//! What can be evaluated: one trait, implemented by the product, its witnesses and the baseline.

pub mod difference;
mod oneprompt;

use touchstone_models::picture::Picture;

use super::args::{DetectorKind, EvalArgs};
use super::observation::Observation;

/// Something that judges pictures after seeing good ones.
pub trait Detector {
    /// Takes good pictures, in place of those it had, and `further` ones that tell what good ones score.
    ///
    /// # Errors
    /// The engine's, with what it was doing.
    fn enrol(&mut self, prompts: &[Picture], further: &[Picture]) -> anyhow::Result<()>;

    /// Judges a picture: maps, numbers, perhaps a verdict, all from one pass.
    ///
    /// # Errors
    /// The engine's; a broken score is an error here, not a reject, because a figure must not
    /// profit from it.
    fn observe(&mut self, query: &Picture) -> anyhow::Result<Observation>;
}

/// Makes the detector that a command line asks for.
///
/// # Errors
/// A model package that is missing or damaged.
pub fn make(args: &EvalArgs) -> anyhow::Result<Box<dyn Detector>> {
    Ok(match args.detector {
        DetectorKind::Difference => Box::new(difference::Difference::default()),
        _ => Box::new(oneprompt::OnePromptDetector::load(args)?),
    })
}

/// The maps that are measured unless the command line names others, the main one first.
pub fn maps(kind: DetectorKind) -> &'static [&'static str] {
    match kind {
        DetectorKind::Oneprompt => &oneprompt::MAPS,
        DetectorKind::Product => &oneprompt::MAPS[..1],
        DetectorKind::Change => &oneprompt::MAPS[1..2],
        DetectorKind::Nearest => &oneprompt::MAPS[2..3],
        DetectorKind::Position => &oneprompt::MAPS[3..],
        DetectorKind::Difference => &difference::FORMS,
    }
}
