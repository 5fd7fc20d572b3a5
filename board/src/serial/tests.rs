use super::protocol::{Kind, Lines, emit};
use super::test_wire::{PATIENCE, Wire, until};
use super::*;
use crate::command::{Command, Exchange};
use crate::config::SerialRole;
use crate::faults::{FaultySink, SinkFaults};
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};

/// Hands every written line to the test: says that it has it, waits at a gate, and gives it away.
struct Gated {
    arrived: Sender<()>,
    gate: Arc<(Mutex<bool>, Condvar)>,
    lines: Sender<String>,
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.arrived.send(()).unwrap();
        let mut open = self.gate.0.lock().unwrap();
        while !*open {
            open = self.gate.1.wait(open).unwrap();
        }
        self.lines.send(String::from_utf8_lossy(bytes).into_owned()).unwrap();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stuck_port_drops_and_the_numbers_show_it() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let (sender, lines) = channel();
    let (arrived, arrivals) = channel();
    let sink = Gated { arrived, gate: Arc::clone(&gate), lines: sender };
    let mut port = ResultPort::to("test", sink).unwrap();
    // The first is in the writer's hands before the queue fills: from then on nobody takes from it.
    assert!(port.send("part 0"));
    arrivals.recv().unwrap();
    let sent = 1 + (1..QUEUE_MAX + 10).filter(|i| port.send(&format!("part {i}"))).count();
    assert_eq!(sent, QUEUE_MAX + 1);
    assert_eq!(port.counts().dropped as usize, QUEUE_MAX + 10 - sent);
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    for i in 0..sent {
        assert_eq!(lines.recv().unwrap(), emit(Kind::Result, i as u32, &format!("part {i}")));
    }
    assert!(port.send("reject\nscratch"));
    assert_eq!(lines.recv().unwrap(), emit(Kind::Result, QUEUE_MAX as u32 + 10, "reject scratch"));
}

#[test]
fn a_port_that_another_has_or_that_is_not_ours_says_what_to_do() {
    let said = |kind, text: &str| refusal(&serialport::Error::new(kind, text));
    let busy = serialport::ErrorKind::Io(io::ErrorKind::ResourceBusy);
    for kind in [serialport::ErrorKind::NoDevice, busy] {
        let why = said(kind, "Device or resource busy");
        assert!(why.contains("in use by another program (Device or resource busy)"), "{why}");
        assert!(why.contains("fuser"), "{why}");
    }
    let denied = serialport::ErrorKind::Io(io::ErrorKind::PermissionDenied);
    assert!(said(denied, "Permission denied").contains("group \"dialout\""));
}

#[test]
fn a_missing_port_is_named() {
    let config = |path: &str| SerialConfig {
        role: SerialRole::Results,
        path: PathBuf::from(path),
        baud: 9600,
    };
    let error = ResultPort::open(&config("/dev/ttyUSB4711")).unwrap_err().to_string();
    assert!(error.starts_with("/dev/ttyUSB4711: no such serial port; here: "), "{error}");
    let error = ResultPort::open(&config("/dev/null")).unwrap_err().to_string();
    assert!(error.starts_with("/dev/null: "), "{error}");
}

/// Every line of a kind that comes out of the far end, from a thread that ends with the pty.
fn lines(far: &File, kind: Kind) -> Receiver<(u32, String)> {
    let mut far = far.try_clone().unwrap();
    let (told, heard) = channel();
    std::thread::spawn(move || {
        let (mut finder, mut bytes) = (Lines::new(kind), [0; 64]);
        while let Ok(n @ 1..) = far.read(&mut bytes) {
            for line in bytes[..n].iter().filter_map(|b| finder.push(*b)).flatten() {
                if told.send(line).is_err() {
                    return;
                }
            }
        }
    });
    heard
}

