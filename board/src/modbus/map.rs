//! The register map: one table, from which the documentation, the checks and the answers come.

use std::fmt::Write;

/// Changes when an address changes its meaning.
pub const VERSION: u16 = 1;
/// Results that wait to be acknowledged.
pub const RING: usize = 8;
/// Words of one result in the ring.
pub const RESULT_WORDS: u16 = 10;
/// Words of the reason's text, two characters each.
pub const REASON_WORDS: u16 = (crate::results::REASON_BYTES_MAX / 2) as u16;

/// One of Modbus' four address spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Bits that can be written: functions 1, 5, 15.
    Coil,
    /// Bits: function 2.
    Discrete,
    /// Words: function 4.
    Input,
    /// Words that can be written: functions 3, 6, 16.
    Holding,
}

impl Space {
    /// All, in the order of the documentation.
    pub const ALL: [Space; 4] = [Space::Coil, Space::Discrete, Space::Input, Space::Holding];

    fn title(self) -> &'static str {
        match self {
            Space::Coil => "Coils: read (1), write (5, 15)",
            Space::Discrete => "Discrete inputs: read (2)",
            Space::Input => "Input registers: read (4)",
            Space::Holding => "Holding registers: read (3), write (6, 16)",
        }
    }
}

/// What stands at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table below says what each is")]
pub enum Field {
    TriggerEnable,
    Trigger,
    ResultsAck,
    Teach,
    Acknowledge,
    RecipeChange,
    Online,
    Ready,
    Busy,
    Missed,
    ResultsValid,
    Overrun,
    Pass,
    Reject,
    Error,
    ResultToggle,
    CommandBusy,
    CommandFailed,
    MapVersion,
    ResultsWaiting,
    RecipeCount,
    ActiveRecipe,
    Identity,
    Parts,
    Passed,
    Rejected,
    Late,
    MissedTotal,
    Overload,
    ResultsLost,
    Results,
    Reason,
    RecipeNumber,
}

/// A row of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub space: Space,
    /// First address, from 0.
    pub address: u16,
    /// How many bits or words.
    pub count: u16,
    /// What it is.
    pub field: Field,
    /// Its name in the documentation.
    pub name: &'static str,
    /// What it means.
    pub what: &'static str,
}

const fn row(
    space: Space,
    address: u16,
    count: u16,
    field: Field,
    name: &'static str,
    what: &'static str,
) -> Entry {
    Entry { space, address, count, field, name, what }
}

/// The map. Addresses are never used again for something else.
#[rustfmt::skip]
pub const MAP: &[Entry] = &[
    row(Space::Coil, 0, 1, Field::TriggerEnable, "trigger_enable", "1: the trigger coil is heard"),
    row(Space::Coil, 1, 1, Field::Trigger, "trigger", "0 to 1: inspect a part now; `missed` is set where that cannot be"),
    row(Space::Coil, 2, 1, Field::ResultsAck, "results_ack", "0 to 1: the oldest result has been read; the next one takes its place"),
    row(Space::Coil, 3, 1, Field::Teach, "teach", "0 to 1: learn the part that is there now"),
    row(Space::Coil, 4, 1, Field::Acknowledge, "acknowledge", "0 to 1: a person has seen the error; clears `missed` and `overrun` too"),
    row(Space::Coil, 5, 1, Field::RecipeChange, "recipe_change", "0 to 1: change to the recipe in `recipe_number`"),
    row(Space::Discrete, 0, 1, Field::Online, "online", "inspecting"),
    row(Space::Discrete, 1, 1, Field::Ready, "ready", "the next part can come"),
    row(Space::Discrete, 2, 1, Field::Busy, "busy", "a part is being inspected"),
    row(Space::Discrete, 3, 1, Field::Missed, "missed", "a trigger over this wire could not be taken"),
    row(Space::Discrete, 4, 1, Field::ResultsValid, "results_valid", "the oldest result can be read"),
    row(Space::Discrete, 5, 1, Field::Overrun, "overrun", "results were lost because nobody acknowledged: treat those parts as rejected"),
    row(Space::Discrete, 6, 1, Field::Pass, "pass", "the oldest result is a pass"),
    row(Space::Discrete, 7, 1, Field::Reject, "reject", "the oldest result is a reject"),
    row(Space::Discrete, 8, 1, Field::Error, "error", "something needs a person"),
    row(Space::Discrete, 9, 1, Field::ResultToggle, "result_toggle", "changes with every result that becomes the oldest"),
    row(Space::Discrete, 10, 1, Field::CommandBusy, "command_busy", "a command waits for its outcome"),
    row(Space::Discrete, 11, 1, Field::CommandFailed, "command_failed", "the last command was refused"),
    row(Space::Input, 0, 1, Field::MapVersion, "map_version", "of this table"),
    row(Space::Input, 1, 1, Field::ResultsWaiting, "results_waiting", "results in the ring, 0 to 8"),
    row(Space::Input, 2, 1, Field::RecipeCount, "recipe_count", "recipes that can be chosen"),
    row(Space::Input, 3, 1, Field::ActiveRecipe, "active_recipe", "the active recipe's number, 65535 where it has none"),
    row(Space::Input, 4, 4, Field::Identity, "identity", "hash over model and recipe: changes when either was changed"),
    row(Space::Input, 8, 2, Field::Parts, "parts", "parts announced"),
    row(Space::Input, 10, 2, Field::Passed, "passed", "parts passed"),
    row(Space::Input, 12, 2, Field::Rejected, "rejected", "parts rejected"),
    row(Space::Input, 14, 2, Field::Late, "late", "of these: no verdict in time"),
    row(Space::Input, 16, 2, Field::MissedTotal, "missed_total", "triggers that the line could not take"),
    row(Space::Input, 18, 2, Field::Overload, "overload", "parts rejected because there was too much to do"),
    row(Space::Input, 20, 2, Field::ResultsLost, "results_lost", "results that found the ring full"),
    row(Space::Input, 100, RING as u16 * RESULT_WORDS, Field::Results, "results", "the ring, oldest first, 10 words each: number (1), part (2), verdict (1: 0 none, 1 pass, 2 reject), score (2, float), p-value (2, float), microseconds (2)"),
    row(Space::Input, 200, REASON_WORDS, Field::Reason, "reason", "the oldest result's reason, two ASCII characters a word, zeros after it"),
    row(Space::Holding, 0, 1, Field::RecipeNumber, "recipe_number", "for `recipe_change`: from 0 in the order of `recipe list`"),
];

