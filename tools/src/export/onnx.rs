//! A small ONNX writer: just the operators that our graphs need (opset 17), with shapes left to
//! the reader. tract-onnx's own protobuf types are used, so reader and writer agree.

use prost::Message;
use tract_onnx::pb;

/// Opset of the graphs.
const OPSET: i64 = 17;
/// ONNX file format version that goes with it.
const IR_VERSION: i64 = 8;

/// A value within the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(String);

/// Weights and geometry of one convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvWeights {
    /// `[out, in / groups, k, k]`.
    pub shape: [usize; 4],
    /// Row-major weights.
    pub weight: Vec<f32>,
    /// One per output channel.
    pub bias: Vec<f32>,
    /// Stride in both directions.
    pub stride: usize,
    /// Padding in both directions, before and after.
    pub padding: [usize; 2],
    /// Groups that see nothing of each other; 1 for a full convolution.
    pub groups: usize,
}

/// Builds one graph, node by node.
#[derive(Default)]
pub struct GraphBuilder {
    graph: pb::GraphProto,
    next: usize,
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        let graph = pb::GraphProto { name: name.into(), ..Default::default() };
        GraphBuilder { graph, next: 0 }
    }

    /// Declares an f32 input.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Value {
        self.graph.input.push(value_info(name, shape));
        Value(name.into())
    }

    /// Declares `value` as the output `name` of `shape`.
    pub fn output(&mut self, value: Value, name: &str, shape: &[usize]) {
        self.graph.node.push(pb::NodeProto {
            input: vec![value.0],
            output: vec![name.into()],
            name: format!("{name}_out"),
            op_type: "Identity".into(),
            ..Default::default()
        });
        self.graph.output.push(value_info(name, shape));
    }

    /// An f32 constant.
    pub fn constant(&mut self, shape: &[usize], data: &[f32]) -> Value {
        let name = self.name("c");
        self.graph.initializer.push(pb::TensorProto {
            name: name.clone(),
            dims: shape.iter().map(|&d| d as i64).collect(),
            data_type: pb::tensor_proto::DataType::Float as i32,
            raw_data: data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ..Default::default()
        });
        Value(name)
    }

    fn integers(&mut self, data: &[i64]) -> Value {
        let name = self.name("i");
        self.graph.initializer.push(pb::TensorProto {
            name: name.clone(),
            dims: vec![data.len() as i64],
            data_type: pb::tensor_proto::DataType::Int64 as i32,
            raw_data: data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ..Default::default()
        });
        Value(name)
    }

    /// A 2-D convolution.
    pub fn conv(&mut self, x: &Value, c: &ConvWeights) -> Value {
        let weight = self.constant(&c.shape, &c.weight);
        let bias = self.constant(&[c.shape[0]], &c.bias);
        let (s, g, k) = (c.stride as i64, c.groups as i64, c.shape[2] as i64);
        let [before, after] = c.padding.map(|p| p as i64);
        let attributes = vec![
            ints("kernel_shape", &[k, k]),
            ints("strides", &[s, s]),
            ints("pads", &[before, before, after, after]),
            int("group", g),
        ];
        self.node("Conv", &[x, &weight, &bias], attributes)
    }

    /// `max(x, 0)`.
    pub fn relu(&mut self, x: &Value) -> Value {
        self.node("Relu", &[x], vec![])
    }

    /// Logistic function.
    pub fn sigmoid(&mut self, x: &Value) -> Value {
        self.node("Sigmoid", &[x], vec![])
    }

    /// Elementwise square root.
    pub fn sqrt(&mut self, x: &Value) -> Value {
        self.node("Sqrt", &[x], vec![])
    }

    /// Elementwise magnitude.
    pub fn abs(&mut self, x: &Value) -> Value {
        self.node("Abs", &[x], vec![])
    }

    /// Natural logarithm.
    pub fn log(&mut self, x: &Value) -> Value {
        self.node("Log", &[x], vec![])
    }

    /// Sum, with broadcasting.
    pub fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Add", &[a, b], vec![])
    }

    /// Difference, with broadcasting.
    pub fn sub(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Sub", &[a, b], vec![])
    }

    /// Product, with broadcasting.
    pub fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Mul", &[a, b], vec![])
    }

    /// Quotient, with broadcasting.
    pub fn div(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Div", &[a, b], vec![])
    }

    /// `x + scalar`; `rank` is `x`'s, so that engines need not guess a broadcast.
    pub fn add_scalar(&mut self, x: &Value, scalar: f32, rank: usize) -> Value {
        let c = self.constant(&vec![1; rank], &[scalar]);
        self.add(x, &c)
    }

    /// `x * scalar`.
    pub fn mul_scalar(&mut self, x: &Value, scalar: f32, rank: usize) -> Value {
        let c = self.constant(&vec![1; rank], &[scalar]);
        self.mul(x, &c)
    }

    /// `max(x, scalar)`.
    pub fn max_scalar(&mut self, x: &Value, scalar: f32, rank: usize) -> Value {
        let c = self.constant(&vec![1; rank], &[scalar]);
        self.node("Max", &[x, &c], vec![])
    }

    /// Matrix product over the last two axes.
    pub fn matmul(&mut self, a: &Value, b: &Value) -> Value {
        self.node("MatMul", &[a, b], vec![])
    }

    /// Softmax over the last axis (the only one that tract runs fast).
    pub fn softmax_last(&mut self, x: &Value) -> Value {
        self.node("Softmax", &[x], vec![int("axis", -1)])
    }

    /// Concatenation.
    pub fn concat(&mut self, parts: &[&Value], axis: i64) -> Value {
        self.node("Concat", parts, vec![int("axis", axis)])
    }

    /// New shape, same order.
    pub fn reshape(&mut self, x: &Value, shape: &[usize]) -> Value {
        let shape: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
        let shape = self.integers(&shape);
        self.node("Reshape", &[x, &shape], vec![])
    }

    /// Axes in a new order.
    pub fn transpose(&mut self, x: &Value, order: &[i64]) -> Value {
        self.node("Transpose", &[x], vec![ints("perm", order)])
    }

    /// `x[.., from..to, ..]` along `axis`.
    pub fn slice(&mut self, x: &Value, axis: i64, from: usize, to: usize) -> Value {
        let starts = self.integers(&[from as i64]);
        let ends = self.integers(&[to as i64]);
        let axes = self.integers(&[axis]);
        self.node("Slice", &[x, &starts, &ends, &axes], vec![])
    }

    /// Sum over `axis`, which stays with extent 1.
    pub fn sum_axis(&mut self, x: &Value, axis: i64) -> Value {
        let axes = self.integers(&[axis]);
        self.node("ReduceSum", &[x, &axes], vec![int("keepdims", 1)])
    }

    /// Mean over `axes`, which stay with extent 1.
    pub fn mean_axes(&mut self, x: &Value, axes: &[i64]) -> Value {
        self.node("ReduceMean", &[x], vec![ints("axes", axes), int("keepdims", 1)])
    }

    /// `x * sigmoid(x)`, known as swish and SiLU.
    pub fn silu(&mut self, x: &Value) -> Value {
        let gate = self.sigmoid(x);
        self.mul(x, &gate)
    }

    /// Every pixel of a `[1, c, h, w]` map four times, as a map of twice the size.
    pub fn nearest_twice(&mut self, x: &Value, [c, h, w]: [usize; 3]) -> Value {
        let column = self.reshape(x, &[1, c, h, w, 1]);
        let wide = self.concat(&[&column, &column], 4);
        let row = self.reshape(&wide, &[1, c, h, 1, 2 * w]);
        let both = self.concat(&[&row, &row], 3);
        self.reshape(&both, &[1, c, 2 * h, 2 * w])
    }

    /// Maximum over `axis`, which stays with extent 1.
    pub fn max_axis(&mut self, x: &Value, axis: i64) -> Value {
        self.node("ReduceMax", &[x], vec![ints("axes", &[axis]), int("keepdims", 1)])
    }

    /// The file's bytes.
    pub fn finish(self) -> Vec<u8> {
        let model = pb::ModelProto {
            ir_version: IR_VERSION,
            opset_import: vec![pb::OperatorSetIdProto { domain: String::new(), version: OPSET }],
            producer_name: "touchstone-tools".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(self.graph),
            ..Default::default()
        };
        model.encode_to_vec()
    }

    fn name(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}{}", self.next)
    }

    /// Any operator of one output.
    pub(super) fn node(
        &mut self,
        op: &str,
        inputs: &[&Value],
        attributes: Vec<pb::AttributeProto>,
    ) -> Value {
        let output = self.name(&format!("{}_", op.to_lowercase()));
        self.graph.node.push(pb::NodeProto {
            input: inputs.iter().map(|v| v.0.clone()).collect(),
            output: vec![output.clone()],
            name: output.clone(),
            op_type: op.into(),
            attribute: attributes,
            ..Default::default()
        });
        Value(output)
    }
}

pub(super) fn ints(name: &str, values: &[i64]) -> pb::AttributeProto {
    pb::AttributeProto {
        name: name.into(),
        ints: values.to_vec(),
        r#type: pb::attribute_proto::AttributeType::Ints as i32,
        ..Default::default()
    }
}

pub(crate) fn int(name: &str, value: i64) -> pb::AttributeProto {
    pb::AttributeProto {
        name: name.into(),
        i: value,
        r#type: pb::attribute_proto::AttributeType::Int as i32,
        ..Default::default()
    }
}

fn value_info(name: &str, shape: &[usize]) -> pb::ValueInfoProto {
    use pb::tensor_shape_proto::{Dimension, dimension};
    let dim = shape
        .iter()
        .map(|&d| Dimension {
            value: Some(dimension::Value::DimValue(d as i64)),
            ..Default::default()
        })
        .collect();
    let tensor = pb::type_proto::Tensor {
        elem_type: pb::tensor_proto::DataType::Float as i32,
        shape: Some(pb::TensorShapeProto { dim }),
    };
    pb::ValueInfoProto {
        name: name.into(),
        r#type: Some(pb::TypeProto {
            value: Some(pb::type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}
