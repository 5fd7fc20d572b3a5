//! Programs of the host, run to their end with a limit on their time.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::fail::{Fail, Outcome, at};

/// How often a running program is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Lines of a failed program's output that are shown.
const TAIL_LINES: usize = 15;

/// Runs `command` and gives back its standard output; both streams are kept in `log`.
///
/// # Errors
/// [`Fail::Missing`] where there is no such program, [`Fail::Broken`] where it fails or takes
/// longer than `limit`, with the end of what it said.
pub fn run(command: &mut Command, limit: Duration, log: &Path) -> Outcome<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out_path = PathBuf::from(format!("{}.out", log.display()));
    let out = File::create(&out_path).map_err(at("creating", &out_path))?;
    let err = File::create(log).map_err(at("creating", log))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(|error| Fail::Missing(format!("{name} cannot be started: {error}")))?;
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(at("waiting for", Path::new(&name)))? {
            break status;
        }
        if Instant::now() >= deadline {
            // It may have ended just now; either way nobody is left behind.
            let _ = child.kill();
            let _ = child.wait();
            return Err(Fail::Broken(format!("{name} took longer than {limit:?}{}", tail(log))));
        }
        thread::sleep(LOOK);
    };
    if !status.success() {
        return Err(Fail::Broken(format!("{name} ended with {status}{}", tail(log))));
    }
    let mut text = Vec::new();
    File::open(&out_path)
        .and_then(|mut file| file.read_to_end(&mut text))
        .map_err(at("reading", &out_path))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// True where the program can be found in the search path.
pub fn has(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

/// The end of a log, for an error message.
pub fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    format!("; the end of {}:\n{}", log.display(), lines[from..].join("\n"))
}
