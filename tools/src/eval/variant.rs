//! Map variants: named ways to make one score map of what a detector gives.

use std::fmt;
use std::str::FromStr;

use super::expression::{Expression, ParseError, Value};
use super::observation::{Observation, Scored, UnknownName};
use touchstone_models::map::Map;

/// A named score map, and the picture score that goes with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Name in tables, files and JSON.
    pub name: String,
    map: Expression,
    /// `None`: the detector's own score for the map of this name, else the map's peak.
    score: Option<Expression>,
}

impl Variant {
    /// The detector's own map `name`.
    pub fn plain(name: &str) -> Self {
        Self { name: name.into(), map: Expression::name(name), score: None }
    }

    /// Scores one picture.
    ///
    /// # Errors
    /// A formula that names something the detector does not give, or that is a number where a map
    /// is needed.
    pub fn evaluate(&self, seen: &Observation) -> Result<Scored, VariantError> {
        let unknown = |error| VariantError::Unknown { variant: self.name.clone(), error };
        let map = match self.map.evaluate(seen, None).map_err(unknown)? {
            Value::Map(map) => map,
            Value::Number(_) => {
                return Err(VariantError::NotAMap { variant: self.name.clone() });
            }
        };
        let score = match &self.score {
            Some(formula) => match formula.evaluate(seen, Some(&map)).map_err(unknown)? {
                Value::Number(score) => score,
                Value::Map(map) => peak(&map),
            },
            None => seen.score_of(&self.name).unwrap_or_else(|| peak(&map)),
        };
        if !score.is_finite() {
            return Err(VariantError::NotFinite { variant: self.name.clone() });
        }
        Ok(Scored { map, score, reject: seen.reject_of(&self.name) })
    }
}

/// The greatest value; NaN if there is one, so that it is noticed.
fn peak(map: &Map) -> f32 {
    let start = f32::NEG_INFINITY;
    map.values.iter().fold(start, |a, &b| if a.is_nan() || a > b { a } else { b })
}

impl FromStr for Variant {
    type Err = ParseError;

    /// `NAME`, `NAME=MAP` or `NAME=MAP;SCORE`, where `SCORE` may use `map`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (name, formulas) = match text.split_once('=') {
            Some((name, formulas)) => (name.trim(), Some(formulas)),
            None => (text.trim(), None),
        };
        let is_safe = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(is_safe) {
            return Err(ParseError {
                text: text.into(),
                at: 0,
                expected: "a name of letters, digits, `-` and `_`".into(),
            });
        }
        let Some(formulas) = formulas else {
            return Ok(Self::plain(name));
        };
        let (map, score) = match formulas.split_once(';') {
            Some((map, score)) => (map, Some(Expression::parse(score)?)),
            None => (formulas, None),
        };
        Ok(Self { name: name.into(), map: Expression::parse(map)?, score })
    }
}

/// Why a variant gives no score.
#[derive(Clone, Debug, PartialEq)]
pub enum VariantError {
    /// A formula names something that is not there.
    Unknown {
        /// The variant.
        variant: String,
        /// The name, and those that are there.
        error: UnknownName,
    },
    /// The map formula is a number.
    NotAMap {
        /// The variant.
        variant: String,
    },
    /// The picture score is NaN or infinite.
    NotFinite {
        /// The variant.
        variant: String,
    },
}

impl fmt::Display for VariantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { variant, error } => write!(f, "variant {variant}: {error}"),
            Self::NotAMap { variant } => {
                write!(f, "variant {variant}: its map formula is a single number")
            }
            Self::NotFinite { variant } => {
                write!(f, "variant {variant}: the picture score is not finite")
            }
        }
    }
}

impl std::error::Error for VariantError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Observation {
        let mut seen = Observation::default();
        seen.map("change", Map::new(2, 1, vec![0.2, 0.8]).unwrap());
        seen.map("product", Map::new(2, 1, vec![0.1, 0.3]).unwrap());
        seen.verdict("product", 0.7, true);
        seen
    }

    fn scored(text: &str) -> Scored {
        text.parse::<Variant>().unwrap().evaluate(&seen()).unwrap()
    }

    #[test]
    fn plain_names_take_the_detectors_own_score() {
        let product = scored("product");
        assert_eq!((product.score, product.reject), (0.7, Some(true)));
        let change = scored("change");
        assert_eq!((change.score, change.reject), (0.8, None));
    }

    #[test]
    fn formulas_make_maps_and_scores() {
        let half = scored("half=change/2");
        assert_eq!((half.map.values, half.score), (vec![0.1, 0.4], 0.4));
        assert_eq!(scored("m=change;mean(map)").score, 0.5);
    }

    #[test]
    fn mistakes_are_errors() {
        assert!("".parse::<Variant>().is_err());
        assert!("../x=change".parse::<Variant>().is_err());
        assert!("a=change+".parse::<Variant>().is_err());
        let fails = |text: &str| text.parse::<Variant>().unwrap().evaluate(&seen());
        assert!(matches!(fails("a=1"), Err(VariantError::NotAMap { .. })));
        assert!(matches!(fails("a=b"), Err(VariantError::Unknown { .. })));
        let broken = fails("a=change;log(0-1)");
        assert!(matches!(broken, Err(VariantError::NotFinite { .. })));
    }
}
