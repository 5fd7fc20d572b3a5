//! The audit: who changed what, when, from where. Append-only, bounded, one JSON object per line.
//!
//! What was refused is kept beside what was changed: whoever has a wire or a stick can be refused as often as they like,
//! and must not be able to push out of the log what somebody has changed.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use log::warn;
use serde::{Deserialize, Serialize};

use super::Store;

/// Bytes after which the log is put aside; the one put aside before goes. So twice as many are kept at most.
pub const AUDIT_BYTES_MAX: u64 = 1 << 20;
/// Longest note, in bytes.
const NOTE_BYTES_MAX: usize = 512;

/// The latest entries, and those before.
type Pair = [&'static str; 2];
const CHANGES: Pair = ["audit.jsonl", "audit.1.jsonl"];
const REFUSALS: Pair = ["refused.jsonl", "refused.1.jsonl"];
/// What happened where nothing happened.
pub const REFUSED: &str = "refused";

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, by the camera's clock, which may be wrong.
    pub at: String,
    /// `installed`, `refused`, `activated`, `rolled-back`, `golden-failed`, `taught`.
    pub what: String,
    /// From where: `stick sda1`, `serial`, `modbus`, `shell`, `start`, `shift`, `button`.
    pub from: String,
    /// The recipe, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The key that signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// SHA-256 of the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The identity of model, recipe and threshold, as in verdicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Why, or what else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Entry {
    /// That `what` happened, now.
    pub fn new(what: &str, from: &str) -> Self {
        Self {
            at: now_ms(),
            what: what.to_owned(),
            from: from.to_owned(),
            recipe: None,
            version: None,
            key: None,
            sha256: None,
            identity: None,
            note: None,
        }
    }

    /// About that version of a recipe.
    pub fn about(mut self, recipe: &str, version: u32) -> Self {
        (self.recipe, self.version) = (Some(recipe.to_owned()), Some(version));
        self
    }

    /// With a note, cut to a length.
    pub fn noting(mut self, note: &str) -> Self {
        let end = note.char_indices().map(|(at, c)| at + c.len_utf8());
        let end = end.take_while(|end| *end <= NOTE_BYTES_MAX).last().unwrap_or(0);
        self.note = Some(note[..end].to_owned());
        self
    }
}

/// The camera's clock as text, in UTC.
pub fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    utc(since.as_secs())
}

/// The same to a thousandth of a second, which entries are told apart by.
fn now_ms() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = utc(since.as_secs());
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), since.subsec_millis())
}

/// Seconds since 1970 as `2026-11-27T03:29:58Z` (the days by Hinnant's count of civil days).
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Counted from 1 March 0000, in eras of 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

impl Store {
    /// Writes an entry, flushed. A disk that does not take it is no reason to stop; the log says so.
    pub fn record(&self, entry: &Entry) {
        if let Err(e) = self.try_record(entry) {
            warn!("audit: {e}; not written: {} from {}", entry.what, entry.from);
        }
    }

