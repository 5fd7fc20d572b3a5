//! ONNX files. Exporters put weights into a second file beside the first (PyTorch does unless it
//! is told otherwise); here they come back together.

use std::collections::HashMap;
use std::path::{Component, Path};

use anyhow::{Context, Result, anyhow, bail, ensure};
use prost::Message;
use touchstone_models::files::read_limited;
use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{ModelProto, TensorProto};

/// Most bytes that a graph, or a file of weights beside it, may have. A classifier's or a
/// detector's head may be much larger than the part that is kept.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// Reads the file, whole.
///
/// # Errors
/// It cannot be read, is damaged, or lacks a file of weights.
pub(super) fn read(path: &Path) -> Result<ModelProto> {
    let bytes = read_limited(path, FILE_BYTES_MAX).context("cannot be read")?;
    let mut model = decode(&bytes)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files = HashMap::new();
    let weights = model.graph.iter_mut().flat_map(|g| &mut g.initializer);
    for tensor in weights.filter(|t| t.data_location == Some(DataLocation::External as i32)) {
        let name = tensor.name.clone();
        bring_in(tensor, folder, &mut files).with_context(|| format!("its weights '{name}'"))?;
    }
    Ok(model)
}

/// # Errors
/// Not protobuf.
pub(super) fn decode(bytes: &[u8]) -> Result<ModelProto> {
    ModelProto::decode(bytes).map_err(|e| anyhow!("no ONNX file, or a damaged one ({e})"))
}

/// Puts the bytes of a tensor that lie in another file into the tensor.
fn bring_in(
    tensor: &mut TensorProto,
    folder: &Path,
    files: &mut HashMap<String, Vec<u8>>,
) -> Result<()> {
    let entries = std::mem::take(&mut tensor.external_data);
    let entry = |key: &str| entries.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let number = |key: &str| -> Result<Option<usize>> {
        let parsed = entry(key).map(|v| v.parse().with_context(|| format!("bad {key} '{v}'")));
        parsed.transpose()
    };
    let location = entry("location").context("lie in another file that is not named")?;
    let inside = Path::new(location).components().all(|c| matches!(c, Component::Normal(_)));
    ensure!(inside, "lie in '{location}', which is not beside the file");
    if !files.contains_key(location) {
        let path = folder.join(location);
        let bytes = read_limited(&path, FILE_BYTES_MAX)
            .with_context(|| format!("lie in {}, which cannot be read", path.display()))?;
        files.insert(location.to_owned(), bytes);
    }
    let bytes = &files[location];
    let offset = number("offset")?.unwrap_or(0);
    let length = number("length")?.unwrap_or(bytes.len().saturating_sub(offset));
    let Some(part) = offset.checked_add(length).and_then(|end| bytes.get(offset..end)) else {
        bail!("end beyond '{location}', which has {} bytes", bytes.len());
    };
    tensor.raw_data = part.to_vec();
    tensor.data_location = None;
    Ok(())
}
