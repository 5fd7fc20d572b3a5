//! The verdict on a part: pass, or reject with a reason.
//!
//! Reject is the zero value. [`Decision::Pass`] carries a token that only [`decide`] can make, so
//! there is one place in the whole product where a part can come to pass, and it is the last
//! function of this file's first half.

use crate::calibration::bonferroni;
use crate::drift::DriftWarning;
use crate::registration::Pose;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most regions of one verdict; the worst are kept.
pub const REGIONS_MAX: usize = 64;
/// Least false-reject rate that can be asked for: one part in a million.
pub const FALSE_REJECT_PPM_MIN: u32 = 1;
pub use crate::recipe::FALSE_REJECT_PPM_MAX;

/// A false-reject rate in parts per million, within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FalseRejectRate(u32);

impl FalseRejectRate {
    /// The rate, or `None` outside [`FALSE_REJECT_PPM_MIN`]..=[`FALSE_REJECT_PPM_MAX`].
    pub fn from_ppm(ppm: u32) -> Option<Self> {
        (FALSE_REJECT_PPM_MIN..=FALSE_REJECT_PPM_MAX).contains(&ppm).then_some(Self(ppm))
    }

    /// Parts per million.
    pub fn ppm(self) -> u32 {
        self.0
    }

    /// As a probability.
    pub fn probability(self) -> f64 {
        f64::from(self.0) * 1e-6
    }
}

/// Who looked at the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// The one-prompt change map.
    Change,
    /// Student-t novelty per position.
    Position,
    /// All maps and the whole picture together.
    Joint,
    /// Student-t novelty of the whole picture.
    Image,
}

impl Witness {
    /// The witness's part of the false-reject rate. Together they make 1.
    ///
    /// Fixed once. The joint witness ranks best over the development sets, because those that agree count
    /// for more than one that is sure; each alone keeps enough to object to what the others cannot see.
    pub const fn share(self) -> f64 {
        match self {
            Witness::Change => 0.05,
            Witness::Position => 0.2,
            Witness::Joint => 0.7,
            Witness::Image => 0.05,
        }
    }
}

/// What one witness says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Testimony {
    /// The raw statistic: logit of the change peak, ln of the position peak, or image `delta/D`.
    pub statistic: f64,
    /// Probability that a good part scores at least this much.
    pub p_value: f64,
}

impl Testimony {
    /// Nothing seen yet; never ordinary.
    pub const NONE: Testimony = Testimony { statistic: f64::NAN, p_value: 0.0 };

    fn is_sound(&self) -> bool {
        self.statistic.is_finite() && (0.0..=1.0).contains(&self.p_value)
    }
}

/// What all witnesses say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WitnessReport {
    /// See [`Witness::Change`].
    pub change: Testimony,
    /// See [`Witness::Position`].
    pub position: Testimony,
    /// See [`Witness::Joint`].
    pub joint: Testimony,
    /// See [`Witness::Image`].
    pub image: Testimony,
}

impl Default for WitnessReport {
    fn default() -> Self {
        let none = Testimony::NONE;
        Self { change: none, position: none, joint: none, image: none }
    }
}

/// Number of witnesses; [`Witness::share`] divides the false-reject rate among them.
pub const WITNESSES: usize = 4;

impl WitnessReport {
    /// All testimonies, in the order in which a tie names the reason.
    pub fn all(&self) -> [(Witness, Testimony); WITNESSES] {
        [
            (Witness::Change, self.change),
            (Witness::Position, self.position),
            (Witness::Joint, self.joint),
            (Witness::Image, self.image),
        ]
    }

    /// Joint p-value: `min(1, min p / share)`, valid under any dependence of the witnesses; 0 if
    /// any statistic or p-value is not a number.
    pub fn p_value(&self) -> f64 {
        if self.all().iter().any(|(_, t)| !t.is_sound()) {
            return 0.0;
        }
        bonferroni(&self.all().map(|(witness, t)| (t.p_value, witness.share())))
    }

    /// What is said of a part that was looked at in several places, at each by all witnesses: of each
    /// witness the least p-value times the number of places, which is valid under any dependence, with the
    /// statistic of that place. A place without a sound number stays unsound.
    pub fn of_places(places: &[WitnessReport]) -> WitnessReport {
        let count = places.len() as f64;
        let least = |of: fn(&WitnessReport) -> Testimony| {
            let all = places.iter().map(of);
            let stronger = |a: Testimony, b: Testimony| match (a.is_sound(), b.is_sound()) {
                (true, true) if b.p_value < a.p_value => b,
                (true, false) => b,
                _ => a,
            };
            all.reduce(stronger).map_or(Testimony::NONE, |t| match t.is_sound() {
                true => Testimony { p_value: (t.p_value * count).min(1.0), ..t },
                false => t,
            })
        };
        WitnessReport {
            change: least(|r| r.change),
            position: least(|r| r.position),
            joint: least(|r| r.joint),
            image: least(|r| r.image),
        }
    }

