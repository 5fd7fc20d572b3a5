//! A file of named weights, read in full: whoever takes a network from it takes every tensor, or
//! says why not.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use half::{bf16, f16};
use pytorch_reader::{DType, PytorchReader};

use crate::export::onnx::ConvWeights;
use crate::net::batch_norm::BatchNorm;

/// Where weights may lie within a file that holds more than weights.
const NESTED: [&str; 2] = ["state_dict", "model"];
/// How many names an error lists.
const NAMES_MAX: usize = 6;

/// One tensor as f32.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub data: Vec<f32>,
}

/// The tensors of a file that nobody has taken yet.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    source: String,
    left: BTreeMap<String, Numbers>,
}

/// Geometry of a convolution to be read.
#[derive(Debug, Clone, Copy)]
pub struct ConvPlan {
    /// `[out, in / groups, k, k]`.
    pub shape: [usize; 4],
    /// Stride in both directions.
    pub stride: usize,
    /// Padding before and after.
    pub padding: [usize; 2],
    /// Groups.
    pub groups: usize,
}

impl ConvPlan {
    /// A full convolution of stride 1 that keeps the size.
    pub fn plain(outputs: usize, inputs: usize, kernel: usize) -> ConvPlan {
        ConvPlan {
            shape: [outputs, inputs, kernel, kernel],
            stride: 1,
            padding: [kernel / 2; 2],
            groups: 1,
        }
    }
}

impl Checkpoint {
    /// Tensors that are in memory already; `source` is what errors call them.
    pub fn new(source: impl Into<String>, tensors: BTreeMap<String, Numbers>) -> Checkpoint {
        Checkpoint { source: source.into(), left: tensors }
    }

    /// Reads a PyTorch checkpoint (`torch.save` of a state dict, or of a dictionary that has one as
    /// `state_dict` or `model`).
    ///
    /// # Errors
    /// The file cannot be read, is no checkpoint, or holds no tensors of floating-point numbers.
    pub fn open(path: &Path) -> Result<Checkpoint> {
        let source = format!("checkpoint {}", path.display());
        ensure!(path.is_file(), "{source}: no such file");
        let whole = PytorchReader::new(path)
            .with_context(|| format!("{source}: not a file that torch.save wrote"))?;
        let nested = NESTED.iter().find(|key| {
            let prefix = format!("{key}.");
            !whole.is_empty() && whole.tensors().keys().all(|name| name.starts_with(&prefix))
        });
        let reader = match nested {
            Some(key) => PytorchReader::with_top_level_key(path, key)
                .with_context(|| format!("{source}: '{key}' cannot be read"))?,
            None => whole,
        };
        let mut tensors = BTreeMap::new();
        for (name, tensor) in reader.tensors() {
            let bytes = tensor.read().with_context(|| format!("{source}: {name}"))?;
            if let Some(data) = floats(tensor.dtype(), &bytes) {
                tensors.insert(name.clone(), Numbers { shape: tensor.shape().to_vec(), data });
            }
        }
        ensure!(!tensors.is_empty(), "{source}: holds no tensors of floating-point numbers");
        Ok(Checkpoint::new(source, tensors))
    }

    /// Whether there is a tensor of this name that nobody has taken.
    pub fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// Takes a tensor.
    ///
    /// # Errors
    /// There is none of this name (any more), its shape is another, or it holds a value that is no number.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let Some(found) = self.left.remove(name) else {
            bail!("{}: lacks the tensor {name} {shape:?}; it has {}", self.source, self.names());
        };
        ensure!(
            found.shape == shape,
            "{}: {name} has shape {:?}, {shape:?} is needed",
            self.source,
            found.shape
        );
        let bad = found.data.iter().position(|v| !v.is_finite());
        ensure!(bad.is_none(), "{}: {name} has a value that is no number", self.source);
        Ok(found.data)
    }

    /// Takes a convolution with its bias, `PREFIX.weight` and `PREFIX.bias`.
    ///
    /// # Errors
    /// As [`Checkpoint::take`].
    pub fn conv(&mut self, prefix: &str, plan: ConvPlan) -> Result<ConvWeights> {
        let weight = self.take(&format!("{prefix}.weight"), &plan.shape)?;
        let bias = self.take(&format!("{prefix}.bias"), &plan.shape[..1])?;
        Ok(weights(plan, weight, bias))
    }

    /// Takes a convolution without bias and the batch norm behind it, as one convolution.
    ///
    /// # Errors
    /// As [`Checkpoint::take`]; or the norm's variance is negative.
    pub fn conv_norm(
        &mut self,
        conv: &str,
        norm: &str,
        plan: ConvPlan,
        epsilon: f32,
    ) -> Result<ConvWeights> {
        let mut weight = self.take(&format!("{conv}.weight"), &plan.shape)?;
        let mut part = |leaf: &str| self.take(&format!("{norm}.{leaf}"), &plan.shape[..1]);
        let (gamma, beta) = (part("weight")?, part("bias")?);
        let (mean, variance) = (part("running_mean")?, part("running_var")?);
        let negative = variance.iter().any(|v| *v < 0.0);
        ensure!(!negative, "{}: {norm}.running_var is negative", self.source);
        let bias = BatchNorm { gamma: &gamma, beta: &beta, mean: &mean, variance: &variance }
            .fold_into(&mut weight, epsilon);
        Ok(weights(plan, weight, bias))
    }

    /// Leaves out what has no part in the network, and gives back how many tensors that were.
    pub fn leave_out(&mut self, unused: impl Fn(&str) -> bool) -> usize {
        let before = self.left.len();
        self.left.retain(|name, _| !unused(name));
        before - self.left.len()
    }

    /// Every tensor must have found its place.
    ///
    /// # Errors
    /// Some have not; they are named.
    pub fn finish(self) -> Result<()> {
        ensure!(
            self.left.is_empty(),
            "{}: {} tensors have no place in the network: {}",
            self.source,
            self.left.len(),
            self.names()
        );
        Ok(())
    }

    fn names(&self) -> String {
        let mut names: Vec<&str> = self.left.keys().take(NAMES_MAX).map(String::as_str).collect();
        match self.left.len().saturating_sub(names.len()) {
            0 if names.is_empty() => "none".into(),
            0 => names.join(", "),
            more => {
                let more = format!("and {more} more");
                names.push(&more);
                names.join(", ")
            }
        }
    }
}

