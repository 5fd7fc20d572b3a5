//! The line's promises, over many seeds. A failure prints its seed, the line's
//! latest transitions and the command that shows it again.

use std::path::Path;

use touchstone_linesim::scenario::Scenario;
use touchstone_linesim::sweep::{rates, run, sweep};
use touchstone_linesim::tally::Table;

/// Seeds and parts per seed. The table is only comparable for these.
const SEEDS: u64 = 240;
const PARTS: usize = 1_000;
/// Seeds per row with a judge that takes two parts at once.
const SEEDS_AT_ONCE: u64 = 3;

/// Set to write the table anew after a change that is meant.
const BLESS: &str = "LINESIM_BLESS";

fn compare(file: &str, table: &Table) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, table.to_string()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        committed,
        table.to_string(),
        "{file} says something else; if the change is meant, run with {BLESS}=1 and commit it"
    );
}

#[test]
fn no_part_is_misrouted_passed_unjudged_or_stuck() {
    let table = sweep(0..SEEDS, PARTS, |_| {}).unwrap_or_else(|failed| panic!("{failed}"));
    assert_eq!(table.0.iter().map(|row| row.1.parts).sum::<u64>(), SEEDS * PARTS as u64);
    for (name, tally) in &table.0 {
        assert!(tally.passed > 0 && tally.rejected[0] > 0, "nothing judged in {name}");
        assert_eq!(tally.accounted(), tally.parts, "{name}");
    }
    // Every kind of reject occurs, or the sweep does not say much.
    for why in 0..8 {
        let seen: u64 = table.0.iter().map(|row| row.1.rejected[why]).sum();
        assert!(seen > 0, "no reject of kind {why} in the whole sweep");
    }
    compare("table.txt", &table);
}

#[test]
fn at_the_stated_rate_and_above_no_trigger_is_missed_in_silence() {
    let table = rates().unwrap_or_else(|failed| panic!("{failed}"));
    for ((_, tally), parts) in table.0.iter().zip([1_000_000, 100_000]) {
        // Judged, or rejected and counted; the oracle has checked each arrival.
        assert_eq!((tally.parts, tally.accounted(), tally.unseen), (parts, parts, 0));
    }
    assert!(table.0[1].1.rejected[4] > 0, "120 % must be too much");
    compare("rate.txt", &table);
}

#[test]
fn two_parts_at_once_keep_every_promise() {
    for row in 0..Scenario::ROWS {
        let (name, one) = Scenario::of_row(row);
        for seed in 0..SEEDS_AT_ONCE {
            let two = Scenario { judged_at_once: 2, ..one };
            let tally = run(two, &name, seed, PARTS).unwrap_or_else(|failed| panic!("{failed}"));
            assert_eq!(tally.accounted(), tally.parts, "{name}");
        }
    }
    // More parts than one judge at a time can take.
    let hurried = Scenario::at_rate(120);
    let late = |judged_at_once| {
        let scenario = Scenario { judged_at_once, ..hurried };
        let tally = run(scenario, "hurried", 1, 20_000).unwrap_or_else(|failed| panic!("{failed}"));
        tally.parts - tally.passed - tally.rejected[0]
    };
    let [one, two] = [1, 2].map(late);
    assert!(one > 1000 && two < one / 10, "{one} without a verdict, {two} with two at once");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for row in 0..Scenario::ROWS {
        let (name, scenario) = Scenario::of_row(row);
        let once = run(scenario, &name, 77, 500).unwrap_or_else(|failed| panic!("{failed}"));
        let again = run(scenario, &name, 77, 500).unwrap_or_else(|failed| panic!("{failed}"));
        assert_eq!(once, again, "{name}");
    }
}
