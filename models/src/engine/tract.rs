//! The tract engine: NNEF graphs on the CPU, in pure Rust.

mod fast;

pub use fast::steps;
pub(crate) use fast::{Vectorised, patches, turned, vectorised};

use super::{
    ENGINE_THREADS_MAX, Engine, EngineError, EngineKind, Graph, OperatorTime, caught, check_inputs,
    check_outputs,
};
use crate::files;
use crate::package::GRAPH_BYTES_MAX;
use crate::tensor::{Tensor, TensorSpec};
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tract_core::internal::{Rewriter, TypedOp};
use tract_core::ops::array::DynSlice;
use tract_core::prelude::*;
use tract_nnef::internal::Framework;

type Plan = Arc<TypedSimplePlan>;
type State = TypedSimpleState;

/// A graph as it was exported, without the turns and casts that its way through NNEF has added: for tools
/// that take it apart.
///
/// # Errors
/// The bytes are no NNEF, or tract cannot change the graph.
pub fn read_plain(nnef: &[u8]) -> TractResult<TypedModel> {
    let mut model = tract_nnef::nnef().model_for_read(&mut Cursor::new(nnef))?;
    fast::plain(&mut model)?;
    // The reader leaves open where a slice begins, even if it is a number.
    Rewriter::default()
        .with_rule_for("slice", |_, model, node, _, op: &DynSlice| op.declutter(model, node))
        .rewrite(&(), &mut model)?;
    Ok(model)
}

/// Which instruction set this engine's operators use on this machine, and which packages are faster here for it.
pub fn operators() -> String {
    let fast::Described { set, bytes, halves } = fast::described();
    let how = match (bytes, halves) {
        (_, Some(true)) => "products of 16 bits are emulated, several times slower: for the desk",
        (true, Some(false)) => {
            "products of 16 bits and of bytes: a package in f16 (oneprompt-m-f16) is the fastest here, and half as large"
        }
        (false, Some(false)) => {
            "products of 16 bits: a package in f16 (oneprompt-m-f16) is faster here, and half as large"
        }
        (true, None) => {
            "bytes four at a time: a package of 8 bits (oneprompt-m-int8) is smaller and a little faster here"
        }
        (false, None) => {
            "no products of bytes or of 16 bits: packages of fewer bits are smaller and no faster here"
        }
    };
    format!("{set}, {how}")
}

/// A graph as this engine runs it, with its own operators where they are faster.
///
/// # Errors
/// tract cannot change the graph.
pub fn optimized(mut model: TypedModel) -> TractResult<TypedModel> {
    if !fast::ours().map_err(TractError::msg)? {
        return model.into_optimized();
    }
    fast::rewrite(&mut model)?;
    let mut model = model.into_optimized()?;
    fast::turns(&mut model)?;
    Ok(model)
}

/// tract with a number of threads.
pub struct TractEngine {
    /// Threads that all graphs of this engine share, beside the caller's own. Operators of ours are done on them; what
    /// is left of tract's own is so short that to share it takes longer than to do it.
    crew: Option<Arc<fast::Crew>>,
}

impl TractEngine {
    /// An engine whose graphs run on `threads` threads: 1 is the caller's own, more are shared by all graphs of
    /// this engine (`docs/performance.md` has what they gain).
    pub fn new(threads: usize) -> Result<TractEngine, EngineError> {
        fast::ours().map_err(|why| EngineError::Unavailable {
            engine: EngineKind::Tract,
            why: format!("{} = {why}", fast::VARIABLE),
            what_to_do: "name another, or none for the best of this machine".to_string(),
        })?;
        let refuse = |why: String| EngineError::Threads { asked: threads, why };
        if threads == 0 {
            return Err(refuse("at least one is needed".to_string()));
        }
        if threads > ENGINE_THREADS_MAX {
            return Err(refuse("that is more than any camera has".to_string()));
        }
        if threads == 1 {
            return Ok(TractEngine { crew: None });
        }
        let crew = fast::Crew::new(threads).map_err(|e| refuse(e.to_string()))?;
        Ok(TractEngine { crew: Some(Arc::new(crew)) })
    }
}

impl Engine for TractEngine {
    fn name(&self) -> &'static str {
        "tract"
    }

    fn load(
        &self,
        file: &Path,
        inputs: &[TensorSpec],
        outputs: &[TensorSpec],
    ) -> Result<Box<dyn Graph>, EngineError> {
        if file.extension().is_some_and(|e| e == "onnx") {
            let engine = EngineKind::Tract;
            return Err(EngineError::Format { file: file.to_path_buf(), engine });
        }
        let bytes = files::read_limited(file, GRAPH_BYTES_MAX)
            .map_err(|e| EngineError::Read { file: file.to_path_buf(), why: e.to_string() })?;
        let bad = |why: String| EngineError::Load { file: file.to_path_buf(), why };
        let model = caught(|| {
            let nnef = tract_nnef::nnef();
            Ok(nnef.model_for_read(&mut Cursor::new(&bytes)))
        })?
        .map_err(|e| bad(format!("{e:#}")))?;
        check_contract(&model, inputs, outputs)
            .map_err(|what| EngineError::Contract { file: file.to_path_buf(), what })?;
        let plan: Plan = caught(|| Ok(optimized(model).and_then(TypedSimplePlan::new)))?
            .map_err(|e| bad(format!("{e:#}")))?;
        let state = new_state(&plan)?;
        let (inputs, outputs) = (inputs.to_vec(), outputs.to_vec());
        Ok(Box::new(TractGraph { plan, state, crew: self.crew.clone(), inputs, outputs }))
    }
}

