//! A bench for the real process: folders, pictures, models and commands.
#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use touchstone_models::package::{ModelCard, ModelPackage, ScalarPrior};
use touchstone_models::registration::Pose;
use touchstone_models::testing::{part_at, to_tar, write_tiny_package};
use tract_core::model::SpecialOps;
use tract_core::ops::math;
use tract_core::prelude::tensor4;
use tract_nnef::prelude::Framework;

/// A folder with the tiny model in it.
pub struct Desk {
    dir: tempfile::TempDir,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Desk {
    pub fn new() -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap() };
        // The tiny model's own priors are wide; these find a spot with one good
        // part taught, and let an equal part pass.
        let tiny = write_tiny_package(&desk.path("wide"));
        desk.model_of(&tiny, "tiny", |card| {
            card.calibration.usual.change.one =
                ScalarPrior { mu0: -6.0, kappa0: 10.0, nu0: 64.0, lambda0: 64.0 };
            card.calibration.usual.change.several.prior = card.calibration.usual.change.one;
        });
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A grey picture with a square of another colour in it.
    pub fn picture(&self, name: &str, size: (u32, u32), spot: Option<[u8; 3]>) -> PathBuf {
        self.write(name, png(size, spot))
    }

    /// A good part, 64 x 64.
    pub fn good(&self, name: &str) -> PathBuf {
        self.picture(name, (64, 64), None)
    }

    /// A part with a white spot.
    pub fn bad(&self, name: &str) -> PathBuf {
        self.picture(name, (64, 64), Some([255, 255, 255]))
    }

    /// A part without symmetry, turned by so many radians.
    pub fn lying(&self, name: &str, rotation: f64) -> PathBuf {
        let part = part_at(160, 160, &Pose { rotation, ..Pose::IDENTITY }, 1.0);
        let mut bytes = Vec::new();
        PngEncoder::new(&mut bytes)
            .write_image(part.rgb(), part.width(), part.height(), ExtendedColorType::Rgb8)
            .unwrap();
        self.write(name, bytes)
    }

    /// Runs `touchstone` here with the tiny model as the only one.
    pub fn run(&self, line: &str) -> Said {
        let output = self.command(line).output().unwrap();
        Said::from(output)
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
        command.args(line.split_whitespace()).current_dir(self.dir.path());
        command
    }

    /// Writes the tiny model again with another card.
    pub fn model_with(&self, name: &str, change: impl FnOnce(&mut ModelCard)) -> PathBuf {
        let tiny = ModelPackage::open(&self.path("tiny")).unwrap();
        self.model_of(&tiny, name, change)
    }

    fn model_of(
        &self,
        tiny: &ModelPackage,
        name: &str,
        change: impl FnOnce(&mut ModelCard),
    ) -> PathBuf {
        let mut card = tiny.card().clone();
        change(&mut card);
        let (encode, segment) = (fs::read(tiny.encode_file()), fs::read(tiny.segment_file()));
        let dir = self.path(name);
        ModelPackage::write(&dir, card, &encode.unwrap(), &segment.unwrap()).unwrap();
        dir
    }

    /// The tiny model with the root of a negative number in its first output wherever a picture
    /// is dark.
    pub fn model_with_nan(&self, name: &str) {
        let tiny = ModelPackage::open(&self.path("tiny")).unwrap();
        let mut graph = tract_nnef::nnef().model_for_path(tiny.encode_file()).unwrap();
        let outlets = graph.output_outlets().unwrap().to_vec();
        let one = graph.add_const("one_more", tensor4(&[[[[1f32]]]])).unwrap();
        let more = graph.wire_node("more", math::add(), &[outlets[0], one]).unwrap();
        let root = graph.wire_node("root", math::sqrt(), &more).unwrap();
        graph.select_output_outlets(&[root[0], outlets[1], outlets[2]]).unwrap();
        let segment = fs::read(tiny.segment_file()).unwrap();
        let encode = to_tar(&graph).unwrap();
        ModelPackage::write(&self.path(name), tiny.card().clone(), &encode, &segment).unwrap();
    }

    /// Everything in the folder that is not there from the start, by name.
    pub fn left(&self, name: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(name)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Said {
    /// Ended with `code`, and standard error holds each of `texts`.
    #[track_caller]
    pub fn fails(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for text in texts {
            assert!(self.err.contains(text), "standard error lacks {text:?}: {self:#?}");
        }
        assert!(!self.err.contains("panicked"), "{self:#?}");
    }

    #[track_caller]
    pub fn ends(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(!self.err.contains("panicked"), "{self:#?}");
        self
    }

    /// Standard output as JSON, one value per line.
    #[track_caller]
    pub fn json(&self) -> Vec<serde_json::Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

pub fn png((width, height): (u32, u32), spot: Option<[u8; 3]>) -> Vec<u8> {
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let inside = x >= width / 4 && x < width / 2 && y >= height / 4 && y < height / 2;
            rgb.extend(spot.filter(|_| inside).unwrap_or([90, 100, 110]));
        }
    }
    encode(width, height, &rgb, ExtendedColorType::Rgb8)
}

pub fn encode(width: u32, height: u32, bytes: &[u8], kind: ExtendedColorType) -> Vec<u8> {
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(bytes, width, height, kind).unwrap();
    png
}

/// A chunk of a PNG file.
pub fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(data.len()).unwrap().to_be_bytes().to_vec();
    let body = [kind.as_slice(), data].concat();
    let mut crc = u32::MAX;
    for byte in &body {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    bytes.extend(body);
    bytes.extend((!crc).to_be_bytes());
    bytes
}

/// The first bytes of a PNG file up to and with IHDR.
pub fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut ihdr = [width.to_be_bytes(), height.to_be_bytes()].concat();
    ihdr.extend([8, 2, 0, 0, 0]);
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &ihdr)].concat()
}

/// The shipped model, if this checkout has it; says so loudly if not.
pub fn shipped_model() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/weights/oneprompt-m");
    if dir.join("model.toml").is_file() {
        return Some(dir);
    }
    eprintln!("SKIPPED: {} is not there, so nothing was tested with it", dir.display());
    None
}

/// The board file of a simulated line.
pub const SIMULATED: &str = "name = \"sim\"\n[camera]\nkind = \"simulated\"\nwidth = 64\nheight = 64\n\
                         parts = 0\ndefect_rate = 0.3\n";

/// A desk with a configuration of a simulated line and its recipe.
pub fn simulated_line() -> Desk {
    let desk = Desk::new();
    desk.write("board.toml", SIMULATED);
    desk.write(
        "line.toml",
        "board = \"board.toml\"\nrecipe = \"part\"\nmodel = \"./tiny\"\n[line]\ntravel_ms = 600\n\
         capture_window_ms = 100\n[output]\ndir = \"results\"\nrejects_kept = 5\n",
    );
    desk.run("teach --model ./tiny --name part --camera --config line.toml --count 2").ends(0);
    desk
}
