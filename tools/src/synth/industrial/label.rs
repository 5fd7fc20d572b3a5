//! Printed labels.

use super::super::base::{Base, BaseKind};
use super::super::dice::Dice;
use super::super::shapes::{self, Stencil};
use super::ground;

/// A printed label: frame, lines of glyph-like marks, a bar code, a logo.
pub fn label(side: usize, dice: &mut Dice) -> Base {
    let s = side as f32;
    let mut canvas = ground(side, dice);
    let paper_light = canvas.mean(0, 0, side, side).iter().sum::<f32>() > 380.0;
    let ink =
        if paper_light { dice.colour(0.0, 70.0, 30.0) } else { dice.colour(180.0, 255.0, 20.0) };
    let accent = dice.colour(40.0, 220.0, 90.0);
    let mut print = |stencil: Option<Stencil>, colour: [f32; 3]| {
        if let Some(stencil) = stencil {
            stencil.blend(&mut canvas, |_, _, _| colour);
        }
    };
    let rect = |x: f32, y: f32, w: f32, h: f32| {
        shapes::polygon(side, &[vec![(x, y), (x + w, y), (x + w, y + h), (x, y + h)]])
    };
    let mut y = s * dice.range(0.06, 0.16);
    while y < 0.9 * s {
        let height = s * dice.log_range(0.035, 0.12);
        let x0 = s * dice.range(0.06, 0.3);
        match dice.below(6) {
            0 => {
                let mut x = x0;
                while x < 0.9 * s {
                    let bar = dice.range(1.0, 0.02 * s + 1.5);
                    print(rect(x, y, bar, 1.6 * height), ink);
                    x += bar + dice.range(1.2, 0.02 * s + 2.0);
                }
                y += 0.8 * height;
            }
            1 => print(rect(x0, y, s * dice.range(0.2, 0.6), height), accent),
            2 => {
                let shape = shapes::superellipse(
                    dice,
                    side,
                    (x0 + height, y + 0.5 * height),
                    1.8 * height,
                    1.0,
                );
                print(shape, accent);
            }
            _ => {
                let mut x = x0;
                let end = s * dice.range(0.5, 0.95);
                while x < end {
                    let wide = height * dice.range(0.4, 0.7);
                    if dice.chance(0.85) {
                        for _ in 0..dice.between(2, 4) {
                            let spot = |dice: &mut Dice| {
                                let (i, j) = (dice.below(3) as f32, dice.below(3) as f32);
                                (
                                    x + 0.42 * wide * i,
                                    y + 0.45 * height * j,
                                    (0.14 * height).max(1.1),
                                )
                            };
                            let line = [spot(dice), spot(dice), spot(dice)];
                            print(shapes::stroke(side, &line), ink);
                        }
                    }
                    x += 1.25 * wide;
                }
            }
        }
        y += height * dice.range(1.3, 1.9);
    }
    Base::bare(canvas, BaseKind::Label)
}
