//! A constant matrix along one axis of a map: what bilinear resizing is made of.

use super::convolution::tensor_for;
use super::crew::shared;
use super::isa::{Isa, Kernel};
use super::lanes::Lanes;
use super::product::{Panels, Target, at_least, sums, with_scratch};
use std::sync::Arc;
use tract_core::internal::*;

/// Which axis of `[1, c, h, w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Axis {
    /// `h`.
    Rows,
    /// `w`.
    Columns,
}

/// The operator.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Along {
    isa: Isa,
    axis: Axis,
    /// Channels, rows and columns of the input.
    input: [usize; 3],
    /// Extent of the axis afterwards.
    extent: usize,
    /// For rows: the matrix as weights. For columns it is the input, transposed, and this is empty.
    weights: Arc<Panels>,
    turned: Arc<Vec<f32>>,
    taps: Arc<Vec<u32>>,
    spans: Arc<Spans>,
}

/// For each place on the axis afterwards: the first place before that counts for it or a later one, and the last, and
/// one, that counts for it or an earlier one. Bilinear resizing looks at two of them, whatever the map's size.
#[derive(Clone, Debug, PartialEq)]
struct Spans {
    first: Vec<usize>,
    end: Vec<usize>,
}

impl Spans {
    fn new(extent: usize, from: usize, matrix: impl Fn(usize, usize) -> f32) -> Spans {
        let (mut first, mut end) = (vec![from; extent], vec![0; extent]);
        for to in 0..extent {
            for i in (0..from).filter(|i| matrix(to, *i) != 0.0) {
                first[to] = first[to].min(i);
                end[to] = i + 1;
            }
        }
        for to in 1..extent {
            end[to] = end[to].max(end[to - 1]);
            let (to, later) = (extent - 1 - to, extent - to);
            first[to] = first[to].min(first[later]);
        }
        Spans { first, end }
    }

    /// What counts for some of the places from `to` on; those beyond the map are none.
    fn of(&self, to: usize, count: usize) -> std::ops::Range<usize> {
        let last = (to + count).min(self.end.len()) - 1;
        self.first[to]..self.end[last].max(self.first[to])
    }
}

// No NaN gets into a matrix.
impl Eq for Along {}

impl Along {
    /// `matrix(to, from)` along `axis` of a map of `input` channels, rows and columns. None if the map is
    /// narrower than all registers.
    pub fn new(
        axis: Axis,
        input: [usize; 3],
        extent: usize,
        matrix: impl Fn(usize, usize) -> f32,
    ) -> Option<Along> {
        let width = match axis {
            Axis::Rows => input[2],
            Axis::Columns => extent,
        };
        Along::on(Isa::for_width(width)?, axis, input, extent, matrix)
    }

    /// The same with a given set, whose registers must be no wider than the result.
    pub fn on(
        isa: Isa,
        axis: Axis,
        input: [usize; 3],
        extent: usize,
        matrix: impl Fn(usize, usize) -> f32,
    ) -> Option<Along> {
        let [_, rows, columns] = input;
        u32::try_from(rows.max(columns).checked_mul(columns.max(extent))?).ok()?;
        let (from, stride) = match axis {
            Axis::Rows => (rows, columns),
            Axis::Columns => (columns, extent),
        };
        if stride < isa.lanes() {
            return None;
        }
        let taps = (0..from).map(|i| (i * stride) as u32).collect();
        let spans = Arc::new(Spans::new(extent, from, &matrix));
        let (weights, turned) = match axis {
            Axis::Rows => (Panels::new(extent, from, isa.rows(), matrix), Vec::new()),
            Axis::Columns => {
                let turned = (0..from * extent).map(|i| matrix(i % extent, i / extent)).collect();
                (Panels::new(0, from, isa.rows(), |_, _| 0.0), turned)
            }
        };
        let (weights, turned) = (Arc::new(weights), Arc::new(turned));
        Some(Along { isa, axis, input, extent, weights, turned, taps: Arc::new(taps), spans })
    }

    fn out_shape(&self) -> [usize; 4] {
        let [channels, rows, columns] = self.input;
        match self.axis {
            Axis::Rows => [1, channels, self.extent, columns],
            Axis::Columns => [1, channels, rows, self.extent],
        }
    }

