//! One rendered part and the truth about it.

use super::design::Design;
use super::flaw::Flaw;
use super::random::Random;
use super::render::{Nuisance, Picture, Scene, Studio};
use super::{DefectKind, SimConfig};
use crate::camera::Frame;
use crate::time::Timestamp;

/// Grey levels (of 255, before sensor noise) by which a pixel has to differ to belong to the defect.
pub const MASK_LEVELS: u8 = 8;
/// Mean difference over the mask that every defect has at least: a person sees it.
pub const CONTRAST_MIN: f32 = 18.0;
/// Smallest area of a defect, as the side of a square in shares of the frame's shorter side: 1.5 % of the
/// part's width.
pub const EXTENT_MIN: f32 = 0.012;
/// Defects too faint to see are drawn anew this often.
const DRAWS_MAX: usize = 24;
/// How much deeper each new draw is made.
const BOOST_STEP: f32 = 0.15;

/// What is known about a rendered part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// Whether the part must be rejected.
    pub defective: bool,
    /// What is wrong with it.
    pub defect: Option<DefectKind>,
    /// Per pixel of the frame, row-major: whether the defect changed it by more than [`MASK_LEVELS`].
    pub mask: Vec<bool>,
}

/// A picture and the truth about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedPart {
    /// The picture; its sequence number is the part's number.
    pub frame: Frame,
    /// What is on it.
    pub truth: Truth,
}

// Purposes of the random streams; each draws independently of the others.
const PLAN: u64 = 0x1001;
const LOOK: u64 = 0x1002;
const FLAW: u64 = 0x1003;
const SENSOR: u64 = 0x1004;
/// Enrolment pictures come from another range of part numbers, so that none of them is on the line.
const ENROLMENT: u64 = 1 << 63;

/// Draws the parts of one configuration.
#[derive(Debug)]
pub(super) struct Factory {
    seed: u64,
    defect_rate: f32,
    noise: f32,
    nuisance: Nuisance,
    size: (u32, u32),
    studio: Studio,
}

impl Factory {
    pub(super) fn new(config: &SimConfig) -> Factory {
        Factory {
            seed: config.seed,
            defect_rate: config.defect_rate,
            noise: config.noise,
            nuisance: Nuisance {
                shift: config.shift,
                rotation_deg: config.rotation_deg,
                light: config.light,
            },
            size: config.size,
            studio: Studio::new(Design::of(config.kind), config.size, config.seed),
        }
    }

    /// The defect that part `n` is made with, without drawing it.
    pub(super) fn plan(&self, n: u64) -> Option<DefectKind> {
        let mut random = Random::new(self.seed, PLAN, n);
        let defective = random.chance(self.defect_rate);
        let kind = DefectKind::ALL[random.below(DefectKind::ALL.len())];
        defective.then_some(kind)
    }

    /// Part `n` as the line makes it.
    pub(super) fn part(&self, n: u64, exposed_at: Timestamp) -> RenderedPart {
        self.render(n, self.plan(n), n as u32, exposed_at)
    }

    /// Part `n` with a defect of the caller's choice, or none.
    pub(super) fn part_with(&self, n: u64, defect: Option<DefectKind>) -> RenderedPart {
        self.render(n, defect, n as u32, Timestamp::ZERO)
    }

    /// A good part that is not one of the line's.
    pub(super) fn enrolment(&self, n: u64) -> RenderedPart {
        self.render(ENROLMENT | n, None, n as u32, Timestamp::ZERO)
    }

    fn render(
        &self,
        n: u64,
        defect: Option<DefectKind>,
        sequence: u32,
        exposed_at: Timestamp,
    ) -> RenderedPart {
        let studio = &self.studio;
        let scene = Scene::draw(self.nuisance, &mut Random::new(self.seed, LOOK, n));
        let (width, height) = self.size;
        let mut raw: Picture = vec![[0.0; 3]; width as usize * height as usize];
        studio.expose(&scene, None, studio.whole(), &mut raw);
        let mut picture = studio.focus(&raw, scene.blur);
        let mut mask = vec![false; picture.len()];
        if let Some(kind) = defect {
            let mut random = Random::new(self.seed, FLAW, n);
            (picture, mask) = self.spoil(kind, &scene, &raw, &picture, &mut random);
        }
        let rgb = studio.read_out(&picture, self.noise, &mut Random::new(self.seed, SENSOR, n));
        RenderedPart {
            frame: Frame { width, height, rgb, sequence, exposed_at },
            truth: Truth { defective: defect.is_some(), defect, mask },
        }
    }

    /// Draws defects of that kind until one is large and strong enough to be seen; the best otherwise.
    fn spoil(
        &self,
        kind: DefectKind,
        scene: &Scene,
        raw: &Picture,
        clean: &Picture,
        random: &mut Random,
    ) -> (Picture, Vec<bool>) {
        let least = (EXTENT_MIN * self.size.0.min(self.size.1) as f32).powi(2);
        let mut best: Option<(f32, Picture, Vec<bool>)> = None;
        for attempt in 0..DRAWS_MAX {
            let boost = 1.0 + BOOST_STEP * attempt as f32;
            let flaw = Flaw::draw(kind, &self.studio.design, boost, random);
            let mut spoiled = raw.clone();
            self.studio.expose(scene, Some(&flaw), self.studio.window(scene, &flaw), &mut spoiled);
            let spoiled = self.studio.focus(&spoiled, scene.blur);
            let (mask, area, contrast) = self.compare(clean, &spoiled);
            let merit = (area / least).min(1.0) * (contrast / CONTRAST_MIN).min(1.0);
            if best.as_ref().is_none_or(|(score, ..)| merit > *score) {
                best = Some((merit, spoiled, mask));
            }
            if merit >= 1.0 {
                break;
            }
        }
        let (_, picture, mask) =
            best.unwrap_or_else(|| (0.0, clean.clone(), vec![false; clean.len()]));
        (picture, mask)
    }

    /// The pixels that differ, how many, and by how many grey levels on average.
    fn compare(&self, clean: &Picture, spoiled: &Picture) -> (Vec<bool>, f32, f32) {
        let (mut area, mut sum) = (0u32, 0u64);
        let mut mask = vec![false; clean.len()];
        for ((a, b), out) in clean.iter().zip(spoiled).zip(&mut mask) {
            if a == b {
                continue;
            }
            let levels = |k: usize| self.studio.develop(a[k]).abs_diff(self.studio.develop(b[k]));
            let most = levels(0).max(levels(1)).max(levels(2));
            if most > MASK_LEVELS {
                *out = true;
                area += 1;
                sum += u64::from(most);
            }
        }
        (mask, area as f32, if area == 0 { 0.0 } else { sum as f32 / area as f32 })
    }
}
