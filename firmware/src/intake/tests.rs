use super::medium::{Medium, Source as Bytes};
use super::porter::{Porter, Work};
use super::push::{IDLE_MAX, Session, Step};
use super::stick::State;
use super::*;
use crate::recipes::Delivery;
use crate::store::files::{Disk, Files, Lock};
use minisign::KeyPair;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use touchstone_board::Timestamp;
use touchstone_board::command::{Command, Exchange, Request};
use touchstone_board::config::StorageConfig;
use touchstone_board::drives::{DriveError, Drives, Mounter, Partition, Source as Lists};
use touchstone_board::push::{Announcement, PIECE_BYTES_MAX, Push};
use touchstone_models::picture::Picture;
use touchstone_models::recipe::{ModelPin, RecipeCard};

const CYCLES: u64 = 1000;
/// Of every so many cycles one is pulled in the middle of the copy.
const CUT_EVERY: u64 = 5;

/// A camera's folders and the integrator's desk.
struct Site {
    dir: tempfile::TempDir,
    pair: KeyPair,
    gate: Gate,
}

fn site() -> Site {
    site_on(Arc::new(Disk))
}

fn site_on(files: Arc<dyn Files>) -> Site {
    // In memory where there is such a folder: a thousand installations flush a few times each.
    let memory = Path::new("/dev/shm");
    let dir = match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    let pair = KeyPair::generate_unencrypted_keypair().unwrap();
    let keys = dir.path().join("keys");
    fs::create_dir(&keys).unwrap();
    fs::write(keys.join("site.pub"), pair.pk.to_box().unwrap().into_string()).unwrap();
    let store = Store::with(files, &dir.path().join("store"), 3).unwrap();
    let gate = Gate { store, keys: Some(keys), family: Some("orin".to_owned()) };
    Site { dir, pair, gate }
}

fn packed(name: &str, version: u32) -> Vec<u8> {
    let card =
        RecipeCard::new(name, version, ModelPin { id: "tiny".to_owned(), hash: "a".repeat(64) });
    let noise = (0..768u32).map(|i| (i.wrapping_mul(version + 7) % 251) as u8).collect();
    let prompt = Picture::from_rgb8(16, 16, noise).unwrap();
    let mut bytes = Vec::new();
    Recipe::new(card, vec![prompt]).unwrap().pack(&mut bytes).unwrap();
    bytes
}

fn sign(pair: &KeyPair, bytes: &[u8], comment: &str) -> String {
    minisign::sign(Some(&pair.pk), &pair.sk, Cursor::new(bytes), Some(comment), None)
        .unwrap()
        .into_string()
}

fn name(name: &str, version: u32) -> BundleName {
    BundleName { name: name.to_owned(), version }
}

impl Site {
    fn signed(&self, recipe: &str, version: u32) -> (Vec<u8>, String) {
        let bytes = packed(recipe, version);
        let comment = format!("name={recipe} version={version} board=orin");
        let signature = sign(&self.pair, &bytes, &comment);
        (bytes, signature)
    }

    fn admit(&self, file: &BundleName, bytes: &[u8], signature: &str) -> Result<Staged, Refusal> {
        self.gate.wants(file)?;
        let mut spool = self.gate.store.spool(bytes.len() as u64).map_err(Refusal::Store)?;
        spool.append(bytes).map_err(Refusal::Store)?;
        self.gate.admit(spool, file, signature, Origin::Stick)
    }

    fn install(&self, recipe: &str, version: u32) {
        let (bytes, signature) = self.signed(recipe, version);
        let staged = self.admit(&name(recipe, version), &bytes, &signature).unwrap();
        self.gate.store.commit(staged).unwrap();
    }

    fn active(&self) -> Option<(String, u32)> {
        let state = self.gate.store.state().unwrap();
        state.active().map(|held| (held.name.clone(), held.current))
    }

    /// The active version is whole, and nothing is left over.
    fn sound(&self, what: &str) {
        let state = self.gate.store.state().unwrap();
        for held in &state.recipes {
            for version in &held.versions {
                self.gate.store.verify(&held.name, version.number).unwrap();
            }
            let files = fs::read_dir(self.gate.store.root().join(&held.name)).unwrap();
            assert_eq!(files.count(), held.versions.len(), "{what}");
        }
        for entry in fs::read_dir(self.gate.store.root()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.ends_with(".part"), "{what}: {name} is left over");
        }
    }
}

