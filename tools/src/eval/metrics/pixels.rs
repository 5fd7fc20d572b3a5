//! Metrics over pixels: AUROC, average precision, PRO.
//!
//! Maps are 16-bit by contract (`touchstone inspect --maps`), so scores are pooled as counts per
//! 16-bit value. That makes the metrics exact for what the product writes, and a category's pixels
//! fit in memory however many pictures it has.

use super::{Labels, MetricError};

/// Distinct values of a stored map.
pub const BINS: usize = 1 << 16;

/// PRO is integrated over false-positive rates from 0 to here, and divided by it.
pub const PRO_FPR_LIMIT: f64 = 0.3;

/// Overshoot of `0..=1` that is put down to rounding in an interpolation and clamped.
const RANGE_TOLERANCE: f32 = 1e-4;

/// A coarse bin of the bootstrap holds no more than this part of the defective pixels...
const COARSE_DEFECT_PART: u64 = 1024;

/// ...and no more clean pixels than this part of all pixels with higher scores, so that precision
/// moves by at most half a percent of itself within a bin. Point values use all [`BINS`].
const COARSE_CLEAN_PART: u64 = 200;

/// A score map in the 16 bits that it is stored in: 65535 = score 1.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantisedMap {
    /// Row-major values.
    pub values: Vec<u16>,
}

impl QuantisedMap {
    /// Rounds scores of `0..=1` to the nearest stored value.
    ///
    /// # Errors
    /// A score that is not finite or not in range.
    pub fn new(scores: &[f32]) -> Result<Self, MetricError> {
        let values = scores
            .iter()
            .enumerate()
            .map(|(index, &score)| quantise(index, score))
            .collect::<Result<_, _>>()?;
        Ok(Self { values })
    }
}

fn quantise(index: usize, value: f32) -> Result<u16, MetricError> {
    if !value.is_finite() {
        return Err(MetricError::NotFinite { index });
    }
    if !(-RANGE_TOLERANCE..=1.0 + RANGE_TOLERANCE).contains(&value) {
        return Err(MetricError::OutOfRange { index, value });
    }
    Ok((value.clamp(0.0, 1.0) * (BINS - 1) as f32).round() as u16)
}

/// Defective pixels of one picture at one score.
#[derive(Clone, Copy, Debug, PartialEq)]
struct DefectBin {
    bin: u16,
    pixels: u32,
    /// `Σ 1 / size of the region` over those pixels: what they add to the summed region overlap.
    overlap: f64,
}

/// What one picture contributes to the pixel metrics of its category: counts per score.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelTally {
    defect: Vec<DefectBin>,
    clean: Vec<(u16, u32)>,
    regions: u32,
}

impl PixelTally {
    /// Counts the pixels of a map against the ground truth of the same size.
    ///
    /// # Errors
    /// Map and truth of different size.
    pub fn new(map: &QuantisedMap, truth: &Labels) -> Result<Self, MetricError> {
        if map.values.len() != truth.of_pixel.len() {
            return Err(MetricError::SizeMismatch {
                what: "pixels of map and mask",
                expected: truth.of_pixel.len(),
                found: map.values.len(),
            });
        }
        let mut clean = vec![0u32; BINS];
        let mut defect = vec![(0u32, 0f64); BINS];
        for (&bin, &label) in map.values.iter().zip(&truth.of_pixel) {
            match label {
                0 => clean[bin as usize] += 1,
                region => {
                    let cell = &mut defect[bin as usize];
                    cell.0 += 1;
                    cell.1 += 1.0 / f64::from(truth.sizes[region as usize - 1]);
                }
            }
        }
        Ok(Self {
            defect: (0..BINS)
                .filter(|&bin| defect[bin].0 > 0)
                .map(|bin| DefectBin {
                    bin: bin as u16,
                    pixels: defect[bin].0,
                    overlap: defect[bin].1,
                })
                .collect(),
            clean: (0..BINS)
                .filter(|&bin| clean[bin] > 0)
                .map(|bin| (bin as u16, clean[bin]))
                .collect(),
            regions: truth.sizes.len() as u32,
        })
    }

    /// The same counts over fewer bins.
    pub fn coarsened(&self, coarse: &CoarseBins) -> Self {
        let mut out = Self { defect: Vec::new(), clean: Vec::new(), regions: self.regions };
        for cell in &self.defect {
            let bin = coarse.of_bin[cell.bin as usize];
            match out.defect.last_mut() {
                Some(last) if last.bin == bin => {
                    last.pixels += cell.pixels;
                    last.overlap += cell.overlap;
                }
                _ => out.defect.push(DefectBin { bin, ..*cell }),
            }
        }
        for &(bin, pixels) in &self.clean {
            let bin = coarse.of_bin[bin as usize];
            match out.clean.last_mut() {
                Some(last) if last.0 == bin => last.1 += pixels,
                _ => out.clean.push((bin, pixels)),
            }
        }
        out
    }
}

/// Neighbouring scores joined so that a bootstrap over pictures stays cheap.
pub struct CoarseBins {
    of_bin: Vec<u16>,
    bins: usize,
}

