//! `touchstone-tools synth`: writes pairs to a folder, and a contact sheet to look at.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::changes::ChangeKind;
use super::library::Library;
use super::pair::{Pair, SynthConfig};
use super::{BaseKind, Rgb};

/// Most pairs of one run: file names have six digits.
const PAIRS_MAX: u64 = 1_000_000;
/// Pairs on a contact sheet.
const SHEET_PAIRS: u64 = 48;
/// Columns of pairs on a contact sheet.
const SHEET_COLUMNS: usize = 4;
/// The folders of a pair set, in the order of [`Pair`]'s pictures.
const FOLDERS: [&str; 3] = ["prompt", "query", "mask"];
/// Written last: a folder without it is unfinished.
const MANIFEST: &str = "manifest.jsonl";

/// Make change pairs for training from a folder of pictures
#[derive(clap::Args, Debug, Clone)]
pub struct SynthArgs {
    /// Folder of JPEG or PNG pictures, or one with images/, objects/ and textures/
    pub pictures: PathBuf,
    /// Folder to write prompt/, query/, mask/ and manifest.jsonl into
    #[arg(long)]
    pub out: PathBuf,
    /// Number of pairs
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=PAIRS_MAX))]
    pub pairs: u64,
    /// Side of the pictures in pixels, a multiple of 16
    #[arg(long, default_value_t = 256)]
    pub size: u32,
    /// Chooses the sequence of pairs; the same seed gives the same bytes
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// TOML file with the shares of what the pairs show, ranges of geometry and light; an unknown
    /// name is answered with the known ones
    #[arg(long, value_name = "FILE")]
    pub synthesis: Option<PathBuf>,
    /// Kinds of change to leave out, as `train oneprompt --without` does
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub without: Vec<ChangeKind>,
    /// Also write a contact sheet (prompt, query, mask) of the first pairs to this PNG
    #[arg(long)]
    pub preview: Option<PathBuf>,
    /// Threads (default: all cores)
    #[arg(long)]
    pub threads: Option<usize>,
    /// Write into a folder that is not empty; pairs already there are replaced
    #[arg(long)]
    pub force: bool,
}

#[derive(Serialize)]
struct Line {
    index: u64,
    seed: u64,
    kind: ChangeKind,
    base: BaseKind,
    changed_pixels: usize,
    prompt: String,
    query: String,
    mask: String,
}

/// Makes the pairs.
///
/// # Errors
/// When the pictures cannot be read, the configuration makes no picture, or the folder cannot be
/// written; the manifest is then not written.
pub fn run(args: &SynthArgs) -> anyhow::Result<()> {
    let mut config = SynthConfig {
        size: args.size,
        seed: args.seed,
        ..SynthConfig::read(args.synthesis.as_deref())?
    };
    config.without.extend(&args.without);
    config.check()?;
    if let Some(parent) = args.preview.as_ref().and_then(|p| p.parent()) {
        // Told before hours of work, not after.
        if !parent.as_os_str().is_empty() && !parent.is_dir() {
            bail!("the folder of --preview, {}, does not exist; make it first", parent.display());
        }
    }
    let library = open_library(&args.pictures)?;
    prepare(&args.out, args.force)?;
    let threads = args.threads.unwrap_or_else(crate::parallel::cores).max(1);
    let lines = write_pairs(&library, &config, args, threads)?;
    write_manifest(&args.out.join(MANIFEST), &lines)?;
    if let Some(path) = &args.preview {
        let sheet = contact_sheet(&library, &config, args.pairs.min(SHEET_PAIRS));
        save_rgb(path, &sheet)?;
    }
    let unchanged = lines.iter().filter(|l| l.kind == ChangeKind::None).count();
    println!("{} pairs ({unchanged} without change) in {}", lines.len(), args.out.display());
    Ok(())
}

/// A progress bar on a terminal, silence elsewhere.
fn bar(length: u64, what: &'static str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(length), target).with_message(what);
    if let Ok(style) =
        ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} {per_sec} left {eta}")
    {
        bar.set_style(style);
    }
    bar
}

