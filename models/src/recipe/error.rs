//! Why a recipe could not be read or written.

use super::{PROMPT_PIXELS_MAX, PROMPTS_MAX, RECIPE_FILE};
use crate::bundle::BundleError;
use crate::picture::PictureError;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why a recipe could not be read, used or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipeError {
    /// No folder there.
    Missing {
        /// Where it should be.
        dir: PathBuf,
    },
    /// A folder without a card.
    NotARecipe {
        /// The folder.
        dir: PathBuf,
    },
    /// A file could not be read.
    Read {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// The card is not TOML, has an unknown or no such key, or a value of the wrong type.
    Syntax {
        /// The card's file, if it came from one.
        file: Option<PathBuf>,
        /// The parser's reason, with key and line.
        why: String,
    },
    /// A value of the card that cannot be right.
    Value {
        /// The card's file, if it came from one.
        file: Option<PathBuf>,
        /// The key, dotted.
        key: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A picture, or the region of interest on it.
    Picture(PictureError),
    /// No prompt, or too many.
    Prompts {
        /// How many there are.
        count: usize,
    },
    /// The prompts have too many pixels together.
    TooManyPixels,
    /// What is wrong with a bundle.
    Bundle {
        /// The bundle.
        file: PathBuf,
        /// What is wrong with it.
        error: BundleError,
    },
    /// More files than the limit.
    TooMany {
        /// The folder.
        dir: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// Something other than a PNG among the pictures.
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// `ignore.png` and a prompt differ in size.
    MaskSize {
        /// The mask's width and height.
        mask: (u32, u32),
        /// The prompt's.
        prompt: (u32, u32),
    },
    /// The recipe was taught with another model.
    OtherModel {
        /// The recipe's name.
        recipe: String,
        /// Name and hash of the model it wants.
        pinned: String,
        /// Name and hash of the model at hand.
        found: String,
    },
    /// The recipe there is not older.
    NotNewer {
        /// The folder.
        dir: PathBuf,
        /// The version there.
        there: u32,
        /// The version to write.
        given: u32,
    },
    /// A file could not be written.
    Write {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        why: String,
    },
}

impl RecipeError {
    /// The same error, with the card's file where one is wanted.
    pub fn in_file(self, path: &Path) -> RecipeError {
        let file = Some(path.to_path_buf());
        match self {
            RecipeError::Syntax { why, .. } => RecipeError::Syntax { file, why },
            RecipeError::Value { key, why, .. } => RecipeError::Value { file, key, why },
            other => other,
        }
    }
}

impl From<PictureError> for RecipeError {
    fn from(e: PictureError) -> RecipeError {
        RecipeError::Picture(e)
    }
}

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use RecipeError::*;
        match self {
            Missing { dir } => write!(
                f,
                "there is no recipe folder {}; check the path or teach the part first",
                dir.display()
            ),
            NotARecipe { dir } => write!(
                f,
                "{} is no recipe: it has no {RECIPE_FILE}; choose another folder",
                dir.display()
            ),
            Read { file, why } => {
                write!(f, "cannot read {}: {why}; copy the recipe again", file.display())
            }
            Syntax { file, why } => write!(f, "bad {}: {}", Name(file), why.trim_end()),
            Value { file, key, why } => write!(f, "bad {}: key '{key}': {why}", Name(file)),
            Picture(e) => e.fmt(f),
            Prompts { count: 0 } => {
                f.write_str("the recipe has no picture of a good part; add one to prompts/")
            }
            Prompts { count } => write!(
                f,
                "the recipe has {count} prompts, at most {PROMPTS_MAX} are possible; keep the \
                 most different ones"
            ),
            TooManyPixels => write!(
                f,
                "the prompts have more than {PROMPT_PIXELS_MAX} pixels together; keep fewer or \
                 make them smaller"
            ),
            Bundle { file, error } => write!(f, "{}: {error}", file.display()),
            TooMany { dir, limit } => write!(
                f,
                "{} holds more than {limit} pictures; keep the most different ones",
                dir.display()
            ),
            Foreign { file } => write!(
                f,
                "{} is not a .png; a recipe's pictures are PNG: convert it or take it away",
                file.display()
            ),
            MaskSize { mask, prompt } => write!(
                f,
                "ignore.png is {} x {} but a prompt is {} x {}; draw the mask on a prompt's picture",
                mask.0, mask.1, prompt.0, prompt.1
            ),
            OtherModel { recipe, pinned, found } => write!(
                f,
                "recipe '{recipe}' was taught with model {pinned}, here is {found}; teach it again \
                 or install that model"
            ),
            NotNewer { dir, there, given } => write!(
                f,
                "{} already holds version {there}, version {given} is not newer; raise the version",
                dir.display()
            ),
            Write { file, why } => write!(
                f,
                "cannot write {}: {why}; choose a folder that you may write to",
                file.display()
            ),
        }
    }
}

impl std::error::Error for RecipeError {}

struct Name<'a>(&'a Option<PathBuf>);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => path.display().fmt(f),
            None => f.write_str(RECIPE_FILE),
        }
    }
}
