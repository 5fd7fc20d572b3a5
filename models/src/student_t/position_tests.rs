//! The position posterior against the dense reference and under shifts.

use super::super::NiwPrior;
use super::super::linalg::add_outer;
use super::*;
use proptest::prelude::*;

/// The width whose default search window the tests use, whatever the size of their own grids.
const GRID_WIDTH: usize = 32;

pub(in super::super) fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f64 / (1u64 << 23) as f64 - 1.0) as f32
    }
}

fn unit_rows(width: usize, height: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut next = noise(seed);
    let mut values: Vec<f32> = (0..width * height * dim).map(|_| next()).collect();
    for row in values.chunks_exact_mut(dim) {
        let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        row.iter_mut().for_each(|v| *v /= length);
    }
    values
}

fn jittered(base: &[f32], amount: f32, seed: u64) -> Vec<f32> {
    let mut next = noise(seed);
    base.iter().map(|v| v + amount * next()).collect()
}

/// The picture moved by whole cells; cells that come in from outside repeat the edge.
fn shifted(
    base: &[f32],
    width: usize,
    height: usize,
    dim: usize,
    dx: isize,
    dy: isize,
) -> Vec<f32> {
    let mut out = Vec::with_capacity(base.len());
    for y in 0..height as isize {
        for x in 0..width as isize {
            let from_x = (x - dx).clamp(0, width as isize - 1) as usize;
            let from_y = (y - dy).clamp(0, height as isize - 1) as usize;
            out.extend_from_slice(&base[(from_y * width + from_x) * dim..][..dim]);
        }
    }
    out
}

/// Rows and columns within `reach` of a cell, clipped to the grid: `(x0, x1, y0, y1)`, ends
/// exclusive.
fn window(cell: usize, width: usize, height: usize, reach: usize) -> (usize, usize, usize, usize) {
    let (x, y) = (cell % width, cell / width);
    let clip = |at: usize, size: usize| (at.saturating_sub(reach), (at + reach + 1).min(size));
    let ((x0, x1), (y0, y1)) = (clip(x, width), clip(y, height));
    (x0, x1, y0, y1)
}

fn enrol(
    grids: &[Vec<f32>],
    width: usize,
    height: usize,
    dim: usize,
    prior: PositionPrior,
) -> Enrolment {
    let grids = grids
        .iter()
        .map(|g| PatchGrid::new(width, height, dim, g.clone()).expect("valid grid"))
        .collect();
    Enrolment::new(grids, prior).expect("valid enrolment")
}

#[test]
fn one_position_with_its_mean_is_the_dense_posterior() {
    // One cell, no window: the residual scatter over P = 1 is S, and with mu0 = mean there is no
    // shift term, so the formulas of 4.2 and 4.4 must come out.
    let dim = 8;
    let xs: Vec<Vec<f32>> = (0..4).map(|i| unit_rows(1, 1, dim, 40 + i)).collect();
    let prior = PositionPrior {
        lambda: 0.02,
        covariance: Covariance::LowRank,
        reference: Reference::Mean,
        reach: 0,
    };
    let mut post = enrol(&xs, 1, 1, dim, prior).posterior().expect("posterior");
    let wide: Vec<Vec<f64>> =
        xs.iter().map(|x| x.iter().map(|v| f64::from(*v)).collect()).collect();
    let mean: Vec<f64> = (0..dim).map(|d| wide.iter().map(|x| x[d]).sum::<f64>() / 4.0).collect();
    let dense = NiwPrior::isotropic(mean, KAPPA0, 0.02)
        .and_then(|p| p.posterior(&wide))
        .and_then(|p| p.predictive())
        .expect("dense");
    let query = unit_rows(1, 1, dim, 77);
    let point: Vec<f64> = query.iter().map(|v| f64::from(*v)).collect();
    let got = f64::from(post.ratio_map(&query).expect("map")[0]);
    let want = dense.delta(&point) / dim as f64;
    assert!((got / want - 1.0).abs() < 1e-4, "{got} vs {want}");
    assert!((post.law().dof() - dense.law().dof()).abs() < 1e-12);
    assert!((post.law().log_t(0.3) - dense.law().log_t(0.3)).abs() < 1e-6, "same normaliser");
}

#[test]
fn diagonal_covariance_weighs_each_dimension() {
    let dim = 4;
    let base = unit_rows(6, 6, dim, 1);
    // Only dimension 0 varies between good parts.
    let prompts: Vec<Vec<f32>> = (0..5)
        .map(|i| {
            let mut next = noise(100 + i);
            let mut grid = base.clone();
            grid.iter_mut().step_by(dim).for_each(|v| *v += 0.3 * next());
            grid
        })
        .collect();
    for covariance in [Covariance::Diagonal, Covariance::LowRank] {
        let prior =
            PositionPrior { lambda: 1e-3, covariance, reference: Reference::Mean, reach: 0 };
        let mut post = enrol(&prompts, 6, 6, dim, prior).posterior().expect("posterior");
        let moved = |d: usize| {
            let mut q = base.clone();
            q[14 * dim + d] += 0.3;
            q
        };
        let usual = post.ratio_map(&moved(0)).expect("map")[14];
        let unusual = post.ratio_map(&moved(2)).expect("map")[14];
        assert!(unusual > 10.0 * usual, "{covariance:?}: {unusual} vs {usual}");
    }
}

