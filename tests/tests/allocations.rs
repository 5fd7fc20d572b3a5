//! The frame loop allocates nothing of its own: from the third part on, judging one asks for memory inside the
//! engine only, and in the crate that scales pictures.

use allocation_counter::{measure, opt_out};
use std::path::Path;
use touchstone_board::sim::{SimConfig, SimulatedLine};
use touchstone_models::engine::{EngineError, EngineKind, Graph};
use touchstone_models::inspector::{Inspector, Settings};
use touchstone_models::oneprompt::{IMAGE_INPUT, OnePrompt};
use touchstone_models::package::ModelPackage;
use touchstone_models::picture::Picture;
use touchstone_models::tensor::{Tensor, TensorSpec};
use touchstone_tests::shipped_models;

/// A rejected part's list of regions, which goes away with the result.
const OF_A_REJECT: u64 = 1;
/// Filter weights that `fast_image_resize` makes anew for each picture that is not of the model's size: a list for
/// each column and each row of the model's input (256 of each), and a few around them.
const OF_SCALING: u64 = 2 * 256 + 16;
/// Parts that are judged before anything is counted: buffers grow to what they need.
const WARM_UP: u64 = 2;
/// Parts that are counted.
const PARTS: u64 = 6;

/// A graph whose own allocations do not count.
struct Uncounted(Box<dyn Graph>);

impl Graph for Uncounted {
    fn run(&mut self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, EngineError> {
        let mut out = None;
        opt_out(|| out = Some(self.0.run(inputs)));
        out.expect("the graph was run")
    }
}

/// The package on tract, with nothing of the engine counted.
fn model(dir: &Path) -> OnePrompt {
    let package = ModelPackage::open(dir).expect("a sound package");
    let card = package.card();
    let engine = EngineKind::Tract.engine(1).expect("tract");
    let image = [1, 3, card.input.height as usize, card.input.width as usize];
    let inputs = [TensorSpec::new(IMAGE_INPUT, &image)];
    let encode = engine.load(&package.encode_file(), &inputs, &card.encode.outputs).expect("loads");
    let inputs = card.segment_inputs().expect("a sound card").into_iter().map(|i| i.spec);
    let inputs: Vec<TensorSpec> = inputs.collect();
    let segment =
        engine.load(&package.segment_file(), &inputs, &card.segment.outputs).expect("loads");
    let (encode, segment) = (Box::new(Uncounted(encode)), Box::new(Uncounted(segment)));
    OnePrompt::from_graphs(card, encode, segment).expect("fits its card")
}

fn line(size: u32) -> SimulatedLine {
    let config = SimConfig { seed: 7, size: (size, size), ..SimConfig::default() };
    SimulatedLine::new(config).expect("a sound line")
}

fn picture(line: &SimulatedLine, n: u64) -> Picture {
    let frame = line.part_with(n, None).frame;
    Picture::from_rgb8(frame.width, frame.height, frame.rgb).expect("a picture")
}

/// What no recipe lets through.
fn negative(good: &Picture) -> Picture {
    let rgb = good.rgb().iter().map(|v| 255 - v).collect();
    Picture::from_rgb8(good.width(), good.height(), rgb).expect("a picture")
}

/// Judges good and bad parts of `size` with `k` prompts; none may cost more than `allowed`, beside what a reject
/// does. With several prompts both verdicts must have come.
fn judge(k: u64, size: u32, settings: Settings, allowed: u64) {
    let smallest = shipped_models().pop().expect("a model");
    let line = line(size);
    let prompts: Vec<Picture> = (1000..1000 + k).map(|n| picture(&line, n)).collect();
    let mut inspector = Inspector::new(model(&smallest), &prompts, settings).expect("enrols");
    let part = |n: u64| match n % 2 {
        0 => picture(&line, n),
        _ => negative(&picture(&line, n)),
    };
    let parts: Vec<Picture> = (0..WARM_UP + PARTS).map(part).collect();
    let (warm_up, counted) = parts.split_at(WARM_UP as usize);
    warm_up.iter().for_each(|part| drop(inspector.inspect(part)));
    let mut verdicts = [0; 2];
    for (n, part) in counted.iter().enumerate() {
        let mut inspection = None;
        let counted = measure(|| inspection = Some(inspector.inspect(part)));
        let inspection = inspection.expect("judged");
        let passed = inspection.decision.is_pass();
        assert!(inspection.map.is_some(), "part {n} was not scored: {}", inspection.decision);
        verdicts[usize::from(passed)] += 1;
        let of_result = if passed { 0 } else { OF_A_REJECT };
        assert!(
            counted.count_total <= allowed + of_result,
            "part {n} ({}) of {size} pixels with {k} prompts: {} allocations, {} bytes",
            inspection.decision,
            counted.count_total,
            counted.bytes_total
        );
        println!("{size} pixels, {k} prompts, {}: {counted:?}", inspection.decision);
    }
    // At the usual rate nothing is rejected with one prompt: the heavy tail of its law says so.
    let both = verdicts.iter().all(|count| *count > 0);
    assert!(both || k == 1, "not both verdicts: {verdicts:?}");
}

#[test]
fn a_part_costs_no_memory_of_our_own_with_one_prompt() {
    judge(1, 256, Settings::default(), 0);
}

#[test]
fn a_part_costs_no_memory_of_our_own_with_ten_prompts_and_specks_forgiven() {
    judge(10, 256, Settings { smallest_defect_px: 6, ..Settings::default() }, 0);
}

#[test]
fn only_scaling_costs_memory_beside_the_engine() {
    judge(1, 512, Settings::default(), OF_SCALING);
}

/// The measure itself can fail.
#[test]
fn what_is_allocated_is_counted() {
    let one = measure(|| drop(std::hint::black_box(vec![0u8; 100])));
    assert_eq!((one.count_total, one.bytes_total), (1, 100));
    let engine = measure(|| opt_out(|| drop(std::hint::black_box(vec![0u8; 100]))));
    assert_eq!(engine.count_total, 0);
}
