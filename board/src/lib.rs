//! What the camera is made of: cameras, GPIO, serial and the simulated line, each behind a small trait.
//!
//! Knows nothing of models, recipes or verdicts. Which device plays which role is the board file's matter
//! ([`config`]), so a new board needs no Rust.

pub mod camera;
#[cfg(target_os = "linux")]
pub mod check;
pub mod command;
pub mod config;
#[cfg(target_os = "linux")]
pub mod devices;
pub mod display;
#[cfg(target_os = "linux")]
pub mod drives;
pub mod encoder;
pub mod faults;
#[cfg(target_os = "linux")]
pub mod gpio;
pub mod heartbeat;
pub mod io;
pub mod memory;
#[cfg(target_os = "linux")]
pub mod modbus;
pub mod push;
pub mod results;
#[cfg(target_os = "linux")]
pub mod serial;
pub mod sim;
pub mod time;
#[cfg(target_os = "linux")]
pub mod watchdog;
#[cfg(target_os = "linux")]
pub mod wired;

#[cfg(target_os = "linux")]
pub use check::{Finding, State, check};
#[cfg(target_os = "linux")]
pub use devices::{DeviceError, Devices};
#[cfg(target_os = "linux")]
pub use wired::Wired;

pub use camera::{Camera, CameraCounts, CameraError, Frame};
pub use io::{InputEvent, InputRole, Inputs, IoError, OutputRole, Outputs, Trigger, TriggerEdge};
pub use time::{Clock, MonotonicClock, Timestamp};
