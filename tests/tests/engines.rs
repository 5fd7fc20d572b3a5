//! One engine is a must, several are a wish list: what happens when one is missing, with the real binary.

use std::path::Path;
use std::process::Output;

use touchstone_models::package::ModelPackage;
use touchstone_tests::{run, shipped_models, write};
use touchstone_tools::quantize::in_onnx;

fn inspect(model: &Path, engine: &str, folder: &Path) -> Output {
    let good = write(folder, "good.png", &touchstone_tests::plate(128, 0.0, false));
    let model = model.display().to_string();
    let arguments = ["inspect", "--model", &model, "--engine", engine, "--prompt", &good, &good];
    run("touchstone", &arguments, folder)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// No build and no machine of this project's tests has a TensorRT for it.
#[test]
fn a_missing_engine_is_an_error_where_it_must_be_and_a_warning_where_another_will_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let smallest = shipped_models().pop().expect("a model");
    let must = inspect(&smallest, "ort-tensorrt", folder.path());
    assert!(matches!(must.status.code(), Some(2 | 3)), "{:?}: {}", must.status, said(&must));
    assert!(said(&must).contains("ort"), "{}", said(&must));
    let prefer = inspect(&smallest, "ort-tensorrt,tract", folder.path());
    assert_eq!(prefer.status.code(), Some(0), "{}", said(&prefer));
    let log = said(&prefer);
    assert!(log.contains("using engine 'tract'") && log.contains("ort-tensorrt"), "{log}");
}

#[test]
fn what_tract_cannot_read_is_said_and_not_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let smallest = shipped_models().pop().expect("a model");
    let onnx = folder.path().join("onnx-twin");
    let package = ModelPackage::open(&smallest).expect("a sound package");
    in_onnx(&package, &onnx).expect("one of our own graphs");
    let refused = inspect(&onnx, "tract", folder.path());
    assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    assert!(said(&refused).contains("no NNEF"), "{}", said(&refused));
    let Some(_) = std::env::var_os("ORT_DYLIB_PATH").filter(|_| cfg!(feature = "ort")) else {
        eprintln!("SKIPPED: ONNX Runtime; tests/reference/engines.sh runs this with it");
        return;
    };
    let taken = inspect(&onnx, "ort-tensorrt,ort", folder.path());
    assert_eq!(taken.status.code(), Some(0), "{}", said(&taken));
    assert!(said(&taken).contains("using engine 'ort'"), "{}", said(&taken));
}
