//! `touchstone recipe`: look at recipes and check them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use touchstone_models::picture::Picture;
use touchstone_models::recipe::{RECIPE_FILE, Recipe};

use crate::cli::{ModelArgs, RecipeCommand};
use crate::exit::{Done, Ended, Failure};
use crate::inspection::Judge;
use crate::session;
use crate::terminal::Lines;

/// Runs the command.
///
/// # Errors
/// A folder that is not there or a recipe that is not sound.
pub fn run(command: &RecipeCommand) -> Ended {
    match command {
        RecipeCommand::List { dir, json } => list(dir, *json),
        RecipeCommand::Show { dir, json } => show(dir, *json),
        RecipeCommand::Verify { dir, model } => verify(dir, model),
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
    let loaded = session::load_model(model, Some(&recipe))?;
    let settings = session::settings_of(&recipe);
    let mut inspector = session::inspector(loaded.model, &recipe.prompts, settings)?;
    let mut wrong = Vec::new();
    let mut judged = 0;
    let mut check = |picture: &Picture, name: String, must_pass: bool| {
        let inspection = inspector.judge(picture);
        judged += 1;
        if inspection.decision.is_pass() != must_pass {
            wrong.push(format!("{name}: {}", inspection.decision));
        }
    };
    for (number, prompt) in (1..).zip(&recipe.prompts) {
        check(prompt, format!("prompt {number} must pass"), true);
    }
    let golden = [(&recipe.golden_pass, true), (&recipe.golden_fail, false)];
    for (files, must_pass) in golden {
        for file in files {
            let picture = file.open().map_err(Failure::usage)?;
            let word = if must_pass { "pass" } else { "be rejected" };
            check(&picture, format!("{file} must {word}"), must_pass);
        }
    }
    if !wrong.is_empty() {
        return Err(Failure::Use(format!(
            "recipe {} fails its own test: {}; teach it again",
            dir.display(),
            wrong.join("; ")
        )));
    }
    Lines::default().line(&format!(
        "recipe '{}' version {}: sound, {judged} pictures judged as they should be",
        recipe.card.name, recipe.card.version
    ))?;
    Ok(Done::Fine)
}
