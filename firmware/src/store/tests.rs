use super::simulated::SimDisk;
use super::*;

fn store() -> (SimDisk, Store) {
    let disk = SimDisk::default();
    let store = Store::with(Arc::new(disk.clone()), Path::new("/s"), 3).unwrap();
    (disk, store)
}

fn put(store: &Store, name: &str, number: u32) -> Result<State, StoreError> {
    let bytes = format!("{name} {number}").into_bytes();
    let mut spool = store.spool(bytes.len() as u64)?;
    spool.append(&bytes)?;
    let staged = spool.stage(
        name,
        Version {
            number,
            sha256: touchstone_models::package::sha256_hex(&bytes),
            bytes: bytes.len() as u64,
            from: Origin::Push,
            key: None,
            at: audit::now(),
        },
    )?;
    store.commit(staged)
}

fn numbers(state: &State, name: &str) -> Vec<u32> {
    state.find(name).unwrap().versions.iter().map(|v| v.number).collect()
}

#[test]
fn the_last_versions_are_kept_and_every_one_can_be_undone() {
    let (disk, store) = store();
    for number in [1, 2, 5, 6] {
        put(&store, "cap", number).unwrap();
    }
    let state = store.state().unwrap();
    assert_eq!(numbers(&state, "cap"), [2, 5, 6]);
    assert!(disk.bytes(&store.file("cap", 1)).is_none());
    assert_eq!(state.candidates(), [("cap".into(), 6), ("cap".into(), 5), ("cap".into(), 2)]);
    assert_eq!(store.before().unwrap(), ("cap".to_owned(), 5));
    store.rollback("cap", None).unwrap();
    assert_eq!(store.rollback("cap", None).unwrap().active().unwrap().current, 2);
    assert!(matches!(store.rollback("cap", None), Err(StoreError::NoEarlier { .. })));
    // Going back does not let an older bundle in.
    assert_eq!(store.next_version("cap").unwrap(), 7);
    assert!(matches!(store.admits("cap", 6), Err(StoreError::NotNewer { newest: 6, .. })));
    // The current version stays, however many come after it and are not used.
    let state = put(&store, "cap", 7).unwrap();
    assert_eq!((numbers(&state, "cap"), store.before().unwrap().1), (vec![2, 6, 7], 2));
}

#[test]
fn older_and_absurdly_newer_versions_are_refused() {
    let (_disk, store) = store();
    put(&store, "cap", 20_261_127).unwrap();
    for (given, fits) in [(1, false), (20_261_127, false), (20_270_101, true), (u32::MAX, false)] {
        assert_eq!(store.admits("cap", given).is_ok(), fits, "{given}");
    }
    for (given, fits) in [(1, true), (20_261_127, true), (u32::MAX, false)] {
        assert_eq!(store.admits("nut", given).is_ok(), fits, "{given}");
    }
    let mut spool = store.spool(3).unwrap();
    spool.append(b"abc").unwrap();
    let version = store.state().unwrap().find("cap").unwrap().versions[0].clone();
    assert!(matches!(spool.stage("cap", version), Err(StoreError::NotNewer { .. })));
}

#[test]
fn without_room_nothing_is_touched() {
    let (disk, store) = store();
    put(&store, "cap", 1).unwrap();
    disk.fill(RESERVE_BYTES + 1000);
    let before = disk.calls();
    let error = store.spool(2000).unwrap_err();
    assert!(matches!(error, StoreError::NoRoom { .. }), "{error}");
    assert!(error.to_string().contains("nothing was changed"));
    assert_eq!(disk.calls(), before);
    assert!(matches!(store.spool(u64::MAX), Err(StoreError::TooLarge { .. })));
}

#[test]
fn what_comes_in_has_the_length_that_was_announced() {
    let (disk, store) = store();
    let mut spool = store.spool(4).unwrap();
    spool.append(b"abc").unwrap();
    assert!(matches!(spool.append(b"de"), Err(StoreError::Longer { announced: 4 })));
    let version = Version {
        number: 1,
        sha256: String::new(),
        bytes: 4,
        from: Origin::Stick,
        key: None,
        at: audit::now(),
    };
    assert!(matches!(spool.stage("cap", version), Err(StoreError::Shorter { got: 3, .. })));
    assert!(disk.all().is_empty(), "{:?}", disk.all());
}

#[test]
fn another_writer_is_waited_for_by_a_person() {
    let dir = tempfile::tempdir().unwrap();
    let one = Store::open(dir.path(), 3).unwrap();
    let hold = one.hold().unwrap();
    // As another process would: with a lock of its own.
    let other = Store::open(dir.path(), 3).unwrap();
    assert!(matches!(put(&other, "cap", 1), Err(StoreError::Busy { .. })));
    assert!(one.hold().is_ok(), "within a process it is shared");
    drop(hold);
    put(&other, "cap", 1).unwrap();
    assert_eq!(one.state().unwrap().active().unwrap().current, 1);
    assert!(other.verify("cap", 1).is_ok());
    std::fs::write(other.file("cap", 1), b"cap 2").unwrap();
    assert!(matches!(other.verify("cap", 1), Err(StoreError::Damaged { .. })));
}

#[test]
fn a_damaged_state_is_made_anew_and_a_later_one_is_left_alone() {
    let (disk, store) = store();
    put(&store, "cap", 1).unwrap();
    put(&store, "cap", 2).unwrap();
    let file = Path::new("/s/state.toml");
    let good = disk.bytes(file).unwrap();
    disk.put(file, b"\0\0\0\0");
    drop(store);
    let store = Store::with(Arc::new(disk.clone()), Path::new("/s"), 3).unwrap();
    let state = store.state().unwrap();
    assert_eq!((state.active.as_deref(), numbers(&state, "cap")), (Some("cap"), vec![1, 2]));
    assert!(store.verify("cap", 2).is_ok());
    for text in ["current = 9\n", "number = 7\n"] {
        let key = &text[..text.find(' ').unwrap()];
        let mangled: String = String::from_utf8(good.clone())
            .unwrap()
            .lines()
            .map(|line| if line.starts_with(key) { text.to_owned() } else { format!("{line}\n") })
            .collect();
        assert!(State::parse(mangled.as_bytes()).is_err(), "{mangled}");
    }
    assert!(State::parse(b"format = 2\n").unwrap_err().contains("format 2"));
}

#[test]
fn selectors_read_like_they_are_written() {
    for text in ["cap", "cap-38@12"] {
        assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
    }
    for bad in ["", "@1", "Cap", "../cap", "cap@", "cap@-1", "cap@1@2"] {
        assert!(bad.parse::<Selector>().is_err(), "{bad}");
    }
}
