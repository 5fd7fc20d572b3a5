//! Files that are whole or absent: write beside, flush to disk, rename.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Writes `bytes` to `path` so that a reader, or a power cut, sees the old file or the new one and
/// never a part of it.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = sibling(path)?;
    let written = write_synced(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if let Err(e) = written {
        // The half-written sibling is ours alone; if even removing it fails, the first error is
        // still the one to report.
        let _ = fs::remove_file(&beside);
        return Err(e);
    }
    sync_folder(path)
}

/// Writes a new file and flushes it to disk.
pub fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Flushes the folder that holds `path`, so that a rename in it survives a power cut.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

/// A hidden, unused name beside `path`, on the same file system so that a rename is atomic.
pub fn sibling(path: &Path) -> io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    hidden.push(format!(".{}-{count}.part", std::process::id()));
    Ok(parent(path).join(hidden))
}

/// Puts folder `new` in the place of `target`, which may exist, and removes what was there. On
/// Linux the two are exchanged in one step; where the file system cannot (FAT), the old folder
/// stays beside as `.NAME.*.part` should the power fail between two renames.
pub fn replace_folder(new: &Path, target: &Path) -> io::Result<()> {
    if !target.try_exists()? {
        fs::rename(new, target)?;
        return sync_folder(target);
    }
    if exchange(new, target).is_ok() {
        sync_folder(target)?;
        // The exchange is done; old content that cannot be removed is litter, not a failure.
        let _ = fs::remove_dir_all(new);
        return Ok(());
    }
    let old = sibling(target)?;
    fs::rename(target, &old)?;
    if let Err(e) = fs::rename(new, target) {
        fs::rename(&old, target)?;
        return Err(e);
    }
    sync_folder(target)?;
    let _ = fs::remove_dir_all(&old);
    Ok(())
}

#[cfg(target_os = "linux")]
fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Reads a whole file, or fails with `FileTooLarge` once it exceeds `limit` bytes: the limit holds
/// for what is read, not for what the folder claims.
pub fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::with_capacity(file.metadata()?.len().min(limit) as usize);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than the limit of {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether `name` is fit for a model or recipe: `[a-z0-9-_]{1,64}`, and so for a folder, a URL and
/// a PLC's screen alike.
pub fn is_safe_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("folder");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("inside"), b"x").unwrap();
        assert!(write_atomic(&target, b"new").is_err(), "a folder is not replaced");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write_atomic(&dir.path().join("no/such/folder/f"), b"x").is_err());
    }

    #[test]
    fn a_folder_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (new, target) = (dir.path().join("new"), dir.path().join("target"));
        fs::create_dir(&target).unwrap();
        fs::write(target.join("old"), b"old").unwrap();
        fs::create_dir(&new).unwrap();
        fs::write(new.join("fresh"), b"fresh").unwrap();
        replace_folder(&new, &target).unwrap();
        assert!(target.join("fresh").exists() && !target.join("old").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_are_safe_for_folders() {
        for good in ["a", "cap-38_mm", &"x".repeat(64)] {
            assert!(is_safe_name(good), "{good}");
        }
        for bad in ["", "A", "a b", "../a", "a/b", "ä", ".a", &"x".repeat(65)] {
            assert!(!is_safe_name(bad), "{bad}");
        }
    }

    #[test]
    fn reading_stops_at_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, [7u8; 100]).unwrap();
        assert_eq!(read_limited(&path, 100).unwrap().len(), 100);
        let err = read_limited(&path, 99).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::FileTooLarge);
    }
}
