//! What a demo found out, as numbers, as one HTML page, and as a folder.
//!
//! The page needs nothing but itself and the pictures beside it: no script, no
//! font, no network.

mod charts;
mod html;
mod style;

pub use html::{GENERATOR, page};

use serde::Serialize;

use crate::latency::Latency;
use crate::line::Counters;

/// What became of one part.
#[derive(Clone, Debug, PartialEq)]
pub struct PartResult {
    /// Number of the part.
    pub part: u32,
    /// What is wrong with it; `None` for a good part.
    pub defect: Option<String>,
    /// What the actuator really did.
    pub ejected: bool,
    /// Name of the reason; `ok` for a pass.
    pub reason: String,
    /// Greatest value of the map, 0..1.
    pub score: f32,
    /// Joint p-value.
    pub p_value: f64,
    /// What the judgement took; 0 if there was none.
    pub judge_us: u64,
    /// Trigger to outcome.
    pub total_us: u64,
}

/// Right or wrong, and in which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// A good part that passed.
    GoodPassed,
    /// A good part that was ejected.
    FalseReject,
    /// A defective part that was ejected.
    Caught,
    /// A defective part that passed.
    Escaped,
}

impl PartResult {
    /// Right or wrong, and in which way.
    pub fn fate(&self) -> Fate {
        match (self.defect.is_some(), self.ejected) {
            (false, false) => Fate::GoodPassed,
            (false, true) => Fate::FalseReject,
            (true, true) => Fate::Caught,
            (true, false) => Fate::Escaped,
        }
    }
}

/// A share of a count, with the interval that a repetition would probably
/// fall into.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// How many.
    pub count: u64,
    /// Of how many.
    pub of: u64,
    /// `count / of`; `None` of nothing.
    pub rate: Option<f64>,
    /// 95 % interval (Wilson).
    pub interval95: Option<[f64; 2]>,
}

impl Rate {
    /// `count` of `of`.
    pub fn new(count: u64, of: u64) -> Self {
        if of == 0 {
            return Self { count, of, rate: None, interval95: None };
        }
        const Z: f64 = 1.959_964;
        let n = of as f64;
        let p = count as f64 / n;
        let scale = 1.0 + Z * Z / n;
        let centre = (p + Z * Z / (2.0 * n)) / scale;
        let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let interval = [(centre - half).max(0.0), (centre + half).min(1.0)];
        Self { count, of, rate: Some(p), interval95: Some(interval) }
    }
}

/// Percentiles of a duration in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Half took no longer.
    pub p50: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
    /// None took longer.
    pub max: u64,
}

impl From<&Latency> for Percentiles {
    fn from(latency: &Latency) -> Self {
        Self { p50: latency.p50_us(), p99: latency.p99_us(), max: latency.max_us() }
    }
}

/// One kind of defect.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DefectRate {
    /// Its name.
    pub defect: String,
    /// Parts with it, and how many of them were ejected.
    pub ejected: Rate,
}

/// What was set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// The product.
    pub part: String,
    /// Good parts taught.
    pub prompts: u32,
    /// The seed.
    pub seed: u64,
    /// Parts per minute on the line.
    pub parts_per_minute: f64,
    /// Good parts that may be rejected, per million.
    pub false_reject_ppm: u32,
    /// Trigger to actuator, in milliseconds.
    pub travel_ms: u32,
    /// Share of parts with a defect.
    pub defect_rate: f32,
    /// Model id.
    pub model: String,
    /// Hash of the model's graphs.
    pub model_hash: String,
    /// Engine and threads.
    pub engine: String,
}

/// What a demo found out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Parts that passed the actuator.
    pub parts: u64,
    /// Defective parts that were ejected.
    pub recall: Rate,
    /// Good parts that were ejected.
    pub false_rejects: Rate,
    /// Defective parts that passed.
    pub escapes: u64,
    /// Recall of each kind of defect.
    pub by_defect: Vec<DefectRate>,
    /// What a judgement took, by the wall clock.
    pub judge_us: Percentiles,
    /// Trigger to outcome, on the line's clock.
    pub total_us: Percentiles,
    /// Parts that this machine can judge per second.
    pub parts_per_s: f64,
    /// What was set.
    pub setting: Setting,
    /// The line's counters.
    pub counters: Counters,
}

