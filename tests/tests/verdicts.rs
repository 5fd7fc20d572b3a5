//! The same verdict on every engine: parts drawn by the demo's renderer are judged by every package, by tract
//! with our operators on each instruction set of this machine, by tract alone, in 8 bits by either, and by ONNX
//! Runtime where its library is. What differs may differ only where the p-value lies within a guard band around the rate.
//!
//! `TOUCHSTONE_VERDICT_PARTS` judges more parts per product than the usual handful.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use touchstone_board::sim::{PartKind, SimConfig, SimulatedLine};
use touchstone_models::package::{ModelPackage, Precision};
use touchstone_models::picture::Picture;
use touchstone_tests::{binary, shipped_models, write};
use touchstone_tools::quantize::{For, Method, Wish, in_f16, in_int8, in_onnx};

/// Share of parts outside the guard band that must get the same verdict.
const SAME_SHARE: f64 = 0.999;
/// Guard band: verdicts may differ where both p-values are within this factor of the rate that rejects.
const GUARD_F32: f64 = 1.05;
/// The same where one side computes in fewer bits.
const GUARD_FEWER: f64 = 1.5;
/// The rate that parts are judged at, in parts per million: so high that there are many verdicts on either side.
const RATE_PPM: u32 = 200_000;
/// Parts of each product, unless the environment says otherwise.
const PARTS: u64 = 24;
/// Good parts that are learned from.
const PROMPTS: u64 = 5;
/// Environment variable with another number of them.
const PARTS_VARIABLE: &str = "TOUCHSTONE_VERDICT_PARTS";
/// Half of the parts have a defect: many verdicts on either side.
const DEFECT_RATE: f32 = 0.5;
/// Smallest defects are hardest to see on small pictures, so these are small: p-values spread.
const SIDE: u32 = 192;
/// Environment variable with engines, separated by commas, that may not be passed over.
const DEMANDED: &str = "TOUCHSTONE_ENGINES";
/// The variable that chooses operators (docs/performance.md).
const OPERATORS: &str = "TOUCHSTONE_OPERATORS";

/// One way to judge.
struct Way {
    name: String,
    package: PathBuf,
    engine: &'static str,
    /// Empty for the best.
    operators: &'static str,
    precision: Precision,
}

/// What was said of one part.
#[derive(Debug)]
struct Said {
    passed: bool,
    p_value: f64,
}

/// The parts of one product: good ones to learn from, and others to judge.
struct Product {
    prompts: Vec<String>,
    parts: Vec<String>,
}

fn draw(kind: PartKind, folder: &Path) -> Product {
    let asked = std::env::var(PARTS_VARIABLE).ok().and_then(|n| n.parse().ok());
    let count: u64 = asked.unwrap_or(PARTS);
    let config = SimConfig {
        seed: 11,
        kind,
        size: (SIDE, SIDE),
        defect_rate: DEFECT_RATE,
        ..SimConfig::default()
    };
    let line = SimulatedLine::new(config).expect("a sound line");
    let put = |name: String, frame: touchstone_board::Frame| {
        let picture = Picture::from_rgb8(frame.width, frame.height, frame.rgb).expect("a picture");
        write(folder, &name, &picture)
    };
    Product {
        prompts: (0..PROMPTS)
            .map(|n| put(format!("{kind}-good-{n}.png"), line.good_part(n).frame))
            .collect(),
        parts: (0..count).map(|n| put(format!("{kind}-{n}.png"), line.part(n).frame)).collect(),
    }
}

