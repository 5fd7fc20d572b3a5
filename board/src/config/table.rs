//! The board file as it is written, and its way into checked types.

use super::display::{self, DisplayTable};
use super::fieldbus::{self, ModbusTable};
use super::storage::{self, StorageTable};
use super::v4l2::{self, ControlsTable};
use super::watchdog::{self, WatchdogTable};
use super::wiring::{self, GpioTable, SerialTable};
use super::{Board, CameraConfig, ConfigError, FilesConfig};
use crate::camera::files::RATE_MAX;
use crate::camera::pixels::PixelFormat;
use crate::sim::{PartKind, SimConfig};
use serde::Deserialize;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// Longest name of a family of boards.
const FAMILY_BYTES_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BoardTable {
    name: Spanned<String>,
    family: Option<Spanned<String>>,
    camera: Spanned<CameraTable>,
    #[serde(default)]
    gpio: Vec<Spanned<GpioTable>>,
    #[serde(default)]
    serial: Vec<Spanned<SerialTable>>,
    display: Option<Spanned<DisplayTable>>,
    storage: Option<Spanned<StorageTable>>,
    watchdog: Option<Spanned<WatchdogTable>>,
    modbus: Option<Spanned<ModbusTable>>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    V4l2,
    Files,
    Simulated,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CameraTable {
    kind: Kind,
    pub(super) path: Option<Spanned<PathBuf>>,
    pub(super) bus: Option<Spanned<String>>,
    pub(super) serial: Option<Spanned<String>>,
    pub(super) format: Option<Spanned<PixelFormat>>,
    pub(super) width: Option<Spanned<u32>>,
    pub(super) height: Option<Spanned<u32>>,
    pub(super) exposure_lag_us: Option<Spanned<u32>>,
    pub(super) controls: Option<Spanned<ControlsTable>>,
    pub(super) rate: Option<Spanned<f32>>,
    repeat: Option<Spanned<bool>>,
    part: Option<Spanned<PartKind>>,
    seed: Option<Spanned<u64>>,
    parts: Option<Spanned<u64>>,
    defect_rate: Option<Spanned<f32>>,
    interval_ms: Option<Spanned<u32>>,
    travel_ms: Option<Spanned<u32>>,
    shift: Option<Spanned<f32>>,
    rotation_deg: Option<Spanned<f32>>,
    light: Option<Spanned<f32>>,
    noise: Option<Spanned<f32>>,
}

/// The text, to turn places into line numbers.
pub(super) struct Source<'a>(&'a str);

impl Source<'_> {
    fn line(&self, place: &Range<usize>) -> usize {
        let before = &self.0.as_bytes()[..place.start.min(self.0.len())];
        1 + before.iter().filter(|&&b| b == b'\n').count()
    }

    pub(super) fn error(
        &self,
        place: &Range<usize>,
        key: &str,
        what: impl Display,
        remedy: impl Display,
    ) -> ConfigError {
        ConfigError {
            file: None,
            line: Some(self.line(place)),
            key: key.to_owned(),
            what: what.to_string(),
            remedy: remedy.to_string(),
        }
    }

    /// The value, or an error that says where it is missing.
    fn need<T: Clone>(
        &self,
        value: &Option<Spanned<T>>,
        table: &Range<usize>,
        key: &str,
    ) -> Result<T, ConfigError> {
        match value {
            Some(value) => Ok(value.get_ref().clone()),
            None => Err(self.error(table, key, "missing", "add it to this table")),
        }
    }

    pub(super) fn within<T: PartialOrd + Copy + Display>(
        &self,
        value: &Spanned<T>,
        range: RangeInclusive<T>,
        key: &str,
    ) -> Result<T, ConfigError> {
        let it = *value.get_ref();
        if range.contains(&it) {
            return Ok(it);
        }
        let remedy = format!("set it from {} to {}", range.start(), range.end());
        Err(self.error(&value.span(), key, format!("{it} is out of range"), remedy))
    }
}

pub(super) fn parse(text: &str) -> Result<Board, ConfigError> {
    let source = Source(text);
    let table: BoardTable = toml::from_str(text).map_err(|e| ConfigError {
        file: None,
        line: e.span().map(|span| source.line(&span)),
        key: String::new(),
        what: e.message().replace('\n', ", "),
        remedy: "board/boards/*.toml show every key".to_owned(),
    })?;
    if table.name.get_ref().trim().is_empty() {
        return Err(source.error(
            &table.name.span(),
            "name",
            "empty",
            "say what people call this board",
        ));
    }
    let family = table.family.map(|family| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
        let it = family.get_ref();
        match (1..=FAMILY_BYTES_MAX).contains(&it.len()) && it.bytes().all(plain) && it != "any" {
            true => Ok(it.clone()),
            false => {
                let what = "not a family of boards";
                let remedy = "use 1 to 64 of a-z, 0-9, '-' and '_', other than any";
                Err(source.error(&family.span(), "family", what, remedy))
            }
        }
    });
    let camera = camera(&source, &table.camera)?;
    let mut board = Board {
        name: table.name.into_inner(),
        family: family.transpose()?,
        camera,
        trigger: None,
        teach: None,
        inputs: Vec::new(),
        outputs: Vec::new(),
        serial: Vec::new(),
        display: display::display(&source, table.display.as_ref())?,
        storage: storage::storage(&source, table.storage.as_ref())?,
        watchdog: watchdog::watchdog(&source, table.watchdog.as_ref())?,
        modbus: None,
    };
    wiring::gpio(&source, &table.gpio, &mut board)?;
    wiring::serial(&source, &table.serial, &mut board)?;
    fieldbus::modbus(&source, table.modbus.as_ref(), &mut board)?;
    Ok(board)
}

