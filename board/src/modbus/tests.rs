use super::registers::Refusal;
use super::*;
use crate::command::RecipeName;
use crate::config::{SerialRole, TcpConfig};
use crate::results::{Counters as LineCounters, Status, cut};
use crate::serial::test_wire::{PATIENCE, Wire, until};
use map::Space;
use proptest::prelude::*;
use rmodbus::ModbusProto;
use rmodbus::client::ModbusRequest;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const UNIT: u8 = 7;

fn record(part: u64, pass: bool) -> ResultRecord {
    ResultRecord::new(part, pass, "scratch", 1.5, 0.25, 70_000)
}

fn line() -> (Status, Vec<RecipeName>) {
    let counters = LineCounters { parts: 70_000, passed: 3, ..LineCounters::default() };
    let status = Status {
        online: true,
        ready: true,
        recipe: cut("b"),
        identity: [1, 2, 3, 4, 5, 6, 7, 8],
        counters,
        ..Status::default()
    };
    (status, ["a", "b"].map(|name| RecipeName::new(name).unwrap()).to_vec())
}

fn registers() -> Registers {
    let mut registers = Registers::default();
    let (status, recipes) = line();
    registers.set_status(status, recipes);
    registers
}

fn words(registers: &Registers, first: u16, count: u16) -> Vec<u16> {
    (first..first + count).map(|at| registers.word(Space::Input, at).unwrap()).collect()
}

#[test]
fn every_address_of_the_map_answers_and_no_other() {
    let registers = registers();
    for space in Space::ALL {
        for address in 0..400 {
            let known = map::find(space, address).is_some();
            let answer = match space {
                Space::Coil | Space::Discrete => registers.bit(space, address).map(u16::from),
                Space::Input | Space::Holding => registers.word(space, address),
            };
            assert_eq!(answer.is_ok(), known, "{space:?} {address}: {answer:?}");
        }
    }
    assert_eq!(words(&registers, 0, 4), [map::VERSION, 0, 2, 1]);
    assert_eq!(words(&registers, 4, 6), [0x0102, 0x0304, 0x0506, 0x0708, 1, 4464]);
}

#[test]
fn results_are_handed_over_one_by_one() {
    let mut registers = registers();
    let bit = |r: &Registers, at| r.bit(Space::Discrete, at).unwrap();
    assert!(!bit(&registers, 4));
    registers.publish(record(65_537, true));
    registers.publish(record(2, false));
    assert_eq!((bit(&registers, 4), bit(&registers, 6), bit(&registers, 7)), (true, true, false));
    let score = 1.5f32.to_bits();
    let p = 0.25f32.to_bits();
    let half = |v: u32| [(v >> 16) as u16, v as u16];
    let first: Vec<u16> = [&[0, 1, 1, 1][..], &half(score), &half(p), &half(70_000)].concat();
    assert_eq!(words(&registers, 100, 10), first);
    assert_eq!(registers.word(Space::Input, 113), Ok(2));
    assert_eq!(words(&registers, 200, 4), [0x7363, 0x7261, 0x7463, 0x6800]);
    let toggle = bit(&registers, 9);
    assert_eq!(registers.write_bits(2, &[true]).unwrap().len(), 0);
    assert_eq!((bit(&registers, 9), bit(&registers, 7)), (!toggle, true));
    // Held at 1 it acknowledges nothing more.
    registers.write_bits(2, &[true]).unwrap();
    assert!(bit(&registers, 4));
    registers.write_bits(2, &[false]).unwrap();
    registers.write_bits(2, &[true]).unwrap();
    assert!(!bit(&registers, 4));
    registers.publish(record(3, true));
    assert_eq!(bit(&registers, 9), toggle, "each oldest result toggles once");
}

