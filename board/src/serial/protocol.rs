//! The lines on a serial wire. Pure: bytes in, commands out; `board/docs/serial.md` has the grammar.
//!
//! A mark at the front of each line and nowhere else lets a reader find the next line after any noise; the
//! checksum tells noise from a line.

use crate::command::{Command, RecipeName};
use crate::push::Push;
use std::fmt;

/// Longest line from mark to checksum, in bytes.
pub const LINE_BYTES_MAX: usize = 240;
/// Bytes that star, checksum and line end take.
const TAIL: usize = 7;

/// What a line is; each has its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From outside: `>`.
    Command,
    /// To outside, on a command: `<`.
    Reply,
    /// To outside, on a part: `!`.
    Result,
}

impl Kind {
    fn mark(self) -> u8 {
        match self {
            Kind::Command => b'>',
            Kind::Reply => b'<',
            Kind::Result => b'!',
        }
    }
}

/// A command with the number that its reply repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The asker's number.
    pub sequence: u32,
    /// What is asked for.
    pub command: Command,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineError {
    /// The checksum does not fit, or there is none: noise. Nobody is answered, for nobody can be trusted to
    /// have asked.
    Noise,
    /// No end within [`LINE_BYTES_MAX`].
    TooLong,
    /// Arrived whole and means nothing; the number where it had one.
    Meaningless {
        /// The asker's number.
        sequence: Option<u32>,
        /// Why.
        why: &'static str,
    },
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::Noise => f.write_str("noise, or a wrong checksum"),
            LineError::TooLong => write!(f, "a line of more than {LINE_BYTES_MAX} bytes"),
            LineError::Meaningless { why, .. } => f.write_str(why),
        }
    }
}

/// CRC-16/IBM-3740 (often called CCITT-FALSE): polynomial 0x1021, start 0xFFFF.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// A line ready to be sent. Text that could be taken for a mark becomes `_`, what is not printable ASCII `?`,
/// and what is too long is cut.
pub fn emit(kind: Kind, sequence: u32, text: &str) -> String {
    let mut body = format!("{sequence} ");
    for c in text.chars().take(LINE_BYTES_MAX - TAIL - 1 - body.len()) {
        body.push(match c {
            '<' | '>' | '!' | '*' => '_',
            ' '..='~' => c,
            c if c.is_control() => ' ',
            _ => '?',
        });
    }
    let body = body.trim_end();
    format!("{}{body}*{:04X}\r\n", char::from(kind.mark()), crc16(body.as_bytes()))
}

/// Finds the lines of one kind in a stream of bytes.
#[derive(Clone, Debug)]
pub struct Lines {
    mark: u8,
    /// The line so far, without its mark; `None` between lines.
    line: Option<Vec<u8>>,
}

impl Lines {
    /// Looks for that kind.
    pub fn new(kind: Kind) -> Lines {
        Lines { mark: kind.mark(), line: None }
    }

    /// Takes a byte. The number and text of the line that it ended, checksum and all verified, or what was
    /// wrong with it.
    pub fn push(&mut self, byte: u8) -> Option<Result<(u32, String), LineError>> {
        match (byte, &mut self.line) {
            // A mark within a line means that the rest of that line was lost.
            (mark, line) if mark == self.mark => {
                let lost = line.replace(Vec::with_capacity(LINE_BYTES_MAX));
                lost.map(|_| Err(LineError::Noise))
            }
            (_, None) => None,
            (b'\n', line @ Some(_)) => {
                let bytes = line.take().unwrap_or_default();
                Some(checked(&bytes))
            }
            (_, line @ Some(_)) => {
                let bytes = line.get_or_insert_default();
                bytes.push(byte);
                if bytes.len() < LINE_BYTES_MAX {
                    return None;
                }
                *line = None;
                Some(Err(LineError::TooLong))
            }
        }
    }
}

fn checked(bytes: &[u8]) -> Result<(u32, String), LineError> {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let star = bytes.len().checked_sub(5).ok_or(LineError::Noise)?;
    let (body, tail) = bytes.split_at(star);
    let sum = tail.strip_prefix(b"*").and_then(|hex| std::str::from_utf8(hex).ok());
    let sum = sum.filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    let sum = sum.and_then(|hex| u16::from_str_radix(hex, 16).ok()).ok_or(LineError::Noise)?;
    if sum != crc16(body) {
        return Err(LineError::Noise);
    }
    let meaningless = |why| LineError::Meaningless { sequence: None, why };
    if !body.iter().all(|b| (b' '..=b'~').contains(b)) {
        return Err(meaningless("not printable ASCII"));
    }
    // Checked just above.
    let text = String::from_utf8_lossy(body);
    let (number, rest) = text.split_once(' ').unwrap_or((&text, ""));
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(meaningless("no sequence number"));
    }
    let sequence = number.parse().map_err(|_| meaningless("sequence number above 4294967295"))?;
    Ok((sequence, rest.to_owned()))
}

/// Finds commands.
#[derive(Clone, Debug)]
pub struct Parser(Lines);

impl Default for Parser {
    fn default() -> Parser {
        Parser(Lines::new(Kind::Command))
    }
}

impl Parser {
    /// Takes a byte; the command that it completed, or what was wrong.
    pub fn push(&mut self, byte: u8) -> Option<Result<Numbered, LineError>> {
        let line = self.0.push(byte)?;
        Some(line.and_then(|(sequence, text)| match parse(&text) {
            Ok(command) => Ok(Numbered { sequence, command }),
            Err(why) => Err(LineError::Meaningless { sequence: Some(sequence), why }),
        }))
    }
}

fn parse(text: &str) -> Result<Command, &'static str> {
    match text {
        "trigger" => Ok(Command::Trigger),
        "teach" => Ok(Command::Teach),
        "status" => Ok(Command::Status),
        "counters" => Ok(Command::Counters),
        "acknowledge" => Ok(Command::Acknowledge),
        "recipe list" => Ok(Command::RecipeList),
        "recipe rollback" => Ok(Command::RecipeRollback),
        "recipe verify" => Ok(Command::RecipeVerify),
        _ => parse_long(text),
    }
}

/// The commands with something after their verb.
fn parse_long(text: &str) -> Result<Command, &'static str> {
    let name = |name| RecipeName::new(name).ok_or("not a recipe name");
    if let Some(rest) = text.strip_prefix("recipe activate ") {
        return name(rest).map(Command::RecipeActivate);
    }
    if let Some(rest) = text.strip_prefix("teach ") {
        return name(rest).map(Command::TeachAs);
    }
    if let Some(rest) = text.strip_prefix("push ") {
        return Push::parse(rest).map(Command::Push);
    }
    Err("unknown command; known: trigger, teach, teach NAME, status, counters, acknowledge, \
         recipe list, recipe activate NAME, recipe rollback, recipe verify, push")
}

/// A command as text, as an asker sends it.
pub fn verb(command: &Command) -> String {
    match command {
        Command::Trigger => "trigger".to_owned(),
        Command::Teach => "teach".to_owned(),
        Command::Status => "status".to_owned(),
        Command::Counters => "counters".to_owned(),
        Command::Acknowledge => "acknowledge".to_owned(),
        Command::RecipeList => "recipe list".to_owned(),
        Command::RecipeActivate(name) => format!("recipe activate {name}"),
        Command::TeachAs(name) => format!("teach {name}"),
        Command::RecipeRollback => "recipe rollback".to_owned(),
        Command::RecipeVerify => "recipe verify".to_owned(),
        Command::Push(push) => push.verb(),
    }
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
