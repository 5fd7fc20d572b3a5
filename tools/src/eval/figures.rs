//! The figures of one category under one variant, and their means over categories and sets.

use std::collections::BTreeMap;

use super::dataset::Category;
use super::metrics::boxes::{FALSE_REGIONS_PER_PICTURE, FALSE_REGIONS_STRICT};
use super::metrics::pixels::CoarseBins;
use super::metrics::{
    BoxSweep, Confusion, Estimate, HitCurve, MetricError, PixelTally, Pool, Resampler, auroc,
    average_precision,
};
use super::tally::Tally;

/// Everything that is measured. The order is that of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Pixel average precision.
    PixelAp,
    /// Pixel AUROC.
    PixelAuroc,
    /// Per-region overlap to a false-positive rate of 0.3.
    Pro,
    /// Boxes hit at half a false region per picture.
    BoxesHit,
    /// Picture AUROC.
    PictureAuroc,
    /// Picture average precision.
    PictureAp,
    /// F1 at the threshold fixed on good pictures.
    F1,
    /// Share of the defective pictures above that threshold.
    Found,
    /// False alarms per clean picture at that threshold.
    FalseAlarms,
    /// F1 of the detector's own verdicts.
    VerdictF1,
    /// Share of the defective pictures that the detector rejects.
    VerdictFound,
    /// Clean pictures that the detector rejects, per clean picture.
    VerdictFalseAlarms,
}

impl Metric {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 12] = [
        Self::PixelAp,
        Self::PixelAuroc,
        Self::Pro,
        Self::BoxesHit,
        Self::PictureAuroc,
        Self::PictureAp,
        Self::F1,
        Self::Found,
        Self::FalseAlarms,
        Self::VerdictF1,
        Self::VerdictFound,
        Self::VerdictFalseAlarms,
    ];

    /// Key in JSON and heading in tables.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::PixelAp => ("pixel_ap", "px AP"),
            Self::PixelAuroc => ("pixel_auroc", "px AUROC"),
            Self::Pro => ("pro", "PRO"),
            Self::BoxesHit => ("boxes_hit", "boxes"),
            Self::PictureAuroc => ("image_auroc", "img AUROC"),
            Self::PictureAp => ("image_ap", "img AP"),
            Self::F1 => ("f1", "F1"),
            Self::Found => ("found", "found"),
            Self::FalseAlarms => ("false_alarms", "false al."),
            Self::VerdictF1 => ("verdict_f1", "verd. F1"),
            Self::VerdictFound => ("verdict_found", "v. found"),
            Self::VerdictFalseAlarms => ("verdict_false_alarms", "v. false"),
        }
    }
}

/// Figures by metric; a metric that does not apply is absent.
pub type Figures = BTreeMap<Metric, Estimate>;

/// One category under one variant.
#[derive(Clone, Debug)]
pub struct CategoryFigures {
    /// Highest score of the held-out good pictures: what scores above it counts as rejected.
    pub threshold: Option<f32>,
    /// The figures.
    pub figures: Figures,
    /// Box counts per picture, kept for the figures pooled over the set.
    pub sweeps: Vec<BoxSweep>,
}

/// Measures one category; `held_out` are scores of good pictures that were not enrolled.
///
/// # Errors
/// A figure that applies but has no value.
pub fn measure(
    category: &Category,
    tallies: &[Tally],
    held_out: &[f32],
    resamples: usize,
) -> Result<CategoryFigures, MetricError> {
    let defective: Vec<bool> = category.samples.iter().map(|s| s.defective).collect();
    // A fixed rule that has no constant to tune: with n held-out pictures, a good one exceeds the
    // highest of them once in n + 1 times. It also holds for scores that saturate, where a mean
    // and a deviation would not.
    let threshold = held_out.iter().copied().reduce(f32::max);
    let data = Data {
        scores: tallies.iter().map(|t| t.score).collect(),
        by_threshold: threshold.map(|t| tallies.iter().map(|x| x.score > t).collect()),
        by_verdict: tallies.iter().map(|t| t.reject).collect(),
        pixels: tallies.iter().map(|t| t.pixels.as_ref()).collect(),
        boxes: tallies.iter().map(|t| t.boxes.as_ref()).collect(),
        pictures: category.has_picture_metrics(),
        defective,
    };
    let everything: Vec<usize> = (0..tallies.len()).collect();
    let mut full = Pool::default();
    let mut values = data.pictures_figures(&everything)?;
    data.pixel_figures(&everything, data.pixels.as_deref(), &mut full, &mut values)?;
    let mut figures: Figures =
        values.into_iter().map(|(metric, value)| (metric, Estimate::exact(value))).collect();

    let coarse = CoarseBins::for_pool(&full);
    let small: Option<Vec<PixelTally>> =
        data.pixels.as_ref().map(|p| p.iter().map(|t| t.coarsened(&coarse)).collect());
    let small: Option<Vec<&PixelTally>> = small.as_ref().map(|s| s.iter().collect());
    let mut pool = coarse.pool();
    let mut resampler = Resampler::new(&category.label(), &data.defective);
    let mut draw = Vec::new();
    for _ in 0..resamples {
        resampler.draw(&mut draw);
        let mut values = data.pictures_figures(&draw)?;
        data.pixel_figures(&draw, small.as_deref(), &mut pool, &mut values)?;
        for (metric, value) in values {
            figures.entry(metric).or_default().replicates.push(value);
        }
    }
    Ok(CategoryFigures {
        threshold,
        figures,
        sweeps: tallies.iter().filter_map(|t| t.boxes.clone()).collect(),
    })
}