#[test]
fn a_full_ring_loses_the_newest_and_says_so() {
    let mut registers = registers();
    for part in 0..map::RING as u64 + 2 {
        registers.publish(record(part, true));
    }
    assert_eq!(registers.word(Space::Input, 1), Ok(8));
    assert_eq!(words(&registers, 20, 2), [0, 2]);
    assert_eq!(registers.bit(Space::Discrete, 5), Ok(true));
    let asked = registers.write_bits(4, &[true]).unwrap();
    assert_eq!(asked.as_slice(), [Command::Acknowledge]);
    assert_eq!(registers.bit(Space::Discrete, 5), Ok(false));
    registers.write_bits(2, &[true]).unwrap();
    registers.publish(record(99, true));
    assert_eq!(registers.word(Space::Input, 170), Ok(10), "the gap shows in the numbers");
}

#[test]
fn commands_come_from_rising_bits() {
    let mut registers = registers();
    assert_eq!(registers.write_bits(1, &[true]).unwrap().len(), 0, "not enabled");
    assert_eq!(registers.bit(Space::Discrete, 3), Ok(true), "missed");
    registers.write_bits(0, &[true, false]).unwrap();
    assert_eq!(registers.write_bits(1, &[true]).unwrap().as_slice(), [Command::Trigger]);
    assert_eq!(registers.bit(Space::Discrete, 10), Ok(true), "waits for its outcome");
    assert_eq!(registers.write_bits(1, &[true]).unwrap().len(), 0);
    registers.command_done(false, true);
    assert_eq!(registers.bit(Space::Discrete, 11), Ok(true));
    registers.write_words(0, &[2]).unwrap();
    assert_eq!(registers.write_bits(5, &[true]), Err(Refusal::Value));
    registers.write_words(0, &[1]).unwrap();
    let wanted = Command::RecipeActivate(RecipeName::new("b").unwrap());
    assert_eq!(registers.write_bits(5, &[true]).unwrap().as_slice(), [wanted]);
    assert_eq!(registers.write_bits(3, &[true, true, false, true]), Err(Refusal::Address));
    assert_eq!(registers.bit(Space::Coil, 3), Ok(false), "nothing of it was done");
    assert_eq!(registers.write_words(0, &[0, 0]), Err(Refusal::Address));
    assert_eq!(registers.word(Space::Holding, 0), Ok(1));
}

/// With the specification's own example: unit 1, function 3.
#[test]
fn the_checksum_is_the_published_one() {
    assert_eq!(adu::crc(b"123456789"), 0x4B37);
}

fn tcp_frame(body: &[u8]) -> Vec<u8> {
    [&[0xAB, 0xCD, 0, 0, 0, body.len() as u8][..], body].concat()
}

fn rtu_frame(body: &[u8]) -> Vec<u8> {
    [body, &adu::crc(body).to_le_bytes()].concat()
}

#[test]
fn literal_bytes_in_and_out() {
    let mut registers = registers();
    let ask =
        |registers: &mut Registers, body: &[u8]| adu::tcp(UNIT, &tcp_frame(body), registers).0;
    assert_eq!(
        ask(&mut registers, &[UNIT, 2, 0, 0, 0, 12]).as_slice(),
        [0xAB, 0xCD, 0, 0, 0, 5, UNIT, 2, 2, 0b11, 0]
    );
    assert_eq!(
        ask(&mut registers, &[UNIT, 4, 0, 2, 0, 2]).as_slice(),
        [0xAB, 0xCD, 0, 0, 0, 7, UNIT, 4, 4, 0, 2, 0, 1]
    );
    let refused = |code: u8, function: u8| [0xAB, 0xCD, 0, 0, 0, 3, UNIT, function | 0x80, code];
    assert_eq!(ask(&mut registers, &[UNIT, 4, 0, 21, 0, 2]).as_slice(), refused(2, 4));
    assert_eq!(ask(&mut registers, &[UNIT, 4, 0, 0, 0, 0]).as_slice(), refused(3, 4));
    assert_eq!(ask(&mut registers, &[UNIT, 17]).as_slice(), refused(1, 17));
    assert_eq!(ask(&mut registers, &[UNIT, 5, 0, 0, 0x12, 0]).as_slice(), refused(3, 5));
    assert_eq!(ask(&mut registers, &[UNIT, 6, 0, 1, 0, 9]).as_slice(), refused(2, 6));
    assert!(ask(&mut registers, &[UNIT + 1, 4, 0, 0, 0, 1]).is_empty());
    assert!(ask(&mut registers, &[0, 5, 0, 0, 0xFF, 0]).is_empty(), "spoken to everybody");
    let written = [UNIT, 16, 0, 0, 0, 1, 2, 0, 1];
    let (reply, _) = adu::rtu(UNIT, &rtu_frame(&written), &mut registers);
    assert_eq!(reply.as_slice(), rtu_frame(&written[..6]));
    assert_eq!(registers.word(Space::Holding, 0), Ok(1));
    let mut damaged = rtu_frame(&written);
    damaged[8] ^= 1;
    assert!(adu::rtu(UNIT, &damaged, &mut registers).0.is_empty());
}

