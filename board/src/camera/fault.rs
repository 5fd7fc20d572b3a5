//! A camera with faults: wraps any [`Camera`] and does to its frames what cables, drivers and people do.
//!
//! Everything follows from the seed and the number of frames taken before, so a failing run can be had
//! again. At most one fault befalls a frame.

use super::hotplug::Opener;
use super::{Camera, CameraCounts, CameraError, Frame};
use crate::sim::random::Random;
use crate::time::{Clock, Timestamp};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Frames dropped in one call before giving up: a rate of 1 must not hang.
const DROPS_MAX: u32 = 1000;
const FAULTS: u64 = 0x3001;

/// How often which fault befalls a frame, each from 0 to 1, and how bad it is. The sum of the rates is at
/// most 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultRates {
    /// The frame never comes.
    pub drop: f32,
    /// It comes late, by up to [`FaultRates::delay_max`].
    pub delay: f32,
    /// The frame before comes once more, unchanged, in its place.
    pub duplicate: f32,
    /// It is stamped earlier than asked for, by up to [`FaultRates::age_max`]. No sound camera does that;
    /// whoever judges such a frame has not looked at its stamp.
    pub age: f32,
    /// Its lower part is missing: fewer bytes than width and height promise.
    pub tear: f32,
    /// The camera goes away, for up to [`FaultRates::outage_max`].
    pub disconnect: f32,
    /// Longest delay.
    pub delay_max: Duration,
    /// Largest error of a stamp.
    pub age_max: Duration,
    /// Longest time away.
    pub outage_max: Duration,
}

impl Default for FaultRates {
    /// No fault; the extents are those of a bad day.
    fn default() -> FaultRates {
        FaultRates {
            drop: 0.0,
            delay: 0.0,
            duplicate: 0.0,
            age: 0.0,
            tear: 0.0,
            disconnect: 0.0,
            delay_max: Duration::from_millis(200),
            age_max: Duration::from_millis(200),
            outage_max: Duration::from_secs(2),
        }
    }
}

/// Rates that cannot be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultRatesError {
    /// Their sum.
    pub sum: f32,
}

impl fmt::Display for FaultRatesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fault rates add up to {}; set each from 0, and their sum to at most 1", self.sum)
    }
}

impl std::error::Error for FaultRatesError {}

/// Faults that happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultTally {
    /// Frames taken from the camera underneath.
    pub taken: u64,
    /// Frames that never came.
    pub dropped: u64,
    /// Late ones.
    pub delayed: u64,
    /// Replaced by the one before.
    pub duplicated: u64,
    /// Wrongly stamped.
    pub aged: u64,
    /// Cut short.
    pub torn: u64,
    /// Times the camera went away.
    pub disconnected: u64,
}

#[derive(Clone, Copy)]
enum Fault {
    Drop,
    Delay,
    Duplicate,
    Age,
    Tear,
    Disconnect,
}

struct Inner {
    camera: Box<dyn Camera>,
    seed: u64,
    rates: FaultRates,
    tally: FaultTally,
    last: Option<Frame>,
    /// Handles of an earlier connection stay dead, as the kernel's do.
    connection: u64,
    away_until: Timestamp,
}

/// The faulty camera. Clones are handles to the same one.
pub struct FaultyCamera<C: Clock> {
    inner: Arc<Mutex<Inner>>,
    clock: C,
    connection: u64,
    /// The camera's counts when this connection began.
    before: CameraCounts,
}

impl<C: Clock> fmt::Debug for FaultyCamera<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyCamera").field("tally", &self.tally()).finish_non_exhaustive()
    }
}

impl<C: Clock + Clone> Clone for FaultyCamera<C> {
    fn clone(&self) -> Self {
        FaultyCamera {
            inner: Arc::clone(&self.inner),
            clock: self.clock.clone(),
            connection: self.connection,
            before: self.before,
        }
    }
}

impl Inner {
    fn fault(&mut self) -> (Option<Fault>, Random) {
        let mut random = Random::new(self.seed, FAULTS, self.tally.taken);
        self.tally.taken += 1;
        let rates = &self.rates;
        let kinds = [
            (rates.drop, Fault::Drop),
            (rates.delay, Fault::Delay),
            (rates.duplicate, Fault::Duplicate),
            (rates.age, Fault::Age),
            (rates.tear, Fault::Tear),
            (rates.disconnect, Fault::Disconnect),
        ];
        let mut left = random.unit();
        let fault = kinds.into_iter().find_map(|(rate, fault)| {
            let hit = left < rate;
            left -= rate;
            hit.then_some(fault)
        });
        (fault, random)
    }
}

