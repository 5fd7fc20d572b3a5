//! Vectors of `f32`, one kind per instruction set, so that a kernel is written once.
//!
//! The methods are `inline(always)`: they become instructions of the set that the kernel around them was
//! compiled for ([`super::isa`]), and must not be called from anywhere else.

/// Values of the longest register.
pub(super) const LANES_MAX: usize = 16;

/// A register of `f32`.
///
/// # Safety
/// Every method needs the instruction set that the type stands for; `load` and `store` need
/// [`Lanes::COUNT`] values at `from` or `to`.
pub(super) trait Lanes: Copy {
    /// Values per register.
    const COUNT: usize;
    /// Whether [`Lanes::mul_add`] is one instruction.
    const FUSED: bool;

    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    unsafe fn min(self, other: Self) -> Self;
    /// `yes` where `self < than`, `no` elsewhere, and where one of both is no number.
    unsafe fn if_less(self, than: Self, yes: Self, no: Self) -> Self;
    /// `self * by + plus`, rounded once where the set can.
    unsafe fn mul_add(self, by: Self, plus: Self) -> Self;
    /// Rounded to the nearest whole number; |self| < 2^22.
    unsafe fn round(self) -> Self;
    /// `self * 2^exponent` for whole exponents in -126..=127.
    unsafe fn scale(self, exponent: Self) -> Self;

    /// Adds the products of `M` weights, which lie there, with each of `values`.
    #[inline(always)]
    unsafe fn add_products<const M: usize, const V: usize>(
        sums: &mut [[Self; V]; M],
        weights: *const f32,
        values: [Self; V],
    ) {
        // SAFETY: the caller promises the set, and so many weights.
        unsafe { one_by_one(sums, weights, values) }
    }

    /// Rows for columns within every four values: value `4 b + i` of `k` is value `4 b + k` of `i`.
    unsafe fn turn(four: [Self; 4]) -> [Self; 4];

