//! Metrics of the evaluation, each checked against independently computed values.
//!
//! What they have in common:
//! - a higher score means more defective; a score is never flipped, rescaled per category or
//!   thresholded at a value taken from test labels (an AUROC below one half stays below one half);
//! - NaN, infinity and scores outside `0..=1` are errors, never numbers;
//! - scores that are equal are one threshold step (ties count half in AUROC, and together in AP).

pub mod bootstrap;
pub mod boxes;
#[cfg(test)]
mod golden;
pub mod pixels;
pub mod ranking;
pub mod regions;

use std::fmt;

pub use bootstrap::{Estimate, Resampler};
pub use boxes::{BoxSweep, HitCurve, TypedBox};
pub use pixels::{PixelTally, Pool, QuantisedMap};
pub use ranking::{Confusion, auroc, average_precision};
pub use regions::Labels;

/// Why a metric has no value.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricError {
    /// A score is NaN or infinite: the detector is broken and no number may hide it.
    NotFinite {
        /// Position of the first such score in its list or map.
        index: usize,
    },
    /// A score lies outside `0..=1`, the range that maps are stored in.
    OutOfRange {
        /// Position of the first such score.
        index: usize,
        /// The score.
        value: f32,
    },
    /// Only defective or only clean items: nothing to separate.
    OneClass {
        /// Number of defective items (pictures or pixels).
        defective: u64,
        /// Number of clean items.
        clean: u64,
    },
    /// Lists or maps that belong together differ in size.
    SizeMismatch {
        /// What was compared.
        what: &'static str,
        /// Size expected.
        expected: usize,
        /// Size found.
        found: usize,
    },
    /// Box metrics were asked for where no box is annotated.
    NoBoxes,
}

impl fmt::Display for MetricError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite { index } => {
                write!(f, "score {index} is NaN or infinite; the detector must not emit it")
            }
            Self::OutOfRange { index, value } => write!(
                f,
                "score {index} is {value}, outside 0..=1; map it there with fixed constants"
            ),
            Self::OneClass { defective, clean } => {
                write!(f, "{defective} defective and {clean} clean items: both kinds are needed")
            }
            Self::SizeMismatch { what, expected, found } => {
                write!(f, "{what}: expected size {expected}, found {found}")
            }
            Self::NoBoxes => write!(f, "no annotated boxes: box metrics need at least one"),
        }
    }
}

impl std::error::Error for MetricError {}
