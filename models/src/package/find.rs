//! Where models are looked for by name.

use super::{CARD_FILE, PackageError};
use std::path::{Path, PathBuf};

/// The model that is used when none is named.
pub const DEFAULT_MODEL: &str = "oneprompt-m";

/// Environment variable with a folder of models, looked in before all other places.
pub const MODELS_VARIABLE: &str = "TOUCHSTONE_MODELS";

const SYSTEM_MODELS: &str = "/usr/share/touchstone/models";

/// The folder of a model. `name_or_dir` with a path separator, or naming a folder that holds a
/// model card, is that folder; anything else is a name, looked up in `$TOUCHSTONE_MODELS`, in
/// `models` beside the executable, in `/usr/share/touchstone/models`, and in the source tree.
pub fn find_model(name_or_dir: &str) -> Result<PathBuf, PackageError> {
    find_in(name_or_dir, &places())
}

fn places() -> Vec<PathBuf> {
    let variable = std::env::var_os(MODELS_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
    let beside =
        std::env::current_exe().ok().and_then(|exe| exe.parent().map(|dir| dir.join("models")));
    let mut places: Vec<PathBuf> = variable.into_iter().chain(beside).collect();
    places.push(PathBuf::from(SYSTEM_MODELS));
    // For `cargo run` from a clone; on a camera the folder does not exist and is passed over.
    places.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("weights"));
    places
}

fn find_in(name_or_dir: &str, places: &[PathBuf]) -> Result<PathBuf, PackageError> {
    let given = Path::new(name_or_dir);
    if given.components().count() > 1 || name_or_dir.ends_with('/') || holds_model(given) {
        let dir = given.to_path_buf();
        return if dir.is_dir() { Ok(dir) } else { Err(PackageError::Missing { dir }) };
    }
    // "", "." and ".." join to folders that are no model of that name.
    let is_name = !name_or_dir.is_empty() && !name_or_dir.starts_with('.');
    let there = places.iter().map(|p| p.join(name_or_dir)).find(|d| is_name && holds_model(d));
    if let Some(dir) = there {
        return Ok(dir);
    }
    let mut exist: Vec<String> = places.iter().flat_map(|p| names_in(p)).collect();
    exist.sort();
    exist.dedup();
    Err(PackageError::NotFound { name: name_or_dir.to_string(), looked: places.to_vec(), exist })
}

fn holds_model(dir: &Path) -> bool {
    dir.join(CARD_FILE).is_file()
}

fn names_in(place: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(place) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|e| holds_model(&e.path()))
        .filter_map(|e| e.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(models: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for model in models {
            std::fs::create_dir(dir.path().join(model)).unwrap();
            std::fs::write(dir.path().join(model).join(CARD_FILE), "").unwrap();
        }
        dir
    }

    #[test]
    fn the_first_place_wins() {
        let (a, b) = (place(&["x"]), place(&["x", "y"]));
        let places = [a.path().to_path_buf(), b.path().to_path_buf()];
        assert_eq!(find_in("x", &places), Ok(a.path().join("x")));
        assert_eq!(find_in("y", &places), Ok(b.path().join("y")));
    }

    #[test]
    fn an_unknown_name_lists_places_and_models() {
        let (a, b) = (place(&["y", "x"]), place(&["x"]));
        let places = [a.path().to_path_buf(), b.path().to_path_buf()];
        let message = find_in("z", &places).unwrap_err().to_string();
        assert!(message.contains("'z'") && message.contains("there are: x, y"), "{message}");
        assert!(message.contains(&b.path().display().to_string()), "{message}");
        let none = find_in("z", &[]).unwrap_err().to_string();
        assert!(none.contains(MODELS_VARIABLE), "{none}");
    }

    #[test]
    fn a_folder_is_taken_as_it_is() {
        let a = place(&["x"]);
        let dir = a.path().join("x");
        assert_eq!(find_in(dir.to_str().unwrap(), &[]), Ok(dir));
        let gone = a.path().join("gone");
        let err = find_in(gone.to_str().unwrap(), &[]).unwrap_err();
        assert_eq!(err, PackageError::Missing { dir: gone });
    }

    #[test]
    fn dots_are_no_model_names() {
        let a = place(&[]);
        for name in ["", ".", ".."] {
            let found = find_in(name, &[a.path().to_path_buf()]);
            assert!(matches!(found, Err(PackageError::NotFound { .. })), "{name}: {found:?}");
        }
    }
}
