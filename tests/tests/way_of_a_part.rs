//! The whole way of a part through the real binaries and the shipped weights.

use std::path::Path;

use touchstone_models::picture::Picture;
use touchstone_tests::{plate, run, write};

fn verdicts(stdout: &[u8]) -> Vec<serde_json::Value> {
    String::from_utf8_lossy(stdout)
        .lines()
        .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}: {e}")))
        .collect()
}

#[test]
fn one_good_picture_in_every_bad_part_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let good = write(folder.path(), "good.png", &plate(300, 0.0, false));
    let same = write(folder.path(), "same.png", &plate(300, 2.0, false));
    let bad = write(folder.path(), "bad.png", &plate(300, 2.0, true));
    let output = run(
        "touchstone",
        &[
            "inspect",
            "--prompt",
            &good,
            &same,
            &bad,
            "--json",
            "--maps",
            "maps",
            "--overlay",
            "overlay",
            // One prompt says too little for the default of 1,000.
            "--false-reject-ppm",
            "5000",
        ],
        folder.path(),
    );
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let verdicts = verdicts(&output.stdout);
    assert_eq!(verdicts.len(), 2);
    assert_eq!(verdicts[0]["verdict"], "pass", "{}", verdicts[0]);
    assert_eq!(verdicts[1]["verdict"], "reject", "{}", verdicts[1]);
    assert!(verdicts[1]["regions"].as_array().is_some_and(|r| !r.is_empty()));
    for key in ["part", "image", "reason", "score", "p_value", "latency_us", "model", "recipe"] {
        assert!(verdicts[1].get(key).is_some(), "{key} is missing");
    }
    // The map is 16-bit grey, as large as the input, and brightest where the flaw is.
    let map = image::open(folder.path().join("maps/bad.png")).expect("a map").into_luma16();
    assert_eq!(map.dimensions(), (300, 300));
    let (x, y, _) = map.enumerate_pixels().max_by_key(|p| p.2.0[0]).expect("pixels");
    let near_stroke = (100..=195).contains(&x) && (140..=165).contains(&y);
    let near_ring = (185..=270).contains(&x) && (185..=270).contains(&y);
    assert!(near_stroke || near_ring, "the map peaks at {x}, {y}");
    assert!(folder.path().join("overlay").read_dir().is_ok_and(|d| d.count() == 2));
}

#[test]
fn teach_then_inspect_with_the_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let mut command: Vec<String> =
        ["teach", "--name", "plate", "--out", "recipe"].map(String::from).to_vec();
    for (i, shift) in [0.0, 1.5, -2.0, 3.0].iter().enumerate() {
        command.push(write(folder.path(), &format!("good-{i}.png"), &plate(300, *shift, false)));
    }
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let output = run("touchstone", &words, folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let recipe = find_recipe(&folder.path().join("recipe"));

    let same = write(folder.path(), "same.png", &plate(300, -1.0, false));
    let output =
        run("touchstone", &["inspect", "--recipe", &recipe, &same, "--json"], folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let bad = write(folder.path(), "bad.png", &plate(300, -1.0, true));
    let output =
        run("touchstone", &["inspect", "--recipe", &recipe, &bad, "--json"], folder.path());
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
}

/// `--out` is the recipe folder itself or holds it under its name.
fn find_recipe(out: &Path) -> String {
    let named = out.join("plate");
    let dir = if named.join("recipe.toml").exists() { named } else { out.to_owned() };
    assert!(dir.join("recipe.toml").exists(), "no recipe in {}", out.display());
    dir.display().to_string()
}

#[test]
fn the_demo_ends_with_a_summary_pictures_and_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        run("touchstone", &["demo", "--parts", "30", "--out", "demo", "--json"], folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.iter().filter(|b| **b == b'\n').count() >= 30);
    let report = std::fs::read_to_string(folder.path().join("demo/index.html")).expect("a report");
    assert!(report.contains("</html>"));
    let pictures = walk(&folder.path().join("demo"));
    assert!(!pictures.is_empty(), "no overlay pictures");
    for path in pictures {
        Picture::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else if path.extension().is_some_and(|e| e == "png") {
            found.push(path);
        }
    }
    found
}
