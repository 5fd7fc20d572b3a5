//! From pictures to a package at the desk, small: synth, both trainings, export, evaluation, with
//! the smallest network and a teacher-free encoder. Numbers are not looked at, only that every
//! stage takes what the last one gave, and that a seed gives the same bytes.

use std::path::Path;

use touchstone_models::engine::EngineKind;
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::package::ModelPackage;
use touchstone_tests::{plate, root, run, write};

fn pictures(folder: &Path) -> String {
    let dir = folder.join("pictures");
    std::fs::create_dir_all(&dir).unwrap();
    for i in 0..6 {
        write(&dir, &format!("p{i}.png"), &plate(160, i as f32 * 3.0, i % 2 == 0));
    }
    dir.display().to_string()
}

fn tools(words: &[&str], folder: &Path) {
    let output = run("touchstone-tools", words, folder);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {error}");
}

#[test]
fn train_resume_export_and_load() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    let pictures = pictures(folder);
    let train = |out: &str, steps: &str, more: &[&str]| {
        let mut words = vec![
            "train",
            "oneprompt",
            "--pictures",
            &pictures,
            "--out",
            out,
            "--net",
            "tiny",
            "--size",
            "64",
            "--steps",
            steps,
            "--batch",
            "2",
            "--checkpoint",
            "25",
            "--workers",
            "1",
        ];
        words.extend(more);
        tools(&words, folder);
    };
    train("run", "25", &[]);
    let files = [
        "state.json",
        "weights.bpk",
        "raw.bpk",
        "optimizer.bpk",
        "curve.png",
        "samples.png",
        "report.html",
    ];
    for file in files {
        assert!(folder.join("run").join(file).exists(), "{file} is missing");
    }
    let refused = run(
        "touchstone-tools",
        &["train", "oneprompt", "--pictures", &pictures, "--out", "run", "--net", "tiny"],
        folder,
    );
    assert_eq!(refused.status.code(), Some(2), "an existing run must not be overwritten");
    train("run", "50", &["--resume"]);
    let state = std::fs::read_to_string(folder.join("run/state.json")).unwrap();
    assert!(state.contains("\"step\": 50"), "{state}");

    let export = |out: &str| {
        let words = [
            "export",
            "--run",
            "run",
            "--out",
            out,
            "--size",
            "64",
            "--pictures",
            &pictures,
            "--products",
            "24",
            "--source",
            "drawn plates",
            "--date",
            "2026-11-23",
        ];
        tools(&words, folder);
    };
    export("one/small");
    export("two/small");
    let bytes = |p: &str| std::fs::read(folder.join(p)).unwrap();
    for graph in ["encode.nnef.tar", "segment.nnef.tar"] {
        let (one, two) = (format!("one/small/{graph}"), format!("two/small/{graph}"));
        assert!(bytes(&one) == bytes(&two), "{graph} differs between two exports of one run");
    }
    let package = ModelPackage::open(&folder.join("one/small")).expect("a package");
    assert_eq!(package.id(), "small");
    let mut model = OnePrompt::load(&package, EngineKind::Tract, 1).expect("loads");
    let features = model.encode(&plate(160, 0.0, false)).expect("encodes");
    let map = model.segment(&features, &features).expect("segments");
    assert_eq!((map.width, map.height), (64, 64));
    assert!(map.values.iter().all(|v| (0.0..=1.0).contains(v)));
}

#[test]
fn a_shipped_model_grows_into_a_larger_one() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    let pictures = pictures(folder);
    let shipped = root().join("models/weights/oneprompt-m").display().to_string();
    let grow = |net: &'static str, out: &'static str| {
        let place = ["--pictures", &pictures, "--from", &shipped, "--net", net, "--out", out];
        let size = ["--size", "64", "--batch", "1", "--steps", "2", "--workers", "1"];
        let words = [&["train", "oneprompt"][..], &place, &size].concat();
        run("touchstone-tools", &words, folder)
    };
    let output = grow("l", "l");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    let state = std::fs::read_to_string(folder.join("l/state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["net"]["c16"], 192);

    let output = grow("s", "s");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("m does not grow into s"), "{error}");
}

#[test]
fn synth_is_deterministic_and_refuses_to_overwrite() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    let pictures = pictures(folder);
    for out in ["a", "b"] {
        tools(
            &["synth", &pictures, "--out", out, "--pairs", "6", "--size", "64", "--seed", "7"],
            folder,
        );
    }
    for part in ["prompt", "query", "mask"] {
        let files = |out: &str| {
            let mut files: Vec<_> = folder
                .join(out)
                .join(part)
                .read_dir()
                .unwrap()
                .map(|e| e.unwrap().path())
                .collect();
            files.sort();
            files
        };
        let (a, b) = (files("a"), files("b"));
        assert_eq!(a.len(), 6);
        for (a, b) in a.iter().zip(&b) {
            assert!(std::fs::read(a).unwrap() == std::fs::read(b).unwrap(), "{}", a.display());
        }
    }
    let again =
        run("touchstone-tools", &["synth", &pictures, "--out", "a", "--pairs", "6"], folder);
    assert_eq!(again.status.code(), Some(2));
}
