//! The far end of a serial line: what a PLC would see, line by line, with the time it came.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::fail::{Fail, Outcome};
use crate::wire::Wire;

/// Most lines that are kept: a port that runs wild must not eat the host.
const LINES_MAX: usize = 100_000;
/// Most bytes that are kept until somebody takes them.
const BYTES_MAX: usize = 1 << 20;
const LOOK: Duration = Duration::from_millis(5);

/// One line and when its end arrived.
#[derive(Clone, Debug)]
pub struct Line {
    /// When, on the host's clock.
    pub at: Instant,
    /// Without its end.
    pub text: String,
}

/// A serial line that is being read.
#[derive(Debug)]
pub struct Uart {
    wire: Wire,
    lines: Arc<Mutex<Vec<Line>>>,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Uart {
    /// Connects and reads from now on.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn connect(name: &'static str, socket: &Path) -> Outcome<Uart> {
        let wire = Wire::connect(name, socket)?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (stream, told, raw) = (wire.stream()?, Arc::clone(&lines), Arc::clone(&bytes));
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || read_all(stream, &told, &raw))
            .map_err(|e| Fail::Broken(format!("no thread for the {name}: {e}")))?;
        Ok(Uart { wire, lines, bytes })
    }

    /// Sends bytes to the guest.
    ///
    /// # Errors
    /// The VM is gone.
    pub fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.wire.send(bytes)
    }

    /// All bytes since the last call, for what is not made of lines.
    pub fn take_bytes(&self) -> Vec<u8> {
        std::mem::take(&mut *held(&self.bytes))
    }

    /// All bytes since they were last taken, which stay.
    pub fn peek_bytes(&self) -> Vec<u8> {
        held(&self.bytes).clone()
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<Line> {
        held(&self.lines).clone()
    }

    /// The first line from number `from` on of which `is` is true.
    ///
    /// # Errors
    /// None comes within `limit`; with those that did.
    pub fn wait(
        &self,
        from: usize,
        what: &str,
        limit: Duration,
        is: impl Fn(&str) -> bool,
    ) -> Outcome<Line> {
        let deadline = Instant::now() + limit;
        loop {
            let lines = self.lines();
            let later = lines.get(from..).unwrap_or_default();
            if let Some(line) = later.iter().find(|line| is(&line.text)) {
                return Ok(line.clone());
            }
            if Instant::now() >= deadline {
                let texts: Vec<&str> = later.iter().map(|line| line.text.as_str()).collect();
                return Err(Fail::Seen(format!(
                    "no {what} on the serial line within {limit:?}; there came {texts:?}"
                )));
            }
            thread::sleep(LOOK);
        }
    }
}

fn held<T>(kept: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_all(mut stream: UnixStream, lines: &Mutex<Vec<Line>>, raw: &Mutex<Vec<u8>>) {
    let mut pending = Vec::new();
    let mut chunk = [0; 4096];
    // Ends with QEMU, which closes the socket.
    while let Ok(count) = stream.read(&mut chunk) {
        if count == 0 {
            return;
        }
        let at = Instant::now();
        let mut kept = held(raw);
        if kept.len() < BYTES_MAX {
            kept.extend_from_slice(&chunk[..count]);
        }
        drop(kept);
        for &byte in &chunk[..count] {
            if byte != b'\n' {
                pending.push(byte);
                continue;
            }
            let text = String::from_utf8_lossy(&pending).trim_end().to_owned();
            pending.clear();
            let mut lines = held(lines);
            if lines.len() < LINES_MAX {
                lines.push(Line { at, text });
            }
        }
    }
}
