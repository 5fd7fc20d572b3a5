//! Thin and small damage: scratches, cracks, fibres, pits.

use super::super::dice::Dice;
use super::super::noise::Perlin;
use super::super::shapes::{self, Stencil};
use super::Desk;

/// Points of a smoothly bending line of about `length`, starting at `at`.
fn wander(at: (f32, f32), length: f32, bend: f32, jitter: f32, dice: &mut Dice) -> Vec<(f32, f32)> {
    let steps = ((length / 3.0) as usize).clamp(2, 64);
    let step = length / steps as f32;
    let mut angle = dice.range(0.0, std::f32::consts::TAU);
    let mut turn = dice.around(bend) * step;
    let (mut x, mut y) = (at.0 - 0.5 * length * angle.cos(), at.1 - 0.5 * length * angle.sin());
    let mut points = Vec::with_capacity(steps + 1);
    for _ in 0..=steps {
        points.push((x, y));
        turn += dice.around(0.25 * bend) * step;
        let heading = angle + dice.around(jitter);
        (x, y) = (x + step * heading.cos(), y + step * heading.sin());
        angle += turn;
    }
    points
}

/// Widths along a line: tapered, and with gaps when `broken`.
fn widths(
    points: &[(f32, f32)],
    width: f32,
    broken: bool,
    dice: &mut Dice,
) -> Vec<(f32, f32, f32)> {
    let last = (points.len() - 1).max(1) as f32;
    let taper = dice.chance(0.5);
    let mut gap = false;
    points
        .iter()
        .enumerate()
        .map(|(i, (x, y))| {
            if broken && dice.chance(0.25) {
                gap = !gap;
            }
            let along = i as f32 / last;
            let ends = if taper { (4.0 * along * (1.0 - along)).clamp(0.35, 1.0) } else { 1.0 };
            (*x, *y, if gap { 0.0 } else { width * ends * dice.range(0.8, 1.2) })
        })
        .collect()
}

/// Adds a tinted contrast to the stencil, with a lit edge beside it when `relief` is set.
fn mark(desk: &mut Desk<'_>, stencil: &Stencil, amount: f32, flat: bool, dice: &mut Dice) {
    let tint = [0; 3].map(|_| 1.0 + dice.around(0.15));
    // A mark either shifts what is below, or covers it by one colour.
    let level = desk.brightness(stencil.centre(), 4.0);
    let cover = tint.map(|t| (level + amount * t).clamp(0.0, 255.0));
    stencil.blend(desk.changed, |_, _, old| {
        let mut new = cover;
        if !flat {
            for c in 0..3 {
                new[c] = old[c] + amount * tint[c];
            }
        }
        new
    });
}

/// One to four scratches of similar direction.
pub fn scratch(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let count = if dice.chance(0.6) { 1 } else { dice.between(2, 4) };
    let at = desk.place(dice);
    let length = desk.diameter(8.0, 0.6, dice);
    let width = dice.log_range(0.9, 3.2).max(0.8 * desk.scaled(1.0));
    let amount = desk.contrast(at, 28.0, 150.0, dice);
    let bend = if dice.chance(0.5) { 0.002 } else { 0.03 };
    let mut labelled = 0;
    for k in 0..count {
        let spread = if k == 0 { 0.0 } else { desk.scaled(14.0) };
        let start = (at.0 + dice.around(spread), at.1 + dice.around(spread));
        let points = wander(start, length * dice.range(0.6, 1.0), bend, 0.02, dice);
        let broken = dice.chance(0.35);
        let line = widths(&points, width, broken, dice);
        let Some(stencil) = shapes::stroke(desk.side(), &line) else {
            continue;
        };
        let flat = dice.chance(0.4);
        mark(desk, &stencil, amount, flat, dice);
        labelled += desk.settle(&stencil);
    }
    labelled
}