    /// The witness that decides: the one with the smallest p-value for its share.
    pub fn strongest(&self) -> (Witness, Testimony) {
        let less = |a: (Witness, Testimony), b: (Witness, Testimony)| {
            let weighed = |(witness, t): (Witness, Testimony)| t.p_value / witness.share();
            if weighed(b) < weighed(a) { b } else { a }
        };
        let [first, second, third, fourth] = self.all();
        less(less(less(first, second), third), fourth)
    }

    /// Of those that look at one thing each, the one that sees most.
    fn clearest(&self) -> Witness {
        let all = [
            (self.change.p_value, Witness::Change),
            (self.position.p_value, Witness::Position),
            (self.image.p_value, Witness::Image),
        ];
        let least = all.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
        least.map_or(Witness::Position, |(_, witness)| witness)
    }
}

/// Proof that [`decide`] let the part pass. Cannot be made anywhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed(());

/// Pass or reject. The default rejects.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decision {
    /// The part is rejected.
    Reject(Reason),
    /// The part passes; only [`decide`] can say so.
    Pass(Passed),
}

impl Default for Decision {
    fn default() -> Self {
        Decision::Reject(Reason::NoResult)
    }
}

/// The only way to a pass: every witness gave a sound number, and jointly a good part would look
/// this unusual more often than the false-reject rate.
pub fn decide(report: &WitnessReport, rate: FalseRejectRate) -> Decision {
    if report.all().iter().any(|(_, t)| !t.is_sound()) {
        return Decision::Reject(Reason::NotFinite);
    }
    // Written so that a NaN would fail the comparison and reject.
    if report.p_value() > rate.probability() {
        return Decision::Pass(Passed(()));
    }
    let (mut witness, Testimony { p_value, .. }) = report.strongest();
    if witness == Witness::Joint {
        witness = report.clearest();
    }
    Decision::Reject(match witness {
        Witness::Change => Reason::Change { p_value },
        Witness::Position | Witness::Joint => Reason::Novel { p_value },
        Witness::Image => Reason::WrongPart { p_value },
    })
}

impl Decision {
    /// Whether the part passes.
    pub fn is_pass(&self) -> bool {
        matches!(self, Decision::Pass(_))
    }

    /// `pass` or `reject`, as in the JSON line.
    pub fn name(&self) -> &'static str {
        if self.is_pass() { "pass" } else { "reject" }
    }

    /// Stable name of the reason; `ok` for a pass.
    pub fn reason_name(&self) -> &'static str {
        match self {
            Decision::Pass(_) => "ok",
            Decision::Reject(reason) => reason.name(),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Pass(_) => f.write_str("pass"),
            Decision::Reject(reason) => write!(f, "reject: {reason}"),
        }
    }
}

/// Who has to act when a part was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Culprit {
    /// The part is bad: nobody, or whoever makes parts.
    Part,
    /// The operator: teach or activate a recipe.
    Operator,
    /// Trigger, wiring or line timing.
    Line,
    /// The camera, its cable or its driver.
    Camera,
    /// The model package or the engine.
    Model,
}

/// Why a part was rejected. Names are stable: PLC programs and archives rely on them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reason {
    /// No verdict was reached at all; the zero value.
    NoResult,
    /// The verdict came after the part had to be decided.
    Late,
    /// The part was seen without its trigger, or its trigger was lost.
    MissedTrigger,
    /// More parts arrived than can be judged.
    Overload,
    /// The camera gave no frame in time.
    NoFrame,
    /// The only frame was exposed before the part's trigger.
    StaleFrame,
    /// The frame is incomplete.
    TornFrame,
    /// The camera failed or is gone.
    CameraFailed,
    /// The frame's size does not fit the prompts.
    WrongSize,
    /// A NaN or an infinity where a number must be.
    NotFinite,
    /// The inference engine failed.
    EngineFailed,
    /// No recipe is active.
    NoRecipe,
    /// Changed against the good part.
    Change {
        /// The p-value of the witness that objects most: its own, or the joint score's.
        p_value: f64,
    },
    /// Features at some position are unlike any good part's.
    Novel {
        /// The witness's own p-value.
        p_value: f64,
    },
    /// The picture as a whole is unlike the good parts: wrong part, or no part.
    WrongPart {
        /// The witness's own p-value.
        p_value: f64,
    },
}

