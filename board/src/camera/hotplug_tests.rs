use super::*;
use crate::camera::fault::{FaultRates, FaultyCamera};
use crate::camera::testing::{HandClock, PERIOD, Studio};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

const WAIT: Duration = Duration::from_millis(100);

fn camera(
    rates: FaultRates,
    seed: u64,
) -> (Reconnecting<HandClock>, FaultyCamera<HandClock>, HandClock) {
    let clock = HandClock::default();
    let studio = Box::new(Studio::new(&clock));
    let faulty = FaultyCamera::new(studio, clock.clone(), seed, rates).unwrap();
    let opener = faulty.clone();
    let camera = Reconnecting::with_clock("/dev/video0".into(), opener, clock.clone()).unwrap();
    (camera, faulty, clock)
}

#[test]
fn the_machine_tries_soon_then_slower_and_never_stops() {
    let mut plug = Plug::Here { since: Timestamp::ZERO };
    assert_eq!(plug.poll_at(), None);
    plug = plug.step(Timestamp(1_000_000), PlugEvent::Lost);
    let mut waits = Vec::new();
    for _ in 0..8 {
        let at = plug.poll_at().unwrap();
        plug = plug.step(at, PlugEvent::Refused);
        waits.push(plug.poll_at().unwrap().since(at).as_millis());
    }
    assert_eq!(waits, [100, 200, 400, 500, 500, 500, 500, 500]);
    let again = plug.step(Timestamp(99_000_000), PlugEvent::Lost);
    assert_eq!(again, plug, "a second report of the same loss moves nothing");
    let Plug::Gone { since, .. } = plug else { panic!("{plug:?}") };
    assert_eq!(since, Timestamp(1_000_000));
    let here = plug.step(Timestamp(7), PlugEvent::Opened);
    assert_eq!(here, Plug::Here { since: Timestamp(7) });
}

#[test]
fn a_loss_is_told_at_once_and_the_return_is_found() {
    let (mut camera, faulty, mut clock) = camera(FaultRates::default(), 1);
    camera.next_frame(Timestamp(1), WAIT).unwrap();
    assert!(camera.check().is_ok());
    faulty.disconnect(Duration::from_secs(1));
    let at = clock.now();
    assert!(matches!(camera.check(), Err(CameraError::Lost { .. })));
    assert_eq!(clock.now(), at, "a check never waits");
    // While away it waits no longer than for a frame.
    assert!(matches!(camera.next_frame(at, WAIT), Err(CameraError::Lost { .. })));
    assert_eq!(clock.now(), at + WAIT);
    let returned = at + Duration::from_secs(1);
    clock.sleep_until(returned);
    let frame = camera.next_frame(at, RETRY_MAX * 2).unwrap();
    assert!(frame.exposed_at >= returned, "exposed at {}, back at {returned}", frame.exposed_at);
    assert!(clock.now() <= returned + RETRY_MAX + PERIOD * 2);
    let counts = camera.counts();
    assert_eq!((counts.losses, counts.reconnects), (1, 1));
    assert!(counts.delivered >= 2, "the counts of both connections: {counts:?}");
}

#[test]
fn a_wait_for_a_frame_says_that_the_camera_went() {
    let rates = FaultRates { disconnect: 1.0, ..FaultRates::default() };
    let (mut camera, _faulty, clock) = camera(rates, 2);
    let error = camera.next_frame(Timestamp(1), WAIT).unwrap_err();
    assert!(matches!(&error, CameraError::Lost { path } if path.ends_with("video0")), "{error}");
    assert_eq!(clock.now(), Timestamp(10_000), "not the whole timeout");
}

