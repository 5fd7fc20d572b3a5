//! Products of all rows with all rows that are used up where they are made: the softmax-weighted mean of
//! values (attention), and the greatest product of each row. The matrix of all pairs, four megabytes for a
//! 32 x 32 grid, never exists.

use super::convolution::tensor_for;
use super::crew::shared;
use super::isa::{Isa, Kernel};
use super::lanes::{LANES_MAX, Lanes};
use super::product::{Panels, Target, add_products, at_least, load_all, with_scratch};
use tract_core::internal::*;

/// Which way round a matrix lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Order {
    /// `[1, rows, depth]`.
    Rows,
    /// `[1, depth, rows]`.
    Columns,
}

impl Order {
    /// Rows and depth of a matrix of `shape`.
    pub fn extents(self, shape: &[usize]) -> [usize; 2] {
        match self {
            Order::Rows => [shape[1], shape[2]],
            Order::Columns => [shape[2], shape[1]],
        }
    }

    /// How far apart rows lie, and how far the values of a row.
    fn strides(self, [rows, depth]: [usize; 2]) -> [usize; 2] {
        match self {
            Order::Rows => [depth, 1],
            Order::Columns => [1, rows],
        }
    }
}

/// What is made of the products of a query with all keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Use {
    /// Softmax of the products times `scale`, times a third input of values, `[1, keys, width]`.
    Attend {
        /// Before the softmax.
        scale: f32,
        /// A second output, for nothing.
        nearest: Option<Nearest>,
    },
    /// The greatest: `[1, queries, 1]`.
    Greatest,
}

/// The greatest product of each query with a key, `[1, queries, 1]`, as far as the first values go: the sum passes
/// through it on its way to the whole product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Nearest {
    /// So many values.
    pub depth: usize,
    /// What it is multiplied with in the end.
    pub factor: f32,
}

/// The operator. Inputs: queries, keys, and for [`Use::Attend`] values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pairs {
    pub isa: Isa,
    pub queries: Order,
    pub keys: Order,
    pub purpose: Use,
}

impl Eq for Pairs {}

/// Numbers of the scratch memories.
const KEYS: usize = 0;
const VALUES: usize = 1;
const LOCAL: usize = 2;

impl Pairs {
    fn apply(
        &self,
        (queries, query_extents): (&[f32], [usize; 2]),
        (keys, [key_count, depth]): (&[f32], [usize; 2]),
        (values, width): (&[f32], usize),
        out: &mut [f32],
        nearest: &mut [f32],
    ) {
        let block = self.isa.rows();
        let [row, cell] = self.keys.strides([key_count, depth]);
        let count = query_extents[0];
        assert!(queries.len() == count * query_extents[1] && query_extents[1] == depth);
        assert!(out.len() == count * width);
        assert!(self.nearest().is_none_or(|n| nearest.len() == count && n.depth <= depth));
        let nearest = Target::new(nearest);
        let group = self.isa.lanes() * self.isa.registers();
        let target = Target::new(out);
        with_scratch(KEYS, |packed_keys| {
            Panels::pack(packed_keys, key_count, depth, block, |key, i| keys[key * row + i * cell]);
            with_scratch(VALUES, |packed_values| {
                if let Use::Attend { .. } = self.purpose {
                    assert!(values.len() == key_count * width);
                    Panels::pack(packed_values, width, key_count, block, |column, key| {
                        values[key * width + column]
                    });
                }
                let (keys, values) = (&packed_keys[..], &packed_values[..]);
                shared(count.div_ceil(group), |index| {
                    let part = Part {
                        op: self,
                        queries: (queries, self.queries.strides(query_extents)),
                        rows: index * group..count.min((index + 1) * group),
                        keys: (keys, key_count, depth),
                        values: (values, width),
                        target,
                        nearest,
                    };
                    with_scratch(LOCAL, |scratch| part.attend(scratch));
                });
            });
        });
    }
}

