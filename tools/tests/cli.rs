//! The desk binary as a process: help, and the errors that a user meets first. (Being an
//! integration test it also makes cargo build the binary, which the workspace's tests run.)

use std::process::Command;

fn tools(words: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_touchstone-tools")).args(words).output().unwrap();
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn help_names_every_subcommand() {
    let (status, out, _) = tools(&["--help"]);
    assert_eq!(status, Some(0));
    for name in ["synth", "train", "export", "eval"] {
        assert!(out.contains(name), "{name} is not in {out}");
    }
}

#[test]
fn missing_inputs_are_named() {
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("out").display().to_string();
    let cases: [&[&str]; 4] = [
        &["synth", "/no/such/folder", "--out", &out],
        &["train", "oneprompt", "--pictures", "/no/such/folder", "--out", &out],
        &["export", "--run", "/no/such/run", "--out", &out, "--date", "2026-11-23"],
        &["eval", "/no/such/folder"],
    ];
    for words in cases {
        let (status, _, error) = tools(words);
        assert_eq!(status, Some(2), "{words:?}: {error}");
        assert!(error.contains("/no/such"), "{words:?} does not name the culprit: {error}");
    }
}

#[test]
fn wrong_use_is_status_two() {
    assert_eq!(tools(&["no-such-command"]).0, Some(2));
    assert_eq!(tools(&["train", "oneprompt"]).0, Some(2));
}

#[test]
fn an_unknown_kind_of_change_is_answered_with_those_there_are() {
    let train = ["train", "oneprompt", "--pictures", "p", "--out", "o"];
    let synth = ["synth", "p", "--out", "o"];
    for words in [train.as_slice(), synth.as_slice()] {
        let (status, _, error) = tools(&[words, &["--without", "stain,rust"]].concat());
        assert_eq!(status, Some(2));
        for part in ["rust", "stain", "cut-paste", "board"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        assert!(!error.contains("none"), "{error}");
    }
}
