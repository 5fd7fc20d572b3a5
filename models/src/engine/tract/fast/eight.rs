//! A convolution's values and weights in 8 bits. What it reads becomes levels when it is read, four channels side
//! by side, and its sums become floats before they are written, so that no other operator knows of it: an input
//! that several read is rounded by each for itself, and what is added and the ReLU stay exact.

use super::convolution::{Convolution, Layout, finish};
use super::crew::shared;
use super::dots::{DotKernel, Dots, Quads};
use super::lanes::{LANES_MAX, Lanes};
use super::product::Target;

/// Greatest weight, symmetric.
const WEIGHT_MAX: f32 = 127.0;
/// How far a weight may be from a whole step of its channel's scale, in steps: what f32 makes of a product and its
/// quotient.
const OFF_MAX: f32 = 1e-4;
/// Greatest level.
const LEVEL_MAX: f32 = 255.0;
/// Channels that lie side by side.
pub(super) const TOGETHER: usize = 4;

/// What numbers a convolution reads: `scale * (level - zero)`, levels of 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Levels {
    pub scale: f32,
    pub zero: u8,
}

/// Weights of 8 bits, and what makes floats of sums.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Eight {
    pub dots: Dots,
    levels: Levels,
    /// As [`super::product::Panels`], four channels in each number.
    weights: Vec<i32>,
    /// What the sums of each output channel begin with: what the level of zero adds to them, taken off.
    start: Vec<i32>,
    /// Of each output channel: a level's scale times a weight's.
    factors: Vec<f32>,
}

/// A weight's steps, and the size of one for each of its output channels. None if it does not lie on 255 of them.
pub fn steps(weight: &[f32], channels: usize) -> Option<(Vec<i8>, Vec<f32>)> {
    let (mut steps, mut sizes) = (Vec::with_capacity(weight.len()), Vec::new());
    for channel in weight.chunks_exact(weight.len() / channels) {
        let most = channel.iter().fold(0.0f32, |most, w| most.max(w.abs()));
        let size = (most / WEIGHT_MAX).max(f32::MIN_POSITIVE);
        for w in channel {
            let step = (w / size).round();
            let off = (w / size - step).abs();
            if off.is_nan() || off > OFF_MAX {
                return None;
            }
            steps.push(step as i8);
        }
        sizes.push(size);
    }
    Some((steps, sizes))
}

impl Eight {
    /// `weight` is `[outputs, inputs, cells]`. None if it does not lie on 255 levels of each output channel.
    pub fn new(
        dots: Dots,
        levels: Levels,
        weight: &[f32],
        [outputs, inputs, cells]: [usize; 3],
        block: usize,
    ) -> Option<Eight> {
        let (whole, sizes) = steps(weight, outputs)?;
        let mut factors = vec![0.0; outputs.next_multiple_of(block)];
        let mut start = vec![0; factors.len()];
        let zero = i32::from(levels.zero) - dots.offset();
        for (row, (channel, size)) in whole.chunks_exact(inputs * cells).zip(sizes).enumerate() {
            let sum: i32 = channel.iter().map(|w| i32::from(*w)).sum();
            (factors[row], start[row]) = (size * levels.scale, -zero * sum);
        }
        let at = |row: usize, channel: usize, cell: usize| match row < outputs && channel < inputs {
            true => whole[(row * inputs + channel) * cells + cell].to_le_bytes()[0],
            false => 0,
        };
        let mut weights = Vec::new();
        for first in (0..outputs).step_by(block) {
            for tap in 0..inputs.div_ceil(TOGETHER) * cells {
                let (channel, cell) = (tap / cells * TOGETHER, tap % cells);
                weights.extend((first..first + block).map(|row| {
                    i32::from_le_bytes(std::array::from_fn(|i| at(row, channel + i, cell)))
                }));
            }
        }
        Some(Eight { dots, levels, weights, start, factors })
    }

    /// Four times zero.
    pub fn border(&self) -> i32 {
        let zero = i32::from(self.levels.zero) - self.dots.offset();
        i32::from_le_bytes([zero.to_le_bytes()[0]; TOGETHER])
    }

    /// Channels of `plane` values as levels, four of them side by side.
    pub fn quantise(&self, input: &[f32], plane: usize, out: &mut [i32]) {
        let channels = input.len() / plane;
        let target = Target::new(out);
        shared(channels.div_ceil(TOGETHER), |group| {
            // SAFETY: every group writes its own part, and all of it lies within `out`.
            let out = unsafe { std::slice::from_raw_parts_mut(target.at(group * plane), plane) };
            // Weights of channels that are none are zero, whatever is read in their place.
            let rows = std::array::from_fn(|i| {
                &input[(group * TOGETHER + i).min(channels - 1) * plane..][..plane]
            });
            self.dots.call(Quantise { levels: self.levels, rows, out });
        });
    }
}

