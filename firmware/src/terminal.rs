//! What goes to the terminal: result lines on standard output, the log and
//! progress on standard error.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::exit::Failure;

/// Sends log records to standard error, one line each.
struct StderrLog;

static STDERR_LOG: StderrLog = StderrLog;

impl Log for StderrLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries are chatty at info; ours is what -v is for.
        metadata.level() <= Level::Warn || metadata.target().starts_with("touchstone")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = match record.level() {
                Level::Error => "error",
                Level::Warn => "warning",
                Level::Info => "info",
                Level::Debug => "debug",
                Level::Trace => "trace",
            };
            // A log that cannot be written must not stop the line.
            let _ = writeln!(io::stderr(), "{level}: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Starts the log: warnings only, `-v` info, `-vv` debug, `-vvv` trace.
pub fn start_log(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        3.. => LevelFilter::Trace,
    };
    // Set once per process; a second call (in tests) finds it set already.
    if log::set_logger(&STDERR_LOG).is_ok() {
        log::set_max_level(level);
    }
}

/// Standard output, line by line.
#[derive(Debug)]
pub struct Lines(io::Stdout);

impl Default for Lines {
    fn default() -> Self {
        Self(io::stdout())
    }
}

impl Lines {
    /// Writes one line and sends it off, so that whoever listens hears of a
    /// part when it happens.
    ///
    /// # Errors
    /// The reader is gone, or the output is redirected to where it cannot go.
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        let mut out = self.0.lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|e| Failure::output(&e))
    }
}

/// Asks somebody who sits at a terminal; `None` where nobody does.
///
/// # Errors
/// The terminal cannot be read.
pub fn ask(question: &str) -> Result<Option<String>, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    // Standard error, for standard output may be a file.
    let _ = write!(io::stderr(), "{question}");
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.map_err(|e| Failure::Use(format!("standard input: {e}")))?;
    Ok(Some(answer.trim().to_owned()))
}

/// Work that is done before this is not worth a progress bar.
const PROGRESS_AFTER: Duration = Duration::from_secs(2);

/// A progress bar on standard error that shows itself only on a terminal, and
/// only once the work has taken a while.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    started: std::time::Instant,
    wanted: bool,
}

impl Progress {
    /// A bar for `len` steps of `what`.
    pub fn new(len: u64, what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::hidden());
        let template = "{msg} [{bar:40}] {pos}/{len}  {elapsed} (left {eta})";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what);
        // With lines of results on the same terminal a bar would only flicker.
        let wanted = io::stderr().is_terminal() && !io::stdout().is_terminal();
        Self { bar, started: std::time::Instant::now(), wanted }
    }

    /// A bar that shows itself even where results are printed on the terminal.
    pub fn without_lines(len: u64, what: &'static str) -> Self {
        let mut progress = Self::new(len, what);
        progress.wanted = io::stderr().is_terminal();
        progress
    }

    /// One step is done.
    pub fn step(&mut self) {
        if self.wanted && self.bar.is_hidden() && self.started.elapsed() > PROGRESS_AFTER {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
