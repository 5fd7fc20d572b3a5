//! QEMU's own control: devices in and out, what the screen shows, what the machine reports.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fail::{Fail, Outcome};
use crate::wire::Wire;

const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A connection to QEMU's monitor.
#[derive(Debug)]
pub struct Qmp {
    wire: Wire,
    /// Events that came while something else was waited for.
    events: Vec<Value>,
}

impl Qmp {
    /// Connects and leaves the state in which only negotiation is possible.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn connect(socket: &Path) -> Outcome<Qmp> {
        let mut qmp = Qmp { wire: Wire::connect("qmp", socket)?, events: Vec::new() };
        qmp.wire.line(Instant::now() + ANSWER_LIMIT)?;
        qmp.run("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and gives back what it returns.
    ///
    /// # Errors
    /// QEMU refuses, with its reason.
    pub fn run(&mut self, command: &str, arguments: Value) -> Outcome<Value> {
        let line = json!({ "execute": command, "arguments": arguments }).to_string() + "\n";
        self.wire.send(line.as_bytes())?;
        let deadline = Instant::now() + ANSWER_LIMIT;
        loop {
            let mut answer = self.read(deadline)?;
            if answer.get("event").is_some() {
                self.events.push(answer);
            } else if let Some(error) = answer.get("error") {
                return Err(Fail::Seen(format!("QEMU refuses {command}: {error}")));
            } else {
                return Ok(answer.get_mut("return").map_or(Value::Null, Value::take));
            }
        }
    }

    /// Waits for an event by its name.
    ///
    /// # Errors
    /// It does not come within `limit`.
    pub fn event(&mut self, name: &str, limit: Duration) -> Outcome<Value> {
        let is = |event: &Value| event.get("event").and_then(Value::as_str) == Some(name);
        if let Some(known) = self.events.iter().position(is) {
            return Ok(self.events.remove(known));
        }
        let deadline = Instant::now() + limit;
        loop {
            let message = self.read(deadline).map_err(|why| {
                Fail::Seen(format!("QEMU reports no {name} within {limit:?} ({why})"))
            })?;
            if is(&message) {
                return Ok(message);
            }
            self.events.push(message);
        }
    }

    fn read(&mut self, deadline: Instant) -> Outcome<Value> {
        let line = self.wire.line(deadline)?;
        serde_json::from_str(&line)
            .map_err(|e| Fail::Broken(format!("QEMU's monitor says '{line}': {e}")))
    }
}
