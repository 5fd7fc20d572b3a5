//! The power cut at every call, and every call failing: the store is the old one or the new one, never neither.

use super::simulated::{Found, SimDisk};
use super::*;

const ROOT: &str = "/var/store";
/// Seeds per cut for what arrives in any order.
const SEEDS: u64 = 24;
const ERRORS: [(&str, i32); 3] = [("EIO", 5), ("ENOSPC", 28), ("EROFS", 30)];

fn open(disk: &SimDisk) -> Store {
    Store::with(Arc::new(disk.clone()), Path::new(ROOT), 2).unwrap()
}

/// A bundle's bytes; the store does not look into them.
fn bytes(name: &str, number: u32) -> Vec<u8> {
    (0..2000u32).map(|i| (i * 31 + number * 7 + name.len() as u32) as u8).collect()
}

fn stage(store: &Store, name: &str, number: u32, from: Origin) -> Result<Staged, StoreError> {
    let bytes = bytes(name, number);
    let mut spool = store.spool(bytes.len() as u64)?;
    bytes.chunks(700).try_for_each(|piece| spool.append(piece))?;
    let sha256 = touchstone_models::package::sha256_hex(&bytes);
    let length = bytes.len() as u64;
    let at = "2026-11-27T00:00:00Z".to_owned();
    spool.stage(name, Version { number, sha256, bytes: length, from, key: None, at })
}

fn install(store: &Store, name: &str, number: u32, from: Origin) -> Result<(), StoreError> {
    let staged = stage(store, name, number, from)?;
    store.commit(staged)?;
    store.record(&audit::Entry::new("installed", "test").about(name, number));
    Ok(())
}

/// Active recipe and its current version.
fn active(store: &Store) -> Option<(String, u32)> {
    store.state().unwrap().active().map(|held| (held.name.clone(), held.current))
}

/// Every version that the state names is whole, and there is nothing else.
fn sound(store: &Store, disk: &SimDisk, what: &str) {
    let state = store.state().unwrap();
    for held in &state.recipes {
        for version in &held.versions {
            let whole = store.verify(&held.name, version.number);
            assert!(whole.is_ok(), "{what}: {} {}: {whole:?}", held.name, version.number);
        }
    }
    for file in disk.all() {
        let name = file.file_name().unwrap().to_str().unwrap();
        let folder = file.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let known = ["state.toml", "audit.jsonl"].contains(&name) || state.knows(folder, name);
        assert!(known, "{what}: {} is left over", file.display());
    }
}

