//! Any frozen encoder, as ONNX, for `train oneprompt --encoder`: the paper's way, which learns only
//! alignment and decoder on features that somebody else's training made.

mod choose;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use touchstone_models::package::GRAPH_BYTES_MAX;

use crate::backbone::{Backbone, Description, Extractor, Graph, SIDES};
use crate::export::nnef;
use crate::net::levels::STRIDES;
use crate::train::batch::{MEAN, STD, Scaling};
use crate::train::command_line;

/// `touchstone-tools import encoder`
#[derive(Debug, Args)]
pub struct EncoderArgs {
    /// The encoder: one input [1, 3, height, width] of RGB, feature maps at strides 8 and 16 and
    /// perhaps 4 among its tensors.
    #[arg(long)]
    pub onnx: PathBuf,
    /// Folder to write, for `train oneprompt --encoder`.
    #[arg(long)]
    pub out: PathBuf,
    /// Side of the picture that the encoder is tried with, in pixels, a multiple of 16.
    #[arg(long, default_value_t = 256)]
    pub size: usize,
    /// Names of the feature maps, inner tensors or nodes too, one per stride. Left out: the
    /// graph's own outputs.
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    pub outputs: Vec<String>,
    /// What the encoder wants subtracted from values 0..1. Left out: ImageNet's.
    #[arg(long, value_name = "R,G,B", value_parser = three)]
    pub mean: Option<[f32; 3]>,
    /// What it then wants them divided by. Left out: ImageNet's.
    #[arg(long, value_name = "R,G,B", value_parser = three)]
    pub std: Option<[f32; 3]>,
    /// Where the encoder comes from, with licence, for the model card; repeatable.
    #[arg(long)]
    pub source: Vec<String>,
}

fn three(text: &str) -> Result<[f32; 3], String> {
    let numbers: Result<Vec<f32>, _> = text.split(',').map(|v| v.trim().parse()).collect();
    let three = numbers.ok().and_then(|n| <[f32; 3]>::try_from(n).ok());
    three.ok_or_else(|| "three numbers with commas between are needed, red first".into())
}

/// Runs the import.
pub fn run(args: &EncoderArgs) -> Result<()> {
    ensure!(
        args.size.is_multiple_of(STRIDES.coarse) && SIDES.contains(&args.size),
        "--size {}: must be a multiple of {} from {} to {}",
        args.size,
        STRIDES.coarse,
        SIDES.start(),
        SIDES.end()
    );
    ensure!(!args.out.exists(), "--out {}: is there already", args.out.display());
    let scaling = Scaling { mean: args.mean.unwrap_or(MEAN), std: args.std.unwrap_or(STD) };
    scaling.check().context("--mean, --std")?;
    let backbone = import(args, scaling).with_context(|| args.onnx.display().to_string())?;
    backbone.write(&args.out)?;

    for (tap, stride) in backbone.description().taps.as_ref().zip(STRIDES).list() {
        println!("stride {stride:2}: '{}', {} channels", tap.name, tap.channels);
    }
    if backbone.description().taps.fine.is_none() {
        println!("stride  4: none; detail will come from stride 8, which is coarser");
    }
    println!("encoder written to {}", args.out.display());
    Ok(())
}

fn import(args: &EncoderArgs, scaling: Scaling) -> Result<Backbone> {
    let graph = Graph::open(&args.onnx)?;
    let taps = choose::taps(&graph, &args.outputs, args.size)?;
    let names: Vec<&str> = taps.as_ref().list().iter().map(|tap| tap.name.as_str()).collect();
    let onnx = graph.cut(&names)?.to_bytes();
    let description = Description {
        taps,
        scaling,
        size: args.size,
        sources: args.source.clone(),
        command: command_line(),
        sha256: String::new(),
    };
    let backbone = Backbone::new(description, onnx);
    let extractor = backbone.at(args.size)?;
    try_out(&extractor, args.size)?;
    Ok(backbone)
}

/// What would fail after hours of training had better fail now: running, and the camera's form.
fn try_out(extractor: &Extractor, size: usize) -> Result<()> {
    let ramp: Vec<u8> = (0..size * size * 3).map(|i| (i % 256) as u8).collect();
    extractor.maps(&[&ramp])?;
    let graph = nnef::write(extractor.model(), "the camera runs NNEF")?;
    ensure!(
        graph.len() as u64 <= GRAPH_BYTES_MAX,
        "the part that makes the features has {} bytes; a camera takes {GRAPH_BYTES_MAX} at most",
        graph.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests;
