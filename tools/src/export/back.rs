//! The way back: a package of our own as the network that it was written from, so that training can go on where only
//! the package is at hand.
//!
//! No table says which tensor of a graph is which weight. A network of the same widths whose weights are their own
//! numbers, 1, 2, 3 and so on, is written as a graph in the place of one: what lies where says where everything lies,
//! however the writer and tract turn and cut it. Whatever else differs makes it another graph, and that is refused.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use touchstone_models::package::{ModelPackage, Precision};
use tract_nnef::ast::{Assignment, Literal, ProtoModel, RValue};
use tract_nnef::internal::Framework as _;

use super::graphs::{self, Sizes};
use super::nnef;
use crate::net::NetConfig;
use crate::net::oneprompt::OnePromptNet;

/// Weights are numbered in f32, which counts no further.
const NUMBERS_MAX: usize = 1 << 24;
/// What the three scalars of the alignment are in the numbered graphs, where they are exponentials: no whole numbers.
const MARKS: [f32; 3] = [1009.5, 2003.5, 3001.5];
/// How far a logarithm and an exponential in f32 may move a mark, as a share: less than to the next whole number.
const MARK_SLACK: f32 = 1e-5;

/// The network of a package in f32 with an encoder of the family, and its widths.
///
/// # Errors
/// The package cannot be read, or its graphs are not those that this version writes for a member of the family.
pub fn network(package: &ModelPackage, device: &Device) -> Result<(NetConfig, OnePromptNet)> {
    let (card, place) = (package.card(), package.dir().display());
    ensure!(
        card.precision == Precision::F32,
        "{place}: training goes on from a package in f32, this one is in {:?}; its `training.commands` name the \
         package that it was made of",
        card.precision
    );
    let files = [package.encode_file(), package.segment_file()];
    let given = [read(&files[0])?, read(&files[1])?];
    for net in NetConfig::family() {
        let sizes = Sizes { input: card.input.width as usize, net };
        if sizes.encode_outputs() != card.encode.outputs {
            continue;
        }
        if let Some(weights) = Numbered::of(&sizes)?.find(&given)? {
            return Ok((net, weights.into_net(&net, device)));
        }
    }
    bail!(
        "{place}: its graphs are not those that this version writes for one of its own networks; a package with an \
         imported encoder, or of an older version, goes on from its training run"
    )
}

fn read(path: &Path) -> Result<ProtoModel> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    proto(&mut file).with_context(|| path.display().to_string())
}

fn proto(bytes: &mut dyn std::io::Read) -> Result<ProtoModel> {
    tract_nnef::nnef().proto_model_for_read(bytes).map_err(|e| anyhow!("no NNEF graph: {e:#}"))
}

/// Graphs of a network whose weights are their own numbers.
struct Numbered {
    graphs: [ProtoModel; 2],
    count: usize,
    /// Which weights the marked scalars are.
    scalars: [usize; 3],
}

impl Numbered {
    fn of(sizes: &Sizes) -> Result<Numbered> {
        let device = Device::flex();
        let model = OnePromptNet::new(&sizes.net, &device);
        let count = model.num_params();
        let mut model = model.map(&mut Fill((1..=count).map(|number| number as f32)));
        ensure!(count < NUMBERS_MAX, "a network of {count} weights is too large to be numbered");
        let align = &mut model.head.align;
        let places = [&mut align.log_t16, &mut align.log_t8, &mut align.log_var];
        let mut scalars = [0; 3];
        for ((param, mark), scalar) in places.into_iter().zip(MARKS).zip(&mut scalars) {
            *scalar = param.val().into_scalar::<f32>() as usize - 1;
            *param = Param::from_tensor(Tensor::from_floats([mark.ln()], &device));
        }
        let (encode, segment) = graphs::build(&model, sizes)?;
        let graph = |onnx: &[u8], name| proto(&mut nnef::from_onnx(onnx, name)?.as_slice());
        Ok(Numbered {
            graphs: [graph(&encode, "encode")?, graph(&segment, "segment")?],
            count,
            scalars,
        })
    }

    /// The weights of graphs that are otherwise the same; `None` if they are others.
    fn find(&self, given: &[ProtoModel; 2]) -> Result<Option<Weights>> {
        let mut found = vec![None; self.count];
        for (ours, theirs) in self.graphs.iter().zip(given) {
            if !self.lines(ours, theirs, &mut found) || !tensors(ours, theirs, &mut found)? {
                return Ok(None);
            }
        }
        Ok(found.into_iter().collect::<Option<_>>().map(Weights))
    }

