//! A camera that may be pulled out and comes back.
//!
//! [`Plug`] is the pure part: when to try again, and from when on frames count. [`Reconnecting`] is a
//! [`Camera`] around anything that can be opened more than once.

use super::{Camera, CameraCounts, CameraError, Frame};
use crate::time::{Clock, MonotonicClock, Timestamp};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The first try to open a lost camera comes this long after the loss.
pub const RETRY_FIRST: Duration = Duration::from_millis(50);
/// Each further try waits twice as long, up to this. The camera is back within 3 s of its return, of which
/// the driver may take most.
pub const RETRY_MAX: Duration = Duration::from_millis(500);

/// Whether the camera is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plug {
    /// It is, and frames exposed since then count.
    Here {
        /// When it was opened.
        since: Timestamp,
    },
    /// It is not.
    Gone {
        /// When it was lost.
        since: Timestamp,
        /// When to try again.
        retry_at: Timestamp,
        /// How long to wait after that try.
        then: Duration,
    },
}

/// What happened to a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlugEvent {
    /// It answered with an error that only opening anew can mend.
    Lost,
    /// It was opened.
    Opened,
    /// It could not be opened.
    Refused,
}

impl Plug {
    /// The state after `event` at `now`.
    #[must_use]
    pub fn step(self, now: Timestamp, event: PlugEvent) -> Plug {
        match (self, event) {
            (_, PlugEvent::Opened) => Plug::Here { since: now },
            (Plug::Here { .. }, PlugEvent::Lost | PlugEvent::Refused) => {
                Plug::Gone { since: now, retry_at: now + RETRY_FIRST, then: RETRY_FIRST * 2 }
            }
            // Losing what is lost changes nothing, least of all the time of the next try.
            (gone @ Plug::Gone { .. }, PlugEvent::Lost) => gone,
            (Plug::Gone { since, then, .. }, PlugEvent::Refused) => {
                let wait = then.min(RETRY_MAX);
                Plug::Gone { since, retry_at: now + wait, then: wait * 2 }
            }
        }
    }

    /// When to try to open it; `None` while it is there.
    pub fn poll_at(self) -> Option<Timestamp> {
        match self {
            Plug::Here { .. } => None,
            Plug::Gone { retry_at, .. } => Some(retry_at),
        }
    }
}

/// Opens a camera, again and again.
pub trait Opener: Send {
    /// Opens it. Must refuse a different camera than the first time.
    ///
    /// # Errors
    /// Whatever keeps it from being used; it is tried again.
    fn open(&mut self) -> Result<Box<dyn Camera>, CameraError>;
}

impl<F: FnMut() -> Result<Box<dyn Camera>, CameraError> + Send> Opener for F {
    fn open(&mut self) -> Result<Box<dyn Camera>, CameraError> {
        self()
    }
}

/// A camera that is opened again when it was lost.
///
/// The loss itself is told at once, as [`CameraError::Lost`]. After that, [`Camera::next_frame`] waits for
/// the camera's return for as long as it would have waited for the frame, and says why there is none:
/// [`CameraError::Lost`], or what is wrong with the camera that sits there now. A frame exposed before the
/// reopening is never handed out. Frame numbers start anew with the camera.
pub struct Reconnecting<C: Clock = MonotonicClock> {
    opener: Box<dyn Opener>,
    camera: Option<Box<dyn Camera>>,
    plug: Plug,
    clock: C,
    name: String,
    path: PathBuf,
    /// Why the last try failed, where it was something else than no camera.
    refusal: Option<CameraError>,
    counts: CameraCounts,
}

impl<C: Clock> fmt::Debug for Reconnecting<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting").field("name", &self.name).field("plug", &self.plug).finish()
    }
}

impl Reconnecting {
    /// Opens the camera at `path` for the first time; the path is for messages.
    ///
    /// # Errors
    /// It cannot be opened: what is wrong at the start is the board file's or the wiring's fault, and
    /// waiting would hide it.
    pub fn open(path: PathBuf, opener: impl Opener + 'static) -> Result<Reconnecting, CameraError> {
        Reconnecting::with_clock(path, opener, MonotonicClock)
    }
}

