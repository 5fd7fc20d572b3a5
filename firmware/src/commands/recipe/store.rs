//! What `touchstone recipe` does with a store.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::json;
use touchstone_models::bundle::{BUNDLE_BYTES_MAX, BundleName, SIGNATURE_BYTES_MAX};
use touchstone_models::files;
use touchstone_models::recipe::Recipe;

use super::{Tried, try_out};
use crate::cli::{ModelArgs, StoreArgs};
use crate::exit::{Done, Ended, Failure};
use crate::intake::Gate;
use crate::session;
use crate::settings::{self, RunConfig};
use crate::store::audit::Entry;
use crate::store::{KEEP_DEFAULT, Origin, Selector, Staged, Store};
use crate::terminal::Lines;

pub(super) const TAKEN_UP: &str =
    "a line that runs takes it up at its next start, or with the serial command recipe activate";

/// Who is believed.
pub(super) struct Trust {
    pub(super) keys: Option<PathBuf>,
    pub(super) board: Option<String>,
    pub(super) unsigned: bool,
}

fn usage<T>(result: Result<T, crate::store::StoreError>) -> Result<T, Failure> {
    result.map_err(Failure::usage)
}

/// The store that the arguments name, with the configuration that it comes from.
pub(super) fn open(at: &StoreArgs) -> Result<(Store, Option<RunConfig>), Failure> {
    if let Some(root) = &at.store {
        return Ok((usage(Store::open(root, KEEP_DEFAULT))?, None));
    }
    let Some(file) = &at.config else {
        return Err(Failure::Use("which store? Give --store DIR or --config FILE".to_owned()));
    };
    let config = settings::open(file)?;
    let Some(recipes) = &config.recipes else {
        return Err(Failure::Use(format!(
            "{} names a recipe's folder and no store; see [recipes] in touchstone.example.toml",
            file.display()
        )));
    };
    Ok((usage(Store::open(&recipes.store, recipes.keep))?, Some(config)))
}

/// The store that is meant, if one is: by the arguments, or because the folder is one.
pub(super) fn meant(dir: Option<&Path>, at: &StoreArgs) -> Result<Option<Store>, Failure> {
    if at.is_given() {
        return Ok(Some(open(at)?.0));
    }
    match dir.filter(|dir| Store::is_store(dir)) {
        Some(root) => usage(Store::open(root, KEEP_DEFAULT)).map(Some),
        None => Ok(None),
    }
}

/// The file or folder of a recipe: a path, or with a store a name in it.
pub(super) fn file(recipe: &Path, at: &StoreArgs) -> Result<PathBuf, Failure> {
    if !at.is_given() {
        return Ok(recipe.to_owned());
    }
    let (store, _) = open(at)?;
    let wanted: Selector = recipe.to_string_lossy().parse().map_err(Failure::Use)?;
    let (name, number) = usage(usage(store.state())?.resolve(&wanted))?;
    usage(store.verify(&name, number))?;
    Ok(store.file(&name, number))
}

/// Lists what a store holds.
pub(super) fn list(store: &Store, json: bool) -> Ended {
    let state = usage(store.state())?;
    let mut lines = Lines::default();
    for held in &state.recipes {
        let active = state.active.as_deref() == Some(held.name.as_str());
        if json {
            let line = json!({
                "name": held.name, "active": active, "current": held.current,
                "newest": held.newest, "history": held.history, "versions": held.versions,
            });
            lines.line(&line.to_string())?;
            continue;
        }
        for version in held.versions.iter().rev() {
            let mark = match (version.number == held.current, active) {
                (true, true) => "active",
                (true, false) => "current",
                (false, _) => "",
            };
            lines.line(&format!(
                "{}@{}  {mark:<7}  {}  {}  {}",
                held.name,
                version.number,
                version.from,
                version.at,
                version.sha256.get(..12).unwrap_or_default()
            ))?;
        }
    }
    if state.recipes.is_empty() && !json {
        lines.line("no recipe in the store; teach one, or import a bundle")?;
    }
    Ok(Done::Fine)
}

pub(super) fn activate(wanted: &Selector, at: &StoreArgs, model: &ModelArgs) -> Ended {
    let (store, _) = open(at)?;
    let (name, number) = usage(usage(store.state())?.resolve(wanted))?;
    let tried = try_stored(&store, &name, number, model)?;
    let exact = Selector { name: name.clone(), version: Some(number) };
    usage(store.activate(&exact))?;
    done(&store, "activated", &name, number, tried)
}

pub(super) fn roll_back(name: Option<&str>, at: &StoreArgs, model: &ModelArgs) -> Ended {
    let (store, _) = open(at)?;
    let state = usage(store.state())?;
    let held = match name {
        Some(name) => state.find(name).ok_or_else(|| {
            Failure::Use(format!("{name}: no such recipe; ask for touchstone recipe list"))
        })?,
        None => state.active().ok_or_else(|| Failure::usage(crate::store::StoreError::Nothing))?,
    };
    let Some(&number) = held.history.last() else {
        return Err(Failure::Use(format!("{}: there is no earlier version", held.name)));
    };
    let tried = try_stored(&store, &held.name, number, model)?;
    usage(store.rollback(&held.name, Some(number)))?;
    done(&store, "rolled-back", &held.name, number, tried)
}

