//! The status line: the one thing an operator has to be able to read from three metres away.

use super::text::{draw_text, text_width};
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

const GROUND: Rgb888 = Rgb888::new(20, 22, 25);
const EDGE: Rgb888 = Rgb888::new(84, 90, 96);
const WHITE: Rgb888 = Rgb888::new(255, 255, 255);
const QUIET: Rgb888 = Rgb888::new(176, 182, 188);
const GREEN: Rgb888 = Rgb888::new(0, 122, 62);
const RED: Rgb888 = Rgb888::new(190, 20, 30);
const AMBER: Rgb888 = Rgb888::new(160, 100, 0);
/// Least height of the line.
const HEIGHT_MIN: u32 = 20;

/// Whether parts are inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineState {
    /// They are.
    Ready,
    /// Not yet: starting, teaching.
    Busy,
    /// They are not, and somebody has to do something.
    Error,
}

impl LineState {
    /// The word for it, so that nothing hangs on telling red from green.
    pub fn word(self) -> &'static str {
        match self {
            LineState::Ready => "READY",
            LineState::Busy => "BUSY",
            LineState::Error => "ERROR",
        }
    }

    fn colour(self) -> Rgb888 {
        match self {
            LineState::Ready => GREEN,
            LineState::Busy => AMBER,
            LineState::Error => RED,
        }
    }
}

/// Good or bad news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// A part passed.
    Good,
    /// A part was rejected.
    Bad,
}

/// Parts so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Parts seen.
    pub parts: u64,
    /// Of these, passed.
    pub passed: u64,
    /// Of these, rejected.
    pub rejected: u64,
}

/// What the line says. The words are the caller's; this crate knows nothing of recipes or verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status<'a> {
    /// Whether parts are inspected.
    pub state: LineState,
    /// Why not, or what to do; shown instead of the recipe where the state is an error.
    pub why: &'a str,
    /// The active recipe; empty for none.
    pub recipe: &'a str,
    /// Parts so far.
    pub counts: Counts,
    /// The last verdict, as `PASS` or `REJECT scratch`; `None` before the first part.
    pub last: Option<(Tone, &'a str)>,
}

/// Height of the status line on a screen of that height; the rest is free for the picture.
pub fn status_height(screen: u32) -> u32 {
    (screen / 12).max(HEIGHT_MIN)
}

