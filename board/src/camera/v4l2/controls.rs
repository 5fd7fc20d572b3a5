//! The camera's controls, from `[camera.controls]` to what the driver is told.
//!
//! Seven names mean the same on every camera and carry their unit; any other is a driver's own control by
//! its name in small letters with `_` between words ("Backlight Compensation" is `backlight_compensation`).

pub use crate::config::ControlValue as Value;
use std::fmt;

/// What a control takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number from `min` to `max` by `step`.
    Integer,
    /// 0 or 1.
    Boolean,
    /// One of these entries, by number or name.
    Menu(Vec<(i32, String)>),
}

/// One control, as the driver describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// V4L2's number.
    pub id: u32,
    /// The driver's name for it.
    pub name: String,
    /// What it takes.
    pub kind: Kind,
    /// Smallest value.
    pub min: i64,
    /// Largest value.
    pub max: i64,
    /// From one value to the next; at least 1.
    pub step: i64,
    /// Whether it can be set.
    pub writable: bool,
}

/// A control to set, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key it comes from.
    pub key: String,
    /// V4L2's number.
    pub id: u32,
    /// The driver's value.
    pub value: i32,
}

/// What is wrong with `[camera.controls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// The camera has no such control.
    Unknown {
        /// The key.
        key: String,
        /// Those it has, with what they take.
        known: Vec<String>,
    },
    /// The value is not one that the control takes.
    Value {
        /// The key.
        key: String,
        /// What the file says.
        value: String,
        /// What the control takes.
        takes: String,
    },
    /// The driver takes care of this value itself while the other key is on.
    Overruled {
        /// The key.
        key: &'static str,
        /// The automatic that is switched on.
        by: &'static str,
    },
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlError::Unknown { key, known } => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                write!(
                    f,
                    "[camera.controls] {key}: this camera has no such control; it has: {known}"
                )
            }
            ControlError::Value { key, value, takes } => {
                write!(f, "[camera.controls] {key} = {value}: not possible; set {takes}")
            }
            ControlError::Overruled { key, by } => write!(
                f,
                "[camera.controls] {key} has no effect while {by} is on; remove one of the two"
            ),
        }
    }
}

impl std::error::Error for ControlError {}

const EXPOSURE_AUTO: u32 = 0x009A_0901;
const EXPOSURE_ABSOLUTE: u32 = 0x009A_0902;
const AUTO_WHITE_BALANCE: u32 = 0x0098_090C;
const AUTO_GAIN: u32 = 0x0098_0912;
const GAIN: u32 = 0x0098_0913;
const POWER_LINE: u32 = 0x0098_0918;
const WHITE_BALANCE: u32 = 0x0098_091A;
const ANALOGUE_GAIN: u32 = 0x009E_0903;
/// V4L2 counts exposure time in these.
const EXPOSURE_UNIT_US: i64 = 100;

/// How a name that is the same everywhere becomes the driver's value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// The driver's own number.
    Plain,
    /// Microseconds to the driver's 100 µs.
    Exposure,
    /// Menu: 0 automatic, 1 by hand, 2 time by hand, 3 aperture by hand.
    AutoExposure,
    /// Menu: 0 off, 1 50 Hz, 2 60 Hz.
    PowerLine,
}

struct Common {
    key: &'static str,
    /// The first that the camera has.
    ids: &'static [u32],
    meaning: Meaning,
    /// The automatic that has to be off for this to have an effect.
    by_hand: Option<&'static str>,
}

const fn common(
    key: &'static str,
    ids: &'static [u32],
    meaning: Meaning,
    by_hand: Option<&'static str>,
) -> Common {
    Common { key, ids, meaning, by_hand }
}

/// The automatics first: the values they would overrule come after them.
const COMMON: [Common; 7] = [
    common("auto_exposure", &[EXPOSURE_AUTO], Meaning::AutoExposure, None),
    common("auto_gain", &[AUTO_GAIN], Meaning::Plain, None),
    common("auto_white_balance", &[AUTO_WHITE_BALANCE], Meaning::Plain, None),
    common("exposure_us", &[EXPOSURE_ABSOLUTE], Meaning::Exposure, Some("auto_exposure")),
    common("gain", &[GAIN, ANALOGUE_GAIN], Meaning::Plain, Some("auto_gain")),
    common("white_balance_k", &[WHITE_BALANCE], Meaning::Plain, Some("auto_white_balance")),
    common("power_line_hz", &[POWER_LINE], Meaning::PowerLine, None),
];

/// A driver's name as a key: small letters and digits, one `_` for all between.
pub fn normalised(name: &str) -> String {
    let spaced: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' })
        .collect();
    spaced.split_whitespace().collect::<Vec<_>>().join("_")
}

impl Control {
    /// The key for it in `[camera.controls]`.
    pub fn key(&self) -> String {
        let common = COMMON.iter().find(|common| common.ids.contains(&self.id));
        common.map_or_else(|| normalised(&self.name), |common| common.key.to_owned())
    }

    fn meaning(&self) -> Meaning {
        COMMON.iter().find(|c| c.ids.contains(&self.id)).map_or(Meaning::Plain, |c| c.meaning)
    }

