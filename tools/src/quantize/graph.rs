//! ONNX graphs taken apart and put together with other weights.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use half::f16;
use prost::Message;
use touchstone_models::files::read_limited;
use touchstone_models::package::GRAPH_BYTES_MAX;
use tract_onnx::pb;
use tract_onnx::pb::tensor_proto::DataType;

use crate::export::as_onnx::from_nnef;
use crate::export::onnx::int;

/// Weights of fewer numbers stay f32 when the others become f16.
const F16_LEAST: usize = 16;

/// A graph that can be changed.
#[derive(Clone)]
pub struct Graph(pb::ModelProto);

impl Graph {
    /// Parses an ONNX file.
    ///
    /// # Errors
    /// No ONNX, or without a graph.
    pub fn parse(bytes: &[u8]) -> Result<Graph> {
        let model = pb::ModelProto::decode(bytes).context("this is no ONNX file")?;
        ensure!(model.graph.is_some(), "this ONNX file has no graph");
        Ok(Graph(model))
    }

    /// A graph of a package, whichever form it has there; `inputs` and `outputs` as the card names them.
    ///
    /// # Errors
    /// The file cannot be read, or is none of ours.
    pub fn open(file: &Path, inputs: &[String], outputs: &[String]) -> Result<Graph> {
        let bytes = read_limited(file, GRAPH_BYTES_MAX);
        let open = |bytes: Vec<u8>| match file.extension() {
            Some(e) if e == "onnx" => Graph::parse(&bytes),
            _ => Graph::parse(&from_nnef(&bytes, inputs, outputs)?),
        };
        bytes.map_err(Into::into).and_then(open).with_context(|| file.display().to_string())
    }

    /// The file's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.encode_to_vec()
    }

    /// Its nodes and weights.
    pub fn inner(&self) -> &pb::GraphProto {
        self.0.graph.as_ref().expect("`parse` has looked for it")
    }

    /// The same, to be changed.
    pub fn inner_mut(&mut self) -> &mut pb::GraphProto {
        self.0.graph.as_mut().expect("`parse` has looked for it")
    }

    /// The same graph that also gives the tensors `also`, behind its own outputs.
    pub fn telling(&self, also: &BTreeSet<String>) -> Graph {
        let mut out = self.clone();
        for name in also {
            // By another name: tract forgets what it knows of a tensor that is an output, even of an input.
            let told = format!("{name}.told");
            let graph = out.inner_mut();
            graph.node.push(pb::NodeProto {
                name: told.clone(),
                op_type: "Identity".into(),
                input: vec![name.clone()],
                output: vec![told.clone()],
                ..Default::default()
            });
            graph.output.push(pb::ValueInfoProto { name: told, ..Default::default() });
        }
        out
    }

    /// The same with weights of 16 bits, widened where they are read.
    ///
    /// # Errors
    /// A weight is not f32.
    pub fn in_f16(&self) -> Result<Graph> {
        let mut out = self.clone();
        let mut casts = Vec::new();
        for tensor in &mut out.inner_mut().initializer {
            if tensor.data_type != DataType::Float as i32 {
                continue;
            }
            let values = floats(tensor)?;
            if values.len() < F16_LEAST {
                continue;
            }
            let name = format!("{}.half", tensor.name);
            let bytes = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
            let wide = std::mem::replace(&mut tensor.name, name.clone());
            *tensor = pb::TensorProto {
                name: name.clone(),
                ..raw(DataType::Float16, tensor.dims.clone(), bytes)
            };
            casts.push(cast(&name, &wide, DataType::Float));
        }
        out.inner_mut().node.splice(0..0, casts);
        Ok(out)
    }
}

/// What makes `to` of `from`, in another kind of numbers.
pub fn cast(from: &str, to: &str, kind: DataType) -> pb::NodeProto {
    pb::NodeProto {
        name: to.to_owned(),
        op_type: "Cast".into(),
        input: vec![from.to_owned()],
        output: vec![to.to_owned()],
        attribute: vec![int("to", kind as i64)],
        ..Default::default()
    }
}

/// A constant without a name.
pub fn raw(kind: DataType, dims: Vec<i64>, raw_data: Vec<u8>) -> pb::TensorProto {
    pb::TensorProto { dims, data_type: kind as i32, raw_data, ..Default::default() }
}

/// The numbers of a constant.
///
/// # Errors
/// It is not f32.
pub fn floats(tensor: &pb::TensorProto) -> Result<Vec<f32>> {
    ensure!(tensor.data_type == DataType::Float as i32, "'{}' is not f32", tensor.name);
    if tensor.raw_data.is_empty() {
        return Ok(tensor.float_data.clone());
    }
    let numbers = tensor.raw_data.chunks_exact(4);
    Ok(numbers.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}
