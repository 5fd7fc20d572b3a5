//! `touchstone.toml`: what a line is made of, read once and checked whole.

use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use serde::Deserialize;
use touchstone_board::command::Source;
use touchstone_board::config::Board;
use touchstone_board::devices::Devices;
use touchstone_board::sim::SimulatedLine;
use touchstone_board::{Camera, InputRole, Timestamp};
use touchstone_models::files;
use touchstone_models::recipe::LineTiming;

use crate::cli::ModelArgs;
use crate::exit::Failure;
use crate::line::{JUDGED_AT_ONCE_MAX, LineConfig, LineTimes};
use crate::session::THREADS_DEFAULT_MAX;
use crate::store::{KEEP, KEEP_DEFAULT, Store};

/// Most bytes a configuration may have.
const CONFIG_BYTES_MAX: u64 = 64 << 10;
/// Slowest and fastest software trigger.
const EVERY_MS: std::ops::RangeInclusive<u32> = 10..=3_600_000;
/// Most pictures of rejected parts that are kept.
const REJECTS_KEPT_MAX: u32 = 10_000;

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunTable {
    board: PathBuf,
    recipe: Option<PathBuf>,
    recipes: Option<RecipesTable>,
    model: Option<String>,
    engine: Option<String>,
    threads: Option<usize>,
    parts_at_once: Option<usize>,
    log: Option<LogLevel>,
    output: Option<OutputTable>,
    trigger: Option<TriggerTable>,
    #[serde(default)]
    line: LineTimes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LogLevel {
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputTable {
    dir: PathBuf,
    #[serde(default = "rejects_kept_default")]
    rejects_kept: u32,
    #[serde(default = "archive_mb_default")]
    archive_mb: u32,
    passes_every: Option<u32>,
}

fn archive_mb_default() -> u32 {
    500
}

fn rejects_kept_default() -> u32 {
    200
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipesTable {
    store: PathBuf,
    keys: Option<PathBuf>,
    factory: Option<PathBuf>,
    keep: Option<u32>,
    golden_every_min: Option<u32>,
    #[serde(default)]
    result_file: bool,
    teach_from: Option<Vec<Teacher>>,
}

/// Who may be allowed to teach a line that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Teacher {
    Button,
    Serial,
    Modbus,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TriggerTable {
    every_ms: u32,
}

/// Where results are kept, besides standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputConfig {
    /// The folder.
    pub dir: PathBuf,
    /// Drawn pictures of rejected parts that are kept; the oldest makes room.
    pub rejects_kept: u32,
    /// Bytes that pictures with map and verdict may take; 0 keeps none.
    pub archive_bytes: u64,
    /// Besides rejected parts every so many-th that passes is kept.
    pub passes_every: Option<u32>,
}

/// A store of recipes, and what may change in it while the line runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The folder.
    pub store: PathBuf,
    /// Public keys of those whose bundles are believed; without them none is.
    pub keys: Option<PathBuf>,
    /// The recipe of last resort, a folder or a bundle.
    pub factory: Option<PathBuf>,
    /// Versions of each recipe that are kept.
    pub keep: u32,
    /// How often the active recipe is tried on its golden pictures while the line runs.
    pub golden_every: Option<Duration>,
    /// Whether the result is written onto the stick too.
    pub result_file: bool,
    /// Who may teach a line that runs.
    pub teach_from: Vec<Source>,
}

/// A line's configuration, checked, with all paths as seen from here.
#[derive(Debug)]
pub struct RunConfig {
    /// The board file, read.
    pub board: Board,
    /// Where the board file lies.
    pub board_file: PathBuf,
    /// The recipe's folder; of a store, the active recipe's bundle, or the store where none is active.
    pub recipe: PathBuf,
    /// The store, where recipes come and go while the line runs.
    pub recipes: Option<StoreConfig>,
    /// Model, engine and threads, as on the command line.
    pub model: ModelArgs,
    /// Parts that are judged at once, see [`crate::abreast`].
    pub parts_at_once: usize,
    /// Where results are kept.
    pub output: Option<OutputConfig>,
    /// Time between two triggers of a board that has none.
    pub every: Option<Duration>,
    times: LineTimes,
}

/// Reads and checks a configuration and the board file that it names.
///
/// # Errors
/// The file, the line and the key that are wrong, and what to do.
pub fn open(path: &Path) -> Result<RunConfig, Failure> {
    let bytes = files::read_limited(path, CONFIG_BYTES_MAX).map_err(|e| {
        Failure::Use(format!(
            "cannot read the configuration {}: {e}; firmware/touchstone.example.toml shows one",
            path.display()
        ))
    })?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::Use(format!("{} is not text in UTF-8; write it again", path.display()))
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&text, folder).map_err(|why| Failure::Use(format!("{}{why}", path.display())))
}

