//! The little linear algebra that the posteriors need, in f64, row-major.
//!
//! Hand-written because the matrices are small (a few dozen to a few hundred rows) and a linear
//! algebra crate would be the largest dependency of the camera binary.

/// Sweeps after which Jacobi gives up; convergence is quadratic and takes about ten.
const JACOBI_SWEEPS_MAX: usize = 60;
/// Off-diagonal size, relative to the diagonal, that counts as zero.
const JACOBI_TOLERANCE: f64 = 1e-15;

/// Dot product.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Adds `weight * e e^T` to the `dim x dim` matrix `a`.
pub(crate) fn add_outer(a: &mut [f64], e: &[f64], weight: f64) {
    let dim = e.len();
    for (row, &left) in a.chunks_exact_mut(dim).zip(e) {
        let left = weight * left;
        for (cell, &right) in row.iter_mut().zip(e) {
            *cell += left * right;
        }
    }
}

/// Lower Cholesky factor of a positive definite matrix.
#[derive(Debug, Clone)]
pub(crate) struct Cholesky {
    dim: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    /// Factor `a = L L^T`; `None` if `a` is not positive definite (or not finite).
    pub(crate) fn new(dim: usize, a: &[f64]) -> Option<Self> {
        let mut lower = vec![0.0; dim * dim];
        for i in 0..dim {
            for j in 0..=i {
                let sum = a[i * dim + j]
                    - dot(&lower[i * dim..i * dim + j], &lower[j * dim..j * dim + j]);
                if i == j {
                    if !(sum.is_finite() && sum > 0.0) {
                        return None;
                    }
                    lower[i * dim + i] = sum.sqrt();
                } else {
                    lower[i * dim + j] = sum / lower[j * dim + j];
                }
            }
        }
        Some(Self { dim, lower })
    }

    /// `L^-1 b`.
    pub(crate) fn solve_lower(&self, b: &[f64]) -> Vec<f64> {
        let mut x = Vec::with_capacity(self.dim);
        for (i, &right) in b.iter().enumerate() {
            let row = &self.lower[i * self.dim..i * self.dim + i + 1];
            x.push((right - dot(&row[..i], &x)) / row[i]);
        }
        x
    }

    /// `A^-1 b`.
    pub(crate) fn solve(&self, b: &[f64]) -> Vec<f64> {
        let mut x = self.solve_lower(b);
        for i in (0..self.dim).rev() {
            let below: f64 = (i + 1..self.dim).map(|j| self.lower[j * self.dim + i] * x[j]).sum();
            x[i] = (x[i] - below) / self.lower[i * self.dim + i];
        }
        x
    }

    /// `b^T A^-1 b`.
    pub(crate) fn quadratic(&self, b: &[f64]) -> f64 {
        let w = self.solve_lower(b);
        dot(&w, &w)
    }

    /// `log |A|`.
    pub(crate) fn logdet(&self) -> f64 {
        (0..self.dim).map(|i| 2.0 * self.lower[i * self.dim + i].ln()).sum()
    }
}

/// A direction with its weight: eigenvalue with eigenvector, or singular value with left vector.
#[derive(Debug, Clone)]
pub struct Direction {
    /// The weight.
    pub value: f64,
    /// Of length one.
    pub unit: Vec<f64>,
}

/// Singular values and left singular vectors of the matrix whose columns are given, by one-sided
/// Jacobi: columns are rotated against each other until all are orthogonal.
///
/// Largest first. Directions below `1e-7` of the largest are dropped (section 4.8).
pub(crate) fn left_svd(mut columns: Vec<Vec<f64>>) -> Vec<Direction> {
    const DROP_BELOW: f64 = 1e-7;
    let n = columns.len();
    for _ in 0..JACOBI_SWEEPS_MAX {
        let mut rotated = false;
        for i in 0..n {
            for j in i + 1..n {
                let (head, tail) = columns.split_at_mut(j);
                rotated |= orthogonalise(&mut head[i], &mut tail[0]);
            }
        }
        if !rotated {
            break;
        }
    }
    let mut found: Vec<Direction> =
        columns.into_iter().map(|c| Direction { value: dot(&c, &c).sqrt(), unit: c }).collect();
    found.sort_by(|a, b| b.value.total_cmp(&a.value));
    let floor = found.first().map_or(0.0, |d| d.value * DROP_BELOW);
    found.retain(|d| d.value > floor);
    for d in &mut found {
        d.unit.iter_mut().for_each(|v| *v /= d.value);
    }
    found
}

/// Rotates two columns so that they become orthogonal; false if they already were.
fn orthogonalise(a: &mut [f64], b: &mut [f64]) -> bool {
    let (aa, bb, ab) = (dot(a, a), dot(b, b), dot(a, b));
    if ab == 0.0 || ab.abs() <= JACOBI_TOLERANCE * (aa * bb).sqrt() {
        return false;
    }
    let (c, s) = rotation(aa, bb, ab);
    for (x, y) in a.iter_mut().zip(b) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
    true
}

