use super::*;
use crate::engine::EngineKind;
use crate::oneprompt::OnePrompt;
use crate::testing::{tiny_card, write_tiny_package};
use proptest::prelude::*;

fn package() -> (tempfile::TempDir, ModelPackage) {
    let dir = tempfile::tempdir().unwrap();
    let package = write_tiny_package(dir.path());
    (dir, package)
}

fn rewrite(dir: &Path, from: &str, to: &str) {
    let file = dir.join(CARD_FILE);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_package_is_written_and_opened() {
    let (dir, written) = package();
    let opened = ModelPackage::open(dir.path()).unwrap();
    assert_eq!(opened.card(), written.card());
    assert_eq!(opened.hash(), written.hash());
    assert_eq!(opened.hash().len(), 64);
    assert_eq!(opened.id(), "tiny");
    assert_ne!(opened.card().encode.sha256, "0".repeat(64), "hashes are filled in");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "nothing is left beside");
    OnePrompt::load(&opened, EngineKind::Tract, 1).unwrap();
}

#[test]
fn the_hash_follows_the_graphs() {
    let dir = tempfile::tempdir().unwrap();
    let hash = |encode: &[u8], segment: &[u8]| {
        let package = ModelPackage::write(dir.path(), tiny_card(), encode, segment).unwrap();
        package.hash().to_string()
    };
    let first = hash(b"a", b"b");
    assert_ne!(first, hash(b"b", b"a"));
    assert_eq!(first, hash(b"a", b"b"));
    assert_eq!(sha256_hex(b"abc")[..8], *"ba7816bf");
}

#[test]
fn every_fault_has_its_own_error() {
    let (dir, package) = package();
    let gone = dir.path().join("gone");
    assert_eq!(ModelPackage::open(&gone).unwrap_err(), PackageError::Missing { dir: gone });

    let file = package.encode_file();
    let mut bytes = fs::read(&file).unwrap();
    bytes[600] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let err = ModelPackage::open(dir.path()).unwrap_err();
    assert!(matches!(err, PackageError::Corrupt { .. }), "{err:?}");
    assert!(err.to_string().contains("encode.nnef.tar is corrupt"), "{err}");

    fs::remove_file(&file).unwrap();
    let err = ModelPackage::open(dir.path()).unwrap_err();
    assert_eq!(err, PackageError::FileMissing { file });

    fs::remove_file(dir.path().join(CARD_FILE)).unwrap();
    let err = ModelPackage::open(dir.path()).unwrap_err();
    assert!(err.to_string().contains("lacks") && err.to_string().contains(CARD_FILE), "{err}");
}

#[test]
fn a_foreign_model_is_named_before_its_keys_are_read() {
    let (dir, _) = package();
    rewrite(dir.path(), ARCHITECTURE, "patchcore-9");
    rewrite(dir.path(), "version = 1", "memory_bank = 7");
    let err = ModelPackage::open(dir.path()).unwrap_err();
    assert!(matches!(&err, PackageError::Foreign { found, .. } if found == "patchcore-9"), "{err}");
    let mut card = tiny_card();
    card.architecture = "patchcore-9".to_string();
    assert!(ModelPackage::write(dir.path(), card, b"a", b"b").is_err());
}

#[test]
fn unknown_keys_are_named_with_their_line() {
    let (dir, _) = package();
    rewrite(dir.path(), "[input]", "[input]\nstride = 3");
    let message = ModelPackage::open(dir.path()).unwrap_err().to_string();
    assert!(message.contains("stride") && message.contains("line"), "{message}");
    assert!(message.contains(CARD_FILE), "{message}");
}

#[test]
fn a_card_that_is_too_large_or_not_text_is_refused() {
    let (dir, _) = package();
    let file = dir.path().join(CARD_FILE);
    fs::write(&file, vec![b'#'; CARD_BYTES_MAX as usize + 1]).unwrap();
    assert!(matches!(ModelPackage::open(dir.path()), Err(PackageError::TooLarge { .. })));
    fs::write(&file, [0xff, 0xfe]).unwrap();
    assert!(matches!(ModelPackage::open(dir.path()), Err(PackageError::Card { .. })));
}

#[test]
fn an_unwritable_folder_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let err = ModelPackage::write(&file, tiny_card(), b"a", b"b").unwrap_err();
    assert!(matches!(err, PackageError::Write { .. }), "{err:?}");
}

