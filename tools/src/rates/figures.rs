//! Stated rates beside measured ones.

use std::fmt::Write;

use serde::Serialize;

use crate::synth::Dice;

/// The rates that are looked at, parts per million.
pub const STATED_PPM: [u32; 4] = [100_000, 10_000, 3_000, 1_000];
/// Resamples of the interval.
const RESAMPLES: usize = 2000;

/// What one number of prompts gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Good parts taught.
    pub k: usize,
    /// Products looked at.
    pub products: usize,
    /// Good parts judged, over all products.
    pub parts: usize,
    /// One for each of [`STATED_PPM`].
    pub rates: Vec<Rate>,
}

/// A stated rate and what it was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rate {
    /// Asked for, parts per million.
    pub stated_ppm: u32,
    /// Good parts with a p-value below, parts per million.
    pub measured_ppm: f64,
    /// 95 % interval over products: parts of one product are not independent.
    pub low_ppm: f64,
    /// See `low_ppm`.
    pub high_ppm: f64,
}

impl Row {
    /// From the p-values of each product's good parts.
    pub fn new(k: usize, products: &[Vec<f64>], seed: u64) -> Row {
        let rate = |stated_ppm: u32| {
            let counts: Vec<(usize, usize)> = products
                .iter()
                .map(|p| {
                    (p.iter().filter(|p| **p <= f64::from(stated_ppm) * 1e-6).count(), p.len())
                })
                .collect();
            let dice = &mut Dice::new(seed, u64::from(stated_ppm));
            let mut drawn: Vec<f64> = (0..RESAMPLES)
                .map(|_| share((0..counts.len()).map(|_| counts[dice.below(counts.len())])))
                .collect();
            drawn.sort_by(f64::total_cmp);
            let at = |share: f64| drawn[((share * RESAMPLES as f64) as usize).min(RESAMPLES - 1)];
            let measured_ppm = share(counts.iter().copied());
            Rate { stated_ppm, measured_ppm, low_ppm: at(0.025), high_ppm: at(0.975) }
        };
        Row {
            k,
            products: products.len(),
            parts: products.iter().map(Vec::len).sum(),
            rates: STATED_PPM.map(rate).to_vec(),
        }
    }
}

/// Rejected of all, parts per million; 0 of none.
fn share(counts: impl Iterator<Item = (usize, usize)>) -> f64 {
    let (over, all) = counts.fold((0, 0), |(o, a), (over, all)| (o + over, a + all));
    if all == 0 { 0.0 } else { over as f64 / all as f64 * 1e6 }
}

/// For people.
pub fn table(rows: &[Row]) -> String {
    let mut out = String::from("  k  products   parts");
    for ppm in STATED_PPM {
        let _ = write!(out, "{:>30}", format!("stated {ppm} ppm"));
    }
    out.push('\n');
    for row in rows {
        let _ = write!(out, "{:>3} {:>9} {:>7}", row.k, row.products, row.parts);
        for Rate { measured_ppm, low_ppm, high_ppm, .. } in &row.rates {
            let cell = format!("{measured_ppm:.0} ({low_ppm:.0}..{high_ppm:.0})");
            let _ = write!(out, "{cell:>30}");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_shares_of_all_parts() {
        // One product of two is rejected half of the time at 1 %, never at 0.1 %.
        let products = [vec![0.5; 10], [vec![0.005; 5], vec![0.5; 5]].concat()];
        let row = Row::new(5, &products, 1);
        assert_eq!((row.k, row.products, row.parts), (5, 2, 20));
        let of = |ppm| *row.rates.iter().find(|r| r.stated_ppm == ppm).expect("stated");
        assert_eq!((of(10_000).measured_ppm, of(1000).measured_ppm), (250_000.0, 0.0));
        // Drawing the same product twice is all that can happen.
        assert_eq!((of(10_000).low_ppm, of(10_000).high_ppm), (0.0, 500_000.0));
        let table = table(&[row]);
        assert!(
            table.contains("250000 (0..500000)") && table.contains("stated 1000 ppm"),
            "{table}"
        );
    }

    #[test]
    fn no_parts_are_no_rate() {
        let row = Row::new(1, &[vec![], vec![]], 1);
        assert!(row.rates.iter().all(|r| r.measured_ppm == 0.0 && r.high_ppm == 0.0));
    }
}
