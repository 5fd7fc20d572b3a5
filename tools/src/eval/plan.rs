//! What has to be looked at, in which order, and with which good pictures.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::dataset::Category;

/// Fewer held-out good pictures than this fix no threshold.
const HELD_OUT_MIN: usize = 2;

/// More of them cost time and change little.
const HELD_OUT_MAX: usize = 20;

/// With every enrolment picture enrolled, each is left out in turn, from this many on.
const LEAVE_OUT_MIN: usize = 3;

/// Good pictures that a task needs enrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrolment {
    /// The first `k` of the category.
    Category(usize),
    /// The first `k` of the category but one.
    Without(usize, usize),
    /// The picture's own prompt.
    Pair(usize, usize),
}

/// A picture to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Good picture of the enrolment folder, for the threshold.
    HeldOut(usize),
    /// Test picture.
    Test(usize),
}

/// One picture of one category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Index of the category.
    pub category: usize,
    /// What must be enrolled.
    pub enrolment: Enrolment,
    /// What to look at.
    pub look: Look,
    /// Place among the category's held-out or test pictures.
    pub slot: usize,
}

/// All tasks of a run, category by category.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The categories.
    pub categories: &'a [Category],
    /// Good pictures per category.
    pub k: usize,
    /// Further good pictures per category that tell what good ones score.
    further: usize,
    /// The tasks.
    pub tasks: Vec<Task>,
    next: AtomicUsize,
    stopped: AtomicBool,
}

impl<'a> Plan<'a> {
    /// Plans a run with `k` good pictures; every category must have that many or be paired. So many `further`
    /// ones, as far as there are, tell what good ones score.
    pub fn new(categories: &'a [Category], k: usize, further: usize) -> Self {
        let tasks = categories
            .iter()
            .enumerate()
            .flat_map(|(index, category)| tasks(index, category, k, further))
            .collect();
        Self {
            categories,
            k,
            further,
            tasks,
            next: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// The next task that nobody has taken.
    pub fn take(&self) -> Option<Task> {
        if self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        self.tasks.get(index).copied()
    }

    /// Gives out no more tasks.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Number of held-out and of test pictures of a category.
    pub fn counts(&self, category: usize) -> (usize, usize) {
        let of = self.tasks.iter().filter(|t| t.category == category);
        let total = of.clone().count();
        let held_out = of.filter(|t| matches!(t.look, Look::HeldOut(_))).count();
        (held_out, total - held_out)
    }

    /// The pictures of an enrolment.
    pub fn prompts(&self, enrolment: Enrolment) -> Vec<&'a Path> {
        match enrolment {
            Enrolment::Category(category) => self.enrolled(category).collect(),
            Enrolment::Without(category, without) => self
                .enrolled(category)
                .enumerate()
                .filter(|&(i, _)| i != without)
                .map(|(_, path)| path)
                .collect(),
            Enrolment::Pair(category, sample) => {
                let prompt = &self.categories[category].samples[sample].prompt;
                prompt.iter().map(PathBuf::as_path).collect()
            }
        }
    }

    /// Good pictures that are not enrolled and tell what good ones score.
    pub fn further(&self, enrolment: Enrolment) -> impl Iterator<Item = &'a Path> {
        let (category, count) = match enrolment {
            Enrolment::Category(category) | Enrolment::Without(category, _) => {
                (category, self.further)
            }
            Enrolment::Pair(category, _) => (category, 0),
        };
        let train = &self.categories[category].train;
        train.iter().skip(self.k).take(count).map(PathBuf::as_path)
    }

    /// The picture of a task, and its folder in outputs.
    pub fn picture(&self, task: &Task) -> (&'a Path, &'a str) {
        let category = &self.categories[task.category];
        match task.look {
            Look::HeldOut(i) => (&category.train[i], "enrolment"),
            Look::Test(i) => (&category.samples[i].picture, &category.samples[i].kind),
        }
    }

    fn enrolled(&self, category: usize) -> impl Iterator<Item = &'a Path> {
        let train = &self.categories[category].train;
        train.iter().take(self.k).map(PathBuf::as_path)
    }
}

