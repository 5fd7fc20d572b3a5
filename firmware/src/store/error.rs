//! Why the store did not do what was asked.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use touchstone_models::bundle::BUNDLE_BYTES_MAX;

use super::{RECIPES_MAX, Selector, VERSION_FIRST_MAX, VERSION_STEP_MAX};

/// Why the store did not do what was asked. Nothing has changed then.
#[derive(Debug)]
pub enum StoreError {
    /// The disk's error.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another process is writing.
    Busy {
        /// The store.
        root: PathBuf,
    },
    /// The state is damaged or of a later format.
    State {
        /// Its file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Not enough room, and nothing was touched.
    NoRoom {
        /// The store.
        root: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are needed.
        needed: u64,
    },
    /// More bytes than any bundle has.
    TooLarge {
        /// How many.
        bytes: u64,
    },
    /// More bytes came than were announced.
    Longer {
        /// So many were announced.
        announced: u64,
    },
    /// Fewer bytes came than were announced.
    Shorter {
        /// So many were announced.
        announced: u64,
        /// So many came.
        got: u64,
    },
    /// Not newer than what is or was here.
    NotNewer {
        /// The recipe.
        name: String,
        /// The newest version that was ever here.
        newest: u32,
        /// The one that was to come in.
        given: u32,
    },
    /// Absurdly newer.
    Leap {
        /// The recipe.
        name: String,
        /// The newest version that was ever here.
        newest: u32,
        /// The one that was to come in.
        given: u32,
    },
    /// So high that there would soon be no later one.
    First {
        /// The recipe.
        name: String,
        /// The version that was to come in.
        given: u32,
    },
    /// As many recipes as a store holds.
    TooMany {
        /// The store.
        root: PathBuf,
    },
    /// No such recipe or version.
    NoSuch {
        /// What was asked for.
        selector: Selector,
    },
    /// Nothing is active.
    Nothing,
    /// There is no earlier version.
    NoEarlier {
        /// The recipe.
        name: String,
    },
    /// A version is no longer what came in.
    Damaged {
        /// Its file.
        file: PathBuf,
    },
    /// A recipe that cannot be written as a bundle.
    Recipe {
        /// Why.
        why: String,
    },
}

impl StoreError {
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, path, source } => {
                write!(f, "store: {doing} {}: {source}; check the disk", path.display())
            }
            Self::Busy { root } => write!(
                f,
                "store {}: another process is changing it; try again in a moment",
                root.display()
            ),
            Self::State { file, why } => {
                write!(f, "{}: {why}; restore it or remove it", file.display())
            }
            Self::NoRoom { root, free, needed } => write!(
                f,
                "store {}: {} MB free, {} MB are needed; nothing was changed, make room",
                root.display(),
                free >> 20,
                (needed >> 20) + 1
            ),
            Self::TooLarge { bytes } => {
                write!(f, "{bytes} bytes; a bundle has at most {BUNDLE_BYTES_MAX}")
            }
            Self::Longer { announced } => {
                write!(f, "more came than the {announced} bytes announced; copy it again")
            }
            Self::Shorter { announced, got } => {
                write!(f, "{got} of {announced} bytes came; copy it again")
            }
            Self::NotNewer { name, newest, given } => write!(
                f,
                "{name}: version {given} is not newer than version {newest}, which is or was here; \
                 raise the version, or go back with recipe rollback"
            ),
            Self::Leap { name, newest, given } => write!(
                f,
                "{name}: version {given} is more than {VERSION_STEP_MAX} ahead of version {newest}; \
                 choose a nearer one"
            ),
            Self::First { name, given } => write!(
                f,
                "{name}: version {given} is above {VERSION_FIRST_MAX}, where no recipe may begin; choose a lower one"
            ),
            Self::TooMany { root } => write!(
                f,
                "store {}: it holds {RECIPES_MAX} recipes; remove one that is not needed",
                root.display()
            ),
            Self::NoSuch { selector } => {
                write!(f, "{selector}: no such recipe or version; ask for the recipe list")
            }
            Self::Nothing => f.write_str("no recipe is active; activate, teach or import one"),
            Self::NoEarlier { name } => write!(f, "{name}: there is no earlier version"),
            Self::Damaged { file } => write!(
                f,
                "{}: it is not what came in; roll back, or bring a newer version",
                file.display()
            ),
            Self::Recipe { why } => f.write_str(why),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
