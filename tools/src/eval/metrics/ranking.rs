//! Metrics over whole pictures: AUROC, average precision and F1 at a given threshold.

use super::MetricError;

/// Area under the ROC curve of `scores` (higher = more defective), ties by midrank.
///
/// # Errors
/// Lists of different length, a score that is not finite, or only one class present.
pub fn auroc(scores: &[f32], defective: &[bool]) -> Result<f64, MetricError> {
    let (bad, good) = check(scores, defective)?;
    // Mann-Whitney U counted in halves, so that ties stay exact integers.
    let mut halves: u128 = 0;
    let mut good_below: u128 = 0;
    for tie in ascending_ties(scores, defective) {
        halves += tie.bad as u128 * (2 * good_below + tie.good as u128);
        good_below += tie.good as u128;
    }
    Ok(halves as f64 / (2.0 * bad as f64 * good as f64))
}

/// Average precision: `Σ (R_n − R_{n−1}) P_n` over descending distinct scores, not interpolated.
///
/// # Errors
/// Lists of different length, a score that is not finite, or only one class present.
pub fn average_precision(scores: &[f32], defective: &[bool]) -> Result<f64, MetricError> {
    let (bad, _) = check(scores, defective)?;
    let mut found = 0u64;
    let mut taken = 0u64;
    let mut area = 0.0;
    for tie in ascending_ties(scores, defective).into_iter().rev() {
        found += tie.bad;
        taken += tie.bad + tie.good;
        area += tie.bad as f64 * (found as f64 / taken as f64);
    }
    Ok(area / bad as f64)
}

/// Counts of right and wrong decisions over pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Defective and rejected.
    pub found: u64,
    /// Clean and rejected.
    pub false_alarms: u64,
    /// Defective and passed.
    pub missed: u64,
    /// Clean and passed.
    pub passed: u64,
}

impl Confusion {
    /// Counts decisions; `rejected` and `defective` run in parallel.
    ///
    /// # Errors
    /// Lists of different length, or only one class present.
    pub fn count(rejected: &[bool], defective: &[bool]) -> Result<Self, MetricError> {
        check_lengths(rejected.len(), defective.len())?;
        let mut counts = Self::default();
        for (&rejected, &defective) in rejected.iter().zip(defective) {
            match (rejected, defective) {
                (true, true) => counts.found += 1,
                (true, false) => counts.false_alarms += 1,
                (false, true) => counts.missed += 1,
                (false, false) => counts.passed += 1,
            }
        }
        check_classes(counts.found + counts.missed, counts.false_alarms + counts.passed)?;
        Ok(counts)
    }

    /// Harmonic mean of precision and recall of the defective class.
    pub fn f1(&self) -> f64 {
        2.0 * self.found as f64 / (2 * self.found + self.false_alarms + self.missed) as f64
    }

    /// Share of the defective pictures that were rejected (recall).
    pub fn found_share(&self) -> f64 {
        self.found as f64 / (self.found + self.missed) as f64
    }

    /// Rejected clean pictures per clean picture.
    pub fn false_alarm_share(&self) -> f64 {
        self.false_alarms as f64 / (self.false_alarms + self.passed) as f64
    }
}

/// Pictures of one and the same score.
struct Tie {
    bad: u64,
    good: u64,
}

fn ascending_ties(scores: &[f32], defective: &[bool]) -> Vec<Tie> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let mut ties: Vec<Tie> = Vec::new();
    let mut previous = None;
    for index in order {
        // `+ 0.0` turns -0.0 into 0.0, which compare equal but have different bits.
        let score = scores[index] + 0.0;
        if previous.is_none_or(|p: f32| p.to_bits() != score.to_bits()) {
            ties.push(Tie { bad: 0, good: 0 });
            previous = Some(score);
        }
        if let Some(tie) = ties.last_mut() {
            *(if defective[index] { &mut tie.bad } else { &mut tie.good }) += 1;
        }
    }
    ties
}

fn check(scores: &[f32], defective: &[bool]) -> Result<(u64, u64), MetricError> {
    check_lengths(scores.len(), defective.len())?;
    if let Some(index) = scores.iter().position(|s| !s.is_finite()) {
        return Err(MetricError::NotFinite { index });
    }
    let bad = defective.iter().filter(|&&d| d).count() as u64;
    let good = defective.len() as u64 - bad;
    check_classes(bad, good)?;
    Ok((bad, good))
}

fn check_lengths(expected: usize, found: usize) -> Result<(), MetricError> {
    if expected == found {
        return Ok(());
    }
    Err(MetricError::SizeMismatch { what: "labels per picture", expected, found })
}

