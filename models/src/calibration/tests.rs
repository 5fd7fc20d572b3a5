//! The scalar predictive against the matrix form, and the fit against data of known origin.

use super::*;
use crate::student_t::NiwPrior;
use proptest::prelude::*;

const PRIOR: ScalarPrior = ScalarPrior { mu0: -3.0, kappa0: 0.4, nu0: 4.0, lambda0: 1.2 };

/// A repeatable stream of roughly normal numbers (sum of twelve uniforms).
/// Numbers in 0..1.
pub(super) fn uniform(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    }
}

pub(super) fn normal(seed: u64) -> impl FnMut() -> f64 {
    let mut next = uniform(seed);
    move || (0..12).map(|_| next()).sum::<f64>() - 6.0
}

fn products(count: usize, each: usize, centre: f64, between: f64, within: f64) -> Vec<Vec<f64>> {
    let mut next = normal(5);
    (0..count)
        .map(|_| {
            let own = centre + between * next();
            (0..each).map(|_| own + within * next()).collect()
        })
        .collect()
}

#[test]
fn fit_finds_what_made_the_data() {
    let prior = ScalarPrior::fit(&products(400, 12, -2.0, 1.0, 0.5)).expect("fit");
    assert!((prior.mu0 + 2.0).abs() < 0.15, "{prior:?}");
    assert!((prior.kappa0 / 0.25 - 1.0).abs() < 0.25, "W/B = 0.25: {prior:?}");
    // All products share one variance: the evidence should want many degrees of freedom.
    assert!(prior.nu0 >= 20.0, "{prior:?}");
    assert!((prior.lambda0 / (prior.nu0 - 2.0) / 0.25 - 1.0).abs() < 0.1, "{prior:?}");
}

#[test]
fn fit_sees_products_of_different_spread() {
    let mut data = products(60, 12, 0.0, 1.0, 0.1);
    data.extend(products(60, 12, 0.0, 1.0, 2.0));
    let prior = ScalarPrior::fit(&data).expect("fit");
    assert!(prior.nu0 <= 5.0, "mixed spreads must make heavy tails: {prior:?}");
}

#[test]
fn the_fitted_rate_is_the_rate_that_comes_out() {
    // Fit on some products, then count false rejects of fresh products with three prompts each.
    let all = products(4000, 9, -2.0, 1.0, 0.5);
    let (seen, fresh) = all.split_at(300);
    let prior = ScalarPrior::fit(seen).expect("fit");
    let (mut rejects, mut parts) = (0.0, 0.0);
    for product in fresh {
        let law = prior.predictive(&product[..3]).expect("law");
        for score in &product[3..] {
            rejects += f64::from(u8::from(law.upper_tail(*score) < 0.02));
            parts += 1.0;
        }
    }
    let rate: f64 = rejects / parts;
    assert!((0.012..0.030).contains(&rate), "asked for 0.02, got {rate}");
}

#[test]
fn fit_says_what_is_missing() {
    assert_eq!(ScalarPrior::fit(&[]), Err(CalibrationError::TooFew));
    assert_eq!(ScalarPrior::fit(&[vec![1.0, 2.0], vec![]]), Err(CalibrationError::TooFew));
    assert_eq!(ScalarPrior::fit(&[vec![1.0], vec![2.0]]), Err(CalibrationError::TooFew));
    assert_eq!(ScalarPrior::fit(&[vec![1.0; 3], vec![2.0; 3]]), Err(CalibrationError::NoSpread));
    let nan = [vec![1.0, f64::NAN], vec![2.0, 3.0]];
    assert_eq!(ScalarPrior::fit(&nan), Err(CalibrationError::NotFinite));
}

#[test]
fn identical_product_means_do_not_break_the_fit() {
    let prior = ScalarPrior::fit(&[vec![-1.0, 1.0], vec![-2.0, 2.0]]).expect("fit");
    assert!(prior.kappa0 <= KAPPA_RANGE.1 && prior.lambda0 > 0.0);
}

#[test]
fn prompts_sharpen_the_prior() {
    let alone = PRIOR.predictive(&[]).expect("law");
    let three = PRIOR.predictive(&[-3.1, -2.9, -3.0]).expect("law");
    assert!(three.threshold(1e-3) < alone.threshold(1e-3));
    let hoped = alone.expected_after(10);
    assert!(hoped.threshold(1e-3) < alone.threshold(1e-3));
    assert_eq!(hoped.location(), alone.location());
    assert!(PRIOR.predictive(&[f64::NAN]).is_err());
    assert_eq!(alone.upper_tail(f64::NAN), 0.0);
}