fn try_stored(store: &Store, name: &str, number: u32, model: &ModelArgs) -> Result<Tried, Failure> {
    usage(store.verify(name, number))?;
    try_out(&session::open_recipe(&store.file(name, number))?, model)
}

fn done(store: &Store, what: &str, name: &str, number: u32, tried: Tried) -> Ended {
    let mut entry = Entry::new(what, "shell").about(name, number);
    entry.identity = tried.identity;
    store.record(&entry);
    let mut lines = Lines::default();
    lines.line(&format!(
        "recipe '{name}' version {number} is active, {} pictures judged as they should be",
        tried.judged
    ))?;
    lines.line(TAKEN_UP)?;
    Ok(Done::Fine)
}

/// Takes a bundle in, or with `unsigned` anything that is a recipe.
pub(super) fn import(bundle: &Path, trust: Trust, at: &StoreArgs, model: &ModelArgs) -> Ended {
    let (store, config) = open(at)?;
    let (staged, recipe) = match trust.unsigned {
        true => unsigned(&store, bundle)?,
        false => signed(&store, bundle, trust, config.as_ref())?,
    };
    let tried = try_out(&recipe, model)?;
    let (name, version) = (staged.name.clone(), staged.version.clone());
    usage(store.commit(staged))?;
    let mut entry = Entry::new("installed", "shell").about(&name, version.number);
    entry.sha256 = Some(version.sha256);
    entry.key = version.key;
    entry.identity = tried.identity;
    store.record(&entry);
    let mut lines = Lines::default();
    lines.line(&format!(
        "recipe '{name}' version {} is active, {} pictures judged as they should be",
        version.number, tried.judged
    ))?;
    lines.line(TAKEN_UP)?;
    Ok(Done::Fine)
}

fn unsigned(store: &Store, path: &Path) -> Result<(Staged, Recipe), Failure> {
    let recipe = session::open_recipe(path)?;
    usage(store.admits(&recipe.card.name, recipe.card.version))?;
    let staged = usage(store.stage_recipe(&recipe, Origin::Import))?;
    // As it lies in the store now: that is what is tried and judged by.
    let recipe = session::open_recipe(&staged.file)?;
    Ok((staged, recipe))
}

fn signed(
    store: &Store,
    path: &Path,
    trust: Trust,
    config: Option<&RunConfig>,
) -> Result<(Staged, Recipe), Failure> {
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = BundleName::parse(file).ok_or_else(|| {
        Failure::Use(format!("{}: a bundle is called NAME-VERSION.touchstone", path.display()))
    })?;
    let unread = |path: &Path, e: std::io::Error| {
        Failure::Use(format!("cannot read {}: {e}; check the path", path.display()))
    };
    let beside = path.with_file_name(name.signature());
    let signature = files::read_limited(&beside, SIGNATURE_BYTES_MAX)
        .map_err(|e| unread(&beside, e))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())?;
    let keys = config.and_then(|config| config.recipes.as_ref()?.keys.clone());
    let family = config.and_then(|config| config.board.family.clone());
    let gate =
        Gate { store: store.clone(), keys: trust.keys.or(keys), family: trust.board.or(family) };
    gate.wants(&name).map_err(Failure::usage)?;
    let mut from = File::open(path).map_err(|e| unread(path, e))?;
    let size = from.metadata().map_err(|e| unread(path, e))?.len();
    if size > BUNDLE_BYTES_MAX {
        return Err(Failure::usage(crate::store::StoreError::TooLarge { bytes: size }));
    }
    let mut spool = usage(store.spool(size))?;
    spool.fill(&mut from).map_err(Failure::usage)?;
    let admitted = gate.admit(spool, &name, &signature, Origin::Import);
    let staged = admitted.map_err(|refusal| {
        let entry = Entry::new("refused", "shell").about(&name.name, name.version);
        store.record(&entry.noting(&refusal.to_string()));
        Failure::Use(format!("{}: {refusal}", path.display()))
    })?;
    let recipe = session::open_recipe(&staged.file)?;
    Ok((staged, recipe))
}

/// Shows the audit.
pub(super) fn log(at: &StoreArgs, json: bool) -> Ended {
    let (store, _) = open(at)?;
    let mut lines = Lines::default();
    for entry in store.audit() {
        if json {
            let line = serde_json::to_string(&entry).map_err(Failure::usage)?;
            lines.line(&line)?;
            continue;
        }
        let recipe = match (&entry.recipe, entry.version) {
            (Some(name), Some(version)) => format!("{name}@{version}"),
            (Some(name), None) => name.clone(),
            (None, _) => "-".to_owned(),
        };
        let note = entry.note.as_deref().unwrap_or_default();
        lines.line(&format!(
            "{}  {:<13}  {:<9}  {recipe}  {note}",
            entry.at, entry.what, entry.from
        ))?;
    }
    Ok(Done::Fine)
}
