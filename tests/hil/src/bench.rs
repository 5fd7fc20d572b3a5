//! The test bench: a VM with everything connected, and what one does at a bench: run the firmware,
//! trigger a part, wait for an edge.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::{Agent, Answer, Edge, Edges, GuestClock};
use crate::fail::{Fail, Outcome, at};
use crate::qemu::{Machine, Qemu};
use crate::qmp::Qmp;
use crate::table::{self, Row, Side};
use crate::uart::Uart;

/// From power on to the agent's first word: seconds, and many more on a busy machine.
pub const BOOT_LIMIT: Duration = Duration::from_secs(400);
/// For a command of the guest's shell that does nothing much.
pub const SHELL_LIMIT: Duration = Duration::from_secs(60);
/// For whatever the firmware computes under emulation.
pub const FIRMWARE_LIMIT: Duration = Duration::from_secs(900);
/// From a trigger to the end of its pulse: the way to the actuator (`travel_ms` of `vm/touchstone.toml`)
/// and as much again for a busy machine.
pub const PART_LIMIT: Duration = Duration::from_secs(150);
/// How often wires are sampled.
const SAMPLE: Duration = Duration::from_micros(1000);
/// How long a trigger stays active.
const TRIGGER_LENGTH: Duration = Duration::from_millis(60);
/// How often the guest is asked for edges while waiting for one.
const LOOK: Duration = Duration::from_millis(100);

/// The wires of the VM's board file (`vm/board.toml`), by name and line.
pub const WIRES: [(&str, u32); 6] =
    [("trigger", 0), ("reject", 8), ("pass", 9), ("ready", 10), ("fault", 11), ("heartbeat", 12)];
/// The configuration of the line in the VM.
pub const CONFIG: &str = "/etc/touchstone/touchstone.toml";

/// What scenarios that go round were told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// So often, if somebody said.
    pub rounds: Option<u32>,
    /// What is random is drawn from this.
    pub seed: u64,
}

/// A VM with everything connected.
#[derive(Debug)]
pub struct Bench {
    /// What this run was told.
    pub plan: Plan,
    /// The machine.
    pub qemu: Qemu,
    /// QEMU's control.
    pub qmp: Qmp,
    /// The shell in the guest, and its eyes.
    pub agent: Agent,
    /// The far end of the port that results come out of.
    pub plc: Uart,
    /// The far end of the port for Modbus.
    pub modbus: Uart,
    /// A port of this host that reaches port 502 of the guest, if this machine has a network.
    pub modbus_port: Option<u16>,
    /// Where logs go.
    pub folder: PathBuf,
    machine: Machine,
    born: Instant,
    clock: GuestClock,
    gpio: String,
    rows: Vec<Row>,
    notes: Vec<(String, String)>,
    device_side_only: Vec<String>,
}

impl Bench {
    /// Boots a machine and connects everything.
    ///
    /// # Errors
    /// It does not come up; the console's end is in the error.
    pub fn boot(machine: &Machine, folder: &Path, plan: Plan) -> Outcome<Bench> {
        let started = Instant::now();
        let qemu = Qemu::start(machine, folder)?;
        // Before the guest is up: what is said to a port that nobody holds is lost.
        let mut agent = Agent::connect(&qemu.socket("agent"), &folder.join("agent.log"))?;
        let qmp = Qmp::connect(&qemu.socket("qmp"))?;
        let plc = Uart::connect("plc", &qemu.socket("plc"))?;
        let modbus = Uart::connect("modbus", &qemu.socket("modbus"))?;
        agent.ready(BOOT_LIMIT).map_err(|why| {
            let console = crate::host::tail(&folder.join("console.log"));
            Fail::Broken(format!("the guest does not come up: {why}{console}"))
        })?;
        let booted = started.elapsed();
        let clock = agent.clock()?;
        let gpio = agent.ok("cat /run/gpio-sim", SHELL_LIMIT)?.trim().to_owned();
        let mut bench = Bench {
            plan,
            qemu,
            qmp,
            agent,
            plc,
            modbus,
            modbus_port: machine.modbus_port,
            folder: folder.to_owned(),
            machine: machine.clone(),
            born: started,
            clock,
            gpio,
            rows: Vec::new(),
            notes: Vec::new(),
            device_side_only: Vec::new(),
        };
        bench.note("boot to agent", format!("{:.1} s", booted.as_secs_f64()));
        let unsure = bench.clock.unsure_us as f64 / 1000.0;
        bench.note("clocks agree within", format!("{unsure:.1} ms"));
        Ok(bench)
    }

