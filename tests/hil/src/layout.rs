//! Where the harness keeps things: everything under `target/hil`, so that `cargo clean` removes it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::arch::Arch;
use crate::fail::{Fail, Outcome, at};

/// The folders of one run.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The repository.
    pub repository: PathBuf,
    /// `target/hil`.
    pub root: PathBuf,
    /// `target/hil/ARCH`: what was fetched and built for one architecture.
    pub arch: PathBuf,
    /// Packages as downloaded, for all architectures.
    pub debs: PathBuf,
    /// Logs of the preparation, and one folder per scenario.
    pub log: PathBuf,
}

impl Layout {
    /// Makes the folders.
    ///
    /// # Errors
    /// They cannot be made.
    pub fn prepare(arch: Arch) -> Outcome<Layout> {
        // Where this crate lies is known when it is built; it lies in the repository it tests.
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .ok_or_else(|| Fail::Broken("the crate has moved out of tests/hil".to_owned()))?
            .to_owned();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(target) => repository.join(target),
            None => repository.join("target"),
        };
        let root = target.join("hil");
        let layout = Layout {
            repository,
            arch: root.join(arch.name()),
            debs: root.join("debs"),
            log: root.join("log"),
            root,
        };
        for folder in [&layout.arch, &layout.debs, &layout.log] {
            fs::create_dir_all(folder).map_err(at("making", folder))?;
        }
        Ok(layout)
    }

    /// The folder of one scenario's logs, emptied.
    ///
    /// # Errors
    /// It cannot be emptied or made.
    pub fn scenario_log(&self, arch: Arch, scenario: &str) -> Outcome<PathBuf> {
        let name = match arch {
            Arch::X86_64 => scenario.to_owned(),
            Arch::Aarch64 => format!("{scenario}-{}", arch.name()),
        };
        let folder = self.log.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(at("emptying", &folder))?;
        }
        fs::create_dir_all(&folder).map_err(at("making", &folder))?;
        Ok(folder)
    }
}
