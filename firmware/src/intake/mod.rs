//! The ways in for a signed bundle: a USB stick ([`stick`]) or a serial line ([`push`]), both through one gate
//! ([`Gate`]) and one thread of their own ([`porter`]): the line never waits for a disk.

pub mod medium;
pub mod porter;
pub mod push;
pub mod stick;

use std::fmt;
use std::fs::File;
use std::path::PathBuf;

use touchstone_models::bundle::{BundleName, TrustError, TrustedKeys, Verified};
use touchstone_models::recipe::{Recipe, RecipeError};

use crate::store::{Origin, Spool, Staged, Store, StoreError, Version, audit};

/// What decides whether a bundle may come in.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Where it goes.
    pub store: Store,
    /// Folder of the keys that are believed; none believes nobody.
    pub keys: Option<PathBuf>,
    /// The family of boards that this one is of.
    pub family: Option<String>,
}

/// Why a bundle is not taken.
#[derive(Debug)]
pub enum Refusal {
    /// No keys are configured.
    NoKeys,
    /// The signature, or the keys themselves.
    Trust(TrustError),
    /// The file is called otherwise than what was signed.
    OtherName {
        /// The file.
        file: BundleName,
        /// What was signed.
        signed: BundleName,
    },
    /// It is for another family of boards.
    OtherBoard {
        /// For that one.
        signed: String,
        /// This is one of those.
        family: Option<String>,
    },
    /// The store does not take it.
    Store(StoreError),
    /// What is in it.
    Recipe(RecipeError),
    /// The recipe in it is another one than was signed for.
    OtherRecipe {
        /// What was signed.
        signed: BundleName,
        /// What is in it.
        found: BundleName,
    },
    /// The copy cannot be read.
    Read(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKeys => {
                f.write_str("no keys are configured, so nobody is believed; set recipes.keys")
            }
            Self::Trust(error) => error.fmt(f),
            Self::OtherName { file, signed } => {
                write!(f, "it was signed as {signed}; name it so, not {file}")
            }
            Self::OtherBoard { signed, family } => write!(
                f,
                "it is for boards of the family {signed}, this is {}",
                family.as_deref().unwrap_or("of none (family in the board file)")
            ),
            Self::Store(error) => error.fmt(f),
            Self::Recipe(error) => error.fmt(f),
            Self::OtherRecipe { signed, found } => {
                write!(f, "it was signed as {signed} and holds {found}; make and sign it again")
            }
            Self::Read(why) => write!(f, "the copy cannot be read: {why}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl Gate {
    /// Whether a bundle of that name can be wanted, before a byte of it is read.
    ///
    /// # Errors
    /// It is not newer than what is or was here.
    pub fn wants(&self, name: &BundleName) -> Result<(), Refusal> {
        self.store.admits(&name.name, name.version).map_err(Refusal::Store)
    }

    /// Checks a bundle that was copied whole: signature, then name, version and board as signed, then content.
    /// What passes lies in the store and waits for the golden test.
    ///
    /// # Errors
    /// The first thing that is wrong. The copy is gone then.
    pub fn admit(
        &self,
        spool: Spool,
        file: &BundleName,
        signature: &str,
        from: Origin,
    ) -> Result<Staged, Refusal> {
        // Read anew each time, so that a key that was revoked is revoked now.
        let keys = self.keys.as_deref().ok_or(Refusal::NoKeys)?;
        let keys = TrustedKeys::open(keys).map_err(Refusal::Trust)?;
        let unread = |e: std::io::Error| Refusal::Read(e.to_string());
        let mut copy = File::open(spool.path()).map_err(unread)?;
        let Verified { claim, key, sha256 } =
            keys.verify(signature, &mut copy).map_err(Refusal::Trust)?;
        let signed = BundleName { name: claim.name.clone(), version: claim.version };
        if signed != *file {
            return Err(Refusal::OtherName { file: file.clone(), signed });
        }
        if !claim.is_for(self.family.as_deref()) {
            let family = self.family.clone();
            return Err(Refusal::OtherBoard { signed: claim.board, family });
        }
        self.wants(&signed)?;
        let recipe = Recipe::open_bundle(spool.path()).map_err(Refusal::Recipe)?;
        let found = BundleName { name: recipe.card.name.clone(), version: recipe.card.version };
        if found != signed {
            return Err(Refusal::OtherRecipe { signed, found });
        }
        let version = Version {
            number: signed.version,
            sha256,
            bytes: spool.size(),
            from,
            key: Some(key.to_string()),
            at: audit::now(),
        };
        spool.stage(&signed.name, version).map_err(Refusal::Store)
    }
}

/// How a bundle fares, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Something is going on; do not pull the stick.
    Working(String),
    /// It is installed.
    Good(String),
    /// It was refused, and the old recipe goes on.
    Bad(String),
    /// The stick was pulled, nothing is going on.
    Over,
}

/// Whoever tells people. Must not wait.
pub trait Herald: Send {
    /// Tells it.
    fn tell(&mut self, news: &News);
}

#[cfg(test)]
mod tests;
