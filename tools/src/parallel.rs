//! Jobs side by side.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Result, anyhow};

/// Threads that this machine runs at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The results of jobs `0..count`, in that order whatever the number of threads. Each thread makes what it works
/// with by `begin`; the first error ends the work.
///
/// # Errors
/// Of `begin` or of a job, or when a thread panics.
pub fn map<S, T: Send>(
    count: usize,
    threads: usize,
    begin: impl Fn() -> Result<S> + Sync,
    job: impl Fn(&mut S, usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || -> Result<Vec<(usize, T)>> {
        let mut state = begin()?;
        let mut done = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            let result = job(&mut state, number);
            done.push((number, result.inspect_err(|_| stop.store(true, Ordering::Relaxed))?));
        }
        Ok(done)
    };
    let parts: Vec<Result<Vec<(usize, T)>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.min(count)).map(|_| scope.spawn(work)).collect();
        let died = || Err(anyhow!("a thread died"));
        threads.into_iter().map(|t| t.join().unwrap_or_else(|_| died())).collect()
    });
    let mut all: Vec<(usize, T)> =
        parts.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    all.sort_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_on_any_number_of_threads() {
        for threads in [1, 3, 40] {
            let squares =
                map(20, threads, || Ok(2), |power, n| Ok(n.pow(*power))).expect("no error");
            assert_eq!(squares, (0..20).map(|n| n * n).collect::<Vec<_>>());
        }
        assert!(map(0, 4, || Ok(()), |_, n| Ok(n)).expect("nothing to do").is_empty());
    }

    #[test]
    fn the_first_error_ends_the_work() {
        let done = AtomicUsize::new(0);
        let job = |_: &mut (), n: usize| {
            done.fetch_add(1, Ordering::Relaxed);
            if n == 3 { Err(anyhow!("job {n}")) } else { Ok(n) }
        };
        assert_eq!(map(10_000, 1, || Ok(()), job).expect_err("an error").to_string(), "job 3");
        assert_eq!(done.into_inner(), 4);
        assert!(map(5, 2, || Err::<(), _>(anyhow!("no state")), |_, n| Ok(n)).is_err());
    }
}
