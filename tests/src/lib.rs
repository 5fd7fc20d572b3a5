//! What the end-to-end tests share: where the binaries and the shipped model are, small pictures
//! made on the spot, and temporary folders.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use touchstone_models::package::{ModelPackage, Precision};
use touchstone_models::picture::{Picture, save_rgb};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The shipped model packages in f32, by name.
///
/// # Panics
/// When there is none.
pub fn shipped_models() -> Vec<PathBuf> {
    shipped(|precision| precision == Precision::F32)
}

/// Those in fewer bits, which were made of them.
///
/// # Panics
/// When there is none.
pub fn shipped_in_fewer_bits() -> Vec<PathBuf> {
    shipped(|precision| precision != Precision::F32)
}

/// The shipped model packages of wanted precisions, by name.
///
/// # Panics
/// When there is none.
pub fn shipped(wanted: impl Fn(Precision) -> bool) -> Vec<PathBuf> {
    let weights = root().join("models/weights");
    let entries = std::fs::read_dir(&weights).expect("models/weights");
    let packages = entries.map(|e| e.expect("an entry").path());
    let precision = |dir: &PathBuf| ModelPackage::open(dir).expect("sound").card().precision;
    let mut packages: Vec<PathBuf> = packages.filter(|dir| wanted(precision(dir))).collect();
    packages.sort();
    assert!(!packages.is_empty(), "{} has no such package", weights.display());
    packages
}

/// Development pictures, if this machine has them. Says loudly when not.
pub fn development_data() -> Option<PathBuf> {
    let data = root().join("../shared/data");
    if data.is_dir() {
        return Some(data);
    }
    eprintln!("SKIPPED: {} is not here; this test needs the development pictures", data.display());
    None
}

/// A binary of this workspace, built beside the test that asks.
///
/// # Panics
/// When it is not there: `cargo test --workspace` builds it.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let profile = test.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
    let path = profile.join(name);
    assert!(path.exists(), "{} is missing: run `cargo test --workspace`", path.display());
    path
}

/// Runs a binary of this workspace to its end.
pub fn run(name: &str, arguments: &[&str], folder: &Path) -> Output {
    Command::new(binary(name))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the binary starts")
}

/// A drawn plate with four rings, moved by `shift` pixels; `flaw` breaks one ring and adds a dark
/// stroke.
pub fn plate(size: u32, shift: f32, flaw: bool) -> Picture {
    let s = size as f32 / 256.0;
    let mut rgb = Vec::with_capacity((size * size * 3) as usize);
    for i in 0..size * size {
        let x = (i % size) as f32 / s - shift;
        let y = (i / size) as f32 / s - shift * 0.7;
        let grain = ((x * 1.7).sin() * (y * 2.3).cos()) * 6.0;
        let mut v = 165.0 + grain;
        let centres = [(64.0, 64.0), (192.0, 64.0), (64.0, 192.0), (192.0, 192.0)];
        for (n, (cx, cy)) in centres.iter().enumerate() {
            let r = ((x - cx) * (x - cx) + (y - cy) * (y - cy)).sqrt();
            if (20.0..30.0).contains(&r) && !(flaw && n == 3) {
                v = 50.0;
            }
        }
        if flaw && (y - 128.0).abs() < 3.0 && (90.0..160.0).contains(&x) {
            v = 30.0;
        }
        rgb.extend([v as u8, (v * 0.97) as u8, (v * 0.92) as u8]);
    }
    Picture::from_rgb8(size, size, rgb).expect("a picture of that size")
}

/// Writes a picture as PNG and gives its path back as text.
pub fn write(folder: &Path, name: &str, picture: &Picture) -> String {
    let path = folder.join(name);
    save_rgb(&path, picture).expect("a writable folder");
    path.display().to_string()
}
