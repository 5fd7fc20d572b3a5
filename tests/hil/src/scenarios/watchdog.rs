//! The hardware watchdog: fed, nothing happens; starved, the machine starts again and knows why.

use std::thread;
use std::time::Duration;

use super::part::{set_up, start};
use super::{Extras, Scenario};
use crate::bench::{BOOT_LIMIT, Bench, SHELL_LIMIT};
use crate::fail::{Outcome, must};

pub const SCENARIO: Scenario = Scenario {
    name: "watchdog",
    about: "the line feeds the watchdog; hung, the machine is reset and knows why",
    extras: Extras { restarts: true, ..Extras::NONE },
    on_aarch64: false,
    run,
};

/// What the line asks of the watchdog.
const TIMEOUT_S: u32 = 30;
/// Longer than that: fed, the machine must live through it.
const FED: Duration = Duration::from_secs(45);
const RESET_LIMIT: Duration = Duration::from_secs(120);
/// `WDIOF_CARDRESET`: the last start was the watchdog's doing.
const CARD_RESET: u32 = 0x20;

fn run(bench: &mut Bench) -> Outcome<()> {
    let before = boot_status(bench)?;
    must(before & CARD_RESET == 0, || format!("bootstatus is {before} after a clean start"))?;
    bench.add_to_board(&format!(
        "[watchdog]\ndevice = \"/dev/watchdog0\"\ntimeout_s = {TIMEOUT_S}"
    ))?;
    set_up(bench)?;
    start(bench)?;
    let dog = bench.line_says("watchdog: ", SHELL_LIMIT)?;
    bench.note("the line says", dog);
    bench.did("leaves the line alone for longer than the watchdog's time");
    thread::sleep(FED);
    let early = bench.qmp.event("WATCHDOG", Duration::from_secs(1));
    must(early.is_err(), || "a fed watchdog bites".to_owned())?;
    // Its lines stay as they are and its heartbeat stops; only the watchdog ends this.
    bench.signal_line("STOP")?;
    let event = bench.qmp.event("WATCHDOG", RESET_LIMIT)?;
    bench.machine_said(format!("WATCHDOG {}", event["data"]));
    bench.qmp.event("RESET", RESET_LIMIT)?;
    bench.machine_said("RESET");
    bench.agent.ready(BOOT_LIMIT)?;
    bench.did("sees the machine up again");
    let after = boot_status(bench)?;
    must(after & CARD_RESET != 0, || format!("bootstatus is {after} after the watchdog's reset"))?;
    bench.note("bootstatus", format!("{before} before, {after} after"));
    Ok(())
}

fn boot_status(bench: &mut Bench) -> Outcome<u32> {
    let text = bench.sh("cat /sys/class/watchdog/watchdog0/bootstatus")?;
    Ok(text.trim().parse().unwrap_or(u32::MAX))
}
