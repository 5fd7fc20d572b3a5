//! Products of all rows with all rows that are used up where they are made: the softmax-weighted mean of
//! values (attention), and the greatest product of each row. The matrix of all pairs, four megabytes for a
//! 32 x 32 grid, never exists.

use super::convolution::tensor_for;
use super::crew::shared;
use super::factors::{self, Factors, HALVES_WIDE, Halves, ProductKernel, narrow, settle};
use super::isa::Isa;
use super::lanes::{LANES_MAX, Lanes};
use super::product::{Panels, Target, at_least, with_scratch};
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
    /// Who multiplies, if it is done with 16 bits.
    pub halves: Option<Halves>,
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
        let group = self.isa.lanes() * self.isa.registers() * factors::width(self.halves);
        let target = Target::new(out);
        with_scratch(KEYS, |packed_keys| {
            Panels::pack(packed_keys, key_count, depth, block, |key, i| keys[key * row + i * cell]);
            self.narrow(packed_keys);
            with_scratch(VALUES, |packed_values| {
                if let Use::Attend { .. } = self.purpose {
                    assert!(values.len() == key_count * width);
                    Panels::pack(packed_values, width, key_count, block, |column, key| {
                        values[key * width + column]
                    });
                    self.narrow(packed_values);
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

    /// Makes numbers of 16 bits of what is packed, where products are made of such.
    fn narrow(&self, packed: &mut Vec<f32>) {
        if self.halves.is_some() {
            packed.resize(packed.len().next_multiple_of(LANES_MAX), 0.0);
            factors::call(self.isa, self.halves, Narrow(packed));
        }
    }
}

/// Numbers, as many as whole registers, and afterwards as factors, from the first on.
struct Narrow<'a>(&'a mut [f32]);

impl ProductKernel for Narrow<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, N: Factors<L>, const M: usize, const V: usize>(self) {
        // SAFETY: the caller's; the slice is borrowed.
        unsafe { narrow_in_place::<L, N>(self.0) }
    }
}

/// Makes factors of numbers, as many as whole registers, where they lie: no factor is larger than a number, so that
/// what is written has been read.
///
/// # Safety
/// The set is there.
#[inline(always)]
unsafe fn narrow_in_place<L: Lanes, N: Factors<L>>(values: &mut [f32]) {
    let from = values.as_mut_ptr();
    // SAFETY: the caller's; so many whole registers lie there.
    unsafe { narrow::<L, N>(from, from.cast(), values.len() / L::COUNT) }
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
        let (isa, halves) = (self.op.isa, self.op.halves);
        factors::call(isa, halves, Scratched { part: self, scratch });
    }
}

struct Scratched<'a> {
    part: Part<'a>,
    scratch: &'a mut Vec<f32>,
}

