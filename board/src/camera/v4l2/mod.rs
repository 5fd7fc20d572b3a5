//! Video4Linux2 cameras: single-planar capture into mapped buffers, newest frame wins.

pub mod choice;
pub mod controls;
mod door;
mod setup;
mod survey;
mod usb;

use super::hotplug::Opener;
use super::pixels::{Layout, to_rgb};
use super::{Camera, CameraCounts, CameraError, Frame};
use crate::config::V4l2Config;
use crate::time::Timestamp;
use door::{Device, Filled, Identity, Stream};
use setup::{Prepared, no_frame, no_step, prepare};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use v4l::v4l_sys as sys;

/// Buffers asked for: one being filled, one being read, two in hand.
const BUFFERS: u32 = 4;
/// A wait is cut into these, and between them the device is asked whether it is still there.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A jump of the sequence number beyond this is a camera that started anew, not lost frames.
const GAP_MAX: u32 = 100_000;
/// Video nodes looked at when listing cameras.
const NODES_MAX: usize = 64;

/// A camera that is plugged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraInfo {
    /// Its node, as `/dev/video0`.
    pub path: PathBuf,
    /// The name it gives itself.
    pub name: String,
    /// Where it is plugged in, as the board file's `bus`.
    pub bus: String,
}

/// The cameras that are here; nodes that do not capture or cannot be opened are left out.
pub fn cameras() -> Vec<CameraInfo> {
    let Ok(entries) = std::fs::read_dir("/dev") else { return Vec::new() };
    let video = |path: &PathBuf| {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        name.strip_prefix("video")
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut paths: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(video).take(NODES_MAX).collect();
    paths.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    let describe = |path: PathBuf| {
        let identity = Device::open(&path).and_then(|device| device.identity()).ok()?;
        captures(&identity).then_some(CameraInfo { path, name: identity.card, bus: identity.bus })
    };
    paths.into_iter().filter_map(describe).collect()
}

fn captures(identity: &Identity) -> bool {
    identity.capabilities & (sys::V4L2_CAP_VIDEO_CAPTURE | sys::V4L2_CAP_VIDEO_CAPTURE_MPLANE) != 0
}

/// A V4L2 camera, capturing since it was opened.
#[derive(Debug)]
pub struct V4l2Camera {
    path: PathBuf,
    identity: Identity,
    serial: Option<String>,
    layout: Layout,
    rate: Option<f32>,
    exposure_lag: Duration,
    stream: Stream,
    last_sequence: Option<u32>,
    counts: CameraCounts,
}

impl V4l2Camera {
    /// Opens the camera of a board file and starts it.
    ///
    /// # Errors
    /// No such camera (with the ones that are here), another bus or serial number than the board file says,
    /// no single-planar capture, a mode, rate or control the camera does not do (with those it does), in use
    /// by another program.
    pub fn open(config: &V4l2Config) -> Result<V4l2Camera, CameraError> {
        let path = config.path.clone();
        let Prepared { device, identity, serial, layout, rate } = prepare(config)?;
        let stream = Stream::start(device, BUFFERS)
            .map_err(|e| no_step(&path, "starting the capture", e))?;
        Ok(V4l2Camera {
            path,
            identity,
            serial,
            layout,
            rate,
            exposure_lag: config.exposure_lag,
            stream,
            last_sequence: None,
            counts: CameraCounts::default(),
        })
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> CameraError {
        no_frame(&self.path, doing, source)
    }

    /// When the frame's exposure began.
    fn exposed_at(&self, filled: &Filled) -> Result<Timestamp, CameraError> {
        if filled.flags & sys::V4L2_BUF_FLAG_TIMESTAMP_MASK
            != sys::V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC
        {
            let why = "the driver does not stamp frames with the monotonic clock, so nobody can tell which \
                       part a frame shows; use another driver (for uvcvideo: clock=CLOCK_MONOTONIC)";
            return Err(CameraError::Unusable { path: self.path.clone(), why: why.to_owned() });
        }
        let stamp = Timestamp::from_parts(filled.seconds, filled.micros);
        let at_start =
            filled.flags & sys::V4L2_BUF_FLAG_TSTAMP_SRC_MASK == sys::V4L2_BUF_FLAG_TSTAMP_SRC_SOE;
        Ok(if at_start { stamp } else { stamp - self.exposure_lag })
    }

    fn count_gap(&mut self, sequence: u32) {
        if let Some(last) = self.last_sequence {
            let missing = sequence.wrapping_sub(last).wrapping_sub(1);
            if missing < GAP_MAX {
                self.counts.gaps += u64::from(missing);
            }
        }
        self.last_sequence = Some(sequence);
    }

    /// Takes every filled buffer there is and returns the newest one exposed late enough.
    fn drain(&mut self, not_before: Timestamp) -> Result<Option<Frame>, CameraError> {
        let mut newest: Option<(Filled, Timestamp)> = None;
        // A camera faster than this loop must not keep us here.
        for _ in 0..2 * BUFFERS {
            let next = self.stream.dequeue().map_err(|e| self.failed("taking a frame", e))?;
            let Some(filled) = next else { break };
            self.count_gap(filled.sequence);
            let exposed_at = self.exposed_at(&filled)?;
            if filled.flags & sys::V4L2_BUF_FLAG_ERROR != 0 {
                self.counts.broken += 1;
            } else if exposed_at < not_before {
                self.counts.stale += 1;
            } else {
                if let Some((older, _)) = newest.replace((filled, exposed_at)) {
                    self.counts.superseded += 1;
                    self.give_back(&older)?;
                }
                continue;
            }
            self.give_back(&filled)?;
        }
        let Some((filled, exposed_at)) = newest else { return Ok(None) };
        let rgb = to_rgb(self.layout, self.stream.bytes(&filled));
        self.give_back(&filled)?;
        match rgb {
            Ok(rgb) => {
                self.counts.delivered += 1;
                let Layout { width, height, .. } = self.layout;
                Ok(Some(Frame { width, height, rgb, sequence: filled.sequence, exposed_at }))
            }
            Err(why) => {
                self.counts.broken += 1;
                log::debug!("{}: frame {} dropped: {why}", self.path.display(), filled.sequence);
                Ok(None)
            }
        }
    }

    fn give_back(&mut self, filled: &Filled) -> Result<(), CameraError> {
        let given = self.stream.queue(filled.index);
        given.map_err(|e| self.failed("giving a buffer back", e))
    }
}

impl Camera for V4l2Camera {
    fn describe(&self) -> String {
        format!(
            "{} ({}, {}{}) {}x{} {}{}",
            self.path.display(),
            self.identity.card,
            self.identity.bus,
            self.serial.as_ref().map_or_else(String::new, |serial| format!(", serial {serial}")),
            self.layout.width,
            self.layout.height,
            self.layout.format,
            self.rate.map_or_else(String::new, |rate| format!(" at {rate:.1}/s"))
        )
    }

    fn next_frame(
        &mut self,
        not_before: Timestamp,
        timeout: Duration,
    ) -> Result<Frame, CameraError> {
        let deadline = Timestamp::now_monotonic() + timeout;
        loop {
            if let Some(frame) = self.drain(not_before)? {
                return Ok(frame);
            }
            let left = deadline.since(Timestamp::now_monotonic());
            if left.is_zero() {
                return Err(CameraError::Timeout { waited: timeout });
            }
            let filled = self.stream.ready(left.min(LOOK_EVERY));
            if !filled.map_err(|e| self.failed("waiting for a frame", e))? {
                self.check()?;
            }
        }
    }

    fn check(&mut self) -> Result<(), CameraError> {
        self.stream.alive().map_err(|e| self.failed("asking whether it is there", e))
    }

    fn counts(&self) -> CameraCounts {
        self.counts
    }
}

/// Opens the camera of a board file again and again: the same one in the same mode each time.
#[derive(Debug)]
pub struct V4l2Opener {
    config: V4l2Config,
    first: Option<(Identity, Option<String>)>,
}

impl V4l2Opener {
    /// For the camera of a board file.
    pub fn new(config: V4l2Config) -> V4l2Opener {
        V4l2Opener { config, first: None }
    }
}

impl Opener for V4l2Opener {
    fn open(&mut self) -> Result<Box<dyn Camera>, CameraError> {
        let camera = V4l2Camera::open(&self.config)?;
        if let Some((identity, serial)) = &self.first {
            let described = |identity: &Identity, serial: &Option<String>| {
                format!(
                    "{} {}",
                    identity.card,
                    serial.as_deref().unwrap_or("without serial number")
                )
            };
            let wanted = described(identity, serial);
            let found = described(&camera.identity, &camera.serial);
            if wanted != found {
                let path = self.config.path.clone();
                return Err(CameraError::WrongCamera { path, what: "name", wanted, found });
            }
        } else {
            // What was chosen at the first opening stays: a line cannot change its picture's size.
            let Layout { format, width, height, .. } = camera.layout;
            self.config.format = Some(format);
            self.config.width = Some(width);
            self.config.height = Some(height);
            self.first = Some((camera.identity.clone(), camera.serial.clone()));
        }
        Ok(Box::new(camera))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: &str) -> V4l2Config {
        V4l2Config::at(PathBuf::from(path))
    }

    #[test]
    fn a_missing_camera_is_named_with_those_here() {
        let error = V4l2Camera::open(&config("/dev/video4711")).unwrap_err().to_string();
        assert!(error.starts_with("/dev/video4711: no such camera; cameras here: "), "{error}");
    }

    #[test]
    fn what_is_no_camera_says_so() {
        let error = V4l2Camera::open(&config("/dev/null")).unwrap_err().to_string();
        assert_eq!(error, "/dev/null: not a camera: the device does not answer V4L2 calls");
    }
}
