//! What whole pictures of good parts look like to other cameras that judge the same product.

use std::path::{Path, PathBuf};

use touchstone_models::files;
use touchstone_models::image_posterior::{IMAGE_POSTERIOR_BYTES_MAX, ImagePosterior};
use touchstone_models::inspector::Settings;

use super::super::place::Place;
use super::{store, try_out};
use crate::cli::{ModelArgs, StoreArgs};
use crate::exit::{Done, Ended, Failure};
use crate::session;
use crate::store::Selector;
use crate::terminal::Lines;

/// Writes down what the good parts of a recipe look like to this `camera`.
pub(super) fn write(recipe: &Path, camera: &str, out: &Path, model: &ModelArgs) -> Ended {
    let recipe = session::open_recipe(recipe)?;
    let loaded = session::load_model(model, Some(&recipe))?;
    // What others have seen is theirs to give.
    let settings = Settings { elsewhere: None, ..session::settings_of(&recipe) };
    let inspector = session::inspector(loaded.model, &recipe.prompts, settings)?;
    let posterior = inspector.image_posterior(camera).map_err(Failure::usage)?;
    let bytes = posterior.emit();
    files::write_atomic(out, &bytes)
        .map_err(|e| Failure::Use(format!("--out {}: {e}; is the folder there?", out.display())))?;
    Lines::default().line(&format!(
        "{} good parts as camera '{camera}' sees them: {:.1} kB written to {}",
        recipe.prompts.len(),
        bytes.len() as f64 / 1000.0,
        out.display()
    ))?;
    Ok(Done::Fine)
}

/// Adds what other cameras have seen.
pub(super) fn merge(
    recipe: &Path,
    posteriors: &[PathBuf],
    at: &StoreArgs,
    model: &ModelArgs,
) -> Ended {
    change(recipe, at, model, "merged", |mut all| {
        for path in posteriors {
            let wrong = |why: String| Failure::Use(format!("{}: {why}", path.display()));
            let bytes = files::read_limited(path, IMAGE_POSTERIOR_BYTES_MAX)
                .map_err(|e| wrong(format!("{e}; check the path")))?;
            let other = ImagePosterior::parse(&bytes).map_err(|e| wrong(e.to_string()))?;
            all = Some(match all {
                None => other,
                Some(all) => all.merge(&other).map_err(|e| wrong(e.to_string()))?,
            });
        }
        Ok(all)
    })
}

/// Takes out what one camera gave.
pub(super) fn unmerge(recipe: &Path, camera: &str, at: &StoreArgs, model: &ModelArgs) -> Ended {
    change(recipe, at, model, "unmerged", |all| match all {
        None => Err(Failure::Use("no other camera has given anything to this recipe".to_owned())),
        Some(all) => all.unmerge(camera).map_err(Failure::usage),
    })
}

/// A new version of a recipe with other good parts elsewhere, if it passes its own test.
fn change(
    recipe: &Path,
    at: &StoreArgs,
    model: &ModelArgs,
    done: &str,
    to: impl FnOnce(Option<ImagePosterior>) -> Result<Option<ImagePosterior>, Failure>,
) -> Ended {
    let (place, mut recipe) = match at.is_given() {
        true => {
            let wanted: Selector = recipe.to_string_lossy().parse().map_err(Failure::Use)?;
            if wanted.version.is_some() {
                return Err(Failure::Use(
                    "only the current version of a recipe is changed; give its name alone"
                        .to_owned(),
                ));
            }
            let place = Place::Store(store::open(at)?.0);
            let there = place.before(&wanted.name)?;
            let there = there.ok_or_else(|| {
                Failure::Use(format!("{}: no such recipe in the store", wanted.name))
            })?;
            (place, there)
        }
        false if recipe.is_file() => {
            return Err(Failure::Use(format!(
                "{}: a bundle is signed as it is; change the recipe where it was taught",
                recipe.display()
            )));
        }
        false => (Place::Folder(recipe.to_owned()), session::open_recipe(recipe)?),
    };
    recipe.elsewhere = to(recipe.elsewhere.take())?;
    recipe.card.version = place.next_version(&recipe.card.name)?;
    let tried = try_out(&recipe, model)?;
    let active = place.save(&recipe, done, tried.identity)?;
    let parts: usize =
        recipe.elsewhere.iter().flat_map(ImagePosterior::cameras).map(|(_, parts)| parts).sum();
    let mut lines = Lines::default();
    lines.line(&format!(
        "recipe '{}' version {} in {place}: {} good parts of its own, {parts} of other cameras; {} \
         pictures judged as they should be",
        recipe.card.name,
        recipe.card.version,
        recipe.prompts.len(),
        tried.judged
    ))?;
    if active {
        lines.line(store::TAKEN_UP)?;
    }
    Ok(Done::Fine)
}
