//! The one inner loop: `sum over k of weight[k][row] * input[tap[k] + place]`, a block of rows by a few
//! registers of places at a time. A convolution is this with a tap per channel and kernel cell, a matrix
//! product with a tap per row of the second matrix; neither copies its input into another shape first.

use super::lanes::Lanes;
use std::cell::RefCell;

/// Weights in blocks of rows, within a block one row of weights after the other for each tap:
/// `[rows / block][taps][block]`, the last block filled up with zeros.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Panels {
    /// Rows that are none of the filling.
    pub rows: usize,
    /// Rows per block.
    pub block: usize,
    /// Taps.
    pub taps: usize,
    data: Vec<f32>,
}

impl Panels {
    /// Packs `weight(row, tap)`.
    pub fn new(
        rows: usize,
        taps: usize,
        block: usize,
        weight: impl Fn(usize, usize) -> f32,
    ) -> Panels {
        let mut data = Vec::new();
        Panels::pack(&mut data, rows, taps, block, weight);
        Panels { rows, block, taps, data }
    }

    /// The same into memory that is there already.
    pub fn pack(
        data: &mut Vec<f32>,
        rows: usize,
        taps: usize,
        block: usize,
        weight: impl Fn(usize, usize) -> f32,
    ) {
        data.clear();
        data.reserve(rows.next_multiple_of(block) * taps);
        for first in (0..rows).step_by(block) {
            for tap in 0..taps {
                data.extend(
                    (first..first + block).map(
                        |row| {
                            if row < rows { weight(row, tap) } else { 0.0 }
                        },
                    ),
                );
            }
        }
    }

    /// All blocks, one after the other.
    pub fn data(&self) -> &[f32] {
        &self.data
    }
}

/// The sums of one block: `M` rows by `V` registers, from `start` on.
///
/// # Safety
/// `weights` holds `taps.len() * M` values; for every tap and each of `places`, `L::COUNT` values lie
/// `tap` behind the place. The instruction set is there.
#[inline(always)]
pub(super) unsafe fn sums<L: Lanes, const M: usize, const V: usize>(
    weights: *const f32,
    taps: &[u32],
    places: [*const f32; V],
    start: [L; M],
) -> [[L; V]; M] {
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[start[0]; V]; M];
        for m in 0..M {
            sums[m] = [start[m]; V];
        }
        let mut weights = weights;
        for &tap in taps {
            L::add_products(&mut sums, weights, load_all(places, tap as usize));
            weights = weights.add(M);
        }
        sums
    }
}

/// A register from `offset` behind each place.
///
/// Here and below are plain loops: what a closure calls is compiled without the kernel's instruction set, and unless
/// the optimiser happens to take the closure apart in time, every load becomes a call, five times slower in all.
///
/// # Safety
/// So many values lie there. The instruction set is there.
#[inline(always)]
pub(super) unsafe fn load_all<L: Lanes, const V: usize>(
    places: [*const f32; V],
    offset: usize,
) -> [L; V] {
    // SAFETY: the caller's.
    unsafe {
        let mut values = [L::splat(0.0); V];
        for v in 0..V {
            values[v] = L::load(places[v].add(offset));
        }
        values
    }
}

/// Asks the memory for what lies there, if the processor has a word for it. Any address will do.
#[inline(always)]
pub(super) fn fetch(from: *const f32) {
    // SAFETY: every 64-bit x86 has the instruction, and nothing is read by it.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(from.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}

/// Memory that threads write to at places of their own.
#[derive(Clone, Copy)]
pub(super) struct Target<T = f32>(*mut T);

// SAFETY: whoever writes through it says at the place why no two threads meet.
unsafe impl<T: Send> Send for Target<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Target<T> {}

impl<T> Target<T> {
    /// To be written while nobody else has `values`.
    pub fn new(values: &mut [T]) -> Target<T> {
        Target(values.as_mut_ptr())
    }

    /// Where value `index` lies.
    ///
    /// # Safety
    /// The slice that it was made of has so many values and is still borrowed.
    #[inline(always)]
    pub unsafe fn at(self, index: usize) -> *mut T {
        // SAFETY: the caller's.
        unsafe { self.0.add(index) }
    }
}

/// Places for scratch memory that one piece of work may need at a time.
pub(super) const SCRATCHES: usize = 3;

thread_local! {
    static SCRATCH: [RefCell<Vec<f32>>; SCRATCHES] = const { [const { RefCell::new(Vec::new()) }; SCRATCHES] };
}

/// Lends this thread's scratch memory `which`; it stays as large as it ever was, so that a frame after the
/// first asks for none. Whoever borrows one within another takes another number.
pub(super) fn with_scratch<T>(which: usize, work: impl FnOnce(&mut Vec<f32>) -> T) -> T {
    SCRATCH.with(|all| work(&mut all[which].borrow_mut()))
}

/// Values of a cache line.
const LINE: usize = 16;

/// At least `len` values of `scratch`; what is in them is left over from whoever had it before. They begin with a line
/// of the cache: registers that straddle two lines are slower, and threads that write to different registers of one
/// line take it from each other all the time.
pub(super) fn at_least(scratch: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if scratch.len() < len + LINE {
        scratch.resize(len + LINE, 0.0);
    }
    let first = scratch.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    &mut scratch[first..first + len]
}

/// Scratch memory for whole numbers of 32 bits.
pub(super) fn whole(scratch: &mut [f32]) -> &mut [i32] {
    // SAFETY: as long, as aligned, and any bits are a number of either.
    unsafe { std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), scratch.len()) }
}
