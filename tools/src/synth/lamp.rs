//! A lamp that stays where it is while the part in front of it turns: faces and edges that were lit on
//! one side of the pair are dark on the other, and nothing has changed.

use std::f32::consts::TAU;

use serde::{Deserialize, Serialize};

use super::base::BaseKind;
use super::dice::Dice;
use super::raster::Rgb;
use super::relief::Relief;

/// How often and how strongly the two sides of a pair are lit from different directions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lamp {
    /// Share of pairs that have a lamp at a side.
    pub share: f32,
    /// Share of those whose lamp is at another side for each picture.
    pub turned_share: f32,
    /// Largest change of brightness by a face, share.
    pub strength: f32,
}

impl Default for Lamp {
    fn default() -> Self {
        Self { share: 0.25, turned_share: 0.7, strength: 0.45 }
    }
}

impl Lamp {
    /// Light from the front only.
    pub fn off() -> Self {
        Self { share: 0.0, ..Self::default() }
    }

    /// The lamp of one pair; `None` where there is none, or the base is flat.
    pub fn draw(&self, base: BaseKind, dice: &mut Dice) -> Option<Lit> {
        if base.is_print() || !dice.chance(self.share) {
            return None;
        }
        let first = dice.range(0.0, TAU);
        let turned = dice.chance(self.turned_share);
        let second = if turned { dice.range(0.0, TAU) } else { first + dice.around(0.1) };
        Some(Lit {
            directions: [first, second].map(|angle| angle.sin_cos()).map(|(y, x)| (x, y)),
            strength: dice.range(0.2, 1.0) * self.strength,
            relief: Relief::draw(dice),
        })
    }
}

/// The lamp of one pair.
pub struct Lit {
    directions: [(f32, f32); 2],
    strength: f32,
    relief: Relief,
}

/// Which of the two pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The good part.
    Prompt,
    /// The part to judge.
    Query,
}

impl Side {
    /// This side's of what both have.
    pub(super) fn of<T>(self, [prompt, query]: [T; 2]) -> T {
        match self {
            Side::Prompt => prompt,
            Side::Query => query,
        }
    }
}

impl Lit {
    /// The slopes of what `picture` shows. Both sides take them from the good part, so that light adds
    /// no difference around a change.
    pub fn slopes(&self, picture: &Rgb) -> Vec<(f32, f32)> {
        self.relief.slopes(picture)
    }

    /// `picture` as it looks on one side of the pair.
    pub fn light(&self, picture: &mut Rgb, slopes: &[(f32, f32)], side: Side) {
        let (x, y) = side.of(self.directions);
        for (pixel, slope) in picture.px.chunks_exact_mut(3).zip(slopes) {
            let facing = (slope.0 * x + slope.1 * y).clamp(-1.0, 1.0);
            let gain = 1.0 + self.strength * facing;
            for level in pixel {
                let lit = f32::from(*level) * gain;
                // A shoulder instead of clipped white, under which a bright change would vanish.
                *level = if gain > 1.0 { shoulder(lit, f32::from(*level)) } else { lit } as u8;
            }
        }
    }
}

/// `lit`, at most half way from `level` to white above 200.
fn shoulder(lit: f32, level: f32) -> f32 {
    const START: f32 = 200.0;
    if lit <= START {
        return lit;
    }
    let from = level.max(START);
    from + (255.0 - from) * 0.5 * (1.0 - (-(lit - from) / (256.0 - from)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn always() -> Lamp {
        Lamp { share: 1.0, turned_share: 1.0, strength: 0.45 }
    }

    fn disc() -> Rgb {
        let mut picture = Rgb::plain(96, 96, [60; 3]);
        for y in 0..96 {
            for x in 0..96 {
                if (x as f32 - 48.0).hypot(y as f32 - 48.0) < 30.0 {
                    picture.set(x, y, [150.0; 3]);
                }
            }
        }
        picture
    }

    #[test]
    fn flat_prints_have_no_lamp_and_off_is_off() {
        let dice = &mut Dice::new(1, 1);
        assert!(always().draw(BaseKind::Board, dice).is_none());
        assert!(always().draw(BaseKind::Label, dice).is_none());
        assert!(always().draw(BaseKind::Metal, dice).is_some());
        assert!((0..100).all(|_| Lamp::off().draw(BaseKind::Metal, dice).is_none()));
    }

    #[test]
    fn an_edge_that_faces_the_lamp_is_lit_and_the_opposite_one_is_not() {
        let lit = Lit {
            directions: [(1.0, 0.0), (-1.0, 0.0)],
            strength: 0.4,
            relief: Relief {
                facets: 0.0,
                bevel: 1.0,
                tones: 3.0,
                width: 0.5,
                stretch: 1.0,
                along: (1.0, 0.0),
                seed: 3,
            },
        };
        let good = disc();
        let slopes = lit.slopes(&good);
        let [mut prompt, mut query] = [good.clone(), good.clone()];
        lit.light(&mut prompt, &slopes, Side::Prompt);
        lit.light(&mut query, &slopes, Side::Query);
        let red = |p: &Rgb, x: usize| i32::from(p.at(x, 48)[0]);
        assert!(red(&prompt, 19) > red(&good, 19) + 15, "lit");
        assert!(red(&prompt, 77) < red(&good, 77) - 15, "in the shade");
        assert!(red(&query, 19) < red(&good, 19) - 15, "the lamp is on the other side");
        assert!((red(&prompt, 48) - red(&good, 48)).abs() <= 1, "a flat middle stays");
    }

    #[test]
    fn a_change_stays_visible_under_the_same_shades() {
        let dice = &mut Dice::new(7, 7);
        let good = disc();
        let mut changed = good.clone();
        for y in 40..50 {
            for x in 40..50 {
                changed.set(x, y, [240.0; 3]);
            }
        }
        for _ in 0..50 {
            let lit = always().draw(BaseKind::Scene, dice).expect("always");
            let slopes = lit.slopes(&good);
            let [mut a, mut b] = [good.clone(), changed.clone()];
            lit.light(&mut a, &slopes, Side::Query);
            lit.light(&mut b, &slopes, Side::Query);
            for y in 0..96 {
                for x in 0..96 {
                    let inside = (40..50).contains(&x) && (40..50).contains(&y);
                    let far = a.at(x, y)[0].abs_diff(b.at(x, y)[0]);
                    assert!(if inside { far > 20 } else { far == 0 }, "{x} {y}: {far}");
                }
            }
        }
    }
}
