//! A stream to the VM, read with a limit on every wait.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::fail::{Fail, Outcome, at};

/// A socket that is there may still refuse for a moment.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// A connected stream and what was read ahead of it.
#[derive(Debug)]
pub struct Wire {
    name: &'static str,
    stream: UnixStream,
    ahead: Vec<u8>,
}

impl Wire {
    /// Connects to a socket of QEMU.
    ///
    /// # Errors
    /// Nobody answers there.
    pub fn connect(name: &'static str, path: &Path) -> Outcome<Wire> {
        let deadline = Instant::now() + CONNECT_LIMIT;
        loop {
            match UnixStream::connect(path) {
                Ok(stream) => return Ok(Wire { name, stream, ahead: Vec::new() }),
                Err(error) if Instant::now() >= deadline => {
                    return Err(at("connecting to", path)(error));
                }
                Err(_) => thread::sleep(LOOK),
            }
        }
    }

    /// The same stream, for another thread to read.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub fn stream(&self) -> Outcome<UnixStream> {
        self.stream.try_clone().map_err(|e| Fail::Broken(format!("{}: {e}", self.name)))
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// The VM is gone.
    pub fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.stream.write_all(bytes).map_err(|e| Fail::Broken(format!("{}: {e}", self.name)))
    }

    /// The next line, without its end.
    ///
    /// # Errors
    /// None by `deadline`, or the VM is gone.
    pub fn line(&mut self, deadline: Instant) -> Outcome<String> {
        loop {
            if let Some(end) = self.ahead.iter().position(|&byte| byte == b'\n') {
                let rest = self.ahead.split_off(end + 1);
                let line = std::mem::replace(&mut self.ahead, rest);
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.more(deadline)?;
        }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// Not by `deadline`, or the VM is gone.
    pub fn exactly(&mut self, count: usize, deadline: Instant) -> Outcome<Vec<u8>> {
        while self.ahead.len() < count {
            self.more(deadline)?;
        }
        let rest = self.ahead.split_off(count);
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    fn more(&mut self, deadline: Instant) -> Outcome<()> {
        let gone = |why: &str| Fail::Seen(format!("{}: {why}", self.name));
        let mut chunk = [0; 16 * 1024];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(gone("no answer in time"));
            }
            self.stream.set_read_timeout(Some(left)).map_err(|e| gone(&e.to_string()))?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(gone("the VM closed it")),
                Ok(n) => {
                    self.ahead.extend_from_slice(&chunk[..n]);
                    return Ok(());
                }
                Err(e) => match e.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => return Err(gone(&e.to_string())),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn lines_and_bytes_come_in_order_and_silence_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let mut wire = Wire::connect("test", &path).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        other.write_all(b"1 0 3\nabc2 0 0\nrest").unwrap();
        let soon = Instant::now() + Duration::from_secs(30);
        assert_eq!(wire.line(soon).unwrap(), "1 0 3");
        assert_eq!(wire.exactly(3, soon).unwrap(), b"abc");
        assert_eq!(wire.line(soon).unwrap(), "2 0 0");
        let error = wire.line(Instant::now()).unwrap_err().to_string();
        assert_eq!(error, "test: no answer in time");
        drop(other);
        let error = wire.line(soon).unwrap_err().to_string();
        assert_eq!(error, "test: the VM closed it");
    }
}
