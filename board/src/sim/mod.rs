//! The simulated line: parts drawn like photographs pass a camera, a trigger and a reject actuator, all in
//! virtual time.
//!
//! Everything follows from the seed: part `n` looks the same and has the same defect whether or not the
//! parts before it were looked at, and whatever the inspection does. What counts as rejected is not what
//! the inspection *said* but whether the actuator was driven while the part lay before it ([`line`]).
//!
//! Everything here uses the platform's `f32` functions, so pictures repeat bit for bit on one machine and
//! to the last grey level or so across machines.

mod design;
mod designs;
mod flaw;
mod geometry;
pub mod ledger;
mod lettering;
pub mod line;
mod part;
pub(crate) mod random;
mod render;

pub use ledger::{Outcome, PartRecord, Tally};
pub use line::SimulatedLine;
pub use part::{RenderedPart, Truth};

use crate::camera::{SIDE_MAX, SIDE_MIN};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The product on the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartKind {
    /// Brushed sheet-steel bracket with holes, slot, rib, engraving and a screw.
    #[default]
    Bracket,
    /// Lathe-turned flange with bolt circle and keyway.
    Washer,
    /// Moulded plastic cap with vents, grip ribs and brass inserts.
    Cap,
    /// Nylon connector housing with two rows of contacts.
    Connector,
}

impl PartKind {
    /// Every kind.
    pub const ALL: [PartKind; 4] =
        [PartKind::Bracket, PartKind::Washer, PartKind::Cap, PartKind::Connector];
}

impl fmt::Display for PartKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PartKind::Bracket => "bracket",
            PartKind::Washer => "washer",
            PartKind::Cap => "cap",
            PartKind::Connector => "connector",
        })
    }
}

impl FromStr for PartKind {
    type Err = SimError;
    fn from_str(name: &str) -> Result<PartKind, SimError> {
        let known = PartKind::ALL.into_iter().find(|kind| kind.to_string() == name);
        known.ok_or_else(|| {
            SimError(format!("no part {name:?}; there are bracket, washer, cap, connector"))
        })
    }
}

/// What can be wrong with a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefectKind {
    /// A bright or dark scratch.
    Scratch,
    /// A dent in the face.
    Dent,
    /// Rust, oil or dried residue.
    Stain,
    /// A hole, pocket or contact that is not there.
    MissingHole,
    /// Material standing over the edge.
    Burr,
    /// A piece out of the edge.
    Chip,
    /// A corner broken off.
    BrokenCorner,
    /// A fibre or a lump of something foreign.
    Contamination,
    /// No marking, or that of another product.
    Engraving,
    /// A jagged crack from the edge.
    Crack,
}

impl DefectKind {
    /// Every kind.
    pub const ALL: [DefectKind; 10] = [
        DefectKind::Scratch,
        DefectKind::Dent,
        DefectKind::Stain,
        DefectKind::MissingHole,
        DefectKind::Burr,
        DefectKind::Chip,
        DefectKind::BrokenCorner,
        DefectKind::Contamination,
        DefectKind::Engraving,
        DefectKind::Crack,
    ];
}

impl fmt::Display for DefectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DefectKind::Scratch => "scratch",
            DefectKind::Dent => "dent",
            DefectKind::Stain => "stain",
            DefectKind::MissingHole => "missing-hole",
            DefectKind::Burr => "burr",
            DefectKind::Chip => "chip",
            DefectKind::BrokenCorner => "broken-corner",
            DefectKind::Contamination => "contamination",
            DefectKind::Engraving => "engraving",
            DefectKind::Crack => "crack",
        })
    }
}

/// How often the line itself misbehaves, per part. All zero unless a test asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SimFaults {
    /// The frame never arrives (its number is skipped).
    pub drop_frame: f32,
    /// The frame arrives [`SimFaults::late_by`] later than it should.
    pub late_frame: f32,
    /// How much later.
    pub late_by: Duration,
    /// The sensor bounces: a second edge [`line::BOUNCE`] after the first, with no part and no frame.
    pub duplicate_trigger: f32,
}

