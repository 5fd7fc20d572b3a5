//! Pooled features of many imaginary products: computed once, kept in one small safetensors file.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use touchstone_models::files::write_atomic;

use super::moments::Moments;
use crate::synth::Dice;

/// Name of the one tensor, `[parts, inputs]` f32.
const TENSOR: &str = "features";
/// Metadata: what the rows are.
const PRODUCTS: &str = "products";
/// Metadata: what the features were made of.
const ORIGIN: &str = "origin";
/// Largest file that is read.
const BYTES_MAX: u64 = 1 << 30;
/// Parts of an invented product.
const INVENTED_PARTS: (usize, usize) = (20, 8);

/// The features of one product's parts.
#[derive(Debug, Clone, PartialEq)]
pub struct ProductFeatures {
    /// What it shows ([`crate::synth::BaseKind`] in words): lines that make different things differ in it.
    pub base: String,
    /// Good parts.
    pub good: Vec<Vec<f32>>,
    /// Parts with a generated defect.
    pub defective: Vec<Vec<f32>>,
}

/// Features for training, validation and test; no product is in two of them.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureSet {
    /// Length of a feature vector.
    pub inputs: usize,
    /// What they were made of: model, pictures, seed and counts.
    pub origin: String,
    /// For training.
    pub train: Vec<ProductFeatures>,
    /// For choosing when to stop.
    pub validation: Vec<ProductFeatures>,
    /// For measuring.
    pub test: Vec<ProductFeatures>,
}

/// A product's rows in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    split: usize,
    base: String,
    good: usize,
    defective: usize,
}

impl FeatureSet {
    fn splits(&self) -> [&Vec<ProductFeatures>; 3] {
        [&self.train, &self.validation, &self.test]
    }

