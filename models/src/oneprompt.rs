//! One-prompt segmentation (MetaUAS): a good picture and a query in, a map of changes out.
//!
//! The network is cut in two. `encode` runs once per picture, so a prompt's features are computed
//! once and kept; `segment` compares the features of a query with those of a prompt.

use crate::engine::{EngineError, EngineKind, Graph, OperatorTime};
pub use crate::map::Map;
use crate::package::{
    Calibration, CardError, GRAPH_TENSORS_MAX, MAP_OUTPUT, ModelCard, ModelPackage, NEAREST_OUTPUT,
    Side,
};
use crate::picture::{Picture, PictureError, Rect};
use crate::preprocess::Preprocessor;
use crate::recipe::Tiles;
use crate::registration::Affine;
use crate::tensor::{Tensor, TensorSpec};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Name of the encode graph's input.
pub const IMAGE_INPUT: &str = "image";

/// A loaded model.
pub struct OnePrompt {
    card: ModelCard,
    encoder: Encoder,
    comparer: Comparer,
}

/// The half of a model that looks at one picture.
pub(crate) struct Encoder {
    graph: Box<dyn Graph>,
    preprocessor: Preprocessor,
    image: Tensor,
    layout: Arc<FeatureLayout>,
}

/// The half of a model that compares two pictures' features.
pub(crate) struct Comparer {
    graph: Box<dyn Graph>,
    layout: Arc<FeatureLayout>,
    inputs: Vec<(Side, usize)>,
    map_index: usize,
    map_size: (u32, u32),
    nearest_index: usize,
    nearest_size: (u32, u32),
    /// In the place of inputs that the graph has not.
    none: Tensor,
}

/// Features of a picture, and how long they took.
pub struct Encoded {
    /// The features.
    pub features: Features,
    /// Crop, resize and normalisation, in microseconds.
    pub preprocess_us: u64,
    /// The encode graph, in microseconds.
    pub encode_us: u64,
}

/// What the segment graph says of a query beside a prompt.
pub struct Segmentation {
    /// Change map, 0..1, of the graph's own size.
    pub change: Map,
    /// 1 - greatest cosine similarity to any patch of the prompt, clamped to 0..1, per patch.
    pub nearest: Map,
    /// The segment graph, in microseconds.
    pub segment_us: u64,
}

impl OnePrompt {
    /// Loads both graphs of `package` into engine `kind` on `threads` threads.
    pub fn load(
        package: &ModelPackage,
        kind: EngineKind,
        threads: usize,
    ) -> Result<OnePrompt, ModelError> {
        let card = package.card();
        let engine = kind.engine(threads)?;
        let image = [TensorSpec::new(IMAGE_INPUT, &input_shape(card))];
        let encode = engine.load(&package.encode_file(), &image, &card.encode.outputs)?;
        let inputs: Vec<TensorSpec> =
            card.segment_inputs()?.into_iter().map(|input| input.spec).collect();
        let segment = engine.load(&package.segment_file(), &inputs, &card.segment.outputs)?;
        OnePrompt::from_graphs(card, encode, segment)
    }

    /// The same model with other knowledge of what good parts score.
    pub fn recalibrated(mut self, calibration: Calibration) -> OnePrompt {
        self.card.calibration = calibration;
        self
    }

