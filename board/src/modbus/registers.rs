//! What stands in the registers, and what a write to them asks for. Pure.

use super::map::{self, Field, RESULT_WORDS, RING, Space};
use crate::command::{Command, RecipeName};
use crate::results::{ResultRecord, Status};

/// What the far end of an address has to say to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not in the map.
    Address,
    /// There, and cannot have that value.
    Value,
}

/// The state behind the map.
#[derive(Clone, Debug, Default)]
pub struct Registers {
    status: Status,
    recipes: Vec<RecipeName>,
    /// Oldest first, each with its running number.
    ring: heapless::Deque<(u16, ResultRecord), RING>,
    next_number: u16,
    toggle: bool,
    lost: u32,
    overrun: bool,
    missed: bool,
    /// Commands over this wire that the line has not dealt with.
    outstanding: u16,
    command_failed: bool,
    coils: [bool; 6],
    recipe_number: u16,
}

fn coil_index(field: Field) -> Option<usize> {
    const COILS: [Field; 6] = [
        Field::TriggerEnable,
        Field::Trigger,
        Field::ResultsAck,
        Field::Teach,
        Field::Acknowledge,
        Field::RecipeChange,
    ];
    COILS.iter().position(|coil| *coil == field)
}

/// The word at that place of a value of two; counters that outgrow it start again from 0.
fn half(value: u64, place: u16) -> u16 {
    if place == 0 { (value >> 16) as u16 } else { value as u16 }
}

impl Registers {
    /// How the line is, and which recipes there are.
    pub fn set_status(&mut self, status: Status, recipes: Vec<RecipeName>) {
        self.status = status;
        self.recipes = recipes;
    }

    /// Takes a result; one that finds the ring full is lost and counted.
    pub fn publish(&mut self, record: ResultRecord) {
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        let first = self.ring.is_empty();
        match self.ring.push_back((number, record)) {
            Ok(()) => self.toggle ^= first,
            Err(_) => self.lose(1),
        }
    }

    /// Counts results that were lost on their way here.
    pub fn lose(&mut self, results: u32) {
        self.lost = self.lost.wrapping_add(results);
        self.overrun |= results > 0;
    }

