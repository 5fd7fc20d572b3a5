use std::path::Path;

use clap::Parser;
use prost::Message;
use touchstone_models::engine::EngineKind;
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::package::ModelPackage;
use touchstone_models::picture::{Picture, save_rgb};
use tract_onnx::pb;

use crate::backbone::testing::{CHANNELS, SIDE, encoder};
use crate::cli::{self, Cli};

/// Runs a command line in which every `@name` is a path in `folder`.
fn tools(folder: &Path, words: &str) -> Result<(), String> {
    let words = words.split_whitespace().map(|word| match word.strip_prefix('@') {
        Some(name) => folder.join(name).display().to_string(),
        None => word.to_owned(),
    });
    let cli = Cli::try_parse_from(std::iter::once("touchstone-tools".to_owned()).chain(words));
    cli::run(&cli.map_err(|e| e.to_string())?).map_err(|e| format!("{e:#}"))
}

fn write(folder: &Path, name: &str, onnx: &[u8]) {
    std::fs::write(folder.join(name), onnx).unwrap();
}

/// The encoder, changed by `edit`.
fn edited(outputs: &[usize], edit: impl FnOnce(&mut pb::GraphProto)) -> Vec<u8> {
    let mut model = pb::ModelProto::decode(encoder(outputs).as_slice()).unwrap();
    edit(model.graph.as_mut().unwrap());
    model.encode_to_vec()
}

/// Names of the tensors that the encoder's activations give, finest first.
fn inner() -> Vec<String> {
    let model = pb::ModelProto::decode(encoder(&[4]).as_slice()).unwrap();
    let nodes = model.graph.unwrap().node;
    nodes.iter().filter(|n| n.op_type == "Relu").map(|n| n.output[0].clone()).collect()
}

/// A node that reads and gives `tensor`; whoever read `tensor` now reads what it gives.
fn insert(graph: &mut pb::GraphProto, op_type: &str, tensor: &str) {
    let through = format!("{tensor}_{op_type}");
    for input in graph.node.iter_mut().flat_map(|n| &mut n.input).filter(|i| *i == tensor) {
        *input = through.clone();
    }
    let size = pb::AttributeProto {
        name: "size".into(),
        i: 3,
        r#type: pb::attribute_proto::AttributeType::Int as i32,
        ..Default::default()
    };
    let node = pb::NodeProto {
        input: vec![tensor.into()],
        output: vec![through.clone()],
        name: through,
        op_type: op_type.into(),
        attribute: vec![size],
        ..Default::default()
    };
    let place = graph.node.iter().position(|n| n.output[0] == tensor).unwrap() + 1;
    graph.node.insert(place, node);
}

fn pictures(folder: &Path) {
    let dir = folder.join("pictures");
    std::fs::create_dir_all(&dir).unwrap();
    for number in 0..4usize {
        let rgb = (0..96 * 96).flat_map(|i: usize| {
            let (x, y) = (i % 96, i / 96);
            let ring = (x.abs_diff(48) + y.abs_diff(40 + 4 * number)) / 6 % 3;
            [80 + 60 * ring as u8, 200 - 50 * ring as u8, (x * 2) as u8]
        });
        let picture = Picture::from_rgb8(96, 96, rgb.collect()).unwrap();
        save_rgb(&dir.join(format!("{number}.png")), &picture).unwrap();
    }
}

const TRAIN: &str = "train oneprompt --pictures @pictures --net tiny --size 64 --batch 2 --workers 1 \
                     --checkpoint 3";

