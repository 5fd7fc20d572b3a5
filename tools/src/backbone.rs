//! Encoders that others trained, frozen: what `import encoder` leaves, `train oneprompt` learns
//! on, and `export` packs.
//!
//! A folder holds the ONNX graph, cut down to what the chosen feature maps need, and
//! `encoder.json`, which says what the maps are and which bytes the graph has.

mod extractor;
mod graph;
#[cfg(test)]
pub mod testing;

pub use extractor::Extractor;
pub use graph::{Found, Graph};

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use touchstone_models::files;
use touchstone_models::package::{GRAPH_BYTES_MAX, sha256_hex};

use crate::net::levels::Levels;
use crate::train::batch::Scaling;

/// Name of the description within an encoder's folder.
const DESCRIPTION: &str = "encoder.json";
/// Name of the graph within it.
const GRAPH: &str = "encoder.onnx";
/// Most bytes that a description may have.
const DESCRIPTION_BYTES_MAX: u64 = 1 << 20;
/// Smallest and largest side of a picture, in pixels.
pub const SIDES: std::ops::RangeInclusive<usize> = 64..=1024;

/// One feature map of the encoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tap {
    /// The tensor's name in the graph.
    pub name: String,
    /// Its channels.
    pub channels: usize,
}

/// What is known of an encoder besides its graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The feature maps.
    pub taps: Levels<Tap>,
    /// What the encoder wants done with values 0..1.
    pub scaling: Scaling,
    /// Side of the picture that the import tried it with, in pixels.
    pub size: usize,
    /// Where it comes from, with licence, for the model card.
    pub sources: Vec<String>,
    /// The import's command line, for the model card.
    pub command: String,
    /// Hex SHA-256 of the graph.
    pub sha256: String,
}

/// An encoder that others trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Backbone {
    description: Description,
    onnx: Vec<u8>,
}

impl Backbone {
    /// From a graph that gives the maps of `description` in their order; fills in its hash.
    pub fn new(mut description: Description, onnx: Vec<u8>) -> Backbone {
        description.sha256 = sha256_hex(&onnx);
        Backbone { description, onnx }
    }

    /// Whether `dir` looks like an imported encoder rather than a training run.
    pub fn is_at(dir: &Path) -> bool {
        dir.join(DESCRIPTION).exists()
    }

    /// Reads the encoder in `dir`.
    ///
    /// # Errors
    /// A file is missing, unsound, or not the one that was imported.
    pub fn open(dir: &Path) -> Result<Backbone> {
        let path = dir.join(DESCRIPTION);
        let text = files::read_limited(&path, DESCRIPTION_BYTES_MAX)
            .with_context(|| format!("{}: cannot be read", path.display()))?;
        let description: Description = serde_json::from_slice(&text).with_context(|| {
            format!("{}: not an encoder that this version imported", path.display())
        })?;
        description.scaling.check().with_context(|| path.display().to_string())?;
        let path = dir.join(GRAPH);
        let onnx = files::read_limited(&path, GRAPH_BYTES_MAX)
            .with_context(|| format!("{}: cannot be read", path.display()))?;
        let found = sha256_hex(&onnx);
        ensure!(
            found == description.sha256,
            "{} is not the graph that was imported: its SHA-256 is {found}, {DESCRIPTION} says {}; \
             import the encoder again",
            path.display(),
            description.sha256
        );
        Ok(Backbone { description, onnx })
    }

    /// Writes the encoder as folder `dir`: all of it or nothing. What was there is replaced.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let at = || format!("{}: cannot be written", dir.display());
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent).with_context(at)?;
        }
        let draft = files::sibling(dir).with_context(at)?;
        fs::create_dir(&draft).with_context(at)?;
        let description = serde_json::to_vec_pretty(&self.description)?;
        let written = files::write_synced(&draft.join(GRAPH), &self.onnx)
            .and_then(|()| files::write_synced(&draft.join(DESCRIPTION), &description))
            .and_then(|()| files::replace_folder(&draft, dir));
        if written.is_err() {
            // The first error is the one to report.
            let _ = fs::remove_dir_all(&draft);
        }
        written.with_context(at)
    }

    /// What is known of it.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Channels of its maps.
    pub fn channels(&self) -> Levels<usize> {
        self.description.taps.as_ref().map(|tap| tap.channels)
    }

    /// Identifies everything that its features depend on: what a training run pins.
    pub fn id(&self) -> String {
        let Scaling { mean, std } = self.description.scaling;
        sha256_hex(format!("{}\n{mean:?}\n{std:?}\n", self.description.sha256).as_bytes())
    }

    /// The encoder for square pictures of `size` pixels.
    ///
    /// # Errors
    /// tract cannot run it at that size, or the maps are not what the description says.
    pub fn at(&self, size: usize) -> Result<Extractor> {
        let graph = Graph::parse(&self.onnx).map_err(|e| anyhow!("{GRAPH}: {e}"))?;
        Extractor::new(&graph, &self.description, size)
            .with_context(|| format!("the encoder on pictures of {size} pixels"))
    }
}
