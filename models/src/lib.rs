//! What the camera knows: pictures and tensors, engines, model packages, one-prompt segmentation,
//! Student-t scoring, and recipes as data.
//!
//! Owns no camera, no output and no thread of its own; `board` and `models` know nothing of each
//! other. Start at [`oneprompt::OnePrompt`] for the network and at [`inspector`] for verdicts.

pub mod bundle;
pub mod calibration;
pub mod drift;
pub mod engine;
pub mod files;
pub mod fusion;
pub mod golden;
pub mod html;
pub mod image_posterior;
pub mod inspector;
pub mod map;
pub mod oneprompt;
pub mod package;
pub mod picture;
pub mod preprocess;
pub mod recipe;
mod regions;
pub mod registration;
pub mod student_t;
pub mod tensor;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tiling;
pub mod verdict;
