//! What a hostile bundle may be, in one table: TUF's attacks as far as bytes can carry them, and whatever a tar
//! can be abused for. What needs to know the camera (older versions, other boards) is tested where bundles are
//! taken in.

use super::tests::{card, packed, picture};
use super::*;
use crate::picture::encode_png;
use crate::recipe::{Recipe, RecipeError};
use tar::{EntryType, Header};

/// A tar written by somebody who knows how.
#[derive(Default)]
struct Evil(Vec<u8>);

impl Evil {
    fn header(kind: EntryType, name: &[u8], size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        header
    }

    fn entry(mut self, kind: EntryType, name: &[u8], bytes: &[u8]) -> Evil {
        self.0.extend(Self::header(kind, name, bytes.len() as u64).as_bytes());
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(TAR_BLOCK as usize), 0);
        self
    }

    fn file(self, name: &str, bytes: &[u8]) -> Evil {
        self.entry(EntryType::Regular, name.as_bytes(), bytes)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * TAR_BLOCK as usize, 0);
        self.0
    }
}

fn sound() -> Evil {
    let png = encode_png(&picture()).unwrap();
    Evil::default()
        .file("recipe.toml", card().emit().unwrap().as_bytes())
        .file("prompts/001.png", &png)
}

fn read(bytes: &[u8]) -> Result<Recipe, String> {
    Recipe::read_bundle(bytes, bytes.len() as u64, "b".as_ref()).map_err(|e| e.to_string())
}

fn with_card(change: impl FnOnce(String) -> String) -> Vec<u8> {
    let png = encode_png(&picture()).unwrap();
    let card = change(card().emit().unwrap());
    Evil::default().file("recipe.toml", card.as_bytes()).file("prompts/001.png", &png).end()
}

/// A PNG that says it is of that size, with next to no bytes in it.
fn png_of(width: u32, height: u32) -> Vec<u8> {
    let mut png = encode_png(&picture()).unwrap();
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = u32::MAX;
    for byte in &png[12..29] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    png[29..33].copy_from_slice(&(!crc).to_be_bytes());
    png
}

#[test]
fn the_hand_made_tar_is_a_sound_one() {
    assert!(read(&sound().end()).is_ok());
    let folders = sound().entry(EntryType::Directory, b"golden/fail/", b"");
    assert!(read(&folders.end()).is_ok());
}

