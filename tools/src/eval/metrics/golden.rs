//! The metrics against values computed with NumPy, SciPy and scikit-learn by
//! `tests/golden/metrics_golden.py`, which holds the same generators.

use super::*;

const WIDTH: usize = 48;
const HEIGHT: usize = 32;

/// Values of 0..65535: the upper half of a 32-bit linear congruential generator.
fn noise(seed: u32, count: usize) -> Vec<u16> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as u16
    };
    (0..count).map(next).collect()
}

fn pictures() -> (Vec<f32>, Vec<bool>) {
    let scores: Vec<u16> = noise(1, 40).iter().map(|v| v / 4096).collect();
    let labels = scores.iter().zip(noise(2, 40)).map(|(s, n)| s + n / 4096 > 16);
    let labels = labels.collect();
    (scores.iter().map(|&s| f32::from(s) / 16.0).collect(), labels)
}

/// A map on 64 levels and a mask of ellipses `(cx, cy, rx, ry)`.
fn pixels(seed: u32, defects: &[(i64, i64, i64, i64)]) -> (Vec<u16>, Vec<bool>) {
    let mask: Vec<bool> = (0..(WIDTH * HEIGHT) as i64)
        .map(|i| {
            let (x, y) = (i % WIDTH as i64, i / WIDTH as i64);
            defects.iter().any(|&(cx, cy, rx, ry)| {
                ((x - cx) * ry).pow(2) + ((y - cy) * rx).pow(2) <= (rx * ry).pow(2)
            })
        })
        .collect();
    let values = noise(seed, WIDTH * HEIGHT);
    let values = values.iter().zip(&mask);
    let values = values.map(|(v, &m)| v / 1024 * 768 + if m { 12_000 } else { 0 });
    (values.collect(), mask)
}

fn maps() -> [(Vec<u16>, Vec<bool>); 3] {
    [
        pixels(3, &[(10, 8, 6, 4), (30, 20, 9, 7)]),
        pixels(4, &[(40, 6, 2, 2), (42, 12, 3, 9)]),
        pixels(5, &[]),
    ]
}

fn close(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-12, "{got} is not {expected}");
}

#[test]
fn pictures_match_scikit_learn() {
    let (scores, labels) = pictures();
    assert_eq!(labels.iter().filter(|&&l| l).count(), 14);
    close(auroc(&scores, &labels).unwrap(), 0.875);
    close(average_precision(&scores, &labels).unwrap(), 0.814984327064159);
    let rejected: Vec<bool> = scores.iter().map(|&s| s > 0.5).collect();
    close(Confusion::count(&rejected, &labels).unwrap().f1(), 0.8);
}

#[test]
fn pixels_match_scikit_learn_and_pro_its_definition() {
    let mut pool = Pool::default();
    let mut sum = 0u64;
    for (values, mask) in maps() {
        sum += values.iter().map(|&v| u64::from(v)).sum::<u64>();
        let truth = Labels::of_mask(WIDTH, HEIGHT, &mask);
        pool.add(&PixelTally::new(&QuantisedMap { values }, &truth).unwrap());
    }
    assert_eq!(sum, 115_697_760, "the generators differ");
    close(pool.auroc().unwrap(), 0.701462236270655);
    close(pool.average_precision().unwrap(), 0.35775980884479164);
    close(pool.pro().unwrap(), 0.38133484733123435);
}

/// Mean of the 5 x 5 cells around each, edges repeated, rounded down.
fn box_filtered(values: &[u16]) -> Vec<u16> {
    let at = |x: i64, y: i64| {
        let (x, y) = (x.clamp(0, WIDTH as i64 - 1), y.clamp(0, HEIGHT as i64 - 1));
        u32::from(values[y as usize * WIDTH + x as usize])
    };
    (0..(WIDTH * HEIGHT) as i64)
        .map(|i| {
            let (x, y) = (i % WIDTH as i64, i / WIDTH as i64);
            let sum: u32 = (0..25).map(|d| at(x + d % 5 - 2, y + d / 5 - 2)).sum();
            (sum / 25) as u16
        })
        .collect()
}

#[test]
fn boxes_match_labelling_with_scipy() {
    let boxes = [(4.0, 4.0, 16.0, 12.0), (20.0, 13.0, 40.0, 27.0), (41.0, 2.0, 47.0, 9.0)]
        .map(|(x1, y1, x2, y2)| TypedBox { x1, y1, x2, y2, kind: "any".into() });
    let filtered = box_filtered(&maps()[0].0);
    let expected = [
        (24_000, [false, true, false], 3),
        (26_000, [true, true, false], 11),
        (28_000, [true, true, false], 5),
        (30_000, [true, true, false], 4),
    ];
    for (threshold, hits, wrong) in expected {
        // The sweep has its own thresholds: two levels are all that it has to tell apart.
        let values = filtered.iter().map(|&v| if v >= threshold { 40_000 } else { 0 });
        let values = values.collect();
        let sweep = BoxSweep::new(&QuantisedMap { values }, WIDTH, &boxes).unwrap();
        let curve = HitCurve::of([&sweep], None).unwrap();
        let last = curve.hit_rate.len() - 1;
        assert_eq!(curve.false_per_picture[last], f64::from(wrong), "at {threshold}");
        let rate = hits.iter().filter(|&&h| h).count() as f64 / 3.0;
        close(curve.hit_rate[last], rate);
    }
}
