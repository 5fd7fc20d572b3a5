//! How long things take, as a histogram of fixed size.

/// Sub-buckets per doubling: a quantile is exact to about 2 %.
const PER_OCTAVE: usize = 32;
/// 1 µs to 2^27 µs, more than two minutes.
const OCTAVES: usize = 27;
const BUCKETS: usize = PER_OCTAVE * (OCTAVES + 1);

/// A histogram of durations in microseconds. Allocates once.
#[derive(Clone, Debug)]
pub struct Latency {
    buckets: Box<[u32; BUCKETS]>,
    count: u64,
    sum_us: u64,
    max_us: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), count: 0, sum_us: 0, max_us: 0 }
    }
}

impl Latency {
    /// Adds one duration.
    pub fn add(&mut self, us: u64) {
        let bucket = &mut self.buckets[bucket_of(us)];
        *bucket = bucket.saturating_add(1);
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(us);
        self.max_us = self.max_us.max(us);
    }

    /// How many durations were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest duration.
    pub fn max_us(&self) -> u64 {
        self.max_us
    }

    /// The mean duration; 0 if there is none.
    pub fn mean_us(&self) -> u64 {
        self.sum_us.checked_div(self.count).unwrap_or(0)
    }

    /// The smallest duration that `share` (0..=1) of all do not exceed, to
    /// within 2 %, rounded up; 0 if there is none.
    pub fn quantile_us(&self, share: f64) -> u64 {
        let rank = (share.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, &n) in self.buckets.iter().enumerate() {
            seen += u64::from(n);
            if seen >= rank {
                return upper_end(index).min(self.max_us);
            }
        }
        self.max_us
    }

    /// The median.
    pub fn p50_us(&self) -> u64 {
        self.quantile_us(0.50)
    }

    /// The 99th percentile.
    pub fn p99_us(&self) -> u64 {
        self.quantile_us(0.99)
    }

    /// What one in a thousand exceeds.
    pub fn p999_us(&self) -> u64 {
        self.quantile_us(0.999)
    }
}

/// Below `PER_OCTAVE` every microsecond has its own bucket, above it every
/// doubling has `PER_OCTAVE` of them.
fn bucket_of(us: u64) -> usize {
    let per = PER_OCTAVE as u64;
    if us < per {
        return us as usize;
    }
    let octave = us.ilog2() - per.ilog2();
    let within = (us >> octave) - per;
    (per * (u64::from(octave) + 1) + within).min(BUCKETS as u64 - 1) as usize
}

fn upper_end(bucket: usize) -> u64 {
    let per = PER_OCTAVE as u64;
    let bucket = bucket as u64;
    if bucket < per {
        return bucket;
    }
    let (octave, within) = (bucket / per - 1, bucket % per);
    ((per + within + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_histogram_is_all_zero() {
        let none = Latency::default();
        assert_eq!((none.p50_us(), none.p99_us(), none.max_us(), none.mean_us()), (0, 0, 0, 0));
    }

    #[test]
    fn buckets_meet_without_gap() {
        for bucket in 0..BUCKETS - 1 {
            let end = upper_end(bucket);
            assert_eq!((bucket_of(end), bucket_of(end + 1)), (bucket, bucket + 1), "at {end}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    proptest! {
        #[test]
        fn quantiles_are_right_to_within_a_bucket(mut us in prop::collection::vec(0u64..5_000_000, 1..300)) {
            let mut latency = Latency::default();
            us.iter().for_each(|&d| latency.add(d));
            us.sort_unstable();
            for share in [0.0, 0.5, 0.9, 0.99, 1.0] {
                let rank = (share * us.len() as f64).ceil().max(1.0) as usize;
                let exact = us[rank - 1];
                let told = latency.quantile_us(share);
                prop_assert!(told >= exact, "{told} < {exact}");
                prop_assert!(told as f64 <= exact as f64 * 1.032 + 1.0, "{told} >> {exact}");
            }
            prop_assert_eq!(latency.max_us(), *us.last().unwrap());
        }
    }
}
