//! Which of a graph's tensors are the feature maps.

use std::fmt::Write as _;

use anyhow::{Result, anyhow, bail, ensure};

use crate::backbone::{Found, Graph, Tap};
use crate::net::levels::{Levels, STRIDES};

/// How many tensors per stride a refusal lists, those deepest in the graph.
const LISTED_MAX: usize = 6;

/// The feature maps among the tensors `named`, or among the graph's outputs if none are.
///
/// # Errors
/// A name is unknown, a stride is missing, or there are two maps of one stride. The tensors that
/// could be chosen are listed.
pub(super) fn taps(graph: &Graph, named: &[String], size: usize) -> Result<Levels<Tap>> {
    let found =
        if named.is_empty() { of_outputs(graph, size) } else { of_names(graph, named, size)? };
    let refuse = |why: String| anyhow!("{why}{}", listing(graph, size));
    let strides = STRIDES.list();
    let fits = |f: &&Found| stride_of(f, size).is_some_and(|s| strides.contains(&s));
    let unused: Vec<&Found> = found.iter().filter(|f| !fits(f)).collect();
    if !unused.is_empty() && !named.is_empty() {
        let names = names(&unused);
        return Err(refuse(format!("--outputs: {names} is at none of the strides 4, 8 and 16")));
    }
    let at = |stride: usize| -> Result<Option<Tap>> {
        let here: Vec<&Found> =
            found.iter().filter(|f| stride_of(f, size) == Some(stride)).collect();
        match here[..] {
            [] => Ok(None),
            [one] => Ok(Some(Tap { name: one.name.clone(), channels: one.shape[1] })),
            _ => Err(refuse(format!(
                "there are {} feature maps at stride {stride} ({}); name one per stride with \
                 --outputs",
                here.len(),
                names(&here)
            ))),
        }
    };
    let missing = |stride: usize| {
        refuse(format!(
            "there is no feature map at stride {stride}, [1, channels, {0}, {0}] for pictures of \
             {size} pixels; strides {1} and {2} are needed. Name tensors with --outputs",
            size / stride,
            STRIDES.middle,
            STRIDES.coarse
        ))
    };
    let taps = Levels {
        fine: STRIDES.fine.map(at).transpose()?.flatten(),
        middle: at(STRIDES.middle)?.ok_or_else(|| missing(STRIDES.middle))?,
        coarse: at(STRIDES.coarse)?.ok_or_else(|| missing(STRIDES.coarse))?,
    };
    for output in unused {
        println!("left out: {}", describe(output, size));
    }
    Ok(taps)
}

fn of_outputs(graph: &Graph, size: usize) -> Vec<Found> {
    let tensors = graph.tensors(size);
    let outputs = graph.outputs().filter_map(|name| tensors.iter().find(|t| t.name == name));
    outputs.cloned().collect()
}

fn of_names(graph: &Graph, named: &[String], size: usize) -> Result<Vec<Found>> {
    let mut resolved = Vec::new();
    for name in named {
        let tensor = graph.resolve(name).ok_or_else(|| {
            anyhow!("--outputs: no tensor or node is called '{name}'{}", listing(graph, size))
        })?;
        ensure!(!resolved.contains(&tensor), "--outputs: '{name}' is named twice");
        resolved.push(tensor);
    }
    let cut = graph.cut(&resolved)?;
    let tensors = cut.tensors(size);
    let mut found = Vec::new();
    for name in resolved {
        match tensors.iter().find(|t| t.name == name) {
            Some(tensor) => found.push(tensor.clone()),
            None => {
                // Why not is in tract's words.
                cut.typed(size)?;
                bail!(
                    "--outputs: '{name}' is no tensor of 32-bit floating point with a known shape"
                )
            }
        }
    }
    Ok(found)
}

/// Pixels of a picture of `size` per cell of a map `[1, channels, side, side]`.
fn stride_of(found: &Found, size: usize) -> Option<usize> {
    let [1, _, height, width] = found.shape[..] else { return None };
    (height == width && height > 0 && size.is_multiple_of(height)).then(|| size / height)
}

fn names(found: &[&Found]) -> String {
    let quoted: Vec<String> = found.iter().map(|f| format!("'{}' {:?}", f.name, f.shape)).collect();
    quoted.join(", ")
}

fn describe(found: &Found, size: usize) -> String {
    let Found { name, shape } = found;
    match stride_of(found, size) {
        Some(stride) => format!("'{name}' {shape:?}, stride {stride}"),
        None => format!("'{name}' {shape:?}"),
    }
}

/// What there is to choose from, as further lines of an error.
fn listing(graph: &Graph, size: usize) -> String {
    let tensors = graph.tensors(size);
    let mut text = format!("\nfor pictures of {size} pixels the graph has");
    for stride in STRIDES.list() {
        let here: Vec<&Found> =
            tensors.iter().filter(|t| stride_of(t, size) == Some(stride)).collect();
        let last = &here[here.len().saturating_sub(LISTED_MAX)..];
        let before = match here.len() - last.len() {
            0 => String::new(),
            count => format!("{count} more and "),
        };
        let list = if last.is_empty() { "nothing".into() } else { names(last) };
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  at stride {stride}: {before}{list}");
    }
    let outputs: Vec<String> = graph
        .outputs()
        .map(|name| match tensors.iter().find(|t| t.name == name) {
            Some(found) => describe(found, size),
            None => match graph.cut(&[name]).and_then(|cut| cut.typed(size)) {
                Ok(_) => format!("'{name}', not of 32-bit floating point"),
                Err(why) => format!("'{name}', whose shape cannot be told ({why:#})"),
            },
        })
        .collect();
    let _ = write!(text, "\n  as outputs: {}", outputs.join("; "));
    text
}