    /// The power fails, now. Nothing can be asked of the machine any more.
    ///
    /// # Errors
    /// The system refuses.
    pub fn cut_power(&mut self) -> Outcome<()> {
        self.qemu.cut()
    }

    /// Starts the machine again, with the same disk, after its power was cut. What was noted stays; what was seen
    /// on its wires before is forgotten, because the clock begins anew. The logs before are kept as `before-*`.
    ///
    /// # Errors
    /// As [`Bench::boot`].
    pub fn boot_again(&mut self) -> Outcome<Duration> {
        let started = Instant::now();
        for log in ["console.log", "agent.log"] {
            let (from, to) = (self.folder.join(log), self.folder.join(format!("before-{log}")));
            std::fs::rename(&from, &to).map_err(at("renaming", &from))?;
        }
        let notes = std::mem::take(&mut self.notes);
        *self = Bench::boot(&self.machine.clone(), &self.folder.clone(), self.plan)?;
        self.notes = notes;
        Ok(started.elapsed())
    }

    /// How long ago the machine was started.
    pub fn uptime(&self) -> Duration {
        self.born.elapsed()
    }

    /// Writes that the machine's disk has done since its start.
    ///
    /// # Errors
    /// QEMU does not say.
    pub fn disk_writes(&mut self) -> Outcome<u64> {
        let all = self.qmp.run("query-blockstats", json!({}))?;
        let is_disk = |one: &&Value| {
            one["qdev"].as_str().is_some_and(|path| path.split('/').any(|word| word == "disk"))
        };
        let disk = all.as_array().into_iter().flatten().find(is_disk);
        let writes = disk.and_then(|disk| disk["stats"]["wr_operations"].as_u64());
        writes.ok_or_else(|| Fail::Broken(format!("QEMU's statistics have no disk: {all}")))
    }

    /// Where somebody who wants a look inside finds the VM.
    pub fn where_it_is(&self) -> String {
        format!("QMP {}, logs {}", self.qemu.socket("qmp").display(), self.folder.display())
    }

    /// Something measured or seen that the report should say.
    pub fn note(&mut self, what: &str, value: impl Into<String>) {
        self.notes.push((what.to_owned(), value.into()));
    }

    /// Says that the firmware has no part in what was shown, and what is missing.
    pub fn device_side_only(&mut self, what: &str) {
        self.device_side_only.push(what.to_owned());
    }

    /// What the harness does, into the table.
    pub fn did(&mut self, what: impl Into<String>) {
        self.row(Side::Harness, Instant::now(), what);
    }

    /// What QEMU reported, into the table.
    pub fn machine_said(&mut self, what: impl Into<String>) {
        self.row(Side::Machine, Instant::now(), what);
    }

    fn row(&mut self, side: Side, when: Instant, what: impl Into<String>) {
        let at_us = self.clock.at(when);
        self.rows.push(Row { at_us, side, what: what.into() });
    }

    /// A command line in the guest that must succeed.
    ///
    /// # Errors
    /// It fails, with what it said.
    pub fn sh(&mut self, line: &str) -> Outcome<String> {
        self.agent.ok(line, SHELL_LIMIT)
    }

    /// Adds `text` to the board file in the guest: what only this scenario's board has.
    ///
    /// # Errors
    /// The shell refuses.
    pub fn add_to_board(&mut self, text: &str) -> Outcome<()> {
        // The agent takes one line; printf makes several of it.
        let text = text.trim().replace('\n', "\\n");
        self.sh(&format!("printf '\\n{text}\\n' >> /etc/touchstone/board.toml"))?;
        Ok(())
    }

    /// Waits until the line has said `words` on standard error.
    ///
    /// # Errors
    /// It does not within `limit`; with the end of what it said.
    pub fn line_says(&mut self, words: &str, limit: Duration) -> Outcome<String> {
        let deadline = Instant::now() + limit;
        loop {
            let found = self.agent.sh(&format!("grep '{words}' /run/line.err"), SHELL_LIMIT)?;
            if found.code == 0 {
                return Ok(found.text.trim().to_owned());
            }
            if Instant::now() >= deadline {
                let log = self.line_log()?;
                return Err(Fail::Seen(format!("the line never says '{words}' but: {log}")));
            }
            thread::sleep(LOOK);
        }
    }

