//! Where a graph's operators give way to ours: before tract has changed anything, so that what we wrote is
//! still there to be recognised. What is not recognised stays with tract.

use super::along::{Along, Axis};
use super::attention::{Nearest, Order, Pairs, Use};
use super::convolution::{Convolution, Shape};
use super::eight::Levels;
use super::factors::Halves;
use super::isa::Isa;
use super::normalise::Normalise;
use super::sum::Sum;
use super::turn::Turn;
use std::collections::HashSet;
use tract_core::internal::*;
use tract_core::ops::array::TypedConcat;
use tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_core::ops::cast::Cast;
use tract_core::ops::change_axes::AxisOp;
use tract_core::ops::cnn::{Conv, KernelFormat};
use tract_core::ops::einsum::EinSum;
use tract_core::ops::element_wise::ElementWiseOp;
use tract_core::ops::math::{Add, Div, Max, Min, Mul, RoundHalfToEven, Sqrt};
use tract_core::ops::nn::{DataFormat, Reduce, Reducer, Softmax, SoftmaxKind};

/// Puts our operators in the place of those that they do better.
pub(in super::super) fn rewrite(model: &mut TypedModel) -> TractResult<()> {
    plain(model)?;
    Rewriter::default()
        .with_rule_for("along", along)
        .with_rule_for("attention", attention)
        .with_rule_for("greatest product", greatest_product)
        .with_rule_for("normalise", normalise)
        .with_rule_for("convolution", convolution)
        .with_rule_for("behind a convolution", behind)
        .rewrite(&(), model)?;
    // Sums and casts that are left: others were part of something.
    Rewriter::default()
        .with_rule_for("nearest", nearest)
        .with_rule_for("as it was", as_it_was)
        .with_rule_for("sum", sum)
        .rewrite(&(), model)
}

/// Does what is left of moved axes, once tract has found out which of them can be done without.
pub(in super::super) fn turns(model: &mut TypedModel) -> TractResult<()> {
    Rewriter::default().with_rule_for("turn", turn).rewrite(&(), model)
}

/// Takes out what NNEF's writer and reader have added to the graph that was exported.
pub(in super::super) fn plain(model: &mut TypedModel) -> TractResult<()> {
    // Numbers written out in the graph come in as operators that stack them.
    model.prop_consts()?;
    Rewriter::default()
        .with_rule_for("cast to itself", no_cast)
        .with_rule_for("turned result", turned_result)
        .rewrite(&(), model)?;
    Rewriter::default().with_rule_for("turned map", turned_map).rewrite(&(), model)
}

/// The value that a node's input always has, if it is one number.
fn constant(model: &TypedModel, outlet: OutletId) -> Option<f32> {
    let value = model.outlet_fact(outlet).ok()?.konst.as_ref()?.as_uniform()?;
    (value.datum_type() == f32::datum_type()).then(|| value.cast_to_scalar().ok()).flatten()
}

/// The numbers of a constant, whatever its shape.
fn numbers(model: &TypedModel, outlet: OutletId) -> Option<Vec<f32>> {
    let value = model.outlet_fact(outlet).ok()?.konst.clone()?;
    value.view().as_slice::<f32>().ok().map(<[f32]>::to_vec)
}

fn shape_of(model: &TypedModel, outlet: OutletId) -> Option<TVec<usize>> {
    let fact = model.outlet_fact(outlet).ok()?;
    (fact.datum_type == f32::datum_type())
        .then(|| fact.shape.as_concrete().map(TVec::from))
        .flatten()
}

/// The one node that takes what `node` gives, unless the graph gives it away as well.
fn only_successor<'a>(model: &'a TypedModel, node: &TypedNode) -> Option<&'a TypedNode> {
    let [next] = node.outputs.first()?.successors[..] else { return None };
    (!model.outputs.contains(&node.id.into())).then(|| model.node(next.node))
}

fn is_constant(model: &TypedModel, outlet: OutletId) -> bool {
    model.outlet_fact(outlet).is_ok_and(|fact| fact.konst.is_some())
}

