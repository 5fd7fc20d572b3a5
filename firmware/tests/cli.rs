//! The commands as their users meet them: the real process, its exit status,
//! its messages, and what it leaves behind.

mod common;

use std::fs;
use std::io::Read;
use std::process::Stdio;

use common::{Desk, shipped_model, simulated_line};
use touchstone_models::recipe::{Recipe, Registration};

#[test]
fn wrong_use_ends_with_two_and_help_with_zero() {
    let desk = Desk::new();
    for line in ["--help", "--version", "inspect --help", "demo --help", "recipe show --help"] {
        assert!(!desk.run(line).ends(0).out.is_empty());
    }
    desk.run("").ends(2);
    desk.run("frobnicate").fails(2, &["frobnicate"]);
    desk.run("inspect a.png").fails(2, &["--recipe", "--prompt"]);
    desk.run("demo --parts many").fails(2, &["--parts", "many"]);
}

#[test]
fn good_parts_pass_and_bad_ones_are_rejected() {
    let desk = Desk::new();
    desk.good("good.png");
    desk.good("also-good.png");
    desk.bad("bad.png");
    let pass = desk.run("inspect --model ./tiny --prompt good.png also-good.png");
    assert!(pass.ends(0).out.contains("1 pass, 0 rejected"), "{pass:?}");
    let mixed = desk.run(
        "inspect --model ./tiny --prompt good.png --json --maps maps --overlay over also-good.png bad.png",
    );
    let verdicts = mixed.ends(1).json();
    assert_eq!(verdicts.len(), 2);
    assert_eq!(
        (verdicts[0]["verdict"].as_str(), verdicts[0]["reason"].as_str()),
        (Some("pass"), Some("ok"))
    );
    assert_eq!(
        (verdicts[1]["part"].as_u64(), verdicts[1]["verdict"].as_str()),
        (Some(1), Some("reject"))
    );
    assert_eq!(verdicts[1]["image"], "bad.png");
    assert_eq!(verdicts[1]["model"], "tiny");
    let region = &verdicts[1]["regions"][0];
    assert_eq!((region["x"].as_u64(), region["y"].as_u64()), (Some(16), Some(16)), "{region}");
    for key in ["capture", "preprocess", "encode", "segment", "score", "total"] {
        assert!(verdicts[1]["latency_us"][key].is_u64(), "{key}");
    }
    assert_eq!(desk.left("maps"), ["also-good.png", "bad.png"]);
    assert_eq!(desk.left("over"), ["also-good.png", "bad.png"]);
    let map = image::open(desk.path("maps/bad.png")).unwrap();
    assert_eq!((map.width(), map.height(), map.color()), (64, 64, image::ColorType::L16));
    let map = map.into_luma16();
    assert!(map.get_pixel(24, 24).0[0] > 60_000, "on the spot");
    assert!(map.get_pixel(56, 56).0[0] < 20_000, "beside it");
}

#[test]
fn what_was_taught_can_be_used_shown_verified_and_taught_again() {
    let desk = Desk::new();
    for name in ["a.png", "b.png", "c.png"] {
        desk.good(name);
    }
    desk.bad("bad.png");
    let taught = desk.run("teach --model ./tiny --name bracket --smallest-defect 4 a.png b.png");
    taught.ends(0);
    for text in ["recipe 'bracket' version 1", "2 good parts", "self test", "rate: "] {
        assert!(taught.out.contains(text), "{taught:?}");
    }
    assert_eq!(desk.left("bracket"), ["prompts", "recipe.toml"]);
    let used = desk.run("inspect --model ./tiny --recipe bracket --json c.png bad.png");
    let verdicts = used.ends(1).json();
    assert_eq!(
        (verdicts[0]["verdict"].as_str(), verdicts[1]["verdict"].as_str()),
        (Some("pass"), Some("reject"))
    );
    assert_eq!(verdicts[0]["recipe"], "bracket 1");
    desk.run("teach --model ./tiny --name bracket a.png").ends(0);
    let shown = desk.run("recipe show bracket --json");
    assert_eq!(shown.ends(0).json()[0]["card"]["version"], 2);
    assert!(desk.run("recipe list").ends(0).out.contains("bracket  version 2  1 taught"));
    assert!(desk.run("recipe verify bracket --model ./tiny").ends(0).out.contains("sound"));
    desk.run("teach --model ./tiny --name other --out bracket a.png")
        .fails(2, &["'bracket'", "--out"]);
    desk.run("teach --model ./tiny --name Bad/Name a.png").fails(2, &["name"]);
    let many = vec!["a.png"; 257].join(" ");
    desk.run(&format!("teach --model ./tiny --name many {many}")).fails(2, &["257", "at most 256"]);
    // Five times the same: one stands for all.
    let few = desk.run("teach --model ./tiny --name few --keep 2 a.png a.png a.png b.png c.png");
    few.ends(0);
    for text in ["1 good part,", "chosen from 5; of the 4 others 4 pass", "it stands for 4 more"] {
        assert!(few.out.contains(text), "{few:?}");
    }
    // A bad part among the good ones is named.
    let fooled = desk.run("teach --model ./tiny --name few --keep 1 a.png b.png bad.png c.png");
    assert!(fooled.ends(0).out.contains("LOOK AT bad.png: a good part that"), "{fooled:?}");
}

