//! The archive: pictures of parts with their map and their verdict, bounded by space, the oldest making room.
//!
//! ```text
//! NUMBER-reject.png       the camera's picture, lossless
//! NUMBER-reject.map.png   what differs, 16-bit grey, 65535 = 1.0
//! NUMBER-reject.json      the verdict, with the identity of model, recipe and threshold
//! ```
//!
//! The JSON comes last and goes first: where it is, all of the three are whole. What a power cut leaves without one
//! is removed at the next start.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::RESERVE_BYTES;
use crate::store::files::{Files, make_lasting_dir};

const PICTURE: &str = ".png";
const MAP: &str = ".map.png";
const RECORD: &str = ".json";
const PART: &str = ".json.part";
/// In the order in which they are removed.
const ENDS: [&str; 4] = [RECORD, PART, MAP, PICTURE];

/// What is kept of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhibit {
    /// `pass` or `reject`, for the name.
    pub verdict: &'static str,
    /// The picture as a PNG file.
    pub picture: Vec<u8>,
    /// The map as a PNG file.
    pub map: Option<Vec<u8>>,
    /// The verdict as JSON.
    pub record: Vec<u8>,
}

/// A part that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    /// Name without its end.
    stem: String,
    bytes: u64,
}

/// A folder of pictures.
pub struct Archive {
    files: Arc<dyn Files>,
    dir: PathBuf,
    bytes_max: u64,
    kept: VecDeque<Kept>,
    total: u64,
    next: u64,
}

/// Name without end, and number, of a file of the archive.
fn parse(name: &str) -> Option<(&str, u64)> {
    let stem = ENDS.iter().find_map(|end| name.strip_suffix(end))?;
    let (digits, verdict) = stem.split_once('-')?;
    let ours = digits.len() == 10 && ["pass", "reject"].contains(&verdict);
    digits.parse().ok().filter(|_| ours).map(|number| (stem, number))
}

