//! A package in the making: where it lies until it is whole.

use std::path::Path;

use anyhow::{Context, Result};

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

/// Gives `work` a folder beside `out`, so that the package itself is never seen half made, and removes
/// the folder afterwards.
///
/// # Errors
/// The folder cannot be made or removed, or `work` fails.
pub fn with<T>(out: &Path, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let folder = out.with_file_name(format!("{}-draft-{}", id(out)?, std::process::id()));
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("{}: cannot be made", folder.display()))?;
    let done = work(&folder);
    let removed = std::fs::remove_dir_all(&folder);
    let done = done?;
    removed.with_context(|| format!("{}: cannot be removed", folder.display()))?;
    Ok(done)
}
