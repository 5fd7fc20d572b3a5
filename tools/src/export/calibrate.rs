//! Calibration of a model card: what good parts score before any part of the user's product was
//! seen (methods/baypranometa.md sections 4.5 and 4.7). Many imaginary products, some good parts
//! each, through the very graphs and code that the camera runs.

use anyhow::{Context, Result, anyhow, ensure};
use touchstone_models::calibration::{Enrolled, ScalarPrior, SeveralPrior, fit_image_factor};
use touchstone_models::inspector::{InspectError, Inspector, Settings};
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::package::{Calibration, ImagePrior, Laws, SeveralPriors};
use touchstone_models::picture::Picture;
use touchstone_models::recipe::Registration;

use crate::progress;
use crate::synth::{Geometry, Library, Light, SynthConfig};

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
/// Their prompts: as many as `teach` asks for on a line.
const SEVERAL_PROMPTS: usize = 10;
/// Further good parts of each.
const SEVERAL_PARTS: usize = 5;
/// Weight of the prior mean of the pooled embedding: one hundredth of a picture.
const IMAGE_KAPPA0: f64 = 0.01;
/// Tail probability at which the image factor is fitted; there are `PRODUCTS * PARTS` parts, so
/// this leaves about ten beyond it.
const IMAGE_TAIL: f64 = 0.01;

