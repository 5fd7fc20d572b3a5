//! Between the line and the inspector: frames wait here for their judgement,
//! findings for their part's outcome.

use std::time::Instant;

use log::Level;
use touchstone_board::command::Source;
use touchstone_board::{Frame, Timestamp};
use touchstone_models::inspector::{Back, Front, Inspection, Inspector};
use touchstone_models::picture::Picture;
use touchstone_models::verdict::{Decision, LatencyRecord, PoseRecord, Reason, VerdictRecord};

use crate::line::{BACKLOG_MAX, Event, LineConfig, Outcome, PartId, Verdict, Why};

/// Judges pictures. Never fails: what cannot be judged is rejected.
pub trait Judge: Send {
    /// Judges one picture.
    fn judge(&mut self, picture: &Picture) -> Inspection;

    /// Both halves of what judges, to judge two pictures at once; `None` where it has no halves.
    fn halves(&mut self) -> Option<(Front<'_>, Back<'_>)> {
        None
    }

    /// What it judges by, for the log.
    fn recipe(&self) -> &str {
        ""
    }

    /// Judges by another recipe from now on. May take seconds.
    ///
    /// # Errors
    /// Why not and what to do, in plain words; it then judges as before.
    fn activate(&mut self, recipe: &str) -> Result<Activated, String> {
        Err(format!("{recipe}: this line has one recipe only"))
    }

    /// A person has looked after a warning of drift, which may then be given again.
    fn acknowledge(&mut self) {}

    /// Changes what it judges by. May take seconds. Where it cannot, it judges as before, or by an earlier
    /// recipe, and says which.
    fn change(&mut self, wish: Wish, from: Source) -> Changed {
        let _ = from;
        match wish {
            Wish::Activate(recipe) => match self.activate(&recipe) {
                Ok(active) => Changed::to(active.recipe.clone(), active),
                Err(why) => Changed::refused(why),
            },
            Wish::Rollback | Wish::Verify | Wish::Teach { .. } => {
                Changed::refused("this line has no recipe store".to_owned())
            }
        }
    }
}

/// A change of what is judged by.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Another recipe, or another version of it.
    Activate(String),
    /// The version before.
    Rollback,
    /// The same, if it still passes its golden test.
    Verify,
    /// One more good part.
    Teach {
        /// Of that recipe; of the active one where there is no name.
        name: Option<String>,
        /// It.
        picture: Picture,
    },
}

/// What became of a [`Wish`].
#[derive(Clone, Debug)]
pub struct Changed {
    /// For whoever wished it.
    pub outcome: Result<String, String>,
    /// What is judged by from now on, if that is another one than before.
    pub active: Option<Box<Activated>>,
    /// Whether there is a recipe that may judge.
    pub sound: bool,
}

impl Changed {
    /// It is done.
    pub fn to(word: String, active: Activated) -> Self {
        Self { outcome: Ok(word), active: Some(Box::new(active)), sound: true }
    }

    /// It is not done, and all is as before.
    pub fn refused(why: String) -> Self {
        Self { outcome: Err(why), active: None, sound: true }
    }
}

/// A recipe that is judged by.
#[derive(Clone, Debug)]
pub struct Activated {
    /// What it is chosen by: the name of its folder.
    pub recipe: String,
    /// Names of model and recipe, for the records.
    pub names: Names,
    /// The first bytes of a hash over model and recipe.
    pub identity: [u8; 8],
    /// Its timing, with the machine's where it has none.
    pub line: LineConfig,
    /// A good part, to be shown beside others.
    pub good: Option<Picture>,
}

impl Judge for Inspector {
    fn judge(&mut self, picture: &Picture) -> Inspection {
        self.inspect(picture)
    }

    fn halves(&mut self) -> Option<(Front<'_>, Back<'_>)> {
        Some(Inspector::halves(self))
    }

    fn acknowledge(&mut self) {
        self.acknowledge_drift();
    }
}

/// Judges `picture` and says what that took, in microseconds by the wall clock.
pub fn judge_timed(judge: &mut dyn Judge, picture: &Picture) -> (Inspection, u64) {
    let start = Instant::now();
    let inspection = judge.judge(picture);
    (inspection, u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX))
}

/// What the line has to know of an inspection.
pub fn verdict_of(inspection: &Inspection) -> Verdict {
    if inspection.decision.is_pass() { Verdict::Good } else { Verdict::Bad }
}