    /// Runs `touchstone` to its end.
    ///
    /// # Errors
    /// No answer in time.
    pub fn touchstone(&mut self, words: &str) -> Outcome<Answer> {
        let started = Instant::now();
        let answer = self.agent.sh(&format!("touchstone {words}"), FIRMWARE_LIMIT)?;
        let verb = words.split(' ').next().unwrap_or_default();
        let took = started.elapsed().as_secs_f64();
        self.note(&format!("touchstone {verb}"), format!("{took:.1} s, exit {}", answer.code));
        Ok(answer)
    }

    /// Starts `touchstone WORDS` in the background. Its output is in `/run/line.out` and
    /// `/run/line.err`, its number in `/run/line.pid`, its exit status in `/run/line.code`.
    ///
    /// # Errors
    /// The shell refuses.
    pub fn start_line(&mut self, words: &str) -> Outcome<()> {
        self.sh("rm -f /run/line.*")?;
        // The shell in between waits for it, because somebody has to learn how it ended.
        self.sh(&format!(
            "(touchstone {words} >/run/line.out 2>/run/line.err & echo $! >/run/line.pid; \
             wait $!; echo $? >/run/line.code) >/dev/null 2>&1 &"
        ))?;
        self.did(format!("starts touchstone {words}"));
        Ok(())
    }

    /// Sends the line a signal, by its name.
    ///
    /// # Errors
    /// It is not there any more.
    pub fn signal_line(&mut self, signal: &str) -> Outcome<i64> {
        self.did(format!("sends SIG{signal} to the line"));
        let now = self.clock.at(Instant::now());
        self.sh(&format!("kill -{signal} $(cat /run/line.pid)"))?;
        Ok(now)
    }

    /// Waits for the line to end, and gives back its exit status.
    ///
    /// # Errors
    /// It runs on; with the end of its log.
    pub fn line_ended(&mut self, limit: Duration) -> Outcome<i32> {
        let deadline = Instant::now() + limit;
        loop {
            let answer = self.agent.sh("cat /run/line.code", SHELL_LIMIT)?;
            if let Ok(code) = answer.text.trim().parse() {
                self.did(format!("sees the line end with {code}"));
                return Ok(code);
            }
            if Instant::now() >= deadline {
                let log = self.line_log()?;
                return Err(Fail::Seen(format!("the line still runs after {limit:?}: {log}")));
            }
            thread::sleep(LOOK);
        }
    }

    /// What the line said last on standard error.
    ///
    /// # Errors
    /// No answer.
    pub fn line_log(&mut self) -> Outcome<String> {
        Ok(self.agent.sh("tail -n 20 /run/line.err", SHELL_LIMIT)?.text)
    }

    fn file_of(&self, wire: &str, file: &str) -> Outcome<String> {
        let line = WIRES.iter().find(|(name, _)| *name == wire).map(|(_, line)| line);
        let line = line.ok_or_else(|| Fail::Broken(format!("the board has no wire {wire}")))?;
        Ok(format!("{}/sim_gpio{line}/{file}", self.gpio))
    }

