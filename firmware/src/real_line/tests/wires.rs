//! Everything that is wired to a line: a camera that comes and goes, inputs,
//! commands, and a judge that changes its recipe or panics.

use super::*;
use crate::inspection::Activated;
use crate::line::{Fault, Travel};
use std::sync::mpsc::{Sender, channel};
use touchstone_board::camera::fault::{FaultRates, FaultyCamera};
use touchstone_board::camera::hotplug::Reconnecting;
use touchstone_board::command::{Command, Exchange, Outcome as Answer, RecipeName, Source as From};
use touchstone_board::faults::{FaultyInputs, FaultyOutputs, InputFaults, OutputFaults};
use touchstone_board::io::InputCounts;
use touchstone_board::{InputEvent, InputRole, MonotonicClock};
use touchstone_models::drift::{Channel, Direction, DriftWarning};

const PATIENCE: Duration = Duration::from_secs(60);

/// Inputs that say what the test tells them.
struct Told {
    edges: Receiver<(InputRole, bool, Timestamp)>,
    levels: Vec<(InputRole, bool)>,
    sequence: u32,
    lost: Arc<std::sync::atomic::AtomicU64>,
}

impl Inputs for Told {
    fn wait(&mut self, timeout: Duration) -> Result<Option<InputEvent>, IoError> {
        match self.edges.recv_timeout(timeout) {
            Ok((role, active, at)) => {
                self.sequence += 1;
                Ok(Some(InputEvent { role, at, active, sequence: self.sequence }))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(timeout);
                Ok(None)
            }
        }
    }
    fn level(&mut self, role: InputRole) -> Result<Option<bool>, IoError> {
        Ok(self.levels.iter().find(|(r, _)| *r == role).map(|(_, level)| *level))
    }
    fn counts(&self) -> InputCounts {
        let (events, lost) = (u64::from(self.sequence), self.lost.load(Ordering::Relaxed));
        InputCounts { events, lost, ..InputCounts::default() }
    }
}

/// The test's end of the inputs.
struct Hand {
    edges: Sender<(InputRole, bool, Timestamp)>,
    lost: Arc<std::sync::atomic::AtomicU64>,
}

fn inputs(levels: &[(InputRole, bool)]) -> (Told, Hand) {
    let (edges, told) = channel();
    let lost = Arc::default();
    let told = Told { edges: told, levels: levels.to_vec(), sequence: 0, lost: Arc::clone(&lost) };
    (told, Hand { edges, lost })
}

impl Hand {
    fn edge(&self, role: InputRole, active: bool) {
        self.edges.send((role, active, Timestamp::now_monotonic())).unwrap();
    }

    fn part(&self) {
        self.edge(InputRole::Trigger, true);
        self.edge(InputRole::Trigger, false);
    }
}

/// What the observer has heard so far, for a test that looks on.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Seen>>);

/// Outcomes, the latest condition, names of recipes.
type Seen = (Vec<Outcome>, Condition, Vec<String>);

impl Observer for Log {
    fn published(&mut self, part: &Published<'_>) -> Result<(), Failure> {
        self.0.lock().unwrap().0.push(part.outcome);
        Ok(())
    }
    fn condition(&mut self, condition: &Condition) -> bool {
        self.0.lock().unwrap().1 = *condition;
        true
    }
    fn activated(&mut self, recipe: Activated) {
        self.0.lock().unwrap().2.push(recipe.recipe);
    }
}

/// A line at work in a thread of its own.
struct Running {
    log: Log,
    wires: Wires,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Ending, Failure>>,
}

impl Running {
    fn start(setup: Setup, wires: Wires, config: LineConfig, judge: Box<dyn Judge>) -> Running {
        let (log, stop) = (Log::default(), Arc::new(AtomicBool::new(false)));
        let (mut observer, told) = (log.clone(), Arc::clone(&stop));
        let thread =
            thread::spawn(move || run(setup, config, judge, &mut observer, u64::MAX, &told));
        Running { log, wires, stop, thread }
    }

    fn until(&self, what: &str, done: impl Fn(&[Outcome], &Condition) -> bool) {
        let start = std::time::Instant::now();
        loop {
            let seen = self.log.0.lock().unwrap();
            if done(&seen.0, &seen.1) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "never happened: {what}; {:?}", seen.1);
            drop(seen);
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn end(self) -> (Result<Ending, Failure>, Vec<Outcome>) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join().unwrap();
        assert!(self.wires.at_rest());
        let outcomes = self.log.0.lock().unwrap().0.clone();
        (ended, outcomes)
    }
}

fn studio() -> Studio {
    Studio { frames: u32::MAX, missing: None }
}

