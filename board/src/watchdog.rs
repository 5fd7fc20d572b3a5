//! Watchdogs: systemd's and the hardware's. Either starts everything anew when this program hangs.
//!
//! **Feeding belongs into the line's own loop and nowhere else.** A thread of its own would go on feeding
//! while the line stands still, and then a watchdog watches nothing. [`Feeder`] keeps the rule that a loop
//! which misses its deadlines is not fed for.

use crate::config::{TIMEOUT_RANGE_S, WatchdogConfig};
use crate::time::Timestamp;
use rustix::io::Errno;
use rustix::ioctl::{Updater, ioctl, opcode};
use sd_notify::NotifyState;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A watchdog is fed this many times within its timeout.
pub const FEEDS_PER_TIMEOUT: u32 = 4;

/// Something that has to be fed, or it bites.
pub trait Watchdog: Send {
    /// For people: what it is, and its timeout.
    fn describe(&self) -> String;

    /// Without a feed for this long it bites.
    fn timeout(&self) -> Duration;

    /// Holds it off for another timeout. Only the line's loop may call this, through a [`Feeder`].
    ///
    /// # Errors
    /// It cannot be reached.
    fn feed(&mut self) -> Result<(), WatchdogError>;

    /// Switches it off, for a clean end. Without this, the end of the program is a hang like any other.
    ///
    /// # Errors
    /// It cannot be reached or goes on (some hardware cannot be switched off).
    fn stop(&mut self) -> Result<(), WatchdogError>;
}

/// Why a watchdog does not work.
#[derive(Debug)]
pub enum WatchdogError {
    /// The device cannot be opened.
    Open {
        /// The device.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// It does not take the time.
    Timeout {
        /// The device.
        path: PathBuf,
        /// The time asked for.
        wanted: Duration,
        /// What it makes of it; `None` where it takes none at all.
        made: Option<Duration>,
    },
    /// It was there and does not answer.
    Lost {
        /// The device or service.
        what: String,
        /// The step that failed.
        doing: &'static str,
        /// The reason.
        source: io::Error,
    },
}

impl fmt::Display for WatchdogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WatchdogError::Open { path, source } => {
                let remedy = match source.kind() {
                    io::ErrorKind::NotFound => "load its driver (modprobe softdog for a try)",
                    io::ErrorKind::PermissionDenied => {
                        "run as root, or let a udev rule give access"
                    }
                    io::ErrorKind::ResourceBusy => {
                        "another program has it; where systemd does (RuntimeWatchdogSec), remove \
                         [watchdog] device and set WatchdogSec in the unit"
                    }
                    _ => "correct [watchdog] device in the board file",
                };
                write!(f, "{}: {source}; {remedy}", path.display())
            }
            WatchdogError::Timeout { path, wanted, made } => {
                write!(f, "{}: a timeout of {} s cannot be had", path.display(), wanted.as_secs())?;
                match made {
                    Some(made) => {
                        write!(
                            f,
                            ": it makes it {} s; set [watchdog] timeout_s to that",
                            made.as_secs()
                        )
                    }
                    None => f.write_str("; remove [watchdog] timeout_s for its own"),
                }
            }
            WatchdogError::Lost { what, doing, source } => write!(
                f,
                "{what}: {doing}: {source}; the machine may restart within the watchdog's timeout"
            ),
        }
    }
}

impl std::error::Error for WatchdogError {}

/// The hardware's, or `softdog`. Opening starts it; dropping without [`Watchdog::stop`] leaves it running.
#[derive(Debug)]
pub struct DeviceWatchdog {
    path: PathBuf,
    /// `None` once stopped.
    file: Option<File>,
    timeout: Duration,
}

/// `WDIOC_SETTIMEOUT` and `WDIOC_GETTIMEOUT`: seconds, in and out.
const SET_TIMEOUT: rustix::ioctl::Opcode = opcode::read_write::<i32>(b'W', 6);
const GET_TIMEOUT: rustix::ioctl::Opcode = opcode::read::<i32>(b'W', 7);
/// Written before closing, this says that the end is meant.
const MAGIC_CLOSE: &[u8] = b"V";
/// Any other byte feeds.
const KEEP_ALIVE: &[u8] = b".";

