//! The command from end to end on generated pictures.

use super::dataset::testing::{write_category, write_paired};
use super::*;
use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: EvalArgs,
}

fn data() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    write_category(&root.path().join("data/bench/cap"), 4, 6);
    write_paired(&root.path().join("data/boards/group1"));
    root
}

/// Runs the command; `{}` in arguments is the folder of this test.
fn eval(root: &Path, arguments: &str) -> anyhow::Result<Vec<Value>> {
    let json = root.join("figures.jsonl");
    let line = format!("eval {{}}/data --json {{}}/figures.jsonl --bootstrap 10 {arguments}");
    let line = line.replace("{}", &root.display().to_string());
    run(&Cli::try_parse_from(line.split(' ').filter(|w| !w.is_empty()))?.args)?;
    let text = std::fs::read_to_string(json)?;
    Ok(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn row<'a>(lines: &'a [Value], row: &str, set: &str, variant: &str) -> &'a Value {
    let fits = |l: &&Value| l["row"] == row && l["set"] == set && l["variant"] == variant;
    lines.iter().find(fits).unwrap()
}

#[test]
fn differencing_is_measured_dumped_and_drawn() {
    let root = data();
    let outputs = "--sheet {}/sheet --maps {}/maps --dump {}/dump --pictures";
    let lines = eval(root.path(), &format!("--detector difference {outputs}")).unwrap();
    let cap = row(&lines, "category", "bench", "absolute");
    assert_eq!((&cap["clean"], &cap["defective"]), (&6.into(), &6.into()));
    let ap = &cap["figures"]["pixel_ap"];
    assert!(ap["value"].as_f64().unwrap() > 0.5, "{ap}");
    assert!(ap["low"].as_f64().unwrap() <= ap["high"].as_f64().unwrap());
    assert!(cap["threshold"].is_number());
    let boards = row(&lines, "set", "boards", "absolute");
    assert!(boards["boxes_hit_pooled"]["value"].is_number());
    assert_eq!(boards["boxes_hit_by_type"]["open"]["boxes"], 2);
    assert_eq!(lines.iter().filter(|l| l["row"] == "mean").count(), 4);
    assert_eq!(lines.iter().filter(|l| l["row"] == "picture").count(), 16 * 4);
    for file in [
        "sheet/bench_cap_k1.png",
        "maps/boards/group1/defect/003.png",
        "dump/k1/bench/cap/enrolment/002.safetensors",
    ] {
        assert!(root.path().join(file).is_file(), "{file}");
    }
    let again = "--from-dump {}/dump --variant absolute --variant both=max(absolute,levelled)";
    let dumped = eval(root.path(), again).unwrap();
    assert_eq!(row(&dumped, "category", "bench", "absolute"), cap);
    assert!(row(&dumped, "set", "bench", "both")["figures"]["pro"].is_object());
}

#[test]
fn the_product_and_its_witnesses_share_a_run() {
    let root = data();
    // The shipped model; the figures are only held to beat chance by far, not to its quality.
    let lines = eval(root.path(), "--k 1,2").unwrap();
    for variant in ["product", "change", "nearest", "position"] {
        let figures = &row(&lines, "set", "bench", variant)["figures"];
        assert!(figures["pixel_auroc"]["value"].as_f64().unwrap() > 0.7, "{variant}: {figures}");
        assert_eq!(figures["verdict_f1"].is_object(), variant == "product");
    }
    assert_eq!(lines.iter().filter(|l| l["row"] == "mean" && l["k"] == 2).count(), 4);
    let alone = eval(root.path(), "--detector product").unwrap();
    assert_eq!(
        row(&alone, "category", "bench", "product"),
        row(&lines, "category", "bench", "product")
    );
}

#[test]
fn categories_with_too_few_prompts_are_left_out() {
    let root = data();
    let lines = eval(root.path(), "--detector difference --k 9").unwrap();
    assert!(lines.iter().all(|l| l["set"] != "bench"));
    assert!(lines.iter().any(|l| l["set"] == "boards"));
}

#[test]
fn mistakes_are_errors_that_name_them() {
    let root = data();
    let fails = |arguments: &str, expected: &str| {
        let message = format!("{:#}", eval(root.path(), arguments).unwrap_err());
        assert!(message.contains(expected), "{arguments}: {message}");
    };
    fails("--detector difference --sets nowhere", "--sets nowhere");
    fails("--detector difference --variant a=nonsense", "`nonsense` is not given");
    fails("--detector difference --variant a=2*", "formula `2*`");
    fails("--detector difference --variant a=9*absolute", "outside 0..=1");
    fails("--model {}/data", "model.toml");
    fails("--from-dump {}/nowhere", "dump again");
    fails("--k 0", "from 1 to 32");
    std::fs::write(root.path().join("blocked"), "a file").unwrap();
    fails("--detector difference --maps {}/blocked/maps", "blocked");
    assert!(!root.path().join("figures.jsonl").exists(), "half a result");
}
