//! Pictures that a recipe is tried on before it is believed.

use super::RecipeError;
use crate::picture::{PICTURE_BYTES_MAX, Picture, PictureError};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

/// Where a golden picture lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Golden {
    /// A file of its own.
    File(PathBuf),
    /// A piece of a bundle.
    Piece {
        /// The bundle.
        bundle: PathBuf,
        /// Its name in the recipe.
        name: String,
        /// The byte that it begins at.
        at: u64,
        /// How many bytes it has.
        length: u64,
    },
}

impl Golden {
    /// Reads it.
    ///
    /// # Errors
    /// It cannot be read or is no picture.
    pub fn open(&self) -> Result<Picture, RecipeError> {
        match self {
            Golden::File(path) => Ok(Picture::open(path)?),
            Golden::Piece { bundle, name, at, length } => {
                let unread = |e: io::Error| RecipeError::Read {
                    file: bundle.join(name),
                    why: e.to_string(),
                };
                let mut file = File::open(bundle).map_err(unread)?;
                file.seek(SeekFrom::Start(*at)).map_err(unread)?;
                let mut bytes = Vec::new();
                let length = (*length).min(PICTURE_BYTES_MAX);
                file.take(length).read_to_end(&mut bytes).map_err(unread)?;
                let named = |e: PictureError| e.in_file(&bundle.join(name));
                Ok(Picture::decode(&bytes).map_err(named)?)
            }
        }
    }
}

impl fmt::Display for Golden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Golden::File(path) => path.display().fmt(f),
            Golden::Piece { name, .. } => f.write_str(name),
        }
    }
}
