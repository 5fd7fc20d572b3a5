//! A USB stick with a signed bundle on it, plugged in and pulled again and again: at once, while it is read, while its
//! recipe is tried, or when all is done. Nothing is half installed, and no descriptor, mount or file is left over.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{CHANGE_LIMIT, Named, bundle, import, judge, look, pack, set_up, sh, sign, start};
use crate::bench::{Bench, SHELL_LIMIT};
use crate::dice::Dice;
use crate::fail::{Outcome, must};
use crate::scenarios::{Extras, Scenario};
use crate::uart::Line;

pub const SCENARIO: Scenario = Scenario {
    name: "recipes-stick",
    about: "bundles on a USB stick that is pulled at any moment (--rounds 50)",
    extras: Extras { disk: true, bare: true, stick: true, ..Extras::NONE },
    on_aarch64: false,
    run,
};

/// Sticks unless somebody says.
const ROUNDS: u32 = 5;
/// Zeros behind the bundle's end, as tar fills its last record, so that reading it takes its time.
const FILLING_MB: u32 = 4;
const LOOK: Duration = Duration::from_millis(20);
/// How long a stick may take to come or to go.
const PLUG_LIMIT: Duration = Duration::from_secs(60);
/// A line that has said nothing for so long has given up on the stick, however slowly instructions are translated.
const SILENT_FOR: Duration = Duration::from_secs(6);
/// How long nothing may change before it is what the line holds when nothing is plugged in.
const USUAL_FOR: Duration = Duration::from_secs(3);
/// When the stick is pulled: so long after what was waited for, at most.
const PULL_WITHIN: Duration = Duration::from_millis(2500);

/// When a stick is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pulled {
    /// Soon after it was plugged in.
    AtOnce,
    /// While the bundle is copied, or soon after.
    Reading,
    /// While the line tries the recipe, or soon after.
    Trying,
    /// When all is said.
    Done,
}

/// In this order, round and round: half of them while it is read.
const ORDER: [Pulled; 6] = [
    Pulled::Done,
    Pulled::Reading,
    Pulled::AtOnce,
    Pulled::Reading,
    Pulled::Trying,
    Pulled::Reading,
];

/// What must be as before when nothing is plugged in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Quiet {
    descriptors: String,
    mounts: String,
    parts: String,
}

fn run(bench: &mut Bench) -> Outcome<()> {
    let rounds = bench.plan.rounds.unwrap_or(ROUNDS);
    let mut dice = Dice::new(bench.plan.seed);
    bench
        .sh("printf '\\n[storage]\\nremovable = true\\n' >> /etc/touchstone/recipes-board.toml")?;
    set_up(bench)?;
    sh(bench, "mkfs.vfat -n RECIPES /dev/vdb && mkdir -p /run/stick")?;
    let file = bundle(bench, "part", 1, "/run")?;
    let done = bench.touchstone(&import(&file))?;
    must(done.code == 0, || format!("import ended with {}: {}", done.code, done.text))?;
    start(bench)?;
    judge(bench)?;
    let usual = usual(bench)?;
    let mut active: Named = ("part".to_owned(), 1);
    let (mut found, mut installed) = (Vec::new(), 0);
    for round in 1..=rounds {
        let pulled = ORDER[(round as usize - 1) % ORDER.len()];
        let version = round + 1;
        fill(bench, version)?;
        let heard = bench.plc.lines().len();
        let plugged = Instant::now();
        plug(bench)?;
        let word = match pulled {
            Pulled::AtOnce => None,
            Pulled::Reading => Some("recipe working stick: reading"),
            Pulled::Trying => Some("recipe working stick: trying"),
            Pulled::Done => Some("recipe installed"),
        };
        if let Some(word) = word {
            says(bench, heard, word)?;
            let looking = says(bench, heard, "recipe working stick: looking")?;
            found.push(looking.at.saturating_duration_since(plugged));
        }
        if pulled != Pulled::Done {
            thread::sleep(dice.within(PULL_WITHIN));
        }
        pull(bench)?;
        let told = settled(bench, heard)?;
        let left = until_quiet(bench, &usual)?;
        must(left == usual, || format!("stick {round}, {pulled:?}: {usual:?} became {left:?}"))?;
        let now = look(bench)?;
        let new: Named = ("part".to_owned(), version);
        let is_new = now.active.as_ref() == Some(&new);
        // What was said is what is so.
        must(is_new == told, || {
            format!("stick {round}, {pulled:?}: told {told}, {:?}", now.active)
        })?;
        must(is_new || now.active.as_ref() == Some(&active), || {
            format!("stick {round}, {pulled:?}: {active:?} became {:?}", now.active)
        })?;
        must(pulled != Pulled::Done || is_new, || format!("stick {round}: {new:?} is not active"))?;
        if is_new {
            installed += 1;
            active = new;
        }
        eprintln!("hil: stick {round} of {rounds}: pulled {pulled:?}, new: {is_new}");
    }
    judge(bench)?;
    found.sort_unstable();
    let at = |share: usize| {
        let index = (found.len() * share / 100).min(found.len().saturating_sub(1));
        found
            .get(index)
            .map_or_else(|| "-".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()))
    };
    bench.note("sticks", format!("{rounds}, {installed} installed, seed {}", bench.plan.seed));
    bench.note("plugged to found", format!("median {}, longest {}", at(50), at(100)));
    bench.note("left over", "no descriptor, mount or file");
    Ok(())
}

