//! `recipe.toml`.

use super::{FURTHER_MAX, FurtherGood, RecipeError};
use crate::files::is_safe_name;
use crate::picture::Rect;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most bytes `recipe.toml` may have.
pub const RECIPE_CARD_BYTES_MAX: u64 = 64 << 10;

/// Highest false-reject rate that may be asked for: half of all good parts.
pub const FALSE_REJECT_PPM_MAX: u32 = 500_000;

/// False-reject rate of a recipe that nobody gave another, parts per million.
pub const FALSE_REJECT_PPM_DEFAULT: u32 = 1000;

/// Largest "smallest defect".
pub const SMALLEST_DEFECT_PX_MAX: u32 = 4096;

/// Longest time on a line, in milliseconds.
pub const TIME_MS_MAX: u32 = 600_000;

/// `recipe.toml`, in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeCard {
    /// The product's name, `[a-z0-9-_]{1,64}`.
    pub name: String,
    /// Grows with each change; a camera takes newer versions only.
    pub version: u32,
    /// Good parts that may be rejected, per million, 1 to [`FALSE_REJECT_PPM_MAX`].
    pub false_reject_ppm: u32,
    /// Side of the smallest defect that matters, in pixels of the camera's picture.
    pub smallest_defect_px: u32,
    /// What good parts score that were shown at teaching and are no prompts.
    #[serde(default, skip_serializing_if = "FurtherGood::is_empty")]
    pub further_good: FurtherGood,
    /// The model that the recipe was taught with.
    pub model: ModelPin,
    /// The part of the camera's picture that is judged; all of it if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region_of_interest: Option<Rect>,
    /// Whether parts are turned and shifted onto the first prompt before they are judged.
    #[serde(default, skip_serializing_if = "Registration::is_off")]
    pub registration: Registration,
    /// How many tiles the judged part of the picture is looked at in.
    #[serde(default, skip_serializing_if = "Tiles::is_one")]
    pub tiles: Tiles,
    /// Timing of this product where it differs from the machine's.
    #[serde(default, skip_serializing_if = "LineTiming::is_empty")]
    pub line: LineTiming,
}

/// Most tiles of one picture: 4K in tiles of a good 400 pixels.
pub const TILES_MAX: u32 = 64;

/// A grid of tiles. Each is brought to the model's input by itself, so that a large picture is not looked at
/// through a keyhole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tiles {
    /// Side by side.
    pub columns: u32,
    /// One below the other.
    pub rows: u32,
}

impl Tiles {
    /// The picture as a whole.
    pub const ONE: Tiles = Tiles { columns: 1, rows: 1 };

    /// Whether the picture is looked at as a whole.
    pub fn is_one(&self) -> bool {
        *self == Tiles::ONE
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.columns.saturating_mul(self.rows)
    }

    /// Whether there is one at least and [`TILES_MAX`] at most.
    pub fn is_sound(&self) -> bool {
        self.columns > 0 && self.rows > 0 && self.count() <= TILES_MAX
    }
}

impl Default for Tiles {
    fn default() -> Tiles {
        Tiles::ONE
    }
}

impl fmt::Display for Tiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.columns, self.rows)
    }
}

impl std::str::FromStr for Tiles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("'{text}' is not COLUMNSxROWS with 1 to {TILES_MAX} tiles, 3x2 for instance")
        };
        let (columns, rows) = text.split_once('x').ok_or_else(wrong)?;
        let number = |digits: &str| digits.parse().map_err(|_| wrong());
        let tiles = Tiles { columns: number(columns)?, rows: number(rows)? };
        if tiles.is_sound() { Ok(tiles) } else { Err(wrong()) }
    }
}

/// How far a part may lie from where it was taught and still be the same part, judged in the place that it
/// was taught in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Parts are judged as they lie.
    #[default]
    Off,
    /// Turned by up to 15 degrees, shifted by up to a fifth of the picture. A part that lies farther off, an
    /// upside-down one for instance, is judged as it lies.
    Small,
    /// Turned any way. Right only where the way a part lies does not matter.
    Any,
    /// Turned any way where a part lies otherwise than it was taught, and judged as it lies where it does not. Both
    /// are judged by the laws of parts that are not registered (`docs/rates.md`).
    Auto,
}

impl std::str::FromStr for Registration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Registration::Off),
            "small" => Ok(Registration::Small),
            "any" => Ok(Registration::Any),
            "auto" => Ok(Registration::Auto),
            other => Err(format!("'{other}' is not one of off, small, any, auto")),
        }
    }
}

impl Registration {
    /// Every way.
    pub const ALL: [Registration; 4] =
        [Registration::Off, Registration::Small, Registration::Any, Registration::Auto];

