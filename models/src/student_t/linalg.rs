//! The little linear algebra that the posteriors need, in f64, row-major.
//!
//! Hand-written because the matrices are small (a few dozen to a few hundred rows) and a linear
//! algebra crate would be the largest dependency of the camera binary.

/// Sweeps after which Jacobi gives up; convergence is quadratic and takes about ten.
const JACOBI_SWEEPS_MAX: usize = 60;
/// Off-diagonal size, relative to the diagonal, that counts as zero.
const JACOBI_TOLERANCE: f64 = 1e-15;
/// What is smaller beside the diagonal, relative to the whole matrix, counts as zero: half of the last bit.
const EIGEN_TOLERANCE: f64 = f64::EPSILON / 2.0;
/// Steps per eigenvalue after which the QR algorithm gives up; it takes about two.
const EIGEN_STEPS_MAX: usize = 60;

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

/// Eigenvalues and eigenvectors of a symmetric `dim x dim` matrix, row-major; largest value first. Good to the last
/// bits of the largest value: small ones are no better than that.
pub fn symmetric_eigen(dim: usize, a: &[f64]) -> Vec<Direction> {
    let (mut band, mut vectors) = tridiagonal(dim, a);
    band.diagonalise(&mut vectors);
    let vectors = vectors.chunks_exact(dim.max(1)).map(<[f64]>::to_vec);
    let mut found: Vec<Direction> =
        band.diagonal.iter().zip(vectors).map(|(v, unit)| Direction { value: *v, unit }).collect();
    found.sort_by(|x, y| y.value.total_cmp(&x.value));
    found
}

/// A symmetric matrix with nothing but the diagonal and its neighbours.
struct Tridiagonal {
    diagonal: Vec<f64>,
    /// One less than the diagonal.
    beside: Vec<f64>,
}

/// Householder's reduction: `A = Q T Q^T`; gives T and the rows of `Q^T` (Golub and Van Loan, section 8.3.1).
fn tridiagonal(dim: usize, a: &[f64]) -> (Tridiagonal, Vec<f64>) {
    let mut a = a.to_vec();
    let mut beside = vec![0.0; dim.saturating_sub(1)];
    // The reflections, each from the row on that it begins at; none where nothing was to be done.
    let mut reflections: Vec<Option<(usize, Vec<f64>)>> = Vec::new();
    for k in 0..dim.saturating_sub(1) {
        let from = k + 1;
        let mut v: Vec<f64> = a[k * dim + from..(k + 1) * dim].to_vec();
        let length = dot(&v, &v).sqrt();
        let rest = dot(&v[1..], &v[1..]);
        if rest == 0.0 || length == 0.0 {
            beside[k] = v[0];
            reflections.push(None);
            continue;
        }
        // Away from the first coordinate: no cancellation.
        let image = if v[0] > 0.0 { -length } else { length };
        beside[k] = image;
        v[0] -= image;
        let unit = (v[0] * v[0] + rest).sqrt();
        v.iter_mut().for_each(|x| *x /= unit);
        // The block below is reflected from both sides: A - v w^T - w v^T.
        let block = |i: usize| (from + i) * dim + from..(from + i + 1) * dim;
        let mut w: Vec<f64> = (0..v.len()).map(|i| 2.0 * dot(&a[block(i)], &v)).collect();
        let share = dot(&w, &v);
        w.iter_mut().zip(&v).for_each(|(w, v)| *w -= share * v);
        for i in 0..v.len() {
            let (vi, wi) = (v[i], w[i]);
            let row = a[block(i)].iter_mut();
            row.zip(v.iter().zip(&w)).for_each(|(x, (v, w))| *x -= vi * w + wi * v);
        }
        reflections.push(Some((from, v)));
    }
    let diagonal = (0..dim).map(|i| a[i * dim + i]).collect();
    // Q is the reflections' product, the last next to the unit matrix; its transpose is built by rows.
    let mut rows = vec![0.0; dim * dim];
    (0..dim).for_each(|i| rows[i * dim + i] = 1.0);
    for (from, v) in reflections.iter().rev().flatten() {
        for row in rows[from * dim..].chunks_exact_mut(dim) {
            let share = 2.0 * dot(&row[*from..], v);
            row[*from..].iter_mut().zip(v).for_each(|(x, v)| *x -= share * v);
        }
    }
    (Tridiagonal { diagonal, beside }, rows)
}

