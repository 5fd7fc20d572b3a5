//! Whether good parts lie as the first one does, which says whether parts have to be registered.

use super::settings::{InspectError, Settings};
use crate::picture::{Picture, Rect};
use crate::recipe::Registration;
use crate::registration::Pose;

/// A fixture leaves less between two parts, in degrees and in longest sides: parts that are not registered are calibrated
/// with half of it each way.
const FIXTURE: (f64, f64) = (6.0, 0.06);

/// The part that lies farthest from where the first one does, counted from 0, and where; `None` where all lie as
/// near to it as a fixture keeps them, or cannot be told from where they lie.
///
/// # Errors
/// A region outside the first picture.
pub fn lies_otherwise(
    parts: &[&Picture],
    region: Option<Rect>,
) -> Result<Option<(usize, Pose)>, InspectError> {
    let Some(first) = parts.first() else { return Ok(None) };
    let settings = Settings {
        region_of_interest: region,
        registration: Registration::Auto,
        ..Settings::default()
    };
    let Some(mut locator) = super::locator(first, &settings)? else { return Ok(None) };
    let area = |part: &Picture| region.unwrap_or(part.bounds());
    let fits = |part: &&Picture| area(part).check_within(part.width(), part.height()).is_ok();
    let others = parts.iter().enumerate().skip(1).filter(|(_, part)| fits(part));
    let places = others.map(|(index, part)| (index, locator.find(part, area(part))));
    let astray = |pose: &Pose| {
        let (degrees, sides) = FIXTURE;
        pose.degrees().abs() > degrees || pose.distance() > sides
    };
    let off = |pose: &Pose| pose.farthest(&Pose::IDENTITY);
    let astray = places.filter(|(_, pose)| astray(pose));
    Ok(astray.max_by(|a, b| off(&a.1).total_cmp(&off(&b.1))))
}
