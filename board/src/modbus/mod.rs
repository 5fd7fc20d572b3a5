//! Modbus RTU and TCP: the handshake that a PLC expects. Off unless the board file asks for it.
//!
//! [`map`] is the one table, [`registers`] the state behind it, [`adu`] and [`rtu`] the bytes, all pure; the
//! threads here only carry.

pub mod adu;
pub mod map;
pub mod registers;
pub mod rtu;
pub(crate) mod wires;

use crate::command::{COMMANDS_MAX, Command, Exchange, Request, Source};
use crate::config::{ModbusConfig, SerialConfig};
use crate::io::IoError;
use crate::results::ResultRecord;
use adu::{Commands, Reply};
use registers::Registers;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Results between the line and whoever asks next; the ring behind them is smaller.
pub const QUEUE_MAX: usize = 64;
/// Connections at once; further ones are closed at once.
pub const CONNECTIONS_MAX: usize = 8;
/// Outcomes of commands that nobody has asked for yet: those that wait, and those refused at once.
const OUTCOMES_MAX: usize = 4 * COMMANDS_MAX;

/// What came over the wires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModbusCounts {
    /// Requests answered, exceptions included.
    pub answered: u64,
    /// Frames that were damaged, or for another unit.
    pub ignored: u64,
    /// Connections closed because there were too many.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct Counters {
    answered: AtomicU64,
    ignored: AtomicU64,
    refused: AtomicU64,
}

struct Door {
    registers: Registers,
    results: Receiver<ResultRecord>,
    outcomes: Receiver<(bool, bool)>,
}

/// What the wires' threads share.
struct Shared {
    unit: u8,
    exchange: Exchange,
    door: Mutex<Door>,
    outcomes: SyncSender<(bool, bool)>,
    lost: Arc<AtomicU32>,
    alive: AtomicBool,
    counters: Counters,
}

/// How the bytes of a request are framed.
type Framing = fn(u8, &[u8], &mut Registers) -> (Reply, Commands);

impl Shared {
    /// Answers a request, and hands on what it asks of the line.
    fn handle(&self, framing: Framing, frame: &[u8]) -> Reply {
        let (status, recipes) = (self.exchange.status(), self.exchange.recipes());
        let (reply, commands) = {
            let mut door = self.door.lock().unwrap_or_else(PoisonError::into_inner);
            let Door { registers, results, outcomes } = &mut *door;
            registers.set_status(status, recipes);
            results.try_iter().take(QUEUE_MAX).for_each(|record| registers.publish(record));
            registers.lose(self.lost.swap(0, Ordering::Relaxed));
            let outcomes = outcomes.try_iter().take(OUTCOMES_MAX);
            outcomes.for_each(|(well, trigger)| registers.command_done(well, trigger));
            framing(self.unit, frame, registers)
        };
        for command in commands {
            let trigger = command == Command::Trigger;
            let outcomes = self.outcomes.clone();
            // Whoever answers is the line, which must not wait; the channel holds all that can be under way.
            let answer = move |outcome: Result<String, String>| {
                let _ = outcomes.try_send((outcome.is_ok(), trigger));
            };
            self.exchange.submit(Request::new(command, Source::Modbus, answer));
        }
        let counter =
            if reply.is_empty() { &self.counters.ignored } else { &self.counters.answered };
        counter.fetch_add(1, Ordering::Relaxed);
        reply
    }

    fn alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }
}

/// Modbus at work. Its threads end some moments after it is dropped.
pub struct Modbus {
    results: SyncSender<ResultRecord>,
    lost: Arc<AtomicU32>,
    shared: Arc<Shared>,
    listening: Option<SocketAddr>,
}

impl std::fmt::Debug for Modbus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Modbus").field("listening", &self.listening).finish_non_exhaustive()
    }
}

impl Modbus {
    /// Listens where the board file says. A serial port that is not there yet is opened when it comes.
    ///
    /// # Errors
    /// The TCP address cannot be had: taken, not of this machine, or not permitted; or no thread is left.
    pub fn serve(
        config: &ModbusConfig,
        port: Option<&SerialConfig>,
        exchange: Exchange,
    ) -> Result<Modbus, IoError> {
        let (results, incoming) = sync_channel(QUEUE_MAX);
        let (outcomes, done) = sync_channel(OUTCOMES_MAX);
        let lost = Arc::new(AtomicU32::new(0));
        let door = Door { registers: Registers::default(), results: incoming, outcomes: done };
        let shared = Arc::new(Shared {
            unit: config.unit,
            exchange,
            door: Mutex::new(door),
            outcomes,
            lost: Arc::clone(&lost),
            alive: AtomicBool::new(true),
            counters: Counters::default(),
        });
        let mut modbus = Modbus { results, lost, shared, listening: None };
        if let Some(tcp) = &config.tcp {
            modbus.listening = Some(wires::listen(tcp.listen, &modbus.shared)?);
        }
        if let Some(port) = port {
            wires::serial(port.clone(), &modbus.shared)?;
        }
        Ok(modbus)
    }

    /// Hands a result over without ever waiting; false where it was lost, which sets `overrun`.
    pub fn publish(&self, record: &ResultRecord) -> bool {
        let taken = self.results.try_send(record.clone()).is_ok();
        if !taken {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Where it listens for TCP.
    pub fn listening(&self) -> Option<SocketAddr> {
        self.listening
    }

    /// What came over the wires so far.
    pub fn counts(&self) -> ModbusCounts {
        let Counters { answered, ignored, refused } = &self.shared.counters;
        ModbusCounts {
            answered: answered.load(Ordering::Relaxed),
            ignored: ignored.load(Ordering::Relaxed),
            refused: refused.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Modbus {
    fn drop(&mut self) {
        self.shared.alive.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