    /// A model from graphs that are already loaded, or that are not graphs of an engine at all:
    /// anything that keeps to the card will do.
    pub fn from_graphs(
        card: &ModelCard,
        encode: Box<dyn Graph>,
        segment: Box<dyn Graph>,
    ) -> Result<OnePrompt, ModelError> {
        card.check()?;
        let missing = |name: &str| CardError::Value {
            key: "segment.outputs".to_string(),
            why: format!("has no '{name}'"),
        };
        let output = |name| card.segment_output(name).ok_or_else(|| missing(name));
        let (map_index, nearest_index) = (output(MAP_OUTPUT)?, output(NEAREST_OUTPUT)?);
        let size = |index: usize, name| match card.segment.outputs[index].shape[..] {
            [_, _, rows, columns] => Ok((columns as u32, rows as u32)),
            _ => Err(missing(name)),
        };
        let layout = Arc::new(FeatureLayout::new(card)?);
        let encoder = Encoder {
            graph: encode,
            preprocessor: Preprocessor::new(&card.input),
            image: Tensor::zeros(&input_shape(card)),
            layout: layout.clone(),
        };
        let comparer = Comparer {
            graph: segment,
            layout,
            inputs: card.segment_inputs()?.iter().map(|i| (i.side, i.index)).collect(),
            map_index,
            map_size: size(map_index, MAP_OUTPUT)?,
            nearest_size: size(nearest_index, NEAREST_OUTPUT)?,
            nearest_index,
            none: Tensor::default(),
        };
        Ok(OnePrompt { card: card.clone(), encoder, comparer })
    }

    /// Both halves, for two pictures at once.
    pub(crate) fn halves(&mut self) -> (&ModelCard, &mut Encoder, &mut Comparer) {
        (&self.card, &mut self.encoder, &mut self.comparer)
    }

    /// The model card: scoring reads its fusion constants and calibration.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Width and height of the encoder's input.
    pub fn input_size(&self) -> (u32, u32) {
        self.encoder.input_size()
    }

    /// Columns and rows of the change map.
    pub fn map_size(&self) -> (u32, u32) {
        self.comparer.map_size
    }

    /// Columns and rows of the nearest-neighbour map.
    pub fn nearest_size(&self) -> (u32, u32) {
        self.comparer.nearest_size
    }

    /// Columns and rows of the patch grid.
    pub fn grid(&self) -> (u32, u32) {
        self.encoder.layout.grid
    }

    /// How features are laid out; for making [`Features`] by hand.
    pub fn layout(&self) -> &Arc<FeatureLayout> {
        &self.encoder.layout
    }

    /// Features of a whole picture: resize, normalise, run.
    pub fn encode(&mut self, picture: &Picture) -> Result<Features, ModelError> {
        Ok(self.encode_region(picture, None, None)?.features)
    }

    /// Features of `region` of a picture (all of it if `None`), seen through `map` if there is one
    /// ([`Preprocessor::load`]), with the time of each stage.
    pub fn encode_region(
        &mut self,
        picture: &Picture,
        region: Option<Rect>,
        map: Option<&Affine>,
    ) -> Result<Encoded, ModelError> {
        let loaded_us = self.encoder.load(picture, region, Tiles::ONE, map)?;
        let mut encoded = self.encoder.tile(0)?;
        encoded.preprocess_us += loaded_us;
        Ok(encoded)
    }

    /// Features of a tensor that is already normalised, `[1, 3, height, width]`.
    pub fn encode_tensor(&mut self, image: &Tensor) -> Result<Features, ModelError> {
        let tensors = self.encoder.graph.run(&[image])?;
        Features::new(self.encoder.layout.clone(), tensors)
    }

    /// How long each operator takes for one picture beside one prompt: of the encode graph, then of the
    /// segment graph. Empty where the engine does not tell.
    pub fn profile(
        &mut self,
        query: &Picture,
        prompt: &Features,
    ) -> Result<[Vec<OperatorTime>; 2], ModelError> {
        let features = self.encode(query)?;
        let encode = self.encoder.graph.profile(&[&self.encoder.image])?;
        let Comparer { graph, inputs, none, .. } = &mut self.comparer;
        let lined_up = line_up(inputs, [&features, prompt], none);
        let segment = graph.profile(&lined_up[..inputs.len()])?;
        Ok([encode, segment])
    }

    /// The change map alone.
    pub fn segment(&mut self, query: &Features, prompt: &Features) -> Result<Map, ModelError> {
        Ok(self.segment_full(query, prompt)?.change)
    }

    /// Change map and nearest-neighbour map, with the time they took.
    pub fn segment_full(
        &mut self,
        query: &Features,
        prompt: &Features,
    ) -> Result<Segmentation, ModelError> {
        self.comparer.segment(query, prompt)
    }
}

