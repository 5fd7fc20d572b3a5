//! Lamps mirrored in a glossy surface: bright bands where the surface faces half way between lamp and
//! camera. They wander, widen and go out when the part lies a little differently or is wiped or greased,
//! and nothing has changed.

use std::f32::consts::TAU;

use serde::{Deserialize, Serialize};

use super::base::BaseKind;
use super::dice::Dice;
use super::lamp::Side;
use super::raster::Rgb;
use super::relief::Relief;

/// How often and how strongly the two sides of a pair shine differently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gloss {
    /// Share of pairs whose surface shines.
    pub share: f32,
    /// Share of those whose bands lie elsewhere on each side; the rest differ in width and strength alone.
    pub moved_share: f32,
    /// Most that a band brightens, share of the way to white.
    pub strength: f32,
}

impl Default for Gloss {
    fn default() -> Self {
        Self { share: 0.35, moved_share: 0.7, strength: 0.6 }
    }
}

/// Slopes that a band is brightest at lie within this.
const HALF_MAX: f32 = 0.3;
/// Share of surfaces that are bent one way only, as a cylinder is: they shine in bands, the others in spots.
const BANDS_SHARE: f32 = 0.6;

impl Gloss {
    /// Nothing shines.
    pub fn off() -> Self {
        Self { share: 0.0, ..Self::default() }
    }

    /// What one pair mirrors; `None` where nothing shines, or the base is a print.
    pub fn draw(&self, base: BaseKind, dice: &mut Dice) -> Option<Mirror> {
        if base.is_print() || !dice.chance(self.share) {
            return None;
        }
        let turn = dice.range(0.0, TAU);
        let relief = Relief {
            facets: dice.range(0.4, 1.0),
            bevel: dice.range(0.0, 0.6),
            stretch: dice.log_range(1.0, 6.0),
            along: (turn.cos(), turn.sin()),
            ..Relief::draw(dice)
        };
        let half = (dice.around(HALF_MAX), dice.around(HALF_MAX));
        let shift = if dice.chance(self.moved_share) { dice.log_range(0.05, 0.5) } else { 0.0 };
        let (most, width) = (dice.range(0.5, 1.0), dice.log_range(0.12, 0.4));
        let bent_down = if dice.chance(BANDS_SHARE) { 0.0 } else { 1.0 };
        let sides = [0, 1].map(|_| Band {
            half: (half.0 + dice.around(shift), half.1 + dice.around(shift)),
            width: width * dice.log_range(0.7, 1.4),
            strength: self.strength * most * dice.range(0.2, 1.0),
        });
        Some(Mirror { relief, sides, bent_down, tint: dice.around(0.06) })
    }
}

/// What one pair mirrors.
pub struct Mirror {
    relief: Relief,
    sides: [Band; 2],
    /// How much slopes in the second direction count, 0 or 1.
    bent_down: f32,
    /// Warmer or colder than white, share.
    tint: f32,
}

/// What is mirrored on one side.
#[derive(Clone, Copy)]
struct Band {
    /// The slope that faces half way between lamp and camera.
    half: (f32, f32),
    /// How far from it the surface still shines.
    width: f32,
    /// Share of the way to white at its middle.
    strength: f32,
}

impl Mirror {
    /// The slopes of what `picture` shows. Both sides take them from the good part, so that light adds
    /// no difference around a change.
    pub fn slopes(&self, picture: &Rgb) -> Vec<(f32, f32)> {
        self.relief.slopes(picture)
    }

    /// `picture` as it shines on one side of the pair.
    pub fn shine(&self, picture: &mut Rgb, slopes: &[(f32, f32)], side: Side) {
        let Band { half, width, strength } = side.of(self.sides);
        let white = [1.0 + self.tint, 1.0, 1.0 - self.tint].map(|w| (255.0 * w).min(255.0));
        for (pixel, slope) in picture.px.chunks_exact_mut(3).zip(slopes) {
            let off = (slope.0 - half.0).hypot(self.bent_down * (slope.1 - half.1)) / width;
            let share = strength * (-0.5 * off * off).exp();
            for (level, white) in pixel.iter_mut().zip(white) {
                let dark = f32::from(*level);
                // Never darker, and never all the way to white: what lies under a band is still seen.
                *level = (dark + share * (white - dark).max(0.0)) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn always() -> Gloss {
        Gloss { share: 1.0, moved_share: 1.0, ..Gloss::default() }
    }

    /// A plain part with a dark square on it.
    fn part() -> Rgb {
        let mut picture = Rgb::plain(96, 96, [120; 3]);
        for y in 40..50 {
            for x in 40..50 {
                picture.set(x, y, [20.0; 3]);
            }
        }
        picture
    }

    #[test]
    fn prints_do_not_shine_and_off_is_off() {
        let dice = &mut Dice::new(1, 1);
        assert!(always().draw(BaseKind::Board, dice).is_none());
        assert!(always().draw(BaseKind::Label, dice).is_none());
        assert!(always().draw(BaseKind::Metal, dice).is_some());
        assert!((0..100).all(|_| Gloss::off().draw(BaseKind::Metal, dice).is_none()));
    }

    #[test]
    fn bands_only_brighten_and_lie_elsewhere_on_each_side() {
        let dice = &mut Dice::new(3, 3);
        let plain = Rgb::plain(96, 96, [120; 3]);
        let (mut shining, mut apart) = (0, 0);
        for _ in 0..40 {
            let mirror = always().draw(BaseKind::Metal, dice).expect("always");
            let slopes = mirror.slopes(&plain);
            let [mut prompt, mut query] = [plain.clone(), plain.clone()];
            mirror.shine(&mut prompt, &slopes, Side::Prompt);
            mirror.shine(&mut query, &slopes, Side::Query);
            assert!(prompt.px.iter().chain(&query.px).all(|level| *level >= 120));
            let far = |a: &Rgb, b: &Rgb| a.px.iter().zip(&b.px).any(|(a, b)| a.abs_diff(*b) > 10);
            shining += usize::from(far(&prompt, &plain));
            apart += usize::from(far(&prompt, &query));
        }
        assert!(shining > 30 && apart > 20, "{shining} shine, {apart} differ");
    }

    #[test]
    fn a_change_stays_visible_under_a_band() {
        let dice = &mut Dice::new(7, 7);
        let (good, changed) = (Rgb::plain(96, 96, [120; 3]), part());
        for _ in 0..40 {
            let mirror = always().draw(BaseKind::Metal, dice).expect("always");
            let slopes = mirror.slopes(&good);
            let [mut a, mut b] = [good.clone(), changed.clone()];
            mirror.shine(&mut a, &slopes, Side::Query);
            mirror.shine(&mut b, &slopes, Side::Query);
            for y in 0..96 {
                for x in 0..96 {
                    let inside = (40..50).contains(&x) && (40..50).contains(&y);
                    let far = a.at(x, y)[1].abs_diff(b.at(x, y)[1]);
                    assert!(if inside { far > 35 } else { far == 0 }, "{x} {y}: {far}");
                }
            }
        }
    }
}
