//! Tails and quantiles of the F and Student-t laws, and the multivariate gamma function.
//!
//! Upper tails are computed directly, never as `1 - cdf`: at a false-reject rate of a few parts
//! per million the difference would be mostly rounding. Quantiles are found by bisection on the
//! logarithm, which is slow (tens of microseconds), monotone and cannot diverge; they are needed
//! when a rate changes, not per part.

use statrs::function::beta::beta_reg;
pub use statrs::function::gamma::ln_gamma;

/// Bisection steps of a quantile: the bracket of 2^10 in the logarithm shrinks below f64 precision.
const BISECTION_STEPS: usize = 80;
/// Quantiles are looked for between `exp(-LN_QUANTILE_MAX)` and `exp(LN_QUANTILE_MAX)`.
const LN_QUANTILE_MAX: f64 = 500.0;

/// `ln Gamma_D(a)`, the multivariate gamma function of section 4.7; `a > (D-1)/2`.
pub fn ln_multigamma(dim: usize, a: f64) -> f64 {
    let d = dim as f64;
    let terms: f64 = (1..=dim).map(|j| ln_gamma(a + (1.0 - j as f64) / 2.0)).sum();
    d * (d - 1.0) / 4.0 * std::f64::consts::PI.ln() + terms
}

/// `P(F > x)` for F with `d1` and `d2` degrees of freedom (both positive).
///
/// A NaN or a negative infinity is no evidence for a good part: NaN gives 0, as does `+inf`.
pub fn f_upper_tail(d1: f64, d2: f64, x: f64) -> f64 {
    if x.is_nan() || x == f64::INFINITY {
        return 0.0;
    }
    if x <= 0.0 {
        return 1.0;
    }
    beta_reg(d2 / 2.0, d1 / 2.0, d2 / (d2 + d1 * x))
}

/// The `x` with `P(F > x) = p`, for `0 < p < 1`.
pub fn f_upper_quantile(d1: f64, d2: f64, p: f64) -> f64 {
    falling_root(|ln_x| f_upper_tail(d1, d2, ln_x.exp()), p).exp()
}

/// `P(T > t)` for a standard Student-t with `dof` degrees of freedom; NaN gives 0.
pub fn t_upper_tail(dof: f64, t: f64) -> f64 {
    if t.is_nan() || t == f64::INFINITY {
        return 0.0;
    }
    if t == f64::NEG_INFINITY {
        return 1.0;
    }
    // Beyond 1e150 the square overflows; the tail is zero for every use made of it.
    let square = (t * t).min(f64::MAX);
    let both = beta_reg(dof / 2.0, 0.5, dof / (dof + square));
    if t >= 0.0 { both / 2.0 } else { 1.0 - both / 2.0 }
}

/// The `t` with `P(T > t) = p`, for `0 < p < 1`.
pub fn t_upper_quantile(dof: f64, p: f64) -> f64 {
    if p > 0.5 {
        return -t_upper_quantile(dof, 1.0 - p);
    }
    falling_root(|ln_t| t_upper_tail(dof, ln_t.exp()), p).exp()
}

/// Root of `tail(y) = p` for a falling `tail`.
fn falling_root(tail: impl Fn(f64) -> f64, p: f64) -> f64 {
    let (mut low, mut high) = (-LN_QUANTILE_MAX, LN_QUANTILE_MAX);
    for _ in 0..BISECTION_STEPS {
        let middle = 0.5 * (low + high);
        if tail(middle) > p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn f_quantiles_match_the_printed_table() {
        // Section 4.5; nu = K + 3, quantiles of delta/D at 95 / 99 / 99.9 %.
        let table: [(f64, [[f64; 3]; 4]); 4] = [
            (
                16.0,
                [[5.84, 14.15, 46.6], [3.20, 5.48, 10.75], [2.51, 3.78, 6.16], [1.84, 2.36, 3.10]],
            ),
            (
                64.0,
                [[5.68, 13.64, 44.7], [3.00, 5.02, 9.70], [2.29, 3.33, 5.28], [1.55, 1.87, 2.31]],
            ),
            (
                128.0,
                [[5.66, 13.55, 44.4], [2.96, 4.94, 9.52], [2.25, 3.25, 5.13], [1.49, 1.77, 2.16]],
            ),
            (
                512.0,
                [[5.64, 13.49, 44.1], [2.94, 4.88, 9.38], [2.22, 3.19, 5.01], [1.44, 1.69, 2.03]],
            ),
        ];
        for (dim, rows) in table {
            for (k, row) in [1.0, 5.0, 10.0, 50.0].into_iter().zip(rows) {
                for (p, printed) in [0.05, 0.01, 0.001].into_iter().zip(row) {
                    let got = f_upper_quantile(dim, k + 3.0, p);
                    // Printed with one digit above 44, else two.
                    let half_digit = if printed > 40.0 { 0.0501 } else { 0.00501 };
                    assert!(
                        (got - printed).abs() <= half_digit,
                        "D={dim} K={k} p={p}: {got} vs {printed}"
                    );
                }
            }
        }
    }

    #[test]
    fn t_quantiles_match_textbook_values() {
        assert!((t_upper_quantile(1.0, 0.025) - 12.706_204_736).abs() < 1e-6);
        assert!((t_upper_quantile(5.0, 0.05) - 2.015_048_373).abs() < 1e-8);
        assert!((t_upper_quantile(30.0, 0.95) + 1.697_260_887).abs() < 1e-8);
        assert!(t_upper_quantile(4.0, 0.5).abs() < 1e-100);
    }

    #[test]
    fn not_a_number_is_never_ordinary() {
        for bad in [f64::NAN, f64::INFINITY] {
            assert_eq!(f_upper_tail(4.0, 5.0, bad), 0.0);
            assert_eq!(t_upper_tail(4.0, bad), 0.0);
        }
        assert_eq!(t_upper_tail(4.0, f64::NEG_INFINITY), 1.0);
        assert_eq!(f_upper_tail(4.0, 5.0, -1.0), 1.0);
        assert!(t_upper_tail(3.0, 1e200) < 1e-300);
    }

    #[test]
    fn multigamma_of_dimension_one_is_gamma() {
        assert!((ln_multigamma(1, 3.7) - ln_gamma(3.7)).abs() < 1e-14);
        // Gamma_2(a) = sqrt(pi) Gamma(a) Gamma(a - 1/2)
        let want = 0.5 * std::f64::consts::PI.ln() + ln_gamma(3.7) + ln_gamma(3.2);
        assert!((ln_multigamma(2, 3.7) - want).abs() < 1e-13);
    }

    proptest! {
        #[test]
        fn quantile_inverts_tail(d1 in 1.0..600.0f64, d2 in 1.0..60.0f64, ln_p in -14.0..-0.01f64) {
            let p = ln_p.exp();
            let back = f_upper_tail(d1, d2, f_upper_quantile(d1, d2, p));
            prop_assert!((back / p - 1.0).abs() < 1e-6, "{back} vs {p}");
            let back = t_upper_tail(d2, t_upper_quantile(d2, p));
            prop_assert!((back / p - 1.0).abs() < 1e-6, "{back} vs {p}");
        }

        #[test]
        fn tails_fall(d1 in 1.0..600.0f64, d2 in 1.0..60.0f64, x in 0.0..50.0f64, step in 0.001..5.0f64) {
            prop_assert!(f_upper_tail(d1, d2, x) >= f_upper_tail(d1, d2, x + step));
            prop_assert!(t_upper_tail(d2, x - 25.0) >= t_upper_tail(d2, x - 25.0 + step));
        }
    }
}