    /// Sums over the good parts of training products.
    pub fn moments(&self) -> Moments {
        moments(self.inputs, &self.train)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let (mut entries, mut bytes) = (Vec::new(), Vec::new());
        for (split, products) in self.splits().into_iter().enumerate() {
            for product in products {
                entries.push(Entry {
                    split,
                    base: product.base.clone(),
                    good: product.good.len(),
                    defective: product.defective.len(),
                });
                for row in product.good.iter().chain(&product.defective) {
                    bytes.extend(row.iter().flat_map(|v| v.to_le_bytes()));
                }
            }
        }
        let rows = bytes.len() / (4 * self.inputs.max(1));
        let view = TensorView::new(Dtype::F32, vec![rows, self.inputs], &bytes)
            .context("the features do not make a tensor")?;
        let about = HashMap::from([
            (PRODUCTS.to_owned(), serde_json::to_string(&entries)?),
            (ORIGIN.to_owned(), self.origin.clone()),
        ]);
        let file = safetensors::serialize([(TENSOR, view)], Some(about))
            .context("the features do not make a file")?;
        write_atomic(path, &file).with_context(|| path.display().to_string())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Something else than a file of [`FeatureSet::write`], or features that are no numbers.
    pub fn read(path: &Path) -> Result<FeatureSet> {
        Self::parse(path).with_context(|| {
            format!("{}: no features of `touchstone-tools train proto`", path.display())
        })
    }

    fn parse(path: &Path) -> Result<FeatureSet> {
        let size = std::fs::metadata(path)?.len();
        ensure!(size <= BYTES_MAX, "{size} bytes, more than {BYTES_MAX}");
        let bytes = std::fs::read(path)?;
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let about = header.metadata().as_ref().context("no metadata")?;
        let text = |key: &str| about.get(key).with_context(|| format!("no '{key}' in it"));
        let entries: Vec<Entry> = serde_json::from_str(text(PRODUCTS)?)?;
        let file = SafeTensors::deserialize(&bytes)?;
        let tensor = file.tensor(TENSOR)?;
        let &[rows, inputs] = tensor.shape() else { bail!("'{TENSOR}' is no matrix") };
        ensure!(tensor.dtype() == Dtype::F32 && inputs > 0, "'{TENSOR}' is no matrix of f32");
        let told = entries
            .iter()
            .try_fold(0_usize, |sum, e| sum.checked_add(e.good)?.checked_add(e.defective));
        ensure!(told == Some(rows), "{rows} rows, but the products tell of {told:?}");
        let mut vectors = tensor.data().chunks_exact(4 * inputs).map(|row| {
            row.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        });
        let mut splits: [Vec<ProductFeatures>; 3] = Default::default();
        for entry in entries {
            let good: Vec<Vec<f32>> = vectors.by_ref().take(entry.good).collect();
            let defective: Vec<Vec<f32>> = vectors.by_ref().take(entry.defective).collect();
            let all = good.iter().chain(&defective).flatten();
            ensure!(all.into_iter().all(|v| v.is_finite()), "a feature is no number");
            let split = splits.get_mut(entry.split).context("a split that is not known")?;
            split.push(ProductFeatures { base: entry.base, good, defective });
        }
        let [train, validation, test] = splits;
        Ok(FeatureSet { inputs, origin: text(ORIGIN)?.clone(), train, validation, test })
    }

    /// Features that no picture has: products with centres of their own, parts that scatter about
    /// them along some directions, and defects along others, which are the same for products of one
    /// kind. For tests and for trying out a federation; `inputs` of at least 4.
    pub fn invented(seed: u64, products: usize, inputs: usize) -> FeatureSet {
        const KINDS: usize = 4;
        let dice = &mut Dice::new(seed, 0);
        let mut vector =
            |scale: f32| -> Vec<f32> { (0..inputs).map(|_| scale * dice.around(1.0)).collect() };
        // How parts scatter: widely along the first half of the directions, hardly along the others.
        let nuisance: Vec<Vec<f32>> = (0..inputs / 2).map(|_| vector(1.0)).collect();
        let defects: Vec<Vec<f32>> = (0..KINDS).map(|_| vector(0.8)).collect();
        let split = |stream: u64, count: usize| -> Vec<ProductFeatures> {
            (0..count)
                .map(|p| {
                    let dice = &mut Dice::new(seed, stream + p as u64);
                    let kind = p % KINDS;
                    let centre: Vec<f32> = (0..inputs).map(|_| 2.0 * dice.around(1.0)).collect();
                    let part = |defect: f32, dice: &mut Dice| -> Vec<f32> {
                        let mut part: Vec<f32> =
                            centre.iter().map(|c| c + dice.around(0.05)).collect();
                        let mut add = |direction: &[f32], weight: f32| {
                            part.iter_mut().zip(direction).for_each(|(v, d)| *v += weight * d);
                        };
                        for direction in &nuisance {
                            add(direction, dice.around(0.5));
                        }
                        add(&defects[kind], defect * dice.sign());
                        part
                    };
                    ProductFeatures {
                        base: format!("invented-{kind}"),
                        good: (0..INVENTED_PARTS.0).map(|_| part(0.0, dice)).collect(),
                        defective: (0..INVENTED_PARTS.1).map(|_| part(1.0, dice)).collect(),
                    }
                })
                .collect()
        };
        FeatureSet {
            inputs,
            origin: format!("invented, seed {seed}"),
            train: split(1 << 20, products),
            validation: split(2 << 20, products.div_ceil(2)),
            test: split(3 << 20, products.div_ceil(2)),
        }
    }
}

/// Sums over the good parts of some products.
pub fn moments(inputs: usize, products: &[ProductFeatures]) -> Moments {
    let mut moments = Moments::new(inputs);
    products.iter().flat_map(|p| &p.good).for_each(|row| moments.add(row));
    moments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_back_what_was_written() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("features.safetensors");
        let set = FeatureSet::invented(2, 5, 6);
        set.write(&path).expect("written");
        assert_eq!(FeatureSet::read(&path).expect("read"), set);
    }

    #[test]
    fn damaged_files_are_errors() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("features.safetensors");
        let mut set = FeatureSet::invented(2, 3, 6);
        set.write(&path).expect("written");
        let bytes = std::fs::read(&path).expect("bytes");
        for cut in [0, 7, 100, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..cut]).expect("written");
            assert!(FeatureSet::read(&path).is_err(), "{cut}");
        }
        set.train[0].good[0][0] = f32::NAN;
        set.write(&path).expect("written");
        let error = format!("{:#}", FeatureSet::read(&path).expect_err("no number"));
        assert!(error.contains("no number"), "{error}");
        // Fewer rows than the products tell of.
        set.train[0].good[0].clear();
        assert!(set.write(&path).is_err() || FeatureSet::read(&path).is_err());
    }

    #[test]
    fn splits_share_no_product() {
        let set = FeatureSet::invented(2, 6, 6);
        for (a, b) in [(&set.train, &set.test), (&set.train, &set.validation)] {
            assert!(a.iter().all(|p| b.iter().all(|q| p.good[0] != q.good[0])));
        }
    }
}
