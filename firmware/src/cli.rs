//! The command line: one definition from which parser and help text come.

use std::path::PathBuf;

use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand};
use touchstone_board::sim::PartKind;
use touchstone_models::package::DEFAULT_MODEL;
use touchstone_models::picture::Rect;
use touchstone_models::recipe::{PROMPTS_MAX, Registration, SMALLEST_DEFECT_PX_MAX};
use touchstone_models::tiling::TileChoice;
use touchstone_models::verdict::{FALSE_REJECT_PPM_MAX, FALSE_REJECT_PPM_MIN};

use crate::line::JUDGED_AT_ONCE_MAX;
use crate::store::Selector;

/// Most parts of one `demo`.
pub const DEMO_PARTS_MAX: u64 = 100_000;
/// Good parts that `demo` teaches unless told otherwise. One is enough to run; with ten the rate is
/// calibrated on the line's own nuisance, as the leave-one-out scores replace the card's prior.
pub const DEMO_PROMPTS: u32 = 10;
/// False rejects that `demo` allows per million unless told otherwise.
pub const DEMO_FALSE_REJECT_PPM: u32 = 20_000;

const EXAMPLES: &str = "\
Examples:
  touchstone demo                                   the whole line, simulated
  touchstone inspect --prompt good.png part*.png    judge pictures
  touchstone teach --name bracket good1.png good2.png
  touchstone inspect --recipe bracket part*.png
  touchstone run --config touchstone.toml           run a line
  touchstone doctor                                 what works on this machine

Exit status: 0 done (inspect: all parts pass), 1 some part was rejected (inspect),
2 wrong use or input, 3 hardware or model failure.";

/// Show the camera one good part; it rejects the parts that differ in a way
/// that matters.
#[derive(Debug, Parser)]
#[command(name = "touchstone", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// Say more on standard error (-v info, -vv debug, -vvv trace)
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the camera can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Judge pictures against a recipe or against pictures of good parts
    Inspect(InspectArgs),
    /// Make a recipe from good parts
    Teach(TeachArgs),
    /// Run a simulated line through the real pipeline; needs no hardware
    Demo(DemoArgs),
    /// Run a line: trigger, camera, verdict, reject output
    Run(RunArgs),
    /// Measure how long each stage of a model takes on this machine
    Bench(BenchArgs),
    /// Say what works on this machine, what does not, and what to do
    Doctor(DoctorArgs),
    /// Look at recipes, and change what is judged by
    Recipe(RecipeArgs),
}

/// Which model, on what.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Model by name or folder [default: the recipe's, else oneprompt-m]
    #[arg(long, value_name = "NAME|DIR")]
    pub model: Option<String>,
    /// Inference engine: tract, ort, ort-xnnpack, ort-cuda or ort-tensorrt (`doctor` says which work
    /// here). Several with commas: the first that works; one alone is a must
    #[arg(long, value_name = "ENGINE", default_value = "tract")]
    pub engine: String,
    /// Threads that one picture may use [default: one per core, at most 4]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

impl ModelArgs {
    /// The model's name: as given, else the recipe's, else the shipped one.
    pub fn name<'a>(&'a self, recipe: Option<&'a str>) -> &'a str {
        self.model.as_deref().or(recipe).unwrap_or(DEFAULT_MODEL)
    }
}

const PPM: std::ops::RangeInclusive<i64> =
    FALSE_REJECT_PPM_MIN as i64..=FALSE_REJECT_PPM_MAX as i64;

