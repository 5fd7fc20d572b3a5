//! Convolution with its bias, what is added to it and its ReLU, in one operator: the input is padded (and
//! for strides taken apart into its phases) once, then read in place. tract's own lays every value out once
//! per kernel cell.

use super::crew::shared;
use super::dots::Dots;
use super::eight::{self, Eight, Levels, TOGETHER};
use super::factors::{self, HALVES_WIDE, Halves};
use super::isa::{Isa, Kernel};
use super::lanes::Lanes;
use super::product::{Panels, Target, at_least, sums, whole, with_scratch};
use super::sixteen::{self, Sixteen};
use super::winograd::Winograd;
use std::sync::Arc;
use tract_core::internal::*;

/// What a convolution does, without its weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Channels, rows and columns of the input.
    pub input: [usize; 3],
    /// Channels, rows and columns of the output.
    pub output: [usize; 3],
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Cells from one output to the next, down and across.
    pub stride: [usize; 2],
    /// Cells between two cells of the kernel, and one, down and across.
    pub dilation: [usize; 2],
    /// Rows above and columns to the left that count as 0.
    pub pad: [usize; 2],
    /// Every channel by itself.
    pub depthwise: bool,
}

/// Columns that a job of a depthwise convolution takes at a time, in registers.
const DEPTHWISE_REGISTERS: usize = 4;

/// The operator. Inputs: the map, `[1, c, h, w]`, and what is added to the result, if anything is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Convolution {
    shape: Shape,
    isa: Isa,
    way: Arc<Way>,
    /// One per output channel, filled up to whole blocks.
    bias: Arc<Vec<f32>>,
    adds: bool,
    relu: bool,
}

// Weights are compared by `PartialEq`; no NaN gets here.
impl Eq for Convolution {}

/// How it is computed, with the weights as it takes them.
#[derive(Clone, Debug, PartialEq)]
enum Way {
    /// Sums of products, as it is written.
    Sums(Layout, Panels),
    /// The same of bytes.
    Eight(Layout, Eight),
    /// The same of numbers of 16 bits.
    Sixteen(Layout, Sixteen),
    /// In tiles, with fewer products.
    Winograd(Winograd),
}

/// Where everything lies that is summed up.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    /// Where each weight finds its value, behind a place.
    pub taps: Vec<u32>,
    /// Where each register of the output is read and written.
    places: Vec<(u32, u32)>,
    /// Rows and columns of a plane of the padded input; none if the input is read as it is.
    padded: Option<[usize; 2]>,
}

/// Numbers of the scratch memories.
const PADDED: usize = 0;
/// The input in 8 or 16 bits.
const NARROW: usize = 1;

impl Shape {
    /// Where everything lies, of an input of so many planes, with so many channels to a weight's row. None if rows
    /// are shorter than registers of `lanes`, or the map is larger than its places can number.
    fn layout(&self, lanes: usize, planes: usize, channels: usize) -> Option<Layout> {
        let [_, rows, columns] = self.input;
        let [outputs, out_rows, out_columns] = self.output;
        let [kernel_rows, kernel_columns] = self.kernel;
        let as_it_is = self.kernel == [1, 1]
            && self.stride == [1, 1]
            && self.pad == [0, 0]
            && [rows, columns] == [out_rows, out_columns];
        // One long row, if nothing of the borders matters.
        let [plane_rows, plane_columns] =
            if as_it_is { [1, rows * columns] } else { [out_rows, out_columns] };
        if plane_columns < lanes || out_rows == 0 {
            return None;
        }
        let [down, across] = self.stride;
        let reach = |axis: usize| {
            let size = [out_rows, out_columns][axis];
            let span = (self.kernel[axis] - 1) * self.dilation[axis];
            ((size - 1) * self.stride[axis] + span + 1).div_ceil(self.stride[axis])
        };
        let padded = (!as_it_is).then(|| [reach(0), reach(1)]);
        let [height, width] = padded.unwrap_or([1, rows * columns]);
        let (plane, phases) = (height * width, down * across);
        u32::try_from(planes * phases * plane).ok()?;
        u32::try_from(outputs * out_rows * out_columns).ok()?;
        let tap = |channel: usize, y: usize, x: usize| {
            let (y, x) = (y * self.dilation[0], x * self.dilation[1]);
            let phase = (y % down) * across + x % across;
            ((channel * phases + phase) * plane + y / down * width + x / across) as u32
        };
        let cells = kernel_rows * kernel_columns;
        let taps = (0..channels * cells)
            .map(|i| tap(i / cells, i % cells / kernel_columns, i % kernel_columns))
            .collect();
        let places = (0..plane_rows)
            .flat_map(|y| {
                (0..plane_columns.div_ceil(lanes)).map(move |i| {
                    // The last of a row ends with it; what it shares with the one before is done twice.
                    let x = (i * lanes).min(plane_columns - lanes);
                    ((y * width + x) as u32, (y * plane_columns + x) as u32)
                })
            })
            .collect();
        Some(Layout { taps, places, padded })
    }

