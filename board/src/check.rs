//! A board file against the running system, for `touchstone doctor`: looks, takes no line and moves no output.

use crate::config::{Board, CameraConfig, OutputLine, SerialConfig, Wire};
use crate::gpio::{self, ChipInfo, LABEL};
use crate::io::OutputRole;
use crate::serial;
use rustix::fs::{Access, access};
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// How an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As the file says.
    Ok,
    /// Works, and is not as it should be.
    Warning,
    /// Will not work.
    Wrong,
}

/// What became of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The entry, as `[[gpio]] trigger`.
    pub entry: String,
    /// How it is.
    pub state: State,
    /// What is there.
    pub found: String,
    /// What to do; empty where nothing is to be done.
    pub what_to_do: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.entry, self.found)?;
        if self.what_to_do.is_empty() { Ok(()) } else { write!(f, "; {}", self.what_to_do) }
    }
}

fn finding(
    entry: &str,
    state: State,
    found: impl Into<String>,
    what_to_do: impl Into<String>,
) -> Finding {
    Finding { entry: entry.to_owned(), state, found: found.into(), what_to_do: what_to_do.into() }
}

/// Checks every entry of a board file. Another touchstone that is running holds its lines and ports, and shows
/// as their holder.
pub fn check(board: &Board) -> Vec<Finding> {
    let mut findings = vec![camera(&board.camera)];
    let (infos, devices) = (gpio::chip_infos(), gpio::chips());
    let inputs = board.input_lines();
    let wires = inputs.iter().map(|line| (line.role.to_string(), &line.wire));
    let outputs = board.outputs.iter().map(|line| (line.role.to_string(), &line.wire));
    for (role, wire) in wires.chain(outputs) {
        let entry = format!("[[gpio]] {role}");
        findings.push(line(&entry, wire, &infos, &devices, gpio::consumer));
    }
    findings.extend(heartbeat(&board.outputs));
    findings.extend(board.serial.iter().map(port));
    let tcp = board.modbus.as_ref().and_then(|modbus| modbus.tcp.as_ref());
    findings.extend(tcp.map(|tcp| modbus(tcp.listen)));
    findings
}

fn camera(config: &CameraConfig) -> Finding {
    let (path, what) = match config {
        CameraConfig::Simulated(_) => {
            return finding("[camera]", State::Ok, "the simulated line", "");
        }
        CameraConfig::Files(files) => (&files.path, "folder"),
        CameraConfig::V4l2(camera) => (&camera.path, "camera"),
    };
    let shown = path.display();
    let right = std::fs::metadata(path).is_ok_and(|meta| match config {
        CameraConfig::Files(_) => meta.is_dir(),
        CameraConfig::V4l2(_) | CameraConfig::Simulated(_) => meta.file_type().is_char_device(),
    });
    if right {
        return finding("[camera]", State::Ok, format!("{shown} is there"), "");
    }
    let what_to_do = "correct [camera] path; touchstone doctor lists what is plugged in";
    finding("[camera]", State::Wrong, format!("{shown}: no such {what}"), what_to_do)
}

fn list(here: impl Iterator<Item = String>) -> String {
    let here: Vec<String> = here.collect();
    if here.is_empty() { "none".to_owned() } else { here.join(", ") }
}