/// TUF's nine attacks and what else a bundle can pretend, at the gate of a camera that runs `cap 5`. What the bytes
/// of a bundle can do is in the models' crate (`bundle/attacks.rs`).
#[test]
fn every_attack_at_the_gate_is_refused_with_its_reason_and_the_old_recipe_stays() {
    let site = site();
    site.install("cap", 5);
    let (bytes, signature) = site.signed("cap", 6);
    let (other_bytes, _) = site.signed("cap", 7);
    let stranger = KeyPair::generate_unencrypted_keypair().unwrap();
    let by = |pair: &KeyPair, bytes: &[u8], comment: &str| sign(pair, bytes, comment);
    let mine = |bytes: &[u8], comment: &str| by(&site.pair, bytes, comment);
    let six = "name=cap version=6 board=orin";
    let mut endless = bytes.clone();
    endless.extend(vec![0; 1 << 20]);
    let cases: Vec<(&str, BundleName, Vec<u8>, String, &str)> = vec![
        ("arbitrary software: unsigned", name("cap", 6), bytes.clone(), String::new(), "damaged"),
        (
            "arbitrary software: strange key",
            name("cap", 6),
            bytes.clone(),
            by(&stranger, &bytes, six),
            "not trusted here",
        ),
        (
            "arbitrary software: other bytes",
            name("cap", 6),
            other_bytes.clone(),
            signature.clone(),
            "does not fit",
        ),
        (
            "arbitrary software: comment changed",
            name("cap", 6),
            bytes.clone(),
            signature.replace("version=6", "version=9"),
            "does not fit",
        ),
        (
            "endless data: longer than signed",
            name("cap", 6),
            endless,
            signature.clone(),
            "does not fit",
        ),
        (
            "extraneous dependencies: a word too many",
            name("cap", 6),
            bytes.clone(),
            mine(&bytes, &format!("{six} needs=evil")),
            "trusted comment",
        ),
        (
            "fast-forward: a version far ahead",
            name("cap", u32::MAX),
            packed("cap", u32::MAX),
            mine(&packed("cap", u32::MAX), "name=cap version=4294967295 board=orin"),
            "ahead of version 5",
        ),
        (
            "freeze: the same version again",
            name("cap", 5),
            packed("cap", 5),
            site.signed("cap", 5).1,
            "not newer",
        ),
        (
            "mix and match: a signature of another version",
            name("cap", 7),
            bytes.clone(),
            signature.clone(),
            "signed as cap-6",
        ),
        (
            "mix and match: another recipe inside",
            name("cap", 7),
            bytes.clone(),
            mine(&bytes, "name=cap version=7 board=orin"),
            "holds cap-6",
        ),
        (
            "mix and match: a file called otherwise",
            name("nut", 6),
            bytes.clone(),
            signature.clone(),
            "signed as cap-6",
        ),
        (
            "rollback: an older version",
            name("cap", 4),
            packed("cap", 4),
            site.signed("cap", 4).1,
            "not newer",
        ),
        (
            "wrong software: another family of boards",
            name("cap", 6),
            bytes.clone(),
            mine(&bytes, "name=cap version=6 board=pi"),
            "family pi",
        ),
        (
            "truncated",
            name("cap", 6),
            bytes[..bytes.len() - 600].to_vec(),
            signature.clone(),
            "does not fit",
        ),
        (
            "stock minisign's own comment",
            name("cap", 6),
            bytes.clone(),
            mine(&bytes, "timestamp:1555779966\tfile:cap-6.touchstone"),
            "trusted comment",
        ),
        (
            "signed, and no tar",
            name("cap", 6),
            b"evil".to_vec(),
            mine(b"evil", six),
            "no sound tar",
        ),
    ];
    for (what, file, bytes, signature, reason) in &cases {
        let refusal = site.admit(file, bytes, signature).expect_err(what).to_string();
        assert!(refusal.contains(reason), "{what}: {refusal}");
        assert_eq!(site.active(), Some(("cap".to_owned(), 5)), "{what}");
        site.sound(what);
    }
    // Key compromise: the key is revoked, and what it signed is worth nothing from that moment on.
    let id = site.admit(&name("cap", 6), &bytes, &signature).unwrap().version.key.clone().unwrap();
    fs::write(site.dir.path().join("keys/revoked.txt"), format!("{id}\n")).unwrap();
    fs::write(site.dir.path().join("keys/new.pub"), stranger.pk.to_box().unwrap().into_string())
        .unwrap();
    let revoked = site.admit(&name("cap", 6), &bytes, &signature).unwrap_err().to_string();
    assert!(revoked.contains("revoked"), "{revoked}");
    let staged = site.admit(&name("cap", 6), &bytes, &by(&stranger, &bytes, six)).unwrap();
    site.gate.store.commit(staged).unwrap();
    assert_eq!(site.active(), Some(("cap".to_owned(), 6)));
    // Nobody is believed where nobody was named.
    let nobody = Gate { keys: None, ..site.gate.clone() };
    let site = Site { gate: nobody, ..site };
    assert!(matches!(site.admit(&name("cap", 8), &bytes, ""), Err(Refusal::NoKeys)));
}

