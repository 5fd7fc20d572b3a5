//! The pictures, outlines and textures that pairs are made from.
//!
//! Any folder of pictures works. A folder with `images/` is read as the layout of
//! `../shared/data/train`: `images/`, `objects/*.json` outlines, `textures/<class>/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::raster::{Rgb, Source};

/// Pictures are kept with at most this short side: pairs are at most this sharp.
pub const SHORT_SIDE: u32 = 288;
/// Smaller pictures are left out: a crop of them would be a blur.
const SHORT_SIDE_MIN: u32 = 32;
/// Longer pictures are left out: a crop of such a strip says little, and sampling positions are 16 bit.
const LONG_SIDE_MAX: f32 = 8192.0;
/// Folder depth searched below the given one.
const DEPTH_MAX: usize = 4;

/// A picture with the outlines of things in it.
#[derive(Debug)]
pub struct Scene {
    /// The pixels.
    pub picture: Source,
    /// Outlines in pixels of `picture`.
    pub outlines: Vec<Vec<(f32, f32)>>,
}

/// Everything that pairs are drawn from, decoded once.
#[derive(Debug)]
pub struct Library {
    /// Pictures, in the order of their file names.
    pub scenes: Vec<Scene>,
    /// Textures, in the order of their file names; may be empty.
    pub textures: Vec<Source>,
    /// `(scene, outline)` of every outlined thing; may be empty.
    pub things: Vec<(usize, usize)>,
    /// Files that could not be used, with the reason.
    pub skipped: Vec<(PathBuf, String)>,
}

#[derive(Deserialize)]
struct OutlineFile {
    image: String,
    width: f32,
    height: f32,
    objects: Vec<OutlineObject>,
}

#[derive(Deserialize)]
struct OutlineObject {
    polygon: Vec<(f32, f32)>,
}

impl Library {
    /// How many pictures and textures there are.
    pub fn count(&self) -> usize {
        self.scenes.len() + self.textures.len()
    }

    /// Reads a folder. `progress(done, total)` is called from several threads.
    ///
    /// # Errors
    /// When the folder is missing or holds no usable picture; single unreadable files are listed in
    /// [`Library::skipped`] instead.
    pub fn open(root: &Path, progress: impl Fn(usize, usize) + Sync) -> anyhow::Result<Library> {
        if !root.is_dir() {
            bail!("{} is not a folder; give a folder of JPEG or PNG pictures", root.display());
        }
        let structured = root.join("images").is_dir();
        let image_root = if structured { root.join("images") } else { root.to_path_buf() };
        let mut images = pictures_below(&image_root, DEPTH_MAX)?;
        let texture_root = root.join("textures");
        let texture_files = if texture_root.is_dir() {
            pictures_below(&texture_root, DEPTH_MAX)?
        } else {
            Vec::new()
        };
        if !structured {
            images.retain(|p| !p.starts_with(&texture_root));
        }
        if images.is_empty() {
            bail!("no JPEG or PNG picture in {}; give a folder of pictures", image_root.display());
        }
        let mut skipped = Vec::new();
        let outlines = read_outlines(&root.join("objects"), &mut skipped)?;
        let total = images.len() + texture_files.len();
        let done = AtomicUsize::new(0);
        let tick = || progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
        let mut scenes = Vec::new();
        for (path, result) in images.iter().zip(decode_all(&images, &tick)) {
            match result {
                Ok((picture, scale)) => {
                    let outlines = outlines_for(&outlines, path, scale, &picture);
                    scenes.push(Scene { picture, outlines });
                }
                Err(why) => skipped.push((path.clone(), why)),
            }
        }
        let mut textures = Vec::new();
        for (path, result) in texture_files.iter().zip(decode_all(&texture_files, &tick)) {
            match result {
                Ok((picture, _)) => textures.push(picture),
                Err(why) => skipped.push((path.clone(), why)),
            }
        }
        if scenes.is_empty() {
            let why = skipped
                .first()
                .map_or(String::new(), |(p, w)| format!(" (first: {}: {w})", p.display()));
            bail!(
                "none of the {} pictures in {} could be read{why}",
                images.len(),
                image_root.display()
            );
        }
        Ok(Library::assemble(scenes, textures, skipped))
    }

