//! What good parts habitually show at each place: highlights that wander, edges that never match,
//! print that varies. Known only from two prompts on, by leaving each of them out in turn.
//!
//! One scale for all places has to be wide enough for the liveliest of them, and then lets a
//! defect on a quiet place through. Each place therefore gets a factor of its own: the Bayes
//! estimate of its level under an inverse-gamma prior worth [`PRIOR_PARTS`] good parts at the
//! common level (methods/baypranometa.md section 4, "own covariance", reduced to a scale). With
//! no good parts beside the prompt the factor is one everywhere.
//!
//! Parts move, so a place borrows the worst of its neighbourhood.

/// Good parts that the common level counts for.
const PRIOR_PARTS: f32 = 4.0;
/// Good parts that must show a certain change at a place before its change is halved.
const PRIOR_ALARMS: f32 = 1.5;
/// Neighbourhood of a place on the patch grid: this share of its width to each side, one cell at
/// least.
const POSITION_SPREAD: f32 = 0.03;
/// Neighbourhood of a place on the change map: this share of its width to each side.
const CHANGE_SPREAD: f32 = 0.02;
/// Keeps a level of zero from dividing.
const LEVEL_FLOOR: f32 = 1e-9;

/// Which map a history is of.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// `delta / D` per patch: the common level over the level of the place.
    Position,
    /// Change of 0..1: the share of trust left in a place where good parts look changed, too.
    Change,
}

/// Maps of good parts, each judged without itself.
#[derive(Debug)]
pub(super) struct History {
    kind: Kind,
    /// Per part: the worst of each place's neighbourhood.
    worst: Vec<Vec<f32>>,
    /// Their sum.
    total: Vec<f32>,
}

impl History {
    /// Of position maps with `width` cells a row.
    pub(super) fn of_positions<'a>(maps: impl Iterator<Item = &'a [f32]>, width: usize) -> Self {
        let reach = (POSITION_SPREAD * width as f32).round() as usize;
        Self::new(Kind::Position, maps, width, reach.max(1))
    }

    /// Of change maps with `width` cells a row.
    pub(super) fn of_changes<'a>(maps: impl Iterator<Item = &'a [f32]>, width: usize) -> Self {
        Self::new(Kind::Change, maps, width, (CHANGE_SPREAD * width as f32).round() as usize)
    }

    fn new<'a>(
        kind: Kind,
        maps: impl Iterator<Item = &'a [f32]>,
        width: usize,
        reach: usize,
    ) -> Self {
        let worst: Vec<Vec<f32>> = maps.map(|map| spread(map, width, reach)).collect();
        let mut total = worst.first().map_or_else(Vec::new, |m| vec![0.0; m.len()]);
        for map in &worst {
            total.iter_mut().zip(map).for_each(|(t, v)| *t += v);
        }
        History { kind, worst, total }
    }

    /// What all parts together show.
    pub(super) fn habit(&self) -> Habit {
        self.of(self.worst.len(), self.total.clone())
    }

    /// What all parts but some show: the habit to judge one of those by.
    pub(super) fn habit_without(&self, left_out: &[usize]) -> Habit {
        let mut rest = self.total.clone();
        for own in left_out.iter().filter_map(|part| self.worst.get(*part)) {
            // Sums in f32 may leave a rounding error below zero.
            rest.iter_mut().zip(own).for_each(|(t, v)| *t = (*t - v).max(0.0));
        }
        self.of(self.worst.len().saturating_sub(left_out.len()), rest)
    }

    fn of(&self, parts: usize, mut sums: Vec<f32>) -> Habit {
        if parts == 0 {
            return Habit::default();
        }
        let common = sums.iter().sum::<f32>() / (parts * sums.len()) as f32;
        for sum in &mut sums {
            *sum = match self.kind {
                Kind::Position => {
                    (PRIOR_PARTS + parts as f32) / (PRIOR_PARTS + *sum / common.max(LEVEL_FLOOR))
                }
                Kind::Change => PRIOR_ALARMS / (PRIOR_ALARMS + *sum),
            };
        }
        Habit { factors: sums }
    }
}

/// Factors that a map of one query is multiplied by.
#[derive(Debug, Clone, Default)]
pub(super) struct Habit {
    factors: Vec<f32>,
}

impl Habit {
    /// Multiplies a map; without history it is left as it is.
    pub(super) fn apply(&self, values: &mut [f32]) {
        for (value, factor) in values.iter_mut().zip(&self.factors) {
            *value *= factor;
        }
    }
}

/// Greatest value within `reach` cells along both axes.
fn spread(map: &[f32], width: usize, reach: usize) -> Vec<f32> {
    let along_rows: Vec<f32> =
        map.chunks(width.max(1)).flat_map(|row| widest(row, reach)).collect();
    let height = map.len() / width.max(1);
    let mut out = vec![0.0; map.len()];
    for x in 0..width {
        let column: Vec<f32> = (0..height).map(|y| along_rows[y * width + x]).collect();
        for (y, value) in widest(&column, reach).into_iter().enumerate() {
            out[y * width + x] = value;
        }
    }
    out
}

fn widest(line: &[f32], reach: usize) -> Vec<f32> {
    (0..line.len())
        .map(|i| {
            let window = i.saturating_sub(reach)..(i + reach + 1).min(line.len());
            line[window].iter().copied().fold(f32::MIN, f32::max)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(habit: &Habit, cells: usize) -> Vec<f32> {
        let mut values = vec![1.0; cells];
        habit.apply(&mut values);
        values
    }

    #[test]
    fn without_history_nothing_changes() {
        assert_eq!(applied(&Habit::default(), 2), [1.0, 1.0]);
        assert_eq!(applied(&History::of_changes(std::iter::empty(), 2).habit(), 2), [1.0, 1.0]);
        let one = [vec![0.5, 0.9]];
        let history = History::of_positions(one.iter().map(Vec::as_slice), 2);
        assert_eq!(applied(&history.habit_without(&[0]), 2), [1.0, 1.0]);
    }

    #[test]
    fn position_factors_by_hand() {
        // Two parts on a grid of four cells in a row; the last cell is lively in both.
        let parts = [vec![1.0, 1.0, 1.0, 5.0], vec![1.0, 1.0, 1.0, 5.0]];
        let habit = History::of_positions(parts.iter().map(Vec::as_slice), 4).habit();
        // Spread by one cell: 1 1 5 5, common level 3.
        let (quiet, lively) = (6.0 / (4.0 + 2.0 / 3.0), 6.0 / (4.0 + 10.0 / 3.0));
        for (got, want) in applied(&habit, 4).iter().zip([quiet, quiet, lively, lively]) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }

    #[test]
    fn alarms_of_good_parts_take_trust_away_nearby_and_nowhere_else() {
        let mut alarm = vec![0.0; 100 * 100];
        alarm[50 * 100 + 50] = 1.0;
        let parts = [alarm.clone(), alarm.clone(), vec![0.0; 100 * 100]];
        let history = History::of_changes(parts.iter().map(Vec::as_slice), 100);
        let values = applied(&history.habit(), 100 * 100);
        let at = |x: usize, y: usize| values[y * 100 + x];
        for (x, y) in [(50, 50), (52, 52), (48, 50)] {
            assert!((at(x, y) - 1.5 / 3.5).abs() < 1e-6);
        }
        assert_eq!(at(53, 50), 1.0);
        assert_eq!(at(50, 47), 1.0);
        // A part is not excused by its own alarm.
        let left = applied(&history.habit_without(&[0]), 100 * 100);
        assert!((left[50 * 100 + 50] - 1.5 / 2.5).abs() < 1e-6);
    }
}
