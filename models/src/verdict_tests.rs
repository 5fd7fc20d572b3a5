//! Reject by default, pass only by `decide`, and the record's stable keys.

use super::*;
use proptest::prelude::*;

/// With a joint score that is ordinary.
fn report(change: f64, position: f64, image: f64) -> WitnessReport {
    let say = |p_value| Testimony { statistic: 0.0, p_value };
    WitnessReport {
        change: say(change),
        position: say(position),
        joint: say(0.5),
        image: say(image),
    }
}

fn joint(p_value: f64) -> WitnessReport {
    let joint = Testimony { statistic: 0.0, p_value };
    WitnessReport { joint, ..report(0.5, 0.5, 0.5) }
}

fn rate(ppm: u32) -> FalseRejectRate {
    FalseRejectRate::from_ppm(ppm).expect("within bounds")
}

#[test]
fn the_zero_value_rejects() {
    assert_eq!(Decision::default(), Decision::Reject(Reason::NoResult));
    assert!(!Decision::default().is_pass());
    assert_eq!(decide(&WitnessReport::default(), rate(1)), Decision::Reject(Reason::NotFinite));
}

#[test]
fn the_reason_names_the_strongest_witness() {
    for (r, name) in [
        (report(1e-6, 0.5, 0.5), "change"),
        (report(0.5, 1e-6, 0.5), "novel"),
        (report(0.5, 0.5, 1e-6), "wrong_part"),
        (report(1e-7, 1e-6, 1e-6), "change"),
        // Of equal p-values, the witness with the largest share of the rate decides.
        (report(1e-6, 1e-6, 1e-6), "novel"),
    ] {
        assert_eq!(decide(&r, rate(1000)).reason_name(), name);
    }
    assert_eq!(decide(&report(0.5, 0.4, 0.3), rate(1000)).reason_name(), "ok");
    // A joint score that is too high is blamed on the local witness that saw more of it.
    let with = |change, position| WitnessReport {
        joint: joint(1e-6).joint,
        ..report(change, position, 0.5)
    };
    assert_eq!(decide(&with(0.01, 0.3), rate(1000)).reason_name(), "change");
    assert_eq!(decide(&with(0.3, 0.01), rate(1000)).reason_name(), "novel");
}

#[test]
fn the_joint_p_value_meets_the_rate() {
    type WithP = fn(f64) -> WitnessReport;
    let each: [(WithP, Witness); WITNESSES] = [
        (joint, Witness::Joint),
        (|p| report(p, 0.5, 0.5), Witness::Change),
        (|p| report(0.5, p, 0.5), Witness::Position),
        (|p| report(0.5, 0.5, p), Witness::Image),
    ];
    for (of, witness) in each {
        let p = 1000e-6 * witness.share();
        assert!(!decide(&of(p * 0.999), rate(1000)).is_pass());
        assert!(decide(&of(p * 1.001), rate(1000)).is_pass());
        assert!((of(p).p_value() - 1000e-6).abs() < 1e-15);
    }
    let shares: f64 = each.iter().map(|(_, w)| w.share()).sum();
    assert!((shares - 1.0).abs() < 1e-12, "the shares are the whole rate");
}

#[test]
fn rates_have_bounds() {
    assert!(FalseRejectRate::from_ppm(0).is_none(), "rate 0 would pass everything");
    assert!(FalseRejectRate::from_ppm(FALSE_REJECT_PPM_MAX + 1).is_none());
    assert_eq!(rate(250).ppm(), 250);
}

#[test]
fn names_are_unique_and_stable() {
    let p_value = 0.0;
    let all = [
        (Reason::NoResult, "no_result"),
        (Reason::Late, "late"),
        (Reason::MissedTrigger, "missed_trigger"),
        (Reason::Overload, "overload"),
        (Reason::NoFrame, "no_frame"),
        (Reason::StaleFrame, "stale_frame"),
        (Reason::TornFrame, "torn_frame"),
        (Reason::CameraFailed, "camera_failed"),
        (Reason::WrongSize, "wrong_size"),
        (Reason::NotFinite, "not_finite"),
        (Reason::EngineFailed, "engine_failed"),
        (Reason::NoRecipe, "no_recipe"),
        (Reason::Change { p_value }, "change"),
        (Reason::Novel { p_value }, "novel"),
        (Reason::WrongPart { p_value }, "wrong_part"),
    ];
    for (reason, name) in all {
        assert_eq!(reason.name(), name);
        assert!(!reason.to_string().is_empty() && !reason.to_string().contains('_'));
    }
    assert_eq!(
        Reason::Change { p_value: 3.2e-7 }.to_string(),
        "changed against the good part (p = 3.2e-7)"
    );
}