#[test]
fn teach_registers_parts_that_lie_otherwise_unless_told_not_to() {
    let desk = Desk::new();
    for (name, rotation) in [("a.png", 0.0), ("b.png", 0.004), ("turned.png", 1.2)] {
        desk.lying(name, rotation);
    }
    let registration = |folder: &str| Recipe::open(&desk.path(folder)).unwrap().card.registration;
    let teach = "teach --model ./tiny --name nut --false-reject-ppm 200000";
    desk.run(&format!("{teach} --out alike a.png b.png")).ends(0);
    assert_eq!(registration("alike"), Registration::Off);
    let said = desk.run(&format!("{teach} --out astray a.png b.png turned.png"));
    said.ends(0);
    for words in ["turned.png lies turned by 6", "--registration off"] {
        assert!(said.out.contains(words), "{said:?}");
    }
    assert_eq!(registration("astray"), Registration::Auto);
    desk.run(&format!("{teach} --out told --registration any a.png turned.png")).ends(0);
    assert_eq!(registration("told"), Registration::Any);
}

#[test]
fn a_simulated_line_runs_and_leaves_its_results() {
    let desk = simulated_line();
    assert!(desk.run("run --config line.toml --check").ends(0).out.contains("are sound"));
    let said = desk.run("run --config line.toml --parts 12");
    let verdicts = said.ends(0).json();
    let parts: Vec<u64> = verdicts.iter().map(|v| v["part"].as_u64().unwrap()).collect();
    assert_eq!(parts, (0..12).collect::<Vec<u64>>());
    assert!(
        verdicts
            .iter()
            .all(|v| v["recipe"] == "part 1" && v["latency_us"]["total"].as_u64() > Some(0))
    );
    let kept = fs::read_to_string(desk.path("results/verdicts.jsonl")).unwrap();
    assert_eq!(kept, said.out);
}

#[test]
fn a_folder_of_pictures_is_a_line_in_real_time() {
    let desk = simulated_line();
    desk.good("parts/1.png");
    desk.bad("parts/2.png");
    desk.good("parts/3.png");
    let folder = desk.path("parts").display().to_string();
    desk.write(
        "board.toml",
        format!("name = \"replay\"\n[camera]\nkind = \"files\"\npath = \"{folder}\"\nrate = 4.0\n"),
    );
    desk.run("teach --model ./tiny --name part --out replay parts/1.png").ends(0);
    desk.write(
        "line.toml",
        "board = \"board.toml\"\nrecipe = \"replay\"\nmodel = \"./tiny\"\n[line]\ntravel_ms = 5000\n\
         capture_window_ms = 4000\n",
    );
    let said = desk.run("run --config line.toml");
    let verdicts: Vec<String> =
        said.ends(0).json().iter().map(|v| v["verdict"].as_str().unwrap().to_owned()).collect();
    assert_eq!(verdicts, ["pass", "reject", "pass"]);
}

