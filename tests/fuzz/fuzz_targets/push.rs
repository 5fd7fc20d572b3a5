//! A push as a script: what comes over the line to the camera's side of it, in any order.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use touchstone::intake::Gate;
use touchstone::intake::push::{Session, Step};
use touchstone::store::Store;
use touchstone_board::Timestamp;
use touchstone_board::push::{Announcement, PIECE_BYTES_MAX, Push};
use touchstone_fuzz::heap;

/// What a session may hold: what it gathers before it writes, the signature, and the copies between.
const HEAP_MAX: usize = 512 << 10;

static GATE: OnceLock<Gate> = OnceLock::new();

fn gate() -> &'static Gate {
    GATE.get_or_init(|| {
        let root = std::path::Path::new("/dev/shm").join(format!("fuzz-{}", std::process::id()));
        let store = Store::open(&root, 2).expect("a folder in memory");
        Gate { store, keys: None, family: None }
    })
}

/// The next number of the script, small ones more often.
fn number(script: &mut &[u8]) -> u64 {
    let [kind, a, b, rest @ ..] = *script else { return 0 };
    *script = rest;
    match kind % 4 {
        0 => u64::from(*a),
        1 => u64::from(*a) << (b % 32),
        2 => u64::from(u16::from_be_bytes([*a, *b])),
        _ => u64::MAX - u64::from(*a),
    }
}

fuzz_target!(|bytes: &[u8]| {
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(text) = std::str::from_utf8(line) else { continue };
        if let Ok(push) = Push::parse(text) {
            assert_eq!(push.verb(), format!("push {text}"));
        }
    }
    let mut script = bytes;
    let (mut session, mut now) = (Session::default(), 0i64);
    // What the session must have, by a count of our own.
    let mut wanted: Option<(Announcement, u64)> = None;
    while let [op, rest @ ..] = script {
        script = rest;
        now += i64::from(*op) * 1_000_000;
        let push = match op % 8 {
            0 | 1 => Push::Begin(Announcement {
                name: ["a-1.touchstone", "b-2.touchstone", "evil"][usize::from(op / 8) % 3].to_owned(),
                signature: number(&mut script) as u32,
                bundle: number(&mut script),
                id: number(&mut script) % 2,
            }),
            2 => Push::End,
            _ => {
                let at = match &wanted {
                    Some((_, next)) if op % 8 != 3 => *next,
                    _ => number(&mut script),
                };
                let length = 1 + number(&mut script) as usize % PIECE_BYTES_MAX;
                Push::Data { at, bytes: vec![*op; length] }
            }
        };
        let (step, held) = heap::peak(|| session.step(&push, gate(), Timestamp(now)));
        assert!(held <= HEAP_MAX, "{held} bytes held");
        match (&push, step) {
            (Push::Begin(announced), Step::Answer(Ok(next))) => {
                let next: u64 = next.parse().expect("a number");
                match &wanted {
                    Some((old, at)) if old == announced => assert_eq!(next, *at),
                    _ => assert_eq!(next, 0),
                }
                wanted = Some((announced.clone(), next));
            }
            (Push::Begin(_), Step::Answer(Err(_))) => wanted = None,
            (Push::Data { at, bytes }, Step::Answer(Ok(next))) => {
                let (announced, before) = wanted.as_mut().expect("begun");
                assert_eq!(*at, *before);
                *before += bytes.len() as u64;
                assert_eq!(next, before.to_string());
                assert!(*before <= u64::from(announced.signature) + announced.bundle);
            }
            (Push::Data { .. } | Push::End, Step::Answer(_)) => {}
            (Push::End, Step::Whole(delivered)) => {
                let (announced, next) = wanted.take().expect("begun");
                assert_eq!(next, u64::from(announced.signature) + announced.bundle);
                assert_eq!(delivered.spool.written(), announced.bundle);
            }
            (push, step) => panic!("{push:?}: {step:?}"),
        }
        if session.progress().is_none() {
            wanted = None;
        }
    }
});
