//! A bundle that comes over a serial line, piece by piece. Bytes in, answers out; the time is an argument.

use std::time::Duration;

use touchstone_board::Timestamp;
use touchstone_board::push::{Announcement, Push};
use touchstone_models::bundle::{BUNDLE_BYTES_MAX, BundleName, SIGNATURE_BYTES_MAX};

use super::Gate;
use crate::store::Spool;

/// A push from which nothing is heard for so long is dropped.
pub const IDLE_MAX: Duration = Duration::from_secs(600);
/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 64 << 10;

/// A bundle that came in whole.
#[derive(Debug)]
pub struct Delivered {
    /// Its file's name.
    pub name: BundleName,
    /// Its signature.
    pub signature: String,
    /// It.
    pub spool: Spool,
}

/// What is coming in.
#[derive(Debug)]
struct Coming {
    announced: Announcement,
    name: BundleName,
    signature: Vec<u8>,
    spool: Spool,
    gathered: Vec<u8>,
    heard: Timestamp,
}

impl Coming {
    /// The byte that is wanted next.
    fn next(&self) -> u64 {
        self.signature.len() as u64 + self.spool.written() + self.gathered.len() as u64
    }

    fn total(&self) -> u64 {
        u64::from(self.announced.signature) + self.announced.bundle
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let wanted = self.announced.signature as usize - self.signature.len();
        let (signature, bundle) = bytes.split_at(wanted.min(bytes.len()));
        self.signature.extend(signature);
        self.gathered.extend(bundle);
        if self.gathered.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), String> {
        self.spool.append(&self.gathered).map_err(|e| e.to_string())?;
        self.gathered.clear();
        Ok(())
    }
}

/// The camera's side of a push: one at a time.
#[derive(Debug, Default)]
pub struct Session(Option<Coming>);

/// What a step comes to.
#[derive(Debug)]
pub enum Step {
    /// An answer.
    Answer(Result<String, String>),
    /// All is there; the answer is due when it is installed.
    Whole(Box<Delivered>),
}

impl Session {
    /// How much of what was announced is there, while something is coming in.
    pub fn progress(&self) -> Option<(&BundleName, u64, u64)> {
        self.0.as_ref().map(|coming| (&coming.name, coming.next(), coming.total()))
    }

    /// Drops what nobody goes on with.
    pub fn tick(&mut self, now: Timestamp) {
        if self.0.as_ref().is_some_and(|coming| now.since(coming.heard) > IDLE_MAX) {
            self.0 = None;
        }
    }

    /// Takes a step.
    pub fn step(&mut self, push: &Push, gate: &Gate, now: Timestamp) -> Step {
        match push {
            Push::Begin(announced) => Step::Answer(self.begin(announced, gate, now)),
            Push::Data { at, bytes } => Step::Answer(self.data(*at, bytes, now)),
            Push::End => match self.end() {
                Ok(delivered) => Step::Whole(Box::new(delivered)),
                Err(why) => Step::Answer(Err(why)),
            },
        }
    }

    fn begin(
        &mut self,
        announced: &Announcement,
        gate: &Gate,
        now: Timestamp,
    ) -> Result<String, String> {
        if let Some(coming) = self.0.as_mut().filter(|coming| coming.announced == *announced) {
            coming.heard = now;
            return Ok(coming.next().to_string());
        }
        // Another one takes its place, and the old copy goes first to make room.
        self.0 = None;
        let name = BundleName::parse(&announced.name)
            .ok_or_else(|| format!("{}: not NAME-VERSION.touchstone", announced.name))?;
        if announced.bundle > BUNDLE_BYTES_MAX {
            return Err(format!("a bundle has at most {BUNDLE_BYTES_MAX} bytes"));
        }
        if u64::from(announced.signature) > SIGNATURE_BYTES_MAX {
            return Err(format!("a signature has at most {SIGNATURE_BYTES_MAX} bytes"));
        }
        gate.wants(&name).map_err(|e| e.to_string())?;
        let spool = gate.store.spool(announced.bundle).map_err(|e| e.to_string())?;
        self.0 = Some(Coming {
            announced: announced.clone(),
            name,
            signature: Vec::new(),
            spool,
            gathered: Vec::new(),
            heard: now,
        });
        Ok("0".to_owned())
    }

    fn data(&mut self, at: u64, bytes: &[u8], now: Timestamp) -> Result<String, String> {
        let coming = self.0.as_mut().ok_or("begin first")?;
        coming.heard = now;
        let next = coming.next();
        if at != next {
            return Err(format!("at {next}"));
        }
        if next + bytes.len() as u64 > coming.total() {
            return Err("more than was announced".to_owned());
        }
        if let Err(why) = coming.take(bytes) {
            self.0 = None;
            return Err(why);
        }
        Ok(coming.next().to_string())
    }

    fn end(&mut self) -> Result<Delivered, String> {
        let coming = self.0.as_ref().ok_or("begin first")?;
        if coming.next() < coming.total() {
            return Err(format!("at {}", coming.next()));
        }
        let mut coming = self.0.take().ok_or("begin first")?;
        coming.write()?;
        let signature =
            String::from_utf8(coming.signature).map_err(|_| "the signature is no text")?;
        Ok(Delivered { name: coming.name, signature, spool: coming.spool })
    }
}