/// Cosine and sine that make the off-diagonal of `[[aa, ab], [ab, bb]]` vanish.
fn rotation(aa: f64, bb: f64, ab: f64) -> (f64, f64) {
    let zeta = (bb - aa) / (2.0 * ab);
    let sign = if zeta >= 0.0 { 1.0 } else { -1.0 };
    let t = sign / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
    let c = 1.0 / (1.0 + t * t).sqrt();
    (c, c * t)
}

/// Eigenvalues and eigenvectors of a symmetric `dim x dim` matrix, row-major, by cyclic Jacobi; largest value
/// first.
pub fn symmetric_eigen(dim: usize, a: &[f64]) -> Vec<Direction> {
    let mut a = a.to_vec();
    // Rows of `v` are the eigenvectors: rotating rows keeps memory access straight.
    let mut v = vec![0.0; dim * dim];
    for i in 0..dim {
        v[i * dim + i] = 1.0;
    }
    let scale: f64 = a.iter().map(|x| x * x).sum::<f64>().sqrt();
    for _ in 0..JACOBI_SWEEPS_MAX {
        let mut rotated = false;
        for i in 0..dim {
            for j in i + 1..dim {
                let off = a[i * dim + j];
                if off.abs() <= JACOBI_TOLERANCE * scale / dim as f64 {
                    continue;
                }
                rotated = true;
                let (c, s) = rotation(a[i * dim + i], a[j * dim + j], off);
                for k in 0..dim {
                    let (x, y) = (a[k * dim + i], a[k * dim + j]);
                    a[k * dim + i] = c * x - s * y;
                    a[k * dim + j] = s * x + c * y;
                }
                rotate_rows(&mut a, dim, i, j, c, s);
                rotate_rows(&mut v, dim, i, j, c, s);
            }
        }
        if !rotated {
            break;
        }
    }
    let mut found: Vec<Direction> = (0..dim)
        .map(|i| Direction { value: a[i * dim + i], unit: v[i * dim..(i + 1) * dim].to_vec() })
        .collect();
    found.sort_by(|x, y| y.value.total_cmp(&x.value));
    found
}

fn rotate_rows(m: &mut [f64], dim: usize, i: usize, j: usize, c: f64, s: f64) {
    let (head, tail) = m.split_at_mut(j * dim);
    for (x, y) in head[i * dim..(i + 1) * dim].iter_mut().zip(&mut tail[..dim]) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repeatable stream of numbers in -1..1.
    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        }
    }

    #[test]
    fn cholesky_solves_and_refuses() {
        let a = [4.0, 2.0, 2.0, 3.0];
        let chol = Cholesky::new(2, &a).expect("positive definite");
        assert!((chol.logdet() - 8f64.ln()).abs() < 1e-14);
        // A^-1 = 1/8 [[3,-2],[-2,4]]; b = (1,1): (3-4+4)/8
        assert!((chol.quadratic(&[1.0, 1.0]) - 3.0 / 8.0).abs() < 1e-14);
        let x = chol.solve(&[1.0, 1.0]);
        assert!((x[0] - 1.0 / 8.0).abs() < 1e-14 && (x[1] - 2.0 / 8.0).abs() < 1e-14, "{x:?}");
        assert!(Cholesky::new(2, &[1.0, 2.0, 2.0, 1.0]).is_none());
        assert!(Cholesky::new(1, &[f64::NAN]).is_none());
    }

    #[test]
    fn eigen_rebuilds_the_matrix() {
        let dim = 9;
        let mut next = noise(3);
        let mut a = vec![0.0; dim * dim];
        for _ in 0..4 {
            let e: Vec<f64> = (0..dim).map(|_| next()).collect();
            add_outer(&mut a, &e, 1.0);
        }
        let found = symmetric_eigen(dim, &a);
        assert!(found.windows(2).all(|w| w[0].value >= w[1].value));
        assert!(found[4..].iter().all(|d| d.value.abs() < 1e-12), "rank is four");
        let mut back = vec![0.0; dim * dim];
        for d in &found {
            add_outer(&mut back, &d.unit, d.value);
        }
        for (x, y) in a.iter().zip(&back) {
            assert!((x - y).abs() < 1e-12, "{x} vs {y}");
        }
    }

    #[test]
    fn left_svd_agrees_with_the_eigenvalues_of_u_ut() {
        let (dim, n) = (12, 5);
        let mut next = noise(11);
        let mut columns: Vec<Vec<f64>> =
            (0..n).map(|_| (0..dim).map(|_| next()).collect()).collect();
        // A column that depends on the others: the rank must come out one lower.
        columns.push(columns[0].iter().zip(&columns[1]).map(|(a, b)| a - 2.0 * b).collect());
        let mut square = vec![0.0; dim * dim];
        for c in &columns {
            add_outer(&mut square, c, 1.0);
        }
        let eigen = symmetric_eigen(dim, &square);
        let svd = left_svd(columns);
        assert_eq!(svd.len(), n);
        for (s, e) in svd.iter().zip(&eigen) {
            assert!((s.value * s.value - e.value).abs() < 1e-12);
            assert!((dot(&s.unit, &e.unit).abs() - 1.0).abs() < 1e-10);
        }
    }

    #[test]
    fn nothing_has_no_directions() {
        assert!(left_svd(Vec::new()).is_empty());
        assert!(left_svd(vec![vec![0.0; 3]]).is_empty());
    }
}