    /// Wires what a machine's resistors do: `up` or `down` when nobody drives the line.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn pull(&mut self, wire: &str, up: bool) -> Outcome<i64> {
        let path = self.file_of(wire, "pull")?;
        self.agent.write(&path, if up { "pull-up" } else { "pull-down" })
    }

    /// Watches all wires of the board from now on.
    ///
    /// # Errors
    /// The chip is not there.
    pub fn watch(&mut self) -> Outcome<()> {
        let wires = WIRES
            .iter()
            .map(|(name, _)| Ok(((*name).to_owned(), self.file_of(name, "value")?)))
            .collect::<Outcome<Vec<_>>>()?;
        self.agent.watch(SAMPLE, &wires)
    }

    /// A part reaches the light barrier. Gives back when, on the guest's clock.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn trigger(&mut self) -> Outcome<i64> {
        let at_us = self.pull("trigger", true)?;
        thread::sleep(TRIGGER_LENGTH);
        self.pull("trigger", false)?;
        Ok(at_us)
    }

    /// The first edge of `wire` to `level` not before `from_us`.
    ///
    /// # Errors
    /// None within `limit`; with the line's log.
    pub fn edge(
        &mut self,
        wire: &str,
        level: bool,
        from_us: i64,
        limit: Duration,
    ) -> Outcome<Edge> {
        let deadline = Instant::now() + limit;
        loop {
            let seen = self.agent.edges()?;
            let wanted = |e: &&Edge| e.wire == wire && e.level == level && e.at_us >= from_us;
            if let Some(edge) = seen.edges.iter().find(wanted) {
                return Ok(edge.clone());
            }
            if Instant::now() >= deadline {
                let way = if level { "rise" } else { "fall" };
                let log = self.line_log()?;
                return Err(Fail::Seen(format!(
                    "{wire} does not {way} within {limit:?}; the line says: {log}"
                )));
            }
            thread::sleep(LOOK);
        }
    }

    /// How often `wire` rose between the two times.
    ///
    /// # Errors
    /// No answer.
    pub fn rises(&mut self, wire: &str, from_us: i64, to_us: i64) -> Outcome<usize> {
        let seen = self.agent.edges()?;
        let within = |e: &&Edge| e.wire == wire && e.level && (from_us..=to_us).contains(&e.at_us);
        Ok(seen.edges.iter().filter(within).count())
    }

    /// The level of every wire now, as it is seen from the other side.
    ///
    /// # Errors
    /// No answer.
    pub fn levels(&mut self) -> Outcome<Vec<(String, bool)>> {
        let mut levels = Vec::new();
        for (name, _) in WIRES {
            let path = self.file_of(name, "value")?;
            levels.push((name.to_owned(), self.sh(&format!("cat {path}"))?.trim() == "1"));
        }
        Ok(levels)
    }

    /// The guest's time now.
    pub fn now_us(&self) -> i64 {
        self.clock.at(Instant::now())
    }

    /// Writes table, notes and the firmware's logs into the folder.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn close(mut self) -> Outcome<Report> {
        // A guest that is down has nothing more to say; what it said before is in the table.
        let edges = self.agent.edges().unwrap_or_default();
        let mut rows = std::mem::take(&mut self.rows);
        rows.extend(rows_of(&edges));
        rows.extend(self.plc.lines().into_iter().map(|line| Row {
            at_us: self.clock.at(line.at),
            side: Side::Serial,
            what: line.text,
        }));
        if edges.samples > 0 {
            let gap = edges.gap_us_max as f64 / 1000.0;
            self.note(
                "wires sampled",
                format!("{} times, {gap:.1} ms apart at most", edges.samples),
            );
        }
        let table = table::render(&table::condense(&rows, "heartbeat"));
        let save = |name: &str, text: &str| {
            let path = self.folder.join(name);
            std::fs::write(&path, text).map_err(at("writing", &path))
        };
        save("edges.txt", &table::render(&rows))?;
        let logs = self.agent.sh("cat /run/line.err; dmesg | tail -n 200", SHELL_LIMIT);
        if let Ok(logs) = logs {
            save("firmware.log", &logs.text)?;
        }
        let verdicts = self.agent.sh("cat /run/line.out", SHELL_LIMIT);
        if let Ok(verdicts) = verdicts {
            save("verdicts.jsonl", &verdicts.text)?;
        }
        Ok(Report { table, notes: self.notes, device_side_only: self.device_side_only })
    }
}

/// What a scenario leaves behind.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The edge table, without every single beat; those are in `edges.txt`.
    pub table: String,
    /// What was measured.
    pub notes: Vec<(String, String)>,
    /// What was shown without the firmware, and what is missing for it.
    pub device_side_only: Vec<String>,
}

fn rows_of(edges: &Edges) -> Vec<Row> {
    let mut known: Vec<&str> = Vec::new();
    let mut rows = Vec::new();
    for edge in &edges.edges {
        let first = !known.contains(&edge.wire.as_str());
        let what = match (first, edge.level) {
            (true, level) => format!("{} is {}", edge.wire, u8::from(level)),
            (false, true) => format!("{} rises", edge.wire),
            (false, false) => format!("{} falls", edge.wire),
        };
        if first {
            known.push(&edge.wire);
        }
        rows.push(Row { at_us: edge.at_us, side: Side::Gpio, what });
    }
    rows
}
