//! Golden parity: every shipped package, run by every engine of this build, gives the map that the
//! training framework computed when it was exported.

use std::path::Path;
use touchstone_models::engine::EngineKind;
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::package::ModelPackage;
use touchstone_models::picture::Picture;
use touchstone_tests::shipped_models;

/// Largest difference of two f32 engines on one map.
const TOLERANCE_F32: f32 = 1e-4;

#[test]
fn tract_gives_the_training_frameworks_map() {
    shipped_models().iter().for_each(|dir| holds(dir));
}

fn holds(dir: &Path) {
    let package = ModelPackage::open(dir).expect("the shipped package");
    let mut model = OnePrompt::load(&package, EngineKind::Tract, 1).expect("tract loads it");
    let open = |name: &str| Picture::open(&dir.join("golden").join(name)).expect(name);
    let query = model.encode(&open("query.png")).expect("encodes");
    let prompt = model.encode(&open("prompt.png")).expect("encodes");
    let map = model.segment(&query, &prompt).expect("segments");

    let bytes = std::fs::read(dir.join("golden/map.f32")).expect("map.f32");
    let want: Vec<f32> =
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    assert_eq!(map.values.len(), want.len());
    let worst = map.values.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(worst <= TOLERANCE_F32, "{}: the map is off by {worst}", dir.display());
    // The golden query has a scratch and lacks a ring: a map that misses both proves nothing.
    assert!(want.iter().any(|v| *v > 0.5), "the golden map shows no change");
    assert!(
        want.iter().filter(|v| **v < 0.1).count() > want.len() / 2,
        "the golden map is red all over"
    );
}