    /// Parts that an input plane is taken into, for strides.
    fn phases(&self) -> usize {
        self.stride[0] * self.stride[1]
    }
}

impl Convolution {
    /// `weight` is `[out, in / groups, kh, kw]`. None if no instruction set's registers are as narrow as
    /// the output, or the map is larger than its places can number.
    pub fn new(shape: &Shape, weight: &[f32], bias: &[f32]) -> Option<Convolution> {
        Isa::available().iter().find_map(|isa| Convolution::on(*isa, None, shape, weight, bias))
    }

    /// The same with a given set, and who multiplies if it is done with 16 bits; the faster way.
    pub fn on(
        isa: Isa,
        halves: Option<Halves>,
        shape: &Shape,
        weight: &[f32],
        bias: &[f32],
    ) -> Option<Convolution> {
        let in_tiles = || Convolution::in_tiles(isa, halves, shape, weight, bias);
        let in_tiles = Winograd::pays(shape).then(in_tiles).flatten();
        in_tiles.or_else(|| Convolution::in_sums(isa, halves, shape, weight, bias))
    }

    /// The same of numbers of 16 bits. None if this machine is no faster with them, the map is too narrow, or it is
    /// depthwise.
    pub fn of_halves(shape: &Shape, weight: &[f32], bias: &[f32]) -> Option<Convolution> {
        let isa = Isa::best();
        Convolution::on(isa, Some(Halves::beside(isa)?), shape, weight, bias)
    }

    /// In tiles. None if its kernel is of no kind that tiles are known for.
    pub fn in_tiles(
        isa: Isa,
        halves: Option<Halves>,
        shape: &Shape,
        weight: &[f32],
        bias: &[f32],
    ) -> Option<Convolution> {
        let way = Way::Winograd(Winograd::new(isa, halves, shape, weight)?);
        Some(Convolution::with(isa, shape, way, bias))
    }

    /// As sums. None if the map is narrower than registers, or for 16 bits if it is depthwise.
    pub fn in_sums(
        isa: Isa,
        halves: Option<Halves>,
        shape: &Shape,
        weight: &[f32],
        bias: &[f32],
    ) -> Option<Convolution> {
        if halves.is_some() && shape.depthwise {
            return None;
        }
        let channels = if shape.depthwise { 1 } else { shape.input[0] };
        let layout =
            shape.layout(isa.lanes() * factors::width(halves), shape.input[0], channels)?;
        let block = if shape.depthwise { 1 } else { isa.rows() };
        let (outputs, per_row) = (shape.output[0], layout.taps.len());
        let panels = Panels::new(outputs, per_row, block, |row, tap| weight[row * per_row + tap]);
        let way = match halves {
            None => Way::Sums(layout, panels),
            Some(halves) => Way::Sixteen(layout, Sixteen::new(halves, &panels)),
        };
        Some(Convolution::with(isa, shape, way, bias))
    }

    /// The same of an input in `levels`, by products of bytes. None if this machine has no instruction for them, the
    /// weights do not lie on levels, or it is depthwise.
    pub fn of_levels(
        shape: &Shape,
        levels: Levels,
        weight: &[f32],
        bias: &[f32],
    ) -> Option<Convolution> {
        let isa = (!shape.depthwise).then(Isa::best)?;
        let dots = Dots::beside(isa)?;
        let groups = shape.input[0].div_ceil(TOGETHER);
        let layout = shape.layout(isa.lanes(), groups, groups)?;
        let cells = shape.kernel[0] * shape.kernel[1];
        let sizes = [shape.output[0], shape.input[0], cells];
        let eight = Eight::new(dots, levels, weight, sizes, isa.rows())?;
        Some(Convolution::with(isa, shape, Way::Eight(layout, eight), bias))
    }

    fn with(isa: Isa, shape: &Shape, way: Way, bias: &[f32]) -> Convolution {
        let outputs = shape.output[0];
        let mut bias = if bias.len() == 1 { vec![bias[0]; outputs] } else { bias.to_vec() };
        bias.resize(outputs.next_multiple_of(isa.rows()), 0.0);
        Convolution {
            shape: shape.clone(),
            isa,
            way: Arc::new(way),
            bias: Arc::new(bias),
            adds: false,
            relu: false,
        }
    }

