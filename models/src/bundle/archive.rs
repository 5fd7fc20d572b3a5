//! The tar of a bundle: strict on the way in, plain on the way out.
//!
//! Any tar that holds a recipe and nothing else is read, whoever made it: entries in any order, folders, names
//! with `./` in front. Links, devices, sparse files, extended headers and numbers beyond octal are refused.

use super::{BUNDLE_BYTES_MAX, BundleError};
use crate::image_posterior::IMAGE_POSTERIOR_BYTES_MAX;
use crate::picture::PICTURE_BYTES_MAX;
use crate::recipe::{GOLDEN_MAX, PROMPTS_MAX, RECIPE_CARD_BYTES_MAX};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use tar::{Builder, EntryType, Header};

/// Tar counts in blocks of so many bytes.
pub const TAR_BLOCK: u64 = 512;

/// Most entries: card, mask, prompts, golden pictures of both kinds, and the folders around them.
pub const ENTRIES_MAX: usize = 3 + PROMPTS_MAX + 2 * GOLDEN_MAX + FOLDERS.len() + 1;

/// Longest name of a file within its folder.
const NAME_BYTES_MAX: usize = 80;
const FOLDERS: [&str; 4] = ["prompts", "golden", "golden/pass", "golden/fail"];
const PIECE: usize = 16 << 10;

/// What a file of a recipe is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// `recipe.toml`.
    Card,
    /// `ignore.png`.
    Ignore,
    /// `elsewhere.good`.
    Elsewhere,
    /// `prompts/*.png`.
    Prompt,
    /// `golden/pass/*.png`.
    GoldenPass,
    /// `golden/fail/*.png`.
    GoldenFail,
}

impl Place {
    /// What a name within a recipe stands for, if anything.
    pub fn of(path: &str) -> Option<Place> {
        match path {
            "recipe.toml" => return Some(Place::Card),
            "ignore.png" => return Some(Place::Ignore),
            "elsewhere.good" => return Some(Place::Elsewhere),
            _ => {}
        }
        let (folder, name) = path.rsplit_once('/')?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let stem = name.strip_suffix(".png")?;
        let sound = !stem.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && !name.starts_with('.')
            && name.bytes().all(plain);
        match folder {
            _ if !sound => None,
            "prompts" => Some(Place::Prompt),
            "golden/pass" => Some(Place::GoldenPass),
            "golden/fail" => Some(Place::GoldenFail),
            _ => None,
        }
    }

    fn bytes_max(self) -> u64 {
        match self {
            Place::Card => RECIPE_CARD_BYTES_MAX,
            Place::Elsewhere => IMAGE_POSTERIOR_BYTES_MAX,
            Place::Ignore | Place::Prompt | Place::GoldenPass | Place::GoldenFail => {
                PICTURE_BYTES_MAX
            }
        }
    }
}

/// A file within a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name within the recipe.
    pub path: String,
    /// What it is.
    pub place: Place,
    /// Where its bytes begin in the bundle.
    pub at: u64,
    /// How many there are.
    pub length: u64,
}