/// `folder` is where relative paths start. The error begins with the line
/// (`" line 3: …"`) or with `": …"`.
fn parse(text: &str, folder: &Path) -> Result<RunConfig, String> {
    let table: RunTable = toml::from_str(text).map_err(|e| toml_error(text, &e))?;
    let at = |path: &Path| folder.join(path);
    let store = table.recipes.as_ref().map(|recipes| &recipes.store);
    for (key, path) in
        [("board", Some(&table.board)), ("recipe", table.recipe.as_ref()), ("recipes.store", store)]
    {
        if path.is_some_and(|path| path.as_os_str().is_empty()) {
            return Err(format!(": {key}: the path is empty; name a file or folder"));
        }
    }
    let recipes = table.recipes.map(|recipes| store_config(recipes, folder)).transpose()?;
    let recipe = match (&table.recipe, &recipes) {
        (Some(recipe), None) => at(recipe),
        (None, Some(recipes)) => active_file(recipes),
        (None, None) => {
            return Err(
                ": recipe is missing; name a recipe's folder, or a store with [recipes]".to_owned()
            );
        }
        (Some(_), Some(_)) => {
            return Err(": recipe and [recipes] are both there; keep one of them".to_owned());
        }
    };
    let board_file = at(&table.board);
    let board = Board::load(&board_file).map_err(|e| format!(": board: {e}"))?;
    if let Some(TriggerTable { every_ms }) = table.trigger {
        if !EVERY_MS.contains(&every_ms) {
            let (low, high) = (EVERY_MS.start(), EVERY_MS.end());
            return Err(format!(": trigger.every_ms is {every_ms}; choose {low} to {high}"));
        }
        if board.trigger.is_some() {
            return Err(format!(
                ": trigger.every_ms: the board {} has a trigger of its own; remove one of them",
                board.name
            ));
        }
    }
    LineConfig::try_from(table.line).map_err(|e| format!(": {e}"))?;
    let encoder = [InputRole::EncoderA, InputRole::EncoderStep];
    if table.line.travel_counts.is_some()
        && !board.inputs.iter().any(|input| encoder.contains(&input.role))
    {
        return Err(format!(
            ": line.travel_counts: the board {} wires no encoder; add [[gpio]] lines with role \
             \"encoder_a\" and \"encoder_b\" (or \"encoder_step\") to the board file, or give \
             line.travel_ms instead",
            board.name
        ));
    }
    let output = table.output.map(|o| OutputConfig {
        dir: at(&o.dir),
        rejects_kept: o.rejects_kept,
        archive_bytes: u64::from(o.archive_mb) << 20,
        passes_every: o.passes_every.filter(|every| *every > 0),
    });
    if let Some(o) = output.as_ref().filter(|o| o.rejects_kept > REJECTS_KEPT_MAX) {
        return Err(format!(
            ": output.rejects_kept is {}; at most {REJECTS_KEPT_MAX} are possible",
            o.rejects_kept
        ));
    }
    if let Some(level) = table.log {
        log::set_max_level(log::max_level().max(match level {
            LogLevel::Warn => log::LevelFilter::Warn,
            LogLevel::Info => log::LevelFilter::Info,
            LogLevel::Debug => log::LevelFilter::Debug,
            LogLevel::Trace => log::LevelFilter::Trace,
        }));
    }
    let cores = available_parallelism().map_or(1, usize::from);
    let parts_at_once = parts_at_once(table.parts_at_once, cores)?;
    Ok(RunConfig {
        parts_at_once,
        board,
        board_file,
        recipe,
        recipes,
        model: ModelArgs {
            // A folder is relative to this file, a name is a name.
            model: table.model.map(|m| match m.contains('/') {
                true => at(Path::new(&m)).display().to_string(),
                false => m,
            }),
            engine: table.engine.unwrap_or_else(|| "tract".to_owned()),
            // One core is the second part's.
            threads: table
                .threads
                .or_else(|| (parts_at_once > 1).then(|| (cores - 1).clamp(1, THREADS_DEFAULT_MAX))),
        },
        output,
        every: table.trigger.map(|t| Duration::from_millis(u64::from(t.every_ms))),
        times: table.line,
    })
}

