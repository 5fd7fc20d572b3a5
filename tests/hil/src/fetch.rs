//! Debian packages, downloaded and unpacked below `target/hil`.
//!
//! Nothing of it touches the host's own system: apt runs with lists and caches of its own, packages
//! are unpacked, not installed. Only QEMU is the host's (`docs/hil.md` says how to install it), and is
//! installed here where we are root and it is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::arch::Arch;
use crate::fail::{Fail, Outcome, at};
use crate::host;
use crate::layout::Layout;

/// Network and mirrors have their days.
const APT_LIMIT: Duration = Duration::from_secs(600);
const UNPACK_LIMIT: Duration = Duration::from_secs(900);
/// Package lists older than this are fetched anew before anything is downloaded.
const LISTS_AGE_MAX: Duration = Duration::from_secs(12 * 3600);

/// Programs of the host that the preparation needs, with the package they are in.
const TOOLS: [(&str, &str); 7] = [
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("make", "make"),
    ("gcc", "gcc"),
    ("readelf", "binutils"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
];

/// Packages of the guest besides kernel and headers: a shell, tools for cameras, sticks and signatures, and the libraries
/// that these and the firmware load.
const GUEST_PACKAGES: [&str; 12] = [
    "busybox-static",
    "v4l-utils",
    "dosfstools",
    "minisign",
    "libsodium23",
    "libv4l-0",
    "libv4lconvert0",
    "libjpeg62-turbo",
    "libstdc++6",
    "libgcc-s1",
    "libudev1",
    "libc6",
];

/// The kernel's sources of the two drivers that Debian does not build.
const SOURCE_MEMBERS: [&str; 3] =
    ["drivers/gpio/gpio-sim.c", "drivers/gpio/gpiolib.h", "kernel/irq/irq_sim.c"];

/// What was fetched, unpacked.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The guest's files, as in its root folder.
    pub root: PathBuf,
    /// Headers and build tools of the kernel, as in a root folder.
    pub headers: PathBuf,
    /// `gpio-sim.c`, `gpiolib.h` and `irq_sim.c`.
    pub sources: PathBuf,
    /// As `6.1.0-56-amd64`.
    pub kernel: String,
    /// The names of all package files, versions included.
    pub packages: Vec<String>,
}

/// Fetches and unpacks everything for `arch`, or finds it as it was left by an earlier run.
///
/// # Errors
/// [`Fail::Missing`] where tools, network or packages are not to be had.
pub fn fetch(layout: &Layout, arch: Arch) -> Outcome<Fetched> {
    for (tool, package) in TOOLS {
        if !host::has(tool) {
            return Err(Fail::Missing(format!("{tool} (Debian package {package})")));
        }
    }
    qemu(layout, arch)?;
    let list = layout.arch.join("packages.txt");
    let files = match known(layout, &list) {
        Some(files) => files,
        None => {
            let files = download(layout, arch)?;
            fs::write(&list, files.join("\n")).map_err(at("writing", &list))?;
            files
        }
    };
    unpack(layout, arch, files)
}

/// The packages of an earlier run, if they are all that is needed and still here.
fn known(layout: &Layout, list: &Path) -> Option<Vec<String>> {
    let text = fs::read_to_string(list).ok()?;
    let files: Vec<String> = text.lines().map(str::to_owned).collect();
    let here = files.iter().all(|file| layout.debs.join(file).is_file());
    let of = |package: &str| files.iter().any(|file| file.split('_').next() == Some(package));
    (here && GUEST_PACKAGES.iter().all(|package| of(package))).then_some(files)
}

/// QEMU is the host's own.
fn qemu(layout: &Layout, arch: Arch) -> Outcome<()> {
    if host::has(arch.qemu()) {
        return Ok(());
    }
    let package = arch.qemu_package();
    println!("hil: {} is missing; trying apt-get install {package}", arch.qemu());
    let log = layout.log.join("install-qemu.log");
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive").args([
        "install",
        "-y",
        "--no-install-recommends",
        package,
    ]);
    host::run(Command::new("apt-get").arg("update"), APT_LIMIT, &log)
        .and_then(|_| host::run(&mut install, APT_LIMIT, &log))
        .map_err(|why| {
            Fail::Missing(format!("{} (install the package {package}): {why}", arch.qemu()))
        })?;
    Ok(())
}

