//! What the tests of this folder share.

use crate::synth::Dice;

use super::episode::Episode;

/// Repeatable numbers in -1..1.
pub fn noise(seed: u64, count: usize) -> Vec<f64> {
    let mut dice = Dice::new(seed, 0);
    (0..count).map(|_| f64::from(dice.around(1.0))).collect()
}

/// `gradient` is the slope of `loss` at `at`, by central differences.
pub fn slopes_agree(at: &[f64], gradient: &[f64], loss: impl Fn(&[f64]) -> f64) {
    const STEP: f64 = 1e-5;
    assert_eq!(at.len(), gradient.len());
    let mut moved = at.to_vec();
    for (k, slope) in gradient.iter().enumerate() {
        moved[k] = at[k] + STEP;
        let up = loss(&moved);
        moved[k] = at[k] - STEP;
        let down = loss(&moved);
        moved[k] = at[k];
        let numeric = (up - down) / (2.0 * STEP);
        let scale = 1.0 + numeric.abs().max(slope.abs());
        assert!((numeric - slope).abs() < 2e-6 * scale, "{k}: {slope}, by differences {numeric}");
    }
}

/// An episode of made-up features: 4 shots, 3 good and 2 defective queries.
pub fn episode(seed: u64, inputs: usize) -> Episode {
    let centre = noise(seed, inputs);
    let near = |k: u64, spread: f64| -> Vec<f64> {
        let offset = noise(100 * seed + k, inputs);
        centre.iter().zip(offset).map(|(c, o)| c + spread * o).collect()
    };
    Episode {
        product: 0,
        support: (0..4).map(|k| near(k, 0.3)).collect(),
        queries: (4..9).map(|k| near(k, if k < 7 { 0.3 } else { 0.9 })).collect(),
        defective: vec![false, false, false, true, true],
    }
}
