//! Recipes in the VM: a desk that makes and signs bundles with stock `tar` and `minisign`, a store on a disk that
//! outlives the machine, and a line that judges by it.

pub mod cut;
pub mod gadget;
pub mod plug;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::serial::{command, reply, send};
use crate::bench::{Bench, FIRMWARE_LIMIT, PART_LIMIT};
use crate::fail::{Fail, Outcome, must};

/// The configuration of the line.
pub const CONFIG: &str = "/etc/touchstone/recipes.toml";
/// The model, and pictures of a good part and of a bad one.
const MODEL: &str = "/etc/touchstone/tiny";
/// Files of the audit: changes and refusals, those before first.
const AUDIT: [[&str; 2]; 2] =
    [["audit.1.jsonl", "audit.jsonl"], ["refused.1.jsonl", "refused.jsonl"]];
/// How long a change of recipe may take.
pub const CHANGE_LIMIT: Duration = Duration::from_secs(900);
/// How long a question may stay unanswered until it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(800);
/// How often a part is sent through: a translated processor loses bytes of its serial port when it is busy.
const TRIES: usize = 3;
const LOOK: Duration = Duration::from_millis(50);
/// A disk is quiet that has not written for so long.
const QUIET: Duration = Duration::from_millis(400);
const QUIET_LOOK: Duration = Duration::from_millis(10);

/// A recipe and one of its versions.
pub type Named = (String, u32);

/// What a store holds, as `touchstone recipe list` tells it.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// What is judged by.
    pub active: Option<Named>,
    /// Every recipe.
    pub recipes: BTreeMap<String, Held>,
    /// The audit's lines, as they are in its files: changes, and refusals.
    pub audit: [Vec<String>; 2],
}

/// A recipe of a store.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// The newest version that was ever there.
    pub newest: u32,
    /// The current one.
    pub current: u32,
    /// Those that were current before.
    pub history: Vec<u32>,
    /// Those that are there, with the SHA-256 of their files.
    pub versions: BTreeMap<u32, String>,
}

/// A command line in the guest that must succeed, however busy the machine is.
pub fn sh(bench: &mut Bench, line: &str) -> Outcome<String> {
    bench.agent.ok(line, FIRMWARE_LIMIT)
}

/// Mounts the disk.
pub fn mount(bench: &mut Bench) -> Outcome<()> {
    sh(bench, "mkdir -p /data && mount -t ext4 /dev/vda /data")?;
    Ok(())
}

/// Lays out the desk on a new disk: keys, a part to look at, a recipe to make bundles of.
pub fn set_up(bench: &mut Bench) -> Outcome<()> {
    mount(bench)?;
    sh(bench, "mkdir -p /data/desk/parts /data/desk/keys")?;
    sh(bench, &format!("cp {MODEL}/good.png /data/desk/parts/1.png"))?;
    sh(bench, "minisign -G -W -p /data/desk/keys/site.pub -s /data/desk/site.key")?;
    let taught = bench.touchstone(&format!(
        "teach --model {MODEL} --name part --out /data/desk/part \
         --golden-fail {MODEL}/bad.png {MODEL}/good.png"
    ))?;
    must(taught.code == 0, || format!("teach ended with {}: {}", taught.code, taught.text))?;
    sh(bench, "sync")?;
    Ok(())
}

/// Makes a signed bundle of a version in `folder` of the guest; its path.
pub fn bundle(bench: &mut Bench, name: &str, version: u32, folder: &str) -> Outcome<String> {
    let file = pack(bench, name, version, folder)?;
    sign(bench, name, version, &file)?;
    Ok(file)
}

/// Packs a version in `folder` of the guest, unsigned; its path.
pub fn pack(bench: &mut Bench, name: &str, version: u32, folder: &str) -> Outcome<String> {
    let file = format!("{folder}/{name}-{version}.touchstone");
    let work = "/run/desk";
    sh(
        bench,
        &format!(
            "rm -rf {work} && cp -r /data/desk/part {work} && \
         sed -i -e 's/^version = .*/version = {version}/' -e 's/^name = \"part\"/name = \"{name}\"/' \
         {work}/recipe.toml && tar -C {work} -cf {file} ."
        ),
    )?;
    Ok(file)
}

