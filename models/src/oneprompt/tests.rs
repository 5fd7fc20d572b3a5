use super::*;
use crate::package::EmbeddingPrior;
use crate::testing::{TINY_DIM, TINY_GRID, TINY_SIDE, TINY_SLOPE, tiny_card, write_tiny_package};

/// Gives the same tensors whatever it is given.
struct Canned(Vec<Tensor>);

impl Graph for Canned {
    fn run(&mut self, _: &[&Tensor]) -> Result<Vec<Tensor>, EngineError> {
        Ok(self.0.clone())
    }
}

/// Records what it was given, then gives a map and a nearest map of zeros.
struct Recorder(std::sync::mpsc::Sender<Vec<Tensor>>);

impl Graph for Recorder {
    fn run(&mut self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, EngineError> {
        self.0.send(inputs.iter().map(|&t| t.clone()).collect()).unwrap();
        Ok(maps(0.0))
    }
}

fn maps(value: f32) -> Vec<Tensor> {
    tiny_card()
        .segment
        .outputs
        .iter()
        .map(|s| Tensor { shape: s.shape.clone(), data: vec![value; s.shape.iter().product()] })
        .collect()
}

fn features(value: f32) -> Vec<Tensor> {
    tiny_card()
        .encode
        .outputs
        .iter()
        .map(|s| Tensor { shape: s.shape.clone(), data: vec![value; s.shape.iter().product()] })
        .collect()
}

fn canned(encode: Vec<Tensor>, segment: Vec<Tensor>) -> OnePrompt {
    let (encode, segment) = (Box::new(Canned(encode)), Box::new(Canned(segment)));
    OnePrompt::from_graphs(&tiny_card(), encode, segment).unwrap()
}

fn grey(level: u8) -> Picture {
    Picture::from_rgb8(40, 40, vec![level; 4800]).unwrap()
}

/// Grey, with a bright square in the patch at column 2, row 5.
fn spotted() -> Picture {
    let mut rgb = vec![100u8; 3 * (TINY_SIDE * TINY_SIDE) as usize];
    for y in 20..24 {
        for x in 8..12 {
            rgb[3 * (y * 32 + x)] = 228;
        }
    }
    Picture::from_rgb8(TINY_SIDE, TINY_SIDE, rgb).unwrap()
}

#[test]
fn the_tiny_model_finds_the_spot() {
    let dir = tempfile::tempdir().unwrap();
    let package = write_tiny_package(dir.path());
    let mut model = OnePrompt::load(&package, EngineKind::Tract, 1).unwrap();
    assert_eq!(model.input_size(), (TINY_SIDE, TINY_SIDE));
    assert_eq!(model.grid(), (TINY_GRID, TINY_GRID));
    let prompt = model.encode(&grey(100)).unwrap();
    let query = model.encode(&spotted()).unwrap();
    let both = model.segment_full(&query, &prompt).unwrap();
    // 128 levels of red, in units of the standard deviation 0.25.
    let d = 128.0f32 / 255.0 / 0.25;
    let expected = 1.0 - (-TINY_SLOPE * d * d).exp();
    for y in 0..TINY_GRID {
        for x in 0..TINY_GRID {
            let expected = if (x, y) == (2, 5) { expected } else { 0.0 };
            let given = both.change.at(x, y);
            assert!((given - expected).abs() < 1e-4, "({x}, {y}): {given} {expected}");
            assert_eq!(both.nearest.at(x, y) > 0.05, (x, y) == (2, 5), "({x}, {y})");
        }
    }
    assert_eq!(model.segment(&query, &prompt).unwrap(), both.change);
    let none = model.segment(&prompt, &prompt).unwrap();
    assert!(none.max() < 1e-6, "{}", none.max());
}

#[test]
fn patches_are_rows_of_length_one() {
    let dir = tempfile::tempdir().unwrap();
    let package = write_tiny_package(dir.path());
    let mut model = OnePrompt::load(&package, EngineKind::Tract, 1).unwrap();
    let features = model.encode(&spotted()).unwrap();
    let patches = features.patches();
    assert_eq!((patches.rows(), patches.dim), (64, TINY_DIM));
    for row in 0..patches.rows() {
        let length: f32 = patches.row(row).iter().map(|v| v * v).sum();
        assert!((length - 1.0).abs() < 1e-5);
    }
    assert_ne!(patches.at(2, 5), patches.at(5, 2));
    assert_eq!(patches.at(2, 5), patches.row(5 * 8 + 2));
    assert_eq!(features.pooled().len(), TINY_DIM);
    assert!(features.tensor("s4").is_some() && features.tensor("s5").is_none());
}

#[test]
fn a_region_is_encoded_alone() {
    let dir = tempfile::tempdir().unwrap();
    let package = write_tiny_package(dir.path());
    let mut model = OnePrompt::load(&package, EngineKind::Tract, 1).unwrap();
    let right = Some(Rect { x: 16, y: 0, w: 16, h: 32 });
    let clean = model.encode_region(&spotted(), right, None).unwrap();
    assert_eq!(clean.features, model.encode(&grey(100)).unwrap());
    let outside = Some(Rect { x: 30, y: 0, w: 16, h: 32 });
    assert!(matches!(model.encode_region(&spotted(), outside, None), Err(ModelError::Picture(_))));
}

#[test]
fn segment_inputs_come_in_the_cards_order() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut card = tiny_card();
    card.segment.inputs = ["prompt.e4", "query.s4"].map(String::from).to_vec();
    let encode = Box::new(Canned(features(0.0)));
    let mut model = OnePrompt::from_graphs(&card, encode, Box::new(Recorder(sender))).unwrap();
    let make = |v| Features::new(model.layout().clone(), features(v)).unwrap();
    let (query, prompt) = (make(1.0), make(2.0));
    model.segment(&query, &prompt).unwrap();
    let given = receiver.recv().unwrap();
    assert_eq!(given.len(), 2);
    assert_eq!(&given[0], prompt.tensor("e4").unwrap());
    assert_eq!(&given[1], query.tensor("s4").unwrap());
}

