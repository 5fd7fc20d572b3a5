//! The product and its witnesses: the fused map with the verdict, and each map alone.
//!
//! The verdict is the inspector's own, exactly as on the camera. The witnesses' maps are not part
//! of a verdict, so they are taken beside it from the same model by the same library calls; ask
//! for the `product` detector to spare that second look.

use touchstone_models::engine::EngineKind;
use touchstone_models::fusion::position_level;
use touchstone_models::inspector::{Inspector, Settings};
use touchstone_models::map::Map;
use touchstone_models::oneprompt::{Features, OnePrompt};
use touchstone_models::package::{ModelPackage, find_model};
use touchstone_models::picture::Picture;
use touchstone_models::recipe::Tiles;
use touchstone_models::student_t::position::Enrolment;
use touchstone_models::student_t::{PatchGrid, PositionPosterior, PositionPrior};
use touchstone_models::tiling::TileChoice;
use touchstone_models::verdict::Decision;

use super::Detector;
use crate::eval::args::{DetectorKind, EvalArgs};
use crate::eval::observation::Observation;

/// Names of the maps: the fused one, then the witnesses.
pub const MAPS: [&str; 4] = ["product", "change", "nearest", "position"];

/// The position map before it is brought to 0..1: `delta / D`, for formulas.
const POSITION_RATIO: &str = "position_ratio";

/// Natural logarithm of the joint p-value, for formulas; a p-value of 0 counts as this one.
const LOG_P: &str = "log_p";
const P_FLOOR: f64 = 1e-30;

/// The inspector, and its witnesses one by one.
pub struct OnePromptDetector {
    product: Option<Product>,
    witnesses: Option<Witnesses>,
}

impl OnePromptDetector {
    /// Loads the model once for the verdict and once for the witnesses, as far as they are wanted.
    ///
    /// # Errors
    /// An unknown engine; a package that is missing, damaged or foreign.
    pub fn load(args: &EvalArgs) -> anyhow::Result<Self> {
        let package = ModelPackage::open(&find_model(&args.model)?)?;
        let engine: EngineKind = args.engine.parse()?;
        let load = || OnePrompt::load(&package, engine, args.threads);
        let (product, witnesses) = match args.detector {
            DetectorKind::Oneprompt => (true, true),
            DetectorKind::Product => (true, false),
            _ => (false, true),
        };
        let plain = args.registration.is_off() && args.tiles == TileChoice::Given(Tiles::ONE);
        anyhow::ensure!(
            plain || args.detector == DetectorKind::Product,
            "--registration and --tiles are the product's; give --detector product with them"
        );
        let settings = Settings {
            false_reject_ppm: args.false_reject_ppm,
            smallest_defect_px: args.smallest_defect,
            registration: args.registration,
            ..Settings::default()
        };
        Ok(Self {
            product: match product {
                true => {
                    Some(Product::Idle(Box::new(load()?), Wanted { settings, tiles: args.tiles }))
                }
                false => None,
            },
            witnesses: match witnesses {
                true => Some(Witnesses { model: load()?, prompts: Vec::new(), position: None }),
                false => None,
            },
        })
    }
}

impl Detector for OnePromptDetector {
    fn enrol(&mut self, prompts: &[Picture], further: &[Picture]) -> anyhow::Result<()> {
        if let Some(product) = self.product.take() {
            self.product = Some(product.enrolled(prompts, further)?);
        }
        if let Some(witnesses) = &mut self.witnesses {
            witnesses.enrol(prompts)?;
        }
        Ok(())
    }

    fn observe(&mut self, query: &Picture) -> anyhow::Result<Observation> {
        let mut seen = Observation::default();
        if let Some(product) = &mut self.product {
            product.observe(query, &mut seen)?;
        }
        if let Some(witnesses) = &mut self.witnesses {
            witnesses.observe(query, &mut seen)?;
        }
        Ok(seen)
    }
}

/// The inspector, before and after it has prompts.
enum Product {
    Idle(Box<OnePrompt>, Wanted),
    Ready(Box<Inspector>, Wanted),
}

