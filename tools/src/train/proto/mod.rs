//! Bayesian Proto-MAML on frozen features (`../shared/methods/baypranometa.md`; section numbers in this
//! folder refer to that note): what can be learned about good and defective parts of other products,
//! so that a new product's few good parts say more.
//!
//! - [`compute`]: pooled features of generated products through a shipped package; [`features`]: their
//!   file; [`episode`]: tasks drawn from them.
//! - [`head`], [`evidence`], [`loss`], [`learner`]: embedding, Student-t likelihood, outer loss and the
//!   three learners, with gradients by hand, generic over [`scalar`]'s dual numbers.
//! - [`inner`], [`outer`]: adaptation and what learns from it, first and second order.
//! - [`closed`]: what needs no gradients; [`judge`]: figures with intervals; [`real`]: real pictures.

pub mod closed;
mod command;
pub mod compute;
pub mod episode;
pub mod evidence;
pub mod features;
pub mod head;
pub mod inner;
pub mod judge;
pub mod learner;
pub mod loss;
pub mod methods;
pub mod moments;
pub mod outer;
pub mod real;
mod report;
pub mod scalar;
#[cfg(test)]
mod testing;

pub use command::{ProtoArgs, run};