#[test]
fn nan_and_wrong_shapes_are_errors() {
    let mut bad = features(0.5);
    bad[1].data[7] = f32::NAN;
    let err = canned(bad, maps(0.0)).encode(&grey(1)).unwrap_err();
    let nan = EngineError::NotFinite { tensor: "e4".to_string(), index: 7 };
    assert_eq!(err, ModelError::Engine(nan));
    let mut bad = features(0.5);
    bad[0].shape = vec![1, 3, 64];
    assert!(canned(bad, maps(0.0)).encode(&grey(1)).is_err());

    let mut model = canned(features(0.5), maps(f32::INFINITY));
    let f = model.encode(&grey(1)).unwrap();
    let err = model.segment(&f, &f).unwrap_err();
    assert!(matches!(err, ModelError::Engine(EngineError::NotFinite { .. })), "{err}");
    let mut model = canned(features(0.5), vec![]);
    assert!(matches!(model.segment(&f, &f), Err(ModelError::Shape { .. })));
}

#[test]
fn rounding_errors_are_clamped() {
    let mut model = canned(features(0.5), maps(1.0 + 1e-6));
    let f = model.encode(&grey(1)).unwrap();
    let both = model.segment_full(&f, &f).unwrap();
    assert!(both.change.values.iter().chain(&both.nearest.values).all(|&v| v <= 1.0));
}

#[test]
fn features_of_another_model_are_refused() {
    let mut card = tiny_card();
    card.encode.outputs[2].shape = vec![1, 9];
    card.embedding = EmbeddingPrior::isotropic(9, 1.0, 0.05);
    let other = Arc::new(FeatureLayout::new(&card).unwrap());
    let mut tensors = features(0.5);
    tensors[2] = Tensor::zeros(&[1, 9]);
    let foreign = Features::new(other, tensors).unwrap();
    let mut model = canned(features(0.5), maps(0.0));
    let own = model.encode(&grey(1)).unwrap();
    assert_eq!(model.segment(&own, &foreign), Err(ModelError::OtherModel));
    let equal = Arc::new(FeatureLayout::new(&tiny_card()).unwrap());
    let same = Features::new(equal, features(0.5)).unwrap();
    assert!(model.segment(&own, &same).is_ok(), "the same layout, loaded twice, is the same");
}
