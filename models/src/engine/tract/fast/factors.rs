//! What products are made of: registers of `f32`, or of numbers of 16 bits, of which twice as many fit. Sums of those
//! go over to `f32` after a few products, so that their rounding does not grow with the channels.

use super::isa::{Isa, Kernel};
use super::lanes::Lanes;

/// Registers of `f32` that one of 16 bits stands for.
pub(super) const HALVES_WIDE: usize = 2;

/// A register of factors, and of sums of their products.
///
/// # Safety
/// As [`Lanes`]: every method needs the instruction set; [`Factors::read`] needs `WIDE * L::COUNT` values at `from`,
/// [`Factors::put`] room for `L::COUNT` at `to`.
pub(super) trait Factors<L: Lanes>: Copy {
    /// As they lie in memory.
    type Value: Copy;
    /// Registers of `f32` that one of these stands for, one or [`HALVES_WIDE`].
    const WIDE: usize;
    /// Products that may be added up before the sum goes over to `f32`.
    const RUN: usize;

    /// Weights of this kind; none of another.
    fn of(stored: &Stored) -> &[Self::Value];
    unsafe fn nothing() -> Self;
    unsafe fn read(from: *const Self::Value) -> Self;
    unsafe fn put(values: L, to: *mut Self::Value);
    /// The same as `f32`; the second is left over where [`Factors::WIDE`] is one.
    unsafe fn wide(self) -> [L; HALVES_WIDE];
    /// Adds the products of `M` weights with `values`.
    unsafe fn add_products<const M: usize, const V: usize>(
        sums: &mut [[Self; V]; M],
        weights: *const Self::Value,
        values: [Self; V],
    );
}

/// Weights, as large as they are stored.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stored {
    Whole(Vec<f32>),
    /// The bits of numbers of 16.
    #[cfg(target_arch = "aarch64")]
    Halves(Vec<u16>),
}

/// Adds sums to those in `f32` at `to`, where register `v` of row `m` is `m * V * WIDE + v * WIDE` times `stride`
/// values on, its second half another `stride`. The `first` replace what is there.
///
/// # Safety
/// So many registers lie there. The instruction set is there.
#[inline(always)]
pub(super) unsafe fn settle<L: Lanes, N: Factors<L>, const M: usize, const V: usize>(
    sums: &[[N; V]; M],
    first: bool,
    to: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        for m in 0..M {
            for v in 0..V {
                let wide = sums[m][v].wide();
                for i in 0..N::WIDE {
                    let to = to.add(((m * V + v) * N::WIDE + i) * stride);
                    let sum = if first { wide[i] } else { wide[i].add(L::load(to)) };
                    sum.store(to);
                }
            }
        }
    }
}

/// Makes factors of so many registers of numbers, one after the other.
///
/// # Safety
/// So many lie at `from`, and there is room for as many factors at `to`, which may be `from`. The set is there.
#[inline(always)]
pub(super) unsafe fn narrow<L: Lanes, N: Factors<L>>(
    from: *const f32,
    to: *mut N::Value,
    registers: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        for register in 0..registers {
            let at = register * L::COUNT;
            N::put(L::load(from.add(at)), to.add(at));
        }
    }
}

impl<L: Lanes> Factors<L> for L {
    type Value = f32;
    const WIDE: usize = 1;
    const RUN: usize = usize::MAX;

    fn of(stored: &Stored) -> &[f32] {
        match stored {
            Stored::Whole(values) => values,
            #[cfg(target_arch = "aarch64")]
            Stored::Halves(_) => &[],
        }
    }

    #[inline(always)]
    unsafe fn nothing() -> L {
        // SAFETY: the caller's.
        unsafe { L::splat(0.0) }
    }

    #[inline(always)]
    unsafe fn read(from: *const f32) -> L {
        // SAFETY: the caller's.
        unsafe { L::load(from) }
    }

    #[inline(always)]
    unsafe fn put(values: L, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { values.store(to) }
    }

    #[inline(always)]
    unsafe fn wide(self) -> [L; HALVES_WIDE] {
        [self; HALVES_WIDE]
    }

    #[inline(always)]
    unsafe fn add_products<const M: usize, const V: usize>(
        sums: &mut [[L; V]; M],
        weights: *const f32,
        values: [L; V],
    ) {
        // SAFETY: the caller's.
        unsafe { <L as Lanes>::add_products(sums, weights, values) }
    }
}

