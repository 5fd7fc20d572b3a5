//! The inspector with made-up graphs: no weights, every fault on demand.

use super::*;
use crate::engine::Graph;
use crate::package::ModelCard;
use crate::picture::Rect;
use crate::recipe::{IgnoreMask, Registration, Tiles};
use crate::registration::Pose;
use crate::tensor::Tensor;
use crate::testing::part_at;
use crate::verdict::{Decision, FALSE_REJECT_PPM_MAX, Reason};
use std::sync::{Arc, Mutex};

/// Input side, grid side, values per patch.
const SIDE: u32 = 64;
const GRID: usize = 16;
const DIM: usize = 8;

const CARD: &str = r#"
id = "fake"
version = 1
architecture = "touchstone-oneprompt-1"
[input]
width = 64
height = 64
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]
[encode]
file = "encode.nnef.tar"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
[[encode.outputs]]
name = "e8"
shape = [1, 256, 8]
[[encode.outputs]]
name = "pooled"
shape = [1, 8]
[segment]
file = "segment.nnef.tar"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
inputs = ["query.e8", "prompt.e8"]
[[segment.outputs]]
name = "map"
shape = [1, 1, 64, 64]
[[segment.outputs]]
name = "nearest"
shape = [1, 1, 16, 16]
[features]
patches = "e8"
grid = [16, 16]
pooled = "pooled"
[fusion]
change_weight = 1.0
nearest_weight = 0.5
position_weight = 0.5
region_level = 0.3
[calibration.usual]
dependence = 0.3
[embedding]
kappa0 = 0.01
nu0 = 10.0
mu0 = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
diagonal = [0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01]
[training]
sources = ["none"]
seed = 0
commands = []
date = "2026-11-23"
"#;

/// The card with the law of every statistic: the same with one prompt and with several.
fn card_text() -> String {
    let laws = [
        ("change", -5.0, 15.0),
        ("position", -2.0, 20.0),
        ("level", -2.0, 20.0),
        ("local", -1.0, 12.0),
        ("image", -6.0, 30.0),
    ];
    let table = |(name, mu0, lambda0): (&str, f64, f64)| {
        let prior = format!("{{ mu0 = {mu0:?}, kappa0 = 1.0, nu0 = 30.0, lambda0 = {lambda0:?} }}");
        format!(
            "[calibration.usual.{name}]\none = {prior}\n\
             several = {{ gap = 0.0, gap_per_prompt = 0.0, weight = 1.0, prior = {prior} }}\n"
        )
    };
    format!("{CARD}{}", laws.map(table).concat())
}

/// What the fake graphs do wrong.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    NanInPatches,
    NanInMap,
    WrongShape,
    EngineError,
    TooFewOutputs,
}

#[derive(Clone)]
struct Switch(Arc<Mutex<Fault>>);

impl Switch {
    fn set(&self, fault: Fault) {
        *self.0.lock().expect("no test panics while holding it") = fault;
    }
    fn get(&self) -> Fault {
        *self.0.lock().expect("no test panics while holding it")
    }
}

/// Patch = block means of red, green, blue and their left-to-right and top-to-bottom change.
struct FakeEncode(Switch);

