//! `touchstone teach`: good parts become a recipe.

mod report;

use std::path::PathBuf;
use std::time::Duration;

use log::info;
use touchstone_models::inspector::{
    Choice, GOOD_PARTS_MAX, Inspector, Settings, SuspiciousPrompt, choose_prompts, lies_otherwise,
};
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::package::ModelPackage;
use touchstone_models::picture::Picture;
use touchstone_models::recipe::{
    FurtherGood, Golden, IgnoreMask, ModelPin, PROMPTS_MAX, Recipe, RecipeCard, Registration,
};
use touchstone_models::registration::Pose;
use touchstone_models::verdict::Decision;

use super::place::Place;
use crate::cli::{Outliers, TeachArgs};
use crate::exit::{Ended, Failure};
use crate::golden;
use crate::inspection::Judge;
use crate::session;
use crate::settings::{self, RunConfig};
use crate::terminal::{Progress, ask};
use report::{objection, report};

/// How long the camera may take for one picture.
const FRAME_TIMEOUT: Duration = Duration::from_secs(5);

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
    if args.images.len() > GOOD_PARTS_MAX {
        return Err(Failure::Use(format!(
            "{} good parts were given, at most {GOOD_PARTS_MAX} can be chosen from; leave some out",
            args.images.len()
        )));
    }
    let place = Place::of(args)?;
    let before = place.before(&args.name)?;
    let version = place.next_version(&args.name)?;
    let mut loaded = session::load_model(&args.model, before.as_ref().filter(|_| args.add))?;
    let good = good_parts(args)?;
    let mut astray = None;
    let (mut recipe, mut chosen) = match before {
        Some(before) if args.add => added(before, version, good)?,
        None if args.add => {
            return Err(Failure::Use(format!(
                "there is no recipe '{}' yet to add to; teach it without --add",
                args.name
            )));
        }
        before => {
            let registration = match args.registration {
                Some(how) => how,
                None => {
                    astray = lies_otherwise_of(args, &good)?;
                    if astray.is_some() { Registration::Auto } else { Registration::Off }
                }
            };
            let settings =
                Settings { region_of_interest: args.region, registration, ..Settings::default() };
            let chosen = choose(args, &mut loaded.model, good, &settings)?;
            let pictures = chosen.parts.iter().map(|p| p.picture.clone()).collect();
            let mut recipe = make_recipe(args, version, &loaded.package, pictures)?;
            recipe.card.registration = registration;
            // What the recipe was tried on so far, the next version is tried on too.
            if let Some(before) = before {
                recipe.golden_pass = before.golden_pass;
                recipe.golden_fail = before.golden_fail;
            }
            (recipe, chosen)
        }
    };
    recipe.golden_pass.extend(args.golden_pass.iter().cloned().map(Golden::File));
    recipe.golden_fail.extend(args.golden_fail.iter().cloned().map(Golden::File));
    if !args.add
        && let Some(first) = recipe.prompts.first()
    {
        let settings = session::settings_of(&recipe);
        recipe.card.tiles = session::tiles(&loaded.model, args.tiles, first, &settings);
    }
    let settings = session::settings_of(&recipe);
    let mut inspector = session::inspector(loaded.model, &recipe.prompts, settings.clone())?;
    let mut suspicious = inspector.suspicious_prompts();
    let dropped = drop_outliers(args.outliers, &mut chosen, &suspicious)?;
    if !dropped.is_empty() {
        recipe.prompts = chosen.parts.iter().map(|p| p.picture.clone()).collect();
        inspector = session::inspector(inspector.into_model(), &recipe.prompts, settings)?;
        suspicious = inspector.suspicious_prompts();
    }
    self_test(&mut inspector, &chosen.parts, &suspicious)?;
    let Tried { further, rejected, strangers } = match chosen.others.is_empty() {
        // Nothing new: what a version before has learned stays.
        true => Tried { further: recipe.card.further_good, ..Tried::default() },
        false => try_others(&mut inspector, &chosen.others)?,
    };
    recipe.card.further_good = further;
    let golden = golden::test(&mut inspector, &recipe).map_err(|why| {
        Failure::Use(format!("{why}; nothing was written. Teach more good parts, or look at these"))
    })?;
    let identity = session::names_of(&loaded.package, Some(&recipe)).identity;
    let active = place.save(&recipe, "taught", identity)?;
    let Chosen { parts, others, stand_for } = &chosen;
    let stand_for = if dropped.is_empty() { stand_for.clone() } else { Vec::new() };
    let others = others.len();
    let taught = Taught {
        parts,
        stand_for,
        others,
        rejected,
        strangers,
        suspicious,
        dropped,
        golden,
        active,
        astray,
    };
    report(args, &place.to_string(), &recipe, &inspector, &taught)
}

/// The recipe that is there with more good parts: all of it but these and its version stays.
fn added(
    mut recipe: Recipe,
    version: u32,
    good: Vec<GoodPart>,
) -> Result<(Recipe, Chosen), Failure> {
    let there = recipe.prompts.len();
    if there + good.len() > PROMPTS_MAX {
        return Err(Failure::Use(format!(
            "the recipe has {there} good parts, with {} more it would have more than \
             {PROMPTS_MAX}; teach it anew with --keep",
            good.len()
        )));
    }
    let known = (1..).zip(&recipe.prompts).map(|(number, picture)| GoodPart {
        name: format!("good part {number} of the version before"),
        picture: picture.clone(),
    });
    let parts: Vec<GoodPart> = known.chain(good).collect();
    recipe.prompts = parts.iter().map(|part| part.picture.clone()).collect();
    recipe.card.version = version;
    Ok((recipe, Chosen { parts, others: Vec::new(), stand_for: Vec::new() }))
}