/// apt with its own lists, for both architectures, so that the host's stay as they are.
struct Apt {
    config: PathBuf,
    lists: PathBuf,
    log: PathBuf,
}

impl Apt {
    fn new(layout: &Layout) -> Outcome<Apt> {
        let root = layout.root.join("apt");
        let lists = root.join("state/lists");
        for folder in [lists.join("partial"), root.join("cache/archives/partial")] {
            fs::create_dir_all(&folder).map_err(at("making", &folder))?;
        }
        let host = match std::env::consts::ARCH {
            "aarch64" => Arch::Aarch64.debian(),
            _ => Arch::X86_64.debian(),
        };
        let text = format!(
            "APT::Architecture \"{host}\";\nAPT::Architectures {{ \"amd64\"; \"arm64\"; }};\n\
             Dir::State \"{root}/state\";\nDir::State::status \"/var/lib/dpkg/status\";\n\
             Dir::Cache \"{root}/cache\";\nAPT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\nAcquire::Retries \"3\";\n",
            root = root.display()
        );
        let config = root.join("apt.conf");
        fs::write(&config, text).map_err(at("writing", &config))?;
        Ok(Apt { config, lists, log: layout.log.join("apt.log") })
    }

    fn run(&self, program: &str, args: &[&str], folder: &Path) -> Outcome<String> {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.config).args(args).current_dir(folder);
        host::run(&mut command, APT_LIMIT, &self.log)
            .map_err(|why| Fail::Missing(format!("packages: {why}")))
    }

    fn update(&self) -> Outcome<()> {
        let age = |path: &Path| {
            let changed = fs::metadata(path).and_then(|m| m.modified()).ok()?;
            SystemTime::now().duration_since(changed).ok()
        };
        let stamp = self.lists.join("hil-updated");
        if age(&stamp).is_some_and(|age| age < LISTS_AGE_MAX) {
            return Ok(());
        }
        self.run("apt-get", &["update"], &self.lists)?;
        fs::write(&stamp, "").map_err(at("writing", &stamp))
    }

    /// The package that a package which only names the newest one depends on.
    fn newest(&self, of: &str, starts: &str) -> Outcome<String> {
        let text = self.run("apt-cache", &["depends", of], &self.lists)?;
        let mut named = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        let found = named.rfind(|name| name.starts_with(starts));
        found.map(str::to_owned).ok_or_else(|| {
            Fail::Missing(format!("{of} names no {starts}* (is this Debian bookworm or newer?)"))
        })
    }
}

/// Names of the kernel's packages, which change with every security update.
fn kernel_packages(apt: &Apt, arch: Arch) -> Outcome<Vec<String>> {
    let debian = arch.debian();
    let image = apt.newest(&format!("linux-image-{debian}:{debian}"), "linux-image-")?;
    // With the architecture behind a colon where it is not the host's.
    let image = image.split(':').next().unwrap_or_default().to_owned();
    let release = image.trim_start_matches("linux-image-").to_owned();
    let common = release.trim_end_matches(&format!("-{debian}")).to_owned();
    let source = apt.newest("linux-source", "linux-source-")?;
    let series = source.trim_start_matches("linux-source-").to_owned();
    Ok(vec![
        format!("{image}:{debian}"),
        format!("linux-headers-{release}:{debian}"),
        format!("linux-headers-{common}-common"),
        // Programs of the build, so for the machine that builds.
        format!("linux-kbuild-{series}"),
        source,
    ])
}

