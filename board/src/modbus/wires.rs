//! The threads that carry frames: one per TCP connection, one for the serial line.

use super::rtu::Framer;
use super::{CONNECTIONS_MAX, Shared, adu};
use crate::config::SerialConfig;
use crate::io::IoError;
use crate::serial::{self, RETRY};
use crate::time::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serialport::{SerialPort, TTYPort};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How often a waiting thread looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);
/// A connection that says nothing for so long is closed, so that dead ones do not use up the places.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// A client that takes its answer slower than this is closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

fn no_thread(what: &str, error: &std::io::Error) -> IoError {
    IoError::Refused { what: what.to_owned(), why: format!("no thread for it: {error}") }
}

/// Why an address cannot be listened at, and what to do.
pub(crate) fn bind_refusal(at: SocketAddr, error: &std::io::Error) -> IoError {
    let why = match error.kind() {
        ErrorKind::AddrInUse => {
            "in use by another program (ss -ltnp names it); stop it or set another [modbus] port"
                .to_owned()
        }
        ErrorKind::AddrNotAvailable => {
            "no interface of this machine has that address; correct [modbus] address".to_owned()
        }
        ErrorKind::PermissionDenied => {
            "permission denied; ports below 1024 need CAP_NET_BIND_SERVICE, or set [modbus] port = 1502"
                .to_owned()
        }
        _ => error.to_string(),
    };
    IoError::Refused { what: format!("modbus tcp {at}"), why }
}

pub(super) fn listen(at: SocketAddr, shared: &Arc<Shared>) -> Result<SocketAddr, IoError> {
    let listener = TcpListener::bind(at).map_err(|e| bind_refusal(at, &e))?;
    let bound = listener.local_addr().map_err(|e| bind_refusal(at, &e))?;
    // A client that is gone between poll and accept must not hold the thread.
    listener.set_nonblocking(true).map_err(|e| bind_refusal(at, &e))?;
    let shared = Arc::clone(shared);
    let thread = std::thread::Builder::new().name("modbus".to_owned());
    thread.spawn(move || accept(&listener, &shared)).map_err(|e| no_thread("modbus tcp", &e))?;
    Ok(bound)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let open = Arc::new(AtomicUsize::new(0));
    let look = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
    while shared.alive() {
        let _ = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&look));
        match listener.accept() {
            Ok((stream, _)) if open.load(Ordering::Relaxed) < CONNECTIONS_MAX => {
                open.fetch_add(1, Ordering::Relaxed);
                let place = Place(Arc::clone(&open));
                let shared = Arc::clone(shared);
                let thread = std::thread::Builder::new().name("modbus-tcp".to_owned());
                if let Err(e) = thread.spawn(move || converse(stream, &shared, &place)) {
                    log::warn!("{}", no_thread("modbus tcp", &e));
                }
            }
            Ok(_) => {
                shared.counters.refused.fetch_add(1, Ordering::Relaxed);
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            // No descriptors left, or the like: it may pass, and must not spin until then.
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

/// One of the places for connections, given back when the conversation ends, however it ends.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn converse(mut stream: TcpStream, shared: &Shared, _place: &Place) {
    let ready = stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_read_timeout(Some(LOOK)))
        .and_then(|()| stream.set_write_timeout(Some(WRITE_TIMEOUT)))
        .and_then(|()| stream.set_nodelay(true));
    if ready.is_err() {
        return;
    }
    let mut bytes = [0; adu::FRAME_BYTES_MAX];
    let (mut filled, mut heard) = (0, Instant::now());
    while shared.alive() && heard.elapsed() < IDLE_MAX {
        // There is room: a frame that fits is taken out below, one that does not ends the conversation.
        match stream.read(&mut bytes[filled..]) {
            Ok(0) => return,
            Ok(n) => filled += n,
            Err(e) => match e.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => continue,
                _ => return,
            },
        }
        while filled >= adu::TCP_HEADER {
            let Some(length) = adu::tcp_length(&bytes[..filled]) else { return };
            if filled < length {
                break;
            }
            heard = Instant::now();
            let reply = shared.handle(adu::tcp, &bytes[..length]);
            if !reply.is_empty() && stream.write_all(&reply).is_err() {
                return;
            }
            bytes.copy_within(length..filled, 0);
            filled -= length;
        }
    }
}

pub(super) fn serial(config: SerialConfig, shared: &Arc<Shared>) -> Result<(), IoError> {
    let shared = Arc::clone(shared);
    let thread = std::thread::Builder::new().name("modbus-rtu".to_owned());
    let run = move || {
        // Once per outage: a dead port must not fill the log.
        let mut well = true;
        while shared.alive() {
            match serial::open(&config, LOOK) {
                Ok(port) => {
                    well = true;
                    attend(port, config.baud, &shared);
                }
                Err(e) if std::mem::replace(&mut well, false) => {
                    log::warn!("{e}; trying again until it is there");
                }
                Err(_) => {}
            }
            std::thread::sleep(RETRY);
        }
    };
    thread.spawn(run).map(drop).map_err(|e| no_thread("modbus rtu", &e))
}

/// Answers until the port is gone.
fn attend(mut port: TTYPort, baud: u32, shared: &Shared) {
    let mut framer = Framer::new(baud);
    let mut bytes = [0; adu::RTU_BYTES_MAX];
    while shared.alive() {
        // The kernel waits in milliseconds; a frame must not be cut because it woke early.
        let wait = framer.poll_at().map_or(LOOK, |_| framer.silence() + Duration::from_millis(1));
        if port.set_timeout(wait).is_err() {
            return;
        }
        let frame = match port.read(&mut bytes) {
            Ok(0) => return,
            Ok(n) => framer.receive(Timestamp::now_monotonic(), &bytes[..n]),
            Err(e) => match e.kind() {
                ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted => {
                    framer.poll(Timestamp::now_monotonic())
                }
                _ => return,
            },
        };
        let Some(frame) = frame else { continue };
        let reply = shared.handle(adu::rtu, &frame);
        match port.write_all(&reply) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::TimedOut => {}
            Err(_) => return,
        }
    }
}