/// Pure but for `holder`, which says who holds a line.
fn line(
    entry: &str,
    wire: &Wire,
    infos: &[ChipInfo],
    devices: &[PathBuf],
    holder: impl Fn(&Path, u32) -> Option<String>,
) -> Finding {
    let chip = wire.chip.display();
    let label = wire.chip.to_str().and_then(|text| text.strip_prefix(LABEL));
    let real = wire.chip.canonicalize().unwrap_or_else(|_| wire.chip.clone());
    let fitting: Vec<&ChipInfo> = infos
        .iter()
        .filter(|info| label.map_or(info.path == real, |label| info.label == label))
        .collect();
    let info = match fitting[..] {
        [info] => info,
        [] if devices.contains(&real) || (label.is_some() && infos.len() < devices.len()) => {
            let what_to_do =
                "add the user to the group \"gpio\", and see that the group owns the chips";
            return finding(entry, State::Wrong, format!("{chip}: permission denied"), what_to_do);
        }
        [] => {
            let here =
                list(infos.iter().map(|i| format!("{} ({LABEL}{})", i.path.display(), i.label)));
            let what_to_do = format!("correct chip; here: {here}");
            return finding(entry, State::Wrong, format!("{chip}: no such GPIO chip"), what_to_do);
        }
        [..] => {
            let found = format!("{chip}: {} chips have that label", fitting.len());
            return finding(entry, State::Wrong, found, "name the device instead");
        }
    };
    let place = format!("{chip} line {}", wire.line);
    if wire.line >= info.lines {
        let what_to_do = format!("set line from 0 to {}", info.lines.saturating_sub(1));
        let found = format!("{place}: the chip has {} lines", info.lines);
        return finding(entry, State::Wrong, found, what_to_do);
    }
    match holder(&info.path, wire.line) {
        Some(name) if name == gpio::CONSUMER => {
            let what_to_do = "stop the running touchstone before starting another";
            finding(
                entry,
                State::Warning,
                format!("{place}: held by a running touchstone"),
                what_to_do,
            )
        }
        Some(name) => {
            let found = format!("{place}: in use by \"{name}\"");
            finding(entry, State::Wrong, found, "stop it or take another line")
        }
        None => {
            let pin = wire.pin.map_or_else(String::new, |pin| format!(", header pin {pin}"));
            // Nothing here can see whether it was done.
            let pinmux = wire.pinmux.as_ref().map_or_else(String::new, |p| format!("once: {p}"));
            finding(entry, State::Ok, format!("{place}{pin} is free"), pinmux)
        }
    }
}

fn heartbeat(outputs: &[OutputLine]) -> Option<Finding> {
    let wired = |role| outputs.iter().any(|line| line.role == role);
    let alone = wired(OutputRole::Reject) && !wired(OutputRole::Heartbeat);
    alone.then(|| {
        let found =
            "reject is wired and heartbeat is not: with the program dead, every part passes";
        finding("[[gpio]]", State::Warning, found, "wire it as board/README.md says")
    })
}

fn port(config: &SerialConfig) -> Finding {
    let entry = format!("[[serial]] {}", config.path.display());
    let Ok(meta) = std::fs::metadata(&config.path) else {
        let what_to_do =
            format!("plug it in or correct path; here: {}", list(serial::ports().into_iter()));
        // The line runs without it, and opens it when it comes.
        return finding(&entry, State::Warning, "no such serial port", what_to_do);
    };
    if !meta.file_type().is_char_device() {
        return finding(&entry, State::Wrong, "not a device", "correct path");
    }
    if access(&config.path, Access::READ_OK | Access::WRITE_OK).is_err() {
        let what_to_do = "add the user to the group \"dialout\"";
        return finding(&entry, State::Wrong, "permission denied", what_to_do);
    }
    match holder(&config.path) {
        Some(name) => {
            let found = format!("open in {name}");
            finding(&entry, State::Warning, found, "stop it, or the port is refused as busy")
        }
        None => finding(&entry, State::Ok, format!("is there, for {} baud", config.baud), ""),
    }
}

/// The other process that has a device open, as far as the system lets us see.
fn holder(path: &Path) -> Option<String> {
    let real = path.canonicalize().ok()?;
    let own = std::process::id().to_string();
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name().into_string().unwrap_or_default();
        if name == own || name.parse::<u32>().is_err() {
            continue;
        }
        let open = std::fs::read_dir(process.path().join("fd"));
        let mut open = open.into_iter().flatten().flatten();
        if open.any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == real)) {
            let comm = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {name})", comm.trim()));
        }
    }
    None
}

