//! Golden parity: every package, run by every engine of this build at the precision that it is made in,
//! gives the map that the training framework computed when it was exported.
//!
//! The shipped packages (f32, NNEF) are held to theirs as they are, and as ONNX and in 16 bits; besides them
//! those in the folder that `TOUCHSTONE_GOLDEN` names. What is passed over is said, with the reason.
//! `TOUCHSTONE_ENGINES` names engines that may not be passed over (`tests/reference/engines.sh`).

use std::path::{Path, PathBuf};
use std::process::Command;
use touchstone_models::engine::{EngineError, EngineKind};
use touchstone_models::golden::Golden;
use touchstone_models::oneprompt::{ModelError, OnePrompt};
use touchstone_models::package::{CARD_FILE, ModelPackage, Precision};
use touchstone_tests::{binary, shipped, shipped_in_fewer_bits, shipped_models};
use touchstone_tools::quantize::{For, in_f16, in_onnx};

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
    let fewer = shipped_in_fewer_bits();
    for dir in shipped.into_iter().chain(others).chain(fewer).chain(further()) {
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

/// Products of 16 bits on every machine: those of a core that has them, and elsewhere step by step.
#[test]
fn a_core_with_16_bits_gives_the_training_frameworks_map() {
    for dir in shipped(|precision| precision == Precision::F16) {
        let doctor = Command::new(binary("touchstone"))
            .args(["doctor", "--json", "--engine", "tract", "--model", &dir.display().to_string()])
            .env("TOUCHSTONE_OPERATORS", "halves")
            .output()
            .expect("the binary starts");
        let said = String::from_utf8_lossy(&doctor.stdout);
        let finding = |what: &str| {
            let lines = said.lines().filter_map(|l| serde_json::from_str(l).ok());
            let found = lines.into_iter().find(|l: &serde_json::Value| l["what"] == what);
            found.unwrap_or_else(|| panic!("no '{what}' in {said}"))["found"].to_string()
        };
        assert!(finding("operators").contains("products of 16 bits"), "{said}");
        let off = finding("engine tract");
        let off = off.split("by ").nth(1).and_then(|rest| rest.split(' ').next());
        let off: f32 = off.and_then(|off| off.parse().ok()).expect("how far off");
        println!("{}: off by {off:e}", dir.display());
        assert!((1e-4..=2e-2).contains(&off), "{}: off by {off}", dir.display());
    }
}

/// The package as what other engines read and smaller boards store.
fn in_other_forms(dir: &Path, folder: &Path) -> Vec<PathBuf> {
    let package = ModelPackage::open(dir).expect("a sound package");
    let out = |form: &str| folder.join(format!("{}-{form}", package.id()));
    let made = [
        in_onnx(&package, &out("f32-onnx")),
        in_f16(&package, For::Ort, &out("f16-onnx")),
        in_f16(&package, For::Tract, &out("f16")),
    ];
    made.map(|made| made.expect("one of our own graphs").dir().to_path_buf()).into()
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