/// Has the real binary judge the parts. None if the engine is not here.
fn judge(way: &Way, product: &Product, folder: &Path) -> Option<Vec<Said>> {
    let mut command = Command::new(binary("touchstone"));
    command.args(["inspect", "--json", "--model"]).arg(&way.package);
    command.args(["--engine", way.engine, "--threads", "1"]);
    command.args(["--false-reject-ppm", &RATE_PPM.to_string()]);
    for prompt in &product.prompts {
        command.args(["--prompt", prompt]);
    }
    command.args(&product.parts).current_dir(folder).env_remove(OPERATORS);
    if !way.operators.is_empty() {
        command.env(OPERATORS, way.operators);
    }
    let output = command.output().expect("the binary starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    // 0: all pass; 1: some are rejected.
    if !matches!(output.status.code(), Some(0 | 1)) {
        let absent = ["is none of", "cannot be used", "no engine"];
        assert!(absent.iter().any(|why| errors.contains(why)), "{}: {errors}", way.name);
        println!("passed over: {}: {}", way.name, errors.lines().last().unwrap_or_default());
        return None;
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    let said = lines.lines().map(|line| {
        let json: serde_json::Value = serde_json::from_str(line).expect("JSON");
        Said {
            passed: json["verdict"] == "pass",
            p_value: json["p_value"].as_f64().expect("a p-value"),
        }
    });
    let said: Vec<Said> = said.collect();
    assert_eq!(said.len(), product.parts.len(), "{}: a line for each part", way.name);
    Some(said)
}

/// The package on everything that may run it here, the reference first: tract with the best operators. `good` has
/// pictures of good parts.
fn ways(package: &Path, good: &Path, folder: &Path) -> Vec<Way> {
    let opened = ModelPackage::open(package).expect("a sound package");
    let id = opened.id().to_owned();
    let on_tract = |operators: &'static str| Way {
        name: format!("{id} on tract, operators '{operators}'"),
        package: package.to_path_buf(),
        engine: "tract",
        operators,
        precision: Precision::F32,
    };
    let sets: &[&str] = match () {
        () if cfg!(target_arch = "x86_64") => &["", "avx512", "avx2", "sse2", "portable", "tract"],
        () => &["", "portable", "tract"],
    };
    let mut ways: Vec<Way> = sets.iter().copied().map(on_tract).collect();
    let [in_32, in_16, half] =
        ["f32-onnx", "f16-onnx", "f16"].map(|form| folder.join(format!("{id}-{form}")));
    in_onnx(&opened, &in_32).expect("one of our own graphs");
    in_f16(&opened, For::Ort, &in_16).expect("one of our own graphs");
    in_f16(&opened, For::Tract, &half).expect("one of our own graphs");
    for (out, precision) in [(in_32, Precision::F32), (in_16, Precision::F16)] {
        ways.push(Way {
            name: format!("{id} in {precision} on ONNX Runtime"),
            package: out,
            engine: "ort",
            operators: "",
            precision,
        });
    }
    // The best of the machine, as a core with 16 bits computes it, and cast by tract.
    ways.extend(["", "halves", "tract"].map(|operators| Way {
        name: format!("{id} in 16 bits on tract, operators '{operators}'"),
        package: half.clone(),
        engine: "tract",
        operators,
        precision: Precision::F16,
    }));
    let eight = folder.join(format!("{id}-int8"));
    let wish =
        Wish { method: Method::Mse, float: BTreeSet::new(), float_layers: 0, engine: For::Tract };
    in_int8(&opened, good, &wish, &eight).expect("one of our own graphs");
    // Bytes multiplied where the processor can, and the same in floats.
    ways.extend(["", "tract"].map(|operators| Way {
        name: format!("{id} in 8 bits on tract, operators '{operators}'"),
        package: eight.clone(),
        engine: "tract",
        operators,
        precision: Precision::Int8,
    }));
    ways
}

fn is_guarded(a: &Said, b: &Said, factor: f64) -> bool {
    let rate = f64::from(RATE_PPM) * 1e-6;
    [a, b].iter().all(|said| (rate / factor..=rate * factor).contains(&said.p_value))
}

#[test]
fn every_engine_and_instruction_set_gives_the_same_verdict() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kinds = [PartKind::Bracket, PartKind::Cap];
    let products: Vec<Product> = kinds.map(|kind| draw(kind, folder.path())).into();
    // The smallest package: the others have the same operators at other widths.
    let package = shipped_models().pop().expect("a model");
    let good = folder.path().join("good");
    std::fs::create_dir(&good).expect("a folder");
    for prompt in products.iter().flat_map(|product| &product.prompts) {
        let name = Path::new(prompt).file_name().expect("a file");
        std::fs::copy(folder.path().join(prompt), good.join(name)).expect("a copy");
    }
    let ways = ways(&package, &good, folder.path());
    let (reference, others) = ways.split_first().expect("a reference");
    let expected: Vec<Said> = products
        .iter()
        .flat_map(|p| judge(reference, p, folder.path()).expect("tract is always there"))
        .collect();
    let passed = expected.iter().filter(|said| said.passed).count();
    let share = passed as f64 / expected.len() as f64;
    assert!(
        (0.1..0.9).contains(&share),
        "{passed} of {} pass: that proves nothing",
        expected.len()
    );
    let (mut held, mut held_on_ort) = (0, 0);
    for way in others {
        let said: Option<Vec<Vec<Said>>> =
            products.iter().map(|p| judge(way, p, folder.path())).collect();
        let Some(said) = said else { continue };
        held += 1;
        held_on_ort += usize::from(way.engine == "ort");
        let factor = match way.precision {
            Precision::F32 => GUARD_F32,
            Precision::F16 | Precision::Int8 => GUARD_FEWER,
        };
        let pairs = || expected.iter().zip(said.iter().flatten());
        let counted: Vec<_> = pairs().filter(|(a, b)| !is_guarded(a, b, factor)).collect();
        let differ: Vec<_> = counted.iter().filter(|(a, b)| a.passed != b.passed).collect();
        let farthest =
            pairs().map(|(a, b)| (a.p_value / b.p_value).ln().abs().exp()).fold(1.0, f64::max);
        println!(
            "{}: {} of {} parts outside the guard band, {} differ, p-values by a factor of {farthest:.4} at most",
            way.name,
            counted.len(),
            expected.len(),
            differ.len()
        );
        assert!(counted.len() * 2 > expected.len(), "{}: the guard band hides most", way.name);
        let same = 1.0 - differ.len() as f64 / counted.len() as f64;
        assert!(same >= SAME_SHARE, "{}: {differ:?}", way.name);
    }
    // Portable and tract alone are everywhere.
    assert!(held >= 2, "only {held} ways were compared");
    let demanded = std::env::var(DEMANDED).unwrap_or_default();
    let is_ort_demanded = demanded.split(',').any(|engine| engine == "ort");
    assert!(held_on_ort > 0 || !is_ort_demanded, "{DEMANDED} demands ort, which judged nothing");
}