/// Puts a bundle on the stick, from its other side.
fn fill(bench: &mut Bench, version: u32) -> Outcome<()> {
    sh(bench, "rm -rf /run/stick && mkdir /run/stick")?;
    let file = pack(bench, "part", version, "/run/stick")?;
    bench.sh(&format!("dd if=/dev/zero bs=1M count={FILLING_MB} >> {file} 2>/dev/null"))?;
    sign(bench, "part", version, &file)?;
    let partition = "$(ls /dev/vdb1 2>/dev/null || echo /dev/vdb)";
    sh(
        bench,
        &format!(
            "mount -t vfat {partition} /mnt && rm -f /mnt/* && cp /run/stick/* /mnt/ && sync && umount /mnt"
        ),
    )?;
    Ok(())
}

fn plug(bench: &mut Bench) -> Outcome<()> {
    bench.did("plugs the stick in");
    let device =
        json!({ "driver": "usb-storage", "id": "stick", "bus": "xhci.0", "drive": "stick" });
    bench.qmp.run("device_add", device)?;
    Ok(())
}

fn pull(bench: &mut Bench) -> Outcome<()> {
    bench.did("pulls the stick");
    bench.qmp.run("device_del", json!({ "id": "stick" }))?;
    bench.qmp.event("DEVICE_DELETED", PLUG_LIMIT)?;
    Ok(())
}

/// Waits for words on the serial line.
fn says(bench: &Bench, heard: usize, words: &str) -> Outcome<Line> {
    bench.plc.wait(heard, words, CHANGE_LIMIT, |line| line.contains(words))
}

/// Waits for the end of an installation that had begun before the stick was pulled; whether the recipe was said to be
/// installed.
fn settled(bench: &mut Bench, heard: usize) -> Outcome<bool> {
    let started = Instant::now();
    loop {
        let lines = bench.plc.lines();
        let has = |words: &str| lines[heard..].iter().any(|line| line.text.contains(words));
        let (tried, installed) = (has("stick: trying"), has("recipe installed"));
        if installed || has("recipe refused") {
            return Ok(installed);
        }
        // It may just be at the end of copying; then the line says so before the stick's going is noticed.
        let gone = bench.agent.sh("grep -c ^/dev/sd /proc/mounts", SHELL_LIMIT)?.code != 0;
        let last = lines[heard..].last().map_or(started, |line| line.at.max(started));
        if gone && !tried && last.elapsed() > SILENT_FOR {
            return Ok(false);
        }
        must(started.elapsed() < CHANGE_LIMIT, || "the installation has no end".to_owned())?;
        thread::sleep(LOOK);
    }
}

/// What the line holds now.
fn quiet(bench: &mut Bench) -> Outcome<Quiet> {
    let descriptors = sh(bench, "ls /proc/$(cat /run/line.pid)/fd | wc -l")?;
    let mounts =
        bench.agent.sh("grep -e ^/dev/sd -e /media -e touchstone /proc/mounts", SHELL_LIMIT)?;
    let parts = bench.agent.sh("ls -A /data/store | grep part$; ls /dev/sd*", SHELL_LIMIT)?;
    let only = |text: String, is: &str| {
        text.lines().filter(|line| line.contains(is)).collect::<Vec<_>>().join(", ")
    };
    Ok(Quiet {
        descriptors: descriptors.trim().to_owned(),
        mounts: mounts.text.trim().to_owned(),
        parts: only(parts.text, ".part"),
    })
}

/// What the line holds when it has nothing to do: the same for [`USUAL_FOR`], because a look may fall on a file that
/// is open for a moment.
fn usual(bench: &mut Bench) -> Outcome<Quiet> {
    let started = Instant::now();
    let (mut usual, mut since) = (quiet(bench)?, Instant::now());
    while since.elapsed() < USUAL_FOR {
        must(started.elapsed() < PLUG_LIMIT, || format!("never quiet, last {usual:?}"))?;
        thread::sleep(LOOK);
        let now = quiet(bench)?;
        if now != usual {
            (usual, since) = (now, Instant::now());
        }
    }
    Ok(usual)
}

fn until_quiet(bench: &mut Bench, usual: &Quiet) -> Outcome<Quiet> {
    let started = Instant::now();
    loop {
        let now = quiet(bench)?;
        if now == *usual || started.elapsed() > PLUG_LIMIT {
            return Ok(now);
        }
        thread::sleep(LOOK);
    }
}
