//! The low-rank form against the dense reference.

use super::super::NiwPrior;
use super::*;
use proptest::prelude::*;

fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

fn samples(dim: usize, k: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut next = noise(seed);
    (0..k).map(|_| (0..dim).map(|_| next()).collect()).collect()
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * a.abs().max(b.abs()).max(1.0)
}

/// `q` in f32, once by Woodbury's identity and once in the stable form, from the same columns.
fn q_in_f32(columns: &[Vec<f64>], e: &[f64], lambda: f32) -> (f32, f32) {
    let u: Vec<Vec<f32>> = columns.iter().map(|c| c.iter().map(|v| *v as f32).collect()).collect();
    let e: Vec<f32> = e.iter().map(|v| *v as f32).collect();
    let dot32 = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let n = u.len();
    // Cholesky of G = lambda I + U^T U, and w = L^-1 U^T e, all in f32.
    let mut l = vec![0f32; n * n];
    let mut w = vec![0f32; n];
    for i in 0..n {
        for j in 0..=i {
            let mut sum = dot32(&u[i], &u[j]) + if i == j { lambda } else { 0.0 };
            for k in 0..j {
                sum -= l[i * n + k] * l[j * n + k];
            }
            l[i * n + j] = if i == j { sum.sqrt() } else { sum / l[j * n + j] };
        }
        let mut sum = dot32(&u[i], &e);
        for k in 0..i {
            sum -= l[i * n + k] * w[k];
        }
        w[i] = sum / l[i * n + i];
    }
    let woodbury = (dot32(&e, &e) - dot32(&w, &w)) / lambda;
    let mut rest = e;
    let mut inside = 0f32;
    for d in left_svd(columns.to_vec()) {
        let unit: Vec<f32> = d.unit.iter().map(|v| *v as f32).collect();
        let b = dot32(&unit, &rest);
        inside += b * b / (lambda + (d.value * d.value) as f32);
        for (r, v) in rest.iter_mut().zip(&unit) {
            *r -= b * v;
        }
    }
    (woodbury, dot32(&rest, &rest) / lambda + inside)
}

#[test]
fn stable_where_woodbury_cancels() {
    // The situation of section 4.8: D = 64, K = 5, lambda = 1e-4, a point near a support.
    let (dim, k, lambda) = (64, 5, 1e-4);
    let xs = samples(dim, k, 7);
    let mut near = xs[2].clone();
    let mut next = noise(99);
    near.iter_mut().for_each(|v| *v += 1e-3 * next());

    let dense = NiwPrior::isotropic(vec![0.0; dim], 0.01, lambda)
        .and_then(|p| p.posterior(&xs))
        .and_then(|p| p.predictive())
        .expect("dense reference");
    let low = LowRankPrior::isotropic(vec![0.0; dim], 0.01, lambda)
        .and_then(|p| p.posterior(&xs))
        .expect("low-rank form");
    let exact = dense.delta(&near) * dense.law().c();
    assert!(close(low.q(&near), exact, 1e-9), "{} vs {exact}", low.q(&near));
    assert!(close(low.logdet(), dense.logdet(), 1e-12));

    let columns: Vec<Vec<f64>> =
        low.span.iter().map(|d| d.unit.iter().map(|u| u * d.value).collect()).collect();
    let e: Vec<f64> = near.iter().zip(&low.mu).map(|(a, b)| a - b).collect();
    let (woodbury, stable) = q_in_f32(&columns, &e, lambda as f32);
    let stable_error = (f64::from(stable) / exact - 1.0).abs();
    let woodbury_error = (f64::from(woodbury) / exact - 1.0).abs();
    assert!(stable_error < 1e-4, "f32 stable form {stable} vs {exact}");
    assert!(woodbury_error > 1e-3, "the test no longer shows the cancellation: {woodbury}");
}

#[test]
fn diagonal_prior_equals_dense() {
    let dim = 6;
    let l: Vec<f64> = (1..=dim).map(|i| 0.3 * i as f64).collect();
    let mut matrix = vec![0.0; dim * dim];
    for i in 0..dim {
        matrix[i * dim + i] = l[i];
    }
    let mu: Vec<f64> = (0..dim).map(|i| 0.1 * i as f64).collect();
    let xs = samples(dim, 4, 5);
    let dense = NiwPrior::new(mu.clone(), 0.3, 9.5, matrix).expect("valid");
    let low = LowRankPrior::new(mu, 0.3, 9.5, PriorScale::Diagonal(l)).expect("valid");
    let p = dense.posterior(&xs).and_then(|p| p.predictive()).expect("dense");
    let q = low.posterior(&xs).expect("low rank");
    let point = vec![0.7; dim];
    assert!(close(p.delta(&point), q.delta(&point), 1e-11));
    assert!(close(p.log_t(&point), q.log_t(&point), 1e-11));
    assert!(close(
        dense.log_evidence(&xs).expect("dense"),
        low.log_evidence(&xs).expect("low rank"),
        1e-11
    ));
}