/// Signs a packed version.
pub fn sign(bench: &mut Bench, name: &str, version: u32, file: &str) -> Outcome<()> {
    sh(
        bench,
        &format!(
            "minisign -S -W -s /data/desk/site.key -m {file} \
         -t 'name={name} version={version} board=hil' </dev/null"
        ),
    )?;
    Ok(())
}

/// Command line of an import.
pub fn import(file: &str) -> String {
    format!("recipe import {file} --config {CONFIG} --model {MODEL}")
}

/// Starts the line and waits until it is READY.
pub fn start(bench: &mut Bench) -> Outcome<Duration> {
    let started = Instant::now();
    bench.start_line(&format!("run --config {CONFIG}"))?;
    let heard = bench.plc.lines().len();
    loop {
        let asked = ask(bench, "status", ASK_AGAIN);
        // An answer that comes late is an answer.
        if bench.plc.lines()[heard..].iter().any(|line| line.text.contains(" ready=1 ")) {
            return Ok(started.elapsed());
        }
        if asked.is_err() {
            let ended = sh(bench, "cat /run/line.code 2>/dev/null; true")?;
            if !ended.is_empty() {
                let log = bench.line_log()?;
                return Err(Fail::Seen(format!("the line ended: {log}")));
            }
        }
        must(started.elapsed() < FIRMWARE_LIMIT, || format!("never READY, but {asked:?}"))?;
        std::thread::sleep(LOOK);
    }
}

/// Asks the line a question.
pub fn ask(bench: &mut Bench, verb: &str, limit: Duration) -> Outcome<String> {
    let sequence = next_sequence(bench);
    let heard = bench.plc.lines().len();
    send(bench, sequence, verb)?;
    reply(bench, heard, sequence, limit)
}

/// A number that no command had before: lines that were heard only grow.
fn next_sequence(bench: &Bench) -> u32 {
    bench.uptime().as_millis() as u32
}

/// A part that has to pass.
pub fn judge(bench: &mut Bench) -> Outcome<()> {
    let mut why = String::new();
    for _ in 0..TRIES {
        let (heard, sequence) = (bench.plc.lines().len(), next_sequence(bench));
        match command(bench, sequence, "trigger") {
            Ok(answer) if answer.contains(" ok part ") => {}
            Ok(answer) => return Err(Fail::Seen(format!("trigger: {answer}"))),
            Err(lost) => {
                why = lost.to_string();
                continue;
            }
        }
        let is_result = |line: &str| line.starts_with('!') && line.contains(" part=");
        match bench.plc.wait(heard, "result", PART_LIMIT, is_result) {
            Ok(result) if result.text.contains(" pass ") => return Ok(()),
            Ok(result) => return Err(Fail::Seen(format!("a good part: {}", result.text))),
            Err(lost) => why = lost.to_string(),
        }
    }
    Err(Fail::Seen(why))
}

/// Reads the store by its own command and by hand, and holds the two against each other: every version has the bytes
/// that it came with, there is nothing else, and every line of the audit is whole but for one that a cut tore.
pub fn look(bench: &mut Bench) -> Outcome<Found> {
    let list = bench
        .agent
        .ok(&format!("touchstone recipe list --config {CONFIG} --json"), CHANGE_LIMIT)?;
    let mut found = Found::default();
    // Logs of the command go to the same place as its answers.
    for line in list.lines().filter(|line| line.starts_with('{')) {
        let value: Value = serde_json::from_str(line)
            .map_err(|e| Fail::Seen(format!("recipe list says '{line}': {e}")))?;
        let (name, held) =
            held_of(&value).ok_or_else(|| Fail::Seen(format!("recipe list says '{line}'")))?;
        if value["active"] == true {
            found.active = Some((name.clone(), held.current));
        }
        found.recipes.insert(name, held);
    }
    let files =
        sh(bench, "cd /data/store && find . -type f | grep -v -e '^./.lock$' | xargs sha256sum")?;
    for line in files.lines() {
        let Some((sum, file)) = line.split_once("  ./") else { continue };
        let known = match file.split_once('/') {
            None => file == "state.toml" || AUDIT.as_flattened().contains(&file),
            Some((name, version)) => {
                let number = version.strip_suffix(".touchstone").and_then(|v| v.parse().ok());
                let held = found.recipes.get(name).zip(number);
                let wanted =
                    held.and_then(|(held, number): (&Held, u32)| held.versions.get(&number));
                must(wanted.is_none_or(|wanted| wanted == sum), || {
                    format!("{file} has the SHA-256 {sum} and was installed with {wanted:?}")
                })?;
                wanted.is_some()
            }
        };
        must(known, || format!("{file} is left over in the store"))?;
    }
    for (name, held) in &found.recipes {
        for number in held.versions.keys() {
            let file = format!("./{name}/{number}.touchstone");
            must(files.contains(&file), || format!("{file} is in the state and not on the disk"))?;
        }
    }
    let mut whole = 0;
    for (pair, lines) in AUDIT.iter().zip(&mut found.audit) {
        let [before, latest] = pair.map(|name| format!("/data/store/{name}"));
        let text = sh(bench, &format!("cat {before} {latest} 2>/dev/null; true"))?;
        *lines = text.lines().map(str::to_owned).collect();
        whole += lines.iter().filter(|line| is_json(line)).count();
    }
    let log = sh(bench, &format!("touchstone recipe log --config {CONFIG} --json"))?;
    let told = log.lines().filter(|line| line.starts_with('{')).count();
    must(told == whole, || format!("recipe log tells {told} of {whole} entries of the audit"))?;
    Ok(found)
}

