//! Bytes to tensors, and the worker threads that prepare batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Result, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// Channel means and deviations of ImageNet, of values in 0..1; written into every package.
pub const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// See [`MEAN`].
pub const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// What an encoder wants done with pixels: `(value / 255 - mean) / std` per channel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    /// Of values 0..1.
    pub mean: [f32; 3],
    /// Of values 0..1.
    pub std: [f32; 3],
}

impl Scaling {
    /// What most encoders want, ours too.
    pub const IMAGENET: Scaling = Scaling { mean: MEAN, std: STD };
    /// Below this a deviation is no deviation.
    const STD_MIN: f32 = 1e-6;

    /// Whether a model card can carry it.
    ///
    /// # Errors
    /// Names the number that cannot be.
    pub fn check(&self) -> Result<()> {
        let mean = self.mean.iter().all(|v| (0.0..=1.0).contains(v));
        ensure!(mean, "mean {:?}: is of values 0..1, so it is in 0..1", self.mean);
        let std = self.std.iter().all(|v| v.is_finite() && *v > Self::STD_MIN);
        ensure!(std, "std {:?}: is not above 0", self.std);
        Ok(())
    }
}

/// A batch of maps, not yet on a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// `[b, channels, height, width]`.
    pub shape: [usize; 4],
    /// Row-major values.
    pub data: Vec<f32>,
}

impl Stack {
    /// On a device.
    pub fn tensor(self, device: &Device) -> Tensor<4> {
        Tensor::from_data(TensorData::new(self.data, self.shape), device)
    }
}

/// RGB8 pictures of one size to normalised numbers in the order `[b, 3, size, size]`. Apart from
/// [`images_of`], so that the threads that make pictures do this too.
pub fn normalised<'a>(pictures: impl Iterator<Item = &'a [u8]>, size: usize) -> Vec<f32> {
    normalised_by(&Scaling::IMAGENET, pictures, size)
}

/// The same for an encoder that wants another scaling.
pub fn normalised_by<'a>(
    scaling: &Scaling,
    pictures: impl Iterator<Item = &'a [u8]>,
    size: usize,
) -> Vec<f32> {
    let Scaling { mean, std } = scaling;
    let plane = size * size;
    let mut data = Vec::new();
    for picture in pictures {
        let from = data.len();
        data.resize(from + 3 * plane, 0.0f32);
        let out = &mut data[from..];
        for (i, pixel) in picture.chunks_exact(3).enumerate() {
            for c in 0..3 {
                out[c * plane + i] = (f32::from(pixel[c]) / 255.0 - mean[c]) / std[c];
            }
        }
    }
    data
}

/// [`normalised`] numbers as a `[b, 3, size, size]` tensor.
pub fn images_of(data: Vec<f32>, size: usize, device: &Device) -> Tensor<4> {
    let count = data.len() / (3 * size * size);
    Tensor::from_data(TensorData::new(data, [count, 3, size, size]), device)
}

/// RGB8 pictures of one size to a normalised `[b, 3, size, size]` tensor.
pub fn images(pictures: &[&[u8]], size: usize, device: &Device) -> Tensor<4> {
    images_of(normalised(pictures.iter().copied(), size), size, device)
}

/// Batches prepared ahead by worker threads, delivered in index order so that a run is
/// reproducible whatever the number of workers.
pub struct Prefetch<T> {
    workers: Vec<Worker<T>>,
    next: usize,
    stop: Arc<AtomicBool>,
}

struct Worker<T> {
    items: Option<Receiver<T>>,
    thread: Option<JoinHandle<()>>,
}

/// Batches that wait per worker.
const AHEAD: usize = 2;

impl<T: Send + 'static> Prefetch<T> {
    /// Starts `workers` threads that make items `first`, `first + 1`, ….
    pub fn start<F>(workers: usize, first: usize, make: F) -> Self
    where
        F: Fn(usize) -> T + Send + Sync + 'static,
    {
        let make = Arc::new(make);
        let stop = Arc::new(AtomicBool::new(false));
        let workers = workers.max(1);
        let threads = (0..workers)
            .map(|worker| {
                let (sender, receiver) = sync_channel(AHEAD);
                let (make, stop) = (Arc::clone(&make), Arc::clone(&stop));
                let thread = std::thread::spawn(move || {
                    let mut index = first + worker;
                    while !stop.load(Ordering::Relaxed) && sender.send(make(index)).is_ok() {
                        index += workers;
                    }
                });
                Worker { items: Some(receiver), thread: Some(thread) }
            })
            .collect();
        Prefetch { workers: threads, next: 0, stop }
    }

    /// The next item in order; `None` when its worker died.
    pub fn take(&mut self) -> Option<T> {
        let slot = self.next % self.workers.len();
        self.next += 1;
        self.workers[slot].items.as_ref()?.recv().ok()
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in &mut self.workers {
            // Closing the channel wakes a worker that waits to send.
            drop(worker.items.take());
            if let Some(thread) = worker.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_in_order_whatever_the_number_of_workers() {
        for workers in [1, 3] {
            let mut prefetch = Prefetch::start(workers, 5, |i| i);
            let items: Vec<_> = (0..7).filter_map(|_| prefetch.take()).collect();
            assert_eq!(items, (5..12).collect::<Vec<_>>());
        }
    }
}