    /// The same with a second input that is added to the result.
    pub fn adding(self) -> Convolution {
        Convolution { adds: true, ..self }
    }

    /// The same with a ReLU behind it all.
    pub fn rectified(self) -> Convolution {
        Convolution { relu: true, ..self }
    }

    /// Whether a ReLU stands behind it.
    pub fn is_rectified(&self) -> bool {
        self.relu
    }

    fn out_shape(&self) -> [usize; 4] {
        let [channels, rows, columns] = self.shape.output;
        [1, channels, rows, columns]
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    pub fn isa(&self) -> Isa {
        self.isa
    }

    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Channels of the output, and values of each.
    pub fn out_planes(&self) -> (usize, usize) {
        let [channels, rows, columns] = self.shape.output;
        (channels, rows * columns)
    }

    /// `out` = the convolution of `input`, plus `added`.
    fn apply(&self, input: &[f32], added: Option<&[f32]>, out: &mut [f32]) {
        let [channels, rows, columns] = self.shape.input;
        let padded_len = |planes: usize, [height, width]: [usize; 2]| {
            planes * self.shape.phases() * height * width
        };
        match &*self.way {
            Way::Winograd(winograd) => winograd.apply(self, input, added, out),
            Way::Sums(layout, weights) => match layout.padded {
                None => self.product(layout, weights, input, added, out),
                Some(extents) => with_scratch(PADDED, |scratch| {
                    let scratch = at_least(scratch, padded_len(channels, extents));
                    self.pad(input, scratch, extents, 0.0);
                    self.product(layout, weights, scratch, added, out);
                }),
            },
            Way::Sixteen(layout, sixteen) => with_scratch(NARROW, |narrow| {
                let len = layout.padded.map_or(input.len(), |p| padded_len(channels, p));
                let narrow = at_least(narrow, len);
                match layout.padded {
                    None => sixteen.narrow(self.isa, input, narrow),
                    Some(extents) => with_scratch(PADDED, |scratch| {
                        let scratch = at_least(scratch, len);
                        self.pad(input, scratch, extents, 0.0);
                        sixteen.narrow(self.isa, scratch, narrow);
                    }),
                }
                self.product_of_halves(layout, sixteen, narrow, added, out);
            }),
            Way::Eight(layout, eight) => with_scratch(NARROW, |levels| {
                let groups = channels.div_ceil(TOGETHER);
                let levels = whole(at_least(levels, groups * rows * columns));
                eight.quantise(input, rows * columns, levels);
                let Some(extents) = layout.padded else {
                    self.product_of_levels(layout, eight, levels, added, out);
                    return;
                };
                with_scratch(PADDED, |scratch| {
                    let scratch = whole(at_least(scratch, padded_len(groups, extents)));
                    self.pad(levels, scratch, extents, eight.border());
                    self.product_of_levels(layout, eight, scratch, added, out);
                });
            }),
        }
    }

    /// Lays the input out with its borders, phase by phase.
    fn pad<T: Copy + Send + Sync>(
        &self,
        input: &[T],
        out: &mut [T],
        [height, width]: [usize; 2],
        border: T,
    ) {
        let [_, rows, columns] = self.shape.input;
        let [down, across] = self.shape.stride;
        let [above, left] = self.shape.pad;
        let per_channel = down * across * height * width;
        let target = Target::new(out);
        shared(input.len() / (rows * columns), |channel| {
            // SAFETY: every channel writes its own part, and all of it lies within `out`.
            let out = unsafe {
                std::slice::from_raw_parts_mut(target.at(channel * per_channel), per_channel)
            };
            let input = &input[channel * rows * columns..][..rows * columns];
            for (index, out) in out.chunks_exact_mut(width).enumerate() {
                let (phase, y) = (index / height, index % height);
                let source = (y * down + phase / across).checked_sub(above).filter(|y| *y < rows);
                let Some(y) = source else {
                    out.fill(border);
                    continue;
                };
                let row = &input[y * columns..][..columns];
                spread(row, out, [phase % across, across, left], border);
            }
        });
    }

    /// What the kernels' own safety rests on. `lanes`: values of a place.
    fn check(
        &self,
        layout: &Layout,
        lanes: usize,
        input: usize,
        added: Option<&[f32]>,
        out: &[f32],
    ) {
        let (channels, plane) = self.out_planes();
        let last_tap = layout.taps.iter().max().map_or(0, |tap| *tap as usize);
        let last_place = layout.places.iter().map(|place| place.0 as usize).max().unwrap_or(0);
        assert!(last_tap + last_place + lanes <= input);
        assert!(out.len() == channels * plane && added.is_none_or(|a| a.len() == out.len()));
    }

    fn product(
        &self,
        layout: &Layout,
        weights: &Panels,
        input: &[f32],
        added: Option<&[f32]>,
        out: &mut [f32],
    ) {
        let (channels, plane) = self.out_planes();
        let per_channel =
            layout.padded.map_or(plane, |[height, width]| self.shape.phases() * height * width);
        let last_channel = if self.shape.depthwise { (channels - 1) * per_channel } else { 0 };
        self.check(layout, self.isa.lanes(), input.len() - last_channel, added, out);
        let target = Target::new(out);
        if self.shape.depthwise {
            shared(channels, |channel| {
                let input = &input[channel * per_channel..];
                self.isa.call(Depthwise {
                    op: self,
                    layout,
                    weights,
                    input,
                    added,
                    target,
                    channel,
                });
            });
            return;
        }
        self.by_places(layout, |places| {
            self.isa.call(Full { op: self, layout, weights, input, added, target, places });
        });
    }

    fn product_of_levels(
        &self,
        layout: &Layout,
        eight: &Eight,
        input: &[i32],
        added: Option<&[f32]>,
        out: &mut [f32],
    ) {
        self.check(layout, self.isa.lanes(), input.len(), added, out);
        let target = Target::new(out);
        self.by_places(layout, |places| {
            eight.dots.call(eight::Full { op: self, layout, eight, input, added, target, places });
        });
    }

    fn product_of_halves(
        &self,
        layout: &Layout,
        sixteen: &Sixteen,
        input: &[f32],
        added: Option<&[f32]>,
        out: &mut [f32],
    ) {
        self.check(layout, self.isa.lanes() * HALVES_WIDE, input.len(), added, out);
        let (target, halves) = (Target::new(out), Some(sixteen.halves));
        self.by_places(layout, |places| {
            let full = sixteen::Full { op: self, layout, sixteen, input, added, target, places };
            factors::call(self.isa, halves, full);
        });
    }

    /// As many places at a time as registers hold.
    fn by_places(&self, layout: &Layout, work: impl Fn(&[(u32, u32)]) + Sync) {
        let (places, group) = (&layout.places, self.isa.registers());
        shared(places.chunks(group).len(), |index| {
            work(&places[index * group..places.len().min((index + 1) * group)]);
        });
    }
}

/// Writes every `across`th value of a row with `left` border cells before it, from number `offset` on; what is beyond
/// the row is border.
pub(super) fn spread<T: Copy>(
    row: &[T],
    out: &mut [T],
    [offset, across, left]: [usize; 3],
    border: T,
) {
    // The first that is not border, and the column that it shows.
    let first = left.saturating_sub(offset).div_ceil(across).min(out.len());
    let from = (first * across + offset).saturating_sub(left);
    let count = row.len().saturating_sub(from).div_ceil(across).min(out.len() - first);
    out[..first].fill(border);
    out[first + count..].fill(border);
    let out = &mut out[first..first + count];
    if count == 0 {
        return;
    }
    match across {
        1 => out.copy_from_slice(&row[from..from + count]),
        2 => strided::<T, 2>(&row[from..], out),
        4 => strided::<T, 4>(&row[from..], out),
        _ => out.iter_mut().zip(row[from..].iter().step_by(across)).for_each(|(o, v)| *o = *v),
    }
}

fn strided<T: Copy, const N: usize>(from: &[T], to: &mut [T]) {
    let (last, whole) = match to.split_last_mut() {
        Some(split) => split,
        None => return,
    };
    let mut cells = from.chunks_exact(N);
    for (to, cell) in whole.iter_mut().zip(&mut cells) {
        *to = cell[0];
    }
    *last = from[N * whole.len()];
}

/// All channels of some registers of places.
struct Full<'a> {
    op: &'a Convolution,
    layout: &'a Layout,
    weights: &'a Panels,
    input: &'a [f32],
    added: Option<&'a [f32]>,
    target: Target,
    places: &'a [(u32, u32)],
}

