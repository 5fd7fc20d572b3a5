use super::*;
use proptest::prelude::*;

fn feed(parser: &mut Parser, bytes: &[u8]) -> Vec<Result<Numbered, LineError>> {
    bytes.iter().filter_map(|byte| parser.push(*byte)).collect()
}

fn one(bytes: &[u8]) -> Result<Numbered, LineError> {
    let mut all = feed(&mut Parser::default(), bytes);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn the_checksum_is_the_published_one() {
    assert_eq!(crc16(b"123456789"), 0x29B1);
}

#[test]
fn a_line_as_the_documentation_shows_it() {
    // The bytes in board/docs/serial.md, so that an integrator's first try works.
    let line = emit(Kind::Command, 17, "trigger");
    let documentation = include_str!("../../docs/serial.md");
    assert!(documentation.contains(line.trim_end()), "{line:?} is not in board/docs/serial.md");
    assert_eq!(one(line.as_bytes()), Ok(Numbered { sequence: 17, command: Command::Trigger }));
    // A bare line feed will do, as will small hexadecimal digits.
    let lazy = line.trim_end().to_lowercase() + "\n";
    assert!(one(lazy.as_bytes()).is_ok());
}

#[test]
fn what_is_wrong_is_said() {
    let line = |text: &str| {
        let crc = crc16(text.as_bytes());
        one(format!(">{text}*{crc:04X}\n").as_bytes()).unwrap_err()
    };
    assert_eq!(one(b">1 trigger*0000\n"), Err(LineError::Noise));
    assert_eq!(one(b">1 trigger\n"), Err(LineError::Noise));
    assert_eq!(one(b">\n"), Err(LineError::Noise));
    let meaningless = |sequence, why| LineError::Meaningless { sequence, why };
    assert_eq!(line("trigger"), meaningless(None, "no sequence number"));
    assert_eq!(line("4294967296 teach"), meaningless(None, "sequence number above 4294967295"));
    assert_eq!(line("5 recipe activate  x"), meaningless(Some(5), "not a recipe name"));
    assert!(line("5 loosen threshold").to_string().starts_with("unknown command"));
    assert!(matches!(line("5 "), LineError::Meaningless { sequence: Some(5), .. }));
    let long = [b">".as_slice(), &[b'x'; LINE_BYTES_MAX]].concat();
    assert_eq!(one(&long), Err(LineError::TooLong));
}

#[test]
fn emitted_lines_are_bounded_and_plain() {
    let line = emit(Kind::Result, u32::MAX, &"ä>!*\n".repeat(200));
    assert!(line.len() <= LINE_BYTES_MAX + 1, "{}", line.len());
    assert!(line.starts_with("!4294967295 ?___ ?"), "{line}");
    assert_eq!(line.matches(['!', '*', '>', '<']).count(), 2, "its mark and its star");
    let mut lines = Lines::new(Kind::Result);
    let found: Vec<_> = line.bytes().filter_map(|b| lines.push(b)).collect();
    assert!(matches!(&found[..], [Ok((u32::MAX, _))]), "{found:?}");
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        Just(Command::Trigger),
        Just(Command::Teach),
        Just(Command::RecipeList),
        Just(Command::Status),
        Just(Command::Counters),
        Just(Command::Acknowledge),
        "[a-zA-Z0-9._-][a-zA-Z0-9 ._-]{0,61}[a-z]"
            .prop_map(|name| Command::RecipeActivate(RecipeName::new(&name).unwrap())),
    ]
}

proptest! {
    #[test]
    fn no_bytes_panic_and_nothing_grows(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let mut parser = Parser::default();
        for byte in bytes {
            let _ = parser.push(byte);
            prop_assert!(parser.0.line.as_ref().is_none_or(|line| line.len() < LINE_BYTES_MAX));
        }
    }

    #[test]
    fn a_line_after_any_noise_is_found(
        noise in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'>'), Just(b'*')], 0..600),
        sequence in any::<u32>(),
        command in command(),
    ) {
        let mut parser = Parser::default();
        feed(&mut parser, &noise);
        let line = emit(Kind::Command, sequence, &verb(&command));
        let found = feed(&mut parser, line.as_bytes());
        prop_assert_eq!(found.last(), Some(&Ok(Numbered { sequence, command })));
    }

    #[test]
    fn one_damaged_byte_never_makes_another_command(
        sequence in any::<u32>(),
        command in command(),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let mut bytes = emit(Kind::Command, sequence, &verb(&command)).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = to;
        let right = Numbered { sequence, command };
        for found in feed(&mut Parser::default(), &bytes).into_iter().flatten() {
            prop_assert_eq!(&found, &right);
        }
    }
}
