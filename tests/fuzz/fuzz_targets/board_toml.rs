//! The text of a board file, and what is done with a board before anything is opened.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use touchstone_board::camera::pixels::PixelFormat;
use touchstone_board::camera::v4l2::choice::{Offer, Wish, choose};
use touchstone_board::camera::{SIDE_MAX, SIDE_MIN};
use touchstone_board::config::{
    BAUD_RATES, Board, CameraConfig, ConfigError, DEBOUNCE_MAX, EXPOSURE_LAG_MAX, GPIO_MAX,
    LINE_MAX, SERIAL_MAX, V4l2Config,
};
use touchstone_board::io::OutputRole;
use touchstone_board::sim::SimulatedLine;
use touchstone_board::{State, check};
use touchstone_fuzz::heap;

/// Bytes held for a text without any: what the parser needs for itself.
const HEAP_BASE: usize = 64 << 10;
/// ... and for each byte of the text: a parsed key with its place.
const HEAP_PER_BYTE: usize = 512;

/// An error is one line that says what, where and what to do.
fn refused(error: &ConfigError, text: &str) {
    let lines = 1 + text.matches('\n').count();
    assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{error:?}");
    assert!(!error.what.is_empty() && !error.remedy.is_empty(), "{error:?}");
    let said = error.to_string();
    assert!(!said.contains(char::is_control), "{said:?}");
}

fn camera(config: &V4l2Config) {
    let side = |side: Option<u32>| side.is_none_or(|s| (SIDE_MIN..=SIDE_MAX).contains(&s));
    assert!(side(config.width) && side(config.height));
    assert!(config.exposure_lag <= EXPOSURE_LAG_MAX);
    let wish =
        Wish { format: config.format, size: config.width.zip(config.height), rate: config.rate };
    let offer = |format, width, height, rate| Offer { format, width, height, rate };
    let mut offers = vec![
        offer(PixelFormat::Yuyv, 640, 480, Some(30.0)),
        offer(PixelFormat::Mjpeg, 1920, 1080, Some(29.97)),
        offer(PixelFormat::Grey, 8192, 8192, None),
        offer(PixelFormat::Nv12, 641, 480, Some(f32::NAN)),
    ];
    if let Some((width, height)) = wish.size {
        offers.push(offer(wish.format.unwrap_or(PixelFormat::Bgr), width, height, wish.rate));
    }
    match choose(&offers, &wish) {
        Ok(chosen) => {
            assert!(wish.format.is_none_or(|format| format == chosen.format));
            assert!(wish.size.is_none_or(|size| size == (chosen.width, chosen.height)));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// What every board promises, and what looks at one: none of it may fall over.
fn accepted(mut board: Board) {
    assert_eq!(board.clone(), board, "not a number came through");
    let inputs = board.input_lines();
    assert!(inputs.len() + board.outputs.len() <= GPIO_MAX && board.serial.len() <= SERIAL_MAX);
    assert!(inputs.iter().all(|line| line.debounce <= DEBOUNCE_MAX));
    let wires = || inputs.iter().map(|l| &l.wire).chain(board.outputs.iter().map(|l| &l.wire));
    assert!(wires().all(|wire| wire.line <= LINE_MAX));
    for (i, output) in board.outputs.iter().enumerate() {
        assert!(board.outputs[..i].iter().all(|earlier| earlier.role != output.role));
        match output.role {
            OutputRole::Pass | OutputRole::Ready | OutputRole::Heartbeat => {
                assert!(!output.fail_safe, "a dead camera would promise");
            }
            OutputRole::Reject | OutputRole::Fault | OutputRole::Busy | OutputRole::Notice => {}
        }
    }
    assert!(board.serial.iter().all(|port| BAUD_RATES.contains(&port.baud)));
    match &board.camera {
        CameraConfig::V4l2(config) => camera(config),
        CameraConfig::Files(config) => assert!(config.rate > 0.0),
        CameraConfig::Simulated(config) => {
            let line = SimulatedLine::new(config.clone()).expect("a checked line starts");
            assert!(line.triggers_at(0) <= line.triggers_at(1));
        }
    }
    // Looking whether an address is free takes it for a moment; a fuzzer must not.
    if let Some(modbus) = &mut board.modbus {
        modbus.tcp = None;
    }
    for finding in check(&board) {
        assert!(finding.state != State::Wrong || !finding.what_to_do.is_empty(), "{finding}");
    }
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    // `Board::load` refuses what is not text before anything is parsed.
    let Ok(text) = std::str::from_utf8(bytes) else { return Corpus::Reject };
    let (parsed, held) = heap::peak(|| Board::parse(text));
    let most = HEAP_BASE + HEAP_PER_BYTE * text.len();
    assert!(held <= most, "{held} bytes held for {} of text", text.len());
    match parsed {
        Ok(board) => accepted(board),
        Err(error) => refused(&error, text),
    }
    Corpus::Keep
});