/// A part between frame and outcome.
#[derive(Debug)]
pub struct Slot {
    part: PartId,
    /// Until the judge takes it.
    pub frame: Option<Picture>,
    /// Once the judge is done.
    pub inspection: Option<Inspection>,
    /// Exposure to frame in memory.
    pub capture_us: u64,
    /// What the judgement took by the wall clock; 0 until then.
    pub judge_us: u64,
}

/// Frames and findings of the parts without an outcome: at most
/// [`BACKLOG_MAX`], because the line refuses more. Allocates once.
#[derive(Debug)]
pub struct Slots(Vec<Slot>);

impl Default for Slots {
    fn default() -> Self {
        Self(Vec::with_capacity(BACKLOG_MAX))
    }
}

impl Slots {
    /// Keeps `frame` for `part`. False if there is no room or the part has a
    /// frame already; the caller then reports the frame as missing.
    pub fn hold(&mut self, part: PartId, frame: Picture, capture_us: u64) -> bool {
        let known = self.0.iter().any(|s| s.part == part);
        if known || self.0.len() >= BACKLOG_MAX {
            return false;
        }
        self.0.push(Slot { part, frame: Some(frame), inspection: None, capture_us, judge_us: 0 });
        true
    }

    /// Takes in the camera's frame for `part` and gives what the line has to hear of it. What is
    /// no picture goes to the log at `level`.
    pub fn take_in(&mut self, part: PartId, frame: Frame, now: Timestamp, level: Level) -> Event {
        let exposed_at = frame.exposed_at;
        let capture_us = u64::try_from(now.0 - exposed_at.0).unwrap_or(0);
        let held = match Picture::from_rgb8(frame.width, frame.height, frame.rgb) {
            Ok(picture) => self.hold(part, picture, capture_us),
            Err(error) => {
                log::log!(level, "part {part}: {error}");
                false
            }
        };
        if held { Event::FrameReady { part, exposed_at } } else { Event::FrameMissing { part } }
    }

    /// Hands out the frame of `part`, once.
    pub fn take_frame(&mut self, part: PartId) -> Option<Picture> {
        self.find(part)?.frame.take()
    }

    /// Keeps what the judge found, and gives its frame back for whoever draws.
    pub fn found(
        &mut self,
        part: PartId,
        frame: Option<Picture>,
        inspection: Inspection,
        judge_us: u64,
    ) {
        // A part that was decided meanwhile (late) has no slot any more.
        if let Some(slot) = self.find(part) {
            slot.frame = frame;
            slot.inspection = Some(inspection);
            slot.judge_us = judge_us;
        }
    }

    /// The part has its outcome: hands out what is known of it and frees its
    /// slot.
    pub fn release(&mut self, part: PartId) -> Option<Slot> {
        let index = self.0.iter().position(|s| s.part == part)?;
        Some(self.0.swap_remove(index))
    }

    fn find(&mut self, part: PartId) -> Option<&mut Slot> {
        self.0.iter_mut().find(|s| s.part == part)
    }
}

/// Names of model and recipe, for the records.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Model id.
    pub model: String,
    /// Recipe name and version, if there is one.
    pub recipe: Option<String>,
    /// Hex of [`Activated::identity`], where a recipe is judged by.
    pub identity: Option<String>,
}

/// The reason in the words of the models' crate, which PLC programs rely on,
/// if it has one.
fn reason_of(why: Why) -> Option<Reason> {
    match why {
        Why::NoResult | Why::Judged => Some(Reason::NoResult),
        Why::Late => Some(Reason::Late),
        Why::NoFrame => Some(Reason::NoFrame),
        Why::StaleFrame => Some(Reason::StaleFrame),
        Why::Overload => Some(Reason::Overload),
        Why::NotReady | Why::OutOfOrder | Why::Encoder => None,
    }
}

/// The record of a part with its outcome on the line. What the line decided
/// counts: scores are given only where the judge's word was heard in time.
pub fn line_record(
    part: PartId,
    outcome: Outcome,
    slot: Option<&Slot>,
    total_us: u64,
    names: &Names,
) -> VerdictRecord {
    let inspection = slot.and_then(|s| s.inspection.as_ref());
    let capture_us = slot.map_or(0, |s| s.capture_us);
    let heard = match outcome {
        Outcome::Pass | Outcome::Reject(Why::Judged) => inspection,
        Outcome::Reject(_) => None,
    };
    if let Some(inspection) = heard {
        return file_record(part.0, inspection, capture_us, total_us, names);
    }
    let Outcome::Reject(why) = outcome else {
        // A pass without an inspection cannot come from the line; if it did,
        // the record must not repeat it.
        return VerdictRecord::new(part.0, &Decision::default(), 1.0, 0.0);
    };
    let decision = Decision::Reject(reason_of(why).unwrap_or(Reason::NoResult));
    let mut record = VerdictRecord::new(part.0, &decision, 1.0, 0.0);
    if reason_of(why).is_none() {
        why.name().clone_into(&mut record.reason);
    }
    record.latency_us =
        LatencyRecord { capture: capture_us, total: total_us, ..Default::default() };
    name(&mut record, names);
    record
}

