//! Trigger, frame, verdict, reject pulse: the way of a part, seen from the other side of every wire.

use std::time::Duration;

use super::{Extras, Scenario};
use crate::bench::{Bench, CONFIG, FIRMWARE_LIMIT, PART_LIMIT, SHELL_LIMIT};
use crate::fail::{Fail, Outcome, must};
use crate::uart::Line;

pub const SCENARIO: Scenario = Scenario {
    name: "part",
    about: "trigger, frame, verdict, reject pulse and result line, for a good and for a bad part",
    extras: Extras::NONE,
    on_aarch64: true,
    run,
};

/// Frames that a changed picture takes until it is what the camera sees.
const SETTLE: Duration = Duration::from_millis(1500);

fn run(bench: &mut Bench) -> Outcome<()> {
    set_up(bench)?;
    start(bench)?;
    good_part(bench, 0)?;
    bad_part(bench, 1)?;
    // A reject must not stick to the next part.
    good_part(bench, 2)?;
    stop(bench)
}

/// A camera that shows the same picture over and over, and a recipe taught from it.
pub(super) fn set_up(bench: &mut Bench) -> Outcome<()> {
    bench.pull("fault", true)?;
    steady_picture(bench)?;
    let taught = bench.touchstone(&format!(
        "teach --name part --camera --count 1 --config {CONFIG} --out /run/recipes/part"
    ))?;
    must(taught.code == 0, || format!("teach ended with {}: {}", taught.code, taught.text))
}

/// Ten pictures per second, all the same.
pub(super) fn steady_picture(bench: &mut Bench) -> Outcome<()> {
    bench
        .sh("v4l2-ctl -d /dev/video-vivid --set-fmt-video=width=320,height=180,pixelformat=YUYV")?;
    bench.sh("v4l2-ctl -d /dev/video-vivid --set-parm=10")?;
    no_running_time(bench)
}

/// No running time in the picture: it would be another part each time.
pub(super) fn no_running_time(bench: &mut Bench) -> Outcome<()> {
    bench.sh("v4l2-ctl -d /dev/video-vivid -c osd_text_mode=2")?;
    Ok(())
}

/// Runs the line until READY.
pub(super) fn start(bench: &mut Bench) -> Outcome<()> {
    bench.watch()?;
    let from = bench.now_us();
    bench.start_line(&format!("run --config {CONFIG}"))?;
    let ready = bench.edge("ready", true, from, FIRMWARE_LIMIT)?;
    bench.note("start to READY", format!("{:.1} s", (ready.at_us - from) as f64 / 1e6));
    bench.edge("fault", false, from, SHELL_LIMIT)?;
    bench.edge("heartbeat", true, from, SHELL_LIMIT)?;
    Ok(())
}

/// A defect: a white square in the middle of the picture, or none.
pub(super) fn show_defect(bench: &mut Bench, there: bool) -> Outcome<()> {
    bench.did(if there { "puts a defect on the part" } else { "takes the defect away" });
    bench.sh(&format!("v4l2-ctl -d /dev/video-vivid -c show_square={}", u8::from(there)))?;
    std::thread::sleep(SETTLE);
    Ok(())
}

pub(super) fn good_part(bench: &mut Bench, part: u32) -> Outcome<()> {
    show_defect(bench, false)?;
    let heard = bench.plc.lines().len();
    let at = bench.trigger()?;
    let result = result_of(bench, heard, part)?;
    must(result.text.contains(" pass "), || format!("a good part: {}", result.text))?;
    let pass = bench.edge("pass", true, at, SHELL_LIMIT)?;
    bench.edge("pass", false, pass.at_us, SHELL_LIMIT)?;
    timing(bench, "pass", at, pass.at_us);
    let now = bench.now_us();
    let rejects = bench.rises("reject", at, now)?;
    must(rejects == 0, || format!("reject rose {rejects} times for a good part"))
}

pub(super) fn bad_part(bench: &mut Bench, part: u32) -> Outcome<()> {
    show_defect(bench, true)?;
    let heard = bench.plc.lines().len();
    let at = bench.trigger()?;
    let result = result_of(bench, heard, part)?;
    must(result.text.contains(" reject "), || format!("a bad part: {}", result.text))?;
    let rise = bench.edge("reject", true, at, PART_LIMIT)?;
    let fall = bench.edge("reject", false, rise.at_us, PART_LIMIT)?;
    timing(bench, "reject", at, rise.at_us);
    let width = (fall.at_us - rise.at_us) as f64 / 1000.0;
    bench.note("reject pulse", format!("{width:.1} ms wide"));
    let passes = bench.rises("pass", at, fall.at_us)?;
    must(passes == 0, || format!("pass rose {passes} times for a bad part"))?;
    let rejects = bench.rises("reject", at, fall.at_us)?;
    must(rejects == 1, || format!("reject rose {rejects} times for one part"))
}

fn timing(bench: &mut Bench, what: &str, from_us: i64, to_us: i64) {
    let ms = (to_us - from_us) as f64 / 1000.0;
    bench.note(&format!("trigger to {what}"), format!("{ms:.1} ms"));
}

/// The result of `part` among the lines from number `heard` on.
///
/// # Errors
/// None comes; or it came too late to be one.
pub(super) fn result_of(bench: &mut Bench, heard: usize, part: u32) -> Outcome<Line> {
    in_time(bench.plc.wait(heard, "result", PART_LIMIT, is_result(part))?)
}

/// A result, unless it came too late to be one.
pub(super) fn in_time(result: Line) -> Outcome<Line> {
    match result.text.contains("reason=late") {
        true => Err(Fail::TooSlow(result.text)),
        false => Ok(result),
    }
}

/// `!SEQUENCE part=PART VERDICT score=… reason=…*CRC`.
fn is_result(part: u32) -> impl Fn(&str) -> bool {
    let wanted = format!("part={part}");
    move |line| line.split(' ').nth(1) == Some(wanted.as_str())
}

/// An orderly end: READY and heartbeat low, every output at its fail-safe level.
pub(super) fn stop(bench: &mut Bench) -> Outcome<()> {
    let at = bench.signal_line("TERM")?;
    let code = bench.line_ended(FIRMWARE_LIMIT)?;
    must(code == 0, || format!("the line ended with {code}"))?;
    bench.edge("ready", false, at, SHELL_LIMIT)?;
    let safe = [("reject", false), ("pass", false), ("ready", false), ("fault", true)];
    at_levels(bench, &safe)?;
    at_levels(bench, &[("heartbeat", false)])
}

/// What the wires show now.
pub(super) fn at_levels(bench: &mut Bench, wanted: &[(&str, bool)]) -> Outcome<()> {
    let levels = bench.levels()?;
    for (wire, level) in wanted {
        let is = levels.iter().find(|(name, _)| name == wire).map(|(_, level)| *level);
        must(is == Some(*level), || format!("{wire} is {is:?}, not {level}; all: {levels:?}"))?;
    }
    Ok(())
}