fn seconds(file: &File, set: Option<i32>) -> Result<i32, Errno> {
    let mut seconds = set.unwrap_or(0);
    #[allow(unsafe_code)]
    // SAFETY: both calls take a pointer to an int and write an int there, which lives across the call.
    unsafe {
        match set {
            Some(_) => ioctl(file, Updater::<SET_TIMEOUT, i32>::new(&mut seconds))?,
            None => ioctl(file, Updater::<GET_TIMEOUT, i32>::new(&mut seconds))?,
        }
    }
    Ok(seconds)
}

/// The timeout that a device has, where that is what was asked for.
fn agreed(
    path: &Path,
    wanted: Option<Duration>,
    made: Result<i32, Errno>,
) -> Result<Duration, WatchdogError> {
    let made = made.ok().and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0);
    let made = made.map(Duration::from_secs);
    match (wanted, made) {
        (Some(wanted), made) if made != Some(wanted) => {
            Err(WatchdogError::Timeout { path: path.to_owned(), wanted, made })
        }
        (_, Some(made)) => Ok(made),
        // A driver that keeps its time to itself is fed as often as the shortest would need.
        (_, None) => Ok(Duration::from_secs(u64::from(*TIMEOUT_RANGE_S.start()))),
    }
}

impl DeviceWatchdog {
    /// Opens and so starts it, with that timeout or its own.
    ///
    /// # Errors
    /// It is not there, taken, or does not do that timeout (and then it is switched off again).
    pub fn open(path: &Path, timeout: Option<Duration>) -> Result<DeviceWatchdog, WatchdogError> {
        let opened = OpenOptions::new().write(true).open(path);
        let file =
            opened.map_err(|source| WatchdogError::Open { path: path.to_owned(), source })?;
        let set = timeout.map(|t| i32::try_from(t.as_secs()).unwrap_or(i32::MAX));
        let mut dog =
            DeviceWatchdog { path: path.to_owned(), timeout: Duration::ZERO, file: Some(file) };
        let made = dog.file.as_ref().map_or(Err(Errno::BADF), |file| seconds(file, set));
        match agreed(path, timeout, made) {
            Ok(timeout) => dog.timeout = timeout,
            Err(error) => {
                dog.stop()?;
                return Err(error);
            }
        }
        Ok(dog)
    }

    fn write(&mut self, bytes: &[u8], doing: &'static str) -> Result<(), WatchdogError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(bytes).map_err(|source| WatchdogError::Lost {
            what: self.path.display().to_string(),
            doing,
            source,
        })
    }
}

impl Watchdog for DeviceWatchdog {
    fn describe(&self) -> String {
        format!("{} ({} s)", self.path.display(), self.timeout.as_secs())
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn feed(&mut self) -> Result<(), WatchdogError> {
        self.write(KEEP_ALIVE, "feeding")
    }

    fn stop(&mut self) -> Result<(), WatchdogError> {
        self.write(MAGIC_CLOSE, "switching it off")?;
        self.file = None;
        Ok(())
    }
}

/// systemd's watchdog over this service: `WatchdogSec` in the unit.
#[derive(Debug)]
pub struct ServiceWatchdog {
    timeout: Duration,
}

impl ServiceWatchdog {
    /// The unit's watchdog, if this process runs under one.
    pub fn from_unit() -> Option<ServiceWatchdog> {
        sd_notify::watchdog_enabled().map(|timeout| ServiceWatchdog { timeout })
    }
}

impl Watchdog for ServiceWatchdog {
    fn describe(&self) -> String {
        format!("systemd's WatchdogSec ({:.1} s)", self.timeout.as_secs_f32())
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn feed(&mut self) -> Result<(), WatchdogError> {
        tell(&[NotifyState::Watchdog], "feeding")
    }

    fn stop(&mut self) -> Result<(), WatchdogError> {
        // systemd stops watching a service that is stopping.
        stopping()
    }
}

fn tell(state: &[NotifyState<'_>], doing: &'static str) -> Result<(), WatchdogError> {
    sd_notify::notify(state).map_err(|source| WatchdogError::Lost {
        what: "systemd's notification socket".to_owned(),
        doing,
        source,
    })
}

/// Tells systemd that the line inspects (`READY=1`). Does nothing without systemd, as the next two.
///
/// # Errors
/// The socket does not answer.
pub fn ready() -> Result<(), WatchdogError> {
    tell(&[NotifyState::Ready], "saying that the line is ready")
}

/// Tells systemd that the program is ending (`STOPPING=1`).
///
/// # Errors
/// The socket does not answer.
pub fn stopping() -> Result<(), WatchdogError> {
    tell(&[NotifyState::Stopping], "saying that the line stops")
}

/// What `systemctl status` shows (`STATUS=`): one line, others are joined to it.
///
/// # Errors
/// The socket does not answer.
pub fn status(text: &str) -> Result<(), WatchdogError> {
    let line = text.replace(['\n', '\r'], " ");
    tell(&[NotifyState::Status(&line)], "saying how it is")
}

/// Every watchdog that there is: the board file's device and systemd's.
///
/// # Errors
/// The device that the board file names does not work.
pub fn open(config: &WatchdogConfig) -> Result<Vec<Box<dyn Watchdog>>, WatchdogError> {
    let mut dogs: Vec<Box<dyn Watchdog>> = Vec::new();
    if let Some(path) = &config.device {
        dogs.push(Box::new(DeviceWatchdog::open(path, config.timeout)?));
    }
    if let Some(dog) = ServiceWatchdog::from_unit() {
        dogs.push(Box::new(dog));
    }
    Ok(dogs)
}

/// What to do about one watchdog now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Feed it.
    Feed,
    /// It was fed lately.
    Wait,
    /// Let it bite, if this goes on.
    Withhold {
        /// Since when the line has not been healthy.
        since: Timestamp,
    },
}

/// When to feed: pure, with the time as an argument.
#[derive(Clone, Copy, Debug)]
pub struct FeedPolicy {
    every: Duration,
    fed: Option<Timestamp>,
    sick: Option<Timestamp>,
}

impl FeedPolicy {
    /// For a watchdog that bites after `timeout`.
    pub fn new(timeout: Duration) -> FeedPolicy {
        FeedPolicy { every: timeout / FEEDS_PER_TIMEOUT, fed: None, sick: None }
    }

