//! One virtual machine: its devices, its process, and its end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::arch::Arch;
use crate::fail::{Fail, Outcome, at};

/// Memory of the guest in MiB: the model, the image (which lives in memory), and room.
const MEMORY_MB: u32 = 1024;
/// How long QEMU may take from its start until its sockets are there.
const SOCKETS_LIMIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);
/// Writes a second that the disk does: slow, as a worn memory card is. Whoever cuts the power at random then cuts
/// within a write more often than not.
const DISK_WRITES_PER_S: u32 = 60;
/// Bytes a second that are read from a stick: slow, so that it can be pulled while it is read.
const STICK_BYTES_PER_S: u32 = 3 << 20;

/// How the guest's instructions run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// On the processor itself.
    Kvm,
    /// Translated.
    Tcg,
}

/// What a machine is made of.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The architecture.
    pub arch: Arch,
    /// Translated or not.
    pub accel: Accel,
    /// The kernel.
    pub kernel: PathBuf,
    /// Its file system.
    pub initrd: PathBuf,
    /// The disk that can be plugged in, if the scenario has one.
    pub stick: Option<PathBuf>,
    /// The disk that is there, and outlives the machine, if the scenario has one.
    pub disk: Option<PathBuf>,
    /// Few drivers and devices, to be up soon: for what is started hundreds of times.
    pub bare: bool,
    /// A port of this host that reaches port 502 of the guest, if the scenario has one.
    pub modbus_port: Option<u16>,
    /// Whether a reset starts the guest again; otherwise it ends QEMU.
    pub restarts: bool,
}

/// A running QEMU; killed when dropped, and when this process dies.
#[derive(Debug)]
pub struct Qemu {
    child: Child,
    sockets: PathBuf,
    log: PathBuf,
}

impl Qemu {
    /// Starts a machine whose console goes to `folder/console.log`.
    ///
    /// # Errors
    /// QEMU cannot be started or ends at once; its own words are in the error.
    pub fn start(machine: &Machine, folder: &Path) -> Outcome<Qemu> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Not below target: the path of a socket has at most 107 bytes.
        let sockets =
            std::env::temp_dir().join(format!("touchstone-hil-{}-{number}", std::process::id()));
        fs::create_dir_all(&sockets).map_err(at("making", &sockets))?;
        let log = folder.join("qemu.log");
        let err = File::create(&log).map_err(at("creating", &log))?;
        // The kernel ends QEMU with this process, however that dies.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", machine.arch.qemu()]);
        command.args(arguments(machine, &sockets, folder));
        let words: Vec<String> =
            command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        let line = folder.join("qemu-command.txt");
        fs::write(&line, words.join(" ")).map_err(at("writing", &line))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(err)
            .spawn()
            .map_err(|e| Fail::Missing(format!("setpriv (package util-linux): {e}")))?;
        let mut qemu = Qemu { child, sockets, log };
        qemu.wait_for_sockets()?;
        Ok(qemu)
    }

    /// The socket with this name: `agent`, `qmp`, `plc`, `modbus`.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.sockets.join(name)
    }

    /// Ends it within whatever it does, as a power cut does.
    ///
    /// # Errors
    /// The system refuses.
    pub fn cut(&mut self) -> Outcome<()> {
        self.child.kill().and_then(|()| self.child.wait()).map_err(at("ending", &self.log))?;
        Ok(())
    }

    /// True while the process runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn wait_for_sockets(&mut self) -> Outcome<()> {
        let deadline = Instant::now() + SOCKETS_LIMIT;
        while !self.socket("agent").exists() || !self.socket("qmp").exists() {
            if !self.runs() || Instant::now() >= deadline {
                return Err(Fail::Broken(format!("QEMU{}", crate::host::tail(&self.log))));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Either may have happened already; nobody is left behind in any case.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.sockets);
    }
}

