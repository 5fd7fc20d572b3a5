//! Turns the graphs of `oneprompt-m` version 1, the only weights that were shipped without their
//! training form, back into a run folder to train on from. `recover_v1 UNPACKED OUT`, where
//! UNPACKED holds `encode/` and `segment/`, the two tars unpacked.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor, TensorData};
use touchstone_tools::net::NetConfig;
use touchstone_tools::net::decoder::Stage;
use touchstone_tools::net::encoder::{Block, Reduce};
use touchstone_tools::net::oneprompt::OnePromptNet;

/// Bytes before the numbers of an NNEF tensor.
const HEADER: usize = 128;

struct Graph(PathBuf);

impl Graph {
    fn numbers(&self, label: &str) -> Result<Vec<f32>> {
        let path = self.0.join(format!("{label}.dat"));
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        Ok(bytes[HEADER..]
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect())
    }

    /// Pieces of a 1x1 kernel, split by input channel, side by side.
    fn joined(&self, outputs: usize, pieces: &[&str]) -> Result<Vec<f32>> {
        let pieces: Result<Vec<_>> = pieces.iter().map(|p| self.numbers(p)).collect();
        let pieces = pieces?;
        Ok((0..outputs)
            .flat_map(|o| {
                pieces.iter().flat_map(move |p| {
                    let n = p.len() / outputs;
                    p[o * n..(o + 1) * n].iter().copied()
                })
            })
            .collect())
    }
}

fn set(conv: &mut Conv2d, weight: Vec<f32>, bias: Vec<f32>, device: &Device) -> Result<()> {
    let shape = conv.weight.val().dims();
    ensure!(weight.len() == shape.iter().product::<usize>() && bias.len() == shape[0], "{shape:?}");
    conv.weight = Param::from_tensor(Tensor::from_data(TensorData::new(weight, shape), device));
    conv.bias =
        Some(Param::from_tensor(Tensor::from_data(TensorData::new(bias, [shape[0]]), device)));
    Ok(())
}

/// The inverse of the export's `reduce_relu`.
fn set_reduce(r: &mut Reduce, strided: &[f32], bias: Vec<f32>, device: &Device) -> Result<()> {
    let s = r.stride;
    let [outputs, channels, _, _] = r.folded.weight.val().dims();
    let (inputs, kernel) = (channels / (s * s), 2 * s);
    let mut folded = vec![0.0; strided.len()];
    for o in 0..outputs {
        for channel in 0..channels {
            let (cell, c) = (channel / inputs, channel % inputs);
            let (dy, dx) = (cell / s, cell % s);
            for i in 0..2 {
                for j in 0..2 {
                    let (y, x) = (i * s + dy, j * s + dx);
                    folded[((o * channels + channel) * 2 + i) * 2 + j] =
                        strided[((o * inputs + c) * kernel + y) * kernel + x];
                }
            }
        }
    }
    set(&mut r.folded, folded, bias, device)
}

fn set_block(b: &mut Block, g: &Graph, names: [(&str, &str); 2], device: &Device) -> Result<()> {
    let [a, c] = names;
    set(&mut b.a, g.numbers(a.0)?, g.numbers(a.1)?, device)?;
    set(&mut b.b, g.numbers(c.0)?, g.numbers(c.1)?, device)
}