#[test]
fn a_prior_with_directions_equals_dense() {
    let dim = 6;
    let diagonal: Vec<f64> = (1..=dim).map(|i| 0.3 * i as f64).collect();
    let directions = samples(dim, 2, 41);
    let mut matrix = vec![0.0; dim * dim];
    for i in 0..dim {
        matrix[i * dim + i] = diagonal[i];
    }
    directions.iter().for_each(|v| add_outer(&mut matrix, v, 1.0));
    let (mu, xs) = (vec![0.2; dim], samples(dim, 4, 5));
    let dense = NiwPrior::new(mu.clone(), 0.3, 9.5, matrix).expect("valid");
    let scale = PriorScale::Factors { diagonal, directions };
    let low = LowRankPrior::new(mu, 0.3, 9.5, scale).expect("valid");
    let p = dense.posterior(&xs).and_then(|p| p.predictive()).expect("dense");
    let mut q = low.posterior(&xs).expect("low rank");
    let point = vec![0.7; dim];
    assert!(close(p.delta(&point), q.delta(&point), 1e-11));
    assert!(close(p.log_t(&point), q.log_t(&point), 1e-11));
    let (a, b) = (dense.log_evidence(&xs).expect("dense"), low.log_evidence(&xs).expect("low"));
    assert!(close(a, b, 1e-11), "{a} {b}");
    // One more and taken out again: the prior's own directions stay.
    let before = q.delta(&point);
    q.add(&point).expect("added");
    q.remove(&point).expect("removed");
    assert!(close(q.delta(&point), before, 1e-8), "{} {before}", q.delta(&point));
}

#[test]
fn identical_samples_and_the_wrong_length_are_no_trouble() {
    let low = LowRankPrior::isotropic(vec![0.0; 5], 0.01, 1e-3)
        .and_then(|p| p.posterior(&vec![vec![1.0; 5]; 3]))
        .expect("valid");
    assert_eq!(low.rank(), 1, "only the shift from the prior mean is left");
    assert!(low.q(&[1.0; 4]).is_nan());
    assert_eq!(low.p_value(&[1.0; 4], 1.0), 0.0);
    assert_eq!(low.p_value(&[f64::NAN; 5], 1.0), 0.0);
    assert!(low.p_value(&[1.0; 5], 1.0) > 0.9);
}

#[test]
fn averaging_views_of_one_part_narrows_the_law() {
    let low = LowRankPrior::isotropic(vec![0.0; 5], 0.01, 1.0)
        .and_then(|p| p.posterior(&samples(5, 3, 1)))
        .expect("valid");
    assert!(low.law_of_mean(4).c() < low.law().c());
}

#[test]
fn refuses_what_cannot_be() {
    assert!(LowRankPrior::isotropic(vec![], 0.01, 1.0).is_err());
    assert!(LowRankPrior::isotropic(vec![0.0], 0.01, 0.0).is_err());
    assert!(LowRankPrior::isotropic(vec![0.0], f64::NAN, 1.0).is_err());
    let prior = LowRankPrior::isotropic(vec![0.0; 3], 0.01, 1.0).expect("valid");
    assert!(matches!(prior.posterior(&[]), Err(StudentTError::NoSamples)));
    assert!(prior.posterior(&[vec![0.0; 2]]).is_err());
    let mut post = prior.posterior(&samples(3, 2, 4)).expect("valid");
    assert_eq!(post.remove(&[9.0, -9.0, 9.0]), Err(StudentTError::NotRemovable));
}

proptest! {
    #[test]
    fn equals_dense(dim in 1..14usize, k in 1..7usize, seed in 0..1000u64, ln_lambda in -6.0..3.0f64) {
        let lambda = ln_lambda.exp();
        let xs = samples(dim, k, seed);
        let dense = NiwPrior::isotropic(vec![0.1; dim], 0.05, lambda).unwrap();
        let low = LowRankPrior::isotropic(vec![0.1; dim], 0.05, lambda).unwrap();
        let (dp, lp) = (dense.posterior(&xs).unwrap(), low.posterior(&xs).unwrap());
        let (dt, point) = (dp.predictive().unwrap(), vec![0.5; dim]);
        prop_assert!(close(dt.delta(&point), lp.delta(&point), 1e-9));
        prop_assert!(close(dt.log_t(&point), lp.log_t(&point), 1e-9));
        prop_assert!(close(dt.p_value(&point, 1.0), lp.p_value(&point, 1.0), 1e-8));
        prop_assert!(close(dense.log_evidence(&xs).unwrap(), low.log_evidence(&xs).unwrap(), 1e-9));
        let (a, b) = (dp.leave_one_out(&xs).unwrap(), lp.leave_one_out(&xs).unwrap());
        for (a, b) in a.iter().zip(&b) {
            prop_assert!(close(a.delta, b.delta, 1e-6) && close(a.log_t, b.log_t, 1e-6));
        }
    }

    #[test]
    fn adding_is_the_batch_and_removing_undoes_it(
        dim in 1..12usize, k in 2..6usize, seed in 0..1000u64,
    ) {
        let xs = samples(dim, k, seed);
        let prior = LowRankPrior::isotropic(vec![0.0; dim], 0.01, 0.05).unwrap();
        let before = prior.posterior(&xs[..k - 1]).unwrap();
        let batch = prior.posterior(&xs).unwrap();
        let mut streamed = before.clone();
        streamed.add(&xs[k - 1]).unwrap();
        let point = vec![0.4; dim];
        prop_assert!(close(streamed.log_t(&point), batch.log_t(&point), 1e-9));
        streamed.remove(&xs[k - 1]).unwrap();
        prop_assert!(close(streamed.log_t(&point), before.log_t(&point), 1e-7));
        prop_assert!((streamed.kappa() - before.kappa()).abs() < 1e-12);
    }
}