impl Kernel for Full<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const M: usize, const V: usize>(self) {
        // SAFETY: the caller's; `product` has checked all that is read and written.
        unsafe {
            match self.places.len() {
                n if n == V => self.blocks::<L, M, V>(),
                2 => self.blocks::<L, M, 2>(),
                _ => self.blocks::<L, M, 1>(),
            }
        }
    }
}

impl Full<'_> {
    #[inline(always)]
    unsafe fn blocks<L: Lanes, const M: usize, const V: usize>(&self) {
        let (op, taps) = (self.op, &self.layout.taps);
        let (channels, plane) = op.out_planes();
        let per_block = taps.len() * M;
        // SAFETY: `product` has checked all that is read and written; no two groups of places have the
        // same output, but for the end of a row, where both write the same values.
        unsafe {
            let from: [*const f32; V] =
                std::array::from_fn(|v| self.input.as_ptr().add(self.places[v].0 as usize));
            for (block, weights) in self.weights.data().chunks_exact(per_block).enumerate() {
                let first = block * M;
                let mut start = [L::splat(0.0); M];
                for m in 0..M {
                    start[m] = L::splat(op.bias[first + m]);
                }
                let sums = sums::<L, M, V>(weights.as_ptr(), taps, from, start);
                for m in 0..M.min(channels - first) {
                    for v in 0..V {
                        let at = (first + m) * plane + self.places[v].1 as usize;
                        finish(sums[m][v], self.added, op.relu, self.target, at);
                    }
                }
            }
        }
    }
}