/// Who computes with 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halves {
    /// ARM cores from v8.2 on that have it (Cortex-A55, A75, A76, A78, Neoverse).
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// `f32`, rounded to 16 bits after every step: what such a core gives, several times slower, for the desk.
    Rounded,
}

/// Work that is compiled once per kind of factors.
pub(super) trait ProductKernel {
    /// What comes out.
    type Out;

    /// As [`Kernel::run`], with the factors that products are made of.
    ///
    /// # Safety
    /// `L` and `N` are of a set that this machine has. Must be `inline(always)`.
    unsafe fn run<L: Lanes, N: Factors<L>, const M: usize, const V: usize>(self) -> Self::Out;
}

/// Runs `kernel` with products of `f32`, or of 16 bits.
#[inline(always)]
pub(super) fn call<K: ProductKernel>(isa: Isa, halves: Option<Halves>, kernel: K) -> K::Out {
    match halves {
        None => isa.call(Whole(kernel)),
        // SAFETY: it is only ever made by `beside`, which has looked for it.
        #[cfg(target_arch = "aarch64")]
        Some(Halves::Neon) => unsafe { fp16(kernel) },
        Some(Halves::Rounded) => isa.call(Rounding(kernel)),
    }
}

struct Whole<K>(K);

impl<K: ProductKernel> Kernel for Whole<K> {
    type Out = K::Out;

    #[inline(always)]
    unsafe fn run<L: Lanes, const M: usize, const V: usize>(self) -> K::Out {
        // SAFETY: the caller's.
        unsafe { self.0.run::<L, L, M, V>() }
    }
}

struct Rounding<K>(K);

impl<K: ProductKernel> Kernel for Rounding<K> {
    type Out = K::Out;

    #[inline(always)]
    unsafe fn run<L: Lanes, const M: usize, const V: usize>(self) -> K::Out {
        // SAFETY: the caller's.
        unsafe { self.0.run::<L, Rounded<L>, M, V>() }
    }
}

impl Halves {
    /// Who does so beside a set of floats; none where that is no faster, unless it is asked for
    /// ([`super::isa::VARIABLE`]).
    pub fn beside(isa: Isa) -> Option<Halves> {
        #[cfg(target_arch = "aarch64")]
        if isa == Isa::Neon && std::arch::is_aarch64_feature_detected!("fp16") {
            return Some(Halves::Neon);
        }
        let _ = isa;
        super::isa::rounds().then_some(Halves::Rounded)
    }

    /// Weights as these take them.
    pub fn store(self, weights: Vec<f32>) -> Stored {
        match self {
            #[cfg(target_arch = "aarch64")]
            Halves::Neon => Stored::Halves(arm::bits(&weights)),
            Halves::Rounded => Stored::Whole(weights.into_iter().map(rounded).collect()),
        }
    }
}

/// Registers of `f32` that one of factors stands for.
pub(super) fn width(halves: Option<Halves>) -> usize {
    if halves.is_some() { HALVES_WIDE } else { 1 }
}

/// Products of 16 bits that are added up before their sum goes over to 32: what is left of a sum's digits falls with
/// them, and what they cost (eight instructions for every register of sums) with their number. With 32 `oneprompt-l` was
/// off its golden map by 2.3e-2, with 16 by 1.0e-2 to 1.5e-2; with 8 nothing more is won.
const RUN: usize = 16;

/// 2^13 + 1: a number times this, less what that has more than the number, is rounded to 11 of its 24 digits
/// (Veltkamp's splitting).
const CUT: f32 = 8193.0;
/// The smallest number of 16 bits with all its digits, and what pushes smaller ones to whole steps of 2^-24.
const NORMAL: f32 = 6.103_515_6e-5;
const STEPS: f32 = 0.75;
/// From here on the nearest number of 16 bits is infinity.
const BEYOND: f32 = 65520.0;

/// Two registers of `f32` that hold numbers of 16 bits.
#[derive(Clone, Copy)]
pub(super) struct Rounded<L>([L; HALVES_WIDE]);

/// To the nearest number of 16 bits.
#[inline(always)]
unsafe fn round<L: Lanes>(value: L) -> L {
    // SAFETY: the caller promises the set.
    unsafe {
        let nothing = L::splat(0.0);
        let size = value.max(nothing.sub(value));
        let far = value.mul(L::splat(CUT));
        let cut = far.sub(far.sub(value));
        let small = value.add(L::splat(STEPS)).sub(L::splat(STEPS));
        let cut = size.if_less(L::splat(NORMAL), small, cut);
        let most = L::splat(f32::INFINITY);
        let beyond = value.if_less(nothing, nothing.sub(most), most);
        size.if_less(L::splat(BEYOND), cut, beyond)
    }
}

