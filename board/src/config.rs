//! The board file: which device plays which role. A new board needs no Rust.
//!
//! Parsed once into types that cannot hold a wrong value; whatever is wrong with the text is said with key,
//! line and remedy.

mod display;
mod fieldbus;
mod storage;
mod table;
mod v4l2;
mod watchdog;
mod wiring;

pub use crate::config::display::{DisplayConfig, DisplayKind};
pub use crate::config::storage::{SETTLE, StorageConfig};
pub use crate::config::v4l2::{ControlValue, EXPOSURE_LAG_MAX, V4l2Config};
pub use crate::config::watchdog::{TIMEOUT_RANGE_S, WatchdogConfig};

pub use crate::config::fieldbus::{MODBUS_PORT, ModbusConfig, TcpConfig};

use crate::io::{InputRole, OutputRole};
use crate::sim::SimConfig;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest board file.
pub const FILE_MAX: u64 = 64 * 1024;
/// Most GPIO lines.
pub const GPIO_MAX: usize = 32;
/// Most serial ports.
pub const SERIAL_MAX: usize = 4;
/// Longest debounce time.
pub const DEBOUNCE_MAX: Duration = Duration::from_secs(1);
/// Highest line number on a GPIO chip.
pub const LINE_MAX: u32 = 1023;
/// Baud rates that ports commonly do.
pub const BAUD_RATES: [u32; 8] = [9600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 921_600];

/// A board, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Board {
    /// What people call it.
    pub name: String,
    /// The family of boards that it belongs to, by which bundles are addressed; `[a-z0-9-_]{1,64}`.
    pub family: Option<String>,
    /// Its one camera.
    pub camera: CameraConfig,
    /// The line on which parts announce themselves; without it every frame is a part.
    pub trigger: Option<InputLine>,
    /// The operator's teach button.
    pub teach: Option<InputLine>,
    /// The other input lines: encoder and interlock, each role at most once.
    pub inputs: Vec<InputLine>,
    /// Output lines, each role at most once.
    pub outputs: Vec<OutputLine>,
    /// Serial ports.
    pub serial: Vec<SerialConfig>,
    /// The operator's screen.
    pub display: Option<DisplayConfig>,
    /// USB sticks with recipes.
    pub storage: StorageConfig,
    /// Who starts the machine anew when this program hangs.
    pub watchdog: WatchdogConfig,
    /// Modbus, where the file asks for it.
    pub modbus: Option<ModbusConfig>,
}

/// Which camera.
#[derive(Clone, Debug, PartialEq)]
pub enum CameraConfig {
    /// A camera of the kernel.
    V4l2(V4l2Config),
    /// A folder of pictures.
    Files(FilesConfig),
    /// The simulated line, which brings its own trigger and outputs.
    Simulated(SimConfig),
}

/// A folder as a camera.
#[derive(Clone, Debug, PartialEq)]
pub struct FilesConfig {
    /// The folder.
    pub path: PathBuf,
    /// Pictures per second.
    pub rate: f32,
    /// Over and over.
    pub repeat: bool,
}

/// One wire on a GPIO chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// The chip: a device as `/dev/gpiochip0`, or `label:` and the label that the kernel gives it, which
    /// stays the same over restarts while the numbers may not.
    pub chip: PathBuf,
    /// Its line.
    pub line: u32,
    /// Whether active means a low level.
    pub active_low: bool,
    /// The pull resistor inside the chip; `None` leaves it as it is.
    pub bias: Option<Bias>,
    /// The header pin, for people.
    pub pin: Option<u32>,
    /// What the pin needs to be a GPIO at all (Jetson), for people.
    pub pinmux: Option<String>,
}

/// A pull resistor inside the GPIO chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// None.
    Disabled,
    /// To the supply.
    PullUp,
    /// To ground.
    PullDown,
}

/// How an output drives its wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drive {
    /// Both levels.
    #[default]
    PushPull,
    /// Low only; a resistor pulls up.
    OpenDrain,
    /// High only; a resistor pulls down.
    OpenSource,
}

/// An input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputLine {
    /// What it means.
    pub role: InputRole,
    /// Where it is wired.
    pub wire: Wire,
    /// Changes shorter than this are not seen.
    pub debounce: Duration,
}

/// An output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputLine {
    /// What it means.
    pub role: OutputRole,
    /// Where it is wired.
    pub wire: Wire,
    /// How it drives.
    pub drive: Drive,
    /// Whether it is active when nobody drives it any more: at start and after the program's end.
    pub fail_safe: bool,
}

/// What a serial port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SerialRole {
    /// Results out, nothing in.
    Results,
    /// Results out, commands in.
    Commands,
    /// Modbus RTU.
    Modbus,
}

/// A serial port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialConfig {
    /// What it is for.
    pub role: SerialRole,
    /// The port.
    pub path: PathBuf,
    /// Its speed.
    pub baud: u32,
}

/// What is wrong with a board file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, when it is known.
    pub file: Option<PathBuf>,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The key, as `[camera] width`; empty where the text is not TOML.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = OneLine(f);
        match &self.file {
            Some(file) => write!(f, "{}", file.display())?,
            None => f.write_str("board file")?,
        }
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}; {}", self.what, self.remedy)
    }
}

/// Escapes line ends and the like: an error quotes the file, and has to stay one line of a log whatever the
/// file holds.
struct OneLine<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match c.is_control() {
            true => write!(self.0, "{}", c.escape_default()),
            false => self.0.write_char(c),
        })
    }
}

impl std::error::Error for ConfigError {}

impl Board {
    /// Every input line.
    pub fn input_lines(&self) -> Vec<InputLine> {
        self.trigger.iter().chain(&self.teach).chain(&self.inputs).cloned().collect()
    }

    /// Parses the text of a board file.
    ///
    /// # Errors
    /// The first thing that is wrong, with key, line and remedy.
    pub fn parse(text: &str) -> Result<Board, ConfigError> {
        table::parse(text)
    }

    /// Reads and parses a board file.
    ///
    /// # Errors
    /// As [`Board::parse`], or the file cannot be read.
    pub fn load(path: &Path) -> Result<Board, ConfigError> {
        let unread = |what: String| ConfigError {
            file: Some(path.to_owned()),
            line: None,
            key: String::new(),
            what,
            remedy: "name a readable board file (examples: board/boards/*.toml)".to_owned(),
        };
        let size = std::fs::metadata(path).map_err(|e| unread(e.to_string()))?.len();
        if size > FILE_MAX {
            return Err(unread(format!("{size} bytes; a board file has at most {FILE_MAX}")));
        }
        let text = std::fs::read_to_string(path).map_err(|e| unread(e.to_string()))?;
        Board::parse(&text).map_err(|e| ConfigError { file: Some(path.to_owned()), ..e })
    }
}

#[cfg(test)]
mod tests;
