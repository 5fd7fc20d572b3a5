//! Golden parity: every package, run by every engine of this build at the precision that it is made in,
//! gives the map that the training framework computed when it was exported.
//!
//! The shipped packages (f32, NNEF) are held to theirs as they are, and as ONNX and in 16 bits; besides them
//! those in the folder that `TOUCHSTONE_GOLDEN` names. What is passed over is said, with the reason.
//! `TOUCHSTONE_ENGINES` names engines that may not be passed over (`tests/reference/engines.sh`).

use std::path::{Path, PathBuf};
use touchstone_models::engine::{EngineError, EngineKind};
use touchstone_models::golden::Golden;
use touchstone_models::inspector::{Inspector, Settings};
use touchstone_models::oneprompt::{ModelError, OnePrompt};
use touchstone_models::package::{CARD_FILE, ModelPackage, Precision};
use touchstone_tests::{plate, shipped_models};
use touchstone_tools::quantize::{To, convert};

/// Environment variable with a folder of further packages.
const FURTHER: &str = "TOUCHSTONE_GOLDEN";

/// Largest difference that a precision may make at the worst place of the map. int8 has no figure: what it
/// costs is a matter of accuracy.
fn tolerance(precision: Precision) -> Option<f32> {
    match precision {
        Precision::F32 => Some(1e-4),
        Precision::F16 => Some(2e-2),
        Precision::Int8 => None,
    }
}

/// Environment variable with engines, separated by commas, that must have run something.
const DEMANDED: &str = "TOUCHSTONE_ENGINES";

#[test]
fn every_engine_gives_the_training_frameworks_map() {
    let made = tempfile::tempdir().expect("a temporary folder");
    let shipped = shipped_models();
    let others: Vec<PathBuf> =
        shipped.iter().flat_map(|dir| in_other_forms(dir, made.path())).collect();
    let mut held = Vec::new();
    for dir in shipped.into_iter().chain(others).chain(further()) {
        held.extend(EngineKind::ALL.into_iter().filter(|kind| holds(&dir, *kind)));
    }
    let on_tract = held.iter().filter(|kind| **kind == EngineKind::Tract).count();
    assert!(on_tract >= 2, "only {on_tract} packages were held to their maps on tract");
    let demanded = std::env::var(DEMANDED).unwrap_or_default();
    for name in demanded.split(',').filter(|name| !name.is_empty()) {
        let kind: EngineKind = name.parse().expect("an engine");
        assert!(held.contains(&kind), "{DEMANDED} demands {kind}, which ran nothing");
    }
}

/// The package as what other engines read and smaller boards store.
fn in_other_forms(dir: &Path, folder: &Path) -> Vec<PathBuf> {
    let package = ModelPackage::open(dir).expect("a sound package");
    [To::F32, To::F16]
        .into_iter()
        .map(|to| {
            let name = format!("{}-{to:?}-onnx", package.id()).to_lowercase();
            let out = folder.join(name);
            convert(&package, to, &out).expect("one of our own graphs");
            out
        })
        .collect()
}

fn further() -> Vec<PathBuf> {
    let Some(folder) = std::env::var_os(FURTHER) else { return Vec::new() };
    let entries = std::fs::read_dir(&folder).expect("the folder of further packages").flatten();
    entries.map(|e| e.path()).filter(|dir| dir.join(CARD_FILE).is_file()).collect()
}

/// Whether `kind` could run the package; if it could, its map is right.
fn holds(dir: &Path, kind: EngineKind) -> bool {
    let package = ModelPackage::open(dir).expect("a sound package");
    let precision = package.card().precision;
    let mut model = match OnePrompt::load(&package, kind, 1) {
        Ok(model) => model,
        Err(ModelError::Engine(
            error @ (EngineError::NotInThisBuild { .. }
            | EngineError::Unavailable { .. }
            | EngineError::Format { .. }),
        )) => {
            println!("passed over: {} on {kind}: {error}", package.id());
            return false;
        }
        Err(error) => panic!("{} on {kind}: {error}", package.id()),
    };
    let golden = Golden::open(&package).expect("readable").expect("a golden pair");
    let worst = golden.difference(&mut model).expect("runs");
    println!("{} in {precision} on {kind}: off by {worst:e} at most", package.id());
    if let Some(tolerance) = tolerance(precision) {
        assert!(worst <= tolerance, "{} on {kind}: the map is off by {worst}", dir.display());
    }
    // The golden query has a scratch and lacks a ring: a map that misses both proves nothing.
    let map = golden.map();
    assert!(map.iter().any(|v| *v > 0.5), "the golden map shows no change");
    let quiet = map.iter().filter(|v| **v < 0.1).count();
    assert!(quiet > map.len() / 2, "the golden map is red all over");
    true
}

/// Parts whose verdicts are compared.
const PARTS: u32 = 60;
/// A part whose p-value is within this factor of the rate is a matter of the last digit.
const GUARD_BAND: f64 = 2.0;

/// Verdicts and p-values of plates that lie a little differently each, every third with a flaw.
fn verdicts(model: OnePrompt) -> Vec<(bool, f64)> {
    let good: Vec<_> = (0..4).map(|n| plate(256, n as f32 * 0.7, false)).collect();
    let mut inspector = Inspector::new(model, &good, Settings::default()).expect("sound");
    let judged = (0..PARTS).map(|n| {
        let inspection = inspector.inspect(&plate(256, (n % 13) as f32 * 0.4, n % 3 == 0));
        assert!(inspection.map.is_some(), "{}", inspection.decision);
        (inspection.decision.is_pass(), inspection.p_value)
    });
    judged.collect()
}

#[test]
fn verdicts_are_the_same_on_every_engine_and_in_f16() {
    let made = tempfile::tempdir().expect("a temporary folder");
    let smallest = shipped_models().pop().expect("a model");
    let load = |dir: &Path, kind| {
        OnePrompt::load(&ModelPackage::open(dir).expect("a sound package"), kind, 1)
    };
    let want = verdicts(load(&smallest, EngineKind::Tract).expect("tract is always there"));
    let passed = want.iter().filter(|(pass, _)| *pass).count();
    assert!(passed > 0 && passed < want.len(), "parts of one kind only: {passed} pass");
    let rate = f64::from(Settings::default().false_reject_ppm) * 1e-6;
    let near = |p: f64| (rate / GUARD_BAND..rate * GUARD_BAND).contains(&p);
    for dir in in_other_forms(&smallest, made.path()) {
        for kind in EngineKind::ALL {
            let Ok(model) = load(&dir, kind) else { continue };
            let got = verdicts(model);
            let clear = got.iter().zip(&want).filter(|(_, (_, p))| !near(*p));
            let (equal, other): (Vec<_>, Vec<_>) = clear.partition(|(g, w)| g.0 == w.0);
            let (equal, other) = (equal.len(), other.len());
            println!("{} on {kind}: {equal} of {} verdicts equal", dir.display(), equal + other);
            assert!(equal > 0);
            // 99.9 %: of so few parts, all.
            assert_eq!(other, 0, "{} on {kind}", dir.display());
        }
    }
}