impl Graph for FakeEncode {
    fn run(&mut self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, EngineError> {
        let image = &inputs[0].data;
        let block = SIDE as usize / GRID;
        let mut rows = Vec::new();
        for y in 0..GRID {
            for x in 0..GRID {
                let mut row = [0f32; DIM];
                row[0] = 0.5;
                for c in 0..3 {
                    for dy in 0..block {
                        for dx in 0..block {
                            let at = (c * SIDE as usize + y * block + dy) * SIDE as usize;
                            let v = image[at + x * block + dx] / (block * block) as f32;
                            row[1 + c] += v;
                            row[4 + c % 2] += if dx < block / 2 { v } else { -v };
                            row[6 + c % 2] += if dy < block / 2 { v } else { -v };
                        }
                    }
                }
                let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
                rows.extend(row.map(|v| v / length));
            }
        }
        let mut pooled = vec![0f32; DIM];
        for row in rows.chunks_exact(DIM) {
            pooled.iter_mut().zip(row).for_each(|(p, v)| *p += v / (GRID * GRID) as f32);
        }
        if self.0.get() == Fault::NanInPatches {
            rows[77] = f32::NAN;
        }
        Ok(vec![
            Tensor { shape: vec![1, GRID * GRID, DIM], data: rows },
            Tensor { shape: vec![1, DIM], data: pooled },
        ])
    }
}

/// Change = distance of patches at the same place; nearest = 1 - cosine there.
struct FakeSegment(Switch);

impl Graph for FakeSegment {
    fn run(&mut self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, EngineError> {
        let fault = self.0.get();
        if fault == Fault::EngineError {
            return Err(EngineError::Run { why: "the fake engine was told to fail".into() });
        }
        let rows = inputs[0].data.chunks_exact(DIM).zip(inputs[1].data.chunks_exact(DIM));
        let nearest: Vec<f32> =
            rows.map(|(q, p)| 1.0 - q.iter().zip(p).map(|(a, b)| a * b).sum::<f32>()).collect();
        let cell = SIDE as usize / GRID;
        let side = SIDE as usize;
        let mut map: Vec<f32> = (0..side * side)
            .map(|i| nearest[(i / side / cell) * GRID + i % side / cell])
            .map(|d| (d.max(0.0) * 20.0).min(1.0))
            .collect();
        if fault == Fault::NanInMap {
            map[9] = f32::NAN;
        }
        let shape =
            if fault == Fault::WrongShape { vec![1, side * side] } else { vec![1, 1, side, side] };
        let mut out = vec![Tensor { shape, data: map }];
        if fault != Fault::TooFewOutputs {
            out.push(Tensor { shape: vec![1, 1, GRID, GRID], data: nearest });
        }
        Ok(out)
    }
}

fn model() -> (OnePrompt, Switch) {
    let card = ModelCard::parse(&card_text()).expect("a sound card");
    let switch = Switch(Arc::new(Mutex::new(Fault::None)));
    let encode = Box::new(FakeEncode(switch.clone()));
    let segment = Box::new(FakeSegment(switch.clone()));
    (OnePrompt::from_graphs(&card, encode, segment).expect("fits the card"), switch)
}

/// A coloured pattern with a little noise; `defect` paints a rectangle red.
fn part(seed: u32, width: u32, height: u32, defect: Option<Rect>) -> Picture {
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let (u, v) = (x * 64 / width, y * 64 / height);
            let noise = (x * 31 + y * 17 + seed * 101).wrapping_mul(2_654_435_761) >> 30;
            let base = [60 + u as u8, 90 + v as u8, 120 + ((u * v) / 40) as u8];
            let inside =
                defect.is_some_and(|d| x >= d.x && x < d.x + d.w && y >= d.y && y < d.y + d.h);
            rgb.extend(if inside { [250, 0, 0] } else { base.map(|b| b + noise as u8) });
        }
    }
    Picture::from_rgb8(width, height, rgb).expect("a picture")
}

fn good(seed: u32) -> Picture {
    part(seed, 64, 64, None)
}

fn bad(seed: u32) -> Picture {
    part(seed, 64, 64, Some(Rect { x: 24, y: 32, w: 12, h: 12 }))
}

fn inspector(prompts: &[Picture], settings: Settings) -> (Inspector, Switch) {
    let (model, switch) = model();
    (Inspector::new(model, prompts, settings).expect("an inspector"), switch)
}

#[test]
fn one_prompt_tells_good_from_bad() {
    let (mut i, _) = inspector(&[good(0)], Settings::default());
    for seed in 1..6 {
        let result = i.inspect(&good(seed));
        assert!(result.decision.is_pass(), "{:?} {:?}", result.decision, result.witnesses);
        assert!(result.regions.is_empty() && result.p_value > 1e-3 && result.score < 0.3);
    }
    let result = i.inspect(&bad(9));
    assert!(!result.decision.is_pass());
    assert!(matches!(result.decision.reason_name(), "change" | "novel"));
    assert!(result.score > 0.35 && result.p_value < 1e-3, "{result:?}");
    let region = result.regions[0];
    assert!(region.x <= 24 && region.x + region.w >= 36, "{region:?}");
    assert!(region.y <= 32 && region.y + region.h >= 44, "{region:?}");
    assert!(region.w <= 24 && region.h <= 24, "{region:?}");
    let map = result.map.expect("a map");
    assert_eq!((map.width, map.height), (64, 64));
    assert!(map.values.iter().all(|v| (0.0..=1.0).contains(v)));
}

