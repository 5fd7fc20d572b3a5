//! Where one picture of a part lies against another.

/// A similarity: how to get from a place in the reference to the same place of the part in the query.
///
/// Lengths are in units of the inspected area's longest side, with the origin in its middle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pose {
    /// Radians, from the x axis towards the y axis.
    pub rotation: f64,
    /// 1 for the same size.
    pub scale: f64,
    /// Along x and y.
    pub shift: [f64; 2],
}

/// An affine map of cells to cells of one grid: `[a, b, c]` gives `a x + b y + c`, for x and for y.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine(pub [[f64; 3]; 2]);

/// The same angle within half a turn either way, in radians.
fn turn(angle: f64) -> f64 {
    angle.sin().atan2(angle.cos())
}

/// From the middle of a square area to its corner.
const HALF_DIAGONAL: f64 = std::f64::consts::FRAC_1_SQRT_2;

impl Pose {
    /// The part lies as in the reference.
    pub const IDENTITY: Pose = Pose { rotation: 0.0, scale: 1.0, shift: [0.0; 2] };

    /// The turn in degrees, -180 to 180.
    pub fn degrees(&self) -> f64 {
        turn(self.rotation).to_degrees()
    }

    /// Length of the shift.
    pub fn distance(&self) -> f64 {
        self.shift[0].hypot(self.shift[1])
    }

    /// How far a place of the area lies apart in two poses at most, about.
    pub(crate) fn farthest(&self, other: &Pose) -> f64 {
        let [dx, dy] = [0, 1].map(|i| self.shift[i] - other.shift[i]);
        let turn = turn(self.rotation - other.rotation).abs();
        dx.hypot(dy) + HALF_DIAGONAL * (turn + (self.scale - other.scale).abs())
    }

    /// The same as a map between cells of a grid of `columns` x `rows` that is stretched over an area of
    /// `aspect` (width by height).
    pub fn affine(&self, columns: usize, rows: usize, aspect: f64) -> Affine {
        // The area's extents where the longest side is 1.
        let (wide, high) = if aspect >= 1.0 { (1.0, 1.0 / aspect) } else { (aspect, 1.0) };
        let (dx, dy) = (wide / columns as f64, high / rows as f64);
        let (sin, cos) = self.rotation.sin_cos();
        let (c, s) = (self.scale * cos, self.scale * sin);
        // A cell's centre is at ((x + 1/2) dx - wide / 2, ...).
        let (ox, oy) = (0.5 * dx - 0.5 * wide, 0.5 * dy - 0.5 * high);
        let [tx, ty] = self.shift;
        Affine([
            [c, -s * dy / dx, (c * ox - s * oy + tx - ox) / dx],
            [s * dx / dy, c, (s * ox + c * oy + ty - oy) / dy],
        ])
    }
}

/// Width of the rim, as a share of the grid, within which a cell sees the edge of the picture rather than
/// the part.
const RIM: f64 = 1.0 / 64.0;

impl Affine {
    /// Zeroes the cells that look beyond the picture: nobody saw what is there, so nothing is said of it.
    /// `values`, `columns` wide, are a window of the `whole` grid that the map is of, from `origin` on.
    pub fn hide_unseen(
        &self,
        values: &mut [f32],
        columns: usize,
        whole: (usize, usize),
        origin: (usize, usize),
    ) {
        let inside = |v: f64, n: usize| {
            let rim = RIM * n as f64 - 0.5;
            (rim..=(n - 1) as f64 - rim).contains(&v)
        };
        for (i, value) in values.iter_mut().enumerate() {
            let (x, y) = (origin.0 + i % columns, origin.1 + i / columns);
            let (sx, sy) = self.at(x as f64, y as f64);
            if !inside(sx, whole.0) || !inside(sy, whole.1) {
                *value = 0.0;
            }
        }
    }

    /// Where the cell `(x, y)` goes.
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let [[a, b, c], [d, e, f]] = self.0;
        (a * x + b * y + c, d * x + e * y + f)
    }

    /// The way back; `None` for a map that flattens the plane.
    pub fn inverse(&self) -> Option<Affine> {
        let [[a, b, c], [d, e, f]] = self.0;
        let det = a * e - b * d;
        let back = Affine([
            [e / det, -b / det, (b * f - e * c) / det],
            [-d / det, a / det, (d * c - a * f) / det],
        ]);
        back.0.iter().flatten().all(|v| v.is_finite()).then_some(back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pose_moves_cells_as_it_says() {
        let quarter = Pose { rotation: std::f64::consts::FRAC_PI_2, ..Pose::IDENTITY };
        // Of a 4 x 4 grid: the middle of the right edge goes to the middle of the lower edge.
        let (x, y) = quarter.affine(4, 4, 1.0).at(3.0, 1.5);
        assert!((x - 1.5).abs() < 1e-12 && (y - 3.0).abs() < 1e-12, "{x} {y}");
        // A tenth of the longest side, on an area twice as wide as high: 2 of 20 columns, 2 of 10 rows.
        let moved = Pose { shift: [0.1, 0.1], ..Pose::IDENTITY };
        let (x, y) = moved.affine(20, 10, 2.0).at(5.0, 5.0);
        assert!((x - 7.0).abs() < 1e-12 && (y - 7.0).abs() < 1e-12, "{x} {y}");
        // The same on a grid that is stretched: 10 columns and 10 rows over it.
        let (x, y) = moved.affine(10, 10, 2.0).at(5.0, 5.0);
        assert!((x - 6.0).abs() < 1e-12 && (y - 7.0).abs() < 1e-12, "{x} {y}");
    }

    #[test]
    fn what_nobody_saw_is_not_said() {
        let aside = Affine([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]);
        let mut values = vec![1.0; 64 * 3];
        aside.hide_unseen(&mut values, 64, (64, 3), (0, 0));
        for row in values.chunks(64) {
            // Two columns look beyond the right edge, and one at the rim.
            assert_eq!(row.iter().filter(|v| **v == 0.0).count(), 3);
            assert_eq!(row[..61], [1.0; 61]);
        }
        // The same, a window of it at a time.
        let mut left = vec![1.0; 60 * 3];
        aside.hide_unseen(&mut left, 60, (64, 3), (0, 0));
        assert!(left.iter().all(|v| *v == 1.0));
        let mut right = vec![1.0; 4 * 3];
        aside.hide_unseen(&mut right, 4, (64, 3), (60, 0));
        assert_eq!(right, [1.0, 0.0, 0.0, 0.0].repeat(3));
    }

    #[test]
    fn the_way_back_leads_back() {
        let pose = Pose { rotation: 0.7, scale: 1.1, shift: [0.03, -0.2] };
        let there = pose.affine(64, 48, 1.7);
        let (x, y) = there.at(11.0, 30.0);
        let (x, y) = there.inverse().unwrap().at(x, y);
        assert!((x - 11.0).abs() < 1e-9 && (y - 30.0).abs() < 1e-9, "{x} {y}");
        assert_eq!(Affine([[0.0; 3]; 2]).inverse(), None);
    }
}
