//! What the camera is made of: cameras, GPIO, serial and the simulated line, each behind a small trait.
//!
//! Knows nothing of models, recipes or verdicts. Which device plays which role is the board file's matter
//! ([`config`]), so a new board needs no Rust.

pub mod camera;
pub mod config;
#[cfg(target_os = "linux")]
pub mod devices;
pub mod display;
#[cfg(target_os = "linux")]
pub mod drives;
#[cfg(target_os = "linux")]
pub mod gpio;
pub mod io;
#[cfg(target_os = "linux")]
pub mod serial;
pub mod sim;
pub mod time;
#[cfg(target_os = "linux")]
pub mod watchdog;

#[cfg(target_os = "linux")]
pub use devices::{DeviceError, Devices};

pub use camera::{Camera, CameraCounts, CameraError, Frame};
pub use io::{IoError, OutputRole, Outputs, Trigger, TriggerEdge};
pub use time::{Clock, MonotonicClock, Timestamp};