#[test]
fn the_window_forgives_shifts_and_only_within_reach() {
    let (w, h, dim) = (12, 12, 16);
    let base = unit_rows(w, h, dim, 3);
    let prior = PositionPrior::for_unit_rows(dim, GRID_WIDTH);
    let mut post =
        enrol(std::slice::from_ref(&base), w, h, dim, prior).posterior().expect("posterior");
    for (dx, dy) in [(0, 0), (1, 0), (-2, 2), (2, 1)] {
        let map = post.ratio_map(&shifted(&base, w, h, dim, dx, dy)).expect("map");
        let worst = map.iter().copied().fold(0.0, f32::max);
        assert!(worst < 1e-3, "shift {dx},{dy}: {worst}");
    }
    let far = post.ratio_map(&shifted(&base, w, h, dim, 3, 0)).expect("map");
    assert!(far[5 * w + 6] > 1.0, "three cells are out of reach");
}

#[test]
fn a_bank_keeps_unregistered_prompts_apart() {
    let (w, h, dim) = (10, 10, 16);
    let (one, two) = (unit_rows(w, h, dim, 5), unit_rows(w, h, dim, 6));
    let mut post = enrol(
        &[one.clone(), two.clone()],
        w,
        h,
        dim,
        PositionPrior::for_unit_rows(dim, GRID_WIDTH),
    )
    .posterior()
    .expect("posterior");
    for good in [&one, &two] {
        let worst = post.ratio_map(good).expect("map").iter().copied().fold(0.0, f32::max);
        assert!(worst < 1e-3, "a prompt itself is not novel: {worst}");
    }
    // Against the mean of the two, both prompts look equally strange everywhere.
    let prior = PositionPrior {
        reference: Reference::Mean,
        ..PositionPrior::for_unit_rows(dim, GRID_WIDTH)
    };
    let mut mean = enrol(&[one.clone(), two], w, h, dim, prior).posterior().expect("posterior");
    assert!(mean.ratio_map(&one).expect("map")[33] > 0.1);
}

#[test]
fn a_defect_stands_out_where_it_is() {
    let (w, h, dim) = (16, 16, 32);
    let base = unit_rows(w, h, dim, 9);
    let prompts: Vec<Vec<f32>> = (0..3).map(|i| jittered(&base, 0.03, 20 + i)).collect();
    let mut post = enrol(&prompts, w, h, dim, PositionPrior::for_unit_rows(dim, GRID_WIDTH))
        .posterior()
        .expect("posterior");
    let mut query = jittered(&base, 0.03, 50);
    let strange = unit_rows(1, 1, dim, 1234);
    query[(7 * w + 4) * dim..][..dim].copy_from_slice(&strange);
    let map = post.ratio_map(&query).expect("map").to_vec();
    let (peak, _) = map.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).expect("cells");
    assert_eq!(peak, 7 * w + 4);
    let second =
        map.iter().enumerate().filter(|(i, _)| *i != peak).map(|(_, v)| *v).fold(0.0, f32::max);
    assert!(map[peak] > 5.0 * second, "{} vs {second}", map[peak]);
}

#[test]
fn leaving_out_is_enrolling_the_others() {
    let (w, h, dim) = (6, 5, 12);
    let base = unit_rows(w, h, dim, 2);
    let prompts: Vec<Vec<f32>> = (0..4).map(|i| jittered(&base, 0.1, 70 + i)).collect();
    for reference in [Reference::Bank, Reference::Mean] {
        let prior = PositionPrior { reference, ..PositionPrior::for_unit_rows(dim, GRID_WIDTH) };
        let all = enrol(&prompts, w, h, dim, prior);
        for i in 0..4 {
            let mut others = prompts.clone();
            let query = others.remove(i);
            let mut fresh = enrol(&others, w, h, dim, prior).posterior().expect("posterior");
            let mut left = all.posterior_without(&[i]).expect("posterior");
            assert_eq!(
                fresh.ratio_map(&query).expect("map"),
                left.ratio_map(&query).expect("map"),
                "{reference:?} without {i}"
            );
        }
    }
}

#[test]
fn the_scale_does_not_jump_with_the_second_prompt() {
    let (w, h, dim) = (16, 16, 64);
    let base = unit_rows(w, h, dim, 8);
    // Jitter whose pairwise squared distance is the prior's PATCH_SPREAD.
    let amount = (PATCH_SPREAD * 3.0 / (2.0 * dim as f64)).sqrt() as f32;
    let prompts: Vec<Vec<f32>> = (0..6).map(|i| jittered(&base, amount, 300 + i)).collect();
    let query = jittered(&base, amount, 999);
    let level = |k: usize| {
        let mut post =
            enrol(&prompts[..k], w, h, dim, PositionPrior::for_unit_rows(dim, GRID_WIDTH))
                .posterior()
                .expect("posterior");
        let map = post.ratio_map(&query).expect("map");
        map.iter().sum::<f32>() / map.len() as f32
    };
    let levels = [level(1), level(2), level(3), level(6)];
    for pair in levels.windows(2) {
        let step = pair[1] / pair[0];
        assert!((0.5..2.0).contains(&step), "{levels:?}");
    }
}