    /// A command that [`Registers::write_bits`] returned has come to its end.
    pub fn command_done(&mut self, well: bool, trigger: bool) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.command_failed |= !well;
        self.missed |= trigger && !well;
    }

    /// A bit.
    ///
    /// # Errors
    /// Not in the map.
    pub fn bit(&self, space: Space, address: u16) -> Result<bool, Refusal> {
        let (field, _) = map::find(space, address).ok_or(Refusal::Address)?;
        if let Some(coil) = coil_index(field) {
            return Ok(self.coils[coil]);
        }
        let verdict = self.ring.front().map(|(_, record)| record.pass);
        match field {
            Field::Online => Ok(self.status.online),
            Field::Ready => Ok(self.status.ready),
            Field::Busy => Ok(self.status.busy),
            Field::Missed => Ok(self.missed),
            Field::ResultsValid => Ok(verdict.is_some()),
            Field::Overrun => Ok(self.overrun),
            Field::Pass => Ok(verdict == Some(true)),
            Field::Reject => Ok(verdict == Some(false)),
            Field::Error => Ok(self.status.error),
            Field::ResultToggle => Ok(self.toggle),
            Field::CommandBusy => Ok(self.outstanding > 0),
            Field::CommandFailed => Ok(self.command_failed),
            _ => Err(Refusal::Address),
        }
    }

    /// A word.
    ///
    /// # Errors
    /// Not in the map.
    pub fn word(&self, space: Space, address: u16) -> Result<u16, Refusal> {
        let (field, place) = map::find(space, address).ok_or(Refusal::Address)?;
        let counters = &self.status.counters;
        let active = || {
            let active = self.status.recipe.as_str();
            self.recipes.iter().position(|recipe| recipe.as_str() == active)
        };
        match field {
            Field::MapVersion => Ok(map::VERSION),
            Field::ResultsWaiting => Ok(self.ring.len() as u16),
            Field::RecipeCount => Ok(self.recipes.len() as u16),
            Field::ActiveRecipe => Ok(active().map_or(u16::MAX, |number| number as u16)),
            Field::Identity => Ok(pair(&self.status.identity, place)),
            Field::Parts => Ok(half(counters.parts, place)),
            Field::Passed => Ok(half(counters.passed, place)),
            Field::Rejected => Ok(half(counters.rejected, place)),
            Field::Late => Ok(half(counters.late, place)),
            Field::MissedTotal => Ok(half(counters.missed, place)),
            Field::Overload => Ok(half(counters.overload, place)),
            Field::ResultsLost => Ok(half(u64::from(self.lost), place)),
            Field::Results => Ok(self.result_word(place)),
            Field::Reason => {
                let reason = self.ring.front().map_or("", |(_, record)| record.reason.as_str());
                Ok(pair(reason.as_bytes(), place))
            }
            Field::RecipeNumber => Ok(self.recipe_number),
            _ => Err(Refusal::Address),
        }
    }

    fn result_word(&self, place: u16) -> u16 {
        let slot = usize::from(place / RESULT_WORDS);
        let Some((number, record)) = self.ring.iter().nth(slot) else { return 0 };
        let float = |value: f32, place| half(u64::from(value.to_bits()), place);
        match place % RESULT_WORDS {
            0 => *number,
            word @ (1 | 2) => half(record.part, word - 1),
            3 => {
                if record.pass {
                    1
                } else {
                    2
                }
            }
            word @ (4 | 5) => float(record.score, word - 4),
            word @ (6 | 7) => float(record.p_value as f32, word - 6),
            word => half(u64::from(record.micros), word - 8),
        }
    }

    /// Writes words.
    ///
    /// # Errors
    /// One of them cannot be written, or not so; nothing is changed then.
    pub fn write_words(&mut self, first: u16, values: &[u16]) -> Result<(), Refusal> {
        for offset in 0..values.len() as u16 {
            let address = first.checked_add(offset).ok_or(Refusal::Address)?;
            map::find(Space::Holding, address).ok_or(Refusal::Address)?;
        }
        // The map has one.
        if let Some(number) = values.first() {
            self.recipe_number = *number;
        }
        Ok(())
    }

    /// Writes bits; the commands that their changes ask for, in the order of their addresses.
    ///
    /// # Errors
    /// One of them cannot be written, or asks for a recipe that is not there; nothing is changed then.
    pub fn write_bits(
        &mut self,
        first: u16,
        values: &[bool],
    ) -> Result<heapless::Vec<Command, 4>, Refusal> {
        let mut coils = self.coils;
        for (offset, value) in values.iter().enumerate() {
            let address = u16::try_from(offset).ok().and_then(|offset| first.checked_add(offset));
            let row = address.and_then(|address| map::find(Space::Coil, address));
            let coil = row.and_then(|(field, _)| coil_index(field)).ok_or(Refusal::Address)?;
            coils[coil] = *value;
        }
        let earlier = self.coils;
        let rises = |field| coil_index(field).is_some_and(|coil| coils[coil] && !earlier[coil]);
        let recipe = match rises(Field::RecipeChange) {
            true => {
                let recipe = self.recipes.get(usize::from(self.recipe_number));
                Some(recipe.ok_or(Refusal::Value)?.clone())
            }
            false => None,
        };
        self.coils = coils;
        if rises(Field::ResultsAck) && self.ring.pop_front().is_some() {
            self.toggle ^= !self.ring.is_empty();
        }
        let mut commands = heapless::Vec::new();
        let mut ask = |command| {
            // One per coil that asks, and there are four.
            let _ = commands.push(command);
        };
        if rises(Field::Trigger) {
            let enabled = coil_index(Field::TriggerEnable).is_some_and(|coil| coils[coil]);
            if enabled && self.status.ready {
                ask(Command::Trigger);
            } else {
                self.missed = true;
            }
        }
        if rises(Field::Teach) {
            ask(Command::Teach);
        }
        if rises(Field::Acknowledge) {
            (self.missed, self.overrun) = (false, false);
            ask(Command::Acknowledge);
        }
        if let Some(recipe) = recipe {
            ask(Command::RecipeActivate(recipe));
        }
        if !commands.is_empty() {
            self.outstanding = self.outstanding.saturating_add(commands.len() as u16);
            self.command_failed = false;
        }
        Ok(commands)
    }
}

/// Two bytes of a text or hash as a word; zero after its end.
fn pair(bytes: &[u8], place: u16) -> u16 {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let at = 2 * usize::from(place);
    u16::from_be_bytes([byte(at), byte(at + 1)])
}
