//! A board with all of its wires: inputs in one order, commands in, results out.

use crate::command::{Exchange, Request};
use crate::config::{Board, SerialRole};
use crate::devices::{DeviceError, Devices};
use crate::gpio::{FailSafe, GpioInputs, GpioOutputs};
use crate::io::{Inputs, TriggerOnly};
use crate::modbus::Modbus;
use crate::results::ResultRecord;
use crate::serial::ResultPort;
use std::fmt;
use std::sync::mpsc::Receiver;

/// What a board has beside its camera, outputs and clock.
pub struct Wired {
    /// Every input line; `None` where the board wires none.
    pub inputs: Option<Box<dyn Inputs>>,
    /// Puts the output lines to rest from anywhere ([`FailSafe::on_panic`]).
    pub fail_safe: FailSafe,
    /// Where the line says how it is.
    pub exchange: Exchange,
    /// Commands from outside, whichever wire they came over.
    pub requests: Receiver<Request>,
    /// Serial ports for results. They are opened when they are there.
    pub results: Vec<ResultPort>,
    /// Modbus, where the board asks for it.
    pub modbus: Option<Modbus>,
}

impl fmt::Debug for Wired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wired")
            .field("inputs", &self.inputs.is_some())
            .field("results", &self.results.len())
            .field("modbus", &self.modbus)
            .finish_non_exhaustive()
    }
}

impl Wired {
    /// Hands a result to everybody who wants it, without ever waiting; false where somebody missed it.
    pub fn publish(&mut self, record: &ResultRecord) -> bool {
        let mut all = self.modbus.as_ref().is_none_or(|modbus| modbus.publish(record));
        for port in &mut self.results {
            all &= port.publish(record);
        }
        all
    }
}

impl Devices {
    /// Opens a board with all of its wires: as [`Devices::open`], but the inputs come as one ([`Wired::inputs`];
    /// `trigger` and `teach` are `None`), and so do the ports. What can be done without is a warning.
    ///
    /// # Errors
    /// The first device that is needed and cannot be had.
    pub fn open_wired(board: &Board) -> Result<(Devices, Wired), DeviceError> {
        // Outputs first, so that they are at their fail-safe level whatever fails after.
        let outputs = GpioOutputs::open(&board.outputs).map_err(DeviceError::Line)?;
        let lines = board.input_lines();
        let mut inputs: Option<Box<dyn Inputs>> = match lines.is_empty() {
            true => None,
            false => Some(Box::new(GpioInputs::open(&lines).map_err(DeviceError::Line)?)),
        };
        let bare = Board {
            trigger: None,
            teach: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
            serial: Vec::new(),
            modbus: None,
            ..board.clone()
        };
        let mut devices = Devices::open(&bare)?;
        let fail_safe = outputs.fail_safe_handle();
        match &devices.simulated {
            Some(line) => inputs = Some(Box::new(TriggerOnly::new(line.clone()))),
            None => devices.outputs = Box::new(outputs),
        }
        devices.trigger = None;
        let (exchange, requests) = Exchange::new();
        let mut results = Vec::new();
        for config in &board.serial {
            let commands = match config.role {
                SerialRole::Results => None,
                SerialRole::Commands => Some(exchange.clone()),
                SerialRole::Modbus => continue,
            };
            match ResultPort::serve(config, commands) {
                Ok(port) => results.push(port),
                Err(e) => devices.warnings.push(e.to_string()),
            }
        }
        let rtu = board.serial.iter().find(|port| port.role == SerialRole::Modbus);
        let modbus =
            board.modbus.as_ref().map(|config| Modbus::serve(config, rtu, exchange.clone()));
        let modbus = match modbus.transpose() {
            Ok(modbus) => modbus,
            Err(e) => {
                devices.warnings.push(e.to_string());
                None
            }
        };
        Ok((devices, Wired { inputs, fail_safe, exchange, requests, results, modbus }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::InputRole;
    use std::time::Duration;

    #[test]
    fn the_simulated_board_has_one_input_and_its_ports() {
        let text = include_str!("../boards/simulated.toml").to_owned()
            + "\n[[serial]]\nrole = \"commands\"\npath = \"/dev/ttyUSB4711\"\nbaud = 9600\n";
        let (devices, mut wired) = Devices::open_wired(&Board::parse(&text).unwrap()).unwrap();
        assert!(devices.trigger.is_none() && wired.modbus.is_none());
        let event = wired.inputs.as_mut().unwrap().wait(Duration::from_secs(5)).unwrap().unwrap();
        assert_eq!((event.role, event.active), (InputRole::Trigger, true));
        assert!(wired.publish(&ResultRecord::new(1, false, "late", 0.0, 0.0, 1)));
        assert_eq!(wired.results.len(), 1, "it may be plugged in later");
    }

    #[test]
    fn a_missing_chip_is_an_error_and_a_taken_address_a_warning() {
        let board = Board::parse(include_str!("../boards/qemu-virt.toml")).unwrap();
        let error = Devices::open_wired(&board).unwrap_err().to_string();
        assert!(error.contains("label:gpio-sim.0-node0: no such GPIO chip"), "{error}");
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let text = include_str!("../boards/simulated.toml").to_owned()
            + &format!("\n[modbus]\ntcp = true\nport = {}\n", taken.local_addr().unwrap().port());
        let (devices, wired) = Devices::open_wired(&Board::parse(&text).unwrap()).unwrap();
        assert!(wired.modbus.is_none());
        assert!(
            devices.warnings[0].contains("in use by another program"),
            "{:?}",
            devices.warnings
        );
    }
}