/// Whether a line is whole.
pub fn is_json(line: &str) -> bool {
    serde_json::from_str::<Value>(line).is_ok()
}

fn held_of(value: &Value) -> Option<(String, Held)> {
    let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
    let versions = value["versions"].as_array()?.iter();
    let version = |v: &Value| Some((number(&v["number"])?, v["sha256"].as_str()?.to_owned()));
    let held = Held {
        newest: number(&value["newest"])?,
        current: number(&value["current"])?,
        history: value["history"].as_array()?.iter().map(number).collect::<Option<_>>()?,
        versions: versions.map(version).collect::<Option<_>>()?,
    };
    Some((value["name"].as_str()?.to_owned(), held))
}

/// Waits until the disk has not written for a while; how many writes it has done.
pub fn quiet(bench: &mut Bench) -> Outcome<u64> {
    let started = Instant::now();
    let (mut writes, mut since) = (bench.disk_writes()?, Instant::now());
    while since.elapsed() < QUIET {
        must(started.elapsed() < CHANGE_LIMIT, || "the disk is never quiet".to_owned())?;
        std::thread::sleep(QUIET_LOOK);
        let now = bench.disk_writes()?;
        if now != writes {
            (writes, since) = (now, Instant::now());
        }
    }
    Ok(writes)
}

/// The archive: every part that has a record has its picture and its map, to their last byte. How many there are.
pub fn look_at_archive(bench: &mut Bench) -> Outcome<usize> {
    const LIST: &str = "cd /data/out/archive && ls";
    loop {
        let list = sh(bench, LIST)?;
        let names: Vec<&str> = list.lines().collect();
        let stems: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(".json")).collect();
        let files = |end: &str| stems.iter().map(|stem| format!("{stem}{end}")).collect::<Vec<_>>();
        let pictures = [files(".png"), files(".map.png")].concat();
        let read = |bench: &mut Bench, how: &str, files: &[String]| match files {
            [] => Ok(String::new()),
            files => {
                sh(bench, &format!("cd /data/out/archive && {how} {} || true", files.join(" ")))
            }
        };
        // Every PNG ends with its own mark.
        let ends = read(bench, "tail -q -c 8", &pictures)?;
        let records = read(bench, "cat", &files(".json"))?;
        if sh(bench, LIST)? != list {
            // The line is at it: the part of a moment ago comes, and the oldest goes.
            continue;
        }
        for picture in &pictures {
            let there = names.contains(&picture.as_str());
            must(there, || format!("in the archive {picture} is missing: {names:?}"))?;
        }
        let (whole, all) = (ends.matches("IEND").count(), pictures.len());
        must(whole == all, || format!("in the archive {whole} of {all} pictures are whole"))?;
        let sound = serde_json::Deserializer::from_str(&records).into_iter::<Value>();
        let (sound, all) = (sound.filter(Result::is_ok).count(), stems.len());
        must(sound == all, || format!("in the archive {sound} of {all} records are whole"))?;
        return Ok(all);
    }
}
