//! GPIO lines through the kernel's character device: edges with the kernel's own time stamps, outputs with
//! polarity and a level that is safe when nobody drives them.
//!
//! Linux releases a line when the process that holds it dies, and what the pin does then is the board's
//! pull-up's matter. The fail-safe level is therefore set at the start, at an orderly end and on a panic, and
//! the wiring has to provide for the rest (`board/README.md`).

mod find;
mod inputs;
mod merge;
mod outputs;

pub use find::{ChipInfo, LABEL, chip_infos, chips, resolve};
pub use inputs::{GpioInputs, GpioTrigger};
pub use merge::{EDGES_HELD_MAX, Merger};
pub use outputs::{FailSafe, GpioOutputs};

pub(crate) use find::consumer;

use crate::config::{Bias, Drive, Wire};
use gpiocdev::line;

/// The name under which `gpioinfo` shows the lines.
pub const CONSUMER: &str = "touchstone";

/// A wire as the kernel wants it.
fn line_config(wire: &Wire) -> line::Config {
    let bias = wire.bias.map(|bias| match bias {
        Bias::Disabled => line::Bias::Disabled,
        Bias::PullUp => line::Bias::PullUp,
        Bias::PullDown => line::Bias::PullDown,
    });
    line::Config { active_low: wire.active_low, bias, ..line::Config::default() }
}

fn drive(drive: Drive) -> line::Drive {
    match drive {
        Drive::PushPull => line::Drive::PushPull,
        Drive::OpenDrain => line::Drive::OpenDrain,
        Drive::OpenSource => line::Drive::OpenSource,
    }
}

#[cfg(test)]
mod tests;