fn download(layout: &Layout, arch: Arch) -> Outcome<Vec<String>> {
    let apt = Apt::new(layout)?;
    println!("hil: fetching packages for {}", arch.name());
    apt.update()?;
    let mut names = kernel_packages(&apt, arch)?;
    names.extend(GUEST_PACKAGES.iter().map(|name| format!("{name}:{}", arch.debian())));
    let mut args = vec!["download", "--print-uris"];
    args.extend(names.iter().map(String::as_str));
    // One line per package: 'URI' FILE SIZE HASH.
    // Asked from another folder, because apt leaves out what lies in this one already.
    let text = apt.run("apt-get", &args, &layout.root)?;
    let files: Vec<String> =
        text.lines().filter_map(|line| line.split(' ').nth(1)).map(str::to_owned).collect();
    if files.len() != names.len() {
        return Err(Fail::Missing(format!("{} packages of {}", files.len(), names.len())));
    }
    args.retain(|arg| *arg != "--print-uris");
    // apt leaves alone what is there in full, and checks sizes and hashes.
    apt.run("apt-get", &args, &layout.debs)?;
    Ok(files)
}

fn unpack(layout: &Layout, arch: Arch, packages: Vec<String>) -> Outcome<Fetched> {
    let (root, headers, sources) =
        (layout.arch.join("root"), layout.arch.join("headers"), layout.arch.join("sources"));
    let stamp = layout.arch.join("unpacked.txt");
    let wanted = packages.join("\n");
    if fs::read_to_string(&stamp).ok().as_deref() != Some(wanted.as_str()) {
        println!("hil: unpacking {} packages, the kernel's sources among them", packages.len());
        for folder in [&root, &headers, &sources] {
            if folder.exists() {
                fs::remove_dir_all(folder).map_err(at("emptying", folder))?;
            }
            fs::create_dir_all(folder).map_err(at("making", folder))?;
        }
        for file in &packages {
            let deb = layout.debs.join(file);
            let log = layout.log.join("unpack.log");
            let mut command = match file.as_str() {
                source if source.starts_with("linux-source-") => sources_of(&deb, &sources),
                build if build.starts_with("linux-headers-") => unpack_into(&deb, &headers),
                build if build.starts_with("linux-kbuild-") => unpack_into(&deb, &headers),
                _ => unpack_into(&deb, &root),
            };
            host::run(&mut command, UNPACK_LIMIT, &log)?;
        }
        fs::write(&stamp, &wanted).map_err(at("writing", &stamp))?;
    }
    let kernel = packages
        .iter()
        .find_map(|file| file.strip_prefix("linux-image-")?.split('_').next())
        .ok_or_else(|| Fail::Broken("no kernel among the packages".to_owned()))?
        .to_owned();
    for file in SOURCE_MEMBERS {
        let name = Path::new(file).file_name().unwrap_or_default();
        if !sources.join(name).is_file() {
            return Err(Fail::Broken(format!("{file} is not in the kernel's sources")));
        }
    }
    let _ = arch;
    Ok(Fetched { root, headers, sources, kernel, packages })
}

fn unpack_into(deb: &Path, folder: &Path) -> Command {
    let mut command = Command::new("dpkg-deb");
    command.arg("-x").arg(deb).arg(folder);
    command
}

/// Three files out of an archive in an archive, without ever having the rest on disk. tar ends the
/// pipe once it has them, which `dpkg-deb` reports and which is no failure; that the files are there
/// is checked instead.
fn sources_of(deb: &Path, folder: &Path) -> Command {
    let mut command = Command::new("sh");
    command.current_dir(folder).env("DEB", deb).arg("-c").arg(format!(
        "name=$(dpkg-deb -c \"$DEB\" | grep -o '[^/]*\\.tar\\.xz$') && \
         series=${{name%.tar.xz}} && \
         dpkg-deb --fsys-tarfile \"$DEB\" | tar -xO \"./usr/src/$name\" | xz -dc -T0 | \
         tar -x --occurrence=1 --strip-components=3 {} ; ls *.c *.h",
        SOURCE_MEMBERS.map(|member| format!("\"$series/{member}\"")).join(" ")
    ));
    command
}