/// The slots of the map and of the matrix of a product with a constant.
fn map_and_matrix(model: &TypedModel, node: &TypedNode) -> Option<[usize; 2]> {
    let [a, b] = node.inputs[..] else { return None };
    match (is_constant(model, a), is_constant(model, b)) {
        (false, true) => Some([0, 1]),
        (true, false) => Some([1, 0]),
        _ => None,
    }
}

/// tract's NNEF reader casts what it joins, f32 to f32 as well.
fn no_cast(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    _: &str,
    op: &Cast,
) -> TractResult<Option<TypedModelPatch>> {
    rule_if!(model.outlet_fact(node.inputs[0])?.datum_type == op.to);
    TypedModelPatch::shunt_one_op(model, node)
}

/// tract's NNEF writer turns maps so that products have their axes side by side; an `EinSum` needs none.
fn turned_map(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &EinSum,
) -> TractResult<Option<TypedModelPatch>> {
    rule_if_some!([map, matrix] = map_and_matrix(model, node));
    let before = model.node(node.inputs[map].node);
    rule_if_some!(turn = before.op_as::<AxisOp>());
    rule_if!(matches!(turn, AxisOp::Move(..)));
    rule_if_some!(axes = op.axes.change_axis_sink(InOut::In(map), &turn.recip())?);
    let mut patch = TypedModelPatch::default();
    let mut inputs = tvec!(OutletId::new(0, 0); 2);
    inputs[map] = patch.tap_model(model, before.inputs[0])?;
    inputs[matrix] = patch.tap_model(model, node.inputs[matrix])?;
    let out = patch.wire_node(name, EinSum { axes, ..op.clone() }, &inputs)?[0];
    patch.shunt_outside(model, node.id.into(), out)?;
    Ok(Some(patch))
}

fn turned_result(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &EinSum,
) -> TractResult<Option<TypedModelPatch>> {
    rule_if!(map_and_matrix(model, node).is_some());
    rule_if_some!(next = only_successor(model, node));
    rule_if_some!(turn = next.op_as::<AxisOp>());
    rule_if!(matches!(turn, AxisOp::Move(..)));
    rule_if_some!(axes = op.axes.change_axis_sink(InOut::Out(0), turn)?);
    let mut patch = TypedModelPatch::default();
    let inputs = patch.taps(model, &node.inputs)?;
    let out = patch.wire_node(name, EinSum { axes, ..op.clone() }, &inputs)?[0];
    patch.shunt_outside(model, next.id.into(), out)?;
    Ok(Some(patch))
}

/// A product of a map with a constant matrix along one of its axes.
fn along(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &EinSum,
) -> TractResult<Option<TypedModelPatch>> {
    rule_if!(op.q_params.is_none());
    rule_if_some!([map, matrix] = map_and_matrix(model, node));
    rule_if_some!(shape = shape_of(model, node.inputs[map]));
    rule_if_some!(matrix_shape = shape_of(model, node.inputs[matrix]));
    rule_if_some!(out_shape = shape_of(model, node.id.into()));
    rule_if!(shape.len() == 4 && out_shape.len() == 4 && shape[0] == 1);
    // The axis that the map loses and the one that it gets must lie at the same place.
    let lost = |p: usize| op.axes.axis((InOut::In(map), p)).is_ok_and(|a| a.outputs[0].is_empty());
    let kept =
        |p: usize| op.axes.axis((InOut::In(map), p)).is_ok_and(|a| a.outputs[0].as_slice() == [p]);
    rule_if_some!(place = [2, 3].into_iter().find(|p| lost(*p)));
    rule_if!((0..4).all(|p| p == place || kept(p)));
    let within = |axis: &tract_core::axes::Axis| match axis.inputs[matrix][..] {
        [p] => Some(p),
        _ => None,
    };
    rule_if_some!(from = within(op.axes.axis((InOut::In(map), place))?));
    rule_if_some!(to = within(op.axes.axis((InOut::Out(0), place))?));
    let others = (0..matrix_shape.len()).filter(|p| ![from, to].contains(p));
    rule_if!(others.into_iter().all(|p| matrix_shape[p] == 1));
    rule_if_some!(values = numbers(model, node.inputs[matrix]));
    let columns = if to > from { 1 } else { matrix_shape[from] };
    let rows = if to > from { matrix_shape[to] } else { 1 };
    let axis = if place == 2 { Axis::Rows } else { Axis::Columns };
    let input = [shape[1], shape[2], shape[3]];
    rule_if_some!(
        new = Along::new(axis, input, out_shape[place], |to, from| values
            [from * rows + to * columns])
    );
    let mut patch = TypedModelPatch::default();
    let input = patch.tap_model(model, node.inputs[map])?;
    let out = patch.wire_node(name, new, &[input])?[0];
    patch.shunt_outside(model, node.id.into(), out)?;
    Ok(Some(patch))
}

