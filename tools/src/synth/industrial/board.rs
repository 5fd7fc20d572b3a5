//! Drawn circuit boards.

use super::super::base::{Base, BaseKind, Drawing};
use super::super::dice::Dice;
use super::super::raster::{Rgb, blend};
use super::super::shapes;
use super::stamp;

/// Manhattan and diagonal traces with pads on a grid, perhaps with filled planes.
pub fn board(side: usize, dice: &mut Dice) -> Base {
    let s = side as f32;
    let pitch = dice.log_range(0.028, 0.14) * s;
    let trace = (pitch * dice.range(0.25, 0.6)).max(2.0);
    let cells = (s / pitch) as usize + 2;
    let shift = (dice.around(0.5) * pitch, dice.around(0.5) * pitch);
    let place = |c: (usize, usize)| (c.0 as f32 * pitch + shift.0, c.1 as f32 * pitch + shift.1);
    let mut copper = vec![0_u8; side * side];
    let mut taken = vec![false; cells * cells];
    for _ in 0..dice.below(3) {
        plane(&mut copper, &mut taken, side, cells, pitch, place, dice);
    }
    let walks = 2 + cells * cells / dice.between(5, 30);
    for _ in 0..walks {
        walk(&mut copper, &mut taken, side, cells, (pitch, trace), place, dice);
    }
    for _ in 0..dice.below(5) {
        silk(&mut copper, side, dice);
    }
    let (mut fore, mut back) = match dice.below(4) {
        0 => (
            dice.colour(120.0, 220.0, 40.0),
            [dice.range(0.0, 40.0), dice.range(50.0, 110.0), dice.range(10.0, 60.0)],
        ),
        1 => (dice.colour(150.0, 230.0, 10.0), dice.colour(20.0, 90.0, 10.0)),
        _ => (dice.colour(215.0, 255.0, 2.0), dice.colour(0.0, 35.0, 2.0)),
    };
    if dice.chance(0.3) {
        std::mem::swap(&mut fore, &mut back);
    }
    let mut canvas = Rgb::plain(side, side, [0; 3]);
    for (i, a) in copper.iter().enumerate() {
        let t = *a as f32 / 255.0;
        canvas.set(i % side, i / side, blend(back, fore, t));
    }
    Base {
        drawing: Some(Drawing { copper, fore, back, trace }),
        ..Base::bare(canvas, BaseKind::Board)
    }
}

/// A filled rectangle of copper with cleared dots.
fn plane(
    copper: &mut [u8],
    taken: &mut [bool],
    side: usize,
    cells: usize,
    pitch: f32,
    place: impl Fn((usize, usize)) -> (f32, f32),
    dice: &mut Dice,
) {
    let (x, y) = (dice.below(cells), dice.below(cells));
    let (w, h) = (dice.between(2, 2 + cells / 3), dice.between(2, 2 + cells / 3));
    let (x1, y1) = ((x + w).min(cells - 1), (y + h).min(cells - 1));
    let (a, b) = (place((x, y)), place((x1, y1)));
    let half = 0.3 * pitch;
    let corners = vec![
        (a.0 - half, a.1 - half),
        (b.0 + half, a.1 - half),
        (b.0 + half, b.1 + half),
        (a.0 - half, b.1 + half),
    ];
    stamp(copper, side, shapes::polygon(side, &[corners]), false);
    let holes = dice.range(0.0, 0.25);
    for cy in y..=y1 {
        for cx in x..=x1 {
            taken[cy * cells + cx] = true;
            if dice.chance(holes) {
                let radius = pitch * dice.range(0.2, 0.4);
                stamp(copper, side, shapes::disc(side, place((cx, cy)), radius, 1.0), true);
                if dice.chance(0.6) {
                    stamp(
                        copper,
                        side,
                        shapes::disc(side, place((cx, cy)), 0.6 * radius, 1.0),
                        false,
                    );
                }
            }
        }
    }
}

/// One trace: a walk over free cells with a pad at each end.
fn walk(
    copper: &mut [u8],
    taken: &mut [bool],
    side: usize,
    cells: usize,
    (pitch, trace): (f32, f32),
    place: impl Fn((usize, usize)) -> (f32, f32),
    dice: &mut Dice,
) {
    const WAYS: [(isize, isize); 8] =
        [(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)];
    let start = (dice.below(cells), dice.below(cells));
    if taken[start.1 * cells + start.0] {
        return;
    }
    let mut way = 2 * dice.below(4);
    let mut path = vec![start];
    let length = dice.between(2, 3 * cells / 2);
    taken[start.1 * cells + start.0] = true;
    for _ in 0..length {
        if dice.chance(0.2) {
            way = (way + *dice.pick(&[1, 7, 2, 6])) % 8;
        }
        let here = path[path.len() - 1];
        let next =
            here.0.checked_add_signed(WAYS[way].0).zip(here.1.checked_add_signed(WAYS[way].1));
        let Some(next) = next.filter(|n| n.0 < cells && n.1 < cells && !taken[n.1 * cells + n.0])
        else {
            way = 2 * dice.below(4);
            continue;
        };
        taken[next.1 * cells + next.0] = true;
        path.push(next);
    }
    let width = trace * if dice.chance(0.15) { 1.5 } else { 1.0 };
    let line: Vec<_> = path.iter().map(|c| place(*c)).map(|(x, y)| (x, y, width)).collect();
    stamp(copper, side, shapes::stroke(side, &line), false);
    for end in [path[0], path[path.len() - 1]] {
        pad(copper, side, place(end), pitch, trace, dice);
    }
}

fn pad(copper: &mut [u8], side: usize, at: (f32, f32), pitch: f32, trace: f32, dice: &mut Dice) {
    if dice.chance(0.15) {
        return;
    }
    let radius = (0.5 * trace * dice.range(1.4, 2.2)).min(0.48 * pitch);
    if dice.chance(0.6) {
        stamp(copper, side, shapes::disc(side, at, radius, 1.0), false);
    } else {
        let (w, h) = (radius * dice.range(0.8, 1.5), radius * dice.range(0.7, 1.0));
        let corners = vec![
            (at.0 - w, at.1 - h),
            (at.0 + w, at.1 - h),
            (at.0 + w, at.1 + h),
            (at.0 - w, at.1 + h),
        ];
        stamp(copper, side, shapes::polygon(side, &[corners]), false);
    }
    if radius > 3.0 && dice.chance(0.4) {
        stamp(copper, side, shapes::disc(side, at, 0.45 * radius, 1.0), true);
    }
}

/// A loose sign: a ring, or a glyph of a few strokes. It may cross what is there, as prints do.
fn silk(copper: &mut [u8], side: usize, dice: &mut Dice) {
    let s = side as f32;
    let at = (dice.range(0.0, s), dice.range(0.0, s));
    let (size, width) = (s * dice.range(0.03, 0.12), dice.range(1.2, 3.0));
    let points: Vec<_> = if dice.chance(0.4) {
        let angle = |k: usize| k as f32 / 24.0 * std::f32::consts::TAU;
        (0..=24)
            .map(|k| (at.0 + size * angle(k).cos(), at.1 + size * angle(k).sin(), width))
            .collect()
    } else {
        let mut corner =
            || (at.0 + 0.5 * size * dice.below(3) as f32, at.1 + 0.5 * size * dice.below(3) as f32);
        (0..4).map(|_| corner()).map(|(x, y)| (x, y, width)).collect()
    };
    stamp(copper, side, shapes::stroke(side, &points), false);
}
