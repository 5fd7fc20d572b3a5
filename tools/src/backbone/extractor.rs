//! A foreign encoder at work, off the tape, on as many threads as call it.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use tract_core::prelude::*;

use super::{Description, Graph};
use crate::net::levels::{Levels, STRIDES};
use crate::train::batch::{Scaling, Stack, normalised_by};

/// An encoder for pictures of one size.
pub struct Extractor {
    model: TypedModel,
    plan: Arc<TypedSimplePlan>,
    shapes: Levels<[usize; 4]>,
    names: Levels<String>,
    scaling: Scaling,
    size: usize,
}

impl Extractor {
    /// Types the graph for pictures of `size` pixels and checks that it gives the declared maps.
    pub(super) fn new(graph: &Graph, of: &Description, size: usize) -> Result<Extractor> {
        let model = graph.typed(size)?;
        let given = model.output_outlets().map_err(|e| anyhow!("{e:#}"))?;
        let given =
            Levels::of_list(given.to_vec()).context("the graph has no two or three outputs")?;
        let taps = of.taps.as_ref().zip(STRIDES).zip(given);
        let shapes = taps.try_map(|((tap, stride), outlet)| {
            let fact = model.outlet_fact(outlet).map_err(|e| anyhow!("{e:#}"))?;
            let side = size / stride;
            let shape = [1, tap.channels, side, side];
            ensure!(
                fact.datum_type == f32::datum_type() && fact.shape.as_concrete() == Some(&shape),
                "tensor '{}' is {:?} {:?}, F32 {shape:?} is needed at stride {stride}",
                tap.name,
                fact.datum_type,
                fact.shape
            );
            Ok(shape)
        })?;
        let plan = model
            .clone()
            .into_optimized()
            .and_then(|m| m.into_runnable())
            .map_err(|e| anyhow!("tract cannot run it: {e:#}"))?;
        let names = of.taps.as_ref().map(|tap| tap.name.clone());
        Ok(Extractor { model, plan, shapes, names, scaling: of.scaling, size })
    }

    /// The graph as tract holds it, not yet bound to this machine.
    pub fn model(&self) -> &TypedModel {
        &self.model
    }

    /// The maps' names.
    pub fn names(&self) -> &Levels<String> {
        &self.names
    }

    /// Feature maps of RGB8 pictures, as the encoder wants them scaled.
    ///
    /// # Errors
    /// tract fails, or a feature is no finite number.
    pub fn maps(&self, pictures: &[&[u8]]) -> Result<Levels<Stack>> {
        let empty = |[_, channels, height, width]: [usize; 4]| Stack {
            shape: [pictures.len(), channels, height, width],
            data: Vec::with_capacity(pictures.len() * channels * height * width),
        };
        let mut maps = self.shapes.map(empty);
        for picture in pictures {
            let image = normalised_by(&self.scaling, std::iter::once(*picture), self.size);
            let image = Tensor::from_shape(&[1, 3, self.size, self.size], &image);
            let given = image
                .and_then(|image| self.plan.run(tvec![image.into()]))
                .map_err(|e| anyhow!("the encoder failed: {e:#}"))?;
            let given = Levels::of_list(given.to_vec()).context("the encoder lost an output")?;
            maps =
                maps.zip(self.names.as_ref()).zip(given).try_map(|((mut stack, name), map)| {
                    let values = map.to_plain_array_view::<f32>().map_err(|e| anyhow!("{e:#}"))?;
                    ensure!(
                        values.iter().all(|v| v.is_finite()),
                        "the encoder gave a NaN or infinity in tensor '{name}'"
                    );
                    stack.data.extend(values.iter());
                    Ok(stack)
                })?;
        }
        Ok(maps)
    }
}
