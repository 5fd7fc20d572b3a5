//! Operators of our own for what tract does slowly and our graphs are made of (`docs/performance.md`): all
//! convolutions, attention, bilinear resizing, vectors made as long as 1, sums, and axes that change places, in f32. The
//! slow ones are plain loops over one inner product ([`product`]), compiled for AVX-512, AVX2, SSE2, NEON and for none
//! of these; most convolutions get by with fewer products than that ([`winograd`]). Those whose input is rounded to 8
//! bits multiply bytes ([`eight`]) where the processor can, and products that may be made of 16 bits are ([`factors`],
//! [`sixteen`]). Scoring's search for the nearest patch is beside them
//! ([`patches`]).
//!
//! This is the one place of the models' crate with unsafe code: registers of an instruction set, memory
//! that no other operator has written yet, and threads that write to different places of one tensor.
#![allow(unsafe_code)]
// Loops over registers are written by index on purpose; see [`product::load_all`].
#![allow(clippy::needless_range_loop)]

mod along;
mod attention;
mod convolution;
mod crew;
mod dots;
mod eight;
mod factors;
mod isa;
mod lanes;
mod normalise;
pub(crate) mod patches;
mod product;
mod rewrite;
mod sixteen;
mod sum;
mod turn;
mod winograd;

pub(super) use crew::{Crew, with_crew};
pub use eight::steps;
pub(super) use isa::{Described, VARIABLE, described, ours};
pub(crate) use isa::{Vectorised, vectorised};
pub(super) use rewrite::{plain, rewrite, turns};
pub(crate) use turn::turned;

#[cfg(test)]
mod tests;