/// A stick in memory: what is on it, and whether it is in.
#[derive(Clone, Default)]
struct Port {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    /// Number of the stick that is in, 0 for none.
    generation: Arc<AtomicU64>,
    mounts: Arc<Mutex<(u64, u64)>>,
}

impl Port {
    fn there(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }
}

impl Lists for Port {
    fn partitions(&mut self) -> Result<Vec<Partition>, DriveError> {
        let generation = self.there();
        let stick = Partition { name: "sda1".into(), number: (8, 1), generation, size: 1 << 30 };
        Ok(if generation > 0 { vec![stick] } else { Vec::new() })
    }

    fn mounted_at(&mut self, _: &Partition) -> Result<Option<PathBuf>, DriveError> {
        Ok(None)
    }
}

impl Mounter for Port {
    fn mount(&mut self, _: &Partition, _: &Path) -> Result<&'static str, DriveError> {
        self.mounts.lock().unwrap().0 += 1;
        Ok("vfat")
    }

    fn unmount(&mut self, _: &Path) -> Result<(), DriveError> {
        self.mounts.lock().unwrap().1 += 1;
        Ok(())
    }
}

/// Reads a little at a time, and not at all once the stick is out.
struct Trickle {
    port: Port,
    generation: u64,
    bytes: Cursor<Vec<u8>>,
    // Held open like a file of a real stick, so that leaks show.
    _file: fs::File,
}

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.port.there() != self.generation {
            return Err(io::Error::from_raw_os_error(5));
        }
        let most = buffer.len().min(400);
        self.bytes.read(&mut buffer[..most])
    }
}

impl Medium for Port {
    fn bundles(&mut self, _: &Path) -> io::Result<Vec<BundleName>> {
        let files = self.files.lock().unwrap();
        let mut found: Vec<_> = files.keys().filter_map(|name| BundleName::parse(name)).collect();
        found.sort_by_key(|name| std::cmp::Reverse(name.version));
        Ok(found)
    }

    fn open(&mut self, _: &Path, name: &str) -> io::Result<(Bytes, u64)> {
        let bytes = self.files.lock().unwrap().get(name).cloned();
        let bytes = bytes.ok_or(io::ErrorKind::NotFound)?;
        let size = bytes.len() as u64;
        let generation = self.there();
        let file = fs::File::open("/dev/null")?;
        let source =
            Trickle { port: self.clone(), generation, bytes: Cursor::new(bytes), _file: file };
        Ok((Box::new(source), size))
    }
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<News>>>);

impl Herald for Told {
    fn tell(&mut self, news: &News) {
        self.0.lock().unwrap().push(news.clone());
    }
}

/// A camera with a stick's port and a line that takes what the store takes.
struct Rig {
    site: Site,
    port: Port,
    work: Work<Port, Port>,
    told: Told,
    delivery: Delivery,
    line: Receiver<Request>,
    now: i64,
    _media: tempfile::TempDir,
}

