//! What a detector says of one picture before it is turned into a score: named maps and numbers.

use std::fmt;

use touchstone_models::map::Map;

/// Suffix of the number that is a map's own picture score, such as `product.score`.
const SCORE: &str = ".score";

/// Suffix of the number that is a map's own verdict: above one half is a reject.
const REJECT: &str = ".reject";

/// Named maps and numbers of one picture. The names are what expressions refer to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// Maps of any size, each over the whole picture.
    pub maps: Vec<(String, Map)>,
    /// Numbers about the whole picture.
    pub numbers: Vec<(String, f32)>,
}

impl Observation {
    /// Adds a map.
    pub fn map(&mut self, name: &str, map: Map) {
        self.maps.push((name.into(), map));
    }

    /// Adds a number.
    pub fn number(&mut self, name: &str, value: f32) {
        self.numbers.push((name.into(), value));
    }

    /// Adds the detector's own picture score and verdict for the map `name`.
    pub fn verdict(&mut self, name: &str, score: f32, reject: bool) {
        self.number(&format!("{name}{SCORE}"), score);
        self.number(&format!("{name}{REJECT}"), f32::from(u8::from(reject)));
    }

    /// The map `name`.
    pub fn find_map(&self, name: &str) -> Option<&Map> {
        self.maps.iter().find(|(n, _)| n == name).map(|(_, m)| m)
    }

    /// The number `name`.
    pub fn find_number(&self, name: &str) -> Option<f32> {
        self.numbers.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }

    /// The detector's own picture score for the map `name`.
    pub fn score_of(&self, name: &str) -> Option<f32> {
        self.find_number(&format!("{name}{SCORE}"))
    }

    /// The detector's own verdict for the map `name`.
    pub fn reject_of(&self, name: &str) -> Option<bool> {
        self.find_number(&format!("{name}{REJECT}")).map(|v| v > 0.5)
    }

    /// All names, maps first.
    pub fn names(&self) -> Vec<&str> {
        let maps = self.maps.iter().map(|(n, _)| n.as_str());
        maps.chain(self.numbers.iter().map(|(n, _)| n.as_str())).collect()
    }
}

/// One picture, scored.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Score per cell, 0..1.
    pub map: Map,
    /// Score of the picture.
    pub score: f32,
    /// The detector's own decision, if it makes one.
    pub reject: Option<bool>,
}

/// An expression names something that the detector does not give.
#[derive(Clone, Debug, PartialEq)]
pub struct UnknownName {
    /// The name.
    pub name: String,
    /// What the detector gives.
    pub known: Vec<String>,
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, known } = self;
        write!(f, "`{name}` is not given by this detector; it gives {}", known.join(", "))
    }
}
