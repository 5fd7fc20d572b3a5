//! What the camera's own engine computes in 16 bits, on a core that has them: products of convolutions and of
//! attention. The graph says so by two casts before each of their factors, to 16 bits and back, so that any engine runs it;
//! `models/src/engine/tract/fast` takes both for leave to multiply in 16 bits, and where the processor cannot, reads the
//! factors as they were. What is between products stays in 32: sums, normalised features, embeddings, softmax; and so do
//! the convolutions that read the picture, a few hundredths of all products, which lose half of what is lost in all.

use std::collections::{BTreeMap, HashSet};

use anyhow::Result;
use half::f16;
use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;

use super::graph::{Graph, cast, floats, raw};

/// The graph with its convolutions' weights rounded to 16 bits, and casts before everything that is multiplied by
/// them or by each other.
///
/// # Errors
/// A weight is not f32.
pub fn halved(graph: &Graph) -> Result<Graph> {
    let mut out = graph.clone();
    let graph = out.inner_mut();
    let constants: HashSet<String> = graph.initializer.iter().map(|t| t.name.clone()).collect();
    let given: HashSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    let mut weights = HashSet::new();
    // Tensors that go through 16 bits, with the first node that reads them so.
    let mut through: BTreeMap<String, usize> = BTreeMap::new();
    for (index, node) in graph.node.iter_mut().enumerate() {
        let factors = match node.op_type.as_str() {
            "Conv" if given.contains(node.input[0].as_str()) => continue,
            "Conv" if constants.contains(&node.input[1]) => {
                weights.insert(node.input[1].clone());
                1
            }
            // With a constant it is a resizing, which is exact in few products.
            "MatMul" if !node.input.iter().any(|name| constants.contains(name)) => 2,
            _ => continue,
        };
        for name in &mut node.input[..factors] {
            through.entry(name.clone()).or_insert(index);
            *name = back(name);
        }
    }
    for tensor in graph.initializer.iter_mut().filter(|t| weights.contains(&t.name)) {
        let rounded = floats(tensor)?.into_iter().map(|v| f16::from_f32(v).to_f32());
        let bytes = rounded.flat_map(f32::to_le_bytes).collect();
        let name = std::mem::take(&mut tensor.name);
        *tensor = pb::TensorProto { name, ..raw(DataType::Float, tensor.dims.clone(), bytes) };
    }
    let mut nodes = Vec::with_capacity(graph.node.len() + 2 * through.len());
    for (index, node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        for (name, _) in through.iter().filter(|(_, first)| **first == index) {
            let half = format!("{name}.half");
            nodes.push(cast(name, &half, DataType::Float16));
            nodes.push(cast(&half, &back(name), DataType::Float));
        }
        nodes.push(node);
    }
    graph.node = nodes;
    Ok(out)
}

/// What a tensor is called behind both casts.
fn back(name: &str) -> String {
    format!("{name}.of_half")
}
