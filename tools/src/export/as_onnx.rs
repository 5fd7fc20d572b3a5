//! A package's graph back as ONNX: for ONNX Runtime, and for `quantize`, which changes weights. The package is
//! all that is needed, not the run that it came from.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow, bail, ensure};
use touchstone_models::engine::tract::read_plain;
use tract_core::internal::*;
use tract_core::ops::array::{Slice, TypedConcat};
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::cnn::{Conv, KernelFormat};
use tract_core::ops::einsum::EinSum;
use tract_core::ops::element_wise::ElementWiseOp;
use tract_core::ops::nn::{DataFormat, Reduce, Reducer, Softmax, SoftmaxKind};

use super::onnx::{GraphBuilder, Value, int, ints};

/// The graph `nnef` as ONNX. Its inputs and outputs get the names of the model card, in order.
///
/// # Errors
/// It is no NNEF, or has an operator that none of our exports has; the operator is named.
pub fn from_nnef(nnef: &[u8], inputs: &[String], outputs: &[String]) -> Result<Vec<u8>> {
    let model = read_plain(nnef).map_err(|e| anyhow!("tract cannot read the graph: {e:#}"))?;
    from_typed(&model, inputs, outputs)
}

fn from_typed(model: &TypedModel, inputs: &[String], outputs: &[String]) -> Result<Vec<u8>> {
    ensure!(model.inputs.len() == inputs.len(), "the graph takes {} tensors", model.inputs.len());
    ensure!(model.outputs.len() == outputs.len(), "the graph gives {}", model.outputs.len());
    let mut writer =
        Writer { model, builder: GraphBuilder::new("graph"), values: Default::default() };
    for (outlet, name) in model.inputs.iter().zip(inputs) {
        let value = writer.builder.input(name, &writer.shape(*outlet)?);
        writer.values.insert(*outlet, value);
    }
    for id in model.eval_order().map_err(|e| anyhow!("{e:#}"))? {
        let node = model.node(id);
        if writer.values.contains_key(&node.id.into()) {
            continue;
        }
        let value = writer.node(node).with_context(|| {
            format!("'{}' ({}) cannot be written as ONNX", node.name, node.op.name())
        })?;
        writer.values.insert(node.id.into(), value);
    }
    for (outlet, name) in model.outputs.iter().zip(outputs) {
        let (value, shape) = (writer.value(*outlet)?, writer.shape(*outlet)?);
        writer.builder.output(value, name, &shape);
    }
    Ok(writer.builder.finish())
}

struct Writer<'a> {
    model: &'a TypedModel,
    builder: GraphBuilder,
    values: HashMap<OutletId, Value>,
}

