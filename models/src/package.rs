//! Model packages: a folder with `model.toml` and the two graphs, checked before it is believed.

mod card;
mod check;
mod find;

pub use card::{
    ARCHITECTURE, CARD_BYTES_MAX, CORRECTIONS, Calibration, Correction, Corrections,
    EMBEDDING_DIRECTIONS_MAX, EmbeddingPrior, EncodeGraph, FeatureTensors, Figure, FusionConstants,
    GRAPH_TENSORS_MAX, INPUT_SIDE_MAX, INPUT_SIDE_MIN, Input, Laws, ModelCard, Precision,
    ScalarPrior, ScoreLaws, SegmentGraph, SeveralPrior, Training,
};
pub use check::{CardError, MAP_OUTPUT, NEAREST_OUTPUT, SegmentInput, Side};
pub use find::{DEFAULT_MODEL, MODELS_VARIABLE, find_model};

use crate::files;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Most bytes one graph may have.
pub const GRAPH_BYTES_MAX: u64 = 256 << 20;

/// Name of the model card within a package.
pub const CARD_FILE: &str = "model.toml";

/// A model package whose card is sound and whose graphs have the hashes that the card names.
#[derive(Clone, Debug)]
pub struct ModelPackage {
    dir: PathBuf,
    card: ModelCard,
    hash: String,
}

impl ModelPackage {
    /// Opens a package: reads the card, then checks each graph's size and hash.
    pub fn open(dir: &Path) -> Result<ModelPackage, PackageError> {
        if !dir.is_dir() {
            return Err(PackageError::Missing { dir: dir.to_path_buf() });
        }
        let path = dir.join(CARD_FILE);
        let bytes = read(dir, CARD_FILE, CARD_BYTES_MAX)?;
        let bad_card = |error| PackageError::Card { file: path.clone(), error };
        let text = String::from_utf8(bytes)
            .map_err(|e| bad_card(CardError::Syntax(format!("not UTF-8: {e}"))))?;
        // The family is looked at first: a foreign model's card has other keys, and a complaint
        // about those would send the reader the wrong way.
        if let Some(found) = peek_architecture(&text) {
            check_architecture(dir, &found)?;
        }
        let card = ModelCard::parse(&text).map_err(bad_card)?;
        for (file, expected) in
            [(&card.encode.file, &card.encode.sha256), (&card.segment.file, &card.segment.sha256)]
        {
            let found = sha256_hex(&read(dir, file, GRAPH_BYTES_MAX)?);
            if &found != expected {
                let (file, expected) = (dir.join(file), expected.clone());
                return Err(PackageError::Corrupt { file, expected, found });
            }
        }
        let hash = package_hash(&card);
        Ok(ModelPackage { dir: dir.to_path_buf(), card, hash })
    }

