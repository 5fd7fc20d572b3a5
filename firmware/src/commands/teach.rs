//! `touchstone teach`: good parts become a recipe.

use std::path::{Path, PathBuf};
use std::time::Duration;

use log::info;
use touchstone_models::inspector::{
    Choice, GOOD_PARTS_MAX, Inspector, Settings, SuspiciousPrompt, TAIL_PARTS_MIN, choose_prompts,
};
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::package::ModelPackage;
use touchstone_models::picture::Picture;
use touchstone_models::recipe::{
    FurtherGood, IgnoreMask, LineTiming, ModelPin, PROMPTS_MAX, RECIPE_FILE, Recipe, RecipeCard,
    Tiles,
};
use touchstone_models::tiling::{DEFECT_INPUT_PX, Tiling};
use touchstone_models::verdict::{Decision, Witness};

use crate::cli::TeachArgs;
use crate::exit::{Done, Ended, Failure};
use crate::inspection::Judge;
use crate::out_folder::OutFolder;
use crate::session;
use crate::settings::{self, RunConfig};
use crate::terminal::{Lines, Progress};

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
    if args.images.len() > GOOD_PARTS_MAX {
        return Err(Failure::Use(format!(
            "{} good parts were given, at most {GOOD_PARTS_MAX} can be chosen from; leave some out",
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
    let mut loaded = session::load_model(&args.model, None)?;
    let Chosen { parts, others, stand_for } = choose(args, &mut loaded.model, good_parts(args)?)?;
    let pictures: Vec<Picture> = parts.iter().map(|p| p.picture.clone()).collect();
    let mut recipe = make_recipe(args, version, &loaded.package, &pictures)?;
    let mut settings = session::settings_of(&recipe);
    if let Some(first) = pictures.first() {
        settings.tiles = session::tiles(&loaded.model, args.tiles, first, &settings);
    }
    recipe.card.tiles = settings.tiles;
    let mut inspector = session::inspector(loaded.model, &pictures, settings)?;

    let suspicious = inspector.suspicious_prompts();
    self_test(&mut inspector, &parts, &suspicious)?;
    let rejected = rejected_of(&mut inspector, &others);
    let (further, strangers) = learn_from(&mut inspector, &others)?;
    recipe.card.further_good = further;
    recipe.save(&dir).map_err(Failure::usage)?;
    let taught =
        Taught { parts: &parts, stand_for, others: others.len(), rejected, strangers, suspicious };
    report(args, &dir, &recipe, &inspector, &taught)
}

/// What became of the good parts.
struct Taught<'a> {
    /// The prompts.
    parts: &'a [GoodPart],
    /// How many others each stands for; empty where nothing had to be chosen.
    stand_for: Vec<usize>,
    /// How many more there were.
    others: usize,
    /// Those of them that the recipe rejects, and why.
    rejected: Vec<(String, Decision)>,
    /// Those that it did not learn from, and the p-value that all others leave them.
    strangers: Vec<(String, f64)>,
    suspicious: Vec<SuspiciousPrompt>,
}

/// The good parts, divided.
struct Chosen {
    /// The prompts.
    parts: Vec<GoodPart>,
    /// The rest.
    others: Vec<GoodPart>,
    /// As in [`Taught`].
    stand_for: Vec<usize>,
}

/// Divides the good parts into prompts and others; all are prompts where there is room.
fn choose(
    args: &TeachArgs,
    model: &mut OnePrompt,
    parts: Vec<GoodPart>,
) -> Result<Chosen, Failure> {
    let keep = args.keep.map_or(PROMPTS_MAX, |keep| keep as usize);
    if parts.len() <= keep {
        return Ok(Chosen { parts, others: Vec::new(), stand_for: Vec::new() });
    }
    let pictures: Vec<&Picture> = parts.iter().map(|p| &p.picture).collect();
    let settings = Settings {
        region_of_interest: args.region,
        registration: args.registration,
        ..Settings::default()
    };
    let mut progress = Progress::without_lines(parts.len() as u64, "choose");
    let chosen = choose_prompts(model, &pictures, &settings, keep, || progress.step());
    drop(progress);
    let chosen = chosen.map_err(session::inspect_failure)?;
    let stand_for = chosen.iter().map(|Choice { stands_for, .. }| stands_for.len()).collect();
    let kept = |index: usize| chosen.iter().any(|choice| choice.index == index);
    let numbered = parts.into_iter().enumerate();
    let (prompts, others): (Vec<_>, Vec<_>) = numbered.partition(|(index, _)| kept(*index));
    let plain = |numbered: Vec<(usize, GoodPart)>| numbered.into_iter().map(|(_, p)| p).collect();
    Ok(Chosen { parts: plain(prompts), others: plain(others), stand_for })
}

/// The good parts among `others` that the recipe rejects: some may be, at the rate that was asked for.
fn rejected_of(inspector: &mut Inspector, others: &[GoodPart]) -> Vec<(String, Decision)> {
    let mut progress = Progress::without_lines(others.len() as u64, "try the others");
    let mut rejected = Vec::new();
    for part in others {
        let decision = inspector.judge(&part.picture).decision;
        progress.step();
        if !decision.is_pass() {
            rejected.push((part.name.clone(), decision));
        }
    }
    rejected
}

/// Has the recipe learn from good parts that are no prompts; gives those too strange to be good, which it does not
/// learn from. Parts that are merely rejected stay: who leaves out the strangest of the good parts promises too much.
fn learn_from(
    inspector: &mut Inspector,
    others: &[GoodPart],
) -> Result<(FurtherGood, Vec<(String, f64)>), Failure> {
    let mut progress = Progress::without_lines(others.len() as u64, "calibrate");
    let pictures = others.iter().map(|part| &part.picture).inspect(|_| progress.step());
    let further = inspector.further(pictures).map_err(session::inspect_failure)?;
    let strangers = inspector.strangers(&further).map_err(session::inspect_failure)?;
    let places: Vec<usize> = strangers.iter().map(|(part, _)| *part).collect();
    let further = further.without(&places).thinned();
    inspector.calibrate(&further).map_err(session::inspect_failure)?;
    let named = strangers.into_iter().map(|(part, p)| (others[part].name.clone(), p)).collect();
    Ok((further, named))
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
        tiles: Tiles::ONE,
        further_good: FurtherGood::default(),
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
    taught: &Taught<'_>,
) -> Ended {
    let parts = taught.parts;
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
    if taught.others > 0 {
        lines.line(&format!(
            "chosen from {}; of the {} others {} pass",
            parts.len() + taught.others,
            taught.others,
            taught.others - taught.rejected.len()
        ))?;
        lines.line(&format!(
            "calibrated with {} of them as well{}",
            recipe.card.further_good.parts(),
            match recipe.card.further_good.parts() {
                parts if parts < TAIL_PARTS_MIN =>
                    format!(": from {TAIL_PARTS_MIN} on they tell of rare scores, too"),
                _ => ", rare scores included".to_owned(),
            }
        ))?;
    }
    for (part, count) in parts.iter().zip(&taught.stand_for) {
        lines.line(&match count {
            0 => format!("kept {}: no other is like it", part.name),
            count => format!("kept {}: it stands for {count} more", part.name),
        })?;
    }
    for (name, decision) in &taught.rejected {
        lines.line(&format!("LOOK AT {name}: a good part that the recipe rejects ({decision})"))?;
    }
    for (name, p_value) in &taught.strangers {
        lines.line(&format!(
            "LOOK AT {name}: no other good part is like it (p = {p_value:.1e}), so it was left out; if it is \
             good, show more like it"
        ))?;
    }
    for prompt in &taught.suspicious {
        lines.line(&format!(
            "LOOK AT {}: {} (p = {:.1e}); if it is not a good part, teach again without it",
            parts[prompt.index].name,
            objection(prompt.witness),
            prompt.p_value
        ))?;
    }
    lines.line(&promise(inspector, args.false_reject_ppm))?;
    if let Some(line) = parts.first().and_then(|part| keyhole(recipe, inspector, &part.picture)) {
        lines.line(&line)?;
    }
    lines.line(&format!("use it: touchstone inspect --recipe {} IMAGE...", dir.display()))?;
    Ok(Done::Fine)
}

/// A smallest defect that was asked for and that the network will hardly see.
fn keyhole(recipe: &Recipe, inspector: &Inspector, first: &Picture) -> Option<String> {
    let (card, input) = (&recipe.card, inspector.model().input_size());
    let area = card.region_of_interest.unwrap_or(first.bounds());
    let size = (area.w, area.h);
    let seen = Tiling::new(card.tiles, input).defect_at_input(size, card.smallest_defect_px);
    // One pixel is the default and says that nobody thought of it.
    let asked = card.smallest_defect_px > 1;
    (asked && seen < DEFECT_INPUT_PX).then(|| {
        let enough = Tiling::for_defect(input, size, card.smallest_defect_px);
        format!(
            "LOOK AT the smallest defect: of {} pixels the network sees {seen:.1}, and needs \
             {DEFECT_INPUT_PX}; teach with --tiles {enough}, or inspect a smaller --region",
            card.smallest_defect_px
        )
    })
}

fn objection(witness: Witness) -> &'static str {
    match witness {
        Witness::Change => "it differs from the other good parts somewhere",
        Witness::Position | Witness::Joint => {
            "it has something somewhere that no other good part has"
        }
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
