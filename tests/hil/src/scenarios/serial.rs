//! The machine's side of the serial lines and of Modbus: commands with their checksum, a part
//! triggered by command, its result on every wire.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::part::{in_time, set_up, start, stop};
use super::{Extras, Scenario};
use crate::bench::{Bench, PART_LIMIT, SHELL_LIMIT};
use crate::fail::{Fail, Outcome, must};

pub const SCENARIO: Scenario = Scenario {
    name: "serial",
    about: "commands over the serial line, Modbus RTU on the second port, Modbus TCP",
    extras: Extras { network: true, ..Extras::NONE },
    on_aarch64: true,
    run,
};

const REPLY_LIMIT: Duration = Duration::from_secs(30);
/// How often an RTU master asks again: a translated processor may tear a frame apart.
const RTU_TRIES: usize = 10;
const RTU_WAIT: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(100);

const UNIT: u8 = 1;
/// Read one input register, `map_version` at address 0 (board/docs/modbus.md).
const READ_VERSION: [u8; 5] = [4, 0, 0, 0, 1];
/// Read the discrete inputs 0 to 7: `online`, `ready` … `pass`, `reject`.
const READ_INPUTS: [u8; 5] = [2, 0, 0, 0, 8];
const READY: u8 = 0b10;
const VALID: u8 = 1 << 4;
const PASS: u8 = 1 << 6;

fn run(bench: &mut Bench) -> Outcome<()> {
    bench.sh("sed -i 's/\"results\"/\"commands\"/' /etc/touchstone/board.toml")?;
    bench.add_to_board(
        "[[serial]]\nrole = \"modbus\"\npath = \"/dev/ttyModbus\"\nbaud = 115200\n\
         [modbus]\ntcp = true\naddress = \"10.0.2.15\"",
    )?;
    set_up(bench)?;
    start(bench)?;
    commands(bench)?;
    rtu(bench)?;
    let mut tcp = Tcp::connect(bench)?;
    let version = tcp.ask(&READ_VERSION)?;
    must(version.len() == 4 && version[..2] == [4, 2], || format!("map_version: {version:?}"))?;
    let before = tcp.inputs()?;
    must(before & (READY | VALID) == READY, || format!("inputs before a part: {before:#b}"))?;
    let refused = tcp.ask(&[4, 0x27, 0x0F, 0, 1])?;
    must(refused == [0x84, 2], || format!("a wrong address is answered with {refused:?}"))?;
    bench.note("Modbus TCP", "map_version, ready, and the exception for a wrong address");
    triggered_part(bench, &mut tcp)?;
    stop(bench)
}

/// Asked and answered, refused, and damaged.
fn commands(bench: &mut Bench) -> Outcome<()> {
    let status = command(bench, 7, "status")?;
    must(status.contains("ok online=1 ready=1"), || format!("status: {status}"))?;
    let nonsense = command(bench, 8, "dance")?;
    must(nonsense.contains("err unknown command"), || format!("dance: {nonsense}"))?;
    // Noise in front, and a trigger whose checksum is wrong: nobody may act on it.
    bench.did("sends a trigger with a wrong checksum");
    bench.plc.send(b"\xff\x00gibberish>9 trigger*0000\r\n")?;
    let counters = command(bench, 10, "counters")?;
    must(counters.contains("parts=0 "), || format!("after a damaged trigger: {counters}"))?;
    let answered = bench.plc.lines().iter().any(|line| line.text.starts_with("<9 "));
    must(!answered, || "a line with a wrong checksum is answered".to_owned())?;
    let recipes = command(bench, 11, "recipe list")?;
    must(recipes.contains("ok") && recipes.contains("part"), || format!("recipes: {recipes}"))?;
    bench.note("status", status);
    bench.note("recipe list", recipes);
    Ok(())
}

/// A part by command: its result on the serial line, as a pulse and in the Modbus registers.
fn triggered_part(bench: &mut Bench, tcp: &mut Tcp) -> Outcome<()> {
    let heard = bench.plc.lines().len();
    let at = bench.now_us();
    let answer = command(bench, 12, "trigger")?;
    must(answer.starts_with("<12 ok"), || format!("trigger: {answer}"))?;
    let first = |line: &str| line.starts_with("!0 part=0 ");
    let result = in_time(bench.plc.wait(heard, "result", PART_LIMIT, first)?)?;
    must(checked(&result.text), || format!("the result's checksum: {}", result.text))?;
    must(result.text.contains(" pass "), || format!("a good part: {}", result.text))?;
    bench.edge("pass", true, at, SHELL_LIMIT)?;
    let deadline = Instant::now() + REPLY_LIMIT;
    while tcp.inputs()? & (VALID | PASS) != VALID | PASS {
        must(Instant::now() < deadline, || "Modbus has no result of the part".to_owned())?;
        thread::sleep(LOOK);
    }
    bench.did("reads over Modbus: results_valid, pass");
    // results_ack to 1 and back to 0: it has been read.
    for level in [0xFF, 0] {
        let write = [5, 0, 2, level, 0];
        let echo = tcp.ask(&write)?;
        must(echo == write, || format!("results_ack is answered with {echo:?}"))?;
    }
    let after = tcp.inputs()?;
    must(after & VALID == 0, || format!("inputs after results_ack: {after:#b}"))?;
    bench.note("result", result.text);
    Ok(())
}