    /// The model card.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Hex SHA-256 over the hashes of the encode and the segment graph: what a recipe pins.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The model's name.
    pub fn id(&self) -> &str {
        &self.card.id
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the encode graph lies.
    pub fn encode_file(&self) -> PathBuf {
        self.dir.join(&self.card.encode.file)
    }

    /// Where the segment graph lies.
    pub fn segment_file(&self) -> PathBuf {
        self.dir.join(&self.card.segment.file)
    }

    /// Writes a package to `dir` (made if it is not there), filling in the graphs' hashes. The
    /// card is written last: until then a reader sees the old package or a corrupt one, never a
    /// wrong one.
    pub fn write(
        dir: &Path,
        mut card: ModelCard,
        encode: &[u8],
        segment: &[u8],
    ) -> Result<ModelPackage, PackageError> {
        card.encode.sha256 = sha256_hex(encode);
        card.segment.sha256 = sha256_hex(segment);
        check_architecture(dir, &card.architecture)?;
        let file = dir.join(CARD_FILE);
        let text = card.emit().map_err(|error| PackageError::Card { file: file.clone(), error })?;
        let cannot = |file: &Path| {
            let file = file.to_path_buf();
            move |e: io::Error| PackageError::Write { file, why: e.to_string() }
        };
        fs::create_dir_all(dir).map_err(cannot(dir))?;
        for (name, bytes) in [(&card.encode.file, encode), (&card.segment.file, segment)] {
            let file = dir.join(name);
            if bytes.len() as u64 > GRAPH_BYTES_MAX {
                return Err(PackageError::TooLarge { file, limit: GRAPH_BYTES_MAX });
            }
            files::write_atomic(&file, bytes).map_err(cannot(&file))?;
        }
        files::write_atomic(&file, text.as_bytes()).map_err(cannot(&file))?;
        ModelPackage::open(dir)
    }
}

/// Why a model package could not be found, opened or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackageError {
    /// No folder there.
    Missing {
        /// Where it should be.
        dir: PathBuf,
    },
    /// No model of that name in any of the places.
    NotFound {
        /// The name asked for.
        name: String,
        /// The folders looked in.
        looked: Vec<PathBuf>,
        /// The names that exist there.
        exist: Vec<String>,
    },
    /// A file of the package is absent.
    FileMissing {
        /// The file.
        file: PathBuf,
    },
    /// A file could not be read.
    Read {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// A file exceeds its limit.
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// The model card is unsound.
    Card {
        /// The card's file.
        file: PathBuf,
        /// What is wrong.
        error: CardError,
    },
    /// The model belongs to another family, or to another version of this one.
    Foreign {
        /// The package.
        dir: PathBuf,
        /// Its architecture.
        found: String,
    },
    /// A graph is not the one that the card names.
    Corrupt {
        /// The graph.
        file: PathBuf,
        /// The card's hash.
        expected: String,
        /// The file's hash.
        found: String,
    },
    /// A file could not be written.
    Write {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        why: String,
    },
}

impl fmt::Display for PackageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use PackageError::*;
        match self {
            Missing { dir } => write!(
                f,
                "there is no model folder {}; give --model a name or a folder with a {CARD_FILE}",
                dir.display()
            ),
            NotFound { name, looked, exist } => {
                write!(f, "no model is called '{name}'; looked in")?;
                for dir in looked {
                    write!(f, " {}", dir.display())?;
                }
                match &exist[..] {
                    [] => write!(f, "; none holds a model: install one or set {MODELS_VARIABLE}"),
                    names => write!(
                        f,
                        "; there are: {}; for others set {MODELS_VARIABLE}",
                        names.join(", ")
                    ),
                }
            }
            FileMissing { file } => write!(
                f,
                "the model package lacks {}; copy the package again, whole",
                file.display()
            ),
            Read { file, why } => write!(f, "cannot read {}: {why}", file.display()),
            TooLarge { file, limit } => write!(
                f,
                "{} is larger than {limit} bytes; this is no model for this camera",
                file.display()
            ),
            Card { file, error } => {
                write!(f, "bad model card {}: {error}", file.display())
            }
            Foreign { dir, found } => write!(
                f,
                "the model in {} is of architecture '{found}', but this build runs                  '{ARCHITECTURE}'; choose another model or a matching firmware",
                dir.display()
            ),
            Corrupt { file, expected, found } => write!(
                f,
                "{} is corrupt: its SHA-256 is {found}, the model card says {expected}; copy the                  package again",
                file.display()
            ),
            Write { file, why } => write!(
                f,
                "cannot write {}: {why}; choose a folder that you may write to",
                file.display()
            ),
        }
    }
}

impl std::error::Error for PackageError {}

/// Hex SHA-256 of `bytes`.
pub fn sha256_hex(bytes: &[u8]) -> String {
    files::hex(&Sha256::digest(bytes))
}

fn package_hash(card: &ModelCard) -> String {
    sha256_hex(format!("{}\n{}\n", card.encode.sha256, card.segment.sha256).as_bytes())
}

fn read(dir: &Path, name: &str, limit: u64) -> Result<Vec<u8>, PackageError> {
    let file = dir.join(name);
    files::read_limited(&file, limit).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => PackageError::FileMissing { file },
        io::ErrorKind::FileTooLarge => PackageError::TooLarge { file, limit },
        _ => PackageError::Read { file, why: e.to_string() },
    })
}

fn peek_architecture(text: &str) -> Option<String> {
    let table: toml::Table = toml::from_str(text).ok()?;
    Some(table.get("architecture")?.as_str()?.to_string())
}

fn check_architecture(dir: &Path, found: &str) -> Result<(), PackageError> {
    if found == ARCHITECTURE {
        return Ok(());
    }
    Err(PackageError::Foreign { dir: dir.to_path_buf(), found: found.to_string() })
}

#[cfg(test)]
mod tests;