impl Tridiagonal {
    /// Turns the plane of neighbouring coordinates until nothing is left beside the diagonal, and the rows of `vectors`
    /// with it (the implicit QR algorithm, ibid. 8.3.5).
    fn diagonalise(&mut self, vectors: &mut [f64]) {
        let dim = self.diagonal.len();
        let squares = |v: &[f64]| dot(v, v);
        let scale = (squares(&self.diagonal) + 2.0 * squares(&self.beside)).sqrt();
        let nothing = EIGEN_TOLERANCE * scale;
        let mut last = dim.saturating_sub(1);
        for _ in 0..EIGEN_STEPS_MAX * dim {
            while last > 0 && self.beside[last - 1].abs() <= nothing {
                last -= 1;
            }
            if last == 0 {
                return;
            }
            let split = self.beside[..last].iter().rposition(|e| e.abs() <= nothing);
            self.step(split.map_or(0, |at| at + 1), last, vectors);
        }
    }

    /// One step with Wilkinson's shift on the block from `first` to `last`, in which nothing beside the diagonal is 0.
    fn step(&mut self, first: usize, last: usize, vectors: &mut [f64]) {
        let Tridiagonal { diagonal: d, beside: e } = self;
        let dim = d.len();
        let half = (d[last - 1] - d[last]) / 2.0;
        let corner = e[last - 1];
        let away = if half < 0.0 { -half.hypot(corner) } else { half.hypot(corner) };
        let shift = d[last] - corner * corner / (half + away);
        let (mut x, mut z) = (d[first] - shift, e[first]);
        for k in first..last {
            let length = x.hypot(z);
            if length == 0.0 {
                return;
            }
            let (c, s) = (x / length, z / length);
            if k > first {
                e[k - 1] = length;
            }
            let (upper, lower, between) = (d[k], d[k + 1], e[k]);
            let cross = 2.0 * c * s * between;
            d[k] = c * c * upper + cross + s * s * lower;
            d[k + 1] = s * s * upper - cross + c * c * lower;
            e[k] = c * s * (lower - upper) + (c * c - s * s) * between;
            if k + 1 < last {
                (x, z) = (e[k], s * e[k + 1]);
                e[k + 1] *= c;
            }
            rotate_rows(vectors, dim, k, k + 1, c, -s);
        }
    }
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

    /// Sizes of every kind, degenerate ones, and values that are apart by fifteen decimals.
    #[test]
    fn eigen_of_many_matrices() {
        let mut next = noise(5);
        for dim in (1..12).chain([40, 88]) {
            for rank in [0, 1, dim / 2, dim, 2 * dim] {
                let mut a = vec![0.0; dim * dim];
                for i in 0..rank {
                    let e: Vec<f64> = (0..dim).map(|_| next()).collect();
                    add_outer(&mut a, &e, 10f64.powi(-(i as i32 % 16)));
                }
                // Values that come several times.
                (0..dim).filter(|_| rank == 1).for_each(|i| a[i * dim + i] += 0.5);
                let found = symmetric_eigen(dim, &a);
                assert_eq!(found.len(), dim);
                let scale = a.iter().map(|x| x * x).sum::<f64>().sqrt();
                for (i, d) in found.iter().enumerate() {
                    for (row, &u) in a.chunks_exact(dim).zip(&d.unit) {
                        let off = dot(row, &d.unit) - d.value * u;
                        assert!(off.abs() <= 1e-13 * scale, "{dim} {rank}: {off}");
                    }
                    for (j, other) in found.iter().enumerate() {
                        let want = f64::from(u8::from(i == j));
                        assert!((dot(&d.unit, &other.unit) - want).abs() < 1e-13, "{dim} {rank}");
                    }
                }
            }
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