/// Draws the line along the target's lower edge and nothing above it: state, recipe or reason, counts, last
/// verdict. What has no room is left out from the right, except the verdict.
///
/// # Errors
/// The target's.
pub fn draw_status<D>(target: &mut D, status: &Status<'_>) -> Result<(), D::Error>
where
    D: DrawTarget<Color = Rgb888> + OriginDimensions,
{
    let screen = target.size();
    let height = status_height(screen.height).min(screen.height);
    let top = (screen.height - height) as i32;
    let all = Rectangle::new(Point::new(0, top), Size::new(screen.width, height));
    target.fill_solid(&all, GROUND)?;
    target.fill_solid(&Rectangle::new(all.top_left, Size::new(screen.width, 1)), EDGE)?;
    let large = (height * 2 / 3).max(8);
    let small = (height / 2).max(8);
    let pad = height / 3;

    let word = status.state.word();
    let block = (text_width(word, large) + 2 * pad).min(screen.width);
    let inner = Size::new(block, height - 1);
    target.fill_solid(&Rectangle::new(Point::new(0, top + 1), inner), status.state.colour())?;
    let at = |x: u32, tall: u32| Point::new(x as i32, top + (height - tall) as i32 / 2);
    draw_text(target, word, at(pad, large), large, block.saturating_sub(pad), WHITE)?;

    // The verdict has the right end, of at most a third.
    let mut right = screen.width;
    if let Some((tone, words)) = status.last {
        let room = (screen.width / 3).min(screen.width - block);
        let used = text_width(words, small).min(room.saturating_sub(2 * pad));
        let width = used + 2 * pad;
        if width <= room {
            right -= width;
            let colour = if tone == Tone::Good { GREEN } else { RED };
            let place =
                Rectangle::new(Point::new(right as i32, top + 1), Size::new(width, height - 1));
            target.fill_solid(&place, colour)?;
            draw_text(target, words, at(right + pad, small), small, used, WHITE)?;
        }
    }

    let counts = format!(
        "{} parts  {} pass  {} reject",
        status.counts.parts, status.counts.passed, status.counts.rejected
    );
    let left = block + pad;
    let room = right.saturating_sub(pad).saturating_sub(left);
    let (words, colour) = match (status.state, status.why, status.recipe) {
        (LineState::Error | LineState::Busy, why, _) if !why.is_empty() => (why, WHITE),
        (_, _, "") => ("no recipe", QUIET),
        (_, _, recipe) => (recipe, WHITE),
    };
    let counted = text_width(&counts, small);
    // Counts give way to the words: a reason cut short helps nobody.
    let both = text_width(words, small).saturating_add(counted).saturating_add(pad) <= room;
    draw_text(target, words, at(left, small), small, room, colour)?;
    if both {
        let x = right - pad - counted;
        draw_text(target, &counts, at(x, small), small, counted, QUIET)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::display::Canvas;
    use proptest::prelude::*;

    fn ready() -> Status<'static> {
        Status {
            state: LineState::Ready,
            why: "",
            recipe: "bracket v3",
            counts: Counts { parts: 1204, passed: 1190, rejected: 14 },
            last: Some((Tone::Good, "PASS")),
        }
    }

    fn drawn(width: u32, height: u32, status: &Status<'_>) -> Canvas {
        let mut canvas = Canvas::new(width, height);
        draw_status(&mut canvas, status).unwrap();
        canvas
    }

    fn has(canvas: &Canvas, colour: Rgb888) -> bool {
        use embedded_graphics::prelude::RgbColor;
        canvas.rgb().chunks(3).any(|p| p == [colour.r(), colour.g(), colour.b()])
    }

    #[test]
    fn state_and_verdict_have_their_colours_and_the_picture_stays() {
        let canvas = drawn(1280, 720, &ready());
        assert!(has(&canvas, GREEN) && !has(&canvas, RED));
        let above = (720 - status_height(720)) as usize * 1280 * 3;
        assert!(canvas.rgb()[..above].iter().all(|v| *v == 0));
        let reject = Status { last: Some((Tone::Bad, "REJECT scratch")), ..ready() };
        assert!(has(&drawn(1280, 720, &reject), RED));
        let error = Status { state: LineState::Error, why: "camera gone", last: None, ..ready() };
        let canvas = drawn(1280, 720, &error);
        assert!(has(&canvas, RED) && !has(&canvas, GREEN));
    }

    #[test]
    fn what_is_said_changes_the_picture() {
        let base = drawn(1280, 720, &ready());
        let counts = Counts { parts: 1205, ..ready().counts };
        assert!(drawn(1280, 720, &Status { counts, ..ready() }) != base);
        assert!(drawn(1280, 720, &Status { recipe: "", ..ready() }) != base);
        assert!(drawn(1280, 720, &Status { last: None, ..ready() }) != base);
        // A reason to act has the place of the recipe, but only when there is one.
        let error = Status { state: LineState::Error, why: "camera gone", ..ready() };
        assert!(
            drawn(1280, 720, &error) != drawn(1280, 720, &Status { why: "disk full", ..error })
        );
        assert!(drawn(1280, 720, &Status { why: "fine", ..ready() }) == base);
    }

    proptest! {
        #[test]
        fn any_words_on_any_screen_stay_in_the_line(
            width in 64u32..900, height in 64u32..300,
            why in "\\PC{0,60}", recipe in "\\PC{0,60}", last in "\\PC{0,60}",
            state in prop::sample::select(vec![LineState::Ready, LineState::Busy, LineState::Error]),
            parts in any::<u64>(),
        ) {
            let counts = Counts { parts, passed: parts, rejected: parts };
            let last = Some((Tone::Bad, last.as_str()));
            let status = Status { state, why: &why, recipe: &recipe, counts, last };
            let canvas = drawn(width, height, &status);
            let above = ((height - status_height(height)) * width * 3) as usize;
            prop_assert!(canvas.rgb()[..above].iter().all(|v| *v == 0));
        }
    }
}
