//! The guest's file system: a base that depends only on packages and this crate, kept between runs,
//! and the firmware as a second archive behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::arch::Arch;
use crate::cpio::{Archive, Node};
use crate::fail::{Fail, Outcome, at};
use crate::fetch::Fetched;
use crate::host;
use crate::layout::Layout;
use crate::modules::{self, Modules};

const READELF_LIMIT: Duration = Duration::from_secs(30);
const BUILD_LIMIT: Duration = Duration::from_secs(600);
const STRIP_LIMIT: Duration = Duration::from_secs(120);

const INIT: &str = include_str!("init.sh");
/// Gives the camera its name again after it came back under another number.
const NAMES: &str = include_str!("names.sh");

/// Loaded at the start, in this order; the agent's bus first. A `?`: not on every architecture.
const LOADED: [&str; 16] = [
    "virtio_pci",
    "virtio_console",
    "virtio_net",
    "configfs?",
    "gpio_sim",
    "vivid",
    "xhci_pci",
    "usb_storage",
    "sd_mod",
    "vfat",
    "exfat",
    "ext4",
    "i6300esb",
    "bochs?",
    "virtio_gpu",
    "nls_utf8",
];

/// Loaded instead in a machine for recipes, which is started hundreds of times and has no camera and no screen.
const BARE: [&str; 12] = [
    "virtio_pci",
    "virtio_console",
    "virtio_blk",
    "configfs?",
    "gpio_sim",
    "xhci_pci",
    "usb_storage",
    "sd_mod",
    "vfat",
    "crc32c_generic?",
    "ext4",
    "nls_utf8",
];

/// Packed, for `modprobe` to find when the kernel or a scenario asks.
const AT_HAND: [&str; 5] = ["nls_cp437?", "nls_ascii?", "nls_iso8859_1?", "uas", "crc32c_generic?"];
/// The same for [`BARE`]; both ends of a USB cable among them.
const GADGET_AT_HAND: [&str; 8] = [
    "nls_cp437?",
    "nls_ascii?",
    "nls_iso8859_1?",
    "crc32c_generic?",
    "dummy_hcd",
    "libcomposite",
    "usb_f_acm",
    "cdc_acm",
];

/// Options of modules. One camera, with its output as well, through which pictures can be shown to it.
const OPTIONS: [(&str, &str); 1] = [("vivid", "n_devs=1 node_types=0x101")];

/// Programs that the shell has not, by their place in the guest and in the packages.
const PROGRAMS: [(&str, &str); 2] =
    [("bin/v4l2-ctl", "usr/bin/v4l2-ctl"), ("bin/mkfs.vfat", "sbin/mkfs.fat")];
const BARE_PROGRAMS: [(&str, &str); 2] =
    [("bin/minisign", "usr/bin/minisign"), ("bin/mkfs.vfat", "sbin/mkfs.fat")];

/// The model of most scenarios. Those that start hundreds of times have a tiny one of constants, in `vm/tiny`.
const MODEL: &str = "oneprompt-m";
/// Where a bare machine has the firmware, in the guest: a folder of its disk, which scenarios mount on `/data`.
pub const ON_DISK: &str = "data/bin";
/// The script by which a board becomes a USB device.
const GADGET: &str = "board/gadget/touchstone-gadget";

/// What a machine's image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Everything, the firmware included: whatever is done runs from memory.
    All,
    /// Few drivers, and the firmware on the machine's disk: up in half the time.
    Bare,
}

impl Set {
    fn modules(self) -> &'static [&'static str] {
        match self {
            Set::All => &LOADED,
            Set::Bare => &BARE,
        }
    }

    fn at_hand(self) -> &'static [&'static str] {
        match self {
            Set::All => &AT_HAND,
            Set::Bare => &GADGET_AT_HAND,
        }
    }

    fn programs(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Set::All => &PROGRAMS,
            Set::Bare => &BARE_PROGRAMS,
        }
    }

    /// Its files begin with it.
    fn name(self) -> &'static str {
        match self {
            Set::All => "base",
            Set::Bare => "bare",
        }
    }
}

