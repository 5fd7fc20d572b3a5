//! Calibration of a model card: what good parts score before any part of the user's product was
//! seen (methods/baypranometa.md sections 4.5 and 4.7). Many imaginary products, some good parts
//! each, through the very graphs and code that the camera runs.

use std::ops::Range;

use anyhow::{Context, Result, anyhow, ensure};
use touchstone_models::calibration::{
    CORRECTIONS, Corrections, Dependence, Enrolled, ScalarPrior, SeveralPrior,
};
use touchstone_models::inspector::{Expected, Inspector, Settings, Statistics};
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::package::{Calibration, EmbeddingPrior, Laws, ModelCard, ScoreLaws};
use touchstone_models::picture::Picture;
use touchstone_models::recipe::Registration;
use touchstone_models::tensor::TensorSpec;

use super::kept::{Kept, Scores, Series, scored_by};
use crate::progress;
use crate::synth::{Geometry, Library, Light, SynthConfig};
use crate::train::prior;
use crate::train::proto::compute::pooled;
use crate::train::proto::features::ProductFeatures;

/// Imaginary products, unless somebody asks for fewer.
pub const PRODUCTS: u64 = 480;
/// Good parts per product beside its prompt.
const PARTS: usize = 6;
/// Fewest that say anything.
const PRODUCTS_MIN: u64 = 16;
/// So many further ones are taught with several prompts: five for every eight.
const SEVERAL_SHARE: (u64, u64) = (5, 8);
/// Number of the first of them.
const SEVERAL_FIRST: u64 = 1 << 20;
/// Their prompts, in turn: what corrections are learned for, beside a single one.
const SEVERAL_PROMPTS: [usize; CORRECTIONS - 1] = [3, 5, 10, 20, 32];
/// Further good parts of each: tails are learned from them.
const SEVERAL_PARTS: usize = 12;
/// One over the share of the products that tells where position peaks lie, before all else, and the most that are
/// needed for that, of either kind.
const LEVEL_SHARE: u64 = 4;
const LEVEL_PRODUCTS: u64 = 40;
const LEVEL_SEVERAL: u64 = 25;
/// Prompts, in turn, and further good parts of the latter.
const LEVEL_PROMPTS: [usize; 6] = [10, 5, 10, 3, 10, 20];
const LEVEL_PARTS: usize = 5;
/// Every so many-th product is one that the embedding's prior is chosen by, and not learned from.
const CHOOSE_EVERY: usize = 4;

/// What is learned from imaginary products, for a model card.
#[derive(Debug, Clone)]
pub struct Learned {
    /// Of whole pictures.
    pub embedding: EmbeddingPrior,
    /// Of scores.
    pub calibration: Calibration,
}

impl Learned {
    /// Start values that make a card valid before it is calibrated; `pooled` is the output of the encode graph
    /// that holds the whole picture's embedding.
    pub fn nothing(outputs: &[TensorSpec], pooled: &str) -> Learned {
        let pooled = outputs.iter().find(|output| output.name == pooled);
        let dim = pooled.and_then(|output| output.shape.last().copied()).unwrap_or(0);
        let one = ScalarPrior { mu0: 0.0, kappa0: 1.0, nu0: 4.0, lambda0: 2.0 };
        let several = SeveralPrior { gap: 0.0, gap_per_prompt: 0.0, weight: 1.0, prior: one };
        let corrections = Corrections::default();
        let laws = ScoreLaws { one, several, corrections };
        let usual = Laws {
            reach: None,
            change: laws,
            position: laws,
            level: laws,
            local: laws,
            image: laws,
            dependence: 1.0,
            joint: corrections,
        };
        Learned {
            embedding: EmbeddingPrior::isotropic(dim, 1.0, 1.0),
            calibration: Calibration { usual, registered: None },
        }
    }

    /// Writes it into a card.
    pub fn enter(self, card: &mut ModelCard) {
        card.embedding = self.embedding;
        card.calibration = self.calibration;
    }
}

/// How far a patch's counterpart is looked for where parts are registered: a pose is right within half a
/// cell of four pixels, and a cell sees a little beyond itself.
const REGISTERED_REACH: usize = 2;
/// What registered parts are calibrated with: the same nuisance as all others.
const REGISTRATION: Registration = Registration::Small;

