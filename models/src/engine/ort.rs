//! ONNX Runtime, loaded when it is asked for: the way to a GPU, and to int8 kernels. Nothing of it is linked;
//! a camera without the library starts as ever and is told what is missing.

use super::{
    Engine, EngineError, EngineKind, Graph, Provider, caught, check_inputs, check_outputs,
};
use crate::files;
use crate::package::GRAPH_BYTES_MAX;
use crate::tensor::{Tensor, TensorSpec};
use ::ort::environment::Environment;
use ::ort::ep::{CUDA, ExecutionProviderDispatch, TensorRT, XNNPACK};
use ::ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ::ort::session::{Session, SessionInputValue};

use ::ort::value::{Outlet, TensorElementType, TensorRef, ValueType};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Environment variable that names the library.
pub const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";
/// The library that the system's loader looks for if none is named.
const LIBRARY: &str = "libonnxruntime.so";

/// ONNX Runtime with one provider and a number of threads.
pub struct OrtEngine {
    provider: Provider,
    threads: usize,
}

impl OrtEngine {
    /// An engine whose graphs run on `provider`, with `threads` threads for what stays on the processor.
    ///
    /// # Errors
    /// The library is not there or too old, or has not been built with the provider.
    pub fn new(provider: Provider, threads: usize) -> Result<OrtEngine, EngineError> {
        environment().map_err(|(why, what_to_do)| missing(provider, why, what_to_do))?;
        let engine = OrtEngine { provider, threads };
        // A provider that is not compiled in is passed over in silence unless it is asked to complain.
        caught(|| Ok(engine.builder()))?
            .map_err(|why| missing(provider, why, provider_remedy(provider)))?;
        Ok(engine)
    }

    fn builder(&self) -> Result<SessionBuilder, String> {
        let environment = environment().map_err(|(why, _)| why)?;
        let failed = |e: ::ort::Error<SessionBuilder>| e.to_string();
        let mut builder = Session::builder(environment)
            .map_err(|e| e.to_string())?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(failed)?
            .with_intra_threads(self.threads)
            .map_err(failed)?
            .with_inter_threads(1)
            .map_err(failed)?;
        if matches!(self.provider, Provider::Cuda | Provider::TensorRt) {
            // An operator that the GPU lacks is an error at load, not a slow frame.
            builder = builder
                .with_config_entry("session.disable_cpu_ep_fallback", "1")
                .map_err(failed)?;
        }
        let providers = self.providers()?;
        if providers.is_empty() {
            return Ok(builder);
        }
        builder.with_execution_providers(providers).map_err(failed)
    }

    fn providers(&self) -> Result<Vec<ExecutionProviderDispatch>, String> {
        let cuda = || CUDA::default().build().error_on_failure();
        Ok(match self.provider {
            Provider::Cpu => Vec::new(),
            Provider::Xnnpack => vec![XNNPACK::default().build().error_on_failure()],
            Provider::Cuda => vec![cuda()],
            Provider::TensorRt => {
                let cache = cache::folder()?;
                let cache = cache.display().to_string();
                let tensorrt = TensorRT::default()
                    .with_fp16(true)
                    .with_engine_cache(true)
                    .with_engine_cache_path(&cache)
                    .with_timing_cache(true)
                    .with_timing_cache_path(&cache)
                    .build()
                    .error_on_failure();
                vec![tensorrt, cuda()]
            }
        })
    }
}

/// The library's own words on itself.
///
/// # Errors
/// It is not there; with what to do.
pub fn library() -> Result<String, EngineError> {
    environment().map_err(|(why, what_to_do)| missing(Provider::Cpu, why, what_to_do))?;
    caught(|| Ok(::ort::info().to_string()))
}

fn missing(provider: Provider, why: String, what_to_do: String) -> EngineError {
    EngineError::Unavailable { engine: EngineKind::Ort(provider), why, what_to_do }
}

fn provider_remedy(provider: Provider) -> String {
    match provider {
        Provider::Cpu => "install a newer libonnxruntime".to_string(),
        Provider::Xnnpack | Provider::Cuda | Provider::TensorRt => format!(
            "set {LIBRARY_VARIABLE} to a libonnxruntime that was built with it, or name another engine \
             behind it: --engine {},tract",
            EngineKind::Ort(provider)
        ),
    }
}

