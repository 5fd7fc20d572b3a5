//! USB sticks: noticed, mounted so that nothing on them can act, and let go of when pulled out.
//!
//! [`Tracker`] is the pure part (what is there, for how long); [`Source`] looks at the kernel's lists and
//! [`Mounter`] mounts. [`Drives`] joins the three and is polled from a thread of its own: a bad stick can
//! hold a mount for seconds, and the line must not wait for it.

mod mount;
mod sys;
mod tracker;

pub use mount::{FILESYSTEMS, KernelMounter};
pub use sys::SysSource;
pub use tracker::{Change, Tracker};

use crate::config::StorageConfig;
use crate::time::Timestamp;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most sticks at once; further ones are not looked at.
pub const DRIVES_MAX: usize = 8;
/// How often [`Drives::poll`] should be called.
pub const POLL_EVERY: Duration = Duration::from_millis(100);

/// A partition of a removable drive (or the whole of a drive that has none).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// The kernel's name, as `sda1`.
    pub name: String,
    /// Its device number.
    pub number: (u32, u32),
    /// The kernel's running number of the drive: another stick that gets the same name has another one. 0
    /// before Linux 5.15.
    pub generation: u64,
    /// Bytes.
    pub size: u64,
}

/// Looks at what is plugged in.
pub trait Source: Send {
    /// Partitions of removable drives that are here.
    ///
    /// # Errors
    /// The kernel's lists cannot be read.
    fn partitions(&mut self) -> Result<Vec<Partition>, DriveError>;

    /// Where a partition is mounted, if it is.
    ///
    /// # Errors
    /// The kernel's lists cannot be read.
    fn mounted_at(&mut self, partition: &Partition) -> Result<Option<PathBuf>, DriveError>;
}

/// Mounts and unmounts.
pub trait Mounter: Send {
    /// Mounts `partition` at `target`, read-only and inert, and returns the file system found.
    ///
    /// # Errors
    /// No file system of ours, no permission, or the stick is gone again.
    fn mount(&mut self, partition: &Partition, target: &Path) -> Result<&'static str, DriveError>;

    /// Lets go of `target`, also when somebody still has a file open on it.
    ///
    /// # Errors
    /// The kernel refuses.
    fn unmount(&mut self, target: &Path) -> Result<(), DriveError>;

    /// Lets `target` be written to, or no longer. What is on it still cannot act.
    ///
    /// # Errors
    /// The stick is write-protected or gone, or this mounter never writes.
    fn set_writable(&mut self, target: &Path, writable: bool) -> Result<(), DriveError> {
        let _ = writable;
        Err(DriveError::NotAllowed { device: target.to_owned() })
    }
}

/// What became of a stick.
#[derive(Debug)]
pub enum DriveEvent {
    /// It can be read.
    Mounted {
        /// Which.
        partition: Partition,
        /// Where its files are.
        at: PathBuf,
        /// `vfat`, `exfat` or `ext4`.
        filesystem: &'static str,
    },
    /// It is there and cannot be read.
    Failed {
        /// Which.
        partition: Partition,
        /// Why, and what to do.
        error: DriveError,
    },
    /// It was pulled out; files below `at` are gone.
    Removed {
        /// Which.
        partition: Partition,
        /// Where it was mounted, if it was.
        at: Option<PathBuf>,
    },
}

/// Why a stick cannot be used.
#[derive(Debug)]
pub enum DriveError {
    /// One of the kernel's lists cannot be read.
    Unlisted {
        /// The list.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// None of the file systems fits.
    NoFilesystem {
        /// The stick.
        device: PathBuf,
        /// File systems that this kernel does not have at all.
        missing: Vec<&'static str>,
    },
    /// Mounting needs rights.
    NotAllowed {
        /// The stick.
        device: PathBuf,
    },
    /// Somebody else has mounted it.
    Elsewhere {
        /// The stick.
        device: PathBuf,
        /// Where.
        at: PathBuf,
    },
    /// It was pulled out meanwhile, or does not answer.
    Gone {
        /// The stick.
        device: PathBuf,
    },
    /// The kernel refused.
    Io {
        /// The stick or folder.
        path: PathBuf,
        /// The step that failed.
        doing: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
}

impl fmt::Display for DriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DriveError::Unlisted { path, source } => {
                write!(f, "{}: {source}; is /sys or /proc mounted?", path.display())
            }
            DriveError::NoFilesystem { device, missing } => {
                write!(
                    f,
                    "{}: no file system that can be read; format the stick as FAT32, exFAT or ext4",
                    device.display()
                )?;
                match missing.is_empty() {
                    true => Ok(()),
                    false => write!(f, " (this kernel has no {})", missing.join(", ")),
                }
            }
            DriveError::NotAllowed { device } => write!(
                f,
                "{}: mounting is not allowed; run as root or give the service CAP_SYS_ADMIN",
                device.display()
            ),
            DriveError::Elsewhere { device, at } => write!(
                f,
                "{}: already mounted at {}; switch the desktop's automatic mounting off",
                device.display(),
                at.display()
            ),
            DriveError::Gone { device } => {
                write!(f, "{}: pulled out or not answering; plug it in again", device.display())
            }
            DriveError::Io { path, doing, source } => {
                write!(f, "{}: {doing}: {source}", path.display())
            }
        }
    }
}

