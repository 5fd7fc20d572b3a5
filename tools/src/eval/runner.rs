//! Runs a detector over all pictures of a plan, on several threads, and measures each category as
//! soon as its last picture is in.

use std::path::{Path, PathBuf};
use std::sync::mpsc;

use anyhow::Context;
use indicatif::ProgressBar;
use touchstone_models::picture::{Picture, save_map16};

use super::dataset::Category;
use super::detector::Detector;
use super::dump;
use super::figures::{CategoryFigures, measure};
use super::observation::Observation;
use super::plan::{Enrolment, Look, Plan, Task};
use super::tally::{Tally, Truth};
use super::variant::Variant;

/// Makes a detector; called once per thread.
pub type Factory<'a> = dyn Fn() -> anyhow::Result<Box<dyn Detector>> + Sync + 'a;

/// Where observations come from.
pub enum Source<'a> {
    /// A detector looks at the pictures.
    Detector(&'a Factory<'a>),
    /// An earlier run with `dump` did.
    Dump(&'a Path),
}

/// How to run.
pub struct Setup<'a> {
    /// Where observations come from.
    pub source: Source<'a>,
    /// The variants to measure, the main one first.
    pub variants: &'a [Variant],
    /// Threads, each with its own detector.
    pub workers: usize,
    /// Resamples per interval; 0 for no intervals.
    pub resamples: usize,
    /// Folder for the main variant's maps, 16-bit PNG.
    pub maps: Option<PathBuf>,
    /// Folder for observations.
    pub dump: Option<PathBuf>,
    /// Whether to keep small maps of the main variant, for the contact sheet.
    pub thumbs: bool,
}

/// One category, measured.
#[derive(Debug)]
pub struct Measured {
    /// Index of the category in the plan.
    pub category: usize,
    /// Figures per variant, in the order of the setup.
    pub variants: Vec<CategoryFigures>,
    /// Per test picture the score, verdict and thumbnail per variant.
    pub pictures: Vec<Vec<Tally>>,
}

/// Outcome of a task, per variant.
enum Outcome {
    HeldOut(Vec<f32>),
    Test(Vec<Tally>),
}

/// Runs the plan; `bar` moves with each picture. The result does not depend on the number of
/// workers.
///
/// # Errors
/// The first failure: an unreadable picture or mask, a detector that fails or gives a broken
/// score, an output that cannot be written. Nothing is skipped silently.
pub fn run(plan: &Plan<'_>, setup: &Setup<'_>, bar: &ProgressBar) -> anyhow::Result<Vec<Measured>> {
    std::thread::scope(|scope| {
        let (sender, results) = mpsc::channel();
        for _ in 0..setup.workers.max(1) {
            let sender = sender.clone();
            scope.spawn(move || {
                let sent = work(plan, setup, |task, outcome| {
                    // The receiver is gone only after a failure; then there is nothing to report.
                    let _ = sender.send(Ok((task, outcome)));
                });
                if let Err(error) = sent {
                    plan.stop();
                    let _ = sender.send(Err(error));
                }
            });
        }
        drop(sender);
        let collected = collect(plan, setup, &results, bar);
        plan.stop();
        collected
    })
}

fn collect(
    plan: &Plan<'_>,
    setup: &Setup<'_>,
    results: &mpsc::Receiver<anyhow::Result<(Task, Outcome)>>,
    bar: &ProgressBar,
) -> anyhow::Result<Vec<Measured>> {
    let mut open: Vec<OpenCategory> =
        (0..plan.categories.len()).map(|index| OpenCategory::new(plan.counts(index))).collect();
    let mut done = Vec::new();
    for result in results {
        let (task, outcome) = result?;
        bar.inc(1);
        let category = &mut open[task.category];
        category.put(task.slot, outcome);
        if category.missing == 0 {
            let name = plan.categories[task.category].label();
            let data = std::mem::take(category);
            let measured = data
                .measure(&plan.categories[task.category], task.category, setup)
                .with_context(|| name)?;
            done.push(measured);
        }
    }
    done.sort_by_key(|m| m.category);
    anyhow::ensure!(done.len() == plan.categories.len(), "a worker ended before its work was done");
    Ok(done)
}

/// A category whose pictures are coming in.
#[derive(Default)]
struct OpenCategory {
    held_out: Vec<Option<Vec<f32>>>,
    tests: Vec<Option<Vec<Tally>>>,
    missing: usize,
}

impl OpenCategory {
    fn new((held_out, tests): (usize, usize)) -> Self {
        Self {
            held_out: vec![None; held_out],
            tests: (0..tests).map(|_| None).collect(),
            missing: held_out + tests,
        }
    }

    fn put(&mut self, slot: usize, outcome: Outcome) {
        match outcome {
            Outcome::HeldOut(scores) => self.held_out[slot] = Some(scores),
            Outcome::Test(tallies) => self.tests[slot] = Some(tallies),
        }
        self.missing -= 1;
    }

