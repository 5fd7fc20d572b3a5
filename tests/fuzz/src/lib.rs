//! What the targets share.

pub mod heap;