fn open_library(root: &Path) -> anyhow::Result<Library> {
    let bar = bar(0, "reading");
    let library = Library::open(root, |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    if let Some((path, why)) = library.skipped.first() {
        let count = library.skipped.len();
        eprintln!(
            "warning: {count} of the files could not be used and are left out (first: {}: {why})",
            path.display()
        );
    }
    Ok(library)
}

/// Makes the folders, empty of pairs of an earlier run.
fn prepare(out: &Path, force: bool) -> anyhow::Result<()> {
    let wrong = || format!("cannot write into {}; give a folder that you may write", out.display());
    if out.exists() && !out.is_dir() {
        bail!("{} is not a folder; give another --out", out.display());
    }
    if out.is_dir() && fs::read_dir(out).with_context(wrong)?.next().is_some() {
        if !force {
            bail!(
                "{} is not empty; give another --out, or --force to replace the pairs in it",
                out.display()
            );
        }
        match fs::remove_file(out.join(MANIFEST)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(wrong);
            }
            _ => {}
        }
    }
    for name in FOLDERS {
        let folder = out.join(name);
        fs::create_dir_all(&folder).with_context(wrong)?;
        for entry in fs::read_dir(&folder).with_context(wrong)? {
            let path = entry.with_context(wrong)?.path();
            if is_pair_file(&path) {
                fs::remove_file(&path).with_context(wrong)?;
            }
        }
    }
    Ok(())
}

fn is_pair_file(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    path.extension().is_some_and(|e| e == "png")
        && stem.len() == 6
        && stem.bytes().all(|b| b.is_ascii_digit())
}

/// All pairs on all threads; the lines come back in order, whoever made them.
fn write_pairs(
    library: &Library,
    config: &SynthConfig,
    args: &SynthArgs,
    threads: usize,
) -> anyhow::Result<Vec<Line>> {
    let bar = bar(args.pairs, "pairs");
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || -> anyhow::Result<Vec<Line>> {
        let mut lines = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= args.pairs {
                break;
            }
            let pair = library.pair(config, index);
            match write_pair(&args.out, config, index, &pair) {
                Ok(line) => lines.push(line),
                Err(e) => {
                    stop.store(true, Ordering::Relaxed);
                    return Err(e);
                }
            }
            bar.inc(1);
        }
        Ok(lines)
    };
    let parts: Vec<anyhow::Result<Vec<Line>>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let join = |h: std::thread::ScopedJoinHandle<'_, _>| match h.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        handles.into_iter().map(join).collect()
    });
    bar.finish_and_clear();
    let mut lines = Vec::new();
    for part in parts {
        lines.extend(part?);
    }
    lines.sort_by_key(|line| line.index);
    Ok(lines)
}

fn write_pair(out: &Path, config: &SynthConfig, index: u64, pair: &Pair) -> anyhow::Result<Line> {
    let [prompt, query, mask] = FOLDERS.map(|folder| format!("{folder}/{index:06}.png"));
    let save = |name: &str, data: &[u8], colour: image::ExtendedColorType| {
        let path = out.join(name);
        image::save_buffer_with_format(
            &path,
            data,
            config.size,
            config.size,
            colour,
            image::ImageFormat::Png,
        )
        .with_context(|| format!("cannot write {}; is the disk full?", path.display()))
    };
    save(&prompt, &pair.prompt, image::ExtendedColorType::Rgb8)?;
    save(&query, &pair.query, image::ExtendedColorType::Rgb8)?;
    save(&mask, &pair.mask, image::ExtendedColorType::L8)?;
    let changed_pixels = pair.mask.iter().filter(|m| **m > 0).count();
    Ok(Line {
        index,
        seed: config.seed,
        kind: pair.kind,
        base: pair.base,
        changed_pixels,
        prompt,
        query,
        mask,
    })
}

fn write_manifest(path: &Path, lines: &[Line]) -> anyhow::Result<()> {
    let wrong = || format!("cannot write {}; is the disk full?", path.display());
    // Renamed when complete, so that a manifest never tells of less than the folder holds.
    let partial = path.with_extension("partial");
    let mut file = std::io::BufWriter::new(fs::File::create(&partial).with_context(wrong)?);
    for line in lines {
        serde_json::to_writer(&mut file, line).with_context(wrong)?;
        file.write_all(b"\n").with_context(wrong)?;
    }
    file.into_inner()
        .map_err(std::io::IntoInnerError::into_error)
        .with_context(wrong)?
        .sync_all()
        .with_context(wrong)?;
    fs::rename(&partial, path).with_context(wrong)
}

