//! `pairs.csv` (a prompt per query) and `boxes.csv` (annotated boxes).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{DatasetError, Sample, io, name};
use crate::eval::metrics::TypedBox;

const PAIRS_HEADER: &str = "query,prompt,label,mask";
const BOXES_HEADER: &str = "query,x1,y1,x2,y2,type";

/// Longest CSV file: a million rows. A larger one is not one of ours.
const CSV_BYTES_MAX: u64 = 64 << 20;

/// Reads `query,prompt,label,mask`; label 1 is defective, an empty mask means none.
pub(super) fn read_pairs(folder: &Path, file: &Path) -> Result<Vec<Sample>, DatasetError> {
    let mut samples = Vec::new();
    for (at, line) in rows(file, PAIRS_HEADER)? {
        let [query, prompt, label, mask] = fields(&at, &line)?;
        let defective = match label {
            "0" => false,
            "1" => true,
            other => {
                let what = format!("label is `{other}`, expected 0 (clean) or 1 (defective)");
                return Err(DatasetError::Csv { at, what });
            }
        };
        let picture = existing(folder, &at, query)?;
        let mask = match defective && !mask.is_empty() {
            true => Some(existing(folder, &at, mask)?),
            false => None,
        };
        samples.push(Sample {
            kind: picture.parent().map_or_else(String::new, name),
            prompt: Some(existing(folder, &at, prompt)?),
            picture,
            defective,
            mask,
            boxes: Vec::new(),
        });
    }
    Ok(samples)
}

/// Adds `query,x1,y1,x2,y2,type` to the samples they belong to.
pub(super) fn read_boxes(
    folder: &Path,
    file: &Path,
    samples: &mut [Sample],
) -> Result<(), DatasetError> {
    let by_picture: HashMap<PathBuf, usize> =
        samples.iter().enumerate().map(|(i, s)| (s.picture.clone(), i)).collect();
    for (at, line) in rows(file, BOXES_HEADER)? {
        let [query, x1, y1, x2, y2, kind] = fields(&at, &line)?;
        let Some(&index) = by_picture.get(&folder.join(query)) else {
            let what = format!("query `{query}` is not a test picture of this category");
            return Err(DatasetError::Csv { at, what });
        };
        let number = |text: &str| match text.parse::<f32>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(DatasetError::Csv {
                at: at.clone(),
                what: format!("`{text}` is not a coordinate"),
            }),
        };
        let target = TypedBox {
            x1: number(x1)?,
            y1: number(y1)?,
            x2: number(x2)?,
            y2: number(y2)?,
            kind: kind.into(),
        };
        if target.x1 >= target.x2 || target.y1 >= target.y2 {
            let what = "empty box; expected x1 < x2 and y1 < y2".into();
            return Err(DatasetError::Csv { at, what });
        }
        samples[index].boxes.push(target);
    }
    Ok(())
}

/// Lines after the header, each with `file:line`.
fn rows(file: &Path, header: &str) -> Result<Vec<(String, String)>, DatasetError> {
    let length = std::fs::metadata(file).map_err(io(file))?.len();
    let at = |line: usize| format!("{}:{line}", file.display());
    if length > CSV_BYTES_MAX {
        let what = format!("{length} bytes, more than the {CSV_BYTES_MAX} that are read");
        return Err(DatasetError::Csv { at: at(1), what });
    }
    let text = std::fs::read_to_string(file).map_err(io(file))?;
    let mut lines = text.lines().enumerate();
    let found = lines.next().map_or("", |(_, line)| line.trim());
    if found != header {
        let what = format!("header is `{found}`, expected `{header}`");
        return Err(DatasetError::Csv { at: at(1), what });
    }
    Ok(lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(i, line)| (at(i + 1), line.to_owned()))
        .collect())
}

fn fields<'a, const N: usize>(at: &str, line: &'a str) -> Result<[&'a str; N], DatasetError> {
    let parts: Vec<&str> = line.split(',').map(str::trim).collect();
    parts.as_slice().try_into().map_err(|_| DatasetError::Csv {
        at: at.into(),
        what: format!("{} fields, expected {N}", parts.len()),
    })
}

fn existing(folder: &Path, at: &str, relative: &str) -> Result<PathBuf, DatasetError> {
    let file = folder.join(relative);
    if file.is_file() {
        return Ok(file);
    }
    Err(DatasetError::NoSuchFile { at: at.into(), file })
}
