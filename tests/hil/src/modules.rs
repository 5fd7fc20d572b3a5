//! Kernel modules: what each needs, in which order they load, and the table by which the guest's
//! `modprobe` finds them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::fail::{Fail, Outcome, at};

/// Deepest folder below `kernel/`; the kernel has about eight.
const DEPTH_MAX: usize = 16;

/// The modules of one kernel.
#[derive(Debug)]
pub struct Modules {
    /// Name with underscores, to its file.
    files: BTreeMap<String, PathBuf>,
}

/// One module to be packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// Its file on the host.
    pub file: PathBuf,
    /// Names of the modules that it needs.
    pub needs: Vec<String>,
}

impl Modules {
    /// All modules below `folder` (`lib/modules/RELEASE`), and `extra` ones.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn of(folder: &Path, extra: &[PathBuf]) -> Outcome<Modules> {
        let mut files = BTreeMap::new();
        list(&folder.join("kernel"), DEPTH_MAX, &mut files)?;
        for file in extra {
            files.insert(name_of(file), file.clone());
        }
        Ok(Modules { files })
    }

    /// `wanted` and everything they need, each after what it needs. A name that this kernel does
    /// not have is an error unless it ends in `?`.
    ///
    /// # Errors
    /// A module that is missing, or one that is not a module.
    pub fn closure(&self, wanted: &[&str]) -> Outcome<Vec<Module>> {
        let mut order = Vec::new();
        for name in wanted {
            let (name, optional) = match name.strip_suffix('?') {
                Some(name) => (name, true),
                None => (*name, false),
            };
            let name = name.replace('-', "_");
            if optional && !self.files.contains_key(&name) {
                continue;
            }
            self.visit(&name, &mut order)?;
        }
        Ok(order)
    }

    /// Depth first; the kernel's modules have no cycles, or they would not load.
    fn visit(&self, name: &str, order: &mut Vec<Module>) -> Outcome<()> {
        if order.iter().any(|module| module.name == name) {
            return Ok(());
        }
        let file = self.files.get(name).ok_or_else(|| {
            Fail::Broken(format!("this kernel has no module {name}; take it out of the list"))
        })?;
        let bytes = fs::read(file).map_err(at("reading", file))?;
        let needs = needs_of(&bytes)
            .ok_or_else(|| Fail::Broken(format!("{} is no kernel module", file.display())))?;
        for need in &needs {
            self.visit(need, order)?;
        }
        order.push(Module { name: name.to_owned(), file: file.clone(), needs });
        Ok(())
    }
}

fn list(folder: &Path, depth: usize, files: &mut BTreeMap<String, PathBuf>) -> Outcome<()> {
    for entry in fs::read_dir(folder).map_err(at("listing", folder))? {
        let path = entry.map_err(at("listing", folder))?.path();
        if path.is_dir() && depth > 0 {
            list(&path, depth - 1, files)?;
        } else if path.extension().is_some_and(|extension| extension == "ko") {
            files.insert(name_of(&path), path);
        }
    }
    Ok(())
}

/// Files have dashes where the kernel says underscores.
fn name_of(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_")
}

/// The module's own `depends=` line, which the kernel's build put there.
fn needs_of(bytes: &[u8]) -> Option<Vec<String>> {
    const KEY: &[u8] = b"\0depends=";
    let start = bytes.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let length = bytes.get(start..)?.iter().position(|&byte| byte == 0)?;
    let text = String::from_utf8_lossy(bytes.get(start..start + length)?).into_owned();
    Some(text.split(',').filter(|n| !n.is_empty()).map(|n| n.replace('-', "_")).collect())
}

/// `modules.dep`, for modules that all lie in one folder: each with all that it needs, the next
/// needed first, as `modprobe` reads it.
pub fn table(modules: &[Module]) -> String {
    let mut text = String::new();
    for module in modules {
        let mut all: Vec<&str> = Vec::new();
        let mut ahead: Vec<&str> = module.needs.iter().map(String::as_str).collect();
        while let Some(name) = ahead.pop() {
            // The one met again later has to be loaded earlier.
            all.retain(|known| *known != name);
            all.push(name);
            let needs = modules.iter().find(|m| m.name == name).map(|m| m.needs.as_slice());
            ahead.extend(needs.unwrap_or_default().iter().map(String::as_str));
        }
        let list: Vec<String> = all.iter().map(|name| format!("{name}.ko")).collect();
        text.push_str(&format!("{}.ko: {}\n", module.name, list.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(folder: &Path, name: &str, depends: &str) {
        let kernel = folder.join("kernel/drivers");
        fs::create_dir_all(&kernel).unwrap();
        let text = format!("\x7fELF...\0license=GPL\0depends={depends}\0name=x\0");
        fs::write(kernel.join(format!("{name}.ko")), text).unwrap();
    }

    #[test]
    fn needed_ones_come_first_and_once() {
        let folder = tempfile::tempdir().unwrap();
        module(folder.path(), "usb-storage", "scsi_mod,usbcore");
        module(folder.path(), "usbcore", "usb-common");
        module(folder.path(), "usb-common", "");
        module(folder.path(), "scsi_mod", "");
        let all = Modules::of(folder.path(), &[]).unwrap();
        let found = all.closure(&["usb-storage", "usbcore", "away?"]).unwrap();
        let names: Vec<&str> = found.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["scsi_mod", "usb_common", "usbcore", "usb_storage"]);
        let line = table(&found).lines().last().unwrap().to_owned();
        assert_eq!(line, "usb_storage.ko: usbcore.ko usb_common.ko scsi_mod.ko");
        let away = all.closure(&["away"]).unwrap_err().to_string();
        assert!(away.contains("no module away"), "{away}");
    }

    #[test]
    fn what_is_no_module_is_named() {
        let folder = tempfile::tempdir().unwrap();
        module(folder.path(), "good", "");
        let file = folder.path().join("bad.ko");
        fs::write(&file, "text").unwrap();
        let all = Modules::of(folder.path(), &[file]).unwrap();
        let error = all.closure(&["bad"]).unwrap_err().to_string();
        assert!(error.contains("bad.ko is no kernel module"), "{error}");
    }
}
