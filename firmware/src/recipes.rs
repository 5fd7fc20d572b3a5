//! The recipes of a camera: a store, or the folders beside the configured one, and the judge
//! that changes between them while the line runs ([`Bench`]).

mod bench;
mod candidate;
mod stored;

pub use bench::{Bench, Delivery};
pub use candidate::{Candidate, self_test};

use std::fs;
use std::path::Path;

use log::warn;
use touchstone_board::command::{RECIPES_MAX, RecipeName};
use touchstone_models::recipe::RECIPE_FILE;

use crate::store::State;

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

/// The recipes of a store, by name.
pub fn stored(state: &State) -> Vec<RecipeName> {
    state.recipes.iter().filter_map(|held| RecipeName::new(&held.name)).collect()
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
