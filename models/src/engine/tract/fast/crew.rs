//! Threads that share an operator's work, and stay awake from one operator to the next: a frame has a hundred of
//! them, most shorter than it takes to wake a thread.

use std::cell::{RefCell, UnsafeCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a thread that has nothing to do stays awake. Longer than the operators that are not shared, so that it
/// sleeps between frames and not within them.
const AWAKE: Duration = Duration::from_micros(500);
/// Looks between two glances at the clock.
const LOOKS: u32 = 64;

/// In [`Shared::state`]: whether there is work to join. Below it, how many have joined; above it, the work's number.
const OPEN: u64 = 1 << 15;
const JOINED: u64 = OPEN - 1;
const NUMBER: u32 = 16;

/// Work of which the parts 0 to `count` are to be done.
#[derive(Clone, Copy)]
struct Work {
    part: *const (dyn Fn(usize) + Sync),
    count: usize,
}

struct Shared {
    state: AtomicU64,
    /// Written by [`Crew::share`] alone, while nobody has joined.
    work: UnsafeCell<Option<Work>>,
    /// The next part that nobody has.
    next: AtomicUsize,
    /// How many have joined and are done.
    done: AtomicUsize,
    panicked: AtomicBool,
    quit: AtomicBool,
    asleep: AtomicUsize,
    bed: Mutex<()>,
    alarm: Condvar,
}

// SAFETY: `work` is written while nobody has joined and read by those who have; see `share` and `join`.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

/// Threads beside the caller's own.
pub(in super::super) struct Crew {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Held while work is shared; who finds it held does its work alone.
    busy: Mutex<()>,
}

impl Crew {
    /// A crew of so many threads, the caller's own included.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn new(threads: usize) -> io::Result<Crew> {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            work: UnsafeCell::new(None),
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            quit: AtomicBool::new(false),
            asleep: AtomicUsize::new(0),
            bed: Mutex::new(()),
            alarm: Condvar::new(),
        });
        let mut crew = Crew { shared, threads: Vec::new(), busy: Mutex::new(()) };
        for number in 1..threads {
            let shared = Arc::clone(&crew.shared);
            let thread = thread::Builder::new().name(format!("engine-{number}"));
            crew.threads.push(thread.spawn(move || shared.serve())?);
        }
        Ok(crew)
    }

    /// Does `part` of 0..`count`, with whoever is awake.
    ///
    /// # Panics
    /// If a part does.
    fn share(&self, count: usize, part: &(dyn Fn(usize) + Sync)) {
        let Ok(_busy) = self.busy.try_lock() else {
            (0..count).for_each(part);
            return;
        };
        let shared = &*self.shared;
        // SAFETY: the last work is closed and all who had joined it are done, so nobody reads. The reference is kept
        // for longer than it says; it is used by those who join before `Close` is dropped, below, and are done then.
        let work = unsafe {
            let part = std::mem::transmute::<
                *const (dyn Fn(usize) + Sync + '_),
                *const (dyn Fn(usize) + Sync + 'static),
            >(part);
            let work = Work { part, count };
            *shared.work.get() = Some(work);
            work
        };
        shared.next.store(0, Ordering::Relaxed);
        shared.done.store(0, Ordering::Relaxed);
        let number = (shared.state.load(Ordering::Relaxed) >> NUMBER) + 1;
        shared.state.store(number << NUMBER | OPEN, Ordering::SeqCst);
        if shared.asleep.load(Ordering::SeqCst) > 0 {
            drop(shared.bed.lock().unwrap_or_else(PoisonError::into_inner));
            shared.alarm.notify_all();
        }
        let close = Close(shared);
        shared.parts(work);
        drop(close);
        assert!(!shared.panicked.swap(false, Ordering::Relaxed), "a thread of the engine panicked");
    }
}

/// Closes the work and waits for all who have joined, also while a panic of the caller's own goes by.
struct Close<'a>(&'a Shared);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let joined = self.0.state.fetch_and(!OPEN, Ordering::AcqRel) & JOINED;
        let mut looks = 0;
        while self.0.done.load(Ordering::Acquire) as u64 != joined {
            rest(&mut looks);
        }
    }
}

/// Looks on, and lets others have the processor now and then: there may be more threads than processors.
fn rest(looks: &mut u32) {
    *looks += 1;
    if looks.is_multiple_of(LOOKS) {
        thread::yield_now();
    }
    std::hint::spin_loop();
}

