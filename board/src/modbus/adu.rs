//! Requests in, answers out, for both framings. Pure. The codec is `rmodbus`; what it would trust is checked
//! first, because whoever reaches the port can send anything.

use super::map::Space;
use super::registers::{Refusal, Registers};
use crate::command::Command;
use rmodbus::ModbusProto;
use rmodbus::server::{ModbusFrame, Read, Write};

/// Longest frame, either way.
pub const FRAME_BYTES_MAX: usize = 260;
/// Longest RTU frame.
pub const RTU_BYTES_MAX: usize = 256;
/// Bytes of the TCP header before the unit.
pub const TCP_HEADER: usize = 6;

/// An answer: the bytes to send, none where the request was not for us or is not to be answered.
pub type Reply = heapless::Vec<u8, FRAME_BYTES_MAX>;
/// What the request asks of the line.
pub type Commands = heapless::Vec<Command, 4>;

const ILLEGAL_FUNCTION: u8 = 1;
const ILLEGAL_VALUE: u8 = 3;

/// Checksum of Modbus RTU (CRC-16/MODBUS).
pub fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0xA001 }
        })
    })
}

/// Answers one RTU frame.
pub fn rtu(unit: u8, frame: &[u8], registers: &mut Registers) -> (Reply, Commands) {
    let nothing = (Reply::new(), Commands::new());
    if !(4..=RTU_BYTES_MAX).contains(&frame.len()) {
        return nothing;
    }
    let (body, sum) = frame.split_at(frame.len() - 2);
    if sum != crc(body).to_le_bytes() {
        return nothing;
    }
    answer(unit, frame, body, ModbusProto::Rtu, registers)
}

/// Answers one TCP frame, header and all.
pub fn tcp(unit: u8, frame: &[u8], registers: &mut Registers) -> (Reply, Commands) {
    match frame.get(TCP_HEADER..) {
        Some(body) if tcp_length(frame) == Some(frame.len()) => {
            answer(unit, frame, body, ModbusProto::TcpUdp, registers)
        }
        Some(_) | None => (Reply::new(), Commands::new()),
    }
}

/// How long the frame is that begins so; `None` where that is no beginning, and the connection worth nothing.
/// Asks for six bytes at least.
pub fn tcp_length(bytes: &[u8]) -> Option<usize> {
    let [_, _, protocol @ .., high, low] = bytes.get(..TCP_HEADER)? else { return None };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    (protocol == [0, 0] && (2..=FRAME_BYTES_MAX - TCP_HEADER).contains(&length))
        .then_some(TCP_HEADER + length)
}

/// An exception to the request in `body`.
fn exception(frame: &[u8], body: &[u8], proto: ModbusProto, code: u8) -> Reply {
    let mut reply = Reply::new();
    // The longest is nine bytes, which fit.
    let _ = match proto {
        ModbusProto::TcpUdp => {
            reply.extend_from_slice(&frame[..4]).and_then(|()| reply.extend_from_slice(&[0, 3]))
        }
        ModbusProto::Rtu | ModbusProto::Ascii => Ok(()),
    };
    let _ = reply.extend_from_slice(&[body[0], body[1] | 0x80, code]);
    if proto == ModbusProto::Rtu {
        let sum = crc(&reply).to_le_bytes();
        let _ = reply.extend_from_slice(&sum);
    }
    reply
}

/// What is wrong with the request in `body` (unit, function, data), as an exception code.
fn sound(body: &[u8]) -> Result<(), u8> {
    let field = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    let fits = match body[1] {
        1 | 2 => body.len() == 6 && field(4).is_some_and(|n| (1..=2000).contains(&n)),
        3 | 4 => body.len() == 6 && field(4).is_some_and(|n| (1..=125).contains(&n)),
        5 => body.len() == 6 && field(4).is_some_and(|v| v == 0 || v == 0xFF00),
        6 => body.len() == 6,
        function @ (15 | 16) => {
            let many = usize::from(field(4).unwrap_or(0));
            // The codec refuses frames above 250 bytes, and the map has no use for longer ones.
            let (most, bytes) =
                if function == 15 { (1936, many.div_ceil(8)) } else { (121, 2 * many) };
            let told = body.get(6).copied().map(usize::from);
            (1..=most).contains(&many) && told == Some(bytes) && body.len() == 7 + bytes
        }
        _ => return Err(ILLEGAL_FUNCTION),
    };
    if fits { Ok(()) } else { Err(ILLEGAL_VALUE) }
}

