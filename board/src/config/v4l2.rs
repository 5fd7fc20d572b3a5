//! `[camera]` with `kind = "v4l2"`, and `[camera.controls]`.

use super::ConfigError;
use super::table::{CameraTable, Source, path};
use crate::camera::pixels::PixelFormat;
use crate::camera::{SIDE_MAX, SIDE_MIN};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// Longest time between the start of an exposure and the driver's time stamp.
pub const EXPOSURE_LAG_MAX: Duration = Duration::from_secs(1);
/// Slowest and fastest rate that can be asked for, in frames per second.
pub const RATE_RANGE: std::ops::RangeInclusive<f32> = 0.1..=1000.0;
/// Most controls that a board file sets.
pub const CONTROLS_MAX: usize = 64;

/// A V4L2 camera.
#[derive(Clone, Debug, PartialEq)]
pub struct V4l2Config {
    /// The device node; a link under `/dev/v4l/by-path` stays the same over restarts.
    pub path: PathBuf,
    /// The driver's `bus_info` that this camera must have.
    pub bus: Option<String>,
    /// The USB serial number that this camera must have.
    pub serial: Option<String>,
    /// Pixel packing; left out, the best that the camera has
    /// (the rule: [`choice`](crate::camera::v4l2::choice)).
    pub format: Option<PixelFormat>,
    /// Pixels per row; given together with the height, or not at all.
    pub width: Option<u32>,
    /// Rows.
    pub height: Option<u32>,
    /// Frames per second; left out, the camera's fastest within reason.
    pub rate: Option<f32>,
    /// How long before the driver's stamp the exposure began, for drivers that stamp the frame's end.
    pub exposure_lag: Duration,
    /// `[camera.controls]`, by name.
    pub controls: Vec<(String, ControlValue)>,
}

impl V4l2Config {
    /// Whatever camera is at `path`, in its best mode, with its controls as they are.
    pub fn at(path: PathBuf) -> V4l2Config {
        V4l2Config {
            path,
            bus: None,
            serial: None,
            format: None,
            width: None,
            height: None,
            rate: None,
            exposure_lag: Duration::ZERO,
            controls: Vec::new(),
        }
    }
}

/// A value of `[camera.controls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlValue {
    /// A number.
    Number(i64),
    /// On or off.
    Switch(bool),
    /// The name of a menu's entry.
    Word(String),
}

impl fmt::Display for ControlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlValue::Number(number) => number.fmt(f),
            ControlValue::Switch(switch) => switch.fmt(f),
            ControlValue::Word(word) => write!(f, "{word:?}"),
        }
    }
}

/// The keys are the camera's matter, which is not open yet.
pub(super) type ControlsTable = BTreeMap<String, Spanned<toml::Value>>;

pub(super) fn v4l2(
    source: &Source<'_>,
    place: &Range<usize>,
    camera: &CameraTable,
) -> Result<V4l2Config, ConfigError> {
    let side = |value: &Option<Spanned<u32>>, key: &str| {
        value.as_ref().map(|value| source.within(value, SIDE_MIN..=SIDE_MAX, key)).transpose()
    };
    let text = |value: &Option<Spanned<String>>, key: &str| match value {
        Some(text) if text.get_ref().trim().is_empty() => Err(source.error(
            &text.span(),
            key,
            "empty",
            "name what `touchstone doctor` lists, or remove the key for any camera",
        )),
        Some(text) => Ok(Some(text.get_ref().clone())),
        None => Ok(None),
    };
    let width = side(&camera.width, "[camera] width")?;
    let height = side(&camera.height, "[camera] height")?;
    let alone = match (&camera.width, &camera.height) {
        (Some(width), None) => Some((width.span(), "[camera] height")),
        (None, Some(height)) => Some((height.span(), "[camera] width")),
        (Some(_), Some(_)) | (None, None) => None,
    };
    if let Some((at, missing)) = alone {
        let remedy = "give both width and height, or neither for the best size";
        return Err(source.error(&at, missing, "missing", remedy));
    }
    let format = camera.format.as_ref().map(|format| *format.get_ref());
    let odd = camera.width.as_ref().filter(|width| *width.get_ref() % 2 == 1);
    if let (Some(value), Some(format)) = (odd, format.filter(|format| format.paired())) {
        let what = format!("{} is odd, {format} packs pixels in pairs", value.get_ref());
        return Err(source.error(&value.span(), "[camera] width", what, "set an even width"));
    }
    let lag_max = EXPOSURE_LAG_MAX.as_micros() as u32;
    let lag = match &camera.exposure_lag_us {
        Some(lag) => source.within(lag, 0..=lag_max, "[camera] exposure_lag_us")?,
        None => 0,
    };
    let rate = camera.rate.as_ref();
    Ok(V4l2Config {
        path: path(source, &camera.path, place, "[camera] path")?,
        bus: text(&camera.bus, "[camera] bus")?,
        serial: text(&camera.serial, "[camera] serial")?,
        format,
        width,
        height,
        rate: rate.map(|rate| source.within(rate, RATE_RANGE, "[camera] rate")).transpose()?,
        exposure_lag: Duration::from_micros(u64::from(lag)),
        controls: controls(source, camera)?,
    })
}

fn controls(
    source: &Source<'_>,
    camera: &CameraTable,
) -> Result<Vec<(String, ControlValue)>, ConfigError> {
    let Some(table) = &camera.controls else { return Ok(Vec::new()) };
    if table.get_ref().len() > CONTROLS_MAX {
        let what = format!("{} controls", table.get_ref().len());
        let remedy = format!("set at most {CONTROLS_MAX}");
        return Err(source.error(&table.span(), "[camera.controls]", what, remedy));
    }
    let value = |(key, written): (&String, &Spanned<toml::Value>)| match written.get_ref() {
        toml::Value::Boolean(on) => Ok((key.clone(), ControlValue::Switch(*on))),
        toml::Value::Integer(number) => Ok((key.clone(), ControlValue::Number(*number))),
        toml::Value::String(word) => Ok((key.clone(), ControlValue::Word(word.clone()))),
        other => Err(source.error(
            &written.span(),
            &format!("[camera.controls] {key}"),
            format!("{} is no value of a control", other.type_str()),
            "set a whole number, true, false, or the name of a menu's entry",
        )),
    };
    table.get_ref().iter().map(value).collect()
}