#[test]
fn commands_get_through_noise_and_are_answered() {
    let wire = Wire::new();
    let mut far = wire.plug();
    let replies = lines(&far, Kind::Reply);
    let (exchange, requests) = Exchange::new();
    let port = ResultPort::serve(&wire.config(SerialRole::Commands), Some(exchange)).unwrap();
    // Before the port is open its settings are a terminal's, which echoes: ask until it hears.
    let status = emit(Kind::Command, 1, "status");
    until("first command heard", || {
        far.write_all(status.as_bytes()).unwrap();
        port.counts().commands > 0
    });
    far.write_all(b"\xff\x00>7 tri>9 trigger*0000\n>rubbish\n").unwrap();
    far.write_all(emit(Kind::Command, 41, "trigger").as_bytes()).unwrap();
    far.write_all(emit(Kind::Command, 42, "set threshold 9").as_bytes()).unwrap();
    let request = requests.recv_timeout(PATIENCE).unwrap();
    assert_eq!(request.command(), &Command::Trigger);
    request.answer(Ok("part 3".to_owned()));
    let mut wanted = vec![(41, "ok part 3"), (42, "err unknown command")];
    while !wanted.is_empty() {
        let (sequence, text) = replies.recv_timeout(PATIENCE).unwrap();
        wanted.retain(|(number, begin)| *number != sequence || !text.starts_with(begin));
    }
    assert!(port.counts().noise >= 3, "{:?}", port.counts());
}

#[test]
fn a_port_that_vanishes_is_opened_again() {
    let wire = Wire::new();
    let config = wire.config(SerialRole::Results);
    // Not there at first, as an adapter that is plugged in later.
    let mut port = ResultPort::serve(&config, None).unwrap();
    port.send("nobody");
    until("failure counted", || port.counts().failed > 0);
    for round in 1..=2 {
        let far = wire.plug();
        let heard = lines(&far, Kind::Result);
        until("back", || port.counts().reconnects == round);
        port.send("here");
        assert_eq!(heard.recv_timeout(PATIENCE).unwrap().1, "here");
        // The reading clone has to go too, and does with the next line that it cannot hand over.
        drop(heard);
        port.send("last");
        drop(far);
        until("loss noticed", || {
            let before = port.counts().failed;
            port.send("gone");
            std::thread::sleep(Duration::from_millis(20));
            port.counts().failed > before
        });
    }
}

#[test]
fn a_reader_that_does_not_read_never_holds_up_the_sender() {
    let wire = Wire::new();
    let far = wire.plug();
    let mut port = ResultPort::open(&wire.config(SerialRole::Results)).unwrap();
    // A pty holds some kilobytes; after them and the queue there is no place left.
    let text = "x".repeat(200);
    until("drops", || {
        port.send(&text);
        port.counts().dropped > 100
    });
    // With somebody reading, results come again, whole and with a gap in their numbers.
    let heard = lines(&far, Kind::Result);
    let mut numbers = Vec::new();
    until("a gap", || {
        port.send(&text);
        numbers.extend(heard.try_iter().map(|(number, _)| number));
        numbers.windows(2).any(|pair| pair[1] > pair[0] + 1)
    });
    assert!(numbers.windows(2).all(|pair| pair[1] > pair[0]));
}

#[test]
fn what_a_faulty_wire_lets_through_is_whole() {
    let (arrived, _arrivals) = channel();
    let (told, heard) = channel();
    let gate = Arc::new((Mutex::new(true), Condvar::new()));
    let faults = SinkFaults { corrupt: 0.002, short: 0.3, timeout: 0.05, ..SinkFaults::default() };
    let sink = FaultySink::new(Gated { arrived, gate, lines: told }, faults, 11);
    let mut port = ResultPort::to("faulty", sink).unwrap();
    let total = 2_000u32;
    for i in 0..total {
        let part = format!("part {i}");
        // The queue is bounded; here the test waits for it so that every loss is the wire's.
        until("a place", || {
            let counts = port.counts();
            u64::from(i) - counts.written - counts.dropped - counts.failed < QUEUE_MAX as u64 / 2
        });
        assert!(port.send(&part));
    }
    drop(port);
    let (mut finder, mut whole, mut damaged) = (Lines::new(Kind::Result), 0u32, 0u32);
    for piece in heard.iter() {
        for line in piece.bytes().filter_map(|b| finder.push(b)) {
            match line {
                Ok((sequence, text)) => {
                    assert_eq!(text, format!("part {sequence}"));
                    whole += 1;
                }
                Err(_) => damaged += 1,
            }
        }
    }
    assert!(whole > total / 2 && damaged > 0, "{whole} whole, {damaged} damaged");
}
