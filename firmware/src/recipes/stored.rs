//! How a judge changes what it judges by, with a store behind it. Nothing goes live that has not passed its golden
//! test on this board and engine, and the store's state changes before the judge does.

use log::{info, warn};
use touchstone_board::command::Source;
use touchstone_models::files::{hex, is_safe_name};
use touchstone_models::picture::Picture;
use touchstone_models::recipe::{ModelPin, PROMPTS_MAX, Recipe, RecipeCard};

use super::bench::{Bench, Delivery, as_they_should};
use super::candidate::{Candidate, self_test};
use crate::inspection::{Activated, Changed, Wish};
use crate::session;
use crate::store::audit::Entry;
use crate::store::{Origin, Selector, Store, StoreError};

/// A try that came to nothing.
type Tried<T> = Result<T, String>;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Bench {
    pub(super) fn change_stored(
        &mut self,
        store: &Store,
        delivery: &Delivery,
        wish: Wish,
        from: Source,
    ) -> Changed {
        let from = from.to_string();
        let (what, done) = match wish {
            Wish::Activate(wanted) => match wanted.parse::<Selector>() {
                Ok(wanted) => match delivery.take(&wanted) {
                    Some(staged) => ("install", self.install(store, staged, &from)),
                    None => ("activate", self.activate_stored(store, &wanted, &from)),
                },
                Err(why) => ("activate", Err(why)),
            },
            Wish::Rollback => ("roll back", self.roll_back(store, &from)),
            Wish::Teach { name, picture } => ("teach", self.teach(store, name, picture, &from)),
            Wish::Verify => return self.verify(store, &from),
        };
        match done {
            Ok((word, active)) => Changed::to(word, active),
            Err(why) => {
                store.record(&Entry::new("refused", &from).noting(&format!("{what}: {why}")));
                self.refused(why)
            }
        }
    }

    /// A version of the store, its bytes checked, built and tried.
    fn candidate(&self, store: &Store, name: &str, number: u32) -> Tried<Candidate> {
        store.verify(name, number).map_err(text)?;
        Candidate::open(&self.config, &store.file(name, number), name).map_err(text)
    }

    fn install(
        &mut self,
        store: &Store,
        staged: crate::store::Staged,
        from: &str,
    ) -> Tried<(String, Activated)> {
        let (name, version) = (staged.name.clone(), staged.version.clone());
        let candidate = Candidate::open(&self.config, &staged.file, &name).map_err(text)?;
        store.commit(staged).map_err(text)?;
        let mut entry = Entry::new("installed", from).about(&name, version.number);
        entry.sha256 = Some(version.sha256);
        entry.key = version.key;
        entry.identity = Some(hex(&candidate.active.identity));
        store.record(&entry);
        let word = format!("{name} {} is active", version.number);
        Ok((word, self.take_up(candidate)))
    }

    fn activate_stored(
        &mut self,
        store: &Store,
        wanted: &Selector,
        from: &str,
    ) -> Tried<(String, Activated)> {
        let (name, number) = store.state().and_then(|state| state.resolve(wanted)).map_err(text)?;
        let candidate = self.candidate(store, &name, number)?;
        let exact = Selector { name: name.clone(), version: Some(number) };
        store.activate(&exact).map_err(text)?;
        let mut entry = Entry::new("activated", from).about(&name, number);
        entry.identity = Some(hex(&candidate.active.identity));
        store.record(&entry);
        Ok((name, self.take_up(candidate)))
    }

    fn roll_back(&mut self, store: &Store, from: &str) -> Tried<(String, Activated)> {
        let (name, number) = store.before().map_err(text)?;
        let candidate = self.candidate(store, &name, number)?;
        store.rollback(&name, Some(number)).map_err(text)?;
        let mut entry = Entry::new("rolled-back", from).about(&name, number);
        entry.identity = Some(hex(&candidate.active.identity));
        store.record(&entry);
        Ok((format!("{name} {number} is active"), self.take_up(candidate)))
    }

    /// One more good part: a new version of the recipe, or a new recipe.
    fn teach(
        &mut self,
        store: &Store,
        name: Option<String>,
        picture: Picture,
        from: &str,
    ) -> Tried<(String, Activated)> {
        let state = store.state().map_err(text)?;
        let name = name.or(state.active.clone());
        let name = name.ok_or("no recipe is active; teach NAME makes one")?;
        if !is_safe_name(&name) {
            return Err(format!("'{name}': use 1 to 64 of a-z, 0-9, '-' and '_'"));
        }
        let version = store.next_version(&name).map_err(text)?;
        let (recipe, loaded) = match state.find(&name) {
            Some(held) => {
                store.verify(&name, held.current).map_err(text)?;
                let file = store.file(&name, held.current);
                let mut recipe = session::open_recipe(&file).map_err(text)?;
                if recipe.prompts.len() >= PROMPTS_MAX {
                    return Err(format!(
                        "{name} has {PROMPTS_MAX} good parts already; teach it anew"
                    ));
                }
                recipe.prompts.push(picture);
                recipe.card.version = version;
                let loaded = session::load_model(&self.config.model, Some(&recipe));
                (recipe, loaded.map_err(text)?)
            }
            None => {
                let loaded = session::load_model(&self.config.model, None).map_err(text)?;
                let pin = ModelPin {
                    id: loaded.package.id().to_owned(),
                    hash: loaded.package.hash().to_owned(),
                };
                (new_recipe(&name, version, pin, picture)?, loaded)
            }
        };
        let candidate = Candidate::build(&self.config, recipe, loaded, &name);
        let mut candidate = candidate.map_err(text)?;
        if let Err((number, why)) = self_test(&mut candidate.inspector, &candidate.recipe) {
            return Err(format!("the recipe would reject its own good part {number} ({why})"));
        }
        let taught = candidate.recipe.prompts.len();
        let odd = candidate.inspector.suspicious_prompts();
        let odd = odd.iter().any(|prompt| prompt.index + 1 == taught);
        let staged = store.stage_recipe(&candidate.recipe, Origin::Teach).map_err(text)?;
        let sha256 = staged.version.sha256.clone();
        store.commit(staged).map_err(text)?;
        let mut entry = Entry::new("taught", from).about(&name, version);
        entry.sha256 = Some(sha256);
        entry.identity = Some(hex(&candidate.active.identity));
        store.record(&entry);
        let look = match odd {
            true => format!(", LOOK AT part {taught}: it differs from the others"),
            false => String::new(),
        };
        let word = format!("{name} {version} is active, {taught} good parts{look}");
        Ok((word, self.take_up(candidate)))
    }

    /// Tries what is judged by on its golden pictures, with a judge of its own. One that fails is left for the
    /// newest earlier version that does not.
    fn verify(&mut self, store: &Store, from: &str) -> Changed {
        let state = match store.state() {
            Ok(state) => state,
            Err(error) => return self.refused(text(error)),
        };
        let Some((name, number)) = state.candidates().into_iter().next() else {
            let active = self.settle(from, None);
            let outcome = Err(text(StoreError::Nothing));
            return Changed { outcome, active: active.map(Box::new), sound: self.is_sound() };
        };
        match self.candidate(store, &name, number) {
            Ok(candidate) if self.is_sound() => {
                info!("{name} {number}: {}", as_they_should(candidate.judged));
                let outcome = Ok(as_they_should(candidate.judged));
                Changed { outcome, active: None, sound: true }
            }
            Ok(candidate) => {
                let word = as_they_should(candidate.judged);
                Changed::to(word, self.take_up(candidate))
            }
            Err(why) => {
                let active = self.settle(from, Some((number, &why)));
                let now = match &active {
                    Some(active) => {
                        format!("now {}", active.names.recipe.as_deref().unwrap_or("factory"))
                    }
                    None => "no recipe is left".to_owned(),
                };
                let outcome = Err(format!("{name} {number}: {why}; {now}"));
                Changed { outcome, active: active.map(Box::new), sound: self.is_sound() }
            }
        }
    }

    /// Judges by the first of the store's candidates that may judge, else by the factory's recipe, else by none.
    /// `failed` is one that is known not to do.
    pub(super) fn settle(&mut self, from: &str, failed: Option<(u32, &str)>) -> Option<Activated> {
        self.inspector = None;
        self.recipe.clear();
        let (store, _) = self.store()?;
        let candidates = match store.state() {
            Ok(state) => state.candidates(),
            Err(error) => {
                warn!("{error}");
                Vec::new()
            }
        };
        let first = candidates.first().map(|(_, number)| *number);
        for (name, number) in candidates {
            let tried = match failed {
                Some((bad, why)) if bad == number => Err(why.to_owned()),
                _ => self.candidate(&store, &name, number),
            };
            match tried {
                Ok(candidate) => {
                    if first != Some(number) {
                        // Not written means tried again at the next start, which is no worse.
                        if let Err(error) = store.rollback(&name, Some(number)) {
                            warn!("{error}");
                        }
                        let mut entry = Entry::new("rolled-back", from).about(&name, number);
                        entry.identity = Some(hex(&candidate.active.identity));
                        store.record(&entry);
                        warn!("{name}: rolled back to version {number}");
                    }
                    return Some(self.take_up(candidate));
                }
                Err(why) => {
                    warn!("{name} {number}: {why}");
                    let entry = Entry::new("golden-failed", from).about(&name, number);
                    store.record(&entry.noting(&why));
                }
            }
        }
        let factory = self.config.recipes.as_ref().and_then(|recipes| recipes.factory.clone())?;
        match Candidate::open(&self.config, &factory, "factory") {
            Ok(candidate) => {
                warn!("the factory's recipe judges");
                store.record(&Entry::new("activated", from).noting("the factory's recipe"));
                Some(self.take_up(candidate))
            }
            Err(why) => {
                warn!("the factory's recipe {}: {why}", factory.display());
                None
            }
        }
    }
}

fn new_recipe(name: &str, version: u32, model: ModelPin, picture: Picture) -> Tried<Recipe> {
    let card = RecipeCard::new(name, version, model);
    Recipe::new(card, vec![picture]).map_err(text)
}