    fn try_record(&self, entry: &Entry) -> std::io::Result<()> {
        let _one_at_a_time = self.held();
        let names = if entry.what == REFUSED { REFUSALS } else { CHANGES };
        let [file, before] = names.map(|name| self.root().join(name));
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let files = self.files();
        let length = match files.length(&file) {
            Ok(length) => length,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
        if length + line.len() as u64 > AUDIT_BYTES_MAX {
            files.rename(&file, &before)?;
            // Before there is another file of that name: else both could be gone after a power cut.
            files.sync_dir(self.root())?;
        } else if length > 0 && files.read(&file, length - 1, 1)? != b"\n" {
            // The power failed within the last line; the next one must not be lost with it.
            line.insert(0, b'\n');
        }
        files.append(&file, &line)?;
        files.sync(&file)?;
        if length == 0 || length + line.len() as u64 > AUDIT_BYTES_MAX {
            files.sync_dir(self.root())?;
        }
        Ok(())
    }

    /// The entries that are kept, oldest first. Lines that a power cut damaged are left out.
    pub fn audit(&self) -> Vec<Entry> {
        let [changes, refusals] = [CHANGES, REFUSALS].map(|pair| self.entries(pair));
        let mut refusals = refusals.into_iter().peekable();
        let mut all = Vec::new();
        for change in changes {
            // Each row stays in its own order, whatever the camera's clock did.
            while let Some(refusal) = refusals.next_if(|refusal| refusal.at <= change.at) {
                all.push(refusal);
            }
            all.push(change);
        }
        all.extend(refusals);
        all
    }

    fn entries(&self, [latest, before]: Pair) -> Vec<Entry> {
        let read = |name: &str| self.files().read(&self.root().join(name), 0, 2 * AUDIT_BYTES_MAX);
        let both = [before, latest].map(|name| read(name).unwrap_or_default());
        let lines = both.iter().flat_map(|bytes| bytes.split(|byte| *byte == b'\n'));
        lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

/// Whether the audit of a store is where it is expected; for `doctor`-like checks and tests.
pub fn is_there(root: &Path) -> bool {
    root.join(CHANGES[0]).is_file()
}

#[cfg(test)]
mod tests {
    use super::super::simulated::{Found, SimDisk};
    use super::*;
    use std::sync::Arc;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // From `date -u -d @N`.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_750_198, "2026-11-27T03:29:58Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }

    #[test]
    fn a_power_cut_while_the_log_is_put_aside_loses_no_entry() {
        let disk = SimDisk::default();
        let open =
            |disk: &SimDisk| Store::with(Arc::new(disk.clone()), Path::new("/s"), 5).unwrap();
        open(&disk).record(&Entry::new("installed", "stick sda1").about("cap", 1));
        let mut long = disk.bytes(Path::new("/s/audit.jsonl")).unwrap();
        long.resize(AUDIT_BYTES_MAX as usize - 1, b' ');
        long.push(b'\n');
        disk.put(Path::new("/s/audit.jsonl"), &long);
        let second = Entry::new("rolled-back", "serial").about("cap", 2);
        let trial = disk.fork();
        let (store, before) = (open(&trial), trial.calls());
        store.record(&second);
        let calls = trial.calls() - before;
        assert!(calls > 3, "{calls}: nothing was put aside");
        for cut in 0..=calls {
            for found in Found::all(24) {
                let live = disk.fork();
                let store = open(&live);
                live.cut_after(cut);
                store.record(&second);
                let after = live.after_cut(found);
                let log: Vec<_> = open(&after).audit().iter().map(|entry| entry.version).collect();
                let whole = log == [Some(1)] || log == [Some(1), Some(2)];
                assert!(whole, "cut {cut} of {calls}, {found:?}: {log:?}");
                assert!(cut < calls || log.len() == 2, "{found:?}: the entry is not there");
            }
        }
    }

    #[test]
    fn refusals_push_no_change_out_of_the_log() {
        let store = Store::with(Arc::new(SimDisk::default()), Path::new("/s"), 5).unwrap();
        let change = |i: u32| store.record(&Entry::new("installed", "stick").about("cap", i));
        change(1);
        let long = "x".repeat(NOTE_BYTES_MAX);
        let flood = 3 * AUDIT_BYTES_MAX as usize / NOTE_BYTES_MAX;
        (0..flood).for_each(|_| store.record(&Entry::new(REFUSED, "serial").noting(&long)));
        change(2);
        let log = store.audit();
        assert!(log.len() < flood, "{}: nothing was put aside", log.len());
        let changes = log.iter().filter_map(|entry| entry.version);
        assert_eq!(changes.collect::<Vec<_>>(), [1, 2]);
        assert_eq!(log.last().unwrap().version, Some(2), "in the order in which they came");
    }

    #[test]
    fn the_log_is_bounded_and_a_torn_line_costs_only_itself() {
        let disk = SimDisk::default();
        let store = Store::with(Arc::new(disk.clone()), Path::new("/s"), 5).unwrap();
        let entry = |i: u32| Entry::new("installed", "stick sda1").about("cap", i);
        store.record(&entry(1));
        disk.tear(Path::new("/s/audit.jsonl"), 20);
        store.record(&entry(2));
        let versions: Vec<_> = store.audit().iter().map(|e| e.version).collect();
        assert_eq!(versions, [Some(2)]);
        let long = "x".repeat(2000);
        for i in 3..6000 {
            store.record(&entry(i).noting(&long));
        }
        let kept = store.audit();
        assert_eq!(kept.last().unwrap().version, Some(5999));
        assert_eq!(kept.last().unwrap().note.as_ref().unwrap().len(), NOTE_BYTES_MAX);
        let bytes = |name: &str| disk.bytes(&Path::new("/s").join(name)).unwrap().len() as u64;
        assert!(CHANGES.iter().all(|name| bytes(name) <= AUDIT_BYTES_MAX));
        assert!(kept.windows(2).all(|pair| pair[0].version < pair[1].version));
    }
}
