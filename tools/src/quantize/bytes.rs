//! Weights that lie on 255 steps, stored as bytes and the steps' size: a quarter of the file; weights that are numbers
//! of 16 bits, stored as such: half of it. tract makes floats of them again while it loads.

use std::io::Cursor;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use touchstone_models::engine::tract::steps;
use tract_nnef::ast::dump::Dumper;
use tract_nnef::ast::{Assignment, LValue, ProtoModel, RValue};
use tract_nnef::internal::*;
use tract_nnef::ser::{assignment, ident, ints, invocation, string};

/// Files of an archive say that they are from 1980: the bytes depend on the graph alone.
const TIME: u64 = 315_532_800;

/// A graph in NNEF with the weights of its convolutions stored in as few bytes as they lose nothing in.
///
/// # Errors
/// It is no NNEF.
pub fn compact(nnef: &[u8]) -> Result<Vec<u8>> {
    let framework = tract_nnef::nnef();
    let describe = |e: TractError| anyhow!("tract cannot change the graph: {e:#}");
    let mut proto = framework.proto_model_for_read(&mut Cursor::new(nnef)).map_err(describe)?;
    let body = std::mem::take(&mut proto.doc.graph_def.body);
    for line in body {
        let lines = smaller(&mut proto, &line).map_err(describe)?;
        proto.doc.graph_def.body.extend(lines.unwrap_or_else(|| vec![line]));
    }
    let mut graph = Vec::new();
    Dumper::new(&framework, &mut graph).document(&proto.doc).map_err(describe)?;
    let mut tar = tar::Builder::new(Vec::new());
    let mut put = |name: &str, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(TIME);
        tar.append_data(&mut header, name, data).with_context(|| name.to_owned())
    };
    put("graph.nnef", &graph)?;
    let mut tensors: Vec<_> = proto.tensors.iter().collect();
    tensors.sort_by(|a, b| a.0.cmp(b.0));
    for (label, tensor) in tensors {
        let mut data = Vec::new();
        tract_nnef::tensors::write_tensor(&mut data, tensor).map_err(describe)?;
        put(&format!("{}.dat", label.0), &data)?;
    }
    tar.into_inner().context("an archive in memory")
}

/// The lines that a weight's own becomes: its steps, their sizes, and the product, or its numbers of 16 bits, and what
/// widens them. None if the line is no weight, or is neither.
fn smaller(proto: &mut ProtoModel, line: &Assignment) -> TractResult<Option<Vec<Assignment>>> {
    let (LValue::Identifier(name), RValue::Invocation(call)) = (&line.left, &line.right) else {
        return Ok(None);
    };
    let label = call.arguments.iter().find_map(|argument| match &argument.rvalue {
        RValue::Literal(tract_nnef::ast::Literal::String(label)) => Some(Identifier(label.clone())),
        _ => None,
    });
    let Some(label) = label.filter(|_| call.id.0 == "variable") else { return Ok(None) };
    let Some(tensor) = proto.tensors.get(&label) else { return Ok(None) };
    if tensor.rank() != 4 || tensor.datum_type() != f32::datum_type() {
        return Ok(None);
    }
    let shape: TVec<usize> = tensor.shape().into();
    let tensor = tensor.clone();
    let values: &[f32] = tensor.view().as_slice()?;
    let mut variable = |what: &str, tensor: Tensor| {
        let label = format!("{}.{what}", label.0);
        let shape = ints(tensor.shape());
        proto.tensors.insert(Identifier(label.clone()), Arc::new(tensor));
        let call = invocation("variable", &[], &[("label", string(label)), ("shape", shape)]);
        let mut line = assignment(format!("{}_{what}", name.0), call);
        if let RValue::Invocation(call) = &mut line.right {
            call.generic_type_name = Some(TypeName::Scalar);
        }
        line
    };
    let read = |what: &str| Arc::new(ident(format!("{}_{what}", name.0)));
    let wide = |what| invocation("tract_core_cast", &[read(what)], &[("to", string("f32"))]);
    let lines = if let Some((whole, sizes)) = steps(values, shape[0]) {
        let steps = variable("steps", Tensor::from_shape(&shape, &whole)?);
        let sizes = variable("sizes", Tensor::from_shape(&[shape[0], 1, 1, 1], &sizes)?);
        let product = invocation("mul", &[wide("steps"), read("sizes")], &[]);
        vec![steps, sizes, assignment(&name.0, product)]
    } else if let Some(halves) = halves(values) {
        let halves = variable("halves", Tensor::from_shape(&shape, &halves)?);
        vec![halves, assignment(&name.0, wide("halves"))]
    } else {
        return Ok(None);
    };
    proto.tensors.remove(&label);
    Ok(Some(lines))
}