impl Writer<'_> {
    fn value(&self, outlet: OutletId) -> Result<Value> {
        self.values.get(&outlet).cloned().context("it reads what nobody gives")
    }

    fn shape(&self, outlet: OutletId) -> Result<Vec<usize>> {
        let fact = self.model.outlet_fact(outlet).map_err(|e| anyhow!("{e:#}"))?;
        ensure!(fact.datum_type == f32::datum_type(), "{:?} is not F32", fact.datum_type);
        Ok(fact.shape.as_concrete().context("its shape is not fixed")?.to_vec())
    }

    fn node(&mut self, node: &TypedNode) -> Result<Value> {
        ensure!(node.outputs.len() == 1, "it gives {} tensors", node.outputs.len());
        let shape = self.shape(node.id.into())?;
        if let Some(constant) = &node.outputs[0].fact.konst {
            let view = constant.view();
            let data = view.as_slice::<f32>().map_err(|e| anyhow!("{e:#}"))?;
            return Ok(self.builder.constant(&shape, data));
        }
        let inputs: Vec<Value> =
            node.inputs.iter().map(|input| self.value(*input)).collect::<Result<_>>()?;
        let given: Vec<&Value> = inputs.iter().collect();
        if let Some(op) = node.op_as::<Conv>() {
            return self.convolution(node, op, &given);
        }
        if let Some(op) = node.op_as::<EinSum>() {
            return self.product(op, node, &given);
        }
        if let Some(op) = node.op_as::<TypedBinOp>() {
            return self.pair(node, op, &given);
        }
        if let Some(op) = node.op_as::<AxisOp>() {
            if let AxisOp::Move(from, to) = op {
                let mut order: Vec<i64> = (0..shape.len() as i64).collect();
                let axis = order.remove(*from);
                order.insert(*to, axis);
                return Ok(self.builder.transpose(given[0], &order));
            }
            return Ok(self.builder.reshape(given[0], &shape));
        }
        if let Some(op) = node.op_as::<ElementWiseOp>() {
            return Ok(self.builder.node(element_wise(op)?, &given, vec![]));
        }
        if let Some(op) = node.op_as::<TypedConcat>() {
            return Ok(self.builder.concat(&given, op.axis as i64));
        }
        if let Some(op) = node.op_as::<Slice>() {
            let [from, to] = [&op.start, &op.end].map(|end| end.to_usize());
            let (from, to) =
                (from.map_err(|e| anyhow!("{e:#}"))?, to.map_err(|e| anyhow!("{e:#}"))?);
            return Ok(self.builder.slice(given[0], op.axis as i64, from, to));
        }
        if let Some(op) = node.op_as::<Softmax>() {
            let last = op.axes.as_slice() == [shape.len() - 1];
            ensure!(last && matches!(op.kind, SoftmaxKind::Softmax), "it is {op:?}");
            return Ok(self.builder.softmax_last(given[0]));
        }
        if let Some(op) = node.op_as::<Reduce>() {
            let [axis] = op.axes[..] else { bail!("it goes over the axes {:?}", op.axes) };
            return match op.reducer {
                Reducer::Sum => Ok(self.builder.sum_axis(given[0], axis as i64)),
                Reducer::Max => Ok(self.builder.max_axis(given[0], axis as i64)),
                _ => bail!("it is {:?}", op.reducer),
            };
        }
        bail!("our exports have no such operator")
    }

    fn convolution(&mut self, node: &TypedNode, op: &Conv, given: &[&Value]) -> Result<Value> {
        let spec = &op.pool_spec;
        ensure!(
            op.q_params.is_none()
                && op.kernel_fmt == KernelFormat::OIHW
                && matches!(spec.data_format, DataFormat::NCHW),
            "it is {op:?}"
        );
        let input = self.shape(node.inputs[0])?;
        let padding = spec.computed_padding(&input[2..]);
        let pads: Vec<i64> = padding
            .iter()
            .map(|p| p.pad_before)
            .chain(padding.iter().map(|p| p.pad_after))
            .map(|p| p as i64)
            .collect();
        let integers = |values: &[usize]| values.iter().map(|v| *v as i64).collect::<Vec<_>>();
        let attributes = vec![
            ints("kernel_shape", &integers(&spec.kernel_shape)),
            ints("strides", &integers(&spec.strides())),
            ints("dilations", &integers(&spec.dilations())),
            ints("pads", &pads),
            int("group", op.group as i64),
        ];
        let [x, weight, bias] = given else { bail!("it takes {} tensors", given.len()) };
        // One number for all channels is written out: ONNX has one per channel.
        let number = |outlet: OutletId| {
            let fact = self.model.outlet_fact(outlet).ok()?;
            fact.konst.as_ref()?.as_uniform()?.cast_to_scalar::<f32>().ok()
        };
        let channels = op.output_channels();
        let is_whole = self.shape(node.inputs[2])? == [channels];
        let bias = match number(node.inputs[2]) {
            _ if is_whole => (*bias).clone(),
            Some(number) => self.builder.constant(&[channels], &vec![number; channels]),
            None => bail!("its bias is no list of {channels}"),
        };
        Ok(self.builder.node("Conv", &[x, weight, &bias], attributes))
    }

    /// A product of two tensors over one common axis as `MatMul`, which wants its three axes last.
    fn product(&mut self, op: &EinSum, node: &TypedNode, given: &[&Value]) -> Result<Value> {
        ensure!(op.q_params.is_none() && given.len() == 2, "it is {op:?}");
        let place = |places: &TVec<usize>| match places[..] {
            [place] => Ok(Some(place)),
            [] => Ok(None),
            _ => bail!("it takes a diagonal: {}", op.axes),
        };
        let mut own = [None, None];
        let mut summed = None;
        let mut common = Vec::new();
        for axis in op.axes.iter_all_axes() {
            let of = [place(&axis.inputs[0])?, place(&axis.inputs[1])?];
            match (of, place(&axis.outputs[0])?) {
                ([Some(a), None], Some(out)) if own[0].is_none() => own[0] = Some((a, out)),
                ([None, Some(b)], Some(out)) if own[1].is_none() => own[1] = Some((b, out)),
                ([Some(a), Some(b)], None) if summed.is_none() => summed = Some([a, b]),
                ([Some(a), Some(b)], Some(out)) => common.push((out, [a, b])),
                _ => bail!("it is no product of two matrices: {}", op.axes),
            }
        }
        let ([Some(a), Some(b)], Some(summed)) = (own, summed) else {
            bail!("it is no product of two matrices: {}", op.axes)
        };
        common.sort_unstable();
        // What is given first is the row of the product.
        let own = [a, b];
        let left = usize::from(own[1].1 < own[0].1);
        let right = 1 - left;
        let order = |side: usize, last: [usize; 2]| -> Vec<i64> {
            let first = common.iter().map(|(_, places)| places[side]);
            first.chain(last).map(|p| p as i64).collect()
        };
        let x = self.turned(given[left], &order(left, [own[left].0, summed[left]]));
        let y = self.turned(given[right], &order(right, [summed[right], own[right].0]));
        let product = self.builder.matmul(&x, &y);
        // Where each axis of the output lies in the product.
        let made: Vec<usize> =
            common.iter().map(|c| c.0).chain([own[left].1, own[right].1]).collect();
        let rank = self.shape(node.id.into())?.len();
        let back: Vec<i64> = (0..rank)
            .filter_map(|axis| made.iter().position(|m| *m == axis))
            .map(|p| p as i64)
            .collect();
        ensure!(back.len() == rank && made.len() == rank, "it has further axes: {}", op.axes);
        Ok(self.turned(&product, &back))
    }

    fn turned(&mut self, x: &Value, order: &[i64]) -> Value {
        if order.iter().enumerate().all(|(i, axis)| *axis == i as i64) {
            return x.clone();
        }
        self.builder.transpose(x, order)
    }

    fn pair(&mut self, node: &TypedNode, op: &TypedBinOp, given: &[&Value]) -> Result<Value> {
        let zero = |outlet: OutletId| {
            let fact = self.model.outlet_fact(outlet).ok();
            let value = fact.and_then(|f| f.konst.as_ref()?.as_uniform()?.cast_to_scalar().ok());
            value == Some(0.0f32)
        };
        let name = match op.0.name() {
            name @ ("Add" | "Sub" | "Mul" | "Div" | "Pow" | "Min") => name,
            "Max" => {
                // The form in which quantisers and ONNX Runtime look for it.
                let scalar = (0..2).find(|slot| zero(node.inputs[*slot]));
                if let Some(slot) = scalar {
                    return Ok(self.builder.relu(given[1 - slot]));
                }
                "Max"
            }
            other => bail!("our exports have no {other}"),
        };
        Ok(self.builder.node(name, given, vec![]))
    }
}

