//! What a PLC, or somebody who is none, sends over TCP and RTU, against the register table.
//!
//! The input is a script: a byte says what happens, the next ones with what ([`Bench::step`]).

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use touchstone_board::Timestamp;
use touchstone_board::command::{Command, RECIPES_MAX, RecipeName};
use touchstone_board::modbus::adu::{self, Commands, FRAME_BYTES_MAX, RTU_BYTES_MAX, TCP_HEADER};
use touchstone_board::modbus::map::{self, MAP, RESULT_WORDS, Space, WRITABLE};
use touchstone_board::modbus::registers::Registers;
use touchstone_board::modbus::rtu::Framer;
use touchstone_board::results::{Counters, ResultRecord, Status, cut};
use touchstone_fuzz::heap;

const UNIT: u8 = 7;
/// Most bytes held by a script's run, its own copies for comparison included.
const HEAP_MAX: usize = 64 << 10;
/// First word of the ring of results.
const RESULTS: u16 = 100;

/// Bytes of the input, in turn.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// At most so many, as a length byte says.
    fn bytes(&mut self, most: usize) -> Option<&'a [u8]> {
        let wanted = usize::from(self.byte()?).min(most).min(self.0.len());
        let (these, rest) = self.0.split_at(wanted);
        self.0 = rest;
        Some(these)
    }
}

/// A register table with its wires' ends, and what it has to go by.
struct Bench {
    registers: Registers,
    status: Status,
    recipes: Vec<RecipeName>,
    stream: Vec<u8>,
    framer: Framer,
    now: Timestamp,
}

impl Bench {
    fn new() -> Bench {
        let mut bench = Bench {
            registers: Registers::default(),
            status: Status::default(),
            recipes: Vec::new(),
            stream: Vec::new(),
            framer: Framer::new(19_200),
            now: Timestamp::ZERO,
        };
        bench.line(0xF7, 2);
        bench
    }

    /// The line says how it is: a bit each, and how many recipes there are.
    fn line(&mut self, bits: u8, recipes: u8) {
        let bit = |n: u8| bits >> n & 1 == 1;
        let number = u64::from(bits) << 14;
        self.status = Status {
            online: bit(0),
            ready: bit(1),
            busy: bit(2),
            error: bit(3),
            recipe: cut(&format!("recipe {}", bits >> 4)),
            identity: [bits; 8],
            counters: Counters { parts: number, passed: number / 2, ..Counters::default() },
        };
        let count = usize::from(recipes) % (RECIPES_MAX + 1);
        let name = |n| RecipeName::new(&format!("recipe {n}")).expect("a plain name");
        self.recipes = (0..count).map(name).collect();
        self.registers.set_status(self.status.clone(), self.recipes.clone());
    }

    fn step(&mut self, script: &mut Script<'_>) -> Option<()> {
        match script.byte()? % 8 {
            0 => self.ask(script.bytes(FRAME_BYTES_MAX - TCP_HEADER - 1)?),
            1 => self.over_tcp(script.bytes(FRAME_BYTES_MAX)?),
            2 => drop(self.rtu(script.bytes(RTU_BYTES_MAX)?)),
            3 => self.over_rtu(script.byte()?, script.bytes(RTU_BYTES_MAX)?),
            4 => {
                let byte = script.byte()?;
                let (part, pass) = (u64::from(byte) << 12, byte & 1 == 1);
                let score = f32::from(byte).ln();
                let p_value = 1.0 / f64::from(byte);
                let reason = ["", "scratch", "ä, and more"][usize::from(byte) % 3];
                let record = ResultRecord::new(part, pass, reason, score, p_value, 70_000);
                self.registers.publish(record);
            }
            5 => {
                let byte = script.byte()?;
                self.registers.command_done(byte & 1 == 1, byte & 2 == 2);
            }
            6 => self.line(script.byte()?, script.byte()?),
            _ => self.registers.lose(u32::from(script.byte()?) << 20),
        }
        Some(())
    }

    /// A request in good frames of both kinds; both have to be understood the same.
    fn ask(&mut self, pdu: &[u8]) {
        let body = [&[UNIT], pdu].concat();
        let length = (body.len() as u16).to_be_bytes();
        let by_tcp = [&[0xAB, 0xCD, 0, 0], &length[..], &body].concat();
        let by_rtu = [&body, &crc(&body)[..]].concat();
        let before = self.registers.clone();
        let (reply_rtu, asked_rtu) = self.rtu(&by_rtu);
        let after = std::mem::replace(&mut self.registers, before);
        let (reply_tcp, asked_tcp) = self.tcp(&by_tcp);
        same(&after, &self.registers);
        assert_eq!(asked_rtu, asked_tcp);
        if !reply_tcp.is_empty() {
            assert_eq!(reply_tcp[TCP_HEADER..], reply_rtu[..reply_rtu.len() - 2]);
        }
    }

