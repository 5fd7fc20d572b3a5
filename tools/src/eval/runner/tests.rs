use super::super::dataset::{discover, testing};
use super::super::detector::difference::Difference;
use super::super::figures::Metric;
use super::*;
use touchstone_models::map::Map;

/// Sees exactly the dark square that the generated defects are, and nothing else.
struct Oracle {
    enrolled: usize,
}

impl Detector for Oracle {
    fn enrol(&mut self, prompts: &[Picture], _: &[Picture]) -> anyhow::Result<()> {
        self.enrolled = prompts.len();
        Ok(())
    }

    fn observe(&mut self, query: &Picture) -> anyhow::Result<Observation> {
        anyhow::ensure!(self.enrolled > 0, "nothing enrolled");
        let dark = query.rgb().chunks_exact(3).map(|p| f32::from(u8::from(p[0] < 50)));
        let map = Map::new(query.width(), query.height(), dark.collect()).unwrap();
        let mut seen = Observation::default();
        seen.verdict("dark", map.max(), map.max() > 0.5);
        seen.map("dark", map);
        Ok(seen)
    }
}

/// Emits a NaN on one picture.
struct Broken;

impl Detector for Broken {
    fn enrol(&mut self, _: &[Picture], _: &[Picture]) -> anyhow::Result<()> {
        Ok(())
    }

    fn observe(&mut self, query: &Picture) -> anyhow::Result<Observation> {
        let mut values = vec![0.5; 64];
        if query.rgb().chunks_exact(3).any(|p| p[0] < 50) {
            values[3] = f32::NAN;
        }
        let mut seen = Observation::default();
        seen.map("broken", Map::new(8, 8, values).unwrap());
        seen.number("broken.score", 0.5);
        Ok(seen)
    }
}

fn folder() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    testing::write_category(&root.path().join("bench/cap"), 4, 6);
    testing::write_paired(&root.path().join("boards/group1"));
    root
}

fn setup<'a>(source: Source<'a>, variants: &'a [Variant]) -> Setup<'a> {
    Setup { source, variants, workers: 2, resamples: 20, maps: None, dump: None, thumbs: false }
}

fn value(measured: &Measured, variant: usize, metric: Metric) -> f64 {
    measured.variants[variant].figures[&metric].value
}

#[test]
fn an_oracle_gets_full_marks() {
    let root = folder();
    let categories = discover(root.path(), &[]).unwrap();
    let plan = Plan::new(&categories, 1, 0);
    let make = || Ok(Box::new(Oracle { enrolled: 0 }) as Box<dyn Detector>);
    let variants = [Variant::plain("dark")];
    let bar = ProgressBar::hidden();
    let measured = run(&plan, &setup(Source::Detector(&make), &variants), &bar).unwrap();
    assert_eq!(bar.position(), plan.tasks.len() as u64);
    let cap = &measured[0];
    for metric in Metric::ALL {
        match metric {
            Metric::BoxesHit => assert!(!cap.variants[0].figures.contains_key(&metric)),
            Metric::FalseAlarms | Metric::VerdictFalseAlarms => {
                assert_eq!(value(cap, 0, metric), 0.0);
            }
            _ => assert!((value(cap, 0, metric) - 1.0).abs() < 1e-9, "{metric:?}"),
        }
        if let Some(estimate) = cap.variants[0].figures.get(&metric) {
            assert_eq!(estimate.replicates.len(), 20);
        }
    }
    let boards = &measured[1].variants[0].figures;
    assert_eq!(boards[&Metric::BoxesHit].value, 1.0);
    assert!(!boards.contains_key(&Metric::PictureAuroc), "nothing clean there");
    assert_eq!(measured[1].variants[0].sweeps.len(), 4);
}

#[test]
fn workers_and_dumps_change_nothing() {
    let root = folder();
    let categories = discover(root.path(), &[]).unwrap();
    let plan = Plan::new(&categories, 2, 0);
    let make = || Ok(Box::new(Difference::default()) as Box<dyn Detector>);
    let variants: Vec<Variant> = ["absolute", "best=max(levelled, 0.5*shifted);mean(map)"]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    let bar = ProgressBar::hidden();
    let mut with = setup(Source::Detector(&make), &variants);
    with.dump = Some(root.path().join("dump"));
    with.maps = Some(root.path().join("maps"));
    let two = run(&plan, &with, &bar).unwrap();
    let plan_again = Plan::new(&categories, 2, 0);
    let mut one_worker = setup(Source::Detector(&make), &variants);
    one_worker.workers = 1;
    let one = run(&plan_again, &one_worker, &bar).unwrap();
    let plan_again = Plan::new(&categories, 2, 0);
    let folder = root.path().join("dump");
    let dumped = run(&plan_again, &setup(Source::Dump(&folder), &variants), &bar).unwrap();
    for other in [&one, &dumped] {
        for (a, b) in two.iter().zip(other) {
            for (a, b) in a.variants.iter().zip(&b.variants) {
                assert_eq!(a.figures, b.figures);
                assert_eq!(a.threshold, b.threshold);
            }
        }
    }
    assert!(value(&two[0], 0, Metric::PixelAp) > 0.5);
    let map = root.path().join("maps/bench/cap/hole/001.png");
    let map = image::open(map).unwrap();
    assert_eq!(map.color(), image::ColorType::L16);
    assert_eq!((map.width(), map.height()), (testing::SIDE, testing::SIDE));
}

#[test]
fn a_nan_fails_the_run_and_names_the_picture() {
    let root = folder();
    let categories = discover(root.path(), &[]).unwrap();
    let plan = Plan::new(&categories, 1, 0);
    let make = || Ok(Box::new(Broken) as Box<dyn Detector>);
    let variants = [Variant::plain("broken")];
    let result = run(&plan, &setup(Source::Detector(&make), &variants), &ProgressBar::hidden());
    let message = format!("{:#}", result.unwrap_err());
    assert!(message.contains(".png") && message.contains("NaN"), "{message}");
}

#[test]
fn a_mask_of_another_size_is_named() {
    let root = folder();
    let mask = root.path().join("bench/cap/ground_truth/hole/001_mask.png");
    let fails = |side: u32, level: u8, expected: &str| {
        image::GrayImage::from_pixel(side, side, image::Luma([level])).save(&mask).unwrap();
        let categories = discover(root.path(), &[]).unwrap();
        let plan = Plan::new(&categories, 1, 0);
        let make = || Ok(Box::new(Oracle { enrolled: 0 }) as Box<dyn Detector>);
        let variants = [Variant::plain("dark")];
        let bar = ProgressBar::hidden();
        let result = run(&plan, &setup(Source::Detector(&make), &variants), &bar);
        let message = format!("{:#}", result.unwrap_err());
        assert!(message.contains(expected), "{message}");
    };
    fails(40, 255, "001_mask.png: 40 x 40");
    fails(testing::SIDE, 0, "001_mask.png: empty");
}

#[test]
fn a_detector_that_cannot_be_made_is_an_error() {
    let root = folder();
    let categories = discover(root.path(), &[]).unwrap();
    let plan = Plan::new(&categories, 1, 0);
    let make = || anyhow::bail!("no model");
    let variants = [Variant::plain("x")];
    let result = run(&plan, &setup(Source::Detector(&make), &variants), &ProgressBar::hidden());
    assert_eq!(result.unwrap_err().to_string(), "no model");
}