    fn apply(&self, input: &[f32], out: &mut [f32]) {
        let [channels, rows, columns] = self.input;
        assert!(input.len() == channels * rows * columns);
        assert!(out.len() == self.out_shape().iter().product::<usize>());
        let target = Target::new(out);
        match self.axis {
            Axis::Rows => shared(channels, |channel| {
                let input = &input[channel * rows * columns..][..rows * columns];
                let first = channel * self.extent * columns;
                let op = (self, self.weights.data(), self.extent);
                self.isa.call(Block { op, width: columns, input, target, first });
            }),
            Axis::Columns => {
                let block = self.isa.rows();
                let all = channels * rows;
                shared(all.div_ceil(block), |index| {
                    with_scratch(0, |scratch| {
                        let count = block.min(all - index * block);
                        let weights = at_least(scratch, columns * block);
                        let rows = &input[index * block * columns..][..count * columns];
                        for (m, row) in rows.chunks_exact(columns).enumerate() {
                            for (x, value) in row.iter().enumerate() {
                                weights[x * block + m] = *value;
                            }
                        }
                        let op = (self, &weights[..], count);
                        let (width, input) = (self.extent, &self.turned[..]);
                        let first = index * block * width;
                        self.isa.call(Block { op, width, input, target, first });
                    });
                });
            }
        }
    }
}

/// Blocks of rows of the result, each `width` long.
struct Block<'a> {
    /// With the weights, and how many rows they make.
    op: (&'a Along, &'a [f32], usize),
    width: usize,
    input: &'a [f32],
    target: Target,
    /// Where the first row goes.
    first: usize,
}

impl Kernel for Block<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const M: usize, const V: usize>(self) {
        let (op, weights, rows) = self.op;
        let per_block = op.taps.len() * M;
        // SAFETY: the last tap plus `width` is the input's length, registers end with a row at the latest,
        // and every call has rows of the result of its own.
        unsafe {
            for (block, weights) in weights.chunks_exact(per_block).enumerate() {
                let mut x = 0;
                while x < self.width {
                    let left = self.width.saturating_sub(x);
                    let whole = left >= V * L::COUNT;
                    if !whole {
                        x = x.min(self.width - L::COUNT);
                    }
                    let span = match op.axis {
                        Axis::Rows => op.spans.of(block * M, M),
                        Axis::Columns => {
                            op.spans.of(x, if whole { V * L::COUNT } else { L::COUNT })
                        }
                    };
                    let weights = weights.as_ptr().add(span.start * M);
                    let taps = &op.taps[span];
                    let at = (block * M, rows, x);
                    if whole {
                        let mut places = [self.input.as_ptr().add(x); V];
                        for v in 0..V {
                            places[v] = places[v].add(v * L::COUNT);
                        }
                        self.store(sums::<L, M, V>(weights, taps, places, zero()), at);
                        x += V * L::COUNT;
                    } else {
                        let place = [self.input.as_ptr().add(x)];
                        self.store(sums::<L, M, 1>(weights, taps, place, zero()), at);
                        x += L::COUNT;
                    }
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn zero<L: Lanes, const M: usize>() -> [L; M] {
    // SAFETY: the caller's.
    unsafe { [L::splat(0.0); M] }
}

impl Block<'_> {
    #[inline(always)]
    unsafe fn store<L: Lanes, const M: usize, const V: usize>(
        &self,
        sums: [[L; V]; M],
        (row, rows, x): (usize, usize, usize),
    ) {
        // SAFETY: the caller's.
        unsafe {
            for m in 0..M.min(rows.saturating_sub(row)) {
                for v in 0..V {
                    let at = self.first + (row + m) * self.width + x + v * L::COUNT;
                    sums[m][v].store(self.target.at(at));
                }
            }
        }
    }
}

impl Op for Along {
    fn name(&self) -> StaticName {
        "TouchstoneAlong".into()
    }

    fn validation(&self) -> Validation {
        Validation::Rounding
    }

    op_as_typed_op!();
}

impl EvalOp for Along {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut out = tensor_for::<f32>(&self.out_shape())?;
        self.apply(inputs[0].view().as_slice()?, out.view_mut().as_slice_mut()?);
        Ok(tvec!(out.into_tvalue()))
    }
}

impl TypedOp for Along {
    as_op!();

    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(self.out_shape())))
    }
}
