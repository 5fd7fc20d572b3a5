//! The power fails, again and again, while the recipe store, its audit and the archive are written: QEMU is killed at a
//! random moment and started anew with the same disk. Each time the store opens, the old recipe or the new one is
//! active, the audit reads, and the line judges a part.

use std::collections::BTreeMap;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    CHANGE_LIMIT, Found, Named, bundle, import, is_json, judge, look, look_at_archive, mount,
    next_sequence, quiet, set_up, sh, start,
};
use crate::bench::Bench;
use crate::dice::Dice;
use crate::fail::{Fail, Outcome, must};
use crate::scenarios::serial::send;
use crate::scenarios::{Extras, Scenario};

pub const SCENARIO: Scenario = Scenario {
    name: "recipes-cut",
    about: "power cuts during import, activation, teach, rollback, archive and audit (--rounds 200)",
    extras: Extras { disk: true, bare: true, ..Extras::NONE },
    on_aarch64: false,
    run,
};

/// Cuts unless somebody says.
const ROUNDS: u32 = 6;
/// How often the disk is asked whether it writes.
const LOOK: Duration = Duration::from_millis(2);
/// Over so long the cut is spread after the first write of a change, until one was seen to take longer or shorter.
const SPAN: Duration = Duration::from_millis(1500);
/// And a little more than the longest that was seen.
const SPAN_MORE: f64 = 1.1;
/// Good parts beyond which a recipe is not taught any more: each makes the next start slower.
const GOOD_PARTS_MAX: u32 = 3;
/// Entries of the audit, or parts, in a row.
const ENTRIES: usize = 12;
const PARTS: usize = 3;

/// What is going on when the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Import,
    Activate,
    Teach,
    Rollback,
    Archive,
    Audit,
}

const KINDS: [Kind; 6] =
    [Kind::Import, Kind::Activate, Kind::Teach, Kind::Rollback, Kind::Archive, Kind::Audit];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Import => "import",
            Kind::Activate => "activate",
            Kind::Teach => "teach",
            Kind::Rollback => "rollback",
            Kind::Archive => "archive",
            Kind::Audit => "audit",
        })
    }
}

/// A change that is about to be made.
struct Change {
    kind: Kind,
    /// What is active when it is done.
    new: Named,
    /// How it is begun.
    how: How,
}

enum How {
    /// Lines to the line, each answered once.
    Serial(Vec<String>),
    /// A command of its own process.
    Shell(String),
}

/// What was seen of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    cuts: u32,
    old: u32,
    new: u32,
    /// It was answered before the power failed.
    answered: u32,
    /// It could not be done, and was answered so.
    refused: u32,
    /// Lines of the audit that were torn.
    torn: usize,
    span: Option<Duration>,
}

fn run(bench: &mut Bench) -> Outcome<()> {
    let rounds = bench.plan.rounds.unwrap_or(ROUNDS);
    let mut dice = Dice::new(bench.plan.seed);
    set_up(bench)?;
    let mut prompts: BTreeMap<Named, u32> = BTreeMap::new();
    for name in ["nut", "part"] {
        let file = bundle(bench, name, 1, "/run")?;
        let done = bench.touchstone(&import(&file))?;
        must(done.code == 0, || format!("import ended with {}: {}", done.code, done.text))?;
        prompts.insert((name.to_owned(), 1), 1);
    }
    let mut found = look(bench)?;
    start(bench)?;
    judge(bench)?;
    let mut tallies: BTreeMap<Kind, Tally> = BTreeMap::new();
    let (mut boots, mut whole) = (Duration::ZERO, Duration::ZERO);
    for round in 1..=rounds {
        let began = Instant::now();
        // Every kind in turn, so that each has its share whatever the seed.
        let kind = KINDS[(round as usize - 1) % KINDS.len()];
        let change = choose(bench, kind, &found, &prompts, &mut dice)?;
        let tally = tallies.entry(change.kind).or_default();
        let answers = cut_during(bench, &change, tally, &mut dice)?;
        boots += bench.boot_again()?;
        mount(bench)?;
        let now = look(bench)?;
        judge_change(&change, &answers, &found, &now, tally)?;
        if now.active.as_ref() == Some(&change.new) {
            let taught = found.active.as_ref().and_then(|active| prompts.get(active));
            let good = if change.kind == Kind::Teach { taught.map_or(1, |n| n + 1) } else { 1 };
            prompts.entry(change.new.clone()).or_insert(good);
        }
        start(bench)?;
        judge(bench)?;
        let archived = look_at_archive(bench)?;
        found = now;
        whole += began.elapsed();
        eprintln!(
            "hil: cut {round} of {rounds}: {}, {}, {archived} parts archived, {:.1} s",
            change.kind,
            if found.active.as_ref() == Some(&change.new) { "new" } else { "old" },
            began.elapsed().as_secs_f64()
        );
    }
    report(bench, rounds, &tallies, boots, whole);
    Ok(())
}

