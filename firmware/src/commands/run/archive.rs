//! Results on disk: verdicts as JSON lines, and pictures of rejected parts.
//!
//! Optional at run time: its own thread writes, its queue has an end, and a
//! full or slow disk loses pictures and counts them but never stops the line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use log::warn;
use touchstone_models::inspector::Inspection;
use touchstone_models::picture::{Picture, encode_map16, encode_png, save_rgb};
use touchstone_models::verdict::VerdictRecord;

use crate::archive::{Archive as Pictures, Exhibit as Kept};
use crate::commands::inspect::headline;
use crate::exit::Failure;
use crate::out_folder::OutFolder;
use crate::overlay::{Exhibit, side_by_side};
use crate::settings::OutputConfig;
use crate::station::Published;
use crate::store::files::Disk;

/// Results that may wait for the disk.
const WAITING_MAX: usize = 64;
/// Of these with their pictures, which are what takes memory: tens of megabytes each.
const PICTURES_WAITING_MAX: usize = 8;
const VERDICTS: &str = "verdicts.jsonl";
/// The verdicts before those: after so many bytes the file is put aside, and the one before it goes.
const VERDICTS_BEFORE: &str = "verdicts.1.jsonl";
const VERDICTS_BYTES_MAX: u64 = 64 << 20;
/// Folder of the pictures with map and verdict.
const PICTURES: &str = "archive";

/// A place among the pictures that wait; free again when it is dropped.
struct Seat(Arc<AtomicUsize>);

