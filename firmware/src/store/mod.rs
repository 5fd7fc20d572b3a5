//! The recipe store: versions of recipes on disk, of which one is active.
//!
//! ```text
//! ROOT/state.toml            which versions there are, which is current, which recipe is active
//! ROOT/NAME/VERSION.touchstone  a version: one file, never changed once it is there
//! ROOT/.*.part               what is being written; collected when nobody is writing
//! ROOT/audit.jsonl           who changed what, when and from where ([`audit`])
//! ROOT/refused.jsonl         who wanted to, and why not
//! ```
//!
//! A change is one new `state.toml`, renamed over the old one after everything that it speaks of was flushed:
//! whenever the power fails, there is the old state or the new one. What a cut leaves over is no state and is
//! collected. Writers of other processes are kept out by a lock; within the process a [`Hold`] is shared.

pub mod audit;
mod error;
pub mod files;
mod state;

pub use error::StoreError;
pub use state::{Held, Origin, Selector, State, Version};

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::{info, warn};
use sha2::{Digest, Sha256};
use touchstone_models::bundle::{BUNDLE_BYTES_MAX, BUNDLE_SUFFIX, SIGNATURE_BYTES_MAX};
use touchstone_models::recipe::Recipe;

use files::{Disk, Files, Lock, make_lasting_dir};

/// Versions of each recipe that are kept unless told otherwise.
pub const KEEP_DEFAULT: u32 = 5;
/// Fewest and most that may be asked for: the current one and the one before it must stay.
pub const KEEP: std::ops::RangeInclusive<u32> = 2..=100;
/// Bytes that stay free on the disk whatever comes in.
pub const RESERVE_BYTES: u64 = 16 << 20;
/// How far a bundle's version may be ahead of the newest that was ever here: a slip of the pen, or somebody
/// who wants no later version to be taken, must not use the numbers up.
pub const VERSION_STEP_MAX: u32 = 1_000_000;
/// Highest version that a recipe may come with that was never here, for the same reason. Dates fit.
pub const VERSION_FIRST_MAX: u32 = 1_000_000_000;
/// Most bytes of `state.toml`.
const STATE_BYTES_MAX: u64 = 1 << 20;
/// Most recipes of a store.
pub const RECIPES_MAX: usize = 256;
/// Bytes read at a time.
const PIECE: u64 = 1 << 20;

const STATE_FILE: &str = "state.toml";
const STATE_PART: &str = ".state.part";
const LOCK_FILE: &str = ".lock";
const PART_SUFFIX: &str = ".part";

/// Recipes on disk. Clones are handles to the same.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    files: Arc<dyn Files>,
    root: PathBuf,
    keep: usize,
    held: Mutex<Holding>,
}

/// Who is writing.
#[derive(Default)]
struct Holding {
    lock: Option<Lock>,
    count: usize,
    spools: u64,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("root", &self.inner.root).finish_non_exhaustive()
    }
}

/// Keeps other processes from writing, and leftovers from being collected, as long as it lives.
#[derive(Debug)]
pub struct Hold(Store);

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.0.held();
        held.count -= 1;
        if held.count == 0 {
            held.lock = None;
        }
    }
}

/// A file that is coming in.
#[derive(Debug)]
pub struct Spool {
    hold: Hold,
    file: PathBuf,
    size: u64,
    written: u64,
    kept: bool,
}

/// A version that is in its place and not yet part of the state.
#[derive(Debug)]
pub struct Staged {
    hold: Hold,
    /// The recipe's name.
    pub name: String,
    /// The version.
    pub version: Version,
    /// Where it lies.
    pub file: PathBuf,
    kept: bool,
}

impl Store {
    /// The store in folder `root`, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be read or written, or its state is of a later format.
    pub fn open(root: &Path, keep: u32) -> Result<Store, StoreError> {
        Store::with(Arc::new(Disk), root, keep)
    }

