//! ONNX graphs run at the desk, with a look at what flows within.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use touchstone_models::engine::tract::optimized;
use touchstone_models::tensor::Tensor;
use tract_core::prelude::{TValue, TVec, TypedSimplePlan};

use super::graph::Graph;
use crate::export::nnef::typed;

/// A graph that runs.
pub struct Running(Arc<TypedSimplePlan>);

impl Running {
    /// Gives the graph's own outputs, and then `also`, in that order.
    ///
    /// # Errors
    /// tract cannot read it.
    pub fn new(graph: &Graph, also: &BTreeSet<String>) -> Result<Running> {
        let model = typed(&graph.telling(also).bytes(), "graph")?;
        let plan = optimized(model).and_then(TypedSimplePlan::new);
        Ok(Running(plan.map_err(|e| anyhow!("tract cannot run the graph: {e:#}"))?))
    }

    /// Runs it once.
    ///
    /// # Errors
    /// Wrong inputs, or an operator fails.
    pub fn run(&mut self, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
        let run = || {
            let values: TVec<TValue> = inputs
                .iter()
                .map(|t| Ok(tract_core::prelude::Tensor::from_shape(&t.shape, &t.data)?.into()))
                .collect::<tract_core::prelude::TractResult<_>>()?;
            let given = self.0.run(values)?;
            let ours = given.iter().map(|v| {
                Ok(Tensor { shape: v.shape().to_vec(), data: v.view().as_slice::<f32>()?.to_vec() })
            });
            ours.collect::<tract_core::prelude::TractResult<Vec<Tensor>>>()
        };
        run().map_err(|e| anyhow!("{e:#}"))
    }
}
