//! The recipes of a camera: the folders beside the configured one, and the judge
//! that changes between them while the line runs.

use std::fs;
use std::path::{Path, PathBuf};

use log::warn;
use touchstone_board::command::{RECIPES_MAX, RecipeName};
use touchstone_models::inspector::{Inspection, Inspector};
use touchstone_models::picture::Picture;
use touchstone_models::recipe::RECIPE_FILE;

use crate::exit::Failure;
use crate::inspection::{Activated, Judge};
use crate::session;
use crate::settings::RunConfig;

/// What recipes are chosen by: the name of its folder.
pub fn name_of(folder: &Path) -> String {
    // A path like `.` has no name of its own until it is resolved.
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    whole.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The recipes beside `folder`, it included, by name. Folders whose name cannot
/// be said over a wire are left out, with a warning.
pub fn beside(folder: &Path) -> Vec<RecipeName> {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let entries = whole.parent().map(fs::read_dir);
    let mut names = Vec::new();
    for entry in entries.into_iter().flatten().flatten().flatten() {
        if !entry.path().join(RECIPE_FILE).exists() {
            continue;
        }
        match RecipeName::new(&entry.file_name().to_string_lossy()) {
            Some(name) => names.push(name),
            None => warn!(
                "{}: not in the list of recipes; rename it with letters, digits, - and _",
                entry.path().display()
            ),
        }
    }
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    if names.len() > RECIPES_MAX {
        warn!("{} recipes, only the first {RECIPES_MAX} can be chosen", names.len());
    }
    names
}

/// The judge of a line, and what it needs to become another one.
pub struct Bench {
    inspector: Inspector,
    recipe: String,
    config: RunConfig,
}

impl Bench {
    /// Loads the configured recipe.
    ///
    /// # Errors
    /// Recipe, model or times that will not do.
    pub fn open(config: RunConfig) -> Result<(Self, Activated), Failure> {
        let (inspector, active) = load(&config, &config.recipe)?;
        Ok((Self { inspector, recipe: active.recipe.clone(), config }, active))
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
}

impl Judge for Bench {
    fn judge(&mut self, picture: &Picture) -> Inspection {
        let inspection = self.inspector.inspect(picture);
        if let Some(drift) = inspection.drift {
            warn!("{}: {drift}", self.recipe);
        }
        inspection
    }

    fn activate(&mut self, recipe: &str) -> Result<Activated, String> {
        let folder = self.folder(recipe)?;
        let (inspector, active) = load(&self.config, &folder).map_err(|e| e.to_string())?;
        self.inspector = inspector;
        self.recipe.clone_from(&active.recipe);
        Ok(active)
    }
}

fn load(config: &RunConfig, folder: &Path) -> Result<(Inspector, Activated), Failure> {
    let recipe = session::open_recipe(folder)?;
    let line = config.line(&recipe.card.line)?;
    let loaded = session::load_model(&config.model, Some(&recipe))?;
    let names = session::names_of(&loaded.package, Some(&recipe));
    let identity = recipe.identity(loaded.package.hash()).map_err(Failure::usage)?;
    let settings = session::settings_of(&recipe);
    let inspector = session::inspector(loaded.model, &recipe.prompts, settings)?;
    let good = recipe.prompts.first().cloned();
    let active = Activated { recipe: name_of(folder), names, identity, line, good };
    Ok((inspector, active))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_beside_it_are_the_recipes() {
        let home = tempfile::tempdir().unwrap();
        for name in ["b", "a", "a*b", "no-recipe"] {
            fs::create_dir(home.path().join(name)).unwrap();
            if name != "no-recipe" {
                fs::write(home.path().join(name).join(RECIPE_FILE), "").unwrap();
            }
        }
        let listed = beside(&home.path().join("b"));
        let names: Vec<&str> = listed.iter().map(RecipeName::as_str).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(name_of(&home.path().join("a/.")), "a");
        assert!(beside(Path::new("/no/such/folder")).is_empty());
    }
}
