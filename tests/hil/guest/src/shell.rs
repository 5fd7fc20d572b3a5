//! A command line for the guest's shell, with an end to its patience.

use std::fs::File;
use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where a command's output goes. A file, because a pipe would stay open for as long as anything that
/// the command left running in the background.
const OUTPUT: &str = "/run/hil-output";
/// Most bytes of output that go back to the host.
const OUTPUT_MAX: u64 = 8 << 20;
/// How often a running command is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// Exit status of a command that took too long, as `timeout` has it.
const TOO_LONG: i32 = 124;
/// What shells add to the number of the signal that ended a command.
const SIGNALLED: i32 = 128;

/// Runs `line` and answers its exit status and its output, both streams together.
///
/// # Errors
/// No shell, or no place for the output.
pub(crate) fn run(line: &str, timeout: Duration) -> io::Result<(i32, Vec<u8>)> {
    let output = File::create(OUTPUT)?;
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(line)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()?;
    let deadline = Instant::now() + timeout;
    let code = loop {
        if let Some(status) = child.try_wait()? {
            use std::os::unix::process::ExitStatusExt;
            break status.code().or(status.signal().map(|s| SIGNALLED + s)).unwrap_or(TOO_LONG);
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            break TOO_LONG;
        }
        thread::sleep(LOOK);
    };
    let mut bytes = Vec::new();
    File::open(OUTPUT)?.take(OUTPUT_MAX).read_to_end(&mut bytes)?;
    Ok((code, bytes))
}
