//! A disk in memory whose power can be cut and whose calls can fail, as badly as the rules of file systems allow:
//! bytes are there for sure after a flush of their file, names after a flush of their folder, and of everything
//! else any part may have arrived in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::files::{Files, Lock};

/// Disks write whole sectors of so many bytes.
const SECTOR: usize = 512;

/// What is found after the power was cut, of what had not been flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Dropped,
    /// All of it.
    Kept,
    /// Names as they were; of files only whole sectors, as far as half the way, and zeros after them.
    Torn,
    /// Any part in any order, by a seed.
    Reordered(u64),
}

impl Found {
    /// Each kind, the last with a number of seeds.
    pub(crate) fn all(seeds: u64) -> impl Iterator<Item = Found> {
        [Found::Dropped, Found::Kept, Found::Torn]
            .into_iter()
            .chain((0..seeds).map(Found::Reordered))
    }
}

#[derive(Clone, Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
}

/// A change of names that is not flushed yet.
#[derive(Clone)]
enum Change {
    Folder(PathBuf),
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, usize),
}

impl Change {
    fn touches(&self, dir: &Path) -> bool {
        let within = |path: &Path| path.parent() == Some(dir);
        match self {
            Change::Folder(path) | Change::Link(path, _) | Change::Unlink(path) => within(path),
            Change::Rename(from, to, _) => within(from) || within(to),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>, folders: &mut BTreeSet<PathBuf>) {
        match self {
            Change::Folder(path) => {
                folders.insert(path.clone());
            }
            Change::Link(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Change::Unlink(path) => {
                names.remove(path);
            }
            Change::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

#[derive(Clone, Default)]
struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    folders: BTreeSet<PathBuf>,
    durable_names: BTreeMap<PathBuf, usize>,
    durable_folders: BTreeSet<PathBuf>,
    pending: Vec<Change>,
    calls: u64,
    cut_at: Option<u64>,
    fail: Option<(u64, bool, i32)>,
    free: Option<u64>,
    dead: bool,
}

/// The disk. Clones are handles to the same.
#[derive(Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<World>>);

fn not_found() -> io::Error {
    io::Error::from(ErrorKind::NotFound)
}

impl World {
    /// Counts a call that changes something; an error where it is to fail or the power is off.
    fn call(&mut self) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("the power is off"));
        }
        let number = self.calls;
        self.calls += 1;
        if self.cut_at == Some(number) {
            // What this call does may still reach the cache, and from there the disk.
            self.dead = true;
        }
        match self.fail {
            Some((at, lasting, errno)) if number == at || lasting && number > at => {
                Err(io::Error::from_raw_os_error(errno))
            }
            _ => Ok(()),
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names, &mut self.folders);
        self.pending.push(change);
    }

    fn inode(&mut self, file: &Path) -> io::Result<usize> {
        if let Some(inode) = self.names.get(file) {
            return Ok(*inode);
        }
        if file.parent().is_some_and(|dir| !self.folders.contains(dir)) {
            return Err(not_found());
        }
        self.inodes.push(Inode::default());
        let inode = self.inodes.len() - 1;
        self.change(Change::Link(file.to_owned(), inode));
        Ok(inode)
    }
}

/// A small generator: the tests must not depend on another one's stream.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Half of what was to be written, in whole sectors, and zeros. Behind flushed bytes these stay: a sector is the old
/// one or the new one.
fn torn(inode: &Inode) -> Vec<u8> {
    let Inode { cached, durable } = inode;
    let kept = if cached.starts_with(durable) { durable.len() } else { 0 };
    let whole = ((kept + (cached.len() - kept) / 2) / SECTOR * SECTOR).max(kept);
    let mut bytes = cached[..whole].to_vec();
    bytes.resize(cached.len(), 0);
    bytes
}

impl SimDisk {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Another disk with the same on it.
    pub(crate) fn fork(&self) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(self.world().clone())))
    }

    /// How many calls changed something.
    pub(crate) fn calls(&self) -> u64 {
        self.world().calls
    }

    /// Cuts the power during the call after so many more.
    pub(crate) fn cut_after(&self, calls: u64) {
        let mut world = self.world();
        world.cut_at = Some(world.calls + calls);
    }

    /// Lets the call after so many more fail, and all after it where it is `lasting`.
    pub(crate) fn fail_after(&self, calls: u64, lasting: bool, errno: i32) {
        let mut world = self.world();
        world.fail = Some((world.calls + calls, lasting, errno));
    }

    /// All calls work again.
    pub(crate) fn mend(&self) {
        self.world().fail = None;
    }

    /// So many bytes are free.
    pub(crate) fn fill(&self, free: u64) {
        self.world().free = Some(free);
    }

    /// Cuts a file short, flushed.
    pub(crate) fn tear(&self, file: &Path, length: usize) {
        let mut world = self.world();
        let inode = world.names[file];
        world.inodes[inode].cached.truncate(length);
        world.inodes[inode].durable.truncate(length);
    }

    /// A file's bytes.
    pub(crate) fn bytes(&self, file: &Path) -> Option<Vec<u8>> {
        let world = self.world();
        world.names.get(file).map(|inode| world.inodes[*inode].cached.clone())
    }

    /// Writes a file past all counting, flushed.
    pub(crate) fn put(&self, file: &Path, bytes: &[u8]) {
        let mut world = self.world();
        let inode = world.inode(file).unwrap();
        world.inodes[inode].cached = bytes.to_vec();
        world.inodes[inode].durable = bytes.to_vec();
        world.durable_names = world.names.clone();
        world.durable_folders = world.folders.clone();
    }

    /// Every file.
    pub(crate) fn all(&self) -> Vec<PathBuf> {
        self.world().names.keys().cloned().collect()
    }

    /// The disk as it is found when the power is back.
    pub(crate) fn after_cut(&self, found: Found) -> SimDisk {
        let world = self.world();
        let mut dice = Dice(match found {
            Found::Reordered(seed) => seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ world.calls,
            _ => 0,
        });
        let (mut names, mut folders) = (world.durable_names.clone(), world.durable_folders.clone());
        for change in &world.pending {
            let arrived = match found {
                Found::Dropped => false,
                Found::Kept | Found::Torn => true,
                Found::Reordered(_) => dice.roll(2) == 0,
            };
            if arrived {
                change.apply(&mut names, &mut folders);
            }
        }
        // What lies in a folder that never arrived is not there.
        names.retain(|file, _| file.parent().is_none_or(|dir| folders.contains(dir)));
        let settle = |inode: &Inode, dice: &mut Dice| {
            let bytes = match found {
                _ if inode.cached == inode.durable => inode.durable.clone(),
                Found::Dropped => inode.durable.clone(),
                Found::Kept => inode.cached.clone(),
                Found::Torn => torn(inode),
                Found::Reordered(_) => match dice.roll(3) {
                    0 => inode.durable.clone(),
                    1 => inode.cached.clone(),
                    _ => torn(inode),
                },
            };
            Inode { cached: bytes.clone(), durable: bytes }
        };
        let inodes = world.inodes.iter().map(|inode| settle(inode, &mut dice)).collect();
        SimDisk(Arc::new(Mutex::new(World {
            inodes,
            names: names.clone(),
            folders: folders.clone(),
            durable_names: names,
            durable_folders: folders,
            free: world.free,
            ..World::default()
        })))
    }
}