fn rig() -> Rig {
    let site = site();
    let (port, told, delivery) = (Port::default(), Told::default(), Delivery::default());
    let media = tempfile::tempdir().unwrap();
    let config = StorageConfig {
        removable: true,
        mount_root: media.path().to_owned(),
        settle: Duration::from_millis(500),
    };
    let (exchange, line) = Exchange::new();
    let work = Porter {
        gate: site.gate.clone(),
        delivery: delivery.clone(),
        drives: Some(Drives::with(&config, port.clone(), port.clone())),
        medium: Box::new(port.clone()),
        requests: exchange.deliveries(),
        exchange,
        herald: Box::new(told.clone()),
        result_file: false,
        golden_every: None,
    }
    .work();
    Rig { site, port, work, told, delivery, line, now: 0, _media: media }
}

impl Rig {
    fn plug(&mut self, generation: u64) {
        self.port.generation.store(generation, Ordering::SeqCst);
        for _ in 0..4 {
            self.wait(250);
        }
    }

    fn pull(&mut self) {
        self.port.generation.store(0, Ordering::SeqCst);
        self.wait(250);
    }

    /// Time passes, and everybody does a bit.
    fn wait(&mut self, ms: i64) {
        self.now += ms * 1000;
        self.work.poll(Timestamp(self.now));
        self.turn();
    }

    fn turn(&mut self) {
        self.work.turn(Timestamp(self.now));
        while let Ok(request) = self.line.try_recv() {
            let Command::RecipeActivate(wanted) = request.command() else { panic!("{request:?}") };
            let wanted = wanted.as_str().parse().unwrap();
            let staged = self.delivery.take(&wanted).expect("what is asked for is there");
            let done = self.site.gate.store.commit(staged);
            request.answer(done.map(|_| wanted.to_string()).map_err(|e| e.to_string()));
        }
    }

    fn put(&self, version: u32) {
        let (bytes, signature) = self.site.signed("cap", version);
        let mut files = self.port.files.lock().unwrap();
        files.clear();
        files.insert(name("cap", version).signature(), signature.into_bytes());
        files.insert(name("cap", version).to_string(), bytes);
    }

    fn last(&self) -> News {
        self.told.0.lock().unwrap().last().cloned().unwrap()
    }

