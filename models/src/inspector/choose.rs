//! Which of many good parts to keep as prompts: few that stand for all.
//!
//! Greedy facility location on the patches: the next prompt is the part that brings most of all parts closer
//! to a prompt. Unlike taking whatever is farthest, that does not begin with the odd ones out, which at
//! teaching time are more often bad pictures than good variety.

use super::enrol::place_part;
use super::settings::{InspectError, PROMPTS_MAX, Settings};
use crate::oneprompt::{OnePrompt, Patches};
use crate::picture::Picture;
use crate::recipe::Tiles;

/// Most good parts to choose from: they are all in memory.
pub const GOOD_PARTS_MAX: usize = 256;
/// Blocks per side over which patches are averaged: what differs between good parts is larger than a patch.
const BLOCKS: usize = 8;
/// A prompt that brings the parts closer by less than this share of what the first one did is not worth its
/// time and memory.
const GAIN_MIN: f32 = 0.01;

/// A good part that is kept, and those that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The part, counted from 0.
    pub index: usize,
    /// The others that are closer to it than to any other kept one.
    pub stands_for: Vec<usize>,
}

/// Chooses at most `keep` of `parts`, in their order. All must fit the first one, as prompts do.
///
/// One encode run per part; `progress` is called after each.
///
/// # Errors
/// No part or more than [`GOOD_PARTS_MAX`], a region outside the pictures, or a part that does not fit.
pub fn choose_prompts(
    model: &mut OnePrompt,
    parts: &[&Picture],
    settings: &Settings,
    keep: usize,
    mut progress: impl FnMut(),
) -> Result<Vec<Choice>, InspectError> {
    let first = parts.first().filter(|_| parts.len() <= GOOD_PARTS_MAX);
    let first = *first.ok_or(InspectError::PromptCount { given: parts.len() })?;
    let mut locator = super::locator(first, settings)?;
    let mut signatures = Vec::with_capacity(parts.len());
    let (_, encoder, _) = model.halves();
    for (index, part) in parts.iter().enumerate() {
        let place = place_part(index, part, first, settings, &mut locator)?;
        let encoded = place
            .load(encoder, part, settings.region_of_interest, Tiles::ONE)
            .and_then(|_| encoder.tile(0))
            .map_err(|error| InspectError::Prompt { index, error })?;
        signatures.push(signature(&encoded.features.patches()));
        progress();
    }
    Ok(choose(parts.len(), keep.clamp(1, PROMPTS_MAX), |a, b| {
        distance(&signatures[a], &signatures[b])
    }))
}

/// Means of the patches over blocks, each of length 1.
fn signature(patches: &Patches<'_>) -> Vec<f32> {
    let (width, height, dim) = (patches.width as usize, patches.height as usize, patches.dim);
    let blocks = |n: usize| BLOCKS.min(n);
    let (columns, rows) = (blocks(width), blocks(height));
    let mut sums = vec![0.0; columns * rows * dim];
    for y in 0..height {
        for x in 0..width {
            let block = (y * rows / height) * columns + x * columns / width;
            let sum = &mut sums[block * dim..][..dim];
            let patch = patches.at(x as u32, y as u32);
            sum.iter_mut().zip(patch).for_each(|(sum, v)| *sum += v);
        }
    }
    for block in sums.chunks_exact_mut(dim) {
        let length = block.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        block.iter_mut().for_each(|v| *v /= length);
    }
    sums
}

/// Sum over the blocks of 1 - cosine, up to a factor.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

fn choose(count: usize, keep: usize, measure: impl Fn(usize, usize) -> f32) -> Vec<Choice> {
    // Each pair is asked for again with every prompt, and costs thousands of products.
    let pairs = (0..count).flat_map(|a| (0..count).map(move |b| (a, b)));
    let distances: Vec<f32> = pairs.map(|(a, b)| measure(a, b)).collect();
    let distance = |a: usize, b: usize| distances[a * count + b];
    let mut nearest: Vec<(f32, usize)> = vec![(f32::INFINITY, 0); count];
    let mut chosen: Vec<usize> = Vec::new();
    let mut first_gain = 0.0;
    while chosen.len() < keep.min(count) {
        // What everything would still be away from its prompt, for every candidate.
        let left = |candidate: usize| -> f32 {
            (0..count).map(|i| distance(i, candidate).min(nearest[i].0)).sum()
        };
        let candidates = (0..count).filter(|i| !chosen.contains(i)).map(|i| (i, left(i)));
        let Some((best, left)) = candidates.min_by(|a, b| a.1.total_cmp(&b.1)) else { break };
        let before: f32 = nearest.iter().map(|(d, _)| d).sum();
        match chosen.len() {
            0 => first_gain = left,
            _ if before - left <= GAIN_MIN * first_gain => break,
            _ => {}
        }
        for (i, near) in nearest.iter_mut().enumerate() {
            let to_best = distance(i, best);
            if to_best < near.0 {
                *near = (to_best, best);
            }
        }
        chosen.push(best);
    }
    chosen.sort_unstable();
    let stands_for = |index: usize| {
        let own = |i: &usize| nearest[*i].1 == index && *i != index && !chosen.contains(i);
        (0..count).filter(own).collect()
    };
    chosen.iter().map(|&index| Choice { index, stands_for: stands_for(index) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn on_a_line(places: &[f32], keep: usize) -> Vec<Choice> {
        choose(places.len(), keep, |a, b| (places[a] - places[b]).powi(2))
    }

    #[test]
    fn a_prompt_from_the_middle_of_each_kind_and_the_odd_one_last() {
        // Two kinds of good parts, and one picture that is like nothing else.
        let places = [0.0, 0.1, 0.2, 5.0, 5.1, 5.2, 9.0];
        let two = on_a_line(&places, 2);
        assert_eq!(two[0], Choice { index: 1, stands_for: vec![0, 2] });
        assert_eq!(two[1], Choice { index: 3, stands_for: vec![4, 5, 6] });
        let three: Vec<usize> = on_a_line(&places, 3).iter().map(|c| c.index).collect();
        assert_eq!(three, [1, 3, 6]);
    }

    #[test]
    fn more_of_the_same_is_not_kept() {
        let same = on_a_line(&[3.0; 40], 10);
        assert_eq!(same.len(), 1);
        assert_eq!(same[0].stands_for.len(), 39);
    }

    proptest! {
        #[test]
        fn every_part_has_one_prompt(
            places in prop::collection::vec(-10.0f32..10.0, 1..60), keep in 1..40usize,
        ) {
            let chosen = on_a_line(&places, keep);
            prop_assert!((1..=keep.min(places.len())).contains(&chosen.len()));
            let mut all: Vec<usize> =
                chosen.iter().flat_map(|c| c.stands_for.iter().copied().chain([c.index])).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..places.len()).collect::<Vec<_>>());
        }
    }
}