/// The range of good parts that the rates are promised for: the line of the demo, and what a
/// decent fixture and lamp keep. Mostly parts and surfaces; crops of photographs, which no line
/// carries, keep the prior from being too sure.
pub(crate) fn line_config(size: u32, seed: u64) -> SynthConfig {
    SynthConfig {
        size,
        seed,
        geometry: Geometry {
            rotation_deg: 3.0,
            shift: 0.03,
            scale: 0.01,
            wobble_px: 0.5,
            ..Geometry::default()
        },
        light: Light { gain: 0.15, gamma: 0.08, channel: 0.02, blur: 0.6, ..Light::default() },
        texture_share: 0.2,
        industrial_share: 0.6,
        ..SynthConfig::default()
    }
}

/// What laws are learned from.
pub struct Job<'a> {
    /// What products are made of.
    pub library: &'a Library,
    /// Of their pictures, in pixels.
    pub side: u32,
    /// Chooses them.
    pub seed: u64,
    /// How many are taught with one prompt; further ones are with several.
    pub products: u64,
    /// What parts scored already.
    pub kept: &'a Kept,
}

/// Fits the card's priors on imaginary products; the embedding's is learned from them unless it is given. `load`
/// opens the package with what is known so far, which begins as `known`.
///
/// # Errors
/// Too few products, pictures that make none, or a package that cannot be opened.
pub fn fit(
    job: &Job<'_>,
    (mut known, given): (Learned, Option<EmbeddingPrior>),
    load: impl Fn(&Learned) -> Result<OnePrompt>,
) -> Result<Learned> {
    let products = job.products;
    ensure!(
        (PRODUCTS_MIN..=SEVERAL_FIRST).contains(&products),
        "{products} products to calibrate on: at least {PRODUCTS_MIN} are needed"
    );
    let config = line_config(job.side, job.seed);
    let learned = if given.is_some() { 0 } else { products };
    let bar = progress::bar(learned + (products + job.several()) * 2, "calibrate");
    let draw = |index| good_parts(job.library, &config, index, PARTS + 1);
    known.embedding = match given {
        Some(embedding) => embedding,
        None => embedding(&mut load(&known)?, (0..products).map(draw), &bar)?,
    };
    let usual = known.calibration.usual;
    known.calibration.registered = Some(Laws { reach: Some(REGISTERED_REACH), ..usual });
    let calibrator = Calibrator { job, config: &config, bar: &bar };
    // One after the other, because both are written to the same place.
    let models = [load(&known)?, load(&known)?];
    let [usual, registered] = std::thread::scope(|scope| {
        let [a, b] = models;
        let registered = scope.spawn(|| calibrator.laws(b, REGISTRATION));
        let usual = calibrator.laws(a, Registration::Off);
        let panicked = || Err(anyhow!("calibration: a thread died"));
        [usual, registered.join().unwrap_or_else(|_| panicked())]
    });
    bar.finish_and_clear();
    known.calibration = Calibration { usual: usual?, registered: Some(registered?) };
    Ok(known)
}

impl Job<'_> {
    /// How many products are taught with several prompts.
    fn several(&self) -> u64 {
        self.products * SEVERAL_SHARE.0 / SEVERAL_SHARE.1
    }
}

/// A job under way.
struct Calibrator<'a> {
    job: &'a Job<'a>,
    config: &'a SynthConfig,
    bar: &'a indicatif::ProgressBar,
}

