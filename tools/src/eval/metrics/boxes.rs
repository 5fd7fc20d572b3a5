//! Box hits, the main figure on DeepPCB: a box is hit when a connected region above the threshold
//! has its centre inside it; a region whose centre is in no box is a false region.
//!
//! One threshold is swept over a whole category (or a whole set, for the pooled figure) and the
//! hit rate is read off where the mean number of false regions per picture is
//! [`FALSE_REGIONS_PER_PICTURE`].

use super::{MetricError, QuantisedMap, regions::for_neighbours};
use std::sync::OnceLock;

/// Operating point of the main figure.
pub const FALSE_REGIONS_PER_PICTURE: f64 = 0.5;

/// A stricter one: a false region on every tenth picture.
pub const FALSE_REGIONS_STRICT: f64 = 0.1;

/// Regions smaller than this, in pixels of the stored picture, are ignored: single pixels at the
/// rim of a blob are an artefact of interpolation. Four pixels are one cell of a 256 px map on a
/// 512 px picture.
pub const MIN_REGION_PX: u32 = 4;

/// Even steps of the threshold, and as many even steps of its logit (for saturated maps).
const STEPS: u32 = 512;

/// The logits end here: `sigmoid(±11)` are the outermost 16-bit values.
const LOGIT_MAX: f64 = 11.0;

/// An annotated defect, in pixels of the stored picture; edges are inclusive.
#[derive(Clone, Debug, PartialEq)]
pub struct TypedBox {
    /// Left edge.
    pub x1: f32,
    /// Upper edge.
    pub y1: f32,
    /// Right edge.
    pub x2: f32,
    /// Lower edge.
    pub y2: f32,
    /// Kind of defect, such as `open` or `short`.
    pub kind: String,
}

impl TypedBox {
    fn contains(&self, x: f64, y: f64) -> bool {
        (f64::from(self.x1)..=f64::from(self.x2)).contains(&x)
            && (f64::from(self.y1)..=f64::from(self.y2)).contains(&y)
    }
}

/// The thresholds of the sweep in 16-bit steps, descending; a pixel counts from its value on.
pub fn thresholds() -> &'static [u16] {
    static GRID: OnceLock<Vec<u16>> = OnceLock::new();
    GRID.get_or_init(|| {
        let to_bin = |score: f64| (score * 65535.0).round().clamp(1.0, 65535.0) as u16;
        let even = (1..=STEPS).map(|i| f64::from(i) / f64::from(STEPS));
        let logit = (0..=STEPS)
            .map(|i| (2.0 * f64::from(i) / f64::from(STEPS) - 1.0) * LOGIT_MAX)
            .map(|z| 1.0 / (1.0 + (-z).exp()));
        let mut grid: Vec<u16> = even.chain(logit).map(to_bin).collect();
        grid.sort_unstable_by(|a, b| b.cmp(a));
        grid.dedup();
        grid
    })
}

/// One picture at every threshold of the sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct BoxSweep {
    /// False regions per threshold.
    false_regions: Vec<u32>,
    /// Per box, per threshold: hit or not.
    hits: Vec<Vec<bool>>,
    kinds: Vec<String>,
}

impl BoxSweep {
    /// Sweeps one picture; `map` is row-major and `width` pixels wide.
    ///
    /// # Errors
    /// A map that is empty or not a multiple of `width`.
    pub fn new(map: &QuantisedMap, width: usize, boxes: &[TypedBox]) -> Result<Self, MetricError> {
        let pixels = map.values.len();
        if width == 0 || pixels == 0 || !pixels.is_multiple_of(width) {
            return Err(MetricError::SizeMismatch {
                what: "width of a map",
                expected: width,
                found: pixels,
            });
        }
        let mut order: Vec<u32> = (0..pixels as u32).collect();
        order.sort_by_key(|&p| std::cmp::Reverse(map.values[p as usize]));
        let mut forest = Forest::new(width, pixels / width, boxes);
        let mut sweep = Self {
            false_regions: Vec::with_capacity(thresholds().len()),
            hits: vec![Vec::with_capacity(thresholds().len()); boxes.len()],
            kinds: boxes.iter().map(|b| b.kind.clone()).collect(),
        };
        let mut next = 0;
        for &threshold in thresholds() {
            while next < pixels && map.values[order[next] as usize] >= threshold {
                forest.raise(order[next] as usize);
                next += 1;
            }
            forest.settle();
            sweep.false_regions.push(forest.false_regions);
            for (hits, &regions) in sweep.hits.iter_mut().zip(&forest.regions_in_box) {
                hits.push(regions > 0);
            }
        }
        Ok(sweep)
    }

    /// Kinds of the boxes, one per box.
    pub fn kinds(&self) -> &[String] {
        &self.kinds
    }
}

/// Regions above a falling threshold: a union-find forest over pixels that keeps each region's
/// area and centre, so that a sweep costs one pass over the pixels, not one per threshold.
struct Forest<'a> {
    width: usize,
    height: usize,
    boxes: &'a [TypedBox],
    /// Parent pixel, or `NONE` for pixels still below the threshold.
    parent: Vec<u32>,
    /// Valid at root pixels.
    regions: Vec<Region>,
    /// Pixels whose region changed since the last threshold.
    touched: Vec<u32>,
    false_regions: u32,
    regions_in_box: Vec<u32>,
}

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Default)]
struct Region {
    area: u32,
    sum_x: f64,
    sum_y: f64,
    /// Whether the counters include this region with its present centre.
    counted: bool,
}

