//! The agent inside the VM. One command per line comes in on a virtio-serial port, one answer goes
//! out: `ID CODE LENGTH\n` and that many bytes.
//!
//! It is its own program because a shell cannot watch wires: [`watch`] samples the lines of gpio-sim
//! from their other side every few hundred microseconds, on the clock that the firmware uses.

mod command;
mod shell;
mod watch;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use command::{Command, Request};
use watch::Watch;

/// The longest line that the host may send.
const LINE_MAX: usize = 64 * 1024;
/// How long to wait before asking a port again that nobody has opened on the host's side.
const NOBODY_THERE: Duration = Duration::from_millis(20);
/// Exit status of a command line that cannot be understood, as shells have it.
const NOT_UNDERSTOOD: i32 = 127;
/// Exit status of a request that the system refused.
const REFUSED: i32 = 1;

fn main() {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("hil-guest: name the virtio-serial port, as in /dev/vport0p1");
        std::process::exit(2);
    };
    if let Err(error) = serve(&path) {
        eprintln!("hil-guest: {path}: {error}");
        std::process::exit(1);
    }
}

fn serve(path: &str) -> io::Result<()> {
    let mut port = OpenOptions::new().read(true).write(true).open(path)?;
    let mut watch = None;
    // Says who it is unasked, so that the host knows when the guest is up. The host answers no
    // earlier than this, so nothing is lost while the port is still closed.
    answer(&mut port, 0, 0, format!("ready {}", now_us()).as_bytes())?;
    let mut pending = Vec::new();
    loop {
        let line = next_line(&mut port, &mut pending)?;
        let (id, code, bytes) = match Request::parse(&line) {
            Ok(request) => {
                let (code, bytes) = carry_out(&request, &mut watch);
                (request.id, code, bytes)
            }
            Err(why) => (0, NOT_UNDERSTOOD, why.into_bytes()),
        };
        answer(&mut port, id, code, &bytes)?;
    }
}

fn carry_out(request: &Request, watch: &mut Option<Watch>) -> (i32, Vec<u8>) {
    let done = match &request.command {
        Command::Now => Ok((0, now_us().to_string().into_bytes())),
        Command::Shell(line) => shell::run(line, request.timeout),
        Command::Write { path, text } => timed_write(path, text),
        Command::Watch { period, wires } => Watch::start(*period, wires).map(|started| {
            *watch = Some(started);
            (0, Vec::new())
        }),
        Command::Edges { from } => match watch {
            Some(watch) => Ok((0, watch.report(*from).into_bytes())),
            None => Ok((NOT_UNDERSTOOD, b"nothing is being watched".to_vec())),
        },
    };
    done.unwrap_or_else(|error| (REFUSED, error.to_string().into_bytes()))
}

/// Writes `text` into `path` and answers when, before and after the call.
fn timed_write(path: &str, text: &str) -> io::Result<(i32, Vec<u8>)> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let before = now_us();
    file.write_all(text.as_bytes())?;
    Ok((0, format!("{before} {}", now_us()).into_bytes()))
}

fn answer(port: &mut File, id: u32, code: i32, bytes: &[u8]) -> io::Result<()> {
    let mut whole = format!("{id} {code} {}\n", bytes.len()).into_bytes();
    whole.extend_from_slice(bytes);
    port.write_all(&whole)
}

fn next_line(port: &mut File, pending: &mut Vec<u8>) -> io::Result<String> {
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
            let rest = pending.split_off(end + 1);
            let line = std::mem::replace(pending, rest);
            return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
        }
        if pending.len() > LINE_MAX {
            // Not a host that speaks this protocol; start over rather than grow.
            pending.clear();
        }
        match port.read(&mut chunk) {
            Ok(0) => thread::sleep(NOBODY_THERE),
            Ok(n) => pending.extend_from_slice(&chunk[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Microseconds on the monotonic clock, the one of the kernel's edge and frame stamps.
pub(crate) fn now_us() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}
