//! A line with its wires: a pty for the serial port, Modbus on the loopback
//! address, a folder for a camera.

use super::*;
use crate::inspection::tests::inspection;
use crate::inspection::{Activated, Names};
use crate::line::{LineConfig, LineTimes};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};
use touchstone_board::command::Command;
use touchstone_board::config::Board;
use touchstone_board::serial::protocol::{Kind, Lines as Finder, emit, verb};
use touchstone_models::inspector::Inspection;
use touchstone_models::picture::Picture;

const PATIENCE: Duration = Duration::from_secs(60);
/// The only trigger of this line is a command.
const NEVER: Duration = Duration::from_secs(3600);

struct Good;

impl Judge for Good {
    fn judge(&mut self, _: &Picture) -> Inspection {
        inspection(0.5)
    }
}

fn plug(name: &Path) -> File {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&near).unwrap();
    unlockpt(&near).unwrap();
    symlink(ptsname(&near, Vec::new()).unwrap().into_string().unwrap(), name).unwrap();
    File::from(near)
}

/// Lines of a kind whose checksum is right.
fn lines(far: &File, kinds: [Kind; 2]) -> Receiver<(usize, u32, String)> {
    let mut far = far.try_clone().unwrap();
    let (told, heard) = channel();
    thread::spawn(move || {
        let (mut finders, mut bytes) = (kinds.map(Finder::new), [0; 64]);
        while let Ok(n @ 1..) = far.read(&mut bytes) {
            for byte in &bytes[..n] {
                for (kind, finder) in finders.iter_mut().enumerate() {
                    if let Some(Ok((sequence, text))) = finder.push(*byte)
                        && told.send((kind, sequence, text)).is_err()
                    {
                        return;
                    }
                }
            }
        }
    });
    heard
}

/// Words `first..first + count` of the input registers.
fn read_words(wire: &mut TcpStream, first: u16, count: u8) -> Vec<u16> {
    let [high, low] = first.to_be_bytes();
    wire.write_all(&[0, 1, 0, 0, 0, 6, 1, 4, high, low, 0, count]).unwrap();
    let mut answer = vec![0; 9 + 2 * usize::from(count)];
    wire.read_exact(&mut answer).unwrap();
    assert_eq!(answer[7], 4, "an exception: {answer:?}");
    answer[9..].chunks_exact(2).map(|w| u16::from_be_bytes([w[0], w[1]])).collect()
}

#[test]
fn a_command_over_serial_is_a_part_and_its_result_comes_by_serial_and_modbus() {
    let home = tempfile::tempdir().unwrap();
    let port = home.path().join("ttyPLC");
    let mut far = plug(&port);
    let heard = lines(&far, [Kind::Reply, Kind::Result]);
    image::RgbImage::new(32, 32).save(home.path().join("a.png")).unwrap();
    // Taken for a moment, to know one that is free.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let board = format!(
        "name = \"desk\"\n[camera]\nkind = \"files\"\npath = \"{0}\"\nrate = 50.0\nrepeat = true\n\
         [[serial]]\nrole = \"commands\"\npath = \"{1}\"\nbaud = 115200\n\
         [modbus]\ntcp = true\nport = {free}\n",
        home.path().display(),
        port.display()
    );
    let (devices, mut wired) = Devices::open_wired(&Board::parse(&board).unwrap()).unwrap();
    assert!(devices.warnings.is_empty(), "{:?}", devices.warnings);
    let requests = requests_of(&mut wired);
    let times = LineTimes { capture_window_ms: 5000, travel_ms: 6000, ..LineTimes::default() };
    let line = LineConfig::try_from(times).unwrap();
    let names = Names::default();
    let recipe = "bracket".to_owned();
    let active = Activated { recipe, names, identity: [1; 8], line, good: None };
    let exchange = wired.exchange.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let thread = thread::spawn(move || {
        let setup = Setup {
            camera: devices.camera,
            outputs: devices.outputs,
            source: Source::Trigger(Box::new(ClockTrigger::new(NEVER))),
            inputs: wired.inputs.take(),
            requests: Some(requests),
            feeder: Feeder::new(Vec::new()),
            teach_from: Vec::new(),
            sound: true,
            lamp: Default::default(),
            judged_at_once: 1,
        };
        let mut results = Results::new(wired, None, None, active);
        let ended = real_line::run(setup, line, Box::new(Good), &mut results, u64::MAX, &told);
        (ended, results)
    });
    let start = Instant::now();
    while !exchange.status().ready {
        assert!(start.elapsed() < PATIENCE, "never ready");
        thread::sleep(Duration::from_millis(5));
    }
    // The port is opened by a thread of its own; what comes too early is not heard.
    let mut asked = 0;
    let mut came = Vec::new();
    while came.len() < 2 {
        assert!(start.elapsed() < PATIENCE, "only {came:?}");
        if came.is_empty() {
            asked += 1;
            far.write_all(emit(Kind::Command, asked, &verb(&Command::Trigger)).as_bytes()).unwrap();
        }
        came.extend(heard.recv_timeout(Duration::from_secs(15)));
    }
    came.sort();
    assert_eq!(came[0], (0, asked, "ok part 0".to_owned()));
    assert!(came[1].2.starts_with("part=0 pass "), "{came:?}");
    let mut wire = TcpStream::connect(("127.0.0.1", free)).unwrap();
    wire.set_read_timeout(Some(PATIENCE)).unwrap();
    // Number, part (two words), verdict: 1 is a pass.
    assert_eq!(read_words(&mut wire, 100, 4), [0, 0, 0, 1]);
    // Counts are published with the line's next turn, a moment after the result.
    while read_words(&mut wire, 8, 4) != [0, 1, 0, 1] {
        assert!(start.elapsed() < PATIENCE, "parts and passed: {:?}", read_words(&mut wire, 8, 4));
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(read_words(&mut wire, 4, 1), [0x0101], "identity");
    stop.store(true, Ordering::Relaxed);
    let (ended, results) = thread.join().unwrap();
    ended.unwrap();
    results.close();
    assert!(!exchange.status().online);
}
