//! Template differencing: the honest baseline that needs no network. Four usual forms in one pass.

use touchstone_models::map::Map;
use touchstone_models::picture::Picture;

use super::Detector;
use crate::eval::filter::gaussian;
use crate::eval::observation::Observation;

/// Pictures are compared at this size, the size of the network's input.
const SIDE: u32 = 256;

/// Blur before differencing, in cells: against noise and the resampling's own ringing.
const SMOOTHING: f32 = 0.7;

/// The local mean that `levelled` removes is over this many cells (standard deviation).
const LEVEL: f32 = 16.0;

/// `shifted` looks this many cells around for a match.
const SHIFT: i64 = 3;

/// The forms: plain grey difference; after removing the local mean (light); the least difference
/// within a small shift (position); the plain one gathered over a wide blur (large, faint defects).
pub const FORMS: [&str; 4] = ["absolute", "levelled", "shifted", "gathered"];

/// Blur after differencing per form, in cells. Small gaps and edges matter to the first two.
const GATHERING: [f32; 4] = [0.0, 0.0, 2.0, 6.0];

/// Template differencing against the nearest of the prompts, cell by cell.
#[derive(Default)]
pub struct Difference {
    prompts: Vec<Views>,
}

/// A picture as the forms see it.
struct Views {
    grey: Map,
    levelled: Map,
}

impl Views {
    fn of(picture: &Picture) -> Self {
        let small = picture.resize(SIDE, SIDE);
        // BT.601 luma: grey as cameras make it.
        let values = small.rgb().chunks_exact(3).map(|p| {
            (0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2])) / 255.0
        });
        let sharp = Map { width: SIDE, height: SIDE, values: values.collect() };
        let grey = gaussian(&sharp, SMOOTHING);
        let mean = gaussian(&grey, LEVEL);
        let levelled = zip(&grey, &mean, |g, m| g - m);
        Self { grey, levelled }
    }
}

impl Detector for Difference {
    fn enrol(&mut self, prompts: &[Picture], _: &[Picture]) -> anyhow::Result<()> {
        self.prompts = prompts.iter().map(Views::of).collect();
        Ok(())
    }

    fn observe(&mut self, query: &Picture) -> anyhow::Result<Observation> {
        let query = Views::of(query);
        let mut least: Option<[Map; 4]> = None;
        for prompt in &self.prompts {
            let distance = |a: f32, b: f32| (a - b).abs();
            let maps = [
                zip(&query.grey, &prompt.grey, distance),
                zip(&query.levelled, &prompt.levelled, distance),
                least_within_shift(&query.levelled, &prompt.levelled),
                zip(&query.grey, &prompt.grey, distance),
            ];
            least = Some(match least {
                None => maps,
                Some(before) => std::array::from_fn(|i| zip(&before[i], &maps[i], |a, b| a.min(b))),
            });
        }
        let Some(maps) = least else {
            anyhow::bail!("template differencing: no prompt enrolled");
        };
        let mut seen = Observation::default();
        for ((name, map), sigma) in FORMS.iter().zip(maps).zip(GATHERING) {
            seen.map(name, gaussian(&map, sigma));
        }
        Ok(seen)
    }
}

fn zip(a: &Map, b: &Map, f: impl Fn(f32, f32) -> f32) -> Map {
    let values = a.values.iter().zip(&b.values).map(|(&a, &b)| f(a, b));
    Map { width: a.width, height: a.height, values: values.collect() }
}

/// Distance of each query cell to the prompt's range of values around that place. The range of a
/// window takes two passes of [`SHIFT`] neighbours, and is what a small shift can explain.
fn least_within_shift(query: &Map, prompt: &Map) -> Map {
    let low = extreme(prompt, f32::min);
    let high = extreme(prompt, f32::max);
    let mut out = query.clone();
    for (i, value) in out.values.iter_mut().enumerate() {
        *value = (low.values[i] - *value).max(*value - high.values[i]).max(0.0);
    }
    out
}

fn extreme(map: &Map, f: fn(f32, f32) -> f32) -> Map {
    let side = i64::from(SIDE);
    let pass = |from: &Map, step: &dyn Fn(i64, i64, i64) -> (i64, i64)| {
        let mut out = from.clone();
        for y in 0..side {
            for x in 0..side {
                let around = (-SHIFT..=SHIFT).map(|d| {
                    let (x, y) = step(x, y, d);
                    from.values[(y.clamp(0, side - 1) * side + x.clamp(0, side - 1)) as usize]
                });
                let start = from.values[(y * side + x) as usize];
                out.values[(y * side + x) as usize] = around.fold(start, f);
            }
        }
        out
    };
    pass(&pass(map, &|x, y, d| (x + d, y)), &|x, y, d| (x, y + d))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(shift: u32, level: u8, spot: bool) -> Picture {
        let mut rgb = Vec::new();
        for y in 0..128u32 {
            for x in 0..128u32 {
                let light = ((x + shift) / 16).is_multiple_of(2);
                let stripe = if light { 60 } else { 0 };
                let dark = spot && (56..80).contains(&x) && (56..80).contains(&y);
                let value = if dark { 0 } else { level + stripe };
                rgb.extend([value; 3]);
            }
        }
        Picture::from_rgb8(128, 128, rgb).unwrap()
    }

    fn peaks(prompts: &[Picture], query: &Picture) -> Vec<f32> {
        let mut detector = Difference::default();
        detector.enrol(prompts, &[]).unwrap();
        let seen = detector.observe(query).unwrap();
        assert_eq!(seen.maps.len(), FORMS.len());
        seen.maps.iter().map(|(_, m)| m.max()).collect()
    }

    #[test]
    fn the_same_picture_is_no_difference() {
        let good = picture(0, 90, false);
        assert_eq!(peaks(std::slice::from_ref(&good), &good), [0.0; 4]);
    }

    #[test]
    fn every_form_sees_a_stain_where_it_is() {
        let mut detector = Difference::default();
        detector.enrol(&[picture(0, 90, false)], &[]).unwrap();
        let seen = detector.observe(&picture(0, 90, true)).unwrap();
        for (name, map) in &seen.maps {
            let inside = map.at(136, 136).max(map.at(136, 114)).max(map.at(114, 136));
            assert!(inside > 0.04, "{name}: {inside}");
            assert!(map.at(30, 30) < 0.01, "{name}");
        }
    }

    #[test]
    fn light_and_shift_move_only_the_forms_they_should() {
        let good = [picture(0, 90, false)];
        let brighter = peaks(&good, &picture(0, 120, false));
        assert!(brighter[0] > 0.1 && brighter[1] < 0.01 && brighter[2] < 0.01, "{brighter:?}");
        let moved = peaks(&good, &picture(1, 90, false));
        assert!(moved[2] < 0.7 * moved[1], "{moved:?}");
    }

    #[test]
    fn the_nearest_prompt_counts() {
        let both = [picture(0, 90, false), picture(8, 90, false)];
        assert_eq!(peaks(&both, &both[1])[0], 0.0);
        let mut none = Difference::default();
        assert!(none.observe(&both[0]).is_err());
    }
}