impl Calibrator<'_> {
    /// The laws of good parts that are registered so.
    fn laws(&self, model: OnePrompt, registration: Registration) -> Result<Laws> {
        let settings = Settings { registration, ..Settings::default() };
        let mut laws = model.card().calibration.laws(registration);
        let mut model = Some(model);
        // Where position peaks lie is known first, from products of its own: maps are joined by it.
        let (products, several_products) = (self.job.products, self.job.several());
        let first = (products / LEVEL_SHARE).min(LEVEL_PRODUCTS);
        let first_several = (several_products / LEVEL_SHARE).min(LEVEL_SEVERAL);
        let one = self.one(&mut model, &settings, 0..first)?;
        let kind = (&LEVEL_PROMPTS[..], LEVEL_PARTS);
        let several = self.several(&mut model, &settings, 0..first_several, kind)?;
        laws.level = fitted("level", &one, &several, |s| s.position)?;
        let usual = model.take().context("the model went missing")?;
        let calibration = Calibration { usual: laws, registered: Some(laws) };
        model = Some(usual.recalibrated(calibration));

        let one = self.one(&mut model, &settings, first..products)?;
        let kind = (&SEVERAL_PROMPTS[..], SEVERAL_PARTS);
        let numbers = first_several..several_products;
        let several = self.several(&mut model, &settings, numbers, kind)?;
        laws.change = fitted("change", &one, &several, |s| s.change)?;
        laws.position = fitted("position", &one, &several, |s| s.position)?;
        laws.local = fitted("local", &one, &several, |s| s.local)?;
        laws.image = fitted("image", &one, &several, |s| s.image)?;
        let seen = [one, several].concat();
        let each = |witness: usize| corrections(&laws, &seen, |e, s| e.each(s)[witness]);
        let [change, position, local, image] = [each(0)?, each(1)?, each(2)?, each(3)?];
        laws.change.corrections = change;
        laws.position.corrections = position;
        laws.local.corrections = local;
        laws.image.corrections = image;
        // What maps and whole picture say together is made of both, and comes last.
        laws.dependence = dependence(&laws, &seen)?.correlation();
        laws.joint = corrections(&laws, &seen, |e, s| e.report(s).joint.p_value)?;
        Ok(laws)
    }

    /// Products taught with one good part.
    fn one(
        &self,
        model: &mut Option<OnePrompt>,
        settings: &Settings,
        products: Range<u64>,
    ) -> Result<Vec<Seen>> {
        products.map(|index| self.product(model, settings, index, (1, PARTS))).collect()
    }

    /// Products taught with several, as many as `prompts` says in turn, and so many further `parts` of each.
    fn several(
        &self,
        model: &mut Option<OnePrompt>,
        settings: &Settings,
        products: Range<u64>,
        (prompts, parts): (&[usize], usize),
    ) -> Result<Vec<Seen>> {
        let taught = |index: u64| prompts[index as usize % prompts.len()];
        products
            .map(|index| {
                self.product(model, settings, SEVERAL_FIRST + index, (taught(index), parts))
            })
            .collect()
    }

    /// What the parts of one product score, and its prompts without themselves.
    fn product(
        &self,
        model: &mut Option<OnePrompt>,
        settings: &Settings,
        index: u64,
        (prompts, parts): (usize, usize),
    ) -> Result<Seen> {
        let card = model.as_ref().context("the model went missing")?.card();
        let series = Series {
            model: scored_by(card, settings.registration, self.job.library)?,
            k: prompts,
            further: 0,
            parts: parts as u64,
            seed: self.job.seed,
        };
        let scores = self.job.kept.or_judge(&series, index, || {
            let pictures = good_parts(self.job.library, self.config, index, prompts + parts)?;
            let scored = score(model, settings, pictures.split_at(prompts));
            let (left_out, parts) = scored.context("calibration")?;
            Ok(Scores { left_out, further: Vec::new(), parts })
        })?;
        self.bar.inc(1);
        Ok(Seen { prompts, left_out: scores.left_out, new: scores.parts })
    }
}

/// Statistics of good parts of one product.
#[derive(Clone)]
struct Seen {
    prompts: usize,
    /// Of the prompts, each without itself.
    left_out: Vec<Statistics>,
    /// Of parts that were not taught.
    new: Vec<Statistics>,
}

/// What the prompts of one product score, each without itself, and what its further `parts` do.
pub(crate) fn score(
    model: &mut Option<OnePrompt>,
    settings: &Settings,
    (prompts, parts): (&[Picture], &[Picture]),
) -> Result<(Vec<Statistics>, Vec<Statistics>)> {
    let taken = model.take().context("the model went missing")?;
    let mut inspector = Inspector::new(taken, prompts, settings.clone())?;
    let new = parts.iter().map(|part| inspector.statistics(part)).collect::<Result<Vec<_>, _>>()?;
    let left_out = inspector.left_out().collect();
    *model = Some(inspector.into_model());
    Ok((left_out, new.concat()))
}

