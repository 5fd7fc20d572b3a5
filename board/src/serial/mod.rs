//! Serial ports: results out, commands in, from threads of their own, never in the line's way.
//!
//! A port may vanish and come back: it is opened again, and what could not be written meanwhile is counted.

pub mod protocol;
mod service;

pub use service::{QUEUE_MAX, RETRY, ResultPort, SerialCounts, Speaker};

use crate::config::SerialConfig;
use crate::io::IoError;
use serialport::TTYPort;
use std::io;
use std::time::Duration;

/// How long one write may take before it counts as failed.
const WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// The serial ports that are here.
pub fn ports() -> Vec<String> {
    let mut ports: Vec<String> = serialport::available_ports()
        .unwrap_or_default()
        .into_iter()
        .map(|port| port.port_name)
        .collect();
    ports.sort();
    ports
}

/// Opens a port for this program alone.
///
/// # Errors
/// No such port (with those that are here), in use, or no permission.
pub fn open(config: &SerialConfig, timeout: Duration) -> Result<TTYPort, IoError> {
    let path = &config.path;
    let name = path.to_string_lossy();
    serialport::new(name.as_ref(), config.baud).timeout(timeout).open_native().map_err(|e| {
        if !path.exists() {
            return IoError::NotFound { path: path.clone(), here: ports(), what: "serial port" };
        }
        IoError::Refused { what: path.display().to_string(), why: refusal(&e) }
    })
}

fn refusal(error: &serialport::Error) -> String {
    match error.kind() {
        serialport::ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
            "permission denied; add the user to the group \"dialout\"".to_owned()
        }
        // What TIOCEXCL and the lock of another program look like.
        serialport::ErrorKind::NoDevice
        | serialport::ErrorKind::Io(io::ErrorKind::ResourceBusy) => {
            format!(
                "in use by another program ({error}); stop it (fuser names it) or take another port"
            )
        }
        serialport::ErrorKind::InvalidInput
        | serialport::ErrorKind::Unknown
        | serialport::ErrorKind::Io(_) => {
            format!("{error}; it must be a serial port that does this speed")
        }
    }
}

#[cfg(test)]
pub(crate) mod test_wire;
#[cfg(test)]
mod tests;
