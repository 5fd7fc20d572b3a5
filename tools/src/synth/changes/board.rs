//! Defects of a drawn circuit board: open, short, mouse bite, spur, pinhole, stray copper.

use super::super::dice::Dice;
use super::super::shapes::{self, Stencil};
use super::Desk;

/// Draws one to three defects of one type (nothing on a base without copper).
pub fn defect(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let count = if dice.chance(0.5) { 1 } else { dice.between(2, 4) };
    let kind = dice.below(6);
    let mut labelled = 0;
    for _ in 0..count {
        labelled += match kind {
            0 => open(desk, dice),
            1 => short(desk, dice),
            2 => bite_or_spur(desk, dice, false),
            3 => bite_or_spur(desk, dice, true),
            4 => pinhole(desk, dice),
            _ => stray(desk, dice),
        };
    }
    labelled
}

const TRIES: usize = 80;

/// Is there copper at a point? `None` outside the base.
fn copper(desk: &Desk<'_>, x: f32, y: f32) -> Option<bool> {
    let drawing = desk.base.drawing.as_ref()?;
    let side = desk.side() as f32;
    if x < 0.0 || y < 0.0 || x >= side || y >= side {
        return None;
    }
    Some(drawing.copper[y as usize * desk.side() + x as usize] > 128)
}

/// How far from `at` along a direction the ground stays what it is there, up to `limit`.
fn run(desk: &Desk<'_>, at: (f32, f32), way: (f32, f32), limit: f32) -> Option<f32> {
    let here = copper(desk, at.0, at.1)?;
    let mut distance = 0.0;
    while distance < limit {
        distance += 1.0;
        if copper(desk, at.0 + distance * way.0, at.1 + distance * way.1)? != here {
            return Some(distance);
        }
    }
    None
}

fn paint(desk: &mut Desk<'_>, stencil: &Stencil, with_copper: bool) -> usize {
    let Some(drawing) = desk.base.drawing.as_ref() else {
        return 0;
    };
    let colour = if with_copper { drawing.fore } else { drawing.back };
    stencil.blend(desk.changed, |_, _, _| colour);
    desk.settle(stencil)
}

fn trace(desk: &Desk<'_>) -> f32 {
    desk.base.drawing.as_ref().map_or(3.0, |d| d.trace)
}

const WAYS: [(f32, f32); 4] = [(1.0, 0.0), (0.0, 1.0), (0.707, 0.707), (0.707, -0.707)];

/// Cuts a trace through: finds copper that is narrow across and long along.
fn open(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let most = 2.5 * trace(desk);
    for _ in 0..TRIES {
        let at = desk.place(dice);
        if copper(desk, at.0, at.1) != Some(true) {
            continue;
        }
        let way = *dice.pick(&WAYS);
        let (Some(a), Some(b)) = (run(desk, at, way, most), run(desk, at, (-way.0, -way.1), most))
        else {
            continue;
        };
        let along = (-way.1, way.0);
        let long = 1.5 * (a + b);
        if a + b > most
            || run(desk, at, along, long).is_some()
            || run(desk, at, (-along.0, -along.1), long).is_some()
        {
            continue;
        }
        let gap = dice.log_range(2.0, 2.5 * trace(desk).max(2.0));
        let skew = dice.around(0.4);
        let (wx, wy) = (way.0 + skew * along.0, way.1 + skew * along.1);
        let reach = 1.5;
        let from = (at.0 + (a + reach) * wx, at.1 + (a + reach) * wy, gap);
        let to = (at.0 - (b + reach) * wx, at.1 - (b + reach) * wy, gap * dice.range(0.7, 1.3));
        let Some(cut) = shapes::stroke(desk.side(), &[from, to]) else {
            continue;
        };
        return paint(desk, &cut, false);
    }
    0
}

/// Joins two pieces of copper across a narrow gap.
fn short(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let most = 5.0 * trace(desk) + 4.0;
    for _ in 0..TRIES {
        let at = desk.place(dice);
        if copper(desk, at.0, at.1) != Some(false) {
            continue;
        }
        let way = *dice.pick(&WAYS);
        let (Some(a), Some(b)) = (run(desk, at, way, most), run(desk, at, (-way.0, -way.1), most))
        else {
            continue;
        };
        if a + b < 3.0 || a + b > most {
            continue;
        }
        let width = dice.log_range(1.5, 1.5 * trace(desk).max(2.0));
        let bend = (at.0 + dice.around(1.5), at.1 + dice.around(1.5), width * dice.range(0.6, 1.4));
        let from = (at.0 + (a + 0.5) * way.0, at.1 + (a + 0.5) * way.1, width);
        let to = (at.0 - (b + 0.5) * way.0, at.1 - (b + 0.5) * way.1, width);
        let Some(bridge) = shapes::stroke(desk.side(), &[from, bend, to]) else {
            continue;
        };
        return paint(desk, &bridge, true);
    }
    0
}

/// A bite into, or a bump on, the rim of copper.
fn bite_or_spur(desk: &mut Desk<'_>, dice: &mut Dice, spur: bool) -> usize {
    let limit = 4.0 * trace(desk) + 6.0;
    for _ in 0..TRIES {
        let at = desk.place(dice);
        // A spur starts in the ground and looks for copper, a bite the other way round.
        if copper(desk, at.0, at.1) != Some(!spur) {
            continue;
        }
        let angle = dice.range(0.0, std::f32::consts::TAU);
        let way = (angle.cos(), angle.sin());
        let Some(distance) = run(desk, at, way, limit) else {
            continue;
        };
        let rim = (at.0 + (distance - 0.5) * way.0, at.1 + (distance - 0.5) * way.1);
        let size = dice.log_range(3.0, 2.2 * trace(desk).max(3.0));
        let shape = if spur && dice.chance(0.5) {
            let reach = size * dice.range(0.8, 1.6);
            let tip = (rim.0 - reach * way.0, rim.1 - reach * way.1, 0.6 * size);
            shapes::stroke(desk.side(), &[(rim.0, rim.1, size), tip])
        } else {
            shapes::blob(dice, desk.side(), rim, 1.4 * size, 1.0)
        };
        let Some(shape) = shape else { continue };
        return paint(desk, &shape, spur);
    }
    0
}

/// A hole inside copper.
fn pinhole(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    for _ in 0..TRIES {
        let at = desk.place(dice);
        if copper(desk, at.0, at.1) != Some(true) {
            continue;
        }
        let size = dice.log_range(2.0, 1.5 * trace(desk).max(3.0));
        let Some(hole) = shapes::blob(dice, desk.side(), at, 1.2 * size, 1.0) else {
            continue;
        };
        return paint(desk, &hole, false);
    }
    0
}

/// A blot of copper on the ground.
fn stray(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    for _ in 0..TRIES {
        let at = desk.place(dice);
        if copper(desk, at.0, at.1) != Some(false) {
            continue;
        }
        let size = dice.log_range(3.0, 4.0 * trace(desk).max(3.0));
        let Some(blot) = shapes::blob(dice, desk.side(), at, size, 1.0) else {
            continue;
        };
        return paint(desk, &blot, true);
    }
    0
}
