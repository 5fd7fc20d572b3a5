//! The teacher's features on fixed views, computed once and kept as f16 beside the run.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use indicatif::ProgressBar;

use super::batch;
use super::teacher::{TEACHER_C4, TEACHER_C8, TEACHER_C16, Teacher};
use crate::progress;

/// Pictures and teacher features of `len` views of `size` pixels.
pub struct Cache {
    /// Side of a view.
    pub size: usize,
    /// RGB8, view after view.
    pub pictures: Vec<u8>,
    /// `[view, 32, size/4, size/4]`.
    pub f4: Vec<f16>,
    /// `[view, 56, size/8, size/8]`.
    pub f8: Vec<f16>,
    /// `[view, 160, size/16, size/16]`.
    pub f16: Vec<f16>,
    /// Per-channel mean and deviation of `f4`.
    pub norm4: Vec<(f32, f32)>,
    /// Per-channel mean and deviation of `f8`.
    pub norm8: Vec<(f32, f32)>,
    /// Per-channel mean and deviation of `f16`.
    pub norm16: Vec<(f32, f32)>,
}

const MAGIC: &[u8; 8] = b"TSTEACH2";
const TEACHER_BATCH: usize = 8;

impl Cache {
    /// Numbers per view in `f4`.
    pub fn len4(&self) -> usize {
        TEACHER_C4 * (self.size / 4).pow(2)
    }

    /// Numbers per view in `f8`.
    pub fn len8(&self) -> usize {
        TEACHER_C8 * (self.size / 8).pow(2)
    }

    /// Numbers per view in `f16`.
    pub fn len16(&self) -> usize {
        TEACHER_C16 * (self.size / 16).pow(2)
    }

    /// Bytes per view in `pictures`.
    pub fn len_picture(&self) -> usize {
        self.size * self.size * 3
    }

    /// Views held.
    pub fn views(&self) -> usize {
        self.pictures.len() / self.len_picture()
    }

    /// Reads the cache of an earlier run with the same `key`, or computes and writes it.
    pub fn open_or_build(
        path: &Path,
        key: &str,
        size: usize,
        views: usize,
        view: impl Fn(u64) -> Vec<u8> + Sync,
        teacher: impl FnOnce() -> Result<Teacher>,
        device: &Device,
    ) -> Result<Cache> {
        if path.exists()
            && let Some(cache) = Self::read(path, key, size, views)?
        {
            return Ok(cache);
        }
        let teacher = teacher()?;
        let bar = progress::bar(views as u64, "teacher features");
        let cache = Self::build(size, views, &view, &teacher, device, &bar)?;
        bar.finish_and_clear();
        cache.write(path, key).with_context(|| format!("{}: cannot be written", path.display()))?;
        Ok(cache)
    }

    fn build(
        size: usize,
        views: usize,
        view: &(impl Fn(u64) -> Vec<u8> + Sync),
        teacher: &Teacher,
        device: &Device,
        bar: &ProgressBar,
    ) -> Result<Cache> {
        let mut cache = Cache {
            size,
            pictures: Vec::with_capacity(views * size * size * 3),
            f4: Vec::new(),
            f8: Vec::new(),
            f16: Vec::new(),
            norm4: Vec::new(),
            norm8: Vec::new(),
            norm16: Vec::new(),
        };
        let mut from = 0;
        while from < views {
            let to = (from + TEACHER_BATCH).min(views);
            let pictures: Vec<Vec<u8>> = (from..to).map(|i| view(i as u64)).collect();
            let slices: Vec<&[u8]> = pictures.iter().map(Vec::as_slice).collect();
            let features = teacher.forward(batch::images(&slices, size, device));
            let numbers = |t: burn::tensor::Tensor<4>| -> Result<Vec<f16>> {
                let v = t.into_data().try_to_vec::<f32>().map_err(|e| anyhow::anyhow!("{e:?}"))?;
                Ok(v.into_iter().map(f16::from_f32).collect())
            };
            cache.f4.extend(numbers(features.f4)?);
            cache.f8.extend(numbers(features.f8)?);
            cache.f16.extend(numbers(features.f16)?);
            pictures.iter().for_each(|p| cache.pictures.extend_from_slice(p));
            bar.inc((to - from) as u64);
            from = to;
        }
        cache.normalise();
        Ok(cache)
    }

    fn normalise(&mut self) {
        self.norm4 = channel_norms(&self.f4, TEACHER_C4, (self.size / 4).pow(2));
        self.norm8 = channel_norms(&self.f8, TEACHER_C8, (self.size / 8).pow(2));
        self.norm16 = channel_norms(&self.f16, TEACHER_C16, (self.size / 16).pow(2));
    }

    fn header(key: &str, size: usize, views: usize) -> Vec<u8> {
        let mut header = MAGIC.to_vec();
        let text = format!("{key}\n{size}\n{views}\n");
        header.extend((text.len() as u32).to_le_bytes());
        header.extend(text.as_bytes());
        header
    }

    fn write(&self, path: &Path, key: &str) -> std::io::Result<()> {
        let part = path.with_extension("part");
        let mut out = BufWriter::new(File::create(&part)?);
        out.write_all(&Self::header(key, self.size, self.views()))?;
        out.write_all(&self.pictures)?;
        for numbers in [&self.f4, &self.f8, &self.f16] {
            for bits in numbers.as_slice().reinterpret_cast() {
                out.write_all(&bits.to_le_bytes())?;
            }
        }
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(part, path)
    }

    /// `None` when the file was made for other views.
    fn read(path: &Path, key: &str, size: usize, views: usize) -> Result<Option<Cache>> {
        let mut file =
            BufReader::new(File::open(path).with_context(|| path.display().to_string())?);
        let expected = Self::header(key, size, views);
        let mut header = vec![0; expected.len()];
        if file.read_exact(&mut header).is_err() || header != expected {
            return Ok(None);
        }
        let mut cache = Cache {
            size,
            pictures: vec![0; views * size * size * 3],
            f4: Vec::new(),
            f8: Vec::new(),
            f16: Vec::new(),
            norm4: Vec::new(),
            norm8: Vec::new(),
            norm16: Vec::new(),
        };
        file.read_exact(&mut cache.pictures)?;
        let mut numbers = |count: usize| -> Result<Vec<f16>> {
            let mut bytes = vec![0; count * 2];
            file.read_exact(&mut bytes).context("the teacher cache is cut short; delete it")?;
            let bits: Vec<u16> =
                bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
            Ok(bits.as_slice().reinterpret_cast::<f16>().to_vec())
        };
        let (count8, count16) = (views * cache.len8(), views * cache.len16());
        cache.f4 = numbers(views * cache.len4())?;
        cache.f8 = numbers(count8)?;
        cache.f16 = numbers(count16)?;
        ensure!(cache.views() == views, "the teacher cache is damaged; delete {}", path.display());
        cache.normalise();
        Ok(Some(cache))
    }
}

fn channel_norms(data: &[f16], channels: usize, plane: usize) -> Vec<(f32, f32)> {
    let mut sums = vec![(0.0f64, 0.0f64); channels];
    let mut count = 0usize;
    for view in data.chunks_exact(channels * plane) {
        count += plane;
        for (sum, values) in sums.iter_mut().zip(view.chunks_exact(plane)) {
            for v in values {
                let v = f64::from(v.to_f32());
                sum.0 += v;
                sum.1 += v * v;
            }
        }
    }
    let n = count.max(1) as f64;
    sums.into_iter()
        .map(|(s, q)| {
            let mean = s / n;
            (mean as f32, ((q / n - mean * mean).max(1e-12).sqrt()) as f32)
        })
        .collect()
}
