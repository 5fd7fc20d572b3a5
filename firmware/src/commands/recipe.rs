//! `touchstone recipe`: look at recipes, check them, and change what a store holds.

mod elsewhere;
mod store;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use touchstone_models::image_posterior::ImagePosterior;
use touchstone_models::recipe::{RECIPE_FILE, Recipe};

use crate::cli::{ModelArgs, RecipeCommand};
use crate::exit::{Done, Ended, Failure};
use crate::golden;
use crate::recipes::self_test;
use crate::session;
use crate::terminal::Lines;

/// Runs the command.
///
/// # Errors
/// A folder that is not there or a recipe that is not sound.
pub fn run(command: &RecipeCommand) -> Ended {
    match command {
        RecipeCommand::List { dir, json, store: at } => match store::meant(dir.as_deref(), at)? {
            Some(store) => store::list(&store, *json),
            None => list(dir.as_deref().unwrap_or(Path::new(".")), *json),
        },
        RecipeCommand::Show { recipe, json, store: at } => show(&store::file(recipe, at)?, *json),
        RecipeCommand::Verify { recipe, store: at, model } => {
            verify(&store::file(recipe, at)?, model)
        }
        RecipeCommand::Activate { recipe, store: at, model } => store::activate(recipe, at, model),
        RecipeCommand::Rollback { name, store: at, model } => {
            store::roll_back(name.as_deref(), at, model)
        }
        RecipeCommand::Import { bundle, keys, board, unsigned, store: at, model } => {
            let trust =
                store::Trust { keys: keys.clone(), board: board.clone(), unsigned: *unsigned };
            store::import(bundle, trust, at, model)
        }
        RecipeCommand::Posterior { recipe, camera, out, store: at, model } => {
            elsewhere::write(&store::file(recipe, at)?, camera, out, model)
        }
        RecipeCommand::Merge { recipe, posteriors, store: at, model } => {
            elsewhere::merge(recipe, posteriors, at, model)
        }
        RecipeCommand::Unmerge { recipe, camera, store: at, model } => {
            elsewhere::unmerge(recipe, camera, at, model)
        }
        RecipeCommand::Log { json, store: at } => store::log(at, *json),
    }
}

/// The folders in `dir` that hold a recipe card, by name; `dir` itself if it
/// does.
fn folders(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    if dir.join(RECIPE_FILE).exists() {
        return Ok(vec![dir.to_owned()]);
    }
    let unreadable =
        |e| Failure::Use(format!("cannot read folder {}: {e}; check the path", dir.display()));
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.join(RECIPE_FILE).exists() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn list(dir: &Path, json: bool) -> Ended {
    let mut lines = Lines::default();
    let mut broken = 0;
    let folders = folders(dir)?;
    for folder in &folders {
        match Recipe::open(folder) {
            Ok(recipe) if json => lines.line(&as_json(folder, &recipe).to_string())?,
            Ok(recipe) => lines.line(&row(folder, &recipe))?,
            Err(error) => {
                eprintln!("touchstone: {error}");
                broken += 1;
            }
        }
    }
    if broken > 0 {
        return Err(Failure::Use(format!(
            "{broken} of {} recipes in {} cannot be used; the reasons stand above",
            folders.len(),
            dir.display()
        )));
    }
    if folders.is_empty() && !json {
        lines.line(&format!("no recipe in {}; make one with `touchstone teach`", dir.display()))?;
    }
    Ok(Done::Fine)
}

fn row(folder: &Path, recipe: &Recipe) -> String {
    let card = &recipe.card;
    format!(
        "{}  version {}  {} taught  {} ppm  model {}  {}",
        card.name,
        card.version,
        recipe.prompts.len(),
        card.false_reject_ppm,
        card.model.id,
        folder.display()
    )
}

fn as_json(folder: &Path, recipe: &Recipe) -> serde_json::Value {
    json!({
        "folder": folder.display().to_string(),
        "card": recipe.card,
        "prompts": recipe.prompts.iter().map(|p| [p.width(), p.height()]).collect::<Vec<_>>(),
        "ignore_mask": recipe.ignore.is_some(),
        "elsewhere": recipe.elsewhere.iter().flat_map(ImagePosterior::cameras).collect::<Vec<_>>(),
        "golden_pass": recipe.golden_pass.len(),
        "golden_fail": recipe.golden_fail.len(),
    })
}

fn show(dir: &Path, json: bool) -> Ended {
    let recipe = session::open_recipe(dir)?;
    let mut lines = Lines::default();
    if json {
        lines.line(&as_json(dir, &recipe).to_string())?;
        return Ok(Done::Fine);
    }
    let card = recipe.card.emit().map_err(Failure::usage)?;
    lines.line(card.trim_end())?;
    for (number, prompt) in (1..).zip(&recipe.prompts) {
        lines.line(&format!("# prompt {number}: {} x {}", prompt.width(), prompt.height()))?;
    }
    for (camera, parts) in recipe.elsewhere.iter().flat_map(ImagePosterior::cameras) {
        lines.line(&format!("# elsewhere: {parts} good parts as camera '{camera}' sees them"))?;
    }
    lines.line(&format!(
        "# ignore mask: {}, golden parts: {} to pass, {} to fail",
        if recipe.ignore.is_some() { "yes" } else { "no" },
        recipe.golden_pass.len(),
        recipe.golden_fail.len()
    ))?;
    Ok(Done::Fine)
}

/// Teaches the recipe to its model and judges its own pictures.
fn verify(dir: &Path, model: &ModelArgs) -> Ended {
    let recipe = session::open_recipe(dir)?;
    let tried = try_out(&recipe, model)?;
    Lines::default().line(&format!(
        "recipe '{}' version {}: sound, {} pictures judged as they should be",
        recipe.card.name, recipe.card.version, tried.judged
    ))?;
    Ok(Done::Fine)
}

/// A recipe that does what it should.
struct Tried {
    /// Pictures judged.
    judged: usize,
    /// Hex identity of model, recipe and threshold.
    identity: Option<String>,
}

/// Teaches a recipe to its model and judges its good parts and golden pictures.
fn try_out(recipe: &Recipe, model: &ModelArgs) -> Result<Tried, Failure> {
    let loaded = session::load_model(model, Some(recipe))?;
    let identity = session::names_of(&loaded.package, Some(recipe)).identity;
    let settings = session::settings_of(recipe);
    let mut inspector = session::inspector(loaded.model, &recipe.prompts, settings)?;
    let fails = |why: String| {
        let (name, version) = (&recipe.card.name, recipe.card.version);
        Failure::Use(format!(
            "recipe '{name}' version {version} fails its own test: {why}; teach it again"
        ))
    };
    self_test(&mut inspector, recipe)
        .map_err(|(number, why)| fails(format!("prompt {number} must pass: {why}")))?;
    let golden = golden::test(&mut inspector, recipe).map_err(fails)?;
    Ok(Tried { judged: recipe.prompts.len() + golden, identity })
}
