//! The line's rules, one short story each. Times in these tests are in ms.

use super::*;

/// travel 100, lead 10, pulse 20, capture 0..=30: deadline 90, window 90..110.
const TIMES: LineTimes = LineTimes {
    capture_delay_ms: 0,
    capture_window_ms: 30,
    travel_ms: 100,
    actuator_lead_ms: 10,
    pulse_ms: 20,
    debounce_ms: 5,
    backlog_max: 3,
    late_max: 2,
    ..LineTimes::DEFAULT
};

fn ms(t: i64) -> Timestamp {
    Timestamp(t * 1000)
}

fn line() -> Line {
    let mut line = Line::new(LineConfig::try_from(TIMES).unwrap());
    assert_eq!(actions(&mut line, 0), [Action::SetReady(true)]);
    line
}

/// All but BUSY, which has a story of its own.
fn actions(line: &mut Line, now: i64) -> Vec<Action> {
    let all = std::iter::from_fn(|| line.next_action(ms(now)));
    all.filter(|a| !matches!(a, Action::SetBusy(_))).collect()
}

fn trigger(line: &mut Line, at: i64) {
    line.handle(ms(at), Event::Trigger { at: ms(at) });
}

fn frame(line: &mut Line, now: i64, part: u32, exposed: i64) {
    line.handle(ms(now), Event::FrameReady { part: PartId(part), exposed_at: ms(exposed) });
}

fn judged(line: &mut Line, now: i64, part: u32, verdict: Verdict) {
    line.handle(ms(now), Event::Judged { part: PartId(part), verdict });
}

fn capture(part: u32, at: i64) -> Action {
    Action::Capture { part: PartId(part), not_before: ms(at), by: ms(at + 30) }
}

fn publish(part: u32, at: i64, decided: i64, outcome: Outcome) -> Action {
    Action::Publish { part: PartId(part), outcome, triggered_at: ms(at), decided_at: ms(decided) }
}

fn fire(at: i64, until: i64) -> Action {
    Action::FireReject { at: ms(at), until: ms(until) }
}

#[test]
fn lost_edges_hold_the_reject_output_until_a_person_has_cleared_the_belt() {
    let mut line = line();
    line.handle(ms(10), Event::EdgesLost);
    assert_eq!(line.fault_kind(), Some(Fault::Edges));
    let forever = Action::FireReject { at: ms(10), until: FOREVER };
    assert_eq!(actions(&mut line, 10), [forever, Action::SetReady(false)]);
    // Whatever still comes is refused.
    trigger(&mut line, 20);
    assert_eq!(actions(&mut line, 20), [publish(0, 20, 20, Outcome::Reject(Why::NotReady))]);
    assert_eq!(actions(&mut line, 200), [], "the output stays as it is");
    line.handle(ms(210), Event::Reset);
    let after = actions(&mut line, 210);
    assert!(after.contains(&Action::EndReject { at: ms(10) }), "{after:?}");
    assert!(after.contains(&Action::SetReady(true)), "{after:?}");
    assert_eq!(line.fault_kind(), None);
}

#[test]
fn a_good_part_passes_without_a_pulse() {
    let mut line = line();
    trigger(&mut line, 10);
    assert_eq!(actions(&mut line, 10), [capture(0, 10)]);
    frame(&mut line, 20, 0, 12);
    assert_eq!(actions(&mut line, 20), [Action::Judge { part: PartId(0) }]);
    judged(&mut line, 60, 0, Verdict::Good);
    assert_eq!(actions(&mut line, 60), [publish(0, 10, 60, Outcome::Pass)]);
    assert_eq!(line.poll_at(), None);
    assert_eq!(actions(&mut line, 500), []);
    assert_eq!(line.in_flight(), 0);
    assert_eq!(line.counters().passed, 1);
}

#[test]
fn a_bad_part_is_reported_at_once_and_fired_at_its_window() {
    let mut line = line();
    trigger(&mut line, 10);
    actions(&mut line, 10);
    frame(&mut line, 20, 0, 12);
    actions(&mut line, 20);
    judged(&mut line, 60, 0, Verdict::Bad);
    assert_eq!(actions(&mut line, 60), [publish(0, 10, 60, Outcome::Reject(Why::Judged))]);
    assert_eq!(line.poll_at(), Some(ms(100)));
    assert_eq!(actions(&mut line, 100), [fire(100, 120)]);
    assert_eq!(actions(&mut line, 119), []);
    assert_eq!(line.counters().pulses, 1);
}