/// What `outlet` was before it was made 16 bits wide, and 32 again: `touchstone-tools quantize` marks so what products
/// may be made of such numbers. Everybody else reads them as they were, which loses less.
fn halved(model: &TypedModel, outlet: OutletId) -> Option<OutletId> {
    let before = |outlet: OutletId, to: DatumType| {
        let node = model.node(outlet.node);
        node.op_as::<Cast>().filter(|cast| cast.to == to).map(|_| node.inputs[0])
    };
    before(before(outlet, f32::datum_type())?, f16::datum_type())
}

/// The same, or `outlet`, and whether it was.
fn exact(model: &TypedModel, outlet: OutletId) -> (OutletId, bool) {
    halved(model, outlet).map_or((outlet, false), |exact| (exact, true))
}

/// What is left of such marks: who reads the factor does not multiply in 16 bits.
fn as_it_was(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    _: &str,
    _: &Cast,
) -> TractResult<Option<TypedModelPatch>> {
    rule_if_some!(exact = halved(model, node.id.into()));
    let mut patch = TypedModelPatch::default();
    let exact = patch.tap_model(model, exact)?;
    patch.shunt_outside(model, node.id.into(), exact)?;
    Ok(Some(patch))
}

/// Queries and keys of a product of all rows with all rows.
struct AllPairs {
    queries: (OutletId, Order),
    keys: (OutletId, Order),
    /// Whether they may be 16 bits wide.
    halves: bool,
}

/// The product that `outlet` is: `[1, queries, keys]` over a common depth.
fn all_pairs(model: &TypedModel, outlet: OutletId) -> Option<AllPairs> {
    let node = model.node(outlet.node);
    let op = node.op_as::<EinSum>()?;
    let [a, b] = node.inputs[..] else { return None };
    let flat = |outlet| shape_of(model, outlet).is_some_and(|s| s.len() == 3 && s[0] == 1);
    if op.q_params.is_some() || ![a, b, outlet].into_iter().all(flat) {
        return None;
    }
    let side = |out: usize| {
        let axis = op.axes.axis((InOut::Out(0), out)).ok()?;
        let slot = (0..2)
            .find(|slot| axis.inputs[*slot].len() == 1 && axis.inputs[1 - slot].is_empty())?;
        let order = match axis.inputs[slot][0] {
            1 => Order::Rows,
            2 => Order::Columns,
            _ => return None,
        };
        let (input, halved) = exact(model, node.inputs[slot]);
        Some(((input, order), halved))
    };
    let ((queries, of_halves), (keys, by_halves)) = (side(1)?, side(2)?);
    Some(AllPairs { queries, keys, halves: of_halves && by_halves })
}

