//! Shows the test card with a status line: on the screen of a board file, or as a PNG.
//!
//!     cargo run --release -p touchstone-board --example test_card -- /tmp/card.png [WIDTH HEIGHT]
//!     cargo run --release -p touchstone-board --example test_card -- board.toml

use std::error::Error;
use std::path::PathBuf;
use touchstone_board::config::{Board, DisplayConfig, DisplayKind};
use touchstone_board::display::{
    Counts, Display, LineState, Status, Tone, draw_status, draw_test_card,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let path = PathBuf::from(words.next().ok_or("name a PNG to write or a board file")?);
    let mut side = |usual: u32| words.next().map_or(Ok(usual), |word| word.parse());
    let (name, config) = if path.extension().is_some_and(|ending| ending == "toml") {
        let board = Board::load(&path)?;
        (board.name, board.display.ok_or("the board file has no [display]")?)
    } else {
        let size = (side(1280)?, side(720)?);
        ("a board's name".to_owned(), DisplayConfig { kind: DisplayKind::Png, path, size })
    };
    let mut display = Display::open(&config)?;
    draw_test_card(&mut display, &name)?;
    let status = Status {
        state: LineState::Ready,
        why: "",
        recipe: "bracket v3",
        counts: Counts { parts: 1204, passed: 1190, rejected: 14 },
        last: Some((Tone::Bad, "REJECT")),
    };
    draw_status(&mut display, &status)?;
    display.flush()?;
    println!("{}", display.describe());
    Ok(())
}
