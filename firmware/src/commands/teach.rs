//! `touchstone teach`: good parts become a recipe.

use std::path::{Path, PathBuf};
use std::time::Duration;

use log::info;
use touchstone_models::inspector::{Inspector, SuspiciousPrompt};
use touchstone_models::package::ModelPackage;
use touchstone_models::picture::Picture;
use touchstone_models::recipe::{
    IgnoreMask, LineTiming, ModelPin, PROMPTS_MAX, RECIPE_FILE, Recipe, RecipeCard,
};
use touchstone_models::verdict::Witness;

use crate::cli::TeachArgs;
use crate::exit::{Done, Ended, Failure};
use crate::inspection::Judge;
use crate::out_folder::OutFolder;
use crate::session;
use crate::settings::{self, RunConfig};
use crate::terminal::Lines;

/// How long the camera may take for one picture.
const FRAME_TIMEOUT: Duration = Duration::from_secs(5);

/// False-reject rates that a promise is made for, in parts per million.
const RATES_PPM: [u32; 8] = [10, 50, 100, 500, 1000, 5000, 20_000, 100_000];

/// A good part and what to call it when speaking of it.
struct GoodPart {
    name: String,
    picture: Picture,
}

/// Runs the command.
///
/// # Errors
/// Pictures, name, folder or settings that will not do (use); camera or model
/// failure (hardware). Nothing is written then.
pub fn run(args: &TeachArgs) -> Ended {
    let dir = args.out.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    if args.images.len() > PROMPTS_MAX {
        return Err(Failure::Use(format!(
            "{} good parts were given, a recipe holds at most {PROMPTS_MAX}; keep the most \
             different ones",
            args.images.len()
        )));
    }
    // The recipe is put in place at once, so its parent has to be writable.
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let _parent = OutFolder::prepare(parent, "--out")?;
    let version = next_version(&dir, &args.name)?;
    let loaded = session::load_model(&args.model, None)?;
    let parts = good_parts(args)?;
    let pictures: Vec<Picture> = parts.iter().map(|p| p.picture.clone()).collect();
    let recipe = make_recipe(args, version, &loaded.package, &pictures)?;
    let settings = session::settings_of(&recipe);
    let mut inspector = session::inspector(loaded.model, &pictures, settings)?;

    let suspicious = inspector.suspicious_prompts();
    self_test(&mut inspector, &parts, &suspicious)?;
    recipe.save(&dir).map_err(Failure::usage)?;
    report(args, &dir, &recipe, &inspector, &parts, &suspicious)
}

fn next_version(dir: &Path, name: &str) -> Result<u32, Failure> {
    if !dir.join(RECIPE_FILE).exists() {
        return Ok(1);
    }
    let there = session::open_recipe(dir)?.card;
    if there.name != name {
        return Err(Failure::Use(format!(
            "{} holds the recipe '{}'; teach '{name}' into another folder (--out)",
            dir.display(),
            there.name
        )));
    }
    there.version.checked_add(1).ok_or_else(|| {
        Failure::Use(format!("{}: its version cannot grow any more; use --out", dir.display()))
    })
}

fn good_parts(args: &TeachArgs) -> Result<Vec<GoodPart>, Failure> {
    if let Some(config) = args.config.as_deref().filter(|_| args.camera) {
        return from_camera(&settings::open(config)?, args.count);
    }
    let open = |path: &PathBuf| {
        let picture = Picture::open(path).map_err(Failure::usage)?;
        Ok(GoodPart { name: path.display().to_string(), picture })
    };
    args.images.iter().map(open).collect()
}

fn from_camera(config: &RunConfig, count: u32) -> Result<Vec<GoodPart>, Failure> {
    let mut camera = config.enrolment_camera()?;
    let mut parts = Vec::new();
    for number in 1..=count {
        let (width, height, rgb) = camera.next(FRAME_TIMEOUT)?;
        let picture = Picture::from_rgb8(width, height, rgb).map_err(Failure::hardware)?;
        info!("good part {number}: {width} x {height}");
        parts.push(GoodPart { name: format!("picture {number} of the camera"), picture });
    }
    Ok(parts)
}

