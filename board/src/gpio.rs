//! GPIO lines through the kernel's character device: edges with the kernel's own time stamps, outputs with
//! polarity and a level that is safe when nobody drives them.
//!
//! Linux releases a line when the process that holds it dies, and what the pin does then is the board's
//! pull-up's matter. The fail-safe level is therefore set at the start and at an orderly end, and the
//! wiring has to provide for the rest (`board/README.md`).

use crate::config::{InputLine, OutputLine, Wire};
use crate::io::{IoError, OutputRole, Outputs, Trigger, TriggerEdge};
use crate::time::Timestamp;
use gpiocdev::Request;
use gpiocdev::line::{EdgeDetection, EventClock, Offset, Value};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Edges that the kernel keeps for us; older ones are dropped by it and show as a gap in the numbering.
const EDGES_MAX: u32 = 64;
/// The name under which `gpioinfo` shows the lines.
const CONSUMER: &str = "touchstone";

/// The GPIO chips that are here.
pub fn chips() -> Vec<PathBuf> {
    gpiocdev::chip::chips().unwrap_or_default()
}

fn refused(wire: &Wire, error: &gpiocdev::Error) -> IoError {
    if !wire.chip.exists() {
        return no_chip(&wire.chip);
    }
    // gpiocdev keeps the number in a type of a crate that it does not re-export; its text has it.
    let text = error.to_string();
    let is =
        |known: rustix::io::Errno| text.contains(&format!("(os error {})", known.raw_os_error()));
    let why = if is(rustix::io::Errno::BUSY) {
        "in use by another program (gpioinfo names it)".to_owned()
    } else if is(rustix::io::Errno::ACCESS) || is(rustix::io::Errno::PERM) {
        "permission denied; add the user to the group \"gpio\"".to_owned()
    } else {
        text
    };
    IoError::Refused { what: format!("{} line {}", wire.chip.display(), wire.line), why }
}

fn no_chip(path: &Path) -> IoError {
    let here = chips().iter().map(|chip| chip.display().to_string()).collect();
    IoError::NotFound { path: path.to_owned(), here, what: "GPIO chip" }
}

/// An input line whose edges into the active level count.
#[derive(Debug)]
pub struct GpioTrigger {
    wire: Wire,
    request: Request,
}

impl GpioTrigger {
    /// Takes the line of a board file.
    ///
    /// # Errors
    /// No such chip or line, in use, or no permission.
    pub fn open(line: &InputLine) -> Result<GpioTrigger, IoError> {
        let wire = line.wire.clone();
        let mut builder = Request::builder();
        builder
            .on_chip(&wire.chip)
            .with_consumer(CONSUMER)
            .with_kernel_event_buffer_size(EDGES_MAX)
            .with_line(wire.line as Offset)
            .as_input();
        if wire.active_low {
            builder.as_active_low();
        }
        // With the polarity set, "rising" means into the active level.
        builder
            .with_edge_detection(EdgeDetection::RisingEdge)
            .with_event_clock(EventClock::Monotonic);
        if !line.debounce.is_zero() {
            builder.with_debounce_period(line.debounce);
        }
        let request = builder.request().map_err(|e| refused(&wire, &e))?;
        Ok(GpioTrigger { wire, request })
    }
}

impl Trigger for GpioTrigger {
    fn wait(&mut self, timeout: Duration) -> Result<Option<TriggerEdge>, IoError> {
        let failed = |e: gpiocdev::Error| refused(&self.wire, &e);
        if !self.request.wait_edge_event(timeout).map_err(failed)? {
            return Ok(None);
        }
        let event = self.request.read_edge_event().map_err(failed)?;
        let micros = i64::try_from(event.timestamp_ns / 1_000).unwrap_or(i64::MAX);
        Ok(Some(TriggerEdge { at: Timestamp(micros), sequence: event.line_seqno }))
    }
}

#[derive(Debug)]
struct Held {
    role: OutputRole,
    wire: Wire,
    fail_safe: bool,
    request: Request,
}

impl Held {
    fn set(&self, active: bool) -> Result<(), IoError> {
        let value = if active { Value::Active } else { Value::Inactive };
        self.request
            .set_value(self.wire.line as Offset, value)
            .map(|_| ())
            .map_err(|e| refused(&self.wire, &e))
    }
}

/// The output lines of a board.
#[derive(Debug)]
pub struct GpioOutputs {
    held: Vec<Held>,
}

impl GpioOutputs {
    /// Takes the output lines of a board file, each at its fail-safe level.
    ///
    /// # Errors
    /// The first line that cannot be had; those taken before are released at their fail-safe level.
    pub fn open(lines: &[OutputLine]) -> Result<GpioOutputs, IoError> {
        let mut outputs = GpioOutputs { held: Vec::new() };
        for line in lines {
            let wire = line.wire.clone();
            let mut builder = Request::builder();
            builder.on_chip(&wire.chip).with_consumer(CONSUMER).with_line(wire.line as Offset);
            if wire.active_low {
                builder.as_active_low();
            }
            builder.as_output(if line.fail_safe { Value::Active } else { Value::Inactive });
            let request = builder.request().map_err(|e| refused(&wire, &e))?;
            outputs.held.push(Held { role: line.role, wire, fail_safe: line.fail_safe, request });
        }
        Ok(outputs)
    }
}

impl Outputs for GpioOutputs {
    fn set(&mut self, role: OutputRole, level: bool) -> Result<(), IoError> {
        self.held.iter().find(|held| held.role == role).map_or(Ok(()), |held| held.set(level))
    }
}

impl Drop for GpioOutputs {
    fn drop(&mut self) {
        for held in &self.held {
            if let Err(e) = held.set(held.fail_safe) {
                log::error!("{}: the fail-safe level could not be set: {e}", held.role);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(chip: &str) -> Wire {
        Wire { chip: PathBuf::from(chip), line: 3, active_low: false }
    }

    #[test]
    fn a_missing_chip_is_named() {
        let line =
            InputLine { wire: wire("/dev/gpiochip4711"), debounce: Duration::from_micros(100) };
        let error = GpioTrigger::open(&line).unwrap_err().to_string();
        assert!(error.starts_with("/dev/gpiochip4711: no such GPIO chip; here: "), "{error}");
        let line = OutputLine {
            role: OutputRole::Reject,
            wire: wire("/dev/gpiochip4711"),
            fail_safe: true,
        };
        let error = GpioOutputs::open(&[line]).unwrap_err().to_string();
        assert!(error.contains("no such GPIO chip"), "{error}");
    }

    #[test]
    fn what_is_no_chip_is_refused() {
        let line = InputLine { wire: wire("/dev/null"), debounce: Duration::ZERO };
        let error = GpioTrigger::open(&line).unwrap_err().to_string();
        assert!(error.starts_with("/dev/null line 3: "), "{error}");
    }

    #[test]
    fn a_role_without_a_wire_is_accepted() {
        let mut outputs = GpioOutputs::open(&[]).unwrap();
        assert!(outputs.set(OutputRole::Pass, true).is_ok());
    }
}
