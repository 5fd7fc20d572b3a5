//! `touchstone-tools bundle push` against the camera's own side, over a pty: as an integrator has it, with the real
//! binary, the real serial port code and the real store; only the judge is a stand-in that takes everything.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use touchstone::intake::medium::Mounted;
use touchstone::intake::porter::Porter;
use touchstone::intake::{Gate, Herald, News};
use touchstone::recipes::Delivery;
use touchstone::store::Store;
use touchstone_board::command::{Command, Exchange};
use touchstone_board::config::{SerialConfig, SerialRole};
use touchstone_board::drives::{KernelMounter, SysSource};
use touchstone_board::serial::ResultPort;
use touchstone_models::picture::Picture;
use touchstone_models::recipe::{ModelPin, Recipe, RecipeCard};
use touchstone_tests::run;

struct Silent;

impl Herald for Silent {
    fn tell(&mut self, _: &News) {}
}

fn recipe(version: u32) -> Recipe {
    let card =
        RecipeCard::new("cap", version, ModelPin { id: "tiny".to_owned(), hash: "a".repeat(64) });
    // Noise does not pack: some hundred pieces.
    let noise = (0..96 * 96 * 3u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    Recipe::new(card, vec![Picture::from_rgb8(96, 96, noise).unwrap()]).unwrap()
}

/// Two ptys and a thread between them that carries bytes, and loses some of those to the camera on the way.
fn cable(folder: &std::path::Path, lose_every: usize) -> (PathBuf, PathBuf) {
    let (desk, camera) = (folder.join("ttyDesk"), folder.join("ttyCamera"));
    // socat would do; Python's pty and tty need nothing but themselves.
    let script = format!(
        "import os,pty,select,tty\n\
         ends=[]\n\
         for name in ({desk:?},{camera:?}):\n\
         \x20m,s=pty.openpty()\n\
         \x20tty.setraw(s)\n\
         \x20os.symlink(os.ttyname(s),name)\n\
         \x20ends.append((m,s))\n\
         a,b=ends[0][0],ends[1][0]\n\
         n=0\n\
         while True:\n\
         \x20for f in select.select([a,b],[],[])[0]:\n\
         \x20\x20d=os.read(f,1024)\n\
         \x20\x20if f==a:\n\
         \x20\x20\x20n+=len(d)\n\
         \x20\x20\x20if {lose_every} and n>{lose_every}:\n\
         \x20\x20\x20\x20n=0\n\
         \x20\x20\x20\x20d=d[:-7]\n\
         \x20\x20os.write(b if f==a else a,d)\n"
    );
    let child = std::process::Command::new("python3").arg("-c").arg(script).spawn();
    CHILDREN.lock().unwrap().extend(child);
    let start = std::time::Instant::now();
    while !camera.exists() && start.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(10));
    }
    (desk, camera)
}

static CHILDREN: std::sync::Mutex<Vec<std::process::Child>> = std::sync::Mutex::new(Vec::new());

fn goes_through(lose_every: usize) {
    let dir = tempfile::tempdir().unwrap();
    let (desk, camera) = cable(dir.path(), lose_every);
    if !camera.exists() {
        return eprintln!("SKIPPED: no python3 to carry bytes between two ptys: no push was tried");
    }
    let tools = |words: &[&str]| {
        let output = run("touchstone-tools", words, dir.path());
        let (out, err) = (output.stdout, output.stderr);
        (output.status.code(), String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    };
    fs::create_dir(dir.path().join("keys")).unwrap();
    recipe(1).save(&dir.path().join("cap")).unwrap();
    assert_eq!(tools(&["bundle", "keygen", "keys/site", "--no-password"]).0, Some(0));
    let made = tools(&["bundle", "make", "cap", "--key", "keys/site.key", "--board", "orin"]);
    assert_eq!(made.0, Some(0), "{made:?}");

    let store = Store::open(&dir.path().join("store"), 3).unwrap();
    let gate = Gate {
        store: store.clone(),
        keys: Some(dir.path().join("keys")),
        family: Some("orin".to_owned()),
    };
    let (exchange, requests) = Exchange::new();
    let delivery = Delivery::default();
    let porter = Porter::<SysSource, KernelMounter> {
        gate,
        delivery: delivery.clone(),
        drives: None,
        medium: Box::new(Mounted),
        requests: exchange.deliveries(),
        exchange: exchange.clone(),
        herald: Box::new(Silent),
        result_file: false,
        golden_every: None,
    };
    let quit = Arc::new(AtomicBool::new(false));
    let (told, judge_quit, taken) = (Arc::clone(&quit), Arc::clone(&quit), store.clone());
    let porter = thread::spawn(move || porter.work().run(&told));
    let judge = thread::spawn(move || {
        while !judge_quit.load(Ordering::Relaxed) {
            let Ok(request) = requests.recv_timeout(Duration::from_millis(50)) else { continue };
            let Command::RecipeActivate(wanted) = request.command() else { continue };
            let staged = delivery.take(&wanted.as_str().parse().unwrap()).unwrap();
            let word = format!("{wanted} is active");
            request.answer(taken.commit(staged).map(|_| word).map_err(|e| e.to_string()));
        }
    });
    let config = SerialConfig { role: SerialRole::Commands, path: camera, baud: 115_200 };
    let port = ResultPort::serve(&config, Some(exchange)).unwrap();
    let words = ["bundle", "push", "cap-1.touchstone", "--port", desk.to_str().unwrap()];
    let pushed = tools(&words);
    assert_eq!(pushed.0, Some(0), "{pushed:?}");
    assert!(pushed.1.contains("cap@1 is active"), "{pushed:?}");
    assert_eq!(store.state().unwrap().active().unwrap().current, 1);
    store.verify("cap", 1).unwrap();
    // The same once more is refused before a byte of it is sent.
    let again = tools(&words);
    assert_eq!(again.0, Some(2), "{again:?}");
    assert!(again.2.contains("not newer than version 1"), "{again:?}");
    if lose_every > 0 {
        assert!(port.counts().noise > 0, "nothing was lost: {:?}", port.counts());
    }
    quit.store(true, Ordering::Relaxed);
    porter.join().unwrap();
    judge.join().unwrap();
    drop(port);
    for mut child in CHILDREN.lock().unwrap().drain(..) {
        // Only what this test started.
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[test]
fn a_bundle_goes_over_a_clean_cable_and_over_one_that_loses_bytes() {
    goes_through(0);
    goes_through(9000);
}
