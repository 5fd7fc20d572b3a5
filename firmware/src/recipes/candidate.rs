//! A recipe that was built and tried, and may be judged by.

use std::path::Path;

use touchstone_models::inspector::Inspector;
use touchstone_models::recipe::Recipe;

use crate::exit::Failure;
use crate::golden;
use crate::inspection::{Activated, Judge};
use crate::session::{self, Loaded};
use crate::settings::RunConfig;

/// A recipe that this board and engine judge as they must.
pub struct Candidate {
    /// What judges by it.
    pub inspector: Inspector,
    /// It.
    pub recipe: Recipe,
    /// For the records.
    pub active: Activated,
    /// Golden pictures that it was tried on.
    pub judged: usize,
}

impl Candidate {
    /// Reads a recipe's folder or bundle, builds it and tries it; `called` is what it is chosen by.
    ///
    /// # Errors
    /// Recipe, model, times or golden pictures that will not do.
    pub fn open(config: &RunConfig, file: &Path, called: &str) -> Result<Self, Failure> {
        let recipe = session::open_recipe(file)?;
        let loaded = session::load_model(&config.model, Some(&recipe))?;
        Self::build(config, recipe, loaded, called)
    }

    /// Builds and tries a recipe.
    ///
    /// # Errors
    /// As [`Candidate::open`].
    pub fn build(
        config: &RunConfig,
        recipe: Recipe,
        loaded: Loaded,
        called: &str,
    ) -> Result<Self, Failure> {
        let line = config.line(&recipe.card.line)?;
        let names = session::names_of(&loaded.package, Some(&recipe));
        let identity = recipe.identity(loaded.package.hash()).map_err(Failure::usage)?;
        let settings = session::settings_of(&recipe);
        let mut inspector = session::inspector(loaded.model, &recipe.prompts, settings)?;
        let judged = golden::test(&mut inspector, &recipe).map_err(Failure::Use)?;
        let good = recipe.prompts.first().cloned();
        let active = Activated { recipe: called.to_owned(), names, identity, line, good };
        Ok(Self { inspector, recipe, active, judged })
    }
}

/// Whether every good part passes by the recipe that was taught it.
///
/// # Errors
/// The number of the first that does not, from 1, and why.
pub fn self_test(judge: &mut dyn Judge, recipe: &Recipe) -> Result<(), (usize, String)> {
    for (number, prompt) in (1..).zip(&recipe.prompts) {
        let decision = judge.judge(prompt).decision;
        if !decision.is_pass() {
            return Err((number, decision.to_string()));
        }
    }
    Ok(())
}
