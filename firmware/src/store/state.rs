//! `state.toml`: which versions there are and which one counts. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use touchstone_models::bundle::BUNDLE_SUFFIX;
use touchstone_models::files::is_safe_name;

use super::StoreError;

/// The format that is written here.
const FORMAT: u32 = 1;
/// Earlier current versions that are remembered for going back.
const HISTORY_MAX: usize = 16;

/// Where a version came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Taught on this camera.
    Teach,
    /// From a USB stick, signed.
    Stick,
    /// Over a serial line, signed.
    Push,
    /// By somebody with a shell.
    Import,
    /// Found on disk after the state was damaged.
    Rebuilt,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Teach => "teach",
            Self::Stick => "stick",
            Self::Push => "push",
            Self::Import => "import",
            Self::Rebuilt => "rebuilt",
        })
    }
}

/// A version that is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number.
    pub number: u32,
    /// Hex SHA-256 of its file.
    pub sha256: String,
    /// Bytes of its file.
    pub bytes: u64,
    /// Where it came from.
    pub from: Origin,
    /// The key that signed it, if it was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When it came, by the camera's clock.
    pub at: String,
}

/// A recipe with its versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its name.
    pub name: String,
    /// The version that is used.
    pub current: u32,
    /// The highest that was ever here: older bundles are refused even where their files are long gone.
    pub newest: u32,
    /// The versions that were current before, the latest last.
    #[serde(default)]
    pub history: Vec<u32>,
    /// The versions that are here, by number.
    #[serde(rename = "version", default)]
    pub versions: Vec<Version>,
}

impl Held {
    /// The version of that number.
    pub fn version(&self, number: u32) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number)
    }
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    format: u32,
    /// The recipe that is judged by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<String>,
    /// By name.
    #[serde(rename = "recipe", default)]
    pub recipes: Vec<Held>,
}

impl Default for State {
    fn default() -> Self {
        Self { format: FORMAT, active: None, recipes: Vec::new() }
    }
}