impl Archive {
    /// The archive in `dir`, which is made if it is not there; at most `bytes_max` bytes of pictures.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(files: Arc<dyn Files>, dir: &Path, bytes_max: u64) -> io::Result<Self> {
        make_lasting_dir(files.as_ref(), dir)?;
        let names = files.list(dir)?;
        let mut found: BTreeMap<(u64, &str), (bool, u64)> = BTreeMap::new();
        for name in &names {
            let Some((stem, number)) = parse(name) else { continue };
            let (whole, bytes) = found.entry((number, stem)).or_default();
            *whole |= name.ends_with(RECORD);
            *bytes += files.length(&dir.join(name)).unwrap_or(0);
        }
        let next = found.keys().last().map_or(0, |(number, _)| number + 1);
        let mut archive = Self {
            files: Arc::clone(&files),
            dir: dir.to_owned(),
            bytes_max,
            kept: VecDeque::new(),
            total: 0,
            next,
        };
        for ((_, stem), (whole, bytes)) in found {
            let stem = stem.to_owned();
            match whole {
                true => {
                    archive.total += bytes;
                    archive.kept.push_back(Kept { stem, bytes });
                }
                false => archive.remove(&stem)?,
            }
        }
        while archive.total > bytes_max && archive.drop_oldest()? {}
        Ok(archive)
    }

    /// How many parts and bytes are kept.
    pub fn kept(&self) -> (usize, u64) {
        (self.kept.len(), self.total)
    }

    fn path(&self, stem: &str, end: &str) -> PathBuf {
        self.dir.join(format!("{stem}{end}"))
    }

    fn remove(&self, stem: &str) -> io::Result<()> {
        for end in ENDS {
            match self.files.remove(&self.path(stem, end)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            if end == RECORD {
                // Gone for good before what it vouches for goes.
                self.files.sync_dir(&self.dir)?;
            }
        }
        Ok(())
    }

    /// Removes the oldest; false where there is none.
    fn drop_oldest(&mut self) -> io::Result<bool> {
        let Some(oldest) = self.kept.front().cloned() else { return Ok(false) };
        self.remove(&oldest.stem)?;
        self.kept.pop_front();
        self.total -= oldest.bytes;
        Ok(true)
    }

    /// Keeps a part.
    ///
    /// # Errors
    /// Larger than the whole archive, no room on the disk even without the others, or the disk's.
    pub fn keep(&mut self, exhibit: &Exhibit) -> io::Result<()> {
        let map = exhibit.map.as_deref().unwrap_or_default();
        let bytes = (exhibit.picture.len() + map.len() + exhibit.record.len()) as u64;
        if bytes > self.bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{bytes} bytes are more than the archive may have"),
            ));
        }
        while self.total + bytes > self.bytes_max && self.drop_oldest()? {}
        while self.files.free(&self.dir)? < bytes + RESERVE_BYTES {
            if !self.drop_oldest()? {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let stem = format!("{:010}-{}", self.next, exhibit.verdict);
        let done = self.write(&stem, exhibit);
        if done.is_err() {
            // What cannot be removed now is removed at the next start.
            let _ = self.remove(&stem);
            return done;
        }
        self.next += 1;
        self.kept.push_back(Kept { stem, bytes });
        self.total += bytes;
        Ok(())
    }

    fn write(&self, stem: &str, exhibit: &Exhibit) -> io::Result<()> {
        let files = &self.files;
        let put = |end: &str, bytes: &[u8]| {
            let path = self.path(stem, end);
            files.write(&path, bytes)?;
            files.sync(&path)
        };
        put(PICTURE, &exhibit.picture)?;
        if let Some(map) = &exhibit.map {
            put(MAP, map)?;
        }
        put(PART, &exhibit.record)?;
        files.sync_dir(&self.dir)?;
        files.rename(&self.path(stem, PART), &self.path(stem, RECORD))?;
        files.sync_dir(&self.dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::simulated::{Found, SimDisk};

    const DIR: &str = "/out/archive";

    fn exhibit(seed: u8) -> Exhibit {
        let verdict = if seed.is_multiple_of(3) { "pass" } else { "reject" };
        Exhibit {
            verdict,
            picture: vec![seed; 1500],
            map: seed.is_multiple_of(2).then(|| vec![seed ^ 0xff; 700]),
            record: format!("{{\"part\":{seed}}}").into_bytes(),
        }
    }

    fn open(disk: &SimDisk, bytes_max: u64) -> Archive {
        Archive::open(Arc::new(disk.clone()), Path::new(DIR), bytes_max).unwrap()
    }

    /// Numbers of the parts that are there, each of which must be whole.
    fn there(disk: &SimDisk, archive: &Archive) -> Vec<u8> {
        let mut seeds = Vec::new();
        for kept in &archive.kept {
            let bytes = |end: &str| disk.bytes(&archive.path(&kept.stem, end));
            let record = String::from_utf8(bytes(RECORD).unwrap()).unwrap();
            let seed: u8 = record["{\"part\":".len()..record.len() - 1].parse().unwrap();
            assert_eq!(bytes(PICTURE), Some(exhibit(seed).picture), "{}", kept.stem);
            assert_eq!(bytes(MAP), exhibit(seed).map, "{}", kept.stem);
            seeds.push(seed);
        }
        let files = disk.all().iter().filter(|file| file.starts_with(DIR)).count();
        let maps = seeds.iter().filter(|seed| seed.is_multiple_of(2)).count();
        assert_eq!(files, 2 * seeds.len() + maps, "something is left over: {:?}", disk.all());
        seeds
    }

    #[test]
    fn the_oldest_makes_room_and_the_bound_holds() {
        let disk = SimDisk::default();
        let mut archive = open(&disk, 6000);
        for seed in 0..10 {
            archive.keep(&exhibit(seed)).unwrap();
            assert!(archive.kept().1 <= 6000);
        }
        assert_eq!(there(&disk, &archive), [7, 8, 9]);
        // The numbers go on, and a smaller bound holds at once.
        let mut archive = open(&disk, 4000);
        assert_eq!(there(&disk, &archive), [8, 9]);
        archive.keep(&exhibit(10)).unwrap();
        assert!(disk.bytes(&Path::new(DIR).join("0000000010-reject.png")).is_some());
        let large = Exhibit { picture: vec![0; 5000], ..exhibit(1) };
        assert_eq!(archive.keep(&large).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        // On a full disk the others make room; with nothing left the part is not kept.
        disk.fill(RESERVE_BYTES);
        assert_eq!(archive.keep(&exhibit(11)).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(there(&disk, &archive), Vec::<u8>::new());
    }

    #[test]
    fn whenever_the_power_fails_every_part_that_is_there_is_whole() {
        let before = SimDisk::default();
        let mut archive = open(&before, 4500);
        (0..3).for_each(|seed| archive.keep(&exhibit(seed)).unwrap());
        let kept = there(&before, &archive);
        let trial = before.fork();
        let (mut archive, start) = (open(&trial, 4500), trial.calls());
        archive.keep(&exhibit(4)).unwrap();
        let calls = trial.calls() - start;
        assert!(calls > 8, "{calls}: nothing made room");
        for cut in 0..=calls {
            for found in Found::all(24) {
                let live = before.fork();
                let mut archive = open(&live, 4500);
                live.cut_after(cut);
                let _ = archive.keep(&exhibit(4));
                let after = live.after_cut(found);
                let archive = open(&after, 4500);
                let seeds = there(&after, &archive);
                let known = |seed: &u8| kept.contains(seed) || *seed == 4;
                assert!(seeds.iter().all(known), "cut {cut}, {found:?}: {seeds:?}");
                assert!(cut < calls || seeds.contains(&4), "cut {cut}, {found:?}: {seeds:?}");
            }
        }
    }

    #[test]
    fn whatever_call_fails_the_next_part_is_kept() {
        for errno in [5, 28, 30] {
            for call in 0..14 {
                let disk = SimDisk::default();
                let mut archive = open(&disk, 4500);
                (0..3).for_each(|seed| archive.keep(&exhibit(seed)).unwrap());
                disk.fail_after(call, false, errno);
                let _ = archive.keep(&exhibit(4));
                disk.mend();
                archive.keep(&exhibit(5)).unwrap();
                let archive = open(&disk, 4500);
                assert!(there(&disk, &archive).contains(&5), "call {call}");
            }
        }
    }
}
