//! The definition is sound, and what contradicts itself is refused.

use super::*;
use clap::CommandFactory;
use clap::error::ErrorKind;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_example_in_the_help_parses() {
    let help = [
        EXAMPLES,
        INSPECT_EXAMPLES,
        TEACH_EXAMPLES,
        DEMO_EXAMPLES,
        RUN_EXAMPLES,
        BENCH_EXAMPLES,
        DOCTOR_EXAMPLES,
    ];
    let mut seen = 0;
    for line in help.iter().flat_map(|h| h.lines()) {
        let Some(line) = line.strip_prefix("  touchstone") else {
            continue;
        };
        // The remark after two spaces and the redirection are not arguments.
        let line = line.trim_end().split("  ").next().unwrap_or(line);
        let line = line.split('>').next().unwrap_or(line);
        if let Err(error) = parse(&format!("touchstone{line}")) {
            panic!("{line}: {error}");
        }
        seen += 1;
    }
    assert!(seen > 15, "only {seen} examples were found");
}

#[test]
fn what_contradicts_itself_is_refused() {
    let cases = [
        ("touchstone", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("touchstone inspect a.png", ErrorKind::MissingRequiredArgument),
        ("touchstone inspect --prompt g.png", ErrorKind::MissingRequiredArgument),
        ("touchstone inspect --recipe r --prompt g.png a.png", ErrorKind::ArgumentConflict),
        ("touchstone teach --name x", ErrorKind::MissingRequiredArgument),
        ("touchstone teach --name x --camera", ErrorKind::MissingRequiredArgument),
        ("touchstone teach --name x --camera --config c a.png", ErrorKind::ArgumentConflict),
        ("touchstone demo --parts 0", ErrorKind::ValueValidation),
        ("touchstone demo --part banana", ErrorKind::ValueValidation),
        ("touchstone demo --defect-rate 2", ErrorKind::ValueValidation),
        ("touchstone demo --false-reject-ppm 900000", ErrorKind::ValueValidation),
        ("touchstone run", ErrorKind::MissingRequiredArgument),
        ("touchstone frobnicate", ErrorKind::InvalidSubcommand),
    ];
    for (line, kind) in cases {
        let error = parse(line).expect_err(line);
        assert_eq!(error.kind(), kind, "{line}: {error}");
    }
}

#[test]
fn rectangles_and_sizes() {
    assert_eq!(parse_rect("1,2, 3,4"), Ok(Rect { x: 1, y: 2, w: 3, h: 4 }));
    for bad in ["", "1,2,3", "1,2,3,0", "1,2,3,4,5", "-1,2,3,4", "a,b,c,d"] {
        assert!(parse_rect(bad).is_err(), "{bad}");
    }
    assert_eq!(parse_size("640x480"), Ok((640, 480)));
    for bad in ["640", "640x", "8x8", "99999x480"] {
        assert!(parse_size(bad).is_err(), "{bad}");
    }
}
