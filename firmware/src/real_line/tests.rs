//! The threads, with devices made of channels. Nothing here depends on how
//! fast the machine is: the line's times are far longer than the work.

use super::*;
use crate::inspection::tests::inspection;
use crate::line::{LineTimes, Outcome, Why};
use std::sync::Mutex;
use touchstone_board::{CameraError, OutputRole};

mod wires;

#[derive(Clone, Default)]
struct Wires(Arc<Mutex<Vec<(OutputRole, bool)>>>);

impl Outputs for Wires {
    fn set(&mut self, role: OutputRole, level: bool) -> Result<(), IoError> {
        self.0.lock().unwrap().push((role, level));
        Ok(())
    }
}

impl Wires {
    fn pulses(&self, role: OutputRole) -> usize {
        self.0.lock().unwrap().iter().filter(|w| **w == (role, true)).count()
    }

    fn at_rest(&self) -> bool {
        let seen = self.0.lock().unwrap();
        // ERROR says what was last so; its level at rest is the board file's matter.
        OutputRole::ALL
            .iter()
            .filter(|role| **role != OutputRole::Fault)
            .all(|role| seen.iter().rev().find(|(r, _)| r == role).is_none_or(|(_, level)| !level))
    }
}

/// Exposes a frame whenever it is asked, until it runs out.
struct Studio {
    frames: u32,
    missing: Option<u32>,
}

impl Camera for Studio {
    fn describe(&self) -> String {
        "a camera of the test".to_owned()
    }

    fn next_frame(
        &mut self,
        not_before: Timestamp,
        timeout: Duration,
    ) -> Result<Frame, CameraError> {
        if self.frames == 0 {
            return Err(CameraError::Ended);
        }
        self.frames -= 1;
        if self.missing == Some(self.frames) {
            return Err(CameraError::Timeout { waited: timeout });
        }
        thread::sleep(Duration::from_millis(20));
        let exposed_at = Timestamp::now_monotonic().max(not_before);
        Ok(Frame { width: 16, height: 16, rgb: vec![9; 768], sequence: self.frames, exposed_at })
    }
}

/// Good, bad, good, bad.
struct Alternating(bool);

impl Judge for Alternating {
    fn judge(&mut self, _: &Picture) -> Inspection {
        self.0 = !self.0;
        inspection(if self.0 { 0.5 } else { 1e-9 })
    }
}

#[derive(Default)]
struct Heard(Vec<Outcome>);

impl Observer for Heard {
    fn published(&mut self, part: &Published<'_>) -> Result<(), Failure> {
        self.0.push(part.outcome);
        Ok(())
    }
}

fn times() -> LineTimes {
    LineTimes { capture_window_ms: 1000, travel_ms: 1500, debounce_ms: 10, ..LineTimes::default() }
}

fn config() -> LineConfig {
    LineConfig::try_from(times()).unwrap()
}

fn setup(camera: impl Camera + 'static, wires: &Wires, source: Source) -> Setup {
    Setup {
        camera: Box::new(camera),
        outputs: Box::new(wires.clone()),
        source,
        inputs: None,
        requests: None,
        feeder: Feeder::new(Vec::new()),
        teach_from: Vec::new(),
        sound: true,
        lamp: Lamp::default(),
        judged_at_once: 1,
    }
}

fn go(camera: Studio, source: Source, parts_max: u64) -> (Result<Ending, Failure>, Heard, Wires) {
    let (wires, mut heard) = (Wires::default(), Heard::default());
    let judge = Box::new(Alternating(false));
    let stop = AtomicBool::new(false);
    let setup = setup(camera, &wires, source);
    let ended = run(setup, config(), judge, &mut heard, parts_max, &stop);
    (ended, heard, wires)
}

fn clock() -> Source {
    Source::Trigger(Box::new(ClockTrigger::new(Duration::from_millis(150))))
}

#[test]
fn triggered_parts_are_judged_and_the_bad_ones_fired() {
    let camera = Studio { frames: 100, missing: None };
    let (ended, heard, wires) = go(camera, clock(), 6);
    let counters = ended.unwrap().counters;
    assert_eq!((counters.parts, counters.passed, counters.rejected_judged), (6, 3, 3));
    assert_eq!(heard.0.len(), 6);
    assert_eq!(wires.pulses(OutputRole::Reject), 3);
    assert_eq!(wires.pulses(OutputRole::Pass), 3);
    assert!(wires.pulses(OutputRole::Heartbeat) >= 1);
    assert!(wires.at_rest());
}

#[test]
fn without_a_trigger_every_frame_is_a_part_until_the_files_end() {
    let camera = Studio { frames: 5, missing: None };
    let (ended, heard, wires) = go(camera, Source::EveryFrame, u64::MAX);
    assert_eq!(ended.unwrap().counters.parts, 5);
    assert_eq!(heard.0.len(), 5);
    assert!(wires.at_rest());
}

#[test]
fn a_part_without_a_frame_is_rejected() {
    let camera = Studio { frames: 100, missing: Some(98) };
    let (ended, heard, wires) = go(camera, clock(), 3);
    assert_eq!(ended.unwrap().counters.rejected_no_frame, 1);
    assert!(heard.0.contains(&Outcome::Reject(Why::NoFrame)));
    assert_eq!(wires.pulses(OutputRole::Reject), 2);
}

#[test]
fn stop_lets_the_parts_on_the_line_finish() {
    struct StopAt(Arc<AtomicBool>, usize);
    impl Observer for StopAt {
        fn published(&mut self, _: &Published<'_>) -> Result<(), Failure> {
            self.1 += 1;
            self.0.store(true, Ordering::Relaxed);
            Ok(())
        }
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut observer = StopAt(Arc::clone(&stop), 0);
    let wires = Wires::default();
    let camera = Studio { frames: 100, missing: None };
    let setup = setup(camera, &wires, clock());
    let judge = Box::new(Alternating(false));
    let ending = run(setup, config(), judge, &mut observer, u64::MAX, &stop).unwrap();
    let counters = ending.counters;
    assert!(observer.1 >= 1 && counters.parts as usize >= observer.1);
    assert_eq!(counters.passed + counters.rejected, counters.parts, "nobody is left in the dark");
    assert!(wires.at_rest());
}