#[test]
fn a_verdict_at_the_deadline_is_too_late() {
    for (verdict_at, outcome) in [(99, Outcome::Pass), (100, Outcome::Reject(Why::Late))] {
        let mut line = line();
        trigger(&mut line, 10);
        actions(&mut line, 10);
        frame(&mut line, 20, 0, 12);
        actions(&mut line, 20);
        judged(&mut line, verdict_at, 0, Verdict::Good);
        let done = actions(&mut line, verdict_at);
        assert!(done.contains(&publish(0, 10, verdict_at, outcome)), "{done:?}");
        let late = u64::from(outcome.is_reject());
        assert_eq!(line.counters().verdicts_late, late);
    }
}

#[test]
fn a_late_judge_stays_busy_and_the_next_part_waits_for_it() {
    let mut line = line();
    trigger(&mut line, 0);
    actions(&mut line, 0);
    frame(&mut line, 1, 0, 0);
    assert_eq!(actions(&mut line, 1), [Action::Judge { part: PartId(0) }]);
    trigger(&mut line, 50);
    actions(&mut line, 50);
    frame(&mut line, 51, 1, 50);
    assert_eq!(actions(&mut line, 51), []);
    let late = publish(0, 0, 90, Outcome::Reject(Why::Late));
    assert_eq!(actions(&mut line, 90), [fire(90, 110), late]);
    judged(&mut line, 95, 0, Verdict::Good);
    assert_eq!(actions(&mut line, 95), [Action::Judge { part: PartId(1) }]);
    judged(&mut line, 130, 1, Verdict::Good);
    assert_eq!(actions(&mut line, 130), [publish(1, 50, 130, Outcome::Pass)]);
}

#[test]
fn a_frame_of_another_time_and_no_frame_both_reject() {
    let mut line = line();
    trigger(&mut line, 10);
    actions(&mut line, 10);
    frame(&mut line, 20, 0, 9);
    let stale = Outcome::Reject(Why::StaleFrame);
    assert_eq!(actions(&mut line, 20), [publish(0, 10, 20, stale)]);

    trigger(&mut line, 40);
    actions(&mut line, 40);
    line.handle(ms(50), Event::FrameMissing { part: PartId(1) });
    let none = Outcome::Reject(Why::NoFrame);
    assert_eq!(actions(&mut line, 50), [publish(1, 40, 50, none)]);

    // The camera says nothing at all.
    trigger(&mut line, 60);
    actions(&mut line, 60);
    assert_eq!(line.poll_at(), Some(Timestamp(90_001)));
    assert_eq!(actions(&mut line, 90), []);
    assert_eq!(actions(&mut line, 91), [publish(2, 60, 91, none)]);
    assert_eq!(actions(&mut line, 100), [fire(100, 120)]);
}

#[test]
fn overlapping_windows_merge_into_one_pulse() {
    let mut line = line();
    for at in [0, 15, 50] {
        trigger(&mut line, at);
        actions(&mut line, at);
    }
    for part in 0..3 {
        line.handle(ms(50), Event::FrameMissing { part: PartId(part) });
    }
    actions(&mut line, 50);
    assert_eq!(actions(&mut line, 90), [fire(90, 110)]);
    assert_eq!(actions(&mut line, 105), [fire(90, 125)]);
    assert_eq!(actions(&mut line, 140), [fire(140, 160)]);
    let counters = line.counters();
    assert_eq!((counters.pulses, counters.pulses_merged), (2, 1));
}

#[test]
fn bounces_are_counted_and_make_no_part() {
    let mut line = line();
    for at in [10, 12, 14, 15] {
        trigger(&mut line, at);
    }
    assert_eq!(actions(&mut line, 15), [capture(0, 10), capture(1, 15)]);
    assert_eq!(line.counters().bounces, 2);
    assert_eq!(line.counters().triggers, 4);
}

#[test]
fn overload_rejects_the_new_part_at_once() {
    let mut line = line();
    for at in [0, 5, 10, 15] {
        trigger(&mut line, at);
    }
    let done = actions(&mut line, 15);
    assert_eq!(done[0], publish(3, 15, 15, Outcome::Reject(Why::Overload)));
    assert_eq!(done.len(), 4, "three captures and no fourth: {done:?}");
    assert_eq!(line.backlog(), 3);
}