impl Files for SimDisk {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        let missing: Vec<PathBuf> =
            dir.ancestors().filter(|d| !world.folders.contains(*d)).map(Path::to_owned).collect();
        for folder in missing.into_iter().rev() {
            world.change(Change::Folder(folder));
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = self.world();
        if !world.folders.contains(dir) {
            return Err(not_found());
        }
        let all = world.names.keys().chain(&world.folders);
        let within = all.filter(|path| path.parent() == Some(dir));
        Ok(within.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn read(&self, file: &Path, at: u64, limit: u64) -> io::Result<Vec<u8>> {
        let world = self.world();
        let inode = world.names.get(file).ok_or_else(not_found)?;
        let bytes = &world.inodes[*inode].cached;
        let from = (at as usize).min(bytes.len());
        let to = from.saturating_add(limit as usize).min(bytes.len());
        Ok(bytes[from..to].to_vec())
    }

    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        let inode = world.inode(file)?;
        world.inodes[inode].cached = bytes.to_vec();
        Ok(())
    }

    fn append(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        let inode = world.inode(file)?;
        world.inodes[inode].cached.extend(bytes);
        Ok(())
    }

    fn sync(&self, file: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        let inode = *world.names.get(file).ok_or_else(not_found)?;
        if !world.dead {
            world.inodes[inode].durable = world.inodes[inode].cached.clone();
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        if world.dead {
            return Ok(());
        }
        let World { pending, durable_names, durable_folders, .. } = &mut *world;
        pending.retain(|change| {
            let flushed = change.touches(dir);
            if flushed {
                change.apply(durable_names, durable_folders);
            }
            !flushed
        });
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        let inode = *world.names.get(from).ok_or_else(not_found)?;
        if to.parent().is_some_and(|dir| !world.folders.contains(dir)) {
            return Err(not_found());
        }
        world.change(Change::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.call()?;
        if !world.names.contains_key(file) {
            return Err(not_found());
        }
        world.change(Change::Unlink(file.to_owned()));
        Ok(())
    }

    fn length(&self, file: &Path) -> io::Result<u64> {
        let world = self.world();
        let inode = world.names.get(file).ok_or_else(not_found)?;
        Ok(world.inodes[*inode].cached.len() as u64)
    }

    fn free(&self, _dir: &Path) -> io::Result<u64> {
        Ok(self.world().free.unwrap_or(u64::MAX))
    }

    fn lock(&self, _file: &Path) -> io::Result<Lock> {
        Ok(Box::new(()))
    }
}