fn weights(plan: ConvPlan, weight: Vec<f32>, bias: Vec<f32>) -> ConvWeights {
    let ConvPlan { shape, stride, padding, groups } = plan;
    ConvWeights { shape, weight, bias, stride, padding, groups }
}

/// Little-endian bytes as f32; `None` for types that no weight has (counters, masks).
fn floats(dtype: DType, bytes: &[u8]) -> Option<Vec<f32>> {
    let two = || bytes.as_chunks::<2>().0.iter();
    match dtype {
        DType::F64 => {
            let (all, _) = bytes.as_chunks::<8>();
            Some(all.iter().map(|b| f64::from_le_bytes(*b) as f32).collect())
        }
        DType::F32 => {
            let (all, _) = bytes.as_chunks::<4>();
            Some(all.iter().map(|b| f32::from_le_bytes(*b)).collect())
        }
        DType::F16 => Some(two().map(|b| f16::from_le_bytes(*b).to_f32()).collect()),
        DType::BF16 => Some(two().map(|b| bf16::from_le_bytes(*b).to_f32()).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(tensors: &[(&str, &[usize], &[f32])]) -> Checkpoint {
        let tensors = tensors.iter().map(|(name, shape, data)| {
            ((*name).to_owned(), Numbers { shape: shape.to_vec(), data: data.to_vec() })
        });
        Checkpoint::new("checkpoint test.ckpt", tensors.collect())
    }

    #[test]
    fn a_norm_is_folded_into_its_convolution() {
        let mut c = checkpoint(&[
            ("c.weight", &[2, 1, 1, 1], &[3.0, 5.0]),
            ("n.weight", &[2], &[2.0, 1.0]),
            ("n.bias", &[2], &[0.5, 0.25]),
            ("n.running_mean", &[2], &[1.0, -1.0]),
            ("n.running_var", &[2], &[3.0, 0.0]),
        ]);
        let conv = c.conv_norm("c", "n", ConvPlan::plain(2, 1, 1), 1.0).unwrap();
        // 2 / sqrt(3 + 1) = 1 and 1 / sqrt(0 + 1) = 1.
        assert_eq!(conv.weight, [3.0, 5.0]);
        assert_eq!(conv.bias, [-0.5, 1.25]);
        c.finish().unwrap();
    }

    #[test]
    fn what_is_missing_left_or_wrong_is_named() {
        let mut c = checkpoint(&[
            ("a.weight", &[1, 1, 3, 3], &[0.0; 9]),
            ("b", &[2], &[1.0, f32::NAN]),
            ("head", &[1], &[1.0]),
        ]);
        let missing = c.take("stem.weight", &[4, 3, 3, 3]).unwrap_err().to_string();
        assert!(
            missing.contains("test.ckpt: lacks the tensor stem.weight [4, 3, 3, 3]"),
            "{missing}"
        );
        assert!(missing.contains("a.weight, b, head"), "{missing}");
        let shape = c.take("a.weight", &[1, 1, 5, 5]).unwrap_err().to_string();
        assert!(
            shape.contains("a.weight has shape [1, 1, 3, 3], [1, 1, 5, 5] is needed"),
            "{shape}"
        );
        let nan = c.take("b", &[2]).unwrap_err().to_string();
        assert!(nan.contains("b has a value that is no number"), "{nan}");
        let left = c.clone().finish().unwrap_err().to_string();
        assert!(left.contains("1 tensors have no place in the network: head"), "{left}");
        assert_eq!(c.leave_out(|name| name == "head"), 1);
        c.finish().unwrap();
    }

    #[test]
    fn a_file_that_is_no_checkpoint_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ckpt");
        let missing = Checkpoint::open(&path).unwrap_err().to_string();
        assert!(missing.ends_with("x.ckpt: no such file"), "{missing}");
        std::fs::write(&path, b"not a checkpoint at all").unwrap();
        let wrong = Checkpoint::open(&path).unwrap_err().to_string();
        assert!(wrong.contains("not a file that torch.save wrote"), "{wrong}");
    }
}