/// A dark (seldom light) branching crack.
pub fn crack(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    const BRANCHES_MAX: usize = 5;
    let at = desk.place(dice);
    let length = desk.diameter(10.0, 0.6, dice);
    let width = dice.log_range(0.9, 3.0);
    let mut amount = desk.contrast(at, 32.0, 130.0, dice);
    if desk.brightness(at, 4.0) > 70.0 && dice.chance(0.8) {
        amount = -amount.abs();
    }
    let trunk = wander(at, length, 0.02, 0.7, dice);
    let mut lines = vec![widths(&trunk, width, false, dice)];
    for _ in 0..dice.below(BRANCHES_MAX) {
        let from = *dice.pick(&trunk);
        let reach = length * dice.range(0.15, 0.4);
        let branch = wander(from, reach, 0.02, 0.7, dice);
        // Shifted so that the branch starts on the trunk.
        let (dx, dy) = (from.0 - branch[0].0, from.1 - branch[0].1);
        let branch: Vec<_> = branch.iter().map(|p| (p.0 + dx, p.1 + dy)).collect();
        lines.push(widths(&branch, 0.7 * width, false, dice));
    }
    let flat = dice.chance(0.5);
    let mut labelled = 0;
    for line in lines {
        let Some(stencil) = shapes::stroke(desk.side(), &line) else {
            continue;
        };
        mark(desk, &stencil, amount, flat, dice);
        labelled += desk.settle(&stencil);
    }
    labelled
}

/// A thin, strongly bent hair or thread.
pub fn fibre(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let at = desk.place(dice);
    let length = desk.diameter(12.0, 0.7, dice);
    let width = dice.log_range(0.8, 2.4);
    let points = wander(at, length, 0.12, 0.05, dice);
    let line: Vec<_> = points.iter().map(|(x, y)| (*x, *y, width)).collect();
    let Some(stencil) = shapes::stroke(desk.side(), &line) else {
        return 0;
    };
    let amount = desk.contrast(at, 35.0, 170.0, dice);
    mark(desk, &stencil, amount, true, dice);
    desk.settle(&stencil)
}

/// A ragged dark break-out with a rough floor, as fatigue leaves on metal.
fn spall(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    let at = desk.place(dice);
    let size = desk.diameter(5.0, 0.16, dice);
    let Some(shape) = shapes::blob(dice, desk.side(), at, 1.3 * size, 1.5) else { return 0 };
    let (edge, floor) = (Perlin::new(dice.bits()), Perlin::new(dice.bits()));
    let cell = (0.22 * size).max(1.8);
    let shape = shape.times(|x, y| 0.75 + 3.0 * edge.rough(x / cell, y / cell));
    let level = desk.brightness(at, 0.5 * size);
    let (depth, rough) = (level * dice.range(0.3, 0.75) + 12.0, dice.range(15.0, 60.0));
    let grit = dice.range(1.3, 3.0);
    shape.blend(desk.changed, |x, y, old| {
        let bump = rough * floor.rough(x / grit, y / grit);
        old.map(|v| 0.35 * v + 0.65 * level - depth + bump)
    });
    desk.settle(&shape)
}

/// One to ten small pits or dots, often in a cluster, sometimes with a lit rim; or one break-out.
pub fn pits(desk: &mut Desk<'_>, dice: &mut Dice) -> usize {
    if dice.chance(0.3) {
        return spall(desk, dice);
    }
    let count = if dice.chance(0.4) { 1 } else { dice.between(2, 10) };
    let centre = desk.place(dice);
    let cluster = desk.diameter(8.0, 0.3, dice);
    let size = dice.log_range(2.0, 7.0).max(desk.scaled(2.0));
    let amount = desk.contrast(centre, 30.0, 160.0, dice);
    let (rim, flat) = (dice.chance(0.3), dice.chance(0.5));
    let mut labelled = 0;
    for k in 0..count {
        let spread = if k == 0 { 0.0 } else { cluster };
        let at = (centre.0 + dice.around(spread), centre.1 + dice.around(spread));
        let diameter = size * dice.range(0.6, 1.5);
        let shape = if dice.chance(0.5) {
            shapes::disc(desk.side(), at, 0.5 * diameter, 1.0)
        } else {
            shapes::blob(dice, desk.side(), at, 1.3 * diameter, 1.0)
        };
        let Some(stencil) = shape else { continue };
        if rim {
            let lit = (at.0 + 0.35 * diameter, at.1 + 0.35 * diameter);
            if let Some(edge) = shapes::disc(desk.side(), lit, 0.4 * diameter, 1.0) {
                mark(desk, &edge, -0.6 * amount, false, dice);
                labelled += desk.settle(&edge);
            }
        }
        mark(desk, &stencil, amount, flat, dice);
        labelled += desk.settle(&stencil);
    }
    labelled
}