fn make_recipe(
    args: &TeachArgs,
    version: u32,
    package: &ModelPackage,
    pictures: &[Picture],
) -> Result<Recipe, Failure> {
    let card = RecipeCard {
        name: args.name.clone(),
        version,
        false_reject_ppm: args.false_reject_ppm,
        smallest_defect_px: args.smallest_defect,
        model: ModelPin { id: package.id().to_owned(), hash: package.hash().to_owned() },
        region_of_interest: args.region,
        registration: args.registration,
        line: LineTiming::default(),
    };
    let mut recipe = Recipe::new(card, pictures.to_vec()).map_err(Failure::usage)?;
    if let Some(path) = &args.ignore {
        let mask = Picture::open(path).map_err(Failure::usage)?;
        recipe.ignore = Some(IgnoreMask::from_picture(&mask));
    }
    Ok(recipe)
}

/// A recipe that rejects one of its own good parts is not worth saving.
fn self_test(
    inspector: &mut Inspector,
    parts: &[GoodPart],
    suspicious: &[SuspiciousPrompt],
) -> Result<(), Failure> {
    for (index, part) in parts.iter().enumerate() {
        let inspection = inspector.judge(&part.picture);
        if inspection.decision.is_pass() {
            continue;
        }
        let hint = match suspicious.iter().find(|s| s.index != index) {
            Some(other) => {
                format!(" (or {}, which the others do not agree with)", parts[other.index].name)
            }
            None => String::new(),
        };
        return Err(Failure::Use(format!(
            "the recipe would reject {}, one of its own good parts ({}); nothing was written. \
             Leave it out{hint}, or raise --false-reject-ppm",
            part.name, inspection.decision
        )));
    }
    Ok(())
}

fn report(
    args: &TeachArgs,
    dir: &Path,
    recipe: &Recipe,
    inspector: &Inspector,
    parts: &[GoodPart],
    suspicious: &[SuspiciousPrompt],
) -> Ended {
    let mut lines = Lines::default();
    let card = &recipe.card;
    let plural = if parts.len() == 1 { "" } else { "s" };
    lines.line(&format!(
        "recipe '{}' version {} in {}: {} good part{plural}, model {}",
        card.name,
        card.version,
        dir.display(),
        parts.len(),
        card.model.id
    ))?;
    lines.line("self test: every good part passes")?;
    for prompt in suspicious {
        lines.line(&format!(
            "LOOK AT {}: {} (p = {:.1e}); if it is not a good part, teach again without it",
            parts[prompt.index].name,
            objection(prompt.witness),
            prompt.p_value
        ))?;
    }
    lines.line(&promise(inspector, args.false_reject_ppm))?;
    lines.line(&format!("use it: touchstone inspect --recipe {} IMAGE...", dir.display()))?;
    Ok(Done::Fine)
}

fn objection(witness: Witness) -> &'static str {
    match witness {
        Witness::Change => "it differs from the other good parts somewhere",
        Witness::Position => "it has something somewhere that no other good part has",
        Witness::Image => "it does not look like the other good parts at all",
    }
}

/// What false-reject rate the good parts are enough for.
fn promise(inspector: &Inspector, asked_ppm: u32) -> String {
    let asked = percent(asked_ppm);
    let Some(more) = inspector.needs_more(asked_ppm) else {
        return format!("rate: at most {asked} of the good parts will be rejected");
    };
    let parts = if more == 1 { "1 more good part" } else { &format!("{more} more good parts") };
    let reachable = RATES_PPM.into_iter().find(|&ppm| inspector.needs_more(ppm).is_none());
    let instead = match reachable {
        Some(ppm) => {
            format!("; with these, {} is within reach (--false-reject-ppm {ppm})", percent(ppm))
        }
        None => String::new(),
    };
    format!(
        "rate: {asked} false rejects needs about {parts}, until then small defects may pass{instead}"
    )
}

fn percent(ppm: u32) -> String {
    let text = format!("{:.4}", f64::from(ppm) / 10_000.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_like_percentages() {
        assert_eq!(percent(1), "0.0001 %");
        assert_eq!(percent(1000), "0.1 %");
        assert_eq!(percent(200_000), "20 %");
    }
}
