//! Sends a bundle to a camera over a serial line: several pieces ahead, and after any loss from where the camera
//! says (`board/docs/serial.md`).

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use touchstone_board::command::Command;
use touchstone_board::config::{SerialConfig, SerialRole};
use touchstone_board::push::{Announcement, PIECE_BYTES_MAX, PIECES_AHEAD_MAX, Push};
use touchstone_board::serial::protocol::{Kind, Lines, emit, verb};
use touchstone_models::bundle::{BUNDLE_BYTES_MAX, SIGNATURE_BYTES_MAX};
use touchstone_models::files;

use super::{PushArgs, name_of, signature_of};
use crate::progress;

/// How long one read may wait.
const READ_TIMEOUT: Duration = Duration::from_millis(200);
/// How long an answer may take before the same is asked again.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// How often that is done without the camera getting any further.
const TRIES_MAX: u32 = 20;
/// How long the camera may take to check, try and activate what was sent.
const INSTALL_MAX: Duration = Duration::from_secs(900);

/// What lies between this program and the camera.
pub(super) trait Wire: Read + Write {}

impl<T: Read + Write> Wire for T {}

pub(super) fn push(args: &PushArgs) -> Result<()> {
    let name = name_of(&args.bundle)?.to_string();
    let signature = signature_of(&args.bundle)?;
    let signature = files::read_limited(&signature, SIGNATURE_BYTES_MAX).with_context(|| {
        format!("cannot read the signature {}; make it with bundle sign", signature.display())
    })?;
    let bundle = files::read_limited(&args.bundle, BUNDLE_BYTES_MAX)
        .with_context(|| format!("cannot read {}", args.bundle.display()))?;
    let config =
        SerialConfig { role: SerialRole::Commands, path: args.port.clone(), baud: args.baud };
    let mut port = touchstone_board::serial::open(&config, READ_TIMEOUT)?;
    let word = send(&mut port, &name, &signature, &bundle, true)?;
    println!("{name}: {word}");
    Ok(())
}

/// Sends it all; what the camera says in the end.
pub(super) fn send(
    wire: &mut dyn Wire,
    name: &str,
    signature: &[u8],
    bundle: &[u8],
    bar: bool,
) -> Result<String> {
    let bytes = [signature, bundle].concat();
    let hash = Sha256::digest(&bytes);
    let id = hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    let announcement = Announcement {
        name: name.to_owned(),
        signature: u32::try_from(signature.len()).context("the signature is too long")?,
        bundle: bundle.len() as u64,
        id,
    };
    let bar = match bar {
        true => progress::bar(bytes.len() as u64, "push"),
        false => ProgressBar::hidden(),
    };
    let mut talk = Talk { wire, lines: Lines::new(Kind::Reply), sequence: 0, heard: Vec::new() };
    let mut next = talk.begin(&announcement)?;
    let mut tries = 0;
    while next < bytes.len() as u64 {
        bar.set_position(next);
        match talk.window(&bytes, next)? {
            reached if reached > next => (next, tries) = (reached, 0),
            _ => {
                tries += 1;
                if tries > TRIES_MAX {
                    bail!(
                        "the camera does not answer any more; check the cable and push again: it goes on from there"
                    );
                }
                // Where it is, it says itself.
                next = talk.begin(&announcement)?;
            }
        }
    }
    bar.set_position(next);
    bar.set_message("the camera checks and tries it");
    let word = talk.end(&announcement)?;
    bar.finish_and_clear();
    Ok(word)
}

struct Talk<'a> {
    wire: &'a mut dyn Wire,
    lines: Lines,
    sequence: u32,
    heard: Vec<(u32, String)>,
}

impl Talk<'_> {
    fn say(&mut self, push: Push) -> Result<u32> {
        self.sequence = self.sequence.wrapping_add(1);
        let line = emit(Kind::Command, self.sequence, &verb(&Command::Push(push)));
        self.wire.write_all(line.as_bytes()).context("the port cannot be written to")?;
        Ok(self.sequence)
    }

    /// Reads what is there; waits a moment where nothing is.
    fn listen(&mut self) -> Result<()> {
        let mut bytes = [0; 512];
        let read = match self.wire.read(&mut bytes) {
            Ok(0) => bail!("the port is gone; plug it in and push again: it goes on from there"),
            Ok(read) => read,
            Err(e) if matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => 0,
            Err(e) if e.kind() == ErrorKind::Interrupted => 0,
            Err(e) => return Err(e).context("the port cannot be read"),
        };
        let found = bytes[..read].iter().filter_map(|byte| self.lines.push(*byte));
        self.heard.extend(found.flatten());
        Ok(())
    }

    /// The answer to a number, if it comes in time.
    fn answer(&mut self, sequence: u32, within: Duration) -> Result<Option<String>> {
        let deadline = Instant::now() + within;
        loop {
            let index = self.heard.iter().position(|(number, _)| *number == sequence);
            if let Some(index) = index {
                return Ok(Some(self.heard.swap_remove(index).1));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            self.listen()?;
        }
    }

    /// Begins or goes on; the byte that the camera wants next.
    fn begin(&mut self, announcement: &Announcement) -> Result<u64> {
        for _ in 0..TRIES_MAX {
            self.heard.clear();
            let sequence = self.say(Push::Begin(announcement.clone()))?;
            let Some(answer) = self.answer(sequence, ANSWER_MAX)? else { continue };
            match answer.strip_prefix("ok ").and_then(|number| number.parse().ok()) {
                Some(next) => return Ok(next),
                None if answer == "err busy" => std::thread::sleep(READ_TIMEOUT),
                None => bail!("the camera refuses it: {}", reason(&answer)),
            }
        }
        bail!("no camera answers; is it the port of role \"commands\", and the speed right?")
    }

    /// Sends some pieces and hears how far the camera got.
    fn window(&mut self, bytes: &[u8], from: u64) -> Result<u64> {
        self.heard.clear();
        let rest = bytes.get(from as usize..).unwrap_or_default();
        let mut at = from;
        let mut last = None;
        for piece in rest.chunks(PIECE_BYTES_MAX).take(PIECES_AHEAD_MAX) {
            last = Some(self.say(Push::Data { at, bytes: piece.to_vec() })?);
            at += piece.len() as u64;
        }
        let Some(last) = last else { return Ok(from) };
        let answer = self.answer(last, ANSWER_MAX)?;
        let answer = answer.unwrap_or_default();
        let number = answer.strip_prefix("ok ").or_else(|| answer.strip_prefix("err at "));
        match number.and_then(|number| number.parse().ok()) {
            Some(next) => Ok(next),
            None if answer.is_empty() || answer == "err busy" => Ok(from),
            None if answer == "err begin first" => Ok(from),
            None => bail!("the camera refuses it: {}", reason(&answer)),
        }
    }

    fn end(&mut self, announcement: &Announcement) -> Result<String> {
        let sequence = self.say(Push::End)?;
        let Some(answer) = self.answer(sequence, INSTALL_MAX)? else {
            bail!(
                "{}: the camera got all of it and does not say what became of it",
                announcement.name
            )
        };
        match answer.strip_prefix("ok ") {
            Some(word) => Ok(word.to_owned()),
            None => bail!("the camera does not take it: {}", reason(&answer)),
        }
    }
}

fn reason(answer: &str) -> &str {
    answer.strip_prefix("err ").unwrap_or(answer)
}