impl std::error::Error for DriveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DriveError::Unlisted { source, .. } | DriveError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The sticks of this machine.
pub struct Drives<S: Source = SysSource, M: Mounter = KernelMounter> {
    source: S,
    mounter: M,
    root: PathBuf,
    tracker: Tracker,
    mounted: Vec<(Partition, PathBuf)>,
}

impl<S: Source, M: Mounter> fmt::Debug for Drives<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drives").field("mounted", &self.mounted).finish_non_exhaustive()
    }
}

impl Drives {
    /// The machine's sticks, or `None` where the board file leaves them alone.
    pub fn open(config: &StorageConfig) -> Option<Drives> {
        let open = || Drives::with(config, SysSource::default(), KernelMounter);
        config.removable.then(open)
    }
}

impl<S: Source, M: Mounter> Drives<S, M> {
    /// With another source and mounter.
    pub fn with(config: &StorageConfig, source: S, mounter: M) -> Drives<S, M> {
        Drives {
            source,
            mounter,
            root: config.mount_root.clone(),
            tracker: Tracker::new(config.settle),
            mounted: Vec::new(),
        }
    }

    /// Sticks that can be read now, and where.
    pub fn mounted(&self) -> &[(Partition, PathBuf)] {
        &self.mounted
    }

    /// Lets a mounted stick be written to while `work` is done, and not a moment longer.
    ///
    /// # Errors
    /// It cannot be written to, or `work` fails.
    pub fn writing(
        &mut self,
        at: &Path,
        work: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), DriveError> {
        self.mounter.set_writable(at, true)?;
        let done = work(at);
        self.mounter.set_writable(at, false)?;
        let failed = |source| DriveError::Io { path: at.to_owned(), doing: "writing", source };
        done.map_err(failed)
    }

    /// Looks once, mounts what has come and lets go of what has gone.
    ///
    /// # Errors
    /// The kernel's lists cannot be read; sticks that cannot be mounted are events.
    pub fn poll(&mut self, now: Timestamp) -> Result<Vec<DriveEvent>, DriveError> {
        let here = self.source.partitions()?;
        let changes = self.tracker.step(now, &here);
        Ok(changes.into_iter().map(|change| self.act(change)).collect())
    }

    fn act(&mut self, change: Change) -> DriveEvent {
        match change {
            Change::Appeared(partition) => match self.mount(&partition) {
                Ok((at, filesystem)) => {
                    self.mounted.push((partition.clone(), at.clone()));
                    DriveEvent::Mounted { partition, at, filesystem }
                }
                Err(error) => DriveEvent::Failed { partition, error },
            },
            Change::Removed(partition) => {
                let index = self.mounted.iter().position(|(held, _)| *held == partition);
                let at = index.map(|index| self.mounted.swap_remove(index).1);
                if let Some(at) = &at {
                    self.let_go(at);
                }
                DriveEvent::Removed { partition, at }
            }
        }
    }

    fn mount(&mut self, partition: &Partition) -> Result<(PathBuf, &'static str), DriveError> {
        let at = self.root.join(&partition.name);
        match self.source.mounted_at(partition)? {
            // Left over from a life of this program that was killed: with that life's options, whatever they were.
            Some(place) if place == at => self.mounter.unmount(&at)?,
            Some(place) => {
                return Err(DriveError::Elsewhere { device: device(partition), at: place });
            }
            None => {}
        }
        let failed =
            |source| DriveError::Io { path: at.clone(), doing: "making the mount folder", source };
        std::fs::create_dir_all(&at).map_err(failed)?;
        let filesystem = self.mounter.mount(partition, &at).inspect_err(|_| remove_folder(&at))?;
        Ok((at, filesystem))
    }

    fn let_go(&mut self, at: &Path) {
        match self.mounter.unmount(at) {
            Ok(()) => remove_folder(at),
            Err(e) => log::warn!("{e}"),
        }
    }
}

/// Removes an empty mount folder; never what is in it.
fn remove_folder(at: &Path) {
    if let Err(e) = std::fs::remove_dir(at) {
        log::debug!("{}: removing the mount folder: {e}", at.display());
    }
}

impl<S: Source, M: Mounter> Drop for Drives<S, M> {
    fn drop(&mut self) {
        for (_, at) in std::mem::take(&mut self.mounted) {
            self.let_go(&at);
        }
    }
}

/// The node of a partition.
fn device(partition: &Partition) -> PathBuf {
    Path::new("/dev").join(&partition.name)
}

#[cfg(test)]
mod tests;
