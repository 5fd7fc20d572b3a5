//! Somebody's ONNX graph: looked at, and cut down to what some of its tensors need.

mod file;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use prost::Message;
use tract_core::internal::DimLike;
use tract_core::prelude::*;
use tract_onnx::pb;
use tract_onnx::pb::type_proto::Value;
use tract_onnx::prelude::{InferenceFact, InferenceModel, InferenceModelExt};
use tract_onnx::tract_hir::infer::Factoid;

/// An ONNX graph that takes one picture and nothing else.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The file but for its graph: versions of the operators.
    frame: pb::ModelProto,
    graph: pb::GraphProto,
    /// Name of the input.
    image: String,
}

/// A tensor of floating-point numbers in the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its extents.
    pub shape: Vec<usize>,
}

impl Graph {
    /// Reads an ONNX file, with the files beside it in which it may keep its weights.
    ///
    /// # Errors
    /// A file cannot be read, is damaged, or takes something else than one picture.
    pub fn open(path: &Path) -> Result<Graph> {
        file::read(path).and_then(Graph::of)
    }

    /// Parses a graph whose weights are all within.
    ///
    /// # Errors
    /// As [`Graph::open`].
    pub fn parse(onnx: &[u8]) -> Result<Graph> {
        file::decode(onnx).and_then(Graph::of)
    }

    fn of(mut frame: pb::ModelProto) -> Result<Graph> {
        let graph = frame.graph.take().filter(|g| !g.node.is_empty());
        let graph = graph.context("it holds no graph: no ONNX file, or a damaged one")?;
        // Old exporters list the weights among the inputs.
        let weights: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        let inputs: Vec<&pb::ValueInfoProto> =
            graph.input.iter().filter(|i| !weights.contains(i.name.as_str())).collect();
        let [image] = inputs[..] else {
            let names: Vec<&str> = inputs.iter().map(|i| i.name.as_str()).collect();
            bail!(
                "it takes {} inputs ({}); an encoder takes one, the picture",
                names.len(),
                names.join(", ")
            );
        };
        check_picture(image)?;
        let image = image.name.clone();
        Ok(Graph { frame, graph, image })
    }

    /// Names of the graph's own outputs.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.graph.output.iter().map(|o| o.name.as_str())
    }

    /// The tensor that somebody means by `name`: a tensor's own name, or that of the node that
    /// makes it (viewers show both).
    pub fn resolve(&self, name: &str) -> Option<&str> {
        let made = || self.graph.node.iter().flat_map(|n| &n.output);
        let node = || self.graph.node.iter().find(|n| n.name == name)?.output.first();
        made().find(|o| *o == name).or_else(node).map(String::as_str)
    }

    /// The graph that gives the tensors `names`, in this order, and holds nothing else: a head
    /// with operators that tract lacks is then no obstacle.
    ///
    /// # Errors
    /// Some do not depend on the picture.
    pub fn cut(&self, names: &[&str]) -> Result<Graph> {
        let nodes = &self.graph.node;
        let makers: HashMap<&str, usize> = nodes
            .iter()
            .enumerate()
            .flat_map(|(index, node)| node.output.iter().map(move |o| (o.as_str(), index)))
            .collect();
        let mut wanted: Vec<&str> = names.to_vec();
        let (mut needed, mut kept) = (HashSet::new(), BTreeSet::new());
        while let Some(name) = wanted.pop() {
            let fresh = needed.insert(name);
            if let Some(&index) = makers.get(name)
                && fresh
                && kept.insert(index)
            {
                wanted.extend(reads(&nodes[index]));
            }
        }
        ensure!(
            needed.contains(self.image.as_str()),
            "{} do not depend on the input '{}'",
            names.join(", "),
            self.image
        );
        let mut graph = pb::GraphProto {
            name: self.graph.name.clone(),
            node: kept.into_iter().map(|index| nodes[index].clone()).collect(),
            output: names.iter().map(|name| float_map(name)).collect(),
            ..Default::default()
        };
        // Exporters leave the traces of their Python code here.
        graph.node.iter_mut().for_each(|n| n.doc_string.clear());
        let weights = self.graph.initializer.iter().filter(|t| needed.contains(t.name.as_str()));
        graph.initializer = weights.cloned().collect();
        let inputs = self.graph.input.iter().filter(|i| i.name == self.image);
        graph.input = inputs.cloned().collect();
        Ok(Graph { frame: self.frame.clone(), graph, image: self.image.clone() })
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.whole().encode_to_vec()
    }

    fn whole(&self) -> pb::ModelProto {
        pb::ModelProto { graph: Some(self.graph.clone()), ..self.frame.clone() }
    }

    /// The graph for one square picture of `size` pixels.
    ///
    /// # Errors
    /// tract lacks an operator, or the shapes do not fit that size.
    pub fn typed(&self, size: usize) -> Result<TypedModel> {
        let mut model = self.inference(size)?;
        model
            .analyse(false)
            .and_then(|_| model.into_typed())
            .and_then(|m| m.into_decluttered())
            .map_err(|e| anyhow!("tract cannot run the graph: {e:#}"))
    }

    /// Every tensor of floating-point numbers whose shape can be told for a picture of `size`
    /// pixels, in the graph's order. Helps a person to choose, so what cannot be told is left out.
    pub fn tensors(&self, size: usize) -> Vec<Found> {
        let Ok(mut model) = self.inference(size) else { return Vec::new() };
        // What lies before the first failure is known all the same.
        let _ = model.analyse(true);
        let outlets = model.nodes().iter().flat_map(|node| {
            (0..node.outputs.len()).map(|slot| (OutletId::new(node.id, slot), &node.outputs[slot]))
        });
        let found = outlets.filter_map(|(outlet, output)| {
            let name = model.outlet_label(outlet)?.to_owned();
            let fact = &output.fact;
            let float = fact.datum_type.concretize() == Some(f32::datum_type());
            let dims = fact.shape.concretize().filter(|_| float)?;
            let shape: Option<Vec<usize>> = dims.iter().map(|d| d.to_usize().ok()).collect();
            Some(Found { name, shape: shape? })
        });
        found.collect()
    }

    fn inference(&self, size: usize) -> Result<InferenceModel> {
        // Shapes in the file are of the size that it was exported at.
        let onnx = tract_onnx::onnx().with_ignore_value_info(true);
        let parsed = onnx
            .parse(&self.whole(), None)
            .map_err(|e| anyhow!("tract cannot read the graph: {e:#}"))?;
        ensure!(
            parsed.unresolved_inputs.is_empty(),
            "the graph reads tensors that nothing makes: {}",
            parsed.unresolved_inputs.join(", ")
        );
        let mut model = parsed.model;
        let fact = InferenceFact::dt_shape(f32::datum_type(), [1, 3, size, size]);
        let image = model.input_outlets().map_err(|e| anyhow!("{e:#}"))?.to_vec();
        for outlet in image {
            model.set_outlet_fact(outlet, fact.clone()).map_err(|e| anyhow!("{e:#}"))?;
        }
        Ok(model)
    }
}

