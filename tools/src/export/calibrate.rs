//! Calibration of a model card: what good parts score before any part of the user's product was
//! seen (methods/baypranometa.md sections 4.5 and 4.7). Many imaginary products, some good parts
//! each, through the very graphs and code that the camera runs.

use anyhow::{Context, Result, anyhow};
use touchstone_models::calibration::{ScalarPrior, fit_image_factor};
use touchstone_models::inspector::{Inspector, Settings};
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::package::{Calibration, ImagePrior};
use touchstone_models::picture::Picture;

use crate::progress;
use crate::synth::{Geometry, Library, Light, SynthConfig};

/// Imaginary products.
const PRODUCTS: u64 = 160;
/// Good parts per product beside its prompt.
const PARTS: usize = 6;
/// Weight of the prior mean of the pooled embedding: one hundredth of a picture.
const IMAGE_KAPPA0: f64 = 0.01;
/// Tail probability at which the image factor is fitted; there are `PRODUCTS * PARTS` parts, so
/// this leaves about ten beyond it.
const IMAGE_TAIL: f64 = 0.01;

/// Start values that make a card valid before it is calibrated.
pub fn uncalibrated() -> Calibration {
    let scalar = ScalarPrior { mu0: 0.0, kappa0: 1.0, nu0: 4.0, lambda0: 2.0 };
    Calibration {
        change: scalar,
        position: scalar,
        image: ImagePrior { lambda: 1.0, kappa0: IMAGE_KAPPA0, factor: 1.0 },
    }
}

/// The range of good parts that the rates are promised for: the line of the demo, and what a
/// decent fixture and lamp keep. Mostly parts and surfaces; crops of photographs, which no line
/// carries, keep the prior from being too sure.
fn line_config(size: u32, seed: u64) -> SynthConfig {
    SynthConfig {
        size,
        seed,
        geometry: Geometry {
            rotation_deg: 2.0,
            shift: 0.02,
            scale: 0.01,
            wobble_px: 0.5,
            ..Geometry::default()
        },
        light: Light { gain: 0.12, gamma: 0.08, channel: 0.02, blur: 0.6, ..Light::default() },
        texture_share: 0.2,
        industrial_share: 0.6,
        ..SynthConfig::default()
    }
}

/// Fits the card's priors. `load` opens the package with a given calibration.
pub fn fit(
    library: &Library,
    size: u32,
    seed: u64,
    load: impl Fn(Calibration) -> Result<OnePrompt>,
) -> Result<Calibration> {
    let config = line_config(size, seed);
    let bar = progress::bar(PRODUCTS * 2, "calibrate");
    let mut products = Vec::new();
    for index in 0..PRODUCTS {
        let pictures: Result<Vec<Picture>> = library
            .product(&config, index, PARTS + 1)
            .into_iter()
            .map(|rgb| Ok(Picture::from_rgb8(size, size, rgb)?))
            .collect();
        products.push(pictures?);
    }

    let mut calibration = uncalibrated();
    calibration.image.lambda = pooled_variance(&mut load(calibration)?, &products, &bar)?;

    let mut model = Some(load(calibration)?);
    let (mut change, mut position, mut image) = (Vec::new(), Vec::new(), Vec::new());
    for pictures in &products {
        let (prompt, parts) = pictures.split_first().context("a product without pictures")?;
        let taken = model.take().context("the model went missing")?;
        let mut inspector =
            Inspector::new(taken, std::slice::from_ref(prompt), Settings::default())
                .map_err(|e| anyhow!("calibration: {e}"))?;
        let mut scores = (Vec::new(), Vec::new());
        for part in parts {
            let s = inspector.statistics(part).map_err(|e| anyhow!("calibration: {e}"))?;
            scores.0.push(s.change);
            scores.1.push(s.position);
            image.push(s.image);
        }
        change.push(scores.0);
        position.push(scores.1);
        model = Some(inspector.into_model());
        bar.inc(1);
    }
    calibration.change = ScalarPrior::fit(&change).map_err(|e| anyhow!("change: {e}"))?;
    calibration.position = ScalarPrior::fit(&position).map_err(|e| anyhow!("position: {e}"))?;
    calibration.image.factor =
        fit_image_factor(&image, IMAGE_TAIL).map_err(|e| anyhow!("image: {e}"))?;
    bar.finish_and_clear();
    Ok(calibration)
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
