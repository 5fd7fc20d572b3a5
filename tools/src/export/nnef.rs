//! ONNX to the form that the camera loads: tract's NNEF, decluttered, one plain tar.
//!
//! The camera then needs no ONNX parser, starts faster, and what it loads is what was measured.

use std::io::Cursor;

use anyhow::{Result, anyhow};
use tract_core::framework::Framework;
use tract_nnef::internal::*;
use tract_onnx::prelude::InferenceModelExt;

/// Converts one ONNX graph. The bytes depend on the graph alone, not on the clock.
pub fn from_onnx(onnx: &[u8], name: &str) -> Result<Vec<u8>> {
    let describe = |what: &'static str| {
        let name = name.to_owned();
        move |e: TractError| anyhow!("{name}: {what}: {e:#}")
    };
    let model = tract_onnx::onnx()
        .model_for_read(&mut Cursor::new(onnx))
        .map_err(describe("tract cannot read the ONNX graph"))?
        .into_typed()
        .map_err(describe("tract cannot type the graph"))?
        .into_decluttered()
        .map_err(describe("tract cannot declutter the graph"))?;
    tract_nnef::nnef()
        .write_to_tar_with_config(&model, Vec::new(), false, true)
        .map_err(describe("tract cannot write the graph as NNEF"))
}