#[test]
fn the_record_has_the_contract_keys() {
    let mut record = VerdictRecord::new(7, &Decision::default(), f32::NAN, f64::NAN);
    assert_eq!((record.score, record.p_value), (1.0, 0.0));
    record.image = Some("a.png".into());
    record.recipe = Some("bracket-3".into());
    record.model = "oneprompt-m".into();
    record.regions.push(Region { x: 1, y: 2, w: 3, h: 4, score: 0.5 });
    let table = toml::Table::try_from(&record).expect("serialises");
    let mut keys: Vec<&str> = table.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let mut want = [
        "part",
        "image",
        "verdict",
        "reason",
        "score",
        "p_value",
        "regions",
        "latency_us",
        "model",
        "recipe",
    ];
    want.sort_unstable();
    assert_eq!(keys, want);
    let latency = table["latency_us"].as_table().expect("a table");
    for key in ["capture", "preprocess", "encode", "segment", "score", "total"] {
        assert!(latency.contains_key(key), "{key}");
    }
    let region = table["regions"][0].as_table().expect("a table");
    for key in ["x", "y", "w", "h", "score"] {
        assert!(region.contains_key(key), "{key}");
    }
    assert_eq!(table["verdict"].as_str(), Some("reject"));
    assert_eq!(table["reason"].as_str(), Some("no_result"));
    let back: VerdictRecord = table.try_into().expect("parses back");
    assert_eq!(back, record);
}

fn anything() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(-0.1),
        Just(1.1),
        0.0..1.0f64,
    ]
}

proptest! {
    #[test]
    fn nothing_unsound_ever_passes(
        statistics in prop::array::uniform4(anything()), ps in prop::array::uniform4(anything()), ppm in 1..200_000u32,
    ) {
        let say = |i: usize| Testimony { statistic: statistics[i], p_value: ps[i] };
        let r = WitnessReport { change: say(0), position: say(1), joint: say(2), image: say(3) };
        let sound = statistics.iter().all(|s| s.is_finite()) && ps.iter().all(|p| (0.0..=1.0).contains(p));
        let decision = decide(&r, rate(ppm));
        if !sound {
            prop_assert_eq!(decision, Decision::Reject(Reason::NotFinite));
            prop_assert_eq!(r.p_value(), 0.0);
        } else {
            let p = (ps[0] / 0.05).min(ps[1] / 0.2).min(ps[2] / 0.7).min(ps[3] / 0.05).min(1.0);
            prop_assert_eq!(decision.is_pass(), p > f64::from(ppm) * 1e-6);
        }
    }
}

#[test]
fn a_pose_is_told_only_of_parts_that_lay_otherwise() {
    assert_eq!(PoseRecord::of(&Pose::IDENTITY), None);
    // Once around and a quarter more is a quarter.
    let turns = Pose { rotation: 2.5 * std::f64::consts::PI, scale: 1.5, shift: [0.25, -0.5] };
    let told = PoseRecord::of(&turns).expect("a pose");
    assert!((told.rotation - 90.0).abs() < 1e-3, "{told:?}");
    assert_eq!((told.scale, told.shift), (1.5, [0.25, -0.5]));
}

#[test]
fn places_share_the_rate() {
    let say = |p_value| Testimony { statistic: 1.0 / p_value, p_value };
    let place = |c, p, i| WitnessReport {
        change: say(c),
        position: say(p),
        joint: say(0.25),
        image: say(i),
    };
    let joint = WitnessReport::of_places(&[place(0.5, 0.2, 0.9), place(0.4, 0.3, 0.001)]);
    assert_eq!((joint.change.p_value, joint.position.p_value), (0.8, 0.4));
    assert_eq!(joint.joint.p_value, 0.5);
    assert_eq!((joint.image.p_value, joint.image.statistic), (0.002, 1000.0));
    let one = place(0.5, 0.2, 0.9);
    assert_eq!(WitnessReport::of_places(&[one]), one);
    assert_eq!(WitnessReport::of_places(&[place(0.9, 0.9, 0.9); 3]).change.p_value, 1.0);
    // One place that could not be judged is enough, wherever it comes.
    let broken = WitnessReport { position: Testimony::NONE, ..one };
    for places in [[broken, one], [one, broken]] {
        assert_eq!(WitnessReport::of_places(&places).p_value(), 0.0);
    }
    assert_eq!(WitnessReport::of_places(&[]).p_value(), 0.0);
}
