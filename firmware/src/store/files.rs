//! What the store asks of a disk: few calls, each of which can be cut or can fail ([`Files`]).

use std::any::Any;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use log::debug;
use rustix::fs::{FlockOperation, flock, statvfs};

/// Keeps others out as long as it lives.
pub type Lock = Box<dyn Any + Send>;

/// A disk. Nothing survives a power cut unless it was flushed: bytes by [`Files::sync`], names by
/// [`Files::sync_dir`] of the folder that they are in.
pub trait Files: Send + Sync {
    /// Makes a folder, and those above it, unless they are there.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    /// The names in a folder.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// At most `limit` bytes of a file from `at` on; none at its end.
    fn read(&self, file: &Path, at: u64, limit: u64) -> io::Result<Vec<u8>>;
    /// Makes a file with these bytes; one that is there becomes it.
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Adds bytes to a file, which is made if it is not there.
    fn append(&self, file: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Flushes a file's bytes.
    fn sync(&self, file: &Path) -> io::Result<()>;
    /// Flushes the names in a folder.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Gives a file another name, in the place of what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, file: &Path) -> io::Result<()>;
    /// Bytes of a file.
    fn length(&self, file: &Path) -> io::Result<u64>;
    /// Bytes that are free for us.
    fn free(&self, dir: &Path) -> io::Result<u64>;
    /// Takes a lock; [`io::ErrorKind::WouldBlock`] where another process has it.
    fn lock(&self, file: &Path) -> io::Result<Lock>;
}

/// Folders above a new one whose names are flushed.
const FOLDERS_UP_MAX: usize = 8;

/// Makes a folder so that a power cut does not take it away again, unless it is there.
///
/// # Errors
/// It cannot be made.
pub fn make_lasting_dir(files: &dyn Files, dir: &Path) -> io::Result<()> {
    if files.list(dir).is_ok() {
        return Ok(());
    }
    files.make_dir(dir)?;
    for above in dir.ancestors().skip(1).take(FOLDERS_UP_MAX) {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        // A folder that others own may not let itself be flushed; it was there before.
        if let Err(e) = files.sync_dir(above) {
            debug!("{}: {e}", above.display());
        }
    }
    Ok(())
}

/// The machine's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().into_string().ok());
        let names: io::Result<Vec<Option<String>>> = fs::read_dir(dir)?.map(name).collect();
        // A name that is no text is none of ours.
        Ok(names?.into_iter().flatten().collect())
    }

    fn read(&self, file: &Path, at: u64, limit: u64) -> io::Result<Vec<u8>> {
        let mut open = File::open(file)?;
        open.seek(SeekFrom::Start(at))?;
        let mut bytes = Vec::new();
        open.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        File::create(file)?.write_all(bytes)
    }

    fn append(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        // One call per piece, so that a line is there whole or not at all while the power is on.
        OpenOptions::new().create(true).append(true).open(file)?.write_all(bytes)
    }

    fn sync(&self, file: &Path) -> io::Result<()> {
        File::open(file)?.sync_all()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        fs::remove_file(file)
    }

    fn length(&self, file: &Path) -> io::Result<u64> {
        Ok(fs::metadata(file)?.len())
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        let stat = statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, file: &Path) -> io::Result<Lock> {
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(file)?;
        flock(&open, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(open))
    }
}
