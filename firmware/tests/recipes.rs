//! Recipes that come and go: the real process, its store, its keys, and a line that is told over a serial port.

mod common;

use std::fs::{self, File};
use std::io::{Cursor, Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use common::Desk;
use minisign::KeyPair;
use touchstone_board::command::Command;
use touchstone_board::push::{Announcement, PIECE_BYTES_MAX, Push};
use touchstone_board::serial::protocol::{Kind, Lines, emit, verb};
use touchstone_models::recipe::{Golden, Recipe};

const PATIENCE: Duration = Duration::from_secs(120);

/// A desk with good and bad parts, a trusted key, and a recipe's folder to make bundles of.
fn desk() -> (Desk, KeyPair) {
    let desk = Desk::new();
    for name in ["a.png", "b.png", "c.png"] {
        desk.good(name);
    }
    desk.bad("bad.png");
    let pair = KeyPair::generate_unencrypted_keypair().unwrap();
    desk.write("keys/site.pub", pair.pk.to_box().unwrap().into_string());
    desk.run("teach --model ./tiny --name part --out folder --golden-fail bad.png a.png b.png")
        .ends(0);
    (desk, pair)
}

/// A version of the recipe in `folder` as a signed bundle on the desk.
fn bundle(
    desk: &Desk,
    pair: &KeyPair,
    version: u32,
    board: &str,
    change: impl FnOnce(&mut Recipe),
) -> (String, Vec<u8>, String) {
    let mut recipe = Recipe::open(&desk.path("folder")).unwrap();
    recipe.card.version = version;
    change(&mut recipe);
    let mut bytes = Vec::new();
    recipe.pack(&mut bytes).unwrap();
    let comment = format!("name=part version={version} board={board}");
    let signed =
        minisign::sign(Some(&pair.pk), &pair.sk, Cursor::new(&bytes), Some(&comment), None);
    let signature = signed.unwrap().into_string();
    let name = format!("part-{version}.touchstone");
    desk.write(&name, &bytes);
    desk.write(&format!("{name}.minisig"), &signature);
    (name, bytes, signature)
}

#[test]
fn cameras_tell_each_other_what_good_parts_look_like() {
    let (desk, pair) = desk();
    // Another camera has seen the third part.
    desk.run("teach --model ./tiny --name part --out there c.png").ends(0);
    let wrote = desk.run("recipe posterior there --model ./tiny --camera line-2 --out c.good");
    assert!(wrote.ends(0).out.contains("1 good parts as camera 'line-2' sees them"), "{wrote:?}");
    desk.run("recipe posterior there --model ./tiny --camera ../x --out x.good")
        .fails(2, &["camera '../x'"]);
    let merged = desk.run("recipe merge folder c.good --model ./tiny");
    let said = "version 2 in folder: 2 good parts of its own, 1 of other cameras";
    assert!(merged.ends(0).out.contains(said), "{merged:?}");
    let shown = desk.run("recipe show folder --json");
    assert_eq!(shown.ends(0).json()[0]["elsewhere"], serde_json::json!([["line-2", 1]]));
    desk.run("recipe merge folder c.good --model ./tiny")
        .fails(2, &["c.good", "'line-2'", "twice"]);
    // It goes along in a bundle, and judges there.
    let (name, ..) = bundle(&desk, &pair, 7, "x", |_| ());
    desk.run(&format!("recipe import {name} --store s --keys keys --board x --model ./tiny"))
        .ends(0);
    let shown = desk.run("recipe show part --store s --json");
    assert_eq!(shown.ends(0).json()[0]["elsewhere"], serde_json::json!([["line-2", 1]]));
    let out = desk.run("recipe unmerge part line-2 --store s --model ./tiny");
    assert!(
        out.ends(0).out.contains("version 8 in store s: 2 good parts of its own, 0 of"),
        "{out:?}"
    );
    let log = desk.run("recipe log --store s");
    assert!(log.ends(0).out.contains("unmerged"), "{log:?}");
    desk.run("recipe unmerge part line-2 --store s --model ./tiny").fails(2, &["no other camera"]);
    // Other weights, other embeddings: refused, and the recipe is as it was.
    let mut broken = fs::read(desk.path("c.good")).unwrap();
    broken[60] ^= 1;
    desk.write("broken.good", broken);
    desk.run("recipe merge part broken.good --store s --model ./tiny").fails(2, &["checksum"]);
    desk.run(&format!("recipe merge {name} c.good --model ./tiny")).fails(2, &["signed as it is"]);
    let list = desk.run("recipe list --store s --json");
    assert_eq!(list.json()[0]["current"].as_u64(), Some(8));
}

#[test]
fn a_store_takes_what_is_taught_and_signed_and_every_step_can_be_undone() {
    let (desk, pair) = desk();
    let taught = desk.run("teach --model ./tiny --name part --store s --golden-fail bad.png a.png");
    taught.ends(0);
    for text in ["recipe 'part' version 1 in store s", "golden test: 1 parts", "active;"] {
        assert!(taught.out.contains(text), "{taught:?}");
    }
    let active = || desk.run("recipe list --store s --json").json()[0]["current"].as_u64();
    let more = desk.run("teach --model ./tiny --name part --store s --add b.png c.png");
    assert!(more.ends(0).out.contains("version 2 in store s: 3 good parts"), "{more:?}");
    let shown = desk.run("recipe show part --store s --json");
    assert_eq!(shown.ends(0).json()[0]["golden_fail"], 1, "the golden pictures go along");
    assert_eq!(active(), Some(2));
    let back = desk.run("recipe rollback --store s --model ./tiny");
    assert!(back.ends(0).out.contains("version 1 is active"), "{back:?}");
    assert_eq!(active(), Some(1));
    desk.run("recipe rollback --store s --model ./tiny").fails(2, &["no earlier version"]);
    // A bad part that must pass, or a good one that must not: nothing goes live.
    desk.run("teach --model ./tiny --name part --store s --golden-pass bad.png a.png")
        .fails(2, &["golden test failed", "bad.png must pass", "nothing was written"]);
    desk.run("teach --model ./tiny --name other --store s --add a.png").fails(2, &["no recipe"]);
    assert_eq!(active(), Some(1));

    let import = |what: &str| desk.run(&format!("recipe import --store s --model ./tiny {what}"));
    bundle(&desk, &pair, 7, "any", |_| {});
    import("part-7.touchstone").fails(2, &["nobody is believed"]);
    let stranger = KeyPair::generate_unencrypted_keypair().unwrap();
    bundle(&desk, &stranger, 8, "any", |_| {});
    import("part-8.touchstone --keys keys").fails(2, &["not trusted here"]);
    bundle(&desk, &pair, 8, "orin", |_| {});
    import("part-8.touchstone --keys keys --board pi").fails(2, &["family orin"]);
    let good = Golden::File(desk.path("a.png"));
    bundle(&desk, &pair, 9, "any", |recipe| recipe.golden_fail.push(good));
    import("part-9.touchstone --keys keys").fails(2, &["golden/fail/002.png must be rejected"]);
    assert_eq!(active(), Some(1));
    assert!(import("part-7.touchstone --keys keys").ends(0).out.contains("version 7 is active"));
    import("part-7.touchstone --keys keys").fails(2, &["not newer than version 7"]);
    // What failed its golden test has not used its number up.
    bundle(&desk, &pair, 9, "any", |_| {});
    import("part-9.touchstone --keys keys").ends(0);
    import("folder").fails(2, &["NAME-VERSION.touchstone"]);
    import("folder --unsigned").fails(2, &["not newer than version 9"]);
    desk.run("recipe activate part@2 --store s --model ./tiny").ends(0);
    assert_eq!(active(), Some(2));
    assert!(
        desk.run("recipe verify part@7 --store s --model ./tiny").ends(0).out.contains("sound")
    );
    desk.run("recipe activate part@3 --store s --model ./tiny").fails(2, &["part@3: no such"]);

    let log = desk.run("recipe log --store s --json").json();
    let what: Vec<&str> = log.iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    assert_eq!(
        what,
        [
            "taught",
            "taught",
            "rolled-back",
            "refused",
            "refused",
            "refused",
            "installed",
            "installed",
            "activated"
        ]
    );
    let installed = &log[6];
    assert_eq!(
        (installed["recipe"].as_str(), installed["version"].as_u64()),
        (Some("part"), Some(7))
    );
    assert!(installed["key"].is_string() && installed["sha256"].is_string());
    // The same rules, the same identity, in the log as in verdicts.
    let judged = desk.run("inspect --model ./tiny --recipe part-7.touchstone --json c.png");
    assert_eq!(judged.ends(0).json()[0]["identity"], installed["identity"]);
    assert_eq!(desk.left("s"), [".lock", "audit.jsonl", "part", "refused.jsonl", "state.toml"]);
}

fn plug(name: &Path) -> File {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&near).unwrap();
    unlockpt(&near).unwrap();
    symlink(ptsname(&near, Vec::new()).unwrap().into_string().unwrap(), name).unwrap();
    File::from(near)
}

