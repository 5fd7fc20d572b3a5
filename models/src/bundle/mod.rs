//! Bundles: a recipe as one plain tar, `NAME-VERSION.touchstone`, with a detached minisign signature beside it.
//!
//! Whoever takes one in checks its size, then its signature ([`TrustedKeys::verify`]), and only then what is in
//! it ([`walk`], [`crate::recipe::Recipe::read_bundle`]). Nothing in a bundle ever becomes a path on disk.

mod archive;
mod claim;
mod error;
mod keys;

pub use archive::{ENTRIES_MAX, Member, Place, TAR_BLOCK, pack, walk};
pub use claim::{ANY_BOARD, Claim};
pub use error::{BundleError, TrustError};
pub use keys::{KEYS_ACTIVE_MAX, KEYS_REVOKED_MAX, KeyId, REVOKED_FILE, TrustedKeys, Verified};

use crate::files::is_safe_name;
use std::fmt;

/// Most bytes of a bundle: 32 prompts and some golden pictures of a 4K camera.
pub const BUNDLE_BYTES_MAX: u64 = 256 << 20;

/// Most bytes of a signature's file; minisign writes about 400.
pub const SIGNATURE_BYTES_MAX: u64 = 4 << 10;

/// How a bundle's file ends.
pub const BUNDLE_SUFFIX: &str = ".touchstone";

/// What the signature's file has after the bundle's name.
pub const SIGNATURE_SUFFIX: &str = ".minisig";

/// The name of a bundle's file: the recipe's name and version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BundleName {
    /// The recipe's name, `[a-z0-9-_]{1,64}`.
    pub name: String,
    /// Its version, from 1.
    pub version: u32,
}

impl BundleName {
    /// The name and version in `NAME-VERSION.touchstone`, if it is one. Versions have no leading zero, so that
    /// a file has one name only.
    pub fn parse(file: &str) -> Option<BundleName> {
        let (name, digits) = file.strip_suffix(BUNDLE_SUFFIX)?.rsplit_once('-')?;
        let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
        let version = digits.parse().ok().filter(|_| plain)?;
        is_safe_name(name).then(|| BundleName { name: name.to_owned(), version })
    }

    /// The name of the signature's file.
    pub fn signature(&self) -> String {
        format!("{self}{SIGNATURE_SUFFIX}")
    }
}

impl fmt::Display for BundleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}{BUNDLE_SUFFIX}", self.name, self.version)
    }
}

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod tests;