fn report(
    bench: &mut Bench,
    rounds: u32,
    tallies: &BTreeMap<Kind, Tally>,
    boots: Duration,
    whole: Duration,
) {
    bench.note("power cuts", format!("{rounds}, seed {}", bench.plan.seed));
    let each = |all: Duration| format!("{:.1} s", all.as_secs_f64() / f64::from(rounds));
    bench.note("a start of the machine", each(boots));
    bench.note("a cut with all that is looked at after it", each(whole));
    for (kind, tally) in tallies {
        let Tally { cuts, old, new, answered, refused, torn, span } = tally;
        let span = span.map_or_else(|| "not seen to end".to_owned(), |s| format!("{s:.1?} long"));
        bench.note(
            &kind.to_string(),
            format!(
                "{cuts} cuts: {old} old, {new} new; {answered} were answered before the cut, {refused} of them \
                 with a refusal; {torn} torn lines of the audit; {span}"
            ),
        );
    }
}

/// Draws a change of that kind, or an import where there is none such now.
fn choose(
    bench: &mut Bench,
    kind: Kind,
    found: &Found,
    prompts: &BTreeMap<Named, u32>,
    dice: &mut Dice,
) -> Outcome<Change> {
    let nothing = || Fail::Seen("no recipe is active".to_owned());
    let active = found.active.clone().ok_or_else(nothing)?;
    let held = found.recipes.get(&active.0).ok_or_else(nothing)?;
    let serial = |new: Named, lines: Vec<String>| Change { kind, new, how: How::Serial(lines) };
    Ok(match kind {
        Kind::Activate => {
            let versions = |(name, held): (&String, &super::Held)| {
                held.versions.keys().map(|number| (name.clone(), *number)).collect::<Vec<_>>()
            };
            let all: Vec<Named> = found.recipes.iter().flat_map(versions).collect();
            let others: Vec<Named> = all.into_iter().filter(|one| *one != active).collect();
            let Some(new) = dice.pick(&others) else { return Err(nothing()) };
            serial(new.clone(), vec![format!("recipe activate {}@{}", new.0, new.1)])
        }
        Kind::Rollback if !held.history.is_empty() => {
            let new = held.history.last().copied().unwrap_or_default();
            serial((active.0, new), vec!["recipe rollback".to_owned()])
        }
        Kind::Teach if prompts.get(&active).is_some_and(|good| *good < GOOD_PARTS_MAX) => {
            serial((active.0, held.newest + 1), vec!["teach".to_owned()])
        }
        Kind::Archive => serial(active, vec!["trigger".to_owned(); PARTS]),
        // Refused at once, and written down.
        Kind::Audit => serial(active, vec!["recipe activate nothing".to_owned(); ENTRIES]),
        Kind::Import | Kind::Rollback | Kind::Teach => {
            let name = dice.pick(&["nut", "part"]).copied().unwrap_or_default();
            let newest = found.recipes.get(name).map_or(0, |held| held.newest);
            let version = newest + 1 + dice.below(3) as u32;
            let file = bundle(bench, name, version, "/run")?;
            let how = How::Shell(import(&file));
            Change { kind: Kind::Import, new: (name.to_owned(), version), how }
        }
    })
}

