//! Folders that results are written to: checked before any work is done, and
//! left as they were if nothing came of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use touchstone_models::files;

use crate::exit::Failure;

/// A folder that can be written to.
#[derive(Debug)]
pub struct OutFolder {
    path: PathBuf,
    made: bool,
}

impl OutFolder {
    /// Makes the folder if it is not there and tries to write into it. `what`
    /// is how the command line calls it.
    ///
    /// # Errors
    /// It cannot be made or written to.
    pub fn prepare(path: &Path, what: &str) -> Result<Self, Failure> {
        let failure = |e: io::Error| {
            Failure::Use(format!(
                "{what} {}: cannot write into this folder: {e}; choose one that you may write to",
                path.display()
            ))
        };
        let made = match fs::create_dir(path) {
            Ok(()) => true,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path).map_err(failure)?;
                true
            }
            Err(e) => return Err(failure(e)),
        };
        // From here on a failure takes the folder away again.
        let folder = Self { path: path.to_owned(), made };
        let probe = files::sibling(&path.join("probe")).map_err(failure)?;
        fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)).map_err(failure)?;
        Ok(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let file = self.file(name);
        files::write_atomic(&file, bytes).map_err(|e| {
            Failure::Use(format!("cannot write {}: {e}; check folder and disk", file.display()))
        })
    }
}

impl Drop for OutFolder {
    fn drop(&mut self) {
        if self.made {
            // Succeeds on an empty folder only, which is what we want.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unused_folder_is_taken_away_and_a_used_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        drop(OutFolder::prepare(&path, "--out").unwrap());
        assert!(!path.exists());
        let folder = OutFolder::prepare(&path, "--out").unwrap();
        folder.write("x.txt", b"x").unwrap();
        drop(folder);
        assert_eq!(fs::read(path.join("x.txt")).unwrap(), b"x");
        drop(OutFolder::prepare(&path, "--out").unwrap());
        assert!(path.exists());
    }

    #[test]
    fn a_file_in_its_place_is_a_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"").unwrap();
        let error = OutFolder::prepare(&path, "--maps").unwrap_err().to_string();
        assert!(error.contains("--maps") && error.contains("choose one"), "{error}");
    }
}