    /// What to do at `now`, when the line's loop says whether it met its deadlines since the last call.
    pub fn decide(&mut self, now: Timestamp, healthy: bool) -> Decision {
        self.sick = if healthy { None } else { self.sick.or(Some(now)) };
        match (self.sick, self.fed) {
            (Some(since), _) => Decision::Withhold { since },
            (None, Some(fed)) if now.since(fed) < self.every => Decision::Wait,
            (None, _) => {
                self.fed = Some(now);
                Decision::Feed
            }
        }
    }

    /// Longest time between two calls of [`FeedPolicy::decide`] that keeps the watchdog quiet with ease.
    pub fn every(&self) -> Duration {
        self.every
    }
}

/// Feeds every watchdog as its policy says. Called by the line's loop and by nobody else.
pub struct Feeder {
    dogs: Vec<(Box<dyn Watchdog>, FeedPolicy)>,
}

impl fmt::Debug for Feeder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.dogs.iter().map(|(dog, _)| dog.describe())).finish()
    }
}

impl Feeder {
    /// For these watchdogs; none is fine.
    pub fn new(dogs: Vec<Box<dyn Watchdog>>) -> Feeder {
        let with_policy = |dog: Box<dyn Watchdog>| {
            let policy = FeedPolicy::new(dog.timeout());
            (dog, policy)
        };
        Feeder { dogs: dogs.into_iter().map(with_policy).collect() }
    }

    /// To be called at least this often; `None` without a watchdog.
    pub fn every(&self) -> Option<Duration> {
        self.dogs.iter().map(|(_, policy)| policy.every()).min()
    }

    /// Feeds what is due, unless the loop missed its deadlines.
    ///
    /// # Errors
    /// The first watchdog that cannot be reached; the others are fed all the same.
    pub fn feed(&mut self, now: Timestamp, healthy: bool) -> Result<(), WatchdogError> {
        let mut outcome = Ok(());
        for (dog, policy) in &mut self.dogs {
            let fed = match policy.decide(now, healthy) {
                Decision::Feed => dog.feed(),
                Decision::Wait | Decision::Withhold { .. } => Ok(()),
            };
            outcome = outcome.and(fed);
        }
        outcome
    }

    /// Switches all off, for a clean end.
    ///
    /// # Errors
    /// The first that cannot be reached; the others are switched off all the same.
    pub fn stop(mut self) -> Result<(), WatchdogError> {
        let mut outcome = Ok(());
        // Every one is told, also after one that refuses.
        for (dog, _) in &mut self.dogs {
            outcome = outcome.and(dog.stop());
        }
        outcome
    }
}

#[cfg(test)]
#[path = "watchdog_tests.rs"]
mod tests;
