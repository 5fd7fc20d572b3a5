//! Wires, seen from their other side: a thread samples files that hold a level and notes each change.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::command::Wire;
use crate::now_us;

/// Most edges that are kept; beyond it the report says how many were lost.
const EDGES_MAX: usize = 100_000;

/// One change of one wire.
#[derive(Clone, Copy, Debug)]
struct Edge {
    at_us: i64,
    wire: usize,
    level: bool,
}

#[derive(Debug, Default)]
struct Seen {
    edges: Vec<Edge>,
    lost: u64,
    samples: u64,
    /// The longest time between two samples: no edge time is better than this.
    gap_us_max: i64,
}

/// A running watch; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    names: Vec<String>,
    seen: Arc<Mutex<Seen>>,
    quit: Arc<AtomicBool>,
}

impl Watch {
    /// Starts sampling `wires` every `period`. The levels at the start count as edges, so that the
    /// report is whole in itself.
    ///
    /// # Errors
    /// A wire's file cannot be opened.
    pub(crate) fn start(period: Duration, wires: &[Wire]) -> io::Result<Watch> {
        let open = |wire: &Wire| {
            File::open(&wire.path)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", wire.path)))
        };
        let files = wires.iter().map(open).collect::<io::Result<Vec<File>>>()?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let quit = Arc::new(AtomicBool::new(false));
        let (told, end) = (Arc::clone(&seen), Arc::clone(&quit));
        thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || sample(&files, period, &told, &end))?;
        Ok(Watch { names: wires.iter().map(|wire| wire.name.clone()).collect(), seen, quit })
    }

    /// `samples GAP_MAX_US LOST`, then one line `AT_US NAME LEVEL` per edge from number `from` on.
    pub(crate) fn report(&self, from: usize) -> String {
        let seen = held(&self.seen);
        let mut text = format!("{} {} {}\n", seen.samples, seen.gap_us_max, seen.lost);
        for edge in seen.edges.iter().skip(from) {
            let name = self.names.get(edge.wire).map_or("?", String::as_str);
            text.push_str(&format!("{} {name} {}\n", edge.at_us, u8::from(edge.level)));
        }
        text
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.quit.store(true, Ordering::Relaxed);
    }
}

fn held(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    // A panic in the other thread leaves a list that is still a list.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sample(files: &[File], period: Duration, seen: &Mutex<Seen>, quit: &AtomicBool) {
    let mut levels: Vec<Option<bool>> = vec![None; files.len()];
    let mut last_us = now_us();
    while !quit.load(Ordering::Relaxed) {
        let now = now_us();
        let changes: Vec<Edge> = files
            .iter()
            .zip(&mut levels)
            .enumerate()
            .filter_map(|(wire, (file, known))| {
                let level = level(file)?;
                (known.replace(level) != Some(level)).then(|| Edge { at_us: now_us(), wire, level })
            })
            .collect();
        let mut seen = held(seen);
        seen.samples += 1;
        seen.gap_us_max = seen.gap_us_max.max(now - last_us);
        for edge in changes {
            if seen.edges.len() < EDGES_MAX {
                seen.edges.push(edge);
            } else {
                seen.lost += 1;
            }
        }
        drop(seen);
        last_us = now;
        thread::sleep(period);
    }
}

/// The level in a file of one digit; none while the device behind it is away.
fn level(file: &File) -> Option<bool> {
    let mut byte = [0];
    match file.read_at(&mut byte, 0) {
        Ok(1) => Some(byte[0] == b'1'),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_edge_is_noted_once_and_only_when_the_level_changes() {
        let folder = std::env::temp_dir().join(format!("hil-watch-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("value");
        fs::write(&path, "0\n").unwrap();
        let wire = Wire { name: "reject".to_owned(), path: path.display().to_string() };
        let watch = Watch::start(Duration::from_micros(200), &[wire]).unwrap();
        let edges = |watch: &Watch| watch.report(0).lines().count() - 1;
        let wait_for = |wanted| {
            for _ in 0..10_000 {
                if edges(&watch) == wanted {
                    return;
                }
                thread::sleep(Duration::from_millis(1));
            }
            panic!("{} edges, not {wanted}", edges(&watch));
        };
        wait_for(1);
        // One byte in place, as sysfs changes: never an empty file in between.
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_at(b"1", 0).unwrap();
        wait_for(2);
        file.write_at(b"1", 0).unwrap();
        file.write_at(b"0", 0).unwrap();
        wait_for(3);
        let report = watch.report(1);
        let levels: Vec<&str> =
            report.lines().skip(1).map(|l| l.rsplit(' ').next().unwrap()).collect();
        assert_eq!(levels, ["1", "0"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_wire_that_is_not_there_is_named() {
        let wire = Wire { name: "x".to_owned(), path: "/nowhere/value".to_owned() };
        let error = Watch::start(Duration::from_millis(1), &[wire]).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/value: "));
    }
}
