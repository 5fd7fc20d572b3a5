//! What an inspection gives.

use crate::drift::DriftWarning;
use crate::map::Map;
use crate::picture::Rect;
use crate::registration::Pose;
use crate::verdict::{Decision, Reason, Region, Witness, WitnessReport};
use serde::{Deserialize, Serialize};

/// Time of the inspector's stages, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageLatency {
    /// Registration, crop, resize, normalise.
    pub preprocess: u64,
    /// The encode graph.
    pub encode: u64,
    /// The segment graph.
    pub segment: u64,
    /// Posteriors, fusion, regions, decision.
    pub score: u64,
}

/// The result of one part.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Pass, or reject with the reason.
    pub decision: Decision,
    /// How unlike the good parts the part is, 0..1, to rank parts by: the joint witness's p-value as a score,
    /// one half where one good part in a thousand lies. What the joint witness goes by is made half of the
    /// level of the position map's smoothed peak, a quarter of the peak of the fused map, a quarter of that of
    /// the nearest-neighbour map; with several prompts it hears the whole picture as well. Of several tiles
    /// the highest, averaged with the whole picture's. 1 if the part could not be scored.
    pub score: f32,
    /// Joint p-value; 0 if the part could not be scored.
    pub p_value: f64,
    /// What each witness said.
    pub witnesses: WitnessReport,
    /// Where a rejected part differs, worst first; none for a passed part.
    pub regions: Vec<Region>,
    /// The fused map, over [`Inspection::area`]; `None` if the part could not be scored.
    pub map: Option<Map>,
    /// The rectangle of the query picture that the map covers.
    pub area: Rect,
    /// How the part lies against the first prompt; as taught where parts are not registered, or where no
    /// other place was convincing.
    pub pose: Pose,
    /// That the parts which pass are no longer like those before, this one being the last straw.
    pub drift: Option<DriftWarning>,
    /// Time of each stage.
    pub latency: StageLatency,
}

impl Inspection {
    /// A reject that no score stands behind.
    pub fn rejected(reason: Reason, latency: StageLatency) -> Self {
        Inspection {
            decision: Decision::Reject(reason),
            score: 1.0,
            p_value: 0.0,
            witnesses: WitnessReport::default(),
            regions: Vec::new(),
            map: None,
            area: Rect { x: 0, y: 0, w: 0, h: 0 },
            pose: Pose::IDENTITY,
            drift: None,
            latency,
        }
    }

    /// The map at the size of the query picture, zero outside the region of interest.
    pub fn full_map(&self, width: u32, height: u32) -> Option<Map> {
        let (map, area) = (self.map.as_ref()?, self.area);
        area.check_within(width, height).ok()?;
        let inner = map.resize(area.w, area.h);
        let mut values = vec![0.0; width as usize * height as usize];
        for (y, row) in inner.values.chunks_exact(area.w as usize).enumerate() {
            let start = (area.y as usize + y) * width as usize + area.x as usize;
            values[start..start + row.len()].copy_from_slice(row);
        }
        Map::new(width, height, values)
    }
}

/// Raw statistics of one picture, for fitting the priors of a model card.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// Logit of the smoothed change peak.
    pub change: f64,
    /// ln of the smoothed position peak.
    pub position: f64,
    /// Logit of the score that joins all maps.
    pub local: f64,
    /// ln of `delta / D` of the pooled features.
    pub image: f64,
}

/// A prompt that the other prompts do not agree with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SuspiciousPrompt {
    /// Which one, counted from 0 in the order given.
    pub index: usize,
    /// Joint p-value under the other prompts.
    pub p_value: f64,
    /// The witness that objects most.
    pub witness: Witness,
}