/// Sends a command and gives back the reply with its number.
pub(super) fn command(bench: &mut Bench, sequence: u32, verb: &str) -> Outcome<String> {
    let heard = bench.plc.lines().len();
    send(bench, sequence, verb)?;
    reply(bench, heard, sequence, REPLY_LIMIT)
}

/// Sends a command.
pub(super) fn send(bench: &mut Bench, sequence: u32, verb: &str) -> Outcome<()> {
    let body = format!("{sequence} {verb}");
    bench.did(format!("commands {body}"));
    bench.plc.send(format!(">{body}*{:04X}\r\n", crc_serial(body.as_bytes())).as_bytes())
}

/// Waits for the reply to a command among the lines from number `heard` on.
pub(super) fn reply(
    bench: &mut Bench,
    heard: usize,
    sequence: u32,
    limit: Duration,
) -> Outcome<String> {
    let mark = format!("<{sequence} ");
    let reply = bench.plc.wait(heard, &mark, limit, |line| line.starts_with(&mark))?;
    must(checked(&reply.text), || format!("the reply's checksum: {}", reply.text))?;
    Ok(reply.text)
}

/// Whether a line with mark and checksum is whole.
pub(super) fn checked(line: &str) -> bool {
    let parts = line.get(1..).and_then(|line| line.rsplit_once('*'));
    parts.is_some_and(|(body, sum)| sum == format!("{:04X}", crc_serial(body.as_bytes())))
}

/// Asks for the map's version on the second port until it is answered.
fn rtu(bench: &mut Bench) -> Outcome<()> {
    let mut frame = vec![UNIT];
    frame.extend(READ_VERSION);
    frame.extend(crc_modbus(&frame).to_le_bytes());
    for tries in 1..=RTU_TRIES {
        bench.modbus.take_bytes();
        bench.modbus.send(&frame)?;
        thread::sleep(RTU_WAIT);
        let answer = bench.modbus.take_bytes();
        if answer.len() == 7 {
            let (body, sum) = answer.split_at(5);
            must(sum == crc_modbus(body).to_le_bytes(), || format!("RTU's checksum: {answer:?}"))?;
            must(body[..3] == [UNIT, 4, 2], || format!("RTU's answer: {answer:?}"))?;
            bench.note("Modbus RTU", format!("map_version {} at try {tries}", body[4]));
            return Ok(());
        }
    }
    Err(Fail::Seen(format!("no answer over Modbus RTU to {frame:?}, asked {RTU_TRIES} times")))
}

/// A Modbus master over the network.
struct Tcp {
    stream: TcpStream,
    transaction: u16,
}

impl Tcp {
    fn connect(bench: &Bench) -> Outcome<Tcp> {
        let port = bench.modbus_port;
        let port = port.ok_or_else(|| Fail::Broken("this machine has no network".to_owned()))?;
        let stream = TcpStream::connect(("127.0.0.1", port)).and_then(|stream| {
            stream.set_read_timeout(Some(REPLY_LIMIT))?;
            Ok(stream)
        });
        let stream = stream.map_err(|e| Fail::Seen(format!("Modbus TCP: {e}")))?;
        Ok(Tcp { stream, transaction: 0 })
    }

    /// One request, without its header; the answer, without its own.
    fn ask(&mut self, request: &[u8]) -> Outcome<Vec<u8>> {
        self.transaction += 1;
        let mut frame = self.transaction.to_be_bytes().to_vec();
        frame.extend([0, 0, 0, request.len() as u8 + 1, UNIT]);
        frame.extend(request);
        let mut head = [0; 7];
        let mut body = Vec::new();
        let done = self.stream.write_all(&frame).and_then(|()| {
            self.stream.read_exact(&mut head)?;
            body.resize(usize::from(u16::from_be_bytes([head[4], head[5]])).saturating_sub(1), 0);
            self.stream.read_exact(&mut body)
        });
        done.map_err(|e| Fail::Seen(format!("Modbus TCP, {request:?}: {e}")))?;
        let same = head[..4] == frame[..4] && head[6] == UNIT;
        must(same, || format!("Modbus TCP, {request:?}: answered {head:?}"))?;
        Ok(body)
    }

    fn inputs(&mut self) -> Outcome<u8> {
        match self.ask(&READ_INPUTS)?.as_slice() {
            [2, 1, bits] => Ok(*bits),
            other => Err(Fail::Seen(format!("the discrete inputs read {other:?}"))),
        }
    }
}

/// CRC-16/IBM-3740, written from `board/docs/serial.md` and not taken from the firmware.
fn crc_serial(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            (crc << 1) ^ if crc >> 15 == 1 { 0x1021 } else { 0 }
        })
    })
}

/// CRC-16/MODBUS.
fn crc_modbus(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xA001 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_have_their_published_check_values() {
        assert_eq!(crc_serial(b"123456789"), 0x29B1);
        assert_eq!(crc_modbus(b"123456789"), 0x4B37);
    }

    #[test]
    fn a_damaged_line_is_not_whole() {
        assert!(checked(">17 trigger*9BF3"));
        assert!(!checked(">18 trigger*9BF3") && !checked(">17 trigger") && !checked(""));
    }
}