fn running(told: Told, source: Source, requests: Option<Receiver<Request>>) -> Running {
    let wires = Wires::default();
    let inputs: Option<Box<dyn Inputs>> = Some(Box::new(told));
    let setup = Setup { inputs, requests, ..setup(studio(), &wires, source) };
    Running::start(setup, wires, config(), Box::new(Recipes))
}

/// Everything passes; the recipe "other" can be had, "slow" with other times.
struct Recipes;

impl Judge for Recipes {
    fn judge(&mut self, _: &Picture) -> Inspection {
        inspection(0.5)
    }
    fn activate(&mut self, recipe: &str) -> Result<Activated, String> {
        let travel_ms = match recipe {
            "other" => times().travel_ms,
            "slow" => times().travel_ms + 100,
            _ => return Err(format!("{recipe}: no such recipe")),
        };
        let line = LineConfig::try_from(LineTimes { travel_ms, ..times() }).unwrap();
        let (names, identity) = (crate::inspection::Names::default(), [0; 8]);
        Ok(Activated { recipe: recipe.to_owned(), names, identity, line, good: None })
    }
}

#[test]
fn a_camera_that_goes_lets_ready_fall_until_it_is_back() {
    let faulty = FaultyCamera::new(Box::new(studio()), MonotonicClock, 5, FaultRates::default());
    let cable = faulty.unwrap();
    let camera = Reconnecting::open("/dev/video9".into(), cable.clone()).unwrap();
    let (told, hand) = inputs(&[]);
    let wires = Wires::default();
    let setup = Setup { inputs: Some(Box::new(told)), ..setup(camera, &wires, Source::Inputs) };
    let line = Running::start(setup, wires.clone(), config(), Box::new(Recipes));
    line.until("ready", |_, c| c.ready);
    hand.part();
    line.until("a pass", |o, _| o == [Outcome::Pass]);
    // Nobody triggers: the idle line has to notice by itself.
    cable.disconnect(Duration::from_millis(300));
    line.until("gone", |_, c| c.camera_losses == 1);
    line.until("back", |_, c| c.ready && c.trouble.is_none());
    hand.part();
    line.until("another pass", |o, _| o.len() == 2);
    // A part that comes while it is away is rejected.
    cable.disconnect(Duration::from_secs(3600));
    line.until("gone again", |_, c| !c.ready && c.trouble == Some(Trouble::CameraAway));
    hand.part();
    line.until("a reject", |o, _| o.len() == 3);
    let (ended, outcomes) = line.end();
    assert_eq!(outcomes, [Outcome::Pass, Outcome::Pass, Outcome::Reject(Why::NotReady)]);
    assert_eq!(ended.unwrap().counters.parts, 3, "a lost camera is no failure");
    assert!(wires.pulses(OutputRole::Fault) >= 2);
}

#[test]
fn a_part_whose_camera_goes_has_no_frame_and_nobody_is_passed_unseen() {
    let rates = FaultRates {
        drop: 0.1,
        age: 0.1,
        tear: 0.1,
        disconnect: 0.1,
        outage_max: Duration::from_millis(200),
        ..FaultRates::default()
    };
    let faulty = FaultyCamera::new(Box::new(studio()), MonotonicClock, 11, rates).unwrap();
    let camera = Reconnecting::open("/dev/video9".into(), faulty.clone()).unwrap();
    let (wires, mut heard) = (Wires::default(), Heard::default());
    let stop = AtomicBool::new(false);
    let setup = setup(camera, &wires, clock());
    let judge = Box::new(Recipes);
    let ended = run(setup, config(), judge, &mut heard, 40, &stop).unwrap().counters;
    assert_eq!(ended.passed + ended.rejected, ended.parts);
    let tally = faulty.tally();
    assert!(tally.aged + tally.torn + tally.disconnected > 0, "{tally:?}");
    // Each of these spoils one part at least; a good frame is needed for each pass.
    let spoiled = tally.aged + tally.torn + tally.disconnected;
    assert!(ended.rejected >= spoiled, "{ended:?} {tally:?}");
    assert_eq!(wires.pulses(OutputRole::Pass) as u64, ended.passed);
}

#[test]
fn the_interlock_is_read_at_the_start_and_heard_after() {
    let (told, hand) = inputs(&[(InputRole::Interlock, false)]);
    let line = running(told, Source::Inputs, None);
    line.until("a condition", |_, c| c.online);
    hand.part();
    line.until("refused", |o, _| o == [Outcome::Reject(Why::NotReady)]);
    hand.edge(InputRole::Interlock, true);
    line.until("ready", |_, c| c.ready);
    // Beyond the debounce time, or it is the same part.
    thread::sleep(Duration::from_millis(20));
    hand.part();
    line.until("a pass", |o, _| o.len() == 2 && o[1] == Outcome::Pass);
    hand.edge(InputRole::Interlock, false);
    line.until("open again", |_, c| !c.ready);
    assert!(line.wires.pulses(OutputRole::Ready) == 1, "never ready before it closed");
    line.end().0.unwrap();
}