const INSPECT_EXAMPLES: &str = "\
Examples:
  touchstone inspect --prompt good.png part1.png part2.png
  touchstone inspect --prompt good1.png --prompt good2.png --overlay out parts/*.png
  touchstone inspect --recipe bracket --json --maps maps parts/*.png > verdicts.jsonl

Exit status: 0 all parts pass, 1 at least one is rejected, 2 wrong use or an unreadable
picture, 3 model failure.";

/// Arguments of `inspect`.
#[derive(Debug, Args)]
#[command(after_help = INSPECT_EXAMPLES)]
#[command(group(ArgGroup::new("against").required(true).args(["recipe", "prompt"])))]
pub struct InspectArgs {
    /// Recipe folder (see `teach`)
    #[arg(long, value_name = "DIR")]
    pub recipe: Option<PathBuf>,
    /// Picture of a good part; give it again for more
    #[arg(long, value_name = "PICTURE")]
    pub prompt: Vec<PathBuf>,
    /// Pictures to judge (PNG or JPEG)
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
    /// Turn and shift parts onto the first good part before they are judged: off, small (up to
    /// 15 degrees), any, or auto, for parts that clearly lie otherwise [default: the recipe's, else off]
    #[arg(long, value_name = "HOW")]
    pub registration: Option<Registration>,
    /// Look at the picture in so many tiles, COLUMNSxROWS; auto lets the smallest defect decide, shape
    /// the picture's own shape [default: the recipe's, else 1x1]
    #[arg(long, value_name = "CxR")]
    pub tiles: Option<TileChoice>,
    /// One JSON object per picture on standard output
    #[arg(long)]
    pub json: bool,
    /// Write the score map of each picture here: STEM.png, 16-bit grey, 65535 = 1.0
    #[arg(long, value_name = "DIR")]
    pub maps: Option<PathBuf>,
    /// Write a picture with taught part, part and difference here: STEM.png
    #[arg(long, value_name = "DIR")]
    pub overlay: Option<PathBuf>,
    /// Good parts that may be rejected, per million [default: the recipe's, else 1000]
    #[arg(long, value_name = "PPM", value_parser = clap::value_parser!(u32).range(PPM))]
    pub false_reject_ppm: Option<u32>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub model: ModelArgs,
}

/// What to do with a good part that the others do not agree with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Outliers {
    /// Ask, where somebody sits at a terminal; else keep it and say so.
    Ask,
    /// Keep it and say so.
    Keep,
    /// Leave it out.
    Drop,
}

const TEACH_EXAMPLES: &str = "\
Examples:
  touchstone teach --name bracket good1.png good2.png good3.png
  touchstone teach --name bracket --camera --config touchstone.toml --count 5
  touchstone teach --name bracket --keep 10 shift/*.png
  touchstone teach --name bracket --false-reject-ppm 200 --smallest-defect 12 good*.png
  touchstone teach --name plate --smallest-defect 6 --tiles auto 4k-*.png
  touchstone teach --name bracket --store store --golden-fail scratched.png good*.png
  touchstone teach --name bracket --store store --add this-one-was-good.png

Teaching again into the same folder or store makes the next version of the recipe. In a store
the new version is active at once, and `touchstone recipe rollback` undoes it.";

/// Arguments of `teach`.
#[derive(Debug, Args)]
#[command(after_help = TEACH_EXAMPLES)]
#[command(group(ArgGroup::new("from").required(true).args(["camera", "images"])))]
pub struct TeachArgs {
    /// Name of the recipe: a-z, 0-9, - and _
    #[arg(long)]
    pub name: String,
    /// Take the good parts with the camera of --config
    #[arg(long, requires = "config")]
    pub camera: bool,
    /// Configuration as for `run`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Good parts to take with the camera
    #[arg(long, value_name = "N", default_value_t = 1, requires = "camera",
          value_parser = clap::value_parser!(u32).range(1..=PROMPTS_MAX as i64))]
    pub count: u32,
    /// Pictures of good parts (PNG or JPEG), 1 to 256
    #[arg(value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
    /// Keep at most so many of them: those that stand for the others best. The others are only
    /// tried [default: as many as a recipe holds, 32]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=PROMPTS_MAX as i64))]
    pub keep: Option<u32>,
    /// Folder of the recipe [default: the store of --config, else a folder NAME here]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Recipe store that it goes into, and where it becomes the active one
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    pub store: Option<PathBuf>,
    /// Add these good parts to those that the recipe has; all else of it stays as it is
    #[arg(long, conflicts_with_all = ["keep", "region", "ignore"])]
    pub add: bool,
    /// Good parts that the others do not agree with: keep, drop, or ask on a terminal
    #[arg(long, value_name = "HOW", default_value = "ask")]
    pub outliers: Outliers,
    /// Picture of a part that must pass before the recipe goes live; give it again for more
    #[arg(long, value_name = "PICTURE")]
    pub golden_pass: Vec<PathBuf>,
    /// Picture of a part that must be rejected before the recipe goes live; give it again for more
    #[arg(long, value_name = "PICTURE")]
    pub golden_fail: Vec<PathBuf>,
    /// Good parts that may be rejected, per million
    #[arg(long, value_name = "PPM", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(PPM))]
    pub false_reject_ppm: u32,
    /// Length of the smallest defect that matters, in pixels of the picture
    #[arg(long, value_name = "PX", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(SMALLEST_DEFECT_PX_MAX)))]
    pub smallest_defect: u32,
    /// Judge only this part of the picture, in pixels
    #[arg(long, value_name = "X,Y,W,H", value_parser = parse_rect)]
    pub region: Option<Rect>,
    /// Turn and shift parts onto the first good part before they are judged: off, small (up to
    /// 15 degrees), any, where it does not matter how a part lies, or auto, which is any for parts
    /// that clearly lie otherwise [default: auto if the good parts do, else off]
    #[arg(long, value_name = "HOW")]
    pub registration: Option<Registration>,
    /// Look at the picture in so many tiles, COLUMNSxROWS; auto: as few as show the smallest defect;
    /// shape: as many in a row as squeeze a long picture least. Each tile costs what a picture costs
    #[arg(long, value_name = "CxR", default_value = "1x1")]
    pub tiles: TileChoice,
    /// Picture that is white where differences do not matter
    #[arg(long, value_name = "PICTURE")]
    pub ignore: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub model: ModelArgs,
}

const DEMO_EXAMPLES: &str = "\
Examples:
  touchstone demo                        100 parts, report in demo-out/index.html
  touchstone demo --parts 500 --part cap
  touchstone demo --json --out /tmp/d    one JSON object per part, then the summary
  touchstone demo --serve                watch it at http://127.0.0.1:8470/

Parts are drawn like photographs (shift, rotation, light and noise differ from part to
part), pass trigger, camera and reject actuator in simulated time, and are judged by the
real pipeline. What a judgement really took is what passes on the simulated clock, so a
part can be late here as on a line. Counted is what the actuator did, not what was said.";

/// Arguments of `demo`.
#[derive(Debug, Args)]
#[command(after_help = DEMO_EXAMPLES)]
pub struct DemoArgs {
    /// Parts that pass the line
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u64).range(1..=DEMO_PARTS_MAX))]
    pub parts: u64,
    /// The product: bracket, washer, cap or connector
    #[arg(long, value_name = "PART", default_value = "bracket")]
    pub part: PartKind,
    /// Good parts to teach
    #[arg(long, value_name = "K", default_value_t = DEMO_PROMPTS,
          value_parser = clap::value_parser!(u32).range(1..=PROMPTS_MAX as i64))]
    pub prompts: u32,
    /// Share of parts with a defect, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = parse_share)]
    pub defect_rate: f32,
    /// Everything but the measured times follows from it
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Parts per minute on the line [default: what this machine can judge]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=6000))]
    pub rate: Option<u32>,
    /// Good parts that may be rejected, per million
    #[arg(long, value_name = "PPM", default_value_t = DEMO_FALSE_REJECT_PPM,
          value_parser = clap::value_parser!(u32).range(PPM))]
    pub false_reject_ppm: u32,
    /// One JSON object per part and one for the summary on standard output
    #[arg(long)]
    pub json: bool,
    /// Folder for the report and its pictures
    #[arg(long, value_name = "DIR", default_value = "demo-out")]
    pub out: PathBuf,
    /// Show the line on a page at 127.0.0.1 until Ctrl-C
    #[arg(long)]
    pub serve: bool,
    /// Port of that page; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 8470, requires = "serve")]
    pub port: u16,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub model: ModelArgs,
}

const RUN_EXAMPLES: &str = "\
Examples:
  touchstone run --config touchstone.toml
  touchstone run --config touchstone.toml --parts 100   end after 100 parts
  touchstone run --config touchstone.toml --check       read and check everything, then end

Verdicts go to standard output, one JSON object per part. SIGINT and SIGTERM stop the line
with READY low and the outputs at rest. firmware/touchstone.example.toml explains each key.";

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub struct RunArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// End after this many parts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub parts: Option<u64>,
    /// Read and check configuration, board, recipe and model, then end
    #[arg(long)]
    pub check: bool,
}

const BENCH_EXAMPLES: &str = "\
Examples:
  touchstone bench
  touchstone bench --threads 1 --runs 200 --json
  touchstone bench --operators       which operators of the graphs take the time";

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(after_help = BENCH_EXAMPLES)]
pub struct BenchArgs {
    /// Pictures to judge, after a warm-up of a tenth as many
    #[arg(long, value_name = "N", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub runs: u32,
    /// Parts judged at once: with 2 the next one is encoded while this one is decided on
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=JUDGED_AT_ONCE_MAX as i64))]
    pub parts_at_once: u32,
    /// Pictures of good parts taught beforehand
    #[arg(long, value_name = "K", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=PROMPTS_MAX as i64))]
    pub prompts: u32,
    /// Size of the camera's picture
    #[arg(long, value_name = "WxH", default_value = "512x512", value_parser = parse_size)]
    pub size: (u32, u32),
    /// Say how long each operator of the graphs takes, too
    #[arg(long)]
    pub operators: bool,
    /// One JSON object on standard output
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub model: ModelArgs,
}

const DOCTOR_EXAMPLES: &str = "\
Examples:
  touchstone doctor
  touchstone doctor --config touchstone.toml    checks what that line needs
  touchstone doctor --json

Exit status: 0 everything that is needed works, 3 something does not.";

/// Arguments of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_EXAMPLES)]
pub struct DoctorArgs {
    /// Configuration whose devices and recipe are to be checked
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One JSON object per finding on standard output
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub model: ModelArgs,
}

/// Arguments of `recipe`.
#[derive(Debug, Args)]
pub struct RecipeArgs {
    /// What to do with recipes.
    #[command(subcommand)]
    pub command: RecipeCommand,
}

/// Which recipe store.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Store")]
pub struct StoreArgs {
    /// Folder of the recipe store
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Configuration as for `run`, whose store is meant
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    pub config: Option<PathBuf>,
}

impl StoreArgs {
    /// Whether a store is meant at all.
    pub fn is_given(&self) -> bool {
        self.store.is_some() || self.config.is_some()
    }
}

/// What can be done with recipes.
#[derive(Debug, Subcommand)]
pub enum RecipeCommand {
    /// List the recipes in a folder or store
    List {
        /// Folder of recipe folders, or a store
        #[arg(value_name = "DIR", conflicts_with_all = ["store", "config"])]
        dir: Option<PathBuf>,
        /// One JSON object per recipe on standard output
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        store: StoreArgs,
    },
    /// Show one recipe
    Show {
        /// Recipe folder or bundle; with a store NAME or NAME@VERSION
        #[arg(value_name = "RECIPE")]
        recipe: PathBuf,
        /// As a JSON object on standard output
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        store: StoreArgs,
    },
    /// Check a recipe: files, model, and that its good parts pass and its bad ones do not
    Verify {
        /// Recipe folder or bundle; with a store NAME or NAME@VERSION
        #[arg(value_name = "RECIPE")]
        recipe: PathBuf,
        #[command(flatten)]
        #[allow(missing_docs)]
        store: StoreArgs,
        #[command(flatten)]
        #[allow(missing_docs)]
        model: ModelArgs,
    },
    /// Make a version in the store the one that is judged by, if it passes its golden test
    Activate {
        /// NAME or NAME@VERSION
        #[arg(value_name = "RECIPE")]
        recipe: Selector,
        #[command(flatten)]
        #[allow(missing_docs)]
        store: StoreArgs,
        #[command(flatten)]
        #[allow(missing_docs)]
        model: ModelArgs,
    },
    /// Go back to the version before in the store, if it passes its golden test
    Rollback {
        /// Recipe [default: the active one]
        #[arg(value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        #[allow(missing_docs)]
        store: StoreArgs,
        #[command(flatten)]
        #[allow(missing_docs)]
        model: ModelArgs,
    },
    /// Take a signed bundle into the store and make it active, if it passes its golden test
    Import {
        /// NAME-VERSION.touchstone with its signature beside it; with --unsigned also a recipe's folder
        #[arg(value_name = "BUNDLE")]
        bundle: PathBuf,
        /// Folder of the public keys that are believed [default: recipes.keys of --config]
        #[arg(long, value_name = "DIR", conflicts_with = "unsigned")]
        keys: Option<PathBuf>,
        /// Family of boards that this one is of [default: that of --config's board]
        #[arg(long, value_name = "FAMILY")]
        board: Option<String>,
        /// Take it although nobody signed it: for whoever has a shell on the camera anyway
        #[arg(long)]
        unsigned: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        store: StoreArgs,
        #[command(flatten)]
        #[allow(missing_docs)]
        model: ModelArgs,
    },
    /// Write down what this camera's good parts look like as a whole, for cameras that judge the same product
    Posterior {
        /// Recipe folder or bundle; with a store NAME or NAME@VERSION
        #[arg(value_name = "RECIPE")]
        recipe: PathBuf,
        /// Name of this camera, by which it can be taken out again
        #[arg(long, value_name = "NAME")]
        camera: String,
        /// File to write, a few kB
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        #[allow(missing_docs)]
        store: StoreArgs,
        #[command(flatten)]
        #[allow(missing_docs)]
        model: ModelArgs,
    },
    /// Have a recipe know what good parts look like to other cameras, as a new version
    Merge {
        /// Recipe folder; with a store NAME
        #[arg(value_name = "RECIPE")]
        recipe: PathBuf,
        /// What `recipe posterior` wrote there
        #[arg(value_name = "FILE", required = true)]
        posteriors: Vec<PathBuf>,
        #[command(flatten)]
        #[allow(missing_docs)]
        store: StoreArgs,
        #[command(flatten)]
        #[allow(missing_docs)]
        model: ModelArgs,
    },
    /// Take what another camera gave out of a recipe, as a new version
    Unmerge {
        /// Recipe folder; with a store NAME
        #[arg(value_name = "RECIPE")]
        recipe: PathBuf,
        /// Name of the camera
        #[arg(value_name = "CAMERA")]
        camera: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        store: StoreArgs,
        #[command(flatten)]
        #[allow(missing_docs)]
        model: ModelArgs,
    },
    /// Show who changed what, when and from where
    Log {
        /// One JSON object per entry on standard output
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        store: StoreArgs,
    },
}

fn parse_rect(text: &str) -> Result<Rect, String> {
    let numbers: Result<Vec<u32>, _> = text.split(',').map(|n| n.trim().parse()).collect();
    match numbers.as_deref() {
        Ok(&[x, y, w, h]) if w > 0 && h > 0 => Ok(Rect { x, y, w, h }),
        Ok(_) | Err(_) => Err("four whole numbers are expected, as in 10,20,300,200".to_owned()),
    }
}

fn parse_size(text: &str) -> Result<(u32, u32), String> {
    const SIDES: std::ops::RangeInclusive<u32> = 16..=4096;
    let sides = text.split_once('x').map(|(w, h)| (w.parse(), h.parse()));
    match sides {
        Some((Ok(w), Ok(h))) if SIDES.contains(&w) && SIDES.contains(&h) => Ok((w, h)),
        Some(_) | None => {
            Err("a size is expected, as in 640x480, sides from 16 to 4096".to_owned())
        }
    }
}

fn parse_share(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Ok(_) | Err(_) => Err("a number from 0 to 1 is expected".to_owned()),
    }
}

#[cfg(test)]
mod tests;