    fn measure(
        self,
        category: &Category,
        index: usize,
        setup: &Setup<'_>,
    ) -> anyhow::Result<Measured> {
        let held_out: Vec<Vec<f32>> = self.held_out.into_iter().flatten().collect();
        let mut pictures: Vec<Vec<Tally>> = self.tests.into_iter().flatten().collect();
        let mut variants = Vec::with_capacity(setup.variants.len());
        for (v, variant) in setup.variants.iter().enumerate() {
            let of_variant: Vec<f32> = held_out.iter().map(|scores| scores[v]).collect();
            // The counts are large and not needed again: moved out, not copied.
            let tallies: Vec<Tally> = pictures
                .iter_mut()
                .map(|p| Tally {
                    pixels: p[v].pixels.take(),
                    boxes: p[v].boxes.take(),
                    ..p[v].clone()
                })
                .collect();
            let figures = measure(category, &tallies, &of_variant, setup.resamples)
                .with_context(|| format!("variant {}", variant.name))?;
            variants.push(figures);
        }
        Ok(Measured { category: index, variants, pictures })
    }
}

fn work(
    plan: &Plan<'_>,
    setup: &Setup<'_>,
    mut done: impl FnMut(Task, Outcome),
) -> anyhow::Result<()> {
    let mut eye = Eye::new(plan, setup)?;
    while let Some(task) = plan.take() {
        let (path, _) = plan.picture(&task);
        let outcome = eye.look(&task).with_context(|| path.display().to_string())?;
        done(task, outcome);
    }
    Ok(())
}

/// One worker.
struct Eye<'a> {
    plan: &'a Plan<'a>,
    setup: &'a Setup<'a>,
    feed: Feed<'a>,
}

/// Where one worker's observations come from.
enum Feed<'a> {
    Live { detector: Box<dyn Detector>, enrolled: Option<Enrolment> },
    Dump(&'a Path),
}

impl<'a> Eye<'a> {
    fn new(plan: &'a Plan<'a>, setup: &'a Setup<'a>) -> anyhow::Result<Self> {
        let feed = match setup.source {
            Source::Detector(make) => Feed::Live { detector: make()?, enrolled: None },
            Source::Dump(folder) => Feed::Dump(folder),
        };
        Ok(Self { plan, setup, feed })
    }

    fn look(&mut self, task: &Task) -> anyhow::Result<Outcome> {
        let (path, role) = self.plan.picture(task);
        let picture = Picture::open(path)?;
        let category = &self.plan.categories[task.category];
        let seen = self.observe(task, &picture)?;
        if let Some(folder) = &self.setup.dump {
            let label = category.label();
            let file = dump::file(folder, self.plan.k, &label, role, path);
            dump::write(&file, &seen)?;
        }
        let mut scored = Vec::with_capacity(self.setup.variants.len());
        for variant in self.setup.variants {
            scored.push(variant.evaluate(&seen)?);
        }
        let sample = match task.look {
            Look::HeldOut(_) => {
                return Ok(Outcome::HeldOut(scored.iter().map(|s| s.score).collect()));
            }
            Look::Test(index) => &category.samples[index],
        };
        let size = (picture.width(), picture.height());
        let truth = Truth::read(category, sample, size)?;
        let mut tallies = Vec::with_capacity(scored.len());
        for (index, one) in scored.iter().enumerate() {
            let keep_thumb = index == 0 && self.setup.thumbs;
            let tally = truth.tally(one, keep_thumb);
            tallies.push(tally.with_context(|| self.setup.variants[index].name.clone())?);
        }
        if let (Some(folder), Some(main)) = (&self.setup.maps, scored.first()) {
            let folder = folder.join(category.label()).join(role);
            std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
            let file = folder.join(format!("{}.png", sample.stem()));
            save_map16(&file, &main.map, size.0, size.1)?;
        }
        Ok(Outcome::Test(tallies))
    }

    fn observe(&mut self, task: &Task, picture: &Picture) -> anyhow::Result<Observation> {
        match &mut self.feed {
            Feed::Dump(folder) => {
                let (path, role) = self.plan.picture(task);
                let label = self.plan.categories[task.category].label();
                dump::read(&dump::file(folder, self.plan.k, &label, role, path))
            }
            Feed::Live { detector, enrolled } => {
                if *enrolled != Some(task.enrolment) {
                    // Nothing counts as enrolled until it has worked.
                    *enrolled = None;
                    let prompts = self.plan.prompts(task.enrolment).into_iter().map(Picture::open);
                    let further = self.plan.further(task.enrolment).map(Picture::open);
                    let (prompts, further) = (
                        prompts.collect::<Result<Vec<_>, _>>()?,
                        further.collect::<Result<Vec<_>, _>>()?,
                    );
                    detector.enrol(&prompts, &further).context("enrolment")?;
                    *enrolled = Some(task.enrolment);
                }
                detector.observe(picture)
            }
        }
    }
}

#[cfg(test)]
mod tests;