/// The input must be able to be f32 `[1, 3, height, width]`.
fn check_picture(input: &pb::ValueInfoProto) -> Result<()> {
    let Some(Value::TensorType(tensor)) = input.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        bail!("its input '{}' is no tensor", input.name);
    };
    let kind = pb::tensor_proto::DataType::try_from(tensor.elem_type).ok();
    let name = &input.name;
    ensure!(
        kind == Some(pb::tensor_proto::DataType::Float),
        "its input '{name}' is of {}; export it for 32-bit floating point",
        kind.map_or("an unknown type", |k| k.as_str_name())
    );
    let Some(shape) = &tensor.shape else { return Ok(()) };
    let fixed = |axis: usize| match shape.dim.get(axis)?.value {
        Some(pb::tensor_shape_proto::dimension::Value::DimValue(v)) => Some(v),
        _ => None,
    };
    ensure!(
        shape.dim.len() == 4 && fixed(0).unwrap_or(1) == 1 && fixed(1).unwrap_or(3) == 3,
        "its input '{name}' has {} axes of which the first two are {:?}; [1, 3, height, width] is \
         needed, RGB",
        shape.dim.len(),
        [fixed(0), fixed(1)]
    );
    Ok(())
}

/// Everything that a node reads, its subgraphs included. Of those' own tensors the names come
/// along; nothing outside is called like them.
fn reads(node: &pb::NodeProto) -> Vec<&str> {
    let inner = node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs));
    let inner = inner.flat_map(|g| {
        let outputs = g.output.iter().map(|o| o.name.as_str());
        g.node.iter().flat_map(reads).chain(outputs)
    });
    node.input.iter().map(String::as_str).filter(|n| !n.is_empty()).chain(inner).collect()
}

fn float_map(name: &str) -> pb::ValueInfoProto {
    let elem_type = pb::tensor_proto::DataType::Float as i32;
    let tensor = pb::type_proto::Tensor { elem_type, shape: None };
    let r#type =
        Some(pb::TypeProto { value: Some(Value::TensorType(tensor)), ..Default::default() });
    pb::ValueInfoProto { name: name.into(), r#type, ..Default::default() }
}