/// Start values that make a card valid before it is calibrated.
pub fn uncalibrated() -> Calibration {
    let scalar = ScalarPrior { mu0: 0.0, kappa0: 1.0, nu0: 4.0, lambda0: 2.0 };
    let several = SeveralPrior { gap: 0.0, weight: 1.0, prior: scalar };
    Calibration {
        change: scalar,
        position: scalar,
        image: ImagePrior { lambda: 1.0, kappa0: IMAGE_KAPPA0, factor: 1.0 },
        several: SeveralPriors { change: several, position: several },
        registered: None,
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
pub fn line_config(size: u32, seed: u64) -> SynthConfig {
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

/// Fits the card's priors on so many imaginary `products`. `load` opens the package with a given calibration.
pub fn fit(
    library: &Library,
    size: u32,
    seed: u64,
    products: u64,
    load: impl Fn(Calibration) -> Result<OnePrompt>,
) -> Result<Calibration> {
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

    let mut calibration = uncalibrated();
    let mut model = load(calibration)?;
    calibration.image.lambda = pooled_variance(&mut model, &products, &bar)?;
    let usual = calibration.laws(Registration::Off);
    calibration.registered = Some(Laws { reach: Some(REGISTERED_REACH), ..usual });
    let job = Job { library, config: &config, products: &products, several_products, bar: &bar };
    // One after the other, because both are written to the same place.
    let models = [load(calibration)?, load(calibration)?];
    let [usual, registered] = std::thread::scope(|scope| {
        let [a, b] = models;
        let registered = scope.spawn(|| job.laws(b, REGISTRATION));
        let usual = job.laws(a, Registration::Off);
        let panicked = || Err(anyhow!("calibration: a thread died"));
        [usual, registered.join().unwrap_or_else(|_| panicked())]
    });
    bar.finish_and_clear();
    let (Laws { change, position, image, several, .. }, registered) = (usual?, registered?);
    Ok(Calibration { change, position, image, several, registered: Some(registered) })
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
        let failed = |e: InspectError| anyhow!("calibration: {e}");
        let settings = Settings { registration, ..Settings::default() };
        let mut laws = model.card().calibration.laws(registration);
        let mut model = Some(model);
        let (mut change, mut position, mut image) = (Vec::new(), Vec::new(), Vec::new());
        for pictures in self.products {
            let (prompt, parts) = pictures.split_first().context("a product without pictures")?;
            let taken = model.take().context("the model went missing")?;
            let prompt = std::slice::from_ref(prompt);
            let mut inspector = Inspector::new(taken, prompt, settings.clone()).map_err(failed)?;
            let mut scores = (Vec::new(), Vec::new());
            for part in parts {
                for s in inspector.statistics(part).map_err(failed)? {
                    scores.0.push(s.change);
                    scores.1.push(s.position);
                    image.push(s.image);
                }
            }
            change.push(scores.0);
            position.push(scores.1);
            model = Some(inspector.into_model());
            self.bar.inc(1);
        }
        laws.change = ScalarPrior::fit(&change).map_err(|e| anyhow!("change: {e}"))?;
        laws.position = ScalarPrior::fit(&position).map_err(|e| anyhow!("position: {e}"))?;
        laws.image.factor =
            fit_image_factor(&image, IMAGE_TAIL).map_err(|e| anyhow!("image: {e}"))?;
        let model = model.context("the model went missing")?;
        laws.several = self.several(model, &settings)?;
        Ok(laws)
    }

    /// Products taught with [`SEVERAL_PROMPTS`] good parts: what those score against each other, and
    /// what further good parts score.
    fn several(&self, model: OnePrompt, settings: &Settings) -> Result<SeveralPriors> {
        let failed = |e: InspectError| anyhow!("calibration: {e}");
        let mut model = Some(model);
        let (mut change, mut position) = (Vec::new(), Vec::new());
        for index in 0..self.several_products {
            let count = SEVERAL_PROMPTS + SEVERAL_PARTS;
            let pictures = good_parts(self.library, self.config, SEVERAL_FIRST + index, count)?;
            let (prompts, parts) = pictures.split_at(SEVERAL_PROMPTS);
            let taken = model.take().context("the model went missing")?;
            let mut inspector = Inspector::new(taken, prompts, settings.clone()).map_err(failed)?;
            let (mut of_change, mut of_position) = (Enrolled::default(), Enrolled::default());
            (of_change.left_out, of_position.left_out) = inspector.left_out().unzip();
            for part in parts {
                for s in inspector.statistics(part).map_err(failed)? {
                    of_change.new.push(s.change);
                    of_position.new.push(s.position);
                }
            }
            log::debug!("product {index}: change {of_change:?} position {of_position:?}");
            change.push(of_change);
            position.push(of_position);
            model = Some(inspector.into_model());
            self.bar.inc(1);
        }
        Ok(SeveralPriors {
            change: SeveralPrior::fit(&change).map_err(|e| anyhow!("change: {e}"))?,
            position: SeveralPrior::fit(&position).map_err(|e| anyhow!("position: {e}"))?,
        })
    }
}

/// So many good parts of an imaginary product.
fn good_parts(
    library: &Library,
    config: &SynthConfig,
    index: u64,
    count: usize,
) -> Result<Vec<Picture>> {
    let parts = library.product(config, index, count).into_iter();
    parts.map(|rgb| Ok(Picture::from_rgb8(config.size, config.size, rgb)?)).collect()
}

/// Variance of the pooled embedding among good parts of one product, per dimension: with
/// nu0 = D + 2 the prior's mean covariance is `lambda I` itself (section 4.1).
fn pooled_variance(
    model: &mut OnePrompt,
    products: &[Vec<Picture>],
    bar: &indicatif::ProgressBar,
) -> Result<f64> {
    let (mut squares, mut freedom) = (0.0, 0usize);
    for pictures in products {
        let mut rows: Vec<Vec<f64>> = Vec::new();
        for picture in pictures {
            let features = model.encode(picture).map_err(|e| anyhow!("calibration: {e}"))?;
            rows.push(features.pooled().iter().map(|v| f64::from(*v)).collect());
        }
        for d in 0..rows[0].len() {
            let mean = rows.iter().map(|r| r[d]).sum::<f64>() / rows.len() as f64;
            squares += rows.iter().map(|r| (r[d] - mean).powi(2)).sum::<f64>();
        }
        freedom += (rows.len() - 1) * rows[0].len();
        bar.inc(1);
    }
    let variance = squares / freedom.max(1) as f64;
    if variance.is_finite() && variance > 0.0 {
        Ok(variance)
    } else {
        Err(anyhow!("the pooled embedding has variance {variance}: the encoder is untrained"))
    }
}
