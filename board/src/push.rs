//! A bundle over a serial line: what is asked for, piece by piece, and how it is written. Pure.
//!
//! What is sent is the signature's file and the bundle after it, as one row of bytes. Pieces are numbered by their
//! first byte and answered with the byte that is wanted next, so that a sender may send several ahead and goes
//! on, after any loss, where the camera says.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Longest name of a bundle's file.
pub const PUSH_NAME_MAX: usize = 96;
/// Bytes of a piece: what fits into a line beside its numbers.
pub const PIECE_BYTES_MAX: usize = 144;
/// Pieces that a sender may have on the way. The camera's queue of answers is longer.
pub const PIECES_AHEAD_MAX: usize = 16;

/// A step of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// Begins one, or goes on with it where all of this is the same. The answer is the byte that is wanted next.
    Begin(Announcement),
    /// Some bytes.
    Data {
        /// The number of the first.
        at: u64,
        /// At most [`PIECE_BYTES_MAX`].
        bytes: Vec<u8>,
    },
    /// That was all: check and install it.
    End,
}

/// What is to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The bundle's file name, plain ASCII without spaces.
    pub name: String,
    /// Bytes of the signature's file, which come first.
    pub signature: u32,
    /// Bytes of the bundle.
    pub bundle: u64,
    /// The first bytes of the SHA-256 of all of them: tells one try from another.
    pub id: u64,
}

impl Push {
    /// Reads what stands after `push `.
    ///
    /// # Errors
    /// Why it means nothing.
    pub fn parse(text: &str) -> Result<Push, &'static str> {
        let mut words = text.split(' ');
        let verb = words.next();
        let push = match verb {
            Some("begin") => {
                let name = words.next().filter(|name| is_plain(name));
                let name = name.ok_or("not a bundle's name")?.to_owned();
                let mut number = || words.next().and_then(decimal);
                let (signature, bundle) = (number(), number());
                let signature = signature.and_then(|bytes| u32::try_from(bytes).ok());
                let (signature, bundle) = signature.zip(bundle).ok_or("not a number of bytes")?;
                let id = words.next().filter(|id| id.len() == 16 && id.bytes().all(is_hex));
                let id = id.and_then(|id| u64::from_str_radix(id, 16).ok());
                let id = id.ok_or("not an id of 16 digits of hex")?;
                Push::Begin(Announcement { name, signature, bundle, id })
            }
            Some("data") => {
                let at = words.next().and_then(decimal).ok_or("not a number of a byte")?;
                let bytes = words.next().and_then(|text| BASE64_STANDARD.decode(text).ok());
                let fits = |bytes: &Vec<u8>| (1..=PIECE_BYTES_MAX).contains(&bytes.len());
                let bytes = bytes.filter(fits).ok_or("not 1 to 144 bytes in base64")?;
                Push::Data { at, bytes }
            }
            Some("end") => Push::End,
            _ => return Err("unknown step; known: push begin, push data, push end"),
        };
        if words.next().is_some() { Err("a word too many") } else { Ok(push) }
    }

    /// It as text, with the word `push` in front; [`Push::parse`] reads what is after it.
    pub fn verb(&self) -> String {
        match self {
            Push::Begin(Announcement { name, signature, bundle, id }) => {
                format!("push begin {name} {signature} {bundle} {id:016x}")
            }
            Push::Data { at, bytes } => format!("push data {at} {}", BASE64_STANDARD.encode(bytes)),
            Push::End => "push end".to_owned(),
        }
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=PUSH_NAME_MAX).contains(&name.len()) && name.bytes().all(plain)
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// A number as it is written here, and no other way.
fn decimal(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    let sole = digits == "0" || !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain && sole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::serial::protocol::{Kind, LINE_BYTES_MAX, Numbered, Parser, emit, verb};
    use proptest::prelude::*;

    fn heard(line: &str) -> Vec<Numbered> {
        let mut parser = Parser::default();
        line.bytes().filter_map(|byte| parser.push(byte)).map(Result::unwrap).collect()
    }

    proptest! {
        #[test]
        fn every_step_fits_into_a_line_and_comes_back(
            sequence in any::<u32>(), at in 0..=u64::from(u32::MAX), id in any::<u64>(), signature in any::<u32>(),
            bytes in prop::collection::vec(any::<u8>(), 1..=PIECE_BYTES_MAX), name in "[a-zA-Z0-9._-]{1,96}",
        ) {
            let begin = Push::Begin(Announcement { name, signature, bundle: at, id });
            for push in [begin, Push::Data { at, bytes }, Push::End] {
                let command = Command::Push(push);
                let line = emit(Kind::Command, sequence, &verb(&command));
                prop_assert!(line.len() <= LINE_BYTES_MAX, "{}", line.len());
                prop_assert_eq!(heard(&line), [Numbered { sequence, command }]);
            }
        }

        #[test]
        fn any_text_is_survived(text in "\\PC{0,80}") {
            if let Ok(push) = Push::parse(&text) {
                prop_assert_eq!(push.verb(), format!("push {text}"));
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("", "unknown step"),
            ("begin", "not a bundle's name"),
            ("begin ../x 1 1 0123456789abcdef", "not a bundle's name"),
            ("begin a 1 -1 0123456789abcdef", "not a number of bytes"),
            ("begin a 4294967296 1 0123456789abcdef", "not a number of bytes"),
            ("begin a 1 1 0123456789ABCDEF", "not an id"),
            ("data 01 QQ==", "not a number of a byte"),
            ("data 1 Q", "not 1 to 144 bytes"),
            ("data 1 ", "not 1 to 144 bytes"),
            ("end now", "a word too many"),
        ] {
            assert!(Push::parse(text).unwrap_err().contains(why), "{text}");
        }
    }
}
