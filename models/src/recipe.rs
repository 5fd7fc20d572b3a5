//! Recipes: what the camera knows of one product, as a folder.
//!
//! ```text
//! recipe.toml       name, version, model, thresholds, timing
//! prompts/*.png     1 to 32 good parts, in the order of their names
//! ignore.png        optional: white where nothing is to be judged
//! elsewhere.good    optional: what good parts look like to other cameras, as a whole
//! golden/pass/*.png optional: parts that must pass, for the test before activation
//! golden/fail/*.png optional: parts that must be rejected
//! ```
//!
//! The same folder as one plain tar is a bundle ([`crate::bundle`]); [`Recipe::open`] reads both.

mod bundled;
mod card;
mod error;
mod further;
mod golden;

pub use card::{
    FALSE_REJECT_PPM_DEFAULT, FALSE_REJECT_PPM_MAX, LineTiming, ModelPin, RECIPE_CARD_BYTES_MAX,
    RecipeCard, Registration, SMALLEST_DEFECT_PX_MAX, TILES_MAX, TIME_MS_MAX, Tiles,
};
pub use error::RecipeError;
pub use further::{FURTHER_MAX, FurtherGood};
pub use golden::Golden;

use crate::files;
use crate::image_posterior::{IMAGE_POSTERIOR_BYTES_MAX, ImagePosterior};
use crate::package::ModelPackage;
use crate::picture::{self, Picture};
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Most prompts of one recipe.
pub const PROMPTS_MAX: usize = 32;

/// Most golden pictures of each kind.
pub const GOLDEN_MAX: usize = 64;

/// Most pixels of all prompts together, which bounds what a recipe takes in memory: 32 of 8 million.
pub const PROMPT_PIXELS_MAX: u64 = 256 << 20;

/// Name of the card within a recipe.
pub const RECIPE_FILE: &str = "recipe.toml";

const PROMPTS: &str = "prompts";
const IGNORE_FILE: &str = "ignore.png";
const ELSEWHERE_FILE: &str = "elsewhere.good";
const GOLDEN_PASS: &str = "golden/pass";
const GOLDEN_FAIL: &str = "golden/fail";

/// A channel above this marks a pixel of `ignore.png` as not to be judged.
const IGNORE_LEVEL: u8 = 127;

/// A recipe whose every part was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// `recipe.toml`.
    pub card: RecipeCard,
    /// Good parts, in order.
    pub prompts: Vec<Picture>,
    /// Pixels that are not judged.
    pub ignore: Option<IgnoreMask>,
    /// What whole pictures of good parts look like to other cameras.
    pub elsewhere: Option<ImagePosterior>,
    /// Parts that must pass. Where they lie, because most users never load them.
    pub golden_pass: Vec<Golden>,
    /// Parts that must be rejected.
    pub golden_fail: Vec<Golden>,
}

/// Pixels that are not judged, of the size of the prompts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoreMask {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `width * height` flags, row-major: `true` where nothing is judged.
    pub ignored: Vec<bool>,
}

impl Recipe {
    /// A recipe from its card and good parts; checks all of it.
    pub fn new(card: RecipeCard, prompts: Vec<Picture>) -> Result<Recipe, RecipeError> {
        let (golden_pass, golden_fail) = (Vec::new(), Vec::new());
        let recipe =
            Recipe { card, prompts, ignore: None, elsewhere: None, golden_pass, golden_fail };
        recipe.check()?;
        Ok(recipe)
    }

    /// Reads a recipe's folder, or a bundle, whose signature is nobody's business here.
    pub fn open(dir: &Path) -> Result<Recipe, RecipeError> {
        if dir.is_file() {
            return Recipe::open_bundle(dir);
        }
        if !dir.is_dir() {
            return Err(RecipeError::Missing { dir: dir.to_path_buf() });
        }
        let card = read_card(dir)?;
        let files = list_pngs(&dir.join(PROMPTS), PROMPTS_MAX)?;
        let mut pixels = PixelBudget::default();
        let open = |file: &PathBuf| pixels.spend(Picture::open(file)?);
        let prompts = files.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let ignore_file = dir.join(IGNORE_FILE);
        let ignore = match ignore_file.try_exists() {
            Ok(false) => None,
            _ => Some(IgnoreMask::from_picture(&Picture::open(&ignore_file)?)),
        };
        let elsewhere = read_elsewhere(&dir.join(ELSEWHERE_FILE))?;
        let golden = |folder| {
            let files = list_pngs(&dir.join(folder), GOLDEN_MAX)?;
            Ok::<_, RecipeError>(files.into_iter().map(Golden::File).collect())
        };
        let (golden_pass, golden_fail) = (golden(GOLDEN_PASS)?, golden(GOLDEN_FAIL)?);
        let recipe = Recipe { card, prompts, ignore, elsewhere, golden_pass, golden_fail };
        recipe.check()?;
        Ok(recipe)
    }