/// The library, loaded once per process; or why not and what to do.
fn environment() -> Result<&'static Environment, (String, String)> {
    static LOADED: OnceLock<Result<Environment, (String, String)>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| {
        let named = std::env::var_os(LIBRARY_VARIABLE).filter(|v| !v.is_empty());
        let path = named.map_or(PathBuf::from(LIBRARY), PathBuf::from);
        let remedy =
            format!("install ONNX Runtime, or set {LIBRARY_VARIABLE} to its libonnxruntime.so");
        let failed = |why: String| (format!("{}: {why}", path.display()), remedy.clone());
        caught(|| {
            let builder = match ::ort::init_from(&path) {
                Ok(builder) => builder,
                Err(e) => return Ok(Err(e.to_string())),
            };
            Ok(builder
                .with_name("touchstone")
                .with_telemetry(false)
                .build()
                .map_err(|e| e.to_string()))
        })
        .map_err(|e| failed(e.to_string()))?
        .map_err(failed)
    });
    loaded.as_ref().map_err(Clone::clone)
}

impl Engine for OrtEngine {
    fn name(&self) -> &'static str {
        EngineKind::Ort(self.provider).name()
    }

    fn load(
        &self,
        file: &Path,
        inputs: &[TensorSpec],
        outputs: &[TensorSpec],
    ) -> Result<Box<dyn Graph>, EngineError> {
        let bad = |why: String| EngineError::Load { file: file.to_path_buf(), why };
        if file.extension().is_none_or(|e| e != "onnx") {
            return Err(EngineError::Format {
                file: file.to_path_buf(),
                engine: EngineKind::Ort(self.provider),
            });
        }
        let bytes = files::read_limited(file, GRAPH_BYTES_MAX)
            .map_err(|e| EngineError::Read { file: file.to_path_buf(), why: e.to_string() })?;
        let session = caught(|| {
            Ok(self
                .builder()
                .and_then(|mut b| b.commit_from_memory(&bytes).map_err(|e| e.to_string())))
        })?
        .map_err(bad)?;
        check_contract(session.inputs(), inputs, "takes")
            .and_then(|()| check_contract(session.outputs(), outputs, "gives"))
            .map_err(|what| EngineError::Contract { file: file.to_path_buf(), what })?;
        Ok(Box::new(OrtGraph { session, inputs: inputs.to_vec(), outputs: outputs.to_vec() }))
    }
}

/// Compares names, types and shapes with the model card.
fn check_contract(found: &[Outlet], declared: &[TensorSpec], does: &str) -> Result<(), String> {
    if found.len() != declared.len() {
        return Err(format!("it {does} {} tensors, not {}", found.len(), declared.len()));
    }
    for (found, spec) in found.iter().zip(declared) {
        if found.name() != spec.name {
            return Err(format!("it {does} '{}' where '{}' is declared", found.name(), spec.name));
        }
        let fits = match found.dtype() {
            ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => shape
                .iter()
                .map(|d| usize::try_from(*d).ok())
                .eq(spec.shape.iter().map(|d| Some(*d))),
            _ => false,
        };
        if !fits {
            let (name, shape) = (&spec.name, &spec.shape);
            return Err(format!("it {does} '{name}' as {:?}, not F32 {shape:?}", found.dtype()));
        }
    }
    Ok(())
}

struct OrtGraph {
    session: Session,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
}

impl Graph for OrtGraph {
    fn run(&mut self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, EngineError> {
        check_inputs(&self.inputs, inputs)?;
        let (session, specs, count) = (&mut self.session, &self.inputs, self.outputs.len());
        let outputs = caught(|| {
            let mut ran = || -> ::ort::Result<Vec<Tensor>> {
                let mut values: Vec<(Cow<'_, str>, SessionInputValue<'_>)> =
                    Vec::with_capacity(inputs.len());
                for (spec, tensor) in specs.iter().zip(inputs) {
                    let view =
                        TensorRef::from_array_view((tensor.shape.clone(), &tensor.data[..]))?;
                    values.push((spec.name.as_str().into(), view.into()));
                }
                let given = session.run(values)?;
                (0..count)
                    .map(|index| {
                        let (shape, data) = given[index].try_extract_tensor::<f32>()?;
                        let shape =
                            shape.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect();
                        Ok(Tensor { shape, data: data.to_vec() })
                    })
                    .collect()
            };
            Ok(ran().map_err(|e| EngineError::Run { why: e.to_string() }))
        })??;
        check_outputs(&self.outputs, &outputs)?;
        Ok(outputs)
    }
}

/// Where engines that TensorRT has built on this very board are kept. They run on no other GPU, driver or
/// TensorRT, so these three are in the folder's name: after an update they are built anew.
mod cache {
    use crate::package::sha256_hex;
    use std::fs;
    use std::path::{Path, PathBuf};

