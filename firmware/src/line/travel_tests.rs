//! The line by counts of an encoder, one short story each. The belt runs at one
//! count per ms unless it is said to do something else; times are in ms.

use super::*;

/// Travel 100 counts, pulse 20, no lead: window 100..120 counts after the edge.
const TIMES: LineTimes = LineTimes {
    capture_delay_ms: 0,
    capture_window_ms: 30,
    actuator_lead_ms: 0,
    pulse_ms: 20,
    debounce_ms: 5,
    backlog_max: 30,
    verdict_timeout_ms: Some(400),
    travel_counts: Some(100),
    pulse_counts: Some(20),
    debounce_counts: Some(5),
    counts_per_s_max: Some(2000),
    ..LineTimes::DEFAULT
};

fn ms(t: i64) -> Timestamp {
    Timestamp(t * 1000)
}

fn line_of(times: LineTimes) -> Line {
    let mut line = Line::new(LineConfig::try_from(times).unwrap());
    assert_eq!(actions(&mut line, 0), [Action::SetReady(false)]);
    belt(&mut line, 0, 0);
    assert_eq!(actions(&mut line, 0), [Action::SetReady(true)]);
    line
}

fn actions(line: &mut Line, now: i64) -> Vec<Action> {
    let all = std::iter::from_fn(|| line.next_action(ms(now)));
    all.filter(|a| !matches!(a, Action::SetBusy(_))).collect()
}

fn belt(line: &mut Line, now: i64, counts: i64) {
    line.handle(ms(now), Event::Encoder { at: ms(now), counts });
}

/// The belt runs from one place to another, one count per ms; what it made the
/// line do.
fn run(line: &mut Line, from: (i64, i64), to: i64) -> Vec<Action> {
    let mut done = Vec::new();
    let way = (to - from.1).abs();
    for step in 1..=way {
        belt(line, from.0 + step, from.1 + step * (to - from.1).signum());
        done.extend(actions(line, from.0 + step));
    }
    done
}

/// A part whose frame does not come, so that it is a reject at once.
fn reject(line: &mut Line, at: i64) {
    let part = line.next_part();
    line.handle(ms(at), Event::Trigger { at: ms(at) });
    actions(line, at);
    line.handle(ms(at), Event::FrameMissing { part });
    actions(line, at);
}

fn fire(at: i64) -> Action {
    Action::FireReject { at: ms(at), until: FOREVER }
}

fn end(at: i64) -> Action {
    Action::EndReject { at: ms(at) }
}

#[test]
fn the_pulse_begins_and_ends_by_counts() {
    let mut line = line_of(TIMES);
    run(&mut line, (0, 0), 10);
    reject(&mut line, 10);
    assert_eq!(line.poll_at(), None, "only the encoder drives");
    assert_eq!(run(&mut line, (10, 10), 109), []);
    assert_eq!(run(&mut line, (109, 109), 129), [fire(110)]);
    assert_eq!(run(&mut line, (129, 129), 130), [end(110)]);
    assert_eq!((line.in_flight(), line.counters().pulses), (0, 1));
}

#[test]
fn a_pulse_in_time_ends_by_itself() {
    let mut line = line_of(LineTimes { pulse_counts: None, ..TIMES });
    reject(&mut line, 0);
    let pulse = Action::FireReject { at: ms(100), until: ms(120) };
    assert_eq!(run(&mut line, (0, 0), 130), [pulse]);
    assert_eq!(line.in_flight(), 0);
}

/// By counts with a lead of 20 ms, but pulses of 20 ms by time.
const TIMED: LineTimes =
    LineTimes { pulse_counts: None, actuator_lead_ms: 20, capture_window_ms: 20, ..TIMES };

fn fire_for_20(at: i64) -> Action {
    Action::FireReject { at: ms(at), until: ms(at + 20) }
}

#[test]
fn a_belt_that_stops_within_the_lead_has_the_pulse_again_when_it_goes_on() {
    let mut line = line_of(TIMED);
    reject(&mut line, 0);
    assert_eq!(run(&mut line, (0, 0), 90), [fire_for_20(80)]);
    assert_eq!(actions(&mut line, 5_000), [], "nothing for a part that stands in front of it");
    // The speed is known anew 10 ms after the start, and the part is 90 counts on its way.
    assert_eq!(run(&mut line, (5_000, 90), 140), [fire_for_20(5_010)]);
    assert_eq!((line.counters().pulses, line.in_flight(), line.fault()), (2, 0, false));
}

#[test]
fn a_pulse_that_still_runs_is_prolonged_for_a_part_that_comes_later_than_it_seemed() {
    let mut line = line_of(LineTimes { pulse_ms: 100, ..TIMED });
    reject(&mut line, 0);
    let pulse = |until| Action::FireReject { at: ms(80), until: ms(until) };
    assert_eq!(run(&mut line, (0, 0), 90), [pulse(180)]);
    // The belt has stood for 60 ms; the part arrives when the pulse is nearly over.
    assert_eq!(run(&mut line, (150, 90), 300), [pulse(260)]);
    assert_eq!((line.counters().pulses_merged, line.in_flight(), line.fault()), (1, 0, false));
}