/// One group of queries, as many as fill a few registers.
struct Part<'a> {
    op: &'a Pairs,
    queries: (&'a [f32], [usize; 2]),
    rows: std::ops::Range<usize>,
    keys: (&'a [f32], usize, usize),
    values: (&'a [f32], usize),
    target: Target,
    nearest: Target,
}

impl Part<'_> {
    /// A function by itself, so that profiles name it.
    #[inline(never)]
    fn attend(self, scratch: &mut Vec<f32>) {
        self.op.isa.call(Scratched { part: self, scratch });
    }
}

struct Scratched<'a> {
    part: Part<'a>,
    scratch: &'a mut Vec<f32>,
}

impl Kernel for Scratched<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const M: usize, const V: usize>(self) {
        let Scratched { part, scratch } = self;
        let (keys, key_count, depth) = part.keys;
        let width = L::COUNT * V;
        let taps_len = depth.max(key_count);
        // Queries side by side, then what each key makes of them, then one row more for the sums.
        let scratch = at_least(scratch, (depth + key_count + M + 1) * width + taps_len);
        let (side_by_side, rest) = scratch.split_at_mut(depth * width);
        let (weights, sums_row) = rest.split_at_mut((key_count + M) * width);
        let (values, [row, cell]) = part.queries;
        for (i, out) in side_by_side.chunks_exact_mut(width).enumerate() {
            for (n, out) in out.iter_mut().enumerate() {
                // The last group is filled up with its last query.
                let query = (part.rows.start + n).min(part.rows.end - 1);
                *out = values[query * row + i * cell];
            }
        }
        // SAFETY: the set is there; sizes follow from the extents above.
        unsafe {
            let places = |values: &[f32]| -> [*const f32; V] {
                std::array::from_fn(|v| values.as_ptr().add(v * L::COUNT))
            };
            let mut greatest = [L::splat(f32::NEG_INFINITY); V];
            let mut nearest = greatest;
            let first = part.op.nearest().map_or(depth, |nearest| nearest.depth);
            let queries = places(side_by_side);
            for (block, keys) in keys.chunks_exact(depth * M).enumerate() {
                let mut products: [[L; V]; M] = [[L::splat(0.0); V]; M];
                add_strided(&mut products, keys.as_ptr(), 0..first, width, queries);
                if part.op.nearest().is_some() {
                    for products in products.iter().take(key_count - block * M) {
                        for v in 0..V {
                            nearest[v] = nearest[v].max(products[v]);
                        }
                    }
                }
                add_strided(&mut products, keys.as_ptr(), first..depth, width, queries);
                for (m, products) in products.iter().enumerate().take(key_count - block * M) {
                    for (v, product) in products.iter().enumerate() {
                        greatest[v] = greatest[v].max(*product);
                        if let Use::Attend { .. } = part.op.purpose {
                            let at = (block * M + m) * width + v * L::COUNT;
                            product.store(weights.as_mut_ptr().add(at));
                        }
                    }
                }
            }
            if let Some(Nearest { factor, .. }) = part.op.nearest() {
                for v in 0..V {
                    nearest[v] = nearest[v].mul(L::splat(factor));
                }
                tell(nearest, sums_row, part.rows.clone(), part.nearest);
            }
            let Use::Attend { scale, .. } = part.op.purpose else {
                tell(greatest, sums_row, part.rows, part.target);
                return;
            };
            // A negative scale would turn the greatest into the smallest; no graph of ours has one, and
            // the operator is not made for one.
            let scale = L::splat(scale);
            let lowest = L::splat(LOWEST);
            let mut total = [L::splat(0.0); V];
            for weights in weights[..key_count * width].chunks_exact_mut(width) {
                for v in 0..V {
                    let at = weights.as_mut_ptr().add(v * L::COUNT);
                    let weight = L::load(at).sub(greatest[v]).mul(scale).max(lowest).exp();
                    total[v] = total[v].add(weight);
                    weight.store(at);
                }
            }
            for (v, total) in total.iter().enumerate() {
                total.store(sums_row.as_mut_ptr().add(v * L::COUNT));
            }
            for total in &mut sums_row[..width] {
                *total = 1.0 / *total;
            }
            let shares: [L; V] = load_all(places(sums_row), 0);
            let (values, columns) = part.values;
            let from = places(weights);
            for (block, values) in values.chunks_exact(key_count * M).enumerate() {
                let mut sums: [[L; V]; M] = [[L::splat(0.0); V]; M];
                add_strided(&mut sums, values.as_ptr(), 0..key_count, width, from);
                let first = block * M;
                let mut out = [[0.0f32; LANES_MAX]; M];
                for v in 0..V {
                    for m in 0..M {
                        sums[m][v].mul(shares[v]).store(out[m].as_mut_ptr());
                    }
                    for lane in 0..L::COUNT {
                        let query = part.rows.start + v * L::COUNT + lane;
                        if query >= part.rows.end {
                            break;
                        }
                        for (m, out) in out.iter().enumerate().take(columns - first) {
                            *part.target.at(query * columns + first + m) = out[lane];
                        }
                    }
                }
            }
        }
    }
}