    /// Environment variable that names the folder of all caches.
    const VARIABLE: &str = "TOUCHSTONE_CACHE";
    const SYSTEM: &str = "/var/cache/touchstone";
    /// Where distributions put TensorRT.
    const LIBRARIES: [&str; 4] = [
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/local/tensorrt/lib",
        "/usr/lib64",
    ];
    /// Characters of the key's hash.
    const KEY_CHARACTERS: usize = 16;

    /// The folder for this GPU, driver and TensorRT, made if it is not there.
    pub fn folder() -> Result<PathBuf, String> {
        let root = std::env::var_os(VARIABLE).filter(|v| !v.is_empty());
        let root = root.map_or(PathBuf::from(SYSTEM), PathBuf::from);
        let key = key(Path::new("/"));
        let folder =
            root.join(format!("tensorrt-{}", &sha256_hex(key.as_bytes())[..KEY_CHARACTERS]));
        let cannot = |e: std::io::Error| {
            format!("{}: {e}; set {VARIABLE} to a folder that may be written", folder.display())
        };
        fs::create_dir_all(&folder).map_err(cannot)?;
        // For the reader: which machine this was.
        fs::write(folder.join("key.txt"), key).map_err(cannot)?;
        Ok(folder)
    }

    /// GPU, driver and TensorRT as the system below `root` tells of them, a line each.
    pub fn key(root: &Path) -> String {
        let file = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let mut gpus: Vec<String> = fs::read_dir(root.join("proc/driver/nvidia/gpus"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|gpu| fs::read_to_string(gpu.path().join("information")).ok())
            .filter_map(|text| text.lines().find(|l| l.starts_with("Model:")).map(str::to_owned))
            .collect();
        gpus.sort();
        // A Jetson has no such folder; the board is the GPU, the release the driver.
        let board = file("proc/device-tree/model");
        let driver = file("proc/driver/nvidia/version");
        let release = file("etc/nv_tegra_release");
        let first =
            |text: &str| text.lines().next().unwrap_or_default().trim_matches('\0').to_owned();
        let mut libraries: Vec<String> = LIBRARIES
            .iter()
            .filter_map(|dir| fs::read_dir(root.join(dir.trim_start_matches('/'))).ok())
            .flat_map(|entries| entries.flatten())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.starts_with("libnvinfer.so."))
            .collect();
        libraries.sort();
        format!(
            "gpu {} {}\ndriver {} {}\ntensorrt {}\n",
            gpus.join(", "),
            first(&board),
            first(&driver),
            first(&release),
            libraries.join(", ")
        )
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn another_driver_or_tensorrt_is_another_key() {
            let dir = tempfile::tempdir().unwrap();
            let put = |file: &str, text: &str| {
                let file = dir.path().join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            };
            let none = key(dir.path());
            put("proc/driver/nvidia/gpus/0000:01/information", "Model: \t X\nIRQ: 1\n");
            put("proc/driver/nvidia/version", "NVRM version: 540.4\nGCC\n");
            let first = key(dir.path());
            assert_ne!(none, first);
            put("proc/driver/nvidia/version", "NVRM version: 560.1\nGCC\n");
            let second = key(dir.path());
            assert_ne!(first, second);
            put("usr/lib/aarch64-linux-gnu/libnvinfer.so.10.3.0", "");
            let third = key(dir.path());
            assert_ne!(second, third);
            assert!(third.contains("Model: \t X") && third.contains("10.3.0"), "{third}");
        }
    }
}
