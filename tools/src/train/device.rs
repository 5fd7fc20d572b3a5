//! Where training runs.

use anyhow::Result;
use burn::tensor::Device;
use clap::ValueEnum;

/// The training backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceKind {
    /// Pure Rust on the CPU; always there.
    Flex,
    /// libtorch on the CPU, about twice as fast; needs a build with `--features tch`.
    Tch,
    /// libtorch on an NVIDIA GPU; needs a build with `--features tch` and PyTorch for CUDA.
    TchCuda,
    /// An NVIDIA GPU without libtorch; needs a build with `--features cuda`.
    Cuda,
}

impl DeviceKind {
    /// The device, or what to do to get it.
    pub fn open(self) -> Result<Device> {
        match self {
            DeviceKind::Flex => Ok(Device::flex()),
            // burn marks its libtorch backend deprecated; on a CPU nothing else comes close yet.
            #[cfg(feature = "tch")]
            #[allow(deprecated)]
            DeviceKind::Tch => Ok(Device::libtorch()),
            #[cfg(feature = "tch")]
            #[allow(deprecated)]
            DeviceKind::TchCuda => Ok(Device::libtorch_cuda(0)),
            #[cfg(not(feature = "tch"))]
            DeviceKind::Tch | DeviceKind::TchCuda => anyhow::bail!(
                "this build has no libtorch; rebuild with `--features tch` (tools/README.md)"
            ),
            #[cfg(feature = "cuda")]
            DeviceKind::Cuda => Ok(Device::cuda(0)),
            #[cfg(not(feature = "cuda"))]
            DeviceKind::Cuda => anyhow::bail!(
                "this build has no CUDA; rebuild with `--features cuda` on a machine with an \
                 NVIDIA GPU"
            ),
        }
    }
}