    /// An error unless `package` is the very model that the recipe was taught with: another model's
    /// scores mean other things.
    pub fn check_model(&self, package: &ModelPackage) -> Result<(), RecipeError> {
        let pin = &self.card.model;
        if pin.id == package.id() && pin.hash == package.hash() {
            return Ok(());
        }
        Err(RecipeError::OtherModel {
            recipe: self.card.name.clone(),
            pinned: format!("{} {}", pin.id, short(&pin.hash)),
            found: format!("{} {}", package.id(), short(package.hash())),
        })
    }

    /// The first bytes of a SHA-256 over the model's hash and everything here that decides a verdict
    /// (card, good parts, mask, what others saw): whoever reads it sees that nothing was changed.
    ///
    /// # Errors
    /// The card cannot be written as TOML.
    pub fn identity(&self, model_hash: &str) -> Result<[u8; 8], RecipeError> {
        let mut hash = Sha256::new();
        hash.update(model_hash.as_bytes());
        hash.update(self.card.emit()?.as_bytes());
        for prompt in &self.prompts {
            hash.update(prompt.width().to_le_bytes());
            hash.update(prompt.height().to_le_bytes());
            hash.update(prompt.rgb());
        }
        for ignored in self.ignore.iter().flat_map(|mask| &mask.ignored) {
            hash.update([u8::from(*ignored)]);
        }
        if let Some(elsewhere) = &self.elsewhere {
            hash.update(elsewhere.emit());
        }
        let mut first = [0; 8];
        first.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        Ok(first)
    }

    /// Writes the recipe as folder `dir`: beside it first, flushed, then put in place at once. A
    /// recipe that is already there is replaced by a newer version only, and nothing else ever.
    pub fn save(&self, dir: &Path) -> Result<(), RecipeError> {
        self.check()?;
        self.check_target(dir)?;
        let cannot = |file: &Path| {
            let file = file.to_path_buf();
            move |e: io::Error| RecipeError::Write { file, why: e.to_string() }
        };
        let beside = files::sibling(dir).map_err(cannot(dir))?;
        let done = self
            .write_parts(&beside)
            .and_then(|()| files::replace_folder(&beside, dir).map_err(cannot(dir)));
        if done.is_err() {
            // Only what this call wrote; the first error is the one to report.
            let _ = fs::remove_dir_all(&beside);
        }
        done
    }

    fn check_target(&self, dir: &Path) -> Result<(), RecipeError> {
        let mut entries = match fs::read_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries
                .map_err(|e| RecipeError::Write { file: dir.to_path_buf(), why: e.to_string() })?,
        };
        if entries.next().is_none() {
            return Ok(());
        }
        if !dir.join(RECIPE_FILE).is_file() {
            return Err(RecipeError::NotARecipe { dir: dir.to_path_buf() });
        }
        let there = read_card(dir)?.version;
        if self.card.version > there {
            return Ok(());
        }
        Err(RecipeError::NotNewer { dir: dir.to_path_buf(), there, given: self.card.version })
    }

    fn write_parts(&self, dir: &Path) -> Result<(), RecipeError> {
        for (path, bytes) in self.files()? {
            write(&dir.join(path), &bytes)?;
        }
        for folder in [PROMPTS, GOLDEN_PASS, GOLDEN_FAIL] {
            let folder = dir.join(folder);
            if folder.is_dir() {
                sync(&folder)?;
            }
        }
        sync(dir)
    }

    /// Every file of the recipe with its name in the folder, card first.
    fn files(&self) -> Result<Vec<(String, Vec<u8>)>, RecipeError> {
        let mut files = vec![(RECIPE_FILE.to_owned(), self.card.emit()?.into_bytes())];
        for (i, prompt) in self.prompts.iter().enumerate() {
            files.push((numbered(PROMPTS, i), picture::encode_png(prompt)?));
        }
        if let Some(mask) = &self.ignore {
            let grey: Vec<u8> =
                mask.ignored.iter().flat_map(|&i| [if i { 255 } else { 0 }; 3]).collect();
            let mask = Picture::from_rgb8(mask.width, mask.height, grey)?;
            files.push((IGNORE_FILE.to_owned(), picture::encode_png(&mask)?));
        }
        if let Some(elsewhere) = &self.elsewhere {
            files.push((ELSEWHERE_FILE.to_owned(), elsewhere.emit()));
        }
        for (folder, golden) in [(GOLDEN_PASS, &self.golden_pass), (GOLDEN_FAIL, &self.golden_fail)]
        {
            for (i, part) in golden.iter().enumerate() {
                files.push((numbered(folder, i), picture::encode_png(&part.open()?)?));
            }
        }
        Ok(files)
    }

    fn check(&self) -> Result<(), RecipeError> {
        self.card.check()?;
        let count = self.prompts.len();
        if !(1..=PROMPTS_MAX).contains(&count) {
            return Err(RecipeError::Prompts { count });
        }
        for prompt in &self.prompts {
            if let Some(region) = self.card.region_of_interest {
                region.check_within(prompt.width(), prompt.height())?;
            }
            if let Some(mask) = &self.ignore {
                let (mask, prompt) = ((mask.width, mask.height), (prompt.width(), prompt.height()));
                if mask != prompt {
                    return Err(RecipeError::MaskSize { mask, prompt });
                }
            }
        }
        Ok(())
    }
}

