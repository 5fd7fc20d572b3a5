//! ONNX to the form that the camera loads: tract's NNEF, decluttered, one plain tar.
//!
//! The camera then needs no ONNX parser, starts faster, and what it loads is what was measured.

use std::collections::HashMap;
use std::io::Cursor;

use anyhow::{Result, anyhow};
use tract_core::framework::Framework;
use tract_core::ops::array::StridedSlice;
use tract_core::ops::element_wise::ElementWiseOp;
use tract_core::ops::math;
use tract_core::ops::nn::GeluExact;
use tract_nnef::internal::*;
use tract_onnx::prelude::InferenceModelExt;

/// Converts one ONNX graph. The bytes depend on the graph alone, not on the clock.
pub fn from_onnx(onnx: &[u8], name: &str) -> Result<Vec<u8>> {
    write(&typed(onnx, name)?, name)
}

/// One of our ONNX graphs as tract holds it, operator by operator as we wrote it: what tract makes of it
/// by itself splits products of joined matrices, and hides from the camera's own operators what they could
/// do at once.
///
/// # Errors
/// tract cannot read it.
pub fn typed(onnx: &[u8], name: &str) -> Result<TypedModel> {
    let describe = |what: &'static str| describe(name, what);
    let mut model = tract_onnx::onnx()
        .model_for_read(&mut Cursor::new(onnx))
        .map_err(describe("tract cannot read the ONNX graph"))?
        .into_typed()
        .map_err(describe("tract cannot type the graph"))?;
    // The one operator that NNEF knows only in its simple form.
    Rewriter::default()
        .with_rule_for("slice", |_, model, node, _, op: &StridedSlice| op.declutter(model, node))
        .rewrite(&(), &mut model)
        .map_err(describe("tract cannot rewrite the graph"))?;
    Ok(model)
}

/// A graph as the camera loads it.
///
/// # Errors
/// It has an operator that NNEF does not have; the operator is named.
pub fn write(model: &TypedModel, name: &str) -> Result<Vec<u8>> {
    let mut model = model.clone();
    Rewriter::default()
        .with_rule_for("spell_out_gelu", spell_out_gelu)
        .rewrite(&(), &mut model)
        .and_then(|()| tract_nnef::nnef().write_to_tar_with_config(&model, Vec::new(), false, true))
        .map_err(describe(name, "tract cannot write the graph as NNEF"))
}

/// tract makes one operator of `x / 2 (1 + erf(x / sqrt 2))`, for which NNEF has no word; in parts
/// it has. The camera's tract puts them together again.
fn spell_out_gelu(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &ElementWiseOp,
) -> TractResult<Option<TypedModelPatch>> {
    if !op.0.is::<GeluExact>() {
        return Ok(None);
    }
    let mut patch = TypedModelPatch::default();
    let x = patch.tap_model(model, node.inputs[0])?;
    let rank = model.outlet_fact(node.inputs[0])?.rank();
    let mut constant = |leaf: &str, value: f32| {
        let value = tensor0(value).broadcast_into_rank(rank)?;
        patch.add_const(format!("{name}_{leaf}"), value)
    };
    let slope = constant("slope", std::f32::consts::FRAC_1_SQRT_2)?;
    let (one, half) = (constant("one", 1.0)?, constant("half", 0.5)?);
    let mut wire = |leaf: &str, op: Box<dyn TypedOp>, inputs: &[OutletId]| {
        Ok::<OutletId, TractError>(patch.wire_node(format!("{name}_{leaf}"), op, inputs)?[0])
    };
    let scaled = wire("scaled", math::mul().into(), &[x, slope])?;
    let erf = wire("erf", math::erf().into(), &[scaled])?;
    let gate = wire("gate", math::add().into(), &[erf, one])?;
    let halved = wire("halved", math::mul().into(), &[x, half])?;
    let y = wire("gated", math::mul().into(), &[halved, gate])?;
    patch.shunt_outside(model, node.id.into(), y)?;
    Ok(Some(patch))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The operator of every ConvNeXt and vision transformer: `x / 2 (1 + erf(x / sqrt 2))`.
    #[test]
    fn gelu_comes_back_as_it_went() {
        let mut model = TypedModel::default();
        let x = model.add_source("x", f32::fact([1, 5])).unwrap();
        let op = tract_core::ops::nn::gelu_exact::gelu_exact();
        let y = model.wire_node("gelu", op, &[x]).unwrap();
        model.select_output_outlets(&y).unwrap();
        let bytes = write(&model, "gelu").unwrap();
        let read = tract_nnef::nnef().model_for_read(&mut Cursor::new(bytes)).unwrap();
        let plan = read.into_optimized().unwrap().into_runnable().unwrap();
        let values = tensor2(&[[-2.0f32, -0.5, 0.0, 0.5, 2.0]]);
        let given = plan.run(tvec![values.into()]).unwrap();
        // Values of the normal distribution's table: x times its share below x.
        let want = [-0.045_500_26, -0.154_268_77, 0.0, 0.345_731_2, 1.954_499_7];
        for (got, want) in given[0].to_plain_array_view::<f32>().unwrap().iter().zip(want) {
            assert!((got - want).abs() < 1e-5, "{got} is not {want}");
        }
    }
}