fn modbus(listen: SocketAddr) -> Finding {
    let entry = "[modbus]";
    match TcpListener::bind(listen) {
        Ok(_) if listen.ip().is_loopback() => {
            finding(entry, State::Ok, format!("{listen} is free; only this machine reaches it"), "")
        }
        Ok(_) => {
            let what_to_do = "keep that network to the machine: Modbus knows no password";
            finding(entry, State::Ok, format!("{listen} is free"), what_to_do)
        }
        Err(e) => {
            let refusal = crate::modbus::wires::bind_refusal(listen, &e).to_string();
            finding(entry, State::Wrong, refusal, "")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QEMU: &str = include_str!("../boards/qemu-virt.toml");

    fn wire(chip: &str, line: u32) -> Wire {
        let pinmux = Some("set it in the pinmux".to_owned());
        Wire { chip: chip.into(), line, active_low: false, bias: None, pin: Some(7), pinmux }
    }

    #[test]
    fn lines_are_looked_at_and_everything_wrong_is_named() {
        let info = |path: &str, label: &str| ChipInfo {
            path: path.into(),
            label: label.to_owned(),
            lines: 8,
        };
        let infos = [info("/dev/gpiochip90", "a"), info("/dev/gpiochip91", "b"), info("c", "b")];
        let devices =
            ["/dev/gpiochip90", "/dev/gpiochip91", "c", "/dev/gpiochip92"].map(PathBuf::from);
        let holder = |chip: &Path, line| {
            (chip == Path::new("/dev/gpiochip90") && line < 2)
                .then(|| ["sysfs", gpio::CONSUMER][line as usize].to_owned())
        };
        let look = |chip, number, devices: &[PathBuf]| {
            let found = line("[[gpio]] x", &wire(chip, number), &infos, devices, holder);
            (found.state, found.to_string())
        };
        let some = &devices[..3];
        let (state, text) = look("label:a", 3, some);
        assert_eq!(state, State::Ok);
        assert!(text.contains("header pin 7") && text.contains("once: set it"), "{text}");
        let cases = [
            ("/dev/gpiochip90", 0, some, State::Wrong, "in use by \"sysfs\"; stop it"),
            ("label:a", 1, some, State::Warning, "held by a running touchstone"),
            ("label:a", 8, some, State::Wrong, "has 8 lines; set line from 0 to 7"),
            ("label:b", 0, some, State::Wrong, "2 chips have that label"),
            (
                "label:x",
                0,
                some,
                State::Wrong,
                "no such GPIO chip; correct chip; here: /dev/gpiochip90 (label:a)",
            ),
            ("label:x", 0, &devices, State::Wrong, "permission denied"),
            ("/dev/gpiochip92", 0, &devices, State::Wrong, "permission denied"),
            ("/dev/gpiochip4711", 0, &devices, State::Wrong, "no such GPIO chip"),
        ];
        for (chip, number, devices, state, text) in cases {
            let found = look(chip, number, devices);
            assert_eq!(found.0, state, "{}", found.1);
            assert!(found.1.contains(text), "{}", found.1);
        }
    }

    #[test]
    fn every_entry_has_a_finding() {
        let mut board = Board::parse(QEMU).unwrap();
        let lines = board.input_lines().len() + board.outputs.len();
        assert_eq!(check(&board).len(), 1 + lines + board.serial.len() + 1);
        board.outputs.retain(|line| line.role != OutputRole::Heartbeat);
        let findings = check(&board);
        assert!(findings.iter().any(|f| f.found.contains("heartbeat is not")), "{findings:?}");
        assert!(
            findings
                .iter()
                .all(|f| f.state == State::Ok || !f.what_to_do.is_empty() || f.entry == "[modbus]")
        );
    }

    #[test]
    fn ports_are_looked_at_without_being_opened() {
        let look = |path: &str| {
            let role = crate::config::SerialRole::Results;
            port(&SerialConfig { role, path: path.into(), baud: 9600 })
        };
        assert!(look("/dev/ttyUSB4711").to_string().contains("no such serial port; plug it in"));
        assert_eq!(look("/proc/version").state, State::Wrong);
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let found = modbus(taken.local_addr().unwrap());
        assert_eq!(found.state, State::Wrong);
        assert!(found.found.contains("in use by another program"), "{found}");
    }
}
