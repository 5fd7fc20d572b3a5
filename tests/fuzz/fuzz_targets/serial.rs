//! Bytes on a serial line: any noise, then a line that has to be heard.

#![no_main]

use libfuzzer_sys::fuzz_target;
use touchstone_board::command::{Command, RecipeName};
use touchstone_board::push::{Announcement, Push};
use touchstone_board::serial::protocol::{
    Kind, LINE_BYTES_MAX, LineError, Lines, Numbered, Parser, crc16, emit, verb,
};
use touchstone_fuzz::heap;

/// What a parser may hold, however long it listens: a line, its text and the command in it.
const HEAP_MAX: usize = 2048;

fn feed(parser: &mut Parser, bytes: &[u8]) -> Vec<Result<Numbered, LineError>> {
    bytes.iter().filter_map(|byte| parser.push(*byte)).collect()
}

/// A command that was heard means the same when it is sent again.
fn hear(heard: Result<Numbered, LineError>) {
    match heard {
        Ok(numbered) => {
            let line = emit(Kind::Command, numbered.sequence, &verb(&numbered.command));
            assert_eq!(feed(&mut Parser::default(), line.as_bytes()), [Ok(numbered)]);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A command of the noise's choice, so that more than one follows it.
fn choose(noise: &[u8]) -> Numbered {
    let pick = noise.last().copied().unwrap_or(0);
    let command = match pick % 13 {
        0 => Command::Trigger,
        1 => Command::Teach,
        2 => Command::Status,
        3 => Command::Counters,
        4 => Command::Acknowledge,
        5 => Command::RecipeList,
        6 => Command::RecipeRollback,
        7 => Command::RecipeVerify,
        8 => Command::TeachAs(RecipeName::new("bracket").expect("a plain name")),
        9 => Command::Push(Push::End),
        10 => Command::Push(Push::Data { at: u64::from(pick), bytes: vec![pick; 144] }),
        11 => Command::Push(Push::Begin(Announcement {
            name: "cap-7.touchstone".to_owned(),
            signature: 300,
            bundle: u64::from(pick) << 20,
            id: u64::from(pick),
        })),
        _ => Command::RecipeActivate(RecipeName::new("bracket 7-b").expect("a plain name")),
    };
    Numbered { sequence: u32::from(pick) << (pick % 25), command }
}

fn a_line_after_noise_is_heard(noise: &[u8]) {
    let mut parser = Parser::default();
    let ((), held) = heap::peak(|| {
        for byte in noise {
            drop(parser.push(*byte));
        }
    });
    assert!(held <= HEAP_MAX, "{held} bytes held");
    let wanted = choose(noise);
    let line = emit(Kind::Command, wanted.sequence, &verb(&wanted.command));
    // Its mark alone ends the noise, whose last line is reported first.
    let found = feed(&mut parser.clone(), line.as_bytes());
    assert_eq!(found.last(), Some(&Ok(wanted.clone())));
    assert!(found.len() <= 2, "{found:?}");
    // After a line end there is nothing left of the noise.
    let _ = parser.push(b'\n');
    assert_eq!(feed(&mut parser, line.as_bytes()), [Ok(wanted)]);
}

/// The checksum keeps a fuzzer out of what is behind it, so here each piece gets the right one.
fn what_is_behind_the_checksum(noise: &[u8]) {
    let mut parser = Parser::default();
    for piece in noise.split(|byte| *byte == b'\n').filter(|p| p.len() < LINE_BYTES_MAX - 6) {
        let line = [b">", piece, format!("*{:04X}\r\n", crc16(piece)).as_bytes()].concat();
        let heard = feed(&mut parser, &line);
        if !piece.contains(&b'>') {
            let noise = |l: &_| matches!(l, Err(LineError::Noise | LineError::TooLong));
            assert!(heard.len() == 1 && !heard.iter().any(noise), "{heard:?}");
        }
        heard.into_iter().for_each(hear);
    }
}

/// What goes out is a line whatever the text, and the far end reads what was sent.
fn what_goes_out(noise: &[u8]) {
    let text = String::from_utf8_lossy(noise);
    let kind = if noise.len() % 2 == 0 { Kind::Reply } else { Kind::Result };
    let line = emit(kind, u32::MAX, &text);
    assert!(line.len() <= LINE_BYTES_MAX + 1 && line.is_ascii(), "{line:?}");
    assert_eq!(line.matches(['<', '>', '!', '*']).count(), 2, "its mark and its star: {line:?}");
    let mut lines = Lines::new(kind);
    let found: Vec<_> = line.bytes().filter_map(|byte| lines.push(byte)).collect();
    let [Ok((u32::MAX, sent))] = &found[..] else { panic!("{line:?}: {found:?}") };
    assert_eq!(emit(kind, u32::MAX, sent), line);
}

fuzz_target!(|noise: &[u8]| {
    feed(&mut Parser::default(), noise).into_iter().for_each(hear);
    a_line_after_noise_is_heard(noise);
    what_is_behind_the_checksum(noise);
    what_goes_out(noise);
});