/// The first `count` pairs as rows of prompt, query and mask.
pub fn contact_sheet(library: &Library, config: &SynthConfig, count: u64) -> Rgb {
    const GAP: usize = 2;
    let size = config.size as usize;
    let columns = SHEET_COLUMNS.min(count as usize).max(1);
    let rows = (count as usize).div_ceil(columns).max(1);
    let (cell_w, cell_h) = (3 * size + 3 * GAP + 4, size + GAP);
    let mut sheet = Rgb::plain(columns * cell_w, rows * cell_h, [40, 60, 90]);
    for index in 0..count {
        let pair = library.pair(config, index);
        let grey: Vec<u8> = pair.mask.iter().flat_map(|m| [*m; 3]).collect();
        let (x0, y0) = ((index as usize % columns) * cell_w, (index as usize / columns) * cell_h);
        for (k, picture) in [&pair.prompt, &pair.query, &grey].into_iter().enumerate() {
            for (y, row) in picture.chunks_exact(3 * size).enumerate() {
                let to = ((y0 + y) * sheet.w + x0 + k * (size + GAP)) * 3;
                sheet.px[to..to + 3 * size].copy_from_slice(row);
            }
        }
    }
    sheet
}

fn save_rgb(path: &Path, picture: &Rgb) -> anyhow::Result<()> {
    let (w, h) = (picture.w as u32, picture.h as u32);
    let format = image::ImageFormat::Png;
    image::save_buffer_with_format(path, &picture.px, w, h, image::ExtendedColorType::Rgb8, format)
        .with_context(|| format!("cannot write the contact sheet {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures(folder: &Path) {
        for k in 0..3_u32 {
            let shade = |x: u32, y: u32| {
                image::Rgb([(x * 5 * (k + 1)) as u8, (x ^ y) as u8, (y * 3) as u8])
            };
            let picture = image::RgbImage::from_fn(90, 80, shade);
            picture.save(folder.join(format!("{k}.png"))).expect("writable");
        }
    }

    fn args(pictures: &Path, out: &Path, threads: usize) -> SynthArgs {
        SynthArgs {
            pictures: pictures.to_path_buf(),
            out: out.to_path_buf(),
            pairs: 7,
            size: 48,
            seed: 3,
            synthesis: None,
            without: Vec::new(),
            preview: None,
            threads: Some(threads),
            force: false,
        }
    }

    /// All files below a folder with their bytes, sorted.
    fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                found.extend(contents(&path));
            } else {
                found.push((path.clone(), fs::read(&path).expect("readable")));
            }
        }
        found.sort();
        found
    }

    #[test]
    fn same_bytes_whatever_the_threads() {
        let folder = tempfile::tempdir().expect("temp");
        pictures(folder.path());
        let outs = [1, 3].map(|threads| {
            let out = folder.path().join(format!("out{threads}/set"));
            run(&args(folder.path(), &out, threads)).expect("runs");
            let files = contents(&out);
            fs::remove_dir_all(out.parent().expect("parent")).expect("removable");
            files
                .into_iter()
                .map(|(path, bytes)| (path.strip_prefix(&out).expect("below").to_path_buf(), bytes))
                .collect::<Vec<_>>()
        });
        assert_eq!(outs[0].len(), 3 * 7 + 1);
        assert!(outs[0] == outs[1]);
    }

    #[test]
    fn a_full_folder_is_refused_and_replaced_when_forced() {
        let folder = tempfile::tempdir().expect("temp");
        let (source, out) = (folder.path().join("in"), folder.path().join("out"));
        fs::create_dir_all(&source).expect("writable");
        pictures(&source);
        let mut args = args(&source, &out, 2);
        run(&args).expect("runs");
        let refusal = run(&args).expect_err("not empty").to_string();
        assert!(refusal.contains("--force"), "{refusal}");
        (args.force, args.pairs) = (true, 2);
        args.preview = Some(folder.path().join("sheet.png"));
        run(&args).expect("runs");
        assert_eq!(contents(&out).len(), 3 * 2 + 1);
        assert!(folder.path().join("sheet.png").is_file());
    }

    #[test]
    fn wrong_use_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("temp");
        let out = folder.path().join("out");
        let missing = run(&args(&folder.path().join("none"), &out, 1)).expect_err("missing");
        assert!(missing.to_string().contains("not a folder"), "{missing}");
        pictures(folder.path());
        let odd = run(&SynthArgs { size: 50, ..args(folder.path(), &out, 1) }).expect_err("size");
        assert!(odd.to_string().contains("multiple of 16"), "{odd}");
        assert!(!out.exists());
        fs::write(&out, b"a file").expect("writable");
        let file = run(&args(folder.path(), &out, 1)).expect_err("a file");
        assert!(file.to_string().contains("not a folder"), "{file}");
    }
}