/// A line in a process of its own, and the far end of its serial port.
struct Line {
    child: Child,
    far: File,
    heard: Receiver<(Kind, u32, String)>,
    sequence: u32,
    results: Vec<String>,
}

impl Line {
    fn start(desk: &Desk, port: &str) -> Line {
        let far = plug(&desk.path(port));
        let child = desk
            .command("run --config line.toml")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut reader = far.try_clone().unwrap();
        let (told, heard) = channel();
        thread::spawn(move || {
            let kinds = [Kind::Reply, Kind::Result];
            let (mut finders, mut bytes) = (kinds.map(Lines::new), [0; 256]);
            loop {
                // Until the line has opened its end, and after it has closed it, there is an error here.
                let Ok(read) = reader.read(&mut bytes) else {
                    thread::sleep(Duration::from_millis(20));
                    continue;
                };
                for byte in &bytes[..read] {
                    for (kind, finder) in kinds.iter().zip(&mut finders) {
                        if let Some(Ok((sequence, text))) = finder.push(*byte)
                            && told.send((*kind, sequence, text)).is_err()
                        {
                            return;
                        }
                    }
                }
            }
        });
        Line { child, far, heard, sequence: 0, results: Vec::new() }
    }

    /// Sends a command until it is answered.
    fn ask(&mut self, command: &Command) -> String {
        let start = Instant::now();
        loop {
            self.sequence += 1;
            let line = emit(Kind::Command, self.sequence, &verb(command));
            self.far.write_all(line.as_bytes()).unwrap();
            let question = command.is_question();
            let wait = if question { Duration::from_secs(2) } else { PATIENCE };
            let until = Instant::now() + wait;
            while let Ok((kind, sequence, text)) =
                self.heard.recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                match kind {
                    Kind::Reply if sequence == self.sequence => return text,
                    Kind::Result => self.results.push(text),
                    _ => {}
                }
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the line ended: {}", self.said());
            assert!(start.elapsed() < PATIENCE, "no answer to {command:?}");
        }
    }