#[test]
fn a_signal_ends_the_line_cleanly() {
    let desk = simulated_line();
    let mut child = desk
        .command("-v run --config line.toml")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    // The first verdict: the line runs.
    let mut first = [0u8; 1];
    out.read_exact(&mut first).unwrap();
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let err = String::from_utf8(ended.stderr).unwrap();
    assert!(err.contains("stopped: "), "{err}");
    assert!(rest.ends_with('\n'), "the last line is whole");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let desk = simulated_line();
    let mut child = desk
        .command("run --config line.toml")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn the_demo_counts_every_part_and_writes_its_report() {
    let desk = Desk::new();
    let said = desk.run("demo --model ./tiny --parts 12 --prompts 3 --json --out d");
    let lines = said.ends(0).json();
    assert_eq!(lines.len(), 13);
    let summary = &lines[12]["summary"];
    assert_eq!(summary["parts"], 12);
    let counted = summary["recall"]["of"].as_u64().unwrap()
        + summary["false_rejects"]["of"].as_u64().unwrap();
    assert_eq!(counted, 12);
    assert_eq!(summary["counters"]["parts"], 12);
    assert!(lines[0]["truth"].is_string() && lines[0]["reason"].is_string());
    assert_eq!(desk.left("d")[0], "index.html");
    assert_eq!(fs::read_to_string(desk.path("d/parts.jsonl")).unwrap().lines().count(), 12);
    let page = fs::read_to_string(desk.path("d/index.html")).unwrap();
    let mut pictures = 0;
    for source in page.split("<img src=\"").skip(1) {
        let file = source.split('"').next().unwrap();
        assert!(image::open(desk.path("d").join(file)).is_ok(), "{file}");
        pictures += 1;
    }
    assert!(pictures > 0);
    // Another run into the same folder leaves no picture of the first.
    let again = desk.run("demo --model ./tiny --parts 2 --defect-rate 0 --out d");
    again.ends(0);
    let page = fs::read_to_string(desk.path("d/index.html")).unwrap();
    assert_eq!(desk.left("d/overlays").len(), page.matches("<img").count());
    assert!(again.out.contains("recall") && again.out.contains("d/index.html"), "{again:?}");
}

#[test]
fn the_same_seed_gives_the_same_verdicts() {
    let desk = Desk::new();
    let run = |out: &str| {
        // A slow line, so that no verdict can be late on a busy machine.
        let said = desk
            .run(&format!("demo --model ./tiny --parts 6 --rate 20 --seed 5 --json --out {out}"));
        let lines = said.ends(0).json();
        lines[..6]
            .iter()
            .map(|v| format!("{} {} {}", v["truth"], v["verdict"], v["p_value"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(run("a"), run("b"));
}

#[test]
fn bench_and_doctor_say_how_things_are() {
    let desk = Desk::new();
    let bench = desk.run("bench --model ./tiny --runs 5 --size 64x48 --json");
    let bench = &bench.ends(0).json()[0];
    assert_eq!(bench["model"], "tiny");
    for figure in ["p50", "p99", "p999", "max", "jitter"] {
        assert!(bench["latency_us"]["encode"][figure].is_u64(), "{figure}: {bench}");
    }
    assert!(bench["cpu_percent"].is_number() && bench["first_verdict_s"].is_number(), "{bench}");
    let operators = desk.run("bench --model ./tiny --runs 3 --size 64x48 --operators");
    assert!(operators.ends(0).out.contains("encode: "), "{operators:?}");
    assert!(desk.run("bench --model ./tiny --runs 5").ends(0).out.contains("parts per second"));
    let doctor = desk.run("doctor --model ./tiny --json");
    let findings = doctor.ends(0).json();
    assert!(findings.iter().any(|f| f["what"] == "model" && f["state"] == "ok"), "{findings:?}");
    let broken = desk.run("doctor --model no-such-model");
    assert!(broken.ends(3).out.contains("no-such-model"), "{broken:?}");
}

/// How well the shipped model tells bad parts from good ones, whatever rate was set. The figures
/// over 500 parts are in SPECIFICATION.md; here a model that learned nothing, or that was exported
/// wrongly, must be noticed.
#[test]
fn the_shipped_model_tells_bad_parts_from_good_ones() {
    if shipped_model().is_none() {
        return;
    }
    let desk = Desk::new();
    let said = desk.run("demo --parts 60 --json --out d");
    let lines = said.ends(0).json();
    let (parts, summary) = (&lines[..60], &lines[60]["summary"]);
    let scores = |good: bool| -> Vec<f64> {
        let of_kind = parts.iter().filter(|p| (p["truth"] == "good") == good);
        of_kind.map(|p| p["score"].as_f64().unwrap()).collect()
    };
    let (good, bad) = (scores(true), scores(false));
    let pairs = (good.len() * bad.len()) as f64;
    let above = |b: &f64| good.iter().filter(|g| *g < b).count();
    let auroc = bad.iter().map(above).sum::<usize>() as f64 / pairs;
    assert!(auroc > 0.9, "AUROC {auroc}: {summary}");
    let rate = |key: &str| summary[key]["rate"].as_f64().unwrap();
    // A floor for few parts; the promise, 0.95 at 2 %, is measured over 500.
    assert!(rate("recall") >= 0.75, "{summary}");
    assert!(rate("false_rejects") <= 0.08, "{summary}");
}
