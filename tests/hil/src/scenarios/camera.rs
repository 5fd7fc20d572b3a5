//! A camera that drops frames, marks them as broken, and goes away: parts are rejected or judged on
//! their own frame, never on an old one, and READY says what is so.

use std::time::Duration;

use super::part::{
    at_levels, good_part, in_time, no_running_time, result_of, set_up, show_defect, start,
};
use super::{Extras, Scenario};
use crate::bench::{Bench, FIRMWARE_LIMIT, PART_LIMIT, SHELL_LIMIT};
use crate::fail::{Outcome, must};

pub const SCENARIO: Scenario = Scenario {
    name: "camera",
    about: "dropped and broken frames; the camera goes and comes back; no old frame is judged",
    extras: Extras::NONE,
    on_aarch64: false,
    run,
};

/// How long the camera stays away.
const AWAY: Duration = Duration::from_secs(2);
const DRIVER: &str = "/sys/bus/platform/drivers/vivid";

fn run(bench: &mut Bench) -> Outcome<()> {
    set_up(bench)?;
    start(bench)?;
    good_part(bench, 0)?;
    faulty_frames(bench, 1, "half of the frames are dropped", "percentage_of_dropped_buffers=50")?;
    bench.sh("v4l2-ctl -d /dev/video-vivid -c percentage_of_dropped_buffers=0")?;
    faulty_frames(bench, 2, "a frame is marked as broken", "inject_v4l2_buf_flag_error=1")?;
    good_part(bench, 3)?;
    gone_and_back(bench)
}

/// Whatever the camera does, a good part has a result, and if it is a reject then for want of a frame.
fn faulty_frames(bench: &mut Bench, part: u32, what: &str, control: &str) -> Outcome<()> {
    bench.did(format!("from now on {what}"));
    bench.sh(&format!("v4l2-ctl -d /dev/video-vivid -c {control}"))?;
    let heard = bench.plc.lines().len();
    bench.trigger()?;
    let result = result_of(bench, heard, part)?;
    let for_want = result.text.contains(" pass ") || result.text.contains("frame");
    bench.note(&format!("part {part}, {what}"), result.text.clone());
    must(for_want, || format!("{what}: a good part gave '{}'", result.text))
}

fn gone_and_back(bench: &mut Bench) -> Outcome<()> {
    let device = bench.sh(&format!("basename {DRIVER}/vivid.*"))?.trim().to_owned();
    bench.did("pulls the camera");
    let at = bench.now_us();
    bench.sh(&format!("echo {device} > {DRIVER}/unbind"))?;
    let fell = bench.edge("ready", false, at, PART_LIMIT)?;
    bench.note("camera gone to READY low", format!("{:.1} ms", (fell.at_us - at) as f64 / 1e3));
    std::thread::sleep(AWAY);
    let ended = bench.agent.sh("cat /run/line.code", SHELL_LIMIT)?;
    bench.did("plugs the camera in again, with another part in front of it");
    bench.sh(&format!("echo {device} > {DRIVER}/bind && hil-names"))?;
    // Its format is the firmware's matter now, which may stream already.
    no_running_time(bench)?;
    show_defect(bench, true)?;
    if ended.code == 0 {
        // The line ended with its camera: at least it ended safely, and the camera does come back.
        let code = ended.text.trim().to_owned();
        must(code == "3", || format!("the line ended with {code} when its camera went"))?;
        at_levels(bench, &[("ready", false), ("reject", false), ("fault", true)])?;
        let grab = "v4l2-ctl -d /dev/video-vivid --stream-mmap --stream-count=5";
        bench.sh(grab)?;
        bench.device_side_only(&format!(
            "the camera comes back and streams, but the firmware ended with {code} when it went; \
             it has to open it again by itself"
        ));
        return Ok(());
    }
    let back = bench.edge("ready", true, fell.at_us, FIRMWARE_LIMIT)?;
    bench.note("away", format!("{:.1} s", (back.at_us - fell.at_us) as f64 / 1e6));
    let heard = bench.plc.lines().len();
    let at = bench.trigger()?;
    // The old picture was a good part. Whoever judges an old frame says pass.
    let is_reject = |line: &str| line.contains(" reject ");
    let result = in_time(bench.plc.wait(heard, "result", PART_LIMIT, is_reject)?)?;
    must(!result.text.contains("frame"), || format!("after the return: {}", result.text))?;
    bench.edge("reject", true, at, PART_LIMIT)?;
    Ok(())
}
