//! Engines: what runs a graph. One golden suite holds them to the same numbers; an operator that
//! an engine lacks is an error at load, never a silent fall-back.

#[cfg(feature = "ort")]
pub mod ort;
pub mod tract;

use crate::tensor::{Tensor, TensorSpec};
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Most threads that one graph may be asked to run on.
pub const ENGINE_THREADS_MAX: usize = 64;

/// Loads graph files.
pub trait Engine {
    /// The name that `--engine` takes.
    fn name(&self) -> &'static str;

    /// Loads `file` and checks that it takes `inputs` and gives `outputs`, in that order and in
    /// those shapes. All tensors are `f32`.
    fn load(
        &self,
        file: &Path,
        inputs: &[TensorSpec],
        outputs: &[TensorSpec],
    ) -> Result<Box<dyn Graph>, EngineError>;
}

/// A loaded graph. `&mut` because engines keep their scratch memory with it.
pub trait Graph: Send {
    /// Runs the graph once. Checks the inputs' shapes before, the outputs' shapes and finiteness
    /// after; a graph that panics is an error, not the end of the line.
    fn run(&mut self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, EngineError>;

    /// Runs the graph once and says how long each operator took, in the order in which they ran.
    /// Empty for an engine that does not tell.
    fn profile(&mut self, inputs: &[&Tensor]) -> Result<Vec<OperatorTime>, EngineError> {
        self.run(inputs)?;
        Ok(Vec::new())
    }
}

/// What one operator of a graph took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorTime {
    /// The node's name in the graph that the engine made of ours.
    pub node: String,
    /// The operator, as the engine calls it.
    pub operator: String,
    /// Shape of what it gives.
    pub shape: Vec<usize>,
    /// Its time in nanoseconds.
    pub ns: u64,
}

/// The engines that there are. Not every build contains every one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// tract, in pure Rust, on the CPU. Reads NNEF.
    #[default]
    Tract,
    /// ONNX Runtime, loaded from its library. Reads ONNX.
    Ort(Provider),
}

/// What ONNX Runtime runs a graph on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Its own kernels on the CPU.
    Cpu,
    /// XNNPACK on the CPU.
    Xnnpack,
    /// An NVIDIA GPU, kernel by kernel.
    Cuda,
    /// An NVIDIA GPU, through an engine that is built on the board.
    TensorRt,
}

impl EngineKind {
    /// All of them.
    pub const ALL: [EngineKind; 5] = [
        EngineKind::Tract,
        EngineKind::Ort(Provider::Cpu),
        EngineKind::Ort(Provider::Xnnpack),
        EngineKind::Ort(Provider::Cuda),
        EngineKind::Ort(Provider::TensorRt),
    ];