impl Encoder {
    /// Width and height of the graph's input.
    pub fn input_size(&self) -> (u32, u32) {
        let [_, _, height, width] = self.preprocessor.shape();
        (width as u32, height as u32)
    }

    /// Takes a picture in for [`Encoder::tile`], see [`Preprocessor::load`]; gives the time in microseconds.
    pub fn load(
        &mut self,
        picture: &Picture,
        region: Option<Rect>,
        tiles: Tiles,
        map: Option<&Affine>,
    ) -> Result<u64, ModelError> {
        let start = Instant::now();
        self.preprocessor.load(picture, region, tiles, map)?;
        Ok(micros_since(start))
    }

    /// Features of one tile of the picture that was taken in last.
    pub fn tile(&mut self, index: usize) -> Result<Encoded, ModelError> {
        let start = Instant::now();
        self.preprocessor.tile(index, &mut self.image);
        let preprocess_us = micros_since(start);
        let start = Instant::now();
        let tensors = self.graph.run(&[&self.image])?;
        let encode_us = micros_since(start);
        let features = Features::new(self.layout.clone(), tensors)?;
        Ok(Encoded { features, preprocess_us, encode_us })
    }
}

impl Comparer {
    /// [`OnePrompt::segment_full`].
    pub fn segment(
        &mut self,
        query: &Features,
        prompt: &Features,
    ) -> Result<Segmentation, ModelError> {
        for features in [query, prompt] {
            if features.layout != self.layout && *features.layout != *self.layout {
                return Err(ModelError::OtherModel);
            }
        }
        let start = Instant::now();
        let lined_up = line_up(&self.inputs, [query, prompt], &self.none);
        let mut outputs = self.graph.run(&lined_up[..self.inputs.len()])?;
        let segment_us = micros_since(start);
        let change = take_map(&mut outputs, self.map_index, MAP_OUTPUT)?;
        let nearest = take_map(&mut outputs, self.nearest_index, NEAREST_OUTPUT)?;
        Ok(Segmentation { change, nearest, segment_us })
    }
}

/// The inputs of a segment graph and, behind them, `none`. On the stack, because the frame loop allocates nothing of its
/// own.
fn line_up<'a>(
    inputs: &[(Side, usize)],
    [query, prompt]: [&'a Features; 2],
    none: &'a Tensor,
) -> [&'a Tensor; GRAPH_TENSORS_MAX] {
    let mut lined_up = [none; GRAPH_TENSORS_MAX];
    for (slot, &(side, index)) in lined_up.iter_mut().zip(inputs) {
        *slot = match side {
            Side::Query => &query.tensors[index],
            Side::Prompt => &prompt.tensors[index],
        };
    }
    lined_up
}

fn input_shape(card: &ModelCard) -> [usize; 4] {
    [1, 3, card.input.height as usize, card.input.width as usize]
}

fn micros_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Moves output `index` out as a map. Values are clamped to 0..1: a sigmoid or a cosine may leave
/// the range by a rounding error.
fn take_map(outputs: &mut [Tensor], index: usize, name: &str) -> Result<Map, ModelError> {
    let wrong = |given: &[usize]| ModelError::Shape {
        tensor: name.to_string(),
        given: given.to_vec(),
        expected: "[1, 1, height, width]".to_string(),
    };
    let tensor = outputs.get_mut(index).map(std::mem::take).ok_or_else(|| wrong(&[]))?;
    let [1, 1, height, width] = tensor.shape[..] else {
        return Err(wrong(&tensor.shape));
    };
    if let Some(index) = tensor.first_not_finite() {
        return Err(EngineError::NotFinite { tensor: name.to_string(), index }.into());
    }
    let mut values = tensor.data;
    values.iter_mut().for_each(|v| *v = v.clamp(0.0, 1.0));
    Map::new(width as u32, height as u32, values).ok_or_else(|| wrong(&tensor.shape))
}

/// Which tensors the encode graph gives and where scoring finds its own among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureLayout {
    outputs: Vec<TensorSpec>,
    patches: usize,
    pooled: usize,
    grid: (u32, u32),
}