fn name(record: &mut VerdictRecord, names: &Names) {
    record.model.clone_from(&names.model);
    record.recipe.clone_from(&names.recipe);
    record.identity.clone_from(&names.identity);
}

/// The record of an inspection that no line stands behind.
pub fn file_record(
    part: u32,
    inspection: &Inspection,
    capture_us: u64,
    total_us: u64,
    names: &Names,
) -> VerdictRecord {
    let mut record =
        VerdictRecord::new(part, &inspection.decision, inspection.score, inspection.p_value);
    record.regions.clone_from(&inspection.regions);
    record.pose = PoseRecord::of(&inspection.pose);
    record.drift = inspection.drift;
    record.latency_us = LatencyRecord {
        capture: capture_us,
        preprocess: inspection.latency.preprocess,
        encode: inspection.latency.encode,
        segment: inspection.latency.segment,
        score: inspection.latency.score,
        total: total_us,
    };
    name(&mut record, names);
    record
}

#[cfg(test)]
pub mod tests {
    //! A judge for tests, and tests of the book-keeping.

    use super::*;
    use touchstone_models::inspector::StageLatency;
    use touchstone_models::verdict::{FalseRejectRate, Testimony, WitnessReport, decide};

    /// An inspection that passes or rejects with the given p-value.
    pub fn inspection(p_value: f64) -> Inspection {
        let say = Testimony { statistic: 0.0, p_value };
        let witnesses = WitnessReport { change: say, position: say, joint: say, image: say };
        let rate = FalseRejectRate::from_ppm(1000).unwrap();
        let mut inspection = Inspection::rejected(Reason::NoResult, StageLatency::default());
        inspection.decision = decide(&witnesses, rate);
        inspection.score = (1.0 - p_value) as f32;
        inspection.p_value = p_value;
        inspection
    }

    fn frame() -> Picture {
        Picture::from_rgb8(16, 16, vec![0; 768]).unwrap()
    }

    #[test]
    fn the_slots_have_a_limit_and_are_freed() {
        let mut slots = Slots::default();
        for part in 0..BACKLOG_MAX as u32 {
            assert!(slots.hold(PartId(part), frame(), 1));
        }
        assert!(!slots.hold(PartId(3), frame(), 1), "a second frame for a part");
        assert!(!slots.hold(PartId(99), frame(), 1), "one too many");
        assert!(slots.take_frame(PartId(3)).is_some());
        assert!(slots.take_frame(PartId(3)).is_none());
        assert!(slots.release(PartId(3)).is_some());
        assert!(slots.release(PartId(3)).is_none());
        slots.found(PartId(3), None, inspection(0.5), 1);
        assert!(slots.hold(PartId(99), frame(), 1));
    }

    #[test]
    fn a_record_says_what_the_line_decided() {
        let names = Names { model: "m".into(), ..Names::default() };
        let slot = Slot {
            part: PartId(4),
            frame: None,
            inspection: Some(inspection(0.5)),
            capture_us: 7,
            judge_us: 9,
        };
        let record = |outcome| line_record(PartId(4), outcome, Some(&slot), 50, &names);
        let pass = record(Outcome::Pass);
        assert_eq!((pass.verdict.as_str(), pass.reason.as_str()), ("pass", "ok"));
        assert_eq!((pass.latency_us.capture, pass.latency_us.total), (7, 50));
        let late = record(Outcome::Reject(Why::Late));
        assert_eq!((late.verdict.as_str(), late.reason.as_str()), ("reject", "late"));
        assert_eq!((late.score, late.p_value), (1.0, 0.0));
        let refused = record(Outcome::Reject(Why::NotReady));
        assert_eq!((refused.verdict.as_str(), refused.reason.as_str()), ("reject", "not_ready"));
        assert_eq!(refused.model, "m");
        let unfounded = line_record(PartId(4), Outcome::Pass, None, 50, &names);
        assert_eq!(unfounded.verdict, "reject");
    }
}