#[test]
fn bad_input_is_an_error() {
    assert!(PatchGrid::new(2, 2, 3, vec![0.0; 11]).is_err());
    assert!(PatchGrid::new(0, 2, 3, vec![]).is_err());
    assert!(PatchGrid::new(1, 1, 1, vec![f32::NAN]).is_err());
    let prior = PositionPrior::for_unit_rows(4, GRID_WIDTH);
    assert_eq!(Enrolment::new(vec![], prior).map(|_| ()), Err(StudentTError::NoSamples));
    let a = PatchGrid::new(2, 2, 4, unit_rows(2, 2, 4, 1)).expect("grid");
    let b = PatchGrid::new(4, 1, 4, unit_rows(2, 2, 4, 1)).expect("grid");
    assert!(Enrolment::new(vec![a.clone(), b], prior).is_err());
    assert!(Enrolment::new(vec![a.clone()], PositionPrior { reach: 99, ..prior }).is_err());
    assert!(Enrolment::new(vec![a.clone()], PositionPrior { lambda: 0.0, ..prior }).is_err());
    let enrolled = Enrolment::new(vec![a], prior).expect("enrolment");
    assert!(enrolled.posterior_without(&[0]).is_err());
    let mut post = enrolled.posterior().expect("posterior");
    assert!(post.ratio_map(&[0.0; 3]).is_err());
    for bad in [f32::NAN, f32::INFINITY, 1e30] {
        let mut rows = unit_rows(2, 2, 4, 1);
        rows[5] = bad;
        assert!(post.ratio_map(&rows).is_err(), "{bad}");
    }
    assert!(post.ratio_map(&unit_rows(2, 2, 4, 2)).is_ok(), "and the next part is judged again");
}

proptest! {
    #[test]
    fn whitened_distance_is_the_exact_one(seed in 0..500u64, k in 2..5usize, reach in 0..3usize) {
        // The fast form against |Lambda^(-1/2) (q - m)|^2 minimised in f64.
        let (w, h, dim) = (4, 3, 6);
        let base = unit_rows(w, h, dim, seed);
        let prompts: Vec<Vec<f32>> = (0..k).map(|i| jittered(&base, 0.2, seed + 1 + i as u64)).collect();
        let prior = PositionPrior { reach, ..PositionPrior::for_unit_rows(dim, GRID_WIDTH) };
        let enrolled = enrol(&prompts, w, h, dim, prior);
        let mut post = enrolled.posterior().unwrap();
        // Rebuild Lambda from the public definition, brute force.
        let mut lambda = vec![0.0; dim * dim];
        for i in 0..dim { lambda[i * dim + i] = prior.lambda; }
        let diff = |a: &[f32], b: &[f32]| -> Vec<f64> {
            a.iter().zip(b).map(|(x, y)| f64::from(*x) - f64::from(*y)).collect()
        };
        let row = |g: &'_ Vec<f32>, c: usize| g[c * dim..(c + 1) * dim].to_vec();
        for i in 0..k {
            for cell in 0..w * h {
                let (x0, x1, y0, y1) = window(cell, w, h, reach);
                let mut best: Option<Vec<f64>> = None;
                for j in (0..k).filter(|j| *j != i) {
                    for c in (y0..y1).flat_map(|y| (x0..x1).map(move |x| y * w + x)) {
                        let e = diff(&row(&prompts[i], cell), &row(&prompts[j], c));
                        let n = |v: &Vec<f64>| v.iter().map(|a| a * a).sum::<f64>();
                        if best.as_ref().is_none_or(|b| n(&e) < n(b)) { best = Some(e); }
                    }
                }
                add_outer(&mut lambda, &best.unwrap(), 0.5 / (w * h) as f64);
            }
        }
        let chol = super::super::linalg::Cholesky::new(dim, &lambda).unwrap();
        let query = jittered(&base, 0.4, seed + 99);
        let map = post.ratio_map(&query).unwrap().to_vec();
        let c = post.law().c();
        for (cell, got) in map.iter().enumerate() {
            let (x0, x1, y0, y1) = window(cell, w, h, reach);
            let mut least = f64::INFINITY;
            for p in &prompts {
                for other in (y0..y1).flat_map(|y| (x0..x1).map(move |x| y * w + x)) {
                    least = least.min(chol.quadratic(&diff(&row(&query, cell), &row(p, other))));
                }
            }
            let want = least / c / dim as f64;
            let got = f64::from(*got);
            prop_assert!((got - want).abs() < 1e-3 * want.max(0.1), "{got} vs {want}");
        }
    }
}