    /// Compares the text of two graphs, and finds the scalars in it.
    fn lines(&self, ours: &ProtoModel, theirs: &ProtoModel, found: &mut [Option<f32>]) -> bool {
        let body = |graph: &'_ ProtoModel| graph.doc.graph_def.body.len();
        if body(ours) != body(theirs) {
            return false;
        }
        let lines = ours.doc.graph_def.body.iter().zip(&theirs.doc.graph_def.body);
        lines.into_iter().all(|(ours, theirs)| {
            if ours == theirs {
                return true;
            }
            let (Some(numbers), Some(values)) = (constants(ours), constants(theirs)) else {
                return false;
            };
            ours.left == theirs.left
                && numbers.len() == values.len()
                && numbers.into_iter().zip(values).all(|pair| self.constant(pair, found))
        })
    }

    /// Takes down what a number in the text stands for: a scalar, or a weight of a small tensor.
    fn constant(&self, (number, value): (f32, f32), found: &mut [Option<f32>]) -> bool {
        let near = |mark: &f32| (number / mark - 1.0).abs() < MARK_SLACK;
        match MARKS.iter().position(near) {
            Some(which) => put(found, self.scalars[which] + 1, value.ln()),
            None => number.fract() == 0.0 && put(found, number as usize, value),
        }
    }
}

/// Takes down the weight of a number; false if there is none of it, or it is known already.
fn put(found: &mut [Option<f32>], number: usize, value: f32) -> bool {
    match number.checked_sub(1).and_then(|i| found.get_mut(i)) {
        Some(place @ None) => {
            *place = Some(value);
            true
        }
        _ => false,
    }
}

/// The numbers of a line that says nothing else.
fn constants(line: &Assignment) -> Option<Vec<f32>> {
    fn gather(value: &RValue, numbers: &mut Vec<f32>) -> Option<()> {
        match value {
            RValue::Array(inner) => inner.iter().try_for_each(|value| gather(value, numbers)),
            RValue::Literal(Literal::Numeric(text)) => {
                numbers.push(text.parse().ok()?);
                Some(())
            }
            _ => None,
        }
    }
    let mut numbers = Vec::new();
    gather(&line.right, &mut numbers)?;
    Some(numbers)
}