/// A user's encoder, all the way to a camera that runs it.
#[test]
fn from_an_encoder_to_the_camera() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    pictures(folder);
    write(folder, "theirs.onnx", &encoder(&[0, 1, 2]));
    let import = "import encoder --onnx @theirs.onnx --size 64 --std 0.25,0.25,0.25";
    tools(folder, &format!("{import} --out @encoder --mean 0.5,0.5,0.5 --source theirs,MIT"))
        .unwrap();
    tools(folder, &format!("{import} --out @scaled --mean 0.4,0.4,0.4")).unwrap();

    tools(folder, &format!("{TRAIN} --encoder @encoder --out @run --steps 3")).unwrap();
    let state = std::fs::read_to_string(folder.join("run/state.json")).unwrap();
    assert!(state.contains("\"stage\": \"adapted\"") && state.contains("\"step\": 3"), "{state}");
    let more = format!("{TRAIN} --out @run --steps 6 --resume");
    let other = tools(folder, &format!("{more} --encoder @scaled")).unwrap_err();
    assert!(other.contains("was begun on another encoder"), "{other}");
    // The encoder in the run's folder is a copy: the imported one may go.
    tools(folder, &format!("{more} --encoder @encoder")).unwrap();
    std::fs::remove_dir_all(folder.join("encoder")).unwrap();

    let export = "export --run @run --size 64 --pictures @pictures --products 16 --date 2026-11-26";
    tools(folder, &format!("{export} --out @small --source drawn")).unwrap();
    let package = ModelPackage::open(&folder.join("small")).unwrap();
    let card = package.card();
    assert_eq!((card.input.mean, card.input.std), ([0.5; 3], [0.25; 3]));
    assert_eq!(card.training.sources, ["theirs,MIT", "drawn"]);
    assert_eq!(card.features.grid, [8, 8]);

    let mut model = OnePrompt::load(&package, EngineKind::Tract, 1).unwrap();
    let golden = folder.join("small/golden");
    let mut features = |name: &str| {
        let picture = Picture::open(&golden.join(name)).unwrap();
        model.encode(&picture).unwrap()
    };
    let (query, prompt) = (features("query.png"), features("prompt.png"));
    assert_eq!(query.patches().dim, CHANNELS[1] + CHANNELS[2]);
    let map = model.segment(&query, &prompt).unwrap();
    let want = std::fs::read(golden.join("map.f32")).unwrap();
    let want = want.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
    assert_eq!(map.values.len(), SIDE * SIDE);
    assert_eq!(want.len(), map.values.len());
    for (got, want) in map.values.iter().zip(want) {
        assert!((got - want).abs() <= 1e-4, "{got} is not {want}");
    }
}

/// A classifier gives classes only; its inner tensors are the features, and what lies behind them
/// matters no more.
#[test]
fn inner_tensors_can_be_named() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    let names = inner();
    let head = |graph: &mut pb::GraphProto| insert(graph, "NoSuchOperator", &names[3]);
    write(folder, "classifier.onnx", &edited(&[4], head));
    let import = "import encoder --onnx @classifier.onnx --size 64";

    let refused = tools(folder, &format!("{import} --out @encoder")).unwrap_err();
    let parts = ["classifier.onnx", "no feature map at stride 8", "--outputs", "NoSuchOperator"];
    for part in parts {
        assert!(refused.contains(part), "'{part}' is not in {refused}");
    }
    let listed = format!("'{}' [1, 10, 4, 4]", names[2]);
    assert!(refused.contains(&listed), "{refused}");

    tools(folder, &format!("{import} --out @encoder --outputs {},{}", names[2], names[1])).unwrap();
    let encoder = crate::backbone::Backbone::open(&folder.join("encoder")).unwrap();
    assert_eq!(encoder.channels().list(), [CHANNELS[1], CHANNELS[2]]);
    // A size that the file does not declare.
    assert!(encoder.at(128).is_ok());
    let again = tools(folder, &format!("{import} --out @encoder")).unwrap_err();
    assert!(again.contains("is there already"), "{again}");
}

