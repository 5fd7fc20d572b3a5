//! The hardware watchdog: fed, nothing happens; starved, the machine starts again and knows why.

use std::thread;
use std::time::Duration;

use super::{Extras, Scenario};
use crate::bench::{BOOT_LIMIT, Bench};
use crate::fail::{Outcome, must};

pub const SCENARIO: Scenario = Scenario {
    name: "watchdog",
    about: "a fed watchdog keeps quiet, a starved one resets the machine, which then knows why",
    extras: Extras { stick: false, network: false, restarts: true },
    on_aarch64: false,
    run,
};

/// What the guest asks of the watchdog.
const TIMEOUT_S: u32 = 20;
/// Longer than that: fed, the machine must live through it.
const FED: Duration = Duration::from_secs(30);
const RESET_LIMIT: Duration = Duration::from_secs(120);
/// `WDIOF_CARDRESET`: the last start was the watchdog's doing.
const CARD_RESET: u32 = 0x20;

fn run(bench: &mut Bench) -> Outcome<()> {
    let before = boot_status(bench)?;
    must(before & CARD_RESET == 0, || format!("bootstatus is {before} after a clean start"))?;
    bench.sh(&format!(
        "watchdog -F -T {TIMEOUT_S} -t 2 /dev/watchdog >/dev/null 2>&1 & echo $! >/run/feeder"
    ))?;
    bench.did("feeds the watchdog");
    thread::sleep(FED);
    let early = bench.qmp.event("WATCHDOG", Duration::from_secs(1));
    must(early.is_err(), || "a fed watchdog bites".to_owned())?;
    bench.did("stops feeding it");
    bench.sh("kill -KILL $(cat /run/feeder)")?;
    let event = bench.qmp.event("WATCHDOG", RESET_LIMIT)?;
    bench.machine_said(format!("WATCHDOG {}", event["data"]));
    bench.qmp.event("RESET", RESET_LIMIT)?;
    bench.machine_said("RESET");
    bench.agent.ready(BOOT_LIMIT)?;
    bench.did("sees the machine up again");
    let after = boot_status(bench)?;
    must(after & CARD_RESET != 0, || format!("bootstatus is {after} after the watchdog's reset"))?;
    bench.note("bootstatus", format!("{before} before, {after} after"));
    bench.device_side_only(
        "fed and starved by busybox; the firmware does not feed a watchdog yet (from the line's own \
         loop, and only while it meets its deadlines)",
    );
    Ok(())
}

fn boot_status(bench: &mut Bench) -> Outcome<u32> {
    let text = bench.sh("cat /sys/class/watchdog/watchdog0/bootstatus")?;
    Ok(text.trim().parse().unwrap_or(u32::MAX))
}
