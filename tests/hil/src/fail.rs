//! Why a run of the harness ends early, and whose matter that is.

use std::fmt;
use std::path::Path;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fail {
    /// This machine cannot run VMs with these packages; `--allow-skip` makes it a skip.
    Missing(String),
    /// Wrong use of the command line.
    Use(String),
    /// The processor needs longer for a verdict than the part needs to the actuator: nothing is wrong and
    /// nothing was shown. `--allow-skip` makes it a skip.
    TooSlow(String),
    /// What was seen is not what must be seen.
    Seen(String),
    /// The harness itself could not do its work.
    Broken(String),
}

/// A result of the harness.
pub type Outcome<T> = Result<T, Fail>;

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fail::Missing(why) => write!(f, "this machine lacks something: {why}"),
            Fail::TooSlow(why) => write!(f, "too slow here to show anything: {why}"),
            Fail::Use(why) | Fail::Seen(why) => f.write_str(why),
            Fail::Broken(why) => write!(f, "the harness: {why}"),
        }
    }
}

impl std::error::Error for Fail {}

/// Turns an I/O error at `path` into a failure of the harness: `.map_err(at("writing", path))`.
pub fn at(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Fail {
    let path = path.display().to_string();
    move |error| Fail::Broken(format!("{doing} {path}: {error}"))
}

/// What must be so in a scenario.
///
/// # Errors
/// [`Fail::Seen`] with what was seen instead.
pub fn must(so: bool, otherwise: impl FnOnce() -> String) -> Outcome<()> {
    if so { Ok(()) } else { Err(Fail::Seen(otherwise())) }
}