proptest! {
    #[test]
    fn no_request_panics_and_every_sound_one_is_answered_in_kind(
        function in 0u8..24,
        rest in proptest::collection::vec(any::<u8>(), 0..254),
        small in any::<bool>(),
    ) {
        let mut body = [&[UNIT, function][..], &rest].concat();
        if small {
            // Mostly within the map, so that more than the first check is reached.
            for at in [2, 4] {
                if let Some(byte) = body.get_mut(at) { *byte = 0; }
            }
        }
        body.truncate(254);
        let mut registers = registers();
        let (by_tcp, asked) = adu::tcp(UNIT, &tcp_frame(&body), &mut registers.clone());
        prop_assert!(by_tcp.len() >= 9 && by_tcp[7] & 0x7F == function & 0x7F, "{by_tcp:?}");
        prop_assert_eq!(adu::tcp_length(&by_tcp), Some(by_tcp.len()));
        prop_assert!(asked.len() <= 4);
        let (by_rtu, asked_rtu) = adu::rtu(UNIT, &rtu_frame(&body), &mut registers);
        prop_assert_eq!(&by_rtu[..by_rtu.len() - 2], &by_tcp[6..]);
        prop_assert_eq!(asked, asked_rtu);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut registers = registers();
        let _ = adu::tcp_length(&bytes);
        adu::tcp(UNIT, &bytes, &mut registers);
        adu::rtu(UNIT, &bytes, &mut registers);
    }

    #[test]
    fn however_bytes_arrive_the_frame_is_the_same(
        frame in proptest::collection::vec(any::<u8>(), 1..250),
        cuts in proptest::collection::vec(1usize..40, 1..40),
    ) {
        let mut framer = rtu::Framer::new(19_200);
        let (mut at, mut rest) = (0i64, &frame[..]);
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(*cut));
            prop_assert_eq!(framer.receive(crate::Timestamp(at), piece), None);
            at += 1_000;
            rest = after;
            if rest.is_empty() { break; }
        }
        let whole = framer.poll(crate::Timestamp(at + 10_000));
        prop_assert_eq!(whole.as_deref(), Some(&frame[..]));
    }
}

/// An exchange at which the line of [`line`] has said how it is.
fn exchange() -> (Exchange, Receiver<Request>) {
    let (exchange, requests) = Exchange::new();
    let (status, recipes) = line();
    assert!(exchange.publish(&status));
    exchange.set_recipes(recipes);
    (exchange, requests)
}

fn serve() -> (Modbus, Exchange, Receiver<Request>) {
    let (exchange, requests) = exchange();
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = ModbusConfig { unit: UNIT, tcp: Some(TcpConfig { listen }) };
    (Modbus::serve(&config, None, exchange.clone()).unwrap(), exchange, requests)
}

