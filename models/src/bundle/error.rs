//! Why a bundle was refused.

use super::keys::KeyId;
use super::{BUNDLE_BYTES_MAX, ENTRIES_MAX, KEYS_ACTIVE_MAX, KEYS_REVOKED_MAX, REVOKED_FILE};
use std::fmt;
use std::path::PathBuf;

/// What is wrong with a bundle's tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleError {
    /// More bytes than any bundle has.
    TooLarge {
        /// How many there are.
        bytes: u64,
    },
    /// It ends in the middle of something.
    Truncated,
    /// A header that no tar writes, or a damaged one.
    Header {
        /// The byte that it begins at.
        at: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// Links, devices, sparse files, extended headers.
    Kind {
        /// The entry's name as far as it can be printed.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// A name that no recipe has.
    Name {
        /// The name as far as it can be printed.
        name: String,
    },
    /// The same name twice.
    Twice {
        /// The name.
        name: String,
    },
    /// A file that is larger than its kind may be.
    MemberTooLarge {
        /// The name.
        name: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// More entries than any recipe has.
    TooManyEntries,
    /// Bytes after the end.
    Trailing,
    /// It cannot be read.
    Read {
        /// The system's reason.
        why: String,
    },
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use BundleError::*;
        match self {
            TooLarge { bytes } => write!(
                f,
                "{bytes} bytes; a bundle has at most {BUNDLE_BYTES_MAX}: keep fewer golden pictures"
            ),
            Truncated => f.write_str("it ends too early; copy it again"),
            Header { at, why } => write!(
                f,
                "no sound tar at byte {at}: {why}; make it with touchstone-tools bundle make or \
                 tar --format=ustar"
            ),
            Kind { name, kind } => write!(
                f,
                "{name} is {kind}; a bundle holds plain files and their folders: make it with \
                 touchstone-tools bundle make or tar --format=ustar"
            ),
            Name { name } => write!(
                f,
                "{name} does not belong into a recipe; it holds recipe.toml, prompts/*.png, \
                 ignore.png, golden/pass/*.png and golden/fail/*.png"
            ),
            Twice { name } => write!(f, "{name} is in it twice; make it again"),
            MemberTooLarge { name, limit } => {
                write!(f, "{name} has more than {limit} bytes; make it smaller")
            }
            TooManyEntries => {
                write!(f, "more than {ENTRIES_MAX} entries; a recipe has fewer")
            }
            Trailing => f.write_str("there is something after its end; make it again"),
            Read { why } => write!(f, "cannot be read: {why}; copy it again"),
        }
    }
}

impl std::error::Error for BundleError {}

/// Why a signature is not believed, or the trusted keys are of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustError {
    /// A file of the folder of keys cannot be read or is no key.
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// More keys than may be active.
    TooManyKeys {
        /// The folder.
        dir: PathBuf,
    },
    /// More revoked keys than are looked at.
    TooManyRevoked {
        /// The folder.
        dir: PathBuf,
    },
    /// No key at all: nothing can be signed by anybody.
    NoKeys {
        /// The folder.
        dir: PathBuf,
    },
    /// The signature's file is none.
    Malformed,
    /// Signed the old way, which cannot be checked piece by piece.
    Legacy,
    /// Signed with a key that was revoked.
    Revoked {
        /// The key.
        key: KeyId,
    },
    /// Signed with a key that is not trusted here.
    UnknownKey {
        /// The key.
        key: KeyId,
    },
    /// The bytes are not those that were signed, or the trusted comment is not.
    Forged,
    /// The trusted comment says something else than a name, a version and a board.
    Comment {
        /// What is wrong.
        why: &'static str,
    },
    /// The bytes cannot be read.
    Read {
        /// The system's reason.
        why: String,
    },
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use TrustError::*;
        match self {
            Key { file, why } => write!(
                f,
                "{}: {why}; it must be a public key as minisign writes it",
                file.display()
            ),
            TooManyKeys { dir } => write!(
                f,
                "{}: more than {KEYS_ACTIVE_MAX} keys; name the old ones in {REVOKED_FILE} or \
                 remove them",
                dir.display()
            ),
            TooManyRevoked { dir } => write!(
                f,
                "{}/{REVOKED_FILE}: more than {KEYS_REVOKED_MAX} keys; remove their files and lines",
                dir.display()
            ),
            NoKeys { dir } => write!(
                f,
                "{}: no trusted key; put the integrator's public key there (NAME.pub)",
                dir.display()
            ),
            Malformed => f.write_str("the signature is damaged; copy it again"),
            Legacy => f.write_str("signed the old way; sign it again with minisign 0.10 or newer"),
            Revoked { key } => write!(f, "signed with key {key}, which was revoked; sign it anew"),
            UnknownKey { key } => {
                write!(f, "signed with key {key}, which is not trusted here; sign it with another")
            }
            Forged => f.write_str("the signature does not fit; copy bundle and signature again"),
            Comment { why } => {
                write!(f, "trusted comment: {why}; sign with -t 'name=NAME version=N board=FAMILY'")
            }
            Read { why } => write!(f, "cannot be read: {why}; copy it again"),
        }
    }
}

impl std::error::Error for TrustError {}
