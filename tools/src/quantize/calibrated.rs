//! A package in 8 bits: ranges seen on pictures of good parts, what each layer loses, and the packages' files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use touchstone_models::package::{MAP_OUTPUT, ModelPackage, Precision, Side};
use touchstone_models::picture::Picture;
use touchstone_models::preprocess::Preprocessor;
use touchstone_models::recipe::Tiles;
use touchstone_models::tensor::Tensor;

use super::graph::Graph;
use super::int8::{Form, Layer, layers, quantized, tensors};
use super::ranges::{EightBits, Method, Seen};
use super::report::{Lost, Report};
use super::running::Running;
use super::{For, graphs, put, write};

/// Pictures that ranges are seen on.
const PICTURES_MAX: usize = 64;
/// Pictures that losses are measured on: one layer after the other is tried.
const MEASURED: usize = 8;
/// Names of the graphs in reports.
const GRAPHS: [&str; 2] = ["encode", "segment"];
const SUFFIXES: [&str; 3] = ["png", "jpg", "jpeg"];

/// What is wished of 8 bits.
#[derive(Clone, Debug)]
pub struct Wish {
    /// How ranges are chosen.
    pub method: Method,
    /// Layers that stay in float.
    pub float: BTreeSet<String>,
    /// So many more, those that lose most.
    pub float_layers: usize,
    /// Who runs it.
    pub engine: For,
}

/// `package` with convolutions of 8 bits in `out`, with `sensitivity.md` and `sensitivity.svg` beside it.
///
/// # Errors
/// Fewer than two pictures, one that cannot be read, a layer that there is not, or the folder cannot be written.
pub fn in_int8(
    package: &ModelPackage,
    pictures: &Path,
    wish: &Wish,
    out: &Path,
) -> Result<ModelPackage> {
    let float = graphs(package)?;
    let files = pictures_in(pictures)?;
    ensure!(files.len() > 1, "{} has {} pictures; two are needed", pictures.display(), files.len());
    let samples = samples(package, &float, &files)?;
    let known: BTreeSet<String> = float
        .iter()
        .zip(GRAPHS)
        .flat_map(|(graph, of)| {
            layers(graph, &BTreeSet::new()).into_iter().map(move |l| full(of, &l))
        })
        .collect();
    if let Some(unknown) = wish.float.difference(&known).next() {
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        bail!("no layer is called '{unknown}'; there are {}", names.join(", "));
    }
    let form = match wish.engine {
        For::Tract => Form::AsRead,
        // What is lost is the same, and tract can run it.
        For::Ort => Form::Simulated,
    };
    let mut report = Report { pictures: files.len(), method: wish.method, ..Report::default() };
    let seen: Vec<BTreeMap<String, Seen>> = float
        .iter()
        .zip(&samples)
        .map(|(graph, samples)| see(graph, samples))
        .collect::<Result<_>>()?;
    let judges: Vec<Judge<'_>> = float
        .iter()
        .zip(&samples)
        .map(|(graph, samples)| Judge::new(graph, &samples[..samples.len().min(MEASURED)], form))
        .collect::<Result<_>>()?;
    for ((graph, judge), (seen, name)) in float.iter().zip(&judges).zip(seen.iter().zip(GRAPHS)) {
        let all = layers(graph, &own(&wish.float, name));
        let ranges = chosen(seen, wish.method);
        for layer in all.iter().filter(|layer| layer.weights.is_some()) {
            let lost = judge.lost(std::slice::from_ref(layer), &ranges)?;
            report.layers.push(Lost { layer: full(name, layer), weights: layer.weights, lost });
        }
        for method in [Method::MinMax, Method::Percentile, Method::Mse] {
            report.methods.push((name, method, judge.lost(&all, &chosen(seen, method))?));
        }
    }
    let mut stays = wish.float.clone();
    let mut worst: Vec<&Lost> = report.layers.iter().collect();
    worst.sort_by(|a, b| b.lost.total_cmp(&a.lost));
    stays.extend(worst.iter().take(wish.float_layers).map(|lost| lost.layer.clone()));
    let written = match wish.engine {
        For::Tract => Form::AsRead,
        For::Ort => Form::Qdq,
    };
    let mut made = Vec::new();
    for ((graph, judge), (seen, name)) in float.iter().zip(&judges).zip(seen.iter().zip(GRAPHS)) {
        let (left, ranges) = (layers(graph, &own(&stays, name)), chosen(seen, wish.method));
        report.left.push((name, judge.lost(&left, &ranges)?));
        made.push(quantized(graph, &left, &ranges, written)?);
    }
    report.float = stays;
    let Ok(made) = <[Graph; 2]>::try_from(made) else { bail!("not two graphs") };
    let package = write(package, &made, Precision::Int8, wish.engine, out)?;
    put(&out.join("sensitivity.md"), report.table().as_bytes())?;
    put(&out.join("sensitivity.svg"), report.svg().as_bytes())?;
    Ok(package)
}

/// A layer's name beside those of the other graph.
fn full(graph: &str, layer: &Layer) -> String {
    format!("{graph}.{}", layer.name)
}

