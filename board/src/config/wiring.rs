//! The wires of a board file: GPIO lines and serial ports.

use super::table::Source;
use super::{
    BAUD_RATES, Bias, Board, CameraConfig, ConfigError, DEBOUNCE_MAX, Drive, GPIO_MAX, InputLine,
    LINE_MAX, OutputLine, SERIAL_MAX, SerialConfig, SerialRole, Wire,
};
use crate::io::{InputRole, OutputRole};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;

/// Highest header pin.
const PIN_MAX: u32 = 400;

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    Trigger,
    Teach,
    EncoderA,
    EncoderB,
    EncoderStep,
    Interlock,
    Ready,
    Busy,
    Pass,
    Reject,
    #[serde(alias = "fault")]
    Error,
    Heartbeat,
    Notice,
}

enum Direction {
    In(InputRole),
    Out(OutputRole),
}

impl Role {
    fn direction(self) -> Direction {
        match self {
            Role::Trigger => Direction::In(InputRole::Trigger),
            Role::Teach => Direction::In(InputRole::Teach),
            Role::EncoderA => Direction::In(InputRole::EncoderA),
            Role::EncoderB => Direction::In(InputRole::EncoderB),
            Role::EncoderStep => Direction::In(InputRole::EncoderStep),
            Role::Interlock => Direction::In(InputRole::Interlock),
            Role::Ready => Direction::Out(OutputRole::Ready),
            Role::Busy => Direction::Out(OutputRole::Busy),
            Role::Pass => Direction::Out(OutputRole::Pass),
            Role::Reject => Direction::Out(OutputRole::Reject),
            Role::Error => Direction::Out(OutputRole::Fault),
            Role::Heartbeat => Direction::Out(OutputRole::Heartbeat),
            Role::Notice => Direction::Out(OutputRole::Notice),
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

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum BiasName {
    Disabled,
    PullUp,
    PullDown,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DriveName {
    PushPull,
    OpenDrain,
    OpenSource,
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
    bias: Option<BiasName>,
    drive: Option<Spanned<DriveName>>,
    pin: Option<Spanned<u32>>,
    pinmux: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SerialRoleName {
    Results,
    Commands,
    Modbus,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SerialTable {
    role: Spanned<SerialRoleName>,
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
        let wire = wire(source, chip, number, line)?;
        match role.direction() {
            Direction::Out(role) => board.outputs.push(output(source, role, wire, line)?),
            Direction::In(role) => {
                let input = input(source, role, wire, line)?;
                match role {
                    InputRole::Trigger => board.trigger = Some(input),
                    InputRole::Teach => board.teach = Some(input),
                    InputRole::EncoderA
                    | InputRole::EncoderB
                    | InputRole::EncoderStep
                    | InputRole::Interlock => board.inputs.push(input),
                }
            }
        }
    }
    encoder(source, tables)
}

/// Half an encoder counts nothing, and two encoders count different things.
fn encoder(source: &Source<'_>, tables: &[Spanned<GpioTable>]) -> Result<(), ConfigError> {
    let place = |role| {
        let table = tables.iter().map(Spanned::get_ref).find(|t| *t.role.get_ref() == role);
        table.map(|t| t.role.span())
    };
    let (a, b) = (place(Role::EncoderA), place(Role::EncoderB));
    let quadrature = a.clone().or(b.clone());
    let wrong = match (a, b, place(Role::EncoderStep)) {
        (Some(_), Some(_), None) | (None, None, _) => return Ok(()),
        (Some(at), None, None) => (at, "encoder_a without encoder_b", "wire both"),
        (None, Some(at), None) => (at, "encoder_b without encoder_a", "wire both"),
        (_, _, Some(at)) => {
            let at = quadrature.unwrap_or(at);
            (at, "two encoders", "keep encoder_a and encoder_b, or encoder_step")
        }
    };
    Err(source.error(&wrong.0, "[[gpio]] role", wrong.1, wrong.2))
}

fn wire(
    source: &Source<'_>,
    chip: PathBuf,
    number: u32,
    line: &GpioTable,
) -> Result<Wire, ConfigError> {
    let text = chip.to_string_lossy();
    if text.is_empty() || text.contains('\0') || text.trim() == "label:" {
        let remedy = "name a device as /dev/gpiochip0, or label:NAME (gpiodetect lists the labels)";
        return Err(source.error(&line.chip.span(), "[[gpio]] chip", "not a chip", remedy));
    }
    let pin = match &line.pin {
        Some(pin) => Some(source.within(pin, 1..=PIN_MAX, "[[gpio]] pin")?),
        None => None,
    };
    let bias = line.bias.map(|bias| match bias {
        BiasName::Disabled => Bias::Disabled,
        BiasName::PullUp => Bias::PullUp,
        BiasName::PullDown => Bias::PullDown,
    });
    Ok(Wire {
        chip,
        line: number,
        active_low: line.active == Polarity::Low,
        bias,
        pin,
        pinmux: line.pinmux.clone(),
    })
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
    // They say that all is well, which a dead camera must never say.
    let promise = match role {
        OutputRole::Pass | OutputRole::Ready | OutputRole::Heartbeat => true,
        OutputRole::Reject | OutputRole::Fault | OutputRole::Busy | OutputRole::Notice => false,
    };
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
    let drive = match line.drive.as_ref().map(|drive| *drive.get_ref()) {
        None | Some(DriveName::PushPull) => Drive::PushPull,
        Some(DriveName::OpenDrain) => Drive::OpenDrain,
        Some(DriveName::OpenSource) => Drive::OpenSource,
    };
    Ok(OutputLine { role, wire, drive, fail_safe: active })
}

fn input(
    source: &Source<'_>,
    role: InputRole,
    wire: Wire,
    line: &GpioTable,
) -> Result<InputLine, ConfigError> {
    if let Some(drive) = &line.drive {
        let what = "this is an input";
        return Err(source.error(&drive.span(), "[[gpio]] drive", what, "remove it"));
    }
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
    Ok(InputLine { role, wire, debounce: Duration::from_micros(u64::from(debounce)) })
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
        let role = match port.role.get_ref() {
            SerialRoleName::Results => SerialRole::Results,
            SerialRoleName::Commands => SerialRole::Commands,
            SerialRoleName::Modbus => SerialRole::Modbus,
        };
        if role == SerialRole::Modbus && board.serial.iter().any(|s| s.role == role) {
            let what = "a second port for Modbus";
            return Err(source.error(&port.role.span(), "[[serial]] role", what, "keep one"));
        }
        board.serial.push(SerialConfig { role, path, baud });
    }
    Ok(())
}