fn camera(source: &Source<'_>, table: &Spanned<CameraTable>) -> Result<CameraConfig, ConfigError> {
    let (place, camera) = (table.span(), table.get_ref());
    foreign_keys(source, camera)?;
    match camera.kind {
        Kind::V4l2 => v4l2::v4l2(source, &place, camera).map(CameraConfig::V4l2),
        Kind::Files => {
            let path = path(source, &camera.path, &place, "[camera] path")?;
            let rate = match &camera.rate {
                Some(rate) => source.within(rate, f32::MIN_POSITIVE..=RATE_MAX, "[camera] rate")?,
                None => 10.0,
            };
            let repeat = camera.repeat.as_ref().is_some_and(|repeat| *repeat.get_ref());
            Ok(CameraConfig::Files(FilesConfig { path, rate, repeat }))
        }
        Kind::Simulated => simulated(source, &place, camera).map(CameraConfig::Simulated),
    }
}

/// A key, where it stands if it does, and the kinds of camera that have it.
type Allowed<'a> = (&'a str, Option<Range<usize>>, &'a [Kind]);

/// Keys of another kind of camera are mistakes, not ornaments.
fn foreign_keys(source: &Source<'_>, camera: &CameraTable) -> Result<(), ConfigError> {
    use Kind::{Files, Simulated, V4l2};
    fn place<T>(value: &Option<Spanned<T>>) -> Option<Range<usize>> {
        value.as_ref().map(Spanned::span)
    }
    let keys: [Allowed<'_>; 20] = [
        ("path", place(&camera.path), &[V4l2, Files]),
        ("bus", place(&camera.bus), &[V4l2]),
        ("serial", place(&camera.serial), &[V4l2]),
        ("controls", place(&camera.controls), &[V4l2]),
        ("format", place(&camera.format), &[V4l2]),
        ("width", place(&camera.width), &[V4l2, Simulated]),
        ("height", place(&camera.height), &[V4l2, Simulated]),
        ("exposure_lag_us", place(&camera.exposure_lag_us), &[V4l2]),
        ("rate", place(&camera.rate), &[V4l2, Files]),
        ("repeat", place(&camera.repeat), &[Files]),
        ("part", place(&camera.part), &[Simulated]),
        ("seed", place(&camera.seed), &[Simulated]),
        ("parts", place(&camera.parts), &[Simulated]),
        ("defect_rate", place(&camera.defect_rate), &[Simulated]),
        ("interval_ms", place(&camera.interval_ms), &[Simulated]),
        ("travel_ms", place(&camera.travel_ms), &[Simulated]),
        ("shift", place(&camera.shift), &[Simulated]),
        ("rotation_deg", place(&camera.rotation_deg), &[Simulated]),
        ("light", place(&camera.light), &[Simulated]),
        ("noise", place(&camera.noise), &[Simulated]),
    ];
    for (key, place, kinds) in keys {
        if let Some(place) = place.filter(|_| !kinds.contains(&camera.kind)) {
            let what = "does not belong to this kind of camera";
            return Err(source.error(
                &place,
                &format!("[camera] {key}"),
                what,
                "remove it or correct kind",
            ));
        }
    }
    Ok(())
}

pub(super) fn path(
    source: &Source<'_>,
    value: &Option<Spanned<PathBuf>>,
    table: &Range<usize>,
    key: &str,
) -> Result<PathBuf, ConfigError> {
    let path = source.need(value, table, key)?;
    let place = value.as_ref().map_or_else(|| table.clone(), Spanned::span);
    // A NUL cannot be handed to the kernel.
    if path.as_os_str().is_empty() || path.to_string_lossy().contains('\0') {
        return Err(source.error(&place, key, "not a path", "name a device or folder"));
    }
    Ok(path)
}

fn simulated(
    source: &Source<'_>,
    place: &Range<usize>,
    camera: &CameraTable,
) -> Result<SimConfig, ConfigError> {
    fn or<T: Copy>(value: &Option<Spanned<T>>, default: T) -> T {
        value.as_ref().map_or(default, |value| *value.get_ref())
    }
    let millis = |value: &Option<Spanned<u32>>, default: Duration| {
        value.as_ref().map_or(default, |value| Duration::from_millis(u64::from(*value.get_ref())))
    };
    let usual = SimConfig::default();
    let config = SimConfig {
        seed: or(&camera.seed, usual.seed),
        kind: or(&camera.part, usual.kind),
        parts: or(&camera.parts, usual.parts),
        defect_rate: or(&camera.defect_rate, usual.defect_rate),
        size: (or(&camera.width, usual.size.0), or(&camera.height, usual.size.1)),
        shift: or(&camera.shift, usual.shift),
        rotation_deg: or(&camera.rotation_deg, usual.rotation_deg),
        light: or(&camera.light, usual.light),
        noise: or(&camera.noise, usual.noise),
        interval: millis(&camera.interval_ms, usual.interval),
        travel: millis(&camera.travel_ms, usual.travel),
        ..usual
    };
    config.check().map_err(|e| {
        source.error(place, "[camera]", e, "correct it or leave it out for the usual value")
    })?;
    Ok(config)
}