impl<'a> Forest<'a> {
    fn new(width: usize, height: usize, boxes: &'a [TypedBox]) -> Self {
        Self {
            width,
            height,
            boxes,
            parent: vec![NONE; width * height],
            regions: vec![Region::default(); width * height],
            touched: Vec::new(),
            false_regions: 0,
            regions_in_box: vec![0; boxes.len()],
        }
    }

    /// Brings a pixel above the threshold and joins it to its neighbours that already are.
    fn raise(&mut self, pixel: usize) {
        self.parent[pixel] = pixel as u32;
        self.regions[pixel] = Region {
            area: 1,
            sum_x: (pixel % self.width) as f64 + 0.5,
            sum_y: (pixel / self.width) as f64 + 0.5,
            counted: false,
        };
        let mut around = [0usize; 8];
        let mut count = 0;
        for_neighbours(self.width, self.height, pixel, |next| {
            around[count] = next;
            count += 1;
        });
        for &next in &around[..count] {
            if self.parent[next] != NONE {
                self.join(pixel, next);
            }
        }
        self.touched.push(pixel as u32);
    }

    fn root(&mut self, pixel: usize) -> usize {
        let mut at = pixel;
        while self.parent[at] as usize != at {
            // Path halving.
            self.parent[at] = self.parent[self.parent[at] as usize];
            at = self.parent[at] as usize;
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (mut a, mut b) = (self.root(a), self.root(b));
        if a == b {
            return;
        }
        if self.regions[a].area < self.regions[b].area {
            std::mem::swap(&mut a, &mut b);
        }
        self.count(a, false);
        self.count(b, false);
        let joined = self.regions[b];
        self.parent[b] = a as u32;
        let region = &mut self.regions[a];
        region.area += joined.area;
        region.sum_x += joined.sum_x;
        region.sum_y += joined.sum_y;
    }

    /// Adds a region to the counters or takes it out of them; does nothing if it is so already.
    fn count(&mut self, root: usize, counted: bool) {
        let region = &mut self.regions[root];
        if region.counted == counted {
            return;
        }
        region.counted = counted;
        let area = f64::from(region.area);
        let (x, y) = (region.sum_x / area, region.sum_y / area);
        let step = |counter: &mut u32| {
            *counter = if counted { *counter + 1 } else { *counter - 1 };
        };
        let mut inside = false;
        for (regions, target) in self.regions_in_box.iter_mut().zip(self.boxes) {
            if target.contains(x, y) {
                inside = true;
                step(regions);
            }
        }
        if !inside {
            step(&mut self.false_regions);
        }
    }

    /// Counts the regions that changed since the last threshold and are large enough.
    fn settle(&mut self) {
        for pixel in std::mem::take(&mut self.touched) {
            let root = self.root(pixel as usize);
            if self.regions[root].area >= MIN_REGION_PX {
                self.count(root, true);
            }
        }
    }
}

/// Hit rate against false regions per picture, over the thresholds from high to low.
#[derive(Clone, Debug, PartialEq)]
pub struct HitCurve {
    /// Mean false regions per picture at each threshold.
    pub false_per_picture: Vec<f64>,
    /// Share of the boxes hit at each threshold.
    pub hit_rate: Vec<f64>,
}

impl HitCurve {
    /// Pools pictures under one threshold; `kind` restricts the boxes (not the false regions).
    ///
    /// # Errors
    /// No (such) box in these pictures.
    pub fn of<'a>(
        sweeps: impl IntoIterator<Item = &'a BoxSweep>,
        kind: Option<&str>,
    ) -> Result<Self, MetricError> {
        let steps = thresholds().len();
        let (mut pictures, mut boxes) = (0u32, 0u32);
        let (mut wrong, mut hit) = (vec![0u64; steps], vec![0u64; steps]);
        for sweep in sweeps {
            pictures += 1;
            for (sum, &n) in wrong.iter_mut().zip(&sweep.false_regions) {
                *sum += u64::from(n);
            }
            for (hits, box_kind) in sweep.hits.iter().zip(&sweep.kinds) {
                if kind.is_none_or(|k| k == box_kind) {
                    boxes += 1;
                    for (sum, &h) in hit.iter_mut().zip(hits) {
                        *sum += u64::from(h);
                    }
                }
            }
        }
        if boxes == 0 {
            return Err(MetricError::NoBoxes);
        }
        let per = |sums: Vec<u64>, n: u32| sums.iter().map(|&s| s as f64 / f64::from(n)).collect();
        Ok(Self { false_per_picture: per(wrong, pictures), hit_rate: per(hit, boxes) })
    }

    /// Best hit rate at `false_regions` per picture or fewer, interpolated between neighbouring
    /// thresholds where the curve crosses that number.
    pub fn at(&self, false_regions: f64) -> f64 {
        let (mut x0, mut y0) = (0.0, 0.0);
        let mut best: f64 = 0.0;
        for (&x, &y) in self.false_per_picture.iter().zip(&self.hit_rate) {
            if x <= false_regions {
                best = best.max(y);
            }
            if (x0 < false_regions) != (x < false_regions) && x > x0 {
                best = best.max(y0 + (false_regions - x0) / (x - x0) * (y - y0));
            }
            (x0, y0) = (x, y);
        }
        best
    }

    /// The threshold (as a stored value) that the best point without interpolation is at, for
    /// reading other figures at the same operating point.
    pub fn threshold_at(&self, false_regions: f64) -> Option<usize> {
        (0..self.hit_rate.len()).filter(|&i| self.false_per_picture[i] <= false_regions).max_by(
            |&a, &b| {
                self.hit_rate[a]
                    .total_cmp(&self.hit_rate[b])
                    // Of equal rates the higher threshold.
                    .then(b.cmp(&a))
            },
        )
    }
}

#[cfg(test)]
mod tests;
