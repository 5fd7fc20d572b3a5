//! Calibration of a model card: what good parts score before any part of the user's product was
//! seen (methods/baypranometa.md sections 4.5 and 4.7). Many imaginary products, some good parts
//! each, through the very graphs and code that the camera runs.

use anyhow::{Context, Result, anyhow, ensure};
use touchstone_models::calibration::{Dependence, Enrolled, ScalarPrior, SeveralPrior};
use touchstone_models::inspector::{InspectError, Inspector, Settings, Statistics};
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::package::{Calibration, EmbeddingPrior, Laws, ModelCard, ScoreLaws};
use touchstone_models::picture::Picture;
use touchstone_models::recipe::Registration;
use touchstone_models::tensor::TensorSpec;

use crate::progress;
use crate::synth::{Geometry, Library, Light, SynthConfig};
use crate::train::prior;
use crate::train::proto::compute::pooled;
use crate::train::proto::features::ProductFeatures;

/// Imaginary products, unless somebody asks for fewer.
pub const PRODUCTS: u64 = 160;
/// Good parts per product beside its prompt.
const PARTS: usize = 6;
/// Fewest that say anything.
const PRODUCTS_MIN: u64 = 16;
/// So many further ones are taught with several prompts: five for every eight.
const SEVERAL_SHARE: (u64, u64) = (5, 8);
/// Number of the first of them.
const SEVERAL_FIRST: u64 = 1 << 20;
/// Their prompts, in turn: around as many as `teach` asks for on a line.
const SEVERAL_PROMPTS: [usize; 6] = [10, 5, 10, 3, 10, 20];
/// One over the share of the products that tells where position peaks lie, before all else.
const LEVEL_SHARE: usize = 4;
/// Further good parts of each.
const SEVERAL_PARTS: usize = 5;
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
        let laws = ScoreLaws { one, several };
        let usual = Laws {
            reach: None,
            change: laws,
            position: laws,
            level: laws,
            local: laws,
            image: laws,
            dependence: 1.0,
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

/// Fits the card's priors on so many imaginary `products`; the embedding's is learned from them unless it is
/// given. `load` opens the package with what is known so far, which begins as `known`.
pub fn fit(
    library: &Library,
    (size, seed): (u32, u64),
    products: u64,
    (mut known, given): (Learned, Option<EmbeddingPrior>),
    load: impl Fn(&Learned) -> Result<OnePrompt>,
) -> Result<Learned> {
    ensure!(
        (PRODUCTS_MIN..=SEVERAL_FIRST).contains(&products),
        "{products} products to calibrate on: at least {PRODUCTS_MIN} are needed"
    );
    let several_products = products * SEVERAL_SHARE.0 / SEVERAL_SHARE.1;
    let config = line_config(size, seed);
    let bar = progress::bar(products * 3 + several_products * 2, "calibrate");
    let numbers = 0..products;
    let mut products = Vec::new();
    for index in numbers {
        products.push(good_parts(library, &config, index, PARTS + 1)?);
    }

    known.embedding = match given {
        Some(embedding) => embedding,
        None => embedding(&mut load(&known)?, &products, &bar)?,
    };
    let usual = known.calibration.usual;
    known.calibration.registered = Some(Laws { reach: Some(REGISTERED_REACH), ..usual });
    let job = Job { library, config: &config, products: &products, several_products, bar: &bar };
    // One after the other, because both are written to the same place.
    let models = [load(&known)?, load(&known)?];
    let [usual, registered] = std::thread::scope(|scope| {
        let [a, b] = models;
        let registered = scope.spawn(|| job.laws(b, REGISTRATION));
        let usual = job.laws(a, Registration::Off);
        let panicked = || Err(anyhow!("calibration: a thread died"));
        [usual, registered.join().unwrap_or_else(|_| panicked())]
    });
    bar.finish_and_clear();
    known.calibration = Calibration { usual: usual?, registered: Some(registered?) };
    Ok(known)
}

/// What laws are fitted on.
struct Job<'a> {
    library: &'a Library,
    config: &'a SynthConfig,
    /// Good parts of each.
    products: &'a [Vec<Picture>],
    /// How many further products are taught with several prompts.
    several_products: u64,
    bar: &'a indicatif::ProgressBar,
}