#[test]
fn values_that_cannot_be_right_are_named_by_key() {
    type Change = fn(&mut ModelCard);
    let cases: &[(&str, Change)] = &[
        ("id", |c| c.id = "No Way".into()),
        ("version", |c| c.version = 0),
        ("input.width", |c| c.input.width = 0),
        ("input.height", |c| c.input.height = 1 << 20),
        ("input.mean", |c| c.input.mean[1] = f32::NAN),
        ("input.std", |c| c.input.std[2] = 0.0),
        ("encode.file", |c| c.encode.file = "../encode.nnef.tar".into()),
        ("segment.file", |c| c.segment.file = c.encode.file.clone()),
        ("segment.sha256", |c| c.segment.sha256 = "xyz".into()),
        ("encode.outputs", |c| c.encode.outputs[0].shape = vec![usize::MAX, 9]),
        ("encode.outputs", |c| c.encode.outputs[0].name = "e4".into()),
        ("segment.inputs", |c| c.segment.inputs[0] = "s4".into()),
        ("segment.inputs", |c| c.segment.inputs[0] = "query.s9".into()),
        ("segment.inputs", |c| c.segment.inputs[0] = "prompt.s4".into()),
        ("segment.inputs", |c| c.segment.inputs.clear()),
        ("segment.outputs", |c| c.segment.outputs[0].name = "mapp".into()),
        ("segment.outputs", |c| c.segment.outputs[1].shape = vec![1, 8, 8]),
        ("features.patches", |c| c.features.patches = "s4".into()),
        ("features.patches", |c| c.features.grid = [8, 9]),
        ("features.pooled", |c| c.features.pooled = "e4".into()),
        ("fusion.change_weight", |c| c.fusion.change_weight = -1.0),
        ("fusion.joined_squares", |c| c.fusion.joined_squares = 5),
        ("fusion.change_roots", |c| c.fusion.change_roots = 5),
        ("fusion.region_level", |c| c.fusion.region_level = 1.5),
        ("calibration.usual.change.one.nu0", |c| c.calibration.usual.change.one.nu0 = 0.0),
        ("calibration.usual.image.several.weight", |c| {
            c.calibration.usual.image.several.weight = 1.5
        }),
        ("calibration.usual.image.corrections", |c| {
            c.calibration.usual.image.corrections.0[2].share = 0.0
        }),
        ("calibration.usual.joint.power", |c| c.calibration.usual.joint.0[0].power = f64::NAN),
        ("calibration.usual.joint", |c| c.calibration.usual.joint.0[1].prompts = 99),
        ("calibration.usual.dependence", |c| c.calibration.usual.dependence = -0.1),
        ("embedding", |c| c.embedding.diagonal[0] = f64::NAN),
        ("embedding", |c| c.embedding.directions = vec![vec![1.0]]),
        ("embedding", |c| c.embedding.nu0 = 1.0),
        ("embedding.mu0", |c| c.embedding.mu0.clear()),
        ("embedding.directions", |c| {
            c.embedding.directions = vec![vec![]; EMBEDDING_DIRECTIONS_MAX + 1]
        }),
    ];
    for (expected, change) in cases {
        let mut card = tiny_card();
        change(&mut card);
        match card.check() {
            Err(CardError::Value { key, .. }) => assert_eq!(key, *expected),
            other => panic!("{expected}: {other:?}"),
        }
        assert!(card.emit().is_err(), "{expected}: a bad card is never written");
    }
}

proptest! {
    #[test]
    fn cards_come_back_as_they_were(
        version in 1u32.., seed in 0..=i64::MAX as u64, value in -1e9f64..1e9,
        text in "\\PC{0,40}", weight in 0f32..100.0,
    ) {
        let mut card = tiny_card();
        card.version = version;
        card.training.seed = seed;
        card.training.sources = vec![text.clone(), "\"quoted\"\n".into()];
        card.fusion.nearest_weight = weight;
        card.figures.push(Figure {
            set: text.clone(), metric: "AP".into(), value, command: text, machine: "m".into(),
            date: "2026-11-23".into(),
        });
        let emitted = card.emit().unwrap();
        prop_assert_eq!(ModelCard::parse(&emitted).unwrap(), card);
    }

    #[test]
    fn random_text_never_panics(text in "\\PC{0,400}") {
        prop_assert!(ModelCard::parse(&text).is_err());
    }

    #[test]
    fn damaged_cards_never_panic(at in any::<prop::sample::Index>(), letter in "[ -~]") {
        let mut text = tiny_card().emit().unwrap();
        let at = at.index(text.len());
        if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
            text.replace_range(at..at + 1, &letter);
        }
        let _ = ModelCard::parse(&text);
    }
}
