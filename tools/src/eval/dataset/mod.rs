//! Pictures with known defects, in the folder layout of MVTec AD.
//!
//! ```text
//! [<set>/]<category>/train/good/*                  enrolment pictures, sorted by name
//! [<set>/]<category>/test/good/*                   clean pictures (may be missing)
//! [<set>/]<category>/test/<kind>/<stem>.*          defective pictures
//! [<set>/]<category>/ground_truth/<kind>/<stem>_mask.png   white where defective
//! [<set>/]<category>/pairs.csv, boxes.csv          a prompt per query; boxes instead of outlines
//! ```
//! The root may be one category, one set of categories, or a folder of sets. Nothing is read but
//! names and the two CSV files; pictures are opened when their turn comes.

mod pairs;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::metrics::TypedBox;

/// A category needs this many clean test pictures for picture-level metrics to mean anything.
pub const CLEAN_PICTURES_MIN: usize = 5;

/// Suffixes of picture files.
const PICTURE_SUFFIXES: [&str; 3] = ["png", "jpg", "jpeg"];

/// The folder of clean pictures.
const GOOD: &str = "good";

/// What is wrong with a data folder.
#[derive(Debug)]
pub enum DatasetError {
    /// A folder or file that cannot be read.
    Io {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// No `train/good` at the root or in its folders or in theirs.
    NoCategory {
        /// The root.
        root: PathBuf,
    },
    /// `--sets` names something that is not there.
    NoSuchSet {
        /// The name.
        name: String,
        /// Sets (and `set/category`) that are there.
        known: Vec<String>,
    },
    /// A folder without pictures where some are needed.
    NoPictures {
        /// The folder.
        folder: PathBuf,
    },
    /// A defective picture without its mask, in a category that has masks.
    NoMask {
        /// The picture.
        picture: PathBuf,
        /// Where its mask should be.
        mask: PathBuf,
    },
    /// A file named in a CSV file that is not there.
    NoSuchFile {
        /// CSV file and line.
        at: String,
        /// The file named.
        file: PathBuf,
    },
    /// A CSV line that cannot be read.
    Csv {
        /// CSV file and line.
        at: String,
        /// What is wrong.
        what: String,
    },
}

impl fmt::Display for DatasetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => {
                write!(f, "{}: {source}; check the path and that it may be read", path.display())
            }
            Self::NoCategory { root } => write!(
                f,
                "{}: no category found; expected `train/good` and `test` in it, in its folders, or \
                 one level further down",
                root.display()
            ),
            Self::NoSuchSet { name, known } => {
                write!(f, "--sets {name}: not there; known: {}", known.join(", "))
            }
            Self::NoPictures { folder } => write!(
                f,
                "{}: no pictures (*.png, *.jpg, *.jpeg); put at least one there",
                folder.display()
            ),
            Self::NoMask { picture, mask } => write!(
                f,
                "{}: defective, but its mask {} is missing; add it, or remove the whole \
                 `ground_truth` folder to evaluate whole pictures only",
                picture.display(),
                mask.display()
            ),
            Self::NoSuchFile { at, file } => {
                write!(f, "{at}: {} does not exist", file.display())
            }
            Self::Csv { at, what } => write!(f, "{at}: {what}"),
        }
    }
}

// No `source`: the message already holds the cause, and a chain would print it twice.
impl std::error::Error for DatasetError {}

/// One test picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The picture.
    pub picture: PathBuf,
    /// `good`, or the kind of defect.
    pub kind: String,
    /// Whether it must be rejected.
    pub defective: bool,
    /// Its mask; `None` for clean pictures and in categories with labels only.
    pub mask: Option<PathBuf>,
    /// Its own prompt, where the category has one per picture.
    pub prompt: Option<PathBuf>,
    /// Annotated boxes.
    pub boxes: Vec<TypedBox>,
}

impl Sample {
    /// File name without suffix.
    pub fn stem(&self) -> String {
        stem(&self.picture)
    }
}

/// One product, camera position or board group.
#[derive(Clone, Debug, PartialEq)]
pub struct Category {
    /// Name of the set.
    pub set: String,
    /// Name of the category.
    pub name: String,
    /// Enrolment pictures, sorted by name.
    pub train: Vec<PathBuf>,
    /// Test pictures: clean ones first, then by kind and name.
    pub samples: Vec<Sample>,
    /// Whether defects have masks; if not, there are no pixel metrics.
    pub has_masks: bool,
    /// Whether there are boxes.
    pub has_boxes: bool,
}

impl Category {
    /// `set/category`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.set, self.name)
    }

    /// Number of clean test pictures.
    pub fn clean(&self) -> usize {
        self.samples.iter().filter(|s| !s.defective).count()
    }

    /// Whether picture-level metrics are reported: enough clean pictures, and some defective ones.
    pub fn has_picture_metrics(&self) -> bool {
        self.clean() >= CLEAN_PICTURES_MIN && self.clean() < self.samples.len()
    }

    /// Whether each picture has its own prompt.
    pub fn is_paired(&self) -> bool {
        self.samples.iter().any(|s| s.prompt.is_some())
    }

    /// Keeps at most `limit` test pictures, evenly spread, at least one clean and one defective if
    /// there are any.
    pub fn limit(&mut self, limit: usize) {
        let total = self.samples.len();
        let limit = limit.max(2);
        if total <= limit {
            return;
        }
        let mut keep: Vec<usize> = (0..limit).map(|i| i * (total - 1) / (limit - 1)).collect();
        keep.dedup();
        let mut kept = keep.into_iter().peekable();
        let mut index = 0;
        self.samples.retain(|_| {
            let keep = kept.next_if_eq(&index).is_some();
            index += 1;
            keep
        });
    }
}