/// What the command line asks of the product.
struct Wanted {
    settings: Settings,
    tiles: TileChoice,
}

impl Product {
    fn enrolled(self, prompts: &[Picture], further: &[Picture]) -> anyhow::Result<Self> {
        let (model, wanted) = match self {
            Self::Idle(model, wanted) => (*model, wanted),
            Self::Ready(inspector, wanted) => (inspector.into_model(), wanted),
        };
        let size = prompts.first().map_or((1, 1), |p| (p.width(), p.height()));
        let smallest = wanted.settings.smallest_defect_px;
        let tiles = wanted.tiles.tiles(model.input_size(), size, smallest);
        let settings = Settings { tiles, ..wanted.settings.clone() };
        let mut inspector = Inspector::new(model, prompts, settings)?;
        let further = inspector.further(further)?;
        inspector.calibrate(&further)?;
        Ok(Self::Ready(Box::new(inspector), wanted))
    }

    fn observe(&mut self, query: &Picture, seen: &mut Observation) -> anyhow::Result<()> {
        let Self::Ready(inspector, _) = self else {
            anyhow::bail!("no prompt enrolled");
        };
        let found = inspector.inspect(query);
        let Some(map) = found.map else {
            anyhow::bail!("not scored: {:?}", found.decision);
        };
        let reject = matches!(found.decision, Decision::Reject(_));
        seen.map(MAPS[0], map);
        seen.verdict(MAPS[0], found.score, reject);
        seen.number(LOG_P, found.p_value.max(P_FLOOR).ln() as f32);
        let report = found.witnesses;
        for (statistic, log_p, testimony) in [
            ("change.statistic", "change.log_p", report.change),
            ("position.statistic", "position.log_p", report.position),
            ("joint.statistic", "joint.log_p", report.joint),
            ("image.statistic", "image.log_p", report.image),
        ] {
            seen.number(statistic, testimony.statistic as f32);
            seen.number(log_p, testimony.p_value.max(P_FLOOR).ln() as f32);
        }
        Ok(())
    }
}

/// The witnesses' maps, made as the inspector makes them.
struct Witnesses {
    model: OnePrompt,
    prompts: Vec<Features>,
    position: Option<PositionPosterior>,
}

impl Witnesses {
    fn enrol(&mut self, prompts: &[Picture]) -> anyhow::Result<()> {
        self.prompts.clear();
        let mut grids = Vec::with_capacity(prompts.len());
        let (mut dim, mut columns) = (1, 1);
        for prompt in prompts {
            let features = self.model.encode(prompt)?;
            let patches = features.patches();
            let (width, height) = (patches.width as usize, patches.height as usize);
            (dim, columns) = (patches.dim, width);
            let rows = patches.values.to_vec();
            grids.push(PatchGrid::new(width, height, dim, rows)?);
            self.prompts.push(features);
        }
        let enrolment = Enrolment::new(grids, PositionPrior::for_unit_rows(dim, columns))?;
        self.position = Some(enrolment.posterior()?);
        Ok(())
    }

    fn observe(&mut self, query: &Picture, seen: &mut Observation) -> anyhow::Result<()> {
        let features = self.model.encode(query)?;
        let alike = |p: &&Features| cosine(p.pooled(), features.pooled());
        let nearest = self.prompts.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
        let (Some(prompt), Some(position)) = (nearest, &mut self.position) else {
            anyhow::bail!("no prompt enrolled");
        };
        let segmented = self.model.segment_full(&features, prompt)?;
        seen.map(MAPS[1], segmented.change);
        seen.map(MAPS[2], segmented.nearest);
        let (width, height) = position.size();
        let ratios = position.ratio_map(features.patches().values)?.to_vec();
        let usual = self.model.card().calibration.usual.position.one.mu0;
        let levels = ratios.iter().map(|&r| position_level(r, usual)).collect();
        let map = |values| Map { width: width as u32, height: height as u32, values };
        seen.map(MAPS[3], map(levels));
        seen.map(POSITION_RATIO, map(ratios));
        Ok(())
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f32::MIN_POSITIVE)
}
