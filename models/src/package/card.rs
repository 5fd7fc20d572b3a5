//! The model card, `model.toml`: what a model takes, gives, was trained on and was measured at.

use crate::fusion::FusionRule;
#[cfg(doc)]
use crate::fusion::ROOTS_MAX;
use crate::tensor::TensorSpec;
use serde::{Deserialize, Serialize};

/// Most bytes `model.toml` may have.
pub const CARD_BYTES_MAX: u64 = 1 << 20;

/// The only family of models that this build runs.
pub const ARCHITECTURE: &str = "touchstone-oneprompt-1";

/// Most tensors that one graph may take or give.
pub const GRAPH_TENSORS_MAX: usize = 32;

/// Largest side of an encoder's input, in pixels.
pub const INPUT_SIDE_MAX: u32 = 2048;

/// Most directions of the embedding's prior.
pub const EMBEDDING_DIRECTIONS_MAX: usize = 64;

/// Smallest side of an encoder's input, in pixels.
pub const INPUT_SIDE_MIN: u32 = 16;

/// `model.toml`, in full. [`ModelCard::parse`] is the way in: it also checks the values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// The model's name, `[a-z0-9-_]{1,64}`, the same as its folder's.
    pub id: String,
    /// Grows with each release of the same `id`.
    pub version: u32,
    /// The family that this build knows how to run, [`ARCHITECTURE`].
    pub architecture: String,
    /// What the graphs' weights and convolutions are computed in.
    #[serde(default, skip_serializing_if = "Precision::is_default")]
    pub precision: Precision,
    /// The picture that the encoder takes.
    pub input: Input,
    /// The graph that runs once per picture.
    pub encode: EncodeGraph,
    /// The graph that runs once per pair.
    pub segment: SegmentGraph,
    /// Which of the encoder's tensors the Student-t witness reads.
    pub features: FeatureTensors,
    /// What whole-picture embeddings of good parts look like before any part of this product was seen.
    pub embedding: EmbeddingPrior,
    /// How the witnesses are weighed.
    pub fusion: FusionConstants,
    /// What scores of good parts look like before any part of this product was seen.
    pub calibration: Calibration,
    /// Where the weights come from.
    pub training: Training,
    /// What was measured, and how to measure it again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<Figure>,
}

/// What a model's weights and convolutions are computed in. What crosses the graphs' borders is f32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// As trained.
    #[default]
    F32,
    /// Weights of 16 bits.
    F16,
    /// Convolutions of 8 bits, what is sensitive of 32.
    Int8,
}

impl Precision {
    fn is_default(&self) -> bool {
        *self == Precision::F32
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
            Precision::Int8 => "int8",
        })
    }
}

/// The encoder's input: `[1, 3, height, width]`, RGB, `(value / 255 - mean) / std` per channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Mean per channel, of values 0..1.
    pub mean: [f32; 3],
    /// Standard deviation per channel, of values 0..1.
    pub std: [f32; 3],
}

/// The encode graph: input `image`, outputs in the graph's order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncodeGraph {
    /// File name within the package.
    pub file: String,
    /// Hex SHA-256 of the file.
    pub sha256: String,
    /// Names and shapes of the outputs.
    pub outputs: Vec<TensorSpec>,
}

/// The segment graph: inputs are encode outputs of the query and of the prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentGraph {
    /// File name within the package.
    pub file: String,
    /// Hex SHA-256 of the file.
    pub sha256: String,
    /// In the graph's order: `query.<encode output>` or `prompt.<encode output>`.
    pub inputs: Vec<String>,
    /// Names and shapes of the outputs; `map` and `nearest` are among them.
    pub outputs: Vec<TensorSpec>,
}

/// The tensors that scoring reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureTensors {
    /// Name of the patch embeddings, `[1, grid_w * grid_h, dim]`, rows of length 1.
    pub patches: String,
    /// Columns and rows of the patch grid.
    pub grid: [u32; 2],
    /// Name of the whole-picture embedding, `[1, dim]`.
    pub pooled: String,
}

/// Constants that join the witnesses; fitted once at training, the same for all products.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FusionConstants {
    /// How the maps are joined.
    #[serde(default)]
    pub rule: FusionRule,
    /// Weight of the change map, >= 0.
    pub change_weight: f32,
    /// Weight of the nearest-neighbour map, >= 0.
    pub nearest_weight: f32,
    /// Weight of the per-position Student-t map, >= 0.
    pub position_weight: f32,
    /// How often the square root of the change map is taken before it is joined, up to [`ROOTS_MAX`].
    #[serde(default)]
    pub change_roots: u32,
    /// The same of the nearest-neighbour map.
    #[serde(default)]
    pub nearest_roots: u32,
    /// The same of the per-position Student-t map.
    #[serde(default)]
    pub position_roots: u32,
    /// How often the joined map is squared, up to [`ROOTS_MAX`]: roots alone lift what is ordinary.
    #[serde(default)]
    pub joined_squares: u32,
    /// Level of the joint map, 0..1, above which cells form a region.
    pub region_level: f32,
}

