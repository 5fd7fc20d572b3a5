//! Cameras: one trait, and what stands behind it.
//!
//! A part gets the frame that was exposed *for it*: [`Camera::next_frame`] takes the earliest time the
//! exposure may have begun, drops everything older and, of what is left, hands out the newest.

pub mod fault;
pub mod files;
pub mod hotplug;
mod jpeg;
pub mod pixels;
#[cfg(test)]
mod testing;
#[cfg(target_os = "linux")]
pub mod v4l2;

use crate::time::Timestamp;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Shortest side of a frame: below it no model sees anything.
pub const SIDE_MIN: u32 = 16;
/// Longest side of a frame; a 64-megapixel cap keeps a wrong setting from eating the memory.
pub const SIDE_MAX: u32 = 8192;

/// One picture with the time it was exposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// RGB, 8 bits, row-major, `width * height * 3` bytes.
    pub rgb: Vec<u8>,
    /// The camera's own running number: a gap means frames that nobody saw.
    pub sequence: u32,
    /// When the exposure happened, on the same clock as the trigger's edges.
    pub exposed_at: Timestamp,
}

/// What happened to frames that nobody got to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CameraCounts {
    /// Frames handed out.
    pub delivered: u64,
    /// Left behind because a newer frame was there.
    pub superseded: u64,
    /// Exposed before the time asked for.
    pub stale: u64,
    /// Short, flagged as corrupt by the driver, or undecodable.
    pub broken: u64,
    /// Missing from the camera's own numbering.
    pub gaps: u64,
    /// Times that the camera went away.
    pub losses: u64,
    /// Times that it came back.
    pub reconnects: u64,
}

impl CameraCounts {
    fn with(self, other: CameraCounts, join: impl Fn(u64, u64) -> u64) -> CameraCounts {
        CameraCounts {
            delivered: join(self.delivered, other.delivered),
            superseded: join(self.superseded, other.superseded),
            stale: join(self.stale, other.stale),
            broken: join(self.broken, other.broken),
            gaps: join(self.gaps, other.gaps),
            losses: join(self.losses, other.losses),
            reconnects: join(self.reconnects, other.reconnects),
        }
    }

    /// What came to pass since `earlier`, an earlier reading of the same counts.
    #[must_use]
    pub fn since(self, earlier: CameraCounts) -> CameraCounts {
        self.with(earlier, u64::saturating_sub)
    }
}

impl std::ops::Add for CameraCounts {
    type Output = CameraCounts;

    fn add(self, other: CameraCounts) -> CameraCounts {
        self.with(other, u64::saturating_add)
    }
}

/// A source of frames.
pub trait Camera: Send {
    /// One line for people: what it is, where, and in which mode.
    fn describe(&self) -> String;

    /// The newest frame whose exposure did not begin before `not_before`, waiting at most `timeout`.
    ///
    /// # Errors
    /// [`CameraError::Timeout`] when no such frame came in time (the part is rejected),
    /// [`CameraError::Ended`] when none will ever come, anything else when the camera is gone.
    fn next_frame(
        &mut self,
        not_before: Timestamp,
        timeout: Duration,
    ) -> Result<Frame, CameraError>;

    /// Whether the camera is there, without waiting: for a line between two parts, which would otherwise
    /// learn of a pulled cable with the next trigger.
    ///
    /// # Errors
    /// [`CameraError::Lost`] when it is gone; a camera that reconnects says so for as long as it is away.
    fn check(&mut self) -> Result<(), CameraError> {
        Ok(())
    }

    /// Frames delivered and lost so far.
    fn counts(&self) -> CameraCounts {
        CameraCounts::default()
    }
}

/// Why there is no frame.
#[derive(Debug)]
pub enum CameraError {
    /// No device under that path.
    NotFound {
        /// The path asked for.
        path: PathBuf,
        /// Cameras that are here, as `path (name, bus)`.
        here: Vec<String>,
    },
    /// The device is there and does not do what is asked.
    Unusable {
        /// The device or folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// Something else sits on the bus that the board file names.
    WrongBus {
        /// The device.
        path: PathBuf,
        /// `bus` of the board file.
        wanted: String,
        /// What the driver says.
        found: String,
    },
    /// Not the camera that the board file names, or that was here before.
    WrongCamera {
        /// The device.
        path: PathBuf,
        /// What differs: `serial number` or `name`.
        what: &'static str,
        /// The one wanted.
        wanted: String,
        /// The one here.
        found: String,
    },
    /// No frame exposed late enough came in time.
    Timeout {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The source is at its end: the last file, the last simulated part.
    Ended,
    /// The device went away while running.
    Lost {
        /// The device.
        path: PathBuf,
    },
    /// The kernel refused a call.
    Io {
        /// The device or file.
        path: PathBuf,
        /// The step that failed.
        doing: &'static str,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// A picture file does not decode.
    Picture {
        /// The file.
        path: PathBuf,
        /// The decoder's reason.
        why: String,
    },
}

impl fmt::Display for CameraError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CameraError::NotFound { path, here } => {
                let here = if here.is_empty() { "none".to_owned() } else { here.join(", ") };
                write!(f, "{}: no such camera; cameras here: {here}", path.display())
            }
            CameraError::Unusable { path, why } => write!(f, "{}: {why}", path.display()),
            CameraError::WrongBus { path, wanted, found } => write!(
                f,
                "{}: the board file wants the camera on bus {wanted:?}, this one is on {found:?}; plug it \
                 where it belongs or correct [camera] bus",
                path.display()
            ),
            CameraError::WrongCamera { path, what, wanted, found } => write!(
                f,
                "{}: another camera: wanted is the one of {what} {wanted:?}, this one has {found:?}; plug the \
                 right one in, or correct [camera] in the board file and start again",
                path.display()
            ),
            CameraError::Timeout { waited } => {
                write!(
                    f,
                    "no frame within {} ms; check trigger, exposure time and cable",
                    waited.as_millis()
                )
            }
            CameraError::Ended => f.write_str("the camera has no more frames"),
            CameraError::Lost { path } => {
                write!(f, "{}: the camera is gone; check cable and power", path.display())
            }
            CameraError::Io { path, doing, source } => {
                write!(f, "{}: {doing}: {source}", path.display())
            }
            CameraError::Picture { path, why } => {
                write!(f, "{}: not a picture that can be read: {why}", path.display())
            }
        }
    }
}

impl std::error::Error for CameraError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CameraError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