fn by_counts() -> LineConfig {
    LineConfig::try_from(LineTimes {
        travel_counts: Some(200),
        debounce_counts: Some(5),
        pulse_counts: Some(10),
        counts_per_s_max: Some(1000),
        actuator_lead_ms: 1,
        capture_window_ms: 100,
        judge_p999_ms: None,
        ..times()
    })
    .unwrap()
}

#[test]
fn the_encoder_carries_a_reject_to_the_actuator_and_lost_edges_stop_the_line() {
    let (told, hand) = inputs(&[(InputRole::EncoderStep, false)]);
    let wires = Wires::default();
    let studio = Studio { frames: u32::MAX, missing: Some(u32::MAX - 1) };
    let setup = Setup { inputs: Some(Box::new(told)), ..setup(studio, &wires, Source::Inputs) };
    let config = by_counts();
    assert!(matches!(config.travel(), Travel::Counts { .. }));
    let line = Running::start(setup, wires.clone(), config, Box::new(Recipes));
    line.until("ready", |_, c| c.ready);
    hand.part();
    line.until("no frame", |o, _| o == [Outcome::Reject(Why::NoFrame)]);
    assert_eq!(wires.pulses(OutputRole::Reject), 0, "the belt stands");
    let step = || {
        hand.edge(InputRole::EncoderStep, true);
        hand.edge(InputRole::EncoderStep, false);
        // Well below the fastest belt, whatever the machine does.
        thread::sleep(Duration::from_millis(3));
    };
    (0..150).for_each(|_| step());
    assert_eq!(wires.pulses(OutputRole::Reject), 0, "not there yet");
    let start = std::time::Instant::now();
    while wires.pulses(OutputRole::Reject) == 0 {
        assert!(start.elapsed() < PATIENCE, "no pulse");
        step();
    }
    (0..30).for_each(|_| step());
    hand.lost.store(3, Ordering::Relaxed);
    line.until("the fault", |_, c| c.trouble == Some(Trouble::Fault(Fault::Encoder)));
    line.until("shown", |_, c| c.edges_lost == 3 && !c.ready);
    line.end().0.unwrap();
}

#[test]
fn inputs_that_misbehave_are_counted_and_lose_no_part_that_was_seen() {
    let (told, hand) = inputs(&[]);
    let faults = InputFaults { bounce: 0.3, lose: 0.2, ..InputFaults::default() };
    let (wires, stop) = (Wires::default(), Arc::new(AtomicBool::new(false)));
    let outputs = FaultyOutputs::new(wires.clone(), OutputFaults::default(), 3);
    let setup = Setup {
        inputs: Some(Box::new(FaultyInputs::new(told, faults, 17))),
        outputs: Box::new(outputs),
        ..setup(studio(), &wires, Source::Inputs)
    };
    drop(stop);
    let line = Running::start(setup, wires.clone(), config(), Box::new(Recipes));
    line.until("ready", |_, c| c.ready);
    for _ in 0..20 {
        hand.part();
        thread::sleep(Duration::from_millis(15));
    }
    line.until("lost edges", |_, c| c.edges_lost > 0);
    line.until("all done", |o, c| c.counters.parts > 5 && o.len() as u64 == c.counters.parts);
    line.until("the fault", |_, c| c.trouble == Some(Trouble::Fault(Fault::Edges)) && !c.ready);
    let (ended, outcomes) = line.end();
    let counters = ended.unwrap().counters;
    assert_eq!(counters.passed + counters.rejected, outcomes.len() as u64);
}

#[test]
fn an_output_that_refuses_ends_the_line() {
    let wires = Wires::default();
    let faults = OutputFaults { refuse: 0.2, ignore: 0.0 };
    let outputs = Box::new(FaultyOutputs::new(wires.clone(), faults, 1));
    let setup = Setup { outputs, ..setup(studio(), &wires, clock()) };
    let stop = AtomicBool::new(false);
    let judge = Box::new(Alternating(false));
    let ended = run(setup, config(), judge, &mut Heard::default(), 1000, &stop);
    let why = ended.unwrap_err().to_string();
    assert!(why.contains("fault on purpose") && why.contains("check the wiring"), "{why}");
}

fn ask(exchange: &Exchange, command: Command) -> Receiver<Answer> {
    let (told, heard) = channel();
    exchange.submit(Request::new(command, From::Serial, move |answer| {
        let _ = told.send(answer);
    }));
    heard
}