/// Logarithm of the smallest weight. Less counts for nothing in a sum of f32, and its products would be
/// too small for normal numbers, which processors work out a hundred times slower.
const LOWEST: f32 = -60.0;

/// Adds the products of some taps, where the values of one tap follow those of another: `stride` apart.
#[inline(always)]
unsafe fn add_strided<L: Lanes, const M: usize, const V: usize>(
    sums: &mut [[L; V]; M],
    weights: *const f32,
    taps: std::ops::Range<usize>,
    stride: usize,
    places: [*const f32; V],
) {
    // SAFETY: the caller's.
    unsafe {
        for tap in taps {
            add_products(sums, weights.add(tap * M), load_all(places, tap * stride));
        }
    }
}

/// Writes one value for each query, by way of a row as long as the registers.
///
/// # Safety
/// The set is there; `target` has all of `queries`, and nobody else writes them.
#[inline(always)]
unsafe fn tell<L: Lanes, const V: usize>(
    values: [L; V],
    row: &mut [f32],
    queries: std::ops::Range<usize>,
    target: Target,
) {
    // SAFETY: the caller's.
    unsafe {
        for v in 0..V {
            values[v].store(row.as_mut_ptr().add(v * L::COUNT));
        }
        for (value, query) in row.iter().zip(queries) {
            *target.at(query) = *value;
        }
    }
}

impl Pairs {
    fn nearest(&self) -> Option<Nearest> {
        match self.purpose {
            Use::Attend { nearest, .. } => nearest,
            Use::Greatest => None,
        }
    }
}

impl Op for Pairs {
    fn name(&self) -> StaticName {
        match self.purpose {
            Use::Attend { .. } => "TouchstoneAttention".into(),
            Use::Greatest => "TouchstoneGreatestProduct".into(),
        }
    }

    fn validation(&self) -> Validation {
        Validation::Rounding
    }

    op_as_typed_op!();
}

impl EvalOp for Pairs {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let queries = self.queries.extents(inputs[0].shape());
        let keys = self.keys.extents(inputs[1].shape());
        let values = match self.purpose {
            Use::Attend { .. } => (inputs[2].view().as_slice()?, inputs[2].shape()[2]),
            Use::Greatest => (&[][..], 1),
        };
        let mut out = tensor_for::<f32>(&[1, queries[0], values.1])?;
        let mut nearest = tensor_for::<f32>(&[1, queries[0], 1])?;
        self.apply(
            (inputs[0].view().as_slice()?, queries),
            (inputs[1].view().as_slice()?, keys),
            values,
            out.view_mut().as_slice_mut()?,
            nearest.view_mut().as_slice_mut()?,
        );
        let nearest = self.nearest().map(|_| nearest.into_tvalue());
        Ok(std::iter::once(out.into_tvalue()).chain(nearest).collect())
    }
}

impl TypedOp for Pairs {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let rows = match self.queries {
            Order::Rows => &inputs[0].shape[1],
            Order::Columns => &inputs[0].shape[2],
        };
        let width = match self.purpose {
            Use::Attend { .. } => inputs[2].shape[2].clone(),
            Use::Greatest => 1.to_dim(),
        };
        let fact = |width| f32::fact([1.to_dim(), rows.clone(), width]);
        let nearest = self.nearest().map(|_| fact(1.to_dim()));
        Ok(std::iter::once(fact(width)).chain(nearest).collect())
    }
}