/// A recipe, or one version of it: `NAME` or `NAME@VERSION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The recipe.
    pub name: String,
    /// The version; the current one where none is given.
    pub version: Option<u32>,
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not NAME or NAME@VERSION");
        let (name, version) = match text.split_once('@') {
            Some((name, digits)) => (name, Some(digits.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let name = Some(name).filter(|name| is_safe_name(name)).ok_or_else(wrong)?;
        Ok(Self { name: name.to_owned(), version })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl State {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
        let state: Self = toml::from_str(text).map_err(|e| e.message().replace('\n', ", "))?;
        if state.format != FORMAT {
            return Err(format!("format {} is not known here", state.format));
        }
        let sound = |held: &Held| {
            is_safe_name(&held.name)
                && held.version(held.current).is_some()
                && held.versions.iter().all(|v| (1..=held.newest).contains(&v.number))
        };
        match state.recipes.iter().find(|held| !sound(held)) {
            Some(held) => Err(format!("recipe '{}' does not agree with itself", held.name)),
            None => Ok(state),
        }
    }

    pub(super) fn emit(&self) -> Result<String, String> {
        toml::to_string(self).map_err(|e| e.to_string())
    }

    /// The recipe of that name.
    pub fn find(&self, name: &str) -> Option<&Held> {
        self.recipes.iter().find(|held| held.name == name)
    }

    fn find_mut(&mut self, name: &str) -> Option<&mut Held> {
        self.recipes.iter_mut().find(|held| held.name == name)
    }

    /// The recipe that is judged by.
    pub fn active(&self) -> Option<&Held> {
        self.find(self.active.as_deref()?)
    }

    /// What to try, in this order, when the camera starts: the active recipe's current version, then those
    /// that were current before it, then its others, newest first.
    pub fn candidates(&self) -> Vec<(String, u32)> {
        let Some(held) = self.active() else { return Vec::new() };
        let mut numbers = vec![held.current];
        let rest = held.versions.iter().rev().map(|version| version.number);
        for number in held.history.iter().rev().copied().chain(rest) {
            if !numbers.contains(&number) && held.version(number).is_some() {
                numbers.push(number);
            }
        }
        numbers.into_iter().map(|number| (held.name.clone(), number)).collect()
    }

    /// Whether a file in a recipe's folder is one of its versions.
    pub(super) fn knows(&self, name: &str, file: &str) -> bool {
        let number = file.strip_suffix(BUNDLE_SUFFIX).and_then(|digits| digits.parse().ok());
        let held = self.find(name);
        held.zip(number).is_some_and(|(held, number)| held.version(number).is_some())
    }

    /// Name and number of what is asked for.
    ///
    /// # Errors
    /// There is none such.
    pub fn resolve(&self, wanted: &Selector) -> Result<(String, u32), StoreError> {
        let held = self.find(&wanted.name);
        let number = wanted.version.or(held.map(|held| held.current));
        match held.zip(number) {
            Some((held, number)) if held.version(number).is_some() => {
                Ok((wanted.name.clone(), number))
            }
            _ => Err(StoreError::NoSuch { selector: wanted.clone() }),
        }
    }

    /// Adds a version, which becomes current if it is the first.
    pub(super) fn add(&mut self, name: &str, version: Version) {
        let number = version.number;
        if self.find(name).is_none() {
            self.recipes.push(Held {
                name: name.to_owned(),
                current: number,
                newest: number,
                history: Vec::new(),
                versions: Vec::new(),
            });
            self.recipes.sort_by(|a, b| a.name.cmp(&b.name));
        }
        let Some(held) = self.find_mut(name) else { return };
        held.newest = held.newest.max(number);
        held.versions.retain(|known| known.number != number);
        held.versions.push(version);
        held.versions.sort_by_key(|version| version.number);
    }

    /// Makes a version current and its recipe active.
    pub(super) fn choose(&mut self, name: &str, number: u32) {
        let Some(held) = self.find_mut(name) else { return };
        let before = std::mem::replace(&mut held.current, number);
        if before != number {
            held.history.push(before);
            let excess = held.history.len().saturating_sub(HISTORY_MAX);
            held.history.drain(..excess);
        }
        self.active = Some(name.to_owned());
    }

    /// Goes back to the version before, or to `to`; what is left behind is forgotten as a way back.
    pub(super) fn step_back(&mut self, name: &str, to: Option<u32>) -> Result<(), StoreError> {
        let no_earlier = || StoreError::NoEarlier { name: name.to_owned() };
        let selector = || Selector { name: name.to_owned(), version: to };
        let held =
            self.find_mut(name).ok_or_else(|| StoreError::NoSuch { selector: selector() })?;
        let target = to.or(held.history.last().copied()).ok_or_else(no_earlier)?;
        if held.version(target).is_none() {
            return Err(no_earlier());
        }
        held.current = target;
        if let Some(index) = held.history.iter().rposition(|number| *number == target) {
            held.history.truncate(index);
        }
        self.active = Some(name.to_owned());
        Ok(())
    }

    /// Forgets all but the newest `keep` versions of each recipe, never the current one nor the one before it;
    /// what was forgotten.
    pub(super) fn prune(&mut self, keep: usize) -> Vec<(String, u32)> {
        let mut dropped = Vec::new();
        for held in &mut self.recipes {
            let excess = held.versions.len().saturating_sub(keep);
            let spared = [Some(held.current), held.history.last().copied()];
            let oldest: Vec<u32> = held
                .versions
                .iter()
                .map(|version| version.number)
                .filter(|number| !spared.contains(&Some(*number)))
                .take(excess)
                .collect();
            held.versions.retain(|version| !oldest.contains(&version.number));
            held.history.retain(|number| !oldest.contains(number));
            dropped.extend(oldest.into_iter().map(|number| (held.name.clone(), number)));
        }
        dropped
    }
}