    fn status_until(&mut self, wanted: &str) -> String {
        let start = Instant::now();
        loop {
            let status = self.ask(&Command::Status);
            if status.contains(wanted) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "never '{wanted}' but {status}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn push(&mut self, (name, bytes, signature): &(String, Vec<u8>, String)) -> String {
        let all = [signature.as_bytes(), bytes].concat();
        let begin = self.ask(&Command::Push(Push::Begin(Announcement {
            name: name.clone(),
            signature: signature.len() as u32,
            bundle: bytes.len() as u64,
            id: u64::from(self.sequence),
        })));
        if begin != "ok 0" {
            return begin;
        }
        let mut at = 0;
        for piece in all.chunks(PIECE_BYTES_MAX) {
            let data = Push::Data { at, bytes: piece.to_vec() };
            at += piece.len() as u64;
            assert_eq!(self.ask(&Command::Push(data)), format!("ok {at}"));
        }
        self.ask(&Command::Push(Push::End))
    }

    fn result(&mut self, part: u32) -> String {
        let wanted = format!("part={part} ");
        let start = Instant::now();
        loop {
            if let Some(text) = self.results.iter().find(|text| text.starts_with(&wanted)) {
                return text.clone();
            }
            assert!(start.elapsed() < PATIENCE, "no result of part {part}: {:?}", self.results);
            if let Ok((Kind::Result, _, text)) = self.heard.recv_timeout(Duration::from_secs(1)) {
                self.results.push(text);
            }
        }
    }

    fn said(&mut self) -> String {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }

    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(
            std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success()
        );
        let said = self.said();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{said}");
    }
}