impl FeatureLayout {
    /// The layout that a card declares.
    pub fn new(card: &ModelCard) -> Result<FeatureLayout, CardError> {
        card.check()?;
        let find = |key: &str, name: &str| {
            card.encode_output(name).ok_or_else(|| CardError::Value {
                key: key.to_string(),
                why: format!("encode.outputs has no '{name}'"),
            })
        };
        Ok(FeatureLayout {
            outputs: card.encode.outputs.clone(),
            patches: find("features.patches", &card.features.patches)?,
            pooled: find("features.pooled", &card.features.pooled)?,
            grid: (card.features.grid[0], card.features.grid[1]),
        })
    }
}

/// What the encoder makes of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    layout: Arc<FeatureLayout>,
    tensors: Vec<Tensor>,
}

impl Features {
    /// Features from the encode outputs in the card's order; checks count, shapes and finiteness.
    pub fn new(layout: Arc<FeatureLayout>, tensors: Vec<Tensor>) -> Result<Features, ModelError> {
        crate::engine::check_outputs(&layout.outputs, &tensors)?;
        Ok(Features { layout, tensors })
    }

    /// The patch embeddings that the Student-t witness reads.
    pub fn patches(&self) -> Patches<'_> {
        let tensor = &self.tensors[self.layout.patches];
        let (width, height) = self.layout.grid;
        Patches { width, height, dim: tensor.shape[2], values: &tensor.data }
    }

    /// The embedding of the whole picture.
    pub fn pooled(&self) -> &[f32] {
        &self.tensors[self.layout.pooled].data
    }

    /// An encode output by name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        let index = self.layout.outputs.iter().position(|o| o.name == name)?;
        Some(&self.tensors[index])
    }
}

/// Patch embeddings on a grid, row-major; each row of `dim` values has length 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Patches<'a> {
    /// Columns of the grid.
    pub width: u32,
    /// Rows of the grid.
    pub height: u32,
    /// Values per patch.
    pub dim: usize,
    /// `width * height * dim` values.
    pub values: &'a [f32],
}

impl<'a> Patches<'a> {
    /// How many patches there are.
    pub fn rows(&self) -> usize {
        self.width as usize * self.height as usize
    }

    /// The embedding of patch `index` = y * width + x; panics outside the grid.
    pub fn row(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.dim..][..self.dim]
    }

    /// The embedding at column `x`, row `y`; panics outside the grid.
    pub fn at(&self, x: u32, y: u32) -> &'a [f32] {
        self.row(y as usize * self.width as usize + x as usize)
    }
}

/// Why a model could not be loaded or could not judge a picture.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelError {
    /// The engine or a graph failed.
    Engine(EngineError),
    /// The card does not fit.
    Card(CardError),
    /// The picture or the region of interest does not fit.
    Picture(PictureError),
    /// A tensor of the wrong shape.
    Shape {
        /// The tensor.
        tensor: String,
        /// The shape it has.
        given: Vec<usize>,
        /// The shape it should have.
        expected: String,
    },
    /// Features of another model were handed in.
    OtherModel,
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelError::Engine(e) => e.fmt(f),
            ModelError::Card(e) => write!(f, "bad model card: {e}"),
            ModelError::Picture(e) => e.fmt(f),
            ModelError::Shape { tensor, given, expected } => {
                write!(f, "tensor '{tensor}' has shape {given:?}, {expected} is expected")
            }
            ModelError::OtherModel => f.write_str(
                "these features come from another model; encode the prompts again with this one",
            ),
        }
    }
}

impl std::error::Error for ModelError {}

impl From<EngineError> for ModelError {
    fn from(e: EngineError) -> ModelError {
        ModelError::Engine(e)
    }
}

impl From<CardError> for ModelError {
    fn from(e: CardError) -> ModelError {
        ModelError::Card(e)
    }
}

impl From<PictureError> for ModelError {
    fn from(e: PictureError) -> ModelError {
        ModelError::Picture(e)
    }
}

#[cfg(test)]
mod tests;
