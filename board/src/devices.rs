//! A board file's devices, opened.

use crate::camera::files::FileCamera;
use crate::camera::hotplug::Reconnecting;
use crate::camera::v4l2::V4l2Opener;
use crate::config::{Board, CameraConfig, SerialRole};
use crate::gpio::{GpioOutputs, GpioTrigger};
use crate::serial::ResultPort;
use crate::sim::SimulatedLine;
use crate::{Camera, CameraError, Clock, IoError, MonotonicClock, Outputs, Trigger};
use std::fmt;

/// Everything that a board file names, ready to use.
pub struct Devices {
    /// The camera.
    pub camera: Box<dyn Camera>,
    /// Part-arrived edges; without them every frame is a part.
    pub trigger: Option<Box<dyn Trigger>>,
    /// The operator's teach button.
    pub teach: Option<Box<dyn Trigger>>,
    /// The output lines.
    pub outputs: Box<dyn Outputs>,
    /// Ports for results. Optional at run time: one that does not open is reported in
    /// [`Devices::warnings`] and left out.
    pub results: Vec<ResultPort>,
    /// The clock that all of them stamp with.
    pub clock: Box<dyn Clock>,
    /// The simulated line, where the board is one.
    pub simulated: Option<SimulatedLine>,
    /// What does not work and can be done without.
    pub warnings: Vec<String>,
}

impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Devices").field("camera", &self.camera.describe()).finish_non_exhaustive()
    }
}

/// Why a board cannot be used.
#[derive(Debug)]
pub enum DeviceError {
    /// Its camera.
    Camera(CameraError),
    /// One of its lines.
    Line(IoError),
    /// The simulated line's settings.
    Simulation(crate::sim::SimError),
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceError::Camera(e) => e.fmt(f),
            DeviceError::Line(e) => e.fmt(f),
            DeviceError::Simulation(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for DeviceError {}

impl Devices {
    /// Opens them: outputs first, so that they are at their fail-safe level whatever fails after.
    ///
    /// # Errors
    /// The first device that is needed and cannot be had.
    pub fn open(board: &Board) -> Result<Devices, DeviceError> {
        let outputs = GpioOutputs::open(&board.outputs).map_err(DeviceError::Line)?;
        let input = |line: &Option<_>| match line {
            Some(line) => GpioTrigger::open(line).map(|t| Some(Box::new(t) as Box<dyn Trigger>)),
            None => Ok(None),
        };
        let trigger = input(&board.trigger).map_err(DeviceError::Line)?;
        let teach = input(&board.teach).map_err(DeviceError::Line)?;
        let mut devices = match &board.camera {
            CameraConfig::Simulated(config) => {
                let line = SimulatedLine::new(config.clone()).map_err(DeviceError::Simulation)?;
                Devices::simulated(line)
            }
            CameraConfig::Files(config) => {
                let camera = FileCamera::open(&config.path, config.rate, config.repeat);
                Devices::real(
                    Box::new(camera.map_err(DeviceError::Camera)?),
                    trigger,
                    teach,
                    outputs,
                )
            }
            CameraConfig::V4l2(config) => {
                let opener = V4l2Opener::new(config.clone());
                let camera =
                    Reconnecting::open(config.path.clone(), opener).map_err(DeviceError::Camera)?;
                Devices::real(Box::new(camera), trigger, teach, outputs)
            }
        };
        // Modbus has a protocol of its own; results on such a port would be noise to it.
        for config in board.serial.iter().filter(|port| port.role != SerialRole::Modbus) {
            match ResultPort::open(config) {
                Ok(port) => devices.results.push(port),
                Err(e) => devices.warnings.push(e.to_string()),
            }
        }
        Ok(devices)
    }

    /// The devices of a simulated line.
    pub fn simulated(line: SimulatedLine) -> Devices {
        Devices {
            camera: Box::new(line.clone()),
            trigger: Some(Box::new(line.clone())),
            teach: None,
            outputs: Box::new(line.clone()),
            results: Vec::new(),
            clock: Box::new(line.clone()),
            simulated: Some(line),
            warnings: Vec::new(),
        }
    }

    fn real(
        camera: Box<dyn Camera>,
        trigger: Option<Box<dyn Trigger>>,
        teach: Option<Box<dyn Trigger>>,
        outputs: GpioOutputs,
    ) -> Devices {
        Devices {
            camera,
            trigger,
            teach,
            outputs: Box::new(outputs),
            results: Vec::new(),
            clock: Box::new(MonotonicClock),
            simulated: None,
            warnings: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_simulated_board_opens_and_runs() {
        let board = Board::parse(include_str!("../boards/simulated.toml")).unwrap();
        let mut devices = Devices::open(&board).unwrap();
        let edge = devices.trigger.as_mut().unwrap().wait(Duration::from_secs(5)).unwrap().unwrap();
        assert_eq!(devices.clock.now(), edge.at);
        let frame = devices.camera.next_frame(edge.at, Duration::from_millis(50)).unwrap();
        assert!(frame.exposed_at > edge.at && frame.exposed_at < devices.clock.now());
    }

    #[test]
    fn a_missing_port_is_a_warning_and_a_missing_camera_an_error() {
        let text = include_str!("../boards/simulated.toml").to_owned();
        let port = "\n[[serial]]\nrole = \"results\"\npath = \"/dev/ttyUSB4711\"\nbaud = 9600\n";
        let devices = Devices::open(&Board::parse(&(text + port)).unwrap()).unwrap();
        assert!(devices.results.is_empty());
        assert!(devices.warnings[0].contains("no such serial port"), "{:?}", devices.warnings);
        let text = "name = \"x\"\n[camera]\nkind = \"v4l2\"\npath = \"/dev/video4711\"\nformat = \"GREY\"\n\
                    width = 64\nheight = 64\n";
        let error = Devices::open(&Board::parse(text).unwrap()).unwrap_err().to_string();
        assert!(error.contains("/dev/video4711: no such camera"), "{error}");
    }
}
