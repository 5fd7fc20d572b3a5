//! The threads of a port: one writes and opens it again, one reads.

use super::WRITE_TIMEOUT;
use super::protocol::{self, Kind, LineError, Parser};
use crate::command::{Exchange, Request, Source};
use crate::config::SerialConfig;
use crate::io::IoError;
use crate::results::ResultRecord;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Lines waiting to be written; further ones are dropped and counted.
pub const QUEUE_MAX: usize = 64;
/// How long a port that is gone is left alone before it is tried again.
pub const RETRY: Duration = Duration::from_millis(500);
/// How often an idle writer looks whether its port is still there.
const LOOK: Duration = Duration::from_millis(50);

/// What became of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SerialCounts {
    /// Written, results and replies.
    pub written: u64,
    /// Not written because the reader was too slow.
    pub dropped: u64,
    /// Not written because the port failed or was gone.
    pub failed: u64,
    /// Commands that arrived whole.
    pub commands: u64,
    /// Lines that arrived damaged or mean nothing.
    pub noise: u64,
    /// How often a port that was gone came back.
    pub reconnects: u64,
}

#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    commands: AtomicU64,
    noise: AtomicU64,
    reconnects: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Both ends of an open port.
struct Link {
    writer: Box<dyn Write + Send>,
    reader: Option<Box<dyn Read + Send>>,
}

type Opener = Box<dyn FnMut() -> Result<Link, IoError> + Send>;

/// A port that results are written to, each a line as `board/docs/serial.md` says.
///
/// The sequence number counts every result, the dropped ones too, so that the receiver sees a gap.
#[derive(Debug)]
pub struct ResultPort {
    speaker: Speaker,
    alive: Arc<AtomicBool>,
}

/// Says things on a port beside its results, with numbers from the same row.
#[derive(Clone, Debug)]
pub struct Speaker {
    queue: SyncSender<String>,
    next: Arc<AtomicU32>,
    counters: Arc<Counters>,
}

impl Speaker {
    /// Hands one line over without ever waiting; false where it was dropped.
    pub fn send(&self, text: &str) -> bool {
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        let sent = self.queue.try_send(protocol::emit(Kind::Result, sequence, text)).is_ok();
        if !sent {
            count(&self.counters.dropped);
        }
        sent
    }
}

impl ResultPort {
    /// Opens the port of a board file for this program alone; results only, what comes in is not heard.
    ///
    /// # Errors
    /// No such port (with those that are here), in use, or no permission.
    pub fn open(config: &SerialConfig) -> Result<ResultPort, IoError> {
        let first = super::open(config, WRITE_TIMEOUT)?;
        ResultPort::start(config, Some(link(first)?), None)
    }

    /// The port with its command channel, whether it is there already or comes later: a missing adapter is
    /// opened when somebody plugs it in. Commands go to `exchange`, if there is one.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn serve(config: &SerialConfig, exchange: Option<Exchange>) -> Result<ResultPort, IoError> {
        ResultPort::start(config, None, exchange)
    }

    /// Writes to anything, and does not open it again.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn to<W: Write + Send + 'static>(name: &str, sink: W) -> Result<ResultPort, IoError> {
        let first = Link { writer: Box::new(sink), reader: None };
        let gone = IoError::Refused { what: name.to_owned(), why: "failed before".to_owned() };
        let mut gone = Some(gone);
        let again = move || {
            Err(gone.take().unwrap_or(IoError::Refused { what: String::new(), why: String::new() }))
        };
        ResultPort::run(name, Some(first), Box::new(again), None)
    }

    fn start(
        config: &SerialConfig,
        first: Option<Link>,
        exchange: Option<Exchange>,
    ) -> Result<ResultPort, IoError> {
        let again = config.clone();
        let opener = Box::new(move || super::open(&again, WRITE_TIMEOUT).and_then(link));
        ResultPort::run(&config.path.to_string_lossy(), first, opener, exchange)
    }

    fn run(
        name: &str,
        link: Option<Link>,
        opener: Opener,
        exchange: Option<Exchange>,
    ) -> Result<ResultPort, IoError> {
        let (queue, lines) = sync_channel(QUEUE_MAX);
        let counters = Arc::new(Counters::default());
        let alive = Arc::new(AtomicBool::new(true));
        let ear = Ear { exchange, replies: queue.clone(), counters: Arc::clone(&counters) };
        let writer = Writer {
            name: name.to_owned(),
            opener,
            ear,
            alive: Arc::clone(&alive),
            open: None,
            retry_at: None,
            well: true,
        };
        // Not joined: it ends when this port is dropped, and a stuck device must not hold up the end.
        let thread = std::thread::Builder::new().name("serial".to_owned());
        thread.spawn(move || writer.run(link, &lines)).map_err(|e| no_thread(name, &e))?;
        Ok(ResultPort { speaker: Speaker { queue, next: Arc::default(), counters }, alive })
    }

    /// Hands one result over without ever waiting; false where it was dropped.
    pub fn send(&mut self, text: &str) -> bool {
        self.speaker.send(text)
    }

    /// For whoever else has something to say on this port.
    pub fn speaker(&self) -> Speaker {
        self.speaker.clone()
    }

    /// As [`ResultPort::send`], for a record.
    pub fn publish(&mut self, record: &ResultRecord) -> bool {
        self.send(&record.line())
    }

    /// What became of the lines so far.
    pub fn counts(&self) -> SerialCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SerialCounts {
            written: read(&self.speaker.counters.written),
            dropped: read(&self.speaker.counters.dropped),
            failed: read(&self.speaker.counters.failed),
            commands: read(&self.speaker.counters.commands),
            noise: read(&self.speaker.counters.noise),
            reconnects: read(&self.speaker.counters.reconnects),
        }
    }
}