    fn until_done(&mut self) {
        for _ in 0..200 {
            if matches!(self.work.stick(), State::Done { .. }) {
                return;
            }
            self.turn();
        }
        panic!("{:?}", self.work.stick());
    }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[test]
fn a_stick_brings_a_recipe_and_says_so() {
    let mut rig = rig();
    rig.put(3);
    rig.plug(1);
    rig.until_done();
    assert_eq!(rig.last(), News::Good("cap@3".to_owned()));
    assert_eq!(rig.site.active(), Some(("cap".to_owned(), 3)));
    rig.pull();
    assert_eq!((rig.last(), rig.work.stick()), (News::Over, &State::Idle));
    // The same stick once more has nothing new.
    rig.plug(2);
    rig.until_done();
    assert!(matches!(rig.last(), News::Bad(why) if why.contains("not newer than version 3")));
    rig.pull();
    // Of several the newest that verifies.
    rig.put(9);
    let (bytes, signature) = rig.site.signed("cap", 8);
    {
        let mut files = rig.port.files.lock().unwrap();
        files.insert("cap-9.touchstone.minisig".to_owned(), signature.clone().into_bytes());
        files.insert("cap-8.touchstone".to_owned(), bytes);
        files.insert("cap-8.touchstone.minisig".to_owned(), signature.into_bytes());
    }
    rig.plug(3);
    rig.until_done();
    assert_eq!(rig.last(), News::Good("cap@8".to_owned()));
    let refused = rig.site.gate.store.audit();
    assert!(refused.iter().any(|e| e.what == "refused" && e.version == Some(9)), "{refused:?}");
}

#[test]
fn a_thousand_sticks_two_hundred_of_them_pulled_during_the_copy() {
    let mut rig = rig();
    rig.put(1);
    rig.plug(1);
    rig.until_done();
    rig.pull();
    let before = descriptors();
    let (mut cut, mut installed) = (0, 1);
    for cycle in 0..CYCLES {
        let version = u32::try_from(cycle).unwrap() + 2;
        rig.put(version);
        if cycle % CUT_EVERY == 0 {
            rig.plug(cycle + 2);
            for _ in 0..cycle / CUT_EVERY % 6 {
                rig.turn();
            }
            assert!(matches!(rig.work.stick(), State::Copying { .. }), "{:?}", rig.work.stick());
            cut += 1;
        } else {
            rig.plug(cycle + 2);
            rig.until_done();
            installed = version;
        }
        rig.pull();
        assert_eq!(rig.work.stick(), &State::Idle);
        assert_eq!(rig.site.active(), Some(("cap".to_owned(), installed)), "cycle {cycle}");
        if cycle % 50 == 0 {
            rig.site.sound(&format!("cycle {cycle}"));
        }
    }
    assert_eq!(cut, 200);
    rig.site.sound("at the end");
    let (mounted, unmounted) = *rig.port.mounts.lock().unwrap();
    assert_eq!((mounted, unmounted), (CYCLES + 1, CYCLES + 1));
    // Other tests of this process open and close files too; a leak would be one for each stick.
    assert!(descriptors() < before + 100, "{} descriptors, {before} before", descriptors());
}

/// A disk on which every call waits for somebody.
struct Slow(Arc<dyn Fn() + Send + Sync>);

impl Files for Slow {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        (self.0)();
        Disk.make_dir(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        (self.0)();
        Disk.list(dir)
    }
    fn read(&self, file: &Path, at: u64, limit: u64) -> io::Result<Vec<u8>> {
        (self.0)();
        Disk.read(file, at, limit)
    }
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        (self.0)();
        Disk.write(file, bytes)
    }
    fn append(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        (self.0)();
        Disk.append(file, bytes)
    }
    fn sync(&self, file: &Path) -> io::Result<()> {
        (self.0)();
        Disk.sync(file)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        (self.0)();
        Disk.sync_dir(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        (self.0)();
        Disk.rename(from, to)
    }
    fn remove(&self, file: &Path) -> io::Result<()> {
        (self.0)();
        Disk.remove(file)
    }
    fn length(&self, file: &Path) -> io::Result<u64> {
        (self.0)();
        Disk.length(file)
    }
    fn free(&self, dir: &Path) -> io::Result<u64> {
        (self.0)();
        Disk.free(dir)
    }
    fn lock(&self, file: &Path) -> io::Result<Lock> {
        (self.0)();
        Disk.lock(file)
    }
}

/// Every call of the disk during an installation waits until the line has dealt with three more parts, however long
/// that takes: a flush of five seconds is no different. Were the line to wait for a disk anywhere, neither would ever go
/// on.
#[test]
fn the_line_goes_on_while_the_disk_takes_its_time() {
    use crate::exit::Failure;
    use crate::inspection::{Changed, Judge, Wish};
    use crate::line::{LineConfig, LineTimes};
    use crate::real_line::{ClockTrigger, Setup, Source, run};
    use crate::station::{Observer, Published};
    use touchstone_board::command::Source as From;
    use touchstone_board::watchdog::Feeder;
    use touchstone_board::{Camera, CameraError, Frame, IoError, OutputRole, Outputs};
    use touchstone_models::inspector::Inspection;

    const PARTS_PER_CALL: u64 = 3;
    const PATIENCE: Duration = Duration::from_secs(60);

    struct Studio;
    impl Camera for Studio {
        fn describe(&self) -> String {
            "a camera of the test".to_owned()
        }
        fn next_frame(&mut self, after: Timestamp, _: Duration) -> Result<Frame, CameraError> {
            let exposed_at = Timestamp::now_monotonic().max(after);
            Ok(Frame { width: 16, height: 16, rgb: vec![9; 768], sequence: 0, exposed_at })
        }
    }
    struct Dark;
    impl Outputs for Dark {
        fn set(&mut self, _: OutputRole, _: bool) -> Result<(), IoError> {
            Ok(())
        }
    }
    struct Counting(Arc<AtomicU64>);
    impl Observer for Counting {
        fn published(&mut self, _: &Published<'_>) -> Result<(), Failure> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }
    /// Takes what was delivered without looking.
    struct Trusting(Delivery, Store);
    impl Judge for Trusting {
        fn judge(&mut self, _: &Picture) -> Inspection {
            crate::inspection::tests::inspection(0.5)
        }
        fn change(&mut self, wish: Wish, _: From) -> Changed {
            let Wish::Activate(wanted) = wish else { return Changed::refused("no".to_owned()) };
            let staged = self.0.take(&wanted.parse().unwrap()).unwrap();
            let outcome = self.1.commit(staged).map(|_| wanted).map_err(|e| e.to_string());
            self.1.record(&audit::Entry::new("installed", "test"));
            Changed { outcome, active: None, sound: true }
        }
    }

    let parts = Arc::new(AtomicU64::new(0));
    let (counted, slow) = (Arc::clone(&parts), Arc::new(AtomicBool::new(false)));
    let (is_slow, calls) = (Arc::clone(&slow), Arc::new(AtomicU64::new(0)));
    let called = Arc::clone(&calls);
    let wait = move || {
        if !is_slow.load(Ordering::SeqCst) {
            return;
        }
        let (start, from) = (std::time::Instant::now(), counted.load(Ordering::SeqCst));
        while counted.load(Ordering::SeqCst) < from + PARTS_PER_CALL {
            assert!(start.elapsed() < PATIENCE, "the line waits for the disk");
            std::thread::sleep(Duration::from_millis(5));
        }
        called.fetch_add(1, Ordering::SeqCst);
    };
    let site = site_on(Arc::new(Slow(Arc::new(wait))));
    let (delivery, told) = (Delivery::default(), Told::default());
    let (exchange, requests) = Exchange::new();
    let deliveries = exchange.deliveries();
    let stop = Arc::new(AtomicBool::new(false));
    let line = {
        let (stop, delivery) = (Arc::clone(&stop), delivery.clone());
        let (store, parts) = (site.gate.store.clone(), Arc::clone(&parts));
        std::thread::spawn(move || {
            let setup = Setup {
                camera: Box::new(Studio),
                outputs: Box::new(Dark),
                source: Source::Trigger(Box::new(ClockTrigger::new(Duration::from_millis(20)))),
                inputs: None,
                requests: Some(requests),
                feeder: Feeder::new(Vec::new()),
                teach_from: Vec::new(),
                sound: true,
                lamp: Default::default(),
                judged_at_once: 1,
            };
            let times = LineTimes { travel_ms: 1500, debounce_ms: 10, ..LineTimes::default() };
            let judge = Box::new(Trusting(delivery, store));
            let config = LineConfig::try_from(times).unwrap();
            run(setup, config, judge, &mut Counting(parts), u64::MAX, &stop)
        })
    };
    let porter = Porter::<Port, Port> {
        gate: site.gate.clone(),
        delivery,
        drives: None,
        medium: Box::new(Port::default()),
        requests: deliveries,
        exchange: exchange.clone(),
        herald: Box::new(told),
        result_file: false,
        golden_every: None,
    };
    let quit = Arc::clone(&stop);
    let porter = std::thread::spawn(move || porter.work().run(&quit));
    slow.store(true, Ordering::SeqCst);
    let (bytes, signature) = site.signed("cap", 1);
    let answers = pushed(&exchange, &name("cap", 1), &bytes, &signature);
    assert_eq!(answers.last().unwrap().as_deref(), Ok("cap@1"), "{answers:?}");
    slow.store(false, Ordering::SeqCst);
    assert!(calls.load(Ordering::SeqCst) >= 20, "{calls:?}");
    stop.store(true, Ordering::SeqCst);
    line.join().unwrap().unwrap();
    porter.join().unwrap();
    assert_eq!(site.active(), Some(("cap".to_owned(), 1)));
}

fn announcement(file: &BundleName, bytes: &[u8], signature: &str) -> Announcement {
    Announcement {
        name: file.to_string(),
        signature: signature.len() as u32,
        bundle: bytes.len() as u64,
        id: 7,
    }
}

fn steps(file: &BundleName, bytes: &[u8], signature: &str) -> Vec<Push> {
    let all = [signature.as_bytes(), bytes].concat();
    let pieces = all.chunks(PIECE_BYTES_MAX).scan(0, |at, piece| {
        let data = Push::Data { at: *at, bytes: piece.to_vec() };
        *at += piece.len() as u64;
        Some(data)
    });
    let begin = Push::Begin(announcement(file, bytes, signature));
    std::iter::once(begin).chain(pieces).chain([Push::End]).collect()
}

/// Sends all steps, one after the other; every answer.
fn pushed(
    exchange: &Exchange,
    file: &BundleName,
    bytes: &[u8],
    signature: &str,
) -> Vec<Result<String, String>> {
    let (told, heard) = std::sync::mpsc::channel();
    steps(file, bytes, signature)
        .into_iter()
        .map(|step| {
            let told = told.clone();
            let from = touchstone_board::command::Source::Serial;
            exchange.submit(Request::new(Command::Push(step), from, move |answer| {
                told.send(answer).unwrap();
            }));
            heard.recv_timeout(Duration::from_secs(120)).unwrap()
        })
        .collect()
}

fn answer(step: Step) -> Result<String, String> {
    match step {
        Step::Answer(answer) => answer,
        Step::Whole(delivered) => Ok(format!("whole {}", delivered.name)),
    }
}

#[test]
fn a_push_survives_loss_repetition_and_a_new_start() {
    let site = site();
    let (bytes, signature) = site.signed("cap", 1);
    let file = name("cap", 1);
    let steps = steps(&file, &bytes, &signature);
    let mut session = Session::default();
    let mut step = |push: &Push, at: i64| answer(session.step(push, &site.gate, Timestamp(at)));
    assert_eq!(step(&steps[1], 0), Err("begin first".to_owned()));
    assert_eq!(step(&steps[0], 0), Ok("0".to_owned()));
    assert_eq!(step(&steps[1], 0), Ok("144".to_owned()));
    assert_eq!(step(&steps[3], 0), Err("at 144".to_owned()), "the second piece was lost");
    assert_eq!(step(&steps[1], 0), Err("at 144".to_owned()), "the first came twice");
    assert_eq!(step(&Push::End, 0), Err("at 144".to_owned()));
    assert_eq!(step(&steps[0], 0), Ok("144".to_owned()), "resumed");
    for push in &steps[2..steps.len() - 1] {
        assert!(step(push, 0).is_ok());
    }
    let more = Push::Data { at: (bytes.len() + signature.len()) as u64, bytes: vec![0] };
    assert_eq!(step(&more, 0), Err("more than was announced".to_owned()));
    assert_eq!(step(&Push::End, 0), Ok("whole cap-1.touchstone".to_owned()));
    assert_eq!(step(&Push::End, 0), Err("begin first".to_owned()));
    // A session from which nothing is heard leaves nothing behind.
    assert_eq!(answer(session.step(&steps[0], &site.gate, Timestamp(0))), Ok("0".to_owned()));
    session.tick(Timestamp(IDLE_MAX.as_micros() as i64 + 1));
    assert!(session.progress().is_none());
    site.sound("after an idle push");
}

#[test]
fn a_push_that_cannot_be_wanted_is_refused_before_its_first_byte() {
    let site = site();
    site.install("cap", 5);
    let mut session = Session::default();
    let mut begin = |name: &str, signature: u32, bundle: u64| {
        let announced = Announcement { name: name.to_owned(), signature, bundle, id: 1 };
        answer(session.step(&Push::Begin(announced), &site.gate, Timestamp(0))).unwrap_err()
    };
    assert!(begin("cap-5.touchstone", 300, 1000).contains("not newer"));
    assert!(begin("cap.tar", 300, 1000).contains("not NAME-VERSION.touchstone"));
    assert!(begin("cap-6.touchstone", 300, u64::MAX).contains("at most"));
    assert!(begin("cap-6.touchstone", u32::MAX, 1000).contains("at most"));
    site.sound("after refusals");
}
