//! Golden parity: every package, run by every engine of this build at the precision that it is made in,
//! gives the map that the training framework computed when it was exported.
//!
//! Besides the shipped packages (f32, NNEF) those in the folder that `TOUCHSTONE_GOLDEN` names are held to
//! theirs, ONNX ones for instance. What is passed over is said, with the reason.

use std::path::{Path, PathBuf};
use touchstone_models::engine::{EngineError, EngineKind};
use touchstone_models::golden::Golden;
use touchstone_models::oneprompt::{ModelError, OnePrompt};
use touchstone_models::package::{CARD_FILE, ModelPackage, Precision};
use touchstone_tests::shipped_models;

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

#[test]
fn every_engine_gives_the_training_frameworks_map() {
    let mut held = 0;
    for dir in shipped_models().into_iter().chain(further()) {
        for kind in EngineKind::ALL {
            held += usize::from(holds(&dir, kind));
        }
    }
    assert!(held >= 2, "only {held} packages were held to their maps");
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