    /// `e^self` to two units in the last place; what is below the smallest normal number becomes 0.
    #[inline(always)]
    unsafe fn exp(self) -> Self {
        // Cephes' expf: x = n ln 2 + r, |r| <= ln 2 / 2, and a polynomial in r.
        const LN2_HIGH: f32 = 0.693_359_4;
        const LN2_LOW: f32 = -2.121_944_4e-4;
        const LOWEST: f32 = -87.3;
        const POLYNOMIAL: [f32; 6] =
            [1.987_569_2e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
        // SAFETY: the caller promises what the trait asks for: the machine has the instruction set.
        unsafe {
            let x = self.max(Self::splat(LOWEST)).min(Self::splat(88.0));
            let n = x.mul(Self::splat(std::f32::consts::LOG2_E)).round();
            let r = n.mul_add(Self::splat(-LN2_HIGH), x);
            let r = n.mul_add(Self::splat(-LN2_LOW), r);
            let mut p = Self::splat(POLYNOMIAL[0]);
            for c in &POLYNOMIAL[1..] {
                p = p.mul_add(r, Self::splat(*c));
            }
            let one = Self::splat(1.0);
            p.mul_add(r.mul(r), r.add(one)).scale(n)
        }
    }
}

/// [`Lanes::add_products`], a load for every weight.
///
/// # Safety
/// So many weights lie there. The set is there.
#[inline(always)]
unsafe fn one_by_one<L: Lanes, const M: usize, const V: usize>(
    sums: &mut [[L; V]; M],
    weights: *const f32,
    values: [L; V],
) {
    // SAFETY: the caller's.
    unsafe {
        for m in 0..M {
            let weight = L::splat(*weights.add(m));
            for v in 0..V {
                sums[m][v] = weight.mul_add(values[v], sums[m][v]);
            }
        }
    }
}

/// Sets of eight plain numbers, for machines without any of the sets below.
#[derive(Clone, Copy)]
pub(super) struct Plain([f32; 8]);

impl Plain {
    #[inline(always)]
    fn zip(self, other: Plain, f: impl Fn(f32, f32) -> f32) -> Plain {
        Plain(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Lanes for Plain {
    const COUNT: usize = 8;
    const FUSED: bool = false;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Plain {
        Plain([value; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Plain {
        // SAFETY: the caller promises so many values; an array of f32 has no alignment of its own.
        Plain(unsafe { from.cast::<[f32; 8]>().read() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { to.cast::<[f32; 8]>().write(self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Plain) -> Plain {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(self, other: Plain) -> Plain {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(self, other: Plain) -> Plain {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn max(self, other: Plain) -> Plain {
        self.zip(other, f32::max)
    }

    #[inline(always)]
    unsafe fn min(self, other: Plain) -> Plain {
        self.zip(other, f32::min)
    }

    #[inline(always)]
    unsafe fn if_less(self, than: Plain, yes: Plain, no: Plain) -> Plain {
        Plain(std::array::from_fn(|i| if self.0[i] < than.0[i] { yes.0[i] } else { no.0[i] }))
    }

    #[inline(always)]
    unsafe fn mul_add(self, by: Plain, plus: Plain) -> Plain {
        // Without the instruction, a fused product would be a call into the C library.
        Plain(std::array::from_fn(|i| self.0[i] * by.0[i] + plus.0[i]))
    }

    #[inline(always)]
    unsafe fn round(self) -> Plain {
        Plain(self.0.map(f32::round_ties_even))
    }

    #[inline(always)]
    unsafe fn scale(self, exponent: Plain) -> Plain {
        self.zip(exponent, |v, e| v * f32::from_bits(((e as i32 + 127) as u32) << 23))
    }

    #[inline(always)]
    unsafe fn turn(four: [Plain; 4]) -> [Plain; 4] {
        std::array::from_fn(|k| Plain(std::array::from_fn(|at| four[at % 4].0[at / 4 * 4 + k])))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    /// Rows for columns within 128 bits.
    macro_rules! turn {
        ($low:ident, $high:ident, $low_pairs:ident, $high_pairs:ident, $pairs:ident, $back:ident, $four:expr) => {{
            let [a, b, c, d] = $four;
            let (ab, ab_high) = ($pairs($low(a.0, b.0)), $pairs($high(a.0, b.0)));
            let (cd, cd_high) = ($pairs($low(c.0, d.0)), $pairs($high(c.0, d.0)));
            [
                Self($back($low_pairs(ab, cd))),
                Self($back($high_pairs(ab, cd))),
                Self($back($low_pairs(ab_high, cd_high))),
                Self($back($high_pairs(ab_high, cd_high))),
            ]
        }};
    }

    /// AVX-512 F.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512(__m512);

    impl Avx512 {
        #[inline(always)]
        pub fn of(register: __m512) -> Self {
            Self(register)
        }

        #[inline(always)]
        pub fn register(self) -> __m512 {
            self.0
        }
    }

    // SAFETY of all below: the trait's.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Lanes for Avx512 {
        const COUNT: usize = 16;
        const FUSED: bool = true;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm512_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Self(unsafe { _mm512_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            Self(unsafe { _mm512_sub_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            Self(unsafe { _mm512_mul_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            Self(unsafe { _mm512_max_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            Self(unsafe { _mm512_min_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn if_less(self, than: Self, yes: Self, no: Self) -> Self {
            let less = unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, than.0) };
            Self(unsafe { _mm512_mask_blend_ps(less, no.0, yes.0) })
        }

        #[inline(always)]
        unsafe fn mul_add(self, by: Self, plus: Self) -> Self {
            Self(unsafe { _mm512_fmadd_ps(self.0, by.0, plus.0) })
        }

        #[inline(always)]
        unsafe fn round(self) -> Self {
            Self(unsafe { _mm512_roundscale_ps::<_MM_FROUND_TO_NEAREST_INT>(self.0) })
        }

        #[inline(always)]
        unsafe fn scale(self, exponent: Self) -> Self {
            Self(unsafe { _mm512_scalef_ps(self.0, exponent.0) })
        }

        #[inline(always)]
        unsafe fn turn(four: [Self; 4]) -> [Self; 4] {
            unsafe {
                turn!(
                    _mm512_unpacklo_ps,
                    _mm512_unpackhi_ps,
                    _mm512_unpacklo_pd,
                    _mm512_unpackhi_pd,
                    _mm512_castps_pd,
                    _mm512_castpd_ps,
                    four
                )
            }
        }
    }

    /// SSE2, which every 64-bit x86 has.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Sse2(__m128);

    // SAFETY of all below: the trait's.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Lanes for Sse2 {
        const COUNT: usize = 4;
        const FUSED: bool = false;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Self(unsafe { _mm_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Self(unsafe { _mm_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            Self(unsafe { _mm_sub_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            Self(unsafe { _mm_mul_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            Self(unsafe { _mm_max_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            Self(unsafe { _mm_min_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn if_less(self, than: Self, yes: Self, no: Self) -> Self {
            let less = unsafe { _mm_cmplt_ps(self.0, than.0) };
            Self(unsafe { _mm_or_ps(_mm_and_ps(less, yes.0), _mm_andnot_ps(less, no.0)) })
        }

        #[inline(always)]
        unsafe fn mul_add(self, by: Self, plus: Self) -> Self {
            Self(unsafe { _mm_add_ps(_mm_mul_ps(self.0, by.0), plus.0) })
        }

        #[inline(always)]
        unsafe fn round(self) -> Self {
            // There is an instruction from SSE4.1 on; here numbers are pushed to where there are no fractions.
            const WHOLE: f32 = 12_582_912.0;
            let far = unsafe { _mm_set1_ps(WHOLE) };
            Self(unsafe { _mm_sub_ps(_mm_add_ps(self.0, far), far) })
        }

        #[inline(always)]
        unsafe fn scale(self, exponent: Self) -> Self {
            unsafe {
                let whole = _mm_cvtps_epi32(exponent.0);
                let biased = _mm_add_epi32(whole, _mm_set1_epi32(127));
                let factor = _mm_castsi128_ps(_mm_slli_epi32::<23>(biased));
                Self(_mm_mul_ps(self.0, factor))
            }
        }

        #[inline(always)]
        unsafe fn turn(four: [Self; 4]) -> [Self; 4] {
            unsafe {
                turn!(
                    _mm_unpacklo_ps,
                    _mm_unpackhi_ps,
                    _mm_unpacklo_pd,
                    _mm_unpackhi_pd,
                    _mm_castps_pd,
                    _mm_castpd_ps,
                    four
                )
            }
        }
    }

    /// AVX2 and FMA.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2(__m256);

    // SAFETY of all below: the trait's.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Lanes for Avx2 {
        const COUNT: usize = 8;
        const FUSED: bool = true;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Self(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { _mm256_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Self(unsafe { _mm256_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            Self(unsafe { _mm256_sub_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            Self(unsafe { _mm256_mul_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            Self(unsafe { _mm256_max_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            Self(unsafe { _mm256_min_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn if_less(self, than: Self, yes: Self, no: Self) -> Self {
            let less = unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, than.0) };
            Self(unsafe { _mm256_blendv_ps(no.0, yes.0, less) })
        }

        #[inline(always)]
        unsafe fn mul_add(self, by: Self, plus: Self) -> Self {
            Self(unsafe { _mm256_fmadd_ps(self.0, by.0, plus.0) })
        }

        #[inline(always)]
        unsafe fn round(self) -> Self {
            Self(unsafe {
                _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0)
            })
        }

        #[inline(always)]
        unsafe fn scale(self, exponent: Self) -> Self {
            unsafe {
                let whole = _mm256_cvtps_epi32(exponent.0);
                let biased = _mm256_add_epi32(whole, _mm256_set1_epi32(127));
                let factor = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased));
                Self(_mm256_mul_ps(self.0, factor))
            }
        }

        #[inline(always)]
        unsafe fn turn(four: [Self; 4]) -> [Self; 4] {
            unsafe {
                turn!(
                    _mm256_unpacklo_ps,
                    _mm256_unpackhi_ps,
                    _mm256_unpacklo_pd,
                    _mm256_unpackhi_pd,
                    _mm256_castps_pd,
                    _mm256_castpd_ps,
                    four
                )
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512, Sse2};

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::Lanes;
    use std::arch::aarch64::*;

    /// NEON, which every 64-bit ARM has.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Neon(float32x4_t);

    impl Neon {
        #[inline(always)]
        pub fn of(register: float32x4_t) -> Self {
            Self(register)
        }

        #[inline(always)]
        pub fn register(self) -> float32x4_t {
            self.0
        }
    }

    // SAFETY of all below: the trait's.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Lanes for Neon {
        const COUNT: usize = 4;
        const FUSED: bool = true;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Self(unsafe { vdupq_n_f32(value) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Self(unsafe { vld1q_f32(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { vst1q_f32(to, self.0) }
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Self(unsafe { vaddq_f32(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            Self(unsafe { vsubq_f32(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            Self(unsafe { vmulq_f32(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            Self(unsafe { vmaxq_f32(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            Self(unsafe { vminq_f32(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn if_less(self, than: Self, yes: Self, no: Self) -> Self {
            Self(unsafe { vbslq_f32(vcltq_f32(self.0, than.0), yes.0, no.0) })
        }

        #[inline(always)]
        unsafe fn mul_add(self, by: Self, plus: Self) -> Self {
            Self(unsafe { vfmaq_f32(plus.0, self.0, by.0) })
        }

        #[inline(always)]
        unsafe fn round(self) -> Self {
            Self(unsafe { vrndnq_f32(self.0) })
        }

        #[inline(always)]
        unsafe fn scale(self, exponent: Self) -> Self {
            unsafe {
                let biased = vaddq_s32(vcvtq_s32_f32(exponent.0), vdupq_n_s32(127));
                Self(vmulq_f32(self.0, vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased))))
            }
        }

        #[inline(always)]
        unsafe fn add_products<const M: usize, const V: usize>(
            sums: &mut [[Self; V]; M],
            weights: *const f32,
            values: [Self; V],
        ) {
            unsafe {
                // A register of weights, of which each product takes its own: a load for four, not one for each.
                if M % 4 != 0 {
                    return super::one_by_one(sums, weights, values);
                }
                for first in (0..M).step_by(4) {
                    let four = vld1q_f32(weights.add(first));
                    for v in 0..V {
                        let value = values[v].0;
                        sums[first][v].0 = vfmaq_laneq_f32::<0>(sums[first][v].0, value, four);
                        sums[first + 1][v].0 =
                            vfmaq_laneq_f32::<1>(sums[first + 1][v].0, value, four);
                        sums[first + 2][v].0 =
                            vfmaq_laneq_f32::<2>(sums[first + 2][v].0, value, four);
                        sums[first + 3][v].0 =
                            vfmaq_laneq_f32::<3>(sums[first + 3][v].0, value, four);
                    }
                }
            }
        }

        #[inline(always)]
        unsafe fn turn([a, b, c, d]: [Self; 4]) -> [Self; 4] {
            unsafe {
                let even = (vtrn1q_f32(a.0, b.0), vtrn1q_f32(c.0, d.0));
                let odd = (vtrn2q_f32(a.0, b.0), vtrn2q_f32(c.0, d.0));
                let pairs = vreinterpretq_f64_f32;
                let back = |pairs| Self(vreinterpretq_f32_f64(pairs));
                [
                    back(vtrn1q_f64(pairs(even.0), pairs(even.1))),
                    back(vtrn1q_f64(pairs(odd.0), pairs(odd.1))),
                    back(vtrn2q_f64(pairs(even.0), pairs(even.1))),
                    back(vtrn2q_f64(pairs(odd.0), pairs(odd.1))),
                ]
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
pub(super) use arm::Neon;
