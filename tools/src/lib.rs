//! What runs at the desk: change-pair synthesis, training, federation, export and measuring. The camera depends on
//! nothing in here.

pub mod backbone;
pub mod bench;
pub mod bundle;
pub mod calibrate;
pub mod cli;
pub mod drift;
pub mod eval;
pub mod export;
pub mod federated;
pub mod import;
pub mod net;
pub mod parallel;
pub mod progress;
pub mod quantize;
pub mod rates;
pub mod synth;
pub mod train;
