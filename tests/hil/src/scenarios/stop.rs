//! Three ways of ending: told to, killed, and hung. What the wires then say is what the machine has
//! to live with.

use std::thread;
use std::time::Duration;

use super::part::{at_levels, good_part, result_of, set_up, show_defect, start, stop};
use super::{Extras, Scenario};
use crate::bench::{Bench, PART_LIMIT, SHELL_LIMIT};
use crate::fail::{Outcome, must};

pub const SCENARIO: Scenario = Scenario {
    name: "stop",
    about: "killed: the heartbeat stops; hung: only the heartbeat tells; told to: all at fail-safe",
    extras: Extras::NONE,
    on_aarch64: false,
    run,
};

/// Long enough for several beats, if there were any.
const SILENCE: Duration = Duration::from_secs(3);

fn run(bench: &mut Bench) -> Outcome<()> {
    set_up(bench)?;
    start(bench)?;
    good_part(bench, 0)?;
    hung(bench)?;
    killed(bench)?;
    start(bench)?;
    stopped_with_a_part_under_way(bench)
}

/// A process that does not run any more holds its lines as they are: READY lies, the heartbeat
/// does not.
fn hung(bench: &mut Bench) -> Outcome<()> {
    bench.signal_line("STOP")?;
    let still = bench.now_us();
    thread::sleep(SILENCE);
    let beats = bench.rises("heartbeat", still, bench.now_us())?;
    must(beats == 0, || format!("{beats} beats of a process that is stopped"))?;
    at_levels(bench, &[("ready", true)])?;
    bench.note("hung", "READY stays high, the heartbeat stands still");
    let again = bench.signal_line("CONT")?;
    bench.edge("heartbeat", true, again, SHELL_LIMIT)?;
    Ok(())
}

/// The kernel lets go of a dead process's lines; then the machine's resistors decide.
fn killed(bench: &mut Bench) -> Outcome<()> {
    let at = bench.signal_line("KILL")?;
    bench.edge("ready", false, at, SHELL_LIMIT)?;
    bench.edge("fault", true, at, SHELL_LIMIT)?;
    let code = bench.line_ended(PART_LIMIT)?;
    must(code == 128 + 9, || format!("the line ended with {code}, not by SIGKILL"))?;
    let dead = bench.now_us();
    thread::sleep(SILENCE);
    let beats = bench.rises("heartbeat", dead, bench.now_us())?;
    must(beats == 0, || format!("{beats} beats of a dead process"))?;
    let passes = bench.rises("pass", at, bench.now_us())?;
    must(passes == 0, || format!("pass rose {passes} times after the kill"))?;
    at_levels(bench, &[("reject", false), ("pass", false), ("ready", false), ("fault", true)])
}

/// A part on the line is finished first: it still gets its verdict and its pulse.
fn stopped_with_a_part_under_way(bench: &mut Bench) -> Outcome<()> {
    show_defect(bench, true)?;
    let heard = bench.plc.lines().len();
    let at = bench.trigger()?;
    result_of(bench, heard, 0)?;
    stop(bench)?;
    let pulses = bench.rises("reject", at, bench.now_us())?;
    must(pulses == 1, || format!("{pulses} reject pulses for the part that was under way"))
}