#[test]
fn a_wrong_part_is_named_as_such() {
    let (mut i, _) = inspector(&[good(0), good(1), good(2)], Settings::default());
    let other = Picture::from_rgb8(64, 64, vec![7; 64 * 64 * 3]).expect("picture");
    let result = i.inspect(&other);
    assert!(!result.decision.is_pass());
    assert!(result.witnesses.image.p_value < 0.05, "{:?}", result.witnesses);
}

#[test]
fn what_another_camera_saw_counts_for_the_whole_picture() {
    let (there, _) = inspector(&[good(1), good(2), good(3)], Settings::default());
    let elsewhere = there.image_posterior("line-2").expect("posterior");
    assert_eq!(elsewhere.cameras().collect::<Vec<_>>(), [("line-2", 3)]);
    let settings = Settings { elsewhere: Some(elsewhere.clone()), ..Settings::default() };
    let image = |prompts: &[Picture], settings: Settings| {
        let (mut i, _) = inspector(prompts, settings);
        i.statistics(&good(9)).expect("statistics")[0].image
    };
    let alone = image(&[good(0)], Settings::default());
    let together = image(&[good(0)], settings.clone());
    let at_once = image(&[good(0), good(1), good(2), good(3)], Settings::default());
    assert!((together - at_once).abs() < 1e-9, "{together} {at_once}");
    assert!((together - alone).abs() > 1e-3, "{together} {alone}");
    // What was given can be taken back.
    assert_eq!(elsewhere.unmerge("line-2"), Ok(None));
    let tiled = Settings { tiles: Tiles { columns: 2, rows: 1 }, ..settings };
    let refused = Inspector::new(model().0, &[good(0)], tiled);
    assert!(matches!(refused.err(), Some(InspectError::Elsewhere(_))));
}

#[test]
fn several_prompts_calibrate_and_the_alike_one_is_chosen() {
    // Two variants of one product: each is good, neither is like the other.
    let variant = |seed| part(seed, 64, 64, Some(Rect { x: 4, y: 4, w: 20, h: 20 }));
    let (mut i, _) = inspector(&[good(0), variant(1), good(2), variant(3)], Settings::default());
    let mut worst = 0.0f32;
    for seed in 10..14 {
        worst = worst.max(i.inspect(&good(seed)).score).max(i.inspect(&variant(seed)).score);
    }
    assert!(worst < 0.3, "{worst}");
    let found = i.inspect(&bad(20)).score;
    assert!(found > worst + 0.1, "{found} {worst}");
    assert!(i.suspicious_prompts().is_empty());
}

#[test]
fn a_bad_prompt_among_good_ones_is_suspicious() {
    let (i, _) = inspector(&[good(0), good(1), bad(2), good(3), good(4)], Settings::default());
    let found = i.suspicious_prompts();
    assert_eq!(found.first().map(|s| s.index), Some(2), "{found:?}");
    let (i, _) = inspector(&[good(0), good(1), good(3), good(4)], Settings::default());
    assert!(i.suspicious_prompts().is_empty(), "{:?}", i.suspicious_prompts());
    let (i, _) = inspector(&[good(0)], Settings::default());
    assert!(i.suspicious_prompts().is_empty());
}

#[test]
fn every_fault_rejects_and_the_next_part_is_judged_again() {
    let (mut i, switch) = inspector(&[good(0)], Settings::default());
    for (fault, reason) in [
        (Fault::NanInPatches, Reason::NotFinite),
        (Fault::NanInMap, Reason::NotFinite),
        (Fault::WrongShape, Reason::EngineFailed),
        (Fault::EngineError, Reason::EngineFailed),
        (Fault::TooFewOutputs, Reason::EngineFailed),
    ] {
        switch.set(fault);
        let result = i.inspect(&good(1));
        assert_eq!(result.decision, Decision::Reject(reason));
        assert_eq!((result.score, result.p_value), (1.0, 0.0));
        assert!(result.map.is_none() && result.full_map(64, 64).is_none());
        switch.set(Fault::None);
        assert!(i.inspect(&good(1)).decision.is_pass());
    }
}