impl Reason {
    /// Stable snake_case name.
    pub fn name(&self) -> &'static str {
        match self {
            Reason::NoResult => "no_result",
            Reason::Late => "late",
            Reason::MissedTrigger => "missed_trigger",
            Reason::Overload => "overload",
            Reason::NoFrame => "no_frame",
            Reason::StaleFrame => "stale_frame",
            Reason::TornFrame => "torn_frame",
            Reason::CameraFailed => "camera_failed",
            Reason::WrongSize => "wrong_size",
            Reason::NotFinite => "not_finite",
            Reason::EngineFailed => "engine_failed",
            Reason::NoRecipe => "no_recipe",
            Reason::Change { .. } => "change",
            Reason::Novel { .. } => "novel",
            Reason::WrongPart { .. } => "wrong_part",
        }
    }

    /// Who has to act.
    pub fn culprit(&self) -> Culprit {
        match self {
            Reason::Change { .. } | Reason::Novel { .. } | Reason::WrongPart { .. } => {
                Culprit::Part
            }
            Reason::NoRecipe | Reason::WrongSize => Culprit::Operator,
            Reason::NoResult | Reason::Late | Reason::MissedTrigger | Reason::Overload => {
                Culprit::Line
            }
            Reason::NoFrame | Reason::StaleFrame | Reason::TornFrame | Reason::CameraFailed => {
                Culprit::Camera
            }
            Reason::NotFinite | Reason::EngineFailed => Culprit::Model,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoResult => f.write_str("no result"),
            Reason::Late => f.write_str("the result came too late"),
            Reason::MissedTrigger => f.write_str("the trigger was missed"),
            Reason::Overload => f.write_str("parts come faster than they can be judged"),
            Reason::NoFrame => f.write_str("the camera gave no frame in time"),
            Reason::StaleFrame => f.write_str("the frame is older than the part's trigger"),
            Reason::TornFrame => f.write_str("the frame is incomplete"),
            Reason::CameraFailed => f.write_str("the camera failed"),
            Reason::WrongSize => f.write_str("the picture's size does not fit the prompts"),
            Reason::NotFinite => f.write_str("a score is not a number"),
            Reason::EngineFailed => f.write_str("the inference engine failed"),
            Reason::NoRecipe => f.write_str("no recipe is active"),
            Reason::Change { p_value } => {
                write!(f, "changed against the good part (p = {p_value:.1e})")
            }
            Reason::Novel { p_value } => {
                write!(f, "unlike any good part at some position (p = {p_value:.1e})")
            }
            Reason::WrongPart { p_value } => {
                write!(f, "unlike the good parts as a whole (p = {p_value:.1e})")
            }
        }
    }
}

/// A rectangle of the query picture that differs, in its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub w: u32,
    /// Height.
    pub h: u32,
    /// Greatest value of the fused map within, 0..1.
    pub score: f32,
}

/// Time of each stage, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyRecord {
    /// Exposure to frame in memory.
    pub capture: u64,
    /// Crop, resize, normalise.
    pub preprocess: u64,
    /// The encode graph.
    pub encode: u64,
    /// The segment graph.
    pub segment: u64,
    /// Posteriors, fusion, regions, decision.
    pub score: u64,
    /// Trigger to verdict.
    pub total: u64,
}

/// How a part that was registered lay against the first good part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoseRecord {
    /// Degrees, clockwise as seen.
    pub rotation: f32,
    /// 1 for the same size.
    pub scale: f32,
    /// To the right and down, as shares of the longest side of what is inspected.
    pub shift: [f32; 2],
}

impl PoseRecord {
    /// `None` for a part that lies as taught, or was not registered.
    pub fn of(pose: &Pose) -> Option<Self> {
        (*pose != Pose::IDENTITY).then(|| Self {
            rotation: pose.rotation.sin().atan2(pose.rotation.cos()).to_degrees() as f32,
            scale: pose.scale as f32,
            shift: pose.shift.map(|v| v as f32),
        })
    }
}

/// One line of JSON: the result of a part for the world outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerdictRecord {
    /// Number of the part.
    pub part: u32,
    /// The picture file, if there is one.
    pub image: Option<String>,
    /// `pass` or `reject`.
    pub verdict: String,
    /// Name of the reason; `ok` for a pass.
    pub reason: String,
    /// Greatest value of the fused map, 0..1.
    pub score: f32,
    /// Joint p-value.
    pub p_value: f64,
    /// Worst first.
    pub regions: Vec<Region>,
    /// How the part lay, if it was turned or shifted before it was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pose: Option<PoseRecord>,
    /// That the parts which pass are no longer like those before, told once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftWarning>,
    /// Time of each stage.
    pub latency_us: LatencyRecord,
    /// Model id.
    pub model: String,
    /// Recipe name and version, if one is active.
    pub recipe: Option<String>,
    /// Hex of the first 8 bytes of a hash over model, recipe and threshold
    /// ([`crate::recipe::Recipe::identity`]): two verdicts with the same one were made by the same rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}

impl VerdictRecord {
    /// The record of a decision; the rest is filled in by whoever has it.
    ///
    /// A score or p-value that is not a number is written as the worst one: JSON has no NaN, and
    /// `null` in a column of numbers breaks the reader at night.
    pub fn new(part: u32, decision: &Decision, score: f32, p_value: f64) -> Self {
        Self {
            part,
            image: None,
            verdict: decision.name().to_string(),
            reason: decision.reason_name().to_string(),
            score: if score.is_finite() { score.clamp(0.0, 1.0) } else { 1.0 },
            p_value: if p_value.is_finite() { p_value.clamp(0.0, 1.0) } else { 0.0 },
            regions: Vec::new(),
            pose: None,
            drift: None,
            latency_us: LatencyRecord::default(),
            model: String::new(),
            recipe: None,
            identity: None,
        }
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
