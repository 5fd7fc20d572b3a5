use super::*;
use proptest::prelude::*;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::{Arc, Mutex};

fn at(ms: i64) -> Timestamp {
    Timestamp(ms * 1000)
}

#[test]
fn feeding_is_spread_out_and_withheld_from_a_line_that_is_late() {
    let mut policy = FeedPolicy::new(Duration::from_secs(8));
    assert_eq!(policy.every(), Duration::from_secs(2));
    assert_eq!(policy.decide(at(0), true), Decision::Feed);
    assert_eq!(policy.decide(at(1999), true), Decision::Wait);
    assert_eq!(policy.decide(at(2000), true), Decision::Feed);
    assert_eq!(policy.decide(at(4000), false), Decision::Withhold { since: at(4000) });
    assert_eq!(policy.decide(at(5000), false), Decision::Withhold { since: at(4000) });
    assert_eq!(policy.decide(at(5001), true), Decision::Feed, "well again");
    assert_eq!(policy.decide(at(5002), false), Decision::Withhold { since: at(5002) });
}

proptest! {
    #[test]
    fn a_sick_line_is_never_fed_and_a_well_one_never_starves(
        steps in prop::collection::vec((0i64..900, any::<bool>()), 1..200),
    ) {
        // Called at least every 0.9 s with 4 s of timeout.
        let mut policy = FeedPolicy::new(Duration::from_secs(4));
        let (mut now, mut fed, mut well_since) = (0, None, None);
        for (wait, healthy) in steps {
            now += wait;
            well_since = if healthy { well_since.or(Some(now)) } else { None };
            let decision = policy.decide(at(now), healthy);
            prop_assert_eq!(matches!(decision, Decision::Withhold { .. }), !healthy);
            if decision == Decision::Feed {
                prop_assert!(fed.is_none_or(|fed| now - fed >= 1000));
                fed = Some(now);
            }
            if well_since.is_some() {
                prop_assert!(now - fed.unwrap() < 1000, "starved for {} ms", now - fed.unwrap());
            }
        }
    }
}

struct Fake(Arc<Mutex<Vec<&'static str>>>, &'static str);

impl Watchdog for Fake {
    fn describe(&self) -> String {
        self.1.to_owned()
    }
    fn timeout(&self) -> Duration {
        Duration::from_secs(if self.1 == "slow" { 40 } else { 4 })
    }
    fn feed(&mut self) -> Result<(), WatchdogError> {
        self.0.lock().unwrap().push(self.1);
        match self.1 {
            "dead" => Err(WatchdogError::Lost {
                what: "dead".to_owned(),
                doing: "feeding",
                source: io::Error::other("gone"),
            }),
            _ => Ok(()),
        }
    }
    fn stop(&mut self) -> Result<(), WatchdogError> {
        self.0.lock().unwrap().push("stop");
        Ok(())
    }
}

#[test]
fn one_dead_watchdog_does_not_starve_the_others() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let dogs = ["dead", "quick", "slow"];
    let dogs: Vec<Box<dyn Watchdog>> = dogs
        .iter()
        .map(|name| Box::new(Fake(Arc::clone(&log), name)) as Box<dyn Watchdog>)
        .collect();
    let mut feeder = Feeder::new(dogs);
    assert_eq!(feeder.every(), Some(Duration::from_secs(1)));
    let error = feeder.feed(at(0), true).unwrap_err().to_string();
    assert!(error.contains("dead: feeding: gone; the machine may restart"), "{error}");
    feeder.feed(at(500), false).unwrap();
    feeder.feed(at(1500), true).unwrap_err();
    feeder.stop().unwrap();
    let wanted = ["dead", "quick", "slow", "dead", "quick", "stop", "stop", "stop"];
    assert_eq!(*log.lock().unwrap(), wanted);
    let mut none = Feeder::new(Vec::new());
    assert!(none.every().is_none() && none.feed(at(0), true).is_ok());
}

#[test]
fn a_device_is_fed_by_writing_and_stopped_by_the_magic_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("watchdog");
    std::fs::write(&path, "").unwrap();
    // A file takes no ioctl: as a driver that keeps its time to itself.
    let mut dog = DeviceWatchdog::open(&path, None).unwrap();
    assert_eq!(dog.timeout(), Duration::from_secs(2));
    assert!(dog.describe().ends_with("watchdog (2 s)"));
    dog.feed().unwrap();
    dog.feed().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"..");
    dog.stop().unwrap();
    dog.feed().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"..V", "nothing after the end");
    std::fs::write(&path, "").unwrap();
    let mut left_running = DeviceWatchdog::open(&path, None).unwrap();
    left_running.feed().unwrap();
    drop(left_running);
    assert_eq!(std::fs::read(&path).unwrap(), b".", "no magic byte: an end by accident");
}

#[test]
fn errors_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none");
    let error = DeviceWatchdog::open(&path, None).unwrap_err().to_string();
    assert!(error.contains("modprobe softdog"), "{error}");
    let config = WatchdogConfig { device: Some(path.clone()), timeout: None };
    assert!(open(&config).is_err());
    for (code, remedy) in
        [(13, "udev rule"), (16, "WatchdogSec"), (21, "correct [watchdog] device")]
    {
        let source = io::Error::from_raw_os_error(code);
        let error = WatchdogError::Open { path: path.clone(), source }.to_string();
        assert!(error.contains(remedy), "{error}");
    }
    std::fs::write(&path, "").unwrap();
    let wanted = Some(Duration::from_secs(20));
    let error = DeviceWatchdog::open(&path, wanted).unwrap_err().to_string();
    assert!(error.contains("20 s cannot be had; remove [watchdog] timeout_s"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"V", "one that cannot be used is not left running");
    let error = agreed(&path, wanted, Ok(16)).unwrap_err().to_string();
    assert!(error.contains("it makes it 16 s; set [watchdog] timeout_s to that"), "{error}");
    assert_eq!(agreed(&path, wanted, Ok(20)).unwrap(), Duration::from_secs(20));
    assert_eq!(agreed(&path, None, Ok(60)).unwrap(), Duration::from_secs(60));
}

#[test]
fn without_systemd_nothing_is_said_and_nothing_is_wrong() {
    if std::env::var_os("NOTIFY_SOCKET").is_some() {
        return;
    }
    assert!(ServiceWatchdog::from_unit().is_none());
    assert!(ready().is_ok() && status("fine").is_ok() && stopping().is_ok());
    assert!(open(&WatchdogConfig::default()).unwrap().is_empty());
}

/// Speaks to the socket of [`systemd_hears_it_all`]; on its own it has nothing to do.
#[test]
#[ignore = "run by the next test in a process with systemd's environment"]
fn as_a_service() {
    let mut dog = ServiceWatchdog::from_unit().unwrap();
    assert_eq!(dog.timeout(), Duration::from_secs(3));
    ready().unwrap();
    dog.feed().unwrap();
    status("two\nlines").unwrap();
    dog.stop().unwrap();
}

#[test]
fn systemd_hears_it_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "watchdog::tests::as_a_service", "--ignored"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "3000000")
        .env_remove("WATCHDOG_PID")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    socket.set_nonblocking(true).unwrap();
    let mut heard = Vec::new();
    let mut buffer = [0; 256];
    while let Ok(length) = socket.recv(&mut buffer) {
        heard.push(String::from_utf8_lossy(&buffer[..length]).trim().to_owned());
    }
    assert_eq!(heard, ["READY=1", "WATCHDOG=1", "STATUS=two lines", "STOPPING=1"]);
}