    /// From pictures in memory (tests, and callers with their own decoder). `scenes` must not be empty.
    pub fn assemble(
        scenes: Vec<Scene>,
        textures: Vec<Source>,
        skipped: Vec<(PathBuf, String)>,
    ) -> Library {
        let things = scenes
            .iter()
            .enumerate()
            .flat_map(|(s, scene)| (0..scene.outlines.len()).map(move |o| (s, o)))
            .collect();
        Library { scenes, textures, things, skipped }
    }
}

/// Picture files below a folder, sorted by path so that indices do not depend on the file system.
pub(crate) fn pictures_below(folder: &Path, depth: usize) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot list the folder {}", folder.display()))?;
    for entry in entries {
        let path =
            entry.with_context(|| format!("cannot list the folder {}", folder.display()))?.path();
        if path.is_dir() {
            if depth > 0 {
                found.extend(pictures_below(&path, depth - 1)?);
            }
        } else if has_suffix(&path, &["jpg", "jpeg", "png"]) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn has_suffix(path: &Path, suffixes: &[&str]) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| suffixes.iter().any(|s| e.eq_ignore_ascii_case(s)))
}

/// Decodes on all cores, results in the order of the files.
fn decode_all(files: &[PathBuf], tick: &(impl Fn() + Sync)) -> Vec<Result<(Source, f32), String>> {
    let threads = crate::parallel::cores();
    let share = files.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = files
            .chunks(share)
            .map(|chunk| {
                let work = move || {
                    let decoded = chunk.iter().map(|path| {
                        let result = decode(path);
                        tick();
                        result
                    });
                    decoded.collect::<Vec<_>>()
                };
                (chunk.len(), scope.spawn(work))
            })
            .collect();
        let mut results = Vec::with_capacity(files.len());
        for (count, worker) in workers {
            match worker.join() {
                Ok(part) => results.extend(part),
                Err(_) => results.extend(
                    (0..count).map(|_| Err("the decoder failed on this or a near file".into())),
                ),
            }
        }
        results
    })
}

/// One file as RGB with a short side of at most [`SHORT_SIDE`], and the scale applied.
fn decode(path: &Path) -> Result<(Source, f32), String> {
    let open = || {
        let mut reader = image::ImageReader::open(path)?.with_guessed_format()?;
        let mut limits = image::Limits::default();
        limits.max_image_width = Some(1 << 15);
        limits.max_image_height = Some(1 << 15);
        reader.limits(limits);
        reader.decode()
    };
    let picture = open().map_err(|e: image::ImageError| e.to_string())?;
    let short = picture.width().min(picture.height());
    if short < SHORT_SIDE_MIN {
        return Err(format!("{}x{} is too small", picture.width(), picture.height()));
    }
    let scale = (SHORT_SIDE as f32 / short as f32).min(1.0);
    if picture.width().max(picture.height()) as f32 * scale > LONG_SIDE_MAX {
        return Err(format!("{}x{} is too elongated", picture.width(), picture.height()));
    }
    let rgb = if scale < 1.0 {
        let to = |side: u32| ((side as f32 * scale).round() as u32).max(1);
        let (w, h) = (to(picture.width()), to(picture.height()));
        picture.resize_exact(w, h, image::imageops::FilterType::Triangle).to_rgb8()
    } else {
        picture.to_rgb8()
    };
    let (w, h) = (rgb.width() as usize, rgb.height() as usize);
    Ok((Source::new(Rgb { w, h, px: rgb.into_raw() }), scale))
}

type Outlines = BTreeMap<String, OutlineFile>;