/// A category's tallies by kind of figure, so that resamples can be taken from each.
struct Data<'a> {
    defective: Vec<bool>,
    scores: Vec<f32>,
    by_threshold: Option<Vec<bool>>,
    /// `None` unless every picture has a verdict.
    by_verdict: Option<Vec<bool>>,
    pixels: Option<Vec<&'a PixelTally>>,
    boxes: Option<Vec<&'a BoxSweep>>,
    pictures: bool,
}

impl Data<'_> {
    fn pictures_figures(&self, draw: &[usize]) -> Result<Vec<(Metric, f64)>, MetricError> {
        if !self.pictures {
            return Ok(Vec::new());
        }
        let labels: Vec<bool> = draw.iter().map(|&i| self.defective[i]).collect();
        let scores: Vec<f32> = draw.iter().map(|&i| self.scores[i]).collect();
        let mut out = vec![
            (Metric::PictureAuroc, auroc(&scores, &labels)?),
            (Metric::PictureAp, average_precision(&scores, &labels)?),
        ];
        let decided = [
            (&self.by_threshold, [Metric::F1, Metric::Found, Metric::FalseAlarms]),
            (
                &self.by_verdict,
                [Metric::VerdictF1, Metric::VerdictFound, Metric::VerdictFalseAlarms],
            ),
        ];
        for (rejected, [f1, found, false_alarms]) in decided {
            if let Some(rejected) = rejected {
                let rejected: Vec<bool> = draw.iter().map(|&i| rejected[i]).collect();
                let counts = Confusion::count(&rejected, &labels)?;
                out.push((f1, counts.f1()));
                out.push((found, counts.found_share()));
                out.push((false_alarms, counts.false_alarm_share()));
            }
        }
        Ok(out)
    }

    fn pixel_figures(
        &self,
        draw: &[usize],
        pixels: Option<&[&PixelTally]>,
        pool: &mut Pool,
        out: &mut Vec<(Metric, f64)>,
    ) -> Result<(), MetricError> {
        if let Some(pixels) = pixels {
            pool.clear();
            draw.iter().for_each(|&i| pool.add(pixels[i]));
            out.push((Metric::PixelAp, pool.average_precision()?));
            out.push((Metric::PixelAuroc, pool.auroc()?));
            out.push((Metric::Pro, pool.pro()?));
        }
        if let Some(boxes) = &self.boxes {
            let curve = HitCurve::of(draw.iter().map(|&i| boxes[i]), None)?;
            out.push((Metric::BoxesHit, curve.at(FALSE_REGIONS_PER_PICTURE)));
        }
        Ok(())
    }
}

/// Plain mean of each metric over those that have it.
pub fn mean(of: &[&Figures]) -> Figures {
    let mut out = Figures::new();
    for metric in Metric::ALL {
        let estimates: Vec<&Estimate> = of.iter().filter_map(|f| f.get(&metric)).collect();
        if let Some(mean) = Estimate::mean(&estimates) {
            out.insert(metric, mean);
        }
    }
    out
}

/// Box figures of a set under one threshold for all its categories.
#[derive(Clone, Debug, PartialEq)]
pub struct PooledBoxes {
    /// Boxes hit at half a false region per picture.
    pub hit: Estimate,
    /// Boxes hit at a tenth of a false region per picture.
    pub hit_strict: Estimate,
    /// Number of boxes, and the share hit, by type, at the same threshold.
    pub by_type: BTreeMap<String, (usize, f64)>,
}

/// Pools the pictures of a set; `None` if it has no boxes.
///
/// # Errors
/// None of these pictures has a box.
pub fn pool_boxes(
    set: &str,
    sweeps: &[&BoxSweep],
    resamples: usize,
) -> Result<Option<PooledBoxes>, MetricError> {
    if sweeps.is_empty() {
        return Ok(None);
    }
    let curve = HitCurve::of(sweeps.iter().copied(), None)?;
    let mut hit = Estimate::exact(curve.at(FALSE_REGIONS_PER_PICTURE));
    let mut hit_strict = Estimate::exact(curve.at(FALSE_REGIONS_STRICT));
    let mut resampler = Resampler::new(set, &vec![true; sweeps.len()]);
    let mut draw = Vec::new();
    for _ in 0..resamples {
        resampler.draw(&mut draw);
        let curve = HitCurve::of(draw.iter().map(|&i| sweeps[i]), None)?;
        hit.replicates.push(curve.at(FALSE_REGIONS_PER_PICTURE));
        hit_strict.replicates.push(curve.at(FALSE_REGIONS_STRICT));
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for kind in sweeps.iter().flat_map(|s| s.kinds()) {
        *counts.entry(kind.clone()).or_default() += 1;
    }
    let step = curve.threshold_at(FALSE_REGIONS_PER_PICTURE);
    let mut by_type = BTreeMap::new();
    for (kind, count) in counts {
        let of_kind = HitCurve::of(sweeps.iter().copied(), Some(&kind))?;
        let share = step.map_or(0.0, |step| of_kind.hit_rate[step]);
        by_type.insert(kind, (count, share));
    }
    Ok(Some(PooledBoxes { hit, hit_strict, by_type }))
}