/// Begins the change, waits until the disk writes, and cuts the power a random time later. What was answered by then.
fn cut_during(
    bench: &mut Bench,
    change: &Change,
    tally: &mut Tally,
    dice: &mut Dice,
) -> Outcome<Vec<String>> {
    let before = quiet(bench)?;
    let heard = bench.plc.lines().len();
    bench.modbus.take_bytes();
    match &change.how {
        How::Serial(lines) => {
            for (number, line) in (next_sequence(bench)..).zip(lines) {
                send(bench, number, line)?;
            }
        }
        // The second port, which nobody uses here, tells when it has ended.
        How::Shell(words) => {
            sh(
                bench,
                &format!(
                    "(touchstone {words} > /run/change.out 2>&1; echo ok $? > /dev/ttyModbus) \
                 > /dev/null 2>&1 &"
                ),
            )?;
        }
    }
    let asked = Instant::now();
    while bench.disk_writes()? == before {
        must(asked.elapsed() < CHANGE_LIMIT, || {
            format!("{} writes nothing within {CHANGE_LIMIT:?}", change.kind)
        })?;
        thread::sleep(LOOK);
    }
    let first = Instant::now();
    let wait = dice.within(tally.span.map_or(SPAN, |span| span.mul_f64(SPAN_MORE)));
    let expected = match &change.how {
        How::Serial(lines) => lines.len(),
        How::Shell(_) => 1,
    };
    let answers = |bench: &Bench| -> Vec<String> {
        let lines = bench.plc.lines();
        let replies = lines.iter().skip(heard).filter(|line| line.text.starts_with('<'));
        match &change.how {
            How::Serial(_) => replies.map(|line| line.text.clone()).collect(),
            How::Shell(_) => {
                let text = String::from_utf8_lossy(&bench.modbus.peek_bytes()).into_owned();
                text.lines().map(str::to_owned).collect()
            }
        }
    };
    let mut ended = None;
    while first.elapsed() < wait {
        thread::sleep(LOOK.min(wait.saturating_sub(first.elapsed())));
        if ended.is_none() && answers(bench).len() >= expected {
            ended = Some(first.elapsed());
        }
    }
    bench.cut_power()?;
    tally.cuts += 1;
    // The archive goes on after the answer, so it has no end that is seen.
    if let Some(ended) = ended.filter(|_| change.kind != Kind::Archive) {
        tally.span = Some(tally.span.map_or(ended, |span| span.max(ended)));
    }
    // What came until the end was said while the power was on.
    thread::sleep(LOOK);
    Ok(answers(bench))
}

/// Whether what is there after the cut is what may be there.
fn judge_change(
    change: &Change,
    answers: &[String],
    before: &Found,
    now: &Found,
    tally: &mut Tally,
) -> Outcome<()> {
    let kind = change.kind;
    let is_new = now.active.as_ref() == Some(&change.new);
    let is_old = now.active == before.active;
    must(is_old || is_new, || {
        format!("{kind}: {:?} became {:?} instead of {:?}", before.active, now.active, change.new)
    })?;
    // Neither lost nor invented: the versions before are there but for the oldest, and at most one is new.
    for (name, held) in &before.recipes {
        let there = now.recipes.get(name);
        must(there.is_some(), || format!("{kind}: recipe {name} is gone"))?;
        let kept = there.is_some_and(|there| there.versions.contains_key(&held.current));
        must(kept, || format!("{kind}: {name} has lost its version {}", held.current))?;
    }
    let changes = matches!(kind, Kind::Import | Kind::Activate | Kind::Teach | Kind::Rollback);
    let answered = !answers.is_empty();
    // "<7 ok part 3 is active*1234", or the exit status of an import.
    let agreed = |text: &String| text.starts_with("ok 0") || text.contains(" ok");
    let done = changes && answers.iter().any(agreed);
    must(!done || is_new, || format!("{kind}: answered {answers:?}, and then {:?}", now.active))?;
    tally.answered += u32::from(answered);
    tally.refused += u32::from(changes && answered && !done);
    if is_new && changes {
        tally.new += 1
    } else {
        tally.old += 1
    }

    let mut torn = 0;
    for (was, is) in before.audit.iter().zip(&now.audit) {
        let whole = |lines: &[String]| -> Vec<String> {
            lines.iter().filter(|line| is_json(line)).cloned().collect()
        };
        let (was_whole, is_whole) = (whole(was), whole(is));
        must(is_whole.starts_with(&was_whole), || {
            format!("{kind}: the audit has lost some of {} lines", was_whole.len())
        })?;
        let broken =
            |lines: &[String]| lines.iter().filter(|l| !l.is_empty() && !is_json(l)).count();
        torn += broken(is).saturating_sub(broken(was));
    }
    must(torn <= 1, || format!("{kind}: {torn} lines of the audit are torn"))?;
    tally.torn += torn;
    if done {
        let about = |line: &String| {
            let entry: Value = serde_json::from_str(line).unwrap_or_default();
            let version = entry["version"].as_u64();
            entry["recipe"] == change.new.0.as_str() && version == Some(change.new.1.into())
        };
        let told = now.audit[0].iter().skip(before.audit[0].len()).any(about);
        must(told, || format!("{kind}: answered {answers:?} and not in the audit"))?;
    }
    Ok(())
}