/// Four channels.
struct Quantise<'a> {
    levels: Levels,
    rows: [&'a [f32]; TOGETHER],
    out: &'a mut [i32],
}

impl DotKernel for Quantise<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, Q: Quads<L>, const M: usize, const V: usize>(self) {
        let whole = self.out.len() / L::COUNT * L::COUNT;
        // SAFETY: the caller's; a register is read and written within rows of `whole` values, and from and to
        // arrays as long as the longest register.
        unsafe {
            for x in (0..whole).step_by(L::COUNT) {
                let mut values = [L::splat(0.0); TOGETHER];
                for i in 0..TOGETHER {
                    values[i] = self.levels.of(L::load(self.rows[i].as_ptr().add(x)));
                }
                Q::from_levels(values).store(self.out.as_mut_ptr().add(x));
            }
            let rest = self.out.len() - whole;
            if rest > 0 {
                let mut values = [L::splat(0.0); TOGETHER];
                for i in 0..TOGETHER {
                    let mut row = [0.0; LANES_MAX];
                    row[..rest].copy_from_slice(&self.rows[i][whole..]);
                    values[i] = self.levels.of(L::load(row.as_ptr()));
                }
                let mut last = [0; LANES_MAX];
                Q::from_levels(values).store(last.as_mut_ptr());
                self.out[whole..].copy_from_slice(&last[..rest]);
            }
        }
    }
}

impl Levels {
    /// The levels of values; of NaN the lowest or the highest.
    ///
    /// # Safety
    /// The set is there.
    #[inline(always)]
    unsafe fn of<L: Lanes>(self, values: L) -> L {
        // SAFETY: the caller's.
        unsafe {
            let zero = f32::from(self.zero);
            // Rounded as if by itself: both ends are whole.
            let steps = values.mul(L::splat(1.0 / self.scale));
            let steps = steps.max(L::splat(-zero)).min(L::splat(LEVEL_MAX - zero));
            steps.round().add(L::splat(zero))
        }
    }
}

/// All channels of some registers of places.
pub(super) struct Full<'a> {
    pub op: &'a Convolution,
    pub layout: &'a Layout,
    pub eight: &'a Eight,
    pub input: &'a [i32],
    pub added: Option<&'a [f32]>,
    pub target: Target,
    pub places: &'a [(u32, u32)],
}

impl DotKernel for Full<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, Q: Quads<L>, const M: usize, const V: usize>(self) {
        // SAFETY: the caller's; the convolution has checked all that is read and written.
        unsafe {
            match self.places.len() {
                n if n == V => self.blocks::<L, Q, M, V>(),
                2 => self.blocks::<L, Q, M, 2>(),
                _ => self.blocks::<L, Q, M, 1>(),
            }
        }
    }
}

impl Full<'_> {
    #[inline(always)]
    unsafe fn blocks<L: Lanes, Q: Quads<L>, const M: usize, const V: usize>(&self) {
        let (taps, bias) = (&self.layout.taps, self.op.bias());
        let (channels, plane) = self.op.out_planes();
        // SAFETY: the convolution has checked all that is read and written; no two groups of places have the
        // same output, but for the end of a row, where both write the same values.
        unsafe {
            let mut from = [self.input.as_ptr(); V];
            for v in 0..V {
                from[v] = from[v].add(self.places[v].0 as usize);
            }
            for (block, weights) in self.eight.weights.chunks_exact(taps.len() * M).enumerate() {
                let first = block * M;
                let mut sums = [[Q::splat(0); V]; M];
                for m in 0..M {
                    sums[m] = [Q::splat(self.eight.start[first + m]); V];
                }
                let mut weights = weights.as_ptr();
                for &tap in taps {
                    let mut levels = [Q::splat(0); V];
                    for v in 0..V {
                        levels[v] = Q::load(from[v].add(tap as usize));
                    }
                    for m in 0..M {
                        let weight = Q::splat(*weights.add(m));
                        for v in 0..V {
                            sums[m][v] = sums[m][v].add_dots(levels[v], weight);
                        }
                    }
                    weights = weights.add(M);
                }
                for m in 0..M.min(channels - first) {
                    let factor = L::splat(self.eight.factors[first + m]);
                    let bias = L::splat(bias[first + m]);
                    for v in 0..V {
                        let at = (first + m) * plane + self.places[v].1 as usize;
                        let sum = sums[m][v].to_floats().mul_add(factor, bias);
                        finish(sum, self.added, self.op.is_rectified(), self.target, at);
                    }
                }
            }
        }
    }
}