impl CoarseBins {
    /// Chooses the bins for a pool over all [`BINS`].
    pub fn for_pool(pool: &Pool) -> Self {
        let defect_limit = pool.defect.iter().sum::<u64>() / COARSE_DEFECT_PART;
        let (mut defect, mut clean, mut above, mut current) = (0u64, 0u64, 0u64, 0u16);
        let mut of_bin = vec![0; BINS];
        for bin in (0..BINS).rev() {
            of_bin[bin] = current;
            defect += pool.defect[bin];
            clean += pool.clean[bin];
            if bin > 0 && (defect > defect_limit || clean > above / COARSE_CLEAN_PART) {
                above += defect + clean;
                (defect, clean, current) = (0, 0, current + 1);
            }
        }
        // Counted from the top; turned round so that a higher bin is again a higher score.
        of_bin.iter_mut().for_each(|bin| *bin = current - *bin);
        Self { of_bin, bins: current as usize + 1 }
    }

    /// An empty pool over these bins.
    pub fn pool(&self) -> Pool {
        Pool::with_bins(self.bins)
    }
}

/// Pixels of a category's pictures, pooled.
#[derive(Clone, Debug)]
pub struct Pool {
    defect: Vec<u64>,
    overlap: Vec<f64>,
    clean: Vec<u64>,
    regions: u64,
}

impl Default for Pool {
    fn default() -> Self {
        Self::with_bins(BINS)
    }
}

impl Pool {
    fn with_bins(bins: usize) -> Self {
        Self { defect: vec![0; bins], overlap: vec![0.0; bins], clean: vec![0; bins], regions: 0 }
    }

    /// Empties the pool, keeping its bins.
    pub fn clear(&mut self) {
        self.defect.fill(0);
        self.overlap.fill(0.0);
        self.clean.fill(0);
        self.regions = 0;
    }

    /// Adds a picture.
    pub fn add(&mut self, tally: &PixelTally) {
        for cell in &tally.defect {
            self.defect[cell.bin as usize] += u64::from(cell.pixels);
            self.overlap[cell.bin as usize] += cell.overlap;
        }
        for &(bin, pixels) in &tally.clean {
            self.clean[bin as usize] += u64::from(pixels);
        }
        self.regions += u64::from(tally.regions);
    }

    /// Area under the ROC curve over pixels, ties by midrank.
    ///
    /// # Errors
    /// Only defective or only clean pixels.
    pub fn auroc(&self) -> Result<f64, MetricError> {
        let (defect_total, clean_total) = self.totals()?;
        let mut clean_below = 0.0;
        let mut area = 0.0;
        for (&defect, &clean) in self.defect.iter().zip(&self.clean) {
            area += defect as f64 * (clean_below + 0.5 * clean as f64);
            clean_below += clean as f64;
        }
        Ok(area / (defect_total * clean_total))
    }

    /// Average precision over pixels, threshold steps over distinct scores.
    ///
    /// # Errors
    /// Only defective or only clean pixels.
    pub fn average_precision(&self) -> Result<f64, MetricError> {
        let (defect_total, _) = self.totals()?;
        let (mut found, mut taken, mut area) = (0u64, 0u64, 0.0);
        for (&defect, &clean) in self.defect.iter().zip(&self.clean).rev() {
            found += defect;
            taken += defect + clean;
            if defect > 0 {
                area += defect as f64 * (found as f64 / taken as f64);
            }
        }
        Ok(area / defect_total)
    }

    /// Per-region overlap (each ground-truth region counts the same, whatever its size) integrated
    /// by trapezoids over the pooled false-positive rate up to [`PRO_FPR_LIMIT`], divided by it.
    /// Every stored value is a threshold; the curve is interpolated at the limit.
    ///
    /// # Errors
    /// Only defective or only clean pixels.
    pub fn pro(&self) -> Result<f64, MetricError> {
        let (_, clean_total) = self.totals()?;
        let regions = self.regions as f64;
        let (mut clean, mut overlap) = (0u64, 0.0);
        let (mut fpr_before, mut pro_before, mut area) = (0.0, 0.0, 0.0);
        for bin in (0..self.clean.len()).rev() {
            clean += self.clean[bin];
            overlap += self.overlap[bin];
            let (fpr, pro) = (clean as f64 / clean_total, overlap / regions);
            if fpr >= PRO_FPR_LIMIT {
                let part = (PRO_FPR_LIMIT - fpr_before) / (fpr - fpr_before);
                let at_limit = pro_before + part * (pro - pro_before);
                area += (PRO_FPR_LIMIT - fpr_before) * 0.5 * (pro_before + at_limit);
                break;
            }
            area += (fpr - fpr_before) * 0.5 * (pro_before + pro);
            (fpr_before, pro_before) = (fpr, pro);
        }
        // Summing thousands of 1/size terms may end a few ulp above one.
        Ok((area / PRO_FPR_LIMIT).min(1.0))
    }

    fn totals(&self) -> Result<(f64, f64), MetricError> {
        let defective: u64 = self.defect.iter().sum();
        let clean: u64 = self.clean.iter().sum();
        if defective == 0 || clean == 0 {
            return Err(MetricError::OneClass { defective, clean });
        }
        Ok((defective as f64, clean as f64))
    }
}

#[cfg(test)]
mod tests;
