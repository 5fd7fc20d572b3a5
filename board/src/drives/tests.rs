use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

/// `/sys` and `/proc` as the kernel lays them out, to plug things into.
pub(super) struct Tree(tempfile::TempDir);

impl Tree {
    pub(super) fn new() -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        fs::create_dir_all(tree.0.path().join("sys/class/block")).unwrap();
        fs::create_dir_all(tree.0.path().join("proc/self")).unwrap();
        tree.mounts("22 1 253:1 / / rw - ext4 /dev/vda1 rw\n");
        tree
    }

    pub(super) fn source(&self) -> SysSource {
        SysSource::at(self.0.path())
    }

    pub(super) fn mounts(&self, text: &str) {
        fs::write(self.0.path().join("proc/self/mountinfo"), text).unwrap();
    }

    fn entry(&self, folder: &Path, number: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("dev"), format!("{number}\n")).unwrap();
        fs::write(folder.join("size"), "2048\n").unwrap();
        let link = self.0.path().join("sys/class/block").join(folder.file_name().unwrap());
        symlink(folder, link).unwrap();
    }

    /// Plugs a drive in, at `path` below `/sys/devices`.
    pub(super) fn drive(
        &self,
        path: &str,
        number: &str,
        parts: &[(&str, &str)],
        removable: u8,
    ) -> PathBuf {
        let drive = self.0.path().join("sys/devices").join(path);
        self.entry(&drive, number);
        fs::write(drive.join("removable"), format!("{removable}\n")).unwrap();
        fs::write(drive.join("diskseq"), "7\n").unwrap();
        for (name, number) in parts {
            self.entry(&drive.join(name), number);
            fs::write(drive.join(name).join("partition"), "1\n").unwrap();
        }
        drive
    }

    fn unplug(&self) {
        fs::remove_dir_all(self.0.path().join("sys/devices")).unwrap();
    }
}

#[derive(Clone, Default)]
struct FakeMounter {
    log: Arc<Mutex<Vec<String>>>,
    broken: Arc<Mutex<bool>>,
}

impl Mounter for FakeMounter {
    fn mount(&mut self, partition: &Partition, target: &Path) -> Result<&'static str, DriveError> {
        assert!(target.is_dir());
        if *self.broken.lock().unwrap() {
            return Err(DriveError::NoFilesystem {
                device: device(partition),
                missing: Vec::new(),
            });
        }
        self.log.lock().unwrap().push(format!("mount {}", partition.name));
        Ok("vfat")
    }

    fn unmount(&mut self, target: &Path) -> Result<(), DriveError> {
        let name = target.file_name().unwrap().to_str().unwrap().to_owned();
        self.log.lock().unwrap().push(format!("unmount {name}"));
        Ok(())
    }
}

type Rig = (Tree, Drives<SysSource, FakeMounter>, FakeMounter, tempfile::TempDir);

fn rig() -> Rig {
    let (tree, mounter) = (Tree::new(), FakeMounter::default());
    let root = tempfile::tempdir().unwrap();
    let config = StorageConfig {
        removable: true,
        mount_root: root.path().join("media"),
        settle: Duration::from_millis(500),
    };
    let drives = Drives::with(&config, tree.source(), mounter.clone());
    (tree, drives, mounter, root)
}

const STICK: &str = "pci0/usb1/1-1/host6/block/sda";

fn at(ms: i64) -> Timestamp {
    Timestamp(ms * 1000)
}

#[test]
fn a_stick_is_mounted_once_settled_and_let_go_when_pulled() {
    let (tree, mut drives, mounter, root) = rig();
    assert!(drives.poll(at(0)).unwrap().is_empty());
    tree.drive(STICK, "8:0", &[("sda1", "8:1")], 1);
    assert!(drives.poll(at(250)).unwrap().is_empty());
    let events = drives.poll(at(750)).unwrap();
    let folder = root.path().join("media/sda1");
    let [DriveEvent::Mounted { partition, at: place, filesystem: "vfat" }] = events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert_eq!((partition.name.as_str(), place), ("sda1", &folder));
    assert_eq!(drives.mounted().len(), 1);
    tree.unplug();
    let events = drives.poll(at(1000)).unwrap();
    assert!(matches!(&events[..], [DriveEvent::Removed { at: Some(a), .. }] if *a == folder));
    assert!(!folder.exists() && drives.mounted().is_empty());
    assert_eq!(*mounter.log.lock().unwrap(), ["mount sda1", "unmount sda1"]);
}

#[test]
fn what_cannot_be_mounted_is_told_once_and_leaves_nothing() {
    let (tree, mut drives, mounter, root) = rig();
    *mounter.broken.lock().unwrap() = true;
    tree.drive(STICK, "8:0", &[("sda1", "8:1")], 1);
    drives.poll(at(0)).unwrap();
    let events = drives.poll(at(500)).unwrap();
    let [DriveEvent::Failed { error, .. }] = events.as_slice() else { panic!("{events:?}") };
    assert!(error.to_string().contains("/dev/sda1: no file system"), "{error}");
    assert!(!root.path().join("media/sda1").exists());
    assert!(drives.poll(at(9000)).unwrap().is_empty());
    tree.unplug();
    let events = drives.poll(at(9250)).unwrap();
    assert!(matches!(&events[..], [DriveEvent::Removed { at: None, .. }]), "{events:?}");
}

#[test]
fn a_stick_that_somebody_else_mounted_is_left_to_them() {
    let (tree, mut drives, mounter, _root) = rig();
    tree.drive(STICK, "8:0", &[("sda1", "8:1")], 1);
    tree.mounts("36 22 8:1 / /media/user/STICK rw - vfat /dev/sda1 rw\n");
    drives.poll(at(0)).unwrap();
    let events = drives.poll(at(500)).unwrap();
    let [DriveEvent::Failed { error, .. }] = events.as_slice() else { panic!("{events:?}") };
    assert!(error.to_string().contains("already mounted at /media/user/STICK"), "{error}");
    assert!(mounter.log.lock().unwrap().is_empty());
}

#[test]
fn a_killed_life_of_ours_is_cleared_away_and_the_end_lets_go() {
    let (tree, mut drives, mounter, root) = rig();
    tree.drive(STICK, "8:0", &[("sda1", "8:1")], 1);
    let stale = root.path().join("media/sda1");
    tree.mounts(&format!("36 22 8:1 / {} rw - vfat /dev/sda1 rw\n", stale.display()));
    drives.poll(at(0)).unwrap();
    drives.poll(at(500)).unwrap();
    drop(drives);
    let log = mounter.log.lock().unwrap().clone();
    assert_eq!(log, ["unmount sda1", "mount sda1", "unmount sda1"]);
}

#[test]
fn sticks_are_left_alone_unless_asked_for() {
    assert!(Drives::open(&StorageConfig::default()).is_none());
    let on = StorageConfig { removable: true, ..StorageConfig::default() };
    assert!(Drives::open(&on).is_some());
}

#[test]
fn every_error_says_what_to_do() {
    let device = || PathBuf::from("/dev/sda1");
    let io = || io::Error::other("no");
    let cases = [
        (DriveError::Unlisted { path: "/sys".into(), source: io() }, "/sys: no; is /sys"),
        (DriveError::NotAllowed { device: device() }, "run as root"),
        (DriveError::Elsewhere { device: device(), at: "/a".into() }, "automatic mounting off"),
        (DriveError::Gone { device: device() }, "plug it in again"),
        (DriveError::Io { path: device(), doing: "mounting", source: io() }, "mounting: no"),
    ];
    for (error, needle) in cases {
        assert!(error.to_string().contains(needle), "{error}");
    }
}
