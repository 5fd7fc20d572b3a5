//! The screen, as somebody in front of it sees it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::part::{set_up, start, stop};
use super::{Extras, Scenario};
use crate::bench::{Bench, SHELL_LIMIT};
use crate::fail::{Fail, Outcome, at, must};

pub const SCENARIO: Scenario = Scenario {
    name: "display",
    about: "the line says READY on the screen (screen-ready.png in the log folder)",
    extras: Extras::NONE,
    on_aarch64: false,
    run,
};

/// Share of the screen that must have the colour that was drawn; a cursor may blink.
const DRAWN_MIN: f64 = 0.99;
/// The firmware's colour of a line that is ready.
const READY_GREEN: [u8; 3] = [0, 122, 62];
/// Share of the screen that a block of it has at least.
const BLOCK_MIN: f64 = 0.002;
const DRAW_LIMIT: Duration = Duration::from_secs(90);

fn run(bench: &mut Bench) -> Outcome<()> {
    let size = bench.sh("cat /sys/class/graphics/fb0/virtual_size")?;
    let bits = bench.sh("cat /sys/class/graphics/fb0/bits_per_pixel")?;
    bench.note("framebuffer", format!("{} at {} bits", size.trim(), bits.trim()));
    // The console would draw over it.
    bench.sh("echo 0 > /sys/class/vtconsole/vtcon1/bind")?;
    for (name, byte, wanted) in [("black", "000", [0; 3]), ("white", "377", [255; 3])] {
        bench.did(format!("draws {name}"));
        // The device says when it is full, which is no failure.
        bench
            .sh(&format!("tr '\\000' '\\{byte}' < /dev/zero 2>/dev/null | cat > /dev/fb0; true"))?;
        let picture = shot(bench, name)?;
        let share = picture.share_of(wanted);
        bench.note(&format!("{name} on the screen"), format!("{:.2} %", 100.0 * share));
        must(share >= DRAWN_MIN, || format!("only {share:.3} of the screen is {name}"))?;
    }
    bench.add_to_board("[display]\nkind = \"framebuffer\"")?;
    set_up(bench)?;
    start(bench)?;
    let screen = bench.line_says("screen: ", SHELL_LIMIT)?;
    bench.note("the line says", screen);
    let deadline = Instant::now() + DRAW_LIMIT;
    loop {
        let share = shot(bench, "ready")?.share_of(READY_GREEN);
        if share >= BLOCK_MIN {
            bench.note("READY green on the screen", format!("{:.2} %", 100.0 * share));
            bench.did("sees READY on the screen");
            break;
        }
        must(Instant::now() < deadline, || format!("READY is {share:.4} of the screen"))?;
    }
    stop(bench)
}

/// What the screen shows, for people as PNG and for us in a format without packing.
fn shot(bench: &mut Bench, name: &str) -> Outcome<Shot> {
    let file = |extension: &str| bench.folder.join(format!("screen-{name}.{extension}"));
    let (png, ppm): (PathBuf, PathBuf) = (file("png"), file("ppm"));
    bench.qmp.run("screendump", json!({ "filename": png, "format": "png" }))?;
    bench.qmp.run("screendump", json!({ "filename": ppm, "format": "ppm" }))?;
    Shot::open(&ppm)
}

struct Shot {
    rgb: Vec<u8>,
}

impl Shot {
    fn open(path: &Path) -> Outcome<Shot> {
        let bytes = std::fs::read(path).map_err(at("reading", path))?;
        Shot::parse(&bytes)
            .ok_or_else(|| Fail::Broken(format!("{} is no PPM picture", path.display())))
    }

    /// `P6 WIDTH HEIGHT 255`, one white space, then the pixels.
    fn parse(bytes: &[u8]) -> Option<Shot> {
        let mut at = 0;
        let mut word = || {
            let rest = bytes.get(at..)?;
            let length = rest.iter().position(u8::is_ascii_whitespace)?;
            at += length + 1;
            std::str::from_utf8(&rest[..length]).ok()
        };
        if word()? != "P6" {
            return None;
        }
        let (width, height): (usize, usize) = (word()?.parse().ok()?, word()?.parse().ok()?);
        if word()? != "255" {
            return None;
        }
        let rgb = bytes.get(at..at + 3 * width.checked_mul(height)?)?.to_vec();
        (!rgb.is_empty()).then_some(Shot { rgb })
    }

    /// The share of pixels of exactly this colour.
    fn share_of(&self, colour: [u8; 3]) -> f64 {
        let pixels = self.rgb.chunks_exact(3);
        let all = pixels.len() as f64;
        pixels.filter(|&pixel| pixel == colour).count() as f64 / all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_read_and_counted() {
        let shot = Shot::parse(b"P6\n2 1\n255\n\xff\xff\xff\x00\x00\x00").unwrap();
        assert_eq!(shot.share_of([255; 3]), 0.5);
        assert_eq!(shot.share_of([7; 3]), 0.0);
        for bad in [&b"P5\n2 1\n255\n"[..], b"P6\n2 1\n255\n\xff", b"P6\n0 0\n255\n", b""] {
            assert!(Shot::parse(bad).is_none());
        }
    }
}