/// With `rmodbus`' own client, which shares no code with the server side.
fn bits(stream: &mut TcpStream, first: u16, count: u16) -> Vec<bool> {
    let mut request = ModbusRequest::new(UNIT, ModbusProto::TcpUdp);
    let mut frame: heapless::Vec<u8, 260> = heapless::Vec::new();
    request.generate_get_discretes(first, count, &mut frame).unwrap();
    stream.write_all(&frame).unwrap();
    let reply = reply(stream);
    let mut found: heapless::Vec<bool, 64> = heapless::Vec::new();
    request.parse_bool(&reply, &mut found).unwrap();
    found.to_vec()
}

fn set(stream: &mut TcpStream, coil: u16, value: bool) {
    let mut request = ModbusRequest::new(UNIT, ModbusProto::TcpUdp);
    let mut frame: heapless::Vec<u8, 260> = heapless::Vec::new();
    request.generate_set_coil(coil, value, &mut frame).unwrap();
    stream.write_all(&frame).unwrap();
    request.parse_ok(&reply(stream)).unwrap();
}

fn reply(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; adu::TCP_HEADER];
    stream.read_exact(&mut bytes).unwrap();
    bytes.resize(adu::tcp_length(&bytes).unwrap(), 0);
    stream.read_exact(&mut bytes[adu::TCP_HEADER..]).unwrap();
    bytes
}

fn call(modbus: &Modbus) -> TcpStream {
    let stream = TcpStream::connect(modbus.listening().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn a_plc_triggers_reads_and_acknowledges_over_tcp() {
    let (modbus, _exchange, requests) = serve();
    let mut plc = call(&modbus);
    assert_eq!(bits(&mut plc, 0, 5), [true, true, false, false, false]);
    set(&mut plc, 0, true);
    set(&mut plc, 1, true);
    assert!(bits(&mut plc, 10, 1)[0], "waits");
    let request = requests.recv_timeout(PATIENCE).unwrap();
    assert_eq!((request.command(), request.from()), (&Command::Trigger, Source::Modbus));
    request.answer(Ok(String::new()));
    assert_eq!(bits(&mut plc, 10, 2), [false, false]);
    assert!(modbus.publish(&record(1, false)));
    assert_eq!(bits(&mut plc, 4, 4), [true, false, false, true]);
    set(&mut plc, 2, true);
    assert!(!bits(&mut plc, 4, 1)[0]);
}

/// A PLC at the far end of a serial line.
struct RtuPlc(File);

impl RtuPlc {
    /// What has come when nothing more does within the time that a PLC waits.
    fn hear(&mut self, wait_ms: i64) -> Vec<u8> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let wait = Timespec { tv_sec: 0, tv_nsec: wait_ms * 1_000_000 };
        let (mut heard, mut buffer) = (Vec::new(), [0; 256]);
        loop {
            let comes = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&wait)).unwrap() > 0;
            match comes.then(|| self.0.read(&mut buffer)) {
                Some(Ok(n @ 1..)) => heard.extend_from_slice(&buffer[..n]),
                Some(_) | None => return heard,
            }
        }
    }

    fn ask(&mut self, frame: &[u8]) -> Vec<u8> {
        self.hear(0);
        self.0.write_all(frame).unwrap();
        self.hear(300)
    }

    fn ready(&mut self) -> Option<bool> {
        let mut request = ModbusRequest::new(UNIT, ModbusProto::Rtu);
        let mut frame: heapless::Vec<u8, 260> = heapless::Vec::new();
        request.generate_get_discretes(1, 1, &mut frame).unwrap();
        let reply = self.ask(&frame);
        let mut found: heapless::Vec<bool, 64> = heapless::Vec::new();
        // Before the port is open the line is a terminal's, which echoes.
        (reply != frame.as_slice() && request.parse_bool(&reply, &mut found).is_ok())
            .then(|| found[0])
    }

    fn set(&mut self, coil: u16) -> bool {
        let mut request = ModbusRequest::new(UNIT, ModbusProto::Rtu);
        let mut frame: heapless::Vec<u8, 260> = heapless::Vec::new();
        request.generate_set_coil(coil, true, &mut frame).unwrap();
        let reply = self.ask(&frame);
        request.parse_ok(&reply).is_ok()
    }
}

