//! The kernel's image, unpacked beforehand where QEMU can take it so: under emulation, the kernel's
//! own unpacking takes longer than all the rest of its start.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::arch::Arch;
use crate::fail::{Fail, Outcome, at};
use crate::fetch::Fetched;
use crate::host;
use crate::layout::Layout;

const UNPACK_LIMIT: Duration = Duration::from_secs(120);
/// How an xz stream begins.
const XZ: &[u8] = b"\xFD7zXZ\0";
const ELF: &[u8] = b"\x7FELF";

/// The image that QEMU boots.
///
/// # Errors
/// The package has no kernel, or one packed in another way.
pub fn image(layout: &Layout, arch: Arch, fetched: &Fetched) -> Outcome<PathBuf> {
    let packed = fetched.root.join("boot").join(format!("vmlinuz-{}", fetched.kernel));
    if arch == Arch::Aarch64 {
        return Ok(packed);
    }
    let image = layout.arch.join(format!("vmlinux-{}", fetched.kernel));
    if image.is_file() {
        return Ok(image);
    }
    let bytes = fs::read(&packed).map_err(at("reading", &packed))?;
    let start = bytes.windows(XZ.len()).position(|window| window == XZ).ok_or_else(|| {
        Fail::Broken(format!("{} is not packed with xz; the recipe is old", packed.display()))
    })?;
    let payload = layout.arch.join("vmlinux.xz");
    fs::write(&payload, &bytes[start..]).map_err(at("writing", &payload))?;
    let unpacked = layout.arch.join("vmlinux.part");
    let mut xz = Command::new("sh");
    // What follows the stream is the rest of the image, not another stream.
    xz.arg("-c")
        .arg("xz -dc --single-stream \"$1\" > \"$2\"")
        .arg("sh")
        .args([&payload, &unpacked]);
    host::run(&mut xz, UNPACK_LIMIT, &layout.log.join("vmlinux.log"))?;
    let whole = fs::read(&unpacked).map_err(at("reading", &unpacked))?;
    if !whole.starts_with(ELF) {
        return Err(Fail::Broken(format!("{} holds no kernel", packed.display())));
    }
    fs::remove_file(&payload).map_err(at("removing", &payload))?;
    fs::rename(&unpacked, &image).map_err(at("renaming", &unpacked))?;
    Ok(image)
}
