//! A convolution's values and weights in 16 bits, where it is done as sums: one of 1x1 cells, above all. What it reads
//! is narrowed when it is read; its sums are floats before they are written. Those in tiles narrow what is at their
//! points ([`super::winograd`]).

use super::convolution::{Convolution, Layout, finish};
use super::crew::shared;
use super::factors::{self, Factors, HALVES_WIDE, Halves, ProductKernel, Stored, narrow};
use super::isa::Isa;
use super::lanes::{LANES_MAX, Lanes};
use super::product::{Panels, Target};

/// Values that are narrowed at a time, whole registers of any set.
const PIECE: usize = 256 * LANES_MAX;

/// Weights of 16 bits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sixteen {
    pub halves: Halves,
    /// As [`Panels`].
    weights: Stored,
}

impl Sixteen {
    pub fn new(halves: Halves, weights: &Panels) -> Sixteen {
        Sixteen { halves, weights: halves.store(weights.data().to_vec()) }
    }

    /// `input` in 16 bits, in as much memory as it has itself.
    pub fn narrow(&self, isa: Isa, input: &[f32], out: &mut [f32]) {
        assert!(out.len() >= input.len());
        let target = Target::new(out);
        shared(input.len().div_ceil(PIECE), |piece| {
            let first = piece * PIECE;
            let input = &input[first..input.len().min(first + PIECE)];
            factors::call(isa, Some(self.halves), Narrow { input, first, target });
        });
    }
}

/// Values from number `first` on.
struct Narrow<'a> {
    input: &'a [f32],
    first: usize,
    target: Target,
}

impl ProductKernel for Narrow<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, N: Factors<L>, const M: usize, const V: usize>(self) {
        let Narrow { input, first, target } = self;
        let whole = input.len() / L::COUNT * L::COUNT;
        // SAFETY: the caller's; there is room for all values, none of which is larger than an `f32`, and every piece
        // writes its own.
        unsafe {
            let out = target.at(0).cast::<N::Value>().add(first);
            narrow::<L, N>(input.as_ptr(), out, whole / L::COUNT);
            let rest = input.len() - whole;
            if rest > 0 {
                let (mut values, mut last) = ([0.0; LANES_MAX], [0.0f32; LANES_MAX]);
                values[..rest].copy_from_slice(&input[whole..]);
                N::put(L::load(values.as_ptr()), last.as_mut_ptr().cast());
                let last = last.as_ptr().cast::<N::Value>();
                last.copy_to_nonoverlapping(out.add(whole), rest);
            }
        }
    }
}

/// All channels of some registers of places.
pub(super) struct Full<'a> {
    pub op: &'a Convolution,
    pub layout: &'a Layout,
    pub sixteen: &'a Sixteen,
    /// In 16 bits.
    pub input: &'a [f32],
    pub added: Option<&'a [f32]>,
    pub target: Target,
    pub places: &'a [(u32, u32)],
}

impl ProductKernel for Full<'_> {
    type Out = ();

    #[inline(always)]
    unsafe fn run<L: Lanes, N: Factors<L>, const M: usize, const V: usize>(self) {
        // SAFETY: the caller's; the convolution has checked all that is read and written.
        unsafe {
            match self.places.len() {
                n if n == V => self.blocks::<L, N, M, V>(),
                2 => self.blocks::<L, N, M, 2>(),
                _ => self.blocks::<L, N, M, 1>(),
            }
        }
    }
}

impl Full<'_> {
    #[inline(always)]
    unsafe fn blocks<L: Lanes, N: Factors<L>, const M: usize, const V: usize>(&self) {
        let (taps, bias) = (&self.layout.taps, self.op.bias());
        let (channels, plane) = self.op.out_planes();
        let weights = N::of(&self.sixteen.weights);
        // SAFETY: the convolution has checked all that is read and written; no two groups of places have the
        // same output, but for the end of a row, where both write the same values.
        unsafe {
            let mut from = [self.input.as_ptr().cast::<N::Value>(); V];
            for v in 0..V {
                from[v] = from[v].add(self.places[v].0 as usize);
            }
            for (block, weights) in weights.chunks_exact(taps.len() * M).enumerate() {
                let (first, mut weights) = (block * M, weights.as_ptr());
                let mut totals = [[[L::splat(0.0); HALVES_WIDE]; V]; M];
                for m in 0..M {
                    totals[m] = [[L::splat(bias[first + m]); HALVES_WIDE]; V];
                }
                for run in taps.chunks(N::RUN) {
                    let mut sums = [[N::nothing(); V]; M];
                    for &tap in run {
                        let mut values = [N::nothing(); V];
                        for v in 0..V {
                            values[v] = N::read(from[v].add(tap as usize));
                        }
                        N::add_products(&mut sums, weights, values);
                        weights = weights.add(M);
                    }
                    for m in 0..M {
                        for v in 0..V {
                            let wide = sums[m][v].wide();
                            for i in 0..N::WIDE {
                                totals[m][v][i] = totals[m][v][i].add(wide[i]);
                            }
                        }
                    }
                }
                for m in 0..M.min(channels - first) {
                    for v in 0..V {
                        for i in 0..N::WIDE {
                            let at = (first + m) * plane + self.places[v].1 as usize;
                            let (sum, at) = (totals[m][v][i], at + i * L::COUNT);
                            finish(sum, self.added, self.op.is_rectified(), self.target, at);
                        }
                    }
                }
            }
        }
    }
}