impl Job<'_> {
    /// The laws of good parts that are registered so.
    fn laws(&self, model: OnePrompt, registration: Registration) -> Result<Laws> {
        let settings = Settings { registration, ..Settings::default() };
        let mut laws = model.card().calibration.laws(registration);
        let mut model = Some(model);
        // Where position peaks lie is known first, from products of its own: maps are joined by it.
        let (first, rest) = self.products.split_at(self.products.len() / LEVEL_SHARE);
        let level_products = self.several_products / LEVEL_SHARE as u64;
        let one = self.one(&mut model, &settings, first)?.position;
        let several = self.several(&mut model, &settings, 0..level_products)?.position;
        laws.level = fitted("level", &one, &several)?;
        let usual = model.take().context("the model went missing")?;
        let calibration = Calibration { usual: laws, registered: Some(laws) };
        model = Some(usual.recalibrated(calibration));

        let one = self.one(&mut model, &settings, rest)?;
        let several = self.several(&mut model, &settings, level_products..self.several_products)?;
        laws.change = fitted("change", &one.change, &several.change)?;
        laws.position = fitted("position", &one.position, &several.position)?;
        laws.local = fitted("local", &one.local, &several.local)?;
        laws.image = fitted("image", &one.image, &several.image)?;
        laws.dependence = dependence(&laws, &several)?.correlation();
        Ok(laws)
    }

    /// What further good parts of `products` score against their first one.
    fn one(
        &self,
        model: &mut Option<OnePrompt>,
        settings: &Settings,
        products: &[Vec<Picture>],
    ) -> Result<Seen<Vec<f64>>> {
        let mut seen = Seen::default();
        for pictures in products {
            let (prompt, parts) = pictures.split_first().context("a product without pictures")?;
            self.product(
                model,
                settings,
                std::slice::from_ref(prompt),
                parts,
                &mut seen,
                |_, new| new,
            )?;
        }
        Ok(seen)
    }

    /// Products taught with [`SEVERAL_PROMPTS`] good parts: what those score against each other, and
    /// what further good parts score.
    fn several(
        &self,
        model: &mut Option<OnePrompt>,
        settings: &Settings,
        products: std::ops::Range<u64>,
    ) -> Result<Seen<Enrolled>> {
        let mut seen = Seen::default();
        for index in products {
            let prompts = SEVERAL_PROMPTS[index as usize % SEVERAL_PROMPTS.len()];
            let count = prompts + SEVERAL_PARTS;
            let pictures = good_parts(self.library, self.config, SEVERAL_FIRST + index, count)?;
            let (prompts, parts) = pictures.split_at(prompts);
            self.product(model, settings, prompts, parts, &mut seen, |left_out, new| Enrolled {
                left_out,
                new,
            })?;
        }
        Ok(seen)
    }

    /// Adds what the `parts` of one product score, and its prompts without themselves.
    fn product<T>(
        &self,
        model: &mut Option<OnePrompt>,
        settings: &Settings,
        prompts: &[Picture],
        parts: &[Picture],
        seen: &mut Seen<T>,
        of: impl Fn(Vec<f64>, Vec<f64>) -> T,
    ) -> Result<()> {
        let failed = |e: InspectError| anyhow!("calibration: {e}");
        let taken = model.take().context("the model went missing")?;
        let mut inspector = Inspector::new(taken, prompts, settings.clone()).map_err(failed)?;
        let mut new = [const { Vec::new() }; 4];
        for part in parts {
            for s in inspector.statistics(part).map_err(failed)? {
                let all = [s.change, s.position, s.local, s.image];
                new.iter_mut().zip(all).for_each(|(v, s)| v.push(s));
            }
        }
        let left_out: Vec<Statistics> = inspector.left_out().collect();
        log::debug!("left out {left_out:?} new {new:?}");
        let [change, position, local, image] = new;
        let of = |score: fn(&Statistics) -> f64, new| of(left_out.iter().map(score).collect(), new);
        seen.change.push(of(|s| s.change, change));
        seen.position.push(of(|s| s.position, position));
        seen.local.push(of(|s| s.local, local));
        seen.image.push(of(|s| s.image, image));
        *model = Some(inspector.into_model());
        self.bar.inc(1);
        Ok(())
    }
}

/// Statistics of good parts, product by product.
struct Seen<T> {
    change: Vec<T>,
    position: Vec<T>,
    local: Vec<T>,
    image: Vec<T>,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Seen { change: Vec::new(), position: Vec::new(), local: Vec::new(), image: Vec::new() }
    }
}

/// How the maps' and the whole picture's p-values of further good parts hang together.
fn dependence(laws: &Laws, several: &Seen<Enrolled>) -> Result<Dependence> {
    let mut good = Vec::new();
    for (local, image) in several.local.iter().zip(&several.image) {
        let failed = |e| anyhow!("dependence: {e}");
        let of_local = laws.local.several.law(&local.left_out).map_err(failed)?;
        let of_image = laws.image.several.law(&image.left_out).map_err(failed)?;
        let both = local.new.iter().zip(&image.new);
        good.extend(both.map(|(l, i)| (of_local.upper_tail(*l), of_image.upper_tail(*i))));
    }
    Ok(Dependence::fit(&good))
}

/// The laws of the statistic called `name`.
fn fitted(name: &str, one: &[Vec<f64>], several: &[Enrolled]) -> Result<ScoreLaws> {
    Ok(ScoreLaws {
        one: ScalarPrior::fit(one).map_err(|e| anyhow!("{name}: {e}"))?,
        several: SeveralPrior::fit(several).map_err(|e| anyhow!("{name}, several prompts: {e}"))?,
    })
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
    products: &[Vec<Picture>],
    bar: &indicatif::ProgressBar,
) -> Result<EmbeddingPrior> {
    let mut features = Vec::new();
    for pictures in products {
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
