//! The wires of a board file: GPIO lines and serial ports.

use super::table::Source;
use super::{
    BAUD_RATES, Board, CameraConfig, ConfigError, DEBOUNCE_MAX, GPIO_MAX, InputLine, LINE_MAX,
    OutputLine, SERIAL_MAX, SerialConfig, Wire,
};
use crate::io::OutputRole;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Trigger,
    Teach,
    Reject,
    Pass,
    Ready,
    Fault,
    Heartbeat,
}

impl Role {
    fn output(self) -> Option<OutputRole> {
        match self {
            Role::Trigger | Role::Teach => None,
            Role::Reject => Some(OutputRole::Reject),
            Role::Pass => Some(OutputRole::Pass),
            Role::Ready => Some(OutputRole::Ready),
            Role::Fault => Some(OutputRole::Fault),
            Role::Heartbeat => Some(OutputRole::Heartbeat),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Polarity {
    High,
    Low,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Active,
    Inactive,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GpioTable {
    role: Spanned<Role>,
    chip: Spanned<PathBuf>,
    line: Spanned<u32>,
    active: Polarity,
    fail_safe: Option<Spanned<Level>>,
    debounce_us: Option<Spanned<u32>>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SerialRole {
    Results,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SerialTable {
    #[allow(
        dead_code,
        reason = "one role so far; the key is there so that a file says what a port is for"
    )]
    role: SerialRole,
    path: Spanned<PathBuf>,
    baud: Spanned<u32>,
}

pub(super) fn gpio(
    source: &Source<'_>,
    tables: &[Spanned<GpioTable>],
    board: &mut Board,
) -> Result<(), ConfigError> {
    let Some(first) = tables.first() else { return Ok(()) };
    if matches!(board.camera, CameraConfig::Simulated(_)) {
        let what = "the simulated line brings its own trigger and outputs";
        return Err(source.error(
            &first.span(),
            "[[gpio]]",
            what,
            "remove it or take another camera",
        ));
    }
    if let Some(extra) = tables.get(GPIO_MAX) {
        let what = format!("more than {GPIO_MAX} lines");
        return Err(source.error(&extra.span(), "[[gpio]]", what, "remove some"));
    }
    for (i, table) in tables.iter().enumerate() {
        let line = table.get_ref();
        let role = *line.role.get_ref();
        let number = source.within(&line.line, 0..=LINE_MAX, "[[gpio]] line")?;
        let chip = line.chip.get_ref().clone();
        for earlier in tables[..i].iter().map(Spanned::get_ref) {
            if *earlier.role.get_ref() == role {
                return Err(source.error(
                    &line.role.span(),
                    "[[gpio]] role",
                    "given twice",
                    "keep one line per role",
                ));
            }
            if *earlier.chip.get_ref() == chip && *earlier.line.get_ref() == number {
                let what = format!("{} line {number} has a role already", chip.display());
                return Err(source.error(
                    &line.line.span(),
                    "[[gpio]] line",
                    what,
                    "give it one role",
                ));
            }
        }
        let wire = Wire { chip, line: number, active_low: line.active == Polarity::Low };
        match role.output() {
            Some(role) => board.outputs.push(output(source, role, wire, line)?),
            None => {
                let input = input(source, wire, line)?;
                *(if role == Role::Trigger { &mut board.trigger } else { &mut board.teach }) =
                    Some(input);
            }
        }
    }
    Ok(())
}

fn output(
    source: &Source<'_>,
    role: OutputRole,
    wire: Wire,
    line: &GpioTable,
) -> Result<OutputLine, ConfigError> {
    if let Some(debounce) = &line.debounce_us {
        return Err(source.error(
            &debounce.span(),
            "[[gpio]] debounce_us",
            "this is an output",
            "remove it",
        ));
    }
    let Some(fail_safe) = &line.fail_safe else {
        let what = "an output needs its level for when nobody drives it";
        let remedy = "set \"active\" or \"inactive\", whichever is safe on this machine";
        return Err(source.error(&line.role.span(), "[[gpio]] fail_safe", what, remedy));
    };
    // Both say that all is well, which a dead camera must never say.
    let promise = matches!(role, OutputRole::Pass | OutputRole::Ready | OutputRole::Heartbeat);
    let active = *fail_safe.get_ref() == Level::Active;
    if promise && active {
        let what = format!("{role} would be active with nobody inspecting");
        return Err(source.error(
            &fail_safe.span(),
            "[[gpio]] fail_safe",
            what,
            "set \"inactive\"",
        ));
    }
    Ok(OutputLine { role, wire, fail_safe: active })
}

fn input(source: &Source<'_>, wire: Wire, line: &GpioTable) -> Result<InputLine, ConfigError> {
    if let Some(fail_safe) = &line.fail_safe {
        return Err(source.error(
            &fail_safe.span(),
            "[[gpio]] fail_safe",
            "this is an input",
            "remove it",
        ));
    }
    let most = DEBOUNCE_MAX.as_micros() as u32;
    let debounce = match &line.debounce_us {
        Some(debounce) => source.within(debounce, 0..=most, "[[gpio]] debounce_us")?,
        None => 0,
    };
    Ok(InputLine { wire, debounce: Duration::from_micros(u64::from(debounce)) })
}

pub(super) fn serial(
    source: &Source<'_>,
    tables: &[Spanned<SerialTable>],
    board: &mut Board,
) -> Result<(), ConfigError> {
    if let Some(extra) = tables.get(SERIAL_MAX) {
        let what = format!("more than {SERIAL_MAX} ports");
        return Err(source.error(&extra.span(), "[[serial]]", what, "remove some"));
    }
    for (i, table) in tables.iter().enumerate() {
        let port = table.get_ref();
        let path = port.path.get_ref().clone();
        if tables[..i].iter().any(|earlier| *earlier.get_ref().path.get_ref() == path) {
            return Err(source.error(
                &port.path.span(),
                "[[serial]] path",
                "given twice",
                "open each port once",
            ));
        }
        let baud = *port.baud.get_ref();
        if !BAUD_RATES.contains(&baud) {
            let rates = BAUD_RATES.map(|rate| rate.to_string()).join(", ");
            let what = format!("{baud} is no baud rate");
            return Err(source.error(
                &port.baud.span(),
                "[[serial]] baud",
                what,
                format!("set one of {rates}"),
            ));
        }
        board.serial.push(SerialConfig { path, baud });
    }
    Ok(())
}