impl Drop for ResultPort {
    fn drop(&mut self) {
        self.alive.store(false, Ordering::Relaxed);
    }
}

fn no_thread(name: &str, error: &std::io::Error) -> IoError {
    IoError::Refused { what: name.to_owned(), why: format!("no thread for it: {error}") }
}

fn link(port: serialport::TTYPort) -> Result<Link, IoError> {
    let reader = port.try_clone_native().map_err(|e| IoError::Refused {
        what: serialport::SerialPort::name(&port).unwrap_or_default(),
        why: format!("cannot be read and written at once: {e}"),
    })?;
    Ok(Link { writer: Box::new(port), reader: Some(Box::new(reader)) })
}

/// An open port as the writer holds it. Dropping it lets the reader go.
struct Open {
    writer: Box<dyn Write + Send>,
    gone: Arc<AtomicBool>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

struct Writer {
    name: String,
    opener: Opener,
    ear: Ear,
    alive: Arc<AtomicBool>,
    open: Option<Open>,
    retry_at: Option<Instant>,
    /// Once per outage: a dead port must not fill the log.
    well: bool,
}

impl Writer {
    fn run(mut self, first: Option<Link>, lines: &Receiver<String>) {
        if let Some(link) = first {
            self.connect(link);
        }
        loop {
            if self.open.as_ref().is_some_and(|open| open.gone.load(Ordering::Relaxed)) {
                self.lose("it is gone");
            }
            if self.open.is_none() && self.retry_at.is_none_or(|at| Instant::now() >= at) {
                self.reopen();
            }
            match lines.recv_timeout(LOOK) {
                Ok(line) => self.write(&line),
                Err(RecvTimeoutError::Timeout) if self.alive.load(Ordering::Relaxed) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn connect(&mut self, link: Link) {
        let gone = Arc::new(AtomicBool::new(false));
        self.open = Some(Open { writer: link.writer, gone: Arc::clone(&gone) });
        let Some(reader) = link.reader else { return };
        let ear = self.ear.clone();
        let thread = std::thread::Builder::new().name("serial-in".to_owned());
        if let Err(e) = thread.spawn(move || ear.listen(reader, &gone)) {
            log::warn!("{}; commands are not heard", no_thread(&self.name, &e));
        }
    }

    fn reopen(&mut self) {
        match (self.opener)() {
            Ok(link) => {
                self.connect(link);
                if !std::mem::replace(&mut self.well, true) {
                    count(&self.ear.counters.reconnects);
                    log::info!("{}: back", self.name);
                }
            }
            Err(e) => {
                if std::mem::replace(&mut self.well, false) {
                    log::warn!("{e}; trying again until it is there");
                }
                self.retry_at = Some(Instant::now() + RETRY);
            }
        }
    }

    fn lose(&mut self, why: &str) {
        self.open = None;
        self.retry_at = Some(Instant::now() + RETRY);
        if std::mem::replace(&mut self.well, false) {
            log::warn!("{}: results cannot be written: {why}", self.name);
        }
    }

    fn write(&mut self, line: &str) {
        let counters = &self.ear.counters;
        let Some(open) = &mut self.open else { return count(&counters.failed) };
        match open.writer.write_all(line.as_bytes()) {
            Ok(()) => count(&counters.written),
            // Nobody reads, which is not the port's fault. Half a line may be out; the next one's mark ends it.
            Err(e) if matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                count(&counters.dropped);
            }
            Err(e) => {
                count(&counters.failed);
                self.lose(&e.to_string());
            }
        }
    }
}

/// What hears commands.
#[derive(Clone)]
struct Ear {
    exchange: Option<Exchange>,
    replies: SyncSender<String>,
    counters: Arc<Counters>,
}

impl Ear {
    /// Reads until the port is gone or let go. It also notices first that a port vanished, for it always waits.
    fn listen(&self, mut reader: Box<dyn Read + Send>, gone: &AtomicBool) {
        let mut parser = Parser::default();
        let mut bytes = [0; 256];
        while !gone.load(Ordering::Relaxed) {
            match reader.read(&mut bytes) {
                Ok(0) => break,
                Ok(n) => {
                    bytes[..n].iter().filter_map(|b| parser.push(*b)).for_each(|l| self.hear(l))
                }
                Err(e) => match e.kind() {
                    ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted => {}
                    _ => break,
                },
            }
        }
        gone.store(true, Ordering::Relaxed);
    }

    fn hear(&self, line: Result<protocol::Numbered, LineError>) {
        let Some(exchange) = &self.exchange else { return };
        match line {
            Ok(protocol::Numbered { sequence, command }) => {
                count(&self.counters.commands);
                let ear = self.clone();
                let answer = move |outcome| ear.reply(sequence, outcome);
                exchange.submit(Request::new(command, Source::Serial, answer));
            }
            Err(LineError::Meaningless { sequence: Some(sequence), why }) => {
                count(&self.counters.noise);
                self.reply(sequence, Err(why.to_owned()));
            }
            Err(
                LineError::Noise
                | LineError::TooLong
                | LineError::Meaningless { sequence: None, .. },
            ) => count(&self.counters.noise),
        }
    }

    fn reply(&self, sequence: u32, outcome: Result<String, String>) {
        let text = match outcome {
            Ok(text) => format!("ok {text}"),
            Err(reason) => format!("err {reason}"),
        };
        if self.replies.try_send(protocol::emit(Kind::Reply, sequence, &text)).is_err() {
            count(&self.counters.dropped);
        }
    }
}
