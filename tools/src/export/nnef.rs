//! ONNX to the form that the camera loads: tract's NNEF, decluttered, one plain tar.
//!
//! The camera then needs no ONNX parser, starts faster, and what it loads is what was measured.

use std::collections::HashMap;
use std::io::Cursor;

use anyhow::{Result, anyhow};
use tract_core::framework::Framework;
use tract_nnef::internal::*;
use tract_onnx::prelude::InferenceModelExt;

/// Converts one ONNX graph. The bytes depend on the graph alone, not on the clock.
pub fn from_onnx(onnx: &[u8], name: &str) -> Result<Vec<u8>> {
    write(&typed(onnx, name)?, name)
}

/// One of our ONNX graphs as tract holds it.
///
/// # Errors
/// tract cannot read it.
pub fn typed(onnx: &[u8], name: &str) -> Result<TypedModel> {
    let describe = |what: &'static str| describe(name, what);
    tract_onnx::onnx()
        .model_for_read(&mut Cursor::new(onnx))
        .map_err(describe("tract cannot read the ONNX graph"))?
        .into_typed()
        .map_err(describe("tract cannot type the graph"))?
        .into_decluttered()
        .map_err(describe("tract cannot declutter the graph"))
}

/// A graph as the camera loads it.
///
/// # Errors
/// It has an operator that NNEF does not have; the operator is named.
pub fn write(model: &TypedModel, name: &str) -> Result<Vec<u8>> {
    tract_nnef::nnef()
        .write_to_tar_with_config(model, Vec::new(), false, true)
        .map_err(describe(name, "tract cannot write the graph as NNEF"))
}

fn describe(name: &str, what: &'static str) -> impl FnOnce(TractError) -> anyhow::Error {
    let name = name.to_owned();
    move |e| anyhow!("{name}: {what}: {e:#}")
}

/// `front`, whose one input is called `input` from now on, and behind it `back`, which takes the
/// outputs of `front` in their order and gives what the whole gives.
///
/// Others name their nodes as they like, and NNEF knows letters, digits and '_' only: numbers keep
/// apart what it would make the same.
///
/// # Errors
/// The two do not fit.
pub fn joined(front: &TypedModel, back: &TypedModel, input: &str) -> TractResult<TypedModel> {
    let mut model = TypedModel::default();
    let image = front.input_fact(0)?.clone();
    let image = model.add_source(input, image)?;
    let images = front.input_outlets()?.iter().map(|outlet| (*outlet, image)).collect();
    let mapped = wire(&mut model, front, "front", images)?;
    let taps = front.output_outlets()?.iter().map(|outlet| mapped[outlet]);
    let taps = back.input_outlets()?.iter().copied().zip(taps).collect();
    let mapped = wire(&mut model, back, "back", taps)?;
    let outputs: TVec<OutletId> = back.output_outlets()?.iter().map(|o| mapped[o]).collect();
    model.select_output_outlets(&outputs)?;
    model.into_decluttered()
}

/// Adds the nodes of `part` to `model`, with `mapped` in the place of its inputs.
fn wire(
    model: &mut TypedModel,
    part: &TypedModel,
    prefix: &str,
    mut mapped: HashMap<OutletId, OutletId>,
) -> TractResult<HashMap<OutletId, OutletId>> {
    for id in part.eval_order()? {
        if mapped.contains_key(&OutletId::new(id, 0)) {
            continue;
        }
        let node = part.node(id);
        let inputs: TVec<OutletId> = node.inputs.iter().map(|input| mapped[input]).collect();
        let name = format!("{prefix}_{id}_{}", node.name);
        for (slot, outlet) in
            model.wire_node(name, node.op.clone(), &inputs)?.into_iter().enumerate()
        {
            mapped.insert(OutletId::new(id, slot), outlet);
        }
    }
    Ok(mapped)
}