/// Everything that can be written. None of it changes how a part is judged; a test holds the table to this.
pub const WRITABLE: [&str; 7] = [
    "trigger_enable",
    "trigger",
    "results_ack",
    "teach",
    "acknowledge",
    "recipe_change",
    "recipe_number",
];

/// The row that an address belongs to, and its place within it.
pub fn find(space: Space, address: u16) -> Option<(Field, u16)> {
    let row = MAP.iter().find(|row| {
        row.space == space && (row.address..row.address + row.count).contains(&address)
    })?;
    Some((row.field, address - row.address))
}

/// The documentation of the map: `board/docs/modbus.md`.
pub fn documentation() -> String {
    let mut text = String::from(
        "<!-- Made from board/src/modbus/map.rs; `BLESS=1 cargo test -p touchstone-board modbus` writes it anew. -->\n\
         # The Modbus registers\n\n\
         RTU on a serial port (`[[serial]] role = \"modbus\"`, 8 data bits, no parity, one stop bit) and TCP\n\
         (`[modbus] tcp = true`, on the loopback address unless `address` says otherwise: Modbus knows no\n\
         password). Off where the board file asks for neither. Addresses count from 0; values of two words have\n\
         the higher word first, floats are IEEE 754. Functions 1 to 6, 15 and 16; anything else, and any address\n\
         not listed, is answered with an exception, and a write with one wrong address in it changes nothing.\n\n\
         - **Results**: when `results_valid` is 1, or `result_toggle` has changed, read the first result, then\n\
           set `results_ack` to 1 and back to 0. The ring holds 8; one that finds it full is lost, counted, and\n\
           sets `overrun`.\n\
         - **Trigger**: `trigger_enable` to 1 once, then `trigger` to 1 and back to 0 per part while `ready`.\n\
         - **Commands** act on the change from 0 to 1. `command_busy` is 1 until the line has dealt with it.\n\
         - No register changes how a part is judged.\n",
    );
    for space in Space::ALL {
        // Writing into a String cannot fail.
        let _ = write!(
            text,
            "\n## {}\n\n| address | count | name | meaning |\n|---|---|---|---|\n",
            space.title()
        );
        for row in MAP.iter().filter(|row| row.space == space) {
            let _ = writeln!(
                text,
                "| {} | {} | `{}` | {} |",
                row.address, row.count, row.name, row.what
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_do_not_overlap_and_names_are_one_each() {
        for (i, row) in MAP.iter().enumerate() {
            assert!(row.count > 0);
            for other in &MAP[..i] {
                assert_ne!((row.name, row.field), (other.name, row.field));
                let apart = other.address + other.count <= row.address
                    || row.address + row.count <= other.address;
                assert!(row.space != other.space || apart, "{} and {}", row.name, other.name);
            }
        }
    }

    #[test]
    fn only_harmless_things_can_be_written() {
        let writable: Vec<&str> = MAP
            .iter()
            .filter(|row| matches!(row.space, Space::Coil | Space::Holding))
            .map(|row| row.name)
            .collect();
        assert_eq!(writable, WRITABLE);
        let judging = ["threshold", "rate", "score", "sensitiv", "limit"];
        assert!(!writable.iter().any(|name| judging.iter().any(|word| name.contains(word))));
    }

    #[test]
    fn the_documentation_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/modbus.md");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, documentation()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == documentation(),
            "board/docs/modbus.md is not what the table says; run the test with BLESS=1"
        );
    }
}
