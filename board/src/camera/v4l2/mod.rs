//! Video4Linux2 cameras: single-planar capture into mapped buffers, newest frame wins.

mod door;

use super::pixels::{Layout, PixelFormat, to_rgb};
use super::{Camera, CameraCounts, CameraError, Frame};
use crate::config::V4l2Config;
use crate::time::Timestamp;
use door::{Device, Filled, Identity, Stream};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use v4l::v4l_sys as sys;

/// Buffers asked for: one being filled, one being read, two in hand.
const BUFFERS: u32 = 4;
/// `V4L2_FIELD_NONE` and the driver's way of not saying: whole frames, no half pictures.
const PROGRESSIVE: [u32; 2] = [0, 1];
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
    layout: Layout,
    exposure_lag: Duration,
    stream: Stream,
    last_sequence: Option<u32>,
    counts: CameraCounts,
}

fn letters(fourcc: u32) -> String {
    fourcc
        .to_le_bytes()
        .iter()
        .map(|&b| if b.is_ascii_graphic() { char::from(b) } else { '?' })
        .collect()
}

impl V4l2Camera {
    /// Opens the camera of a board file and starts it.
    ///
    /// # Errors
    /// No such camera (with the ones that are here), another bus than the board file says, no single-planar
    /// capture, a mode the camera does not do (with those it does), in use by another program.
    pub fn open(config: &V4l2Config) -> Result<V4l2Camera, CameraError> {
        let path = &config.path;
        let device = Device::open(path).map_err(|source| not_opened(path, source))?;
        let failed = |doing: &'static str| move |source: io::Error| no_step(path, doing, source);
        let identity = device.identity().map_err(failed("asking what it is"))?;
        if let Some(wanted) = config.bus.as_ref().filter(|wanted| **wanted != identity.bus) {
            return Err(CameraError::WrongBus {
                path: path.clone(),
                wanted: wanted.clone(),
                found: identity.bus,
            });
        }
        let needs = sys::V4L2_CAP_VIDEO_CAPTURE | sys::V4L2_CAP_STREAMING;
        if identity.capabilities & needs != needs {
            return Err(CameraError::Unusable { path: path.clone(), why: cannot(&identity) });
        }
        let mode = device
            .set_mode(config.width, config.height, config.format.fourcc())
            .map_err(failed("setting format and size (is another program using it?)"))?;
        let as_wanted = (mode.width, mode.height, mode.fourcc)
            == (config.width, config.height, config.format.fourcc());
        if !as_wanted || !PROGRESSIVE.contains(&mode.field) {
            let offered: Vec<String> = device.formats().into_iter().map(letters).collect();
            let why = format!(
                "{}x{} {} cannot be had: the camera makes it {}x{} {} (field {}); it offers {}. Correct \
                 [camera] width, height and format in the board file",
                config.width,
                config.height,
                config.format,
                mode.width,
                mode.height,
                letters(mode.fourcc),
                mode.field,
                offered.join(", ")
            );
            return Err(CameraError::Unusable { path: path.clone(), why });
        }
        let compressed = config.format == PixelFormat::Mjpeg;
        let layout = Layout {
            format: config.format,
            width: mode.width,
            height: mode.height,
            stride: if compressed { 0 } else { mode.stride },
        };
        let stream = Stream::start(device, BUFFERS).map_err(failed("starting the capture"))?;
        Ok(V4l2Camera {
            path: path.clone(),
            identity,
            layout,
            exposure_lag: config.exposure_lag,
            stream,
            last_sequence: None,
            counts: CameraCounts::default(),
        })
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> CameraError {
        no_step(&self.path, doing, source)
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
            "{} ({}, {}) {}x{} {}",
            self.path.display(),
            self.identity.card,
            self.identity.bus,
            self.layout.width,
            self.layout.height,
            self.layout.format
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
            self.stream.ready(left).map_err(|e| self.failed("waiting for a frame", e))?;
        }
    }

    fn counts(&self) -> CameraCounts {
        self.counts
    }
}

fn cannot(identity: &Identity) -> String {
    if identity.capabilities & sys::V4L2_CAP_VIDEO_CAPTURE_MPLANE != 0 {
        "only multi-planar capture (a sensor's raw node), which this build does not do; use the node behind \
         the image processor, or a USB camera"
            .to_owned()
    } else {
        format!(
            "{} ({}) is no capture device; cameras have a second node for metadata",
            identity.card, identity.driver
        )
    }
}

fn not_opened(path: &Path, source: io::Error) -> CameraError {
    match source.kind() {
        io::ErrorKind::NotFound => {
            let here = cameras();
            let describe = |c: CameraInfo| format!("{} ({}, {})", c.path.display(), c.name, c.bus);
            CameraError::NotFound {
                path: path.to_owned(),
                here: here.into_iter().map(describe).collect(),
            }
        }
        io::ErrorKind::PermissionDenied => {
            let why = "permission denied; add the user to the group \"video\"".to_owned();
            CameraError::Unusable { path: path.to_owned(), why }
        }
        _ => CameraError::Io { path: path.to_owned(), doing: "opening the camera", source },
    }
}

fn no_step(path: &Path, doing: &'static str, source: io::Error) -> CameraError {
    let code = source.raw_os_error();
    if code == Some(rustix::io::Errno::NODEV.raw_os_error())
        || code == Some(rustix::io::Errno::NXIO.raw_os_error())
    {
        return CameraError::Lost { path: path.to_owned() };
    }
    if code == Some(rustix::io::Errno::NOTTY.raw_os_error()) {
        let why = "not a camera: the device does not answer V4L2 calls".to_owned();
        return CameraError::Unusable { path: path.to_owned(), why };
    }
    if code == Some(rustix::io::Errno::BUSY.raw_os_error()) {
        let why = "in use by another program; end it (fuser -v names it)".to_owned();
        return CameraError::Unusable { path: path.to_owned(), why };
    }
    CameraError::Io { path: path.to_owned(), doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: &str) -> V4l2Config {
        V4l2Config {
            path: PathBuf::from(path),
            bus: None,
            format: PixelFormat::Yuyv,
            width: 640,
            height: 480,
            exposure_lag: Duration::ZERO,
        }
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

    #[test]
    fn kernel_reasons_become_remedies() {
        let error =
            |code| no_step(Path::new("/dev/video0"), "waiting", io::Error::from_raw_os_error(code));
        assert!(matches!(error(19), CameraError::Lost { .. }));
        assert!(error(16).to_string().contains("in use by another program"));
        assert!(error(5).to_string().contains("waiting"));
        assert_eq!(letters(PixelFormat::Mjpeg.fourcc()), "MJPG");
    }
}