#[test]
fn an_open_interlock_or_a_dead_camera_lowers_ready_and_rejects() {
    for (off, on) in [
        (Event::Interlock { closed: false }, Event::Interlock { closed: true }),
        (Event::Health { ok: false }, Event::Health { ok: true }),
    ] {
        let mut line = line();
        line.handle(ms(1), off);
        assert_eq!(actions(&mut line, 1), [Action::SetReady(false)]);
        trigger(&mut line, 2);
        let refused = Outcome::Reject(Why::NotReady);
        assert_eq!(actions(&mut line, 2), [publish(0, 2, 2, refused)]);
        line.handle(ms(3), on);
        assert_eq!(actions(&mut line, 3), [Action::SetReady(true)]);
        assert_eq!(actions(&mut line, 92), [fire(92, 112)]);
    }
}

#[test]
fn a_trigger_reported_out_of_order_is_rejected_in_its_own_window() {
    let mut line = line();
    trigger(&mut line, 50);
    actions(&mut line, 50);
    line.handle(ms(60), Event::Trigger { at: ms(20) });
    let refused = Outcome::Reject(Why::OutOfOrder);
    assert_eq!(actions(&mut line, 60), [publish(1, 20, 60, refused)]);
    frame(&mut line, 61, 0, 55);
    assert_eq!(actions(&mut line, 61), [Action::Judge { part: PartId(0) }]);
    assert_eq!(actions(&mut line, 110), [fire(110, 130)]);
}

#[test]
fn a_missed_pulse_stops_the_line_until_reset() {
    let mut line = line();
    trigger(&mut line, 0);
    actions(&mut line, 0);
    line.handle(ms(10), Event::FrameMissing { part: PartId(0) });
    // The shell sleeps through the whole window.
    let done = actions(&mut line, 200);
    assert_eq!(done[0], Action::SetReady(false));
    assert_eq!(line.counters().pulses_missed, 1);
    line.handle(ms(210), Event::Reset);
    assert_eq!(actions(&mut line, 210), [Action::SetReady(true)]);
}

#[test]
fn a_trigger_older_than_its_window_is_a_missed_pulse() {
    let mut line = line();
    line.handle(ms(500), Event::Trigger { at: ms(100) });
    let late = publish(0, 100, 500, Outcome::Reject(Why::Late));
    assert_eq!(actions(&mut line, 500), [Action::SetReady(false), late]);
    assert_eq!(line.counters().pulses_missed, 1);
}

#[test]
fn busy_holds_from_the_trigger_to_the_report() {
    let mut line = line();
    let all =
        |line: &mut Line, t| -> Vec<_> { std::iter::from_fn(|| line.next_action(ms(t))).collect() };
    trigger(&mut line, 0);
    assert_eq!(all(&mut line, 0), [Action::SetBusy(true), capture(0, 0)]);
    trigger(&mut line, 5);
    assert_eq!(all(&mut line, 5), [capture(1, 5)]);
    line.handle(ms(6), Event::FrameMissing { part: PartId(0) });
    let none = Outcome::Reject(Why::NoFrame);
    assert_eq!(all(&mut line, 6), [publish(0, 0, 6, none)]);
    line.handle(ms(7), Event::FrameMissing { part: PartId(1) });
    assert_eq!(all(&mut line, 7), [publish(1, 5, 7, none), Action::SetBusy(false)]);
}

#[test]
fn late_verdicts_in_a_row_stop_the_line_and_one_in_time_breaks_the_row() {
    let mut line = line();
    let late = |line: &mut Line, part: u32, at: i64| {
        trigger(line, at);
        actions(line, at);
        frame(line, at, part, at);
        actions(line, at);
        let done = actions(line, at + 90);
        judged(line, at + 95, part, Verdict::Good);
        actions(line, at + 95);
        assert!(done.contains(&publish(part, at, at + 90, Outcome::Reject(Why::Late))), "{done:?}");
        done
    };
    late(&mut line, 0, 0);
    trigger(&mut line, 200);
    actions(&mut line, 200);
    frame(&mut line, 200, 1, 200);
    actions(&mut line, 200);
    judged(&mut line, 210, 1, Verdict::Bad);
    actions(&mut line, 290);
    late(&mut line, 2, 400);
    assert_eq!(line.fault_kind(), None);
    let done = late(&mut line, 3, 600);
    assert_eq!(done[..2], [fire(690, 710), Action::SetReady(false)]);
    assert_eq!((line.fault_kind(), line.counters().late_faults), (Some(Fault::LateVerdicts), 1));
    trigger(&mut line, 800);
    assert!(actions(&mut line, 800).contains(&publish(
        4,
        800,
        800,
        Outcome::Reject(Why::NotReady)
    )));
    line.handle(ms(810), Event::Reset);
    assert_eq!(actions(&mut line, 810), [Action::SetReady(true)]);
}

