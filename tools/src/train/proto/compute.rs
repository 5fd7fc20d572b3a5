//! Features of generated products, through the very encoder that the camera runs.

use anyhow::{Context, Result, anyhow, ensure};
use touchstone_models::engine::EngineKind;
use touchstone_models::oneprompt::OnePrompt;
use touchstone_models::package::{ModelPackage, find_model};
use touchstone_models::picture::Picture;

use super::features::{FeatureSet, ProductFeatures};
use crate::calibrate::line_config;
use crate::synth::{Library, Scene, Source, SynthConfig};
use crate::{parallel, progress};

/// Good and defective parts per product.
pub const PARTS: (usize, usize) = (20, 8);
/// Fewest training products.
pub const PRODUCTS_MIN: usize = 8;
/// Every so many-th picture of the library is kept for the test products, and the one after it for
/// the validation products: nothing is measured on a picture that was learned from.
const HELD_OUT_EVERY: usize = 5;
/// Fewest pictures that can be split so.
const PICTURES_MIN: usize = HELD_OUT_EVERY;

/// Opens a model package of that name or folder on one thread.
///
/// # Errors
/// No such model.
pub fn open(model: &str) -> Result<OnePrompt> {
    let package = package(model)?;
    OnePrompt::load(&package, EngineKind::Tract, 1).map_err(|e| anyhow!("{model}: {e}"))
}

/// The package of that name or folder.
///
/// # Errors
/// No such model.
pub fn package(model: &str) -> Result<ModelPackage> {
    let folder = find_model(model).map_err(|e| anyhow!("--model: {e}"))?;
    ModelPackage::open(&folder).map_err(|e| anyhow!("--model: {e}"))
}

/// Features of a picture.
///
/// # Errors
/// An engine that fails.
pub fn pooled(model: &mut OnePrompt, picture: &Picture) -> Result<Vec<f32>> {
    Ok(model.encode(picture).map_err(|e| anyhow!("{e}"))?.pooled().to_vec())
}

/// What is to be computed.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Name or folder of the model.
    pub model: &'a str,
    /// Training products; half as many for test and a quarter for validation.
    pub products: usize,
    /// Seed of the products.
    pub seed: u64,
}

impl Wanted<'_> {
    fn counts(&self) -> [usize; 3] {
        [self.products, self.products.div_ceil(4), self.products.div_ceil(2)]
    }

    /// What tells two computations apart.
    ///
    /// # Errors
    /// No such model.
    pub fn origin(&self, pictures: &str) -> Result<String> {
        let package = package(self.model)?;
        let [train, validation, test] = self.counts();
        Ok(format!(
            "{} {}, {pictures}, seed {}, {train} + {validation} + {test} products of {} + {} parts",
            package.id(),
            package.hash(),
            self.seed,
            PARTS.0,
            PARTS.1
        ))
    }
}

/// Computes all features, on all cores; the same whatever their number.
///
/// # Errors
/// Too few pictures or products, a model that fails.
pub fn compute(library: Library, wanted: &Wanted<'_>, origin: String) -> Result<FeatureSet> {
    ensure!(
        wanted.products >= PRODUCTS_MIN,
        "--products {}: at least {PRODUCTS_MIN} are needed",
        wanted.products
    );
    let libraries = split(library)?;
    let (size, inputs) = {
        let mut model = open(wanted.model)?;
        let (size, _) = model.input_size();
        let grey = vec![128; (size * size * 3) as usize];
        (size, pooled(&mut model, &Picture::from_rgb8(size, size, grey)?)?.len())
    };
    let config = line_config(size, wanted.seed);
    config.check()?;
    let jobs: Vec<(usize, u64)> = wanted
        .counts()
        .into_iter()
        .enumerate()
        // Numbers of their own per split: drawn parts do not come from pictures.
        .flat_map(|(split, count)| {
            (0..count as u64).map(move |k| (split, (split as u64) << 32 | k))
        })
        .collect();
    let bar = progress::bar(jobs.len() as u64, "features");
    let begin = || open(wanted.model);
    let all = parallel::map(jobs.len(), parallel::cores(), begin, |model, number| {
        let (split, index) = jobs[number];
        let features = product(&libraries[split], &config, index, model)?;
        bar.inc(1);
        Ok(features)
    });
    bar.finish_and_clear();
    let mut splits: [Vec<ProductFeatures>; 3] = Default::default();
    for ((split, _), features) in jobs.iter().zip(all?) {
        splits[*split].push(features);
    }
    let [train, validation, test] = splits;
    Ok(FeatureSet { inputs, origin, train, validation, test })
}

/// One product's features.
fn product(
    library: &Library,
    config: &SynthConfig,
    index: u64,
    model: &mut OnePrompt,
) -> Result<ProductFeatures> {
    let product = library.product_with_defects(config, index, PARTS);
    let mut encode = |rgb: Vec<u8>| -> Result<Vec<f32>> {
        pooled(model, &Picture::from_rgb8(config.size, config.size, rgb)?)
    };
    let good = product.good.into_iter().map(&mut encode).collect::<Result<_>>()?;
    let defective =
        product.defective.into_iter().map(|d| encode(d.picture)).collect::<Result<_>>()?;
    let base = serde_json::to_value(product.base)?;
    let base = base.as_str().context("a base without a name")?.to_owned();
    Ok(ProductFeatures { base, good, defective })
}

/// Libraries for training, validation and test that share no picture.
fn split(library: Library) -> Result<[Library; 3]> {
    ensure!(
        library.scenes.len() >= PICTURES_MIN,
        "{} pictures: at least {PICTURES_MIN} are needed to keep some for the test",
        library.scenes.len()
    );
    let part = |number: usize| match number % HELD_OUT_EVERY {
        0 => 2,
        1 => 1,
        _ => 0,
    };
    let mut scenes: [Vec<Scene>; 3] = Default::default();
    for (number, scene) in library.scenes.into_iter().enumerate() {
        scenes[part(number)].push(scene);
    }
    let mut textures: [Vec<Source>; 3] = Default::default();
    for (number, texture) in library.textures.into_iter().enumerate() {
        textures[part(number)].push(texture);
    }
    let mut textures = textures.into_iter();
    Ok(scenes.map(|s| Library::assemble(s, textures.next().unwrap_or_default(), Vec::new())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::Rgb;

    #[test]
    fn no_picture_is_in_two_splits() {
        let picture = |k: usize| Source::new(Rgb::plain(40 + k, 40, [k as u8; 3]));
        let scene = |k| Scene { picture: picture(k), outlines: Vec::new() };
        let library = Library::assemble((0..11).map(scene).collect(), Vec::new(), Vec::new());
        let widths = split(library)
            .expect("split")
            .map(|l| l.scenes.iter().map(|s| s.picture.full().w - 40).collect::<Vec<_>>());
        assert_eq!(widths[0], [2, 3, 4, 7, 8, 9]);
        assert_eq!(widths[1], [1, 6]);
        assert_eq!(widths[2], [0, 5, 10]);
        let few = Library::assemble((0..4).map(scene).collect(), Vec::new(), Vec::new());
        assert!(split(few).is_err());
    }
}
