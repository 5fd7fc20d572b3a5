//! A USB camera's serial number, from sysfs.

use std::path::{Path, PathBuf};

/// Longest serial number that is read.
const SERIAL_MAX: usize = 256;
/// Levels between a video node and its USB device: interface, device, and some to spare.
const LEVELS_MAX: usize = 6;

/// The serial number of the USB device behind a video node; `None` where it is no USB camera or has none.
pub(super) fn serial(node: &Path) -> Option<String> {
    serial_under(Path::new("/sys/class/video4linux"), node)
}

fn serial_under(class: &Path, node: &Path) -> Option<String> {
    // The node may be a link under /dev/v4l.
    let node = node.canonicalize().ok()?;
    let device = class.join(node.file_name()?).join("device").canonicalize().ok()?;
    let is_usb_device = |folder: &&Path| folder.join("idVendor").is_file();
    let device: PathBuf = device.ancestors().take(LEVELS_MAX).find(is_usb_device)?.to_owned();
    let bytes = std::fs::read(device.join("serial")).ok()?;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SERIAL_MAX)]).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// `/sys` as the kernel lays it out for one USB camera, and its node.
    fn tree(serial: Option<&str>) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let usb = root.path().join("devices/pci0/usb1/1-2");
        let node = usb.join("1-2:1.0/video4linux/video3");
        fs::create_dir_all(&node).unwrap();
        symlink(usb.join("1-2:1.0"), node.join("device")).unwrap();
        fs::write(usb.join("idVendor"), "046d\n").unwrap();
        if let Some(serial) = serial {
            fs::write(usb.join("serial"), serial).unwrap();
        }
        let class = root.path().join("class");
        fs::create_dir(&class).unwrap();
        symlink(&node, class.join("video3")).unwrap();
        fs::create_dir(root.path().join("dev")).unwrap();
        let device = root.path().join("dev/video3");
        fs::write(&device, "").unwrap();
        (root, class, device)
    }

    #[test]
    fn the_number_is_found_also_behind_a_link() {
        let (root, class, device) = tree(Some("A1B2C3\n"));
        assert_eq!(serial_under(&class, &device).as_deref(), Some("A1B2C3"));
        let link = root.path().join("by-path");
        symlink(&device, &link).unwrap();
        assert_eq!(serial_under(&class, &link).as_deref(), Some("A1B2C3"));
    }

    #[test]
    fn a_camera_without_one_has_none() {
        let (root, class, device) = tree(None);
        assert_eq!(serial_under(&class, &device), None);
        assert_eq!(serial_under(&class, &root.path().join("dev/video9")), None);
        let (_root, class, device) = tree(Some(" \n"));
        assert_eq!(serial_under(&class, &device), None);
    }
}