/// Parts that are judged at once: as asked, or as many as the cores are enough for.
fn parts_at_once(asked: Option<usize>, cores: usize) -> Result<usize, String> {
    match asked {
        None if cores >= CORES_FOR_TWO_PARTS => Ok(JUDGED_AT_ONCE_MAX),
        None => Ok(1),
        Some(parts) if (1..=JUDGED_AT_ONCE_MAX).contains(&parts) => Ok(parts),
        Some(parts) => Err(format!("parts_at_once is {parts}; it is 1 or {JUDGED_AT_ONCE_MAX}")),
    }
}

/// With so many cores two parts are judged at once: fewer are better spent on making one part faster.
const CORES_FOR_TWO_PARTS: usize = 4;

/// Least and most minutes between two golden tests.
const GOLDEN_EVERY_MIN: std::ops::RangeInclusive<u32> = 1..=10_080;

fn store_config(table: RecipesTable, folder: &Path) -> Result<StoreConfig, String> {
    let keep = table.keep.unwrap_or(KEEP_DEFAULT);
    if !KEEP.contains(&keep) {
        return Err(format!(": recipes.keep is {keep}; choose {} to {}", KEEP.start(), KEEP.end()));
    }
    if let Some(minutes) = table.golden_every_min.filter(|m| !GOLDEN_EVERY_MIN.contains(m)) {
        return Err(format!(
            ": recipes.golden_every_min is {minutes}; choose {} to {}, or leave it out for never",
            GOLDEN_EVERY_MIN.start(),
            GOLDEN_EVERY_MIN.end()
        ));
    }
    let teach_from = table.teach_from.unwrap_or_else(|| vec![Teacher::Button]);
    Ok(StoreConfig {
        store: folder.join(table.store),
        keys: table.keys.map(|path| folder.join(path)),
        factory: table.factory.map(|path| folder.join(path)),
        keep,
        golden_every: table.golden_every_min.map(|m| Duration::from_secs(60 * u64::from(m))),
        result_file: table.result_file,
        teach_from: teach_from
            .into_iter()
            .map(|teacher| match teacher {
                Teacher::Button => Source::Button,
                Teacher::Serial => Source::Serial,
                Teacher::Modbus => Source::Modbus,
            })
            .collect(),
    })
}

/// What is judged by when the line starts, as far as the store says so now.
fn active_file(config: &StoreConfig) -> PathBuf {
    let active = Store::is_store(&config.store)
        .then(|| Store::open(&config.store, config.keep).ok()?.active_file())
        .flatten();
    active.unwrap_or_else(|| config.store.clone())
}

fn toml_error(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| {
        let before = text.as_bytes().get(..span.start).unwrap_or_default();
        1 + before.iter().filter(|&&b| b == b'\n').count()
    });
    let place = line.map_or_else(String::new, |line| format!(" line {line}"));
    format!(
        "{place}: {}; firmware/touchstone.example.toml explains each key",
        error.message().replace('\n', ", ")
    )
}

