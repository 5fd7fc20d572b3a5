//! Observations on disk, so that ways of joining maps can be compared without the network.
//!
//! One safetensors file per picture: maps as f32 `[height, width]`, numbers as f32 `[1]`.

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use touchstone_models::files;
use touchstone_models::map::Map;

use super::observation::Observation;

/// Longest dump of one picture: far above a few maps of 256 x 256.
const DUMP_BYTES_MAX: u64 = 64 << 20;

/// Where the observation of a picture lies: below `k<K>/<set>/<category>`, by role and name.
pub fn file(folder: &Path, k: usize, category: &str, role: &str, picture: &Path) -> PathBuf {
    let stem = picture.file_stem().unwrap_or_default();
    let mut name = stem.to_os_string();
    name.push(".safetensors");
    folder.join(format!("k{k}")).join(category).join(role).join(name)
}

/// Writes an observation, complete or not at all.
///
/// # Errors
/// The file system's, with the path.
pub fn write(file: &Path, seen: &Observation) -> anyhow::Result<()> {
    let bytes_of =
        |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let maps = seen.maps.iter().map(|(name, map)| {
        let shape = vec![map.height as usize, map.width as usize];
        (name, shape, bytes_of(&map.values))
    });
    let numbers = seen.numbers.iter();
    let numbers = numbers.map(|(name, value)| (name, vec![1], bytes_of(&[*value])));
    let parts: Vec<_> = maps.chain(numbers).collect();
    let mut tensors = Vec::with_capacity(parts.len());
    for (name, shape, bytes) in &parts {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes)?;
        tensors.push((name.as_str(), view));
    }
    let bytes = safetensors::serialize(tensors, None)?;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|e| anyhow::anyhow!("{}: {e}", folder.display()))?;
    }
    files::write_atomic(file, &bytes).map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))
}

/// Reads an observation back.
///
/// # Errors
/// A missing, truncated or foreign file, with the path.
pub fn read(file: &Path) -> anyhow::Result<Observation> {
    let bytes = files::read_limited(file, DUMP_BYTES_MAX).map_err(|e| {
        anyhow::anyhow!("{}: {e}; dump again with the same --k, --sets and --limit", file.display())
    })?;
    parse(&bytes)
        .map_err(|e| anyhow::anyhow!("{}: not a dump of this program: {e}", file.display()))
}

fn parse(bytes: &[u8]) -> anyhow::Result<Observation> {
    let tensors = SafeTensors::deserialize(bytes)?;
    let mut seen = Observation::default();
    for (name, view) in tensors.iter() {
        anyhow::ensure!(view.dtype() == Dtype::F32, "{name} is not f32");
        let values: Vec<f32> = view
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        match *view.shape() {
            [1] => seen.number(name, values[0]),
            [height, width] => {
                let map = Map::new(u32::try_from(width)?, u32::try_from(height)?, values);
                seen.map(name, map.ok_or_else(|| anyhow::anyhow!("{name} is empty"))?);
            }
            _ => anyhow::bail!("{name} is neither a map nor a number"),
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = Observation::default();
        seen.map("change", Map::new(3, 2, vec![0.0, 0.1, 0.2, 0.3, 0.4, 1.0]).unwrap());
        seen.verdict("change", 0.75, true);
        let file = file(folder.path(), 1, "set/cat", "hole", Path::new("a/007.png"));
        assert!(file.ends_with("k1/set/cat/hole/007.safetensors"));
        write(&file, &seen).unwrap();
        let back = read(&file).unwrap();
        assert_eq!(back.find_map("change"), seen.find_map("change"));
        assert_eq!(back.score_of("change"), Some(0.75));
        assert_eq!(back.reject_of("change"), Some(true));
    }

    #[test]
    fn missing_and_torn_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.safetensors");
        assert!(read(&file).unwrap_err().to_string().contains("dump again"));
        let mut seen = Observation::default();
        seen.number("a", 1.0);
        write(&file, &seen).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() - 2]).unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("not a dump"));
    }
}
