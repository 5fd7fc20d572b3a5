use super::part::{CONTRAST_MIN, MASK_LEVELS};
use super::*;
use crate::camera::{Camera, CameraError};
use crate::io::{OutputRole, Outputs, Trigger};
use crate::time::{Clock, Timestamp};

const LONG: Duration = Duration::from_secs(5);
const MS: Duration = Duration::from_millis(1);

fn small() -> SimConfig {
    SimConfig { size: (96, 96), parts: 12, ..SimConfig::default() }
}

fn line(config: SimConfig) -> SimulatedLine {
    SimulatedLine::new(config).unwrap()
}

#[test]
fn the_seed_fixes_everything_and_order_changes_nothing() {
    let (a, b) = (line(small()), line(small()));
    let backwards: Vec<RenderedPart> = (0..4).rev().map(|n| a.part(n)).collect();
    for (n, part) in (0..4).rev().zip(&backwards) {
        assert_eq!(&b.part(n), part);
        assert_eq!(b.defect_of(n), part.truth.defect);
    }
    let other = line(SimConfig { seed: 2, ..small() });
    assert_ne!(other.part(0).frame.rgb, a.part(0).frame.rgb);
    assert_ne!(a.good_part(0).frame.rgb, a.good_part(1).frame.rgb);
    assert_ne!(a.good_part(0).frame.rgb, a.part(0).frame.rgb);
}

#[test]
fn the_defect_rate_is_kept() {
    let share = |defect_rate: f32| {
        let line = line(SimConfig { defect_rate, ..small() });
        (0..2000).filter(|&n| line.defect_of(n).is_some()).count() as f32 / 2000.0
    };
    assert_eq!((share(0.0), share(1.0)), (0.0, 1.0));
    assert!((share(0.2) - 0.2).abs() < 0.03);
}

/// Without sensor noise the mask is exactly where the picture differs from the same part without defect.
#[test]
fn masks_are_exact_and_every_defect_can_be_seen() {
    for kind in PartKind::ALL {
        let line = line(SimConfig { kind, noise: 0.0, size: (128, 128), ..small() });
        for (n, defect) in DefectKind::ALL.into_iter().enumerate() {
            let n = n as u64;
            let (bad, good) = (line.part_with(n, Some(defect)), line.part_with(n, None));
            assert_eq!(bad.truth.defect, Some(defect));
            assert!(good.truth.mask.iter().all(|changed| !changed) && !good.truth.defective);
            let (mut area, mut sum) = (0u32, 0u32);
            for ((a, b), mask) in
                bad.frame.rgb.chunks(3).zip(good.frame.rgb.chunks(3)).zip(&bad.truth.mask)
            {
                let most = (0..3).map(|k| a[k].abs_diff(b[k])).max().unwrap_or(0);
                assert_eq!(most > MASK_LEVELS, *mask, "{kind} {defect}");
                if *mask {
                    area += 1;
                    sum += u32::from(most);
                }
            }
            assert!(area >= 3, "{kind} {defect}: {area} pixels");
            let contrast = sum as f32 / area as f32;
            assert!(contrast >= CONTRAST_MIN, "{kind} {defect}: contrast {contrast}");
        }
    }
}

#[test]
fn edges_come_at_their_times_and_end() {
    let mut line = line(SimConfig { parts: 3, ..small() });
    for n in 0..3 {
        let edge = line.wait(LONG).unwrap().unwrap();
        assert_eq!((edge.at, u64::from(edge.sequence)), (line.triggers_at(n), n));
        assert_eq!(line.now(), edge.at);
    }
    let before = line.now();
    assert_eq!(line.wait(MS).unwrap(), None);
    assert_eq!(line.now(), before + MS);
    assert_eq!(line.ledger().len(), 3);
    assert!(!line.finished());
    line.sleep_until(line.now() + LONG);
    assert!(line.finished());
    assert_eq!(line.tally().parts(), 3);
}

#[test]
fn a_bouncing_trigger_doubles_edges_but_not_parts() {
    let faults = SimFaults { duplicate_trigger: 1.0, ..SimFaults::default() };
    let mut line = line(SimConfig { parts: 2, faults, ..small() });
    let edges: Vec<_> = std::iter::from_fn(|| line.wait(LONG).unwrap()).collect();
    assert_eq!(edges.len(), 4);
    assert_eq!(edges[1].at, edges[0].at + line::BOUNCE);
    assert_eq!(edges[3].sequence, 3);
    assert_eq!(line.ledger().len(), 2);
}

#[test]
fn a_part_gets_the_frame_exposed_for_it() {
    let mut line = line(small());
    let edge = line.wait(LONG).unwrap().unwrap();
    let frame = line.next_frame(edge.at, LONG).unwrap();
    assert_eq!(frame.sequence, 0);
    assert_eq!(frame.exposed_at, edge.at + line.config().exposure_delay);
    assert_eq!(line.now(), frame.exposed_at + line.config().readout);
    assert_eq!(frame, line.part(0).frame);
    assert!(line.ledger()[0].seen);
}

#[test]
fn the_newest_frame_wins_and_old_ones_are_counted() {
    let mut line = line(small());
    line.sleep_until(line.triggers_at(3) + 50 * MS);
    assert_eq!(line.next_frame(Timestamp::ZERO, LONG).unwrap().sequence, 3);
    line.sleep_until(line.triggers_at(5) + 50 * MS);
    let frame = line.next_frame(line.triggers_at(6), LONG).unwrap();
    assert_eq!(frame.sequence, 6);
    let counts = line.counts();
    assert_eq!((counts.delivered, counts.superseded, counts.stale), (2, 3, 2));
    // Nothing is seen twice.
    assert!(matches!(line.next_frame(Timestamp::ZERO, MS), Err(CameraError::Timeout { .. })));
}