/// Finds the categories under `root`, sorted by set and name; `sets` restricts them to sets or to
/// single `set/category`s (all if empty).
///
/// # Errors
/// Unreadable or missing folders, missing masks, malformed CSV files, names in `sets` that are not
/// there.
pub fn discover(root: &Path, sets: &[String]) -> Result<Vec<Category>, DatasetError> {
    let mut folders: Vec<(String, PathBuf)> = Vec::new();
    if is_category(root) {
        let set = root.canonicalize().map_err(io(root))?;
        folders.push((set.parent().map_or_else(String::new, name), root.into()));
    } else {
        let children = subfolders(root)?;
        let set = root.canonicalize().map_err(io(root))?;
        for child in children {
            if is_category(&child) {
                folders.push((name(&set), child));
            } else {
                let categories = subfolders(&child)?.into_iter().filter(|c| is_category(c));
                folders.extend(categories.map(|category| (name(&child), category)));
            }
        }
    }
    if folders.is_empty() {
        return Err(DatasetError::NoCategory { root: root.into() });
    }
    let chosen = choose(folders, sets)?;
    chosen.into_iter().map(|(set, folder)| read_category(set, &folder)).collect()
}

fn choose(
    folders: Vec<(String, PathBuf)>,
    sets: &[String],
) -> Result<Vec<(String, PathBuf)>, DatasetError> {
    let fits = |wanted: &str, set: &str, folder: &Path| {
        wanted == set || wanted == format!("{set}/{}", name(folder))
    };
    for wanted in sets {
        if !folders.iter().any(|(set, f)| fits(wanted, set, f)) {
            let mut known: Vec<String> = folders.iter().map(|(set, _)| set.clone()).collect();
            known.extend(folders.iter().map(|(set, f)| format!("{set}/{}", name(f))));
            known.sort();
            known.dedup();
            return Err(DatasetError::NoSuchSet { name: wanted.clone(), known });
        }
    }
    let keep = |(set, folder): &(String, PathBuf)| {
        sets.is_empty() || sets.iter().any(|wanted| fits(wanted, set, folder))
    };
    Ok(folders.into_iter().filter(keep).collect())
}

fn read_category(set: String, folder: &Path) -> Result<Category, DatasetError> {
    let train_folder = folder.join("train").join(GOOD);
    let train = pictures(&train_folder)?;
    if train.is_empty() {
        return Err(DatasetError::NoPictures { folder: train_folder });
    }
    let has_masks = folder.join("ground_truth").is_dir();
    let pairs_file = folder.join("pairs.csv");
    let mut samples = if pairs_file.is_file() {
        pairs::read_pairs(folder, &pairs_file)?
    } else {
        read_test(folder, has_masks)?
    };
    if samples.is_empty() {
        return Err(DatasetError::NoPictures { folder: folder.join("test") });
    }
    let boxes_file = folder.join("boxes.csv");
    let has_boxes = boxes_file.is_file();
    if has_boxes {
        pairs::read_boxes(folder, &boxes_file, &mut samples)?;
    }
    Ok(Category { set, name: name(folder), train, samples, has_masks, has_boxes })
}

fn read_test(folder: &Path, has_masks: bool) -> Result<Vec<Sample>, DatasetError> {
    let mut kinds: BTreeMap<(bool, String), PathBuf> = BTreeMap::new();
    for kind_folder in subfolders(&folder.join("test"))? {
        let kind = name(&kind_folder);
        kinds.insert((kind != GOOD, kind), kind_folder);
    }
    let mut samples = Vec::new();
    for ((defective, kind), kind_folder) in kinds {
        for picture in pictures(&kind_folder)? {
            let mask = match defective && has_masks {
                true => Some(mask_of(folder, &kind, &picture)?),
                false => None,
            };
            samples.push(Sample {
                picture,
                kind: kind.clone(),
                defective,
                mask,
                prompt: None,
                boxes: Vec::new(),
            });
        }
    }
    Ok(samples)
}

fn mask_of(folder: &Path, kind: &str, picture: &Path) -> Result<PathBuf, DatasetError> {
    let mask = folder.join("ground_truth").join(kind).join(format!("{}_mask.png", stem(picture)));
    if mask.is_file() {
        return Ok(mask);
    }
    Err(DatasetError::NoMask { picture: picture.into(), mask })
}

fn is_category(folder: &Path) -> bool {
    folder.join("train").join(GOOD).is_dir()
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> DatasetError {
    let path = path.to_path_buf();
    move |source| DatasetError::Io { path, source }
}

/// Entries of a folder by name, without hidden ones.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io(folder))? {
        let entry = entry.map_err(io(folder))?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn subfolders(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let mut paths = entries(folder)?;
    paths.retain(|p| p.is_dir());
    Ok(paths)
}

fn pictures(folder: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let is_picture = |p: &PathBuf| {
        let suffix = p.extension().map(|s| s.to_string_lossy().to_lowercase());
        suffix.is_some_and(|s| PICTURE_SUFFIXES.contains(&s.as_str()))
    };
    let mut paths = entries(folder)?;
    paths.retain(is_picture);
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
