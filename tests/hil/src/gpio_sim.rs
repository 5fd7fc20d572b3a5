//! `gpio-sim`, the kernel's own simulated GPIO chip, built as a module: Debian's kernel leaves it out.
//!
//! The kernel's sources are GPL-2.0. They are fetched and changed when the harness runs and are never
//! part of this repository; what is here is only the change.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::arch::Arch;
use crate::fail::{Fail, Outcome, at};
use crate::fetch::Fetched;
use crate::host;
use crate::layout::Layout;

const BUILD_LIMIT: Duration = Duration::from_secs(300);

const MAKEFILE: &str = "\
obj-m += gpio-sim.o
gpio-sim-y := gpio-sim-core.o irq_sim.o
ccflags-y += -I$(src)
";

/// Builds the module, or finds it as it was left by an earlier run.
///
/// # Errors
/// The kernel's sources are not as expected, or the compiler refuses.
pub fn build(layout: &Layout, arch: Arch, fetched: &Fetched) -> Outcome<PathBuf> {
    let folder = layout.arch.join("gpio-sim");
    let module = folder.join("gpio-sim.ko");
    let stamp = folder.join("built-for.txt");
    let wanted = fetched.packages.join("\n");
    if module.is_file() && fs::read_to_string(&stamp).ok().as_deref() == Some(wanted.as_str()) {
        return Ok(module);
    }
    println!("hil: building gpio-sim for {}", fetched.kernel);
    if arch == Arch::Aarch64 && !arch.is_host() && !host::has("aarch64-linux-gnu-gcc") {
        let package = "gcc-aarch64-linux-gnu";
        return Err(Fail::Missing(format!("aarch64-linux-gnu-gcc (Debian package {package})")));
    }
    fs::create_dir_all(&folder).map_err(at("making", &folder))?;
    let read = |name: &str| {
        let path = fetched.sources.join(name);
        fs::read_to_string(&path).map_err(at("reading", &path))
    };
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(at("writing", &path))
    };
    write("gpio-sim-core.c", &read("gpio-sim.c")?)?;
    write("gpiolib.h", &read("gpiolib.h")?)?;
    write("irq_sim.c", &patched_irq_sim(&read("irq_sim.c")?)?)?;
    write("Makefile", MAKEFILE)?;
    let headers = at_home(&fetched.headers, &fetched.kernel)?;
    let mut make = Command::new("make");
    make.arg("-C")
        .arg(&headers)
        .arg(format!("M={}", folder.display()))
        .args(arch.kbuild())
        .arg("modules");
    host::run(&mut make, BUILD_LIMIT, &layout.log.join("gpio-sim.log"))?;
    fs::write(&stamp, &wanted).map_err(at("writing", &stamp))?;
    Ok(module)
}

/// As part of a module instead of the kernel: nothing to export, and the one function that the
/// kernel does not export to modules by the way that it does.
fn patched_irq_sim(source: &str) -> Outcome<String> {
    const LOOKED_UP: &str = "irq_to_desc(irqnum)";
    const INSTEAD: &str = "irq_data_to_desc(irq_get_irq_data(irqnum))";
    const FIRST_INCLUDE: &str = "#include <linux/irq.h>";
    let kept: Vec<&str> =
        source.lines().filter(|line| !line.starts_with("EXPORT_SYMBOL")).collect();
    let text = kept.join("\n") + "\n";
    if !text.contains(FIRST_INCLUDE) {
        return Err(Fail::Broken(format!("irq_sim.c has no {FIRST_INCLUDE}; the recipe is old")));
    }
    let include = format!("{FIRST_INCLUDE}\n#include <linux/irqdesc.h>");
    // Newer kernels do without the lookup; then there is nothing to replace.
    Ok(text.replacen(FIRST_INCLUDE, &include, 1).replace(LOOKED_UP, INSTEAD))
}

/// Headers name each other by where a package would have installed them; here they lie elsewhere.
fn at_home(headers: &Path, kernel: &str) -> Outcome<PathBuf> {
    let folder = headers.join("usr/src").join(format!("linux-headers-{kernel}"));
    let makefile = folder.join("Makefile");
    let text = fs::read_to_string(&makefile).map_err(at("reading", &makefile))?;
    let home = headers.join("usr/src").display().to_string();
    if !text.contains(&home) {
        fs::write(&makefile, text.replace("/usr/src", &home)).map_err(at("writing", &makefile))?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_change_is_what_a_module_needs() {
        let source = "#include <linux/irq.h>\n\tdesc = irq_to_desc(irqnum);\n\
                      EXPORT_SYMBOL_GPL(irq_domain_create_sim);\nint x;\n";
        let changed = patched_irq_sim(source).unwrap();
        assert_eq!(
            changed,
            "#include <linux/irq.h>\n#include <linux/irqdesc.h>\n\
             \tdesc = irq_data_to_desc(irq_get_irq_data(irqnum));\nint x;\n"
        );
        assert!(patched_irq_sim("int x;\n").is_err());
    }

    #[test]
    fn headers_are_brought_home_once() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("usr/src/linux-headers-6.1.0-1-amd64");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("Makefile"), "include /usr/src/linux-headers-common/Makefile\n")
            .unwrap();
        for _ in 0..2 {
            at_home(root.path(), "6.1.0-1-amd64").unwrap();
        }
        let text = fs::read_to_string(folder.join("Makefile")).unwrap();
        let home = root.path().join("usr/src/linux-headers-common/Makefile");
        assert_eq!(text, format!("include {}\n", home.display()));
    }
}