    /// Bytes that arrive over a connection, cut into frames as its thread does.
    fn over_tcp(&mut self, bytes: &[u8]) {
        self.stream.extend_from_slice(bytes);
        while self.stream.len() >= TCP_HEADER {
            let Some(length) = adu::tcp_length(&self.stream) else {
                // The connection is closed, and with it goes what it had sent.
                self.stream.clear();
                return;
            };
            assert!((TCP_HEADER + 2..=FRAME_BYTES_MAX).contains(&length));
            if self.stream.len() < length {
                return;
            }
            let frame: Vec<u8> = self.stream.drain(..length).collect();
            self.tcp(&frame);
        }
    }

    /// Bytes that arrive over a serial line, some time after the last ones.
    fn over_rtu(&mut self, time: u8, bytes: &[u8]) {
        self.now = self.now + Duration::from_micros(u64::from(time) * 100);
        let frame = self.framer.receive(self.now, bytes);
        frame.into_iter().for_each(|frame| drop(self.rtu(&frame)));
    }

    fn tcp(&mut self, frame: &[u8]) -> (adu::Reply, Commands) {
        let before = self.registers.clone();
        let (reply, asked) = adu::tcp(UNIT, frame, &mut self.registers);
        let ours = adu::tcp_length(frame) == Some(frame.len()) && frame[TCP_HEADER] == UNIT;
        assert_eq!(ours, !reply.is_empty());
        if ours {
            assert_eq!(reply[..4], frame[..4], "its number and protocol");
            assert_eq!(adu::tcp_length(&reply), Some(reply.len()));
            assert_eq!(reply[TCP_HEADER], UNIT);
            self.examine(&before, &frame[TCP_HEADER + 1..], &reply[TCP_HEADER + 1..], &asked);
        } else {
            same(&before, &self.registers);
            assert!(asked.is_empty());
        }
        (reply, asked)
    }

    fn rtu(&mut self, frame: &[u8]) -> (adu::Reply, Commands) {
        let before = self.registers.clone();
        let (reply, asked) = adu::rtu(UNIT, frame, &mut self.registers);
        let whole = (4..=RTU_BYTES_MAX).contains(&frame.len());
        let ours = whole && frame[0] == UNIT && sealed(frame);
        assert_eq!(ours, !reply.is_empty());
        if ours {
            assert!(reply.len() <= RTU_BYTES_MAX && sealed(&reply), "{reply:?}");
            assert_eq!(reply[0], UNIT);
            let [pdu, answer] = [frame, &reply].map(|bytes| &bytes[1..bytes.len() - 2]);
            self.examine(&before, pdu, answer, &asked);
        } else {
            same(&before, &self.registers);
            assert!(asked.is_empty());
        }
        (reply, asked)
    }

    /// An answer, against what stands in the registers before and after.
    fn examine(&self, before: &Registers, pdu: &[u8], answer: &[u8], asked: &Commands) {
        let after = &self.registers;
        // A function that has the exceptions' bit already is refused under its own number.
        if answer[0] & 0x80 != 0 {
            assert_eq!(answer[0], pdu[0] | 0x80);
            assert!(answer.len() == 2 && (1..=3).contains(&answer[1]), "{answer:?}");
            same(before, after);
            assert!(asked.is_empty());
            return;
        }
        let field = |at: usize| u16::from_be_bytes([pdu[at], pdu[at + 1]]);
        let (first, second) = (field(1), field(3));
        assert_eq!(answer[0], pdu[0]);
        match pdu[0] {
            1 | 2 => {
                let space = if pdu[0] == 1 { Space::Coil } else { Space::Discrete };
                let mut wanted = vec![0; usize::from(second).div_ceil(8)];
                for offset in 0..second {
                    let bit = before.bit(space, first + offset).expect("in the map");
                    wanted[usize::from(offset / 8)] |= u8::from(bit) << (offset % 8);
                }
                read(answer, &wanted);
            }
            3 | 4 => {
                let space = if pdu[0] == 3 { Space::Holding } else { Space::Input };
                let word = |n| before.word(space, first + n).expect("in the map").to_be_bytes();
                read(answer, &(0..second).flat_map(word).collect::<Vec<u8>>());
            }
            5 => self.written(before, pdu, answer, (Space::Coil, first, 1)),
            6 => self.written(before, pdu, answer, (Space::Holding, first, 1)),
            15 => self.written(before, pdu, answer, (Space::Coil, first, second)),
            16 => self.written(before, pdu, answer, (Space::Holding, first, second)),
            other => panic!("function {other} was answered"),
        }
        asked.iter().for_each(|command| self.harmless(command));
        assert!((5..=16).contains(&pdu[0]) || asked.is_empty());
    }