    fn entries(&self) -> &[(i32, String)] {
        match &self.kind {
            Kind::Menu(entries) => entries,
            Kind::Integer | Kind::Boolean => &[],
        }
    }

    /// What it takes, for people, in the key's unit.
    pub fn takes(&self) -> String {
        match (self.meaning(), &self.kind) {
            (Meaning::Exposure, _) => {
                let us = |value: i64| value.saturating_mul(EXPOSURE_UNIT_US);
                format!("{} to {}", us(self.min), us(self.max))
            }
            (Meaning::AutoExposure, _) | (_, Kind::Boolean) => "true or false".to_owned(),
            (Meaning::PowerLine, _) => "0, 50 or 60".to_owned(),
            (Meaning::Plain, Kind::Integer) => format!("{} to {}", self.min, self.max),
            (Meaning::Plain, Kind::Menu(entries)) => {
                let names = entries.iter().map(|(index, name)| format!("{index} {name:?}"));
                format!("one of {}", names.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// The driver's value, or `None` where it takes no such one.
    fn convert(&self, value: &Value) -> Option<i32> {
        let has = |index: i32| self.entries().iter().any(|(i, _)| *i == index).then_some(index);
        match (self.meaning(), &self.kind, value) {
            (Meaning::Exposure, _, Value::Number(us)) => {
                // To the nearest, but never to "no exposure".
                let half = EXPOSURE_UNIT_US / 2;
                self.step_to(us.saturating_add(half).div_euclid(EXPOSURE_UNIT_US).max(1))
            }
            (Meaning::AutoExposure, _, Value::Switch(true)) => has(3).or_else(|| has(0)),
            (Meaning::AutoExposure, _, Value::Switch(false)) => has(1).or_else(|| has(2)),
            (Meaning::PowerLine, _, Value::Number(0)) => has(0),
            (Meaning::PowerLine, _, Value::Number(50)) => has(1),
            (Meaning::PowerLine, _, Value::Number(60)) => has(2),
            (Meaning::Plain, Kind::Integer, Value::Number(number)) => self.step_to(*number),
            (Meaning::Plain, Kind::Boolean, Value::Switch(on)) => Some(i32::from(*on)),
            (Meaning::Plain, Kind::Menu(_), Value::Number(index)) => {
                i32::try_from(*index).ok().and_then(has)
            }
            (Meaning::Plain, Kind::Menu(entries), Value::Word(word)) => {
                let wanted = normalised(word);
                entries.iter().find(|(_, name)| normalised(name) == wanted).map(|(index, _)| *index)
            }
            _ => None,
        }
    }

    /// The nearest step, where the value is within the range.
    fn step_to(&self, value: i64) -> Option<i32> {
        if !(self.min..=self.max).contains(&value) {
            return None;
        }
        let step = self.step.max(1);
        let steps = (value - self.min).saturating_add(step / 2) / step;
        let nearest = self.min + steps * step;
        let within = if nearest > self.max { nearest - step } else { nearest };
        i32::try_from(within).ok()
    }
}

/// What to tell the driver, in order. A value set by hand switches its automatic off.
///
/// # Errors
/// A control that the camera does not have or that does not take the value.
pub fn plan(wanted: &[(String, Value)], known: &[Control]) -> Result<Vec<Setting>, ControlError> {
    let known: Vec<&Control> = known.iter().filter(|control| control.writable).collect();
    let asked = |key: &str| wanted.iter().find(|(k, _)| k == key).map(|(_, value)| value);
    let mut all: Vec<(String, Value)> = Vec::new();
    for common in &COMMON {
        if let Some(automatic) = common.by_hand.filter(|_| asked(common.key).is_some()) {
            match asked(automatic) {
                Some(Value::Switch(true)) => {
                    return Err(ControlError::Overruled { key: common.key, by: automatic });
                }
                None if known.iter().any(|control| control.key() == automatic) => {
                    all.push((automatic.to_owned(), Value::Switch(false)));
                }
                Some(_) | None => {}
            }
        }
    }
    all.extend(wanted.iter().cloned());
    let place = |key: &str| COMMON.iter().position(|c| c.key == key).unwrap_or(COMMON.len());
    all.sort_by_key(|(key, _)| place(key));
    let setting = |(key, value): &(String, Value)| {
        let Some(control) = find(key, &known) else {
            let list = known.iter().map(|c| format!("{} ({})", c.key(), c.takes())).collect();
            return Err(ControlError::Unknown { key: key.clone(), known: list });
        };
        let value = control.convert(value).ok_or_else(|| ControlError::Value {
            key: key.clone(),
            value: value.to_string(),
            takes: control.takes(),
        })?;
        Ok(Setting { key: key.clone(), id: control.id, value })
    };
    all.iter().map(setting).collect()
}

/// The control of that key; of those that share it, the first by the table's order.
fn find<'a>(key: &str, known: &[&'a Control]) -> Option<&'a Control> {
    match COMMON.iter().find(|common| common.key == key) {
        Some(common) => {
            common.ids.iter().find_map(|id| known.iter().find(|c| c.id == *id).copied())
        }
        None => known.iter().find(|control| control.key() == key).copied(),
    }
}

#[cfg(test)]
#[path = "controls_tests.rs"]
mod tests;