#[test]
fn commands_trigger_change_the_recipe_and_are_all_answered() {
    let (exchange, requests) = Exchange::new();
    let line = running(inputs(&[]).0, Source::Inputs, Some(requests));
    line.until("ready", |_, c| c.ready);
    let answer = |command| ask(&exchange, command).recv_timeout(PATIENCE).unwrap();
    assert_eq!(answer(Command::Trigger), Ok("part 0".to_owned()));
    line.until("a pass", |o, _| o == [Outcome::Pass]);
    let activate = |name| Command::RecipeActivate(RecipeName::new(name).unwrap());
    let why = answer(activate("nothing")).unwrap_err();
    assert!(why.contains("no such recipe"), "{why}");
    line.until("ready with the old one", |_, c| c.ready && !c.changing);
    assert_eq!(answer(activate("other")), Ok("other".to_owned()));
    // Other times wait until the part has left the line.
    assert_eq!(answer(activate("slow")), Ok("slow".to_owned()));
    line.until("ready with the new one", |_, c| c.ready && !c.changing);
    assert_eq!(line.log.0.lock().unwrap().2, ["other", "slow"]);
    assert!(answer(Command::Teach).unwrap_err().contains("touchstone teach"));
    assert_eq!(answer(Command::Acknowledge), Ok(String::new()));
    line.end().0.unwrap();
    assert_eq!(answer(Command::Trigger), Err("stopping".to_owned()));
}

#[test]
fn a_software_trigger_while_the_interlock_is_open_is_refused_and_rejected() {
    let (exchange, requests) = Exchange::new();
    let line = running(inputs(&[(InputRole::Interlock, false)]).0, Source::Inputs, Some(requests));
    let why = ask(&exchange, Command::Trigger).recv_timeout(PATIENCE).unwrap().unwrap_err();
    assert!(why.contains("not ready, part 0 is rejected"), "{why}");
    line.until("rejected", |o, _| o == [Outcome::Reject(Why::NotReady)]);
    line.end().0.unwrap();
}

#[test]
fn a_judge_that_panics_puts_the_outputs_to_rest_and_ends_the_line() {
    struct Panics;
    impl Judge for Panics {
        fn judge(&mut self, _: &Picture) -> Inspection {
            panic!("on purpose");
        }
    }
    let fail_safe = touchstone_board::gpio::GpioOutputs::open(&[]).unwrap().fail_safe_handle();
    fail_safe.on_panic();
    let wires = Wires::default();
    let setup = setup(studio(), &wires, clock());
    let stop = AtomicBool::new(false);
    let ended = run(setup, config(), Box::new(Panics), &mut Heard::default(), 1000, &stop);
    assert!(ended.unwrap_err().to_string().contains("judge's thread ended"));
    assert!(fail_safe.applied());
    assert!(wires.at_rest());
}

/// Warns of drift with the first part, and again once somebody has acknowledged it.
struct Drifting {
    warned: bool,
}

impl Judge for Drifting {
    fn judge(&mut self, _: &Picture) -> Inspection {
        let mut seen = inspection(0.5);
        if !std::mem::replace(&mut self.warned, true) {
            let (channel, direction) = (Channel::Image, Direction::Stranger);
            seen.drift = Some(DriftWarning { channel, direction, parts: 1 });
        }
        seen
    }
    fn acknowledge(&mut self) {
        self.warned = false;
    }
}

#[test]
fn a_warning_of_drift_stands_until_a_person_has_seen_it() {
    let (exchange, requests) = Exchange::new();
    let wires = Wires::default();
    let inputs: Option<Box<dyn Inputs>> = Some(Box::new(inputs(&[]).0));
    let requests = Some(requests);
    let setup = Setup { inputs, requests, ..setup(studio(), &wires, Source::Inputs) };
    let line = Running::start(setup, wires, config(), Box::new(Drifting { warned: false }));
    line.until("ready", |_, c| c.ready && !c.drift);
    let answer = |command| ask(&exchange, command).recv_timeout(PATIENCE).unwrap();
    assert_eq!(answer(Command::Acknowledge), Ok(String::new()), "there is nothing to be seen");
    for part in 1..=2 {
        answer(Command::Trigger).unwrap();
        line.until("told, and ready all the same", |o, c| o.len() == part && c.drift && c.ready);
        assert!(answer(Command::Acknowledge).unwrap().contains("drift"));
        line.until("not told any more", |_, c| !c.drift);
    }
    let (ended, outcomes) = line.end();
    ended.unwrap();
    assert_eq!(outcomes, [Outcome::Pass; 2]);
}