    /// Whether nothing is registered.
    pub fn is_off(&self) -> bool {
        *self == Registration::Off
    }
}

/// A model, by name and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPin {
    /// The model's name.
    pub id: String,
    /// [`crate::package::ModelPackage::hash`].
    pub hash: String,
}

/// Times of this product, in milliseconds; each overrides the machine's own time of that name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineTiming {
    /// Trigger to the earliest exposure that shows the part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture_delay_ms: Option<u32>,
    /// How long the part stays in the picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture_window_ms: Option<u32>,
    /// Trigger to the part's arrival at the actuator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub travel_ms: Option<u32>,
    /// How long before the arrival the actuator must start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actuator_lead_ms: Option<u32>,
    /// How long the reject output stays active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulse_ms: Option<u32>,
    /// Edges closer together than this are one part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debounce_ms: Option<u32>,
}

impl LineTiming {
    /// Whether nothing is overridden.
    pub fn is_empty(&self) -> bool {
        *self == LineTiming::default()
    }

    fn named(&self) -> [(&'static str, Option<u32>); 6] {
        [
            ("line.capture_delay_ms", self.capture_delay_ms),
            ("line.capture_window_ms", self.capture_window_ms),
            ("line.travel_ms", self.travel_ms),
            ("line.actuator_lead_ms", self.actuator_lead_ms),
            ("line.pulse_ms", self.pulse_ms),
            ("line.debounce_ms", self.debounce_ms),
        ]
    }
}

impl RecipeCard {
    /// What a recipe is unless somebody says otherwise: all of the picture, as it lies, everything that differs,
    /// one good part in a thousand rejected.
    pub fn new(name: &str, version: u32, model: ModelPin) -> RecipeCard {
        RecipeCard {
            name: name.to_owned(),
            version,
            false_reject_ppm: FALSE_REJECT_PPM_DEFAULT,
            smallest_defect_px: 1,
            region_of_interest: None,
            registration: Registration::Off,
            tiles: Tiles::ONE,
            further_good: FurtherGood::default(),
            model,
            line: LineTiming::default(),
        }
    }

    /// Parses and checks the text of a `recipe.toml`.
    pub fn parse(text: &str) -> Result<RecipeCard, RecipeError> {
        let card: RecipeCard = toml::from_str(text)
            .map_err(|e| RecipeError::Syntax { file: None, why: e.to_string() })?;
        card.check()?;
        Ok(card)
    }

    /// The text of the `recipe.toml`; `parse` gives the same card back.
    pub fn emit(&self) -> Result<String, RecipeError> {
        self.check()?;
        toml::to_string(self).map_err(|e| RecipeError::Syntax { file: None, why: e.to_string() })
    }

    /// Checks every value.
    pub fn check(&self) -> Result<(), RecipeError> {
        const NAME: &str = "use 1 to 64 of a-z, 0-9, '-' and '_'";
        ensure(is_safe_name(&self.name), "name", NAME)?;
        ensure(self.version >= 1, "version", "versions count from 1")?;
        let ppm = (1..=FALSE_REJECT_PPM_MAX).contains(&self.false_reject_ppm);
        ensure(ppm, "false_reject_ppm", &format!("choose 1 to {FALSE_REJECT_PPM_MAX}"))?;
        let px = (1..=SMALLEST_DEFECT_PX_MAX).contains(&self.smallest_defect_px);
        ensure(px, "smallest_defect_px", &format!("choose 1 to {SMALLEST_DEFECT_PX_MAX}"))?;
        let sound = self.tiles.is_sound();
        ensure(sound, "tiles", &format!("choose 1 to {TILES_MAX}, columns times rows"))?;
        let why =
            format!("one row of numbers per tile and part, at most {FURTHER_MAX}; teach again");
        ensure(self.further_good.is_sound(), "further_good", &why)?;
        ensure(is_safe_name(&self.model.id), "model.id", NAME)?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let hash = &self.model.hash;
        ensure(
            hash.len() == 64 && hash.bytes().all(hex),
            "model.hash",
            "64 digits of lower-case hex are expected",
        )?;
        if let Some(region) = self.region_of_interest {
            ensure(region.w > 0 && region.h > 0, "region_of_interest", "it is empty")?;
        }
        for (key, time) in self.line.named() {
            let fits = time.is_none_or(|ms| ms <= TIME_MS_MAX);
            ensure(fits, key, &format!("at most {TIME_MS_MAX} ms make sense"))?;
        }
        Ok(())
    }
}

fn ensure(ok: bool, key: &'static str, why: &str) -> Result<(), RecipeError> {
    if ok { Ok(()) } else { Err(RecipeError::Value { file: None, key, why: why.to_string() }) }
}