fn answer(
    unit: u8,
    frame: &[u8],
    body: &[u8],
    proto: ModbusProto,
    registers: &mut Registers,
) -> (Reply, Commands) {
    let (mut reply, mut commands) = (Reply::new(), Commands::new());
    // Unit 0 on a serial line speaks to everybody, and a command for everybody is none of ours: two cameras
    // must not fire at once by it.
    if body.len() < 2 || body[0] != unit {
        return (reply, commands);
    }
    if let Err(code) = sound(body) {
        return (exception(frame, body, proto, code), commands);
    }
    let mut request = ModbusFrame::new(unit, frame, proto, &mut reply).with_broadcast_units(&[]);
    let done = request.parse().and_then(|()| {
        if !request.processing_required {
            return Ok(());
        }
        if request.readonly {
            let (space, result) = (space_of(body[1]), request.get_external_read());
            let outcome = result.map(|read| fill(read, space, registers));
            request.process_external_read(outcome.and_then(|refused| refused.map_err(to_rmodbus)))
        } else {
            let outcome = request.get_external_write().map(|write| apply(&write, registers));
            let outcome = outcome.and_then(|applied| applied.map_err(to_rmodbus));
            request.process_external_write(outcome.map(|asked| commands = asked))
        }
    });
    let done = done.and_then(|()| request.finalize_response());
    if done.is_err() {
        reply.clear();
    }
    (reply, commands)
}

fn to_rmodbus(refusal: Refusal) -> rmodbus::ErrorKind {
    match refusal {
        Refusal::Address => rmodbus::ErrorKind::IllegalDataAddress,
        Refusal::Value => rmodbus::ErrorKind::IllegalDataValue,
    }
}

fn space_of(function: u8) -> Space {
    match function {
        1 => Space::Coil,
        2 => Space::Discrete,
        3 => Space::Holding,
        _ => Space::Input,
    }
}

fn fill(read: Read<'_>, space: Space, registers: &Registers) -> Result<(), Refusal> {
    let at = |first: u16, offset: usize| {
        u16::try_from(offset).ok().and_then(|o| first.checked_add(o)).ok_or(Refusal::Address)
    };
    match read {
        Read::Bits(bits) => {
            for offset in 0..usize::from(bits.count) {
                let bit = registers.bit(space, at(bits.address, offset)?)?;
                bits.buf[offset / 8] |= u8::from(bit) << (offset % 8);
            }
        }
        Read::Words(words) => {
            for (offset, place) in words.buf.chunks_exact_mut(2).enumerate() {
                let word = registers.word(space, at(words.address, offset)?)?;
                place.copy_from_slice(&word.to_be_bytes());
            }
        }
    }
    Ok(())
}

fn apply(write: &Write<'_>, registers: &mut Registers) -> Result<Commands, Refusal> {
    match write {
        Write::Bits(bits) => {
            let bit = |n: usize| bits.data.get(n / 8).is_some_and(|byte| byte >> (n % 8) & 1 == 1);
            let values: Vec<bool> = (0..usize::from(bits.count)).map(bit).collect();
            registers.write_bits(bits.address, &values)
        }
        Write::Words(words) => {
            let word = |pair: &[u8]| u16::from_be_bytes([pair[0], pair[1]]);
            let values: Vec<u16> = words.data.chunks_exact(2).map(word).collect();
            registers.write_words(words.address, &values).map(|()| Commands::new())
        }
    }
}