#[test]
fn bonferroni_takes_the_worst_and_never_passes_nan() {
    let thirds = |p: [f64; 3]| bonferroni(&p.map(|p| (p, 1.0 / 3.0)));
    assert!((thirds([0.5, 0.01, 0.9]) - 0.03).abs() < 1e-12);
    assert_eq!(thirds([0.5, 0.9, 0.8]), 1.0);
    assert_eq!(thirds([0.5, f64::NAN, 0.8]), 0.0);
    assert_eq!(bonferroni(&[(f64::NAN, 0.5), (0.5, 0.5)]), 0.0);
    assert!((bonferroni(&[(0.02, 0.2), (0.03, 0.8)]) - 0.0375).abs() < 1e-12);
}

#[test]
fn statistics_of_maps() {
    let mut values = vec![0.0f32; 25];
    values[12] = 0.9;
    let map = Map::new(5, 5, values.clone()).expect("map");
    assert!((change_statistic(&map) - logit(0.1)).abs() < 1e-6, "one cell weighs a ninth");
    assert!((position_statistic(5, 5, &values) - 0.1f64.ln()).abs() < 1e-6);
    // In the corner only four cells share the mean.
    let mut corner = vec![0.0f32; 25];
    corner[0] = 0.8;
    assert!((position_statistic(5, 5, &corner) - 0.2f64.ln()).abs() < 1e-6);
    for bad in [f32::NAN, f32::INFINITY] {
        values[3] = bad;
        assert!(position_statistic(5, 5, &values).is_nan());
        let map = Map { width: 5, height: 5, values: values.clone() };
        assert!(change_statistic(&map).is_nan());
    }
    assert!(position_statistic(5, 4, &[0.0; 25]).is_nan(), "a size that does not fit");
    assert!(change_statistic(&Map::default()).is_nan());
    assert!(change_statistic(&Map::new(1, 1, vec![1.0]).expect("map")).is_finite());
    assert!(position_statistic(1, 1, &[0.0]).is_finite());
}

#[test]
fn the_image_statistic_keeps_to_numbers() {
    assert_eq!(image_statistic(64.0, 64), 0.0);
    assert!((image_statistic(640.0, 64) - 10f64.ln()).abs() < 1e-12);
    assert!(image_statistic(0.0, 64).is_finite());
    assert!(image_statistic(f64::NAN, 64).is_nan());
}

proptest! {
    #[test]
    fn equals_the_matrix_form_with_one_dimension(xs in prop::collection::vec(-9.0..9.0f64, 1..8), x in -9.0..9.0f64) {
        let full = NiwPrior::new(vec![PRIOR.mu0], PRIOR.kappa0, PRIOR.nu0, vec![PRIOR.lambda0]).unwrap();
        let samples: Vec<Vec<f64>> = xs.iter().map(|v| vec![*v]).collect();
        prop_assert!((full.log_evidence(&samples).unwrap() - PRIOR.log_evidence(&xs)).abs() < 1e-9);
        let matrix = full.posterior(&samples).unwrap().predictive().unwrap();
        let scalar = PRIOR.predictive(&xs).unwrap();
        prop_assert!((matrix.law().dof() - scalar.dof()).abs() < 1e-12);
        // delta/1 ~ F(1, nu) is the two-sided t.
        let one_sided = scalar.upper_tail(x).min(1.0 - scalar.upper_tail(x));
        prop_assert!((matrix.p_value(&[x], 1.0) - 2.0 * one_sided).abs() < 1e-9);
    }

    #[test]
    fn threshold_inverts_the_tail(xs in prop::collection::vec(-9.0..9.0f64, 0..8), ln_p in -14.0..-0.7f64) {
        let law = PRIOR.predictive(&xs).unwrap();
        let p = ln_p.exp();
        prop_assert!((law.upper_tail(law.threshold(p)) / p - 1.0).abs() < 1e-5);
    }
}

proptest! {
    #[test]
    fn the_smoothed_peak_is_the_greatest_mean(
        width in prop_oneof![1..7usize, 60..140usize], height in 1..7usize, seed in 0..1000u64,
    ) {
        let mut next = uniform(seed);
        let values: Vec<f32> = (0..width * height).map(|_| next() as f32).collect();
        let mut want = 0.0f64;
        for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
            let rows = y.saturating_sub(1)..(y + 2).min(height);
            let near: Vec<f64> = rows
                .flat_map(|row| {
                    let columns = x.saturating_sub(1)..(x + 2).min(width);
                    columns.map(move |column| row * width + column)
                })
                .map(|cell| f64::from(values[cell]))
                .collect();
            want = want.max(mean(&near));
        }
        prop_assert!((smoothed_peak(width, height, &values) - want).abs() < 1e-6);
        prop_assert!(smoothed_peak(width, height + 1, &values).is_nan());
    }
}
