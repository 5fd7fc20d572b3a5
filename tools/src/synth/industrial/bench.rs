//! Cut-out things on a plain ground.

use super::super::base::{Base, BaseKind, surface};
use super::super::dice::Dice;
use super::super::library::Library;
use super::super::raster::blend;
use super::super::shapes;
use super::{ground, stamp};

/// Cut-out things on a plain ground: one large, or several equal small ones.
pub fn bench(library: &Library, side: usize, dice: &mut Dice) -> Base {
    let s = side as f32;
    let backdrop = ground(side, dice);
    let stuff = surface(library, side, dice);
    let mut subject = vec![0_u8; side * side];
    if dice.chance(0.65) {
        let at = (0.5 * s + dice.around(0.08 * s), 0.5 * s + dice.around(0.08 * s));
        let size = s * dice.range(0.45, 0.95);
        stamp(&mut subject, side, shapes::random_shape(dice, side, at.0, at.1, size), false);
    } else {
        let count = dice.between(2, 5);
        let pitch = s / count as f32;
        let size = pitch * dice.range(0.45, 0.85);
        let round = dice.chance(0.3);
        let (equal, shape) = (dice.chance(0.8), dice.bits());
        let skew = if dice.chance(0.5) { 0.0 } else { 0.12 * pitch };
        for row in 0..count {
            for column in 0..count {
                let at = (
                    (column as f32 + 0.5) * pitch + dice.around(skew),
                    (row as f32 + 0.5) * pitch + dice.around(skew),
                );
                // The same draws for every piece: equal parts, and sometimes one of each kind.
                let mut own = if equal { Dice::new(shape, 0) } else { Dice::new(dice.bits(), 0) };
                let shape = if round {
                    shapes::disc(side, at, 0.5 * size, 1.0)
                } else {
                    shapes::superellipse(&mut own, side, at, size, 1.0)
                };
                stamp(&mut subject, side, shape, false);
            }
        }
    }
    let mut canvas = backdrop.clone();
    let bulge = dice.range(0.0, 60.0);
    for (i, a) in subject.iter().enumerate().filter(|(_, a)| **a > 0) {
        let (x, y) = (i % side, i / side);
        let (under, over) = (canvas.at(x, y), stuff.at(x, y));
        let shade = bulge * (0.5 - (x + y) as f32 / (2.0 * s));
        let own = over.map(|v| (f32::from(v) + shade).clamp(0.0, 255.0));
        canvas.set(x, y, blend(under.map(f32::from), own, f32::from(*a) / 255.0));
    }
    Base { backdrop: Some(backdrop), subject: Some(subject), ..Base::bare(canvas, BaseKind::Bench) }
}