impl ProductKernel for Scratched<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, N: Factors<L>, const M: usize, const V: usize>(self) {
        let Scratched { part, scratch } = self;
        let (keys, key_count, depth) = part.keys;
        let width = L::COUNT * V * N::WIDE;
        // Queries side by side, then what each key makes of them, then a row and a block of sums.
        let scratch = at_least(scratch, (depth + key_count + M + 1 + M) * width);
        let (side_by_side, rest) = scratch.split_at_mut(depth * width);
        let (weights, rows) = rest.split_at_mut((key_count + M) * width);
        let (values, [row, cell]) = part.queries;
        for (i, out) in side_by_side.chunks_exact_mut(width).enumerate() {
            for (n, out) in out.iter_mut().enumerate() {
                // The last group is filled up with its last query.
                let query = (part.rows.start + n).min(part.rows.end - 1);
                *out = values[query * row + i * cell];
            }
        }
        // SAFETY: the set is there; sizes follow from the extents above. Keys and values have been made factors of,
        // and are packed in blocks of `M` rows.
        unsafe {
            if N::WIDE > 1 {
                narrow_in_place::<L, N>(side_by_side);
            }
            let queries = side_by_side.as_ptr().cast::<N::Value>();
            let weights = weights.as_mut_ptr();
            let mut greatest = [[L::splat(f32::NEG_INFINITY); HALVES_WIDE]; V];
            let mut nearest = greatest;
            let first = part.op.nearest().map_or(depth, |nearest| nearest.depth);
            for block in 0..key_count.div_ceil(M) {
                let keys = keys.as_ptr().cast::<N::Value>().add(block * depth * M);
                let products = weights.add(block * M * width);
                let count = M.min(key_count - block * M);
                add_strided::<L, N, M, V>(keys, 0..first, queries, products, true);
                if part.op.nearest().is_some() {
                    raise::<L, N, V>(&mut nearest, products, count);
                    add_strided::<L, N, M, V>(keys, first..depth, queries, products, false);
                }
                raise::<L, N, V>(&mut greatest, products, count);
            }
            if let Some(Nearest { factor, .. }) = part.op.nearest() {
                for v in 0..V {
                    for i in 0..N::WIDE {
                        nearest[v][i] = nearest[v][i].mul(L::splat(factor));
                    }
                }
                tell::<L, N, V>(nearest, rows, part.rows.clone(), part.nearest);
            }
            let Use::Attend { scale, .. } = part.op.purpose else {
                tell::<L, N, V>(greatest, rows, part.rows, part.target);
                return;
            };
            // A negative scale would turn the greatest into the smallest; no graph of ours has one, and
            // the operator is not made for one.
            let scale = L::splat(scale);
            let lowest = L::splat(LOWEST);
            let mut total = [[L::splat(0.0); HALVES_WIDE]; V];
            for key in 0..key_count {
                for v in 0..V {
                    for i in 0..N::WIDE {
                        let at = key * width + (v * N::WIDE + i) * L::COUNT;
                        let weight = L::load(weights.add(at)).sub(greatest[v][i]);
                        let weight = weight.mul(scale).max(lowest).exp();
                        total[v][i] = total[v][i].add(weight);
                        // No factor is larger than a number: what is written here has been read.
                        N::put(weight, weights.cast::<N::Value>().add(at));
                    }
                }
            }
            put_all::<L, N, V>(total, rows.as_mut_ptr());
            for total in &mut rows[..width] {
                *total = 1.0 / *total;
            }
            let (shares, sums) = rows.split_at_mut(width);
            let weights = weights.cast::<N::Value>();
            let (values, columns) = part.values;
            for block in 0..columns.div_ceil(M) {
                let values = values.as_ptr().cast::<N::Value>().add(block * key_count * M);
                let first = block * M;
                add_strided::<L, N, M, V>(values, 0..key_count, weights, sums.as_mut_ptr(), true);
                let mut out = [[0.0f32; LANES_MAX]; M];
                for register in 0..V * N::WIDE {
                    let share = L::load(shares.as_ptr().add(register * L::COUNT));
                    for m in 0..M {
                        let sum = L::load(sums.as_ptr().add(m * width + register * L::COUNT));
                        sum.mul(share).store(out[m].as_mut_ptr());
                    }
                    for lane in 0..L::COUNT {
                        let query = part.rows.start + register * L::COUNT + lane;
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

/// Attention adds up so many times more products than convolutions before a sum goes over to `f32`: features are no
/// longer than 1, and what weights average forgives more than what is at the points of a convolution.
const LONGER: usize = 4;

/// Adds the products of some taps to rows of sums, or puts them in their place, where the values of one tap follow
/// those of another.
///
/// # Safety
/// As many weights and values lie there, and `M` rows of sums. The set is there.
#[inline(always)]
unsafe fn add_strided<L: Lanes, N: Factors<L>, const M: usize, const V: usize>(
    weights: *const N::Value,
    taps: std::ops::Range<usize>,
    values: *const N::Value,
    rows: *mut f32,
    afresh: bool,
) {
    let step = N::WIDE * L::COUNT;
    let mut begun = taps.start;
    // SAFETY: the caller's.
    unsafe {
        while begun < taps.end {
            let end = taps.end.min(begun.saturating_add(N::RUN.saturating_mul(LONGER)));
            let mut sums = [[N::nothing(); V]; M];
            for tap in begun..end {
                let mut factors = [N::nothing(); V];
                for v in 0..V {
                    factors[v] = N::read(values.add((tap * V + v) * step));
                }
                N::add_products(&mut sums, weights.add(tap * M), factors);
            }
            settle::<L, N, M, V>(&sums, afresh && begun == taps.start, rows, L::COUNT);
            begun = end;
        }
    }
}

/// What is greater of each and of `count` rows.
///
/// # Safety
/// So many rows lie there. The set is there.
#[inline(always)]
unsafe fn raise<L: Lanes, N: Factors<L>, const V: usize>(
    greatest: &mut [[L; HALVES_WIDE]; V],
    rows: *const f32,
    count: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        for m in 0..count {
            for v in 0..V {
                for i in 0..N::WIDE {
                    let at = ((m * V + v) * N::WIDE + i) * L::COUNT;
                    greatest[v][i] = greatest[v][i].max(L::load(rows.add(at)));
                }
            }
        }
    }
}

/// Writes a row of registers.
///
/// # Safety
/// There is room. The set is there.
#[inline(always)]
unsafe fn put_all<L: Lanes, N: Factors<L>, const V: usize>(
    values: [[L; HALVES_WIDE]; V],
    row: *mut f32,
) {
    // SAFETY: the caller's.
    unsafe {
        for v in 0..V {
            for i in 0..N::WIDE {
                values[v][i].store(row.add((v * N::WIDE + i) * L::COUNT));
            }
        }
    }
}

/// Writes one value for each query, by way of a row as long as the registers.
///
/// # Safety
/// The set is there; `target` has all of `queries`, and nobody else writes them.
#[inline(always)]
unsafe fn tell<L: Lanes, N: Factors<L>, const V: usize>(
    values: [[L; HALVES_WIDE]; V],
    row: &mut [f32],
    queries: std::ops::Range<usize>,
    target: Target,
) {
    // SAFETY: the caller's.
    unsafe {
        put_all::<L, N, V>(values, row.as_mut_ptr());
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
