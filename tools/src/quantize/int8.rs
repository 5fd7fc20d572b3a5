//! Convolutions in 8 bits: weights per output channel and symmetric, what flows between them per tensor and
//! asymmetric. Written as ONNX says it (QDQ), ONNX Runtime makes one integer operator of each such convolution; written
//! as the rounding of what it reads, the camera's own operators do.
//!
//! What stays in float: everything that is no convolution or sum of two, so the alignment; the last convolutions
//! before an output, so embeddings and head; and what the caller names.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use anyhow::{Context, Result, ensure};
use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;

use super::graph::{Graph, floats, raw};
use super::ranges::EightBits;
use crate::export::onnx::int;

/// Greatest weight in 8 bits: symmetric, so that zero is zero.
const WEIGHT_MAX: f32 = 127.0;

/// How 8 bits are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `QuantizeLinear` and `DequantizeLinear`.
    Qdq,
    /// The same as plain float operators: any engine runs it.
    Simulated,
    /// What each convolution reads, as plain float operators that `models/src/engine/tract/fast` knows; sums and
    /// results stay exact.
    AsRead,
}

/// One operator that is done in 8 bits.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The node's name.
    pub name: String,
    /// Tensors that it reads, weights aside.
    pub inputs: Vec<String>,
    /// The tensor that it gives, a ReLU behind it included.
    pub output: String,
    /// Shape of a convolution's weights; none of a sum.
    pub weights: Option<[usize; 4]>,
    node: usize,
    relu: Option<usize>,
}

/// What can be done in 8 bits in a graph, apart from `float` ones, in order. Sums are done in 8 bits where both
/// sides are.
pub fn layers(graph: &Graph, float: &BTreeSet<String>) -> Vec<Layer> {
    let graph = graph.inner();
    let weights: HashMap<&str, &pb::TensorProto> =
        graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        node.input.iter().for_each(|name| readers.entry(name).or_default().push(index));
    }
    let outputs: HashSet<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
    let mut made: HashSet<String> = HashSet::new();
    let mut found = Vec::new();
    for (index, node) in graph.node.iter().enumerate() {
        let shape = match node.op_type.as_str() {
            "Conv" => {
                let dims = weights.get(node.input[1].as_str()).map(|t| &t.dims[..]);
                let Some(&[o, i, h, w]) = dims else { continue };
                if float.contains(&node.name) || is_last(graph, &readers, index) {
                    continue;
                }
                Some([o, i, h, w].map(|d| usize::try_from(d).unwrap_or(0)))
            }
            "Add" if node.input.iter().all(|name| made.contains(name)) => None,
            _ => continue,
        };
        // The tensor between a convolution and its ReLU is nobody else's.
        let own = readers.get(node.output[0].as_str()).map_or(&[][..], Vec::as_slice);
        let relu = match own {
            [next] if graph.node[*next].op_type == "Relu" => Some(*next),
            _ => None,
        };
        let output = graph.node[relu.unwrap_or(index)].output[0].clone();
        if outputs.contains(output.as_str()) {
            continue;
        }
        made.insert(output.clone());
        let inputs = match shape {
            Some(_) => vec![node.input[0].clone()],
            None => node.input.clone(),
        };
        found.push(Layer {
            name: node.name.clone(),
            inputs,
            output,
            weights: shape,
            node: index,
            relu,
        });
    }
    found
}

/// Whether what the node gives reaches an output without another convolution.
fn is_last(graph: &pb::GraphProto, readers: &HashMap<&str, Vec<usize>>, node: usize) -> bool {
    let mut open = vec![node];
    let mut seen = HashSet::new();
    let outputs: HashSet<&str> = graph.output.iter().map(|o| o.name.as_str()).collect();
    while let Some(index) = open.pop() {
        for output in &graph.node[index].output {
            if outputs.contains(output.as_str()) {
                return true;
            }
            let next = readers.get(output.as_str()).into_iter().flatten();
            open.extend(next.filter(|n| graph.node[**n].op_type != "Conv" && seen.insert(**n)));
        }
    }
    false
}

fn is_grouped(node: &pb::NodeProto) -> bool {
    node.attribute.iter().any(|attribute| attribute.name == "group" && attribute.i != 1)
}

/// Tensors whose values have to be seen to do `layers` in 8 bits.
pub fn tensors(layers: &[Layer]) -> BTreeSet<String> {
    layers.iter().flat_map(|l| l.inputs.iter().chain([&l.output])).cloned().collect()
}