#[test]
fn faults_are_not_hidden_by_ignoring_or_by_smallness() {
    let ignored = (0..64 * 64).map(|i| i % 64 < 32).collect();
    let settings = Settings {
        smallest_defect_px: 4000,
        ignore: Some(IgnoreMask { width: 64, height: 64, ignored }),
        ..Settings::default()
    };
    let (mut i, switch) = inspector(&[good(0)], settings);
    for fault in [Fault::NanInPatches, Fault::NanInMap] {
        switch.set(fault);
        assert_eq!(i.inspect(&good(1)).decision, Decision::Reject(Reason::NotFinite));
    }
}

#[test]
fn faults_at_teaching_are_errors() {
    for fault in [Fault::NanInPatches, Fault::NanInMap, Fault::WrongShape, Fault::EngineError] {
        let (model, switch) = model();
        switch.set(fault);
        assert!(Inspector::new(model, &[good(0)], Settings::default()).is_err());
    }
}

#[test]
fn the_rate_is_live() {
    let (mut i, _) = inspector(&[good(0)], Settings::default());
    // A faint change, to be on the edge.
    let faint = {
        let mut rgb = good(0).rgb().to_vec();
        for y in 20..36 {
            for x in 20..36 {
                rgb[(y * 64 + x) * 3] += 45;
            }
        }
        Picture::from_rgb8(64, 64, rgb).expect("picture")
    };
    let p = i.inspect(&faint).p_value;
    assert!(p > 1e-6 && p < 0.2, "the test needs a part on the edge: {p}");
    let ppm = (p * 1e6) as u32;
    i.with_false_reject_ppm((ppm * 2).max(2)).expect("valid");
    assert!(!i.inspect(&faint).decision.is_pass());
    i.with_false_reject_ppm((ppm / 2).max(1)).expect("valid");
    assert!(i.inspect(&faint).decision.is_pass());
    assert_eq!(i.with_false_reject_ppm(0), Err(InspectError::Rate { ppm: 0 }));
    assert_eq!(i.false_reject_rate().ppm(), (ppm / 2).max(1), "an error changes nothing");
}

#[test]
fn the_smallest_defect_decides() {
    let speck = part(1, 64, 64, Some(Rect { x: 24, y: 32, w: 4, h: 4 }));
    let scratch = part(1, 64, 64, Some(Rect { x: 8, y: 32, w: 48, h: 4 }));
    let settings = Settings { smallest_defect_px: 30, ..Settings::default() };
    let (mut strict, _) = inspector(&[good(0)], Settings::default());
    let (mut lenient, _) = inspector(&[good(0)], settings);
    assert!(!strict.inspect(&speck).decision.is_pass());
    let spared = lenient.inspect(&speck);
    assert!(spared.decision.is_pass(), "{:?} {:?}", spared.decision, spared.witnesses);
    assert!(!lenient.inspect(&scratch).decision.is_pass(), "thin, but long");
}

#[test]
fn what_is_ignored_cannot_reject() {
    let ignored = (0..64u32 * 64)
        .map(|i| (16..48).contains(&(i % 64)) && (20..56).contains(&(i / 64)))
        .collect();
    let ignore = Some(IgnoreMask { width: 64, height: 64, ignored });
    let (mut i, _) = inspector(&[good(0)], Settings { ignore, ..Settings::default() });
    let hidden = i.inspect(&bad(1));
    assert!(hidden.decision.is_pass(), "{:?} {:?}", hidden.decision, hidden.witnesses);
    assert!(hidden.score < 0.3);
    let elsewhere = part(1, 64, 64, Some(Rect { x: 50, y: 4, w: 12, h: 12 }));
    assert!(!i.inspect(&elsewhere).decision.is_pass());
}

