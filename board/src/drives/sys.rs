//! What is plugged in, from `/sys/class/block` and `/proc/self/mountinfo`: no udev, no C library.

use super::{DriveError, Partition, Source};
use std::fs;
use std::path::{Path, PathBuf};

/// Most block devices looked at.
const BLOCKS_MAX: usize = 512;
/// sysfs counts sizes in these, whatever the drive does.
const SECTOR: u64 = 512;

/// The kernel's lists.
#[derive(Clone, Debug)]
pub struct SysSource {
    blocks: PathBuf,
    mounts: PathBuf,
}

impl Default for SysSource {
    fn default() -> SysSource {
        SysSource::at(Path::new("/"))
    }
}

impl SysSource {
    /// The lists below another root, laid out as the kernel lays them out.
    pub fn at(root: &Path) -> SysSource {
        SysSource { blocks: root.join("sys/class/block"), mounts: root.join("proc/self/mountinfo") }
    }
}

fn value(folder: &Path, file: &str) -> Option<String> {
    fs::read_to_string(folder.join(file)).ok().map(|text| text.trim().to_owned())
}

/// Device number, as `8:1`.
fn number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whether a drive can be pulled out: the kernel says so, or it hangs on USB. An internal disk never can.
fn removable(drive: &Path) -> bool {
    let usb = drive.components().filter_map(|part| part.as_os_str().to_str()).any(|part| {
        part.strip_prefix("usb")
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    });
    usb || value(drive, "removable").as_deref() == Some("1")
}

/// Whether partitions of a drive are listed below it.
fn partitioned(drive: &Path) -> bool {
    let Ok(entries) = fs::read_dir(drive) else { return false };
    entries.flatten().any(|entry| entry.path().join("partition").is_file())
}

/// The device of an entry, where it is one to mount: a partition of a removable drive, or such a drive
/// without partitions. Anything that vanishes while it is looked at is none.
fn candidate(entry: &Path) -> Option<Partition> {
    let name = entry.file_name()?.to_str()?.to_owned();
    let folder = entry.canonicalize().ok()?;
    let whole = !folder.join("partition").is_file();
    let drive = if whole { folder.as_path() } else { folder.parent()? };
    if !removable(drive) || (whole && partitioned(drive)) {
        return None;
    }
    let size = value(&folder, "size")?.parse::<u64>().ok()?.saturating_mul(SECTOR);
    let generation = value(drive, "diskseq").and_then(|text| text.parse().ok()).unwrap_or(0);
    let number = number(&value(&folder, "dev")?)?;
    // An empty card reader is a drive of no size.
    (size > 0).then_some(Partition { name, number, generation, size })
}

/// The mount point of a device in a line of mountinfo, with its spaces back.
fn mount_point(line: &str, wanted: (u32, u32)) -> Option<PathBuf> {
    let mut fields = line.split(' ').skip(2);
    (number(fields.next()?)? == wanted).then_some(())?;
    fields.nth(1).map(|text| PathBuf::from(unescape(text)))
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok();
        match (first, tail.get(..3).filter(|d| d.iter().all(u8::is_ascii_digit)).and_then(code)) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Source for SysSource {
    fn partitions(&mut self) -> Result<Vec<Partition>, DriveError> {
        let failed = |source| DriveError::Unlisted { path: self.blocks.clone(), source };
        let entries = fs::read_dir(&self.blocks).map_err(failed)?;
        let mut found: Vec<Partition> = entries
            .take(BLOCKS_MAX)
            .flatten()
            .filter_map(|entry| candidate(&entry.path()))
            .collect();
        found.sort();
        Ok(found)
    }

    fn mounted_at(&mut self, partition: &Partition) -> Result<Option<PathBuf>, DriveError> {
        let failed = |source| DriveError::Unlisted { path: self.mounts.clone(), source };
        let text = fs::read(&self.mounts).map_err(failed)?;
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().find_map(|line| mount_point(line, partition.number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drives::tests::Tree;
    use proptest::prelude::*;

    #[test]
    fn only_what_can_be_pulled_out_is_listed() {
        let tree = Tree::new();
        tree.drive("pci0/usb1/1-1/host6/block/sda", "8:0", &[("sda1", "8:1"), ("sda2", "8:2")], 0);
        tree.drive("pci0/nvme/nvme0/nvme0n1", "259:0", &[("nvme0n1p1", "259:1")], 0);
        tree.drive("platform/mmc0/mmc0:1/block/mmcblk0", "179:0", &[("mmcblk0p1", "179:1")], 1);
        tree.drive("pci0/usb2/2-1/host7/block/sdb", "8:16", &[], 0);
        let found = tree.source().partitions().unwrap();
        let names: Vec<&str> = found.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["mmcblk0p1", "sda1", "sda2", "sdb"]);
        assert_eq!((found[1].number, found[1].size, found[1].generation), ((8, 1), 2048 * 512, 7));
    }

    #[test]
    fn an_empty_reader_and_a_vanishing_drive_are_none() {
        let tree = Tree::new();
        let drive = tree.drive("pci0/usb1/1-1/host6/block/sda", "8:0", &[], 1);
        fs::write(drive.join("size"), "0\n").unwrap();
        assert_eq!(tree.source().partitions().unwrap(), []);
        fs::remove_dir_all(drive).unwrap();
        assert_eq!(tree.source().partitions().unwrap(), [], "a link to nowhere");
    }

    #[test]
    fn mounts_are_found_by_number_with_odd_names() {
        let tree = Tree::new();
        tree.drive("pci0/usb1/1-1/host6/block/sda", "8:0", &[("sda1", "8:1")], 1);
        let mut source = tree.source();
        let stick = source.partitions().unwrap().remove(0);
        assert_eq!(source.mounted_at(&stick).unwrap(), None);
        tree.mounts("22 1 8:17 / /a rw - ext4 /dev/sdb1 rw\n36 22 8:1 / /media/MY\\040STICK\\134 ro - vfat x ro\n");
        let at = source.mounted_at(&stick).unwrap();
        assert_eq!(at, Some(PathBuf::from("/media/MY STICK\\")));
    }

    #[test]
    fn unreadable_lists_are_named() {
        let root = tempfile::tempdir().unwrap();
        let error = SysSource::at(root.path()).partitions().unwrap_err().to_string();
        assert!(error.contains("sys/class/block") && error.contains("is /sys or /proc mounted?"));
    }

    #[test]
    fn the_real_lists_are_read() {
        // Whatever this machine has: its lists have to be understood.
        SysSource::default().partitions().unwrap();
    }

    proptest! {
        #[test]
        fn any_line_of_mounts_is_survived(line in "\\PC{0,80}", cut in 0usize..40) {
            let _ = mount_point(&line, (8, 1));
            let whole = "36 22 8:1 / /media/A\\040B\\13 ro,nosuid - vfat /dev/sda1 ro";
            let _ = mount_point(&whole[..cut.min(whole.len())], (8, 1));
        }

        #[test]
        fn names_come_back(name in "[ -~]{0,20}") {
            let escaped: String = name
                .chars()
                .map(|c| match c {
                    ' ' | '\\' => format!("\\{:03o}", c as u32),
                    c => c.to_string(),
                })
                .collect();
            prop_assert_eq!(unescape(&escaped), name);
        }
    }
}
