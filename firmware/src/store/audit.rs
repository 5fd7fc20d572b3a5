//! The audit: who changed what, when, from where. Append-only, bounded, one JSON object per line.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use log::warn;
use serde::{Deserialize, Serialize};

use super::Store;

/// Bytes after which the log is put aside; the one put aside before goes. So twice as many are kept at most.
pub const AUDIT_BYTES_MAX: u64 = 1 << 20;
/// Longest note, in bytes.
const NOTE_BYTES_MAX: usize = 512;

const AUDIT_FILE: &str = "audit.jsonl";
const AUDIT_BEFORE: &str = "audit.1.jsonl";

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
            at: now(),
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
        let (file, before) = (self.root().join(AUDIT_FILE), self.root().join(AUDIT_BEFORE));
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
        let read = |name: &str| self.files().read(&self.root().join(name), 0, 2 * AUDIT_BYTES_MAX);
        let both = [AUDIT_BEFORE, AUDIT_FILE].map(|name| read(name).unwrap_or_default());
        let lines = both.iter().flat_map(|bytes| bytes.split(|byte| *byte == b'\n'));
        lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

/// Whether the audit of a store is where it is expected; for `doctor`-like checks and tests.
pub fn is_there(root: &Path) -> bool {
    root.join(AUDIT_FILE).is_file()
}

#[cfg(test)]
mod tests {
    use super::super::simulated::SimDisk;
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
        assert!(bytes(AUDIT_FILE) <= AUDIT_BYTES_MAX && bytes(AUDIT_BEFORE) <= AUDIT_BYTES_MAX);
        assert!(kept.windows(2).all(|pair| pair[0].version < pair[1].version));
    }
}
