//! Parts of one imaginary product: one base, many takes, some of them with a defect. Good parts
//! calibrate the model card; both kinds together are the episodes of `train proto`.

use super::Library;
use super::base::{Base, BaseKind};
use super::changes::{ChangeKind, Desk};
use super::dice::Dice;
use super::geometry::{Class, View};
use super::label::LABEL_MIN;
use super::light::{self, Sensor, Tone};
use super::pair::{SynthConfig, change};

/// Keeps product numbers apart from pair and view numbers of the same seed.
const PRODUCT_STREAM: u64 = 0x5052_4F44;
/// Keeps the defects' draws apart from those of the good parts, which do not depend on them.
const DEFECT_STREAM: u64 = 0x4445_4645;
/// Draws after which a defect is given up: on some bases some changes cannot be made visible.
const TRIES: usize = 16;

/// Pictures of one product, RGB8, `size * size * 3` each.
#[derive(Debug, Clone)]
pub struct Product {
    /// What it shows.
    pub base: BaseKind,
    /// Good parts.
    pub good: Vec<Vec<u8>>,
    /// Defective parts.
    pub defective: Vec<Defective>,
}

/// One defective part.
#[derive(Debug, Clone)]
pub struct Defective {
    /// The picture.
    pub picture: Vec<u8>,
    /// The change with the largest label.
    pub kind: ChangeKind,
}

/// What all parts of a product have in common.
struct Line<'a> {
    config: &'a SynthConfig,
    size: usize,
    side: usize,
    class: Class,
    base: Base,
    sensor: Sensor,
}

impl<'a> Line<'a> {
    fn draw(library: &Library, config: &'a SynthConfig, dice: &mut Dice) -> Line<'a> {
        let size = config.size as usize;
        let class = Class::Small;
        let side = size + 2 * class.margin(&config.geometry, size);
        let base = Base::draw(library, config, side, dice);
        let sensor = Sensor::draw(&config.light, dice);
        Line { config, size, side, class, base, sensor }
    }

    fn view(&self, dice: &mut Dice) -> View {
        View::draw(&self.config.geometry, self.class, self.size, self.side, dice)
    }

    fn expose(&self, mut pixels: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
        let tone = Tone::draw(&self.config.light, None, dice);
        light::expose(&mut pixels, self.size, &tone, &self.sensor, dice.bits());
        pixels
    }

    fn good(&self, dice: &mut Dice) -> Vec<u8> {
        // View before tone: the order of the draws is part of what a seed means.
        let view = self.view(dice);
        self.expose(view.render(&self.base.canvas), dice)
    }

    /// A part with one or more changes that its camera can see; `None` when none came out visible.
    fn defective(&mut self, library: &Library, dice: &mut Dice) -> Option<Defective> {
        for _ in 0..TRIES {
            let mut changed = self.base.canvas.clone();
            let mut mask = vec![0; self.side * self.side];
            let mut desk = Desk {
                library,
                base: &mut self.base,
                changed: &mut changed,
                mask: &mut mask,
                size: self.size,
            };
            let kind = change(&mut desk, self.config, dice);
            let view = self.view(dice);
            let label = view.render_mask(&mask, self.side, None);
            if kind != ChangeKind::None && label.iter().filter(|m| **m > 0).count() >= LABEL_MIN {
                let picture = self.expose(view.render(&changed), dice);
                return Some(Defective { picture, kind });
            }
        }
        None
    }
}

impl Library {
    /// `count` pictures (RGB8, `size * size * 3`) of the same thing without any change, by one
    /// camera; only position and light differ, within the configuration's small ranges, and of
    /// course every picture's noise.
    pub fn product(&self, config: &SynthConfig, index: u64, count: usize) -> Vec<Vec<u8>> {
        let dice = &mut Dice::new(config.seed ^ PRODUCT_STREAM, index);
        let line = Line::draw(self, config, dice);
        (0..count).map(|_| line.good(dice)).collect()
    }

    /// The good parts of [`Library::product`], and up to `defective` parts of the same product with
    /// generated defects; fewer where its surface hides what is drawn on it.
    pub fn product_with_defects(
        &self,
        config: &SynthConfig,
        index: u64,
        (good, defective): (usize, usize),
    ) -> Product {
        // An exchange puts its first thing onto the base itself, so onto parts that are good.
        let mut config = config.clone();
        config.without.push(ChangeKind::Exchange);
        let dice = &mut Dice::new(config.seed ^ PRODUCT_STREAM, index);
        let mut line = Line::draw(self, &config, dice);
        let good = (0..good).map(|_| line.good(dice)).collect();
        let dice = &mut Dice::new(config.seed ^ DEFECT_STREAM, index);
        let defective = (0..defective).filter_map(|_| line.defective(self, dice)).collect();
        Product { base: line.base.kind, good, defective }
    }
}

#[cfg(test)]
mod tests {
    use super::super::geometry::Geometry;
    use super::super::light::Light;
    use super::super::{SynthConfig, testing};
    use super::*;

    fn library() -> Library {
        testing::library(&[])
    }

    fn config() -> SynthConfig {
        SynthConfig { size: 64, seed: 5, ..SynthConfig::default() }
    }

    #[test]
    fn good_parts_do_not_depend_on_the_defects() {
        let (library, config) = (library(), config());
        for index in 0..8 {
            let product = library.product_with_defects(&config, index, (3, 4));
            assert_eq!(product.good, library.product(&config, index, 3));
            let fewer = library.product_with_defects(&config, index, (2, 4));
            let pictures = |p: &Product| -> Vec<Vec<u8>> {
                p.defective.iter().map(|d| d.picture.clone()).collect()
            };
            assert_eq!(pictures(&product), pictures(&fewer));
        }
    }

    #[test]
    fn under_a_still_camera_only_the_defects_differ() {
        let library = library();
        let config = SynthConfig { geometry: Geometry::still(), light: Light::still(), ..config() };
        let mut seen = 0;
        for index in 0..12 {
            let product = library.product_with_defects(&config, index, (2, 3));
            assert_eq!(product.good[0], product.good[1]);
            for part in &product.defective {
                assert_ne!(part.picture, product.good[0], "{index} {:?}", part.kind);
                assert!(![ChangeKind::None, ChangeKind::Exchange].contains(&part.kind));
                seen += 1;
            }
        }
        assert!(seen > 24, "{seen}");
    }
}
