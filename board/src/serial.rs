//! Result lines to a PLC or printer: numbered, from a thread of their own, never in the line's way.

use crate::config::SerialConfig;
use crate::io::IoError;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Lines waiting to be written; further ones are dropped and counted.
pub const QUEUE_MAX: usize = 64;
/// Longest result, in bytes; longer ones are cut.
pub const LINE_BYTES_MAX: usize = 200;
/// How long one write may take before it counts as failed.
const WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// What became of the results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SerialCounts {
    /// Written.
    pub written: u64,
    /// Not written because the port was too slow.
    pub dropped: u64,
    /// Not written because the port failed.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// A port that results are written to, as `SEQUENCE TEXT\r\n`.
///
/// The sequence number counts every result, the dropped ones too, so that the receiver sees a gap.
#[derive(Debug)]
pub struct ResultPort {
    queue: SyncSender<String>,
    next: u64,
    counters: Arc<Counters>,
}

impl ResultPort {
    /// Opens the port of a board file for this program alone.
    ///
    /// # Errors
    /// No such port (with those that are here), in use, or no permission.
    pub fn open(config: &SerialConfig) -> Result<ResultPort, IoError> {
        let path = &config.path;
        let name = path.to_string_lossy();
        let port = serialport::new(name.as_ref(), config.baud).timeout(WRITE_TIMEOUT).open();
        let port = port.map_err(|e| {
            if path.exists() {
                let why = format!(
                    "{e}; it must be a serial port, free, and the user in the group \"dialout\""
                );
                return IoError::Refused { what: path.display().to_string(), why };
            }
            IoError::NotFound { path: path.clone(), here: ports(), what: "serial port" }
        })?;
        ResultPort::to(name.as_ref(), port)
    }

    /// Writes to anything.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn to<W: Write + Send + 'static>(name: &str, sink: W) -> Result<ResultPort, IoError> {
        let (queue, lines) = sync_channel(QUEUE_MAX);
        let counters = Arc::new(Counters::default());
        let shared = Arc::clone(&counters);
        let thread = std::thread::Builder::new().name("serial".to_owned());
        let named = name.to_owned();
        // Not joined: the thread ends when the queue closes, and a stuck port must not hold up the end.
        thread.spawn(move || write_all(&named, sink, &lines, &shared)).map_err(|e| {
            IoError::Refused { what: name.to_owned(), why: format!("no thread for it: {e}") }
        })?;
        Ok(ResultPort { queue, next: 0, counters })
    }

    /// Hands one result over without ever waiting; false where it was dropped. Control characters become
    /// spaces, so that one result is one line.
    pub fn send(&mut self, text: &str) -> bool {
        let sequence = self.next;
        self.next = self.next.wrapping_add(1);
        let mut line = format!("{sequence} ");
        for character in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
            if line.len() + character.len_utf8() > LINE_BYTES_MAX {
                break;
            }
            line.push(character);
        }
        line.push_str("\r\n");
        match self.queue.try_send(line) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.counters.dropped.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }

    /// What became of the results so far.
    pub fn counts(&self) -> SerialCounts {
        SerialCounts {
            written: self.counters.written.load(Ordering::Relaxed),
            dropped: self.counters.dropped.load(Ordering::Relaxed),
            failed: self.counters.failed.load(Ordering::Relaxed),
        }
    }
}

/// The serial ports that are here.
pub fn ports() -> Vec<String> {
    let mut ports: Vec<String> = serialport::available_ports()
        .unwrap_or_default()
        .into_iter()
        .map(|port| port.port_name)
        .collect();
    ports.sort();
    ports
}

fn write_all<W: Write>(name: &str, mut sink: W, lines: &Receiver<String>, counters: &Counters) {
    let mut well = true;
    while let Ok(line) = lines.recv() {
        match sink.write_all(line.as_bytes()).and_then(|()| sink.flush()) {
            Ok(()) => {
                well = true;
                counters.written.fetch_add(1, Ordering::Relaxed);
            }
            Err(e) => {
                counters.failed.fetch_add(1, Ordering::Relaxed);
                // Once per outage: a dead port must not fill the log.
                if std::mem::replace(&mut well, false) {
                    log::warn!("{name}: results cannot be written: {e}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::sync::mpsc::{Sender, channel};
    use std::sync::{Condvar, Mutex};

    /// Hands every written line to the test, and waits at a gate first.
    struct Gated {
        gate: Arc<(Mutex<bool>, Condvar)>,
        lines: Sender<String>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let mut open = self.gate.0.lock().unwrap();
            while !*open {
                open = self.gate.1.wait(open).unwrap();
            }
            self.lines.send(String::from_utf8_lossy(bytes).into_owned()).unwrap();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_port_drops_and_the_numbers_show_it() {
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let (sender, lines) = channel();
        let mut port =
            ResultPort::to("test", Gated { gate: Arc::clone(&gate), lines: sender }).unwrap();
        // One is in the writer's hands, at most, and QUEUE_MAX wait.
        let sent = (0..QUEUE_MAX + 10).filter(|i| port.send(&format!("part {i}"))).count();
        assert!((QUEUE_MAX..=QUEUE_MAX + 1).contains(&sent), "{sent}");
        assert_eq!(port.counts().dropped as usize, QUEUE_MAX + 10 - sent);
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        for i in 0..sent {
            assert_eq!(lines.recv().unwrap(), format!("{i} part {i}\r\n"));
        }
        assert!(port.send("reject\nscratch"));
        assert_eq!(lines.recv().unwrap(), format!("{} reject scratch\r\n", QUEUE_MAX + 10));
    }

    #[test]
    fn long_results_are_cut_at_a_character() {
        let (sender, lines) = channel();
        let gate = Arc::new((Mutex::new(true), Condvar::new()));
        let mut port = ResultPort::to("test", Gated { gate, lines: sender }).unwrap();
        port.send(&"ä".repeat(500));
        let line = lines.recv().unwrap();
        assert!(line.len() <= LINE_BYTES_MAX + 2 && line.ends_with("ä\r\n"), "{line:?}");
    }

    #[test]
    fn a_missing_port_is_named() {
        let config = SerialConfig { path: PathBuf::from("/dev/ttyUSB4711"), baud: 9600 };
        let error = ResultPort::open(&config).unwrap_err().to_string();
        assert!(error.starts_with("/dev/ttyUSB4711: no such serial port; here: "), "{error}");
        let config = SerialConfig { path: PathBuf::from("/dev/null"), baud: 9600 };
        let error = ResultPort::open(&config).unwrap_err().to_string();
        assert!(error.starts_with("/dev/null: "), "{error}");
    }
}
