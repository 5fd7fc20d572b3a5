//! Filters on maps.

use touchstone_models::map::Map;

/// A Gaussian reaches this many standard deviations.
const REACH: f32 = 3.0;

/// Largest standard deviation, in cells; more is a mistake and would take minutes.
const SIGMA_MAX: f32 = 64.0;

/// Gaussian blur with a standard deviation of `sigma` cells, edges repeated. A sigma of 0 or less
/// changes nothing.
pub fn gaussian(map: &Map, sigma: f32) -> Map {
    if sigma <= 0.0 {
        return map.clone();
    }
    let sigma = sigma.min(SIGMA_MAX);
    let reach = (REACH * sigma).ceil() as i64;
    let mut kernel: Vec<f32> =
        (-reach..=reach).map(|d| (-0.5 * (d as f32 / sigma).powi(2)).exp()).collect();
    let sum: f32 = kernel.iter().sum();
    kernel.iter_mut().for_each(|k| *k /= sum);
    transposed(&rows(&transposed(&rows(map, &kernel)), &kernel))
}

fn rows(map: &Map, kernel: &[f32]) -> Map {
    let (width, reach) = (map.width as usize, kernel.len() / 2);
    let mut out = map.clone();
    let mut padded = vec![0.0; width + 2 * reach];
    for (from, to) in map.values.chunks(width).zip(out.values.chunks_mut(width)) {
        padded[..reach].fill(from[0]);
        padded[reach..reach + width].copy_from_slice(from);
        padded[reach + width..].fill(from[width - 1]);
        for (value, window) in to.iter_mut().zip(padded.windows(kernel.len())) {
            *value = window.iter().zip(kernel).map(|(v, k)| v * k).sum();
        }
    }
    out
}

fn transposed(map: &Map) -> Map {
    let (width, height) = (map.width as usize, map.height as usize);
    let mut values = Vec::with_capacity(map.values.len());
    for x in 0..width {
        values.extend((0..height).map(|y| map.values[y * width + x]));
    }
    Map { width: map.height, height: map.width, values }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_stay_and_sums_stay() {
        let flat = Map::new(5, 3, vec![0.25; 15]).unwrap();
        let blurred = gaussian(&flat, 2.0);
        assert!(blurred.values.iter().all(|v| (v - 0.25).abs() < 1e-6));
        let mut dot = Map::new(21, 21, vec![0.0; 441]).unwrap();
        dot.values[220] = 1.0;
        let blurred = gaussian(&dot, 1.5);
        assert!((blurred.values.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert_eq!(blurred.at(8, 10), blurred.at(10, 12));
        assert!(blurred.at(10, 10) > blurred.at(9, 10));
    }

    #[test]
    fn rows_and_columns_are_not_mixed_up() {
        let map = Map::new(3, 2, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let turned = transposed(&map);
        assert_eq!((turned.width, turned.height), (2, 3));
        assert_eq!(turned.values, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(gaussian(&map, 0.0), map);
    }
}