#[test]
fn a_region_of_interest_is_all_that_is_seen() {
    // Pictures of 128: the region is their lower right quarter.
    let region = Rect { x: 64, y: 64, w: 64, h: 64 };
    let settings = Settings { region_of_interest: Some(region), ..Settings::default() };
    let (mut i, _) = inspector(&[part(0, 128, 128, None)], settings);
    let outside = part(1, 128, 128, Some(Rect { x: 10, y: 10, w: 30, h: 30 }));
    assert!(i.inspect(&outside).decision.is_pass());
    let inside = i.inspect(&part(1, 128, 128, Some(Rect { x: 80, y: 96, w: 16, h: 16 })));
    assert!(!inside.decision.is_pass());
    let r = inside.regions[0];
    assert!(r.x <= 80 && r.x + r.w >= 96 && r.y <= 96 && r.y + r.h >= 112, "{r:?}");
    let full = inside.full_map(128, 128).expect("a map of the whole picture");
    assert_eq!((full.width, full.height), (128, 128));
    assert_eq!(full.at(63, 100), 0.0);
    assert!(full.at(88, 104) > 0.5);
    let other_size = i.inspect(&part(1, 130, 130, None));
    assert_eq!(other_size.decision, Decision::Reject(Reason::WrongSize));
}

#[test]
fn sizes_may_differ_a_little_and_aspect_ratios_hardly() {
    let (mut i, _) =
        inspector(&[part(0, 128, 64, None), part(1, 130, 66, None)], Settings::default());
    assert!(i.inspect(&part(2, 256, 128, None)).decision.is_pass());
    assert_eq!(i.inspect(&part(2, 64, 64, None)).decision, Decision::Reject(Reason::WrongSize));
}

#[test]
fn wrong_settings_are_named() {
    let new = |prompts: &[Picture], settings: Settings| {
        Inspector::new(model().0, prompts, settings).map(|_| ()).expect_err("must be refused")
    };
    let default = Settings::default;
    assert_eq!(new(&[], default()), InspectError::PromptCount { given: 0 });
    let many = vec![good(0); PROMPTS_MAX + 1];
    assert_eq!(new(&many, default()), InspectError::PromptCount { given: PROMPTS_MAX + 1 });
    for ppm in [0, FALSE_REJECT_PPM_MAX + 1] {
        let settings = Settings { false_reject_ppm: ppm, ..default() };
        assert_eq!(new(&[good(0)], settings), InspectError::Rate { ppm });
    }
    let odd = new(&[good(0), part(0, 100, 64, None)], default());
    assert!(odd.to_string().contains("prompt 2 is 100x64"), "{odd}");
    let far = Rect { x: 60, y: 0, w: 30, h: 30 };
    let settings = Settings { region_of_interest: Some(far), ..default() };
    assert!(new(&[good(0)], settings).to_string().len() > 20);
    let mask = |w: u32, h: u32, value: bool| {
        Some(IgnoreMask { width: w, height: h, ignored: vec![value; (w * h) as usize] })
    };
    let all = Settings { ignore: mask(64, 64, true), ..default() };
    assert_eq!(new(&[good(0)], all), InspectError::AllIgnored);
    let wide = Settings { ignore: mask(128, 64, false), ..default() };
    assert!(matches!(new(&[good(0)], wide), InspectError::IgnoreSize { .. }));
    let short = Settings {
        ignore: Some(IgnoreMask { width: 64, height: 64, ignored: vec![false; 5] }),
        ..default()
    };
    assert!(matches!(new(&[good(0)], short), InspectError::IgnoreSize { .. }));
}

#[test]
fn statistics_are_what_the_witnesses_judge() {
    let (mut i, switch) = inspector(&[good(0)], Settings::default());
    let s = i.statistics(&bad(1)).expect("statistics")[0];
    let w = i.inspect(&bad(1)).witnesses;
    assert_eq!(
        (s.change, s.position, s.image),
        (w.change.statistic, w.position.statistic, w.image.statistic)
    );
    assert_eq!(s.local, w.joint.statistic);
    assert!(s.change > i.statistics(&good(1)).expect("statistics")[0].change + 2.0);
    switch.set(Fault::NanInMap);
    assert!(i.statistics(&good(1)).is_err());
}

