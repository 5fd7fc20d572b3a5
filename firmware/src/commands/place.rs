//! Where a recipe goes that was taught or changed here: a folder of its own, or a store.

use std::fmt;
use std::path::{Path, PathBuf};

use touchstone_models::recipe::{RECIPE_FILE, Recipe};

use crate::cli::TeachArgs;
use crate::exit::Failure;
use crate::out_folder::OutFolder;
use crate::session;
use crate::settings;
use crate::store::audit::Entry;
use crate::store::{KEEP_DEFAULT, Origin, Store};

/// Where a recipe goes.
pub(super) enum Place {
    /// A folder.
    Folder(PathBuf),
    /// A store, where it becomes the active one.
    Store(Store),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(dir) => dir.display().fmt(f),
            Self::Store(store) => write!(f, "store {}", store.root().display()),
        }
    }
}

impl Place {
    /// The place that the arguments name; it is tried whether it can be written to.
    pub(super) fn of(args: &TeachArgs) -> Result<Self, Failure> {
        if let Some(root) = &args.store {
            return Store::open(root, KEEP_DEFAULT).map(Self::Store).map_err(Failure::usage);
        }
        if let (Some(config), None) = (&args.config, &args.out)
            && let Some(recipes) = settings::open(config)?.recipes
        {
            let store = Store::open(&recipes.store, recipes.keep);
            return store.map(Self::Store).map_err(Failure::usage);
        }
        let dir = args.out.clone().unwrap_or_else(|| PathBuf::from(&args.name));
        // The recipe is put in place at once, so its parent has to be writable.
        let parent = match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        };
        drop(OutFolder::prepare(parent, "--out")?);
        Ok(Self::Folder(dir))
    }

    /// The recipe of that name that is there.
    pub(super) fn before(&self, name: &str) -> Result<Option<Recipe>, Failure> {
        match self {
            Self::Folder(dir) if dir.join(RECIPE_FILE).exists() => {
                let there = session::open_recipe(dir)?;
                if there.card.name == name {
                    return Ok(Some(there));
                }
                Err(Failure::Use(format!(
                    "{} holds the recipe '{}'; teach '{name}' into another folder (--out)",
                    dir.display(),
                    there.card.name
                )))
            }
            Self::Folder(_) => Ok(None),
            Self::Store(store) => {
                let state = store.state().map_err(Failure::usage)?;
                let Some(held) = state.find(name) else { return Ok(None) };
                store.verify(name, held.current).map_err(Failure::usage)?;
                session::open_recipe(&store.file(name, held.current)).map(Some)
            }
        }
    }

    /// The version that a recipe of that name gets.
    pub(super) fn next_version(&self, name: &str) -> Result<u32, Failure> {
        match self {
            Self::Folder(dir) => match self.before(name)? {
                None => Ok(1),
                Some(there) => there.card.version.checked_add(1).ok_or_else(|| {
                    Failure::Use(format!(
                        "{}: its version cannot grow any more; use --out",
                        dir.display()
                    ))
                }),
            },
            Self::Store(store) => store.next_version(name).map_err(Failure::usage),
        }
    }

    /// Puts the recipe there, which the audit says was `done`; whether it is judged by from now on.
    pub(super) fn save(
        &self,
        recipe: &Recipe,
        done: &str,
        identity: Option<String>,
    ) -> Result<bool, Failure> {
        match self {
            Self::Folder(dir) => {
                recipe.save(dir).map_err(Failure::usage)?;
                Ok(false)
            }
            Self::Store(store) => {
                let staged = store.stage_recipe(recipe, Origin::Teach).map_err(Failure::usage)?;
                let sha256 = staged.version.sha256.clone();
                store.commit(staged).map_err(Failure::usage)?;
                let mut entry =
                    Entry::new(done, "shell").about(&recipe.card.name, recipe.card.version);
                entry.sha256 = Some(sha256);
                entry.identity = identity;
                store.record(&entry);
                Ok(true)
            }
        }
    }
}