impl RunConfig {
    /// The line's timing: this file's, with the recipe's own times over it.
    ///
    /// # Errors
    /// Times that cannot work together.
    pub fn line(&self, recipe: &LineTiming) -> Result<LineConfig, Failure> {
        let t = self.times;
        let times = LineTimes {
            capture_delay_ms: recipe.capture_delay_ms.unwrap_or(t.capture_delay_ms),
            capture_window_ms: recipe.capture_window_ms.unwrap_or(t.capture_window_ms),
            travel_ms: recipe.travel_ms.unwrap_or(t.travel_ms),
            actuator_lead_ms: recipe.actuator_lead_ms.unwrap_or(t.actuator_lead_ms),
            pulse_ms: recipe.pulse_ms.unwrap_or(t.pulse_ms),
            debounce_ms: recipe.debounce_ms.unwrap_or(t.debounce_ms),
            ..t
        };
        LineConfig::try_from(times)
            .map_err(|e| Failure::Use(format!("the recipe's times do not fit this line's: {e}")))
    }

    /// The camera, for pictures of good parts.
    ///
    /// # Errors
    /// The board's devices cannot be opened.
    pub fn enrolment_camera(&self) -> Result<EnrolmentCamera, Failure> {
        let devices = Devices::open(&self.board).map_err(Failure::hardware)?;
        Ok(match devices.simulated {
            Some(line) => EnrolmentCamera::Simulated { line, next: 0 },
            None => {
                EnrolmentCamera::Real { camera: devices.camera, after: Timestamp::now_monotonic() }
            }
        })
    }
}

/// A camera that is looking at good parts.
pub enum EnrolmentCamera {
    /// The simulated line's good parts.
    Simulated {
        /// The line.
        line: SimulatedLine,
        /// Number of the next good part.
        next: u64,
    },
    /// A camera.
    Real {
        /// The camera.
        camera: Box<dyn Camera>,
        /// The next frame must be exposed after this.
        after: Timestamp,
    },
}