fn set_stage(
    s: &mut Stage,
    g: &Graph,
    mix: &[&str],
    names: [&str; 5],
    device: &Device,
) -> Result<()> {
    let outputs = s.mix.weight.val().dims()[0];
    set(&mut s.mix, g.joined(outputs, mix)?, g.numbers(names[0])?, device)?;
    set(&mut s.a, g.numbers(names[1])?, g.numbers(names[2])?, device)?;
    set(&mut s.b, g.numbers(names[3])?, g.numbers(names[4])?, device)
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (from, out) = (Path::new(&args[0]), Path::new(&args[1]));
    let device = Device::flex();
    let net = NetConfig::M;
    let mut model = OnePromptNet::new(&net, &device);
    let g = Graph(from.join("encode"));
    let e = &mut model.encoder;
    set_reduce(&mut e.stem, &g.numbers("c1.0")?, g.numbers("conv_3.bias")?, &device)?;
    set_reduce(&mut e.down8, &g.numbers("c5.0")?, g.numbers("conv_7.bias")?, &device)?;
    set_block(
        &mut e.blocks8[0],
        &g,
        [("c9.0", "conv_11.bias"), ("c13.0", "conv_15.bias")],
        &device,
    )?;
    set_reduce(&mut e.down16, &g.numbers("c18.0")?, g.numbers("conv_20.bias")?, &device)?;
    set_block(
        &mut e.blocks16[0],
        &g,
        [("c22.0", "conv_24.bias"), ("c26.0", "conv_28.bias")],
        &device,
    )?;
    set_block(
        &mut e.blocks16[1],
        &g,
        [("c31.0", "conv_33.bias"), ("c35.0", "conv_37.bias")],
        &device,
    )?;
    let lateral = g.numbers("conv_42.einsum.split-over-0.0..64.fix_b")?;
    set(
        &mut e.lateral,
        lateral,
        g.numbers("conv_42.split-1-over-0.0..64.slice.through_reshape")?,
        &device,
    )?;
    let embed8 = g.joined(
        net.embed8,
        &[
            "conv_50.einsum.concat-einsum-I.0..96.fix_b",
            "conv_50.einsum.concat-einsum-I.96..160.fix_b",
        ],
    )?;
    set(&mut e.embed8, embed8, g.numbers("conv_50.bias.reshape.2.through_reshape")?, &device)?;
    let embed16 = g.numbers("conv_63.einsum.fix_b")?;
    set(&mut e.embed16, embed16, g.numbers("conv_63.bias.reshape.2.through_reshape")?, &device)?;
    let detail = g.numbers("conv_76.einsum.fix_b")?;
    set(
        &mut model.head.detail,
        detail,
        g.numbers("conv_76.bias.reshape.2.through_reshape")?,
        &device,
    )?;

    let g = Graph(from.join("segment"));
    let scalar = |v: f32| Param::from_tensor(Tensor::from_floats([v.ln()], &device));
    // Written into the graph's text as c8_0, c68_0 and c52_0.
    model.head.align.log_t16 = scalar(10.93101);
    model.head.align.log_t8 = scalar(10.824636);
    model.head.align.log_var = scalar(3.0444028);
    let d = &mut model.head.decoder;
    set_stage(
        &mut d.coarse,
        &g,
        &["conv_115.einsum.fix_b"],
        [
            "conv_115.bias.reshape.2.through_reshape",
            "c117.0",
            "conv_119.bias",
            "c121.0",
            "conv_123.bias",
        ],
        &device,
    )?;
    set_stage(
        &mut d.middle,
        &g,
        &[
            "conv_142.einsum.concat-einsum-slice-I.1.0..64",
            "conv_142.einsum.concat-einsum-I.64..196.fix_b",
        ],
        [
            "conv_142.bias.reshape.2.through_reshape",
            "c144.0",
            "conv_146.bias",
            "c148.0",
            "conv_150.bias",
        ],
        &device,
    )?;
    set_stage(
        &mut d.fine,
        &g,
        &[
            "conv_163.einsum.concat-einsum-slice-I.1.0..64",
            "conv_163.einsum.concat-einsum-I.64..80.fix_b",
            "conv_163.einsum.concat-einsum-I.80..96.fix_b",
            "conv_163.einsum.concat-einsum-I.96..112.fix_b",
        ],
        [
            "conv_163.bias.reshape.2.through_reshape",
            "c165.0",
            "conv_167.bias",
            "c169.0",
            "conv_171.bias",
        ],
        &device,
    )?;
    set(&mut d.head, g.numbers("conv_175.einsum.add_n")?, vec![-0.066_072_93], &device)?;

    std::fs::create_dir_all(out)?;
    model.clone().save_file(out.join("weights.bpk")).map_err(|e| anyhow::anyhow!("{e}"))?;
    let state = serde_json::json!({
        "stage": "oneprompt", "net": net, "seed": 2, "step": 800, "steps": 800,
        "command": "oneprompt-m version 1, its graphs turned back into weights by tools/examples/recover_v1.rs",
        "sources": [], "history": [],
    });
    std::fs::write(out.join("state.json"), serde_json::to_string_pretty(&state)?)?;
    Ok(())
}
