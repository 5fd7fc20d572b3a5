//! The command line of `touchstone-tools eval`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use touchstone_models::recipe::{Registration, SMALLEST_DEFECT_PX_MAX};
use touchstone_models::tiling::TileChoice;

use super::variant::Variant;

/// Most prompts that a recipe takes.
const PROMPTS_MAX: usize = 32;

/// More threads than any board or desk has.
const THREADS_MAX: usize = 256;

/// Measures a detector on pictures in the MVTec AD layout.
#[derive(Debug, Clone, Args)]
pub struct EvalArgs {
    /// One category, one set of categories, or a folder of sets.
    pub root: PathBuf,
    /// Good pictures to enrol per category (several numbers: one run each).
    #[arg(long, value_delimiter = ',', default_value = "1", value_parser = one_to::<PROMPTS_MAX>)]
    pub k: Vec<usize>,
    /// Further good pictures per category, as far as there are, that the product learns from what good parts score,
    /// as from those that `teach` was shown and did not keep.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub further: usize,
    /// Model package: a name or a folder.
    #[arg(long, default_value = touchstone_models::package::DEFAULT_MODEL)]
    pub model: String,
    /// Engine that runs the model.
    #[arg(long, default_value = "tract")]
    pub engine: String,
    /// Engine threads per worker.
    #[arg(long, default_value_t = 1, value_parser = one_to::<THREADS_MAX>)]
    pub threads: usize,
    /// Pictures looked at side by side, each with its own detector.
    #[arg(long, default_value_t = 2, value_parser = one_to::<THREADS_MAX>)]
    pub workers: usize,
    /// What looks at the pictures.
    #[arg(long, value_enum, default_value_t = DetectorKind::Oneprompt)]
    pub detector: DetectorKind,
    /// False-reject rate of the product's verdicts, in parts per million.
    #[arg(long, value_name = "PPM", default_value_t = 1000)]
    pub false_reject_ppm: u32,
    /// Turn and shift pictures onto the first prompt before the product judges them: off, small, any or auto
    /// (those that clearly lie otherwise), the same for all categories.
    #[arg(long, value_name = "HOW", default_value = "off")]
    pub registration: Registration,
    /// Let the product look at pictures in so many tiles, COLUMNSxROWS; auto: as few as show the smallest defect;
    /// shape: as many in a row as squeeze long pictures least.
    #[arg(long, value_name = "CxR", default_value = "1x1")]
    pub tiles: TileChoice,
    /// Length of the smallest defect that matters, in pixels of the pictures; the same for all categories.
    #[arg(long, value_name = "PX", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(SMALLEST_DEFECT_PX_MAX)))]
    pub smallest_defect: u32,
    /// Only these sets, or `set/category`.
    #[arg(long, value_delimiter = ',')]
    pub sets: Vec<String>,
    /// A map to measure: NAME, NAME=FORMULA or NAME=FORMULA;SCORE-FORMULA. May be given several
    /// times, the main one first; without it every map of the detector is measured.
    ///
    /// Formulas know + - * / ^, min max sqrt exp log sigmoid clamp blur(x,s) peak mean, the
    /// detector's maps and numbers, and in SCORE the variant's own `map`.
    #[arg(long = "variant", visible_alias = "fusion", value_name = "NAME[=FORMULA]")]
    pub variants: Vec<Variant>,
    /// Print the full table of every variant, not only of the first.
    #[arg(long)]
    pub all: bool,
    /// Write figures as JSON, one object per line, to a file or (-, the default) to stdout.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub json: Option<PathBuf>,
    /// Add a JSON line per picture and variant.
    #[arg(long, requires = "json")]
    pub pictures: bool,
    /// Write a contact sheet per category into this folder.
    #[arg(long, value_name = "DIR")]
    pub sheet: Option<PathBuf>,
    /// Write the main variant's maps into this folder, 16-bit grey, in the size of the picture.
    #[arg(long, value_name = "DIR")]
    pub maps: Option<PathBuf>,
    /// Write what the detector sees, for --from-dump.
    #[arg(long, value_name = "DIR")]
    pub dump: Option<PathBuf>,
    /// Take what a detector saw from an earlier --dump instead of running it.
    #[arg(long, value_name = "DIR", conflicts_with = "dump")]
    pub from_dump: Option<PathBuf>,
    /// At most this many test pictures per category, evenly spread.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Resamples for the 95 % intervals; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub bootstrap: usize,
}

impl EvalArgs {
    /// Whether JSON goes to stdout.
    pub fn json_on_stdout(&self) -> bool {
        self.json.as_deref() == Some(Path::new("-"))
    }
}

/// What can be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DetectorKind {
    /// The product with its verdict, and each of its witnesses beside it.
    Oneprompt,
    /// The joined map and the verdict alone: the witnesses are not run a second time.
    Product,
    /// The change map alone.
    Change,
    /// The nearest-neighbour map alone.
    Nearest,
    /// The per-position Student-t map alone.
    Position,
    /// Template differencing in four forms; needs no model.
    Difference,
}

fn one_to<const MAX: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=MAX).contains(&number) => Ok(number),
        _ => Err(format!("expected a number from 1 to {MAX}")),
    }
}
