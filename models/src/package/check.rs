//! What a model card must keep to, beyond the types of its keys.

use super::card::*;
use crate::files::is_safe_name;
use crate::fusion::ROOTS_MAX;
use crate::recipe::Registration;
use crate::student_t::position::POSITION_REACH_MAX;
use crate::student_t::{LowRankPrior, PriorScale, StudentTError};
use crate::tensor::{TensorSpec, elements};
use std::fmt;

/// What graph files end in: NNEF, which tract reads, and ONNX, which ONNX Runtime reads.
const GRAPH_SUFFIXES: [&str; 2] = [".nnef.tar", ".onnx"];

/// What is wrong with a model card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CardError {
    /// Not TOML, an unknown or missing key, or a value of the wrong type.
    Syntax(String),
    /// A key whose value cannot be right.
    Value {
        /// The key, dotted.
        key: String,
        /// What is wrong with its value.
        why: String,
    },
}

impl fmt::Display for CardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CardError::Syntax(why) => f.write_str(why.trim_end()),
            CardError::Value { key, why } => write!(f, "key '{key}': {why}"),
        }
    }
}

impl std::error::Error for CardError {}

fn bad(key: impl Into<String>, why: impl Into<String>) -> CardError {
    CardError::Value { key: key.into(), why: why.into() }
}

fn ensure(ok: bool, key: &str, why: impl Into<String>) -> Result<(), CardError> {
    if ok { Ok(()) } else { Err(bad(key, why)) }
}

impl ModelCard {
    /// Parses and checks the text of a `model.toml`.
    pub fn parse(text: &str) -> Result<ModelCard, CardError> {
        let card: ModelCard = toml::from_str(text).map_err(|e| CardError::Syntax(e.to_string()))?;
        card.check()?;
        Ok(card)
    }

    /// The text of the `model.toml`; `parse` gives the same card back.
    pub fn emit(&self) -> Result<String, CardError> {
        self.check()?;
        toml::to_string(self).map_err(|e| CardError::Syntax(e.to_string()))
    }

    /// Checks every value and that the parts fit each other.
    pub fn check(&self) -> Result<(), CardError> {
        ensure(is_safe_name(&self.id), "id", "use 1 to 64 of a-z, 0-9, '-' and '_'")?;
        ensure(self.version >= 1, "version", "counts from 1")?;
        ensure(!self.architecture.is_empty(), "architecture", "is empty")?;
        self.input.check()?;
        check_graph("encode", &self.encode.file, &self.encode.sha256, &self.encode.outputs)?;
        check_graph("segment", &self.segment.file, &self.segment.sha256, &self.segment.outputs)?;
        ensure(
            self.encode.file != self.segment.file,
            "segment.file",
            "is the encode graph's file too",
        )?;
        self.segment_inputs()?;
        self.check_segment_outputs()?;
        self.check_features()?;
        let dim = self
            .encode_output(&self.features.pooled)
            .map_or(0, |index| self.encode.outputs[index].shape.last().copied().unwrap_or(0));
        self.embedding.check(dim)?;
        self.fusion.check()?;
        self.calibration.check()?;
        for (i, figure) in self.figures.iter().enumerate() {
            ensure(figure.value.is_finite(), &format!("figures[{i}].value"), "is not finite")?;
        }
        Ok(())
    }

    /// The segment graph's inputs with their shapes, and for each which side and which encode
    /// output it takes.
    pub fn segment_inputs(&self) -> Result<Vec<SegmentInput>, CardError> {
        let names = &self.segment.inputs;
        ensure(
            (1..=GRAPH_TENSORS_MAX).contains(&names.len()),
            "segment.inputs",
            format!("lists {} tensors; 1 to {GRAPH_TENSORS_MAX} are possible", names.len()),
        )?;
        let mut inputs = Vec::with_capacity(names.len());
        for (i, name) in names.iter().enumerate() {
            let (side, feature) = match name.split_once('.') {
                Some(("query", feature)) => (Side::Query, feature),
                Some(("prompt", feature)) => (Side::Prompt, feature),
                _ => {
                    let why = format!("'{name}' starts with neither 'query.' nor 'prompt.'");
                    return Err(bad("segment.inputs", why));
                }
            };
            let Some(index) = self.encode_output(feature) else {
                let why = format!("'{name}': encode.outputs has no '{feature}'");
                return Err(bad("segment.inputs", why));
            };
            ensure(!names[..i].contains(name), "segment.inputs", format!("'{name}' is twice"))?;
            let spec = TensorSpec::new(name, &self.encode.outputs[index].shape);
            inputs.push(SegmentInput { side, index, spec });
        }
        Ok(inputs)
    }

    /// Index of the encode output called `name`.
    pub fn encode_output(&self, name: &str) -> Option<usize> {
        self.encode.outputs.iter().position(|o| o.name == name)
    }

    /// Index of the segment output called `name`.
    pub fn segment_output(&self, name: &str) -> Option<usize> {
        self.segment.outputs.iter().position(|o| o.name == name)
    }