/// As PyTorch writes them: weights in a file of their own.
#[test]
fn weights_may_lie_beside_the_graph() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    let mut beside = vec![0xAA; 16];
    let entry = |key: &str, value: String| pb::StringStringEntryProto { key: key.into(), value };
    let outside = edited(&[1, 2], |graph| {
        for tensor in &mut graph.initializer {
            let bytes = std::mem::take(&mut tensor.raw_data);
            tensor.external_data = vec![
                entry("location", "weights.bin".into()),
                entry("offset", beside.len().to_string()),
                entry("length", bytes.len().to_string()),
            ];
            tensor.data_location = Some(pb::tensor_proto::DataLocation::External as i32);
            beside.extend(bytes);
        }
    });
    write(folder, "theirs.onnx", &outside);
    let import = "import encoder --onnx @theirs.onnx --size 64 --out @encoder";
    let lacking = tools(folder, import).unwrap_err();
    assert!(lacking.contains("weights.bin, which cannot be read"), "{lacking}");
    write(folder, "weights.bin", &beside[..beside.len() - 1]);
    let short = tools(folder, import).unwrap_err();
    assert!(short.contains("end beyond 'weights.bin'"), "{short}");
    write(folder, "weights.bin", &beside);
    tools(folder, import).unwrap();

    write(folder, "whole.onnx", &encoder(&[1, 2]));
    tools(folder, "import encoder --onnx @whole.onnx --size 64 --out @whole").unwrap();
    let graph = |name: &str| std::fs::read(folder.join(name).join("encoder.onnx")).unwrap();
    assert!(graph("encoder") == graph("whole"), "the same weights make another graph");
}

#[test]
fn what_cannot_be_an_encoder_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    let names = inner();
    let second = |graph: &mut pb::GraphProto| {
        let mut input = graph.input[0].clone();
        input.name = "mask".into();
        graph.input.push(input);
    };
    let whole = encoder(&[0, 1, 2]);
    let norm = |graph: &mut pb::GraphProto| insert(graph, "LRN", &names[1]);
    let unknown = |graph: &mut pb::GraphProto| insert(graph, "NoSuchOperator", &names[0]);
    let cases: [(&str, Vec<u8>, String, &[&str]); 8] = [
        ("two inputs", edited(&[1, 2], second), String::new(), &["takes 2 inputs (pixels, mask)"]),
        (
            "no stride 8",
            encoder(&[0, 2, 3]),
            String::new(),
            &["no feature map at stride 8", "out2"],
        ),
        (
            "stride 32",
            whole.clone(),
            format!("--outputs {},out1", names[3]),
            &["none of the strides"],
        ),
        ("two of one", encoder(&[1, 1, 2]), String::new(), &["2 feature maps at stride 8", "out1"]),
        ("a name", whole.clone(), "--outputs out1,nothing".into(), &["called 'nothing'", "out2"]),
        ("damaged", whole[..whole.len() / 2].to_vec(), String::new(), &["damaged"]),
        ("not for NNEF", edited(&[1, 2], norm), String::new(), &["as NNEF", "Lrn"]),
        (
            "not for tract",
            edited(&[1, 2], unknown),
            format!("--outputs {},{}", names[1], names[2]),
            &["tract", "NoSuchOperator"],
        ),
    ];
    for (case, onnx, more, parts) in cases {
        write(folder, "theirs.onnx", &onnx);
        let words =
            format!("import encoder --onnx @theirs.onnx --size 64 --out @out/encoder {more}");
        let refused = tools(folder, &words).expect_err(case);
        for part in parts.iter().chain(&["theirs.onnx"]) {
            assert!(refused.contains(part), "{case}: '{part}' is not in {refused}");
        }
        let left = std::fs::read_dir(folder).unwrap().count();
        assert_eq!(left, 1, "{case} leaves something behind");
    }
    let missing = tools(folder, "import encoder --onnx @no.onnx --out @encoder").unwrap_err();
    assert!(missing.contains("no.onnx: cannot be read"), "{missing}");
    write(folder, "theirs.onnx", &whole);
    let std = "import encoder --onnx @theirs.onnx --out @encoder --std 0,1,1";
    assert!(tools(folder, std).unwrap_err().contains("is not above 0"));
}

#[test]
fn an_encoder_that_changed_since_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    write(folder, "theirs.onnx", &encoder(&[0, 1, 2]));
    tools(folder, "import encoder --onnx @theirs.onnx --size 64 --out @encoder").unwrap();
    let graph = folder.join("encoder/encoder.onnx");
    let mut bytes = std::fs::read(&graph).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&graph, &bytes).unwrap();
    let train = format!("{TRAIN} --encoder @encoder --out @run --steps 3");
    let refused = tools(folder, &train).unwrap_err();
    assert!(refused.contains("encoder.onnx is not the graph that was imported"), "{refused}");
    assert!(!folder.join("run").exists(), "a refused run leaves a folder");
}
