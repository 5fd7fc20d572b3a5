//! Mean and deviation of features per dimension. Sums add up, so lines that may not show each other
//! their pictures still agree on one standard.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// Deviations below this share of the largest one count as this share: a dimension that never moves
/// must not be blown up.
const FLOOR: f64 = 1e-3;

/// Sums over feature vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// How many vectors.
    pub count: f64,
    /// Sum per dimension.
    pub sum: Vec<f64>,
    /// Sum of squares per dimension.
    pub squares: Vec<f64>,
}

impl Moments {
    /// Of nothing.
    pub fn new(inputs: usize) -> Moments {
        Moments { count: 0.0, sum: vec![0.0; inputs], squares: vec![0.0; inputs] }
    }

    /// Takes a vector in.
    pub fn add(&mut self, features: &[f32]) {
        self.count += 1.0;
        for ((sum, square), v) in self.sum.iter_mut().zip(&mut self.squares).zip(features) {
            let v = f64::from(*v);
            *sum += v;
            *square += v * v;
        }
    }

    /// Mean and deviation.
    ///
    /// # Errors
    /// Fewer than two vectors, or sums that no vectors have.
    pub fn standard(&self) -> Result<Standard> {
        ensure!(self.count >= 2.0, "features of {} parts: too few to standardise", self.count);
        ensure!(
            self.sum.len() == self.squares.len() && !self.sum.is_empty(),
            "moments of {} and {} dimensions",
            self.sum.len(),
            self.squares.len()
        );
        let mean: Vec<f64> = self.sum.iter().map(|s| s / self.count).collect();
        let spread: Vec<f64> = self
            .squares
            .iter()
            .zip(&mean)
            .map(|(s, m)| (s / self.count - m * m).max(0.0).sqrt())
            .collect();
        let largest = spread.iter().fold(0.0_f64, |a, b| a.max(*b));
        ensure!(largest.is_finite() && largest > 0.0, "the features of all parts are the same");
        let scale = spread.iter().map(|s| 1.0 / s.max(FLOOR * largest)).collect();
        Ok(Standard { mean, scale })
    }
}

/// Brings features to mean 0 and deviation 1 per dimension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standard {
    /// Mean per dimension.
    pub mean: Vec<f64>,
    /// One over the deviation per dimension.
    pub scale: Vec<f64>,
}

impl Standard {
    /// Changes nothing.
    pub fn identity(inputs: usize) -> Standard {
        Standard { mean: vec![0.0; inputs], scale: vec![1.0; inputs] }
    }

    /// The standardised features.
    pub fn apply(&self, features: &[f32]) -> Vec<f64> {
        let pairs = self.mean.iter().zip(&self.scale);
        features.iter().zip(pairs).map(|(v, (m, s))| (f64::from(*v) - m) * s).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standardised_features_have_mean_zero_and_deviation_one() {
        let rows: [[f32; 2]; 4] = [[1.0, 5.0], [3.0, 5.0], [1.0, 5.0], [3.0, 5.0]];
        let mut moments = Moments::new(2);
        rows.iter().for_each(|r| moments.add(r));
        let standard = moments.standard().expect("standard");
        assert_eq!(standard.apply(&rows[0]), [-1.0, 0.0]);
        assert_eq!(standard.apply(&[3.0, 5.0]), [1.0, 0.0]);
        // A dimension that never moved is kept small, not divided by zero.
        assert!(standard.scale.iter().all(|s| s.is_finite()));
    }

    #[test]
    fn nothing_cannot_be_standardised() {
        assert!(Moments::new(2).standard().is_err());
        let same = Moments { count: 4.0, sum: vec![4.0], squares: vec![4.0] };
        assert!(same.standard().is_err());
        let nan = Moments { count: 4.0, sum: vec![f64::NAN], squares: vec![4.0] };
        assert!(nan.standard().is_err());
    }
}