    fn check_segment_outputs(&self) -> Result<(), CardError> {
        for name in [MAP_OUTPUT, NEAREST_OUTPUT] {
            let Some(index) = self.segment_output(name) else {
                return Err(bad("segment.outputs", format!("has no '{name}'")));
            };
            let shape = &self.segment.outputs[index].shape;
            ensure(
                matches!(shape[..], [1, 1, h, w] if is_side(h) && is_side(w)),
                "segment.outputs",
                format!("'{name}' has shape {shape:?}; [1, 1, height, width] is expected"),
            )?;
        }
        Ok(())
    }

    fn check_features(&self) -> Result<(), CardError> {
        let shape_of = |key: &str, name: &str| match self.encode_output(name) {
            Some(index) => Ok(self.encode.outputs[index].shape.clone()),
            None => Err(bad(key, format!("encode.outputs has no '{name}'"))),
        };
        let [w, h] = self.features.grid;
        let cells = u64::from(w) * u64::from(h);
        let patches = shape_of("features.patches", &self.features.patches)?;
        ensure(
            matches!(patches[..], [1, rows, dim] if rows as u64 == cells && dim > 0),
            "features.patches",
            format!("shape {patches:?} is not [1, {w} * {h}, dim] of features.grid"),
        )?;
        let pooled = shape_of("features.pooled", &self.features.pooled)?;
        ensure(
            matches!(pooled[..], [1, dim] if dim > 0),
            "features.pooled",
            format!("shape {pooled:?} is not [1, dim]"),
        )
    }
}

/// Name of the change map among the segment outputs.
pub const MAP_OUTPUT: &str = "map";

/// Name of the nearest-neighbour map among the segment outputs.
pub const NEAREST_OUTPUT: &str = "nearest";

/// Whose features a segment input takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The part under inspection.
    Query,
    /// The good part.
    Prompt,
}

/// One input of the segment graph, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInput {
    /// Whose features.
    pub side: Side,
    /// Index among the encode outputs.
    pub index: usize,
    /// Full name and shape.
    pub spec: TensorSpec,
}

impl Input {
    fn check(&self) -> Result<(), CardError> {
        for (key, side) in [("input.width", self.width), ("input.height", self.height)] {
            let why = format!("{side} is not in {INPUT_SIDE_MIN}..={INPUT_SIDE_MAX}");
            ensure((INPUT_SIDE_MIN..=INPUT_SIDE_MAX).contains(&side), key, why)?;
        }
        let is_mean = |v: &f32| (0.0..=1.0).contains(v);
        ensure(self.mean.iter().all(is_mean), "input.mean", "is not in 0..1")?;
        let is_std = |v: &f32| v.is_finite() && *v > 1e-6;
        ensure(self.std.iter().all(is_std), "input.std", "is not above 0")
    }
}

impl FusionConstants {
    fn check(&self) -> Result<(), CardError> {
        let weights = [
            ("fusion.change_weight", self.change_weight),
            ("fusion.nearest_weight", self.nearest_weight),
            ("fusion.position_weight", self.position_weight),
        ];
        for (key, weight) in weights {
            ensure(weight.is_finite() && weight >= 0.0, key, "is not a weight of 0 or more")?;
        }
        let roots = [
            ("fusion.change_roots", self.change_roots),
            ("fusion.nearest_roots", self.nearest_roots),
            ("fusion.position_roots", self.position_roots),
            ("fusion.joined_squares", self.joined_squares),
        ];
        for (key, count) in roots {
            ensure(count <= ROOTS_MAX, key, format!("{count} is above {ROOTS_MAX}"))?;
        }
        let level = self.region_level;
        ensure((0.0..=1.0).contains(&level), "fusion.region_level", "is not in 0..1")
    }
}

impl Calibration {
    fn check(&self) -> Result<(), CardError> {
        self.usual.check("calibration.usual")?;
        let Some(registered) = self.registered else { return Ok(()) };
        let reach = registered.reach.unwrap_or(0);
        let why = format!("{reach} is not in 1..={POSITION_REACH_MAX}");
        let sound = (1..=POSITION_REACH_MAX).contains(&reach);
        ensure(sound, "calibration.registered.reach", why)?;
        registered.check("calibration.registered")
    }

    /// What is known of good parts before any was seen, where parts are registered or where they are not.
    pub fn laws(&self, registration: Registration) -> Laws {
        match self.registered {
            Some(laws) if matches!(registration, Registration::Small | Registration::Any) => laws,
            // Most parts lie as they were taught, and are left so.
            _ => self.usual,
        }
    }
}

impl Laws {
    fn check(&self, table: &str) -> Result<(), CardError> {
        self.change.check(&format!("{table}.change"))?;
        self.position.check(&format!("{table}.position"))?;
        self.level.check(&format!("{table}.level"))?;
        self.local.check(&format!("{table}.local"))?;
        self.image.check(&format!("{table}.image"))?;
        self.joint.check(&format!("{table}.joint"))?;
        let why = format!("{} is not in 0..=1", self.dependence);
        let sound = (0.0..=1.0).contains(&self.dependence);
        ensure(sound, &format!("{table}.dependence"), why)
    }
}