/// Builds the base, or finds it as it was left by an earlier run.
///
/// # Errors
/// Files that the packages should have are not there.
pub fn base(
    layout: &Layout,
    arch: Arch,
    fetched: &Fetched,
    (gpio_sim, agent): (&Path, &Path),
    set: Set,
) -> Outcome<PathBuf> {
    let image = layout.arch.join(format!("{}.cpio", set.name()));
    let archive = contents(layout, arch, fetched, (gpio_sim, agent), set)?;
    let bytes = archive.bytes();
    // Written only when it changes, so that whoever compares times sees why.
    if fs::read(&image).ok().as_deref() != Some(bytes.as_slice()) {
        println!("hil: base image of {} MB", bytes.len() >> 20);
        fs::write(&image, &bytes).map_err(at("writing", &image))?;
    }
    Ok(image)
}

fn contents(
    layout: &Layout,
    arch: Arch,
    fetched: &Fetched,
    (gpio_sim, agent): (&Path, &Path),
    set: Set,
) -> Outcome<Archive> {
    let mut archive = Archive::default();
    for folder in ["proc", "sys", "dev", "run", "tmp", "mnt", "bin", "sbin", "root"] {
        archive.add(folder, Node::Folder);
    }
    archive.add("dev/console", Node::Device(5, 1));
    archive.add("init", Node::File(INIT.as_bytes().to_vec(), true));
    archive.add("bin/hil-names", Node::File(NAMES.as_bytes().to_vec(), true));
    add_file(&mut archive, "bin/busybox", &fetched.root.join("bin/busybox"))?;
    archive.add("bin/sh", Node::Link("busybox".to_owned()));
    archive.add("sbin/modprobe", Node::Link("/bin/busybox".to_owned()));
    add_file(&mut archive, "bin/hil-guest", agent)?;

    let mut wanted_libraries = BTreeMap::new();
    for (to, from) in set.programs() {
        let program = fetched.root.join(from);
        add_file(&mut archive, to, &program)?;
        wanted_libraries.extend(libraries(layout, arch, &fetched.root, &program)?);
    }
    for (name, file) in wanted_libraries {
        add_file(&mut archive, &format!("lib/{}/{name}", arch.multiarch()), &file)?;
    }
    let loader = Path::new(arch.loader()).file_name().unwrap_or_default().to_string_lossy();
    archive.add(arch.loader(), Node::Link(format!("/lib/{}/{loader}", arch.multiarch())));

    let all = Modules::of(
        &fetched.root.join("lib/modules").join(&fetched.kernel),
        &[gpio_sim.to_owned()],
    )?;
    let mut wanted = set.modules().to_vec();
    wanted.extend(set.at_hand());
    let packed = all.closure(&wanted)?;
    let folder = format!("lib/modules/{}", fetched.kernel);
    for module in &packed {
        add_file(&mut archive, &format!("{folder}/{}.ko", module.name), &module.file)?;
    }
    archive.add(
        &format!("{folder}/modules.dep"),
        Node::File(modules::table(&packed).into_bytes(), false),
    );
    let order: String = all
        .closure(set.modules())?
        .iter()
        .map(|module| {
            let options = OPTIONS.iter().find(|(name, _)| *name == module.name);
            format!("{} {}\n", module.name, options.map_or("", |(_, words)| words))
        })
        .collect();
    archive.add("etc/modules.order", Node::File(order.into_bytes(), false));
    Ok(archive)
}

fn add_file(archive: &mut Archive, to: &str, from: &Path) -> Outcome<()> {
    let bytes = fs::read(from).map_err(at("reading", from))?;
    // The loader of dynamic programs is a program too.
    let program = to.contains("bin/") || to.contains("/ld-linux");
    archive.add(to, Node::File(bytes, program));
    Ok(())
}

/// The libraries that `program` loads, and those that they load, by the name they are asked for.
pub fn libraries(
    layout: &Layout,
    arch: Arch,
    root: &Path,
    program: &Path,
) -> Outcome<Vec<(String, PathBuf)>> {
    let mut known = BTreeSet::new();
    let mut found = Vec::new();
    let mut ahead = vec![program.to_owned()];
    while let Some(file) = ahead.pop() {
        for name in needed(layout, &file)? {
            if !known.insert(name.clone()) {
                continue;
            }
            let folders = ["lib", "usr/lib"].map(|f| root.join(f).join(arch.multiarch()));
            let library = folders.iter().map(|f| f.join(&name)).find(|p| p.exists());
            let library = library.ok_or_else(|| {
                Fail::Broken(format!(
                    "{} loads {name}, which no package in tests/hil/src/fetch.rs has",
                    file.display()
                ))
            })?;
            ahead.push(library.clone());
            found.push((name, library));
        }
    }
    found.sort();
    Ok(found)
}