#[test]
fn rare_rejects_need_more_good_parts() {
    let heavy = card_text().replace("nu0 = 30.0, lambda0 = 12.0", "nu0 = 3.0, lambda0 = 0.3");
    let card = ModelCard::parse(&heavy).expect("a sound card");
    let switch = Switch(Arc::new(Mutex::new(Fault::None)));
    let graphs = (Box::new(FakeEncode(switch.clone())), Box::new(FakeSegment(switch)));
    let model = OnePrompt::from_graphs(&card, graphs.0, graphs.1).expect("fits");
    let i = Inspector::new(model, &[good(0)], Settings::default()).expect("an inspector");
    assert_eq!(i.needs_more(100_000), None);
    let (some, more) = (i.needs_more(100).expect("more"), i.needs_more(1).expect("more"));
    assert!(some >= 1 && more > some && more <= NEEDS_MORE_MAX, "{some} {more}");
}

#[test]
fn good_parts_that_lie_otherwise_are_told() {
    const LONG: u32 = 192;
    let lies = |rotation: f64, shift: f64| {
        part_at(LONG, LONG, &Pose { rotation, shift: [shift, 0.0], ..Pose::IDENTITY }, 0.9)
    };
    let parts = [lies(0.0, 0.0), lies(0.004, 0.002), lies(2.5, 0.0), lies(0.08, 0.03)];
    let [first, alike, turned, near] = &parts;
    assert_eq!(lies_otherwise(&[], None), Ok(None));
    assert_eq!(lies_otherwise(&[first], None), Ok(None));
    assert_eq!(lies_otherwise(&[first, alike], None), Ok(None));
    assert_eq!(lies_otherwise(&[first, alike, near], None), Ok(None), "a fixture's play");
    let (which, pose) = lies_otherwise(&[first, alike, turned, near], None).unwrap().unwrap();
    assert_eq!(which, 2);
    assert!((pose.degrees() - 2.5f64.to_degrees()).abs() < 1.0, "{pose:?}");
    let outside = Rect { x: 100, y: 0, w: 100, h: 100 };
    assert!(matches!(
        lies_otherwise(&[first, alike], Some(outside)),
        Err(InspectError::RegionOfInterest(_))
    ));
}

#[test]
fn a_turned_part_is_judged_in_the_place_it_was_taught_in() {
    const LONG: u32 = 192;
    let prompt = part_at(LONG, LONG, &Pose::IDENTITY, 1.0);
    let pose = Pose { rotation: 0.7, shift: [0.04, -0.03], ..Pose::IDENTITY };
    let turned = part_at(LONG, LONG, &pose, 1.0);
    let registered = |registration| {
        let settings = Settings { registration, false_reject_ppm: 10_000, ..Settings::default() };
        inspector(std::slice::from_ref(&prompt), settings).0
    };
    assert!(!registered(Registration::Off).inspect(&turned).decision.is_pass());
    let mut any = registered(Registration::Any);
    let seen = any.inspect(&turned);
    assert!(seen.decision.is_pass(), "{:?}", seen.witnesses);
    assert!((seen.pose.rotation - 0.7).abs() < 0.02, "{:?}", seen.pose);

    // A bright spot, in the picture as the camera sees it.
    let (x, y, side) = (100, 62, 14);
    let mut rgb = turned.rgb().to_vec();
    for i in 0..side * side {
        let at = 3 * ((y + i / side) * LONG as usize + x + i % side);
        rgb[at..at + 3].copy_from_slice(&[255, 40, 40]);
    }
    let spoiled = Picture::from_rgb8(LONG, LONG, rgb).unwrap();
    let found = any.inspect(&spoiled);
    assert!(!found.decision.is_pass());
    let worst = found.regions.first().expect("a region");
    let centre = (x as u32 + side as u32 / 2, y as u32 + side as u32 / 2);
    let within = |at: u32, from: u32, length: u32| (from..from + length).contains(&at);
    assert!(within(centre.0, worst.x, worst.w) && within(centre.1, worst.y, worst.h), "{worst:?}");
    assert!(worst.w < LONG / 2 && worst.h < LONG / 2, "{worst:?}");
}