/// One loaded graph with the memory it runs in.
struct TractGraph {
    plan: Plan,
    state: State,
    crew: Option<Arc<fast::Crew>>,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
}

impl Graph for TractGraph {
    fn run(&mut self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, EngineError> {
        self.run_by(inputs, |state, values| state.run(values))
    }

    fn profile(&mut self, inputs: &[&Tensor]) -> Result<Vec<OperatorTime>, EngineError> {
        // Memory for all of it beforehand: small things that are kept, between the tensors, would keep their memory
        // from the next frame, and new memory takes longer than most operators.
        let mut times = Vec::with_capacity(self.plan.model().nodes().len());
        self.run_by(inputs, |state, values| {
            state.run_plan_with_eval(values, |context, op_state, node, inputs| {
                let start = Instant::now();
                let given = tract_core::plan::eval(context, op_state, node, inputs)?;
                times
                    .push((node.id, u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)));
                Ok::<_, TractError>(given)
            })
        })?;
        let model = self.plan.model();
        let told = times.into_iter().map(|(id, ns)| {
            let node = model.node(id);
            let shape = node.outputs.first().and_then(|o| o.fact.shape.as_concrete());
            OperatorTime {
                node: node.name.clone(),
                operator: node.op.name().into_owned(),
                shape: shape.unwrap_or_default().to_vec(),
                ns,
            }
        });
        Ok(told.collect())
    }
}

impl TractGraph {
    fn run_by(
        &mut self,
        inputs: &[&Tensor],
        run: impl FnOnce(&mut State, TVec<TValue>) -> TractResult<TVec<TValue>>,
    ) -> Result<Vec<Tensor>, EngineError> {
        check_inputs(&self.inputs, inputs)?;
        let failed = |e: TractError| EngineError::Run { why: format!("{e:#}") };
        let state = &mut self.state;
        let ran = caught(|| {
            let values: TractResult<TVec<TValue>> = inputs
                .iter()
                .map(|t| Ok(tract_core::prelude::Tensor::from_shape(&t.shape, &t.data)?.into()))
                .collect();
            let run = |values| fast::with_crew(self.crew.as_ref(), || run(state, values));
            Ok(values.and_then(|values| run(values)?.iter().map(to_tensor).collect()))
        });
        let given: TractResult<Vec<Tensor>> = match ran {
            Ok(result) => result,
            Err(panicked) => {
                // The panic may have left half a run behind; the next frame starts clean.
                self.state = new_state(&self.plan)?;
                return Err(panicked);
            }
        };
        let outputs = given.map_err(failed)?;
        check_outputs(&self.outputs, &outputs)?;
        Ok(outputs)
    }
}

fn to_tensor(value: &TValue) -> TractResult<Tensor> {
    Ok(Tensor { shape: value.shape().to_vec(), data: value.view().as_slice::<f32>()?.to_vec() })
}

fn new_state(plan: &Plan) -> Result<State, EngineError> {
    caught(|| Ok(plan.spawn()))?.map_err(|e| EngineError::Run { why: format!("{e:#}") })
}

/// Compares what the graph takes and gives with the model card. Outputs have no names in NNEF
/// beyond their nodes', so their order counts.
fn check_contract(
    model: &TypedModel,
    inputs: &[TensorSpec],
    outputs: &[TensorSpec],
) -> Result<(), String> {
    let found = &model.inputs;
    if found.len() != inputs.len() {
        return Err(format!("it takes {} tensors, not {}", found.len(), inputs.len()));
    }
    for (outlet, spec) in found.iter().zip(inputs) {
        let name = &model.node(outlet.node).name;
        if plain_name(name) != plain_name(&spec.name) {
            return Err(format!("it takes '{name}' where '{}' is declared", spec.name));
        }
        check_fact(model, *outlet, "input", spec)?;
    }
    let found = &model.outputs;
    if found.len() != outputs.len() {
        return Err(format!("it gives {} tensors, not {}", found.len(), outputs.len()));
    }
    found.iter().zip(outputs).try_for_each(|(o, spec)| check_fact(model, *o, "output", spec))
}

fn check_fact(
    model: &TypedModel,
    outlet: OutletId,
    role: &str,
    spec: &TensorSpec,
) -> Result<(), String> {
    let fact = model.outlet_fact(outlet).map_err(|e| format!("{e:#}"))?;
    let shape = fact.shape.as_concrete();
    if fact.datum_type == f32::datum_type() && shape == Some(&spec.shape[..]) {
        return Ok(());
    }
    let node = &model.node(outlet.node).name;
    Err(format!(
        "{role} '{}' (node '{node}') is {:?} {}, not F32 {:?}",
        spec.name,
        fact.datum_type,
        fact.shape.iter().map(|d| d.to_string()).collect::<Vec<_>>().join(","),
        spec.shape
    ))
}

/// NNEF identifiers know letters, digits and '_' only, so "query.s4" comes back as "query_s4".
fn plain_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests;