#[test]
fn a_belt_that_turns_before_the_part_arrives_has_the_pulse_again_but_not_after_that() {
    let mut line = line_of(TIMED);
    reject(&mut line, 0);
    assert_eq!(run(&mut line, (0, 0), 90), [fire_for_20(80)]);
    assert_eq!(run(&mut line, (90, 90), 20), []);
    assert_eq!(run(&mut line, (160, 20), 110), [fire_for_20(220)]);
    assert_eq!(run(&mut line, (250, 110), 20), []);
    assert_eq!(run(&mut line, (340, 20), 140), [], "it is gone");
    assert_eq!((line.counters().pulses, line.in_flight(), line.fault()), (2, 0, false));
}

#[test]
fn a_belt_that_stops_keeps_parts_and_pulse_waiting() {
    let mut line = line_of(TIMES);
    reject(&mut line, 0);
    assert_eq!(run(&mut line, (0, 0), 99), []);
    assert_eq!(actions(&mut line, 60_000), []);
    assert_eq!(run(&mut line, (60_000, 99), 110), [fire(60_001)]);
    assert_eq!(actions(&mut line, 120_000), [], "the part still stands at the actuator");
    assert_eq!(run(&mut line, (120_000, 110), 120), [end(60_001)]);
    assert!(!line.fault());
}

#[test]
fn a_belt_that_reverses_fires_nothing_twice_and_sees_no_part_twice() {
    let mut line = line_of(TIMES);
    reject(&mut line, 0);
    run(&mut line, (0, 0), 50);
    reject(&mut line, 50);
    assert_eq!(run(&mut line, (50, 50), 105), [fire(100)]);
    // Back until both have passed the sensor again, and forth.
    assert_eq!(run(&mut line, (105, 105), -10), []);
    for (now, counts) in [(1000, 0), (1050, 50)] {
        belt(&mut line, now, counts);
        line.handle(ms(now), Event::Trigger { at: ms(now) });
    }
    assert_eq!((line.counters().parts, line.counters().bounces), (2, 2));
    assert_eq!(run(&mut line, (1050, 50), 170), [end(100), fire(1150), end(1150)]);
    assert_eq!(line.counters().pulses, 2);
}

#[test]
fn an_unknown_part_behind_the_foremost_is_rejected() {
    let mut line = line_of(TIMES);
    run(&mut line, (0, 0), 50);
    reject(&mut line, 50);
    run(&mut line, (50, 50), 20);
    line.handle(ms(80), Event::Trigger { at: ms(80) });
    let outcome = Outcome::Reject(Why::OutOfOrder);
    let at = ms(80);
    let publish = Action::Publish { part: PartId(1), outcome, triggered_at: at, decided_at: at };
    assert_eq!(actions(&mut line, 80), [publish]);
    assert_eq!(run(&mut line, (80, 20), 121), [fire(180)], "in its own window");
}

#[test]
fn overlapping_windows_merge() {
    let mut line = line_of(TIMES);
    reject(&mut line, 0);
    run(&mut line, (0, 0), 15);
    reject(&mut line, 15);
    assert_eq!(run(&mut line, (15, 15), 140), [fire(100), fire(100), end(100)]);
    assert_eq!((line.counters().pulses, line.counters().pulses_merged), (1, 1));
}

#[test]
fn the_lead_follows_the_speed() {
    for (counts_per_step, fires_at) in [(1, 80), (2, 60)] {
        let mut line = line_of(LineTimes { actuator_lead_ms: 20, capture_window_ms: 20, ..TIMES });
        reject(&mut line, 0);
        let mut fired = None;
        for now in 1..200 {
            belt(&mut line, now, now * counts_per_step);
            if actions(&mut line, now).iter().any(|a| matches!(a, Action::FireReject { .. })) {
                fired = Some(now * counts_per_step);
            }
        }
        assert_eq!(fired, Some(fires_at), "at {counts_per_step} counts/ms");
    }
}