fn read_outlines(folder: &Path, skipped: &mut Vec<(PathBuf, String)>) -> anyhow::Result<Outlines> {
    let mut outlines = BTreeMap::new();
    if !folder.is_dir() {
        return Ok(outlines);
    }
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot list the folder {}", folder.display()))?;
    for entry in entries {
        let path =
            entry.with_context(|| format!("cannot list the folder {}", folder.display()))?.path();
        if !has_suffix(&path, &["json"]) {
            continue;
        }
        let read = std::fs::read(&path).map_err(|e| e.to_string());
        match read.and_then(|bytes| {
            serde_json::from_slice::<OutlineFile>(&bytes).map_err(|e| e.to_string())
        }) {
            Ok(file) => {
                outlines.insert(file.image.clone(), file);
            }
            Err(why) => skipped.push((path, why)),
        }
    }
    Ok(outlines)
}

/// Outlines of one picture in its stored pixels, whatever it was scaled by.
fn outlines_for(
    outlines: &Outlines,
    path: &Path,
    scale: f32,
    picture: &Source,
) -> Vec<Vec<(f32, f32)>> {
    let Some(file) = path.file_name().and_then(|n| n.to_str()).and_then(|n| outlines.get(n)) else {
        return Vec::new();
    };
    // Outlines of a picture of another size would be labels in the wrong place.
    let near = |stored: usize, told: f32| (stored as f32 - told * scale).abs() <= 2.0;
    if !near(picture.full().w, file.width) || !near(picture.full().h, file.height) {
        return Vec::new();
    }
    let usable = file.objects.iter().filter(|o| o.polygon.len() >= 3);
    usable.map(|o| o.polygon.iter().map(|(x, y)| (x * scale, y * scale)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(path: &Path, w: u32, h: u32) {
        let picture =
            image::RgbImage::from_fn(w, h, |x, y| image::Rgb([(x * 3) as u8, (y * 5) as u8, 90]));
        picture.save(path).expect("writable");
    }

    #[test]
    fn flat_folder_reads_sorted_and_counts_the_unreadable() {
        let folder = tempfile::tempdir().expect("temp");
        save(&folder.path().join("b.png"), 64, 48);
        save(&folder.path().join("a.png"), 40, 40);
        std::fs::write(folder.path().join("c.jpg"), b"no picture").expect("writable");
        std::fs::write(folder.path().join("notes.txt"), b"text").expect("writable");
        let library = Library::open(folder.path(), |_, _| {}).expect("opens");
        assert_eq!(library.scenes.iter().map(|s| s.picture.full().w).collect::<Vec<_>>(), [40, 64]);
        assert_eq!(library.skipped.len(), 1);
    }

    #[test]
    fn layout_with_outlines_and_textures_scales_both() {
        let folder = tempfile::tempdir().expect("temp");
        for sub in ["images", "objects", "textures/rough"] {
            std::fs::create_dir_all(folder.path().join(sub)).expect("writable");
        }
        save(&folder.path().join("images/x.png"), 600, 576);
        save(&folder.path().join("textures/rough/0.png"), 64, 64);
        let json = r#"{"image":"x.png","width":600,"height":576,"objects":[{"class":"cup","class_id":1,"polygon":[[100,100],[200,100],[200,200]]}]}"#;
        std::fs::write(folder.path().join("objects/x.json"), json).expect("writable");
        let library = Library::open(folder.path(), |_, _| {}).expect("opens");
        assert_eq!((library.scenes.len(), library.textures.len(), library.things.len()), (1, 1, 1));
        assert_eq!(library.scenes[0].picture.full().short(), 288);
        assert_eq!(library.scenes[0].outlines[0][0], (50.0, 50.0));
    }

    #[test]
    fn missing_and_empty_folders_say_what_to_do() {
        let folder = tempfile::tempdir().expect("temp");
        let empty = Library::open(folder.path(), |_, _| {}).expect_err("empty").to_string();
        assert!(empty.contains("no JPEG or PNG"), "{empty}");
        let missing =
            Library::open(&folder.path().join("none"), |_, _| {}).expect_err("missing").to_string();
        assert!(missing.contains("not a folder"), "{missing}");
    }
}