    /// The name that `--engine` takes.
    pub const fn name(self) -> &'static str {
        match self {
            EngineKind::Tract => "tract",
            EngineKind::Ort(Provider::Cpu) => "ort",
            EngineKind::Ort(Provider::Xnnpack) => "ort-xnnpack",
            EngineKind::Ort(Provider::Cuda) => "ort-cuda",
            EngineKind::Ort(Provider::TensorRt) => "ort-tensorrt",
        }
    }

    /// An engine of this kind that runs graphs on `threads` threads (1 = the caller's own).
    ///
    /// # Errors
    /// This build lacks it, or this machine does, or the thread count is out of range.
    pub fn engine(self, threads: usize) -> Result<Box<dyn Engine>, EngineError> {
        match self {
            EngineKind::Tract => Ok(Box::new(tract::TractEngine::new(threads)?)),
            #[cfg(feature = "ort")]
            EngineKind::Ort(provider) => Ok(Box::new(ort::OrtEngine::new(provider, threads)?)),
            #[cfg(not(feature = "ort"))]
            EngineKind::Ort(_) => Err(EngineError::NotInThisBuild { engine: self.name() }),
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EngineKind {
    type Err = EngineError;

    fn from_str(s: &str) -> Result<EngineKind, EngineError> {
        let found = EngineKind::ALL.into_iter().find(|kind| kind.name() == s);
        found.ok_or_else(|| EngineError::UnknownEngine { name: s.to_string() })
    }
}

/// Why a graph could not be loaded or run.
#[derive(Clone, Debug, PartialEq)]
pub enum EngineError {
    /// A known engine that this build does not contain.
    NotInThisBuild {
        /// Its name.
        engine: &'static str,
    },
    /// A known engine that this machine does not have.
    Unavailable {
        /// The engine.
        engine: EngineKind,
        /// What is missing.
        why: String,
        /// What helps.
        what_to_do: String,
    },
    /// A graph in a form that the engine does not read.
    Format {
        /// The graph file.
        file: PathBuf,
        /// The engine.
        engine: EngineKind,
    },
    /// No engine of that name exists.
    UnknownEngine {
        /// The name given.
        name: String,
    },
    /// A thread count of 0 or above [`ENGINE_THREADS_MAX`], or a pool that could not be started.
    Threads {
        /// The count asked for.
        asked: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The file could not be read.
    Read {
        /// The graph file.
        file: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// The engine does not understand the graph: damaged, foreign, or an operator it lacks.
    Load {
        /// The graph file.
        file: PathBuf,
        /// The engine's reason, naming the node.
        why: String,
    },
    /// The graph's own inputs or outputs are not what the model card declares.
    Contract {
        /// The graph file.
        file: PathBuf,
        /// Tensor, what it is and what it should be.
        what: String,
    },
    /// A caller handed over a tensor of another shape, or another number of tensors.
    Input {
        /// The tensor's name, or "inputs" for a wrong count.
        tensor: String,
        /// What was given and what is expected.
        what: String,
    },
    /// The engine returned an error while running.
    Run {
        /// The engine's reason.
        why: String,
    },
    /// The engine panicked while loading or running.
    Panicked {
        /// The panic's message.
        why: String,
    },
    /// The graph gave a tensor of another shape than it declared.
    Output {
        /// The tensor's name.
        tensor: String,
        /// The shape it gave.
        given: Vec<usize>,
        /// The declared shape.
        expected: Vec<usize>,
    },
    /// An output holds NaN or infinity.
    NotFinite {
        /// The tensor's name.
        tensor: String,
        /// Index of the first bad value, row-major.
        index: usize,
    },
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use EngineError::*;
        match self {
            NotInThisBuild { engine } => {
                write!(
                    f,
                    "this build has no engine '{engine}'; use --engine tract, or build with \
                     --features ort"
                )
            }
            Unavailable { engine, why, what_to_do } => {
                write!(f, "engine '{engine}' cannot be used: {why}; {what_to_do}")
            }
            Format { file, engine: EngineKind::Tract } => write!(
                f,
                "{} is no NNEF, which is what engine 'tract' reads; use --engine ort, or the model's \
                 NNEF package",
                file.display()
            ),
            Format { file, engine: EngineKind::Ort(_) } => write!(
                f,
                "{} is no ONNX, which is what engine 'ort' reads; use --engine tract, or make a package that \
                 is: touchstone-tools quantize --precision f32",
                file.display()
            ),
            UnknownEngine { name } => write!(
                f,
                "no engine is called '{name}'; there are {}",
                EngineKind::ALL.map(EngineKind::name).join(", ")
            ),
            Threads { asked, why } => {
                write!(f, "cannot run on {asked} threads: {why}; choose 1 to {ENGINE_THREADS_MAX}")
            }
            Read { file, why } => write!(f, "cannot read graph {}: {why}", file.display()),
            Load { file, why } => write!(
                f,
                "cannot load graph {}: {why}; export the model again with this version's \
                 touchstone-tools",
                file.display()
            ),
            Contract { file, what } => write!(
                f,
                "graph {} does not match its model card: {what}; export the model again",
                file.display()
            ),
            Input { tensor, what } => write!(f, "wrong input for tensor '{tensor}': {what}"),
            Run { why } => write!(f, "the graph failed: {why}"),
            Panicked { why } => write!(f, "the engine panicked: {why}; please report this graph"),
            Output { tensor, given, expected } => write!(
                f,
                "the graph gave tensor '{tensor}' in shape {given:?} instead of {expected:?}"
            ),
            NotFinite { tensor, index } => {
                write!(f, "the graph gave a NaN or infinity in tensor '{tensor}' at index {index}")
            }
        }
    }
}

impl std::error::Error for EngineError {}

/// Runs engine code and turns a panic into an error: one bad graph must not take the line down.
/// Whatever `work` was changing is thrown away or rebuilt by the caller afterwards.
fn caught<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(EngineError::Panicked { why: panic_message(&*panic) }))
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| s.to_string())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_string())
}

