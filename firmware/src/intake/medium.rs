//! A mounted stick, as far as it is looked at: names at its top level, and plain files by name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use touchstone_models::bundle::BundleName;

/// Most names looked at on a stick: an endless folder must not hold anybody up.
pub const NAMES_MAX: usize = 1000;
/// Most bundles that are tried of one stick.
pub const BUNDLES_MAX: usize = 8;

/// A file that can be read.
pub type Source = Box<dyn Read + Send>;

/// What can be mounted.
pub trait Medium: Send {
    /// The bundles at the top level, the newest first.
    fn bundles(&mut self, at: &Path) -> io::Result<Vec<BundleName>>;

    /// Opens a plain file at the top level, with its size. Links are not followed.
    fn open(&mut self, at: &Path, name: &str) -> io::Result<(Source, u64)>;
}

/// The kernel's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mounted;

impl Medium for Mounted {
    fn bundles(&mut self, at: &Path) -> io::Result<Vec<BundleName>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(at)?.take(NAMES_MAX) {
            let name = entry?.file_name();
            found.extend(name.to_str().and_then(BundleName::parse));
        }
        found.sort_by(|a, b| b.version.cmp(&a.version).then_with(|| a.name.cmp(&b.name)));
        found.truncate(BUNDLES_MAX);
        Ok(found)
    }

    fn open(&mut self, at: &Path, name: &str) -> io::Result<(Source, u64)> {
        let file = open_plain(OpenOptions::new().read(true), &at.join(name))?;
        let size = file.metadata()?.len();
        Ok((Box::new(file), size))
    }
}

/// Opens a plain file and nothing else: a link of that name could lead anywhere on the camera.
fn open_plain(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // Non-blocking, so that a pipe of that name does not wait for its other end for ever.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = options.custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
    }
    Ok(file)
}

/// Writes a plain file at the top level of a stick, flushed. What is there under that name and is none stays as it is.
///
/// # Errors
/// It is no plain file, or the stick's.
pub fn write_plain(at: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = open_plain(OpenOptions::new().write(true).create(true), &at.join(name))?;
    file.set_len(0)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_the_fixed_pattern_counts_and_the_newest_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["cap-2.touchstone", "cap-10.touchstone", "nut-10.touchstone", "x.exe", "cap-3.tar"]
        {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        fs::create_dir(dir.path().join("deep")).unwrap();
        fs::write(dir.path().join("deep/cap-99.touchstone"), "x").unwrap();
        let names: Vec<String> =
            Mounted.bundles(dir.path()).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["cap-10.touchstone", "nut-10.touchstone", "cap-2.touchstone"]);
        for number in 20..60 {
            fs::write(dir.path().join(format!("cap-{number}.touchstone")), "").unwrap();
        }
        assert_eq!(Mounted.bundles(dir.path()).unwrap().len(), BUNDLES_MAX);
    }

    #[test]
    fn links_folders_and_pipes_are_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        symlink("/etc/passwd", dir.path().join("link-1.touchstone")).unwrap();
        fs::create_dir(dir.path().join("folder-1.touchstone")).unwrap();
        let pipe = dir.path().join("pipe-1.touchstone");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        let mut names = vec!["link-1.touchstone", "folder-1.touchstone"];
        if made.is_ok_and(|status| status.success()) {
            names.push("pipe-1.touchstone");
        }
        for name in &names {
            assert!(Mounted.open(dir.path(), name).is_err(), "{name}");
        }
        for name in &names {
            assert!(write_plain(dir.path(), name, b"result").is_err(), "{name}");
        }
        fs::write(dir.path().join("cap-1.touchstone"), "abc").unwrap();
        assert_eq!(Mounted.open(dir.path(), "cap-1.touchstone").unwrap().1, 3);
    }

    #[test]
    fn the_result_goes_into_a_file_of_the_stick_and_nowhere_else() {
        let (stick, camera) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let precious = camera.path().join("state.toml");
        fs::write(&precious, "precious").unwrap();
        symlink(&precious, stick.path().join("result.txt")).unwrap();
        assert!(write_plain(stick.path(), "result.txt", b"installed").is_err());
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
        fs::remove_file(stick.path().join("result.txt")).unwrap();
        for text in ["a longer result of before", "installed"] {
            write_plain(stick.path(), "result.txt", text.as_bytes()).unwrap();
            assert_eq!(fs::read(stick.path().join("result.txt")).unwrap(), text.as_bytes());
        }
    }
}
