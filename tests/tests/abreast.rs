//! Two parts in flight give the verdicts of one after the other, in the same order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use touchstone::abreast::judge_abreast;
use touchstone_models::engine::EngineKind;
use touchstone_models::inspector::{Inspection, Inspector, Settings};
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::package::ModelPackage;
use touchstone_models::picture::{Picture, Rect};
use touchstone_models::recipe::{Registration, Tiles};
use touchstone_models::verdict::{Decision, Reason};
use touchstone_tests::{plate, shipped_models};

/// Side of the drawn parts.
const SIDE: u32 = 160;

fn inspector(settings: Settings) -> Inspector {
    let package =
        ModelPackage::open(&shipped_models().pop().expect("a model")).expect("a sound package");
    let model = OnePrompt::load(&package, EngineKind::Tract, 1).expect("loads");
    let good = [0.0, 0.7, -0.6].map(|shift| plate(SIDE, shift, false));
    Inspector::new(model, &good, settings).expect("teaches")
}

/// Good parts and bad ones, and one that is no part of this product at all.
fn parts() -> Vec<Picture> {
    let mut parts: Vec<Picture> =
        (0..8).map(|n| plate(SIDE, n as f32 * 0.2 - 0.8, n % 3 == 1)).collect();
    let half = Rect { x: 0, y: 0, w: SIDE / 2, h: SIDE };
    parts.insert(3, plate(SIDE, 0.0, false).crop(half).expect("within"));
    parts
}

/// What a line does with it: everything but the times.
fn told(inspection: &Inspection) -> (Decision, f32, f64, Vec<f32>, usize) {
    let map = inspection.map.as_ref().map_or_else(Vec::new, |map| map.values.clone());
    let Inspection { decision, score, p_value, regions, .. } = inspection;
    (*decision, *score, *p_value, map, regions.len())
}

#[test]
fn two_at_once_say_what_one_after_the_other_says() {
    let tiles = Tiles { columns: 2, rows: 1 };
    for settings in [
        Settings::default(),
        Settings { tiles, ..Settings::default() },
        Settings { registration: Registration::Small, ..Settings::default() },
    ] {
        let mut inspector = inspector(settings);
        let parts = parts();
        let want: Vec<_> = parts.iter().map(|part| told(&inspector.inspect(part))).collect();
        assert!(want.iter().any(|w| w.0.is_pass()) && want.iter().any(|w| !w.0.is_pass()));
        assert_eq!(want[3].0, Decision::Reject(Reason::WrongSize));
        let mut queue = parts.iter().cloned().enumerate();
        let mut got = Vec::new();
        judge_abreast(
            inspector.halves(),
            |_| queue.next(),
            |part, picture, inspection, _| {
                assert_eq!((part, &picture), (got.len(), &parts[part]));
                got.push(told(&inspection));
                true
            },
        )
        .expect("a thread");
        assert_eq!(got, want);
        // And it is as it was.
        assert_eq!(told(&inspector.inspect(&parts[0])), want[0]);
    }
}

#[test]
fn who_listens_no_more_lets_the_front_go() {
    let mut inspector = inspector(Settings::default());
    let part = plate(SIDE, 0.0, false);
    let mut given = 0;
    let (seen, looked) = channel();
    let next = move |gone: &AtomicBool| {
        given += 1;
        if given > 2 {
            // As a line that waits for its next part: it must be told that nobody waits for it.
            while !gone.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
            seen.send(()).expect("the test listens");
            return None;
        }
        Some((given, part.clone()))
    };
    let mut judged = 0;
    judge_abreast(inspector.halves(), next, |_, _, _, _| {
        judged += 1;
        judged < 2
    })
    .expect("a thread");
    assert_eq!((judged, looked.try_recv()), (2, Ok(())));
}

#[test]
fn a_panic_on_either_side_comes_out() {
    let mut inspector = inspector(Settings::default());
    let part = plate(SIDE, 0.0, false);
    let mut tried = |front: bool| {
        let mut given = 0;
        let part = part.clone();
        let next = move |_: &AtomicBool| {
            given += 1;
            assert!(!(front && given == 2), "the front");
            (given < 5).then(|| (given, part.clone()))
        };
        let run = std::panic::AssertUnwindSafe(|| {
            judge_abreast(inspector.halves(), next, |number, _, _, _| {
                assert!(front || number < 2, "the back");
                true
            })
        });
        std::panic::catch_unwind(run).is_err()
    };
    assert!(tried(true) && tried(false));
    // What was half taken in is not mixed up with the next part.
    let again = inspector.inspect(&part);
    assert!(again.decision.is_pass(), "{}", again.decision);
}