#[test]
fn tiles_show_what_the_whole_picture_hides() {
    // Five pixels of 512 are half a pixel of the network's 64.
    let side = 512;
    let spot = Rect { x: 301, y: 96, w: 5, h: 5 };
    let spoiled = part(1, side, side, Some(spot));
    let (mut whole, _) = inspector(&[part(0, side, side, None)], Settings::default());
    assert!(whole.inspect(&spoiled).decision.is_pass());
    let tiles = Tiles { columns: 8, rows: 8 };
    let settings = Settings { tiles, ..Settings::default() };
    let (mut tiled, _) = inspector(&[part(0, side, side, None)], settings);
    let good = tiled.inspect(&part(2, side, side, None));
    assert!(good.decision.is_pass(), "{:?}", good.witnesses);
    let found = tiled.inspect(&spoiled);
    assert!(!found.decision.is_pass(), "{:?}", found.witnesses);
    let r = found.regions[0];
    assert!(r.x <= 301 && r.x + r.w >= 306 && r.y <= 96 && r.y + r.h >= 101, "{r:?}");
    assert!(r.w < 32 && r.h < 32, "{r:?}");
    let map = found.map.expect("a map");
    // Eight tiles of 64 that share 8.
    assert_eq!((map.width, map.height), (456, 456));
}

#[test]
fn a_rate_holds_for_all_tiles_together() {
    let tiles = Tiles { columns: 4, rows: 1 };
    let prompts = [part(0, 256, 64, None)];
    let settings = Settings { tiles, ..Settings::default() };
    let (mut tiled, _) = inspector(&prompts, settings);
    let query = part(1, 256, 64, Some(Rect { x: 10, y: 10, w: 20, h: 20 }));
    let statistics = tiled.statistics(&query).expect("statistics");
    assert_eq!(statistics.len(), 5, "four tiles, and the picture as a whole");
    let seen = tiled.inspect(&query).witnesses;
    let worst = statistics.iter().map(|s| s.position).fold(f64::MIN, f64::max);
    assert_eq!(seen.position.statistic, worst, "with one prompt all tiles have one law");
    let law = ModelCard::parse(&card_text())
        .unwrap()
        .calibration
        .usual
        .position
        .one
        .predictive(&[])
        .unwrap();
    assert!((seen.position.p_value - 5.0 * law.upper_tail(worst)).abs() < 1e-12);
}

#[test]
fn tiles_that_are_ignored_are_not_looked_at() {
    let ignored = (0..128u32 * 64).map(|i| i % 128 < 80).collect();
    let ignore = Some(IgnoreMask { width: 128, height: 64, ignored });
    let tiles = Tiles { columns: 2, rows: 1 };
    let settings = Settings { ignore, tiles, ..Settings::default() };
    let (mut i, _) = inspector(&[part(0, 128, 64, None)], settings);
    let hidden = part(1, 128, 64, Some(Rect { x: 10, y: 10, w: 40, h: 40 }));
    assert_eq!(i.statistics(&hidden).expect("statistics").len(), 2, "one tile and the whole");
    let seen = i.inspect(&hidden);
    assert!(seen.decision.is_pass(), "{:?}", seen.witnesses);
    let shown = part(1, 128, 64, Some(Rect { x: 96, y: 10, w: 16, h: 16 }));
    let found = i.inspect(&shown);
    assert!(!found.decision.is_pass());
    let r = found.regions[0];
    assert!(r.x <= 96 && r.x + r.w >= 112, "{r:?}");
}

#[test]
fn too_many_tiles_are_refused() {
    let refused = |tiles, prompts: usize| {
        let settings = Settings { tiles, ..Settings::default() };
        Inspector::new(model().0, &vec![good(0); prompts], settings)
            .map(|_| ())
            .expect_err("refused")
    };
    let none = refused(Tiles { columns: 0, rows: 3 }, 1);
    assert!(none.to_string().contains("0x3 tiles"), "{none}");
    let many = refused(Tiles { columns: 8, rows: 8 }, 3);
    assert!(many.to_string().contains("keep 2 prompts"), "{many}");
}