fn check_classes(defective: u64, clean: u64) -> Result<(), MetricError> {
    if defective > 0 && clean > 0 {
        return Ok(());
    }
    Err(MetricError::OneClass { defective, clean })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn small_cases_by_hand() {
        // Three of the four pairs are in order.
        let (scores, labels) = ([0.1, 0.4, 0.35, 0.8], [false, false, true, true]);
        close(auroc(&scores, &labels).unwrap(), 0.75);
        // Recall 1/2 at precision 1, then recall 1 at precision 2/3.
        close(average_precision(&scores, &labels).unwrap(), 0.5 + 0.5 * 2.0 / 3.0);
    }

    #[test]
    fn ties_count_half_and_together() {
        let labels = [true, false, true, false];
        close(auroc(&[0.5; 4], &labels).unwrap(), 0.5);
        close(average_precision(&[0.5; 4], &labels).unwrap(), 0.5);
        close(auroc(&[0.0, -0.0, 0.0, -0.0], &labels).unwrap(), 0.5);
    }

    #[test]
    fn worse_than_chance_is_not_flipped() {
        let labels = [true, true, false, false];
        close(auroc(&[0.1, 0.2, 0.8, 0.9], &labels).unwrap(), 0.0);
    }

    #[test]
    fn nan_is_an_error_not_a_number() {
        let error = auroc(&[0.1, f32::NAN], &[true, false]).unwrap_err();
        assert_eq!(error, MetricError::NotFinite { index: 1 });
        assert!(average_precision(&[f32::INFINITY, 0.0], &[true, false]).is_err());
    }

    #[test]
    fn one_class_is_an_error() {
        let error = auroc(&[0.1, 0.2], &[true, true]).unwrap_err();
        assert_eq!(error, MetricError::OneClass { defective: 2, clean: 0 });
        assert!(Confusion::count(&[true], &[false]).is_err());
        assert!(auroc(&[0.1], &[true, false]).is_err());
    }

    #[test]
    fn f1_by_hand() {
        let rejected = [true, true, false, true, false];
        let defective = [true, true, true, false, false];
        let counts = Confusion::count(&rejected, &defective).unwrap();
        close(counts.f1(), 2.0 / 3.0);
        close(counts.found_share(), 2.0 / 3.0);
        close(counts.false_alarm_share(), 0.5);
    }

    fn labelled() -> impl Strategy<Value = (Vec<f32>, Vec<bool>)> {
        prop::collection::vec((0u8..20, any::<bool>()), 2..60)
            .prop_map(|v| v.into_iter().map(|(s, l)| (f32::from(s) / 20.0, l)).unzip())
            .prop_filter("both classes", |(_, l): &(Vec<f32>, Vec<bool>)| {
                l.contains(&true) && l.contains(&false)
            })
    }

    proptest! {
        #[test]
        fn auroc_equals_counting_pairs((scores, labels) in labelled()) {
            let mut sum = 0.0;
            let mut pairs = 0.0;
            for (&a, _) in scores.iter().zip(&labels).filter(|(_, l)| **l) {
                for (&b, _) in scores.iter().zip(&labels).filter(|(_, l)| !**l) {
                    pairs += 1.0;
                    sum += match a.total_cmp(&b) {
                        std::cmp::Ordering::Greater => 1.0,
                        std::cmp::Ordering::Equal => 0.5,
                        std::cmp::Ordering::Less => 0.0,
                    };
                }
            }
            prop_assert!((auroc(&scores, &labels).unwrap() - sum / pairs).abs() < 1e-12);
        }

        #[test]
        fn rising_transforms_change_nothing((scores, labels) in labelled()) {
            let bent: Vec<f32> = scores.iter().map(|s| (3.0 * s).exp() - 7.0).collect();
            prop_assert_eq!(auroc(&scores, &labels).unwrap(), auroc(&bent, &labels).unwrap());
            prop_assert_eq!(
                average_precision(&scores, &labels).unwrap(),
                average_precision(&bent, &labels).unwrap()
            );
        }

        #[test]
        fn reversing_mirrors_auroc((scores, labels) in labelled()) {
            let reversed: Vec<f32> = scores.iter().map(|s| -s).collect();
            let sum = auroc(&scores, &labels).unwrap() + auroc(&reversed, &labels).unwrap();
            prop_assert!((sum - 1.0).abs() < 1e-12);
        }

        #[test]
        fn ap_is_bounded_and_perfect_order_is_one((scores, labels) in labelled()) {
            let ap = average_precision(&scores, &labels).unwrap();
            prop_assert!(ap > 0.0 && ap <= 1.0);
            let perfect: Vec<f32> = labels.iter().map(|&l| f32::from(u8::from(l))).collect();
            prop_assert_eq!(average_precision(&perfect, &labels).unwrap(), 1.0);
            prop_assert_eq!(auroc(&perfect, &labels).unwrap(), 1.0);
        }
    }
}
