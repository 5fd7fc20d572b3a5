//! Two parts in flight: while one is compared and decided on, the next is already being found and encoded.
//!
//! Each half of the inspector has a thread of its own, so a part takes no less time, but the next need not wait for the
//! whole of it. Verdicts come in the parts' order.

use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

use touchstone_models::inspector::{Back, Front, Inspection, Seen};
use touchstone_models::picture::Picture;

/// Steps that the front may be ahead: it encodes the next tile while the back is at one, and then waits.
const STEPS_AHEAD: usize = 2;

enum Step<T> {
    Seen(Seen),
    /// There is no more of this part; the front began with it then.
    Whole(T, Picture, Instant),
}

/// Tells the front that nobody takes its steps any more, also if the back panics.
struct Gone<'a>(&'a AtomicBool);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Judges the parts that `next` gives, which has a thread of its own, until it gives none; `done` is told of each verdict
/// and what it took, in microseconds by the wall clock, and says whether to go on. `next` is given a flag that says that
/// nobody waits for it any more: it must look at it if it waits itself.
///
/// # Errors
/// There is no thread for the front; nothing was judged then.
///
/// # Panics
/// If one of the halves does.
pub fn judge_abreast<T: Send>(
    (mut front, mut back): (Front<'_>, Back<'_>),
    mut next: impl FnMut(&AtomicBool) -> Option<(T, Picture)> + Send,
    mut done: impl FnMut(T, Picture, Inspection, u64) -> bool,
) -> io::Result<()> {
    let gone = AtomicBool::new(false);
    thread::scope(|scope| {
        let (give, steps) = sync_channel(STEPS_AHEAD);
        let gone = &gone;
        let ahead = thread::Builder::new().name("judge-ahead".to_owned());
        let ahead = ahead.spawn_scoped(scope, move || {
            while let Some((part, picture)) = next(gone) {
                let begun = Instant::now();
                front.see(&picture, |seen| give.send(Step::Seen(seen)).is_ok());
                if give.send(Step::Whole(part, picture, begun)).is_err() {
                    return;
                }
            }
        })?;
        {
            let _gone = Gone(gone);
            for step in steps {
                match step {
                    Step::Seen(seen) => {
                        // Where it wants no more, the rest of the part is passed over.
                        back.take(seen);
                    }
                    Step::Whole(part, picture, begun) => {
                        let inspection = back.decide(&picture);
                        let us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                        if !done(part, picture, inspection, us) {
                            break;
                        }
                    }
                }
            }
        }
        match ahead.join() {
            Ok(()) => Ok(()),
            Err(panic) => resume_unwind(panic),
        }
    })
}