#[test]
fn a_turned_part_is_seen_in_tiles_as_well() {
    const LONG: u32 = 192;
    let prompt = part_at(LONG, LONG, &Pose::IDENTITY, 1.0);
    let pose = Pose { rotation: 0.7, shift: [0.04, -0.03], ..Pose::IDENTITY };
    let turned = part_at(LONG, LONG, &pose, 1.0);
    let settings = Settings {
        registration: Registration::Any,
        tiles: Tiles { columns: 2, rows: 2 },
        false_reject_ppm: 10_000,
        ..Settings::default()
    };
    let (mut i, _) = inspector(std::slice::from_ref(&prompt), settings);
    let (x, y, side) = (100, 62, 14);
    let mut rgb = turned.rgb().to_vec();
    for i in 0..side * side {
        let at = 3 * ((y + i / side) * LONG as usize + x + i % side);
        rgb[at..at + 3].copy_from_slice(&[255, 40, 40]);
    }
    let seen = i.inspect(&turned);
    let found = i.inspect(&Picture::from_rgb8(LONG, LONG, rgb).unwrap());
    assert!((seen.pose.rotation - 0.7).abs() < 0.02, "{:?}", seen.pose);
    assert!(found.p_value < 0.1 * seen.p_value, "{} {}", found.p_value, seen.p_value);
    let map = found.full_map(LONG, LONG).expect("a map");
    let inside = map.at(107, 69);
    let share =
        map.values.iter().filter(|v| **v >= inside).count() as f64 / map.values.len() as f64;
    assert!(inside > 0.3 && share < 0.05, "{inside} {share}");
}

#[test]
fn further_good_parts_teach_what_is_usual() {
    let (model, _) = model();
    let prompts: Vec<Picture> = (0..4).map(|i| part(i, 64, 64, None)).collect();
    let mut inspector = Inspector::new(model, &prompts, Settings::default()).expect("enrolled");
    // Good parts with a bright corner that no prompt has: strange until they were seen.
    let corner = Rect { x: 4, y: 4, w: 6, h: 6 };
    let odd = |seed| part(seed, 64, 64, Some(corner));
    let before = inspector.inspect(&odd(50));
    let further: Vec<Picture> = (60..72).map(odd).collect();
    let further = inspector.further(&further).expect("judged");
    inspector.calibrate(&further).expect("calibrated");
    let after = inspector.inspect(&odd(50));
    assert!(after.p_value > 100.0 * before.p_value, "{} {}", before.p_value, after.p_value);
    // The same from the beginning, as a recipe that is loaded again.
    let (model, _) = super::tests::model();
    let settings = Settings { further: further.clone(), ..Settings::default() };
    let mut again = Inspector::new(model, &prompts, settings).expect("enrolled");
    assert_eq!(again.inspect(&odd(50)).p_value, after.p_value);
    // Learning again forgets what was learned; a part of another shape is no good part.
    inspector.calibrate(&FurtherGood::default()).expect("calibrated");
    assert_eq!(inspector.inspect(&odd(50)).p_value, before.p_value);
    inspector.further(&[part(1, 64, 32, None)]).expect_err("another shape");
    let two = FurtherGood::new(&[further.statistics(), further.statistics()].concat());
    let error = inspector.calibrate(&two).expect_err("two tiles' scores");
    assert_eq!(error, InspectError::FurtherTiles { tiles: 1, given: 2 });
}

#[test]
fn a_stranger_among_good_parts_is_named_and_no_other() {
    let (model, _) = model();
    let prompts: Vec<Picture> = (0..4).map(|i| part(i, 64, 64, None)).collect();
    let mut inspector = Inspector::new(model, &prompts, Settings::default()).expect("enrolled");
    let hole = Rect { x: 20, y: 20, w: 20, h: 20 };
    let shown: Vec<Picture> =
        (30..60).map(|i| part(i, 64, 64, (i == 41).then_some(hole))).collect();
    let further = inspector.further(&shown).expect("judged");
    let strangers = inspector.strangers(&further).expect("named");
    assert_eq!(strangers.iter().map(|(part, _)| *part).collect::<Vec<_>>(), [11]);
    let rest = further.without(&[11]);
    assert_eq!(rest.parts(), 29);
    assert!(inspector.strangers(&rest).expect("named").is_empty());
    // One that stays makes all others' laws wider: it is what they are told apart from.
    inspector.calibrate(&rest).expect("calibrated");
    let told = inspector.inspect(&part(80, 64, 64, Some(hole))).p_value;
    inspector.calibrate(&further).expect("calibrated");
    assert!(inspector.inspect(&part(80, 64, 64, Some(hole))).p_value > told);
}