/// Walks through a bundle of `size` bytes and hands each file with its bytes to `each`, which may read as much
/// of them as it likes. Memory held is one block.
///
/// # Errors
/// The first thing that is not as it must be, or what `each` says.
pub fn walk<E: From<BundleError>>(
    reader: &mut impl Read,
    size: u64,
    mut each: impl FnMut(&Member, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    if size > BUNDLE_BYTES_MAX {
        return Err(BundleError::TooLarge { bytes: size }.into());
    }
    let mut at = 0;
    let mut seen = BTreeSet::new();
    loop {
        let Some(block) = next_block(reader, at)? else {
            // A tar without its end is one that was cut.
            return Err(BundleError::Truncated.into());
        };
        if block.iter().all(|byte| *byte == 0) {
            return Ok(only_zeros(reader)?);
        }
        let entry = Entry::parse(&block, at)?;
        at += TAR_BLOCK;
        if seen.len() == ENTRIES_MAX {
            return Err(BundleError::TooManyEntries.into());
        }
        if !seen.insert(entry.path.clone()) {
            return Err(BundleError::Twice { name: entry.path }.into());
        }
        let Some(place) = entry.place else { continue };
        // Looked at before a byte of it is read: a claim of ten gigabytes costs nothing.
        if at.saturating_add(entry.length) > size {
            return Err(BundleError::Truncated.into());
        }
        let member = Member { path: entry.path, place, at, length: entry.length };
        let padded = entry.length.next_multiple_of(TAR_BLOCK);
        let mut bytes = reader.by_ref().take(entry.length);
        each(&member, &mut bytes)?;
        let unread = bytes.limit();
        skip(reader, unread + padded - entry.length)?;
        at += padded;
    }
}

/// Reads a block, or nothing at the end.
fn next_block(
    reader: &mut impl Read,
    at: u64,
) -> Result<Option<[u8; TAR_BLOCK as usize]>, BundleError> {
    let mut block = [0; TAR_BLOCK as usize];
    let mut got = 0;
    while got < block.len() {
        match reader.read(&mut block[got..]) {
            Ok(0) if got == 0 => return Ok(None),
            Ok(0) if at == 0 => {
                return Err(BundleError::Header { at, why: "it is shorter than a block" });
            }
            Ok(0) => return Err(BundleError::Truncated),
            Ok(more) => got += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(BundleError::Read { why: e.to_string() }),
        }
    }
    Ok(Some(block))
}

fn skip(reader: &mut impl Read, count: u64) -> Result<(), BundleError> {
    let skipped = io::copy(&mut reader.take(count), &mut io::sink());
    match skipped.map_err(|e| BundleError::Read { why: e.to_string() })? {
        all if all == count => Ok(()),
        _ => Err(BundleError::Truncated),
    }
}

/// After the first empty block there are only more: at least one, and tar's filling.
fn only_zeros(reader: &mut impl Read) -> Result<(), BundleError> {
    let mut piece = [0; PIECE];
    let mut total = 0;
    loop {
        match reader.read(&mut piece) {
            Ok(0) if total < TAR_BLOCK => return Err(BundleError::Truncated),
            Ok(0) => return Ok(()),
            Ok(read) if piece[..read].iter().any(|byte| *byte != 0) => {
                return Err(BundleError::Trailing);
            }
            Ok(read) => total += read as u64,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(BundleError::Read { why: e.to_string() }),
        }
    }
}

/// A checked header.
struct Entry {
    path: String,
    /// `None` for a folder.
    place: Option<Place>,
    length: u64,
}

impl Entry {
    fn parse(block: &[u8; TAR_BLOCK as usize], at: u64) -> Result<Entry, BundleError> {
        let bad = |why| BundleError::Header { at, why };
        let header = Header::from_byte_slice(block);
        let sum = header.cksum().map_err(|_| bad("its checksum is no number"))?;
        if sum != checksum(block) {
            return Err(bad("its checksum does not fit"));
        }
        if &block[257..262] != b"ustar" {
            return Err(bad("it has no ustar mark"));
        }
        let name = |path: &[u8]| printable(path);
        let raw = header.path_bytes();
        let kind = header.entry_type();
        if let Some(kind) = refused(kind) {
            return Err(BundleError::Kind { name: name(&raw), kind });
        }
        // GNU's way to write numbers above eight gigabytes; no file here is that large.
        if block[124] & 0x80 != 0 {
            return Err(BundleError::MemberTooLarge { name: name(&raw), limit: PICTURE_BYTES_MAX });
        }
        let length = header.entry_size().map_err(|_| bad("its size is no octal number"))?;
        let wrong_name = || BundleError::Name { name: name(&raw) };
        let path = std::str::from_utf8(&raw).map_err(|_| wrong_name())?;
        let path = path.strip_prefix("./").unwrap_or(path);
        if kind == EntryType::Directory {
            let folder = path.strip_suffix('/').unwrap_or(path);
            // "./" itself is what `tar -C recipe .` begins with.
            let known = matches!(folder, "" | ".") || FOLDERS.contains(&folder);
            if !known {
                return Err(wrong_name());
            }
            if length != 0 {
                return Err(bad("a folder with bytes in it"));
            }
            return Ok(Entry { path: format!("{folder}/"), place: None, length });
        }
        let place = Place::of(path).ok_or_else(wrong_name)?;
        let limit = place.bytes_max();
        if length > limit {
            return Err(BundleError::MemberTooLarge { name: path.to_owned(), limit });
        }
        Ok(Entry { path: path.to_owned(), place: Some(place), length })
    }
}

/// What an entry is that must not be here.
fn refused(kind: EntryType) -> Option<&'static str> {
    match kind {
        EntryType::Regular | EntryType::Directory => None,
        EntryType::Link => Some("a hard link"),
        EntryType::Symlink => Some("a symbolic link"),
        EntryType::Char | EntryType::Block => Some("a device"),
        EntryType::Fifo => Some("a pipe"),
        EntryType::GNUSparse => Some("a sparse file"),
        EntryType::GNULongName | EntryType::GNULongLink => Some("an over-long name"),
        EntryType::XHeader | EntryType::XGlobalHeader => Some("an extended header"),
        _ => Some("of a kind that is not known"),
    }
}

/// The sum of all bytes, those of the checksum itself taken for spaces.
fn checksum(block: &[u8; TAR_BLOCK as usize]) -> u32 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..])
}

/// A name for people, whatever is in it.
fn printable(bytes: &[u8]) -> String {
    const SHOWN: usize = 100;
    let text = String::from_utf8_lossy(bytes);
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().count() > SHOWN {
        shown.push_str("...");
    }
    shown
}

/// Writes files as a plain tar that is the same for the same files: no owner, no time, no folders.
///
/// # Errors
/// The writer's.
pub fn pack<'a, B: AsRef<[u8]> + 'a>(
    files: impl IntoIterator<Item = (&'a str, B)>,
    to: impl Write,
) -> io::Result<()> {
    let mut builder = Builder::new(to);
    for (path, bytes) in files {
        let bytes = bytes.as_ref();
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_path(path)?;
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        builder.append(&header, bytes)?;
    }
    builder.finish()
}