/// Some of `most`, at least a microsecond.
fn some(random: &mut Random, most: Duration) -> Duration {
    most.mul_f32(random.unit()).max(Duration::from_micros(1))
}

impl<C: Clock> FaultyCamera<C> {
    /// Faults for `camera`, which runs on `clock`.
    ///
    /// # Errors
    /// A rate below 0 or a sum above 1.
    pub fn new(
        camera: Box<dyn Camera>,
        clock: C,
        seed: u64,
        rates: FaultRates,
    ) -> Result<FaultyCamera<C>, FaultRatesError> {
        let all =
            [rates.drop, rates.delay, rates.duplicate, rates.age, rates.tear, rates.disconnect];
        let sum: f32 = all.iter().sum();
        if !all.iter().all(|rate| *rate >= 0.0) || sum > 1.0 {
            return Err(FaultRatesError { sum });
        }
        let before = camera.counts();
        let inner = Inner {
            camera,
            seed,
            rates,
            tally: FaultTally::default(),
            last: None,
            connection: 0,
            away_until: Timestamp(i64::MIN),
        };
        Ok(FaultyCamera { inner: Arc::new(Mutex::new(inner)), clock, connection: 0, before })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Faults so far.
    pub fn tally(&self) -> FaultTally {
        self.inner().tally
    }

    /// Pulls the cable now, for `outage`.
    pub fn disconnect(&self, outage: Duration) {
        let mut inner = self.inner();
        inner.connection += 1;
        inner.tally.disconnected += 1;
        inner.away_until = self.clock.now() + outage;
    }

    /// A handle for the present connection.
    ///
    /// # Errors
    /// [`CameraError::NotFound`] while the camera is away.
    pub fn reopen(&self) -> Result<FaultyCamera<C>, CameraError>
    where
        C: Clone,
    {
        let inner = self.inner();
        if self.clock.now() < inner.away_until {
            return Err(CameraError::NotFound { path: path(), here: Vec::new() });
        }
        let before = inner.camera.counts();
        Ok(FaultyCamera { connection: inner.connection, before, ..self.clone() })
    }
}

fn path() -> PathBuf {
    PathBuf::from("faulty camera")
}

impl<C: Clock + Clone + 'static> Opener for FaultyCamera<C> {
    fn open(&mut self) -> Result<Box<dyn Camera>, CameraError> {
        Ok(Box::new(self.reopen()?))
    }
}

impl<C: Clock> Camera for FaultyCamera<C> {
    fn describe(&self) -> String {
        format!("{}, with faults", self.inner().camera.describe())
    }

    fn next_frame(
        &mut self,
        not_before: Timestamp,
        timeout: Duration,
    ) -> Result<Frame, CameraError> {
        let deadline = self.clock.now() + timeout;
        let mut after = not_before;
        for _ in 0..DROPS_MAX {
            self.check()?;
            let left = deadline.since(self.clock.now());
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            let mut frame = inner.camera.next_frame(after, left)?;
            let (fault, mut random) = inner.fault();
            let rates = inner.rates;
            match fault {
                None => {}
                Some(Fault::Drop) => {
                    inner.tally.dropped += 1;
                    after = after.max(Timestamp(frame.exposed_at.0.saturating_add(1)));
                    continue;
                }
                Some(Fault::Delay) => {
                    inner.tally.delayed += 1;
                    let late = self.clock.now() + some(&mut random, rates.delay_max);
                    self.clock.sleep_until(late);
                }
                Some(Fault::Duplicate) => {
                    if let Some(last) = inner.last.clone() {
                        inner.tally.duplicated += 1;
                        frame = last;
                    }
                }
                Some(Fault::Age) => {
                    inner.tally.aged += 1;
                    let early = not_before.min(frame.exposed_at);
                    frame.exposed_at = early - some(&mut random, rates.age_max);
                }
                Some(Fault::Tear) => {
                    inner.tally.torn += 1;
                    let kept = random.below(frame.rgb.len());
                    frame.rgb.truncate(kept);
                }
                Some(Fault::Disconnect) => {
                    drop(inner);
                    self.disconnect(some(&mut random, rates.outage_max));
                    return Err(CameraError::Lost { path: path() });
                }
            }
            inner.last = Some(frame.clone());
            return Ok(frame);
        }
        Err(CameraError::Timeout { waited: timeout })
    }

    fn check(&mut self) -> Result<(), CameraError> {
        let mut inner = self.inner();
        let away = self.clock.now() < inner.away_until || self.connection != inner.connection;
        if away {
            return Err(CameraError::Lost { path: path() });
        }
        inner.camera.check()
    }

