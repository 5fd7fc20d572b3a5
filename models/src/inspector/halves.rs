//! An inspector in two halves, so that two parts can be looked at at once: the front finds and encodes the next one while
//! the back compares and decides on this one. One after the other they are [`super::Inspector::inspect`].

use super::desk::Desk;
use super::enrol::{Cut, Field, Place, layers};
use super::result::Inspection;
use super::settings::InspectError;
use super::{micros_since, reason_of};
use crate::oneprompt::{Comparer, Encoded, Encoder};
use crate::package::ModelCard;
use crate::picture::Picture;
use crate::recipe::Tiles;
use crate::registration::Locator;
use std::time::Instant;

/// A step of what the front makes of a picture, for the back to take in the same order.
pub struct Seen(Step);

enum Step {
    /// Where the part lies, and what finding it took, in microseconds.
    Placed(Place, u64),
    /// The next tile.
    Tile(Encoded),
    /// There is no more to come.
    Failed(InspectError),
}

/// Finds a part and encodes it.
pub struct Front<'a> {
    pub(super) encoder: &'a mut Encoder,
    pub(super) locator: &'a mut Option<Locator>,
    pub(super) field: &'a Field,
    pub(super) grid: Tiles,
    pub(super) cuts: &'a [Cut],
}

impl Front<'_> {
    /// Gives what it makes of a picture, step by step, until `give` says that no more is wanted.
    pub fn see(&mut self, query: &Picture, mut give: impl FnMut(Seen) -> bool) {
        if let Err(error) = self.steps(query, &mut give) {
            give(Seen(Step::Failed(error)));
        }
    }

    fn steps(
        &mut self,
        query: &Picture,
        give: &mut impl FnMut(Seen) -> bool,
    ) -> Result<(), InspectError> {
        if !self.field.admits(query) {
            let given = (query.width(), query.height());
            return Err(InspectError::Size { prompt: None, given, expected: self.field.size });
        }
        let start = Instant::now();
        let place = Place::find(self.locator, query, self.field.area_of(query));
        if !give(Seen(Step::Placed(place, micros_since(start)))) {
            return Ok(());
        }
        for layer in layers(self.grid) {
            let mut loaded_us = place.load(self.encoder, query, self.field.region, layer)?;
            for cut in self.cuts.iter().filter(|cut| cut.tiling.tiles() == layer) {
                let mut encoded = self.encoder.tile(cut.index)?;
                encoded.preprocess_us += std::mem::take(&mut loaded_us);
                if !give(Seen(Step::Tile(encoded))) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Compares a part with the prompts and decides.
pub struct Back<'a> {
    pub(super) card: &'a ModelCard,
    pub(super) comparer: &'a mut Comparer,
    pub(super) field: &'a Field,
    pub(super) desk: &'a mut Desk,
}

impl Back<'_> {
    /// Takes a step of what the front sees; false where no more of this part is wanted.
    pub fn take(&mut self, seen: Seen) -> bool {
        if self.desk.failed.is_some() {
            return false;
        }
        let done = match seen.0 {
            Step::Placed(place, us) => {
                self.desk.place = Some(place);
                self.desk.latency.preprocess += us;
                Ok(())
            }
            Step::Tile(encoded) => self.desk.compare(self.comparer, encoded),
            Step::Failed(error) => Err(error),
        };
        self.desk.failed = done.err();
        self.desk.failed.is_none()
    }

    /// Judges the part that was taken, and is ready for the next. Never fails: whatever went wrong rejects the part
    /// with the reason.
    pub fn decide(&mut self, query: &Picture) -> Inspection {
        match self.desk.sight() {
            Ok(sight) => self.desk.judge((self.card, self.field), sight, query),
            Err((error, latency)) => Inspection::rejected(reason_of(&error), latency),
        }
    }
}