impl Shared {
    fn parts(&self, work: Work) {
        // SAFETY: the caller of `share` waits for everybody who has joined.
        let part = unsafe { &*work.part };
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= work.count {
                return;
            }
            part(index);
        }
    }

    /// Joins work until the end.
    fn serve(&self) {
        let mut last = 0;
        let (mut since, mut looks) = (Instant::now(), 0);
        while !self.quit.load(Ordering::Relaxed) {
            if self.join(&mut last) {
                (since, looks) = (Instant::now(), 0);
                continue;
            }
            rest(&mut looks);
            if looks.is_multiple_of(LOOKS) && since.elapsed() > AWAKE {
                self.sleep(last);
                (since, looks) = (Instant::now(), 0);
            }
        }
    }

    fn is_new(&self, last: u64) -> bool {
        let state = self.state.load(Ordering::SeqCst);
        state & OPEN != 0 && state >> NUMBER != last
    }

    /// Joins the work if it is open and was not joined yet, and says whether it did.
    fn join(&self, last: &mut u64) -> bool {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            if state & OPEN == 0 || state >> NUMBER == *last {
                return false;
            }
            let joined = self.state.compare_exchange_weak(
                state,
                state + 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            match joined {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        *last = state >> NUMBER;
        // SAFETY: this thread has joined: the work stands until it is done.
        if let Some(work) = unsafe { *self.work.get() }
            && catch_unwind(AssertUnwindSafe(|| self.parts(work))).is_err()
        {
            self.panicked.store(true, Ordering::Relaxed);
        }
        self.done.fetch_add(1, Ordering::Release);
        true
    }

    /// Sleeps until there is work, or the end. Either this thread sees the work before it lies down, or whoever
    /// shares it sees that one is asleep.
    fn sleep(&self, last: u64) {
        let mut bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.fetch_add(1, Ordering::SeqCst);
        while !self.quit.load(Ordering::SeqCst) && !self.is_new(last) {
            bed = self.alarm.wait(bed).unwrap_or_else(PoisonError::into_inner);
        }
        self.asleep.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.quit.store(true, Ordering::SeqCst);
        drop(self.shared.bed.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.alarm.notify_all();
        for thread in self.threads.drain(..) {
            // It has caught every panic of the work's.
            let _ = thread.join();
        }
    }
}

thread_local! {
    /// The crew of the graph that runs on this thread.
    static OURS: RefCell<Option<Arc<Crew>>> = const { RefCell::new(None) };
}

/// Gives back what [`OURS`] was.
struct Restore(Option<Arc<Crew>>);

impl Drop for Restore {
    fn drop(&mut self) {
        OURS.set(self.0.take());
    }
}

/// Runs `work` with a crew for [`shared`], or with none.
pub(in super::super) fn with_crew<T>(crew: Option<&Arc<Crew>>, work: impl FnOnce() -> T) -> T {
    let _restore = Restore(OURS.replace(crew.cloned()));
    work()
}

/// How many threads [`shared`] has, the caller's own included.
pub(super) fn hands() -> usize {
    OURS.with_borrow(|crew| crew.as_ref().map_or(1, |crew| crew.threads.len() + 1))
}

/// Does `work` for 0..`count`, on all threads that the running graph was given.
pub(super) fn shared(count: usize, work: impl Fn(usize) + Sync) {
    // What shares within shared work does so alone.
    let ours = Restore(OURS.take());
    match &ours.0 {
        Some(crew) if count > 1 => crew.share(count, &work),
        _ => (0..count).for_each(work),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done_once(crew: &Arc<Crew>, count: usize) {
        let seen: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
        with_crew(Some(crew), || {
            shared(count, |i| {
                seen[i].fetch_add(1, Ordering::Relaxed);
            });
        });
        assert!(seen.iter().all(|n| n.load(Ordering::Relaxed) == 1), "{count}");
    }

    #[test]
    fn every_part_is_done_once_awake_or_asleep() {
        for threads in [1, 2, 3, 5] {
            let crew = Arc::new(Crew::new(threads).unwrap());
            for round in 0..2000 {
                done_once(&crew, round % 17);
            }
            // Long enough for all to fall asleep, and to be on the way there.
            for pause in [0, 400, 490, 500, 510, 600, 2000] {
                thread::sleep(Duration::from_micros(pause));
                done_once(&crew, 9);
            }
        }
    }

    #[test]
    fn others_take_part() {
        let crew = Arc::new(Crew::new(2).unwrap());
        let ids = Mutex::new(std::collections::HashSet::new());
        with_crew(Some(&crew), || {
            // Until both were seen: one may be slow to wake.
            for _ in 0..1000 {
                shared(8, |_| {
                    ids.lock().unwrap().insert(thread::current().id());
                    thread::sleep(Duration::from_micros(50));
                });
                if ids.lock().unwrap().len() > 1 {
                    break;
                }
            }
        });
        assert_eq!(ids.into_inner().unwrap().len(), 2);
    }

    #[test]
    fn shared_within_shared_and_by_two_callers() {
        let crew = Arc::new(Crew::new(3).unwrap());
        let sum = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    with_crew(Some(&crew), || {
                        for _ in 0..200 {
                            shared(4, |i| {
                                shared(3, |j| {
                                    sum.fetch_add(i * 3 + j, Ordering::Relaxed);
                                });
                            });
                        }
                    });
                });
            }
        });
        assert_eq!(sum.into_inner(), 2 * 200 * 66);
    }

    #[test]
    fn a_panic_of_a_part_reaches_the_caller_and_the_crew_goes_on() {
        let crew = Arc::new(Crew::new(2).unwrap());
        for bad in 0..6 {
            let ran = catch_unwind(AssertUnwindSafe(|| {
                with_crew(Some(&crew), || {
                    shared(6, |i| {
                        thread::sleep(Duration::from_micros(20));
                        assert_ne!(i, bad, "on purpose");
                    });
                });
            }));
            assert!(ran.is_err(), "{bad}");
            done_once(&crew, 12);
        }
    }
}