impl EmbeddingPrior {
    /// Nothing known but how much pictures of good parts differ: the same variance in each of `dim` dimensions,
    /// `lambda` on average, from as much as one picture.
    pub fn isotropic(dim: usize, kappa0: f64, lambda: f64) -> EmbeddingPrior {
        EmbeddingPrior {
            kappa0,
            nu0: dim as f64 + 2.0,
            mu0: vec![0.0; dim],
            diagonal: vec![lambda; dim],
            directions: Vec::new(),
        }
    }

    /// As the prior of a posterior.
    ///
    /// # Errors
    /// Values that no prior has; a checked card has none.
    pub fn prior(&self) -> Result<LowRankPrior, StudentTError> {
        let scale = PriorScale::Factors {
            diagonal: self.diagonal.clone(),
            directions: self.directions.clone(),
        };
        LowRankPrior::new(self.mu0.clone(), self.kappa0, self.nu0, scale)
    }

    /// Checks it for embeddings of `dim` values.
    fn check(&self, dim: usize) -> Result<(), CardError> {
        let given = self.directions.len();
        let why =
            format!("lists {given} directions; at most {EMBEDDING_DIRECTIONS_MAX} are possible");
        ensure(given <= EMBEDDING_DIRECTIONS_MAX, "embedding.directions", why)?;
        ensure(
            self.mu0.len() == dim,
            "embedding.mu0",
            format!("has {} values; embeddings have {dim}", self.mu0.len()),
        )?;
        self.prior().map(drop).map_err(|e| CardError::Value {
            key: "embedding".to_string(),
            why: format!("is no prior: {e}"),
        })
    }
}

impl ScoreLaws {
    fn check(&self, table: &str) -> Result<(), CardError> {
        let SeveralPrior { gap, gap_per_prompt, weight, prior } = self.several;
        let key = |leaf: &str| format!("{table}.several.{leaf}");
        ensure(gap.is_finite(), &key("gap"), "is not finite")?;
        ensure(gap_per_prompt.is_finite(), &key("gap_per_prompt"), "is not finite")?;
        ensure(weight > 0.0 && weight <= 1.0, &key("weight"), "is not above 0 and up to 1")?;
        for (name, prior) in [("one", self.one), ("several.prior", prior)] {
            let ScalarPrior { mu0, kappa0, nu0, lambda0 } = prior;
            ensure(mu0.is_finite(), &format!("{table}.{name}.mu0"), "is not finite")?;
            for (key, value) in [("kappa0", kappa0), ("nu0", nu0), ("lambda0", lambda0)] {
                positive(&format!("{table}.{name}.{key}"), value)?;
            }
        }
        self.corrections.check(&format!("{table}.corrections"))
    }
}

impl Corrections {
    fn check(&self, key: &str) -> Result<(), CardError> {
        for Correction { share, power, .. } in self.0 {
            ensure(share > 0.0 && share < 1.0, key, format!("share {share} is not within 0..1"))?;
            positive(&format!("{key}.power"), power)?;
        }
        let ascending = self.0.windows(2).all(|pair| pair[0].prompts <= pair[1].prompts);
        ensure(ascending, key, "prompts do not ascend")
    }
}

fn positive(key: &str, value: f64) -> Result<(), CardError> {
    ensure(value.is_finite() && value > 0.0, key, format!("{value} is not above 0"))
}

fn is_side(side: usize) -> bool {
    (1..=INPUT_SIDE_MAX as usize).contains(&side)
}

fn check_graph(
    table: &str,
    file: &str,
    sha256: &str,
    outputs: &[TensorSpec],
) -> Result<(), CardError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    ensure(
        file.len() <= 64
            && !file.starts_with('.')
            && GRAPH_SUFFIXES.iter().any(|suffix| file.ends_with(suffix))
            && file.bytes().all(plain),
        &format!("{table}.file"),
        "is not a plain file name that ends in .nnef.tar or .onnx",
    )?;
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    ensure(
        sha256.len() == 64 && sha256.bytes().all(hex),
        &format!("{table}.sha256"),
        "is not 64 digits of lower-case hex",
    )?;
    let key = format!("{table}.outputs");
    ensure(
        (1..=GRAPH_TENSORS_MAX).contains(&outputs.len()),
        &key,
        format!("lists {} tensors; 1 to {GRAPH_TENSORS_MAX} are possible", outputs.len()),
    )?;
    for (i, output) in outputs.iter().enumerate() {
        let TensorSpec { name, shape } = output;
        ensure(!name.is_empty() && name.len() <= 64, &key, format!("bad name '{name}'"))?;
        let fits = !shape.contains(&0) && shape.len() <= 6 && elements(shape).is_some();
        ensure(fits, &key, format!("'{name}' has the impossible shape {shape:?}"))?;
        let twice = outputs[..i].iter().any(|o| &o.name == name);
        ensure(!twice, &key, format!("'{name}' is listed twice"))?;
    }
    Ok(())
}