/// The same numbers in 16 bits. None if one is none of those.
fn halves(values: &[f32]) -> Option<Vec<f16>> {
    let of = |value: &f32| Some(f16::from_f32(*value)).filter(|half| half.to_f32() == *value);
    values.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::nnef;
    use crate::export::onnx::{ConvWeights, GraphBuilder};

    const SIZES: [f32; 2] = [0.013, 1.7e-5];

    /// Steps of two channels, each with 127 of either sign, as quantised weights have them.
    fn whole() -> Vec<i8> {
        let mut whole: Vec<i8> = (0..54).map(|i| (i * 37 % 255 - 127) as i8).collect();
        (whole[0], whole[27]) = (127, -127);
        whole
    }

    fn weights(steps: &[i8]) -> Vec<f32> {
        let channels = steps.chunks_exact(27).zip(SIZES);
        channels
            .flat_map(|(channel, size)| channel.iter().map(move |w| f32::from(*w) * size))
            .collect()
    }

    #[test]
    fn steps_are_found_again_and_nothing_else_is() {
        let mut values = weights(&whole());
        let (found, sizes) = steps(&values, 2).unwrap();
        assert_eq!(found, whole());
        assert!(sizes.iter().zip(SIZES).all(|(found, size)| (found / size - 1.0).abs() < 1e-6));
        values[7] += 0.3 * SIZES[0];
        assert!(steps(&values, 2).is_none());
        values[7] = f32::NAN;
        assert!(steps(&values, 2).is_none());
    }

    #[test]
    fn numbers_of_16_bits_are_stored_as_such() {
        let values: Vec<f32> =
            (0..54).map(|i| f16::from_f32((i as f32 * 0.37).sin() * 0.2).to_f32()).collect();
        let plain = graph(values.clone());
        let stored = compact(&plain).unwrap();
        assert!(String::from_utf8_lossy(&stored).contains(".halves.dat"));
        assert_eq!(run(&plain), run(&stored));
        let odd = values.iter().map(|v| v * 1.001).collect();
        assert!(!String::from_utf8_lossy(&compact(&graph(odd)).unwrap()).contains(".halves.dat"));
    }

    /// One convolution as the camera would load it.
    fn graph(weight: Vec<f32>) -> Vec<u8> {
        let mut g = GraphBuilder::new("g");
        let x = g.input("image", &[1, 3, 8, 8]);
        let conv = ConvWeights {
            shape: [2, 3, 3, 3],
            weight,
            bias: vec![0.5, -0.5],
            stride: 1,
            padding: [1; 2],
            groups: 1,
        };
        let y = g.conv(&x, &conv);
        g.output(y, "map", &[1, 2, 8, 8]);
        nnef::from_onnx(&g.finish(), "g").unwrap()
    }

    fn run(nnef: &[u8]) -> Vec<f32> {
        let model = tract_nnef::nnef().model_for_read(&mut Cursor::new(nnef)).unwrap();
        let plan = model.into_optimized().unwrap().into_runnable().unwrap();
        let x: Vec<f32> = (0..192).map(|i| (i * 31 % 97) as f32 / 48.0 - 1.0).collect();
        let x = Tensor::from_shape(&[1, 3, 8, 8], &x).unwrap();
        plan.run(tvec![x.into_tvalue()]).unwrap()[0].view().as_slice::<f32>().unwrap().to_vec()
    }

    #[test]
    fn what_is_loaded_is_what_was_written() {
        let plain = graph(weights(&whole()));
        let stored = compact(&plain).unwrap();
        assert_eq!(stored, compact(&plain).unwrap(), "the same bytes again");
        let text = String::from_utf8_lossy(&stored);
        assert!(text.contains("tract_core_cast") && text.contains(".steps.dat"));
        for (a, b) in run(&plain).iter().zip(run(&stored)) {
            assert!((a - b).abs() <= 1e-6, "{a} {b}");
        }
        let mut odd = weights(&whole());
        odd[5] += 0.4 * SIZES[0];
        let odd = compact(&graph(odd)).unwrap();
        assert!(!String::from_utf8_lossy(&odd).contains(".steps.dat"));
        assert!(compact(b"no archive").is_err());
    }
}
