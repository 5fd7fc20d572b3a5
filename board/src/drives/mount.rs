//! The kernel's mount call: read-only, and with nothing on the stick that can act.

use super::{DriveError, Mounter, Partition, device};
use rustix::fs::{FileType, stat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use std::ffi::CStr;
use std::path::Path;

/// File systems tried, in this order, with their options: names as UTF-8, and a journal that is not
/// replayed, because replaying writes.
pub const FILESYSTEMS: [(&str, &CStr); 3] =
    [("vfat", c"utf8"), ("exfat", c""), ("ext4", c"noload")];

/// Nothing on a stick can act, and no link on it leads anywhere (which kernels before 5.10 do not know and leave out).
const INERT: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC)
    .union(MountFlags::NOSYMFOLLOW);

/// Mounts by the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelMounter;

/// What to do after one file system did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Another file system, or none.
    Next,
    /// The kernel does not have this one.
    Missing,
    /// Not allowed.
    NotAllowed,
    /// The stick went away.
    Gone,
    /// Something else.
    Other,
}

fn judge(errno: Errno) -> Verdict {
    match errno {
        Errno::INVAL => Verdict::Next,
        Errno::NODEV => Verdict::Missing,
        Errno::PERM | Errno::ACCESS => Verdict::NotAllowed,
        Errno::NOENT | Errno::NXIO | Errno::IO | Errno::NOMEDIUM => Verdict::Gone,
        _ => Verdict::Other,
    }
}

/// Tries one file system after the other.
fn try_all(
    node: &Path,
    mut attempt: impl FnMut(&'static str, &'static CStr) -> Result<(), Errno>,
) -> Result<&'static str, DriveError> {
    let mut missing = Vec::new();
    for (filesystem, options) in FILESYSTEMS {
        let Err(errno) = attempt(filesystem, options) else { return Ok(filesystem) };
        match judge(errno) {
            Verdict::Next => {}
            Verdict::Missing => missing.push(filesystem),
            Verdict::NotAllowed => return Err(DriveError::NotAllowed { device: node.to_owned() }),
            Verdict::Gone => return Err(DriveError::Gone { device: node.to_owned() }),
            Verdict::Other => {
                return Err(DriveError::Io {
                    path: node.to_owned(),
                    doing: "mounting",
                    source: errno.into(),
                });
            }
        }
    }
    Err(DriveError::NoFilesystem { device: node.to_owned(), missing })
}

impl Mounter for KernelMounter {
    fn mount(&mut self, partition: &Partition, target: &Path) -> Result<&'static str, DriveError> {
        let node = device(partition);
        let gone = || DriveError::Gone { device: node.clone() };
        let status = stat(&node).map_err(|_| gone())?;
        let number = (rustix::fs::major(status.st_rdev), rustix::fs::minor(status.st_rdev));
        // The name may have gone to another drive since it was listed.
        if FileType::from_raw_mode(status.st_mode) != FileType::BlockDevice
            || number != partition.number
        {
            return Err(gone());
        }
        let flags = MountFlags::RDONLY | INERT;
        try_all(&node, |filesystem, options| mount(&node, target, filesystem, flags, options))
    }

    fn set_writable(&mut self, target: &Path, writable: bool) -> Result<(), DriveError> {
        let flags = if writable { INERT } else { INERT | MountFlags::RDONLY };
        mount_remount(target, flags, c"").map_err(|errno| DriveError::Io {
            path: target.to_owned(),
            doing: "mounting it anew",
            source: errno.into(),
        })
    }

    fn unmount(&mut self, target: &Path) -> Result<(), DriveError> {
        // Detached at once; the kernel finishes when the last open file is closed.
        match unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // Nothing mounted there: as wished.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
            Err(errno) => Err(DriveError::Io {
                path: target.to_owned(),
                doing: "unmounting",
                source: errno.into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(answers: [Errno; 3]) -> (Vec<&'static str>, Result<&'static str, String>) {
        let mut asked = Vec::new();
        let found = try_all(Path::new("/dev/sda1"), |filesystem, _| {
            asked.push(filesystem);
            match answers[asked.len() - 1] {
                Errno::AGAIN => Ok(()),
                errno => Err(errno),
            }
        });
        (asked, found.map_err(|e| e.to_string()))
    }

    /// Stands for "it took" in [`tried`].
    const TOOK: Errno = Errno::AGAIN;

    #[test]
    fn file_systems_are_tried_in_order() {
        assert_eq!(tried([TOOK; 3]), (vec!["vfat"], Ok("vfat")));
        assert_eq!(tried([Errno::INVAL, Errno::NODEV, TOOK]).1, Ok("ext4"));
        let (asked, none) = tried([Errno::INVAL, Errno::NODEV, Errno::INVAL]);
        assert_eq!(asked, ["vfat", "exfat", "ext4"]);
        let error = none.unwrap_err();
        assert!(error.contains("FAT32, exFAT or ext4 (this kernel has no exfat)"), "{error}");
    }

    #[test]
    fn what_no_other_file_system_would_mend_stops_the_search() {
        let (asked, error) = tried([Errno::PERM, TOOK, TOOK]);
        assert_eq!(asked, ["vfat"]);
        assert!(error.unwrap_err().contains("CAP_SYS_ADMIN"));
        assert!(tried([Errno::INVAL, Errno::IO, TOOK]).1.unwrap_err().contains("plug it in again"));
        assert!(tried([Errno::NOMEM, TOOK, TOOK]).1.unwrap_err().contains("mounting: "));
    }

    #[test]
    fn a_node_that_is_not_the_listed_device_is_not_mounted() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["sdz99", "null"] {
            let partition =
                Partition { name: name.to_owned(), number: (8, 1), generation: 1, size: 1 };
            let error = KernelMounter.mount(&partition, folder.path()).unwrap_err();
            assert!(matches!(error, DriveError::Gone { .. }), "{error}");
        }
    }

    #[test]
    fn nothing_mounted_is_nothing_to_unmount() {
        let folder = tempfile::tempdir().unwrap();
        let none = KernelMounter.unmount(&folder.path().join("none"));
        // Without rights the kernel says so before it looks.
        assert!(none.is_ok() || none.unwrap_err().to_string().contains("unmounting"));
    }
}