/// Checks what a caller hands to a graph; shared by all engines so that they refuse alike.
pub fn check_inputs(specs: &[TensorSpec], given: &[&Tensor]) -> Result<(), EngineError> {
    if specs.len() != given.len() {
        return Err(EngineError::Input {
            tensor: "inputs".to_string(),
            what: format!("{} tensors given, {} expected", given.len(), specs.len()),
        });
    }
    for (spec, tensor) in specs.iter().zip(given) {
        if spec.shape != tensor.shape || !tensor.is_consistent() {
            return Err(EngineError::Input {
                tensor: spec.name.clone(),
                what: format!(
                    "shape {:?} with {} values given, {:?} expected",
                    tensor.shape,
                    tensor.data.len(),
                    spec.shape
                ),
            });
        }
    }
    Ok(())
}

/// Checks what a graph gave: count, shapes, and that every value is finite.
pub fn check_outputs(specs: &[TensorSpec], given: &[Tensor]) -> Result<(), EngineError> {
    if specs.len() != given.len() {
        return Err(EngineError::Run {
            why: format!("{} tensors came out, {} expected", given.len(), specs.len()),
        });
    }
    for (spec, tensor) in specs.iter().zip(given) {
        if spec.shape != tensor.shape || !tensor.is_consistent() {
            return Err(EngineError::Output {
                tensor: spec.name.clone(),
                given: tensor.shape.clone(),
                expected: spec.shape.clone(),
            });
        }
        if let Some(index) = tensor.first_not_finite() {
            return Err(EngineError::NotFinite { tensor: spec.name.clone(), index });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_named() {
        for kind in EngineKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let unknown = "cuda".parse::<EngineKind>().unwrap_err();
        assert!(matches!(unknown, EngineError::UnknownEngine { .. }));
        assert!(unknown.to_string().contains("ort-cuda"), "{unknown}");
    }

    #[cfg(not(feature = "ort"))]
    #[test]
    fn what_is_not_in_this_build_is_said() {
        let error = EngineKind::Ort(Provider::Cpu).engine(1).err().unwrap().to_string();
        assert!(error.contains("no engine 'ort'") && error.contains("--features ort"), "{error}");
    }

    #[test]
    fn outputs_are_checked_for_shape_and_nan() {
        let specs = [TensorSpec::new("map", &[1, 2])];
        let good = Tensor::new(&[1, 2], vec![0.0, 1.0]).unwrap();
        assert_eq!(check_outputs(&specs, std::slice::from_ref(&good)), Ok(()));
        let nan = Tensor::new(&[1, 2], vec![0.0, f32::NAN]).unwrap();
        assert_eq!(
            check_outputs(&specs, &[nan]),
            Err(EngineError::NotFinite { tensor: "map".into(), index: 1 })
        );
        let long = Tensor::new(&[2, 1], vec![0.0, 1.0]).unwrap();
        assert!(matches!(check_outputs(&specs, &[long]), Err(EngineError::Output { .. })));
        assert!(matches!(check_outputs(&specs, &[]), Err(EngineError::Run { .. })));
    }

    #[test]
    fn inputs_are_checked_before_the_engine_sees_them() {
        let specs = [TensorSpec::new("image", &[1, 2])];
        let torn = Tensor { shape: vec![1, 2], data: vec![0.0] };
        let err = check_inputs(&specs, &[&torn]).unwrap_err();
        assert!(err.to_string().contains("'image'"), "{err}");
        assert!(check_inputs(&specs, &[]).is_err());
    }
}
