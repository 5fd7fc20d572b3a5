//! The light one-prompt network (MetaUAS cut for tract): encoder, soft alignment, decoder.
//!
//! Shapes are given for a 256x256 input; every stage is fully convolutional or attention, so
//! the same weights train at 128 and run at 256. Design rules and their measurements are in
//! ARCHITECTURE.md, "The network".

pub mod adapted;
pub mod align;
pub mod batch_norm;
pub mod decoder;
pub mod encoder;
pub mod grain;
pub mod grow;
pub mod levels;
pub mod oneprompt;
pub mod pad;
pub mod upsample;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Widths of one member of the network family. Every field is a channel count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetConfig {
    /// Stem output, stride 4.
    pub stem: usize,
    /// Trunk at stride 8.
    pub c8: usize,
    /// Residual blocks at stride 8.
    pub blocks8: usize,
    /// Trunk at stride 16.
    pub c16: usize,
    /// Residual blocks at stride 16.
    pub blocks16: usize,
    /// Stride-16 context brought up into the stride-8 embedding.
    pub lateral: usize,
    /// Patch embedding at stride 8 (what alignment and Student-t scoring see).
    pub embed8: usize,
    /// Patch embedding at stride 16.
    pub embed16: usize,
    /// Detail features at stride 4, carried along by the stride-8 alignment.
    pub detail: usize,
    /// Decoder width at strides 16 and 8.
    pub decoder: usize,
    /// Decoder width handed from one stride to the next.
    pub bridge: usize,
    /// Decoder width at stride 4.
    pub fine: usize,
    /// The branch for the stride-4 embedding, at stride 2.
    pub grain_stem: usize,
    /// The branch at stride 4.
    pub grain: usize,
    /// Stride-8 context brought up to the branch.
    pub lateral4: usize,
}

impl NetConfig {
    /// The smallest member for the slowest cores.
    pub const S: NetConfig = NetConfig {
        stem: 32,
        c8: 48,
        blocks8: 1,
        c16: 96,
        blocks16: 1,
        lateral: 32,
        embed8: 48,
        embed16: 64,
        detail: 12,
        decoder: 48,
        bridge: 32,
        fine: 24,
        grain_stem: 16,
        grain: 16,
        lateral4: 16,
    };

    /// The default member, `oneprompt-m`: about 1.7 M parameters, 1.1 GMAC per part at 256x256.
    pub const M: NetConfig = NetConfig {
        stem: 48,
        c8: 96,
        blocks8: 1,
        c16: 144,
        blocks16: 2,
        lateral: 64,
        embed8: 64,
        embed16: 96,
        detail: 16,
        decoder: 96,
        bridge: 64,
        fine: 48,
        grain_stem: 24,
        grain: 32,
        lateral4: 32,
    };

    /// The largest member: wider and deeper trunks, the change head of `m`; 3.4 M parameters, five quarters of its time.
    pub const L: NetConfig = NetConfig {
        stem: 64,
        c8: 112,
        blocks8: 2,
        c16: 192,
        blocks16: 3,
        lateral: 96,
        grain: 48,
        lateral4: 48,
        ..Self::M
    };

    /// The smallest member that still exercises every layer; for tests and dry runs.
    pub const TINY: NetConfig = NetConfig {
        stem: 8,
        c8: 8,
        blocks8: 1,
        c16: 8,
        blocks16: 1,
        lateral: 4,
        embed8: 8,
        embed16: 8,
        detail: 4,
        decoder: 8,
        bridge: 8,
        fine: 8,
        grain_stem: 4,
        grain: 4,
        lateral4: 4,
    };

    /// The members by their names.
    const FAMILY: [(&str, NetConfig); 4] =
        [("s", Self::S), ("m", Self::M), ("l", Self::L), ("tiny", Self::TINY)];

    /// The members.
    pub fn family() -> impl Iterator<Item = NetConfig> {
        Self::FAMILY.into_iter().map(|(_, net)| net)
    }

    /// The name of a member of the family; `None` for other widths.
    pub fn name(&self) -> Option<&'static str> {
        Self::FAMILY.iter().find(|(_, net)| net == self).map(|(name, _)| *name)
    }

    /// Channels of the own encoder's features at stride 4: the stem's and the grain branch's.
    pub fn channels4(&self) -> usize {
        self.stem + self.grain
    }

    /// A member by its name.
    ///
    /// # Errors
    /// Lists the members.
    pub fn by_name(name: &str) -> anyhow::Result<NetConfig> {
        let found = Self::FAMILY.iter().find(|(known, _)| *known == name).map(|(_, net)| *net);
        found.context("the networks are s, m, l and tiny")
    }
}
