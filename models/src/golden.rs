//! Golden vectors: a pair of pictures in every model package, and the map that the training framework made
//! of them. Every engine at every precision is held to it, in tests as on the camera that runs it.

use crate::files;
use crate::oneprompt::{ModelError, OnePrompt};
use crate::package::ModelPackage;
use crate::picture::Picture;
use std::fmt;
use std::path::{Path, PathBuf};

/// The folder within a package.
pub const GOLDEN_FOLDER: &str = "golden";
/// Largest map that is read, in bytes.
const MAP_BYTES_MAX: u64 = 64 << 20;

/// A package's golden pair.
pub struct Golden {
    query: Picture,
    prompt: Picture,
    map: Vec<f32>,
}

impl Golden {
    /// Reads the pair of `package`. None if it has none.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn open(package: &ModelPackage) -> Result<Option<Golden>, GoldenError> {
        let folder = package.dir().join(GOLDEN_FOLDER);
        if !folder.is_dir() {
            return Ok(None);
        }
        let picture = |name: &str| {
            let file = folder.join(name);
            Picture::open(&file).map_err(|e| unreadable(&file, e.to_string()))
        };
        let file = folder.join("map.f32");
        let bytes = files::read_limited(&file, MAP_BYTES_MAX)
            .map_err(|e| unreadable(&file, e.to_string()))?;
        let map = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let (query, prompt) = (picture("query.png")?, picture("prompt.png")?);
        Ok(Some(Golden { query, prompt, map: map.collect() }))
    }

    /// The map that is expected, row-major, of the change map's size.
    pub fn map(&self) -> &[f32] {
        &self.map
    }

    /// How far the map of `model` is off at its worst place.
    ///
    /// # Errors
    /// The model fails, or its map has another size.
    pub fn difference(&self, model: &mut OnePrompt) -> Result<f32, GoldenError> {
        let query = model.encode(&self.query)?;
        let prompt = model.encode(&self.prompt)?;
        let map = model.segment(&query, &prompt)?;
        if map.values.len() != self.map.len() {
            return Err(GoldenError::Size { given: map.values.len(), expected: self.map.len() });
        }
        let off = map.values.iter().zip(&self.map).map(|(a, b)| (a - b).abs());
        Ok(off.fold(0.0, f32::max))
    }
}

fn unreadable(file: &Path, why: String) -> GoldenError {
    GoldenError::Read { file: file.to_path_buf(), why }
}

/// Why a model could not be held to its golden pair.
#[derive(Clone, Debug, PartialEq)]
pub enum GoldenError {
    /// A file that cannot be read.
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// The model failed.
    Model(ModelError),
    /// A map of another size.
    Size {
        /// Values that the model gave.
        given: usize,
        /// Values of the golden map.
        expected: usize,
    },
}

impl From<ModelError> for GoldenError {
    fn from(error: ModelError) -> GoldenError {
        GoldenError::Model(error)
    }
}

impl fmt::Display for GoldenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GoldenError::Read { file, why } => write!(f, "cannot read {}: {why}", file.display()),
            GoldenError::Model(error) => error.fmt(f),
            GoldenError::Size { given, expected } => {
                write!(f, "the map has {given} values, the golden one {expected}")
            }
        }
    }
}

impl std::error::Error for GoldenError {}
