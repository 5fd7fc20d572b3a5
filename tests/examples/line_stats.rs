//! How each witness tells good parts of the simulated line from bad ones, as CSV: what to look at
//! when weights or calibration change. `line_stats PACKAGE [PROMPTS [GOOD [BAD [KIND [SEED]]]]]`

use std::path::Path;

use touchstone_board::sim::{DefectKind, PartKind, SimConfig, SimulatedLine};
use touchstone_models::engine::EngineKind;
use touchstone_models::inspector::{Inspector, Settings};
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::package::ModelPackage;
use touchstone_models::picture::Picture;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |i: usize, default: u64| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let package = args.first().ok_or("give a model package")?;
    let kind: PartKind = args.get(4).map_or("bracket", String::as_str).parse()?;
    let seed = number(5, SimConfig::default().seed);
    let line = SimulatedLine::new(SimConfig { kind, seed, parts: 0, ..SimConfig::default() })?;
    let picture = |part: touchstone_board::sim::RenderedPart| {
        Picture::from_rgb8(part.frame.width, part.frame.height, part.frame.rgb)
    };
    let prompts: Result<Vec<_>, _> =
        (0..number(1, 10)).map(|n| picture(line.good_part(n))).collect();
    let package = ModelPackage::open(Path::new(package))?;
    let model = OnePrompt::load(&package, EngineKind::Tract, 1)?;
    let settings = Settings { false_reject_ppm: 10_000, ..Settings::default() };
    let mut inspector = Inspector::new(model, &prompts?, settings)?;
    println!("part,defect,change,position,joint,image,p_change,p_position,p_joint,p_image,p");
    for (n, s) in inspector.left_out().enumerate() {
        println!("{n},taught,{:.3},{:.3},{:.3},{:.3},,,,,", s.change, s.position, s.local, s.image);
    }
    let mut show = |n: u64, defect: Option<DefectKind>| -> Result<(), Box<dyn std::error::Error>> {
        let seen = inspector.inspect(&picture(line.part_with(n, defect))?);
        let w = &seen.witnesses;
        println!(
            "{n},{},{:.3},{:.3},{:.3},{:.4},{:.5},{:.5},{:.5},{:.5},{:.5}",
            defect.map_or("good".to_owned(), |d| d.to_string()),
            w.change.statistic,
            w.position.statistic,
            w.joint.statistic,
            w.image.statistic,
            w.change.p_value,
            w.position.p_value,
            w.joint.p_value,
            w.image.p_value,
            seen.p_value
        );
        Ok(())
    };
    for n in 0..number(2, 100) {
        show(n, None)?;
    }
    for n in 0..number(3, 100) {
        show(5000 + n, Some(DefectKind::ALL[n as usize % DefectKind::ALL.len()]))?;
    }
    Ok(())
}
