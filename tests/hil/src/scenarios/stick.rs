//! A USB stick, plugged in and pulled while somebody reads from it.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::part::{at_levels, set_up, start, stop};
use super::{Extras, Scenario};
use crate::bench::{Bench, SHELL_LIMIT};
use crate::fail::{Fail, Outcome, must};

pub const SCENARIO: Scenario = Scenario {
    name: "stick",
    about: "the line mounts a USB stick, harmlessly, and lives on when it is pulled while being read",
    extras: Extras { stick: true, ..Extras::NONE },
    on_aarch64: false,
    run,
};

const PLUG_LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);
/// What the line sees: `mkfs.vfat` gives a whole disk a partition table, as sticks from a shop have.
const PARTITION: &str = "sda1";
/// Enough to be still reading when the stick is pulled, emulated or not.
const FILE_MB: u32 = 48;

fn run(bench: &mut Bench) -> Outcome<()> {
    plug(bench)?;
    bench.agent.ok("mkfs.vfat -n RECIPES /dev/sda", PLUG_LIMIT)?;
    bench.sh("mount -t vfat /dev/sda /mnt")?;
    let write = format!("dd if=/dev/urandom of=/mnt/big bs=1M count={FILE_MB} && sync");
    bench.agent.ok(&write, 4 * PLUG_LIMIT)?;
    let sum = bench.agent.ok("md5sum < /mnt/big", 2 * PLUG_LIMIT)?;
    bench.sh("umount /mnt")?;
    pull(bench)?;

    bench.add_to_board("[storage]\nremovable = true")?;
    set_up(bench)?;
    start(bench)?;
    plug(bench)?;
    let mounted =
        bench.line_says(&format!("stick {PARTITION}: vfat, read-only at"), 2 * PLUG_LIMIT)?;
    bench.note("the line says", mounted);
    let mount = bench.sh(&format!("grep '^/dev/{PARTITION} ' /proc/mounts"))?;
    let mut words = mount.split(' ').skip(1);
    let (Some(at), Some(_), Some(options)) = (words.next(), words.next(), words.next()) else {
        return Err(Fail::Broken(format!("/proc/mounts has '{mount}'")));
    };
    let has: Vec<&str> = options.split(',').collect();
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        must(has.contains(&option), || format!("mounted without {option}: {mount}"))?;
    }
    let again = bench.agent.ok(&format!("md5sum < {at}/big"), 2 * PLUG_LIMIT)?;
    must(sum == again, || format!("the stick came back with {again} instead of {sum}"))?;
    bench.sh("echo 3 > /proc/sys/vm/drop_caches")?;
    bench.sh(&format!("(md5sum < {at}/big; echo $? >/run/read.code) >/run/read.out 2>&1 &"))?;
    let reads = bench.agent.sh("cat /run/read.code", SHELL_LIMIT)?;
    must(reads.code != 0, || "all was read before the stick could be pulled".to_owned())?;
    pull(bench)?;
    let code = wait_for(bench, "cat /run/read.code", "the reader ends")?;
    let said = bench.sh("cat /run/read.out")?;
    must(code.trim() != "0", || format!("a reader read all of a pulled stick: {said}"))?;
    bench.note("the reader was told", said.trim());
    bench.line_says(&format!("stick {PARTITION}: pulled out"), PLUG_LIMIT)?;
    let mounted = format!("! grep '^/dev/{PARTITION} ' /proc/mounts");
    wait_for(bench, &mounted, "end of the mount")?;
    at_levels(bench, &[("ready", true), ("fault", false)])?;
    bench.note("the line", "stays READY when its stick is pulled");
    stop(bench)
}

/// Plugs the stick in and waits for its node.
fn plug(bench: &mut Bench) -> Outcome<()> {
    bench.did("plugs the stick in");
    let at = Instant::now();
    let device =
        json!({ "driver": "usb-storage", "id": "stick", "bus": "xhci.0", "drive": "stick" });
    bench.qmp.run("device_add", device)?;
    wait_for(bench, "ls /dev/sda", "/dev/sda")?;
    bench.did("sees /dev/sda");
    bench.note("plugged to node", format!("{:.1} s", at.elapsed().as_secs_f64()));
    Ok(())
}

/// Pulls the stick and waits for its node to go.
fn pull(bench: &mut Bench) -> Outcome<()> {
    bench.did("pulls the stick");
    bench.qmp.run("device_del", json!({ "id": "stick" }))?;
    bench.qmp.event("DEVICE_DELETED", PLUG_LIMIT)?;
    bench.machine_said("DEVICE_DELETED");
    wait_for(bench, "test ! -e /dev/sda", "/dev/sda to go")?;
    Ok(())
}

fn wait_for(bench: &mut Bench, line: &str, what: &str) -> Outcome<String> {
    let deadline = Instant::now() + PLUG_LIMIT;
    loop {
        let answer = bench.agent.sh(line, SHELL_LIMIT)?;
        if answer.code == 0 {
            return Ok(answer.text);
        }
        if Instant::now() >= deadline {
            return Err(Fail::Seen(format!("no {what} within {PLUG_LIMIT:?}: {}", answer.text)));
        }
        thread::sleep(LOOK);
    }
}
