//! Recipes in bundles: the folder as one tar, read without unpacking.

use super::{
    GOLDEN_MAX, Golden, IgnoreMask, PROMPTS_MAX, PixelBudget, RECIPE_FILE, Recipe, RecipeCard,
    RecipeError,
};
use crate::bundle::{self, BundleError, Member, Place};
use crate::image_posterior::{ImagePosterior, ImagePosteriorError};
use crate::picture::Picture;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// Why the walk through a bundle ended.
enum Stop {
    Bundle(BundleError),
    Recipe(RecipeError),
}

impl From<BundleError> for Stop {
    fn from(error: BundleError) -> Stop {
        Stop::Bundle(error)
    }
}

impl From<RecipeError> for Stop {
    fn from(error: RecipeError) -> Stop {
        Stop::Recipe(error)
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    card: Option<RecipeCard>,
    prompts: Vec<(String, Picture)>,
    pixels: PixelBudget,
    ignore: Option<IgnoreMask>,
    elsewhere: Option<ImagePosterior>,
    golden_pass: Vec<(String, Golden)>,
    golden_fail: Vec<(String, Golden)>,
}

impl Recipe {
    /// Reads a bundle's file. Who signed it is another question ([`crate::bundle::TrustedKeys`]).
    pub fn open_bundle(file: &Path) -> Result<Recipe, RecipeError> {
        let unread =
            |e: std::io::Error| RecipeError::Read { file: file.to_owned(), why: e.to_string() };
        let open = File::open(file).map_err(unread)?;
        let size = open.metadata().map_err(unread)?.len();
        Recipe::read_bundle(BufReader::new(open), size, file)
    }

    /// Reads a bundle of `size` bytes; `file` is what golden pictures and errors refer to.
    pub fn read_bundle(
        mut reader: impl Read,
        size: u64,
        file: &Path,
    ) -> Result<Recipe, RecipeError> {
        let mut found = Found::default();
        let walked =
            bundle::walk(&mut reader, size, |member, bytes| found.take(member, bytes, file));
        walked.map_err(|stop| match stop {
            Stop::Bundle(error) => RecipeError::Bundle { file: file.to_owned(), error },
            Stop::Recipe(error) => error,
        })?;
        found.recipe(file)
    }

    /// The recipe as a bundle's bytes: the same recipe gives the same bytes.
    pub fn pack(&self, to: impl std::io::Write) -> Result<(), RecipeError> {
        self.check()?;
        let files = self.files()?;
        let files = files.iter().map(|(path, bytes)| (path.as_str(), bytes));
        bundle::pack(files, to).map_err(|e| RecipeError::Write {
            file: PathBuf::from(&self.card.name),
            why: e.to_string(),
        })
    }
}

impl Found {
    fn take(&mut self, member: &Member, bytes: &mut dyn Read, file: &Path) -> Result<(), Stop> {
        let inside = file.join(&member.path);
        let mut all = || {
            let mut all = Vec::new();
            let read = bytes.read_to_end(&mut all);
            read.map_err(|e| BundleError::Read { why: e.to_string() })?;
            if all.len() as u64 == member.length { Ok(all) } else { Err(BundleError::Truncated) }
        };
        let picture = |bytes: Vec<u8>| {
            Picture::decode(&bytes).map_err(|e| RecipeError::Picture(e.in_file(&inside)))
        };
        let crowd = |limit| {
            let dir = inside.parent().unwrap_or(file).to_owned();
            Err(Stop::Recipe(RecipeError::TooMany { dir, limit }))
        };
        match member.place {
            Place::Card => {
                let text = String::from_utf8(all()?).map_err(|e| RecipeError::Read {
                    file: inside.clone(),
                    why: format!("not UTF-8: {e}"),
                })?;
                self.card = Some(RecipeCard::parse(&text).map_err(|e| e.in_file(&inside))?);
            }
            Place::Ignore => self.ignore = Some(IgnoreMask::from_picture(&picture(all()?)?)),
            Place::Elsewhere => {
                let read = |e: ImagePosteriorError| RecipeError::Read {
                    file: inside.clone(),
                    why: e.to_string(),
                };
                self.elsewhere = Some(ImagePosterior::parse(&all()?).map_err(read)?);
            }
            Place::Prompt if self.prompts.len() == PROMPTS_MAX => return crowd(PROMPTS_MAX),
            Place::Prompt => {
                let prompt = self.pixels.spend(picture(all()?)?)?;
                self.prompts.push((member.path.clone(), prompt));
            }
            Place::GoldenPass | Place::GoldenFail => {
                let list = match member.place {
                    Place::GoldenPass => &mut self.golden_pass,
                    _ => &mut self.golden_fail,
                };
                if list.len() == GOLDEN_MAX {
                    return crowd(GOLDEN_MAX);
                }
                let piece = Golden::Piece {
                    bundle: file.to_owned(),
                    name: member.path.clone(),
                    at: member.at,
                    length: member.length,
                };
                list.push((member.path.clone(), piece));
            }
        }
        Ok(())
    }

    fn recipe(self, file: &Path) -> Result<Recipe, RecipeError> {
        fn sorted<T>(mut named: Vec<(String, T)>) -> Vec<T> {
            named.sort_by(|(a, _), (b, _)| a.cmp(b));
            named.into_iter().map(|(_, it)| it).collect()
        }
        let missing = || RecipeError::Read {
            file: file.join(RECIPE_FILE),
            why: "it is not in the bundle".to_owned(),
        };
        let recipe = Recipe {
            card: self.card.ok_or_else(missing)?,
            prompts: sorted(self.prompts),
            ignore: self.ignore,
            elsewhere: self.elsewhere,
            golden_pass: sorted(self.golden_pass),
            golden_fail: sorted(self.golden_fail),
        };
        recipe.check()?;
        Ok(recipe)
    }
}