    /// A write changes what it names, which is in the short list, and nothing that a part is judged by.
    fn written(
        &self,
        before: &Registers,
        pdu: &[u8],
        answer: &[u8],
        (space, first, count): (Space, u16, u16),
    ) {
        assert_eq!(answer, &pdu[..5]);
        let after = &self.registers;
        let named = first..first + count;
        for row in MAP.iter().filter(|row| row.space == space && named.contains(&row.address)) {
            assert!(WRITABLE.contains(&row.name), "{} was written", row.name);
        }
        assert!(named.clone().all(|address| map::find(space, address).is_some()));
        for row in MAP.iter().filter(|row| row.space == Space::Coil) {
            let was = before.bit(Space::Coil, row.address);
            let offset = usize::from(row.address.wrapping_sub(first));
            let wanted = match (space == row.space && named.contains(&row.address), pdu[0]) {
                (false, _) => was,
                (true, 5) => Ok(pdu[3] == 0xFF),
                (true, _) => Ok(pdu[6 + offset / 8] >> (offset % 8) & 1 == 1),
            };
            assert_eq!(after.bit(Space::Coil, row.address), wanted, "{}", row.name);
        }
        let wanted = match pdu[0] {
            6 => Ok(u16::from_be_bytes([pdu[3], pdu[4]])),
            16 => Ok(u16::from_be_bytes([pdu[6], pdu[7]])),
            _ => before.word(Space::Holding, 0),
        };
        assert_eq!(after.word(Space::Holding, 0), wanted);
        // Version, recipes, identity, counters.
        let told = |r: &Registers| [0, 2, 3, 4, 9, 11, 13].map(|at| input(r, at));
        assert_eq!(told(after), told(before));
        // The results stay as they are; the oldest may go.
        let (was, is) = (input(before, 1), input(after, 1));
        assert!(is == was || is + 1 == was, "{was} results became {is}");
        for slot in 0..is {
            // Number, verdict, score.
            for word in [0, 3, 4] {
                let at = |slot: u16| RESULTS + slot * RESULT_WORDS + word;
                let wanted = input(before, at(slot + was - is));
                assert_eq!(input(after, at(slot)), wanted, "word {word} of result {slot}");
            }
        }
    }

    /// Whoever adds a command has to say here why an open wire may give it.
    fn harmless(&self, command: &Command) {
        match command {
            Command::Trigger => assert!(self.status.ready, "a trigger that the line cannot take"),
            Command::RecipeActivate(name) => assert!(self.recipes.contains(name)),
            // Whether it is heard over Modbus is the configuration's matter, and it says no by itself.
            Command::Teach | Command::Acknowledge => {}
            Command::RecipeList
            | Command::Status
            | Command::Counters
            | Command::TeachAs(_)
            | Command::RecipeRollback
            | Command::RecipeVerify
            | Command::Push(_) => {
                panic!("{command:?} has no coil")
            }
        }
    }
}

fn input(registers: &Registers, address: u16) -> u16 {
    registers.word(Space::Input, address).expect("in the map")
}

fn read(answer: &[u8], wanted: &[u8]) {
    assert_eq!(usize::from(answer[1]), wanted.len());
    assert_eq!(&answer[2..], wanted);
}

/// CRC-16/MODBUS, written differently from the one under test.
fn crc(bytes: &[u8]) -> [u8; 2] {
    let mut crc = 0xFFFFu16;
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc = (crc >> 1) ^ (carry * 0xA001);
        }
    }
    crc.to_le_bytes()
}

fn sealed(frame: &[u8]) -> bool {
    let (body, sum) = frame.split_at(frame.len() - 2);
    sum == crc(body)
}

/// Everything but the texts and the ring's insides, which only [`Bench::written`] could change.
fn same(one: &Registers, other: &Registers) {
    let words =
        |r: &Registers| [0, 1, 2, 3, 4, 8, 9, 10, 11, 20, 21, RESULTS].map(|at| input(r, at));
    assert_eq!(words(one), words(other));
    for row in MAP {
        if matches!(row.space, Space::Coil | Space::Discrete) {
            assert_eq!(one.bit(row.space, row.address), other.bit(row.space, row.address));
        }
    }
    assert_eq!(one.word(Space::Holding, 0), other.word(Space::Holding, 0));
}

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script(bytes);
    let ((), held) = heap::peak(|| {
        let mut bench = Bench::new();
        while bench.step(&mut script).is_some() {}
    });
    assert!(held <= HEAP_MAX, "{held} bytes held");
});
