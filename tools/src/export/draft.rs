//! A package in the making: where it lies until it is whole.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use touchstone_models::engine::EngineKind;
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::package::{EmbeddingPrior, ModelCard, ModelPackage};

use super::nnef::from_onnx;
use crate::calibrate::{self, Job, Learned};

/// The model's id, which is the last part of `out`.
///
/// # Errors
/// `out` has no last part, or it is no text.
pub fn id(out: &Path) -> Result<String> {
    let name = out.file_name().and_then(|n| n.to_str());
    let name = name.with_context(|| {
        format!("--out {}: the last part must be the model's id", out.display())
    })?;
    Ok(name.to_owned())
}

/// Both graphs of a package in the making, as NNEF.
pub struct Graphs {
    /// Runs once per picture.
    pub encode: Vec<u8>,
    /// Runs once per pair.
    pub segment: Vec<u8>,
}

impl Graphs {
    /// From ONNX.
    ///
    /// # Errors
    /// What tract cannot read or write.
    pub fn from_onnx(encode: &[u8], segment: &[u8]) -> Result<Graphs> {
        let (encode, segment) = (from_onnx(encode, "encode")?, from_onnx(segment, "segment")?);
        Ok(Graphs { encode, segment })
    }

    /// Writes the package with `card` into `folder`.
    ///
    /// # Errors
    /// The card does not fit, or the folder cannot be written.
    pub fn write(&self, folder: &Path, card: ModelCard) -> Result<ModelPackage> {
        ModelPackage::write(folder, card, &self.encode, &self.segment).map_err(|e| anyhow!("{e}"))
    }

    /// The package, ready to run on one thread of tract.
    ///
    /// # Errors
    /// tract does not load it.
    pub fn load(package: &ModelPackage) -> Result<OnePrompt> {
        OnePrompt::load(package, EngineKind::Tract, 1).map_err(|e| anyhow!("{e}"))
    }

    /// Calibrates `card` on imaginary products. Its embedding's prior is learned from them, too, unless it is `given`.
    ///
    /// # Errors
    /// Pictures or package cannot be used.
    pub fn calibrate(
        &self,
        out: &Path,
        card: &mut ModelCard,
        job: &Job<'_>,
        given: Option<EmbeddingPrior>,
    ) -> Result<()> {
        let learned = with(out, |folder| {
            let load = |known: &Learned| {
                let mut card = card.clone();
                known.clone().enter(&mut card);
                Graphs::load(&self.write(folder, card)?)
            };
            let known = Learned::nothing(&card.encode.outputs, &card.features.pooled);
            calibrate::fit(job, (known, given), load)
        })?;
        learned.enter(card);
        Ok(())
    }

    /// Says what was written.
    pub fn tell(&self, package: &ModelPackage, out: &Path) {
        println!(
            "model {} written to {} ({:.1} MB)",
            package.id(),
            out.display(),
            (self.encode.len() + self.segment.len()) as f64 / 1e6
        );
    }
}

/// Gives `work` a folder beside `out`, so that the package itself is never seen half made, and removes
/// the folder afterwards.
///
/// # Errors
/// The folder cannot be made or removed, or `work` fails.
fn with<T>(out: &Path, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let folder = out.with_file_name(format!("{}-draft-{}", id(out)?, std::process::id()));
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("{}: cannot be made", folder.display()))?;
    let done = work(&folder);
    let removed = std::fs::remove_dir_all(&folder);
    let done = done?;
    removed.with_context(|| format!("{}: cannot be removed", folder.display()))?;
    Ok(done)
}