#[test]
fn a_verdict_has_a_timeout_of_its_own() {
    let times = LineTimes { verdict_timeout_ms: Some(50), ..TIMES };
    let mut line = Line::new(LineConfig::try_from(times).unwrap());
    trigger(&mut line, 0);
    actions(&mut line, 0);
    frame(&mut line, 1, 0, 0);
    actions(&mut line, 1);
    assert_eq!(line.poll_at(), Some(ms(50)));
    let late = publish(0, 0, 50, Outcome::Reject(Why::Late));
    assert_eq!(actions(&mut line, 50), [late]);
    assert_eq!(line.poll_at(), Some(ms(90)), "the window is where it was");
    assert_eq!(actions(&mut line, 90), [fire(90, 110)]);
}

#[test]
fn a_graver_fault_is_shown_though_ready_is_low_already() {
    let mut line = line();
    trigger(&mut line, 0);
    actions(&mut line, 0);
    line.handle(ms(1), Event::FrameMissing { part: PartId(0) });
    line.handle(ms(2), Event::Interlock { closed: false });
    assert!(actions(&mut line, 2).contains(&Action::SetReady(false)));
    assert_eq!(actions(&mut line, 300), [Action::SetReady(false)]);
    assert!(line.fault());
}

#[test]
fn answers_without_a_question_change_nothing() {
    let mut line = line();
    trigger(&mut line, 0);
    judged(&mut line, 1, 0, Verdict::Good);
    judged(&mut line, 1, 77, Verdict::Good);
    frame(&mut line, 1, 0, 0);
    line.handle(ms(1), Event::FrameMissing { part: PartId(77) });
    assert_eq!(actions(&mut line, 1), [capture(0, 0)]);
    frame(&mut line, 2, 0, 0);
    frame(&mut line, 2, 0, 0);
    assert_eq!(actions(&mut line, 2), [Action::Judge { part: PartId(0) }]);
    let counters = line.counters();
    assert_eq!((counters.verdicts_late, counters.events_unexpected), (2, 3));
    assert_eq!(counters.passed, 0);
}

#[test]
fn a_full_table_spills_and_every_spilled_part_is_reported() {
    let mut line = line();
    // The shell reports triggers but carries out nothing, against the rules.
    let parts = PARTS_IN_FLIGHT_MAX as i64 + 3;
    for index in 0..parts {
        line.handle(ms(500), Event::Trigger { at: ms(440 + index * 5).min(ms(500)) });
        line.last_trigger = None;
    }
    let mut published = vec![0; parts as usize];
    let mut fired = 0;
    for now in [500, 535, 595, 2000] {
        for action in actions(&mut line, now) {
            match action {
                Action::Publish { part, outcome, .. } => {
                    assert!(outcome.is_reject());
                    published[part.0 as usize] += 1;
                }
                Action::FireReject { .. } => fired += 1,
                Action::Capture { .. }
                | Action::Judge { .. }
                | Action::SetReady(_)
                | Action::SetBusy(_)
                | Action::EndReject { .. } => {}
            }
        }
    }
    assert_eq!(published, vec![1; parts as usize]);
    assert!(fired > 0);
    assert_eq!(line.counters().rejected, parts as u64);
    // Afterwards the line takes parts in again.
    actions(&mut line, 2000);
    assert_eq!(line.in_flight(), 0);
    line.handle(ms(2000), Event::Reset);
    trigger(&mut line, 2000);
    assert!(actions(&mut line, 2000).contains(&capture(parts as u32, 2000)));
}

#[test]
fn the_trace_keeps_the_latest_transitions() {
    let mut line = line();
    for at in 0..200 {
        trigger(&mut line, at * 200);
        actions(&mut line, at * 200);
        actions(&mut line, at * 200 + 90);
        actions(&mut line, at * 200 + 190);
    }
    assert_eq!(line.trace().count(), TRACE_LEN);
    assert_eq!(line.trace().last(), Some(&Trace::Pulse { at: ms(39_890), until: ms(39_910) }));
    let last = line.trace().last().map(Trace::to_string);
    assert_eq!(last.as_deref(), Some("39890000 us: reject until 39910000 us"));
}