struct Story {
    name: &'static str,
    before: fn(&Store),
    change: fn(&Store) -> Result<(), StoreError>,
    old: Option<(&'static str, u32)>,
    new: Option<(&'static str, u32)>,
    /// Whether the change writes itself into the audit.
    told: bool,
}

const STORIES: [Story; 7] = [
    Story {
        name: "first import into an empty store",
        before: |_| {},
        change: |store| install(store, "cap", 1, Origin::Import),
        old: None,
        new: Some(("cap", 1)),
        told: true,
    },
    Story {
        name: "update from a stick",
        before: |store| install(store, "cap", 1, Origin::Import).unwrap(),
        change: |store| install(store, "cap", 2, Origin::Stick),
        old: Some(("cap", 1)),
        new: Some(("cap", 2)),
        told: true,
    },
    Story {
        name: "update that drops the oldest version",
        before: |store| {
            for number in 1..=3 {
                install(store, "cap", number, Origin::Push).unwrap();
            }
        },
        change: |store| install(store, "cap", 4, Origin::Push),
        old: Some(("cap", 3)),
        new: Some(("cap", 4)),
        told: true,
    },
    Story {
        name: "teach of another product",
        before: |store| install(store, "cap", 1, Origin::Import).unwrap(),
        change: |store| install(store, "nut", store.next_version("nut")?, Origin::Teach),
        old: Some(("cap", 1)),
        new: Some(("nut", 1)),
        told: true,
    },
    Story {
        name: "a bundle that fails its golden test",
        before: |store| install(store, "cap", 1, Origin::Import).unwrap(),
        change: |store| stage(store, "cap", 2, Origin::Stick).map(drop),
        old: Some(("cap", 1)),
        new: Some(("cap", 1)),
        told: false,
    },
    Story {
        name: "rollback",
        before: |store| {
            install(store, "cap", 1, Origin::Import).unwrap();
            install(store, "cap", 2, Origin::Stick).unwrap();
        },
        change: |store| store.rollback("cap", None).map(drop),
        old: Some(("cap", 2)),
        new: Some(("cap", 1)),
        told: false,
    },
    Story {
        name: "activation of another recipe",
        before: |store| {
            install(store, "nut", 1, Origin::Import).unwrap();
            install(store, "cap", 1, Origin::Import).unwrap();
        },
        change: |store| store.activate(&"nut".parse().unwrap()).map(drop),
        old: Some(("cap", 1)),
        new: Some(("nut", 1)),
        told: false,
    },
];

fn named(state: Option<(&str, u32)>) -> Option<(String, u32)> {
    state.map(|(name, number)| (name.to_owned(), number))
}

/// The disk before the change, settled, and how many calls the change takes.
fn begin(story: &Story) -> (SimDisk, u64) {
    let disk = SimDisk::default();
    (story.before)(&open(&disk));
    let disk = disk.after_cut(Found::Kept);
    let trial = disk.fork();
    let store = open(&trial);
    let before = trial.calls();
    (story.change)(&store).unwrap();
    (disk, trial.calls() - before)
}

#[test]
fn whenever_the_power_fails_it_is_the_old_store_or_the_new_one() {
    let mut cuts = 0;
    for story in &STORIES {
        let (disk, calls) = begin(story);
        let told = open(&disk.fork()).audit();
        for cut in 0..=calls {
            for found in Found::all(SEEDS) {
                let what = format!("{}, cut at {cut} of {calls}, {found:?}", story.name);
                let live = disk.fork();
                let store = open(&live);
                live.cut_after(cut);
                let done = (story.change)(&store);
                drop(store);
                let after = live.after_cut(found);
                let store = open(&after);
                let now = active(&store);
                let (old, new) = (named(story.old), named(story.new));
                assert!(now == old || now == new, "{what}: neither, but {now:?}");
                if cut == calls {
                    assert!(done.is_ok() && now == new, "{what}: {done:?}, and then {now:?}");
                }
                sound(&store, &after, &what);
                // The audit has what it had; what is new in it has happened, and is there once it was flushed.
                let log = store.audit();
                assert!(log.starts_with(&told), "{what}: the audit lost {told:?}, it has {log:?}");
                let entries = |log: &[audit::Entry]| {
                    let new = log[told.len()..].iter();
                    new.map(|entry| entry.recipe.clone().zip(entry.version)).collect::<Vec<_>>()
                };
                let new_told = entries(&log);
                assert!(
                    new_told.is_empty() || new_told == [new.clone()] && now == new,
                    "{what}: {log:?}"
                );
                if cut == calls && story.told {
                    assert_eq!(new_told.len(), 1, "{what}: {log:?}");
                }
                // And it goes on from there.
                if now != new {
                    (story.change)(&store).unwrap();
                    assert_eq!(active(&store), new, "{what}: the second try");
                    sound(&store, &after, &what);
                    // Whatever the cut left of the last line, the next one can be read.
                    let log = store.audit();
                    assert!(log.starts_with(&told), "{what}: {log:?}");
                    if story.told {
                        assert_eq!(entries(&log), std::slice::from_ref(&new), "{what}: {log:?}");
                    }
                }
                cuts += 1;
            }
        }
    }
    eprintln!("{cuts} cuts");
    assert!(cuts > 1000, "{cuts}: the cuts are not exhaustive any more");
}

#[test]
fn a_cut_during_the_clearing_up_after_a_cut_is_no_worse() {
    let story = &STORIES[2];
    let (disk, calls) = begin(story);
    for cut in 0..=calls {
        let live = disk.fork();
        let store = open(&live);
        live.cut_after(cut);
        let _ = (story.change)(&store);
        drop(store);
        let after = live.after_cut(Found::Kept);
        for again in 0..3 {
            for found in Found::all(4) {
                let second = after.fork();
                second.cut_after(again);
                drop(Store::with(Arc::new(second.clone()), Path::new(ROOT), 2));
                let third = second.after_cut(found);
                let store = open(&third);
                let now = active(&store);
                assert!(now == named(story.old) || now == named(story.new), "{now:?}");
                sound(&store, &third, "after two cuts");
            }
        }
    }
}

#[test]
fn whatever_call_fails_nothing_is_half_done_and_the_next_try_works() {
    for story in &STORIES {
        let (disk, calls) = begin(story);
        for (call, lasting) in (0..calls).flat_map(|call| [(call, false), (call, true)]) {
            for (error, errno) in ERRORS {
                let what = format!("{}, {error} at {call}, lasting: {lasting}", story.name);
                let live = disk.fork();
                let store = open(&live);
                live.fail_after(call, lasting, errno);
                let done = (story.change)(&store);
                let wanted = named(if done.is_ok() { story.new } else { story.old });
                assert_eq!(active(&store), wanted, "{what}: {done:?}");
                live.mend();
                drop(store);
                let store = open(&live);
                sound(&store, &live, &what);
                if done.is_err() {
                    (story.change)(&store).unwrap();
                    assert_eq!(active(&store), named(story.new), "{what}");
                }
            }
        }
    }
}
