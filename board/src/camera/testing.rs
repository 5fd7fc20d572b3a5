//! What the tests of cameras share: a clock moved by hand, and a camera that runs on it.

use super::{Camera, CameraCounts, CameraError, Frame};
use crate::time::{Clock, Timestamp};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A clock that moves only when somebody waits. Clones are the same clock.
#[derive(Clone, Default)]
pub(super) struct HandClock(Arc<Mutex<i64>>);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(*self.0.lock().unwrap())
    }
    fn sleep_until(&mut self, until: Timestamp) {
        let mut now = self.0.lock().unwrap();
        *now = until.0.max(*now);
    }
    fn spend(&mut self, spent: Duration) {
        *self.0.lock().unwrap() += spent.as_micros() as i64;
    }
}

/// Exposes frame `i` at `i` times this, for ever.
pub(super) const PERIOD: Duration = Duration::from_millis(10);

/// A camera without a fault, free-running on a hand-moved clock. Pixels say the frame's number.
pub(super) struct Studio {
    pub(super) clock: HandClock,
    pub(super) counts: CameraCounts,
}

impl Studio {
    pub(super) fn new(clock: &HandClock) -> Studio {
        Studio { clock: clock.clone(), counts: CameraCounts::default() }
    }
}

impl Camera for Studio {
    fn describe(&self) -> String {
        "studio".to_owned()
    }

    fn next_frame(
        &mut self,
        not_before: Timestamp,
        timeout: Duration,
    ) -> Result<Frame, CameraError> {
        let now = self.clock.now();
        let period = PERIOD.as_micros() as i64;
        // The newest of the past if it is late enough, else the next one late enough.
        let newest = now.0.div_euclid(period);
        let first = not_before.0.saturating_add(period - 1).div_euclid(period);
        let number = newest.max(first);
        let exposed_at = Timestamp(number * period);
        if exposed_at > now + timeout {
            self.clock.sleep_until(now + timeout);
            return Err(CameraError::Timeout { waited: timeout });
        }
        self.clock.sleep_until(exposed_at);
        self.counts.delivered += 1;
        let rgb = vec![number as u8; 16 * 16 * 3];
        Ok(Frame { width: 16, height: 16, rgb, sequence: number as u32, exposed_at })
    }

    fn counts(&self) -> CameraCounts {
        self.counts
    }
}