/// Leaves out good parts that the others do not agree with, as far as that is wished; their names.
fn drop_outliers(
    how: Outliers,
    chosen: &mut Chosen,
    suspicious: &[SuspiciousPrompt],
) -> Result<Vec<String>, Failure> {
    let mut out = Vec::new();
    for prompt in suspicious {
        let part = &chosen.parts[prompt.index].name;
        let drop = match how {
            Outliers::Keep => false,
            Outliers::Drop => true,
            Outliers::Ask => {
                let question = format!(
                    "{part} differs from the other {}: {} (p = {:.1e}). Keep or drop it? [k/d] ",
                    chosen.parts.len() - 1,
                    objection(prompt.witness),
                    prompt.p_value
                );
                // Nobody there: kept, and said so in the end.
                ask(&question)?.is_some_and(|answer| answer.starts_with(['d', 'D']))
            }
        };
        if drop {
            out.push(prompt.index);
        }
    }
    if out.len() == chosen.parts.len() {
        return Err(Failure::Use(
            "no good part would be left; nothing was written. Take pictures anew".to_owned(),
        ));
    }
    out.sort_unstable();
    Ok(out.into_iter().rev().map(|index| chosen.parts.remove(index).name).collect())
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
    /// Names of those that were left out again.
    dropped: Vec<String>,
    /// Golden pictures that it was tried on.
    golden: usize,
    /// Whether it is judged by from now on.
    active: bool,
    /// The good part that lies otherwise than the first, for which parts are registered, and where it lies.
    astray: Option<(String, Pose)>,
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

/// The good part that lies farthest from where the first one does, if one clearly does.
fn lies_otherwise_of(
    args: &TeachArgs,
    parts: &[GoodPart],
) -> Result<Option<(String, Pose)>, Failure> {
    let pictures: Vec<&Picture> = parts.iter().map(|p| &p.picture).collect();
    let found = lies_otherwise(&pictures, args.region).map_err(session::inspect_failure)?;
    Ok(found.map(|(index, pose)| (parts[index].name.clone(), pose)))
}

/// Divides the good parts into prompts and others; all are prompts where there is room.
fn choose(
    args: &TeachArgs,
    model: &mut OnePrompt,
    parts: Vec<GoodPart>,
    settings: &Settings,
) -> Result<Chosen, Failure> {
    let keep = args.keep.map_or(PROMPTS_MAX, |keep| keep as usize);
    if parts.len() <= keep {
        return Ok(Chosen { parts, others: Vec::new(), stand_for: Vec::new() });
    }
    let pictures: Vec<&Picture> = parts.iter().map(|p| &p.picture).collect();
    let mut progress = Progress::without_lines(parts.len() as u64, "choose");
    let chosen = choose_prompts(model, &pictures, settings, keep, || progress.step());
    drop(progress);
    let chosen = chosen.map_err(session::inspect_failure)?;
    let stand_for = chosen.iter().map(|Choice { stands_for, .. }| stands_for.len()).collect();
    let kept = |index: usize| chosen.iter().any(|choice| choice.index == index);
    let numbered = parts.into_iter().enumerate();
    let (prompts, others): (Vec<_>, Vec<_>) = numbered.partition(|(index, _)| kept(*index));
    let plain = |numbered: Vec<(usize, GoodPart)>| numbered.into_iter().map(|(_, p)| p).collect();
    Ok(Chosen { parts: plain(prompts), others: plain(others), stand_for })
}

/// What good parts that are no prompts showed.
#[derive(Default)]
struct Tried {
    /// What they score, but for the strangers.
    further: FurtherGood,
    /// Those that the recipe rejected before it had learned from them: some may be, at the rate that was asked for.
    rejected: Vec<(String, Decision)>,
    /// Those too strange to be good, and the p-value that all others leave them.
    strangers: Vec<(String, f64)>,
}

/// Tries the recipe on good parts that are no prompts, and has it learn from them. Parts that are merely rejected are
/// learned from: who leaves out the strangest of the good parts promises too much.
fn try_others(inspector: &mut Inspector, others: &[GoodPart]) -> Result<Tried, Failure> {
    let mut progress = Progress::without_lines(others.len() as u64, "try the others");
    let (mut rejected, mut seen) = (Vec::new(), Vec::with_capacity(others.len()));
    for part in others {
        let tried = inspector.try_good(&part.picture);
        let (inspection, statistics) = tried.map_err(session::inspect_failure)?;
        progress.step();
        seen.push(statistics);
        if !inspection.decision.is_pass() {
            rejected.push((part.name.clone(), inspection.decision));
        }
    }
    let further = FurtherGood::of_parts(&seen);
    let strangers = inspector.strangers(&further).map_err(session::inspect_failure)?;
    let places: Vec<usize> = strangers.iter().map(|(part, _)| *part).collect();
    let further = further.without(&places).thinned();
    inspector.calibrate(&further).map_err(session::inspect_failure)?;
    let strangers = strangers.into_iter().map(|(part, p)| (others[part].name.clone(), p)).collect();
    Ok(Tried { further, rejected, strangers })
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
    pictures: Vec<Picture>,
) -> Result<Recipe, Failure> {
    let model = ModelPin { id: package.id().to_owned(), hash: package.hash().to_owned() };
    let card = RecipeCard {
        false_reject_ppm: args.false_reject_ppm,
        smallest_defect_px: args.smallest_defect,
        region_of_interest: args.region,
        ..RecipeCard::new(&args.name, version, model)
    };
    let mut recipe = Recipe::new(card, pictures).map_err(Failure::usage)?;
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