/// A simulated line.
#[derive(Clone, Debug, PartialEq)]
pub struct SimConfig {
    /// Everything follows from it.
    pub seed: u64,
    /// The product.
    pub kind: PartKind,
    /// Parts that pass before the line ends; 0 for an endless line.
    pub parts: u64,
    /// Share of parts with a defect, 0..=1.
    pub defect_rate: f32,
    /// Frame width and height in pixels.
    pub size: (u32, u32),
    /// Largest shift of a part either way, as a share of the frame's shorter side.
    pub shift: f32,
    /// Largest rotation either way.
    pub rotation_deg: f32,
    /// Largest change of brightness either way; the light's direction and evenness change along with it.
    pub light: f32,
    /// Sensor noise: 1 is a good industrial camera, 0 none.
    pub noise: f32,
    /// Mean time from part to part.
    pub interval: Duration,
    /// Irregularity of the interval either way, as a share of it.
    pub jitter: f32,
    /// From the trigger edge to the exposure.
    pub exposure_delay: Duration,
    /// From the exposure until the frame can be had.
    pub readout: Duration,
    /// From the trigger edge until the part lies before the actuator.
    pub travel: Duration,
    /// How long the part lies there: the actuator has to be driven all this time to eject it.
    pub hold: Duration,
    /// What goes wrong with the line itself.
    pub faults: SimFaults,
}

impl Default for SimConfig {
    fn default() -> SimConfig {
        SimConfig {
            seed: 1,
            kind: PartKind::Bracket,
            parts: 0,
            defect_rate: 0.2,
            size: (512, 512),
            shift: 0.03,
            rotation_deg: 3.0,
            light: 0.15,
            noise: 1.0,
            interval: Duration::from_millis(250),
            jitter: 0.1,
            exposure_delay: Duration::from_millis(2),
            readout: Duration::from_millis(8),
            travel: Duration::from_millis(600),
            hold: Duration::from_millis(6),
            faults: SimFaults::default(),
        }
    }
}

/// A setting of the simulated line that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimError(String);

impl fmt::Display for SimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SimError {}

/// Shortest interval between parts.
pub const INTERVAL_MIN: Duration = Duration::from_millis(1);
/// Longest of all the line's times.
pub const TIME_MAX: Duration = Duration::from_secs(3600);
/// Largest side of a simulated frame: every pixel is computed.
pub const SIM_SIDE_MAX: u32 = 2048;

impl SimConfig {
    /// Checks every bound.
    ///
    /// # Errors
    /// Names the setting, its value and the range.
    pub fn check(&self) -> Result<(), SimError> {
        let share = |name: &str, value: f32, most: f32| {
            if (0.0..=most).contains(&value) {
                Ok(())
            } else {
                Err(SimError(format!("{name} = {value}: must be from 0 to {most}")))
            }
        };
        share("defect_rate", self.defect_rate, 1.0)?;
        share("shift", self.shift, 0.2)?;
        share("rotation_deg", self.rotation_deg, 45.0)?;
        share("light", self.light, 0.5)?;
        share("noise", self.noise, 20.0)?;
        share("jitter", self.jitter, 0.4)?;
        share("faults.drop_frame", self.faults.drop_frame, 1.0)?;
        share("faults.late_frame", self.faults.late_frame, 1.0)?;
        share("faults.duplicate_trigger", self.faults.duplicate_trigger, 1.0)?;
        for (name, side) in [("width", self.size.0), ("height", self.size.1)] {
            if !(SIDE_MIN..=SIM_SIDE_MAX.min(SIDE_MAX)).contains(&side) {
                return Err(SimError(format!(
                    "{name} = {side}: must be from {SIDE_MIN} to {SIM_SIDE_MAX}"
                )));
            }
        }
        if self.interval < INTERVAL_MIN {
            return Err(SimError("interval: must be at least 1 ms".to_owned()));
        }
        let times = [
            ("interval", self.interval),
            ("exposure_delay", self.exposure_delay),
            ("readout", self.readout),
            ("travel", self.travel),
            ("hold", self.hold),
            ("faults.late_by", self.faults.late_by),
        ];
        match times.into_iter().find(|(_, time)| *time > TIME_MAX) {
            Some((name, _)) => Err(SimError(format!("{name}: must be at most one hour"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
