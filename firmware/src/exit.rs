//! How a command ends: what is printed, and the exit status that a script or
//! a PLC gateway may rely on.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// A command that ran to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Everything asked for was done; `inspect`: all parts pass. Status 0.
    Fine,
    /// `inspect`: at least one part was rejected. Status 1.
    SomeRejected,
    /// `doctor`: something does not work. Status 3.
    SomethingBroken,
}

/// A command that could not do what was asked. The text says what, where and
/// what to do.
#[derive(Debug)]
pub enum Failure {
    /// Wrong use or wrong input. Status 2.
    Use(String),
    /// Hardware or the model does not work. Status 3.
    Hardware(String),
    /// Whoever read our output went away (`touchstone … | head`). Nothing is
    /// wrong, so this is status 0 and says nothing.
    ReaderGone,
}

impl Failure {
    /// Wrong use or input, from anything that can say what is wrong.
    pub fn usage(error: impl fmt::Display) -> Self {
        Self::Use(error.to_string())
    }

    /// Broken hardware or model, from anything that can say what is wrong.
    pub fn hardware(error: impl fmt::Display) -> Self {
        Self::Hardware(error.to_string())
    }

    /// A failure of writing to standard output.
    pub fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ReaderGone
        } else {
            Self::Use(format!("standard output: {error}; check where it is redirected to"))
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Use(text) | Self::Hardware(text) => f.write_str(text),
            Self::ReaderGone => f.write_str("the reader of the output went away"),
        }
    }
}

impl std::error::Error for Failure {}

/// What every command returns.
pub type Ended = Result<Done, Failure>;

/// The exit status of `ended`; prints a failure on standard error.
pub fn status(ended: Ended) -> ExitCode {
    let code = match &ended {
        Ok(Done::Fine) | Err(Failure::ReaderGone) => 0,
        Ok(Done::SomeRejected) => 1,
        Err(Failure::Use(text)) => {
            eprintln!("touchstone: {text}");
            2
        }
        Err(Failure::Hardware(text)) => {
            eprintln!("touchstone: {text}");
            3
        }
        Ok(Done::SomethingBroken) => 3,
    };
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statuses_are_the_documented_ones() {
        let code = |ended| format!("{:?}", status(ended));
        let expected = |n: u8| format!("{:?}", ExitCode::from(n));
        assert_eq!(code(Ok(Done::Fine)), expected(0));
        assert_eq!(code(Ok(Done::SomeRejected)), expected(1));
        assert_eq!(code(Err(Failure::usage("x"))), expected(2));
        assert_eq!(code(Err(Failure::hardware("x"))), expected(3));
        assert_eq!(code(Ok(Done::SomethingBroken)), expected(3));
        assert_eq!(code(Err(Failure::ReaderGone)), expected(0));
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(matches!(Failure::output(&pipe), Failure::ReaderGone));
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(Failure::output(&full), Failure::Use(_)));
    }
}
