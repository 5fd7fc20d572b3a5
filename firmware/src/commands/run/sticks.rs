//! USB sticks: noticed and mounted by a thread of their own, because a bad one
//! can hold a mount for seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use log::{info, warn};
use touchstone_board::Timestamp;
use touchstone_board::config::StorageConfig;
use touchstone_board::drives::{DriveEvent, Drives, POLL_EVERY};

/// The thread that looks after sticks.
pub(super) struct Sticks {
    quit: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sticks {
    /// Starts it, where the board file asks for it.
    pub(super) fn watch(config: &StorageConfig) -> Option<Self> {
        let mut drives = Drives::open(config)?;
        let quit = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&quit);
        let body = move || {
            let mut complained = false;
            while !told.load(Ordering::Relaxed) {
                match drives.poll(Timestamp::now_monotonic()) {
                    Ok(events) => events.iter().for_each(say),
                    Err(error) if !complained => {
                        complained = true;
                        warn!("sticks: {error}");
                    }
                    Err(_) => {}
                }
                thread::sleep(POLL_EVERY);
            }
        };
        match thread::Builder::new().name("sticks".to_owned()).spawn(body) {
            Ok(thread) => Some(Self { quit, thread: Some(thread) }),
            Err(e) => {
                warn!("sticks: no thread for them: {e}; the line runs without");
                None
            }
        }
    }
}

impl Drop for Sticks {
    /// Unmounts them. A stick that holds its mount holds up the end, not the
    /// line: the outputs are at rest by now.
    fn drop(&mut self) {
        self.quit.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|t| t.join().is_err()) {
            warn!("sticks: their thread panicked");
        }
    }
}

fn say(event: &DriveEvent) {
    match event {
        DriveEvent::Mounted { partition, at, filesystem } => {
            info!("stick {}: {filesystem}, read-only at {}", partition.name, at.display());
        }
        DriveEvent::Failed { partition, error } => warn!("stick {}: {error}", partition.name),
        DriveEvent::Removed { partition, .. } => info!("stick {}: pulled out", partition.name),
    }
}