#[test]
fn a_line_without_a_recipe_gets_one_by_push_learns_rolls_back_and_remembers() {
    let (desk, pair) = desk();
    desk.good("parts/1.png");
    let at = |name: &str| desk.path(name).display().to_string();
    desk.write(
        "board.toml",
        format!(
            "name = \"desk\"\nfamily = \"bench\"\n[camera]\nkind = \"files\"\npath = \"{}\"\n\
             rate = 50.0\nrepeat = true\n[[serial]]\nrole = \"commands\"\npath = \"{}\"\n\
             baud = 115200\n",
            at("parts"),
            at("tty")
        ),
    );
    desk.write(
        "line.toml",
        "board = \"board.toml\"\nmodel = \"./tiny\"\nparts_at_once = 2\n[recipes]\nstore = \"s\"\nkeys = \"keys\"\n\
         teach_from = [\"serial\"]\n[trigger]\nevery_ms = 3600000\n[line]\ntravel_ms = 10000\n\
         capture_window_ms = 9000\n",
    );
    let mut line = Line::start(&desk, "tty");
    // No recipe: the line runs, is not ready, and says that somebody is needed.
    let status = line.status_until("online=1");
    assert!(status.contains("ready=0") && status.contains("error=1"), "{status}");
    assert!(line.ask(&Command::Trigger).starts_with("err not ready"));
    assert!(line.ask(&Command::RecipeVerify).contains("no recipe is active"));

    let mut forged = bundle(&desk, &pair, 1, "bench", |_| {});
    *forged.1.last_mut().unwrap() ^= 1;
    assert!(line.push(&forged).contains("signature does not fit"));
    let wrong = bundle(&desk, &pair, 1, "orin", |_| {});
    assert!(line.push(&wrong).contains("family orin"));
    let first = bundle(&desk, &pair, 1, "bench", |_| {});
    assert_eq!(line.push(&first), "ok part 1 is active");
    line.status_until("ready=1");
    assert_eq!(line.ask(&Command::RecipeList), "ok part");
    assert_eq!(line.ask(&Command::Trigger), "ok part 1");
    assert!(line.result(1).contains(" pass "), "{:?}", line.results);

    // Signed, and wrong: a good part must be rejected. The golden test says no, and all goes on.
    let good = Golden::File(desk.path("a.png"));
    let wrong = bundle(&desk, &pair, 2, "bench", |recipe| recipe.golden_fail.push(good));
    assert!(line.push(&wrong).contains("golden test failed"));
    line.status_until("ready=1");
    assert_eq!(line.ask(&Command::Trigger), "ok part 2");
    assert!(line.result(2).contains(" pass "));
    assert!(line.push(&first).contains("not newer"));

    assert_eq!(line.ask(&Command::Teach), "ok part 2 is active, 3 good parts");
    assert!(line.ask(&Command::RecipeVerify).contains("1 golden pictures judged"));
    assert_eq!(line.ask(&Command::RecipeRollback), "ok part 1 is active");
    let told: Vec<&String> = line.results.iter().filter(|r| r.starts_with("recipe ")).collect();
    for word in ["recipe working", "recipe installed", "recipe refused"] {
        assert!(told.iter().any(|text| text.starts_with(word)), "{word}: {told:?}");
    }
    line.stop();

    let log = desk.run("recipe log --config line.toml --json").json();
    let what: Vec<&str> = log.iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["refused", "refused", "installed", "refused", "taught", "rolled-back"]);
    // It remembers over a restart; and a recipe that was damaged meanwhile is left for the one before.
    assert!(desk.run("run --config line.toml --check").ends(0).out.contains("recipe 'part 1'"));
    desk.run("recipe activate part@2 --config line.toml --model ./tiny").ends(0);
    fs::write(desk.path("s/part/2.touchstone"), "rust").unwrap();
    let checked = desk.run("run --config line.toml --check");
    assert!(checked.ends(0).out.contains("recipe 'part 1'"), "{checked:?}");
    assert!(checked.err.contains("rolled back to version 1"), "{checked:?}");
    // With nothing left in the store the factory's recipe judges.
    fs::remove_dir_all(desk.path("s")).unwrap();
    let config = fs::read_to_string(desk.path("line.toml")).unwrap();
    desk.write("line.toml", config.replace("keys = ", "factory = \"folder\"\nkeys = "));
    let checked = desk.run("run --config line.toml --check");
    assert!(checked.err.contains("the factory's recipe judges"), "{checked:?}");
}

/// Bytes that do not depend on when they were written: tars without their times, cards without the hashes of these.
fn timeless(bytes: &[u8]) -> Vec<u8> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.contains("sha256 = ")
    {
        let lines = text.lines().filter(|line| !line.starts_with("sha256 = "));
        return lines.collect::<Vec<_>>().join("\n").into_bytes();
    }
    let mut bytes = bytes.to_vec();
    for header in bytes.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
        header[136..156].fill(0);
    }
    bytes
}

/// The VM of `tests/hil` judges by this model and these parts: a translated processor takes half a minute for a trained
/// one. With `TOUCHSTONE_WRITE` set they are written anew.
#[test]
fn the_model_and_the_parts_of_the_vm_are_those_of_these_tests() {
    let desk = Desk::new();
    desk.good("tiny/good.png");
    desk.bad("tiny/bad.png");
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/hil/vm/tiny");
    let names = ["model.toml", "encode.nnef.tar", "segment.nnef.tar", "good.png", "bad.png"];
    let here = names.map(|name| fs::read(desk.path("tiny").join(name)).unwrap());
    if std::env::var_os("TOUCHSTONE_WRITE").is_some() {
        fs::create_dir_all(&kept).unwrap();
        for (name, bytes) in names.iter().zip(&here) {
            fs::write(kept.join(name), bytes).unwrap();
        }
    }
    for (name, bytes) in names.iter().zip(&here) {
        let there = fs::read(kept.join(name)).unwrap();
        let same = timeless(bytes) == timeless(&there);
        assert!(same, "{name}: write it anew with TOUCHSTONE_WRITE=1 and commit it");
    }
}