/// The graph with `layers` in 8 bits, in the given form.
///
/// # Errors
/// A tensor without a range, or weights that are not f32.
pub fn quantized(
    graph: &Graph,
    layers: &[Layer],
    ranges: &BTreeMap<String, EightBits>,
    form: Form,
) -> Result<Graph> {
    let mut out = graph.clone();
    let mut writer = Writer { graph: out.inner_mut(), form, added: Vec::new() };
    let range =
        |name: &str| ranges.get(name).copied().with_context(|| format!("'{name}' was not seen"));
    let made: HashSet<&str> = layers.iter().map(|l| l.output.as_str()).collect();
    let mut read: HashSet<&str> = HashSet::new();
    // Before which node what was added belongs.
    let mut before: BTreeMap<usize, Vec<pb::NodeProto>> = BTreeMap::new();
    let mut dropped: HashSet<usize> = HashSet::new();
    for layer in layers {
        if form == Form::AsRead {
            // Of a channel by itself there are no four to multiply at once.
            if layer.weights.is_some() && !is_grouped(&writer.graph.node[layer.node]) {
                let name = &layer.inputs[0];
                let eight = format!("{name}.eight");
                if read.insert(name) {
                    writer.through(name, &eight, range(name)?);
                }
                writer.graph.node[layer.node].input[0] = eight;
                writer.weights(layer.node, range(name)?.scale)?;
                let first = std::mem::take(&mut writer.added);
                before.entry(layer.node).or_default().extend(first);
            }
            continue;
        }
        for (slot, name) in layer.inputs.iter().enumerate() {
            // What another layer gives has been through 8 bits already, under its own name.
            if made.contains(name.as_str()) {
                continue;
            }
            let eight = format!("{name}.eight");
            if read.insert(name) {
                writer.through(name, &eight, range(name)?);
            }
            writer.graph.node[layer.node].input[slot] = eight;
        }
        if layer.weights.is_some() {
            let scale = range(&layer.inputs[0])?.scale;
            writer.weights(layer.node, scale)?;
        }
        let first = std::mem::take(&mut writer.added);
        before.entry(layer.node).or_default().extend(first);
        // The range ends at zero where a ReLU was: it is in the rounding.
        let (relu, exact) = (layer.relu, format!("{}.exact", layer.output));
        writer.graph.node[layer.node].output[0].clone_from(&exact);
        let form = range(&layer.output)?;
        dropped.extend(relu);
        let is_cut = relu.is_none() || form.zero == 0;
        ensure!(is_cut, "'{}' has values below zero behind its ReLU", layer.output);
        writer.through(&exact, &layer.output, form);
        let last = std::mem::take(&mut writer.added);
        before.entry(layer.node + 1).or_default().extend(last);
    }
    let nodes = std::mem::take(&mut writer.graph.node);
    for (index, node) in nodes.into_iter().enumerate() {
        writer.graph.node.extend(before.remove(&index).unwrap_or_default());
        if !dropped.contains(&index) {
            writer.graph.node.push(node);
        }
    }
    writer.graph.node.extend(before.into_values().flatten());
    writer.sweep();
    Ok(out)
}

struct Writer<'a> {
    graph: &'a mut pb::GraphProto,
    form: Form,
    added: Vec<pb::NodeProto>,
}