#[test]
fn a_verdict_is_late_by_counts_or_by_its_timeout() {
    let judging = |line: &mut Line| {
        line.handle(ms(0), Event::Trigger { at: ms(0) });
        actions(line, 0);
        line.handle(ms(1), Event::FrameReady { part: PartId(0), exposed_at: ms(1) });
        assert_eq!(actions(line, 1), [Action::Judge { part: PartId(0) }]);
    };
    let publish = |outcome, at| {
        let (part, triggered_at) = (PartId(0), ms(0));
        Action::Publish { part, outcome, triggered_at, decided_at: ms(at) }
    };
    let late = Outcome::Reject(Why::Late);

    let mut line = line_of(TIMES);
    judging(&mut line);
    assert_eq!(run(&mut line, (1, 1), 100), [fire(100), publish(late, 100)]);

    // The belt stands before the actuator, so there is time, but not for ever.
    let mut line = line_of(TIMES);
    judging(&mut line);
    assert_eq!(run(&mut line, (1, 1), 99), []);
    assert_eq!(line.poll_at(), Some(ms(400)));
    let good = Event::Judged { part: PartId(0), verdict: Verdict::Good };
    line.handle(ms(399), good);
    assert_eq!(actions(&mut line, 399), [publish(Outcome::Pass, 399)]);

    let mut line = line_of(TIMES);
    judging(&mut line);
    run(&mut line, (1, 1), 99);
    line.handle(ms(400), good);
    assert_eq!(actions(&mut line, 400), [publish(late, 400)]);
    assert_eq!(run(&mut line, (400, 99), 120), [fire(401), end(401)]);
}

#[test]
fn an_edge_reported_late_is_placed_where_the_belt_was() {
    let mut line = line_of(TIMES);
    run(&mut line, (0, 0), 30);
    line.handle(ms(30), Event::Trigger { at: ms(12) });
    actions(&mut line, 30);
    line.handle(ms(30), Event::FrameMissing { part: PartId(0) });
    actions(&mut line, 30);
    assert_eq!(run(&mut line, (30, 30), 112), [fire(112)]);
}

#[test]
fn a_jump_holds_the_output_until_a_person_has_cleared_the_belt() {
    let mut line = line_of(TIMES);
    line.handle(ms(0), Event::Trigger { at: ms(0) });
    actions(&mut line, 0);
    line.handle(ms(1), Event::FrameReady { part: PartId(0), exposed_at: ms(1) });
    actions(&mut line, 1);
    belt(&mut line, 10, 5_000);
    let (part, at) = (PartId(0), ms(10));
    let outcome = Outcome::Reject(Why::Encoder);
    let publish = Action::Publish { part, outcome, triggered_at: ms(0), decided_at: at };
    assert_eq!(actions(&mut line, 10), [fire(10), Action::SetReady(false), publish]);
    assert_eq!(line.fault_kind(), Some(Fault::Encoder));
    reject(&mut line, 20);
    assert_eq!(run(&mut line, (20, 5_000), 5_200), [], "held, whatever passes");
    line.handle(ms(900), Event::Reset);
    assert_eq!(actions(&mut line, 900), [end(10), Action::SetReady(true)]);
    assert_eq!((line.in_flight(), line.counters().pulses_missed), (0, 0));
    reject(&mut line, 900);
    assert_eq!(run(&mut line, (900, 5_200), 5_320), [fire(1000), end(1000)]);
}

#[test]
fn edges_without_travel_give_a_dead_encoder_away() {
    let mut line = line_of(TIMES);
    // The edges of one trembling part do not.
    for at in [0, 1, 2, 3, 4, 5, 6, 7, 8] {
        line.handle(ms(at), Event::Trigger { at: ms(at) });
    }
    assert_eq!((line.fault_kind(), line.counters().bounces), (None, 8));
    for at in [50, 100, 150] {
        assert_eq!(line.fault_kind(), None);
        line.handle(ms(at), Event::Trigger { at: ms(at) });
    }
    assert_eq!(line.fault_kind(), Some(Fault::Encoder));
    assert_eq!(line.counters().encoder_faults, 1);
}

#[test]
fn a_window_that_the_belt_jumped_over_is_a_missed_pulse() {
    let mut line = line_of(TIMES);
    reject(&mut line, 0);
    // One report in a hundred ms: possible for the belt, too coarse for the pulse.
    belt(&mut line, 100, 150);
    assert_eq!(actions(&mut line, 100), [Action::SetReady(false)]);
    assert_eq!(line.fault_kind(), Some(Fault::MissedPulse));
}

#[test]
fn counts_out_of_order_change_nothing() {
    let mut line = line_of(TIMES);
    run(&mut line, (0, 0), 20);
    line.handle(ms(20), Event::Encoder { at: ms(10), counts: 500 });
    assert_eq!(line.counters().encoder_out_of_order, 1);
    assert_eq!(line.fault_kind(), None);
}

#[test]
fn before_the_first_count_parts_are_refused_and_rejected_in_their_window() {
    let mut line = Line::new(LineConfig::try_from(TIMES).unwrap());
    line.handle(ms(0), Event::Trigger { at: ms(0) });
    let (part, at) = (PartId(0), ms(0));
    let outcome = Outcome::Reject(Why::NotReady);
    let publish = Action::Publish { part, outcome, triggered_at: at, decided_at: at };
    assert_eq!(actions(&mut line, 0), [Action::SetReady(false), publish]);
    belt(&mut line, 1, 7_000);
    assert_eq!(actions(&mut line, 1), [Action::SetReady(true)]);
    assert_eq!(run(&mut line, (1, 7_000), 7_120), [fire(101), end(101)]);
}