/// What good parts score, learned over many products.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Of parts that are looked at where they lie.
    pub usual: Laws,
    /// Of parts that are registered, which show less that is unusual; as usual where the model was not
    /// calibrated for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered: Option<Laws>,
}

/// What holds for good parts of one way of looking: [`Calibration::laws`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Laws {
    /// How far the position witness looks for a patch's counterpart, in cells to each side; its own default
    /// if absent, which it must not be for registered parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<usize>,
    /// Of the peak of the change map.
    pub change: ScoreLaws,
    /// Of the peak of the per-position Student-t map.
    pub position: ScoreLaws,
    /// The same again, from other products and before all others: what a position map is measured against
    /// when maps are joined. The local law was fitted with it, so it must not be any other.
    pub level: ScoreLaws,
    /// Of the score that joins all maps.
    pub local: ScoreLaws,
    /// Of how far the whole-picture embedding lies from the good parts'.
    pub image: ScoreLaws,
    /// How much alike good parts' local and image p-values are: the correlation of their logarithms, 0..1.
    pub dependence: f64,
    /// How the p-values turned out that local and image make together.
    #[serde(default)]
    pub joint: Corrections,
}

/// The law of one scalar statistic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreLaws {
    /// Where there is one prompt.
    pub one: ScalarPrior,
    /// Where there are several, which judge each other first.
    pub several: SeveralPrior,
    /// How the p-values of these laws turned out.
    #[serde(default)]
    pub corrections: Corrections,
}

/// Numbers of prompts that corrections are learned for.
pub const CORRECTIONS: usize = 6;

/// What p-values of good parts are worth, by the number of prompts, ascending; between them by its logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Corrections(pub [Correction; CORRECTIONS]);

/// How p-values turned out: a share of good parts had one of at most 0.1, and below that their logarithms lay
/// exponentially, with this rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    /// Prompts taught.
    pub prompts: usize,
    /// Share of the parts, 0..1; 0.1 if the law is right.
    pub share: f64,
    /// Rate, > 0; 1 if the law is right, less if it promises too much.
    pub power: f64,
}

/// What new good parts score, and how prompts' scores against each other relate to that.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeveralPrior {
    /// How much higher a new part scores than a prompt left out, among very many prompts.
    pub gap: f64,
    /// What one over the number of prompts adds to the gap: the fewer there are, the more it matters that
    /// some are left out.
    pub gap_per_prompt: f64,
    /// What a left-out score counts for, in new parts' scores, > 0 and at most 1.
    pub weight: f64,
    /// Prior of a new part's score.
    pub prior: ScalarPrior,
}

/// One-dimensional normal-inverse-Wishart prior (BayPrAnoMeta section 4 with D = 1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScalarPrior {
    /// Expected value.
    pub mu0: f64,
    /// How many observations the expected value is worth, > 0.
    pub kappa0: f64,
    /// Degrees of freedom, > 0.
    pub nu0: f64,
    /// Scale (sum of squares), > 0.
    pub lambda0: f64,
}

/// Normal-inverse-Wishart prior of the image-level posterior, learned from other products (BayPrAnoMeta section
/// 4.7): `Lambda0 = diag(diagonal) + sum v v^T` over the directions `v`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingPrior {
    /// How many pictures the prior mean is worth, > 0.
    pub kappa0: f64,
    /// Degrees of freedom, above the length of the embedding less one.
    pub nu0: f64,
    /// Prior mean, one value per dimension.
    pub mu0: Vec<f64>,
    /// What each dimension varies by on its own, > 0.
    pub diagonal: Vec<f64>,
    /// In which directions good parts vary together, each with its strength as its length; may be none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directions: Vec<Vec<f64>>,
}

/// Where the weights come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Data sets, with licences.
    pub sources: Vec<String>,
    /// Seed of the run.
    pub seed: u64,
    /// Exact commands, in order.
    pub commands: Vec<String>,
    /// Day of the run, `YYYY-MM-DD`.
    pub date: String,
}

/// One measured number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// Data set.
    pub set: String,
    /// Metric.
    pub metric: String,
    /// Value, in the metric's own unit.
    pub value: f64,
    /// Command that measures it.
    pub command: String,
    /// Machine it was measured on.
    pub machine: String,
    /// Day, `YYYY-MM-DD`.
    pub date: String,
}
