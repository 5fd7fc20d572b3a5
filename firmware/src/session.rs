//! What every command needs before it can judge: a model, good parts, and the
//! settings that belong to them.

use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use log::{info, warn};
use touchstone_models::engine::{ENGINE_THREADS_MAX, EngineError, EngineKind};
use touchstone_models::files;
use touchstone_models::inspector::{InspectError, Inspector, Settings};
use touchstone_models::oneprompt::{ModelError, OnePrompt};
use touchstone_models::package::{ModelPackage, find_model};
use touchstone_models::picture::Picture;
use touchstone_models::recipe::{Recipe, Tiles};
use touchstone_models::tiling::TileChoice;

use crate::cli::ModelArgs;
use crate::exit::Failure;
use crate::inspection::Names;

/// Threads used unless told otherwise; one picture gains little from more.
pub const THREADS_DEFAULT_MAX: usize = 4;

/// A model package and its network, loaded.
pub struct Loaded {
    /// The package on disk.
    pub package: ModelPackage,
    /// The network.
    pub model: OnePrompt,
    /// What it runs on.
    pub engine: EngineKind,
    /// With how many threads.
    pub threads: usize,
}

/// The engines that the arguments ask for, the one that is wanted most first, and the number of threads.
///
/// # Errors
/// No such engine; a thread count out of range.
fn engines_of(args: &ModelArgs) -> Result<(Vec<EngineKind>, usize), Failure> {
    let engines = args.engine.split(',').map(|name| name.trim().parse::<EngineKind>());
    let engines = engines.collect::<Result<_, _>>().map_err(Failure::usage)?;
    let cores = available_parallelism().map_or(1, usize::from);
    let threads = args.threads.unwrap_or(cores.min(THREADS_DEFAULT_MAX));
    if !(1..=ENGINE_THREADS_MAX).contains(&threads) {
        return Err(Failure::Use(format!("--threads {threads}: choose 1 to {ENGINE_THREADS_MAX}")));
    }
    Ok((engines, threads))
}

/// Finds, checks and loads a model; `recipe` is what the recipe wants, if
/// there is one.
///
/// # Errors
/// Wrong engine or threads (use); no such package, or a corrupt or foreign
/// one, or a graph that does not load (model).
pub fn load_model(args: &ModelArgs, recipe: Option<&Recipe>) -> Result<Loaded, Failure> {
    let (engines, threads) = engines_of(args)?;
    let name = args.name(recipe.map(|r| r.card.model.id.as_str()));
    let dir = find_model(name).map_err(Failure::hardware)?;
    let package = ModelPackage::open(&dir).map_err(Failure::hardware)?;
    if let Some(recipe) = recipe {
        recipe.check_model(&package).map_err(Failure::usage)?;
    }
    let (engine, model) = first_that_works(&package, &engines, threads)?;
    info!("model {} from {}, {engine} on {threads} threads", package.id(), dir.display());
    Ok(Loaded { package, model, engine, threads })
}

/// The model on the first of `engines` that has it. Those before it are named in the log: whoever asked for
/// a GPU must hear that there was none.
fn first_that_works(
    package: &ModelPackage,
    engines: &[EngineKind],
    threads: usize,
) -> Result<(EngineKind, OnePrompt), Failure> {
    let mut errors = Vec::new();
    let mut in_this_build = false;
    for &engine in engines {
        match OnePrompt::load(package, engine, threads) {
            Ok(model) => {
                for error in errors {
                    warn!("{error}; using engine '{engine}'");
                }
                return Ok((engine, model));
            }
            Err(ModelError::Engine(error)) => {
                in_this_build |= !matches!(error, EngineError::NotInThisBuild { .. });
                errors.push(error.to_string());
            }
            Err(error) => return Err(Failure::hardware(error)),
        }
    }
    let errors = errors.join("; ");
    Err(if in_this_build { Failure::Hardware(errors) } else { Failure::Use(errors) })
}

/// Opens all of `paths`; the first that cannot be read is the error.
///
/// # Errors
/// A picture that cannot be used, named.
pub fn open_pictures(paths: &[PathBuf]) -> Result<Vec<Picture>, Failure> {
    paths.iter().map(|path| Picture::open(path).map_err(Failure::usage)).collect()
}

/// Opens a recipe's folder.
///
/// # Errors
/// What is wrong with it, with the file.
pub fn open_recipe(dir: &Path) -> Result<Recipe, Failure> {
    Recipe::open(dir).map_err(Failure::usage)
}

/// The inspector's settings that a recipe stands for.
pub fn settings_of(recipe: &Recipe) -> Settings {
    Settings {
        false_reject_ppm: recipe.card.false_reject_ppm,
        smallest_defect_px: recipe.card.smallest_defect_px,
        region_of_interest: recipe.card.region_of_interest,
        registration: recipe.card.registration,
        tiles: recipe.card.tiles,
        ignore: recipe.ignore.clone(),
        further: recipe.card.further_good.clone(),
        elsewhere: recipe.elsewhere.clone(),
    }
}

/// The tiles that were asked for, for pictures like `first`.
pub fn tiles(model: &OnePrompt, choice: TileChoice, first: &Picture, settings: &Settings) -> Tiles {
    let area = settings.region_of_interest.unwrap_or(first.bounds());
    let smallest = settings.smallest_defect_px.max(1);
    choice.tiles(model.input_size(), (area.w.max(1), area.h.max(1)), smallest)
}

/// Teaches `prompts` to the model.
///
/// # Errors
/// Prompts or settings that do not fit (use), a model that fails (model).
pub fn inspector(
    model: OnePrompt,
    prompts: &[Picture],
    settings: Settings,
) -> Result<Inspector, Failure> {
    Inspector::new(model, prompts, settings).map_err(inspect_failure)
}

/// Who is to blame for an [`InspectError`].
pub fn inspect_failure(error: InspectError) -> Failure {
    match &error {
        InspectError::Model(ModelError::Picture(_))
        | InspectError::Prompt { error: ModelError::Picture(_), .. }
        | InspectError::PromptCount { .. }
        | InspectError::Rate { .. }
        | InspectError::TileCount { .. }
        | InspectError::Size { .. }
        | InspectError::RegionOfInterest(_)
        | InspectError::IgnoreSize { .. }
        | InspectError::AllIgnored
        | InspectError::Elsewhere(_)
        | InspectError::FurtherTiles { .. } => Failure::usage(error),
        InspectError::Model(_)
        | InspectError::Incomplete
        | InspectError::Prompt { .. }
        | InspectError::Posterior(_)
        | InspectError::Calibration(_) => Failure::hardware(error),
    }
}

/// The names that go into every record.
pub fn names_of(package: &ModelPackage, recipe: Option<&Recipe>) -> Names {
    let identity = recipe.and_then(|recipe| recipe.identity(package.hash()).ok());
    Names {
        model: package.id().to_owned(),
        recipe: recipe.map(|r| format!("{} {}", r.card.name, r.card.version)),
        identity: identity.map(|bytes| files::hex(&bytes)),
    }
}