impl EnrolmentCamera {
    /// Width, height and RGB bytes of the next good part.
    ///
    /// # Errors
    /// No frame in time, or the camera is gone.
    pub fn next(&mut self, timeout: Duration) -> Result<(u32, u32, Vec<u8>), Failure> {
        let frame = match self {
            Self::Simulated { line, next } => {
                *next += 1;
                line.good_part(*next - 1).frame
            }
            Self::Real { camera, after } => {
                let frame = camera.next_frame(*after, timeout).map_err(Failure::hardware)?;
                *after = Timestamp(frame.exposed_at.0 + 1);
                frame
            }
        };
        Ok((frame.width, frame.height, frame.rgb))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const BOARD: &str = "name = \"sim\"\n[camera]\nkind = \"simulated\"\n";

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("board.toml"), BOARD).unwrap();
        dir
    }

    fn error_of(text: &str) -> String {
        parse(text, folder().path()).unwrap_err()
    }

    #[test]
    fn the_example_explains_itself_and_works() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("touchstone.example.toml");
        let config = open(&example).unwrap();
        assert!(config.line(&LineTiming::default()).is_ok());
        assert!(config.recipe.ends_with("recipes/bracket"));
        // Every key of the table is in the example.
        let text = fs::read_to_string(example).unwrap();
        for key in [
            "board",
            "recipe",
            "store",
            "keys",
            "factory",
            "keep",
            "golden_every_min",
            "result_file",
            "teach_from",
            "model",
            "engine",
            "threads",
            "parts_at_once",
            "log",
            "dir",
            "rejects_kept",
            "archive_mb",
            "passes_every",
            "every_ms",
            "capture_delay_ms",
            "capture_window_ms",
            "travel_ms",
            "actuator_lead_ms",
            "pulse_ms",
            "debounce_ms",
            "backlog_max",
            "late_max",
            "judge_p999_ms",
            "verdict_timeout_ms",
            "travel_counts",
            "pulse_counts",
            "debounce_counts",
            "counts_per_s_max",
        ] {
            assert!(text.contains(&format!("{key} = ")), "{key} is not in the example");
        }
    }

    #[test]
    fn errors_name_file_line_and_key() {
        let unknown = error_of("board = \"board.toml\"\nrecipe = \"r\"\ncolour = \"red\"\n");
        assert!(unknown.contains("line 3") && unknown.contains("colour"), "{unknown}");
        let missing = error_of("board = \"board.toml\"\n");
        assert!(missing.contains("recipe"), "{missing}");
        let empty = error_of("board = \"board.toml\"\nrecipe = \"\"\n");
        assert!(empty.contains("recipe: the path is empty"), "{empty}");
        let wrong = error_of("board = \"board.toml\"\nrecipe = \"r\"\n[line]\ntravel_ms = -3\n");
        assert!(wrong.contains("line 4"), "{wrong}");
        let times = error_of("board = \"board.toml\"\nrecipe = \"r\"\n[line]\ntravel_ms = 100\n");
        assert!(times.contains("line.travel_ms"), "{times}");
        let nested = error_of("board = \"board.toml\"\nrecipe = \"r\"\n[line]\nspeed = 3\n");
        assert!(nested.contains("line 4") && nested.contains("speed"), "{nested}");
        let every = error_of("board = \"board.toml\"\nrecipe = \"r\"\n[trigger]\nevery_ms = 1\n");
        assert!(every.contains("trigger.every_ms is 1"), "{every}");
        let board = error_of("board = \"gone.toml\"\nrecipe = \"r\"\n");
        assert!(board.contains("board: ") && board.contains("gone.toml"), "{board}");
        let counts = error_of(
            "board = \"board.toml\"\nrecipe = \"r\"\n[line]\ntravel_counts = 2500\n\
             debounce_counts = 200\ncounts_per_s_max = 6000\n",
        );
        assert!(counts.contains("line.travel_counts: the board sim wires no encoder"), "{counts}");
        let kept = error_of(
            "board = \"board.toml\"\nrecipe = \"r\"\n[output]\ndir = \"o\"\nrejects_kept = 99999\n",
        );
        assert!(kept.contains("output.rejects_kept is 99999"), "{kept}");
    }

    #[test]
    fn two_parts_at_once_take_a_core_from_one() {
        let text = |more: &str| format!("board = \"board.toml\"\nrecipe = \"r\"\n{more}");
        let two = parse(&text("parts_at_once = 2\n"), folder().path()).unwrap();
        let cores = available_parallelism().map_or(1, usize::from);
        assert_eq!(two.parts_at_once, 2);
        assert_eq!(two.model.threads, Some((cores - 1).clamp(1, THREADS_DEFAULT_MAX)));
        let one = parse(&text("parts_at_once = 1\nthreads = 3\n"), folder().path()).unwrap();
        assert_eq!((one.parts_at_once, one.model.threads), (1, Some(3)));
        assert!(error_of(&text("parts_at_once = 3\n")).contains("parts_at_once is 3"));
        assert_eq!([1, 3, 4, 8].map(|n| parts_at_once(None, n)), [Ok(1), Ok(1), Ok(2), Ok(2)]);
    }

    #[test]
    fn the_recipe_has_the_last_word_on_times() {
        let text = "board = \"board.toml\"\nrecipe = \"r\"\n[line]\ntravel_ms = 900\n";
        let config = parse(text, folder().path()).unwrap();
        let own = config.line(&LineTiming::default()).unwrap();
        assert_eq!(own.deadline(Timestamp(0)), Timestamp(880_000));
        let recipe = LineTiming { travel_ms: Some(500), ..LineTiming::default() };
        assert_eq!(config.line(&recipe).unwrap().deadline(Timestamp(0)), Timestamp(480_000));
        let hasty = LineTiming { travel_ms: Some(50), ..LineTiming::default() };
        assert!(config.line(&hasty).unwrap_err().to_string().contains("recipe's times"));
    }

    #[test]
    fn a_model_folder_is_relative_to_the_file_and_a_name_is_not() {
        let folder = folder();
        let model = |m: &str| {
            let text = format!("board = \"board.toml\"\nrecipe = \"r\"\nmodel = \"{m}\"\n");
            parse(&text, folder.path()).unwrap().model.model.unwrap()
        };
        assert_eq!(model("oneprompt-m"), "oneprompt-m");
        assert!(model("./mine").starts_with(folder.path().to_str().unwrap()));
    }
}