    fn counts(&self) -> CameraCounts {
        self.inner().camera.counts().since(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::testing::{HandClock, PERIOD, Studio};

    const LONG: Duration = Duration::from_secs(1);

    fn faulty(rates: FaultRates, seed: u64) -> (FaultyCamera<HandClock>, HandClock) {
        let clock = HandClock::default();
        let camera = Box::new(Studio::new(&clock));
        (FaultyCamera::new(camera, clock.clone(), seed, rates).unwrap(), clock)
    }

    #[test]
    fn without_rates_it_is_the_camera_itself() {
        let (mut camera, _clock) = faulty(FaultRates::default(), 1);
        for i in 1..50 {
            let frame = camera.next_frame(Timestamp(i * 10_000 - 5), LONG).unwrap();
            assert_eq!((frame.sequence, frame.exposed_at), (i as u32, Timestamp(i * 10_000)));
        }
        assert_eq!(camera.tally(), FaultTally { taken: 49, ..FaultTally::default() });
        assert_eq!(camera.describe(), "studio, with faults");
    }

    #[test]
    fn each_fault_is_what_it_says() {
        let none = FaultRates::default();
        let (mut camera, clock) = faulty(FaultRates { drop: 1.0, ..none }, 1);
        assert!(matches!(camera.next_frame(Timestamp(1), LONG), Err(CameraError::Timeout { .. })));
        assert_eq!((camera.tally().dropped, clock.now()), (100, Timestamp(1_000_000)));

        let (mut camera, clock) = faulty(FaultRates { delay: 1.0, ..none }, 2);
        let frame = camera.next_frame(Timestamp(1), LONG).unwrap();
        assert!(clock.now() > frame.exposed_at && clock.now() <= frame.exposed_at + none.delay_max);

        let (mut camera, _) = faulty(FaultRates { duplicate: 1.0, ..none }, 3);
        let first = camera.next_frame(Timestamp(1), LONG).unwrap();
        assert_eq!(camera.next_frame(Timestamp(10_001), LONG).unwrap(), first);

        let (mut camera, _) = faulty(FaultRates { age: 1.0, ..none }, 4);
        let asked = Timestamp(50_001);
        assert!(camera.next_frame(asked, LONG).unwrap().exposed_at < asked);

        let (mut camera, _) = faulty(FaultRates { tear: 1.0, ..none }, 5);
        assert!(camera.next_frame(asked, LONG).unwrap().rgb.len() < 16 * 16 * 3);
    }

    #[test]
    fn a_pulled_camera_stays_lost_for_its_old_handle() {
        let (mut camera, mut clock) = faulty(FaultRates::default(), 6);
        camera.next_frame(Timestamp(1), LONG).unwrap();
        camera.disconnect(PERIOD * 5);
        assert!(matches!(camera.next_frame(Timestamp(1), LONG), Err(CameraError::Lost { .. })));
        assert!(matches!(camera.reopen(), Err(CameraError::NotFound { .. })));
        clock.spend(PERIOD * 5);
        let mut back = camera.reopen().unwrap();
        assert!(back.check().is_ok() && back.next_frame(clock.now(), LONG).is_ok());
        assert!(matches!(camera.check(), Err(CameraError::Lost { .. })));
    }

    #[test]
    fn the_same_seed_does_the_same_and_rates_are_kept() {
        let rates = FaultRates {
            drop: 0.1,
            delay: 0.1,
            duplicate: 0.1,
            age: 0.1,
            tear: 0.1,
            ..FaultRates::default()
        };
        let run = |seed| {
            let (mut camera, clock) = faulty(rates, seed);
            let frames: Vec<Frame> =
                (0..2000).map(|_| camera.next_frame(clock.now() + PERIOD, LONG).unwrap()).collect();
            (frames, camera.tally())
        };
        let (frames, tally) = run(7);
        assert_eq!((frames.clone(), tally), run(7));
        assert_ne!(frames, run(8).0);
        for count in [tally.dropped, tally.delayed, tally.duplicated, tally.aged, tally.torn] {
            assert!((150..300).contains(&count), "{tally:?}");
        }
    }

    #[test]
    fn impossible_rates_are_refused() {
        let clock = HandClock::default();
        let new = |rates| {
            let camera = Box::new(Studio::new(&clock));
            FaultyCamera::new(camera, clock.clone(), 1, rates).map(|_| ())
        };
        let none = FaultRates::default();
        let error = new(FaultRates { drop: 0.7, tear: 0.7, ..none }).unwrap_err().to_string();
        assert!(error.contains("1.4"), "{error}");
        assert!(new(FaultRates { drop: -0.1, ..none }).is_err());
        assert!(new(FaultRates { age: f32::NAN, ..none }).is_err());
    }
}
