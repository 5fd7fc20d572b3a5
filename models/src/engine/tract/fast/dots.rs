//! Registers of bytes, four to a lane, whose products are added up in 32 bits by one instruction: VNNI on x86,
//! `sdot` on ARM. Sets without such an instruction have none of this; floats are as fast there.

use super::isa::Isa;
use super::lanes::Lanes;

/// A register of 32-bit lanes: of four bytes each, or of sums.
///
/// # Safety
/// As [`Lanes`]: every method needs the instruction set; `load` and `store` need as many values as `L` has.
pub(super) trait Quads<L: Lanes>: Copy {
    /// What a level loses to become a byte: 128 where bytes have a sign.
    const OFFSET: i32;

    unsafe fn splat(value: i32) -> Self;
    unsafe fn load(from: *const i32) -> Self;
    unsafe fn store(self, to: *mut i32);
    /// Adds to each sum the four products of the levels in its lane with the four weights in its lane.
    unsafe fn add_dots(self, levels: Self, weights: Self) -> Self;
    unsafe fn to_floats(self) -> L;
    /// Four rows of whole levels, 0 to 255, side by side in each lane.
    unsafe fn from_levels(rows: [L; 4]) -> Self;
}

/// An instruction set with such an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dots {
    #[cfg(target_arch = "x86_64")]
    Vnni,
    #[cfg(target_arch = "aarch64")]
    Sdot,
}

/// Work that is compiled once per set.
pub(super) trait DotKernel {
    /// What comes out.
    type Out;

    /// As [`super::isa::Kernel::run`], with the registers of bytes that belong to `L`.
    ///
    /// # Safety
    /// `L` and `Q` are of a set that this machine has. Must be `inline(always)`.
    unsafe fn run<L: Lanes, Q: Quads<L>, const M: usize, const V: usize>(self) -> Self::Out;
}

impl Dots {
    /// What goes with a set of floats, if this machine has it.
    pub fn beside(isa: Isa) -> Option<Dots> {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => is_x86_feature_detected!("avx512vnni").then_some(Dots::Vnni),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => std::arch::is_aarch64_feature_detected!("dotprod").then_some(Dots::Sdot),
            _ => None,
        }
    }

    /// Runs `kernel` compiled for this set.
    #[inline(always)]
    pub fn call<K: DotKernel>(self, kernel: K) -> K::Out {
        // SAFETY: a set is only ever made by `beside`, which has looked for it.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Dots::Vnni => vnni(kernel),
                #[cfg(target_arch = "aarch64")]
                Dots::Sdot => sdot(kernel),
            }
        }
    }

    /// What a level loses to become a byte.
    pub fn offset(self) -> i32 {
        struct Offset;
        impl DotKernel for Offset {
            type Out = i32;
            #[inline(always)]
            unsafe fn run<L: Lanes, Q: Quads<L>, const M: usize, const V: usize>(self) -> i32 {
                Q::OFFSET
            }
        }
        self.call(Offset)
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn vnni<K: DotKernel>(kernel: K) -> K::Out {
    // SAFETY: the caller's.
    unsafe { kernel.run::<super::lanes::Avx512, x86::Vnni, 8, 3>() }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod")]
unsafe fn sdot<K: DotKernel>(kernel: K) -> K::Out {
    // SAFETY: the caller's.
    unsafe { kernel.run::<super::lanes::Neon, arm::Sdot, 8, 3>() }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Quads;
    use crate::engine::tract::fast::lanes::Avx512;
    use std::arch::x86_64::*;

    /// AVX-512 VNNI: levels without a sign times weights with one.
    #[derive(Clone, Copy)]
    pub(super) struct Vnni(__m512i);

    // SAFETY of all below: the trait's.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Quads<Avx512> for Vnni {
        const OFFSET: i32 = 0;

        #[inline(always)]
        unsafe fn splat(value: i32) -> Self {
            Self(unsafe { _mm512_set1_epi32(value) })
        }

        #[inline(always)]
        unsafe fn load(from: *const i32) -> Self {
            Self(unsafe { _mm512_loadu_si512(from.cast()) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut i32) {
            unsafe { _mm512_storeu_si512(to.cast(), self.0) }
        }

        #[inline(always)]
        unsafe fn add_dots(self, levels: Self, weights: Self) -> Self {
            Self(unsafe { _mm512_dpbusd_epi32(self.0, levels.0, weights.0) })
        }

        #[inline(always)]
        unsafe fn to_floats(self) -> Avx512 {
            Avx512::of(unsafe { _mm512_cvtepi32_ps(self.0) })
        }

        #[inline(always)]
        unsafe fn from_levels([a, b, c, d]: [Avx512; 4]) -> Self {
            unsafe {
                let b = _mm512_slli_epi32::<8>(_mm512_cvtps_epi32(b.register()));
                let c = _mm512_slli_epi32::<16>(_mm512_cvtps_epi32(c.register()));
                let d = _mm512_slli_epi32::<24>(_mm512_cvtps_epi32(d.register()));
                let ab = _mm512_or_si512(_mm512_cvtps_epi32(a.register()), b);
                Self(_mm512_or_si512(ab, _mm512_or_si512(c, d)))
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::Quads;
    use crate::engine::tract::fast::lanes::Neon;
    use std::arch::aarch64::*;
    use std::arch::asm;

    /// `sdot`: both with a sign.
    #[derive(Clone, Copy)]
    pub(super) struct Sdot(int32x4_t);

    // SAFETY of all below: the trait's.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Quads<Neon> for Sdot {
        const OFFSET: i32 = 128;

        #[inline(always)]
        unsafe fn splat(value: i32) -> Self {
            Self(unsafe { vdupq_n_s32(value) })
        }

        #[inline(always)]
        unsafe fn load(from: *const i32) -> Self {
            Self(unsafe { vld1q_s32(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut i32) {
            unsafe { vst1q_s32(to, self.0) }
        }

        #[inline(always)]
        unsafe fn add_dots(self, levels: Self, weights: Self) -> Self {
            let mut sums = self.0;
            // The intrinsic, `vdotq_s32`, is not stable yet (rust-lang/rust#117224).
            unsafe {
                asm!(
                    "sdot {sums:v}.4s, {levels:v}.16b, {weights:v}.16b",
                    sums = inout(vreg) sums,
                    levels = in(vreg) levels.0,
                    weights = in(vreg) weights.0,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
            Self(sums)
        }

        #[inline(always)]
        unsafe fn to_floats(self) -> Neon {
            Neon::of(unsafe { vcvtq_f32_s32(self.0) })
        }

        #[inline(always)]
        unsafe fn from_levels([a, b, c, d]: [Neon; 4]) -> Self {
            unsafe {
                let b = vshlq_n_s32::<8>(vcvtq_s32_f32(b.register()));
                let c = vshlq_n_s32::<16>(vcvtq_s32_f32(c.register()));
                let d = vshlq_n_s32::<24>(vcvtq_s32_f32(d.register()));
                let all = vorrq_s32(vorrq_s32(vcvtq_s32_f32(a.register()), b), vorrq_s32(c, d));
                // A level less 128 is the level with its first bit turned.
                Self(veorq_s32(all, vdupq_n_s32(0x8080_8080_u32 as i32)))
            }
        }
    }
}
