use super::*;
use crate::engine::Graph;
use crate::testing::to_tar;
use proptest::prelude::*;
use std::path::PathBuf;
use tract_core::internal::TypedOp;
use tract_core::ops::math;

type Ours = crate::tensor::Tensor;

/// `name(x)` of one input `x` of 4 values.
fn graph(op: Box<dyn TypedOp>) -> TypedModel {
    let mut m = TypedModel::default();
    let x = m.add_source("query.x", f32::fact([1, 4])).unwrap();
    let y = m.wire_node("y", op, &[x]).unwrap();
    m.select_output_outlets(&y).unwrap();
    m
}

fn specs(shape: &[usize]) -> ([TensorSpec; 1], [TensorSpec; 1]) {
    ([TensorSpec::new("query.x", shape)], [TensorSpec::new("y", shape)])
}

fn in_file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("g.nnef.tar");
    std::fs::write(&file, bytes).unwrap();
    (dir, file)
}

fn load(bytes: &[u8], shape: &[usize]) -> Result<Box<dyn Graph>, EngineError> {
    let (_dir, file) = in_file(bytes);
    let (inputs, outputs) = specs(shape);
    TractEngine::new(1).unwrap().load(&file, &inputs, &outputs)
}

fn ln() -> Vec<u8> {
    to_tar(&graph(Box::new(math::ln()))).unwrap()
}

#[test]
fn a_graph_runs_and_runs_again() {
    let mut g = load(&ln(), &[1, 4]).unwrap();
    for scale in [1.0f32, 2.0] {
        let x = Ours::new(&[1, 4], [1.0, 2.0, 3.0, 4.0].map(|v| v * scale).to_vec()).unwrap();
        let out = g.run(&[&x]).unwrap();
        assert_eq!(out[0].shape, [1, 4]);
        for (y, x) in out[0].data.iter().zip(&x.data) {
            assert!((y - x.ln()).abs() < 1e-6, "{y} {x}");
        }
    }
}

#[test]
fn nan_and_infinity_are_named() {
    let mut g = load(&ln(), &[1, 4]).unwrap();
    for bad in [-1.0, 0.0] {
        let x = Ours::new(&[1, 4], vec![1.0, 1.0, bad, 1.0]).unwrap();
        let err = g.run(&[&x]).unwrap_err();
        assert_eq!(err, EngineError::NotFinite { tensor: "y".into(), index: 2 });
    }
    let good = Ours::new(&[1, 4], vec![1.0; 4]).unwrap();
    assert!(g.run(&[&good]).is_ok(), "one bad frame does not spoil the next");
}

#[test]
fn a_wrong_shape_never_reaches_the_engine() {
    let mut g = load(&ln(), &[1, 4]).unwrap();
    let err = g.run(&[&Ours::zeros(&[4])]).unwrap_err();
    assert!(matches!(&err, EngineError::Input { tensor, .. } if tensor == "query.x"), "{err}");
    assert!(g.run(&[]).is_err());
}

#[test]
fn a_card_that_disagrees_with_the_graph_is_refused_at_load() {
    let message = |shape: &[usize]| load(&ln(), shape).err().unwrap().to_string();
    let err = message(&[1, 5]);
    assert!(err.contains("'query.x'") && err.contains("[1, 5]") && err.contains("1,4"), "{err}");
    let (_dir, file) = in_file(&ln());
    let engine = TractEngine::new(1).unwrap();
    let (inputs, outputs) = specs(&[1, 4]);
    let other = [TensorSpec::new("prompt.x", &[1, 4])];
    assert!(matches!(engine.load(&file, &other, &outputs), Err(EngineError::Contract { .. })));
    assert!(matches!(engine.load(&file, &inputs, &[]), Err(EngineError::Contract { .. })));
    assert!(matches!(engine.load(&file, &[], &outputs), Err(EngineError::Contract { .. })));
    let wide = [TensorSpec::new("y", &[1, 5])];
    let err = engine.load(&file, &inputs, &wide).err().unwrap().to_string();
    assert!(err.contains("output 'y'"), "{err}");
}

#[test]
fn an_unknown_operator_is_an_error_that_names_it() {
    let tar = nnef_tar(
        "version 1.0;\ngraph g(x) -> (y)\n{\n  x = external(shape = [1, 4]);\n  \
         y = not_an_operator(x);\n}\n",
    );
    let (_dir, file) = in_file(&tar);
    let (_, outputs) = specs(&[1, 4]);
    let inputs = [TensorSpec::new("x", &[1, 4])];
    let err = TractEngine::new(1).unwrap().load(&file, &inputs, &outputs).err().unwrap();
    assert!(matches!(err, EngineError::Load { .. }), "{err:?}");
    assert!(err.to_string().contains("not_an_operator"), "{err}");
}

/// A tar with one file, `graph.nnef`.
fn nnef_tar(text: &str) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..10].copy_from_slice(b"graph.nnef");
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(format!("{:011o}", text.len()).as_bytes());
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(text.as_bytes());
    tar.resize(tar.len().div_ceil(512) * 512 + 1024, 0);
    tar
}

#[test]
fn missing_and_truncated_files_are_errors() {
    let (inputs, outputs) = specs(&[1, 4]);
    let engine = TractEngine::new(1).unwrap();
    let gone = engine.load(Path::new("/no/such/graph.nnef.tar"), &inputs, &outputs).err().unwrap();
    assert!(matches!(gone, EngineError::Read { .. }), "{gone:?}");
    let whole = ln();
    for cut in [0, 1, 2, 300, 512, 700] {
        assert!(load(&whole[..cut], &[1, 4]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_panic_in_the_engine_is_an_error() {
    let err = caught::<()>(|| panic!("kernel {}", 7)).unwrap_err();
    assert_eq!(err, EngineError::Panicked { why: "kernel 7".into() });
}

#[test]
fn threads_give_the_same_numbers() {
    let mut m = TypedModel::default();
    let x = m.add_source("query.x", f32::fact([512, 512])).unwrap();
    let product =
        tract_core::ops::einsum::EinSum::new("ab,bc->ac".parse().unwrap(), f32::datum_type());
    let y = m.wire_node("y", product, &[x, x]).unwrap();
    m.select_output_outlets(&y).unwrap();
    let (_dir, file) = in_file(&to_tar(&m).unwrap());
    let (inputs, outputs) = specs(&[512, 512]);
    let values = (0..512 * 512).map(|i| ((i * 7919) % 1013) as f32 / 1013.0).collect();
    let x = Ours::new(&[512, 512], values).unwrap();
    let [one, two] = [1, 2].map(|threads| {
        let engine = TractEngine::new(threads).unwrap();
        engine.load(&file, &inputs, &outputs).unwrap().run(&[&x]).unwrap()
    });
    assert_eq!(one, two);
    for threads in [0, ENGINE_THREADS_MAX + 1] {
        assert!(matches!(TractEngine::new(threads), Err(EngineError::Threads { .. })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(load(&bytes, &[1, 4]).is_err());
    }

    #[test]
    fn damaged_graphs_never_panic(at in 0usize..4096, value in any::<u8>()) {
        let mut bytes = ln();
        let at = at % bytes.len();
        bytes[at] = value;
        // A flipped byte may leave the graph whole (padding, time stamps); it must then still run.
        if let Ok(mut g) = load(&bytes, &[1, 4]) {
            let _ = g.run(&[&Ours::new(&[1, 4], vec![1.0; 4]).unwrap()]);
        }
    }

    #[test]
    fn random_text_never_panics(text in "\\PC{0,300}") {
        prop_assert!(load(&nnef_tar(&text), &[1, 4]).is_err());
    }
}