#[test]
fn every_attack_is_refused_with_its_reason() {
    let link = |kind| sound().entry(kind, b"prompts/002.png", b"").end();
    let named = |name: &str| sound().file(name, b"x").end();
    let huge = {
        let mut evil = sound();
        evil.0.extend(Evil::header(EntryType::Regular, b"prompts/002.png", 10 << 30).as_bytes());
        evil.end()
    };
    let wrapped = {
        // A size that would wrap around where sums are not watched.
        let mut evil = sound();
        let mut header = Evil::header(EntryType::Regular, b"prompts/002.png", 0);
        header.as_mut_bytes()[124..136].copy_from_slice(&[0xff; 12]);
        header.set_cksum();
        evil.0.extend(header.as_bytes());
        evil.end()
    };
    let flood = {
        let mut evil = Evil::default();
        for i in 0..1000 {
            evil = evil.file(&format!("golden/pass/{i}.png"), b"");
        }
        evil.end()
    };
    let trailing = [sound().end(), packed()].concat();
    let second_tar = {
        let mut bytes = sound().end();
        bytes.truncate(bytes.len() - TAR_BLOCK as usize);
        [bytes, packed()].concat()
    };
    let endless = |bytes: u64| {
        Recipe::read_bundle(std::io::repeat(0), bytes, "b".as_ref()).unwrap_err().to_string()
    };
    let text = |value: &str| {
        with_card(|card| {
            card.replace("false_reject_ppm = 1000", &format!("false_reject_ppm = {value}"))
        })
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("truncated in a header", sound().end()[..700].to_vec(), "ends too early"),
        ("truncated in a file", sound().end()[..1600].to_vec(), "ends too early"),
        ("without its end", sound().0, "ends too early"),
        ("empty", Vec::new(), "ends too early"),
        ("no tar", b"GIF89a".repeat(200), "checksum"),
        ("path traversal", named("../../etc/passwd"), "does not belong into a recipe"),
        ("traversal by a prompt", named("prompts/../../x.png"), "does not belong"),
        ("absolute path", named("/etc/passwd"), "does not belong"),
        ("hidden file", named("prompts/.x.png"), "does not belong"),
        ("a stranger", named("run.sh"), "does not belong"),
        ("a name with a line end", named("prompts/a\nb.png"), "does not belong"),
        (
            "a name that is no text",
            sound().entry(EntryType::Regular, b"prompts/\xff.png", b"").end(),
            "does not belong",
        ),
        (
            "a strange folder",
            sound().entry(EntryType::Directory, b"bin/", b"").end(),
            "does not belong",
        ),
        ("symbolic link", link(EntryType::Symlink), "a symbolic link"),
        ("hard link", link(EntryType::Link), "a hard link"),
        ("character device", link(EntryType::Char), "a device"),
        ("block device", link(EntryType::Block), "a device"),
        ("pipe", link(EntryType::Fifo), "a pipe"),
        ("sparse file", link(EntryType::GNUSparse), "a sparse file"),
        ("GNU long name", link(EntryType::GNULongName), "an over-long name"),
        ("pax header", link(EntryType::XHeader), "an extended header"),
        ("global pax header", link(EntryType::XGlobalHeader), "an extended header"),
        ("unknown kind", link(EntryType::Continuous), "not known"),
        ("the same name twice", sound().file("prompts/001.png", b"").end(), "in it twice"),
        ("the same name with ./", sound().file("./prompts/001.png", b"").end(), "in it twice"),
        ("10 GiB in a header", huge, "more than"),
        ("a size that wraps", wrapped, "more than"),
        ("1,000 entries", flood, "picture"),
        ("a second bundle behind the first", trailing, "after its end"),
        ("a second bundle behind one block", second_tar, "after its end"),
        ("an endless card", sound_with_card_of(100_000), "more than 65536 bytes"),
        ("NaN in the card", text("nan"), "recipe.toml"),
        ("inf in the card", text("inf"), "recipe.toml"),
        ("a negative rate", text("-1"), "recipe.toml"),
        ("a rate above the limit", text("999999"), "false_reject_ppm"),
        ("an unknown key", with_card(|c| format!("evil = 1\n{c}")), "evil"),
        ("a name that is a path", with_card(|c| c.replace("\"cap\"", "\"../cap\"")), "name"),
        (
            "no card",
            Evil::default().file("prompts/1.png", &encode_png(&picture()).unwrap()).end(),
            "not in the bundle",
        ),
        (
            "no prompt",
            Evil::default().file("recipe.toml", card().emit().unwrap().as_bytes()).end(),
            "no picture",
        ),
        (
            "a PNG of 4 billion by 4 billion",
            sound().file("prompts/2.png", &png_of(u32::MAX, u32::MAX)).end(),
            "prompts/2.png",
        ),
        (
            "a PNG of 64 million pixels in 1 kB",
            sound().file("prompts/2.png", &png_of(8192, 8192)).end(),
            "prompts/2.png",
        ),
        (
            "a PNG that is a script",
            sound().file("prompts/2.png", b"#!/bin/sh\nreboot\n").end(),
            "prompts/2.png",
        ),
    ];
    for (what, bytes, reason) in &cases {
        match read(bytes) {
            Ok(_) => panic!("{what}: taken"),
            Err(why) => {
                assert!(why.contains(reason), "{what}: {why}");
                assert!(!why.contains('\n') || why.contains("recipe.toml"), "{what}: {why}");
            }
        }
    }
    assert!(endless(u64::MAX).contains("at most 268435456"));
}

fn sound_with_card_of(bytes: usize) -> Vec<u8> {
    with_card(|card| format!("{card}# {}\n", "x".repeat(bytes)))
}

#[test]
fn a_million_entries_cost_no_more_than_the_bound() {
    // Sound names only, so that nothing but their number is wrong.
    let mut evil = Evil::default();
    for i in 0..=ENTRIES_MAX {
        evil = evil.file(&format!("golden/pass/{i}.png"), b"");
    }
    let bytes = evil.end();
    let mut seen = 0;
    let walked = walk(&mut &bytes[..], bytes.len() as u64, |_, _| {
        seen += 1;
        Ok::<_, BundleError>(())
    });
    assert_eq!((walked, seen), (Err(BundleError::TooManyEntries), ENTRIES_MAX));
}

#[test]
fn a_picture_of_many_pixels_is_refused_by_its_header() {
    let bytes = sound().file("prompts/2.png", &png_of(16384, 16384)).end();
    let refused = Recipe::read_bundle(&bytes[..], bytes.len() as u64, "b".as_ref());
    assert!(matches!(refused, Err(RecipeError::Picture(_))), "{refused:?}");
}
