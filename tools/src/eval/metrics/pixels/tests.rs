use super::super::{auroc, average_precision};
use super::*;
use proptest::prelude::*;

fn tally(width: usize, scores: &[f32], mask: &[bool]) -> PixelTally {
    let truth = Labels::of_mask(width, mask.len() / width, mask);
    PixelTally::new(&QuantisedMap::new(scores).unwrap(), &truth).unwrap()
}

fn pool(tallies: &[PixelTally]) -> Pool {
    let mut pool = Pool::default();
    tallies.iter().for_each(|t| pool.add(t));
    pool
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-9, "{a} is not {b}");
}

#[test]
fn rounding_meets_both_ends() {
    let map = QuantisedMap::new(&[0.0, 1.0, -5e-5, 1.00005, 0.5]).unwrap();
    assert_eq!(map.values, [0, 65535, 0, 65535, 32768]);
}

#[test]
fn broken_scores_are_errors() {
    assert_eq!(
        QuantisedMap::new(&[0.0, f32::NAN]).unwrap_err(),
        MetricError::NotFinite { index: 1 }
    );
    let error = QuantisedMap::new(&[1.5]).unwrap_err();
    assert_eq!(error, MetricError::OutOfRange { index: 0, value: 1.5 });
    assert!(QuantisedMap::new(&[-0.01]).is_err());
}

#[test]
fn sizes_must_agree() {
    let map = QuantisedMap::new(&[0.0; 5]).unwrap();
    assert!(PixelTally::new(&map, &Labels::clean(3, 2)).is_err());
}

#[test]
fn pro_by_hand() {
    // Two regions of 1 and 3 pixels in 14; ten clean pixels. Descending: the single pixel,
    // one clean (fpr .1), two of the three, two clean (fpr .3), the last defect pixel, the rest.
    let mut mask = vec![false; 14];
    mask[0] = true;
    mask[11..14].fill(true);
    let mut scores = vec![0.1; 14];
    scores[0] = 0.9;
    scores[2] = 0.8;
    scores[11] = 0.7;
    scores[12] = 0.7;
    scores[3] = 0.6;
    scores[4] = 0.6;
    scores[13] = 0.5;
    // Curve: (0, .5) (.1, .5) (.1, 5/6) (.3, 5/6).
    let expected = (0.1 * 0.5 + 0.2 * 5.0 / 6.0) / 0.3;
    close(pool(&[tally(14, &scores, &mask)]).pro().unwrap(), expected);
}

#[test]
fn pro_interpolates_at_the_limit() {
    // All in one bin: the curve is the diagonal, so the area to .3 is .3²/2.
    let mask = [true, false, false, false];
    close(pool(&[tally(4, &[0.5; 4], &mask)]).pro().unwrap(), 0.3 / 2.0);
}

#[test]
fn perfect_is_one_and_inverted_is_nothing() {
    let mask: Vec<bool> = (0..64).map(|i| i % 9 == 0 || i > 55).collect();
    let perfect: Vec<f32> = mask.iter().map(|&m| f32::from(u8::from(m))).collect();
    let pool_perfect = pool(&[tally(8, &perfect, &mask)]);
    close(pool_perfect.pro().unwrap(), 1.0);
    close(pool_perfect.auroc().unwrap(), 1.0);
    close(pool_perfect.average_precision().unwrap(), 1.0);
    let inverted: Vec<f32> = perfect.iter().map(|p| 1.0 - p).collect();
    let pool_inverted = pool(&[tally(8, &inverted, &mask)]);
    close(pool_inverted.auroc().unwrap(), 0.0);
    close(pool_inverted.pro().unwrap(), 0.0);
}

#[test]
fn clean_pictures_count_as_clean_pixels() {
    let defective = tally(2, &[0.9, 0.1], &[true, false]);
    let clean = tally(2, &[1.0, 0.0], &[false, false]);
    close(pool(std::slice::from_ref(&defective)).auroc().unwrap(), 1.0);
    close(pool(&[defective, clean]).auroc().unwrap(), 2.0 / 3.0);
}

#[test]
fn no_defective_pixel_is_an_error() {
    let clean = tally(2, &[1.0, 0.0], &[false, false]);
    assert!(matches!(pool(&[clean]).pro(), Err(MetricError::OneClass { .. })));
}

#[test]
fn coarse_bins_keep_the_metrics() {
    // A skewed distribution, as maps have: most clean pixels near zero.
    let mask: Vec<bool> = (0..40_000).map(|i| (i / 200) % 20 == 0 && i % 7 == 0).collect();
    let scores: Vec<f32> = (0..40_000u32)
        .map(|i| {
            let u = (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32;
            if mask[i as usize] { u.sqrt() } else { u * u * u }
        })
        .collect();
    let fine = tally(200, &scores, &mask);
    let full = pool(std::slice::from_ref(&fine));
    let coarse = CoarseBins::for_pool(&full);
    let mut small = coarse.pool();
    small.add(&fine.coarsened(&coarse));
    assert!(small.clean.len() < 3500, "{}", small.clean.len());
    for (a, b) in [
        (small.auroc(), full.auroc()),
        (small.average_precision(), full.average_precision()),
        (small.pro(), full.pro()),
    ] {
        assert!((a.unwrap() - b.unwrap()).abs() < 1e-3);
    }
}

proptest! {
    #[test]
    fn pooled_counts_agree_with_lists(
        cells in prop::collection::vec((0u16..40, any::<bool>()), 4..80)
    ) {
        let mask: Vec<bool> = cells.iter().map(|c| c.1).collect();
        prop_assume!(mask.contains(&true) && mask.contains(&false));
        let scores: Vec<f32> = cells.iter().map(|c| f32::from(c.0) / 40.0).collect();
        let pooled = pool(&[tally(cells.len(), &scores, &mask)]);
        prop_assert!((pooled.auroc().unwrap() - auroc(&scores, &mask).unwrap()).abs() < 1e-9);
        let ap = average_precision(&scores, &mask).unwrap();
        prop_assert!((pooled.average_precision().unwrap() - ap).abs() < 1e-9);
        let pro = pooled.pro().unwrap();
        prop_assert!((0.0..=1.0).contains(&pro));
    }
}