fn tasks(index: usize, category: &Category, k: usize, further: usize) -> Vec<Task> {
    let mut tasks = Vec::new();
    let mut held_out = |enrolment, picture| {
        tasks.push(Task {
            category: index,
            enrolment,
            look: Look::HeldOut(picture),
            slot: tasks.len(),
        });
    };
    let used = k + further;
    let spare = category.train.len().saturating_sub(used);
    if !category.has_picture_metrics() || category.is_paired() {
        // Nothing would use a threshold.
    } else if spare >= HELD_OUT_MIN {
        (used..category.train.len())
            .take(HELD_OUT_MAX)
            .for_each(|i| held_out(Enrolment::Category(index), i));
    } else if category.train.len().min(k) >= LEAVE_OUT_MIN {
        (0..k.min(category.train.len())).for_each(|i| held_out(Enrolment::Without(index, i), i));
    }
    tasks.extend((0..category.samples.len()).map(|i| Task {
        category: index,
        enrolment: match category.samples[i].prompt {
            Some(_) => Enrolment::Pair(index, i),
            None => Enrolment::Category(index),
        },
        look: Look::Test(i),
        slot: i,
    }));
    tasks
}

#[cfg(test)]
mod tests {
    use super::super::dataset::{discover, testing};
    use super::*;

    fn category(train: u32, clean: u32) -> (tempfile::TempDir, Vec<Category>) {
        let root = tempfile::tempdir().unwrap();
        testing::write_category(root.path(), train, clean);
        let found = discover(root.path(), &[]).unwrap();
        (root, found)
    }

    #[test]
    fn spare_good_pictures_are_held_out() {
        let (_root, categories) = category(5, 5);
        let plan = Plan::new(&categories, 2, 0);
        assert_eq!(plan.counts(0), (3, 11));
        assert_eq!(plan.tasks[0].look, Look::HeldOut(2));
        assert_eq!(plan.prompts(plan.tasks[0].enrolment).len(), 2);
        assert!(plan.prompts(Enrolment::Category(0))[0].ends_with("000.png"));
    }

    #[test]
    fn further_good_pictures_are_neither_enrolled_nor_held_out() {
        let (_root, categories) = category(7, 5);
        let plan = Plan::new(&categories, 2, 3);
        assert_eq!(plan.counts(0).0, 2);
        assert_eq!(plan.tasks[0].look, Look::HeldOut(5));
        let further: Vec<_> = plan.further(Enrolment::Category(0)).collect();
        assert!(further.len() == 3 && further[0].ends_with("002.png"), "{further:?}");
        assert_eq!(plan.further(Enrolment::Pair(0, 1)).count(), 0);
    }

    #[test]
    fn with_none_to_spare_each_is_left_out() {
        let (_root, categories) = category(4, 5);
        let plan = Plan::new(&categories, 4, 0);
        assert_eq!(plan.counts(0), (4, 11));
        let prompts = plan.prompts(plan.tasks[1].enrolment);
        assert_eq!(prompts.len(), 3);
        assert!(!prompts.contains(&plan.picture(&plan.tasks[1]).0));
    }

    #[test]
    fn no_threshold_where_nothing_would_use_it() {
        let (_root, categories) = category(5, 2);
        assert_eq!(Plan::new(&categories, 1, 0).counts(0), (0, 8));
        let (_root, categories) = category(2, 5);
        assert_eq!(Plan::new(&categories, 1, 0).counts(0), (0, 11));
    }

    #[test]
    fn pairs_bring_their_own_prompt() {
        let root = tempfile::tempdir().unwrap();
        testing::write_paired(root.path());
        let categories = discover(root.path(), &[]).unwrap();
        let plan = Plan::new(&categories, 5, 0);
        assert_eq!(plan.counts(0), (0, 4));
        let prompts = plan.prompts(plan.tasks[2].enrolment);
        assert_eq!(prompts.len(), 1);
        assert!(prompts[0].ends_with("prompt/002.png"));
    }

    #[test]
    fn tasks_are_given_out_once_until_stopped() {
        let (_root, categories) = category(1, 5);
        let plan = Plan::new(&categories, 1, 0);
        assert_eq!(plan.take(), Some(plan.tasks[0]));
        assert_eq!(plan.take(), Some(plan.tasks[1]));
        plan.stop();
        assert_eq!(plan.take(), None);
    }
}
