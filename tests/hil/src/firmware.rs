//! The binary under test, as cargo builds it for release.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::arch::Arch;
use crate::fail::{Fail, Outcome};
use crate::host;
use crate::layout::Layout;

/// The engine alone is twenty minutes of processor time.
const BUILD_LIMIT: Duration = Duration::from_secs(3 * 3600);
const ASK_LIMIT: Duration = Duration::from_secs(30);
/// Debian's compiler, which has other targets as packages, where rustup's has not.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// Builds the firmware, or takes the one that was `given`.
///
/// # Errors
/// It does not build, there is no compiler for this architecture, or no such file.
pub fn binary(layout: &Layout, arch: Arch, given: Option<&Path>) -> Outcome<PathBuf> {
    if let Some(given) = given {
        return match given.is_file() {
            true => Ok(given.to_owned()),
            false => Err(Fail::Use(format!("--firmware {}: no such file", given.display()))),
        };
    }
    println!("hil: building the firmware for {} (cargo build --release)", arch.name());
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&layout.repository).args(["build", "--release", "--locked"]);
    cargo.args(["--package", "touchstone"]);
    let folder = if arch.is_host() {
        layout.root.parent().unwrap_or(&layout.root).join("release")
    } else {
        let target = layout.root.join("cargo");
        cargo.args(["--target", arch.target(), "--target-dir"]).arg(&target);
        target.join(arch.target()).join("release")
    };
    cross(layout, arch, &mut cargo)?;
    host::run(&mut cargo, BUILD_LIMIT, &layout.log.join(format!("firmware-{}.log", arch.name())))?;
    Ok(folder.join("touchstone"))
}

/// What cargo has to know to build for another machine.
///
/// # Errors
/// No compiler here has that target, or there is no linker for it.
pub fn cross(layout: &Layout, arch: Arch, cargo: &mut Command) -> Outcome<()> {
    if arch.is_host() {
        return Ok(());
    }
    let linker = format!("{}-gcc", arch.multiarch());
    if !host::has(&linker) {
        return Err(Fail::Missing(format!("{linker} (docs/hil.md names the packages)")));
    }
    let variable = arch.target().to_uppercase().replace('-', "_");
    cargo.env(format!("CARGO_TARGET_{variable}_LINKER"), linker);
    let has_target = |rustc: &str| {
        let mut ask = Command::new(rustc);
        ask.args(["--print", "target-libdir", "--target", arch.target()]);
        host::run(&mut ask, ASK_LIMIT, &layout.log.join("rustc.log"))
            .is_ok_and(|folder| Path::new(folder.trim()).is_dir())
    };
    if has_target("rustc") {
        return Ok(());
    }
    if has_target(DEBIAN_RUSTC) {
        cargo.env("RUSTC", DEBIAN_RUSTC);
        return Ok(());
    }
    Err(Fail::Missing(format!(
        "no Rust compiler for {} (rustup target add, or Debian's packages; docs/hil.md)",
        arch.target()
    )))
}