/// Adds what is to be added, does the ReLU and writes.
///
/// # Safety
/// Both have a register's values behind `at`. The set is there.
#[inline(always)]
pub(super) unsafe fn finish<L: Lanes>(
    sum: L,
    added: Option<&[f32]>,
    relu: bool,
    target: Target,
    at: usize,
) {
    // SAFETY: the caller's: both have so many values behind `at`.
    unsafe {
        let mut sum = sum;
        if let Some(added) = added {
            sum = sum.add(L::load(added.as_ptr().add(at)));
        }
        if relu {
            sum = sum.max(L::splat(0.0));
        }
        sum.store(target.at(at));
    }
}

/// One channel of a depthwise convolution.
struct Depthwise<'a> {
    op: &'a Convolution,
    layout: &'a Layout,
    weights: &'a Panels,
    /// From the channel on.
    input: &'a [f32],
    added: Option<&'a [f32]>,
    target: Target,
    channel: usize,
}

impl Kernel for Depthwise<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, const M: usize, const V: usize>(self) {
        let (op, taps) = (self.op, &self.layout.taps);
        let [_, rows, columns] = op.shape.output;
        let weights = &self.weights.data()[self.channel * taps.len()..][..taps.len()];
        let first = self.channel * rows * columns;
        // SAFETY: `product` has checked all that is read and written; a channel is written by one thread.
        unsafe {
            let start = [L::splat(op.bias[self.channel])];
            let from = |place: &(u32, u32)| self.input.as_ptr().add(place.0 as usize);
            let mut groups = self.layout.places.chunks_exact(DEPTHWISE_REGISTERS);
            for places in &mut groups {
                let from: [*const f32; DEPTHWISE_REGISTERS] =
                    std::array::from_fn(|v| from(&places[v]));
                let [row] = sums::<L, 1, DEPTHWISE_REGISTERS>(weights.as_ptr(), taps, from, start);
                for v in 0..DEPTHWISE_REGISTERS {
                    let at = first + places[v].1 as usize;
                    finish(row[v], self.added, op.relu, self.target, at);
                }
            }
            for place in groups.remainder() {
                let [[sum]] = sums::<L, 1, 1>(weights.as_ptr(), taps, [from(place)], start);
                finish(sum, self.added, op.relu, self.target, first + place.1 as usize);
            }
        }
    }
}

impl Op for Convolution {
    fn name(&self) -> StaticName {
        "TouchstoneConvolution".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{:?} on {:?}", self.shape, self.isa)])
    }

    fn validation(&self) -> Validation {
        Validation::Rounding
    }

    op_as_typed_op!();
}

impl EvalOp for Convolution {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut out = tensor_for::<f32>(&self.out_shape())?;
        let added = match self.adds {
            true => Some(inputs[1].view().as_slice::<f32>()?),
            false => None,
        };
        self.apply(inputs[0].view().as_slice()?, added, out.view_mut().as_slice_mut()?);
        Ok(tvec!(out.into_tvalue()))
    }
}

impl TypedOp for Convolution {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let [channels, rows, columns] = self.shape.input;
        ensure!(inputs.len() == 1 + usize::from(self.adds));
        ensure!(inputs[0].shape.as_concrete() == Some(&[1, channels, rows, columns][..]));
        Ok(tvec!(f32::fact(self.out_shape())))
    }
}

/// A tensor that is about to be written all over.
pub(super) fn tensor_for<T: Datum>(shape: &[usize]) -> TractResult<Tensor> {
    // SAFETY: plain numbers; every operator that asks for one writes all of it.
    unsafe { Tensor::uninitialized::<T>(shape) }
}