fn attention(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &Softmax,
) -> TractResult<Option<TypedModelPatch>> {
    rule_if!(op.axes.as_slice() == [2] && op.quant_output_dt.is_none());
    rule_if!(matches!(op.kind, SoftmaxKind::Softmax));
    let (product, scale) = by_number::<Mul>(model, node.inputs[0]).unwrap_or((node.inputs[0], 1.0));
    rule_if!(scale > 0.0);
    rule_if_some!(pairs = all_pairs(model, product));
    rule_if_some!(next = weighing(model, node));
    rule_if_some!(of_values = all_pairs(model, next.id.into()));
    // What is weighted lies as it is written: `[1, keys, width]`.
    rule_if!(of_values.queries == (node.id.into(), Order::Rows));
    let (values, Order::Columns) = of_values.keys else { return Ok(None) };
    let isa = Isa::best();
    let halves = (pairs.halves && of_values.halves).then(|| Halves::beside(isa)).flatten();
    let new = Pairs {
        isa,
        halves,
        queries: pairs.queries.1,
        keys: pairs.keys.1,
        purpose: Use::Attend { scale, nearest: None },
    };
    let mut patch = TypedModelPatch::default();
    let inputs = patch.taps(model, &[pairs.queries.0, pairs.keys.0, values])?;
    let out = patch.wire_node(format!("{name}.attention"), new, &inputs)?[0];
    patch.shunt_outside(model, next.id.into(), out)?;
    Ok(Some(patch))
}

/// The one node that takes what `node` gives, made 16 bits wide on the way or not.
fn weighing<'a>(model: &'a TypedModel, node: &TypedNode) -> Option<&'a TypedNode> {
    let mut next = only_successor(model, node)?;
    while next.op_is::<Cast>() {
        next = only_successor(model, next)?;
    }
    Some(next)
}

/// What comes first in a tensor along an axis: itself, or the first of what was joined.
fn begins_with(model: &TypedModel, outlet: OutletId, axis: usize) -> OutletId {
    let node = model.node(outlet.node);
    match node.op_as::<TypedConcat>() {
        Some(joined) if joined.axis == axis => node.inputs[0],
        _ => outlet,
    }
}

fn depends_on(model: &TypedModel, node: usize, other: usize) -> bool {
    let mut open = vec![node];
    let mut seen = HashSet::new();
    while let Some(node) = open.pop() {
        if node == other {
            return true;
        }
        let before = model.node(node).inputs.iter().map(|input| input.node);
        open.extend(before.filter(|node| seen.insert(*node)));
    }
    false
}

/// Greatest products that an attention passes through: its queries and keys begin with the same features.
fn nearest(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &Pairs,
) -> TractResult<Option<TypedModelPatch>> {
    rule_if!(matches!(op.purpose, Use::Attend { nearest: None, .. }));
    let depth = |order| if order == Order::Rows { 2 } else { 1 };
    let first = begins_with(model, node.inputs[0], depth(op.queries));
    let keys = begins_with(model, node.inputs[1], depth(op.keys));
    let scaled = by_number::<Mul>(model, first).filter(|(_, by)| *by > 0.0);
    let found = model.nodes().iter().find_map(|other| {
        let greatest = other.op_as::<Pairs>().filter(|op| op.purpose == Use::Greatest)?;
        let [queries, of] = other.inputs[..] else { return None };
        if (greatest.queries, greatest.keys, of) != (op.queries, op.keys, keys) {
            return None;
        }
        let factor = match scaled {
            _ if queries == first => 1.0,
            Some((exact, by)) if exact == queries => 1.0 / by,
            _ => return None,
        };
        let depth = *shape_of(model, queries)?.get(depth(op.queries))?;
        (!depends_on(model, node.id, other.id)).then_some((other, Nearest { depth, factor }))
    });
    rule_if_some!((other, nearest) = found);
    let Use::Attend { scale, .. } = op.purpose else { return Ok(None) };
    let new = Pairs { purpose: Use::Attend { scale, nearest: Some(nearest) }, ..op.clone() };
    let mut patch = TypedModelPatch::default();
    let inputs = patch.taps(model, &node.inputs)?;
    let out = patch.wire_node(name, new, &inputs)?;
    patch.shunt_outside(model, node.id.into(), out[0])?;
    patch.shunt_outside(model, other.id.into(), out[1])?;
    Ok(Some(patch))
}