impl<C: Clock> Reconnecting<C> {
    /// Like [`Reconnecting::open`], on another clock.
    ///
    /// # Errors
    /// As there.
    pub fn with_clock(
        path: PathBuf,
        mut opener: impl Opener + 'static,
        clock: C,
    ) -> Result<Reconnecting<C>, CameraError> {
        let camera = opener.open()?;
        Ok(Reconnecting {
            opener: Box::new(opener),
            name: camera.describe(),
            camera: Some(camera),
            plug: Plug::Here { since: clock.now() },
            clock,
            path,
            refusal: None,
            counts: CameraCounts::default(),
        })
    }

    /// Whether the camera is there, and since when or until when not.
    pub fn plug(&self) -> Plug {
        self.plug
    }

    /// Tells a loss from an error that leaves the camera usable, and lets go of a lost one.
    fn heed(&mut self, error: CameraError) -> CameraError {
        match error {
            // `Unusable`: opening anew would find the same camera with the same fault, and hide it.
            CameraError::Timeout { .. }
            | CameraError::Ended
            | CameraError::Picture { .. }
            | CameraError::Unusable { .. } => error,
            CameraError::Lost { .. }
            | CameraError::Io { .. }
            | CameraError::NotFound { .. }
            | CameraError::WrongBus { .. }
            | CameraError::WrongCamera { .. } => {
                log::warn!("{error}");
                if let Some(camera) = self.camera.take() {
                    self.counts = self.counts + camera.counts();
                }
                self.counts.losses += 1;
                self.refusal = None;
                self.plug = self.plug.step(self.clock.now(), PlugEvent::Lost);
                CameraError::Lost { path: self.path.clone() }
            }
        }
    }

    /// Tries to open the camera if it is gone and a try is due.
    fn revive(&mut self) {
        if self.plug.poll_at().is_none_or(|at| at > self.clock.now()) {
            return;
        }
        let opened = self.opener.open();
        let now = self.clock.now();
        match opened {
            Ok(camera) => {
                log::info!("camera back: {}", camera.describe());
                self.name = camera.describe();
                self.camera = Some(camera);
                self.refusal = None;
                self.counts.reconnects += 1;
                self.plug = self.plug.step(now, PlugEvent::Opened);
            }
            Err(error) => {
                self.refusal = match error {
                    CameraError::NotFound { .. } | CameraError::Lost { .. } => None,
                    other => Some(other),
                };
                self.plug = self.plug.step(now, PlugEvent::Refused);
            }
        }
    }

    /// Why there is no camera. The reason is kept for the next one who asks only as text.
    fn absence(&self) -> CameraError {
        match &self.refusal {
            Some(CameraError::WrongBus { path, wanted, found }) => CameraError::WrongBus {
                path: path.clone(),
                wanted: wanted.clone(),
                found: found.clone(),
            },
            Some(CameraError::WrongCamera { path, what, wanted, found }) => {
                CameraError::WrongCamera {
                    path: path.clone(),
                    what,
                    wanted: wanted.clone(),
                    found: found.clone(),
                }
            }
            Some(CameraError::Unusable { path, why }) => {
                CameraError::Unusable { path: path.clone(), why: why.clone() }
            }
            Some(CameraError::Io { path, doing, source }) => CameraError::Unusable {
                path: path.clone(),
                why: format!("the camera does not come back: {doing}: {source}"),
            },
            Some(_) | None => CameraError::Lost { path: self.path.clone() },
        }
    }
}

impl<C: Clock> Camera for Reconnecting<C> {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn next_frame(
        &mut self,
        not_before: Timestamp,
        timeout: Duration,
    ) -> Result<Frame, CameraError> {
        let deadline = self.clock.now() + timeout;
        loop {
            self.revive();
            if let (Some(camera), Plug::Here { since }) = (&mut self.camera, self.plug) {
                let left = deadline.since(self.clock.now());
                let frame = camera.next_frame(not_before.max(since), left);
                return frame.map_err(|error| self.heed(error));
            }
            let now = self.clock.now();
            if now >= deadline {
                return Err(self.absence());
            }
            self.clock.sleep_until(self.plug.poll_at().unwrap_or(now).min(deadline));
        }
    }

    fn check(&mut self) -> Result<(), CameraError> {
        self.revive();
        match &mut self.camera {
            Some(camera) => camera.check().map_err(|error| self.heed(error)),
            None => Err(self.absence()),
        }
    }

    fn counts(&self) -> CameraCounts {
        self.counts + self.camera.as_ref().map_or_else(CameraCounts::default, |c| c.counts())
    }
}

#[cfg(test)]
#[path = "hotplug_tests.rs"]
mod tests;