#[test]
fn lost_and_late_frames() {
    let faults = SimFaults { drop_frame: 1.0, ..SimFaults::default() };
    let mut dropping = line(SimConfig { faults, ..small() });
    assert!(matches!(dropping.next_frame(Timestamp::ZERO, LONG), Err(CameraError::Timeout { .. })));
    assert_eq!(dropping.now(), Timestamp::ZERO + LONG);

    let faults = SimFaults { late_frame: 1.0, late_by: 40 * MS, ..SimFaults::default() };
    let mut late = line(SimConfig { faults, ..small() });
    let edge = late.wait(LONG).unwrap().unwrap();
    assert!(late.next_frame(edge.at, 30 * MS).is_err());
    assert_eq!(late.next_frame(edge.at, 30 * MS).unwrap().sequence, 0);
}

#[test]
fn the_camera_ends_with_the_last_part() {
    let mut line = line(SimConfig { parts: 1, ..small() });
    assert!(line.next_frame(Timestamp::ZERO, LONG).is_ok());
    assert!(matches!(line.next_frame(Timestamp::ZERO, LONG), Err(CameraError::Ended)));
}

/// Drives the reject output from `on` to `off`, relative to when part 0 lies before the actuator.
fn outcome_of_pulse(on_us: i64, off_us: i64) -> Outcome {
    let mut line = line(SimConfig { parts: 2, hold: 6 * MS, ..small() });
    let at = line.triggers_at(0) + line.config().travel;
    line.sleep_until(Timestamp(at.0 + on_us));
    line.set(OutputRole::Reject, true).unwrap();
    line.sleep_until(Timestamp(at.0 + off_us));
    line.set(OutputRole::Reject, false).unwrap();
    line.sleep_until(line.now() + LONG);
    assert_eq!(line.ledger()[1].outcome, Outcome::Passed);
    line.ledger()[0].outcome
}

#[test]
fn only_a_pulse_that_covers_the_part_ejects_it() {
    assert_eq!(outcome_of_pulse(-5_000, 5_000), Outcome::Ejected);
    assert_eq!(outcome_of_pulse(-3_000, 3_000), Outcome::Ejected);
    // Too late, too short, too early: what the inspection said does not matter.
    assert_eq!(outcome_of_pulse(-2_999, 10_000), Outcome::Passed);
    assert_eq!(outcome_of_pulse(-10_000, 2_999), Outcome::Passed);
    assert_eq!(outcome_of_pulse(-60_000, -20_000), Outcome::Passed);
    assert_eq!(outcome_of_pulse(4_000, 20_000), Outcome::Passed);
}

#[test]
fn a_stuck_actuator_ejects_everything_and_other_outputs_nothing() {
    let mut stuck = line(SimConfig { defect_rate: 0.0, ..small() });
    stuck.set(OutputRole::Reject, true).unwrap();
    stuck.sleep_until(Timestamp(60_000_000));
    assert_eq!(stuck.tally().good_ejected, 12);
    assert_eq!(stuck.tally().false_reject_rate(), Some(1.0));
    let mut other = line(small());
    other.set(OutputRole::Fault, true).unwrap();
    assert!(other.level(OutputRole::Fault) && !other.level(OutputRole::Reject));
    other.sleep_until(Timestamp(60_000_000));
    assert_eq!(other.tally().bad_ejected + other.tally().good_ejected, 0);
}

/// A loop as the firmware's, with an oracle for a model: the ledger then shows a perfect line.
#[test]
fn a_perfect_inspection_has_a_perfect_ledger() {
    let config = SimConfig { parts: 40, defect_rate: 0.4, size: (32, 32), ..SimConfig::default() };
    let (mut line, travel) = (line(config.clone()), config.travel);
    let mut due: Vec<(Timestamp, bool)> = Vec::new();
    while !line.finished() {
        due.sort();
        let wait = due.first().map_or(LONG, |(at, _)| at.since(line.now()));
        if let Some(edge) = line.wait(wait).unwrap() {
            let frame = line.next_frame(edge.at, 20 * MS).unwrap();
            if line.defect_of(u64::from(frame.sequence)).is_some() {
                let at = edge.at + travel;
                due.extend([(at - 10 * MS, true), (at + 10 * MS, false)]);
            }
        } else if !due.is_empty() {
            let (_, level) = due.remove(0);
            line.set(OutputRole::Reject, level).unwrap();
        }
    }
    let tally = line.tally();
    assert_eq!(
        (tally.parts(), tally.recall(), tally.false_reject_rate()),
        (40, Some(1.0), Some(0.0))
    );
    assert!(tally.bad_ejected > 5);
    assert!(
        line.ledger()
            .iter()
            .all(|r| r.seen && (r.outcome == Outcome::Ejected) == r.defect.is_some())
    );
}

#[test]
fn settings_out_of_range_are_named() {
    let error = |config: SimConfig| SimulatedLine::new(config).unwrap_err().to_string();
    assert_eq!(error(SimConfig { light: 0.9, ..small() }), "light = 0.9: must be from 0 to 0.5");
    assert!(error(SimConfig { defect_rate: f32::NAN, ..small() }).contains("defect_rate = NaN"));
    assert!(error(SimConfig { size: (15, 64), ..small() }).contains("width = 15"));
    assert!(error(SimConfig { interval: Duration::ZERO, ..small() }).contains("interval"));
    assert!(error(SimConfig { travel: 2 * TIME_MAX, ..small() }).contains("travel"));
    assert_eq!("cap".parse::<PartKind>().unwrap(), PartKind::Cap);
    assert!("gear".parse::<PartKind>().unwrap_err().to_string().contains("bracket, washer"));
}