/// Those of `names` that are of one graph, as it calls them.
fn own(names: &BTreeSet<String>, graph: &str) -> BTreeSet<String> {
    let own = names.iter().filter_map(|name| name.strip_prefix(graph)?.strip_prefix('.'));
    own.map(str::to_owned).collect()
}

/// Up to [`PICTURES_MAX`] pictures of a folder, by name.
fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let is_picture = |file: &PathBuf| {
        let suffix = file.extension().map(|s| s.to_string_lossy().to_lowercase());
        suffix.is_some_and(|s| SUFFIXES.contains(&s.as_str()))
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(is_picture).collect();
    files.sort();
    files.truncate(PICTURES_MAX);
    Ok(files)
}

/// Inputs of one run.
type Sample = Vec<Tensor>;

/// What both graphs are run on: each picture, and each picture beside the one before it as its prompt.
fn samples(
    package: &ModelPackage,
    graphs: &[Graph; 2],
    files: &[PathBuf],
) -> Result<[Vec<Sample>; 2]> {
    let mut preprocessor = Preprocessor::new(&package.card().input);
    let mut encode = Running::new(&graphs[0], &BTreeSet::new())?;
    let (mut images, mut features) = (Vec::new(), Vec::new());
    for file in files {
        let picture = Picture::open(file).map_err(|e| anyhow!("{}: {e}", file.display()))?;
        preprocessor.load(&picture, None, Tiles::ONE, None).map_err(|e| anyhow!("{e}"))?;
        let mut image = Tensor::default();
        preprocessor.tile(0, &mut image);
        features.push(encode.run(&[&image])?);
        images.push(vec![image]);
    }
    let inputs = package.card().segment_inputs().map_err(|e| anyhow!("{e}"))?;
    // The first beside the last.
    let before = features.iter().cycle().skip(features.len() - 1);
    let pairs = features.iter().zip(before).map(|(query, prompt)| {
        let of = |side: Side, index: usize| match side {
            Side::Query => query[index].clone(),
            Side::Prompt => prompt[index].clone(),
        };
        inputs.iter().map(|input| of(input.side, input.index)).collect()
    });
    let pairs = pairs.collect();
    Ok([images, pairs])
}

fn refs(sample: &Sample) -> Vec<&Tensor> {
    sample.iter().collect()
}

/// What flows between the layers of a graph.
fn see(graph: &Graph, samples: &[Sample]) -> Result<BTreeMap<String, Seen>> {
    let names = tensors(&layers(graph, &BTreeSet::new()));
    let own = graph.inner().output.len();
    let mut running = Running::new(graph, &names)?;
    let mut seen: BTreeMap<String, Seen> =
        names.iter().map(|name| (name.clone(), Seen::default())).collect();
    // The range first, then the bins over it.
    for look in [Seen::widen, Seen::count] {
        for sample in samples {
            let given = running.run(&refs(sample))?;
            for (seen, tensor) in seen.values_mut().zip(&given[own..]) {
                look(seen, &tensor.data);
            }
        }
    }
    Ok(seen)
}

fn chosen(seen: &BTreeMap<String, Seen>, method: Method) -> BTreeMap<String, EightBits> {
    seen.iter().map(|(name, seen)| (name.clone(), seen.eight_bits(method))).collect()
}

/// Says what 8 bits lose of a graph's outputs.
struct Judge<'a> {
    graph: &'a Graph,
    samples: &'a [Sample],
    form: Form,
    /// Outputs that count.
    outputs: Vec<usize>,
    expected: Vec<Vec<Tensor>>,
}

impl<'a> Judge<'a> {
    fn new(graph: &'a Graph, samples: &'a [Sample], form: Form) -> Result<Judge<'a>> {
        let mut running = Running::new(graph, &BTreeSet::new())?;
        let expected = samples.iter().map(|sample| running.run(&refs(sample)));
        let expected = expected.collect::<Result<_>>()?;
        let names: Vec<&str> = graph.inner().output.iter().map(|o| o.name.as_str()).collect();
        // Of the segment graph the map; the nearest-neighbour map has no convolution before it.
        let outputs = match names.iter().position(|name| *name == MAP_OUTPUT) {
            Some(map) => vec![map],
            None => (0..names.len()).collect(),
        };
        Ok(Judge { graph, samples, form, outputs, expected })
    }

    /// Error over value, root mean squares, of the output that loses most.
    fn lost(&self, layers: &[Layer], ranges: &BTreeMap<String, EightBits>) -> Result<f64> {
        let graph = quantized(self.graph, layers, ranges, self.form)?;
        let mut running = Running::new(&graph, &BTreeSet::new())?;
        let mut sums = vec![(0.0, 0.0); self.outputs.len()];
        for (sample, expected) in self.samples.iter().zip(&self.expected) {
            let given = running.run(&refs(sample))?;
            for (sum, index) in sums.iter_mut().zip(&self.outputs) {
                for (a, b) in given[*index].data.iter().zip(&expected[*index].data) {
                    sum.0 += f64::from(a - b).powi(2);
                    sum.1 += f64::from(*b).powi(2);
                }
            }
        }
        let share = |(error, value): &(f64, f64)| (error / value.max(f64::MIN_POSITIVE)).sqrt();
        Ok(sums.iter().map(share).fold(0.0, f64::max))
    }
}
