//! Draws contact sheets of the simulated parts, to look at them:
//! `cargo run --release -p touchstone-board --example contact_sheet -- FOLDER [SEED]`
//!
//! `full.png` has a good part of every kind at full size, `good.png` six of every kind; `KIND.png` every defect of that kind twice, the second row
//! of each pair with the defect mask in red.

use image::{Rgb, RgbImage, imageops};
use std::path::PathBuf;
use std::time::Duration;
use touchstone_board::sim::{DefectKind, PartKind, RenderedPart, SimConfig, SimulatedLine};

const TILE: u32 = 320;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("usage: contact_sheet FOLDER [SEED]")?);
    let seed = arguments.next().map_or(Ok(1), |seed| seed.parse())?;
    std::fs::create_dir_all(&folder)?;

    let mut good = RgbImage::new(6 * TILE, PartKind::ALL.len() as u32 * TILE);
    let mut full = RgbImage::new(2 * 512, 2 * 512);
    for (row, kind) in PartKind::ALL.into_iter().enumerate() {
        let line = SimulatedLine::new(SimConfig { seed, kind, ..SimConfig::default() })?;
        let started = cpu();
        let parts: Vec<RenderedPart> = (0..6).map(|n| line.good_part(n)).collect();
        let clean = (cpu() - started) / 6;
        for (column, part) in parts.iter().enumerate() {
            place(&mut good, part, column as u32, row as u32, false);
        }
        let mut sheet = RgbImage::new(5 * TILE, 4 * TILE);
        let started = cpu();
        for (i, defect) in DefectKind::ALL.into_iter().enumerate() {
            let part = line.part_with(100 + i as u64, Some(defect));
            let (column, row) = (i as u32 % 5, i as u32 / 5 * 2);
            place(&mut sheet, &part, column, row, false);
            place(&mut sheet, &part, column, row + 1, true);
        }
        println!(
            "{kind}: good {clean:?} a part, defective {:?} (drawn and scaled)",
            (cpu() - started) / 10
        );
        sheet.save(folder.join(format!("{kind}.png")))?;
        let (x, y) = (row as i64 % 2 * 512, row as i64 / 2 * 512);
        imageops::replace(&mut full, &picture(&line.good_part(0), false), x, y);
    }
    full.save(folder.join("full.png"))?;
    good.save(folder.join("good.png"))?;
    Ok(())
}

/// Time this thread really computed, whatever else the machine does.
fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn picture(part: &RenderedPart, masked: bool) -> RgbImage {
    RgbImage::from_fn(part.frame.width, part.frame.height, |x, y| {
        let i = (y * part.frame.width + x) as usize;
        let rgb = &part.frame.rgb[i * 3..i * 3 + 3];
        if masked && part.truth.mask[i] {
            Rgb([255, rgb[1] / 3, rgb[2] / 3])
        } else {
            Rgb([rgb[0], rgb[1], rgb[2]])
        }
    })
}

fn place(sheet: &mut RgbImage, part: &RenderedPart, column: u32, row: u32, masked: bool) {
    let tile = imageops::resize(&picture(part, masked), TILE, TILE, imageops::FilterType::Triangle);
    imageops::replace(sheet, &tile, i64::from(column * TILE), i64::from(row * TILE));
}