/// Opens once, then gives what the list says, then is not found.
fn scripted(
    clock: &HandClock,
    errors: Vec<CameraError>,
) -> (Reconnecting<HandClock>, Arc<Mutex<VecDeque<CameraError>>>) {
    let errors = Arc::new(Mutex::new(VecDeque::from(errors)));
    let (script, studio_clock) = (Arc::clone(&errors), clock.clone());
    let mut first = true;
    let opener = move || -> Result<Box<dyn Camera>, CameraError> {
        if std::mem::take(&mut first) {
            let studio = Box::new(Studio::new(&studio_clock));
            let rates = FaultRates { disconnect: 1.0, ..FaultRates::default() };
            return Ok(Box::new(
                FaultyCamera::new(studio, studio_clock.clone(), 1, rates).unwrap(),
            ));
        }
        let next = script.lock().unwrap().pop_front();
        Err(next.unwrap_or(CameraError::NotFound { path: "/dev/video0".into(), here: Vec::new() }))
    };
    let camera = Reconnecting::with_clock("/dev/video0".into(), opener, clock.clone()).unwrap();
    (camera, errors)
}

#[test]
fn a_different_camera_at_the_path_stays_an_error_that_says_so() {
    let wrong = || CameraError::WrongCamera {
        path: "/dev/video0".into(),
        what: "serial number",
        wanted: "A".to_owned(),
        found: "B".to_owned(),
    };
    let bus = || CameraError::WrongBus {
        path: "/dev/video0".into(),
        wanted: "usb-1".to_owned(),
        found: "usb-2".to_owned(),
    };
    let denied = || CameraError::Io {
        path: "/dev/video0".into(),
        doing: "opening the camera",
        source: std::io::ErrorKind::Other.into(),
    };
    let busy = || CameraError::Unusable { path: "/dev/video0".into(), why: "in use".to_owned() };
    let mut clock = HandClock::default();
    let (mut camera, left) = scripted(&clock, vec![wrong(), bus(), busy(), denied()]);
    assert!(matches!(camera.next_frame(Timestamp(1), WAIT), Err(CameraError::Lost { .. })));
    for needle in ["\"A\", this one has \"B\"", "on \"usb-2\"", "in use", "does not come back"] {
        let at = camera.plug().poll_at().unwrap();
        clock.sleep_until(at);
        let error = camera.check().unwrap_err().to_string();
        assert!(error.contains(needle), "{error}");
        // Asked again before the next try, it says the same.
        assert_eq!(camera.next_frame(Timestamp(1), Duration::ZERO).unwrap_err().to_string(), error);
    }
    assert!(left.lock().unwrap().is_empty());
    let at = camera.plug().poll_at().unwrap();
    clock.sleep_until(at);
    assert!(matches!(camera.check(), Err(CameraError::Lost { .. })), "pulled out again");
}

#[test]
fn a_camera_that_is_not_there_at_the_start_is_an_error_at_once() {
    let opener = || -> Result<Box<dyn Camera>, CameraError> {
        Err(CameraError::NotFound { path: "/dev/video7".into(), here: Vec::new() })
    };
    let opened = Reconnecting::open("/dev/video7".into(), opener);
    assert!(opened.unwrap_err().to_string().contains("/dev/video7: no such camera"));
}

proptest! {
    #[test]
    fn no_frame_is_older_than_its_trigger_or_the_reopening(
        seed in any::<u64>(), disconnect in 0.0f32..0.5, drop in 0.0f32..0.3, delay in 0.0f32..0.2,
    ) {
        let rates = FaultRates { disconnect, drop, delay, ..FaultRates::default() };
        let (mut camera, faulty, mut clock) = camera(rates, seed);
        let (mut delivered, mut losses) = (0, 0);
        for _ in 0..200 {
            clock.spend(Duration::from_millis(37));
            let trigger = clock.now();
            match camera.next_frame(trigger, WAIT) {
                Ok(frame) => {
                    delivered += 1;
                    let Plug::Here { since } = camera.plug() else { panic!("a frame from nowhere") };
                    prop_assert!(frame.exposed_at >= trigger && frame.exposed_at >= since);
                }
                Err(CameraError::Lost { .. }) => losses += 1,
                Err(CameraError::Timeout { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        let counts = camera.counts();
        let tally = faulty.tally();
        prop_assert_eq!(counts.losses, tally.disconnected);
        prop_assert!(counts.reconnects == counts.losses || counts.reconnects + 1 == counts.losses);
        prop_assert!(losses >= counts.losses);
        prop_assert!(delivered > 0 || disconnect > 0.2);
    }
}