/// How the maps' and the whole picture's p-values of further good parts hang together.
fn dependence(laws: &Laws, all: &[Seen]) -> Result<Dependence> {
    let mut good = Vec::new();
    for seen in all {
        let expected = Expected::new(laws, &seen.left_out, &[])?;
        good.extend(seen.new.iter().map(|new| {
            let [_, _, local, image] = expected.each(new);
            (local, image)
        }));
    }
    Ok(Dependence::fit(&good))
}

/// The law of one statistic, called `name`, without corrections.
fn fitted(
    name: &str,
    one: &[Seen],
    several: &[Seen],
    of: fn(&Statistics) -> f64,
) -> Result<ScoreLaws> {
    let scores = |all: &[Statistics]| -> Vec<f64> { all.iter().map(of).collect() };
    let one: Vec<Vec<f64>> = one.iter().map(|seen| scores(&seen.new)).collect();
    let enrolled =
        |seen: &Seen| Enrolled { left_out: scores(&seen.left_out), new: scores(&seen.new) };
    let several: Vec<Enrolled> = several.iter().map(enrolled).collect();
    Ok(ScoreLaws {
        one: ScalarPrior::fit(&one).map_err(|e| anyhow!("{name}: {e}"))?,
        several: SeveralPrior::fit(&several)
            .map_err(|e| anyhow!("{name}, several prompts: {e}"))?,
        corrections: Corrections::default(),
    })
}

/// How those p-values turn out that `of` makes of what `laws` expect and what good parts score.
fn corrections(
    laws: &Laws,
    seen: &[Seen],
    of: impl Fn(&Expected, &Statistics) -> f64,
) -> Result<Corrections> {
    let mut all = std::iter::once(1).chain(SEVERAL_PROMPTS).map(|k| (k, Vec::new()));
    let mut all: [(usize, Vec<Vec<f64>>); CORRECTIONS] =
        std::array::from_fn(|_| all.next().unwrap_or_default());
    for product in seen {
        let expected = Expected::new(laws, &product.left_out, &[])?;
        let own = all.iter_mut().find(|(prompts, _)| *prompts == product.prompts);
        let (_, p_values) = own.context("a number of prompts without a correction")?;
        p_values.push(product.new.iter().map(|new| of(&expected, new)).collect());
    }
    Ok(Corrections::fit(&all)?)
}

/// So many good parts of an imaginary product.
pub(crate) fn good_parts(
    library: &Library,
    config: &SynthConfig,
    index: u64,
    count: usize,
) -> Result<Vec<Picture>> {
    let parts = library.product(config, index, count).into_iter();
    parts.map(|rgb| Ok(Picture::from_rgb8(config.size, config.size, rgb)?)).collect()
}

/// The prior of whole pictures, learned from `products`.
fn embedding(
    model: &mut OnePrompt,
    products: impl Iterator<Item = Result<Vec<Picture>>>,
    bar: &indicatif::ProgressBar,
) -> Result<EmbeddingPrior> {
    let mut features = Vec::new();
    for pictures in products {
        let pictures = pictures?;
        let good = pictures.iter().map(|picture| pooled(model, picture));
        let good = good.collect::<Result<Vec<_>>>()?;
        features.push(ProductFeatures { base: String::new(), good, defective: Vec::new() });
        bar.inc(1);
    }
    let length = model.card().embedding.mu0.len();
    let numbered = features.into_iter().enumerate();
    let (choose, learn): (Vec<_>, Vec<_>) = numbered.partition(|(i, _)| i % CHOOSE_EVERY == 0);
    let plain = |list: Vec<(usize, ProductFeatures)>| -> Vec<_> {
        list.into_iter().map(|(_, product)| product).collect()
    };
    let found = prior::learn(length, &plain(learn), &plain(choose))?;
    let best = found.into_iter().next().context("no prior was learned")?;
    log::info!("embedding: {}, {:.2} nats a part", best.shape, best.held_out);
    Ok(best.prior)
}
