//! Results on disk: verdicts as JSON lines, and pictures of rejected parts.
//!
//! Optional at run time: its own thread writes, its queue has an end, and a
//! full or slow disk loses pictures and counts them but never stops the line.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use log::warn;
use touchstone_models::inspector::Inspection;
use touchstone_models::picture::{Picture, save_rgb};
use touchstone_models::verdict::VerdictRecord;

use crate::commands::inspect::headline;
use crate::exit::Failure;
use crate::out_folder::OutFolder;
use crate::overlay::{Exhibit, side_by_side};
use crate::settings::OutputConfig;
use crate::station::Published;

/// Results that may wait for the disk.
const WAITING_MAX: usize = 64;
const VERDICTS: &str = "verdicts.jsonl";

/// A rejected part, to be drawn.
struct Rejected {
    part: u32,
    frame: Picture,
    inspection: Inspection,
}

struct Entry {
    json: String,
    rejected: Option<Box<Rejected>>,
}

/// The results' folder and the thread that writes into it.
pub(super) struct Archive {
    queue: Option<SyncSender<Entry>>,
    thread: Option<JoinHandle<()>>,
    dropped: u64,
}

impl Archive {
    /// Opens the folder; the first of `prompts` is drawn beside rejected parts.
    ///
    /// # Errors
    /// The folder cannot be written to: better known now than when it matters.
    pub(super) fn open(config: &OutputConfig, prompts: &[Picture]) -> Result<Self, Failure> {
        let folder = OutFolder::prepare(&config.dir, "output.dir")?;
        let file = folder.file(VERDICTS);
        let verdicts = OpenOptions::new().create(true).append(true).open(&file).map_err(|e| {
            Failure::Use(format!("cannot append to {}: {e}; check folder and disk", file.display()))
        })?;
        let prompt = prompts.first().cloned();
        let (queue, entries) = sync_channel(WAITING_MAX);
        let writer =
            Writer { folder, verdicts, prompt, kept: config.rejects_kept, next: 0, failed: 0 };
        let thread = thread::Builder::new()
            .name("archive".to_owned())
            .spawn(move || writer.run(&entries))
            .map_err(|e| Failure::Hardware(format!("no thread for the archive: {e}")))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), dropped: 0 })
    }

    /// Hands a result over without waiting.
    pub(super) fn add(&mut self, part: &Published<'_>, record: &VerdictRecord, json: &str) {
        let rejected = part.slot.filter(|_| part.outcome.is_reject()).and_then(|slot| {
            let (frame, inspection) = (slot.frame.clone()?, slot.inspection.clone()?);
            Some(Box::new(Rejected { part: record.part, frame, inspection }))
        });
        let entry = Entry { json: json.to_owned(), rejected };
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
        self.queue = None;
        if self.thread.take().is_some_and(|t| t.join().is_err()) {
            warn!("archive: its thread panicked");
        }
    }
}

struct Writer {
    folder: OutFolder,
    verdicts: File,
    prompt: Option<Picture>,
    kept: u32,
    next: u32,
    failed: u64,
}

impl Writer {
    fn run(mut self, entries: &Receiver<Entry>) {
        while let Ok(entry) = entries.recv() {
            // One write per line, so that a line is there whole or not at all.
            let line = format!("{}\n", entry.json);
            if let Err(e) = self.verdicts.write_all(line.as_bytes()) {
                self.complain(&format!("{VERDICTS}: {e}"));
            }
            if let Some(rejected) = entry.rejected.filter(|_| self.kept > 0) {
                self.draw(&rejected);
            }
        }
        if self.failed > 0 {
            warn!("archive: {} writes failed", self.failed);
        }
    }

    /// The oldest picture makes room: names go round.
    fn draw(&mut self, rejected: &Rejected) {
        let Some(prompt) = &self.prompt else {
            return;
        };
        let inspection = &rejected.inspection;
        let drawn = side_by_side(&Exhibit {
            prompt,
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
