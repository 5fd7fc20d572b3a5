//! The far end of a serial port, for tests.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::{SerialConfig, SerialRole};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A pty whose far end the test holds, behind a name that stays when the pty is replaced.
pub(crate) struct Wire {
    _folder: tempfile::TempDir,
    name: PathBuf,
}

impl Wire {
    pub(crate) fn new() -> Wire {
        let folder = tempfile::tempdir().unwrap();
        Wire { name: folder.path().join("ttyTest"), _folder: folder }
    }

    pub(crate) fn plug(&self) -> File {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let far = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let _ = std::fs::remove_file(&self.name);
        std::os::unix::fs::symlink(Path::new(&far), &self.name).unwrap();
        File::from(master)
    }

    pub(crate) fn config(&self, role: SerialRole) -> SerialConfig {
        SerialConfig { role, path: self.name.clone(), baud: 115_200 }
    }
}

/// Waits for what other threads bring about.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