fn greatest_product(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &Reduce,
) -> TractResult<Option<TypedModelPatch>> {
    rule_if!(op.reducer == Reducer::Max && op.axes.as_slice() == [2]);
    rule_if_some!(pairs = all_pairs(model, node.inputs[0]));
    let (queries, keys) = (pairs.queries.1, pairs.keys.1);
    let new = Pairs { isa: Isa::best(), halves: None, queries, keys, purpose: Use::Greatest };
    let mut patch = TypedModelPatch::default();
    let inputs = patch.taps(model, &[pairs.queries.0, pairs.keys.0])?;
    let out = patch.wire_node(name, new, &inputs)?[0];
    patch.shunt_outside(model, node.id.into(), out)?;
    Ok(Some(patch))
}

fn turn(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &AxisOp,
) -> TractResult<Option<TypedModelPatch>> {
    let AxisOp::Move(from, to) = *op else { return Ok(None) };
    rule_if!(shape_of(model, node.inputs[0]).is_some());
    let mut patch = TypedModelPatch::default();
    let input = patch.tap_model(model, node.inputs[0])?;
    let out = patch.wire_node(name, Turn { from, to }, &[input])?[0];
    patch.shunt_outside(model, node.id.into(), out)?;
    Ok(Some(patch))
}

/// tract adds values up one by one if they do not lie in one piece; where they do it is as fast as can be.
fn sum(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &Reduce,
) -> TractResult<Option<TypedModelPatch>> {
    let [axis] = op.axes[..] else { return Ok(None) };
    rule_if!(op.reducer == Reducer::Sum);
    rule_if_some!(shape = shape_of(model, node.inputs[0]));
    rule_if!(shape[axis + 1..].iter().any(|extent| *extent > 1));
    let mut patch = TypedModelPatch::default();
    let input = patch.tap_model(model, node.inputs[0])?;
    let out = patch.wire_node(name, Sum { axis }, &[input])?[0];
    patch.shunt_outside(model, node.id.into(), out)?;
    Ok(Some(patch))
}

/// `x / sqrt(sum(x * x) + epsilon)`.
fn normalise(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &TypedBinOp,
) -> TractResult<Option<TypedModelPatch>> {
    rule_if!(op.0.is::<Div>());
    let [x, length] = node.inputs[..] else { return Ok(None) };
    rule_if!(shape_of(model, x).is_some());
    let root = model.node(length.node);
    rule_if!(root.op_as::<ElementWiseOp>().is_some_and(|op| op.0.is::<Sqrt>()));
    rule_if_some!((sum, epsilon) = by_number::<Add>(model, root.inputs[0]));
    let sum = model.node(sum.node);
    rule_if_some!(reduce = sum.op_as::<Reduce>());
    let [axis] = reduce.axes[..] else { return Ok(None) };
    rule_if!(reduce.reducer == Reducer::Sum);
    let square = model.node(sum.inputs[0].node);
    rule_if!(square.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<Mul>()));
    rule_if!(square.inputs.iter().all(|input| *input == x));
    let mut patch = TypedModelPatch::default();
    let input = patch.tap_model(model, x)?;
    let out = patch.wire_node(name, Normalise { axis, epsilon }, &[input])?[0];
    patch.shunt_outside(model, node.id.into(), out)?;
    Ok(Some(patch))
}

/// What an operator with a number is done to, and the number.
fn by_number<M: BinMiniOp>(model: &TypedModel, outlet: OutletId) -> Option<(OutletId, f32)> {
    let node = model.node(outlet.node);
    node.op_as::<TypedBinOp>().filter(|op| op.0.is::<M>())?;
    (0..2).find_map(|slot| Some((node.inputs[1 - slot], constant(model, *node.inputs.get(slot)?)?)))
}

/// What `outlet` was before it was rounded to levels, and the levels: 8 bits as `touchstone-tools quantize` writes
/// them for this engine, in operators that every engine has.
fn rounded(model: &TypedModel, outlet: OutletId) -> Option<(OutletId, Levels)> {
    let (steps, scale) = by_number::<Mul>(model, outlet)?;
    let (steps, most) = by_number::<Min>(model, steps)?;
    let (steps, least) = by_number::<Max>(model, steps)?;
    let round = model.node(steps.node);
    round.op_as::<ElementWiseOp>().filter(|op| op.0.is::<RoundHalfToEven>())?;
    let (exact, by) = by_number::<Mul>(model, *round.inputs.first()?)?;
    let is_whole = (0.0..=255.0).contains(&-least) && least.fract() == 0.0;
    let is_inverse = scale > 0.0 && (scale * by - 1.0).abs() < 1e-6;
    (is_whole && is_inverse && most - least == 255.0)
        .then_some((exact, Levels { scale, zero: -least as u8 }))
}