/// Finds the weights in the tensors of two graphs of one text. Tensors that are the same are no weights.
fn tensors(ours: &ProtoModel, theirs: &ProtoModel, found: &mut [Option<f32>]) -> Result<bool> {
    if ours.tensors.len() != theirs.tensors.len() {
        return Ok(false);
    }
    for (label, numbers) in &ours.tensors {
        let Some(values) = theirs.tensors.get(label) else { return Ok(false) };
        if values == numbers {
            continue;
        }
        let read = |t: &tract_nnef::internal::Tensor| -> Result<Vec<f32>> {
            let view = t.to_plain_array_view::<f32>().map_err(|e| anyhow!("{label:?}: {e:#}"))?;
            Ok(view.iter().copied().collect())
        };
        if values.shape() != numbers.shape() || values.datum_type() != numbers.datum_type() {
            return Ok(false);
        }
        let mut both = read(numbers)?.into_iter().zip(read(values)?);
        if !both.all(|(number, value)| number.fract() == 0.0 && put(found, number as usize, value))
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// All weights in the order of the module.
struct Weights(Vec<f32>);

impl Weights {
    fn into_net(self, net: &NetConfig, device: &Device) -> OnePromptNet {
        OnePromptNet::new(net, device).map(&mut Fill(self.0.into_iter()))
    }
}

/// Gives a module these weights, in its order.
struct Fill<I>(I);

impl<I: Iterator<Item = f32>> ModuleMapper for Fill<I> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = param.val();
        let dims = value.dims();
        let numbers: Vec<f32> = self.0.by_ref().take(dims.iter().product()).collect();
        Param::from_tensor(Tensor::from_data(TensorData::new(numbers, dims), &value.device()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 64;

    /// Graphs of fresh weights of a seed.
    fn written(seed: u64) -> [Vec<u8>; 2] {
        let device = Device::flex();
        device.seed(seed);
        let mut model = OnePromptNet::new(&NetConfig::TINY, &device);
        // Trained ones are never alike; two that are would be written as one.
        let align = &mut model.head.align;
        for (i, scalar) in
            [&mut align.log_t16, &mut align.log_t8, &mut align.log_var].into_iter().enumerate()
        {
            let value = [(seed + 3) as f32 * 0.37 + i as f32 * 0.21];
            *scalar = Param::from_tensor(Tensor::from_floats(value, &device));
        }
        of(&model)
    }

    fn of(model: &OnePromptNet) -> [Vec<u8>; 2] {
        let sizes = Sizes { input: SIDE, net: NetConfig::TINY };
        let (encode, segment) = graphs::build(model, &sizes).unwrap();
        [("encode", encode), ("segment", segment)]
            .map(|(name, onnx)| nnef::from_onnx(&onnx, name).unwrap())
    }

    fn read_both(graphs: &[Vec<u8>; 2]) -> [ProtoModel; 2] {
        graphs.each_ref().map(|bytes| proto(&mut bytes.as_slice()).unwrap())
    }

    /// Everything that a graph says, but for the last bits of what went through a logarithm.
    fn same(a: &ProtoModel, b: &ProtoModel) -> bool {
        let mut lines = a.doc.graph_def.body.iter().zip(&b.doc.graph_def.body);
        let near = |(a, b): (&Assignment, &Assignment)| match (constants(a), constants(b)) {
            (Some(x), Some(y)) => x.iter().zip(&y).all(|(x, y)| (x - y).abs() <= 1e-6 * x.abs()),
            _ => a == b,
        };
        lines.all(near)
            && a.tensors.len() == b.tensors.len()
            && a.tensors.iter().all(|(label, tensor)| b.tensors.get(label) == Some(tensor))
    }

    #[test]
    fn a_network_comes_back_from_its_graphs() {
        let sizes = Sizes { input: SIDE, net: NetConfig::TINY };
        let numbered = Numbered::of(&sizes).unwrap();
        for seed in [1, 2] {
            let graphs = read_both(&written(seed));
            let weights = numbered.find(&graphs).unwrap().expect("its own graphs");
            let again = read_both(&of(&weights.into_net(&NetConfig::TINY, &Device::flex())));
            assert!(graphs.iter().zip(&again).all(|(a, b)| same(a, b)), "seed {seed}");
        }
        let (one, other) = (read_both(&written(1)), read_both(&written(2)));
        assert!(!same(&one[0], &other[0]) && !same(&one[1], &other[1]));
    }

    /// Training goes on from what is shipped.
    #[test]
    fn shipped_packages_come_back() {
        let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/weights");
        let shipped = [
            ("oneprompt-s", NetConfig::S),
            ("oneprompt-m", NetConfig::M),
            ("oneprompt-l", NetConfig::L),
        ];
        for (name, net) in shipped {
            let package = ModelPackage::open(&weights.join(name)).unwrap();
            let (found, model) = network(&package, &Device::flex()).unwrap();
            assert_eq!(found, net);
            let sizes = Sizes { input: package.card().input.width as usize, net };
            let (encode, segment) = graphs::build(&model, &sizes).unwrap();
            let files = [package.encode_file(), package.segment_file()];
            for ((graph, onnx), file) in
                ["encode", "segment"].into_iter().zip([encode, segment]).zip(files)
            {
                let again = nnef::from_onnx(&onnx, graph).unwrap();
                assert!(
                    same(&read(&file).unwrap(), &proto(&mut again.as_slice()).unwrap()),
                    "{name} {graph}"
                );
            }
        }
    }

    #[test]
    fn other_graphs_are_told() {
        let numbered = Numbered::of(&Sizes { input: SIDE, net: NetConfig::TINY }).unwrap();
        let graphs = read_both(&written(1));
        let refused = |change: &dyn Fn(&mut ProtoModel)| {
            (0..2).all(|which| {
                let mut changed = graphs.clone();
                change(&mut changed[which]);
                numbered.find(&changed).unwrap().is_none()
            })
        };
        assert!(refused(&|g| drop(g.doc.graph_def.body.pop())));
        assert!(refused(&|g| g.doc.graph_def.body.swap(3, 4)));
        assert!(refused(&|g| {
            let label = g.tensors.keys().min_by_key(|label| label.0.clone()).cloned().unwrap();
            g.tensors.remove(&label);
        }));
        let swapped = [graphs[1].clone(), graphs[0].clone()];
        assert!(numbered.find(&swapped).unwrap().is_none());
        assert!(numbered.find(&graphs).unwrap().is_some());
    }
}