#[test]
fn a_plc_on_a_serial_line_is_heard_through_noise_and_after_its_wire_was_out() {
    let (exchange, requests) = exchange();
    let wire = Wire::new();
    let mut plc = RtuPlc(wire.plug());
    let config = ModbusConfig { unit: UNIT, tcp: None };
    let port = wire.config(SerialRole::Modbus);
    let modbus = Modbus::serve(&config, Some(&port), exchange.clone()).unwrap();
    until("first answer", || plc.ready() == Some(true));

    // Damaged on the way, or for somebody else: nobody answers.
    let mut damaged = rtu_frame(&[UNIT, 2, 0, 1, 0, 1]);
    *damaged.last_mut().unwrap() ^= 1;
    assert!(plc.ask(&damaged).is_empty());
    assert!(plc.ask(&rtu_frame(&[UNIT + 1, 2, 0, 1, 0, 1])).is_empty());
    assert_eq!(modbus.counts().ignored, 2);

    until("online", || plc.set(0));
    until("trigger", || plc.set(1));
    let request = requests.recv_timeout(PATIENCE).unwrap();
    assert_eq!((request.command(), request.from()), (&Command::Trigger, Source::Modbus));
    request.answer(Ok(String::new()));

    drop(plc);
    let mut plc = RtuPlc(wire.plug());
    until("answer after the wire was out", || plc.ready() == Some(true));
}

#[test]
fn nobody_asking_never_holds_up_the_line() {
    let (modbus, ..) = serve();
    let taken = (0..200).filter(|part| modbus.publish(&record(*part, true))).count();
    assert_eq!(taken, QUEUE_MAX);
    let mut plc = call(&modbus);
    assert_eq!(bits(&mut plc, 4, 2), [true, true], "valid, and overrun");
}

#[test]
fn connections_are_bounded_and_their_places_come_back() {
    let (modbus, ..) = serve();
    let mut plcs: Vec<TcpStream> = (0..CONNECTIONS_MAX).map(|_| call(&modbus)).collect();
    for plc in &mut plcs {
        assert_eq!(bits(plc, 0, 1), [true]);
    }
    let mut one_more = call(&modbus);
    assert_eq!(one_more.read(&mut [0]).unwrap_or(0), 0, "closed at once");
    assert_eq!(modbus.counts().refused, 1);
    // Rubbish ends a conversation too.
    plcs[0].write_all(&[9; 12]).unwrap();
    assert_eq!(plcs[0].read(&mut [0]).unwrap_or(0), 0);
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < PATIENCE, "no place came back");
        let mut plc = call(&modbus);
        plc.write_all(&tcp_frame(&[UNIT, 2, 0, 0, 0, 1])).unwrap();
        if matches!(plc.read(&mut [0]), Ok(1)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_address_that_cannot_be_had_is_named() {
    let (modbus, exchange, _requests) = serve();
    let taken = modbus.listening().unwrap();
    let config = ModbusConfig { unit: UNIT, tcp: Some(TcpConfig { listen: taken }) };
    let error = Modbus::serve(&config, None, exchange.clone()).unwrap_err().to_string();
    assert!(error.contains(&taken.to_string()) && error.contains("in use"), "{error}");
    let listen = "192.0.2.1:1502".parse().unwrap();
    let config = ModbusConfig { unit: UNIT, tcp: Some(TcpConfig { listen }) };
    let error = Modbus::serve(&config, None, exchange).unwrap_err().to_string();
    assert!(error.contains("correct [modbus] address"), "{error}");
}