impl Seat {
    /// One that is free. Only the line's thread takes seats.
    fn take(taken: &Arc<AtomicUsize>) -> Option<Self> {
        let free = taken.load(Ordering::Acquire) < PICTURES_WAITING_MAX;
        free.then(|| {
            taken.fetch_add(1, Ordering::AcqRel);
            Self(Arc::clone(taken))
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A part whose pictures are kept.
struct Shown {
    _seat: Seat,
    part: u32,
    pass: bool,
    frame: Picture,
    inspection: Inspection,
    /// A good part, to be drawn beside it.
    good: Arc<Picture>,
}

struct Entry {
    json: String,
    shown: Option<Box<Shown>>,
}

/// The results' folder and the thread that writes into it.
pub(super) struct Archive {
    queue: Option<SyncSender<Entry>>,
    thread: Option<JoinHandle<()>>,
    good: Option<Arc<Picture>>,
    passes_every: Option<u32>,
    passes: u32,
    seats: Arc<AtomicUsize>,
    dropped: u64,
    /// Results whose pictures were not kept, because too many waited.
    bare: u64,
}

impl Archive {
    /// Opens the folder.
    ///
    /// # Errors
    /// The folder cannot be written to: better known now than when it matters.
    pub(super) fn open(config: &OutputConfig) -> Result<Self, Failure> {
        let folder = OutFolder::prepare(&config.dir, "output.dir")?;
        let verdicts = Verdicts::open(&folder)?;
        let pictures = match config.archive_bytes {
            0 => None,
            bytes => {
                let dir = folder.file(PICTURES);
                let opened = Pictures::open(Arc::new(Disk), &dir, bytes).map_err(|e| {
                    Failure::Use(format!("{}: {e}; check folder and disk", dir.display()))
                })?;
                Some(opened)
            }
        };
        let (mut archive, entries) = Self::waiting(config.passes_every);
        let kept = config.rejects_kept;
        let writer = Writer { folder, verdicts, pictures, kept, next: 0, failed: 0 };
        let thread = thread::Builder::new()
            .name("archive".to_owned())
            .spawn(move || writer.run(&entries))
            .map_err(|e| Failure::Hardware(format!("no thread for the archive: {e}")))?;
        archive.thread = Some(thread);
        Ok(archive)
    }

    /// Without a thread yet, and what that takes from.
    fn waiting(passes_every: Option<u32>) -> (Self, Receiver<Entry>) {
        let (queue, entries) = sync_channel(WAITING_MAX);
        let archive = Self {
            queue: Some(queue),
            thread: None,
            good: None,
            passes_every,
            passes: 0,
            seats: Arc::default(),
            dropped: 0,
            bare: 0,
        };
        (archive, entries)
    }

    /// From now on this good part is drawn beside rejected ones.
    pub(super) fn activated(&mut self, good: Option<&Picture>) {
        self.good = good.cloned().map(Arc::new);
    }

    /// Hands a result over without waiting.
    pub(super) fn add(&mut self, part: &Published<'_>, record: &VerdictRecord, json: &str) {
        let pass = !part.outcome.is_reject();
        self.passes = if pass { self.passes.wrapping_add(1) } else { self.passes };
        let due = !pass || self.passes_every.is_some_and(|every| self.passes.is_multiple_of(every));
        let shown = part.slot.filter(|_| due).and_then(|slot| {
            let (frame, inspection) = (slot.frame.as_ref()?, slot.inspection.as_ref()?);
            let good = Arc::clone(self.good.as_ref()?);
            let Some(seat) = Seat::take(&self.seats) else {
                self.bare += 1;
                return None;
            };
            let (frame, inspection) = (frame.clone(), inspection.clone());
            let part = record.part;
            Some(Box::new(Shown { _seat: seat, part, pass, frame, inspection, good }))
        });
        let entry = Entry { json: json.to_owned(), shown };
        let sent = self.queue.as_ref().is_some_and(|q| q.try_send(entry).is_ok());
        if !sent {
            self.dropped += 1;
        }
    }

    /// Waits until everything is written.
    pub(super) fn close(mut self) {
        if self.dropped > 0 {
            warn!("archive: {} results were not written, the disk is too slow", self.dropped);
        }
        if self.bare > 0 {
            warn!("archive: {} pictures were not kept, the disk is too slow", self.bare);
        }
        self.queue = None;
        if self.thread.take().is_some_and(|t| t.join().is_err()) {
            warn!("archive: its thread panicked");
        }
    }
}

/// Lines of verdicts, bounded.
struct Verdicts {
    file: File,
    bytes: u64,
}

impl Verdicts {
    fn open(folder: &OutFolder) -> Result<Self, Failure> {
        let path = folder.file(VERDICTS);
        Self::append(folder).map_err(|e| {
            Failure::Use(format!("cannot append to {}: {e}; check folder and disk", path.display()))
        })
    }

    fn append(folder: &OutFolder) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(folder.file(VERDICTS))?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }

    fn write(&mut self, folder: &OutFolder, json: &str) -> io::Result<()> {
        // One write per line, so that a line is there whole or not at all.
        let line = format!("{json}\n");
        if self.bytes + line.len() as u64 > VERDICTS_BYTES_MAX {
            fs::rename(folder.file(VERDICTS), folder.file(VERDICTS_BEFORE))?;
            *self = Self::append(folder)?;
        }
        self.file.write_all(line.as_bytes())?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

struct Writer {
    folder: OutFolder,
    verdicts: Verdicts,
    pictures: Option<Pictures>,
    kept: u32,
    next: u32,
    failed: u64,
}

impl Writer {
    fn run(mut self, entries: &Receiver<Entry>) {
        while let Ok(entry) = entries.recv() {
            if let Err(e) = self.verdicts.write(&self.folder, &entry.json) {
                self.complain(&format!("{VERDICTS}: {e}"));
            }
            let Some(shown) = entry.shown else { continue };
            if let Some(Err(why)) = self.pictures.as_mut().map(|p| keep(p, &shown, &entry.json)) {
                self.complain(&format!("{PICTURES}: {why}"));
            }
            if self.kept > 0 && !shown.pass {
                self.draw(&shown);
            }
        }
        if self.failed > 0 {
            warn!("archive: {} writes failed", self.failed);
        }
    }

    /// The oldest picture makes room: names go round.
    fn draw(&mut self, rejected: &Shown) {
        let inspection = &rejected.inspection;
        let drawn = side_by_side(&Exhibit {
            prompt: &rejected.good,
            query: &rejected.frame,
            pass: false,
            wrong: false,
            headline: &headline(&inspection.decision),
            details: &format!("part {}   score {:.2}", rejected.part, inspection.score),
            map: inspection.map.as_ref(),
            area: inspection.area,
            regions: &inspection.regions,
            truth: None,
        });
        let file = self.folder.file(&format!("reject-{:05}.png", self.next % self.kept));
        self.next = self.next.wrapping_add(1);
        if let Some(Err(e)) = drawn.map(|d| save_rgb(&file, &d)) {
            self.complain(&e.to_string());
        }
    }

    /// Once is enough; a full disk would fill the log as well.
    fn complain(&mut self, why: &str) {
        if self.failed == 0 {
            warn!("archive: {why}; the line goes on without");
        }
        self.failed += 1;
    }
}

/// Keeps picture, map and verdict of a part.
fn keep(pictures: &mut Pictures, shown: &Shown, json: &str) -> Result<(), String> {
    let (width, height) = (shown.frame.width(), shown.frame.height());
    let map = shown.inspection.full_map(width, height);
    let map = map.map(|map| encode_map16(&map, width, height)).transpose();
    let exhibit = Kept {
        verdict: if shown.pass { "pass" } else { "reject" },
        picture: encode_png(&shown.frame).map_err(|e| e.to_string())?,
        map: map.map_err(|e| e.to_string())?,
        record: json.as_bytes().to_vec(),
    };
    pictures.keep(&exhibit).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspection::Slots;
    use crate::line::{Outcome, PartId, Why};
    use touchstone_board::Timestamp;
    use touchstone_models::verdict::Decision;

    /// A disk that takes nothing: what waits for it is bounded in number and in pictures, and what is not kept is
    /// counted.
    #[test]
    fn a_disk_that_stands_still_costs_pictures_and_never_memory() {
        let (mut archive, entries) = Archive::waiting(Some(1));
        let picture = Picture::from_rgb8(16, 16, vec![7; 768]).unwrap();
        archive.activated(Some(&picture));
        let parts = 1000;
        for number in 0..parts {
            let mut slots = Slots::default();
            let id = PartId(number);
            assert!(slots.hold(id, picture.clone(), 0));
            let inspection = crate::inspection::tests::inspection(0.9);
            slots.found(id, Some(picture.clone()), inspection, 0);
            let slot = slots.release(id);
            let part = Published {
                part: id,
                outcome: Outcome::Reject(Why::Judged),
                slot: slot.as_ref(),
                total_us: 0,
                triggered_at: Timestamp(0),
            };
            let record = VerdictRecord::new(number, &Decision::default(), 1.0, 0.0);
            archive.add(&part, &record, "{}");
        }
        assert_eq!(archive.dropped, u64::from(parts) - WAITING_MAX as u64);
        assert_eq!(archive.bare, u64::from(parts) - PICTURES_WAITING_MAX as u64);
        let waiting: Vec<Entry> = entries.try_iter().collect();
        assert_eq!(waiting.len(), WAITING_MAX);
        assert_eq!(waiting.iter().filter(|e| e.shown.is_some()).count(), PICTURES_WAITING_MAX);
        // Once they are written there is room again.
        drop(waiting);
        assert!(Seat::take(&archive.seats).is_some());
    }
}