fn needed(layout: &Layout, file: &Path) -> Outcome<Vec<String>> {
    let mut readelf = Command::new("readelf");
    readelf.arg("-d").arg(file);
    let text = host::run(&mut readelf, READELF_LIMIT, &layout.log.join("readelf.log"))?;
    let names = text.lines().filter(|line| line.contains("(NEEDED)"));
    let between = |line: &str| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned());
    Ok(names.filter_map(between).collect())
}

/// Builds the guest's agent: static, because it must run whatever else is in the image.
///
/// # Errors
/// The compiler refuses, or there is none for this architecture.
pub fn agent(layout: &Layout, arch: Arch) -> Outcome<PathBuf> {
    let target = layout.root.join("cargo");
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(&layout.repository)
        .args(["build", "--release", "--locked", "--package", "touchstone-hil-guest", "--target"])
        .arg(arch.target())
        .arg("--target-dir")
        .arg(&target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    crate::firmware::cross(layout, arch, &mut cargo)?;
    host::run(&mut cargo, BUILD_LIMIT, &layout.log.join("agent.log"))?;
    Ok(target.join(arch.target()).join("release/hil-guest"))
}

/// The firmware as it goes into the guest.
///
/// # Errors
/// It cannot be read or written.
pub fn stripped(layout: &Layout, arch: Arch, firmware: &Path) -> Outcome<PathBuf> {
    // The same code without its symbols: five times smaller, and the guest unpacks it into memory.
    let stripped = layout.arch.join("touchstone");
    let own =
        if arch.is_host() { "strip".to_owned() } else { format!("{}-strip", arch.multiarch()) };
    let mut strip = Command::new(own);
    strip.arg("--strip-debug").arg("-o").arg(&stripped).arg(firmware);
    host::run(&mut strip, STRIP_LIMIT, &layout.log.join("strip.log"))?;
    Ok(stripped)
}

/// Puts the `firmware`, its model and its libraries behind the base; a bare machine has it on its disk.
///
/// # Errors
/// A file cannot be read or written.
pub fn with_firmware(
    layout: &Layout,
    arch: Arch,
    fetched: &Fetched,
    (base, set): (&Path, Set),
    firmware: &Path,
) -> Outcome<PathBuf> {
    let mut archive = Archive::default();
    match set {
        Set::All => {
            add_file(&mut archive, "bin/touchstone", firmware)?;
            let model = layout.repository.join("models/weights").join(MODEL);
            let to = format!("usr/share/touchstone/models/{MODEL}");
            add_folder(&mut archive, &to, &model)?;
        }
        Set::Bare => {
            archive.add("bin/touchstone", Node::Link(format!("/{ON_DISK}/touchstone")));
            let gadget = layout.repository.join(GADGET);
            add_file(&mut archive, "bin/touchstone-gadget", &gadget)?;
        }
    }
    for (name, file) in libraries(layout, arch, &fetched.root, firmware)? {
        add_file(&mut archive, &format!("lib/{}/{name}", arch.multiarch()), &file)?;
    }
    add_folder(&mut archive, "etc/touchstone", &layout.repository.join("tests/hil/vm"))?;
    let mut bytes = fs::read(base).map_err(at("reading", base))?;
    bytes.extend(archive.bytes());
    let image = layout.arch.join(match set {
        Set::All => "initrd.cpio",
        Set::Bare => "initrd-bare.cpio",
    });
    if fs::read(&image).ok().as_deref() != Some(bytes.as_slice()) {
        println!("hil: image with the firmware of {} MB", bytes.len() >> 20);
        fs::write(&image, &bytes).map_err(at("writing", &image))?;
    }
    Ok(image)
}

fn add_folder(archive: &mut Archive, to: &str, from: &Path) -> Outcome<()> {
    for entry in fs::read_dir(from).map_err(at("listing", from))? {
        let path = entry.map_err(at("listing", from))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            add_folder(archive, &format!("{to}/{name}"), &path)?;
        } else {
            add_file(archive, &format!("{to}/{name}"), &path)?;
        }
    }
    Ok(())
}
