//! What a signature's trusted comment says: `name=NAME version=N board=FAMILY`.

use super::TrustError;
use crate::files::is_safe_name;
use std::fmt;

/// The board family of a bundle that is for every board.
pub const ANY_BOARD: &str = "any";

/// What was signed together with the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The recipe's name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// The board family that it is for, or [`ANY_BOARD`].
    pub board: String,
}

impl Claim {
    /// Reads a trusted comment: each of the three words once, in any order, and nothing else.
    ///
    /// # Errors
    /// What is missing or too much.
    pub fn parse(comment: &str) -> Result<Claim, TrustError> {
        let wrong = |why| Err(TrustError::Comment { why });
        let (mut name, mut version, mut board) = (None, None, None);
        for word in comment.split_ascii_whitespace() {
            let Some((key, value)) = word.split_once('=') else {
                return wrong("a word without '='");
            };
            let twice = match key {
                "name" if is_safe_name(value) => name.replace(value.to_owned()).is_some(),
                "board" if is_safe_name(value) => board.replace(value.to_owned()).is_some(),
                "version" => match parse_version(value) {
                    Some(number) => version.replace(number).is_some(),
                    None => return wrong("version is no number from 1"),
                },
                "name" | "board" => return wrong("names are made of a-z, 0-9, '-' and '_'"),
                _ => return wrong("a word other than name, version and board"),
            };
            if twice {
                return wrong("a word twice");
            }
        }
        match (name, version, board) {
            (Some(name), Some(version), Some(board)) => Ok(Claim { name, version, board }),
            (None, _, _) => wrong("no name"),
            (_, None, _) => wrong("no version"),
            (_, _, None) => wrong("no board"),
        }
    }

    /// Whether it is for a board of `family`.
    pub fn is_for(&self, family: Option<&str>) -> bool {
        self.board == ANY_BOARD || Some(self.board.as_str()) == family
    }
}

fn parse_version(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain)
}

impl fmt::Display for Claim {
    /// The trusted comment that says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "name={} version={} board={}", self.name, self.version, self.board)
    }
}