impl IgnoreMask {
    /// White (any channel above 127) is ignored.
    pub fn from_picture(picture: &Picture) -> IgnoreMask {
        let set = |pixel: &[u8]| pixel.iter().any(|&v| v > IGNORE_LEVEL);
        IgnoreMask {
            width: picture.width(),
            height: picture.height(),
            ignored: picture.rgb().chunks_exact(3).map(set).collect(),
        }
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

fn numbered(folder: &str, index: usize) -> String {
    format!("{folder}/{:03}.png", index + 1)
}

/// Counts the pixels of the prompts as they are read.
#[derive(Debug, Default)]
struct PixelBudget(u64);

impl PixelBudget {
    fn spend(&mut self, picture: Picture) -> Result<Picture, RecipeError> {
        self.0 += u64::from(picture.width()) * u64::from(picture.height());
        if self.0 > PROMPT_PIXELS_MAX { Err(RecipeError::TooManyPixels) } else { Ok(picture) }
    }
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), RecipeError> {
    let parent = file.parent().unwrap_or(file);
    fs::create_dir_all(parent)
        .and_then(|()| files::write_synced(file, bytes))
        .map_err(|e| RecipeError::Write { file: file.to_path_buf(), why: e.to_string() })
}

fn sync(dir: &Path) -> Result<(), RecipeError> {
    fs::File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(|e| RecipeError::Write { file: dir.to_path_buf(), why: e.to_string() })
}

/// What other cameras saw, if the file is there.
fn read_elsewhere(file: &Path) -> Result<Option<ImagePosterior>, RecipeError> {
    let unread = |why: String| RecipeError::Read { file: file.to_path_buf(), why };
    match files::read_limited(file, IMAGE_POSTERIOR_BYTES_MAX) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unread(e.to_string())),
        Ok(bytes) => ImagePosterior::parse(&bytes).map(Some).map_err(|e| unread(e.to_string())),
    }
}

fn read_card(dir: &Path) -> Result<RecipeCard, RecipeError> {
    let file = dir.join(RECIPE_FILE);
    let bytes = files::read_limited(&file, RECIPE_CARD_BYTES_MAX).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => RecipeError::NotARecipe { dir: dir.to_path_buf() },
        _ => RecipeError::Read { file: file.clone(), why: e.to_string() },
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|e| RecipeError::Read { file: file.clone(), why: format!("not UTF-8: {e}") })?;
    RecipeCard::parse(&text).map_err(|e| e.in_file(&file))
}

/// The PNG files of a folder by name; an absent folder is empty. Anything else in it is an error:
/// a JPEG that is passed over in silence is a prompt that its owner believes in.
fn list_pngs(dir: &Path, limit: usize) -> Result<Vec<PathBuf>, RecipeError> {
    let unreadable =
        |e: io::Error| RecipeError::Read { file: dir.to_path_buf(), why: e.to_string() };
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unreadable)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let file = entry.map_err(unreadable)?.path();
        // Desktop systems leave hidden files on sticks.
        let hidden = file.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        if hidden {
            continue;
        }
        if file.extension().is_none_or(|e| e != "png") {
            return Err(RecipeError::Foreign { file });
        }
        if found.len() == limit {
            return Err(RecipeError::TooMany { dir: dir.to_path_buf(), limit });
        }
        found.push(file);
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
