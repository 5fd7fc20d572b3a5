//! Everything that all machines of a run share: packages, kernel, images, and whether they run
//! translated.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::agent::Agent;
use crate::arch::Arch;
use crate::cli::Cli;
use crate::fail::{Outcome, at};
use crate::fetch;
use crate::firmware;
use crate::gpio_sim;
use crate::host;
use crate::initramfs::{self, Set};
use crate::kernel;
use crate::layout::Layout;
use crate::qemu::{Accel, Machine, Qemu};
use crate::scenarios::Extras;

/// A guest that has not come up by then under KVM never will.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
const STICK_BYTES: u64 = 64 << 20;
const DISK_BYTES: u64 = 192 << 20;
const FORMAT_LIMIT: Duration = Duration::from_secs(60);

/// What the machines of a run are made of.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Where things are.
    pub layout: Layout,
    arch: Arch,
    accel: Accel,
    kernel: PathBuf,
    initrd: PathBuf,
    /// The image of machines with few drivers.
    bare: PathBuf,
    firmware: PathBuf,
}

impl Prepared {
    /// Fetches and builds whatever is not there yet.
    ///
    /// # Errors
    /// This machine lacks something, or something does not build.
    pub fn new(cli: &Cli) -> Outcome<Prepared> {
        let arch = cli.arch;
        let layout = Layout::prepare(arch)?;
        let fetched = fetch::fetch(&layout, arch)?;
        println!("hil: kernel {} for {}", fetched.kernel, arch.name());
        let kernel = kernel::image(&layout, arch, &fetched)?;
        let gpio_sim = gpio_sim::build(&layout, arch, &fetched)?;
        let agent = initramfs::agent(&layout, arch)?;
        let base = |set| initramfs::base(&layout, arch, &fetched, (&gpio_sim, &agent), set);
        let (base, bare) = (base(Set::All)?, base(Set::Bare)?);
        let accel = match cli.accel.as_deref() {
            Some("kvm") => Accel::Kvm,
            Some(_) => Accel::Tcg,
            None => probe(&layout, arch, &kernel, &base)?,
        };
        let binary = firmware::binary(&layout, arch, cli.firmware.as_deref())?;
        let firmware = initramfs::stripped(&layout, arch, &binary)?;
        let image = |base: &Path, set| {
            initramfs::with_firmware(&layout, arch, &fetched, (base, set), &firmware)
        };
        let (initrd, bare) = (image(&base, Set::All)?, image(&bare, Set::Bare)?);
        Ok(Prepared { layout, arch, accel, kernel, initrd, bare, firmware })
    }

    /// A machine with `extras`, its disk in `folder`.
    ///
    /// # Errors
    /// The disk cannot be made, or there is no free port.
    pub fn machine(&self, extras: Extras, folder: &Path) -> Outcome<Machine> {
        let stick = match extras.stick {
            true => Some(stick(folder)?),
            false => None,
        };
        let disk = match extras.disk {
            true => Some(disk(folder, &self.firmware)?),
            false => None,
        };
        let modbus_port = match extras.network {
            true => Some(free_port()?),
            false => None,
        };
        Ok(Machine {
            arch: self.arch,
            accel: self.accel,
            kernel: self.kernel.clone(),
            initrd: if extras.bare { self.bare.clone() } else { self.initrd.clone() },
            stick,
            disk,
            bare: extras.bare,
            modbus_port,
            restarts: extras.restarts,
        })
    }

    /// How the guest's instructions run.
    pub fn accel(&self) -> Accel {
        self.accel
    }
}

/// An empty disk; the guest's own tools put a file system on it.
fn stick(folder: &Path) -> Outcome<PathBuf> {
    empty(folder.join("stick.img"), STICK_BYTES)
}

/// A disk with ext4, as cameras have, and the firmware on it.
fn disk(folder: &Path, firmware: &Path) -> Outcome<PathBuf> {
    let path = empty(folder.join("disk.img"), DISK_BYTES)?;
    let root = folder.join("disk");
    let bin = root.join("bin");
    fs::create_dir_all(&bin).map_err(at("making", &bin))?;
    fs::copy(firmware, bin.join("touchstone")).map_err(at("copying", firmware))?;
    let mut format = Command::new("mke2fs");
    // No discard, because the file is empty as it is.
    format.args(["-q", "-F", "-t", "ext4", "-E", "nodiscard", "-d"]).arg(&root).arg(&path);
    host::run(&mut format, FORMAT_LIMIT, &folder.join("mke2fs.log"))?;
    fs::remove_dir_all(&root).map_err(at("removing", &root))?;
    Ok(path)
}

fn empty(path: PathBuf, bytes: u64) -> Outcome<PathBuf> {
    let file = fs::File::create(&path).map_err(at("creating", &path))?;
    file.set_len(bytes).map_err(at("growing", &path))?;
    Ok(path)
}

/// A port that was free a moment ago.
fn free_port() -> Outcome<u16> {
    let any = Path::new("127.0.0.1:0");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(at("binding", any))?;
    Ok(listener.local_addr().map_err(at("binding", any))?.port())
}

/// Whether KVM boots a guest here. That `/dev/kvm` opens says little: in a VM of a VM it may be there
/// and never get as far as the first instruction. What was found holds until this host restarts.
fn probe(layout: &Layout, arch: Arch, kernel: &Path, base: &Path) -> Outcome<Accel> {
    if !arch.is_host() || fs::File::options().write(true).open("/dev/kvm").is_err() {
        return Ok(Accel::Tcg);
    }
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let stamp = layout.arch.join("kvm.txt");
    let known = fs::read_to_string(&stamp).unwrap_or_default();
    if let Some(found) = known.strip_prefix(boot_id.trim()).filter(|_| !boot_id.is_empty()) {
        return Ok(if found.trim() == "works" { Accel::Kvm } else { Accel::Tcg });
    }
    let folder = layout.scenario_log(arch, "kvm-probe")?;
    let machine = Machine {
        arch,
        accel: Accel::Kvm,
        kernel: kernel.to_owned(),
        initrd: base.to_owned(),
        stick: None,
        disk: None,
        bare: false,
        modbus_port: None,
        restarts: false,
    };
    let works = Qemu::start(&machine, &folder)
        .and_then(|qemu| {
            let mut agent = Agent::connect(&qemu.socket("agent"), &folder.join("agent.log"))?;
            agent.ready(PROBE_LIMIT)
        })
        .is_ok();
    let found = if works { "works" } else { "does not boot a guest" };
    println!("hil: KVM {found} here");
    let text = format!("{} {found}\n", boot_id.trim());
    fs::write(&stamp, text).map_err(at("writing", &stamp))?;
    Ok(if works { Accel::Kvm } else { Accel::Tcg })
}
