//! Output lines, and the handle that puts them to rest from anywhere.

use super::{CONSUMER, drive, find, line_config};
use crate::config::{OutputLine, Wire};
use crate::io::{IoError, OutputRole, Outputs};
use gpiocdev::Request;
use gpiocdev::line::{Offset, Value};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug)]
struct Held {
    role: OutputRole,
    wire: Wire,
    device: PathBuf,
    fail_safe: bool,
    request: Request,
}

impl Held {
    fn set(&self, active: bool) -> Result<(), IoError> {
        let value = if active { Value::Active } else { Value::Inactive };
        self.request
            .set_value(self.wire.line as Offset, value)
            .map(|_| ())
            .map_err(|e| find::refused(&self.wire, &self.device, &e))
    }
}

/// Lines that somebody drives until somebody puts them to rest for good.
#[derive(Debug, Default)]
struct Rest {
    held: Vec<Held>,
    resting: AtomicBool,
}

impl Rest {
    fn set(&self, held: &Held, active: bool) -> Result<(), IoError> {
        let at_rest = || IoError::Refused {
            what: held.role.to_string(),
            why: "the outputs were put to their fail-safe level; start the program again"
                .to_owned(),
        };
        if self.resting.load(Ordering::SeqCst) {
            return Err(at_rest());
        }
        held.set(active)?;
        // Whoever put the lines to rest in between has to win.
        if self.resting.load(Ordering::SeqCst) {
            held.set(held.fail_safe)?;
            return Err(at_rest());
        }
        Ok(())
    }

    fn rest(&self) {
        self.resting.store(true, Ordering::SeqCst);
        for held in &self.held {
            if let Err(e) = held.set(held.fail_safe) {
                log::error!("{}: the fail-safe level could not be set: {e}", held.role);
            }
        }
    }
}

/// Puts output lines to their fail-safe level from anywhere, a panic included.
#[derive(Clone, Debug, Default)]
pub struct FailSafe {
    lines: Arc<Rest>,
}

impl FailSafe {
    /// Every line goes to its fail-safe level and stays there: [`Outputs::set`] is refused from now on.
    /// Waits for nothing and may be called again.
    pub fn apply(&self) {
        self.lines.rest();
    }

    /// Whether that has happened.
    pub fn applied(&self) -> bool {
        self.lines.resting.load(Ordering::SeqCst)
    }

    /// From now on a panic of any thread applies it, before the message is printed and before anything
    /// unwinds: a thread that is gone may be the one that would have rejected the part.
    pub fn on_panic(&self) {
        let fail_safe = self.clone();
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            fail_safe.apply();
            earlier(panic);
        }));
    }
}

/// The output lines of a board.
#[derive(Debug)]
pub struct GpioOutputs {
    lines: Arc<Rest>,
}

impl GpioOutputs {
    /// Takes the output lines of a board file, each at its fail-safe level.
    ///
    /// # Errors
    /// The first line that cannot be had; those taken before are released at their fail-safe level.
    pub fn open(lines: &[OutputLine]) -> Result<GpioOutputs, IoError> {
        let held = lines.iter().map(take).collect::<Result<Vec<Held>, IoError>>()?;
        Ok(GpioOutputs { lines: Arc::new(Rest { held, resting: AtomicBool::new(false) }) })
    }

    /// The handle that puts these lines to rest.
    pub fn fail_safe_handle(&self) -> FailSafe {
        FailSafe { lines: Arc::clone(&self.lines) }
    }
}

fn take(line: &OutputLine) -> Result<Held, IoError> {
    let wire = line.wire.clone();
    let device = find::resolve(&wire.chip)?;
    let mut config = line_config(&wire);
    config.as_output(if line.fail_safe { Value::Active } else { Value::Inactive });
    config.with_drive(drive(line.drive));
    let mut builder = Request::builder();
    builder.on_chip(&device).with_consumer(CONSUMER).with_line(wire.line as Offset);
    builder.from_line_config(&config);
    let request = builder.request().map_err(|e| find::refused(&wire, &device, &e))?;
    Ok(Held { role: line.role, wire, device, fail_safe: line.fail_safe, request })
}

impl Outputs for GpioOutputs {
    fn set(&mut self, role: OutputRole, level: bool) -> Result<(), IoError> {
        let held = self.lines.held.iter().find(|held| held.role == role);
        held.map_or(Ok(()), |held| self.lines.set(held, level))
    }
}

impl Drop for GpioOutputs {
    fn drop(&mut self) {
        self.lines.rest();
    }
}