fn element_wise(op: &ElementWiseOp) -> Result<&'static str> {
    Ok(match &*op.0.name() {
        "Sqrt" => "Sqrt",
        "Abs" => "Abs",
        "Ln" => "Log",
        "Exp" => "Exp",
        "Erf" => "Erf",
        "Neg" => "Neg",
        "Tanh" => "Tanh",
        "Recip" => "Reciprocal",
        "Sigmoid" => "Sigmoid",
        other => bail!("our exports have no {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::nnef;
    use crate::export::onnx::ConvWeights;
    use std::io::Cursor;

    const SIDE: usize = 8;

    fn noise(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| (((i + seed) * 7919) % 1013) as f32 / 506.5 - 1.0).collect()
    }

    /// Every operator that our exports have, once.
    fn graph() -> Vec<u8> {
        let mut g = GraphBuilder::new("g");
        let x = g.input("query.x", &[1, 3, SIDE, SIDE]);
        let weights = ConvWeights {
            shape: [6, 3, 3, 3],
            weight: noise(6 * 27, 1),
            bias: noise(6, 2),
            stride: 2,
            padding: [1, 1],
            groups: 1,
        };
        let a = g.conv(&x, &weights);
        let a = g.relu(&a);
        let a = g.add(&a, &a);
        // Resizing as two products, on either side of the map.
        let (right, left) = (noise(4 * SIDE, 3), noise(SIDE * 4, 4));
        let right = g.constant(&[4, SIDE], &right);
        let left = g.constant(&[SIDE, 4], &left);
        let wide = g.matmul(&a, &right);
        let map = g.matmul(&left, &wide);
        let one = ConvWeights {
            shape: [1, 6, 1, 1],
            weight: noise(6, 5),
            bias: vec![0.25],
            padding: [0, 0],
            stride: 1,
            groups: 1,
        };
        let map = g.conv(&map, &one);
        let map = g.sigmoid(&map);
        let rows = g.reshape(&a, &[1, 6, 16]);
        let rows = g.transpose(&rows, &[0, 2, 1]);
        let columns = g.transpose(&rows, &[0, 2, 1]);
        let pairs = g.matmul(&rows, &columns);
        let scaled = g.mul_scalar(&pairs, 0.5, 3);
        let soft = g.softmax_last(&scaled);
        let attended = g.matmul(&soft, &rows);
        let best = g.max_axis(&pairs, 2);
        let squared = g.mul(&attended, &attended);
        let sum = g.sum_axis(&squared, 2);
        let sum = g.max_scalar(&sum, 0.5, 3);
        let length = g.sqrt(&sum);
        let unit = g.div(&attended, &length);
        let unit = g.abs(&unit);
        let log = g.log(&length);
        let part = g.slice(&unit, 2, 1, 4);
        let mean = g.mean_axes(&part, &[1]);
        let off = g.sub(&part, &mean);
        let joined = g.concat(&[&off, &best, &log], 2);
        g.output(map, "map", &[1, 1, SIDE, SIDE]);
        g.output(joined, "joined", &[1, 16, 5]);
        g.finish()
    }

    fn run(onnx: &[u8]) -> Vec<Vec<f32>> {
        let model = nnef::typed(onnx, "g").unwrap();
        let plan = model.into_optimized().unwrap().into_runnable().unwrap();
        let input = Tensor::from_shape(&[1, 3, SIDE, SIDE], &noise(3 * SIDE * SIDE, 9)).unwrap();
        let given = plan.run(tvec![input.into()]).unwrap();
        given.iter().map(|v| v.view().as_slice::<f32>().unwrap().to_vec()).collect()
    }

    #[test]
    fn a_graph_comes_back_as_it_was_exported() {
        let onnx = graph();
        let packed = nnef::from_onnx(&onnx, "g").unwrap();
        let names = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
        let back = from_nnef(&packed, &names(&["query.x"]), &names(&["map", "joined"])).unwrap();
        for (got, want) in run(&back).iter().zip(run(&onnx)) {
            assert_eq!(got.len(), want.len());
            let off = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
            assert!(off < 1e-5, "off by {off}");
        }
        let parsed = tract_onnx::onnx().proto_model_for_read(&mut Cursor::new(&back)).unwrap();
        let graph = parsed.graph.unwrap();
        assert_eq!(graph.input[0].name, "query.x");
        let count = |op: &str| graph.node.iter().filter(|n| n.op_type == op).count();
        assert_eq!((count("MatMul"), count("Relu"), count("Conv")), (4, 1, 2));
        assert!(from_nnef(&packed, &names(&["a", "b"]), &names(&["map"])).is_err());
        assert!(from_nnef(b"no tar", &names(&["a"]), &names(&["map"])).is_err());
    }
}