fn arguments(machine: &Machine, sockets: &Path, folder: &Path) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut add = |text: String| words.extend(text.split_whitespace().map(str::to_owned));
    let translated = machine.accel == Accel::Tcg;
    add(match (machine.accel, machine.arch) {
        (Accel::Kvm, _) => "-accel kvm -cpu host".to_owned(),
        // Processors without AVX and FMA, or half precision and SVE: QEMU computes those in software, element
        // by element, and the engine's plain kernels are many times faster (measured: docs/hil.md).
        (Accel::Tcg, Arch::X86_64) => "-accel tcg,thread=multi -cpu Nehalem".to_owned(),
        (Accel::Tcg, Arch::Aarch64) => "-accel tcg,thread=multi -cpu cortex-a72".to_owned(),
    });
    add(match machine.arch {
        Arch::X86_64 => "-M q35".to_owned(),
        Arch::Aarch64 => "-M virt".to_owned(),
    });
    add(format!("-smp 2 -m {MEMORY_MB} -nodefaults -no-user-config -display none"));
    add(format!("-kernel {} -initrd {}", machine.kernel.display(), machine.initrd.display()));
    let reboot = if machine.restarts { "reset" } else { "shutdown" };
    add(format!("-action reboot={reboot},watchdog=reset"));
    words.push("-append".to_owned());
    words.push(kernel_words(machine, translated));
    let mut add = |text: String| words.extend(text.split_whitespace().map(str::to_owned));

    let socket = |id: &str| {
        format!("-chardev socket,id={id},path={},server=on,wait=off", sockets.join(id).display())
    };
    add(format!("-serial file:{}", folder.join("console.log").display()));
    add(format!("-qmp unix:{},server=on,wait=off", sockets.join("qmp").display()));
    add(format!("{} -device virtio-serial-pci", socket("agent")));
    add("-device virtserialport,chardev=agent,name=hil".to_owned());
    // The two ports that a PLC would be on.
    add(format!("{} {}", socket("plc"), socket("modbus")));
    add(match machine.arch {
        Arch::X86_64 => {
            "-device isa-serial,chardev=plc,index=1 -device isa-serial,chardev=modbus,index=2"
        }
        Arch::Aarch64 => "-device pci-serial-2x,chardev1=plc,chardev2=modbus",
    }
    .to_owned());
    add("-device qemu-xhci,id=xhci".to_owned());
    if !machine.bare {
        add(match machine.arch {
            Arch::X86_64 => "-device i6300esb -device bochs-display",
            Arch::Aarch64 => "-device i6300esb -device virtio-gpu-pci",
        }
        .to_owned());
    }
    // Not -drive: that would be gone for good once the stick was pulled for the first time.
    match &machine.stick {
        Some(stick) if machine.disk.is_some() => {
            // The guest has it as a disk as well, to fill it while it is not plugged in.
            let file = format!("filename={},", stick.display());
            add(format!(
                "-object throttle-group,id=usb,x-bps-read={STICK_BYTES_PER_S} \
                 -blockdev driver=throttle,node-name=stick,throttle-group=usb,file.driver=file,\
                 file.{file}file.locking=off -blockdev driver=file,node-name=desk,{file}locking=off"
            ));
        }
        Some(stick) => {
            add(format!("-blockdev driver=file,node-name=stick,filename={}", stick.display()));
        }
        None => {}
    }
    if let Some(disk) = &machine.disk {
        add(format!(
            "-object throttle-group,id=slow,x-iops-write={DISK_WRITES_PER_S} \
             -blockdev driver=throttle,node-name=disk,throttle-group=slow,file.driver=file,\
             file.filename={} -device virtio-blk-pci,drive=disk,id=disk",
            disk.display()
        ));
        if machine.stick.is_some() {
            add("-device virtio-blk-pci,drive=desk".to_owned());
        }
    }
    if let Some(port) = machine.modbus_port {
        add(format!(
            "-netdev user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:502 \
             -device virtio-net-pci,netdev=net,romfile="
        ));
    }
    words
}

fn kernel_words(machine: &Machine, translated: bool) -> String {
    let arch = machine.arch;
    let console = match arch {
        Arch::X86_64 => "ttyS0",
        Arch::Aarch64 => "ttyAMA0",
    };
    let mut words = format!("console={console} nokaslr mitigations=off cryptomgr.notests panic=-1");
    if machine.bare {
        words.push_str(" quiet");
    }
    if arch == Arch::X86_64 && translated {
        // Otherwise the guest's clock drifts, and on a busy host the timer seems dead.
        words.push_str(" tsc=unstable clocksource=hpet no_timer_check");
    }
    words
}
