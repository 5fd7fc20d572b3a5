//! Chips by device or label, and what the kernel's refusals mean.

use crate::config::Wire;
use crate::io::IoError;
use gpiocdev::chip::Chip;
use std::path::{Path, PathBuf};

/// What a chip entry begins with that names a label instead of a device.
pub const LABEL: &str = "label:";

/// A GPIO chip that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChipInfo {
    /// Its device.
    pub path: PathBuf,
    /// The label that its driver gives it.
    pub label: String,
    /// How many lines it has.
    pub lines: u32,
}

/// The GPIO chips that are here.
pub fn chips() -> Vec<PathBuf> {
    gpiocdev::chip::chips().unwrap_or_default()
}

/// The GPIO chips that are here and can be asked.
pub fn chip_infos() -> Vec<ChipInfo> {
    let ask = |path: PathBuf| {
        let info = Chip::from_path(&path).ok()?.info().ok()?;
        Some(ChipInfo { path, label: info.label, lines: info.num_lines })
    };
    chips().into_iter().filter_map(ask).collect()
}

/// The device of a chip entry: itself, or the one chip with its label.
///
/// # Errors
/// No chip has that label, or more than one: the error lists those that are here.
pub fn resolve(chip: &Path) -> Result<PathBuf, IoError> {
    match chip.to_str().and_then(|text| text.strip_prefix(LABEL)) {
        Some(label) => by_label(chip, label, &chip_infos()),
        None => Ok(chip.to_owned()),
    }
}

fn by_label(chip: &Path, label: &str, here: &[ChipInfo]) -> Result<PathBuf, IoError> {
    let mut fitting = here.iter().filter(|info| info.label == label);
    match (fitting.next(), fitting.next()) {
        (Some(info), None) => Ok(info.path.clone()),
        (Some(first), Some(second)) => Err(IoError::Refused {
            what: chip.display().to_string(),
            why: format!(
                "{} and {} both have that label; name the device instead",
                first.path.display(),
                second.path.display()
            ),
        }),
        (None, _) => Err(IoError::NotFound {
            path: chip.to_owned(),
            here: here.iter().map(|c| format!("{}{}", LABEL, c.label)).collect(),
            what: "GPIO chip",
        }),
    }
}

/// Who holds a line, where somebody does and the kernel says so.
pub(crate) fn consumer(chip: &Path, line: u32) -> Option<String> {
    let info = Chip::from_path(chip).ok()?.line_info(line).ok()?;
    info.used.then_some(info.consumer)
}

/// The kernel's refusal of a line in words that say what to do.
pub(super) fn refused(wire: &Wire, device: &Path, error: &gpiocdev::Error) -> IoError {
    if !device.exists() {
        let here = chips().iter().map(|chip| chip.display().to_string()).collect();
        return IoError::NotFound { path: wire.chip.clone(), here, what: "GPIO chip" };
    }
    // gpiocdev keeps the number in a type of a crate that it does not re-export; its text has it.
    let text = error.to_string();
    let is =
        |known: rustix::io::Errno| text.contains(&format!("(os error {})", known.raw_os_error()));
    let why = if is(rustix::io::Errno::BUSY) {
        match consumer(device, wire.line).filter(|name| !name.is_empty()) {
            Some(name) => format!("in use by \"{name}\"; stop it or take another line"),
            None => "in use by another program (gpioinfo names it)".to_owned(),
        }
    } else if is(rustix::io::Errno::ACCESS) || is(rustix::io::Errno::PERM) {
        "permission denied; add the user to the group \"gpio\"".to_owned()
    } else {
        text
    };
    IoError::Refused { what: format!("{} line {}", wire.chip.display(), wire.line), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_finds_its_one_chip() {
        let chip = |path: &str, label: &str| ChipInfo {
            path: PathBuf::from(path),
            label: label.to_owned(),
            lines: 8,
        };
        let here =
            [chip("/dev/gpiochip0", "gpio"), chip("/dev/gpiochip1", "sim"), chip("b", "gpio")];
        let find = |label: &str| by_label(Path::new("label:x"), label, &here);
        assert_eq!(find("sim").unwrap(), PathBuf::from("/dev/gpiochip1"));
        let twice = find("gpio").unwrap_err().to_string();
        assert!(twice.contains("/dev/gpiochip0 and b both have that label"), "{twice}");
        let none = find("x").unwrap_err().to_string();
        assert_eq!(none, "label:x: no such GPIO chip; here: label:gpio, label:sim, label:gpio");
        assert_eq!(resolve(Path::new("/dev/null")).unwrap(), PathBuf::from("/dev/null"));
    }
}
