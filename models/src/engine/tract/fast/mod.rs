//! Operators of our own for what tract does slowly and our graphs are made of (`docs/performance.md`): all
//! convolutions, attention, and bilinear resizing, in f32. They are plain loops over one inner product
//! ([`product`]), compiled for AVX-512, AVX2, NEON and for none of these.
//!
//! This is the one place of the models' crate with unsafe code: registers of an instruction set, memory
//! that no other operator has written yet, and threads that write to different places of one tensor.
#![allow(unsafe_code)]
// Loops over registers are written by index on purpose; see [`product::load_all`].
#![allow(clippy::needless_range_loop)]

mod along;
mod attention;
mod convolution;
mod dots;
mod eight;
mod isa;
mod lanes;
mod product;
mod rewrite;

pub(super) use isa::{VARIABLE, ours};
pub(crate) use isa::{Vectorised, vectorised};
pub(super) use rewrite::{plain, rewrite};

#[cfg(test)]
mod tests;