    /// With other files below it.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with(files: Arc<dyn Files>, root: &Path, keep: u32) -> Result<Store, StoreError> {
        let keep = keep.clamp(*KEEP.start(), *KEEP.end()) as usize;
        let held = Mutex::default();
        let store = Store { inner: Arc::new(Inner { files, root: root.to_owned(), keep, held }) };
        let made = make_lasting_dir(store.files(), root);
        match store.state() {
            Ok(_) => made.map_err(|e| StoreError::io("making", root, e))?,
            Err(StoreError::State { file, why }) => {
                warn!("{}: {why}; the state is made anew from the files", file.display());
                store.rebuild()?;
            }
            Err(error) => return Err(error),
        }
        match store.hold() {
            Ok(hold) => drop(hold),
            // Recipes can still be read; whoever wants to write is told then.
            Err(error) => warn!("{error}"),
        }
        Ok(store)
    }

    /// Whether a folder holds a store.
    pub fn is_store(root: &Path) -> bool {
        root.join(STATE_FILE).is_file()
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    fn files(&self) -> &dyn Files {
        self.inner.files.as_ref()
    }

    fn held(&self) -> MutexGuard<'_, Holding> {
        self.inner.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps other processes from writing. The first of a process collects what earlier writers left over.
    ///
    /// # Errors
    /// Another process is writing, or the folder cannot be written to.
    pub fn hold(&self) -> Result<Hold, StoreError> {
        let mut held = self.held();
        if held.count == 0 {
            let file = self.root().join(LOCK_FILE);
            let lock = self.files().lock(&file).map_err(|e| match e.kind() {
                std::io::ErrorKind::WouldBlock => StoreError::Busy { root: self.root().to_owned() },
                _ => StoreError::io("locking", &file, e),
            })?;
            held.lock = Some(lock);
            self.collect();
        }
        held.count += 1;
        drop(held);
        Ok(Hold(self.clone()))
    }

    /// What the store holds.
    ///
    /// # Errors
    /// The state cannot be read, is damaged or of a later format.
    pub fn state(&self) -> Result<State, StoreError> {
        let file = self.root().join(STATE_FILE);
        let bytes = match self.files().read(&file, 0, STATE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(State::default()),
            Err(e) => return Err(StoreError::io("reading", &file, e)),
        };
        State::parse(&bytes).map_err(|why| StoreError::State { file, why })
    }

    /// When the state was last written, by the disk's clock: tells that it has changed, and nothing else.
    pub fn changed(&self) -> Option<std::time::SystemTime> {
        std::fs::metadata(self.root().join(STATE_FILE)).and_then(|file| file.modified()).ok()
    }

    /// Where a version lies, whether it is there or not.
    pub fn file(&self, name: &str, version: u32) -> PathBuf {
        self.root().join(name).join(format!("{version}{BUNDLE_SUFFIX}"))
    }

    /// The file of what is judged by, if anything is active.
    pub fn active_file(&self) -> Option<PathBuf> {
        let state = self.state().ok()?;
        let held = state.active()?;
        Some(self.file(&held.name, held.current))
    }

    /// Removes what is no part of the state. Failures are left for the next time.
    fn collect(&self) {
        let Ok(state) = self.state() else { return };
        let Ok(names) = self.files().list(self.root()) else { return };
        for name in names {
            let path = self.root().join(&name);
            if name.starts_with('.') && name.ends_with(PART_SUFFIX) {
                self.discard(&path);
            } else if touchstone_models::files::is_safe_name(&name)
                && let Ok(versions) = self.files().list(&path)
            {
                for file in versions {
                    if !state.knows(&name, &file) && file.ends_with(BUNDLE_SUFFIX) {
                        self.discard(&path.join(&file));
                    }
                }
            }
        }
    }

    fn discard(&self, file: &Path) {
        match self.files().remove(file) {
            Ok(()) => info!("store: {} was left over and is removed", file.display()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => warn!("store: {}: {e}; it is left over", file.display()),
        }
    }

    /// A state from the files alone: after damage that no power cut explains.
    fn rebuild(&self) -> Result<(), StoreError> {
        let _hold = self.hold()?;
        let mut state = State::default();
        let root = self.root();
        let names = self.files().list(root).map_err(|e| StoreError::io("reading", root, e))?;
        for name in names.into_iter().filter(|n| touchstone_models::files::is_safe_name(n)) {
            let Ok(files) = self.files().list(&root.join(&name)) else { continue };
            let number = |file: &String| file.strip_suffix(BUNDLE_SUFFIX)?.parse::<u32>().ok();
            let mut numbers: Vec<u32> = files.iter().filter_map(number).collect();
            numbers.sort_unstable();
            for number in numbers {
                let (sha256, bytes) = self.hash(&self.file(&name, number))?;
                let from = Origin::Rebuilt;
                let at = audit::now();
                state.add(&name, Version { number, sha256, bytes, from, key: None, at });
                // With one recipe there is no doubt about what is active; with several, a person decides.
                state.choose(&name, number);
            }
        }
        if state.recipes.len() != 1 {
            state.active = None;
        }
        self.write_state(&state)
    }

    /// Begins to take in a file of `size` bytes. Nothing is touched unless there is room for it.
    ///
    /// # Errors
    /// Too large, no room, or somebody else is writing.
    pub fn spool(&self, size: u64) -> Result<Spool, StoreError> {
        if size > BUNDLE_BYTES_MAX {
            return Err(StoreError::TooLarge { bytes: size });
        }
        let root = self.root();
        let free =
            self.files().free(root).map_err(|e| StoreError::io("asking for room in", root, e))?;
        let needed = size + SIGNATURE_BYTES_MAX + RESERVE_BYTES;
        if free < needed {
            return Err(StoreError::NoRoom { root: root.to_owned(), free, needed });
        }
        let hold = self.hold()?;
        let number = {
            let mut held = self.held();
            held.spools += 1;
            held.spools
        };
        let file = root.join(format!(".incoming-{number}{PART_SUFFIX}"));
        self.files().write(&file, b"").map_err(|e| StoreError::io("writing", &file, e))?;
        Ok(Spool { hold, file, size, written: 0, kept: false })
    }

    /// Takes a recipe in as it is: what was taught here, or imported by somebody with a shell.
    ///
    /// # Errors
    /// As [`Store::spool`] and [`Spool::stage`].
    pub fn stage_recipe(&self, recipe: &Recipe, from: Origin) -> Result<Staged, StoreError> {
        let mut bytes = Vec::new();
        recipe.pack(&mut bytes).map_err(|e| StoreError::Recipe { why: e.to_string() })?;
        let mut spool = self.spool(bytes.len() as u64)?;
        bytes.chunks(PIECE as usize).try_for_each(|piece| spool.append(piece))?;
        let version = Version {
            number: recipe.card.version,
            sha256: touchstone_models::package::sha256_hex(&bytes),
            bytes: bytes.len() as u64,
            from,
            key: None,
            at: audit::now(),
        };
        spool.stage(&recipe.card.name, version)
    }

    /// The version that a recipe taught or changed here gets.
    ///
    /// # Errors
    /// The state cannot be read, or the numbers are used up.
    pub fn next_version(&self, name: &str) -> Result<u32, StoreError> {
        let newest = self.state()?.find(name).map_or(0, |held| held.newest);
        newest.checked_add(1).ok_or_else(|| StoreError::NotNewer {
            name: name.to_owned(),
            newest,
            given: newest,
        })
    }

    /// Whether a bundle of this version may come in.
    ///
    /// # Errors
    /// It is not newer than all that were ever here, or absurdly newer.
    pub fn admits(&self, name: &str, version: u32) -> Result<(), StoreError> {
        let state = self.state()?;
        let Some(held) = state.find(name) else {
            if state.recipes.len() >= RECIPES_MAX {
                return Err(StoreError::TooMany { root: self.root().to_owned() });
            }
            if version > VERSION_FIRST_MAX {
                return Err(StoreError::First { name: name.to_owned(), given: version });
            }
            return Ok(());
        };
        let name = name.to_owned();
        if version <= held.newest {
            return Err(StoreError::NotNewer { name, newest: held.newest, given: version });
        }
        if version - held.newest > VERSION_STEP_MAX {
            return Err(StoreError::Leap { name, newest: held.newest, given: version });
        }
        Ok(())
    }

    /// Makes a staged version the current one of its recipe, and its recipe the active one.
    ///
    /// # Errors
    /// The state cannot be written; then nothing has changed.
    pub fn commit(&self, mut staged: Staged) -> Result<State, StoreError> {
        let (name, version) = (staged.name.clone(), staged.version.clone());
        let number = version.number;
        let state = self.change(|state| {
            state.add(&name, version);
            state.choose(&name, number);
            Ok(())
        })?;
        staged.kept = true;
        Ok(state)
    }

    /// Makes a version that is here the active one.
    ///
    /// # Errors
    /// There is none such, or the state cannot be written.
    pub fn activate(&self, wanted: &Selector) -> Result<State, StoreError> {
        self.change(|state| {
            let (name, number) = state.resolve(wanted)?;
            state.choose(&name, number);
            Ok(())
        })
    }

    /// Where a rollback of the active recipe leads to.
    ///
    /// # Errors
    /// No recipe is active, or it has no earlier version.
    pub fn before(&self) -> Result<(String, u32), StoreError> {
        let state = self.state()?;
        let held = state.active().ok_or(StoreError::Nothing)?;
        let number = held.history.last().copied();
        let number = number.ok_or_else(|| StoreError::NoEarlier { name: held.name.clone() })?;
        Ok((held.name.clone(), number))
    }

    /// Goes back to the version that was current before, or where `to` says so further back.
    ///
    /// # Errors
    /// There is none, or the state cannot be written.
    pub fn rollback(&self, name: &str, to: Option<u32>) -> Result<State, StoreError> {
        self.change(|state| state.step_back(name, to))
    }

    /// Reads the state, changes it and writes it, while nobody else does.
    fn change(
        &self,
        change: impl FnOnce(&mut State) -> Result<(), StoreError>,
    ) -> Result<State, StoreError> {
        let _hold = self.hold()?;
        let _one_at_a_time = self.held();
        let mut state = self.state()?;
        change(&mut state)?;
        let dropped = state.prune(self.inner.keep);
        self.write_state(&state)?;
        for (name, number) in dropped {
            self.discard(&self.file(&name, number));
        }
        Ok(state)
    }

    fn write_state(&self, state: &State) -> Result<(), StoreError> {
        let (part, file) = (self.root().join(STATE_PART), self.root().join(STATE_FILE));
        let text = state.emit().map_err(|why| StoreError::State { file: file.clone(), why })?;
        let files = self.files();
        let written = files
            .write(&part, text.as_bytes())
            .and_then(|()| files.sync(&part))
            .and_then(|()| files.rename(&part, &file));
        written.map_err(|e| StoreError::io("writing", &file, e))?;
        // From here on the new state may hold whatever happens, so an error is none of a change undone.
        if let Err(e) = files.sync_dir(self.root()) {
            warn!("store: {}: {e}; the change may not survive a power cut", self.root().display());
        }
        Ok(())
    }

    /// Hex SHA-256 and length of a file.
    fn hash(&self, file: &Path) -> Result<(String, u64), StoreError> {
        let mut hash = Sha256::new();
        let mut at = 0;
        loop {
            let piece = self.files().read(file, at, PIECE);
            let piece = piece.map_err(|e| StoreError::io("reading", file, e))?;
            if piece.is_empty() {
                return Ok((touchstone_models::files::hex(&hash.finalize()), at));
            }
            hash.update(&piece);
            at += piece.len() as u64;
        }
    }

    /// Whether a version's bytes are still those that came in.
    ///
    /// # Errors
    /// It is not here, cannot be read, or has changed.
    pub fn verify(&self, name: &str, number: u32) -> Result<(), StoreError> {
        let state = self.state()?;
        let known = state.find(name).and_then(|held| held.version(number));
        let selector = Selector { name: name.to_owned(), version: Some(number) };
        let known = known.ok_or(StoreError::NoSuch { selector })?;
        let file = self.file(name, number);
        let (found, _) = self.hash(&file)?;
        if found == known.sha256 {
            return Ok(());
        }
        Err(StoreError::Damaged { file })
    }
}

impl Spool {
    /// How many bytes have come in.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How many there are to come in all.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// More than announced, or the disk's.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let total = self.written + bytes.len() as u64;
        if total > self.size {
            return Err(StoreError::Longer { announced: self.size });
        }
        let files = self.hold.0.files();
        files.append(&self.file, bytes).map_err(|e| StoreError::io("writing", &self.file, e))?;
        self.written = total;
        Ok(())
    }

    /// Appends all that there is to read.
    ///
    /// # Errors
    /// The reader's, more than announced, or the disk's.
    pub fn fill(&mut self, from: &mut impl std::io::Read) -> Result<(), StoreError> {
        let mut piece = vec![0; PIECE as usize];
        loop {
            match from.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(read) => self.append(&piece[..read])?,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(StoreError::io("copying to", &self.file, e)),
            }
        }
    }

    /// Puts the file into its place, flushed, as a version that is not yet part of the state.
    ///
    /// # Errors
    /// Fewer bytes than announced, a version that is there, or the disk's.
    pub fn stage(mut self, name: &str, version: Version) -> Result<Staged, StoreError> {
        let store = self.hold.0.clone();
        let files = store.files();
        if self.written < self.size {
            return Err(StoreError::Shorter { announced: self.size, got: self.written });
        }
        if store.state()?.find(name).is_some_and(|held| held.version(version.number).is_some()) {
            let newest = version.number;
            return Err(StoreError::NotNewer { name: name.to_owned(), newest, given: newest });
        }
        let (folder, file) = (store.root().join(name), store.file(name, version.number));
        files.sync(&self.file).map_err(|e| StoreError::io("flushing", &self.file, e))?;
        files.make_dir(&folder).map_err(|e| StoreError::io("making", &folder, e))?;
        files.sync_dir(store.root()).map_err(|e| StoreError::io("flushing", store.root(), e))?;
        files.rename(&self.file, &file).map_err(|e| StoreError::io("writing", &file, e))?;
        self.kept = true;
        let hold = store.hold()?;
        let staged = Staged { hold, name: name.to_owned(), version, file, kept: false };
        // From here on dropping `staged` takes the file away again.
        files.sync_dir(&folder).map_err(|e| StoreError::io("flushing", &folder, e))?;
        Ok(staged)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if !self.kept {
            self.hold.0.discard(&self.file);
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.kept {
            self.hold.0.discard(&self.file);
        }
    }
}

#[cfg(test)]
mod cuts;
#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;