fn convolution(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    op: &Conv,
) -> TractResult<Option<TypedModelPatch>> {
    let spec = &op.pool_spec;
    rule_if!(op.q_params.is_none() && op.kernel_fmt == KernelFormat::OIHW && spec.rank() == 2);
    rule_if!(matches!(spec.data_format, DataFormat::NCHW));
    rule_if_some!(input = shape_of(model, node.inputs[0]));
    rule_if_some!(output = shape_of(model, node.id.into()));
    rule_if!(input.len() == 4 && input[0] == 1);
    let depthwise = op.group == input[1] && op.group == output[1] && op.group > 1;
    rule_if!(op.group == 1 || depthwise);
    rule_if_some!(weight = numbers(model, node.inputs[1]));
    rule_if_some!(bias = numbers(model, node.inputs[2]));
    rule_if!(bias.len() == 1 || bias.len() == output[1]);
    let pad = spec.computed_padding(&input[2..]);
    let both = |of: &dyn Fn(usize) -> usize| [of(0), of(1)];
    let shape = Shape {
        input: [input[1], input[2], input[3]],
        output: [output[1], output[2], output[3]],
        kernel: both(&|i| spec.kernel_shape[i]),
        stride: both(&|i| spec.stride(i)),
        dilation: both(&|i| spec.dilation(i)),
        pad: both(&|i| pad[i].pad_before),
        depthwise,
    };
    let of_levels = rounded(model, node.inputs[0]).and_then(|(exact, levels)| {
        Some((exact, Convolution::of_levels(&shape, levels, &weight, &bias)?))
    });
    let (input, is_halved) = exact(model, node.inputs[0]);
    let of_halves = || is_halved.then(|| Convolution::of_halves(&shape, &weight, &bias)).flatten();
    let of_floats = || of_halves().or_else(|| Convolution::new(&shape, &weight, &bias));
    rule_if_some!((input, new) = of_levels.or_else(|| Some((input, of_floats()?))));
    let mut patch = TypedModelPatch::default();
    let input = patch.tap_model(model, input)?;
    let out = patch.wire_node(name, new, &[input])?[0];
    patch.shunt_outside(model, node.id.into(), out)?;
    Ok(Some(patch))
}

/// What is added to a convolution's result, and a ReLU, are done while it is still in registers.
fn behind(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    _: &str,
    op: &Convolution,
) -> TractResult<Option<TypedModelPatch>> {
    rule_if_some!(next = only_successor(model, node));
    rule_if_some!(operation = next.op_as::<TypedBinOp>());
    rule_if!(model.outlet_fact(next.id.into())?.shape == model.outlet_fact(node.id.into())?.shape);
    let slot = next.inputs.iter().position(|input| input.node == node.id).unwrap_or(0);
    let other = next.inputs[1 - slot];
    let mut inputs = node.inputs.clone();
    let new = if operation.0.is::<Max>() && constant(model, other) == Some(0.0) {
        rule_if!(!op.is_rectified());
        op.clone().rectified()
    } else if operation.0.is::<Add>() {
        rule_if!(!op.is_rectified() && inputs.len() == 1);
        rule_if!(model.outlet_fact(other)?.shape == model.outlet_fact(node.id.into())?.shape);
        inputs.push(other);
        op.clone().adding()
    } else {
        return Ok(None);
    };
    let mut patch = TypedModelPatch::default();
    let inputs = patch.taps(model, &inputs)?;
    let out = patch.wire_node(&next.name, new, &inputs)?[0];
    patch.shunt_outside(model, next.id.into(), out)?;
    Ok(Some(patch))
}