impl Summary {
    /// Counts what really happened.
    pub fn new(parts: &[PartResult], setting: Setting, counters: Counters) -> Self {
        let count = |fate: Fate| parts.iter().filter(|p| p.fate() == fate).count() as u64;
        let (caught, escaped) = (count(Fate::Caught), count(Fate::Escaped));
        let (good, false_rejects) = (count(Fate::GoodPassed), count(Fate::FalseReject));
        let mut kinds: Vec<&str> = parts.iter().filter_map(|p| p.defect.as_deref()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let by_defect = kinds
            .into_iter()
            .map(|kind| {
                let of_kind = || parts.iter().filter(move |p| p.defect.as_deref() == Some(kind));
                let ejected = of_kind().filter(|p| p.ejected).count() as u64;
                let ejected = Rate::new(ejected, of_kind().count() as u64);
                DefectRate { defect: kind.to_owned(), ejected }
            })
            .collect();
        let (mut judge, mut total) = (Latency::default(), Latency::default());
        for part in parts {
            total.add(part.total_us);
            if part.judge_us > 0 {
                judge.add(part.judge_us);
            }
        }
        let mean = judge.mean_us();
        Self {
            parts: parts.len() as u64,
            recall: Rate::new(caught, caught + escaped),
            false_rejects: Rate::new(false_rejects, good + false_rejects),
            escapes: escaped,
            by_defect,
            judge_us: Percentiles::from(&judge),
            total_us: Percentiles::from(&total),
            parts_per_s: if mean == 0 { 0.0 } else { 1e6 / mean as f64 },
            setting,
            counters,
        }
    }
}

/// A picture of the report.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// File, relative to the page.
    pub file: String,
    /// Width and height.
    pub size: (u32, u32),
    /// One line under it.
    pub caption: String,
}

/// Pictures that belong together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gallery {
    /// Its heading.
    pub title: String,
    /// What is to be seen.
    pub remark: String,
    /// The pictures.
    pub shown: Vec<Shown>,
}

#[cfg(test)]
pub mod tests {
    //! A made-up run, and tests of the counting.

    use super::*;

    /// `n` parts, every fifth defective, with one escape and one false reject.
    pub fn run_of(n: u32) -> Vec<PartResult> {
        (0..n)
            .map(|part| {
                let kind = ["scratch", "dent", "missing-hole"][(part / 5 % 3) as usize];
                let defect = (part % 5 == 4).then(|| kind.to_owned());
                let wrong = part == 14 || part == 7;
                let ejected = defect.is_some() != wrong;
                let spread = f64::from(part * 7919 % 97) / 97.0;
                let p_value = match ejected {
                    true => 10f64.powf(-3.5 - 8.0 * spread),
                    false => 10f64.powf(-2.8 * spread * spread),
                };
                PartResult {
                    part,
                    defect,
                    ejected,
                    reason: if ejected { "change" } else { "ok" }.to_owned(),
                    score: if ejected { 0.9 } else { 0.1 },
                    p_value,
                    judge_us: 38_000 + (spread * 9000.0) as u64,
                    total_us: 52_000 + (spread * 20_000.0) as u64,
                }
            })
            .collect()
    }

    /// Settings for [`run_of`].
    pub fn setting() -> Setting {
        Setting {
            part: "bracket".to_owned(),
            prompts: 1,
            seed: 1,
            parts_per_minute: 600.0,
            false_reject_ppm: 1000,
            travel_ms: 600,
            defect_rate: 0.2,
            model: "oneprompt-m".to_owned(),
            model_hash: "0123456789abcdef".to_owned(),
            engine: "tract, 2 threads".to_owned(),
        }
    }

    #[test]
    fn counts_what_happened() {
        let parts = run_of(50);
        let summary = Summary::new(&parts, setting(), Counters::default());
        assert_eq!((summary.recall.count, summary.recall.of, summary.escapes), (9, 10, 1));
        assert_eq!((summary.false_rejects.count, summary.false_rejects.of), (1, 40));
        assert_eq!(summary.by_defect.iter().map(|d| d.ejected.of).sum::<u64>(), 10);
        let [low, high] = summary.recall.interval95.unwrap();
        assert!(low < 0.9 && 0.9 < high);
        assert!(summary.parts_per_s > 20.0 && summary.parts_per_s < 27.0);
    }

    #[test]
    fn wilson_by_hand() {
        let rate = Rate::new(9, 10);
        let [low, high] = rate.interval95.unwrap();
        assert!((low - 0.5958).abs() < 1e-3 && (high - 0.9821).abs() < 1e-3, "{low} {high}");
        assert_eq!(Rate::new(0, 0).rate, None);
        assert!(Rate::new(10, 10).interval95.unwrap()[1] <= 1.0);
    }

    #[test]
    fn nothing_at_all_makes_a_summary_too() {
        let summary = Summary::new(&[], setting(), Counters::default());
        assert_eq!(summary.recall.rate, None);
        let json = serde_json::to_string(&summary).unwrap();
        assert!(json.contains("\"rate\":null"), "{json}");
    }
}
