//! Good parts of one imaginary product, for calibration: one base, many takes.

use super::Library;
use super::base::Base;
use super::dice::Dice;
use super::geometry::{Class, View};
use super::light::{self, Sensor, Tone};
use super::pair::SynthConfig;

/// Keeps product numbers apart from pair and view numbers of the same seed.
const PRODUCT_STREAM: u64 = 0x5052_4F44;

impl Library {
    /// `count` pictures (RGB8, `size * size * 3`) of the same thing without any change, by one
    /// camera; only position and light differ, within the configuration's small ranges, and of
    /// course every picture's noise.
    pub fn product(&self, config: &SynthConfig, index: u64, count: usize) -> Vec<Vec<u8>> {
        let dice = &mut Dice::new(config.seed ^ PRODUCT_STREAM, index);
        let size = config.size as usize;
        let class = Class::Small;
        let side = size + 2 * class.margin(&config.geometry, size);
        let base = Base::draw(self, config, side, dice);
        let sensor = Sensor::draw(&config.light, dice);
        (0..count)
            .map(|_| {
                let view = View::draw(&config.geometry, class, size, side, dice);
                let tone = Tone::draw(&config.light, None, dice);
                let mut pixels = view.render(&base.canvas);
                light::expose(&mut pixels, size, &tone, &sensor, dice.bits());
                pixels
            })
            .collect()
    }
}