impl Writer<'_> {
    fn node(
        &mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attribute: Vec<pb::AttributeProto>,
    ) {
        self.added.push(pb::NodeProto {
            input: inputs.iter().map(|s| s.to_string()).collect(),
            output: vec![output.to_string()],
            name: format!("{output}.{}", op.to_lowercase()),
            op_type: op.to_string(),
            attribute,
            ..Default::default()
        });
    }

    fn constant(&mut self, name: &str, tensor: pb::TensorProto) -> String {
        self.graph.initializer.push(pb::TensorProto { name: name.to_string(), ..tensor });
        name.to_string()
    }

    fn number(&mut self, name: &str, value: f32) -> String {
        self.constant(name, raw(DataType::Float, vec![], value.to_le_bytes().to_vec()))
    }

    /// A tensor through 8 bits: `to` is what is left of `from`.
    fn through(&mut self, from: &str, to: &str, form: EightBits) {
        match self.form {
            Form::Qdq => {
                let scale = self.number(&format!("{to}.scale"), form.scale);
                let zero = raw(DataType::Uint8, vec![], vec![form.zero]);
                let zero = self.constant(&format!("{to}.zero"), zero);
                let whole = format!("{to}.q");
                self.node("QuantizeLinear", &[from, &scale, &zero], &whole, vec![]);
                self.node("DequantizeLinear", &[&whole, &scale, &zero], to, vec![]);
            }
            Form::Simulated | Form::AsRead => {
                let (least, greatest) = form.ends();
                let steps = [
                    ("Mul", 1.0 / form.scale),
                    ("Round", 0.0),
                    ("Max", least),
                    ("Min", greatest),
                    ("Mul", form.scale),
                ];
                let mut value = from.to_string();
                for (index, (op, number)) in steps.iter().enumerate() {
                    let next = match index + 1 == steps.len() {
                        true => to.to_string(),
                        false => format!("{to}.{index}"),
                    };
                    if *op == "Round" {
                        self.node(op, &[&value], &next, vec![]);
                    } else {
                        let number = self.number(&format!("{to}.c{index}"), *number);
                        self.node(op, &[&value, &number], &next, vec![]);
                    }
                    value = next;
                }
            }
        }
    }

    /// A convolution's weights and bias in 8 and 32 bits, one scale for each output channel. `input` is the scale
    /// of what it reads.
    fn weights(&mut self, node: usize, input: f32) -> Result<()> {
        let names = self.graph.node[node].input.clone();
        let of = |name: &str| self.graph.initializer.iter().find(|t| t.name == name).cloned();
        let weight = of(&names[1]).with_context(|| format!("'{}' is no constant", names[1]))?;
        let values = floats(&weight)?;
        let channels = usize::try_from(weight.dims[0])?;
        let own = values.len() / channels;
        let scales: Vec<f32> = values
            .chunks_exact(own)
            .map(|channel| channel.iter().fold(0.0f32, |m, v| m.max(v.abs())) / WEIGHT_MAX)
            .map(|scale| scale.max(f32::MIN_POSITIVE))
            .collect();
        let whole: Vec<f32> = values
            .chunks_exact(own)
            .zip(&scales)
            .flat_map(|(channel, s)| channel.iter().map(move |v| (v / s).round_ties_even()))
            .map(|v| v.clamp(-WEIGHT_MAX, WEIGHT_MAX))
            .collect();
        let name = format!("{}.eight", self.graph.node[node].name);
        if self.form != Form::Qdq {
            let left = whole.chunks_exact(own).zip(&scales);
            let left = left.flat_map(|(channel, s)| channel.iter().map(move |v| v * s));
            let bytes = left.flat_map(f32::to_le_bytes).collect();
            let weight = raw(DataType::Float, weight.dims, bytes);
            self.graph.node[node].input[1] = self.constant(&name, weight);
            return Ok(());
        }
        let axis = || vec![int("axis", 0)];
        let per_channel = |values: &mut dyn Iterator<Item = f32>| {
            raw(DataType::Float, vec![channels as i64], values.flat_map(f32::to_le_bytes).collect())
        };
        let bytes = whole.iter().flat_map(|v| (*v as i8).to_le_bytes()).collect();
        let eight = self.constant(&format!("{name}.q"), raw(DataType::Int8, weight.dims, bytes));
        let scale = per_channel(&mut scales.iter().copied());
        let scale = self.constant(&format!("{name}.scale"), scale);
        let zeros = raw(DataType::Int8, vec![channels as i64], vec![0; channels]);
        let zeros = self.constant(&format!("{name}.zero"), zeros);
        self.node("DequantizeLinear", &[&eight, &scale, &zeros], &name, axis());
        self.graph.node[node].input[1] = name.clone();
        // Without a bias there is nothing more to do.
        let Some(bias) = names.get(2) else { return Ok(()) };
        let bias = self.graph.initializer.iter().find(|t| &t.name == bias);
        let bias = floats(bias.with_context(|| format!("'{}' is no constant", names[2]))?)?;
        let scales: Vec<f32> = scales.iter().map(|s| s * input).collect();
        let whole = bias.iter().zip(&scales).map(|(v, s)| {
            // Saturates, as `as` does.
            (f64::from(*v) / f64::from(*s)).round_ties_even() as i32
        });
        let bytes = whole.flat_map(i32::to_le_bytes).collect();
        let dims = vec![channels as i64];
        let name = format!("{name}.bias");
        let whole = self.constant(&format!("{name}.q"), raw(DataType::Int32, dims.clone(), bytes));
        let scale = per_channel(&mut scales.iter().copied());
        let scale = self.constant(&format!("{name}.scale"), scale);
        let zeros = raw(DataType::Int32, dims, vec![0; 4 * channels]);
        let zeros = self.constant(&format!("{name}.zero"), zeros);
        self.node("DequantizeLinear", &[&whole, &scale, &zeros], &name, axis());
        self.graph.node[node].input[2] = name;
        Ok(())
    }

    /// Throws away constants that nobody reads any more.
    fn sweep(&mut self) {
        let read: HashSet<&String> = self.graph.node.iter().flat_map(|n| &n.input).collect();
        self.graph.initializer.retain(|t| read.contains(&t.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::onnx::{ConvWeights, GraphBuilder};
    use crate::quantize::running::Running;
    use touchstone_models::tensor::Tensor;

    const SIDE: usize = 8;

    fn noise(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| (((i + seed) * 7919) % 1013) as f32 / 506.5 - 1.0).collect()
    }

    fn conv(channels: [usize; 2], kernel: usize, seed: usize) -> ConvWeights {
        let [output, input] = channels;
        ConvWeights {
            shape: [output, input, kernel, kernel],
            weight: noise(output * input * kernel * kernel, seed).iter().map(|v| v * 0.2).collect(),
            bias: noise(output, seed + 1),
            stride: 1,
            padding: [kernel / 2; 2],
            groups: 1,
        }
    }

    /// A residual block and a head.
    fn graph() -> Graph {
        let mut g = GraphBuilder::new("g");
        let x = g.input("image", &[1, 3, SIDE, SIDE]);
        let a = g.conv(&x, &conv([4, 3], 3, 1));
        let a = g.relu(&a);
        let b = g.conv(&a, &conv([4, 4], 3, 2));
        let b = g.relu(&b);
        let b = g.conv(&b, &conv([4, 4], 3, 3));
        let sum = g.add(&a, &b);
        let sum = g.relu(&sum);
        let head = g.conv(&sum, &conv([2, 4], 1, 4));
        let squared = g.mul(&head, &head);
        g.output(squared, "map", &[1, 2, SIDE, SIDE]);
        Graph::parse(&g.finish()).unwrap()
    }

    fn image(seed: usize) -> Tensor {
        Tensor::new(&[1, 3, SIDE, SIDE], noise(3 * SIDE * SIDE, seed)).unwrap()
    }

    #[test]
    fn the_head_stays_and_relus_go_into_the_rounding() {
        let graph = graph();
        let all = layers(&graph, &BTreeSet::new());
        let kinds: Vec<bool> = all.iter().map(|l| l.weights.is_some()).collect();
        assert_eq!(kinds, [true, true, true, false], "three convolutions and the sum");
        let float = BTreeSet::from([all[2].name.clone()]);
        let fewer = layers(&graph, &float);
        assert_eq!(fewer.len(), 2, "a sum with a float side is float");
    }

    #[test]
    fn eight_bits_are_near_and_both_forms_agree_on_what_is_where() {
        let graph = graph();
        let all = layers(&graph, &BTreeSet::new());
        let names = tensors(&all);
        let mut float = Running::new(&graph, &names).unwrap();
        let seen = float.run(&[&image(9)]).unwrap();
        let ranges: BTreeMap<String, EightBits> = names
            .iter()
            .zip(&seen[1..])
            .map(|(name, t)| {
                let (low, high) =
                    t.data.iter().fold((0.0f32, 0.0f32), |(l, h), v| (l.min(*v), h.max(*v)));
                (name.clone(), EightBits::over(low, high))
            })
            .collect();
        let simulated = quantized(&graph, &all, &ranges, Form::Simulated).unwrap();
        let got = Running::new(&simulated, &BTreeSet::new()).unwrap().run(&[&image(9)]).unwrap();
        let off = |a: &Tensor, b: &Tensor| {
            let worst = a.data.iter().zip(&b.data).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            worst / b.data.iter().fold(0.0f32, |m, v| m.max(v.abs()))
        };
        let lost = off(&got[0], &seen[0]);
        assert!(lost > 1e-5 && lost < 0.05, "lost {lost}");
        let as_read = quantized(&graph, &all, &ranges, Form::AsRead).unwrap();
        let got = Running::new(&as_read, &BTreeSet::new()).unwrap().run(&[&image(9)]).unwrap();
        let less = off(&got[0], &seen[0]);
        assert!(less > 1e-5 && less < 0.05, "lost {less}");
        let count = |op: &str| as_read.inner().node.iter().filter(|n| n.op_type == op).count();
        // The image, `a` and `b`; ReLUs stay, sums are exact.
        assert_eq!((count("Round"), count("Relu"), count("Add")), (3, 3, 1));
        let written = quantized(&graph, &all, &ranges, Form::Qdq).unwrap();
        let count = |op: &str| written.inner().node.iter().filter(|n| n.op_type == op).count();
        // The image and four results; weights and biases of three convolutions beside these.
        assert_eq!((count("QuantizeLinear"), count("DequantizeLinear")), (5, 11));
        assert_eq!((count("Relu"), count("Conv"), count("Add")), (0, 4, 1));
        assert!(quantized(&graph, &all, &BTreeMap::new(), Form::Qdq).is_err());
    }
}
