//! The judge of a line, and what it needs to become another one.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::info;
use touchstone_board::command::Source;
use touchstone_models::inspector::{Back, Front, Inspection, Inspector, StageLatency};
use touchstone_models::picture::Picture;
use touchstone_models::recipe::LineTiming;
use touchstone_models::verdict::Reason;

use super::{Candidate, beside, name_of};
use crate::exit::Failure;
use crate::inspection::{Activated, Changed, Judge, Wish};
use crate::settings::RunConfig;
use crate::store::{Selector, Staged, Store};

/// A version that came in and waits for the judge to try it. Clones are handles to the same.
#[derive(Clone, Debug, Default)]
pub struct Delivery(Arc<Mutex<Option<Staged>>>);

impl Delivery {
    fn slot(&self) -> MutexGuard<'_, Option<Staged>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays a version down; what it is asked for by.
    pub fn put(&self, staged: Staged) -> Selector {
        let version = Some(staged.version.number);
        let selector = Selector { name: staged.name.clone(), version };
        *self.slot() = Some(staged);
        selector
    }

    /// Takes it up, if it is that one.
    pub fn take(&self, wanted: &Selector) -> Option<Staged> {
        let is_it = |staged: &mut Staged| {
            staged.name == wanted.name && Some(staged.version.number) == wanted.version
        };
        self.slot().take_if(is_it)
    }

    /// Lets go of what nobody took.
    pub fn clear(&self) {
        *self.slot() = None;
    }
}

/// Where recipes are.
pub(super) enum Shelf {
    /// In the folders beside the configured one.
    Folders,
    /// In a store.
    Store(Store, Delivery),
}

/// The judge of a line.
pub struct Bench {
    /// None where there is no recipe that may judge.
    pub(super) inspector: Option<Inspector>,
    /// What is judged by.
    pub(super) recipe: String,
    pub(super) config: RunConfig,
    pub(super) shelf: Shelf,
}

impl Bench {
    /// Loads what is to be judged by: the configured folder, or the store's active recipe. A store without a
    /// recipe that passes its golden test gives a judge that rejects everything ([`Bench::is_sound`]).
    ///
    /// # Errors
    /// Recipe, model or times that will not do; a store that cannot be read.
    pub fn open(config: RunConfig) -> Result<(Self, Activated), Failure> {
        match &config.recipes {
            None => {
                let called = name_of(&config.recipe);
                let Candidate { inspector, active, .. } =
                    Candidate::open(&config, &config.recipe, &called)?;
                let recipe = active.recipe.clone();
                let shelf = Shelf::Folders;
                Ok((Self { inspector: Some(inspector), recipe, config, shelf }, active))
            }
            Some(recipes) => {
                let store = Store::open(&recipes.store, recipes.keep).map_err(Failure::usage)?;
                let shelf = Shelf::Store(store, Delivery::default());
                let mut bench = Self { inspector: None, recipe: String::new(), config, shelf };
                let active = bench.settle("start", None);
                let active = match active {
                    Some(active) => active,
                    None => bench.nothing()?,
                };
                Ok((bench, active))
            }
        }
    }

    /// Whether there is a recipe that may judge.
    pub fn is_sound(&self) -> bool {
        self.inspector.is_some()
    }

    /// The store, and where versions are laid down for the judge.
    pub fn store(&self) -> Option<(Store, Delivery)> {
        match &self.shelf {
            Shelf::Folders => None,
            Shelf::Store(store, delivery) => Some((store.clone(), delivery.clone())),
        }
    }

    /// The line's own times and no recipe.
    fn nothing(&self) -> Result<Activated, Failure> {
        Ok(Activated {
            recipe: String::new(),
            names: Default::default(),
            identity: [0; 8],
            line: self.config.line(&LineTiming::default())?,
            good: None,
        })
    }

    /// Judges by this from now on.
    pub(super) fn take_up(&mut self, candidate: Candidate) -> Activated {
        let Candidate { inspector, active, .. } = candidate;
        self.inspector = Some(inspector);
        self.recipe.clone_from(&active.recipe);
        active
    }

    pub(super) fn refused(&self, why: String) -> Changed {
        Changed { sound: self.is_sound(), ..Changed::refused(why) }
    }

    fn folder(&self, recipe: &str) -> Result<PathBuf, String> {
        // Only a name that is in the list: nothing from a wire becomes a path.
        let listed = beside(&self.config.recipe);
        if !listed.iter().any(|name| name.as_str() == recipe) {
            return Err(format!("{recipe}: no such recipe; ask for the recipe list"));
        }
        let whole = self.config.recipe.canonicalize().map_err(|e| e.to_string())?;
        Ok(whole.with_file_name(recipe))
    }

    fn change_folder(&mut self, wish: Wish) -> Changed {
        let (recipe, adopt) = match wish {
            Wish::Activate(recipe) => (recipe, true),
            Wish::Verify => (self.recipe.clone(), false),
            Wish::Rollback | Wish::Teach { .. } => {
                let why = "this line has no recipe store; see [recipes] in touchstone.example.toml";
                return self.refused(why.to_owned());
            }
        };
        let candidate = self.folder(&recipe).and_then(|folder| {
            Candidate::open(&self.config, &folder, &recipe).map_err(|e| e.to_string())
        });
        match candidate {
            Ok(candidate) if adopt => {
                let active = self.take_up(candidate);
                Changed::to(active.recipe.clone(), active)
            }
            Ok(candidate) => {
                Changed { outcome: Ok(as_they_should(candidate.judged)), active: None, sound: true }
            }
            Err(why) if adopt => self.refused(why),
            Err(why) => {
                // There is nothing to go back to.
                self.inspector = None;
                self.refused(why)
            }
        }
    }
}

/// What a golden test that went well says.
pub(super) fn as_they_should(judged: usize) -> String {
    format!("{judged} golden pictures judged as they should be")
}

impl Judge for Bench {
    fn judge(&mut self, picture: &Picture) -> Inspection {
        let Some(inspector) = &mut self.inspector else {
            return Inspection::rejected(Reason::NoRecipe, StageLatency::default());
        };
        inspector.inspect(picture)
    }

    fn halves(&mut self) -> Option<(Front<'_>, Back<'_>)> {
        self.inspector.as_mut().map(Inspector::halves)
    }

    fn recipe(&self) -> &str {
        &self.recipe
    }

    fn acknowledge(&mut self) {
        if self.inspector.as_mut().is_some_and(Inspector::acknowledge_drift) {
            info!("{}: drift acknowledged; the parts of now are what is normal", self.recipe);
        }
    }

    fn change(&mut self, wish: Wish, from: Source) -> Changed {
        match self.store() {
            None => self.change_folder(wish),
            Some((store, delivery)) => self.change_stored(&store, &delivery, wish, from),
        }
    }
}