/// The same of one number.
fn rounded(value: f32) -> f32 {
    tract_core::internal::f16::from_f32(value).to_f32()
}

impl<L: Lanes> Factors<L> for Rounded<L> {
    type Value = f32;
    const WIDE: usize = HALVES_WIDE;
    const RUN: usize = RUN;

    fn of(stored: &Stored) -> &[f32] {
        <L as Factors<L>>::of(stored)
    }

    #[inline(always)]
    unsafe fn nothing() -> Self {
        // SAFETY: the caller's.
        Self([unsafe { L::splat(0.0) }; HALVES_WIDE])
    }

    #[inline(always)]
    unsafe fn read(from: *const f32) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { [L::load(from), L::load(from.add(L::COUNT))] })
    }

    #[inline(always)]
    unsafe fn put(values: L, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { round(values).store(to) }
    }

    #[inline(always)]
    unsafe fn wide(self) -> [L; HALVES_WIDE] {
        self.0
    }

    #[inline(always)]
    unsafe fn add_products<const M: usize, const V: usize>(
        sums: &mut [[Self; V]; M],
        weights: *const f32,
        values: [Self; V],
    ) {
        // SAFETY: the caller's.
        unsafe {
            for m in 0..M {
                let weight = L::splat(*weights.add(m));
                for v in 0..V {
                    for i in 0..HALVES_WIDE {
                        let sum = &mut sums[m][v].0[i];
                        *sum = round(weight.mul_add(values[v].0[i], *sum));
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,fp16")]
unsafe fn fp16<K: ProductKernel>(kernel: K) -> K::Out {
    // SAFETY: the caller's.
    unsafe { kernel.run::<super::lanes::Neon, arm::Half, 8, 3>() }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::{Factors, HALVES_WIDE, RUN, Stored};
    use crate::engine::tract::fast::lanes::Neon;
    use std::arch::aarch64::*;

    /// Eight numbers of 16 bits.
    #[derive(Clone, Copy)]
    pub(super) struct Half(float16x8_t);

    /// The bits of the nearest numbers of 16 bits.
    pub(super) fn bits(values: &[f32]) -> Vec<u16> {
        values.iter().map(|value| tract_core::internal::f16::from_f32(*value).to_bits()).collect()
    }

    // SAFETY of all below: the trait's.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Factors<Neon> for Half {
        type Value = u16;
        const WIDE: usize = HALVES_WIDE;
        const RUN: usize = RUN;

        fn of(stored: &Stored) -> &[u16] {
            match stored {
                Stored::Halves(bits) => bits,
                Stored::Whole(_) => &[],
            }
        }

        #[inline(always)]
        unsafe fn nothing() -> Self {
            Self(unsafe { vreinterpretq_f16_u16(vdupq_n_u16(0)) })
        }

        #[inline(always)]
        unsafe fn read(from: *const u16) -> Self {
            Self(unsafe { vreinterpretq_f16_u16(vld1q_u16(from)) })
        }

        #[inline(always)]
        unsafe fn put(values: Neon, to: *mut u16) {
            unsafe { vst1_u16(to, vreinterpret_u16_f16(vcvt_f16_f32(values.register()))) }
        }

        #[inline(always)]
        unsafe fn wide(self) -> [Neon; HALVES_WIDE] {
            unsafe {
                let low = vcvt_f32_f16(vget_low_f16(self.0));
                [Neon::of(low), Neon::of(vcvt_high_f32_f16(self.0))]
            }
        }

        // The kernel around it has them.
        #[allow(inline_always_mismatching_target_features)]
        #[inline(always)]
        unsafe fn add_products<const M: usize, const V: usize>(
            sums: &mut [[Self; V]; M],
            weights: *const u16,
            values: [Self; V],
        ) {
            // One register holds the weights of a block; each product takes its own out of it.
            const { assert!(M == 8) };
            unsafe {
                let weights = vreinterpretq_f16_u16(vld1q_u16(weights));
                macro_rules! rows {
                    ($($m:literal)*) => {$(
                        for v in 0..V {
                            sums[$m][v].0 =
                                vfmaq_laneq_f16::<$m>(sums[$m][v].0, values[v].0, weights);
                        }
                    )*};
                }
                rows!(0 1 2 3 4 5 6 7);
            }
        }
    }
}
