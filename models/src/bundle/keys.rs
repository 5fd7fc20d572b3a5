//! Whom a camera believes: a folder of minisign public keys and a list of revoked ones.

use super::claim::Claim;
use super::{SIGNATURE_BYTES_MAX, TrustError};
use crate::files;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minisign_verify::{Error, PublicKey, Signature};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

/// Keys that may be active at once: today's and, during a rollover, tomorrow's.
pub const KEYS_ACTIVE_MAX: usize = 2;

/// Most lines of the list of revoked keys.
pub const KEYS_REVOKED_MAX: usize = 256;

/// Most files looked at in the folder.
const KEY_FILES_MAX: usize = 64;

/// Name of the list of revoked keys: one key id a line, `#` begins a remark.
pub const REVOKED_FILE: &str = "revoked.txt";

const REVOKED_BYTES_MAX: u64 = 64 << 10;
const PIECE: usize = 64 << 10;

/// The number of a key, as minisign shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(u64);

impl KeyId {
    /// The id in the base64 line of a public key or signature: two bytes of algorithm, then the id.
    fn of_line(line: &str) -> Option<KeyId> {
        let bytes = BASE64_STANDARD.decode(line.trim()).ok()?;
        let id: [u8; 8] = bytes.get(2..10)?.try_into().ok()?;
        Some(KeyId(u64::from_le_bytes(id)))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl FromStr for KeyId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<KeyId, &'static str> {
        const WRONG: &str = "a key id has 16 digits of hex, as minisign shows it";
        let hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        u64::from_str_radix(text, 16).ok().filter(|_| hex).map(KeyId).ok_or(WRONG)
    }
}

/// The keys of a camera.
#[derive(Clone, Debug, Default)]
pub struct TrustedKeys {
    active: Vec<(KeyId, PublicKey)>,
    revoked: Vec<KeyId>,
}

/// What a signature proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What was signed together with the bytes.
    pub claim: Claim,
    /// By whom.
    pub key: KeyId,
    /// Hex SHA-256 of the bytes.
    pub sha256: String,
}

impl TrustedKeys {
    /// Reads the folder: `*.pub` are keys, [`REVOKED_FILE`] revokes some of them. Anything else in it is left
    /// alone.
    ///
    /// # Errors
    /// A file that is no key, too many, or none that is not revoked.
    pub fn open(dir: &Path) -> Result<TrustedKeys, TrustError> {
        let bad = |file: &Path, why: String| TrustError::Key { file: file.to_owned(), why };
        let list = dir.join(REVOKED_FILE);
        let revoked = match files::read_limited(&list, REVOKED_BYTES_MAX) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|e| bad(&list, e.to_string()))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            // Not knowing who is revoked is not the same as nobody.
            Err(e) => return Err(bad(&list, e.to_string())),
        };
        let mut keys = TrustedKeys { active: Vec::new(), revoked: Vec::new() };
        keys.revoke(&revoked).map_err(|why| bad(&list, why.to_owned()))?;
        if keys.revoked.len() > KEYS_REVOKED_MAX {
            return Err(TrustError::TooManyRevoked { dir: dir.to_owned() });
        }
        let entries = std::fs::read_dir(dir).map_err(|e| bad(dir, e.to_string()))?;
        for entry in entries.take(KEY_FILES_MAX) {
            let file = entry.map_err(|e| bad(dir, e.to_string()))?.path();
            if file.extension().is_none_or(|extension| extension != "pub") {
                continue;
            }
            let bytes = files::read_limited(&file, SIGNATURE_BYTES_MAX);
            let bytes = bytes.map_err(|e| bad(&file, e.to_string()))?;
            let text = String::from_utf8(bytes).map_err(|e| bad(&file, e.to_string()))?;
            keys.add(&text).map_err(|why| bad(&file, why))?;
        }
        match keys.active.len() {
            0 => Err(TrustError::NoKeys { dir: dir.to_owned() }),
            1..=KEYS_ACTIVE_MAX => Ok(keys),
            _ => Err(TrustError::TooManyKeys { dir: dir.to_owned() }),
        }
    }

    /// Adds the text of a `.pub` file, unless its key is revoked or known.
    ///
    /// # Errors
    /// It is no public key.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let key = PublicKey::decode(text).map_err(|e| e.to_string())?;
        let line = text.lines().nth(1).unwrap_or_default();
        let id = KeyId::of_line(line).ok_or_else(|| "no key id".to_owned())?;
        let known = self.active.iter().any(|(_, other)| *other == key);
        if !known && !self.revoked.contains(&id) {
            self.active.push((id, key));
        }
        Ok(())
    }

    /// Adds the lines of a list of revoked keys.
    ///
    /// # Errors
    /// A line that is no key id. A typing error there must not leave a stolen key trusted.
    pub fn revoke(&mut self, list: &str) -> Result<(), &'static str> {
        for line in list.lines() {
            let id = line.split('#').next().unwrap_or_default().trim();
            if !id.is_empty() {
                self.revoked.push(id.parse()?);
            }
        }
        let revoked = std::mem::take(&mut self.revoked);
        self.active.retain(|(id, _)| !revoked.contains(id));
        self.revoked = revoked;
        Ok(())
    }

    /// The keys that are believed.
    pub fn active(&self) -> impl Iterator<Item = KeyId> {
        self.active.iter().map(|(id, _)| *id)
    }

    /// Checks a detached signature over all of `data`, read once, piece by piece.
    ///
    /// # Errors
    /// Why it is not believed. The order is fixed: form, key, bytes, comment.
    pub fn verify(&self, signature: &str, data: &mut impl Read) -> Result<Verified, TrustError> {
        let parsed = Signature::decode(signature).map_err(|_| TrustError::Malformed)?;
        let line = signature.lines().nth(1).unwrap_or_default();
        let id = KeyId::of_line(line).ok_or(TrustError::Malformed)?;
        if self.revoked.contains(&id) {
            return Err(TrustError::Revoked { key: id });
        }
        let mut candidates = self.active.iter().filter(|(known, _)| *known == id).peekable();
        if candidates.peek().is_none() {
            return Err(TrustError::UnknownKey { key: id });
        }
        // Two keys may carry the same number: anybody can choose it.
        let streams = candidates.map(|(_, key)| key.verify_stream(&parsed));
        let streams: Result<Vec<_>, Error> = streams.collect();
        let mut streams = streams.map_err(|e| match e {
            Error::UnsupportedLegacyMode => TrustError::Legacy,
            _ => TrustError::Malformed,
        })?;
        let mut hash = Sha256::new();
        let mut piece = vec![0; PIECE];
        loop {
            let read = match data.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(TrustError::Read { why: e.to_string() }),
            };
            let bytes = &piece[..read];
            hash.update(bytes);
            streams.iter_mut().for_each(|stream| stream.update(bytes));
        }
        if !streams.iter_mut().any(|stream| stream.finalize().is_ok()) {
            return Err(TrustError::Forged);
        }
        let claim = Claim::parse(parsed.trusted_comment())?;
        Ok(Verified { claim, key: id, sha256: files::hex(&hash.finalize()) })
    }
}
